//! One change of a unit test or of its rules, drawn from a seed.

use crate::dice::Dice;
use crate::tree::Node;
use crate::words::{
    DURATIONS, FIELDS, FILE_EXTRAS, FLAGS, NO_DURATIONS, NUMBERS, PIECES, RULE_EXTRAS, SERIES,
    TEST_EXTRAS, VALUES, WRONG,
};

/// Changes a unit-test file somewhere.
pub fn test_file(dice: &mut Dice, root: &mut Node) {
    match dice.below(20) {
        0 => extra(dice, root, FILE_EXTRAS),
        1 | 2 => {
            if let Some(Node::List(tests)) = root.get_mut("tests")
                && !tests.is_empty()
            {
                let at = dice.below(tests.len() as i64) as usize;
                extra(dice, &mut tests[at], TEST_EXTRAS);
            }
        }
        _ => somewhere(dice, root),
    }
}

/// Changes a rule file somewhere.
pub fn rule_file(dice: &mut Dice, root: &mut Node) {
    if dice.percent(70) {
        return somewhere(dice, root);
    }
    let Some(Node::List(groups)) = root.get_mut("groups") else {
        return;
    };
    if groups.is_empty() {
        return;
    }
    let at = dice.below(groups.len() as i64) as usize;
    let group = &mut groups[at];
    match group.get_mut("rules") {
        Some(Node::List(rules)) if !rules.is_empty() && dice.percent(75) => {
            let at = dice.below(rules.len() as i64) as usize;
            extra(dice, &mut rules[at], RULE_EXTRAS);
        }
        _ => extra(dice, group, RULE_EXTRAS),
    }
}

fn extra(dice: &mut Dice, node: &mut Node, from: &[(&str, &str)]) {
    let (name, value) = dice.pick(from);
    node.set(name, Node::raw(value));
}

/// Fields with what they hold are drawn more often than the rest.
fn somewhere(dice: &mut Dice, root: &mut Node) {
    let (mut places, mut at) = (Vec::new(), 0);
    root.each("", &mut |field, node| {
        let weight = match (field, node.scalar()) {
            ("", _) => 0,
            ("values" | "value" | "eval_time" | "expr", Some(_)) => 6,
            (
                "series" | "for" | "keep_firing_for" | "interval" | "evaluation_interval",
                Some(_),
            ) => 6,
            (_, Some(_)) => 2,
            _ => 3,
        };
        places.push((weight, at));
        at += 1;
    });
    if places.iter().all(|(weight, _)| *weight == 0) {
        return;
    }
    let mut place = dice.weighted(&places);
    root.change_at(&mut place, "", &mut |field, node| change(dice, field, node));
}

fn change(dice: &mut Dice, field: &str, node: &mut Node) {
    if dice.percent(5) {
        *node = Node::raw(dice.pick(WRONG));
        return;
    }
    match node {
        Node::List(items) => list(dice, items),
        Node::Map(pairs) => map(dice, field, pairs),
        Node::Raw(_) | Node::Text(_) => {
            let text = node.scalar().unwrap_or_default().to_string();
            *node = scalar(dice, field, &text);
        }
    }
}

fn list(dice: &mut Dice, items: &mut Vec<Node>) {
    if items.is_empty() {
        items.push(Node::raw(dice.pick(WRONG)));
        return;
    }
    let at = dice.below(items.len() as i64) as usize;
    let other = dice.below(items.len() as i64) as usize;
    match dice.below(6) {
        0 => drop(items.remove(at)),
        1 | 2 => items.insert(other, items[at].clone()),
        3 => items.swap(at, other),
        4 => items.insert(at, Node::raw(dice.pick(&["~", "{}", "x", "[]"]))),
        _ => items.clear(),
    }
}

fn map(dice: &mut Dice, field: &str, pairs: &mut Vec<(String, Node)>) {
    let texts = matches!(
        field,
        "exp_labels" | "exp_annotations" | "labels" | "annotations" | "external_labels"
    );
    if texts && dice.percent(30) || pairs.is_empty() {
        let name = dice.pick(&["job", "x", "alertname", "severity", "", "a-b", "__name__"]);
        let value = dice.pick(&[
            "a",
            "page",
            "''",
            "5",
            "1.50",
            "~",
            "true",
            "[a]",
            "''",
            "2001-01-01",
            "0x10",
        ]);
        return pairs.push((name.into(), Node::raw(value)));
    }
    let at = dice.below(pairs.len() as i64) as usize;
    match dice.below(6) {
        0 | 1 => drop(pairs.remove(at)),
        2 => pairs.insert(at, pairs[at].clone()),
        3 => pairs[at].0 = dice.pick(FIELDS).into(),
        4 => pairs.push((dice.pick(FIELDS).into(), Node::raw(dice.pick(WRONG)))),
        _ => {
            let other = dice.below(pairs.len() as i64) as usize;
            pairs.swap(at, other);
        }
    }
}

fn scalar(dice: &mut Dice, field: &str, text: &str) -> Node {
    match field {
        "interval" | "eval_time" | "evaluation_interval" | "for" | "keep_firing_for" => {
            match dice.below(10) {
                0 => Node::raw(dice.pick(NO_DURATIONS)),
                _ => Node::text(dice.pick(DURATIONS)),
            }
        }
        "values" => Node::Text(values(dice, text)),
        "series" | "labels" if dice.percent(50) => Node::text(dice.pick(SERIES)),
        "value" | "limit" => number(dice, text),
        "fuzzy_compare" => Node::raw(dice.pick(FLAGS)),
        "expr" => Node::Text(expression(dice, text)),
        "rule_files" => Node::text(dice.pick(&[
            "r0.yml",
            "./r0.yml",
            "nosuch.yml",
            "r*.yml",
            "x/../r0.yml",
            "[",
            "",
            ".",
        ])),
        _ => match dice.below(10) {
            0 => Node::raw(dice.pick(WRONG)),
            1 | 2 => Node::text(dice.pick(&[
                "a",
                "x",
                "",
                "page",
                "Down",
                "0",
                " ",
                "{{ $value }}",
                "é",
                "1.50",
            ])),
            _ => Node::Text(characters(dice, text)),
        },
    }
}

fn number(dice: &mut Dice, text: &str) -> Node {
    let near = text.parse::<f64>().ok().filter(|_| dice.percent(40));
    match near {
        Some(value) => {
            let near = [
                value.next_up(),
                value.next_down(),
                value.next_up().next_up(),
                value + 1.0,
                -value,
            ];
            Node::Raw(dice.pick(&near).to_string())
        }
        None => Node::raw(dice.pick(NUMBERS)),
    }
}

fn values(dice: &mut Dice, text: &str) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
    let at = dice.below(words.len() as i64 + 1) as usize;
    match dice.below(12) {
        0 if at < words.len() => drop(words.remove(at)),
        1 if at < words.len() => words.insert(at, words[at].clone()),
        2 if at < words.len() => words[at] = characters(dice, &words[at]),
        3 => {
            return words
                .join(dice.pick(&["  ", "\n", "\t", " \n ", "", ", ", "\n\n", "\r\n", " # "]));
        }
        4 => {
            return format!(
                "{}{text}{}",
                dice.pick(&[" ", "\n", "", "#"]),
                dice.pick(&[" ", "\n", "", " # c"])
            );
        }
        5..=8 if at < words.len() => words[at] = dice.pick(VALUES).into(),
        _ => words.insert(at, dice.pick(VALUES).into()),
    }
    words.join(" ")
}

const SWAPS: &[(&str, &str)] = &[
    ("==", "!="),
    (">", "<"),
    (">", ">="),
    ("<", ">"),
    (">", "== bool"),
    (" and ", " or "),
    (" and ", " unless "),
    ("sum", "max"),
    ("sum", "count"),
    ("by", "without"),
    ("rate", "increase"),
    ("rate", "delta"),
    ("avg", "min"),
    ("on", "ignoring"),
    ("[1m]", "[5m]"),
    ("[2m]", "[3m]"),
    ("[5m]", "[1m30s]"),
    ("[", "[1h:"),
    ("0", "1"),
    ("1", "0"),
    ("5", "2.5"),
    ("/", "*"),
    ("*", "-"),
    ("+", "-"),
    ("=\"", "=~\""),
    ("=\"", "!=\""),
    ("\"", "'"),
    (")", ""),
    ("(", "(("),
    ("x", "y"),
];

fn expression(dice: &mut Dice, text: &str) -> String {
    match dice.below(10) {
        0 => dice
            .pick(
                &[
                    format!("({text}) > 0"),
                    format!("-({text})"),
                    format!("sum({text})"),
                    format!("{text} offset 1m"),
                    format!("absent({text})"),
                    format!("{text}\n"),
                    format!("count_over_time(({text})[5m:])"),
                    format!("({text})[5m:]"),
                    format!("# c\n{text}"),
                    format!("{text} # c"),
                    format!(" {text}"),
                    format!("{text} or vector(1)"),
                    format!("vector(1) or {text}"),
                    format!("last_over_time(({text})[3m:1m])"),
                    format!("timestamp({text})"),
                ]
                .iter()
                .map(|s| &**s)
                .collect::<Vec<&str>>(),
            )
            .into(),
        1 => characters(dice, text),
        2 => dice
            .pick(&[
                "up",
                "1",
                "vector(1)",
                "time()",
                "up == 0",
                "absent(up)",
                "\"x\"",
                "up[5m]",
                "",
                "ALERTS",
                "sum(",
                "up offset -1m",
                "up * on() up",
                "holt_winters(up[5m], 0.5, 0.5)",
                "job:up:ratio",
                "{__name__=~\".+\"}",
                "changes(up[5m])",
                "up @ 60",
                "up @ end()",
                "limitk(1, up)",
                "1 + 5m",
            ])
            .into(),
        _ => {
            let fitting: Vec<&(&str, &str)> = SWAPS
                .iter()
                .filter(|(from, _)| text.contains(from))
                .collect();
            if fitting.is_empty() {
                return characters(dice, text);
            }
            let (from, to) = dice.pick(&fitting);
            let places: Vec<usize> = text.match_indices(from).map(|(at, _)| at).collect();
            let at = dice.pick(&places);
            format!("{}{to}{}", &text[..at], &text[at + from.len()..])
        }
    }
}

/// One character more, less or another.
fn characters(dice: &mut Dice, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = dice.below(chars.len() as i64 + 1) as usize;
    let new = dice.pick(&[
        'a', 'x', '1', '0', ' ', '_', '"', '{', '}', ',', '=', '.', '-', ':', 'é', '\'', '\\', '#',
    ]);
    match dice.below(3) {
        0 if at < chars.len() => drop(chars.remove(at)),
        1 if at < chars.len() => chars[at] = new,
        _ => chars.insert(at, new),
    }
    chars.into_iter().collect()
}

/// Changes a line of a text, whatever it means.
pub fn line(dice: &mut Dice, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(ToString::to_string).collect();
    if lines.is_empty() {
        return text.into();
    }
    let at = dice.below(lines.len() as i64) as usize;
    let line = lines[at].clone();
    match dice.below(8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, line),
        2 => lines[at] = format!(" {line}"),
        3 => lines[at] = line.strip_prefix(' ').unwrap_or(&line).into(),
        4 => lines[at] = line.replacen("  ", "\t", 1),
        5 => {
            lines[at] = format!(
                "{} {}",
                line.split(':').next().unwrap_or(""),
                dice.pick(WRONG)
            )
        }
        _ => {
            let mut chars: Vec<char> = line.chars().collect();
            let at_char = dice.below(chars.len() as i64 + 1) as usize;
            chars.splice(at_char..at_char, dice.pick(PIECES).chars());
            lines[at] = chars.into_iter().collect();
        }
    }
    lines.join("\n") + "\n"
}
