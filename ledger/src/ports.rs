//! What the service needs from the world: a database session, a broker, a cache, a clock, ids, a place to run tasks.
//!
//! Each trait is small and has two implementations: the real adapter of this crate and the simulated one, which lives with
//! the simulation. Everything above these traits is the same code in both. All futures are `Send`, since axum asks for it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A boxed future, so that the traits stay usable as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One SQL value: a statement's parameter or a column of its result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Value {
    /// SQL NULL of any type.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `integer` and `bigint`.
    Int(i64),
    /// `text`.
    Text(Arc<str>),
    /// `uuid`.
    Uuid(Uuid),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `timestamptz`: microseconds since the Unix epoch.
    Timestamp(i64),
    /// `interval`, as the difference of two timestamps: microseconds.
    Interval(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

/// Rows of one statement; empty, with the number of rows touched, where it returns none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Column values, in the order of the select list or the `RETURNING` list.
    pub rows: Vec<Vec<Value>>,
    /// Rows selected, inserted or updated, as PostgreSQL's command tag says.
    pub affected: u64,
}

/// One named SQL file of the ledger (`ledger/sql/<name>.sql`), the same text in both arms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The file's stem.
    pub name: Arc<str>,
    /// Its whole text, comments included; parameters are `$1`…
    pub sql: Arc<str>,
}

impl Statement {
    /// Whether it asks for row locks, as its text says: it updates, deletes, or selects for update.
    pub fn takes_row_locks(&self) -> bool {
        let mut lines = self.sql.lines().filter(|line| !line.starts_with("--"));
        let verb = lines.next().unwrap_or_default();
        verb.starts_with("UPDATE")
            || verb.starts_with("DELETE")
            || lines.chain([verb]).any(|line| line.contains("FOR UPDATE"))
    }
}

/// The database principal of a session. Neither owns a table nor bypasses row security.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// `ledger_app`: serves one tenant per transaction.
    App,
    /// `ledger_worker`: the jobs that look across tenants.
    Worker,
}

/// Why a session's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DbError {
    /// The server refused the statement; the transaction is aborted and must be rolled back.
    #[error("{sqlstate}: {message}")]
    Server {
        /// Five-character SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
        /// The constraint that refused, where one did. A missing partition has the SQLSTATE of a CHECK and none.
        constraint: Option<String>,
    },
    /// The connection failed: the session is gone. If it happened during `commit`, the outcome is unknown.
    #[error("connection lost: {0}")]
    Connection(String),
}

impl DbError {
    /// The SQLSTATE, where the server answered.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            DbError::Server { sqlstate, .. } => Some(sqlstate),
            DbError::Connection(_) => None,
        }
    }
}

/// Limits that a session sets when it connects; the server enforces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSettings {
    /// Bounds each statement (57014), but not `COMMIT`.
    pub statement_timeout: Duration,
    /// Bounds each wait for a lock (55P03).
    pub lock_timeout: Duration,
}

/// One database connection. Calls are sequential; dropping a session inside a transaction rolls it back and closes it.
pub trait Session: Send {
    /// Starts a read-committed transaction. `Some(tenant)` sets `app.tenant_id` for this transaction only (`SET LOCAL`).
    fn begin(&mut self, tenant: Option<Uuid>) -> BoxFuture<'_, Result<(), DbError>>;
    /// Runs one statement in the transaction, or by itself outside of one.
    fn run<'a>(
        &'a mut self,
        statement: &'a Statement,
        params: &'a [Value],
    ) -> BoxFuture<'a, Result<Rows, DbError>>;
    /// Runs statements that do not depend on one another's rows, sent together where the adapter can; stops at the first error.
    fn run_all<'a>(
        &'a mut self,
        batch: &'a [(&'a Statement, Vec<Value>)],
    ) -> BoxFuture<'a, Result<Vec<Rows>, DbError>>;
    /// Commits. [`DbError::Connection`] leaves the outcome unknown.
    fn commit(&mut self) -> BoxFuture<'_, Result<(), DbError>>;
    /// Rolls back.
    fn rollback(&mut self) -> BoxFuture<'_, Result<(), DbError>>;
    /// False once the connection is known to be dead.
    fn is_open(&self) -> bool;
}

/// Opens sessions.
pub trait Connect: Send + Sync {
    /// Connects to `endpoint` (`host:port` in the simulation, a PostgreSQL URL without credentials in the real adapter).
    fn connect<'a>(
        &'a self,
        endpoint: &'a str,
        role: Role,
        settings: SessionSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, DbError>>;
}

/// One event on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `outbox_id`: the same at each attempt, so that consumers can drop duplicates.
    pub id: i64,
    /// The tenant it belongs to.
    pub tenant: Uuid,
    /// Event type, `allocation.held.v1` and the like.
    pub subject: String,
    /// Messages of one key are delivered in order of publication.
    pub ordering_key: Uuid,
    /// JSON.
    pub payload: String,
}

/// The broker did not take the message, or may have.
#[derive(Clone, Debug, thiserror::Error)]
#[error("broker: {0}")]
pub struct BrokerError(pub String);

/// Publishes messages; returns once the broker has stored them.
pub trait Broker: Send + Sync {
    /// Publishes in the given order; on error an unknown part of them may have been stored.
    fn publish<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), BrokerError>>;
}

/// The cache did not answer as it should.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cache: {0}")]
pub struct CacheError(pub String);

/// A courtesy layer: whatever it loses, the database still has.
pub trait Cache: Send + Sync {
    /// The value, if it is there and not older than its time to live.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>>;
    /// Stores a value for `ttl`.
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>>;
}

/// This host's clock: it may be off, and it may drift.
pub trait Clock: Send + Sync {
    /// Wall time.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Sleeps for `duration` of this host's time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Source of ids and of jitter.
pub trait Ids: Send + Sync {
    /// A fresh id.
    fn uuid(&self) -> Uuid;
    /// 64 random bits, for jitter.
    fn bits(&self) -> u64;
}

/// Runs background tasks on this host.
pub trait Spawn: Send + Sync {
    /// Starts `task`; it ends with the host.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_and_selections_for_update_take_row_locks() {
        let statements = crate::schema::embedded().statements;
        let taking: Vec<&str> = statements
            .iter()
            .filter(|(_, sql)| {
                let (name, sql) = ("".into(), sql.as_str().into());
                Statement { name, sql }.takes_row_locks()
            })
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            taking,
            [
                "assign_room",
                "cancel_allocation",
                "cancel_nights",
                "confirm_allocation",
                "confirm_nights",
                "expire_allocation",
                "hold_lock_nights",
                "hold_reserve_nights",
                "job_succeeded",
                "outbox_published",
                "outbox_replay",
                "release_allocation",
                "release_nights",
                "stop_sell_nights",
                "sweep_lock",
                "unfreeze_tenant",
            ]
        );
    }
}
