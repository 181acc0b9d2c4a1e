//! RESV-INV-004 and RESV-INV-005: what waits too long for the relay, for the sweeper, and the sweeper itself.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::spans::{Judged, Overdue};
use crate::{
    history::{Allocation, Change, OutboxRow, Row, Status, virtual_time},
    recording::Nanos,
    scenario::SECOND,
};

const OUTBOX_LIMIT: Nanos = 30 * SECOND;
const HOLD_LIMIT: Nanos = 30 * SECOND;
const SWEEP_LIMIT: Nanos = 90 * SECOND;
const SWEEP: &str = "expire-holds";

pub(super) struct Watch {
    /// Unpublished rows: when each was committed, and the same the other way round.
    committed: BTreeMap<i64, Nanos>,
    waiting: BTreeSet<(Nanos, i64)>,
    /// Holds by their end.
    held: BTreeSet<(Nanos, Uuid)>,
    swept: Nanos,
    outbox: Overdue,
    holds: Overdue,
    sweep: Overdue,
    facts: [u64; 3],
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            committed: BTreeMap::new(),
            waiting: BTreeSet::new(),
            held: BTreeSet::new(),
            swept: 0,
            outbox: Overdue::new(OUTBOX_LIMIT),
            holds: Overdue::new(HOLD_LIMIT),
            sweep: Overdue::new(SWEEP_LIMIT),
            facts: [0; 3],
        }
    }
}

impl Watch {
    pub(super) fn commit(&mut self, at: Nanos, changes: &[Change]) {
        self.see(at);
        for change in changes {
            match &change.row {
                Row::Outbox { before, after } => self.queue(at, before.as_ref(), after.as_ref()),
                Row::Allocation { before, after } => {
                    if let Some(hold) = before.as_ref().and_then(hold) {
                        self.held.remove(&hold);
                    }
                    if let Some(hold) = after.as_ref().and_then(hold) {
                        self.held.insert(hold);
                        self.facts[1] += 1;
                    }
                }
                _ => {}
            }
        }
        self.see(at);
    }

    pub(super) fn job(&mut self, at: Nanos, job: &str, ok: bool) {
        if job == SWEEP {
            self.facts[2] += 1;
            if ok {
                self.sweep.see(at, Some(self.swept));
                self.swept = at;
                self.sweep.see(at, Some(self.swept));
            }
        }
    }

    pub(super) fn finish(self, end: Nanos) -> (Judged, Judged, Judged) {
        let (waiting, held) = (
            self.waiting.first().map(|row| row.0),
            self.held.first().map(|hold| hold.0),
        );
        (
            (self.outbox.finish(end, waiting), self.facts[0]),
            (self.holds.finish(end, held), self.facts[1]),
            (self.sweep.finish(end, Some(self.swept)), self.facts[2]),
        )
    }

    fn see(&mut self, at: Nanos) {
        self.outbox.see(at, self.waiting.first().map(|row| row.0));
        self.holds.see(at, self.held.first().map(|hold| hold.0));
    }

    fn queue(&mut self, at: Nanos, before: Option<&OutboxRow>, after: Option<&OutboxRow>) {
        let unpublished =
            |row: Option<&OutboxRow>| row.filter(|row| !row.published).map(|row| row.id);
        match (unpublished(before), unpublished(after)) {
            (None, Some(id)) => {
                self.facts[0] += 1;
                self.committed.insert(id, at);
                self.waiting.insert((at, id));
            }
            (Some(id), None) => {
                if let Some(since) = self.committed.remove(&id) {
                    self.waiting.remove(&(since, id));
                }
            }
            _ => {}
        }
    }
}

fn hold(allocation: &Allocation) -> Option<(Nanos, Uuid)> {
    let until = allocation
        .hold_until
        .filter(|_| allocation.status == Status::Held)?;
    Some((virtual_time(until), allocation.id))
}
