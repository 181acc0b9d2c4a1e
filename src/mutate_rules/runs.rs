//! The recordings that mutants are evaluated over: each simulated once, with what the rules as they are made of it.
//!
//! Invariant: a run is kept only where each expectation about alerts is met: where one is not, noticing a mistake means nothing.

use std::{collections::BTreeMap, sync::Arc};

use alerts::{
    rules::{RuleSet, Slice},
    timeline::{AlertHistory, AlertState, RuleAt},
};
use chaos::{
    judge::{self, Aspect, Examination, Firing, JudgeFinding},
    scenario::{Plan, SECOND},
};

use super::Change;
use crate::{
    books::Books, diff_rules::of_alerts, exit::Error, inputs::Inputs, jobs::Job, observe, pipeline,
};

/// A recording, and what the rules as they are made of it.
#[derive(Debug)]
pub struct Run {
    /// Scenario and seed.
    pub plan: Arc<Plan>,
    observed: observe::Observed,
    examination: Examination,
    /// What each alert did.
    alerts: Vec<AlertHistory>,
    /// Virtual time that passed, and CPU time that it took, in seconds.
    pub took: (f64, f64),
}

/// What a run says of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Each alert does what it did, also while it waits.
    Same,
    /// Some alert does something else, and each expectation is still met.
    Differs(String),
    /// Some expectation is not met.
    Noticed(String),
}

impl Run {
    /// Simulates, evaluates, judges; what keeps the rules as they are from passing is answered instead, if anything does.
    ///
    /// # Errors
    /// SQL or a rule that cannot be run, or a fault of the simulation itself.
    pub fn record(
        inputs: &Inputs,
        rules: &RuleSet,
        job: &Job,
    ) -> Result<Result<Run, Vec<JudgeFinding>>, Error> {
        let mut books = Books::default();
        let plan = Arc::new(books.measure("plan", || job.scenario.compile(job.seed)));
        let recording = pipeline::record(&plan, inputs, &mut books)?;
        let observed = books
            .measure("scrapes", || observe::observe(&recording, plan.duration))
            .map_err(Error::Internal)?;
        let examination = books.measure("judge", || judge::examine(&plan, &recording));
        drop(recording);
        let timeline = books
            .measure("rules", || {
                rules.evaluate(observed.ingest.store(), &observed.schedule)
            })
            .map_err(|error| Error::Input(error.to_string()))?;
        let run = Run {
            observed,
            examination,
            alerts: timeline.alerts,
            took: (
                plan.duration as f64 / SECOND as f64,
                books.total().as_secs_f64(),
            ),
            plan,
        };
        let firings: Vec<Firing> = run.alerts.iter().flat_map(observe::spans).collect();
        let findings = run.findings(&firings);
        Ok(match findings.is_empty() {
            true => Ok(run),
            false => Err(findings),
        })
    }

    /// What does not hold of alerts, or leaves that open. Broken invariants do not hang on rules.
    fn findings(&self, firings: &[Firing]) -> Vec<JudgeFinding> {
        let verdict = judge::judge(&self.plan, &self.examination, firings);
        let reach = verdict.findings.iter();
        let reach = reach.filter(|finding| finding.aspect == Aspect::Reach);
        of_alerts(&verdict.findings).chain(reach).cloned().collect()
    }

    /// What this run says of a changed rule.
    pub fn see(&self, change: &Change) -> Seen {
        let Change { slice, touched } = change;
        let store = self.observed.ingest.store();
        let evaluation = slice
            .rules
            .evaluate_until_failure(store, &self.observed.schedule);
        if let Some(failure) = evaluation.failures.first() {
            return Seen::Noticed(format!("cannot be evaluated: {}", failure.reason));
        }
        let is_touched = |place: RuleAt| touched.contains(&place);
        let after: Vec<&AlertHistory> = evaluation.timeline.alerts.iter().collect();
        let after = after
            .into_iter()
            .filter(|alert| is_touched(slice.place(alert.place)));
        let after: Vec<&AlertHistory> = after.collect();
        let (before, others): (Vec<&AlertHistory>, Vec<&AlertHistory>) = self
            .alerts
            .iter()
            .partition(|alert| is_touched(alert.place));
        if lives(&before, |place| place) == lives(&after, |place| slice.place(place)) {
            return Seen::Same;
        }
        let firings = others.iter().chain(&after);
        let firings: Vec<Firing> = firings.flat_map(|alert| observe::spans(alert)).collect();
        match self.findings(&firings).first() {
            Some(finding) => Seen::Noticed(format!("{}: {}", finding.subject, finding.message)),
            None => Seen::Differs(difference(&before, &after)),
        }
    }
}

/// An alert's rule and labels, and when it changed to what.
type Life<'a> = ((RuleAt, &'a alerts::labels::Labels), Vec<(i64, AlertState)>);

/// What alerts did. Values of expressions are nobody's business.
fn lives<'a>(alerts: &[&'a AlertHistory], place: impl Fn(RuleAt) -> RuleAt) -> Vec<Life<'a>> {
    let mut lives: BTreeMap<_, Vec<(i64, AlertState)>> = BTreeMap::new();
    for alert in alerts {
        let changes = alert.transitions.iter();
        let changes = changes.map(|change| (change.t_ms, change.state));
        let key = (place(alert.place), &alert.labels);
        lives.entry(key).or_default().extend(changes);
    }
    let mut out: Vec<Life<'a>> = lives.into_iter().collect();
    for (_, changes) in &mut out {
        changes.sort_by_key(|(t_ms, _)| *t_ms);
    }
    out
}

/// In which way alerts do something else, where that breaks nothing.
fn difference(before: &[&AlertHistory], after: &[&AlertHistory]) -> String {
    let [old, new] = [before, after].map(|alerts| {
        let spans = alerts.iter().flat_map(|alert| observe::spans(alert));
        let mut spans: Vec<(u64, Option<u64>)> = spans
            .map(|firing| (firing.fired_at_ms, firing.resolved_at_ms))
            .collect();
        spans.sort_unstable();
        spans
    });
    let second = |ms: u64| ms as f64 / 1_000.0;
    let by = |from: u64, to: u64| {
        let seconds = second(from.abs_diff(to));
        let way = if to > from { "later" } else { "earlier" };
        format!("{seconds} s {way}")
    };
    match (old.first(), new.first()) {
        (Some((old, _)), Some((new, _))) if old != new => {
            format!("it fires {}, which is still in time", by(*old, *new))
        }
        (Some(_), None) => "it does not fire any more, and need not".to_owned(),
        (None, Some((new, _))) => format!("it fires at second {}, and may", second(*new)),
        (Some(_), Some(_)) if old != new => {
            let ends = |spans: &[(u64, Option<u64>)]| spans.last().and_then(|(_, end)| *end);
            match (ends(&old), ends(&new)) {
                (Some(old), Some(new)) if old != new => {
                    format!("it fires at the same time and ends {}", by(old, new))
                }
                _ => "it fires at the same time, and other series with it".to_owned(),
            }
        }
        (Some(_), Some(_)) => "it fires at the same times, and waited otherwise before".to_owned(),
        (None, None) => match after.iter().any(|alert| !alert.transitions.is_empty()) {
            true => "its condition is true for a while, and it does not fire".to_owned(),
            false => "its condition is never true, and it did not fire before".to_owned(),
        },
    }
}

/// The slice of rules that shows what a change does.
impl Change {
    /// Of a rule set that holds the changed rule at this place.
    pub fn of(changed: &RuleSet, place: RuleAt) -> Change {
        let touched = changed.dependents(place);
        let slice: Slice = changed.slice(&touched);
        Change { slice, touched }
    }
}
