//! Totals of counters over instances and over their lives.
//!
//! Invariant: a life ends when its host boots anew, by ground truth: a restart whose counter has caught up looks like no reset.

use std::{collections::BTreeMap, sync::Arc};

use super::{Lines, sample};
use crate::recording::BodyDiff;

/// A counter that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    /// Holds made.
    Held,
    /// Holds confirmed.
    Confirmed,
    /// Holds released.
    Released,
    /// Bookings cancelled.
    Cancelled,
    /// Holds expired.
    Expired,
    /// Outbox rows that the broker took.
    Published,
    /// Oversold nights seen by the auditor.
    Overbooked,
}

/// All of them, by index.
pub(super) const TOTALS: [Total; 7] = [
    Total::Held,
    Total::Confirmed,
    Total::Released,
    Total::Cancelled,
    Total::Expired,
    Total::Published,
    Total::Overbooked,
];

impl Total {
    /// Its series as exposed.
    pub(super) fn series(self) -> &'static str {
        match self {
            Total::Held => "inventory_allocations_total{op=\"hold\",outcome=\"ok\"}",
            Total::Confirmed => "inventory_allocations_total{op=\"confirm\",outcome=\"ok\"}",
            Total::Released => "inventory_allocations_total{op=\"release\",outcome=\"ok\"}",
            Total::Cancelled => "inventory_allocations_total{op=\"cancel\",outcome=\"ok\"}",
            Total::Expired => "inventory_holds_expired_total",
            Total::Published => "inventory_outbox_published_total{outcome=\"ok\"}",
            Total::Overbooked => "inventory_overbooking_actual_total",
        }
    }
}

/// One instance.
#[derive(Default)]
struct Instance {
    lines: Lines,
    /// Whether this life was scraped: until then the lines are those of the life before.
    scraped: bool,
    /// Sums of earlier lives.
    before: [u64; TOTALS.len()],
    /// What happened after the last scrape of earlier lives, and what had happened at the last scrape.
    unseen: [u64; TOTALS.len()],
    at_scrape: [u64; TOTALS.len()],
    ever: [bool; TOTALS.len()],
}

/// All instances.
#[derive(Default)]
pub(super) struct Totals(BTreeMap<Arc<str>, Instance>);

impl Totals {
    /// A body was scraped when `truth` had happened.
    pub(super) fn scraped(
        &mut self,
        target: &Arc<str>,
        body: &BodyDiff,
        truth: &[u64; TOTALS.len()],
    ) {
        let instance = self.0.entry(target.clone()).or_default();
        instance.lines.apply(body, |line| {
            if !line.starts_with("inventory_") {
                return None;
            }
            TOTALS
                .iter()
                .enumerate()
                .find_map(|(index, total)| Some((index, sample(line, total.series())?)))
        });
        instance.scraped = true;
        instance.at_scrape = *truth;
        for (index, ever) in instance.ever.iter_mut().enumerate() {
            *ever |= instance.lines.get(index).is_some();
        }
    }

    /// A host came up: what it had counted so far is the past.
    pub(super) fn booted(&mut self, host: &Arc<str>, truth: &[u64; TOTALS.len()]) {
        let instance = self.0.entry(host.clone()).or_default();
        for (index, happened) in truth.iter().enumerate() {
            if instance.scraped {
                instance.before[index] += instance.current(index);
            }
            instance.unseen[index] += happened - instance.at_scrape[index].min(*happened);
        }
        instance.scraped = false;
        instance.at_scrape = *truth;
    }

    /// Total and how much of `truth` no scrape can have seen; `None` if the series never showed.
    pub(super) fn sum(&self, total: Total, truth: u64) -> Option<(u64, u64)> {
        let index = total as usize;
        let seen = self.0.values().filter(|instance| instance.ever[index]);
        seen.map(|instance| {
            let current = if instance.scraped {
                instance.current(index)
            } else {
                0
            };
            let unseen = instance.unseen[index] + truth.saturating_sub(instance.at_scrape[index]);
            (instance.before[index] + current, unseen)
        })
        .reduce(|one, other| (one.0 + other.0, one.1 + other.1))
    }
}

impl Instance {
    fn current(&self, index: usize) -> u64 {
        self.lines.get(index).map_or(0, |value| value as u64)
    }
}
