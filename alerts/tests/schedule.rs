//! When rules run, what a restart leaves of their alerts, and what storage takes of what they write.
//!
//! Conditions are windows of seconds. `alerts/tests/manager/` compares the same with a server.

use alerts::rules::{Evaluation, Restoration, RuleSet, Schedule, Slots, Up};
use alerts::series::SeriesStore;

fn set(rules: &str) -> RuleSet {
    RuleSet::from_sources([("a.yml", rules)]).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

/// As a server does; where no rule fails, an evaluation that ends at the first failure must write the same.
fn evaluate(rules: &str, schedule: &Schedule) -> Evaluation {
    let rules = set(&format!("groups:\n{rules}").replace("NOW", "vector(time())"));
    let evaluation = rules.evaluate_past_failures(&SeriesStore::new(), schedule);
    if evaluation.failures.is_empty() {
        let other = rules.evaluate_until_failure(&SeriesStore::new(), schedule);
        assert_eq!(written(&other), written(&evaluation));
    }
    evaluation
}

/// One group of these rules.
fn group(rules: &[&str]) -> String {
    let rules: String = rules
        .iter()
        .map(|rule| format!("      - {{{rule}}}\n"))
        .collect();
    format!("  - name: g\n    rules:\n{rules}")
}

/// Every sample that rules wrote, `series value@second …`; `!` is a stale marker.
fn written(evaluation: &Evaluation) -> Vec<String> {
    let store = &evaluation.recorded;
    let lines = store.all().map(|series| {
        let samples = store.stream(series).map(|(t_ms, value)| match value {
            value if value.is_nan() => format!(" !@{}", t_ms / 1000),
            value => format!(" {value}@{}", t_ms / 1000),
        });
        format!("{}{}", store.labels(series), samples.collect::<String>())
    });
    lines.collect()
}

/// Changes of each alert, `state@second …`.
fn changes(evaluation: &Evaluation) -> Vec<String> {
    let lines = evaluation.timeline.alerts.iter().map(|alert| {
        let changes = alert.transitions.iter().map(|change| {
            let state = format!("{:?}", change.state).to_lowercase();
            format!("{state}@{}", change.t_ms / 1000)
        });
        changes.collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}

fn every_second(end_s: i64) -> Schedule {
    Schedule::steady(0, end_s * 1000, 1000)
}

/// Every second, killed before second `killed_s`, back before `back_s`, with a grace period of 3 s and a tolerance of 12 s.
fn killed(killed_s: i64, back_s: i64, end_s: i64) -> Schedule {
    let up = |from_s: i64, to_s: i64, restarted| Up {
        from_ms: from_s * 1000 - 500,
        to_ms: to_s * 1000 - 500,
        restarted,
    };
    Schedule {
        up: vec![up(0, killed_s, false), up(back_s, 1000, true)],
        restoration: Restoration {
            grace_ms: 3000,
            outage_tolerance_ms: 12_000,
        },
        ..every_second(end_s)
    }
}

#[test]
fn groups_are_evaluated_where_the_schedule_says() {
    let rules = "
groups:
  - {name: g, rules: [{record: r, expr: time()}]}
  - {name: slow, interval: 30s, rules: [{record: slow, expr: time()}]}
";
    let long = "x".repeat(300);
    // A short and a long text are hashed in two ways; the manager test sees servers evaluate at such offsets.
    let text = format!("groups: [{{name: g}}, {{name: {long}}}]");
    let groups = RuleSet::from_sources([("/etc/prometheus/rules.yml", &*text)]).expect("loads");
    let offsets: Vec<i64> = groups
        .groups()
        .iter()
        .map(|group| group.offset_ms(60_000))
        .collect();
    assert_eq!(offsets, [42_923, 46_473]);
    let instants = |schedule: &Schedule| {
        let evaluation = set(rules).evaluate_past_failures(&SeriesStore::new(), schedule);
        let store = &evaluation.recorded;
        let all = store
            .all()
            .map(|series| store.stream(series).map(|(t_ms, _)| t_ms).collect());
        all.collect::<Vec<Vec<i64>>>()
    };
    let steady = Schedule::steady(100_000, 150_000, 15_000);
    assert_eq!(
        instants(&steady),
        [
            vec![100_000, 115_000, 130_000, 145_000],
            vec![100_000, 130_000]
        ]
    );
    let staggered = Schedule {
        slots: Slots::Staggered,
        ..steady.clone()
    };
    let offsets: Vec<i64> = set(rules)
        .groups()
        .iter()
        .map(|group| group.offset_ms(15_000))
        .collect();
    for (instants, (offset, interval)) in instants(&staggered)
        .iter()
        .zip(offsets.iter().zip([15_000, 30_000]))
    {
        assert!(
            (100_000..100_000 + interval).contains(&instants[0]),
            "{instants:?}"
        );
        assert!(
            instants.iter().all(|t| t % interval == *offset),
            "{instants:?}"
        );
        assert!(
            instants[instants.len() - 1] > 150_000 - interval,
            "{instants:?}"
        );
    }
    let given = Schedule {
        slots: Slots::Given(vec![vec![99_999, 100_001, 140_000], vec![150_000, 150_001]]),
        ..steady
    };
    assert_eq!(instants(&given), [vec![100_001, 140_000], vec![150_000]]);
}

#[test]
fn of_a_series_that_two_rules_write_storage_takes_what_comes_first() {
    let rules = group(&[
        "record: equal, expr: vector(1) and on() (NOW < 2)",
        "record: equal, expr: vector(1) and on() (NOW >= 1 < 3)",
        "record: clash, expr: vector(1) and on() (NOW < 2)",
        "record: clash, expr: vector(2) and on() (NOW >= 1 < 4)",
        "record: read, expr: clash",
        "record: turns, expr: NOW < 1 or NOW >= 4",
        "record: turns, expr: NOW >= 2 < 3",
    ]);
    assert_eq!(
        written(&evaluate(&rules, &every_second(4))),
        [
            // The first rule's stale marker at 2 comes before the second rule's sample.
            "equal 1@0 1@1 !@2",
            "clash 1@0 1@1 !@2 2@3 !@4",
            "read 1@0 1@1 !@2 2@3 !@4",
            "turns 0@0 !@1 2@2 !@3 4@4",
        ]
    );
    let dated = "
  - {name: g, rules: [{record: r, expr: NOW < 3}]}
  - {name: dated, query_offset: 2s, rules: [{record: r, expr: NOW * 10}]}
";
    assert_eq!(
        written(&evaluate(dated, &every_second(6))),
        ["r 0@0 1@1 2@2 !@3 40@4"],
        "what is before the last sample is refused"
    );
    let refused = "
  - {name: g, rules: [{record: r, expr: NOW < 3}]}
  - {name: dated, interval: 2s, query_offset: 2s, rules: [{record: r, expr: NOW * 10 < 30}]}
";
    assert_eq!(
        written(&evaluate(refused, &every_second(9))),
        ["r 0@0 1@1 2@2 !@3"],
        "what was refused does not go stale"
    );
}

#[test]
fn a_rule_that_fails_writes_nothing_and_goes_on_at_the_next_instant() {
    let rules = group(&[
        "record: i, expr: 'label_replace(NOW, \"i\", \"1\", \"\", \"\")'",
        "record: i, expr: 'label_replace(NOW >= 2 < 4, \"i\", \"2\", \"\", \"\")'",
        "record: r, expr: NOW * on() i",
        "alert: A, expr: NOW * on() i >= 0, for: 2s",
    ]);
    let schedule = Schedule {
        snapshots: vec![3000],
        ..every_second(5)
    };
    let evaluation = evaluate(&rules, &schedule);
    let active = &evaluation.snapshots[0][0];
    assert_eq!((active.active_at_ms, active.value), (0, 1.0));
    let mut written = written(&evaluation);
    written.retain(|line| !line.starts_with("i{"));
    assert_eq!(
        written,
        [
            "r 0@0 1@1 16@4 25@5",
            "ALERTS{alertname=\"A\", alertstate=\"pending\"} 1@0 1@1 !@4",
            "ALERTS_FOR_STATE{alertname=\"A\"} 0@0 0@1 0@4 0@5",
            "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1@4 1@5",
        ]
    );
    let failed: Vec<String> = evaluation
        .failures
        .iter()
        .map(|failure| format!("{}@{}", failure.rule, failure.t_ms / 1000))
        .collect();
    assert_eq!(failed, ["r@2", "A@2", "r@3", "A@3"]);
}

#[test]
fn an_exceeded_limit_forgets_the_alerts_and_leaves_their_series() {
    let rules = "
  - name: g
    limit: 1
    rules:
      - {alert: A, expr: 'NOW or label_replace(NOW >= 2 < 4, \"i\", \"2\", \"\", \"\")', for: 1s}
";
    let schedule = Schedule {
        snapshots: vec![1000, 2000, 4000],
        ..every_second(5)
    };
    let evaluation = evaluate(rules, &schedule);
    assert_eq!(
        written(&evaluation),
        [
            "ALERTS{alertname=\"A\", alertstate=\"pending\"} 1@0 !@1 1@4 !@5",
            "ALERTS_FOR_STATE{alertname=\"A\"} 0@0 0@1 4@4 4@5",
            "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1@1 !@4 1@5",
        ]
    );
    assert_eq!(
        changes(&evaluation),
        ["pending@0 firing@1 resolved@2 pending@4 firing@5"]
    );
    let active: Vec<usize> = evaluation.snapshots.iter().map(Vec::len).collect();
    assert_eq!(active, [1, 0, 1]);
}

#[test]
fn a_start_without_memory_writes_no_alerts_in_its_first_two_evaluations() {
    let mut schedule = every_second(4);
    schedule.up[0].restarted = true;
    assert_eq!(
        written(&evaluate(
            &group(&["alert: A, expr: NOW", "record: r, expr: NOW < 1"]),
            &schedule
        )),
        [
            "r 0@0 !@1",
            "ALERTS{alertname=\"A\", alertstate=\"firing\"} 1@2 1@3 1@4",
            "ALERTS_FOR_STATE{alertname=\"A\"} 0@2 0@3 0@4",
        ]
    );
}

#[test]
fn a_restart_gives_waiting_time_back() {
    // Killed after second 7, evaluated again from second 10, restored a moment after second 11.
    let cases = [
        // Below the grace period: it waits anew.
        ("NOW >= 1", 2, "pending@1 firing@3 pending@10 firing@12"),
        // It fired.
        ("NOW >= 1", 4, "pending@1 firing@5 pending@10 firing@12"),
        // 2 s remained: the grace period, from a moment after an evaluation.
        ("NOW >= 1", 8, "pending@1 pending@10 firing@15"),
        // 3 s and more remained: they remain.
        ("NOW >= 2", 8, "pending@2 pending@10 firing@15"),
        ("NOW >= 3", 8, "pending@3 pending@10 firing@16"),
        // It ended while nobody looked, for good or not, or before.
        ("NOW >= 1 < 9", 8, "pending@1 inactive@10"),
        (
            "NOW >= 1 < 9 or NOW >= 11",
            8,
            "pending@1 inactive@10 pending@11 firing@15",
        ),
        (
            "NOW >= 1 < 9 or NOW >= 12",
            8,
            "pending@1 inactive@10 pending@12 firing@20",
        ),
        (
            "NOW >= 1 < 7 or NOW >= 9",
            8,
            "pending@1 inactive@7 pending@10 firing@18",
        ),
        // What goes on firing is no other firing.
        ("NOW >= 1 < 13", 0, "firing@1 resolved@13"),
        ("NOW >= 1 < 8", 0, "firing@1 resolved@10"),
    ];
    for (condition, for_s, want) in cases {
        let rule = format!("alert: A, expr: {condition}, for: {for_s}s");
        let evaluation = evaluate(&group(&[&rule]), &killed(8, 10, 20));
        assert_eq!(changes(&evaluation), [want], "{rule}");
    }
}

#[test]
fn restoration_reads_what_storage_holds() {
    // Written in whole seconds, and so is the time of the last sample: 6.9 s counts as 6 s.
    let late = Schedule {
        slots: Slots::Given(vec![(0..21).map(|second| second * 1000 + 900).collect()]),
        snapshots: vec![10_950],
        ..killed(8, 10, 30)
    };
    let late = evaluate(&group(&["alert: A, expr: NOW >= 3, for: 8s"]), &late);
    assert_eq!(late.snapshots[0][0].active_at_ms, 3000 + (10_901 - 6000));
    // Where the last samples are back-dated, the alert was down earlier.
    let dated = "  - {name: g, query_offset: 2s, rules: [{alert: A, expr: NOW >= 1, for: 8s}]}\n";
    assert_eq!(
        changes(&evaluate(dated, &killed(8, 10, 20))),
        ["pending@3 pending@10 firing@18"]
    );
    // Restarted once more before anything was written.
    let mut twice = killed(8, 10, 20);
    twice.up[1].to_ms = 11_500;
    twice.up.push(Up {
        from_ms: 11_500,
        to_ms: 100_000,
        restarted: true,
    });
    let rule = ["alert: A, expr: NOW >= 1, for: 8s"];
    assert_eq!(
        changes(&evaluate(&group(&rule), &twice)),
        ["pending@1 pending@10 pending@12 firing@17"]
    );
    // Another rule's alert of the same labels.
    let rules = [
        "alert: A, expr: NOW >= 1 < 8, for: 8s",
        "alert: A, expr: NOW >= 9, for: 8s",
    ];
    assert_eq!(
        changes(&evaluate(&group(&rules), &killed(8, 10, 20)))[1],
        "pending@10 firing@15"
    );
    // Its last sample is older than the tolerated outage, here because it failed since.
    let failing = "alert: A, expr: 'NOW * on() (vector(1) or label_replace(NOW >= 1 < 13, \"i\", \"1\", \"\", \"\")) >= 0', for: 3s";
    assert_eq!(
        changes(&evaluate(&group(&[failing]), &killed(12, 13, 20))),
        ["pending@0 pending@13 firing@16"]
    );
}

#[test]
fn what_fired_before_it_is_restored_to_a_later_beginning_waits_again() {
    let schedule = Schedule {
        default_interval_ms: 3000,
        ..killed(8, 11, 30)
    };
    let rules = group(&[
        "alert: A, expr: NOW >= 6, for: 3s",
        "alert: B, expr: NOW >= 6 < 17, for: 3s, keep_firing_for: 6s",
    ]);
    assert_eq!(
        changes(&evaluate(&rules, &schedule)),
        [
            "pending@6 pending@12 firing@15 pending@18 firing@21",
            "pending@6 pending@12 firing@15 pending@18 inactive@21",
        ]
    );
}
