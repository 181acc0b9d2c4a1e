//! What promtool accepts is accepted, what it refuses is refused: a table and mutants of it, against an installed promtool.
//!
//! promtool is looked for in `FIREDRILL_PROMTOOL`, then in `PATH`; where there is none this says so, and with
//! `FIREDRILL_REQUIRE_LIVE=1` fails. Where we differ on purpose, and what changed between versions, stands in
//! [`DIFFERENCES`].

use alerts::rules::RuleSet;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod installed;

use installed::Promtool;

/// Who refuses, in which major version of promtool (0 is any), what the refusal says, and why that is right.
const DIFFERENCES: [(Side, u32, &str, &str); 10] = [
    (
        Side::Ours,
        0,
        "must answer a scalar or an instant vector",
        "promtool parses only; every evaluation would fail",
    ),
    (
        Side::Ours,
        0,
        "not supported",
        "native histograms and experimental functions",
    ),
    (
        Side::Ours,
        0,
        "cannot be read as !!binary",
        "no rule is written in base 64",
    ),
    (
        Side::Ours,
        0,
        "aliases stand for more than",
        "the bound differs from go-yaml's",
    ),
    (
        Side::Ours,
        0,
        "nested more than",
        "the bound differs from go-yaml's",
    ),
    (
        Side::Ours,
        2,
        "expected text, found a",
        "the type of a name is checked since 2.55",
    ),
    (
        Side::Promtool,
        2,
        "field query_offset not found",
        "since 2.53",
    ),
    (
        Side::Promtool,
        2,
        "field labels not found in type rulefmt.RuleGroup",
        "labels of groups since 3.0",
    ),
    (
        Side::Promtool,
        2,
        "invalid label name",
        "names are any UTF-8 since 3.0",
    ),
    (
        Side::Promtool,
        2,
        "invalid recording rule name",
        "names are any UTF-8 since 3.0",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Ours,
    Promtool,
}

const FULL: &str = "groups:
- name: g
  interval: 30s
  limit: 5
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {team: x, tier: \"1\"}
  - alert: Down
    expr: |
      up{job=~\"a.*\"} == 0
        and on (job) rate(x_total[5m]) > 0.5
    for: 1h30m
    keep_firing_for: 5m
    labels:
      severity: '{{ if gt $value 1.0 }}page{{ else }}ticket{{ end }}'
    annotations:
      summary: \"{{ $labels.job }} is {{ $value | humanize }}\"
      text: >-
        {{ range query \"up\" }}{{ .Labels.job }}
        {{ end }}
- name: h
  rules: []
";

/// Files on both sides of promtool's line, beyond what mutants of [`FULL`] reach.
const FILES: &[&str] = &[
    FULL,
    "",
    "---\n",
    "~",
    "[]",
    "{}",
    "5",
    "groups: ~",
    "groups: {}",
    "groups: []\n---\ngroups: 5\n",
    "groups: []\n---\n[",
    "groups: [{name: g}]\ngroups: []",
    "groups: [~]",
    "groups: [{name: ~}]",
    "groups: [{name: 5, rules: [{alert: 1.5, expr: 1}, {record: true, expr: 2000-01-01}]}]",
    "groups: [{name: g, rules: [~]}]",
    "groups: [{name: g, rules: [{alert: '', record: a, expr: up}]}]",
    "groups: [{name: g, rules: [{alert: a, record: ~, expr: up}]}]",
    "groups: [{name: g, rules: [{alert: a, record: b, expr: up}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: ~}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: '  '}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: [up]}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, labels: {a: 1, b: ~, c: true, d: 1.50, ~: x}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, labels: {a: [1]}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, labels: {a: 1, a: 2}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, labels: {__name__: x}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {__name__: x}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {'': x}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: x}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up, annotations: {}, for: 0s, keep_firing_for: 0m}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up, for: 1s}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up, keep_firing_for: 1s}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up, annotations: {a: b}}]}]",
    "groups: [{name: g, rules: [{record: 'sum(a)', expr: up}, {record: 'a-b', expr: up}]}]",
    "groups: [{name: g, rules: [{record: 'a{b}', expr: up}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up, labels: {a: '{{ nosuch }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, labels: {a-b: c, größe: d}}]}]",
    "groups: [{name: g, interval: 0s, limit: -3}]",
    "groups: [{name: g, interval: ''}]",
    "groups: [{name: g, interval: 0}]",
    "groups: [{name: g, interval: 5}]",
    "groups: [{name: g, interval: 300y}]",
    "groups: [{name: g, interval: -1m}]",
    "groups: [{name: g, interval: .inf}]",
    "groups: [{name: g, interval: [1m]}]",
    "groups: [{name: g, query_offset: 1m, labels: {a: b}}]",
    "groups: [{name: g, limit: 1.9}]",
    "groups: [{name: g, limit: 1e3}]",
    "groups: [{name: g, limit: 0x1F}]",
    "groups: [{name: g, limit: 0o17}]",
    "groups: [{name: g, limit: 017}]",
    "groups: [{name: g, limit: 1_000}]",
    "groups: [{name: g, limit: .nan}]",
    "groups: [{name: g, limit: .inf}]",
    "groups: [{name: g, limit: '5'}]",
    "groups: [{name: g, limit: ~}]",
    "groups: [{name: g, limit: true}]",
    "groups: [{name: g, limit: 99999999999999999999}]",
    "groups: [{name: g}, {name: g}]",
    "groups: [{name: g, <<: {limit: 5}}]",
    "groups: [{name: g, <<: [{limit: 5}, {limit: 6, interval: 1m}]}]",
    "groups: [{name: g, <<: {nosuch: 5}}]",
    "groups: [{name: g, <<: 5}]",
    "groups: [{name: g, '<<': {limit: 5}}]",
    "groups: [&a {name: g}, {<<: *a, name: h}]",
    "groups: [{name: g, rules: [{alert: &n a, expr: up, labels: &l {x: y}}, {alert: *n, expr: up, labels: *l}]}]",
    "groups: [*nosuch]",
    "groups: &a [*a]",
    "groups: [{name: !!str 5}]",
    "groups: [{name: !!int g}]",
    "groups: [{name: !custom g}]",
    "groups: !!seq []",
    "\u{feff}groups: []",
    "groups:\r\n- name: g\r\n",
    "groups:\n\t- name: g\n",
    "groups:\n- name: g\n  rules:\n  - alert: a\n    expr: up\n   for: 1m\n",
    "groups: [{name: \"a\u{1}\"}]",
    "groups: [{name: \"a\0\"}]",
    "groups: [{name: \"\\x01\\u00e4\"}]",
    "groups: [{name: g, ? [a] : b}]",
    "%YAML 1.1\n---\ngroups: []",
    "%YAML 3.0\n---\ngroups: []",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ graphLink \"up\" }}{{ tableLink \"up\" }}{{ safeHtml \"a\" }}{{ externalURL }}{{ pathPrefix }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ tmpl \"x\" . }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ if }}x{{ end }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ $labels.a.b | len | printf }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ break }}'}}]}]",
    "groups: [{name: g, rules: [{alert: a, expr: up, annotations: {a: '{{ $x = 1 }}'}}]}]",
];

/// Compares; answers how many were accepted and refused by both.
fn agrees(promtool: &Promtool, texts: &[String]) -> (usize, usize) {
    let (mut both, mut neither, mut wrong) = (0, 0, Vec::new());
    for (text, theirs) in texts.iter().zip(promtool.check(texts)) {
        let ours = RuleSet::from_sources([("a.yml", &**text)])
            .err()
            .map(|errors| {
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            });
        let (side, reason) = match (&ours, &theirs) {
            (None, None) => {
                both += 1;
                continue;
            }
            (Some(_), Some(_)) => {
                neither += 1;
                continue;
            }
            (Some(ours), None) => (Side::Ours, ours),
            (None, Some(theirs)) => (Side::Promtool, theirs),
        };
        let known = DIFFERENCES.iter().any(|(who, major, needle, _)| {
            *who == side && (*major == 0 || *major == promtool.major()) && reason.contains(needle)
        });
        if !known {
            wrong.push(format!("{side:?} refuses:\n{text}\n--- because\n{reason}"));
        }
    }
    println!(
        "{}: {both} accepted, {neither} refused by both, {} differ",
        promtool.path.display(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n=====\n"));
    (both, neither)
}

#[test]
fn files_are_accepted_and_refused_as_by_promtool() {
    Promtool::installed().iter().for_each(files_are_accepted);
}

fn files_are_accepted(promtool: &Promtool) {
    let texts: Vec<String> = FILES.iter().map(ToString::to_string).collect();
    let (both, neither) = agrees(promtool, &texts);
    assert!(
        both > 20 && neither > 20,
        "{both} and {neither}: promtool did not judge"
    );
}

/// One change of a text, at a place drawn.
#[derive(Debug, Clone)]
enum Change {
    DropLine,
    RepeatLine,
    Indent,
    Outdent,
    Value(&'static str),
    Key(&'static str),
    Insert(&'static str),
    Drop,
}

fn change() -> impl Strategy<Value = Change> {
    let values = prop::sample::select(vec![
        "", "~", "5", "-1", "1.5", "true", ".nan", ".inf", "'x'", "[]", "[a]", "{}", "{a: b}",
        "5m", "0", "1h1d", "|", "&a", "*a", "!!int x", "\"\\q\"",
    ]);
    let keys = prop::sample::select(vec![
        "alert", "record", "expr", "for", "labels", "nosuch", "<<", "", "limit",
    ]);
    let pieces = prop::sample::select(vec![
        "{{", "}}", "{", "}", "[", "]", "(", ")", "\"", "'", "|", ">", "&", "*", "!", "%", "@",
        "`", ":", "#", "-", "\t", "\\", "\u{1}", "ä", "==", "$", ",", " ", "0",
    ]);
    prop_oneof![
        2 => Just(Change::DropLine),
        2 => Just(Change::RepeatLine),
        1 => Just(Change::Indent),
        1 => Just(Change::Outdent),
        3 => values.prop_map(Change::Value),
        2 => keys.prop_map(Change::Key),
        4 => pieces.prop_map(Change::Insert),
        2 => Just(Change::Drop),
    ]
}

fn changed(text: &str, place: Index, change: &Change) -> String {
    let mut lines: Vec<String> = text.lines().map(ToString::to_string).collect();
    if lines.is_empty() {
        return text.into();
    }
    let at = place.index(lines.len());
    let line = lines[at].clone();
    let (key, value) = line.split_once(": ").unwrap_or((&line, ""));
    let indent = &key[..key.len() - key.trim_start_matches([' ', '-']).len()];
    match change {
        Change::DropLine => drop(lines.remove(at)),
        Change::RepeatLine => lines.insert(at, line.clone()),
        Change::Indent => lines[at] = format!(" {line}"),
        Change::Outdent => lines[at] = line.strip_prefix(' ').unwrap_or(&line).into(),
        Change::Value(value) => lines[at] = format!("{key}: {value}"),
        Change::Key(name) => lines[at] = format!("{indent}{name}: {value}"),
        Change::Insert(_) | Change::Drop => {
            let mut chars: Vec<char> = line.chars().collect();
            let at_char = place.index(chars.len() + 1);
            match change {
                Change::Insert(piece) => drop(chars.splice(at_char..at_char, piece.chars())),
                _ if at_char < chars.len() => drop(chars.remove(at_char)),
                _ => {}
            }
            lines[at] = chars.into_iter().collect();
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn mutants_are_accepted_and_refused_as_by_promtool() {
    Promtool::installed().iter().for_each(mutants_are_accepted);
}

fn mutants_are_accepted(promtool: &Promtool) {
    let count = std::env::var("FIREDRILL_MUTANTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(600);
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let changes = prop::collection::vec((any::<Index>(), change()), 1..3);
    let texts: Vec<String> = (0..count)
        .map(|_| {
            let drawn = changes.new_tree(&mut runner).expect("draws").current();
            drawn
                .iter()
                .fold(FULL.to_string(), |text, (place, change)| {
                    changed(&text, *place, change)
                })
        })
        .collect();
    agrees(promtool, &texts);
}
