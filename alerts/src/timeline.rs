//! When each alert was pending, firing and resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::labels::Labels;

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition became true; `for` has not passed.
    Pending,
    /// It fires.
    Firing,
    /// It fired and its condition ended.
    Resolved,
    /// It was pending and its condition ended.
    Inactive,
}

/// A change of an alert's state, in the evaluation at this instant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Instant of the evaluation, milliseconds since the epoch.
    pub t_ms: i64,
    /// The state from here on.
    pub state: AlertState,
    /// The expression's value; the last one when the condition ended. Written as text so that `NaN` and `+Inf` survive.
    #[serde(with = "value_text")]
    pub value: f64,
}

/// One alert: a rule with one set of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertHistory {
    /// File of the rule.
    pub file: String,
    /// Group of the rule.
    pub group: String,
    /// The alert's name.
    pub alert: String,
    /// The rule itself: names need not be unique.
    pub place: RuleAt,
    /// All its labels, `alertname` included.
    pub labels: Labels,
    /// Annotations as they were when it last began to fire; empty when it never did.
    pub annotations: BTreeMap<String, String>,
    /// Changes, oldest first.
    pub transitions: Vec<Transition>,
}

/// Where a rule stands in its [`crate::rules::RuleSet`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleAt {
    /// Index in [`crate::rules::RuleSet::groups`].
    pub group: usize,
    /// Index in the group's rules.
    pub rule: usize,
}

/// An alert that is pending or firing, as Prometheus' `/api/v1/alerts` shows it after an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlert {
    /// File of the rule.
    pub file: String,
    /// Group of the rule.
    pub group: String,
    /// The alert's name.
    pub alert: String,
    /// The rule itself: names need not be unique.
    pub place: RuleAt,
    /// All its labels, `alertname` included.
    pub labels: Labels,
    /// Annotations, expanded in the last evaluation in which its condition held.
    pub annotations: BTreeMap<String, String>,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when its condition holds, milliseconds since the epoch.
    pub active_at_ms: i64,
    /// Since when its condition does not hold any more, while `keep_firing_for` keeps it.
    pub keep_firing_since_ms: Option<i64>,
    /// The expression's value when its condition last held.
    #[serde(with = "value_text")]
    pub value: f64,
}

/// All alerts of an evaluation that were ever active, in the order of the rules and then of birth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The alerts.
    pub alerts: Vec<AlertHistory>,
    /// How many rule evaluations were made.
    pub evaluations: u64,
}

impl AlertHistory {
    /// Spans of firing: first firing evaluation, and the one that resolved it if any did.
    pub fn firings(&self) -> Vec<(i64, Option<i64>)> {
        let mut out: Vec<(i64, Option<i64>)> = Vec::new();
        for change in &self.transitions {
            match (change.state, out.last_mut()) {
                (AlertState::Firing, _) => out.push((change.t_ms, None)),
                (_, Some(last)) if last.1.is_none() => last.1 = Some(change.t_ms),
                _ => {}
            }
        }
        out
    }

    /// The first evaluation at or after `t_ms` in which it fires: `t_ms` itself is answered when it fires already.
    pub fn firing_at_or_after(&self, t_ms: i64) -> Option<i64> {
        let spans = self.firings().into_iter();
        spans
            .filter(|(_, end)| end.is_none_or(|end| end > t_ms))
            .map(|(start, _)| start.max(t_ms))
            .next()
    }

    /// The first evaluation at or after `t_ms` in which it began to fire.
    pub fn fired_at_or_after(&self, t_ms: i64) -> Option<i64> {
        self.firings()
            .into_iter()
            .map(|(start, _)| start)
            .find(|start| *start >= t_ms)
    }

    /// The evaluation that ended the firing that began at `fired_ms`.
    pub fn resolved_after(&self, fired_ms: i64) -> Option<i64> {
        self.firings()
            .into_iter()
            .find(|(start, _)| *start == fired_ms)
            .and_then(|(_, end)| end)
    }

    /// True when it fires at this instant (resolution excluded).
    pub fn fires_at(&self, t_ms: i64) -> bool {
        self.firings()
            .into_iter()
            .any(|(start, end)| start <= t_ms && end.is_none_or(|end| t_ms < end))
    }
}

impl Timeline {
    /// Alerts whose label has this value, such as `alert_id`.
    pub fn with_label<'a>(
        &'a self,
        name: &'a str,
        value: &'a str,
    ) -> impl Iterator<Item = &'a AlertHistory> {
        self.alerts
            .iter()
            .filter(move |alert| alert.labels.get(name) == value)
    }

    /// Alerts that fired at least once.
    pub fn fired(&self) -> impl Iterator<Item = &AlertHistory> {
        self.alerts.iter().filter(|alert| {
            alert
                .transitions
                .iter()
                .any(|change| change.state == AlertState::Firing)
        })
    }

    /// The first beginning of a firing at or after `t_ms` among alerts with this label.
    pub fn first_firing(&self, name: &str, value: &str, t_ms: i64) -> Option<i64> {
        self.with_label(name, value)
            .filter_map(|alert| alert.fired_at_or_after(t_ms))
            .min()
    }

    /// When the last alert with this label that fired at or after `t_ms` was resolved; `None` when none fired or one still
    /// fires at the end.
    pub fn last_resolved(&self, name: &str, value: &str, t_ms: i64) -> Option<i64> {
        let spans = self.with_label(name, value).flat_map(AlertHistory::firings);
        let ends: Vec<Option<i64>> = spans
            .filter(|(_, end)| end.is_none_or(|end| end > t_ms))
            .map(|(_, end)| end)
            .collect();
        ends.into_iter()
            .collect::<Option<Vec<i64>>>()?
            .into_iter()
            .max()
    }
}

mod value_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::number::{format_f, parse_value};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_f(*value, None))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_value(&text).ok_or_else(|| D::Error::custom(format!("not a number: {text:?}")))
    }
}
