//! The log that a primary ships: one record per commit, and its replay on a standby.
//!
//! Invariant: a standby that has applied the records 1 to n holds exactly what the primary's commits 1 to n left, row numbers
//! included, so that it can go on writing after its promotion. Schema changes travel as their text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::recording::Commit;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the table.
    pub table: u32,
    /// Number of the row.
    pub row: u32,
    /// Whether the commit's next row tells its values. It does not for what the transaction inserted and deleted again.
    pub shown: bool,
}

/// One commit as it travels to the standby.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// What the recording shows of it: `lsn`, `timeline`, role and rows; the host is empty.
    pub commit: Commit,
    /// Its rows' places, in the order of the commit's rows.
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
