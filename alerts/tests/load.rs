//! Loading rule files: what is refused, where, and how it reads; and what an evaluation of several rules answers.

use alerts::labels::Labels;
use alerts::number::STALE;
use alerts::rules::{RuleSet, Schedule, Up};
use alerts::series::SeriesStore;
use alerts::timeline::Timeline;

/// Errors of one file, as a user sees them.
fn refused(text: &str) -> String {
    match RuleSet::from_sources([("a.yml", text)]) {
        Ok(_) => "accepted".into(),
        Err(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn rule(body: &str) -> String {
    format!("groups:\n  - name: g\n    rules:\n{body}")
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let cases = [
        (
            rule("      - alert: A\n        expr: up ==\n"),
            "a.yml:5:15: expression of A: ",
        ),
        (
            rule("      - alert: A\n        expr: |\n          sum(up\n        for: 1m\n"),
            "a.yml:5:15: expression of A: ",
        ),
        (
            rule("      - alert: A\n        expr: up\n        fro: 1m\n"),
            "unknown field `fro`",
        ),
        (
            rule("      - alert: A\n        expr: up\n        for: 1x\n"),
            "a.yml:6:14: not a valid duration: \"1x\"",
        ),
        (
            rule("      - alert: A\n        expr: up\n        for: 1m1h\n"),
            "a.yml:6:14: not a valid duration",
        ),
        (
            rule("      - record: a:b\n        expr: up\n        for: 1m\n"),
            "a.yml:6:14: `for` is not allowed",
        ),
        (
            rule("      - record: a-b\n        expr: up\n"),
            "a.yml:4:17: invalid name \"a-b\"",
        ),
        (
            rule("      - alert: A\n        record: b\n        expr: up\n"),
            "a.yml:4:7: a rule must have one of",
        ),
        (
            rule("      - alert: A\n"),
            "field `expr` is missing or empty",
        ),
        (
            rule("      - alert: A\n        expr: up[5m]\n"),
            "must answer a scalar or an instant vector",
        ),
        (
            rule("      - alert: A\n        expr: mad_over_time(up[5m])\n"),
            "`mad_over_time` is experimental and not supported",
        ),
        (
            rule("      - alert: A\n        expr: histogram_count(up)\n"),
            "native histograms, which are not supported",
        ),
        (
            rule("      - alert: A\n        expr: up\n        labels:\n          a-b: c\n"),
            "invalid label name \"a-b\"",
        ),
        (
            rule(
                "      - alert: A\n        expr: up\n        annotations:\n          summary: '{{ nosuch }}'\n",
            ),
            "a.yml:6:21: template of summary: function \"nosuch\" not defined",
        ),
        (
            "groups:\n  - name: g\n  - name: g\n".into(),
            "a.yml:3:1: group \"g\" is defined twice",
        ),
        (
            "groups:\n  - name: g\n    intervall: 1m\n".into(),
            "unknown field `intervall`",
        ),
        ("groups: 5\n".into(), "a.yml:1:"),
        ("groups:\n  - name: [\n".into(), "a.yml:"),
    ];
    for (text, want) in cases {
        let got = refused(&text);
        assert!(
            got.contains(want),
            "{text}\n--- refused with\n{got}\n--- instead of {want}"
        );
    }
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let text = rule(
        "      - alert: A\n        expr: up\n      - alert: B\n        expr: up ==\n        for: soon\n",
    );
    let got = refused(&text);
    let (first, second) = got.split_once("\na.yml:8").expect("both are reported");
    assert!(
        first.starts_with("a.yml:7:15: expression of B: "),
        "{first}"
    );
    assert!(
        first.ends_with("\n  |         expr: up ==\n  |               ^"),
        "{first}"
    );
    assert_eq!(
        second,
        ":14: not a valid duration: \"soon\"\n  |         for: soon\n  |              ^"
    );
}

#[test]
fn a_value_that_is_left_out_is_empty_and_any_scalar_is_text() {
    let text = rule(
        "      - alert: A\n        expr: up == 1\n        labels: {a: , b: 1.10, c: true}\n        annotations: {d: ~}\n",
    );
    let set = RuleSet::from_sources([("a.yml", &*text)]).expect("loads");
    let (_, alert) = set.alerts().next().expect("one alert");
    assert_eq!(
        [
            alert.label("a"),
            alert.label("b"),
            alert.label("c"),
            alert.annotation("d")
        ],
        ["", "1.10", "true", ""]
    );
}

#[test]
fn a_missing_file_and_an_empty_folder_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = RuleSet::load(&[folder.path().join("no.yml")]).expect_err("refused");
    assert!(
        missing[0].to_string().contains("no.yml: cannot be read"),
        "{}",
        missing[0]
    );
    let empty = RuleSet::load(&[folder.path()]).expect_err("refused");
    assert!(
        empty[0].to_string().contains("holds no *.yml"),
        "{}",
        empty[0]
    );
}

/// Series by name and values 15 s apart; `.` is absent, `!` a stale marker.
fn store(rows: &[(Labels, &str)]) -> SeriesStore {
    let mut store = SeriesStore::new();
    for (labels, values) in rows {
        for (at, word) in values
            .split_whitespace()
            .enumerate()
            .filter(|(_, word)| *word != ".")
        {
            let value = if word == "!" {
                STALE
            } else {
                word.parse().expect("a number")
            };
            store
                .append(labels, at as i64 * 15_000, value)
                .expect("in order");
        }
    }
    store
}

fn evaluate(rules: &str, rows: &[(Labels, &str)], schedule: &Schedule) -> Result<Timeline, String> {
    let set =
        RuleSet::from_sources([("a.yml", rules)]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    set.evaluate(&store(rows), schedule)
        .map_err(|error| error.to_string())
}

/// `name{labels}: state@second …` per alert.
fn summary(timeline: &Timeline) -> Vec<String> {
    let lines = timeline.alerts.iter().map(|alert| {
        let changes = alert.transitions.iter().map(|c| {
            format!(
                "{}@{}",
                format!("{:?}", c.state).to_lowercase(),
                c.t_ms / 1000
            )
        });
        format!(
            "{}: {}",
            alert.labels,
            changes.collect::<Vec<_>>().join(" ")
        )
    });
    lines.collect()
}

fn up(job: &str) -> Labels {
    Labels::of(&[("__name__", "up"), ("job", job)])
}

#[test]
fn rules_of_a_group_see_earlier_results_and_alerts_see_themselves() {
    let rules = "
groups:
  - name: g
    labels: {team: x}
    rules:
      - record: up:doubled
        expr: up * 2
        labels: {kind: '{{ plain }}'}
      - alert: Low
        expr: up:doubled{kind=\"{{ plain }}\"} < 2
        for: 15s
        labels: {level: '{{ if gt $value -1.0 }}warn{{ end }}'}
        annotations: {text: '{{ $labels.job }} is {{ $value }}'}
  - name: h
    rules:
      - alert: Meta
        expr: ALERTS{alertname=\"Low\", alertstate=\"firing\"} == 1
      - alert: Own
        expr: count(ALERTS{alertname=\"Own\"}) < 1 or absent(ALERTS{alertname=\"Own\"})
";
    let rows = [(up("a"), "1 0 0 0 1 1"), (up("b"), "1 1 1 1 1 1")];
    let timeline = evaluate(rules, &rows, &Schedule::steady(0, 75_000, 15_000)).expect("evaluates");
    assert_eq!(
        summary(&timeline),
        [
            "{alertname=\"Low\", job=\"a\", kind=\"{{ plain }}\", level=\"warn\", team=\"x\"}: pending@15 firing@30 resolved@60",
            "{alertname=\"Meta\", alertstate=\"firing\", job=\"a\", kind=\"{{ plain }}\", level=\"warn\", team=\"x\"}: firing@30 resolved@60",
            "{alertname=\"Own\"}: firing@0 resolved@15 firing@30 resolved@45 firing@60 resolved@75",
        ]
    );
    assert_eq!(timeline.alerts[0].annotations["text"], "a is 0");
}

#[test]
fn a_later_rule_is_seen_one_evaluation_later() {
    let rules =
        rule("      - alert: A\n        expr: late > 0\n      - record: late\n        expr: up\n");
    let timeline = evaluate(
        &rules,
        &[(up("a"), "0 1 1 0 0")],
        &Schedule::steady(0, 60_000, 15_000),
    )
    .expect("evaluates");
    assert_eq!(
        summary(&timeline),
        ["{alertname=\"A\", job=\"a\"}: firing@30 resolved@60"]
    );
}

#[test]
fn intervals_offsets_and_outages_decide_when_rules_run() {
    let rules = "
groups:
  - {name: slow, interval: 30s, rules: [{alert: Slow, expr: up == 0}]}
  - {name: late, query_offset: 15s, rules: [{alert: Late, expr: up == 0}]}
";
    let rows = [(up("a"), "1 0 1 1 0 0 0 1 1")];
    let all = evaluate(rules, &rows, &Schedule::steady(0, 120_000, 15_000)).expect("evaluates");
    assert_eq!(
        summary(&all),
        [
            "{alertname=\"Slow\", job=\"a\"}: firing@60 resolved@120",
            "{alertname=\"Late\", job=\"a\"}: firing@30 resolved@45 firing@75 resolved@120",
        ]
    );
    let outage = Schedule {
        up: vec![
            Up {
                from_ms: 0,
                to_ms: 60_000,
                restarted: false,
            },
            Up {
                from_ms: 90_000,
                to_ms: 200_000,
                restarted: true,
            },
        ],
        ..Schedule::steady(0, 120_000, 15_000)
    };
    let gap = evaluate(rules, &rows, &outage).expect("evaluates");
    assert_eq!(
        summary(&gap),
        [
            "{alertname=\"Slow\", job=\"a\"}: firing@90 resolved@120",
            "{alertname=\"Late\", job=\"a\"}: firing@30 resolved@45 firing@90 resolved@120",
        ]
    );
}

#[test]
fn a_stale_series_ends_its_alert_at_once() {
    let rules = rule(
        "      - alert: A\n        expr: up == 0\n        for: 30s\n        keep_firing_for: 30s\n",
    );
    let rows = [(up("a"), "0 0 0 0 ! . . ."), (up("b"), "0 0 ! . . . . .")];
    let timeline =
        evaluate(&rules, &rows, &Schedule::steady(0, 105_000, 15_000)).expect("evaluates");
    assert_eq!(
        summary(&timeline),
        [
            "{alertname=\"A\", job=\"a\"}: pending@0 firing@30 resolved@90",
            "{alertname=\"A\", job=\"b\"}: pending@0 inactive@30",
        ]
    );
}

#[test]
fn a_rule_that_cannot_be_evaluated_fails_the_evaluation() {
    let rows = [
        (up("a"), "1 1"),
        (up("b"), "1 1"),
        (Labels::of(&[("__name__", "x")]), "1 1"),
    ];
    let cases = [
        (
            "      - alert: A\n        expr: x * on () up\n",
            "found duplicate series for the match group",
        ),
        (
            "      - alert: A\n        expr: up\n        labels: {job: same}\n",
            "same labelset after applying alert labels",
        ),
        (
            "      - record: r\n        expr: up\n        labels: {job: same}\n",
            "same labelset after applying rule labels",
        ),
    ];
    for (body, want) in cases {
        let error =
            evaluate(&rule(body), &rows, &Schedule::steady(0, 15_000, 15_000)).expect_err(body);
        assert!(
            error.starts_with("a.yml:4: rule ") && error.contains(want),
            "{error}"
        );
    }
    let limited = "groups: [{name: g, limit: 1, rules: [{alert: A, expr: up}]}]";
    let error = evaluate(limited, &rows, &Schedule::steady(0, 15_000, 15_000)).expect_err("limit");
    assert!(
        error.contains("exceeded limit of 1 with 2 alerts"),
        "{error}"
    );
}

#[test]
fn a_timeline_survives_json() {
    let rules = rule("      - alert: A\n        expr: up / 0\n");
    let timeline = evaluate(
        &rules,
        &[(up("a"), "1 0 1 !")],
        &Schedule::steady(0, 45_000, 15_000),
    )
    .expect("evaluates");
    let text = serde_json::to_string(&timeline).expect("writes");
    let read: Timeline = serde_json::from_str(&text).expect("reads");
    assert_eq!(read, timeline);
    assert!(text.contains("\"value\":\"+Inf\""), "{text}");
}
