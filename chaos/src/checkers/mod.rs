//! The invariants of the failure catalogue, one file each, judged while the frames go by.
//!
//! Invariant: a checker that panicked, that had nothing to judge, or whose rows could not be read answers *unknown*, which is never
//! a pass. Findings are bounded; their number is not.

mod durable;
mod ends;
mod isolated;
mod outbox;
mod overbooking;
mod rooms;
mod truth;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    history::{Change, Observer, Pass},
    recording::{BodyDiff, Commit, Event, Nanos},
    scenario::Plan,
};

/// What a check came to. In rising order of weight: the heaviest of several stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It held.
    Pass,
    /// It could not be judged.
    Unknown,
    /// It did not hold.
    Fail,
}

/// One invariant's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its number in the failure catalogue.
    pub invariant: u8,
    /// What it came to.
    pub verdict: Verdict,
    /// How many facts were judged.
    pub facts: u64,
    /// How often it was violated.
    pub violations: u64,
    /// The first violations, or why it is unknown.
    pub findings: Vec<Finding>,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was seen.
    pub at: Nanos,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What it was seen from: ids and values.
    pub evidence: String,
}

/// Findings that are kept per invariant.
pub const FINDINGS_MAX: usize = 8;

/// What a checker has found so far.
#[derive(Default)]
struct Notes {
    facts: u64,
    violations: u64,
    findings: Vec<Finding>,
}

impl Notes {
    fn violated(&mut self, at: Nanos, what: impl FnOnce() -> (String, String)) {
        self.violations += 1;
        if self.findings.len() < FINDINGS_MAX {
            let (what, evidence) = what();
            self.findings.push(Finding { at, what, evidence });
        }
    }
}

/// One invariant's judge.
trait Check: Observer {
    /// Its number.
    fn invariant(&self) -> u8;
    /// Judges what can only be judged at the end.
    fn close(&mut self, _pass: &Pass) {}
    /// What it found.
    fn notes(&mut self) -> &mut Notes;
}

/// A checker and what became of it.
struct Guarded {
    invariant: u8,
    check: Box<dyn Check>,
    crashed: Option<(Nanos, String)>,
}

/// All checkers of a run.
pub struct Checkers(Vec<Guarded>);

impl Checkers {
    /// For a run of `plan`.
    pub fn new(plan: &Plan) -> Checkers {
        let plan = Arc::new(plan.clone());
        Checkers::of(vec![
            Box::new(overbooking::Checker::new(&plan)),
            Box::new(rooms::Checker::new(&plan)),
            Box::new(durable::Checker::new(plan.clone())),
            Box::new(isolated::Checker::new(plan.clone())),
            Box::new(outbox::Checker::new(&plan)),
            Box::new(ends::Checker::new(&plan)),
            Box::new(truth::Checker::new(&plan)),
        ])
    }

    fn of(checks: Vec<Box<dyn Check>>) -> Checkers {
        let guarded = checks.into_iter().map(|check| Guarded {
            invariant: check.invariant(),
            check,
            crashed: None,
        });
        Checkers(guarded.collect())
    }

    /// The results, by invariant.
    pub fn finish(mut self, pass: &Pass) -> Vec<CheckResult> {
        self.each(pass.end, |check| check.close(pass));
        self.0
            .iter_mut()
            .map(|guarded| guarded.result(pass))
            .collect()
    }

    /// Runs `look` on each checker that still stands.
    fn each(&mut self, at: Nanos, mut look: impl FnMut(&mut dyn Check)) {
        for guarded in self
            .0
            .iter_mut()
            .filter(|guarded| guarded.crashed.is_none())
        {
            let check = &mut *guarded.check;
            // A checker that panicked is never asked again, so that its broken state is not seen.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| look(check))) {
                let text = panic.downcast_ref::<String>().cloned();
                let text =
                    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                guarded.crashed = Some((at, text.unwrap_or_else(|| "no message".to_owned())));
            }
        }
    }
}

impl Guarded {
    fn result(&mut self, pass: &Pass) -> CheckResult {
        let unknown = |facts, at, what: &str, evidence: String| CheckResult {
            invariant: self.invariant,
            verdict: Verdict::Unknown,
            facts,
            violations: 0,
            findings: vec![Finding {
                at,
                what: what.to_owned(),
                evidence,
            }],
        };
        if let Some((at, message)) = &self.crashed {
            return unknown(0, *at, "the checker crashed", message.clone());
        }
        let notes = std::mem::take(self.check.notes());
        if notes.violations == 0 {
            if let (count @ 1.., reason) = &pass.unreadable {
                let evidence = format!(
                    "{count} rows; the first: {}",
                    reason.as_deref().unwrap_or("")
                );
                return unknown(notes.facts, pass.end, "rows could not be read", evidence);
            }
            if notes.facts == 0 {
                return unknown(0, pass.end, "there was nothing to judge", String::new());
            }
        }
        CheckResult {
            invariant: self.invariant,
            verdict: if notes.violations == 0 {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
            facts: notes.facts,
            violations: notes.violations,
            findings: notes.findings,
        }
    }
}

impl Observer for Checkers {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.each(at, |check| check.commit(at, commit, changes));
    }

    fn lost(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.each(at, |check| check.lost(at, commit, changes));
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        self.each(at, |check| check.event(at, event));
    }

    fn scrape(
        &mut self,
        at: Nanos,
        target: &Arc<str>,
        duration: Nanos,
        outcome: &Result<BodyDiff, String>,
    ) {
        self.each(at, |check| check.scrape(at, target, duration, outcome));
    }
}

/// A night as people write it.
fn day(night: i32) -> String {
    let date = jiff::civil::Date::constant(1970, 1, 1).checked_add(jiff::Span::new().days(night));
    date.map_or_else(|_| format!("day {night}"), |date| date.to_string())
}

#[cfg(test)]
mod tests;
