//! Is a difference what changed between versions? The file is written anew so that the change does not matter; then both must agree.

use std::path::{Path, PathBuf};

use alerts::notation::{self, Value, Values};
use alerts::number::STALE;
use alerts::rules::parse_duration;
use regex::{Captures, Regex};

use crate::installed::Promtool;
use crate::judge::{self, Verdict};
use crate::known;
use crate::tree::Node;

/// A change between versions, and what makes a unit test or a rule file indifferent to it.
struct Change {
    /// The first version, major and minor, that has it.
    since: (u32, u32),
    what: &'static str,
    /// Of a unit test or of rules.
    rewrite: fn(&mut Node),
}

/// In the order in which they are taken out, each with those before it.
const CHANGES: [Change; 7] = [
    Change {
        since: (3, 9),
        what: "a test has a start_timestamp",
        rewrite: |root| each_test(root, &mut |test, _| test.unset("start_timestamp")),
    },
    Change {
        since: (3, 0),
        what: "a test file has fuzzy_compare",
        rewrite: |root| root.unset("fuzzy_compare"),
    },
    Change {
        since: (3, 0),
        what: "`interval` of a test is `evaluation_interval` where it is missing",
        rewrite: intervals,
    },
    Change {
        since: (3, 0),
        what: "an offset may be 0",
        rewrite: offsets,
    },
    Change {
        since: (3, 0),
        what: "a duration is a number of seconds",
        rewrite: seconds,
    },
    Change {
        since: (3, 0),
        what: "a range no longer holds the sample at its beginning",
        rewrite: ranges,
    },
    Change {
        since: (3, 0),
        what: "an instant selector no longer sees a sample that is exactly 5 minutes old",
        rewrite: markers,
    },
];

/// The change without which both agree.
pub fn change(promtool: &Promtool, file: &Path) -> Option<&'static str> {
    let folder = file.parent()?;
    let named = |path: &PathBuf| path.extension().is_some_and(|end| end == "yml");
    let paths = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let mut documents: Vec<(PathBuf, Node)> = Vec::new();
    for path in paths.filter(named) {
        let text = std::fs::read_to_string(&path).ok()?;
        documents.push((path, Node::try_read(&text)?));
    }
    let older = folder.join("older");
    std::fs::create_dir_all(&older).expect("a folder");
    for change in CHANGES
        .iter()
        .filter(|change| promtool.version < change.since)
    {
        for (path, root) in &mut documents {
            (change.rewrite)(root);
            let path = older.join(path.file_name()?);
            std::fs::write(path, root.in_one_line()).expect("writes");
        }
        let file = older.join(file.file_name()?);
        let ours = judge::ours(&file);
        let theirs = judge::theirs(promtool, std::slice::from_ref(&file));
        let same = judge::same(&ours, &theirs[0])
            || known::explains(promtool.version, &file, &ours, &theirs[0]).is_some();
        if same && matches!(ours, Verdict::Ran(_)) {
            return Some(change.what);
        }
    }
    None
}

fn each_test(root: &mut Node, change: &mut dyn FnMut(&mut Node, &str)) {
    let interval = root.get("evaluation_interval").and_then(Node::scalar);
    let interval = interval
        .filter(|text| !is_zero(text))
        .unwrap_or("1m")
        .to_string();
    if let Some(Node::List(tests)) = root.get_mut("tests") {
        tests.iter_mut().for_each(|test| change(test, &interval));
    }
}

fn is_zero(duration: &str) -> bool {
    !duration.contains(|c: char| ('1'..='9').contains(&c))
}

fn intervals(root: &mut Node) {
    each_test(root, &mut |test, interval| {
        let own = test.get("interval").and_then(Node::scalar);
        if own.is_none_or(is_zero) {
            test.set("interval", Node::text(interval));
        }
    });
}

fn offsets(root: &mut Node) {
    let offset = Regex::new(r" offset 0+(ms|[smhdwy])?\b").expect("a pattern");
    expressions(root, &mut |text| {
        *text = offset.replace_all(text, "").into_owned();
    });
}

/// Durations that are operands, as the numbers that they are.
fn seconds(root: &mut Node) {
    let operand = Regex::new(r"([-+*/(,<>=] ?)([0-9]+(?:ms|[smhdwy]))\b").expect("a pattern");
    let number = |found: &Captures<'_>| match parse_duration(&found[2]) {
        Ok(millis) => format!("{}{}", &found[1], millis as f64 / 1000.0),
        Err(_) => found[0].to_string(),
    };
    expressions(root, &mut |text| {
        *text = operand.replace_all(text, number).into_owned();
    });
}

fn expressions(root: &mut Node, change: &mut dyn FnMut(&mut String)) {
    root.each_mut("", &mut |field, node| {
        if let (true, Node::Text(text)) = (field == "expr", node) {
            change(text);
        }
    });
}

/// Each range shorter by a millisecond: closed, it holds what the open one holds.
fn ranges(root: &mut Node) {
    let range = Regex::new(r"\[([0-9a-z]+)([:\]])").expect("a pattern");
    let shorter = |found: &Captures<'_>| match parse_duration(&found[1]) {
        Ok(millis) if millis > 1 => format!("[{}ms{}", millis - 1, &found[2]),
        _ => found[0].to_string(),
    };
    expressions(root, &mut |text| {
        *text = range.replace_all(text, shorter).into_owned();
    });
}

/// Where a series pauses or ends it says so, so that nothing grows old; values that lie far apart are all followed by a pause.
fn markers(root: &mut Node) {
    each_test(root, &mut |test, interval| {
        let own = test.get("interval").and_then(Node::scalar);
        let interval_ms = parse_duration(own.unwrap_or(interval)).unwrap_or(0);
        let steps = (1..).find(|steps| interval_ms % steps == 0 && interval_ms / steps < 300_000);
        let steps = steps.unwrap_or(1);
        test.set("interval", Node::Text(format!("{}ms", interval_ms / steps)));
        test.each_mut("", &mut |field, node| {
            if let (true, Node::Text(text) | Node::Raw(text)) = (field == "values", node)
                && let Ok(values) = notation::values(text)
            {
                *text = marked(&values, steps);
            }
        });
    });
}

fn marked(values: &Values, steps: i64) -> String {
    let values: Vec<Value> = values.iter().collect();
    let mut out = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let number = match value {
            Value::Number(number) => Some(*number),
            _ => None,
        };
        // A pause that was marked needs no second slot.
        let first = out.len();
        out.push(number);
        out.extend((1..steps).map(|_| None));
        let ends = at + 1 == values.len();
        let pauses = !ends && matches!(values[at + 1], Value::Omitted);
        if number.is_some() && (steps > 1 || pauses || ends) {
            match out.get_mut(first + 1) {
                Some(slot) => *slot = Some(STALE),
                None => out.push(Some(STALE)),
            }
        }
    }
    notation::write_values(&out)
}
