//! Open families of series: one series, or one per value of a label, for each member of a registry.
//!
//! Invariant: a member's counters are all there, at 0, from when it is admitted; members are rendered in the order of their
//! names; beyond [`MEMBERS_MAX`] of a registry new ones share the series of `other`, so that a page stays bounded whatever a
//! registry holds. A member that is gone from its registry keeps its series until the process ends.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{UNSET, push_float, push_integer};
use crate::contract::{Kind, METRICS, Registry, Series};

/// Members of one registry that have series of their own.
pub const MEMBERS_MAX: usize = 5_000;
/// The member that all others are counted as.
pub const OTHER: &str = "other";

/// All open families of one registry.
pub(super) struct Members {
    registry: Registry,
    /// What a new member starts with: the slots of all families, in the order of the contract.
    fresh: Vec<u64>,
    /// Values by the member's name.
    values: RwLock<BTreeMap<Box<str>, Box<[AtomicU64]>>>,
}

/// Label and values of the closed label of an open family; one empty value where it has none.
fn inner(series: Series) -> (&'static str, &'static [&'static str]) {
    match series {
        Series::EachPer(_, label, values) => (label, values),
        _ => ("", &[""]),
    }
}

/// The registry of an open family.
pub(super) fn registry(series: Series) -> Option<Registry> {
    match series {
        Series::Each(registry) | Series::EachPer(registry, ..) => Some(registry),
        Series::One | Series::Per(..) | Series::Pairs(..) => None,
    }
}

impl Members {
    pub(super) fn new(registry: Registry) -> Self {
        Members {
            registry,
            fresh: Vec::new(),
            values: RwLock::default(),
        }
    }

    /// Makes room for a family; where its slots begin within a member's.
    pub(super) fn lay_out(&mut self, metric: usize) -> usize {
        let (kind, first) = (METRICS[metric].kind, self.fresh.len());
        debug_assert!(
            !matches!(kind, Kind::Histogram(_)),
            "an open histogram is not supported"
        );
        let start = if kind == Kind::Gauge { UNSET } else { 0 };
        let (_, values) = inner(METRICS[metric].series);
        self.fresh.extend(values.iter().map(|_| start));
        first
    }

    /// Gives a member its series, unless it has them.
    pub(super) fn admit(&self, member: &str) {
        self.with(member, |_| ());
    }

    /// Does something with a slot of a member, who is admitted if need be.
    pub(super) fn at<T>(&self, member: &str, slot: usize, act: impl FnOnce(&AtomicU64) -> T) -> T {
        self.with(member, |slots| act(&slots[slot]))
    }

    fn with<T>(&self, member: &str, act: impl FnOnce(&[AtomicU64]) -> T) -> T {
        let known = self.values.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = known.get(member) {
            return act(slots);
        }
        drop(known);
        let mut known = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let full = known.len() >= MEMBERS_MAX && !known.contains_key(member);
        let name = if full { OTHER } else { member };
        let fresh = || self.fresh.iter().map(|start| AtomicU64::new(*start));
        let slots = known.entry(name.into());
        act(slots.or_insert_with(|| fresh().collect()))
    }

    /// Writes the lines of one family.
    pub(super) fn render(&self, metric: usize, first: usize, out: &mut String) {
        let family = METRICS[metric];
        let (label, values) = inner(family.series);
        let known = self.values.read().unwrap_or_else(PoisonError::into_inner);
        for (member, slots) in known.iter() {
            for (at, value) in values.iter().enumerate() {
                let bits = slots[first + at].load(Relaxed);
                if family.kind == Kind::Gauge && bits == UNSET {
                    continue;
                }
                // Writing to a string cannot fail.
                let _ = write!(out, "{}{{{}=\"", family.name, self.registry.label());
                escape(member, out);
                let _ = match label {
                    "" => write!(out, "\"}} "),
                    _ => write!(out, "\",{label}=\"{value}\"}} "),
                };
                match family.kind {
                    Kind::Gauge => push_float(out, f64::from_bits(bits)),
                    _ => push_integer(out, bits),
                }
            }
        }
    }
}

/// As the exposition writes label values.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(letter),
        }
    }
}
