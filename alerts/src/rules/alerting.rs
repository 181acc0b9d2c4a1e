//! What an alerting rule makes of the samples of one evaluation: labels, annotations, series.

use std::collections::BTreeMap;

use super::state::{Machine, Timing};
use super::{Group, Rule, RuleSet};
use crate::labels::{Labels, NAME};
use crate::promql::{Answer, Column, Options, Query, Source};
use crate::template::{Data, Template};
use crate::timeline::AlertHistory;

/// What stays the same over all instants of one alerting rule.
pub(super) struct AlertStep<'a> {
    pub group: &'a Group,
    pub rule: &'a Rule,
    pub timing: Timing,
    pub annotations: &'a [(String, Template)],
    pub options: &'a Options,
}

impl AlertStep<'_> {
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

    pub fn annotations(
        &self,
        column: Option<&Column>,
        value: f64,
        source: &Source<'_>,
        t_ms: i64,
        set: &RuleSet,
    ) -> BTreeMap<String, String> {
        let labels = column
            .map(|column| column.labels.clone())
            .unwrap_or_default();
        self.expand(self.annotations, &labels, value, source, t_ms, set)
            .into_iter()
            .collect()
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
            external_url: "",
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
            labels: labels.clone(),
            annotations: Default::default(),
            transitions: Vec::new(),
        }
    }

    /// `ALERTS` and `ALERTS_FOR_STATE` after an evaluation.
    pub fn series(&self, machine: &Machine) -> Vec<(Labels, f64)> {
        let mut out = Vec::new();
        for live in machine.live() {
            let state = if live.firing { "firing" } else { "pending" };
            out.push((
                live.labels.with(NAME, "ALERTS").with("alertstate", state),
                1.0,
            ));
            let since = live.active_at_ms.div_euclid(1000) as f64;
            out.push((live.labels.with(NAME, "ALERTS_FOR_STATE"), since));
        }
        out
    }
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
