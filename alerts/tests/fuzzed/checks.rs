//! What must hold of any input, whatever it says: the fuzz targets in `fuzz/` search for inputs that break these checks, and
//! `tests/fuzzed.rs` keeps those that once did.
//!
//! Invariant: a check panics when something is wrong and returns otherwise, within a second on any input of some kilobytes.

use std::collections::BTreeMap;

use alerts::exposition::{self, Line, Sample};
use alerts::labels::Labels;
use alerts::lint;
use alerts::number::{format_g, is_stale};
use alerts::promql::{Answer, Options, Query, Source};
use alerts::promqltest::Script;
use alerts::rules::{RuleSet, Schedule};
use alerts::series::SeriesStore;

/// A body: each line is read alone as it is within the body, and what was read is read again the same when written anew.
pub fn exposition(input: &[u8]) {
    let Ok(body) = std::str::from_utf8(input) else {
        return;
    };
    let lines = match exposition::parse(body) {
        Ok(lines) => lines,
        Err(error) => {
            assert!(
                error.line >= 1 && error.line <= body.split('\n').count(),
                "{error}"
            );
            return;
        }
    };
    for (number, line) in &lines {
        assert!(*number >= 1 && *number <= body.split('\n').count());
        let Line::Sample(sample) = line else { continue };
        let written = rendered(sample);
        let again = exposition::parse_line(&written);
        let Ok(Line::Sample(again)) = &again else {
            panic!("{written:?} is not read again: {again:?}")
        };
        assert_eq!(again.to_labels(), sample.to_labels(), "{written:?}");
        assert!(same(again.value, sample.value), "{written:?}");
        assert_eq!(again.timestamp_ms, sample.timestamp_ms, "{written:?}");
    }
    agrees_with_the_oracle(body, &lines);
}

/// A sample in its most explicit form.
fn rendered(sample: &Sample<'_>) -> String {
    let quoted = |text: &str| {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", escaped.replace('\n', "\\n"))
    };
    let labels = sample.labels.iter();
    let labels = labels.map(|(name, value)| format!(",{}={}", quoted(name), quoted(value)));
    let labels: String = labels.collect();
    let value = format_g(sample.value, None);
    let time = sample.timestamp_ms.map(|t| format!(" {t}"));
    format!(
        "{{{}{labels}}} {value}{}",
        quoted(&sample.name),
        time.unwrap_or_default()
    )
}

/// Plain samples without quotes, which `prometheus-parse` reads well, have the same value there.
fn agrees_with_the_oracle(body: &str, lines: &[(usize, Line<'_>)]) {
    let texts: Vec<&str> = body.split('\n').collect();
    for (number, line) in lines {
        let Line::Sample(sample) = line else { continue };
        let text = texts[number - 1];
        let plain = |c: char| c.is_ascii_alphanumeric() || "_:.+- ".contains(c);
        if !text.chars().all(plain)
            || sample.timestamp_ms.is_some()
            || !text.starts_with(&*sample.name)
        {
            continue;
        }
        let scrape = prometheus_parse::Scrape::parse([Ok(text.to_owned())].into_iter());
        let Ok(scrape) = scrape else { continue };
        let [theirs] = &scrape.samples[..] else {
            continue;
        };
        let prometheus_parse::Value::Untyped(value) = theirs.value else {
            continue;
        };
        assert_eq!(theirs.metric, sample.name, "{text:?}");
        assert!(
            same(value, sample.value),
            "{text:?}: {value} and {}",
            sample.value
        );
    }
}

/// A rule file: errors lie within the text and can be shown; what is accepted can be evaluated.
pub fn rules(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let rules = match RuleSet::from_sources([("fuzzed.yml", text)]) {
        Ok(rules) => rules,
        Err(errors) => {
            assert!(!errors.is_empty());
            // An error may lie at the very end, behind the last line feed.
            let lines = text.split('\n').count();
            for error in errors {
                assert!(!error.reason.is_empty());
                assert!(error.line <= lines, "{error:?}");
                let _ = error.to_string();
            }
            return;
        }
    };
    let settings = lint::Settings {
        contract: None,
        scrape_interval_ms: 15_000,
        evaluation_interval_ms: 15_000,
    };
    let report = lint::check(&[("fuzzed.yml".into(), text.into())], &settings);
    for finding in report.expect("they are rules").findings {
        assert!(finding.line >= 1 && finding.column >= 1, "{finding}");
    }
    let mut store = SeriesStore::new();
    for job in ["a", "b"] {
        for minute in 0..10 {
            let labels = Labels::of(&[("__name__", "up"), ("job", job)]);
            let value = if job == "a" && minute > 4 { 0.0 } else { 1.0 };
            store
                .append(&labels, minute * 60_000, value)
                .expect("in order");
        }
    }
    if let Ok(timeline) = rules.evaluate(&store, &Schedule::steady(0, 600_000, 60_000)) {
        drop(timeline);
    }
}

/// A script: errors lie within the text; what is accepted runs, and gives one outcome per eval.
pub fn promqltest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let lines = text.split('\n').count();
    match Script::parse(text) {
        Err(error) => assert!(error.line >= 1 && error.line <= lines, "{error}"),
        Ok(script) => match script.run() {
            Err(error) => assert!(error.line >= 1 && error.line <= lines, "{error}"),
            Ok(report) => {
                assert_eq!(report.evals.len(), script.evals());
                let sum = report.passed() + report.failed() + report.refused();
                assert_eq!(sum, script.evals());
            }
        },
    }
}

/// A query over some series: a range answers at each step what an instant answers there, and fails only where one does.
pub fn evaluation(input: &[u8]) {
    let mut bytes = Bytes(input);
    let store = store(&mut bytes);
    let (start, step, count) = (
        i64::from(bytes.next()) * 10_000,
        [1, 1_000, 15_000, 60_000, 300_000][bytes.choose(5)],
        bytes.choose(8) as i64,
    );
    let text = match bytes.choose(4) {
        0 => String::from_utf8_lossy(bytes.0).into_owned(),
        _ => expression(&mut bytes, 4),
    };
    let Ok(query) = Query::parse(&text) else {
        return;
    };
    let source = Source::new(&store);
    let options = Options {
        delayed_names: text.len().is_multiple_of(2),
        ..Options::default()
    };
    let range = query.range(&source, &options, (start, start + count * step), step);
    if text.contains("start") || text.contains("end") {
        return;
    }
    let instants: Vec<_> = (0..=count)
        .map(|at| query.at(&source, &options, start + at * step))
        .collect();
    match range {
        Err(error) => {
            let literal = instants
                .iter()
                .any(|answer| matches!(answer, Ok(Answer::Matrix(_) | Answer::Text(_))));
            let failed = instants.iter().any(Result::is_err);
            // `topk` looks at its counts of all steps before it begins, as in Prometheus.
            let counts = text.contains("topk") || text.contains("bottomk");
            let counts = counts && error.reason.starts_with("Scalar value");
            // Functions of ranges want distinct labels over all steps, as in Prometheus.
            let distinct = text.contains('[') && error.reason.ends_with("same labelset");
            assert!(
                failed || literal || counts || distinct,
                "{text}: only the range fails: {error}"
            );
        }
        // `sort` orders what `topk` then takes the first of, and in a range it orders nothing, as in Prometheus.
        Ok(_) if text.contains("sort") && (text.contains("topk") || text.contains("bottomk")) => {}
        Ok(range) => {
            for (at, instant) in instants.iter().enumerate() {
                let instant = match instant {
                    Ok(answer) => at_index(answer, 0),
                    Err(error) => panic!("{text}: only the instant fails: {error}"),
                };
                let ranged = at_index(&range, at);
                let keys =
                    |found: &BTreeMap<Labels, f64>| found.keys().cloned().collect::<Vec<_>>();
                assert_eq!(keys(&ranged), keys(&instant), "{text}");
                for (labels, value) in &instant {
                    let other = ranged[labels];
                    assert!(
                        close(*value, other),
                        "{text}: {labels} is {value} and {other}"
                    );
                }
            }
        }
    }
}

/// What an answer says at one of its instants.
fn at_index(answer: &Answer, at: usize) -> BTreeMap<Labels, f64> {
    match answer {
        Answer::Scalar(values) => BTreeMap::from([(Labels::default(), values[at])]),
        Answer::Vector(columns) => {
            let present = columns.iter().filter(|column| !is_stale(column.values[at]));
            let mut found = BTreeMap::new();
            for column in present {
                let before = found.insert(column.labels.clone(), column.values[at]);
                assert!(before.is_none(), "{} stands twice", column.labels);
            }
            found
        }
        Answer::Matrix(_) | Answer::Text(_) => BTreeMap::new(),
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan() && is_stale(a) == is_stale(b))
}

/// The same but for the order of additions.
fn close(a: f64, b: f64) -> bool {
    same(a, b) || (a - b).abs() <= 1e-9 * (a.abs() + b.abs())
}

/// Choices out of the input; zeroes when it is used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn choose(&mut self, count: usize) -> usize {
        usize::from(self.next()) % count
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.choose(texts.len())]
    }
}

/// Up to eight series of up to sixteen samples.
fn store(bytes: &mut Bytes<'_>) -> SeriesStore {
    let mut store = SeriesStore::new();
    for _ in 0..bytes.choose(8) {
        let name = bytes.of(&["a", "b", "c_bucket"]);
        let x = bytes.of(&["", "1", "2"]);
        let le = bytes.of(&["", "0.1", "1", "+Inf", "x"]);
        let labels = Labels::of(&[("__name__", name), ("x", x), ("le", le)]);
        let mut t_ms = 0;
        let mut value = 0.0;
        for _ in 0..bytes.choose(16) {
            let step = bytes.next();
            t_ms += i64::from(step) * 1_000 + 1;
            value = match bytes.next() {
                0 => alerts::number::STALE,
                1 => f64::NAN,
                2 => f64::INFINITY,
                3 => f64::NEG_INFINITY,
                4 => f64::MAX,
                5 => f64::MIN_POSITIVE,
                6 => -0.0,
                7 => 1e15,
                byte if byte < 128 => f64::from(byte) / 8.0 - 4.0,
                byte if is_stale(value) => f64::from(byte),
                byte => value + f64::from(byte - 127),
            };
            let value = if value.is_nan() && !is_stale(value) {
                f64::NAN
            } else {
                value
            };
            // The same series may have been drawn before; what does not fit behind it is left out.
            let _ = store.append(&labels, t_ms, value);
        }
    }
    store
}

/// An expression, mostly well typed.
fn expression(bytes: &mut Bytes<'_>, depth: usize) -> String {
    const RANGE: &[&str] = &[
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "deriv",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "present_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "absent_over_time",
        "first_over_time",
    ];
    const INSTANT: &[&str] = &[
        "abs",
        "ceil",
        "floor",
        "exp",
        "ln",
        "log2",
        "log10",
        "sqrt",
        "sgn",
        "round",
        "sort",
        "sort_desc",
        "timestamp",
        "absent",
        "scalar",
        "hour",
        "day_of_month",
        "days_in_month",
        "year",
        "sin",
        "acosh",
        "deg",
        "histogram_fraction",
    ];
    const GROUP: &[&str] = &[
        "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar",
    ];
    if depth == 0 {
        return selector(bytes);
    }
    let depth = depth - 1;
    match bytes.choose(14) {
        0 => bytes
            .of(&["0", "1", "-1", "0.5", "2", "NaN", "Inf", "1e9", "time()"])
            .into(),
        1 | 2 => selector(bytes),
        3 | 4 => format!("{}({})", bytes.of(RANGE), window(bytes, depth)),
        5 => format!("{}({})", bytes.of(INSTANT), expression(bytes, depth)),
        6 | 7 => {
            let by = bytes.of(&[
                "",
                " by (x)",
                " without (x)",
                " by (le)",
                " by ()",
                " without (__name__)",
            ]);
            format!("{}{by} ({})", bytes.of(GROUP), expression(bytes, depth))
        }
        8 => {
            let parameter = bytes.of(&["1", "2", "0", "-1", "0.5", "scalar(a)", "NaN"]);
            let operator = bytes.of(&["topk", "bottomk", "quantile"]);
            format!("{operator}({parameter}, {})", expression(bytes, depth))
        }
        9 | 10 => {
            let left = expression(bytes, depth);
            let operator = bytes.of(&[
                "+", "-", "*", "/", "%", "^", "==", "!= bool", ">", "< bool", ">=", "<= bool",
                "and", "or", "unless", "atan2",
            ]);
            let matching = bytes.of(&[
                "",
                "",
                "on (x)",
                "ignoring (le)",
                "on ()",
                "on (x) group_left ()",
                "ignoring (le) group_right (le)",
                "on (x) group_left (le)",
            ]);
            format!(
                "({left}) {operator} {matching} ({})",
                expression(bytes, depth)
            )
        }
        11 => format!("-({})", expression(bytes, depth)),
        12 => match bytes.choose(3) {
            0 => format!(
                "histogram_quantile({}, {})",
                bytes.of(&["0.5", "0", "1", "2", "NaN"]),
                expression(bytes, depth)
            ),
            1 => format!(
                "label_replace({}, \"x\", \"$1\", \"le\", \"(.*)\")",
                expression(bytes, depth)
            ),
            _ => format!("count_values(\"x\", {})", expression(bytes, depth)),
        },
        _ => match bytes.choose(4) {
            0 => format!("quantile_over_time(0.5, {})", window(bytes, depth)),
            1 => format!("predict_linear({}, 60)", window(bytes, depth)),
            2 => format!("vector({})", bytes.of(&["1", "time()", "scalar(b)"])),
            _ => format!("clamp({}, -1, 1)", expression(bytes, depth)),
        },
    }
}

fn selector(bytes: &mut Bytes<'_>) -> String {
    let name = bytes.of(&[
        "a",
        "b",
        "c_bucket",
        "{__name__=~\"a|b\"}",
        "a{x=\"1\"}",
        "{le!=\"\"}",
        "nosuch",
    ]);
    format!("{name}{}", when(bytes))
}

fn when(bytes: &mut Bytes<'_>) -> &'static str {
    bytes.of(&[
        "",
        "",
        "",
        " offset 1m",
        " offset -30s",
        " @ 60",
        " @ 60 offset 10s",
    ])
}

fn window(bytes: &mut Bytes<'_>, depth: usize) -> String {
    let range = bytes.of(&["1m", "30s", "5m", "1ms", "1h"]);
    if bytes.choose(3) == 0 {
        let step = bytes.of(&["", "10s", "1m", "7s"]);
        return format!(
            "({})[{range}:{step}]{}",
            expression(bytes, depth),
            when(bytes)
        );
    }
    let name = bytes.of(&["a", "b", "c_bucket", "{__name__=~\"a|b\"}"]);
    format!("{name}[{range}]{}", when(bytes))
}
