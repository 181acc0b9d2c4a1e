//! Invariant 8: every hold ends exactly once, as it may, and in time.
//!
//! Held → confirmed before its end, released, or expired after it; confirmed → cancelled; nothing else. Times are compared by the
//! database's clock of the transaction. A hold is due the liveness bound after its end or after everything was healed, whichever
//! is later; one that is not yet due when the run ends is not judged.

use std::{collections::BTreeSet, sync::Arc};

use uuid::Uuid;

use super::{Check, Notes};
use crate::{
    history::{Allocation, Change, Observer, Pass, Row, Status, virtual_time},
    recording::{Commit, Nanos},
    scenario::{Plan, show_duration},
};

pub(super) struct Checker {
    heal: Nanos,
    liveness: Nanos,
    open: BTreeSet<(Nanos, Uuid)>,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Checker {
            heal: plan.scenario.heal,
            liveness: plan.scenario.liveness,
            open: BTreeSet::new(),
            notes: Notes::default(),
        }
    }

    fn due(&self, allocation: &Allocation) -> Option<(Nanos, Uuid)> {
        let until = allocation
            .hold_until
            .filter(|_| allocation.status == Status::Held)?;
        Some((
            virtual_time(until).max(self.heal) + self.liveness,
            allocation.id,
        ))
    }

    fn moved(&mut self, at: Nanos, commit: &Commit, before: &Allocation, after: &Allocation) {
        self.notes.facts += 1;
        let evidence = || format!("allocation {}, commit {}", before.id, commit.lsn);
        if !before.status.may_become(after.status) {
            let what = || {
                format!(
                    "an allocation went from {:?} to {:?}",
                    before.status, after.status
                )
                .to_lowercase()
            };
            self.notes.violated(at, || (what(), evidence()));
            return;
        }
        let Some(until) = before.hold_until.filter(|_| before.status == Status::Held) else {
            return;
        };
        let (now, until_shown) = (virtual_time(commit.now_us), virtual_time(until));
        match after.status {
            Status::Confirmed if commit.now_us >= until => self.notes.violated(at, || {
                let late = show_duration(now - until_shown);
                (
                    format!("a hold was confirmed {late} after its end"),
                    evidence(),
                )
            }),
            Status::Expired if commit.now_us < until => self.notes.violated(at, || {
                let early = show_duration(until_shown - now);
                (format!("a hold expired {early} before its end"), evidence())
            }),
            _ => {}
        }
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        for change in changes {
            let Row::Allocation { before, after } = &change.row else {
                continue;
            };
            let (due_before, due_after) = (
                before.as_ref().and_then(|row| self.due(row)),
                after.as_ref().and_then(|row| self.due(row)),
            );
            match (before, after) {
                (Some(before), Some(after)) if before.status != after.status => {
                    self.moved(at, commit, before, after)
                }
                (Some(before), None) => self.notes.violated(at, || {
                    let what = "an allocation was deleted".to_owned();
                    (
                        what,
                        format!("allocation {}, commit {}", before.id, commit.lsn),
                    )
                }),
                _ => {}
            }
            if let Some(due) = due_before {
                self.open.remove(&due);
                if due_after.is_none() && at > due.0 {
                    let liveness = self.liveness;
                    self.notes.violated(at, || late(at, due, liveness));
                }
            }
            self.open.extend(due_after);
        }
    }

    fn lost(&mut self, _: Nanos, _: &Commit, changes: &[Change]) {
        for change in changes {
            let Row::Allocation { before, after } = &change.row else {
                continue;
            };
            if let Some(due) = before.as_ref().and_then(|row| self.due(row)) {
                self.open.remove(&due);
            }
            let due = after.as_ref().and_then(|row| self.due(row));
            self.open.extend(due);
        }
    }
}

fn late(at: Nanos, (due, id): (Nanos, Uuid), liveness: Nanos) -> (String, String) {
    let (over, bound) = (show_duration(at - due), show_duration(liveness));
    (
        format!("a hold ended {over} after its bound of {bound}"),
        format!("allocation {id}"),
    )
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        8
    }

    fn close(&mut self, pass: &Pass) {
        for (due, id) in std::mem::take(&mut self.open) {
            if due >= pass.end {
                break;
            }
            self.notes.violated(due, || {
                let bound = show_duration(self.liveness);
                let what = format!(
                    "a hold was neither confirmed, released nor expired within its bound of {bound}"
                );
                (
                    what,
                    format!(
                        "allocation {id}, {} before the end of the run",
                        show_duration(pass.end - due)
                    ),
                )
            });
        }
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
