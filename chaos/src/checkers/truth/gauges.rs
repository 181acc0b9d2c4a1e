//! The gauges of age against the ages themselves.
//!
//! Invariant: compared at the instant of which the service says that it read the database then, give or take what a transaction
//! and a reading last; a reading older than what is remembered is not judged here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Lines, sample};
use crate::{
    history::{Change, Row, Status, virtual_time},
    recording::{BodyDiff, EPOCH_UNIX_S, Nanos},
    scenario::{MINUTE, SECOND},
};

const REFRESHED: &str = "inventory_collector_last_refresh_timestamp_seconds";
const OUTBOX: &str = "inventory_outbox_oldest_seconds";
const HOLDS: &str = "inventory_hold_expiry_oldest_seconds";
const SERIES: [&str; 3] = [REFRESHED, OUTBOX, HOLDS];

/// How far back ages are remembered.
const REMEMBERED: Nanos = 2 * MINUTE;
/// A reading may have begun this long before its stamp, which is set when it is through.
const READING: Nanos = 4 * SECOND;
/// A row is as old as its transaction; a commit is a little later.
const TOLERANCE: Nanos = 3 * SECOND;

#[derive(Default)]
pub(super) struct Gauges {
    targets: BTreeMap<Arc<str>, Lines>,
    created: BTreeMap<i64, Nanos>,
    waiting: BTreeSet<(Nanos, i64)>,
    held: BTreeSet<(Nanos, uuid::Uuid)>,
    outbox: Past,
    holds: Past,
    facts: u64,
}

impl Gauges {
    pub(super) fn commit(&mut self, at: Nanos, changes: &[Change]) {
        for change in changes {
            match &change.row {
                Row::Outbox { before, after } => {
                    let waits = |row: &Option<crate::history::OutboxRow>| {
                        row.as_ref().filter(|row| !row.published).map(|row| row.id)
                    };
                    match (waits(before), waits(after)) {
                        (None, Some(id)) => {
                            self.created.insert(id, at);
                            self.waiting.insert((at, id));
                        }
                        (Some(id), None) => {
                            if let Some(since) = self.created.remove(&id) {
                                self.waiting.remove(&(since, id));
                            }
                        }
                        _ => {}
                    }
                }
                Row::Allocation { before, after } => {
                    let held = |row: &Option<crate::history::Allocation>| {
                        let row = row.as_ref().filter(|row| row.status == Status::Held)?;
                        Some((virtual_time(row.hold_until?), row.id))
                    };
                    if let Some(before) = held(before) {
                        self.held.remove(&before);
                    }
                    self.held.extend(held(after));
                }
                _ => {}
            }
        }
        self.outbox.set(at, self.waiting.first().map(|row| row.0));
        self.holds.set(at, self.held.first().map(|hold| hold.0));
    }

    /// Takes a body in; what is wrong with its ages.
    pub(super) fn scraped(
        &mut self,
        at: Nanos,
        duration: Nanos,
        target: &Arc<str>,
        body: &BodyDiff,
    ) -> Vec<(String, String)> {
        let lines = self.targets.entry(target.clone()).or_default();
        lines.apply(body, |line| {
            SERIES
                .iter()
                .enumerate()
                .find_map(|(index, series)| Some((index, sample(line, series)?)))
        });
        let since_epoch = |seconds: f64| {
            let us = (seconds * 1e6) as i64 - EPOCH_UNIX_S * 1_000_000;
            u64::try_from(us).ok().map(|us| us * 1000)
        };
        let Some(read) = lines.get(0).and_then(since_epoch) else {
            return Vec::new();
        };
        if read > at + duration + TOLERANCE || at.saturating_sub(read) > REMEMBERED - READING {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for (index, past) in [(1, &self.outbox), (2, &self.holds)] {
            let Some(shown) = lines.get(index) else {
                continue;
            };
            self.facts += 1;
            if let Err((low, high)) = past.check(read, (shown * 1e9) as Nanos) {
                let series = SERIES[index];
                let what = format!(
                    "{series} says {shown:.1} s, but the truth was {}.{} to {}.{} s",
                    low / SECOND,
                    low / (SECOND / 10) % 10,
                    high / SECOND,
                    high / (SECOND / 10) % 10
                );
                wrong.push((
                    what,
                    format!(
                        "target {target}, read {} s before the scrape",
                        at.saturating_sub(read) / SECOND
                    ),
                ));
            }
        }
        wrong
    }

    pub(super) fn take_facts(&mut self) -> u64 {
        std::mem::take(&mut self.facts)
    }
}

/// Since when the oldest thing has been there, over the last minutes.
#[derive(Default)]
struct Past(VecDeque<(Nanos, Option<Nanos>)>);

impl Past {
    fn set(&mut self, at: Nanos, oldest: Option<Nanos>) {
        if self.0.back().is_some_and(|last| last.1 == oldest) {
            return;
        }
        self.0.push_back((at, oldest));
        while self.0.len() > 1 && self.0[1].0 + REMEMBERED < at {
            self.0.pop_front();
        }
    }

    /// Whether the age can have been `shown` when it was read; the least and the greatest age around then if not.
    fn check(&self, read: Nanos, shown: Nanos) -> Result<(), (Nanos, Nanos)> {
        let (from, to) = (read.saturating_sub(READING), read + SECOND);
        let (mut low, mut high) = (Nanos::MAX, 0);
        let before = self.0.front().is_none_or(|first| first.0 > from);
        let pieces = self.0.iter().enumerate().map(|(index, (start, oldest))| {
            let end = self.0.get(index + 1).map_or(Nanos::MAX, |next| next.0);
            (*start, end, *oldest)
        });
        // Before the first change there was nothing.
        let nothing =
            before.then_some((0, self.0.front().map_or(Nanos::MAX, |first| first.0), None));
        for (start, end, oldest) in nothing.into_iter().chain(pieces) {
            if start > to || end < from {
                continue;
            }
            let age = |at: Nanos| oldest.map_or(0, |since| at.saturating_sub(since));
            let (least, most) = (age(start.max(from)), age(end.min(to)));
            low = low.min(least);
            high = high.max(most);
            if shown + TOLERANCE >= least && shown <= most + TOLERANCE {
                return Ok(());
            }
        }
        Err((low, high))
    }
}
