//! Invariant 1: per room type and night, held + confirmed ≤ capacity + policy, at every commit.
//!
//! Judged three times: from the allocations that stand after each commit, from the counters of each night's row, and from what
//! clients were told. The last counts only what is taken for certain: from the acknowledgement of a hold to the first attempt to
//! give it back, or to its end unless it was confirmed.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Check, Notes, day};
use crate::{
    history::{Change, Nights, Observer, Row, virtual_time},
    recording::{Call, Commit, Event, Nanos, Op, Phase, Reply, Stay},
    scenario::{Plan, PlannedKind},
};

pub(super) struct Checker {
    nights: Nights,
    clients: Clients,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Checker {
            nights: Nights::new(&plan.fixtures),
            clients: Clients::new(plan.clone()),
            notes: Notes::default(),
        }
    }

    fn take(&mut self, at: Nanos, lsn: u64, changes: &[Change]) {
        for worse in self.nights.apply(changes) {
            self.notes.violated(at, || {
                let what = format!(
                    "{} of {} rooms are taken on {}",
                    worse.sold,
                    worse.limit,
                    day(worse.night)
                );
                (what, format!("room type {}, commit {lsn}", worse.room_type))
            });
        }
        self.notes.facts = self.nights.facts();
        for change in changes {
            let Row::Night {
                after: Some(night), ..
            } = &change.row
            else {
                continue;
            };
            if night.sold > night.limit {
                self.notes.violated(at, || {
                    let what = format!(
                        "the counters of {} say {} of {} rooms",
                        day(night.night),
                        night.sold,
                        night.limit
                    );
                    (what, format!("room type {}, commit {lsn}", night.room_type))
                });
            }
        }
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.take(at, commit.lsn, changes);
    }

    fn lost(&mut self, _: Nanos, _: &Commit, changes: &[Change]) {
        self.nights.apply(changes);
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        let Event::Op(op) = event else { return };
        if let Some((stay, night, taken)) = self.clients.see(at, op) {
            let limit = self.nights.limit(stay.room_type, night);
            if limit.is_some_and(|limit| taken > limit) {
                self.notes.violated(at, || {
                    let what = format!(
                        "clients hold {taken} of {} rooms on {}",
                        limit.unwrap_or(0),
                        day(night)
                    );
                    (
                        what,
                        format!(
                            "room type {}, acknowledged to operation {}",
                            stay.room_type, op.op
                        ),
                    )
                });
            }
        }
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        1
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// What clients know to be theirs.
struct Clients {
    plan: Arc<Plan>,
    /// By allocation: its stay and, while it is only held, its end.
    owned: IndexMap<Uuid, (Stay, Option<Nanos>)>,
    ends: BTreeMap<(Nanos, Uuid), ()>,
    /// What is asked of an allocation and not answered: index of the operation → allocation and whether it is a confirmation.
    asked: BTreeMap<u32, (Uuid, bool)>,
    taken: BTreeMap<(Uuid, i32), i64>,
}

impl Clients {
    fn new(plan: Arc<Plan>) -> Self {
        Clients {
            plan,
            owned: IndexMap::new(),
            ends: BTreeMap::new(),
            asked: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Takes an operation in; the stay and the fullest night of a hold that was acknowledged, with the rooms taken on it.
    fn see(&mut self, at: Nanos, op: &Op) -> Option<(Stay, i32, i64)> {
        while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= at) {
            let ((_, id), ()) = entry.remove_entry();
            self.give_back(&id);
        }
        match &op.phase {
            Phase::Invoke(Call::Confirm(id)) => {
                self.asked.insert(op.op, (*id, true));
                None
            }
            // From here on it may be given back at any time.
            Phase::Invoke(Call::Release(id) | Call::Cancel(id)) => {
                let theirs = self
                    .owned
                    .get(id)
                    .is_some_and(|(stay, _)| self.acts_for(op.op, stay));
                if theirs {
                    self.forget(*id);
                }
                None
            }
            Phase::Ok(Reply::Allocation { id, hold_until, .. }) => {
                match self.asked.remove(&op.op) {
                    Some((confirmed, true)) => {
                        self.keep(confirmed);
                        None
                    }
                    _ => self.acknowledged(op.op, *id, *hold_until),
                }
            }
            Phase::Ok(_) | Phase::Fail { .. } | Phase::Info(_) => {
                self.asked.remove(&op.op);
                None
            }
            Phase::Invoke(_) => None,
        }
    }

    /// A stray's request for somebody else's allocation gives nothing back.
    fn acts_for(&self, op: u32, stay: &Stay) -> bool {
        self.plan
            .operations
            .get(op as usize)
            .is_some_and(|planned| planned.tenant == stay.tenant)
    }

    fn acknowledged(
        &mut self,
        op: u32,
        id: Uuid,
        hold_until: Option<i64>,
    ) -> Option<(Stay, i32, i64)> {
        let PlannedKind::Hold { stay, .. } = self.plan.operations.get(op as usize)?.kind else {
            return None;
        };
        let end = virtual_time(hold_until?);
        if self.owned.insert(id, (stay, Some(end))).is_some() {
            return None;
        }
        self.ends.insert((end, id), ());
        let nights = stay.arrival..stay.arrival + i32::from(stay.nights);
        let counted = nights.map(|night| {
            let taken = self.taken.entry((stay.room_type, night)).or_default();
            *taken += 1;
            (night, *taken)
        });
        counted
            .max_by_key(|(_, taken)| *taken)
            .map(|(night, taken)| (stay, night, taken))
    }

    /// Confirmed before its end: it stays.
    fn keep(&mut self, id: Uuid) {
        if let Some((_, end)) = self.owned.get_mut(&id)
            && let Some(end) = end.take()
        {
            self.ends.remove(&(end, id));
        }
    }

    fn forget(&mut self, id: Uuid) {
        if let Some((_, Some(end))) = self.owned.get(&id) {
            self.ends.remove(&(*end, id));
        }
        self.give_back(&id);
    }

    fn give_back(&mut self, id: &Uuid) {
        let Some((stay, _)) = self.owned.swap_remove(id) else {
            return;
        };
        for night in stay.arrival..stay.arrival + i32::from(stay.nights) {
            if let Some(taken) = self.taken.get_mut(&(stay.room_type, night)) {
                *taken -= 1;
            }
        }
    }
}
