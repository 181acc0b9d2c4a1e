//! Invariant 3: what was acknowledged is there, at once and at the end of the timeline that survived.
//!
//! An acknowledged hold is that very stay, in whatever state its later life left it; a confirmation ends confirmed, or cancelled
//! if somebody asked for that, a release released, a cancellation cancelled. What a client does not know the outcome of may be
//! either way. No effect is doubled: however often a hold is sent under one key, there is one allocation.

use std::{collections::BTreeSet, sync::Arc};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Check, Notes};
use crate::{
    history::{Allocation, Change, Observer, Pass, Row, Status},
    recording::{Call, Commit, Event, Nanos, Phase, Reply},
    scenario::{Plan, PlannedKind},
};

pub(super) struct Checker {
    plan: Arc<Plan>,
    rows: IndexMap<Uuid, Allocation>,
    acknowledged: Vec<(Nanos, u32, Uuid)>,
    /// Which allocation answered a hold first, by the hold's operation.
    answered: IndexMap<u32, Uuid>,
    /// Which allocation a key stands for, by tenant and key.
    keys: IndexMap<(Uuid, Arc<str>), Uuid>,
    /// What somebody asked to cancel.
    cancels: BTreeSet<Uuid>,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Checker {
            plan,
            rows: IndexMap::new(),
            acknowledged: Vec::new(),
            answered: IndexMap::new(),
            keys: IndexMap::new(),
            cancels: BTreeSet::new(),
            notes: Notes::default(),
        }
    }

    /// What is wrong with the row that an acknowledged operation left.
    fn wrong(&self, op: u32, id: Uuid) -> Option<(String, String)> {
        use Status::{Cancelled, Confirmed, Released};
        let planned = self.plan.operations.get(op as usize)?;
        let (asked, states, of): (_, &[Status], _) = match planned.kind {
            PlannedKind::Hold { .. } => ("hold", &[], op),
            PlannedKind::Again { of } => ("repeated hold", &[], of),
            PlannedKind::Confirm { of, .. } if self.cancels.contains(&id) => {
                ("confirmation", &[Confirmed, Cancelled], of)
            }
            PlannedKind::Confirm { of, .. } => ("confirmation", &[Confirmed], of),
            PlannedKind::Release { of } => ("release", &[Released], of),
            PlannedKind::Cancel { of } => ("cancellation", &[Cancelled], of),
            PlannedKind::Search(_) | PlannedKind::Get { .. } => return None,
        };
        let PlannedKind::Hold { stay, .. } = self.plan.operations.get(of as usize)?.kind else {
            return None;
        };
        let evidence = format!("operation {op}, allocation {id}");
        let Some(row) = self.rows.get(&id) else {
            return Some((format!("an acknowledged {asked} is gone"), evidence));
        };
        let departure = stay.arrival + i32::from(stay.nights);
        if (row.room_type, row.arrival, row.departure) != (stay.room_type, stay.arrival, departure)
        {
            return Some((
                format!("an acknowledged {asked} is for another stay"),
                format!("{evidence}: {row:?}"),
            ));
        }
        if !states.is_empty() && !states.contains(&row.status) {
            let what = format!(
                "an acknowledged {asked} is undone: the allocation is {}",
                name(row.status)
            );
            return Some((what, evidence));
        }
        None
    }

    /// Whether an answer to a hold names another allocation than the answer before.
    fn doubled(&mut self, op: u32, id: Uuid) -> Option<(String, String)> {
        let of = match self.plan.operations.get(op as usize)?.kind {
            PlannedKind::Hold { .. } => op,
            PlannedKind::Again { of } => of,
            _ => return None,
        };
        let first = *self.answered.entry(of).or_insert(id);
        (first != id).then(|| {
            (
                "a hold sent twice under one key became two allocations".to_owned(),
                format!("operations {of} and {op}, allocations {first} and {id}"),
            )
        })
    }

    /// Judges the keys that a commit used: each stands for one allocation.
    fn keys(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        for change in changes {
            let Row::Key {
                after: Some(key), ..
            } = &change.row
            else {
                continue;
            };
            self.notes.facts += 1;
            let first = *self
                .keys
                .entry((key.tenant, key.key.clone()))
                .or_insert(key.allocation);
            if first != key.allocation {
                self.notes.violated(at, || {
                    let what = "one key stands for two allocations".to_owned();
                    let evidence = format!(
                        "key {}, allocations {first} and {}, commit {}",
                        key.key, key.allocation, commit.lsn
                    );
                    (what, evidence)
                });
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match &change.row {
                // Undone by a failover.
                Row::Key {
                    before: Some(key),
                    after: None,
                } => {
                    self.keys.swap_remove(&(key.tenant, key.key.clone()));
                }
                Row::Allocation {
                    after: Some(after), ..
                } => {
                    self.rows.insert(after.id, after.clone());
                }
                Row::Allocation {
                    before: Some(before),
                    after: None,
                } => {
                    self.rows.swap_remove(&before.id);
                }
                _ => {}
            }
        }
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Held => "held",
        Status::Confirmed => "confirmed",
        Status::Released => "released",
        Status::Expired => "expired",
        Status::Cancelled => "cancelled",
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        self.keys(at, commit, changes);
        self.apply(changes);
    }

    fn lost(&mut self, _: Nanos, _: &Commit, changes: &[Change]) {
        self.apply(changes);
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        let op = match event {
            Event::Op(op) => op,
            Event::Operator(Call::Cancel(id)) => {
                self.cancels.insert(*id);
                return;
            }
            _ => return,
        };
        let id = match &op.phase {
            Phase::Ok(Reply::Allocation { id, .. }) => id,
            Phase::Invoke(Call::Cancel(id)) => {
                self.cancels.insert(*id);
                return;
            }
            _ => return,
        };
        self.notes.facts += 1;
        if let Some(doubled) = self.doubled(op.op, *id) {
            self.notes.violated(at, || doubled);
        }
        match self.wrong(op.op, *id) {
            Some(wrong) => self.notes.violated(at, || wrong),
            None => self.acknowledged.push((at, op.op, *id)),
        }
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        3
    }

    fn close(&mut self, _: &Pass) {
        for (at, op, id) in std::mem::take(&mut self.acknowledged) {
            if let Some(wrong) = self.wrong(op, id) {
                self.notes.violated(at, || wrong);
            }
        }
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
