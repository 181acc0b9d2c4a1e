//! Replication, failure and faults of a server.
//!
//! Invariant: what is in the log survives every failure of its server; what is not, survives none.

use std::sync::Arc;

use super::{
    database::Database,
    error::PgError,
    image::Image,
    replication::LogRecord,
    request::{Costs, DbConfig, Output},
    txn,
};
use crate::recording::DbEvent;

/// Replication, failure and faults.
impl Database {
    /// A standby that starts from the same schema and gets the primary's log from its first record on.
    pub fn standby_of(image: Arc<Image>, config: DbConfig) -> Database {
        let mut database = Database::new(image, config);
        database.core.aux.standby = true;
        database
    }

    /// A standby made from a base backup of this server: its committed state, at its log position.
    pub fn base_backup(&self) -> Database {
        let mut backup = Database::new(self.image.clone(), self.config);
        let core = &mut backup.core;
        core.catalog = self.core.catalog.clone();
        core.store = self.core.store.clone();
        core.aux.sequences = self.core.aux.sequences.clone();
        (core.aux.lsn, core.aux.acknowledged) = (self.core.aux.lsn, self.core.aux.lsn);
        (core.aux.timeline, core.aux.next_txn) = (self.core.aux.timeline, self.core.aux.next_txn);
        core.aux.standby = true;
        // What was under way is not part of a backup; what is in the log is.
        for session in self.sessions.values() {
            txn::strip(core, &session.txn, session.pending.is_some());
        }
        backup
    }

    /// Whether it replays a primary's log.
    pub fn is_standby(&self) -> bool {
        self.core.aux.standby
    }

    /// Position of its last log record.
    pub fn lsn(&self) -> u64 {
        self.core.aux.lsn
    }

    /// Log position up to which commits are visible to others: with a synchronous standby, what that has acknowledged.
    pub fn visible(&self) -> u64 {
        if self.core.aux.synchronous {
            self.core.aux.acknowledged
        } else {
            self.core.aux.lsn
        }
    }

    /// Timeline on which it writes.
    pub fn timeline(&self) -> u32 {
        self.core.aux.timeline
    }

    /// Turns waiting for the standby's acknowledgement on or off; off lets those go that wait.
    pub fn set_synchronous(&mut self, on: bool) {
        self.core.aux.synchronous = on;
        if !on {
            self.release_pending(u64::MAX);
        }
    }

    /// The standby has stored the log up to `lsn`.
    pub fn acknowledge(&mut self, lsn: u64) {
        self.core.aux.acknowledged = self.core.aux.acknowledged.max(lsn);
        self.release_pending(lsn);
    }

    fn release_pending(&mut self, lsn: u64) {
        let due = self.sessions.iter().filter_map(|(id, session)| {
            session
                .pending
                .filter(|own| *own <= lsn)
                .map(|own| (own, *id))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        for (_, id) in due {
            let Some(mut session) = self.sessions.remove(&id) else {
                continue;
            };
            session.pending = None;
            txn::finish(&mut self.core, &mut session, true);
            if session.orphan {
                self.sessions.insert(id, session);
                self.close(id);
                continue;
            }
            let (rows, cost) = std::mem::take(&mut session.answer);
            self.done(&mut session, rows, cost);
            self.sessions.insert(id, session);
        }
        self.drive();
    }

    /// Replays a record of the primary's log; records come without gaps, one that is already there is passed over.
    ///
    /// # Errors
    /// When records are missing before this one, or this server is no standby.
    pub fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        if !self.core.aux.standby {
            return Err("not a standby".into());
        }
        if record.lsn() <= self.core.aux.lsn {
            return Ok(());
        }
        if record.lsn() != self.core.aux.lsn + 1 {
            return Err(format!(
                "record {} does not follow {}",
                record.lsn(),
                self.core.aux.lsn
            ));
        }
        for text in &record.ddl {
            txn::replay_ddl(&mut self.core, &record.commit.role, text)
                .map_err(|error| error.message)?;
        }
        txn::replay_rows(&mut self.core, record);
        self.prune();
        Ok(())
    }

    /// Ends the replay: the server becomes a primary on a new timeline, which it returns.
    pub fn promote(&mut self) -> u32 {
        if self.core.aux.standby {
            self.core.aux.standby = false;
            self.core.aux.timeline += 1;
            self.core.aux.acknowledged = self.core.aux.lsn;
        }
        self.core.aux.timeline
    }

    /// The server crashed and has recovered: what is in the log is there, sessions are not.
    pub fn crash_recover(&mut self) {
        self.core.aux.locks.clear();
        for mut session in std::mem::take(&mut self.sessions).into_values() {
            let logged = session.pending.is_some();
            txn::finish(&mut self.core, &mut session, logged);
        }
        self.core.aux.locks.clear();
        // Answers die with their sessions; what reached the log did happen.
        self.core
            .outputs
            .retain(|output| !matches!(output, Output::Done { .. }));
        self.prune();
    }

    /// The administrator shuts the server down or fences it: every session ends with 57P01; what waits for the standby is in
    /// the log and becomes visible.
    pub fn terminate_all(&mut self) {
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(mut session) = self.sessions.remove(&id) else {
                continue;
            };
            let busy = session.running.is_some() || session.pending.is_some();
            if session.pending.take().is_some() {
                self.core
                    .outputs
                    .push(Output::Event(DbEvent::CommitInDoubt));
                txn::finish(&mut self.core, &mut session, true);
            }
            if busy && !session.orphan {
                let error = PgError::new(
                    "57P01",
                    "terminating connection due to administrator command",
                );
                self.core.outputs.push(Output::Event(DbEvent::Error {
                    sqlstate: error.sqlstate.into(),
                }));
                self.core.outputs.push(Output::Done {
                    session: id,
                    result: Err(error.db_error()),
                    cost_ns: 0,
                });
            }
            txn::abort(&mut self.core, &mut session);
        }
        self.core.aux.locks.clear();
        self.prune();
    }

    /// Whether writes fail with 53100.
    pub fn set_disk_full(&mut self, full: bool) {
        self.core.aux.disk_full = full;
    }

    /// Changes what work costs: a slow disk, a busy machine.
    pub fn set_costs(&mut self, costs: Costs) {
        self.config.costs = costs;
    }
}
