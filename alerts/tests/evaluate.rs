//! What an evaluation of several rules answers.

use alerts::labels::Labels;
use alerts::number::STALE;
use alerts::rules::{RuleSet, Schedule, Up};
use alerts::series::SeriesStore;
use alerts::timeline::Timeline;

fn rule(body: &str) -> String {
    format!("groups:\n  - name: g\n    rules:\n{body}")
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

#[test]
fn a_snapshot_is_what_the_last_evaluation_before_it_left() {
    let rules = "
groups:
  - name: g
    rules:
      - alert: A
        expr: up < 1
        for: 30s
        keep_firing_for: 30s
        annotations: {text: '{{ $labels.__name__ }} {{ $value }} of {{ query \"count(up)\" | first | value }}'}
";
    let rows = [(up("a"), "1 0 -1 -2 1 1 1 1")];
    let at_s = [-1, 14, 15, 44, 45, 59, 60, 75, 90, 1000];
    let schedule = Schedule {
        snapshots: at_s.iter().map(|t| t * 1000).collect(),
        ..Schedule::steady(0, 105_000, 15_000)
    };
    let set = RuleSet::from_sources([("a.yml", rules)]).expect("loads");
    let evaluation = set
        .evaluate_recorded(&store(&rows), &schedule)
        .expect("evaluates");
    let shown: Vec<String> = at_s
        .iter()
        .zip(&evaluation.snapshots)
        .map(|(t, alerts)| {
            let alerts = alerts.iter().map(|alert| {
                let kept = alert.keep_firing_since_ms.map(|t| t / 1000);
                let since = alert.active_at_ms / 1000;
                let text = &alert.annotations["text"];
                format!("{:?} since {since} kept {kept:?}: {text}", alert.state)
            });
            format!("{t}: {}", alerts.collect::<Vec<_>>().join(", "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "-1: ",
            "14: ",
            "15: Pending since 15 kept None: up 0 of 1",
            "44: Pending since 15 kept None: up -1 of 1",
            "45: Firing since 15 kept None: up -2 of 1",
            "59: Firing since 15 kept None: up -2 of 1",
            "60: Firing since 15 kept Some(60): up -2 of 1",
            "75: Firing since 15 kept Some(60): up -2 of 1",
            "90: ",
            "1000: ",
        ]
    );
}

#[test]
fn groups_run_in_the_order_that_is_asked_for() {
    let rules = "
groups:
  - {name: reader, rules: [{alert: A, expr: late > 0}]}
  - {name: writer, rules: [{record: late, expr: up}]}
";
    let rows = [(up("a"), "0 1 1 0 0")];
    let set = RuleSet::from_sources([("a.yml", rules)]).expect("loads");
    let run = |set: &RuleSet| {
        let timeline = set.evaluate(&store(&rows), &Schedule::steady(0, 60_000, 15_000));
        summary(&timeline.expect("evaluates"))
    };
    assert_eq!(
        run(&set),
        ["{alertname=\"A\", job=\"a\"}: firing@30 resolved@60"]
    );
    let ordered = set.in_order(&["writer", "reader"]);
    assert_eq!(
        run(&ordered),
        ["{alertname=\"A\", job=\"a\"}: firing@15 resolved@45"]
    );
}

#[test]
fn an_evaluation_ends_at_the_first_instant_at_which_rules_fail() {
    let rules = "
groups:
  - name: g
    rules:
      - {alert: Good, expr: x > 0}
      - {record: r, expr: x * on () up}
      - {alert: Late, expr: up * on () up}
";
    let rows = [
        (Labels::of(&[("__name__", "x")]), "1 1 1 1"),
        (up("a"), "1 1 1 1"),
        (up("b"), ". . 1 1"),
    ];
    let schedule = Schedule {
        snapshots: vec![15_000, 30_000, 45_000],
        ..Schedule::steady(0, 45_000, 15_000)
    };
    let set = RuleSet::from_sources([("a.yml", rules)]).expect("loads");
    let evaluation = set.evaluate_until_failure(&store(&rows), &schedule);
    let failed: Vec<(&str, i64)> = evaluation
        .failures
        .iter()
        .map(|failure| (&*failure.rule, failure.t_ms))
        .collect();
    assert_eq!(failed, [("r", 30_000), ("Late", 30_000)]);
    let active: Vec<usize> = evaluation.snapshots.iter().map(Vec::len).collect();
    assert_eq!(active, [2, 0, 0]);
}

#[test]
fn a_rule_sees_nothing_of_what_comes_after_its_evaluation() {
    let rules = "
groups:
  - name: g
    rules:
      - {alert: Ahead, expr: up offset -15s == 0}
      - {alert: Query, expr: vector(1), labels: {seen: '{{ query \"late\" | len }}'}}
      - {record: late, expr: up}
";
    let rows = [(up("a"), "1 0 0")];
    let timeline = evaluate(rules, &rows, &Schedule::steady(0, 30_000, 15_000)).expect("evaluates");
    assert_eq!(
        summary(&timeline),
        [
            "{alertname=\"Ahead\", job=\"a\"}: firing@15",
            "{alertname=\"Query\", seen=\"0\"}: firing@0 resolved@15",
            "{alertname=\"Query\", seen=\"1\"}: firing@15",
        ]
    );
}

/// Every sample that rules wrote, `series value@second …`.
fn written(rules: &str, rows: &[(Labels, &str)], schedule: &Schedule) -> Vec<String> {
    let set = RuleSet::from_sources([("a.yml", rules)]).expect("loads");
    let evaluation = set
        .evaluate_recorded(&store(rows), schedule)
        .expect("evaluates");
    let stores = std::iter::once(&evaluation.recorded);
    let series = stores.flat_map(|store| store.all().map(move |series| (store, series)));
    let lines = series.map(|(store, series)| {
        let samples = store.samples(series, i64::MIN, i64::MAX);
        let shown = samples.t_ms.iter().zip(&samples.values).map(|(t, value)| {
            let value = if value.to_bits() == STALE.to_bits() {
                "stale".into()
            } else {
                value.to_string()
            };
            format!("{value}@{}", t / 1000)
        });
        format!(
            "{} {}",
            store.labels(series),
            shown.collect::<Vec<_>>().join(" ")
        )
    });
    lines.collect()
}

#[test]
fn samples_carry_the_instant_that_was_looked_at_and_unexpanded_labels_where_they_are_empty() {
    let rules = "
groups:
  - name: g
    query_offset: 15s
    rules:
      - {record: r, expr: up}
      - {alert: A, expr: up == 0, labels: {x: '{{ $labels.none }}', team: ''}}
";
    let rows = [(up("a"), "1 0 1")];
    assert_eq!(
        written(rules, &rows, &Schedule::steady(15_000, 45_000, 15_000)),
        [
            "r{job=\"a\"} 1@0 0@15 1@30",
            "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\", x=\"{{ $labels.none }}\"} 1@15 stale@30",
            "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\", x=\"{{ $labels.none }}\"} 30@15 stale@30",
        ]
    );
}

#[test]
fn after_a_restart_alerts_write_nothing_until_they_are_restored() {
    let rules =
        rule("      - {alert: A, expr: up == 0, for: 15s}\n      - {record: r, expr: up == 0}\n");
    let rows = [(up("a"), "0 0 0 0 0 0 1")];
    let schedule = Schedule {
        up: vec![
            Up {
                from_ms: 0,
                to_ms: 20_000,
                restarted: false,
            },
            Up {
                from_ms: 40_000,
                to_ms: 200_000,
                restarted: true,
            },
        ],
        ..Schedule::steady(0, 90_000, 15_000)
    };
    assert_eq!(
        written(&rules, &rows, &schedule),
        [
            "ALERTS{alertname=\"A\", alertstate=\"pending\", job=\"a\"} 1@0 stale@15",
            "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} 0@0 0@15 45@75 stale@90",
            "r{job=\"a\"} 0@0 0@15 0@45 0@60 0@75 stale@90",
            "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\"} 1@15 1@75 stale@90",
        ]
    );
}
