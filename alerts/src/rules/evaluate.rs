//! Runs rules over a recording and keeps what happened.
//!
//! Each rule is evaluated over all its instants at once, in the order of groups and rules, so that a rule sees what earlier
//! ones recorded. Where a rule could read its own output, a later rule's, or the future of an earlier one's, all rules
//! are stepped instant by instant instead: slower, same answers.

use indexmap::IndexMap;
use thiserror::Error;

use super::alerting::AlertStep;
use super::state::{Machine, Timing};
use super::{Group, Rule, RuleKind, RuleSet};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, is_stale};
use crate::promql::{Column, Options, Source};
use crate::series::{ColumnId, SeriesId, SeriesStore};
use crate::timeline::{AlertHistory, AlertState, Timeline, Transition};

/// When rules are evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The first evaluation, milliseconds since the epoch.
    pub start_ms: i64,
    /// No evaluation after this instant.
    pub end_ms: i64,
    /// Interval of groups that name none; must be positive.
    pub default_interval_ms: i64,
    /// When the evaluator runs: an instant outside every interval is skipped. Sorted, without overlap.
    pub up: Vec<Up>,
}

/// A time in which the evaluator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Up {
    /// From here on, inclusive.
    pub from_ms: i64,
    /// Up to here, exclusive.
    pub to_ms: i64,
    /// It starts without memory of before (a restart), so that states are restored as Prometheus does; otherwise
    /// evaluations were only missed.
    pub restarted: bool,
}

impl Schedule {
    /// An evaluator that is always up.
    pub fn steady(start_ms: i64, end_ms: i64, default_interval_ms: i64) -> Self {
        let up = vec![Up {
            from_ms: i64::MIN,
            to_ms: i64::MAX,
            restarted: false,
        }];
        Schedule {
            start_ms,
            end_ms,
            default_interval_ms,
            up,
        }
    }

    fn instants(&self, group: &Group) -> Vec<i64> {
        let interval = group.interval_ms.unwrap_or(self.default_interval_ms).max(1);
        let all = (0..)
            .map(|at| self.start_ms + at * interval)
            .take_while(|t| *t <= self.end_ms);
        all.filter(|t| self.up.iter().any(|up| up.from_ms <= *t && *t < up.to_ms))
            .collect()
    }
}

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
        let instants: Vec<Vec<i64>> = self
            .groups
            .iter()
            .map(|group| schedule.instants(group))
            .collect();
        let mut run = Run::new(self, store, schedule);
        if self.needs_steps() {
            let mut steps: Vec<(i64, usize)> = Vec::new();
            for (group, instants) in instants.iter().enumerate() {
                steps.extend(instants.iter().map(|t| (*t, group)));
            }
            steps.sort_unstable();
            for (t, group) in steps {
                run.group(group, &[t])?;
            }
        } else {
            for (group, instants) in instants.iter().enumerate() {
                run.group(group, instants)?;
            }
        }
        Ok(run.finish())
    }

    /// True when evaluating rule by rule could differ from evaluating instant by instant.
    fn needs_steps(&self) -> bool {
        let rules: Vec<&Rule> = self.groups.iter().flat_map(|group| &group.rules).collect();
        rules.iter().enumerate().any(|(at, reader)| {
            let ahead = reader.query.plan().looks_ahead();
            let writers = rules
                .iter()
                .enumerate()
                .filter(|(place, _)| ahead || *place >= at);
            writers
                .map(|(_, writer)| writer)
                .any(|writer| reads(reader, writer))
        })
    }
}

/// Could a selector of one rule match what another writes? Rather yes than no.
fn reads(reader: &Rule, writer: &Rule) -> bool {
    let names = if writer.is_alert() {
        vec!["ALERTS", "ALERTS_FOR_STATE"]
    } else {
        vec![&*writer.name]
    };
    let mut found = false;
    reader.query.plan().selectors(&mut |selector| {
        found |= names.iter().any(|name| {
            selector
                .matchers
                .iter()
                .all(|matcher| match &*matcher.name {
                    NAME => matcher.accepts(name),
                    "alertname" if writer.is_alert() => matcher.accepts(&writer.name),
                    label => {
                        let set = writer
                            .labels
                            .iter()
                            .find(|(have, template)| have == label && template.is_plain());
                        set.is_none_or(|(_, template)| matcher.accepts(template.text()))
                    }
                })
        });
    });
    found
}

struct Run<'a> {
    set: &'a RuleSet,
    store: &'a SeriesStore,
    schedule: &'a Schedule,
    /// What rules wrote: the first is shared, the others hold what two rules wrote under one label set.
    recorded: Vec<SeriesStore>,
    rules: Vec<Vec<RuleRun>>,
    evaluations: u64,
}

struct RuleRun {
    machine: Machine,
    recorder: Recorder,
    histories: IndexMap<Labels, AlertHistory>,
    last_ms: Option<i64>,
}

#[derive(Default)]
struct Recorder {
    column: Option<ColumnId>,
    own: Option<(usize, ColumnId)>,
    /// Series that were written in the last evaluation, with its instant.
    live: IndexMap<(usize, SeriesId), i64>,
}

impl Recorder {
    /// Writes one evaluation's samples; what is missing since the last one goes stale.
    fn write<'l>(
        &mut self,
        stores: &mut Vec<SeriesStore>,
        t_ms: i64,
        samples: impl Iterator<Item = (&'l Labels, f64)>,
    ) {
        let column = *self.column.get_or_insert_with(|| stores[0].add_column());
        // Instants of one rule ascend, so its columns take them.
        let _ = stores[0].advance(column, t_ms);
        if let Some((at, column)) = self.own {
            let _ = stores[at].advance(column, t_ms);
        }
        for (labels, value) in samples {
            let shared = stores[0].intern(labels, column);
            let place = if stores[0].column_of(shared) == column {
                (0, shared)
            } else {
                let (at, column) = *self.own.get_or_insert_with(|| {
                    let mut store = SeriesStore::new();
                    let column = store.add_column();
                    let _ = store.advance(column, t_ms);
                    stores.push(store);
                    (stores.len() - 1, column)
                });
                (at, stores[at].intern(labels, column))
            };
            stores[place.0].set(place.1, value);
            self.live.insert(place, t_ms);
        }
        self.live.retain(|(at, series), last| {
            if *last != t_ms {
                stores[*at].set(*series, STALE);
            }
            *last == t_ms
        });
    }
}

impl<'a> Run<'a> {
    fn new(set: &'a RuleSet, store: &'a SeriesStore, schedule: &'a Schedule) -> Self {
        let fresh = |_: &Rule| RuleRun {
            machine: Machine::default(),
            recorder: Recorder::default(),
            histories: IndexMap::new(),
            last_ms: None,
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
            evaluations: 0,
        }
    }

    fn group(&mut self, at: usize, instants: &[i64]) -> Result<(), EvalError> {
        let group = &self.set.groups[at];
        for (place, rule) in group.rules.iter().enumerate() {
            self.rule(group, rule, (at, place), instants)
                .map_err(|reason| EvalError {
                    file: group.file.clone(),
                    line: rule.line,
                    group: group.name.clone(),
                    rule: rule.name.clone(),
                    reason,
                })?;
        }
        Ok(())
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
        let looked: Vec<i64> = instants.iter().map(|t| t - group.query_offset_ms).collect();
        let columns = {
            let source = layered(self.store, &self.recorded);
            rule.query
                .each(&source, &options, &looked)
                .map_err(|error| error.reason)?
        };
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
                    timing,
                    annotations,
                    options: &options,
                };
                self.alert(&step, at, instants, &columns)
            }
        }
    }

    fn record(
        &mut self,
        group: &Group,
        rule: &Rule,
        (at, place): (usize, usize),
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
        let run = &mut self.rules[at][place];
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
            run.recorder
                .write(&mut self.recorded, *t_ms, seen.into_iter());
        }
        Ok(())
    }

    fn alert(
        &mut self,
        step: &AlertStep<'_>,
        (at, place): (usize, usize),
        instants: &[i64],
        columns: &[Column],
    ) -> Result<(), String> {
        let fixed = step.fixed_labels(columns);
        let run = &mut self.rules[at][place];
        for (tick, t_ms) in instants.iter().enumerate() {
            let restarted = |up: &Up| {
                up.restarted
                    && up.from_ms <= *t_ms
                    && run.last_ms.is_some_and(|last| last < up.from_ms)
            };
            if self.schedule.up.iter().any(restarted) {
                run.machine.restart();
            }
            run.last_ms = Some(*t_ms);
            let mut holding: Vec<(Labels, f64)> = Vec::new();
            let mut sources: Vec<usize> = Vec::new();
            for (place, column) in columns
                .iter()
                .enumerate()
                .filter(|(_, column)| !is_stale(column.values[tick]))
            {
                let labels = match &fixed {
                    Some(fixed) => fixed[place].clone(),
                    None => step.labels(
                        column,
                        column.values[tick],
                        &layered(self.store, &self.recorded),
                        *t_ms,
                        self.set,
                    ),
                };
                if holding.iter().any(|(have, _)| *have == labels) {
                    return Err(format!(
                        "vector contains metrics with the same labelset after applying alert labels: {labels}"
                    ));
                }
                holding.push((labels, column.values[tick]));
                sources.push(place);
            }
            let mut changes: Vec<(Labels, Transition)> = Vec::new();
            run.machine
                .tick(step.timing, *t_ms, &holding, |labels, change| {
                    changes.push((labels.clone(), change))
                });
            for (labels, change) in changes {
                let history = run
                    .histories
                    .entry(labels.clone())
                    .or_insert_with(|| step.history(&labels));
                if change.state == AlertState::Firing {
                    let sample = holding
                        .iter()
                        .position(|(have, _)| *have == labels)
                        .map(|at| &columns[sources[at]]);
                    let source = layered(self.store, &self.recorded);
                    history.annotations =
                        step.annotations(sample, change.value, &source, *t_ms, self.set);
                }
                history.transitions.push(change);
            }
            check_limit(step.group, run.machine.live().count(), "alerts")?;
            let written = step.series(&run.machine);
            run.recorder.write(
                &mut self.recorded,
                *t_ms,
                written.iter().map(|(labels, value)| (labels, *value)),
            );
        }
        Ok(())
    }

    fn finish(self) -> Evaluation {
        let histories = self
            .rules
            .into_iter()
            .flatten()
            .flat_map(|rule| rule.histories.into_values());
        let timeline = Timeline {
            alerts: histories.collect(),
            evaluations: self.evaluations,
        };
        Evaluation {
            timeline,
            recorded: self.recorded,
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
