//! What an alerting rule makes of the samples of one evaluation: labels, annotations, series.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::state::{Holding, Live, Machine, Seen, Timing};
use super::{Group, Rule, RuleKind, RuleSet};
use crate::labels::{Labels, NAME};
use crate::number::is_stale;
use crate::promql::{Answer, Column, Options, Query, Source};
use crate::template::{Data, Template};
use crate::timeline::{ActiveAlert, AlertHistory, AlertState, RuleAt};

/// What stays the same over all instants of one alerting rule.
pub(super) struct AlertStep<'a> {
    pub group: &'a Group,
    pub rule: &'a Rule,
    pub place: RuleAt,
    pub timing: Timing,
    pub annotations: &'a [(String, Template)],
    pub options: &'a Options,
}

impl<'a> AlertStep<'a> {
    /// None for a recording rule.
    pub fn of(
        group: &'a Group,
        rule: &'a Rule,
        (at, place): (usize, usize),
        options: &'a Options,
    ) -> Option<Self> {
        let RuleKind::Alerting { annotations, .. } = &rule.kind else {
            return None;
        };
        Some(AlertStep {
            group,
            rule,
            place: RuleAt {
                group: at,
                rule: place,
            },
            timing: Timing::of(rule)?,
            annotations,
            options,
        })
    }

    /// Labels per column, where no label is a template that could depend on the value or on other series.
    pub fn fixed_labels(&self, columns: &[Column]) -> Option<Vec<Labels>> {
        if !self
            .rule
            .labels
            .iter()
            .all(|(_, template)| template.is_plain())
        {
            return None;
        }
        let named = |column: &Column| {
            let plain = self.rule.labels.iter();
            let labels = plain.fold(column.labels.without_name(), |labels, (name, value)| {
                labels.with(name, value.text())
            });
            labels.with("alertname", &self.rule.name)
        };
        Some(columns.iter().map(named).collect())
    }

    pub fn labels(
        &self,
        column: &Column,
        value: f64,
        source: &Source<'_>,
        t_ms: i64,
        set: &RuleSet,
    ) -> Labels {
        let expanded = self.expand(&self.rule.labels, &column.labels, value, source, t_ms, set);
        let labels = expanded
            .iter()
            .fold(column.labels.without_name(), |labels, (name, text)| {
                labels.with(name, text)
            });
        labels.with("alertname", &self.rule.name)
    }

    /// The alerts whose condition holds at one instant; `fixed` are their labels where they are known beforehand.
    pub fn holding<'c>(
        &self,
        columns: &'c [Column],
        fixed: Option<&[Labels]>,
        (tick, t_ms): (usize, i64),
        source: &Source<'_>,
        set: &RuleSet,
    ) -> Result<Vec<Holding<'c>>, String> {
        let mut out: IndexMap<Labels, Holding<'c>> = IndexMap::new();
        for (place, column) in columns.iter().enumerate() {
            let value = column.values[tick];
            if is_stale(value) {
                continue;
            }
            let labels = match fixed {
                Some(fixed) => fixed[place].clone(),
                None => self.labels(column, value, source, t_ms, set),
            };
            let holding = Holding {
                labels: labels.clone(),
                sample: &column.labels,
                value,
            };
            if let Some(twice) = out.insert(labels, holding) {
                return Err(format!(
                    "vector contains metrics with the same labelset after applying alert labels: {}",
                    twice.labels
                ));
            }
        }
        Ok(out.into_values().collect())
    }

    pub fn annotations(
        &self,
        seen: &Seen,
        source: &Source<'_>,
        set: &RuleSet,
    ) -> BTreeMap<String, String> {
        let (labels, value) = (&seen.sample, seen.value);
        self.expand(self.annotations, labels, value, source, seen.t_ms, set)
            .into_iter()
            .collect()
    }

    /// The alerts that are pending or firing after an evaluation. Annotations are those of the last evaluation in which
    /// the condition held.
    pub fn active(
        &self,
        machine: &Machine,
        source: &Source<'_>,
        set: &RuleSet,
    ) -> Vec<ActiveAlert> {
        let alert = |live: Live<'_>| ActiveAlert {
            file: self.group.file.clone(),
            group: self.group.name.clone(),
            alert: self.rule.name.clone(),
            place: self.place,
            labels: live.labels.clone(),
            annotations: self.annotations(live.seen, source, set),
            state: match live.firing {
                true => AlertState::Firing,
                false => AlertState::Pending,
            },
            active_at_ms: live.active_at_ms,
            keep_firing_since_ms: live.keep_since_ms,
            value: live.seen.value,
        };
        machine.live().map(alert).collect()
    }

    fn expand(
        &self,
        templates: &[(String, Template)],
        labels: &Labels,
        value: f64,
        source: &Source<'_>,
        t_ms: i64,
        set: &RuleSet,
    ) -> Vec<(String, String)> {
        let query = |text: &str| instant(text, source, self.options, t_ms);
        let data = Data {
            labels,
            external_labels: &set.external_labels,
            external_url: &set.external_url,
            value,
            query: &query,
        };
        templates
            .iter()
            .map(|(name, template)| (name.clone(), template.expand(&data)))
            .collect()
    }

    pub fn history(&self, labels: &Labels) -> AlertHistory {
        AlertHistory {
            file: self.group.file.clone(),
            group: self.group.name.clone(),
            alert: self.rule.name.clone(),
            place: self.place,
            labels: labels.clone(),
            annotations: Default::default(),
            transitions: Vec::new(),
        }
    }

    /// `ALERTS` and `ALERTS_FOR_STATE` after an evaluation; `known` holds what alerts were written as before.
    pub fn series(
        &self,
        machine: &Machine,
        known: &mut IndexMap<Labels, Shown>,
    ) -> Vec<(Labels, f64)> {
        let mut out = Vec::new();
        for live in machine.live() {
            if !known.contains_key(live.labels) {
                known.insert(live.labels.clone(), self.shown(live.labels));
            }
            let shown = &known[live.labels];
            let state = if live.firing {
                &shown.firing
            } else {
                &shown.pending
            };
            out.push((state.clone(), 1.0));
            let since = live.active_at_ms.div_euclid(1000) as f64;
            out.push((shown.for_state.clone(), since));
        }
        out
    }

    fn shown(&self, labels: &Labels) -> Shown {
        // A label whose template made nothing of it stands here as it was written, and so it does in Prometheus.
        let empty = self.rule.labels.iter();
        let empty = empty.filter(|(name, _)| labels.get(name).is_empty());
        let labels = empty.fold(labels.clone(), |labels, (name, template)| {
            labels.with(name, template.text())
        });
        let alerts = labels.with(NAME, "ALERTS");
        Shown {
            pending: alerts.with("alertstate", "pending"),
            firing: alerts.with("alertstate", "firing"),
            for_state: labels.with(NAME, "ALERTS_FOR_STATE"),
        }
    }
}

/// The series that one alert is written as.
pub(super) struct Shown {
    pending: Labels,
    firing: Labels,
    for_state: Labels,
}

/// `query` of a template.
fn instant(
    text: &str,
    source: &Source<'_>,
    options: &Options,
    t_ms: i64,
) -> Result<Vec<(Labels, f64)>, String> {
    let query = Query::parse(text).map_err(|error| error.reason)?;
    match query
        .at(source, options, t_ms)
        .map_err(|error| error.reason)?
    {
        Answer::Vector(columns) => Ok(columns
            .into_iter()
            .map(|column| (column.labels, column.values[0]))
            .collect()),
        Answer::Scalar(values) => Ok(vec![(Labels::default(), values[0])]),
        Answer::Matrix(_) | Answer::Text(_) => Err("query result is not a vector or scalar".into()),
    }
}
