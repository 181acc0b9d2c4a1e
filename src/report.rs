//! The report: what a command found, as plain data, and its two forms, `text` for people and `json` for programs.
//!
//! Invariant: both forms are written from the same `Report`; neither computes a verdict. Times are seconds of virtual time.
//! What has no place in the published JSON (time to detect, CPU by part) is skipped there and shown in the text.

pub mod json;
pub mod text;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::baseline::Baseline;

/// What a run, or all of them, came to. In rising order of weight: the heaviest of several stands for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    #[default]
    Pass,
    /// Some check lacked data; none failed.
    Unknown,
    /// Something did not hold.
    Fail,
}

impl Verdict {
    /// Its name in every form of the report.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Fail => "fail",
        }
    }
}

/// What a scenario says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It has to fire within its budget.
    Must,
    /// It may fire.
    May,
    /// It must stay silent.
    Never,
}

/// One alert in one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// `RESV-INV-004` and the like.
    pub id: String,
    /// What the scenario says of it.
    pub expected: Expected,
    /// When it fired first.
    pub fired_at_s: Option<f64>,
    /// Most that may pass from the symptom to the firing; `None` where it need not fire.
    pub budget_s: Option<f64>,
    /// When the last of its firings resolved; `None` if it did not fire or still fires at the end.
    pub resolved_at_s: Option<f64>,
    /// Seconds from its symptom in ground truth (or the end of an outage of monitoring) to the firing.
    #[serde(skip)]
    pub detect_s: Option<f64>,
}

/// One thing that did not hold, or could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `fail` or `unknown`.
    pub verdict: Verdict,
    /// What was judged: an alert's id, `invariant 3`, `reach`, `liveness`, ….
    pub subject: String,
    /// What was expected and what was seen, with the evidence.
    pub message: String,
}

/// One scenario with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// Every alert that has a symptom, or that the scenario or a firing names, by id.
    pub alerts: Vec<Alert>,
    /// What did not hold; empty exactly for `pass`.
    pub findings: Vec<Finding>,
    /// How often the run reached what it must reach to prove something.
    pub reach: BTreeMap<String, u64>,
    /// Virtual time that passed.
    pub sim_seconds: f64,
    /// CPU time that this run took, all parts.
    pub cpu_seconds: f64,
    /// SHA-256 of the recording; empty if the run broke off.
    pub recording_sha256: String,
    /// CPU time by part, in the order of the pipeline.
    #[serde(skip)]
    pub parts: Vec<(String, Duration)>,
    /// How to see it again.
    #[serde(skip)]
    pub replay: String,
}

/// All runs of a command.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The heaviest verdict of the runs.
    pub verdict: Verdict,
    /// In the order in which they were asked for.
    pub runs: Vec<Run>,
    /// What a bare HTTP pair costs, to set CPU times against; measured where people read the report.
    #[serde(skip)]
    pub baseline: Option<Baseline>,
}

impl Report {
    /// Merges the runs' verdicts: fail, else unknown, else pass. No runs prove nothing: unknown.
    pub fn new(runs: Vec<Run>) -> Report {
        let verdict = runs
            .iter()
            .map(|run| run.verdict)
            .max()
            .unwrap_or(Verdict::Unknown);
        Report {
            verdict,
            runs,
            baseline: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A passing run with one alert that had to fire and one that had to stay silent.
    pub(crate) fn run(scenario: &str, seed: u64) -> Run {
        let silent = |id: &str, expected| Alert {
            id: id.into(),
            expected,
            fired_at_s: None,
            budget_s: None,
            resolved_at_s: None,
            detect_s: None,
        };
        Run {
            scenario: scenario.into(),
            seed,
            verdict: Verdict::Pass,
            alerts: vec![
                silent("RESV-INV-003", Expected::May),
                Alert {
                    id: "RESV-INV-004".into(),
                    expected: Expected::Must,
                    fired_at_s: Some(4_215.0),
                    budget_s: Some(345.0),
                    resolved_at_s: Some(5_400.0),
                    detect_s: Some(315.0),
                },
                silent("RESV-PLT-004", Expected::Never),
            ],
            findings: Vec::new(),
            reach: BTreeMap::from([("lock_waits".to_owned(), 12)]),
            sim_seconds: 7_200.0,
            cpu_seconds: 1.25,
            recording_sha256: "ab".repeat(32),
            parts: vec![
                ("network".into(), Duration::from_millis(1_000)),
                ("rules".into(), Duration::from_millis(250)),
            ],
            replay: format!("firedrill run {scenario} --seed {seed}"),
        }
    }

    #[test]
    fn the_heaviest_verdict_stands_for_all() {
        use Verdict::{Fail, Pass, Unknown};
        let merged = |verdicts: &[Verdict]| {
            let runs = verdicts.iter().map(|&verdict| Run {
                verdict,
                ..run("a", 1)
            });
            Report::new(runs.collect()).verdict
        };
        for (verdicts, expected) in [
            (&[Pass, Pass][..], Pass),
            (&[Pass, Unknown, Pass], Unknown),
            (&[Unknown, Fail, Pass], Fail),
            (&[], Unknown),
        ] {
            assert_eq!(merged(verdicts), expected, "{verdicts:?}");
        }
    }
}
