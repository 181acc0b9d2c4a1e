//! What a difference means for what the scenario expects: the judge's findings of both sides, expectation by expectation.
//!
//! Invariant: nothing is judged here. An expectation is unmet exactly where the judge's findings of that side say so; a false
//! alarm and a firing that does not end are told apart by incident, so that one that OLD had too is not held against NEW.

use std::collections::BTreeMap;

use chaos::judge::{Aspect, JudgeFinding, Verdict as Judged};
use serde::Serialize;

use super::{
    incidents::{Incident, Side},
    texts::{Identity, Which},
};
use crate::{pipeline::weigh, report::Verdict};

/// What a difference means, in rising order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Each expectation is met as before.
    Ok,
    /// NEW meets one that OLD did not meet.
    Fixes,
    /// Neither meets it.
    StillFails,
    /// Whether it is met could not be judged.
    Unknown,
    /// NEW does not meet one that OLD met.
    Breaks,
}

/// What is wrong with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It resolved too late, or not at all.
    Resolution,
    /// It fired after its budget.
    Late,
    /// It fired without leave or symptom.
    FalseAlarm,
    /// It did not fire.
    Missed,
}

impl Fault {
    /// As people say it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Resolution => "resolves too late",
            Fault::Late => "late",
            Fault::FalseAlarm => "false alarm",
            Fault::Missed => "missed",
        }
    }

    fn of(finding: &JudgeFinding) -> Fault {
        match (finding.aspect, finding.fired_at_ms) {
            (Aspect::Resolution, _) => Fault::Resolution,
            (Aspect::Justification, _) => Fault::FalseAlarm,
            (_, Some(_)) => Fault::Late,
            (_, None) => Fault::Missed,
        }
    }
}

/// The judge's word about one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Said {
    /// Under which rules.
    pub under: Which,
    /// `fail` or `unknown`.
    pub verdict: Verdict,
    /// One sentence with times.
    pub message: String,
}

/// What a difference means, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The heaviest of its expectations.
    pub effect: Effect,
    /// What is wrong, or was where `effect` is `fixes`; the heaviest.
    pub fault: Option<Fault>,
    /// The judge's sentences.
    pub findings: Vec<Said>,
}

/// Findings about alerts: invariants and what the run reached do not hang on rules.
pub fn of_alerts(findings: &[JudgeFinding]) -> impl Iterator<Item = &JudgeFinding> {
    let about = [Aspect::Detection, Aspect::Justification, Aspect::Resolution];
    findings
        .iter()
        .filter(move |finding| about.contains(&finding.aspect))
}

/// Findings that say something of an alert. `known` are all alerts that fired or are set by rules of this id: what is said of a
/// branch that none of them has is said of all of them.
pub fn about<'f>(
    findings: &'f [JudgeFinding],
    alert: &Identity,
    known: &[&Identity],
) -> Vec<&'f JudgeFinding> {
    let concerns = |finding: &&JudgeFinding| {
        let branch = &finding.branch;
        let named = known
            .iter()
            .any(|other| other.id == alert.id && other.branch == *branch);
        finding.subject == alert.id
            && (branch.is_none() || alert.branch == *branch || alert.branch.is_none() || !named)
    };
    of_alerts(findings).filter(concerns).collect()
}

/// One expectation: of one branch, and where firings are judged one by one, of one incident.
type Expectation<'f> = (Aspect, Option<&'f str>, Option<usize>);

/// What the findings of both sides about one alert mean. `incidents` are all of it.
pub fn meaning(old: &[&JudgeFinding], new: &[&JudgeFinding], incidents: &[Incident]) -> Meaning {
    let sides = [
        (
            old,
            Which::Old,
            incidents.iter().map(|i| i.old.as_ref()).collect::<Vec<_>>(),
        ),
        (
            new,
            Which::New,
            incidents.iter().map(|i| i.new.as_ref()).collect(),
        ),
    ];
    let mut states: BTreeMap<Expectation<'_>, [Judged; 2]> = BTreeMap::new();
    for (side, (findings, _, fired)) in sides.iter().enumerate() {
        for finding in *findings {
            let key = expectation(finding, fired);
            let state = &mut states.entry(key).or_insert([Judged::Pass; 2])[side];
            *state = (*state).max(finding.verdict);
        }
    }
    let unmet = |finding: &&JudgeFinding| {
        finding.aspect == Aspect::Detection && finding.verdict == Judged::Fail
    };
    let missed = old.iter().any(unmet);
    let mut effects: BTreeMap<Expectation<'_>, Effect> = BTreeMap::new();
    for (key, [before, after]) in &states {
        // Where OLD missed the incident there was nothing to resolve: it did not meet that either.
        let moot = missed
            && key.0 == Aspect::Resolution
            && key.2.is_some_and(|at| incidents[at].old.is_none());
        let before = if moot { Judged::Fail } else { *before };
        effects.insert(*key, effect(before, *after));
    }
    let heaviest = effects.values().copied().max().unwrap_or(Effect::Ok);
    let (mut fault, mut said) = (None, Vec::new());
    for (findings, under, fired) in &sides {
        for finding in *findings {
            let effect = effects[&expectation(finding, fired)];
            let tells = match effect {
                Effect::Fixes => *under == Which::Old,
                Effect::Unknown => true,
                _ => *under == Which::New,
            };
            if tells && effect == heaviest && effect != Effect::Ok {
                if finding.verdict == Judged::Fail {
                    fault = fault.max(Some(Fault::of(finding)));
                }
                said.push(Said {
                    under: *under,
                    verdict: weigh(finding.verdict),
                    message: finding.message.clone(),
                });
            }
        }
    }
    Meaning {
        effect: heaviest,
        fault,
        findings: said,
    }
}

fn expectation<'f>(finding: &'f JudgeFinding, fired: &[Option<&Side>]) -> Expectation<'f> {
    let at = finding
        .fired_at_ms
        .filter(|_| finding.aspect != Aspect::Detection);
    let incident = at.and_then(|ms| {
        let began = ms as f64 / 1_000.0;
        let holds = |side: &Side| side.firings.iter().any(|span| span.fired_at_s == began);
        fired.iter().position(|side| side.is_some_and(holds))
    });
    let branch = finding.branch.as_deref();
    (
        finding.aspect,
        branch.filter(|_| incident.is_none()),
        incident,
    )
}

fn effect(before: Judged, after: Judged) -> Effect {
    match (before, after) {
        (Judged::Pass, Judged::Fail) => Effect::Breaks,
        (Judged::Fail, Judged::Fail) => Effect::StillFails,
        (Judged::Unknown, Judged::Fail) | (_, Judged::Unknown) => Effect::Unknown,
        (Judged::Fail, Judged::Pass) => Effect::Fixes,
        (Judged::Pass | Judged::Unknown, Judged::Pass) => Effect::Ok,
    }
}

#[cfg(test)]
mod tests;
