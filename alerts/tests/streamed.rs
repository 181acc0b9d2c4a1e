//! A unit-test file read test by test says what the same file says when it is read whole, or that it has to be read whole.

use std::io::{BufRead, Cursor};

use alerts::unit::{Files, Suite, Tests};
use proptest::prelude::*;

/// One test file beside one rule file.
struct Disk(String);

impl Files for Disk {
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok((pattern == "rules.yml")
            .then(|| pattern.to_owned())
            .into_iter()
            .collect())
    }

    fn read(&self, path: &str) -> Result<String, String> {
        Ok(match path {
            "rules.yml" => RULES.into(),
            _ => self.0.clone(),
        })
    }

    fn open(&self, _path: &str) -> Option<Box<dyn BufRead + Send>> {
        Some(Box::new(Cursor::new(self.0.clone().into_bytes())))
    }
}

const RULES: &str = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0}\n";

/// Both ways of reading in comparable form; `None` where the file is refused, or has to be read whole.
fn both(text: &str) -> (Option<String>, Option<String>) {
    let disk = Disk(text.to_owned());
    let whole = Suite::load("test.yml", &disk)
        .ok()
        .map(|suite| format!("{:?} {:?} {:?}", suite.file, suite.tests, suite.warnings));
    let streamed = Tests::open("test.yml", &disk).and_then(|mut stream| {
        let tests: Vec<_> = stream.by_ref().collect();
        let suite = stream.suite().clone();
        let warnings: Vec<String> = suite
            .warnings
            .iter()
            .cloned()
            .chain(stream.end()?)
            .collect();
        Some(format!("{:?} {tests:?} {warnings:?}", suite.file))
    });
    (whole, streamed)
}

#[test]
fn a_plain_file_is_read_test_by_test() {
    for text in [
        "rule_files: [rules.yml]\nevaluation_interval: 15s\ntests:\n- name: a\n  input_series: [{series: up, values: 0x9}]\n  alert_rule_test: [{eval_time: 1m, alertname: Down}, {eval_time: 1m, alertname: Up}]\n- name: b\n",
        "rule_files: [rules.yml, none*.yml]\ntests: [{name: a}, {name: &b b}, {name: *b}]\n",
        "tests:\n- input_series: [{series: up, values: \"1\\n\\n2\"}, {series: up2, values: 1}]\n",
        "tests:\n- name: a\nfuzzy_compare: false\n",
        "rule_files: [&r rules.yml]\ntests:\n- {name: *r}\n---\ntests: [{name: second}]\n",
        "tests: []\n",
        "evaluation_interval: 1h\n",
        "",
    ] {
        let (whole, streamed) = both(text);
        assert!(whole.is_some(), "{text}");
        assert_eq!(whole, streamed, "{text}");
    }
}

#[test]
fn what_is_odd_is_left_to_reading_the_whole() {
    for (fine, text) in [
        (true, "tests: [{name: a}]\nevaluation_interval: 15s\n"),
        (true, "tests: &all [{name: a}]\n"),
        (true, "&root\ntests: [{name: a}]\n"),
        (true, "rule_files: &all []\ntests: *all\n"), // nothing to give away, yet an alias
        (true, "tests:\n  - name: |\n      torn"),
        (false, "x: &x {tests: [{name: a}]}\n<<: *x\n"),
        (false, "tests: [{name: a}]\nevaluation_interval: soon\n"),
        (false, "tests: [{name: a}, {nam: b}]\n"),
        (false, "tests: [{name: a}, {name: \"\u{7}\"}]\n"),
        (false, "tests: [{name: a}, {name: !b, alertname: c}]\n"),
        (false, "tests: [{name: a}]\ntests: [{name: b}]\n"),
        (false, "tests: {name: a}\n"),
        (false, "tests:\n- name: a\n - name: b\n"),
        (false, "rule_files: [missing.yml]\ntests: [{name: a}]\n"),
    ] {
        let (whole, streamed) = both(text);
        assert_eq!(whole.is_some(), fine, "{text}");
        let empty = text.contains("*all");
        assert_eq!(streamed.is_some(), empty, "{text}");
    }
}

/// Divided by a character that none of them holds.
const PIECES: &str = "tests:¦\n¦\n- ¦\n  ¦name: ¦a¦b¦rule_files: ¦[rules.yml]¦[¦]¦{¦}¦, ¦&x ¦*x¦<<: ¦evaluation_interval: 15s¦fuzzy_compare: true¦\
    interval: 1m¦input_series: [{series: up, values: 1}]¦alert_rule_test: [{eval_time: 1m, alertname: Up}]¦---¦...¦# ¦!¦|¦'¦\"¦~¦tests: [{name: a}]\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// It may say less, never something else.
    #[test]
    fn both_ways_agree_on_any_text(pieces in prop::collection::vec(prop::sample::select(PIECES.split('¦').collect::<Vec<_>>()), 0..16), head in any::<bool>()) {
        let head = if head { "rule_files: [rules.yml]\ntests:\n- name: a\n" } else { "" };
        let text = format!("{head}{}\n", pieces.concat());
        let (whole, streamed) = both(&text);
        if let Some(streamed) = streamed {
            prop_assert_eq!(Some(streamed), whole, "{:?}", text);
        }
    }
}
