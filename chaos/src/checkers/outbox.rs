//! Invariant 6: at least one publication per committed outbox row, in order of commits per key, none without a committed row.
//!
//! A repetition of what was published before is legal at any time; what is published for the first time must be the oldest of
//! its key. A row is due the liveness bound after its commit or after everything was healed, whichever is later.

use std::{collections::VecDeque, sync::Arc};

use indexmap::IndexMap;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Check, Notes};
use crate::{
    history::{Change, Observer, OutboxRow, Pass, Row},
    recording::{Commit, Event, Nanos},
    scenario::{Plan, show_duration},
};

struct Committed {
    at: Nanos,
    key: Uuid,
    tenant: Uuid,
    subject: Arc<str>,
    sha256: [u8; 32],
    published: bool,
}

pub(super) struct Checker {
    heal: Nanos,
    liveness: Nanos,
    rows: IndexMap<i64, Committed>,
    /// Per key, what is still to be published, in order of commits.
    waiting: IndexMap<Uuid, VecDeque<i64>>,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Checker {
            heal: plan.scenario.heal,
            liveness: plan.scenario.liveness,
            rows: IndexMap::new(),
            waiting: IndexMap::new(),
            notes: Notes::default(),
        }
    }

    fn committed(&mut self, at: Nanos, row: &OutboxRow) {
        self.notes.facts += 1;
        let known = Committed {
            at,
            key: row.key,
            tenant: row.tenant,
            subject: row.subject.clone(),
            sha256: Sha256::digest(row.payload.as_bytes()).into(),
            published: false,
        };
        self.rows.insert(row.id, known);
        self.waiting.entry(row.key).or_default().push_back(row.id);
    }

    fn marked(&mut self, at: Nanos, id: i64) {
        if self.rows.get(&id).is_some_and(|row| !row.published) {
            self.notes.violated(at, || {
                let what =
                    "a row was marked as published, but the broker has never stored it".to_owned();
                (what, format!("outbox {id}"))
            });
        }
    }

    fn published(
        &mut self,
        at: Nanos,
        id: i64,
        tenant: Uuid,
        subject: &str,
        key: Uuid,
        sha256: &[u8; 32],
    ) {
        self.notes.facts += 1;
        let evidence = || format!("outbox {id}, {subject}, key {key}");
        let Some(row) = self.rows.get_mut(&id) else {
            let what = "something was published of which no row is committed".to_owned();
            self.notes.violated(at, || (what, evidence()));
            return;
        };
        if (row.tenant, &*row.subject, row.key, &row.sha256) != (tenant, subject, key, sha256) {
            let what = "what was published is not what was committed".to_owned();
            self.notes.violated(at, || (what, evidence()));
        }
        if std::mem::replace(&mut row.published, true) {
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&row.key) else {
            return;
        };
        if let Some(place) = waiting.iter().position(|waiting| *waiting == id) {
            if place > 0 {
                let first = waiting.front().copied().unwrap_or_default();
                self.notes.violated(at, || {
                    let what = "an event overtook an earlier one of its key".to_owned();
                    (
                        what,
                        format!("{}; outbox {first} was not published yet", evidence()),
                    )
                });
            }
            waiting.remove(place);
        }
        if waiting.is_empty() {
            self.waiting.swap_remove(&key);
        }
    }

    fn undone(&mut self, at: Nanos, row: &OutboxRow) {
        let Some(known) = self.rows.swap_remove(&row.id) else {
            return;
        };
        if let Some(waiting) = self.waiting.get_mut(&known.key) {
            waiting.retain(|waiting| *waiting != row.id);
        }
        if known.published {
            self.notes.violated(at, || {
                let what = "an event was published whose change a failover lost".to_owned();
                (what, format!("outbox {}, key {}", row.id, known.key))
            });
        }
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, _: &Commit, changes: &[Change]) {
        for change in changes {
            match &change.row {
                Row::Outbox {
                    before: None,
                    after: Some(row),
                } => self.committed(at, row),
                Row::Outbox {
                    before: Some(before),
                    after: Some(after),
                } if after.published && !before.published => {
                    self.marked(at, after.id);
                }
                Row::Outbox {
                    before: Some(before),
                    after: None,
                } => {
                    // Deleted: harmless once published.
                    self.marked(at, before.id);
                }
                _ => {}
            }
        }
    }

    fn lost(&mut self, at: Nanos, _: &Commit, changes: &[Change]) {
        for change in changes {
            if let Row::Outbox {
                before: Some(before),
                after: None,
            } = &change.row
            {
                self.undone(at, before);
            }
        }
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        if let Event::Published {
            id,
            tenant,
            subject,
            key,
            payload_sha256,
        } = event
        {
            self.published(at, *id, *tenant, subject, *key, payload_sha256);
        }
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        6
    }

    fn close(&mut self, pass: &Pass) {
        let (heal, liveness) = (self.heal, self.liveness);
        let due = |row: &Committed| row.at.max(heal) + liveness;
        let late = self
            .rows
            .iter()
            .filter(|(_, row)| !row.published && due(row) < pass.end);
        for (id, row) in late {
            self.notes.violated(row.at, || {
                let what = format!(
                    "a committed event was not published within its bound of {}",
                    show_duration(liveness)
                );
                (
                    what,
                    format!("outbox {id}, {}, key {}", row.subject, row.key),
                )
            });
        }
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}
