//! What goes into a database and what comes out: configuration, requests, outputs.

use std::sync::Arc;

use ledger::ports::{DbError, Rows, Value};
use uuid::Uuid;

use super::{replication::LogRecord, session::SessionId};
use crate::recording::{Commit, DbEvent, Nanos};

/// What work costs, in nanoseconds of one core. Defaults are those of a small server with a local disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Each statement: parse, plan, round trip through the executor.
    pub statement_ns: u64,
    /// Each row or index entry met.
    pub row_ns: u64,
    /// Each row written.
    pub write_ns: u64,
    /// Each commit that writes: the log reaches the disk.
    pub commit_ns: u64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            statement_ns: 25_000,
            row_ns: 250,
            write_ns: 4_000,
            commit_ns: 300_000,
        }
    }
}

/// A server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbConfig {
    /// How long a session waits before it looks for a deadlock, in nanoseconds.
    pub deadlock_timeout_ns: Nanos,
    /// Sessions at most.
    pub max_connections: usize,
    /// Of these, kept for superusers.
    pub superuser_reserved: usize,
    /// What work costs.
    pub costs: Costs,
}

impl Default for DbConfig {
    fn default() -> DbConfig {
        DbConfig {
            deadlock_timeout_ns: 200_000_000,
            max_connections: 100,
            superuser_reserved: 3,
            costs: Costs::default(),
        }
    }
}

/// What a session asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Starts a transaction; with a tenant, sets `app.tenant_id` for it.
    Begin {
        /// The tenant, if any.
        tenant: Option<Uuid>,
    },
    /// Runs a statement file of the image.
    Run {
        /// Its name, without `.sql`.
        statement: Arc<str>,
        /// `$1`, `$2`, …
        params: Vec<Value>,
    },
    /// Runs one statement with parameters that is no file of the image: a release changed it.
    Text {
        /// Its text.
        sql: Arc<str>,
        /// `$1`, `$2`, …
        params: Vec<Value>,
    },
    /// Runs SQL text, of one statement or several; several outside a transaction are one transaction.
    Sql(Arc<str>),
    /// Commits; of a failed transaction it is a rollback, as in PostgreSQL.
    Commit,
    /// Rolls back.
    Rollback,
}

/// What the database has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A request is answered.
    Done {
        /// Whose.
        session: SessionId,
        /// Rows, or the error.
        result: Result<Rows, DbError>,
        /// Work that it caused, in nanoseconds of one core; waits are not in it.
        cost_ns: u64,
    },
    /// A transaction reached the log. With a synchronous standby it is not visible yet and may be lost with this server.
    Committed(Commit),
    /// The same, for the standby.
    Log(Arc<LogRecord>),
    /// Something that the recording wants to know. A statement that asks for row locks (UPDATE, DELETE, SELECT … FOR UPDATE)
    /// or that waited for a key, a parent row or a table tells `LockAcquired` once, when it succeeds, with its waits' total; when
    /// a wait ends it badly, `LockTimeout` or `Deadlock` instead.
    Event(DbEvent),
}
