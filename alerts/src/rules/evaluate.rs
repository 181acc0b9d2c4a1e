//! Runs rules over a recording and keeps what happened.
//!
//! Each rule is evaluated over all its instants at once, in the order of groups and rules, so that a rule sees what earlier
//! ones recorded. Where a rule could read its own output, a later rule's, or the future of an earlier one's, all rules
//! are stepped instant by instant instead: slower, same answers.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use thiserror::Error;

use super::alerting::{AlertStep, Shown};
use super::record::Recorder;
use super::schedule::{Schedule, Waking, answers};
use super::state::{Machine, Timing};
use super::{Group, Rule, RuleSet};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, is_stale};
use crate::promql::{Column, Options, Source};
use crate::series::SeriesStore;
use crate::timeline::{ActiveAlert, AlertHistory, AlertState, RuleAt, Timeline, Transition};

/// A rule that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{line}: rule {rule} of group {group}: {reason}")]
pub struct EvalError {
    /// File of the rule.
    pub file: String,
    /// Line of the rule.
    pub line: usize,
    /// Group of the rule.
    pub group: String,
    /// Name of the rule.
    pub rule: String,
    /// Instant of the evaluation, milliseconds since the epoch.
    pub t_ms: i64,
    /// What happened.
    pub reason: String,
}

/// What an evaluation leaves behind.
#[derive(Debug)]
pub struct Evaluation {
    /// The alerts.
    pub timeline: Timeline,
    /// Series that rules wrote (recorded ones, `ALERTS`, `ALERTS_FOR_STATE`); read them together with
    /// [`Source::layered`].
    pub recorded: SeriesStore,
    /// For each of [`Schedule::snapshots`], the alerts that were active after the last evaluation of each rule at or before
    /// that instant, in the order of the rules and then of birth.
    pub snapshots: Vec<Vec<ActiveAlert>>,
    /// The rules that failed: at the first instant at which any did, where the evaluation ended and after which no snapshot is
    /// taken, or at any instant where it went on.
    pub failures: Vec<EvalError>,
}

impl RuleSet {
    /// Evaluates all rules over a recording. An error of one rule at one instant fails the whole, because an alert that
    /// was not evaluated must not read as an alert that was silent.
    pub fn evaluate(
        &self,
        store: &SeriesStore,
        schedule: &Schedule,
    ) -> Result<Timeline, EvalError> {
        self.evaluate_recorded(store, schedule)
            .map(|evaluation| evaluation.timeline)
    }

    /// The same, with the series that the rules wrote.
    pub fn evaluate_recorded(
        &self,
        store: &SeriesStore,
        schedule: &Schedule,
    ) -> Result<Evaluation, EvalError> {
        let mut evaluation = self.evaluate_until_failure(store, schedule);
        match evaluation.failures.is_empty() {
            true => Ok(evaluation),
            false => Err(evaluation.failures.swap_remove(0)),
        }
    }

    /// The same up to the first instant at which a rule fails, all rules of that instant included: how promtool runs unit
    /// tests.
    pub fn evaluate_until_failure(&self, store: &SeriesStore, schedule: &Schedule) -> Evaluation {
        let instants = schedule.instants(&self.groups);
        if !schedule.restarts() && !self.needs_steps() {
            let mut run = Run::new(self, store, schedule, &instants);
            let whole = |(group, instants): (usize, &Vec<i64>)| run.group(group, instants);
            if instants.iter().enumerate().all(whole) {
                return run.finish(false);
            }
            // Which instant failed first is known only instant by instant.
        }
        self.step(store, schedule, &instants, false)
    }

    /// The same as a server does it: a rule that fails at an instant writes nothing then, and is evaluated at the next one
    /// as if this one had been missed.
    pub fn evaluate_past_failures(&self, store: &SeriesStore, schedule: &Schedule) -> Evaluation {
        let instants = schedule.instants(&self.groups);
        self.step(store, schedule, &instants, true)
    }

    fn step(
        &self,
        store: &SeriesStore,
        schedule: &Schedule,
        instants: &[Vec<i64>],
        goes_on: bool,
    ) -> Evaluation {
        let mut steps: Vec<(i64, usize)> = Vec::new();
        for (group, instants) in instants.iter().enumerate() {
            steps.extend(instants.iter().map(|t| (*t, group)));
        }
        steps.sort_unstable();
        let mut run = Run::new(self, store, schedule, instants);
        let wakings: Vec<_> = instants
            .iter()
            .map(|instants| schedule.wakings(instants))
            .collect();
        for (t_ms, group) in steps {
            if !goes_on && run.failures.first().is_some_and(|first| first.t_ms < t_ms) {
                break;
            }
            run.waking = wakings[group].get(&t_ms).copied();
            run.group(group, &[t_ms]);
        }
        run.finish(goes_on)
    }
}

struct Run<'a> {
    set: &'a RuleSet,
    store: &'a SeriesStore,
    schedule: &'a Schedule,
    /// What rules wrote.
    recorded: SeriesStore,
    rules: Vec<Vec<RuleRun>>,
    /// Per group: which snapshots an evaluation at this instant answers.
    answers: Vec<BTreeMap<i64, Vec<usize>>>,
    /// Whether the instant that is evaluated is one after a start without memory.
    waking: Option<Waking>,
    failures: Vec<EvalError>,
    evaluations: u64,
}

struct RuleRun {
    machine: Machine,
    recorder: Recorder,
    histories: IndexMap<Labels, AlertHistory>,
    /// What each alert is written as.
    shown: IndexMap<Labels, Shown>,
    /// Index of the snapshot, and what was active.
    snapshots: Vec<(usize, Vec<ActiveAlert>)>,
}

impl<'a> Run<'a> {
    fn new(
        set: &'a RuleSet,
        store: &'a SeriesStore,
        schedule: &'a Schedule,
        instants: &[Vec<i64>],
    ) -> Self {
        let fresh = |_: &Rule| RuleRun {
            machine: Machine::default(),
            recorder: Recorder::default(),
            histories: IndexMap::new(),
            shown: IndexMap::new(),
            snapshots: Vec::new(),
        };
        let rules = set
            .groups
            .iter()
            .map(|group| group.rules.iter().map(fresh).collect())
            .collect();
        Run {
            set,
            store,
            schedule,
            recorded: SeriesStore::new(),
            rules,
            answers: instants
                .iter()
                .map(|instants| answers(&schedule.snapshots, instants))
                .collect(),
            waking: None,
            failures: Vec::new(),
            evaluations: 0,
        }
    }

    fn options(&self) -> Options {
        Options {
            subquery_step_ms: self.schedule.default_interval_ms.max(1),
            ..Options::default()
        }
    }

    /// Evaluates a group's rules; false when one failed.
    fn group(&mut self, at: usize, instants: &[i64]) -> bool {
        let set = self.set;
        let group = &set.groups[at];
        let options = self.options();
        let t_ms = instants.first().copied().unwrap_or_default();
        let mut good = true;
        for (place, rule) in group.rules.iter().enumerate() {
            let step = AlertStep::of(group, rule, (at, place), &options);
            let run = &mut self.rules[at][place];
            if self.waking == Some(Waking::First) {
                run.machine.forget();
                run.recorder.forget();
            }
            if let Err(reason) = self.rule((group, rule, (at, place)), step.as_ref(), instants) {
                good = false;
                self.failures.push(EvalError {
                    file: group.file.clone(),
                    line: rule.line,
                    group: group.name.clone(),
                    rule: rule.name.clone(),
                    t_ms,
                    reason,
                });
                if let Some(step) = &step {
                    self.show(step, t_ms);
                }
            }
            if self.waking == Some(Waking::First) {
                self.rules[at][place].close(t_ms);
            }
        }
        if self.waking == Some(Waking::Second) {
            self.restore(at, t_ms);
        }
        good
    }

    /// Gives the alerts of a group back what storage holds of the time before.
    fn restore(&mut self, at: usize, t_ms: i64) {
        let restoration = self.schedule.restoration;
        let stores = [self.store, &self.recorded];
        let from_ms = t_ms - restoration.outage_tolerance_ms;
        for (rule, run) in self.set.groups[at].rules.iter().zip(&mut self.rules[at]) {
            let Some(timing) = Timing::of(rule) else {
                continue;
            };
            run.machine.restore(timing, restoration, t_ms, |labels| {
                let labels = labels.with(NAME, "ALERTS_FOR_STATE");
                let last = |store: &&SeriesStore| {
                    let samples = store.samples(store.find(&labels)?, from_ms, t_ms);
                    Some((*samples.t_ms.last()?, *samples.values.last()?))
                };
                let found = stores.iter().filter_map(last).max_by_key(|(t, _)| *t);
                found.filter(|(_, value)| !is_stale(*value))
            });
            let answered = self.answers[at].get(&t_ms);
            let is_answered = |at: &usize| answered.is_some_and(|wanted| wanted.contains(at));
            for (_, active) in run.snapshots.iter_mut().filter(|(at, _)| is_answered(at)) {
                for alert in active {
                    let restored = run.machine.live().find(|live| *live.labels == alert.labels);
                    alert.active_at_ms =
                        restored.map_or(alert.active_at_ms, |live| live.active_at_ms);
                }
            }
        }
    }

    fn rule(
        &mut self,
        (group, rule, at): (&Group, &Rule, (usize, usize)),
        step: Option<&AlertStep<'_>>,
        instants: &[i64],
    ) -> Result<(), String> {
        let columns = self.query(group, rule, &self.options(), instants)?;
        self.evaluations += instants.len() as u64;
        match step {
            None => self.record((group, rule), at, instants, &columns),
            Some(step) => self.alert(step, instants, &columns),
        }
    }

    /// The rule's expression at each instant, over what is known then.
    fn query(
        &self,
        group: &Group,
        rule: &Rule,
        options: &Options,
        instants: &[i64],
    ) -> Result<Vec<Column>, String> {
        let source = layered(self.store, &self.recorded);
        let looked = |t: &i64| t - group.query_offset_ms;
        if !rule.query.plan().looks_ahead() {
            let looked: Vec<i64> = instants.iter().map(looked).collect();
            let answer = rule.query.each(&source, options, &looked);
            return answer.map_err(|error| error.reason);
        }
        let mut out: IndexMap<Labels, Column> = IndexMap::new();
        for (tick, t_ms) in instants.iter().enumerate() {
            let known = source.clone().until(*t_ms);
            let answer = rule.query.each(&known, options, &[looked(t_ms)]);
            for column in answer.map_err(|error| error.reason)? {
                let value = column.values[0];
                let whole = out.entry(column.labels.clone()).or_insert_with(|| Column {
                    values: vec![STALE; instants.len()],
                    ..column
                });
                whole.values[tick] = value;
            }
        }
        Ok(out.into_values().collect())
    }

    fn record(
        &mut self,
        (group, rule): (&Group, &Rule),
        at: (usize, usize),
        instants: &[i64],
        columns: &[Column],
    ) -> Result<(), String> {
        let labels: Vec<Labels> = columns
            .iter()
            .map(|column| {
                let named = column.labels.with(NAME, &rule.name);
                rule.labels.iter().fold(named, |labels, (name, value)| {
                    labels.with(name, value.text())
                })
            })
            .collect();
        for (tick, t_ms) in instants.iter().enumerate() {
            let mut seen: IndexMap<&Labels, f64> = IndexMap::new();
            for (column, labels) in columns.iter().zip(&labels) {
                let value = column.values[tick];
                if !is_stale(value) && seen.insert(labels, value).is_some() {
                    return Err(format!(
                        "vector contains metrics with the same labelset after applying rule labels: {labels}"
                    ));
                }
            }
            check_limit(group, seen.len(), "series")?;
            let run = &mut self.rules[at.0][at.1];
            let stamp_ms = t_ms - group.query_offset_ms;
            run.recorder
                .write(&mut self.recorded, stamp_ms, seen.into_iter());
        }
        Ok(())
    }

    fn alert(
        &mut self,
        step: &AlertStep<'_>,
        instants: &[i64],
        columns: &[Column],
    ) -> Result<(), String> {
        let fixed = step.fixed_labels(columns);
        let RuleAt { group, rule } = step.place;
        for (tick, t_ms) in instants.iter().enumerate() {
            let run = &mut self.rules[group][rule];
            let holds = columns.iter().any(|column| !is_stale(column.values[tick]));
            if !holds && run.machine.is_idle() && run.recorder.is_idle() {
                run.machine.tick(step.timing, *t_ms, &[], |_, _| {});
                continue;
            }
            let holding = {
                let source = layered(self.store, &self.recorded).until(*t_ms);
                step.holding(columns, fixed.as_deref(), (tick, *t_ms), &source, self.set)?
            };
            let mut changes: Vec<(Labels, Transition)> = Vec::new();
            run.machine
                .tick(step.timing, *t_ms, &holding, |labels, change| {
                    changes.push((labels.clone(), change))
                });
            if let Err(reason) = check_limit(step.group, run.machine.live().count(), "alerts") {
                run.machine.forget();
                run.close(*t_ms);
                return Err(reason);
            }
            let source = layered(self.store, &self.recorded).until(*t_ms);
            run.note(step, changes, &source, self.set);
            self.show(step, *t_ms);
            let run = &mut self.rules[group][rule];
            // What the evaluator remembered is not restored before its second evaluation has ended.
            let written = match self.waking {
                Some(_) => Vec::new(),
                None => step.series(&run.machine, &mut run.shown),
            };
            run.recorder.write(
                &mut self.recorded,
                t_ms - step.group.query_offset_ms,
                written.iter().map(|(labels, value)| (labels, *value)),
            );
        }
        Ok(())
    }

    /// Takes the snapshots that this evaluation answers.
    fn show(&mut self, step: &AlertStep<'_>, t_ms: i64) {
        let RuleAt { group, rule } = step.place;
        let Some(wanted) = self.answers[group].get(&t_ms) else {
            return;
        };
        let source = layered(self.store, &self.recorded).until(t_ms);
        let run = &mut self.rules[group][rule];
        let active = step.active(&run.machine, &source, self.set);
        let taken = wanted.iter().map(|at| (*at, active.clone()));
        run.snapshots.extend(taken);
    }

    fn finish(self, went_on: bool) -> Evaluation {
        let mut alerts = Vec::new();
        let mut snapshots = vec![Vec::new(); self.schedule.snapshots.len()];
        for rule in self.rules.into_iter().flatten() {
            alerts.extend(rule.histories.into_values());
            let failed_ms = self.failures.first().map(|first| first.t_ms);
            let failed_ms = failed_ms.filter(|_| !went_on);
            for (at, active) in rule.snapshots {
                let wanted = self.schedule.snapshots[at];
                if failed_ms.is_none_or(|failed| wanted < failed) {
                    snapshots[at].extend(active);
                }
            }
        }
        let timeline = Timeline {
            alerts,
            evaluations: self.evaluations,
        };
        Evaluation {
            timeline,
            recorded: self.recorded,
            snapshots,
            failures: self.failures,
        }
    }
}

impl RuleRun {
    /// Keeps what changed, with the annotations of what begins to fire.
    fn note(
        &mut self,
        step: &AlertStep<'_>,
        changes: Vec<(Labels, Transition)>,
        source: &Source<'_>,
        set: &RuleSet,
    ) {
        for (labels, change) in changes {
            let history = self
                .histories
                .entry(labels.clone())
                .or_insert_with(|| step.history(&labels));
            if change.state == AlertState::Firing
                && let Some(seen) = self.machine.seen(&labels)
            {
                history.annotations = step.annotations(seen, source, set);
            }
            let last = history.transitions.last().map(|last| last.state);
            // What fires again at once after a restart never ended.
            if last != Some(AlertState::Firing) || change.state != AlertState::Firing {
                history.transitions.push(change);
            }
        }
    }

    /// Ends what was active and, after the evaluator forgot it, is not any more.
    fn close(&mut self, t_ms: i64) {
        for (labels, history) in &mut self.histories {
            let Some(last) = history.transitions.last().copied() else {
                continue;
            };
            let state = match last.state {
                _ if self.machine.is_live(labels) => continue,
                AlertState::Firing => AlertState::Resolved,
                AlertState::Pending => AlertState::Inactive,
                AlertState::Resolved | AlertState::Inactive => continue,
            };
            history.transitions.push(Transition {
                t_ms,
                state,
                ..last
            });
        }
    }
}

fn layered<'s>(store: &'s SeriesStore, recorded: &'s SeriesStore) -> Source<'s> {
    let mut stores = vec![store];
    stores.extend((!recorded.is_empty()).then_some(recorded));
    Source::layered(stores)
}

fn check_limit(group: &Group, count: usize, what: &str) -> Result<(), String> {
    match group.limit {
        limit if limit > 0 && count > limit => {
            Err(format!("exceeded limit of {limit} with {count} {what}"))
        }
        _ => Ok(()),
    }
}
