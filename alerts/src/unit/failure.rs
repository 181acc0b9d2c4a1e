//! What a failed check says, in promtool's words.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use crate::labels::Labels;
use crate::number::format_e;

/// An alert as a report shows it. Unlike [`Labels`], these maps keep empty values: promtool compares those too.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Shown {
    /// Its labels, `alertname` included.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// Other alerts fired than expected.
    Alerts {
        /// The test's name; empty when it has none.
        test: String,
        /// The alert's name.
        alertname: String,
        /// `eval_time`, milliseconds.
        eval_ms: i64,
        /// What was expected, sorted.
        expected: Vec<Shown>,
        /// What fired, sorted.
        got: Vec<Shown>,
    },
    /// An expression answered something else.
    Samples {
        /// The expression.
        expr: String,
        /// `eval_time`, milliseconds.
        eval_ms: i64,
        /// What was expected, sorted, each as text.
        expected: Vec<String>,
        /// What was answered, sorted, each as text.
        got: Vec<String>,
    },
    /// An expression could not be evaluated.
    Expression {
        /// The expression.
        expr: String,
        /// `eval_time`, milliseconds.
        eval_ms: i64,
        /// Why.
        reason: String,
    },
    /// A rule could not be evaluated, where the test ended.
    Rule {
        /// The rule's name.
        rule: String,
        /// The instant, milliseconds since the epoch.
        t_ms: i64,
        /// Why.
        reason: String,
    },
    /// An alert fired that no check of the test expects.
    Unexpected {
        /// The test's name; empty when it has none.
        test: String,
        /// The alert's name.
        alertname: String,
        /// The evaluation in which it began to fire, milliseconds after the start.
        eval_ms: i64,
        /// The alert.
        got: Shown,
    },
}

impl Failure {
    /// Expected and got as texts of several lines, for a difference line by line; `None` where nothing is compared.
    pub fn sides(&self) -> Option<(String, String)> {
        match self {
            Failure::Alerts { expected, got, .. } => {
                Some((alerts_text(expected), alerts_text(got)))
            }
            Failure::Samples { expected, got, .. } => Some((lines(expected), lines(got))),
            _ => None,
        }
    }

    /// The line or lines that say which check failed.
    pub fn head(&self) -> String {
        let mut out = String::new();
        match self {
            Failure::Alerts {
                test,
                alertname,
                eval_ms,
                ..
            }
            | Failure::Unexpected {
                test,
                alertname,
                eval_ms,
                ..
            } => {
                if !test.is_empty() {
                    let _ = writeln!(out, "    name: {test},");
                }
                let _ = write!(
                    out,
                    "    alertname: {alertname}, time: {}",
                    duration(*eval_ms)
                );
            }
            Failure::Samples { expr, eval_ms, .. } | Failure::Expression { expr, eval_ms, .. } => {
                let _ = write!(
                    out,
                    "    expr: {}, time: {}",
                    quoted(expr),
                    duration(*eval_ms)
                );
            }
            Failure::Rule { rule, t_ms, .. } => {
                let _ = write!(out, "    rule: {rule}, time: {}", go_duration(*t_ms));
            }
        }
        out
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        let indented = |text: String| text.replace('\n', "\n            ");
        match self {
            Failure::Alerts { expected, got, .. } => write!(
                f,
                ", \n        exp:{}, \n        got:{}",
                indented(alerts_text(expected)),
                indented(alerts_text(got))
            ),
            Failure::Samples { expected, got, .. } => {
                let samples = |samples: &[String]| match samples {
                    [] => "nil".into(),
                    samples => samples.join(", "),
                };
                write!(
                    f,
                    ",\n        exp: {}\n        got: {}",
                    samples(expected),
                    samples(got)
                )
            }
            Failure::Expression { reason, .. } | Failure::Rule { reason, .. } => {
                write!(f, ", err: {reason}")
            }
            Failure::Unexpected { got, .. } => write!(
                f,
                ", \n        exp: nothing else fires, \n        got:{}",
                indented(alerts_text(std::slice::from_ref(got)))
            ),
        }
    }
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// Alerts as promtool lists them.
fn alerts_text(alerts: &[Shown]) -> String {
    if alerts.is_empty() {
        return "[]".into();
    }
    let mut out = String::from("[");
    for (at, alert) in alerts.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}\n{at}:\n  Labels:{}\n  Annotations:{}",
            labels_text(&alert.labels),
            labels_text(&alert.annotations)
        );
    }
    out + "\n]"
}

/// Labels as Go prints them.
fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let plain = |name: &str| {
        let mut chars = name.chars();
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        chars.next().is_some_and(first) && chars.all(|c| first(c) || c.is_ascii_digit())
    };
    let items: Vec<String> = labels
        .iter()
        .map(|(name, value)| match plain(name) {
            true => format!("{name}={}", quoted(value)),
            false => format!("{}={}", quoted(name), quoted(value)),
        })
        .collect();
    format!("{{{}}}", items.join(", "))
}

/// A sample as promtool prints it: `{job="a"} 5E-01`.
pub(super) fn sample_text(labels: &Labels, value: f64) -> String {
    let number = format_e(value, None);
    let number = match value.is_finite() {
        true => number.to_uppercase(),
        false => number,
    };
    format!("{} {number}", labels_text(&map(labels)))
}

/// A label set as a report shows it.
pub(super) fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// Text in quotes, as Go's `strconv.Quote` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A duration as Prometheus writes it: `1h30m`, `0s`.
fn duration(millis: i64) -> String {
    const UNITS: [(&str, i64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    let (mut rest, mut out) = (millis, String::new());
    for (unit, size, whole) in UNITS {
        // Years and weeks only where nothing remains.
        if (!whole || rest % size == 0) && rest / size > 0 {
            let _ = write!(out, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    match out.is_empty() {
        true => "0s".into(),
        false => out,
    }
}

/// A duration as Go writes it: `1h30m0s`, `1.5s`, `0s`.
fn go_duration(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    if millis > 0 && millis < 1000 {
        return format!("{sign}{millis}ms");
    }
    let seconds = match rest % 1000 {
        0 => format!("{}s", rest / 1000),
        part => {
            let part = format!("{part:03}");
            format!("{}.{}s", rest / 1000, part.trim_end_matches('0'))
        }
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_prometheus_and_go_write_them() {
        let cases = [
            (0, "0s", "0s"),
            (90_000, "1m30s", "1m30s"),
            (3_600_000, "1h", "1h0m0s"),
            (5, "5ms", "5ms"),
            (1_500, "1s500ms", "1.5s"),
            (86_400_000, "1d", "24h0m0s"),
            (604_800_000, "1w", "168h0m0s"),
            (604_801_000, "7d1s", "168h0m1s"),
            (61_020, "1m1s20ms", "1m1.02s"),
        ];
        for (millis, prometheus, go) in cases {
            assert_eq!(duration(millis), prometheus, "{millis}");
            assert_eq!(go_duration(millis), go, "{millis}");
        }
    }

    #[test]
    fn text_is_quoted_as_go_quotes_it() {
        let cases = [
            ("a\"b\\c", r#""a\"b\\c""#),
            ("x\ny\u{1}\u{7f}é’", r#""x\ny\x01\x7fé’""#),
            ("\u{a0}", r#""\u00a0""#),
        ];
        for (text, want) in cases {
            assert_eq!(quoted(text), want);
        }
    }
}
