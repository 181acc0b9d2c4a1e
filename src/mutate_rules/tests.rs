//! The report and its forms, from rows made up by hand.

use super::*;
use crate::report::text::Style;

fn mutants(text: &str) -> Mutants {
    alerts::mutate::mutants(&[("r.yml".into(), text.into())], 15_000).expect("rules")
}

const RULES: &str = "groups:
- name: g
  rules:
  # firedrill survives comparison > → >=: whole numbers
  # firedrill survives matcher: nothing is matched
  - alert: A
    expr: x > 3
";

const NOBODY: Audience = Audience {
    runs: Vec::new(),
    tests: Vec::new(),
    all: false,
};

fn report(mutants: &Mutants, demands: Demands, change: impl Fn(&mut Row)) -> Report {
    let (mut rows, _) = show(mutants, &NOBODY, 2).expect("shown");
    rows.iter_mut().for_each(change);
    Report::new(mutants, &NOBODY, rows, demands)
}

#[test]
fn where_nobody_looks_all_survive() {
    let report = report(&mutants(RULES), Demands::default(), |_| {});
    let counts = report.counts;
    assert_eq!(
        (counts.mutants, counts.survivors, counts.explained),
        (8, 8, 1)
    );
    assert_eq!((report.score, report.score_by_scenarios), (0.0, 0.0));
    assert_eq!(report.rules[0].counts, counts);
    let missed = &report.mutants[0].missed;
    assert_eq!(missed[0].why, "no scenario wants this alert to be silent");
}

#[test]
fn a_score_is_never_shown_or_accepted_above_what_was_reached() {
    let mutants = mutants(RULES);
    let noticed = |row: &mut Row| {
        if row.operator != Operator::For {
            row.tests.push("t.yml: test".into());
        }
    };
    // 6 of 8.
    for (min_score, verdict) in [
        (None, Verdict::Pass),
        (Some(75.0), Verdict::Pass),
        (Some(75.1), Verdict::Fail),
    ] {
        let demands = Demands {
            min_score,
            explained: false,
        };
        let report = report(&mutants, demands, noticed);
        assert_eq!((report.score, report.verdict), (75.0, verdict));
        assert_eq!(report.counts.by_scenarios, 0);
    }
    assert_eq!([99.99, 100.0, 66.666].map(rounded), [99.9, 100.0, 66.6]);
}

#[test]
fn each_survivor_must_be_explained_where_that_is_asked_for() {
    let mutants = mutants(RULES);
    let demands = Demands {
        min_score: None,
        explained: true,
    };
    let edge = |row: &Row| row.operator == Operator::Comparison && row.new == ">=";
    for (all, verdict) in [(false, Verdict::Fail), (true, Verdict::Pass)] {
        let report = report(&mutants, demands, |row| {
            if all && !edge(row) {
                row.tests.push("t.yml: test".into());
            }
        });
        assert_eq!(
            report.verdict,
            verdict,
            "{}",
            text::render(&report, Style::default())
        );
    }
}

#[test]
fn a_comment_that_names_no_survivor_is_not_true() {
    let noticed = |row: &mut Row| row.tests.push("t.yml: test".into());
    let report = report(&mutants(RULES), Demands::default(), noticed);
    let shown: Vec<String> = report
        .untrue
        .iter()
        .map(|untrue| format!("{} {}", untrue.place, untrue.message))
        .collect();
    assert_eq!(
        shown,
        [
            "r.yml:4:3 comparison does not survive here: t.yml: test notices it; remove the comment",
            "r.yml:5:3 matcher changes nothing like this here: remove the comment",
        ]
    );
}

#[test]
fn markdown_stays_within_what_forges_take_and_counts_what_does_not_fit() {
    let rule = |at: usize| format!("  - alert: \"A<b>|{at}\"\n    expr: x{{a=\"`*`\"}} > {at}\n");
    let many: String = (1..400).map(rule).collect();
    let mutants = mutants(&format!("groups:\n- name: g\n  rules:\n{many}"));
    let report = report(&mutants, Demands::default(), |_| {});
    let text = markdown::render(&report);
    let size = text.chars().count();
    assert!((50_000..=60_000).contains(&size), "{size}");
    assert!(!text.contains("<b>"), "{text}");
    let more = text.lines().filter(|line| line.contains(" more "));
    assert_eq!(more.count(), 1, "{text}");
}
