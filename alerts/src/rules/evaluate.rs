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
use super::schedule::{Schedule, Up, answers};
use super::state::{Machine, Timing};
use super::{Group, Rule, RuleKind, RuleSet};
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
    pub recorded: Vec<SeriesStore>,
    /// For each of [`Schedule::snapshots`], the alerts that were active after the last evaluation of each rule at or before
    /// that instant, in the order of the rules and then of birth.
    pub snapshots: Vec<Vec<ActiveAlert>>,
    /// The rules that failed at the first instant at which any did, where the evaluation ended: no snapshot is taken there
    /// or after.
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
        let instants: Vec<Vec<i64>> = self
            .groups
            .iter()
            .map(|group| schedule.instants(group))
            .collect();
        if !self.needs_steps() {
            let mut run = Run::new(self, store, schedule, &instants);
            let whole = |(group, instants): (usize, &Vec<i64>)| run.group(group, instants);
            if instants.iter().enumerate().all(whole) {
                return run.finish();
            }
            // Which instant failed first is known only instant by instant.
        }
        let mut steps: Vec<(i64, usize)> = Vec::new();
        for (group, instants) in instants.iter().enumerate() {
            steps.extend(instants.iter().map(|t| (*t, group)));
        }
        steps.sort_unstable();
        let mut run = Run::new(self, store, schedule, &instants);
        for (t_ms, group) in steps {
            if run.failures.first().is_some_and(|first| first.t_ms < t_ms) {
                break;
            }
            run.group(group, &[t_ms]);
        }
        run.finish()
    }
}

struct Run<'a> {
    set: &'a RuleSet,
    store: &'a SeriesStore,
    schedule: &'a Schedule,
    /// What rules wrote: the first is shared, the others hold what two rules wrote under one label set.
    recorded: Vec<SeriesStore>,
    rules: Vec<Vec<RuleRun>>,
    /// Per group: which snapshots an evaluation at this instant answers.
    answers: Vec<BTreeMap<i64, Vec<usize>>>,
    failures: Vec<EvalError>,
    evaluations: u64,
}

struct RuleRun {
    machine: Machine,
    recorder: Recorder,
    histories: IndexMap<Labels, AlertHistory>,
    /// What each alert is written as.
    shown: IndexMap<Labels, Shown>,
    last_ms: Option<i64>,
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
            last_ms: None,
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
            recorded: vec![SeriesStore::new()],
            rules,
            answers: instants
                .iter()
                .map(|instants| answers(&schedule.snapshots, instants))
                .collect(),
            failures: Vec::new(),
            evaluations: 0,
        }
    }

    /// Evaluates a group's rules; false when one failed.
    fn group(&mut self, at: usize, instants: &[i64]) -> bool {
        let group = &self.set.groups[at];
        let mut good = true;
        for (place, rule) in group.rules.iter().enumerate() {
            if let Err(reason) = self.rule(group, rule, (at, place), instants) {
                good = false;
                self.failures.push(EvalError {
                    file: group.file.clone(),
                    line: rule.line,
                    group: group.name.clone(),
                    rule: rule.name.clone(),
                    t_ms: instants.first().copied().unwrap_or_default(),
                    reason,
                });
            }
        }
        good
    }

    fn rule(
        &mut self,
        group: &Group,
        rule: &Rule,
        at: (usize, usize),
        instants: &[i64],
    ) -> Result<(), String> {
        let options = Options {
            subquery_step_ms: self.schedule.default_interval_ms.max(1),
            ..Options::default()
        };
        let columns = self.query(group, rule, &options, instants)?;
        self.evaluations += instants.len() as u64;
        match &rule.kind {
            RuleKind::Recording => self.record(group, rule, at, instants, &columns),
            RuleKind::Alerting {
                for_ms,
                keep_firing_for_ms,
                annotations,
            } => {
                let timing = Timing {
                    for_ms: *for_ms,
                    keep_firing_for_ms: *keep_firing_for_ms,
                };
                let step = AlertStep {
                    group,
                    rule,
                    place: RuleAt {
                        group: at.0,
                        rule: at.1,
                    },
                    timing,
                    annotations,
                    options: &options,
                };
                self.alert(&step, instants, &columns)
            }
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

    /// Takes note of an evaluation; true when the evaluator lost its memory since the last one.
    fn restarted(&mut self, (at, place): (usize, usize), t_ms: i64) -> bool {
        let last_ms = self.rules[at][place].last_ms.replace(t_ms);
        let since = |up: &Up| {
            up.restarted && up.from_ms <= t_ms && last_ms.is_some_and(|last| last < up.from_ms)
        };
        self.schedule.up.iter().any(since)
    }

    fn record(
        &mut self,
        group: &Group,
        rule: &Rule,
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
            let restarted = self.restarted(at, *t_ms);
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
            if restarted {
                run.recorder.forget();
            }
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
            let restarted = self.restarted((group, rule), *t_ms);
            let run = &mut self.rules[group][rule];
            if restarted {
                run.machine.restart();
                run.recorder.forget();
            }
            let holds = columns.iter().any(|column| !is_stale(column.values[tick]));
            if !holds && run.machine.is_idle() && run.recorder.is_idle() {
                run.machine.tick(step.timing, *t_ms, &[], |_, _| {});
                continue;
            }
            let holding = {
                let source = layered(self.store, &self.recorded).until(*t_ms);
                step.holding(columns, fixed.as_deref(), (tick, *t_ms), &source, self.set)?
            };
            // What the evaluator remembered is not restored before its second evaluation has ended.
            let restoring = run.machine.is_restoring();
            let mut changes: Vec<(Labels, Transition)> = Vec::new();
            run.machine
                .tick(step.timing, *t_ms, &holding, |labels, change| {
                    changes.push((labels.clone(), change))
                });
            let source = layered(self.store, &self.recorded).until(*t_ms);
            run.note(step, changes, &source, self.set);
            if let Err(reason) = check_limit(step.group, run.machine.live().count(), "alerts") {
                run.machine.forget();
                return Err(reason);
            }
            if let Some(wanted) = self.answers[group].get(t_ms) {
                let active = step.active(&run.machine, &source, self.set);
                run.snapshots
                    .extend(wanted.iter().map(|at| (*at, active.clone())));
            }
            let written = match restoring {
                true => Vec::new(),
                false => step.series(&run.machine, &mut run.shown),
            };
            run.recorder.write(
                &mut self.recorded,
                t_ms - step.group.query_offset_ms,
                written.iter().map(|(labels, value)| (labels, *value)),
            );
        }
        Ok(())
    }

    fn finish(self) -> Evaluation {
        let mut alerts = Vec::new();
        let mut snapshots = vec![Vec::new(); self.schedule.snapshots.len()];
        for rule in self.rules.into_iter().flatten() {
            alerts.extend(rule.histories.into_values());
            let failed_ms = self.failures.first().map(|first| first.t_ms);
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
            history.transitions.push(change);
        }
    }
}

fn layered<'s>(store: &'s SeriesStore, recorded: &'s [SeriesStore]) -> Source<'s> {
    Source::layered(
        std::iter::once(store)
            .chain(recorded.iter().filter(|store| !store.is_empty()))
            .collect(),
    )
}

fn check_limit(group: &Group, count: usize, what: &str) -> Result<(), String> {
    match group.limit {
        limit if limit > 0 && count > limit => {
            Err(format!("exceeded limit of {limit} with {count} {what}"))
        }
        _ => Ok(()),
    }
}
