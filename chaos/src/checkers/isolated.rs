//! Invariant 5: no tenant sees or changes another's rows.
//!
//! Judged from commits (a tenant's transaction changes its own rows only, no row changes hands, no allocation takes another's
//! rooms), from publications, and from every answer, above all those to strays.

use std::sync::Arc;

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Check, Notes};
use crate::{
    history::{Change, Observer, Row},
    recording::{Commit, Event, Nanos, Phase, Reply},
    scenario::{Plan, PlannedKind},
};

const SERVICE: &str = "ledger_app";

pub(super) struct Checker {
    plan: Arc<Plan>,
    room_types: IndexMap<Uuid, Uuid>,
    allocations: IndexMap<Uuid, Uuid>,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let owners = plan
            .fixtures
            .room_types()
            .map(|(tenant, kind)| (kind.id, tenant));
        Checker {
            room_types: owners.collect(),
            plan,
            allocations: IndexMap::new(),
            notes: Notes::default(),
        }
    }

    fn row(&mut self, at: Nanos, commit: &Commit, change: &Change) {
        self.notes.facts += 1;
        let evidence = || {
            format!(
                "table {}, commit {} by {}",
                change.table, commit.lsn, commit.role
            )
        };
        let owners = [change.tenant_before, change.tenant_after];
        if let [Some(before), Some(after)] = owners
            && before != after
        {
            let what = format!("a row went from tenant {before} to tenant {after}");
            self.notes.violated(at, || (what, evidence()));
        }
        if &*commit.role == SERVICE
            && let Some(owner) = owners
                .into_iter()
                .flatten()
                .find(|owner| commit.tenant != Some(*owner))
        {
            let acting = commit
                .tenant
                .map_or("nobody".to_owned(), |tenant| format!("tenant {tenant}"));
            let what = format!("a transaction of {acting} changed a row of tenant {owner}");
            self.notes.violated(at, || (what, evidence()));
        }
        if let Row::Allocation {
            after: Some(after), ..
        } = &change.row
        {
            self.allocations.insert(after.id, after.tenant);
            if self
                .room_types
                .get(&after.room_type)
                .is_some_and(|owner| *owner != after.tenant)
            {
                let what = format!(
                    "an allocation of tenant {} takes another tenant's rooms",
                    after.tenant
                );
                self.notes.violated(at, || {
                    (what, format!("allocation {}, {}", after.id, evidence()))
                });
            }
        }
    }

    fn reply(&mut self, at: Nanos, op: u32, reply: &Reply) {
        let Some(planned) = self.plan.operations.get(op as usize) else {
            return;
        };
        self.notes.facts += 1;
        let tenant = planned.tenant;
        match reply {
            Reply::Allocation { id, .. } => {
                if let Some(owner) = self.allocations.get(id).filter(|owner| **owner != tenant) {
                    let what =
                        format!("tenant {tenant} was answered an allocation of tenant {owner}");
                    self.notes
                        .violated(at, || (what, format!("operation {op}, allocation {id}")));
                }
            }
            // No free rooms is also what one sees of room types that do not exist.
            Reply::Availability { available, .. } if available.iter().any(|free| *free > 0) => {
                let PlannedKind::Search(stay) = planned.kind else {
                    return;
                };
                if let Some(owner) = self
                    .room_types
                    .get(&stay.room_type)
                    .filter(|owner| **owner != tenant)
                {
                    let what =
                        format!("tenant {tenant} was answered the free rooms of tenant {owner}");
                    self.notes.violated(at, || {
                        (
                            what,
                            format!("operation {op}, room type {}", stay.room_type),
                        )
                    });
                }
            }
            Reply::Availability { .. } => {}
        }
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        for change in changes {
            self.row(at, commit, change);
        }
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        match event {
            Event::Op(op) => {
                if let Phase::Ok(reply) = &op.phase {
                    self.reply(at, op.op, reply);
                }
            }
            Event::Published {
                id, tenant, key, ..
            } => {
                self.notes.facts += 1;
                if let Some(owner) = self.allocations.get(key).filter(|owner| *owner != tenant) {
                    let what = format!(
                        "an event about an allocation of tenant {owner} was published to tenant {tenant}"
                    );
                    self.notes
                        .violated(at, || (what, format!("outbox {id}, allocation {key}")));
                }
            }
            _ => {}
        }
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        5
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
