//! The end of a transaction: its log record, its commit or its rollback, the release of its locks.
//!
//! Invariant: a commit is in the log before it is visible; with a synchronous standby it stays invisible, its locks held, until
//! the standby has acknowledged it. After either end nothing of the transaction is left in the lock table.

use std::sync::Arc;

use super::{
    core::Core,
    error::PgResult,
    heap::{Row, Stamp},
    lock::LockKey,
    replication::{Change, LogRecord},
    request::Output,
    session::{Block, Session, Txn},
};
use crate::recording::{Commit, RowChange};

/// What came of a commit.
pub enum Committed {
    /// Over.
    Done,
    /// In the log, waiting for the standby.
    Pending,
}

/// Commits a session's transaction.
pub fn commit(core: &mut Core, session: &mut Session) -> Committed {
    if session.txn.writes.is_empty() && session.txn.ddl.is_empty() {
        session.restore_settings(true);
        finish(core, session, true);
        return Committed::Done;
    }
    core.aux.lsn += 1;
    let lsn = core.aux.lsn;
    let record = log_record(core, session, lsn);
    core.outputs.push(Output::Committed(record.commit.clone()));
    core.outputs.push(Output::Log(Arc::new(record)));
    session.restore_settings(true);
    if core.aux.synchronous && core.aux.acknowledged < lsn {
        session.pending = Some(lsn);
        return Committed::Pending;
    }
    finish(core, session, true);
    Committed::Done
}

fn log_record(core: &Core, session: &Session, lsn: u64) -> LogRecord {
    let mut changes = Vec::new();
    let mut rows = Vec::new();
    for write in &session.txn.writes {
        let Some(before) = &write.first else { continue };
        let after: Option<Row> = core
            .store
            .heap(write.table)
            .chain(write.row)
            .and_then(|chain| chain.head.data.clone());
        changes.push(Change {
            table: write.table,
            row: write.row,
            data: after.clone(),
        });
        // What a transaction inserted and deleted again never was.
        if let Some(table) = core.catalog.tables.get(&write.table)
            && !(before.is_none() && after.is_none())
        {
            rows.push(RowChange {
                table: table.name.clone(),
                before: before.clone(),
                after,
            });
        }
    }
    let sequences = session
        .txn
        .sequences
        .iter()
        .map(|id| (*id, core.aux.sequences.get(id).copied().unwrap_or(0)));
    LogRecord {
        commit: Commit {
            host: "".into(),
            lsn,
            timeline: core.aux.timeline,
            role: session.role.clone(),
            tenant: session.tenant(),
            now_us: session.txn.now_us,
            rows,
        },
        changes,
        sequences: sequences.collect(),
        ddl: session.txn.ddl.clone(),
    }
}

/// Makes a commit visible, or takes everything back; releases the locks.
pub fn finish(core: &mut Core, session: &mut Session, committed: bool) {
    let txn = std::mem::take(&mut session.txn);
    if committed {
        if !txn.writes.is_empty() {
            core.store.commit += 1;
        }
        let stamp = Stamp::Commit(core.store.commit);
        for write in &txn.writes {
            if let Some(table) = core.catalog.tables.get(&write.table) {
                core.store
                    .heap_mut(write.table)
                    .settle(table, write.row, stamp);
            }
        }
        for write in &txn.writes {
            core.stale.push((write.table, write.row));
        }
    } else {
        for write in txn.writes.iter().rev() {
            if let Some(table) = core.catalog.tables.get(&write.table).cloned() {
                core.store.heap_mut(write.table).undo(&table, write.row);
            }
        }
        if let Some(before) = txn.catalog {
            core.restore_catalog(before, &txn.widened);
        }
    }
    for key in &txn.locks {
        let changed = committed
            && matches!(key, LockKey::Row(table, row) if txn.writes.iter().any(|write| (write.table, write.row) == (*table, *row)));
        core.aux.locks.release(session.id, *key, true, changed);
    }
    for key in txn.advisory {
        core.aux
            .locks
            .release(session.id, LockKey::Advisory(key), false, false);
    }
    session.block = Block::Idle;
}

/// Rolls back.
pub fn abort(core: &mut Core, session: &mut Session) {
    session.restore_settings(false);
    session.running = None;
    session.rest.clear();
    session.waited_for = None;
    core.aux.locks.cancel(session.id);
    finish(core, session, false);
}

/// Takes a foreign transaction's marks out of a copy of the rows: committed if it is in the log, undone otherwise.
pub fn strip(core: &mut Core, txn: &Txn, logged: bool) {
    if logged {
        core.store.commit += 1;
    }
    let stamp = Stamp::Commit(core.store.commit);
    for write in txn.writes.iter().rev() {
        let Some(table) = core.catalog.tables.get(&write.table).cloned() else {
            continue;
        };
        let heap = core.store.heap_mut(write.table);
        if logged {
            heap.settle(&table, write.row, stamp);
        } else {
            heap.undo(&table, write.row);
        }
    }
    if let (Some(before), false) = (&txn.catalog, logged) {
        core.restore_catalog(before.clone(), &txn.widened);
    }
}

/// Runs a schema change of the log.
pub fn replay_ddl(core: &mut Core, role: &str, text: &str) -> PgResult<()> {
    for parsed in super::parse::statements(text)? {
        super::ddl::replay(core, role, &parsed.statement)?;
    }
    Ok(())
}

/// Puts a record's rows in place.
pub fn replay_rows(core: &mut Core, record: &LogRecord) {
    core.store.commit += 1;
    let begin = Stamp::Commit(core.store.commit);
    for change in &record.changes {
        let Some(table) = core.catalog.tables.get(&change.table).cloned() else {
            continue;
        };
        let heap = core.store.heap_mut(change.table);
        heap.replay(&table, change.row, change.data.clone(), begin);
        core.stale.push((change.table, change.row));
    }
    for (id, value) in &record.sequences {
        core.aux.sequences.insert(*id, *value);
    }
    core.aux.lsn = record.lsn();
    core.aux.timeline = record.commit.timeline;
}
