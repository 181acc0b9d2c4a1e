//! What the reports for people say, cell by cell and line by line.

use alerts::mutate::DROPPED;

use super::{Counts, Missed, Report, Row, RuleRow};
use crate::diff_rules::counted;

/// The columns of the table.
pub(super) const COLUMNS: [&str; 7] = [
    "rule",
    "alert",
    "mutants",
    "by scenarios",
    "by tests",
    "survive",
    "explained",
];

/// What the columns say.
pub(super) const LEGEND: &str = "mutants: the rule with one thing changed; by scenarios, by tests: how many of them make a run or a unit test fail; explained: survivors for which a comment in the rule's file gives the reason";

/// Most characters of a change that are shown.
const CHANGE_MAX: usize = 60;

/// The cells of a rule.
pub(super) fn cells(row: &RuleRow) -> [String; 7] {
    let name = match &row.alert {
        Some(alert) if alert.id != row.name => format!("{alert} {}", row.name),
        _ => row.name.clone(),
    };
    let Counts {
        mutants,
        by_scenarios,
        by_tests,
        survivors,
        explained,
    } = row.counts;
    let counts = [mutants, by_scenarios, by_tests, survivors, explained];
    let [mutants, by_scenarios, by_tests, survivors, explained] = counts.map(|n| n.to_string());
    [
        row.rule.clone(),
        name,
        mutants,
        by_scenarios,
        by_tests,
        survivors,
        explained,
    ]
}

/// A change: operator, what stood there, what stands there now.
pub(super) fn change(row: &Row) -> String {
    let new = match &*row.new {
        "" => DROPPED,
        new => new,
    };
    format!("{}: {} → {}", row.operator, short(&row.old), short(new))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CHANGE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Who should have noticed.
pub(super) fn missed(missed: &Missed) -> String {
    match (&missed.scenario, missed.seed) {
        (Some(scenario), Some(seed)) => format!("{scenario} seed {seed}: {}", missed.why),
        _ => missed.why.clone(),
    }
}

/// One line that sums up.
pub(super) fn summary(report: &Report) -> String {
    let counts = report.counts;
    let mut parts = vec![
        format!(
            "{} of {} over {}",
            counted(counts.mutants, "mutant"),
            counted(report.rules.len(), "rule"),
            counted(report.runs, "run")
        ),
        format!(
            "{:.1} % noticed by scenarios alone",
            report.score_by_scenarios
        ),
    ];
    parts.push(match report.test_files.len() {
        0 => "no unit tests".to_owned(),
        _ => format!("{:.1} % with unit tests", report.score),
    });
    parts.push(
        match (counts.survivors, counts.survivors - counts.explained) {
            (0, _) => "none survives".to_owned(),
            (all, 0) => format!("{all} survive, all explained"),
            (all, open) => format!("{all} survive, {open} unexplained"),
        },
    );
    if let Some(least) = report
        .demands
        .min_score
        .filter(|least| counts.score() < *least)
    {
        parts.push(format!("less than the {least} % asked for"));
    }
    parts.join("; ")
}
