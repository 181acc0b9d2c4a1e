//! Invariant 2: no room has two active allocations whose stays overlap.
//!
//! Judged from committed rows, and from the rooms that clients were told at confirmation.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Check, Notes, day};
use crate::{
    history::{Allocation, Change, Observer, Row},
    recording::{Call, Commit, Event, Nanos, Op, Phase, Reply},
    scenario::{Plan, PlannedKind},
};

/// Stays of one room: arrival → departure and whose; several of one arrival stand behind one another.
type Stays = BTreeMap<(i32, Uuid), i32>;

pub(super) struct Checker {
    plan: Arc<Plan>,
    rows: IndexMap<Uuid, Stays>,
    told: IndexMap<Uuid, Stays>,
    /// What clients were told, by allocation, so that a cancellation ends it.
    booked: IndexMap<Uuid, (Uuid, i32)>,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Checker {
            plan: plan.clone(),
            rows: IndexMap::new(),
            told: IndexMap::new(),
            booked: IndexMap::new(),
            notes: Notes::default(),
        }
    }

    fn rows(&mut self, at: Nanos, commit: &Commit, changes: &[Change], judge: bool) {
        let allocations = changes.iter().filter_map(|change| match &change.row {
            Row::Allocation { before, after } => Some((before.as_ref(), after.as_ref())),
            _ => None,
        });
        let pairs: Vec<_> = allocations
            .filter(|(before, after)| roomed(*before) != roomed(*after))
            .collect();
        for (before, _) in &pairs {
            if let Some((room, arrival, _, id)) = roomed(*before)
                && let Some(stays) = self.rows.get_mut(&room)
            {
                stays.remove(&(arrival, id));
            }
        }
        for (_, after) in &pairs {
            let Some((room, arrival, departure, id)) = roomed(*after) else {
                continue;
            };
            let stays = self.rows.entry(room).or_default();
            if judge {
                self.notes.facts += 1;
                if let Some((other, until)) = overlap(stays, arrival, departure, id) {
                    self.notes.violated(at, || {
                        let what = format!("a room has two stays on {}", day(arrival.max(other.0)));
                        let evidence = format!(
                            "room {room}, allocations {id} and {} (to {}), commit {}",
                            other.1,
                            day(until),
                            commit.lsn
                        );
                        (what, evidence)
                    });
                }
            }
            stays.insert((arrival, id), departure);
        }
    }

    fn told(&mut self, at: Nanos, op: u32, id: Uuid, room: Uuid) {
        // Only a confirmation says it for the first time; a reading may be answered late.
        let Some(&PlannedKind::Confirm { of, .. }) = self
            .plan
            .operations
            .get(op as usize)
            .map(|planned| &planned.kind)
        else {
            return;
        };
        let Some(PlannedKind::Hold { stay, .. }) = self
            .plan
            .operations
            .get(of as usize)
            .map(|planned| planned.kind)
        else {
            return;
        };
        if self.booked.contains_key(&id) {
            return;
        }
        let (arrival, departure) = (stay.arrival, stay.arrival + i32::from(stay.nights));
        self.booked.insert(id, (room, arrival));
        let stays = self.told.entry(room).or_default();
        self.notes.facts += 1;
        if let Some((other, _)) = overlap(stays, arrival, departure, id) {
            self.notes.violated(at, || {
                let what = format!(
                    "two clients were told the same room for {}",
                    day(arrival.max(other.0))
                );
                (
                    what,
                    format!(
                        "room {room}, allocations {id} and {}, operation {op}",
                        other.1
                    ),
                )
            });
        }
        stays.insert((arrival, id), departure);
    }

    /// Somebody asks to cancel it, its client or an operator: from the attempt on, the room may be somebody else's.
    fn given_up(&mut self, id: Uuid) {
        let (room, arrival) = self.booked.entry(id).or_insert((Uuid::nil(), 0));
        if let Some(stays) = self.told.get_mut(room) {
            stays.remove(&(*arrival, id));
        }
    }
}

/// Room, arrival, departure and id of an active allocation that has a room.
fn roomed(allocation: Option<&Allocation>) -> Option<(Uuid, i32, i32, Uuid)> {
    let allocation = allocation.filter(|allocation| allocation.status.active())?;
    Some((
        allocation.room?,
        allocation.arrival,
        allocation.departure,
        allocation.id,
    ))
}

/// A stay that shares a night. No stay is longer than 30 nights, and without violations none overlaps another.
fn overlap(stays: &Stays, arrival: i32, departure: i32, id: Uuid) -> Option<((i32, Uuid), i32)> {
    let near = stays.range((arrival - 30, Uuid::nil())..(departure, Uuid::nil()));
    let mut clash = near.filter(|((_, other), until)| **until > arrival && *other != id);
    clash.next().map(|(stay, until)| (*stay, *until))
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.rows(at, commit, changes, true);
    }

    fn lost(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.rows(at, commit, changes, false);
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        let phase = match event {
            Event::Op(Op { op, phase, .. }) => (*op, phase),
            Event::Operator(Call::Cancel(id)) => return self.given_up(*id),
            _ => return,
        };
        match phase {
            (
                op,
                Phase::Ok(Reply::Allocation {
                    id,
                    status,
                    room: Some(room),
                    ..
                }),
            ) if &**status == "confirmed" => self.told(at, op, *id, *room),
            (_, Phase::Invoke(Call::Cancel(id))) => self.given_up(*id),
            _ => {}
        }
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        2
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
