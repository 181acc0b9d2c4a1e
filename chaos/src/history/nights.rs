//! How many rooms of each type are taken on each night, counted from allocations.
//!
//! Invariant: judged once per commit, when all of its rows are in: what a transaction does in between nobody else can see. The
//! limit is that of the night's row as last written, before that the fixtures'.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Allocation, Change, Row};
use crate::scenario::Fixtures;

/// One night of a room type on which too much is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversold {
    /// Room type.
    pub room_type: Uuid,
    /// Days since 1970-01-01.
    pub night: i32,
    /// Rooms taken.
    pub sold: i64,
    /// Rooms that may be.
    pub limit: i64,
}

/// Rooms taken per room type and night.
pub struct Nights {
    first: i32,
    kinds: IndexMap<Uuid, Vec<(i64, i64)>>,
    oversold: BTreeMap<(Uuid, i32), Oversold>,
    touched: Vec<(Uuid, i32)>,
    facts: u64,
}

impl Nights {
    /// Nothing sold yet.
    pub fn new(fixtures: &Fixtures) -> Nights {
        let kinds = fixtures.room_types().map(|(_, kind)| {
            let limit = i64::from(kind.capacity) + i64::from(kind.policy_extra);
            (kind.id, vec![(0, limit); usize::from(fixtures.nights)])
        });
        Nights {
            first: fixtures.first_night,
            kinds: kinds.collect(),
            oversold: BTreeMap::new(),
            touched: Vec::new(),
            facts: 0,
        }
    }

    /// Takes a commit in; the nights that it pushed over their limit, or further over it.
    pub fn apply(&mut self, changes: &[Change]) -> Vec<Oversold> {
        self.touched.clear();
        for change in changes {
            match &change.row {
                Row::Allocation { before, after } => {
                    self.occupy(before.as_ref(), -1);
                    self.occupy(after.as_ref(), 1);
                }
                Row::Night {
                    after: Some(night), ..
                } => {
                    if let Some(slot) = self
                        .slot(night.room_type, night.night)
                        .filter(|slot| slot.1 != night.limit)
                    {
                        slot.1 = night.limit;
                        self.touched.push((night.room_type, night.night));
                    }
                }
                _ => {}
            }
        }
        self.judge()
    }

    /// Whether some night is oversold now.
    pub fn oversold(&self) -> impl Iterator<Item = &Oversold> {
        self.oversold.values()
    }

    /// Nights judged so far.
    pub fn facts(&self) -> u64 {
        self.facts
    }

    /// Rooms that may be sold on a night; `None` outside of the calendar.
    pub fn limit(&self, room_type: Uuid, night: i32) -> Option<i64> {
        let index = usize::try_from(night - self.first).ok()?;
        self.kinds.get(&room_type)?.get(index).map(|slot| slot.1)
    }

    fn judge(&mut self) -> Vec<Oversold> {
        let mut worse = Vec::new();
        for index in 0..self.touched.len() {
            let (room_type, night) = self.touched[index];
            let Some(&mut (sold, limit)) = self.slot(room_type, night) else {
                continue;
            };
            self.facts += 1;
            if sold <= limit {
                self.oversold.remove(&(room_type, night));
                continue;
            }
            let now = Oversold {
                room_type,
                night,
                sold,
                limit,
            };
            let before = self.oversold.insert((room_type, night), now);
            if before.is_none_or(|before| sold - limit > before.sold - before.limit) {
                worse.push(now);
            }
        }
        worse
    }

    fn occupy(&mut self, allocation: Option<&Allocation>, rooms: i64) {
        let Some(allocation) = allocation.filter(|allocation| allocation.status.active()) else {
            return;
        };
        for night in allocation.arrival..allocation.departure {
            if let Some(slot) = self.slot(allocation.room_type, night) {
                slot.0 += rooms;
                self.touched.push((allocation.room_type, night));
            }
        }
    }

    fn slot(&mut self, room_type: Uuid, night: i32) -> Option<&mut (i64, i64)> {
        let index = usize::try_from(night - self.first).ok()?;
        self.kinds.get_mut(&room_type)?.get_mut(index)
    }
}
