//! When rules are evaluated, and of which evaluations more is wanted.

use std::collections::BTreeMap;

use super::Group;

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
    /// Instants at which [`Evaluation::snapshots`] wants to know the active alerts, in any order.
    pub snapshots: Vec<i64>,
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
            snapshots: Vec::new(),
        }
    }

    pub(super) fn instants(&self, group: &Group) -> Vec<i64> {
        let interval = group.interval_ms.unwrap_or(self.default_interval_ms).max(1);
        let all = (0..)
            .map(|at| self.start_ms + at * interval)
            .take_while(|t| *t <= self.end_ms);
        all.filter(|t| self.up.iter().any(|up| up.from_ms <= *t && *t < up.to_ms))
            .collect()
    }
}

/// For each instant, the snapshots of which it is the last evaluation.
pub(super) fn answers(snapshots: &[i64], instants: &[i64]) -> BTreeMap<i64, Vec<usize>> {
    let mut out: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, wanted) in snapshots.iter().enumerate() {
        let before = instants.partition_point(|t| t <= wanted);
        if let Some(last) = before.checked_sub(1) {
            out.entry(instants[last]).or_default().push(at);
        }
    }
    out
}
