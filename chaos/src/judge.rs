//! The verdict of a run: what had to fire, what fired, what broke, what was reached.
//!
//! Invariant: a pure function of plain data. It sees firings and symptoms, and neither computes one nor looks behind them. Verdicts
//! merge as fail > unknown > pass, and every one that is not a pass has its sentence.

mod alarms;
mod examine;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::checkers::Verdict;
use crate::{
    checkers::CheckResult,
    oracle::Symptom,
    reach::unreached,
    recording::Nanos,
    scenario::{Plan, SECOND, show_duration},
};
pub use examine::{Examination, Outages, examine};

/// One life of one alert, as the rule evaluator reports it. Times are milliseconds of virtual time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// Id in the failure catalogue, from the label `alert_id`.
    pub alert_id: String,
    /// From the label `branch`.
    pub branch: Option<String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// When its condition became true.
    pub pending_at_ms: u64,
    /// When it fired.
    pub fired_at_ms: u64,
    /// When it resolved; `None` if it still fires at the end.
    pub resolved_at_ms: Option<u64>,
}

/// What a scenario says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It has to fire within its budget.
    Must,
    /// It may fire.
    May,
    /// It must stay silent.
    Never,
}

/// One alert in one run. Times are seconds of virtual time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertOutcome {
    /// Its id.
    pub id: String,
    /// What the scenario says of it.
    pub expected: Expected,
    /// When it fired first.
    pub fired_at_s: Option<f64>,
    /// Most that may pass from the symptom to the firing; only where it must fire.
    pub budget_s: Option<f64>,
    /// When its symptom became true, or when monitoring came back if it was blind then.
    pub t_sym_s: Option<f64>,
    /// From that to the firing.
    pub time_to_detect_s: Option<f64>,
    /// When the last of its firings resolved; `None` if it did not fire or still fires.
    pub resolved_at_s: Option<f64>,
}

/// What a finding says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// That an alert fires for its symptom, within its budget.
    Detection,
    /// That a firing has leave and a symptom.
    Justification,
    /// That a firing ends with its symptom.
    Resolution,
    /// That an invariant is kept, or broken on purpose.
    Invariant,
    /// That the run reached what it must.
    Reach,
}

/// One thing that did not hold, or could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeFinding {
    /// `Fail` or `Unknown`.
    pub verdict: Verdict,
    /// What was judged: an alert's id, `invariant 3`, `reach`.
    pub subject: String,
    /// What of it.
    pub aspect: Aspect,
    /// The alert's branch, where only one was judged.
    pub branch: Option<String>,
    /// When the firing that it is about began; `None` where none did.
    pub fired_at_ms: Option<u64>,
    /// One sentence with times.
    pub message: String,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunVerdict {
    /// The heaviest of the findings.
    pub verdict: Verdict,
    /// Every alert that has a symptom, or that the scenario or a firing names, by id.
    pub alerts: Vec<AlertOutcome>,
    /// What did not hold; empty exactly for a pass.
    pub findings: Vec<JudgeFinding>,
    /// How often the run reached what.
    pub reach: BTreeMap<String, u64>,
}

/// Judges a run.
pub fn judge(plan: &Plan, examination: &Examination, firings: &[Firing]) -> RunVerdict {
    let mut findings = Vec::new();
    let alerts = alarms::judge(
        plan,
        &examination.symptoms,
        &examination.outages,
        firings,
        &mut findings,
    );
    invariants(plan, &examination.checks, &mut findings);
    for (name, reached, needed) in unreached(&plan.scenario.reach, &examination.reach) {
        findings.push(JudgeFinding {
            verdict: Verdict::Fail,
            subject: "reach".to_owned(),
            aspect: Aspect::Reach,
            branch: None,
            fired_at_ms: None,
            message: format!("{name} is {reached}, but the scenario proves nothing below {needed}"),
        });
    }
    RunVerdict {
        verdict: findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap_or(Verdict::Pass),
        alerts,
        findings,
        reach: examination.reach.clone(),
    }
}

/// Exactly the invariants that the scenario breaks must be broken.
fn invariants(plan: &Plan, checks: &[CheckResult], findings: &mut Vec<JudgeFinding>) {
    let mut found = |verdict, invariant: u8, message| {
        findings.push(JudgeFinding {
            verdict,
            subject: format!("invariant {invariant}"),
            aspect: Aspect::Invariant,
            branch: None,
            fired_at_ms: None,
            message,
        });
    };
    for check in checks {
        let expected = plan.scenario.breaks.contains(&check.invariant);
        let first = check.findings.first().map_or_else(String::new, |finding| {
            let evidence = if finding.evidence.is_empty() {
                String::new()
            } else {
                format!(" ({})", finding.evidence)
            };
            format!("at {}: {}{evidence}", show(finding.at), finding.what)
        });
        match (check.verdict, expected) {
            (Verdict::Fail, false) => {
                let more = check.violations.saturating_sub(1);
                let more = if more == 0 {
                    String::new()
                } else {
                    format!("; {more} more violations")
                };
                found(
                    Verdict::Fail,
                    check.invariant,
                    format!("violated {first}{more}"),
                );
            }
            (Verdict::Pass, true) => {
                let message = format!(
                    "the scenario breaks it, but {} facts show no violation",
                    check.facts
                );
                found(Verdict::Fail, check.invariant, message);
            }
            (Verdict::Unknown, _) => found(
                Verdict::Unknown,
                check.invariant,
                format!("not judged {first}"),
            ),
            (Verdict::Pass, false) | (Verdict::Fail, true) => {}
        }
    }
    for &broken in &plan.scenario.breaks {
        if !checks.iter().any(|check| check.invariant == broken) {
            found(
                Verdict::Unknown,
                broken,
                "the scenario breaks it, but nobody checked it".to_owned(),
            );
        }
    }
}

/// Virtual time as people read it.
fn show(at: Nanos) -> String {
    show_duration(at)
}

/// Seconds, to the millisecond.
fn seconds(at: Nanos) -> f64 {
    (at / (SECOND / 1000)) as f64 / 1000.0
}

#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;
