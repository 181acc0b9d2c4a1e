//! A unit-test file for promtool, written.
//!
//! Invariant: what is written is what promtool 2 and 3 read back; every text stands in quotes. One line of values holds
//! [`LINE_MS`], so that a reader finds an instant by counting lines.

use std::collections::BTreeMap;
use std::fmt;

use super::grid::Grid;
use crate::labels::Labels;
use crate::notation::{write_labels, write_values};

/// Time that one line of values covers.
pub const LINE_MS: i64 = 5 * 60 * 1000;

/// One unit-test file with one test: rules, input series, and which alerts fire when.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTest {
    /// Lines that stand before everything as comments.
    pub comment: Vec<String>,
    /// Rule files, relative to the file.
    pub rule_files: Vec<String>,
    /// Names of the groups in the order of their evaluation, each once: without it promtool takes them in any order, another
    /// in each run.
    pub groups: Vec<String>,
    /// The input.
    pub grid: Grid,
    /// What is expected, in the order of `eval_ms`.
    pub alerts: Vec<AlertTest>,
}

/// Exactly these alerts of one name fire at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertTest {
    /// Instant of the evaluation, milliseconds from the first.
    pub eval_ms: i64,
    /// The alert's name.
    pub alert: String,
    /// Why it is looked at there, for a comment.
    pub why: Option<String>,
    /// Labels (`alertname` among them) and annotations of each alert that fires.
    pub firing: Vec<(Labels, BTreeMap<String, String>)>,
}

impl fmt::Display for UnitTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.comment.iter().flat_map(|text| text.split('\n')) {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        writeln!(f, "rule_files:")?;
        for file in &self.rule_files {
            writeln!(f, "  - {}", quoted(file))?;
        }
        if self.groups.len() > 1 {
            writeln!(f, "group_eval_order:")?;
            for group in &self.groups {
                writeln!(f, "  - {}", quoted(group))?;
            }
        }
        let interval_ms = self.grid.interval_ms;
        writeln!(f, "evaluation_interval: {}", duration(interval_ms))?;
        writeln!(f, "tests:")?;
        writeln!(f, "  - interval: {}", duration(interval_ms / 2))?;
        writeln!(f, "    input_series:")?;
        let slots = usize::try_from(LINE_MS * 2 / interval_ms.max(1)).unwrap_or(1);
        for (labels, values) in &self.grid.series {
            writeln!(f, "      - series: {}", quoted(&write_labels(labels)))?;
            writeln!(f, "        values: >-")?;
            for line in values.chunks(slots.max(1)) {
                writeln!(f, "          {}", write_values(line))?;
            }
        }
        writeln!(f, "    alert_rule_test:")?;
        self.alerts.iter().try_for_each(|alert| alert.fmt(f))
    }
}

impl fmt::Display for AlertTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why {
            writeln!(f, "      # {why}")?;
        }
        let (at, alert) = (duration(self.eval_ms), quoted(&self.alert));
        if self.firing.is_empty() {
            return writeln!(
                f,
                "      - {{ eval_time: {at}, alertname: {alert}, exp_alerts: [] }}"
            );
        }
        writeln!(f, "      - eval_time: {at}")?;
        writeln!(f, "        alertname: {alert}")?;
        writeln!(f, "        exp_alerts:")?;
        for (labels, annotations) in &self.firing {
            let labels = labels.iter().filter(|(name, _)| *name != "alertname");
            let labels: Vec<(&str, &str)> = labels.collect();
            let annotations = annotations.iter().map(|(name, text)| (&**name, &**text));
            map(f, "          - exp_labels:", &labels)?;
            map(
                f,
                "            exp_annotations:",
                &annotations.collect::<Vec<_>>(),
            )?;
        }
        Ok(())
    }
}

fn map(f: &mut fmt::Formatter<'_>, head: &str, entries: &[(&str, &str)]) -> fmt::Result {
    if entries.is_empty() {
        return writeln!(f, "{head} {{}}");
    }
    writeln!(f, "{head}")?;
    for (name, text) in entries {
        writeln!(f, "              {}: {}", quoted(name), quoted(text))?;
    }
    Ok(())
}

/// A duration as promtool reads it: `1h5m`, `7s500ms`, `0s`.
pub fn duration(ms: i64) -> String {
    let mut rest = ms.max(0);
    let mut out = String::new();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// A double-quoted YAML scalar on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Line breaks of YAML and what it does not let stand as it is.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::number::STALE;

    #[test]
    fn a_file_is_written_in_quotes_with_a_line_of_values_for_each_five_minutes() {
        let values = |count: usize| (0..count).map(|at| (at % 2 == 1).then_some(4.0)).collect();
        let mut ended: Vec<Option<f64>> = values(9);
        ended.push(Some(STALE));
        let annotations = [("summary", "It \"fires\":\n# 5 %"), ("on", "x")];
        let annotations = annotations.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let look = |eval_ms, why: Option<&str>, firing: &[&[(&str, &str)]]| AlertTest {
            eval_ms,
            alert: "Down".into(),
            why: why.map(str::to_owned),
            firing: firing
                .iter()
                .map(|labels| (Labels::of(labels), BTreeMap::from(annotations.clone())))
                .collect(),
        };
        let test = UnitTest {
            comment: vec!["Why.".into(), String::new(), "How.".into()],
            rule_files: vec!["rules/a.yml".into()],
            groups: vec!["records".into(), "alerts".into()],
            grid: Grid {
                interval_ms: 15_000,
                series: vec![
                    (
                        Labels::of(&[("__name__", "up"), ("job", "a\"b")]),
                        values(44),
                    ),
                    (Labels::of(&[("__name__", "gone")]), ended),
                ],
            },
            alerts: vec![
                look(0, None, &[]),
                look(
                    3_675_000,
                    Some("it fires"),
                    &[&[("alertname", "Down"), ("job", "a\"b")], &[]],
                ),
            ],
        };
        expect![[r##"
            # Why.
            #
            # How.
            rule_files:
              - "rules/a.yml"
            group_eval_order:
              - "records"
              - "alerts"
            evaluation_interval: 15s
            tests:
              - interval: 7s500ms
                input_series:
                  - series: "up{job=\"a\\\"b\"}"
                    values: >-
                      _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4 _ 4
                      _ 4 _ 4
                  - series: "gone"
                    values: >-
                      _ 4 _ 4 _ 4 _ 4 _ stale
                alert_rule_test:
                  - { eval_time: 0s, alertname: "Down", exp_alerts: [] }
                  # it fires
                  - eval_time: 1h1m15s
                    alertname: "Down"
                    exp_alerts:
                      - exp_labels:
                          "job": "a\"b"
                        exp_annotations:
                          "on": "x"
                          "summary": "It \"fires\":\n# 5 %"
                      - exp_labels: {}
                        exp_annotations:
                          "on": "x"
                          "summary": "It \"fires\":\n# 5 %"
        "##]]
        .assert_eq(&test.to_string());
    }

    #[test]
    fn durations_are_written_as_promtool_reads_them() {
        for (ms, text) in [
            (0, "0s"),
            (7_500, "7s500ms"),
            (345_000, "5m45s"),
            (90_000_000, "25h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
