//! When rules are evaluated, and of which evaluations more is wanted.

use std::collections::BTreeMap;

use twox_hash::XxHash64;

use super::Group;

/// When rules are evaluated, and what a restart of the evaluator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// No evaluation before this instant, milliseconds since the epoch.
    pub start_ms: i64,
    /// No evaluation after this instant.
    pub end_ms: i64,
    /// Interval of groups that name none; must be positive.
    pub default_interval_ms: i64,
    /// When the evaluator runs: an instant outside every interval is skipped. Sorted, without overlap.
    pub up: Vec<Up>,
    /// Instants at which [`Evaluation::snapshots`] wants to know the active alerts, in any order.
    pub snapshots: Vec<i64>,
    /// Where in its interval each group is evaluated.
    pub slots: Slots,
    /// How alerts are restored after a restart.
    pub restoration: Restoration,
}

/// Where in its interval each group is evaluated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Slots {
    /// At the schedule's start and each interval after it: how promtool runs unit tests.
    #[default]
    FromStart,
    /// At [`Group::offset_ms`] after each multiple of its interval: how a server of version 3 spreads its work.
    Staggered,
    /// At these instants, per group and ascending: those at which a server really evaluated it.
    Given(Vec<Vec<i64>>),
}

/// How alerts get back the time they had waited before a restart: flags of the server, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restoration {
    /// `--rules.alert.for-grace-period`: an alert whose `for` was nearly over waits at least this long, and one whose
    /// `for` is shorter is not restored.
    pub grace_ms: i64,
    /// `--rules.alert.for-outage-tolerance`: after a longer outage nothing is restored.
    pub outage_tolerance_ms: i64,
}

impl Default for Restoration {
    fn default() -> Self {
        Restoration {
            grace_ms: 10 * 60 * 1000,
            outage_tolerance_ms: 60 * 60 * 1000,
        }
    }
}

/// A time in which the evaluator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Up {
    /// From here on, inclusive.
    pub from_ms: i64,
    /// Up to here, exclusive.
    pub to_ms: i64,
    /// It starts without memory of before, so that states are restored as Prometheus does: every start of a server is one,
    /// its first too. Otherwise evaluations were only missed.
    pub restarted: bool,
}

/// The evaluations of a group after a start without memory, in which its alerts write nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waking {
    /// Nothing is remembered.
    First,
    /// After it, alerts are restored.
    Second,
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
            slots: Slots::default(),
            restoration: Restoration::default(),
        }
    }

    /// True when the evaluator ever starts without memory.
    pub(super) fn restarts(&self) -> bool {
        self.up.iter().any(|up| up.restarted)
    }

    /// When each of these groups is evaluated.
    pub(super) fn instants(&self, groups: &[Group]) -> Vec<Vec<i64>> {
        let up = |t: &i64| self.up.iter().any(|up| up.from_ms <= *t && *t < up.to_ms);
        let of = |(at, group): (usize, &Group)| -> Vec<i64> {
            let interval = self.interval_ms(group);
            let first = match &self.slots {
                Slots::FromStart => self.start_ms,
                Slots::Staggered => {
                    let offset = group.offset_ms(self.default_interval_ms);
                    self.start_ms + (offset - self.start_ms).rem_euclid(interval)
                }
                Slots::Given(instants) => {
                    let within = self.start_ms..=self.end_ms;
                    let given = instants.get(at).into_iter().flatten().copied();
                    return given.filter(|t| within.contains(t) && up(t)).collect();
                }
            };
            let all = (0..).map(|at| first + at * interval);
            all.take_while(|t| *t <= self.end_ms).filter(up).collect()
        };
        groups.iter().enumerate().map(of).collect()
    }

    fn interval_ms(&self, group: &Group) -> i64 {
        group.interval_ms.unwrap_or(self.default_interval_ms).max(1)
    }

    /// The first two of a group's instants after each start without memory.
    pub(super) fn wakings(&self, instants: &[i64]) -> BTreeMap<i64, Waking> {
        let starts = self.up.iter().filter(|up| up.restarted);
        let mut out = BTreeMap::new();
        for up in starts {
            // A start before the second evaluation of the last one begins anew.
            let at = instants.partition_point(|t| *t < up.from_ms);
            let after = instants[at..].iter();
            out.extend(
                after
                    .zip([Waking::First, Waking::Second])
                    .map(|(t, waking)| (*t, waking)),
            );
        }
        out
    }
}

impl Group {
    /// How long after each multiple of its interval a server of version 3 evaluates this group, milliseconds: a hash of
    /// its file, as the server's configuration names it, and of its name.
    pub fn offset_ms(&self, default_interval_ms: i64) -> i64 {
        let interval = self.interval_ms.unwrap_or(default_interval_ms).max(1);
        let mut text = Vec::new();
        for part in ["file", &self.file, "name", &self.name] {
            match part.len() {
                short @ ..255 => text.push(short as u8),
                long => {
                    text.push(255);
                    text.extend(&long.to_le_bytes()[..3]);
                }
            }
            text.extend(part.as_bytes());
        }
        let interval_ns = interval as u64 * 1_000_000;
        (XxHash64::oneshot(0, &text) % interval_ns / 1_000_000) as i64
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
