//! What a server holds besides its sessions: catalog, rows, locks, sequences, log position.
//!
//! Invariant: everything that outlives a session is here; executing a statement changes this and its own session, nothing else.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    catalog::Catalog,
    error::{PgError, PgResult},
    heap::Store,
    lock::Locks,
    request::Output,
};
use crate::recording::DbEvent;

/// State besides rows and catalog.
#[derive(Default)]
pub struct Aux {
    pub locks: Locks,
    pub sequences: BTreeMap<u32, i64>,
    pub events: Vec<DbEvent>,
    pub next_txn: u64,
    pub lsn: u64,
    pub acknowledged: u64,
    pub timeline: u32,
    pub standby: bool,
    pub synchronous: bool,
    pub disk_full: bool,
    /// Rows and index entries met by the statement under way.
    pub visited: u64,
}

/// Everything but the sessions.
pub struct Core {
    pub catalog: Arc<Catalog>,
    pub store: Store,
    pub aux: Aux,
    pub outputs: Vec<Output>,
    /// Rows with versions that may be dropped.
    pub stale: Vec<(u32, u32)>,
}

impl Core {
    /// Puts the catalog back as it was before a transaction's schema changes.
    pub fn restore_catalog(&mut self, before: Arc<Catalog>, widened: &[(u32, usize)]) {
        let version = self.catalog.version;
        self.catalog = before;
        // A version is never used twice: plans of the catalog that is gone must not be taken for its successor's.
        Arc::make_mut(&mut self.catalog).version = version + 1;
        for (table, columns) in widened.iter().rev() {
            self.store
                .heap_mut(*table)
                .rewrite(|data| data[..*columns].into());
        }
        for table in self.catalog.tables.values() {
            self.store.heap_mut(table.id).sync_indexes(table);
        }
    }
}

impl Aux {
    pub fn check_disk(&self) -> PgResult<()> {
        if self.disk_full {
            return Err(PgError::new(
                "53100",
                "could not extend file: No space left on device",
            ));
        }
        Ok(())
    }
}
