//! The log that a primary ships: one record per commit, and its replay on a standby.
//!
//! Invariant: a standby that has applied the records 1 to n holds exactly what the primary's commits 1 to n left, row numbers
//! included, so that it can go on writing after its promotion. Schema changes travel as their text.

use std::sync::Arc;

use ledger::ports::Value;
use serde::{Deserialize, Serialize};

use crate::recording::Commit;

/// A row's new state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the table.
    pub table: u32,
    /// Number of the row.
    pub row: u32,
    /// Its values; `None`: deleted.
    pub data: Option<Arc<[Value]>>,
}

/// One commit as it travels to the standby.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// What the recording shows of it: `lsn`, `timeline`, role and rows; the host is empty.
    pub commit: Commit,
    /// Its rows.
    pub changes: Vec<Change>,
    /// Sequences that it used and their last values.
    pub sequences: Vec<(u32, i64)>,
    /// Schema changes, before the rows.
    pub ddl: Vec<Arc<str>>,
}

impl LogRecord {
    /// Its position in the log.
    pub fn lsn(&self) -> u64 {
        self.commit.lsn
    }
}
