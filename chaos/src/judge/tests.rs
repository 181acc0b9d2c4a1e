//! The judge's table: what fired when, what was true when, and what is said about it.

use super::*;
use crate::{
    checkers::Finding,
    history::testing::{World, at},
};

/// A run of an hour in which RESV-INV-004 must fire and its symptom is true from 5:00 to 15:00.
struct Case {
    plan: Plan,
    examination: Examination,
    firings: Vec<Firing>,
}

fn symptom(alert: &str, branch: Option<&str>, intervals: &[(Nanos, Nanos)]) -> Symptom {
    Symptom {
        alert: alert.into(),
        branch: branch.map(str::to_owned),
        intervals: intervals.to_vec(),
        facts: 9,
    }
}

fn firing(alert: &str, pending: Nanos, fired: Nanos, resolved: Option<Nanos>) -> Firing {
    let ms = |at: Nanos| at / (SECOND / 1000);
    Firing {
        alert_id: alert.into(),
        branch: None,
        labels: BTreeMap::new(),
        pending_at_ms: ms(pending),
        fired_at_ms: ms(fired),
        resolved_at_ms: resolved.map(ms),
    }
}

fn case() -> Case {
    let world = World::with(
        "must = [{ alert = \"RESV-INV-004\", budget = \"5m45s\" }]\nmay = [\"ORD-003\", \"RESV-INV-006\"]\nreach = { holds = 10 }",
    );
    let pass = |invariant| CheckResult {
        invariant,
        verdict: Verdict::Pass,
        facts: 5,
        violations: 0,
        findings: vec![],
    };
    Case {
        plan: world.plan,
        examination: Examination {
            symptoms: vec![
                symptom("RESV-INV-001", None, &[]),
                symptom("RESV-INV-004", None, &[(at(5, 0), at(15, 0))]),
                symptom("RESV-INV-006", None, &[]),
                symptom("RESV-PLT-004", None, &[]),
            ],
            checks: [1, 2, 3].into_iter().map(pass).collect(),
            reach: BTreeMap::from([("holds".to_owned(), 10)]),
            outages: Outages::default(),
        },
        firings: vec![firing(
            "RESV-INV-004",
            at(5, 15),
            at(10, 15),
            Some(at(15, 30)),
        )],
    }
}

/// The findings' subjects and the parts of their messages that matter.
#[track_caller]
fn check(change: impl FnOnce(&mut Case), expected: &[(Verdict, &str, &str)]) -> RunVerdict {
    let mut case = case();
    change(&mut case);
    let verdict = judge(&case.plan, &case.examination, &case.firings);
    let fits = verdict.findings.len() == expected.len()
        && verdict
            .findings
            .iter()
            .zip(expected)
            .all(|(finding, (weight, subject, part))| {
                finding.verdict == *weight
                    && finding.subject == *subject
                    && finding.message.contains(part)
            });
    assert!(
        fits,
        "expected {expected:#?}\nfound {:#?}",
        verdict.findings
    );
    let heaviest = expected
        .iter()
        .map(|(weight, ..)| *weight)
        .max()
        .unwrap_or(Verdict::Pass);
    assert_eq!(verdict.verdict, heaviest);
    verdict
}

use Verdict::{Fail, Unknown};

#[test]
fn an_alert_in_time_passes_and_its_times_are_told() {
    let verdict = check(|_| {}, &[]);
    let outcome = verdict
        .alerts
        .iter()
        .find(|alert| alert.id == "RESV-INV-004")
        .expect("it");
    assert_eq!(outcome.expected, Expected::Must);
    assert_eq!(
        (
            outcome.t_sym_s,
            outcome.fired_at_s,
            outcome.time_to_detect_s
        ),
        (Some(300.0), Some(615.0), Some(315.0))
    );
    assert_eq!(
        (outcome.budget_s, outcome.resolved_at_s),
        (Some(345.0), Some(930.0))
    );
    let others: Vec<_> = verdict
        .alerts
        .iter()
        .map(|alert| (alert.id.as_str(), alert.expected))
        .collect();
    assert_eq!(
        others,
        [
            ("ORD-003", Expected::May),
            ("RESV-INV-001", Expected::Never),
            ("RESV-INV-004", Expected::Must),
            ("RESV-INV-006", Expected::May),
            ("RESV-PLT-004", Expected::Never),
        ]
    );
}

#[test]
fn a_missed_or_late_alert_fails() {
    let fired =
        |fired: Nanos| move |case: &mut Case| case.firings[0].fired_at_ms = fired / 1_000_000;
    check(fired(at(10, 45)), &[]);
    check(
        fired(at(10, 46)),
        &[(
            Fail,
            "RESV-INV-004",
            "fired at 10m46s, 1s too late: its symptom was true from 5m to 15m, and the budget is 5m45s",
        )],
    );
    check(
        |case| case.firings.clear(),
        &[(
            Fail,
            "RESV-INV-004",
            "did not fire: its symptom was true from 5m to 15m, and the budget of 5m45s ended at 10m45s",
        )],
    );
    // A firing that was over before is another one's.
    check(
        |case| case.firings = vec![firing("RESV-INV-004", at(1, 0), at(2, 0), Some(at(3, 0)))],
        &[
            (Fail, "RESV-INV-004", "did not fire"),
            (Fail, "RESV-INV-004", "false alarm"),
        ],
    );
}

/// A change, and what the findings are about after it.
type About<'a> = (&'a dyn Fn(&mut Case), &'a [(Aspect, Option<u64>)]);

#[test]
fn a_finding_tells_what_of_which_firing_it_is_about() {
    let rows: [About<'_>; 4] = [
        (&|case| case.firings.clear(), &[(Aspect::Detection, None)]),
        (
            &|case| case.firings[0].fired_at_ms = 646_000,
            &[(Aspect::Detection, Some(646_000))],
        ),
        (
            &|case| case.firings = vec![firing("RESV-INV-004", at(1, 0), at(2, 0), Some(at(3, 0)))],
            &[
                (Aspect::Detection, None),
                (Aspect::Justification, Some(120_000)),
            ],
        ),
        (
            &|case| case.firings[0].resolved_at_ms = Some(1_200_000),
            &[(Aspect::Resolution, Some(615_000))],
        ),
    ];
    for (change, expected) in rows {
        let mut case = case();
        change(&mut case);
        let findings = judge(&case.plan, &case.examination, &case.firings).findings;
        let about = findings
            .iter()
            .map(|finding| (finding.aspect, finding.fired_at_ms));
        assert_eq!(about.collect::<Vec<_>>(), expected, "{findings:#?}");
    }
}

#[test]
fn a_fault_without_its_symptom_proves_nothing() {
    let none = |case: &mut Case| {
        case.examination.symptoms[1].intervals.clear();
        case.firings.clear();
    };
    check(
        none,
        &[(Fail, "RESV-INV-004", "the fault does not cause it")],
    );
    let short = |case: &mut Case| {
        case.examination.symptoms[1].intervals = vec![(at(5, 0), at(9, 59))];
        case.firings.clear();
    };
    check(
        short,
        &[(Fail, "RESV-INV-004", "the fault does not cause it")],
    );
}

#[test]
fn budgets_run_from_the_end_of_an_outage_of_monitoring() {
    let late = |case: &mut Case| {
        case.examination.symptoms[1].intervals = vec![(at(5, 0), at(25, 0))];
        case.firings = vec![firing(
            "RESV-INV-004",
            at(10, 15),
            at(15, 15),
            Some(at(25, 30)),
        )];
    };
    check(late, &[(Fail, "RESV-INV-004", "too late")]);
    let verdict = check(
        |case| {
            late(case);
            case.examination.outages.scrape = vec![(at(4, 0), at(10, 0))];
        },
        &[],
    );
    let outcome = verdict
        .alerts
        .iter()
        .find(|alert| alert.id == "RESV-INV-004")
        .expect("it");
    assert_eq!(
        (outcome.t_sym_s, outcome.time_to_detect_s),
        (Some(600.0), Some(315.0))
    );
    // An outage in the middle of waiting counts, one that was over before does not.
    check(
        |case| {
            late(case);
            case.examination.outages.evaluator = vec![(at(7, 0), at(10, 0))];
        },
        &[],
    );
    check(
        |case| {
            late(case);
            case.examination.outages.scrape = vec![(at(1, 0), at(4, 0))];
        },
        &[(Fail, "RESV-INV-004", "too late")],
    );
}

#[test]
fn an_outage_of_scraping_does_not_excuse_the_alert_about_it() {
    let world = World::with("must = [{ alert = \"RESV-PLT-004\" }]");
    let told = |fired: Nanos| {
        let plan = world.plan.clone();
        move |case: &mut Case| {
            case.plan = plan;
            case.examination.symptoms[1].intervals.clear();
            case.examination.symptoms[3].intervals = vec![(at(5, 0), at(20, 0))];
            case.examination.outages.scrape = vec![(at(5, 0), at(20, 0))];
            case.firings = vec![firing("RESV-PLT-004", at(5, 15), fired, Some(at(20, 15)))];
        }
    };
    check(told(at(7, 15)), &[]);
    check(
        told(at(7, 46)),
        &[(Fail, "RESV-PLT-004", "fired at 7m46s, 1s too late")],
    );
}

#[test]
fn an_alert_that_nobody_allowed_is_a_false_alarm() {
    let also = |alert: &'static str| {
        move |case: &mut Case| {
            case.firings
                .push(firing(alert, at(6, 0), at(6, 0), Some(at(7, 0))))
        }
    };
    check(
        also("RESV-INV-001"),
        &[(
            Fail,
            "RESV-INV-001",
            "false alarm: fired at 6m, and the scenario says neither that it must nor that it may",
        )],
    );
    check(
        also("RESV-XYZ-999"),
        &[(Fail, "RESV-XYZ-999", "false alarm")],
    );
    // Allowed, and nobody defines its symptom.
    check(also("ORD-003"), &[]);
    // Allowed, but its symptom was never true.
    check(
        also("RESV-INV-006"),
        &[(Fail, "RESV-INV-006", "its symptom was not true then")],
    );
    check(
        |case| {
            also("RESV-INV-006")(case);
            case.examination.symptoms[2].intervals = vec![(at(5, 50), at(6, 30))];
        },
        &[],
    );
    // Fires again long after its symptom.
    check(
        |case| {
            case.firings.push(firing(
                "RESV-INV-004",
                at(30, 0),
                at(35, 0),
                Some(at(35, 15)),
            ))
        },
        &[(Fail, "RESV-INV-004", "false alarm: pending from 30m")],
    );
}

#[test]
fn a_symptom_that_lasts_and_is_neither_expected_nor_noticed_fails() {
    check(
        |case| case.examination.symptoms[3].intervals = vec![(at(20, 0), at(22, 40))],
        &[],
    );
    check(
        |case| case.examination.symptoms[3].intervals = vec![(at(20, 0), at(22, 46))],
        &[(
            Fail,
            "RESV-PLT-004",
            "stayed silent though its symptom was true from 20m to 22m46s",
        )],
    );
}

#[test]
fn an_alert_resolves_within_its_window_and_a_minute() {
    let resolved = |at: Option<Nanos>| {
        move |case: &mut Case| case.firings[0].resolved_at_ms = at.map(|at| at / 1_000_000)
    };
    check(resolved(Some(at(16, 0))), &[]);
    check(
        resolved(Some(at(16, 1))),
        &[(
            Fail,
            "RESV-INV-004",
            "resolved at 16m1s, 1s too late: its symptom ended at 15m",
        )],
    );
    check(
        resolved(None),
        &[(
            Fail,
            "RESV-INV-004",
            "still fires at the end: its symptom ended at 15m, and it had to resolve by 16m",
        )],
    );
    check(
        |case| {
            resolved(None)(case);
            case.plan.duration = at(15, 30);
        },
        &[(
            Unknown,
            "RESV-INV-004",
            "whether it resolves by 16m is not seen",
        )],
    );
}

#[test]
fn both_branches_must_fire_if_both_symptoms_last() {
    let world = World::with("must = [{ alert = \"RESV-INV-005\", budget = \"45s\" }]");
    let told = |branches: &'static [&'static str]| {
        let plan = world.plan.clone();
        move |case: &mut Case| {
            case.plan = plan;
            case.examination.symptoms = vec![
                symptom("RESV-INV-005", Some("lag"), &[(at(5, 30), at(10, 0))]),
                symptom("RESV-INV-005", Some("age"), &[(at(5, 0), at(10, 0))]),
            ];
            let one = |branch: &&str| Firing {
                branch: Some((*branch).to_owned()),
                ..firing("RESV-INV-005", at(5, 40), at(5, 40), Some(at(10, 20)))
            };
            case.firings = branches.iter().map(one).collect();
        }
    };
    let verdict = check(told(&["lag", "age"]), &[]);
    assert_eq!(verdict.alerts[0].t_sym_s, Some(300.0));
    check(
        told(&["age"]),
        &[(
            Fail,
            "RESV-INV-005",
            "did not fire: its symptom (branch lag)",
        )],
    );
}

#[test]
fn exactly_the_invariants_that_the_scenario_breaks_are_broken() {
    let violated = |case: &mut Case| {
        let finding = Finding {
            at: at(7, 0),
            what: "5 of 4 rooms are taken".into(),
            evidence: "commit 7".into(),
        };
        case.examination.checks[0] = CheckResult {
            invariant: 1,
            verdict: Fail,
            facts: 5,
            violations: 3,
            findings: vec![finding],
        };
    };
    let breaks = |case: &mut Case| case.plan.scenario.breaks = vec![1];
    check(
        violated,
        &[(
            Fail,
            "invariant 1",
            "violated at 7m: 5 of 4 rooms are taken (commit 7); 2 more violations",
        )],
    );
    check(
        breaks,
        &[(
            Fail,
            "invariant 1",
            "the scenario breaks it, but 5 facts show no violation",
        )],
    );
    check(
        |case| {
            violated(case);
            breaks(case);
        },
        &[],
    );
    let unknown = |case: &mut Case| case.examination.checks[1].verdict = Unknown;
    check(unknown, &[(Unknown, "invariant 2", "not judged")]);
    check(
        |case| {
            unknown(case);
            violated(case);
        },
        &[
            (Fail, "invariant 1", "violated"),
            (Unknown, "invariant 2", "not judged"),
        ],
    );
    check(
        |case| case.plan.scenario.breaks = vec![8],
        &[(Unknown, "invariant 8", "nobody checked it")],
    );
}

#[test]
fn an_unmet_minimum_fails_and_a_symptom_without_facts_is_unknown() {
    check(
        |case| *case.examination.reach.entry("holds".into()).or_default() = 9,
        &[(
            Fail,
            "reach",
            "holds is 9, but the scenario proves nothing below 10",
        )],
    );
    check(
        |case| case.examination.symptoms[0].facts = 0,
        &[(Unknown, "RESV-INV-001", "is unknown")],
    );
}
