//! A bounded set of sessions per role, all to the same primary.
//!
//! Whoever waits is served in order of arrival. A session goes back only between transactions; one that failed, hangs, is old
//! or belongs to an outdated belief about the primary is dropped, and the server rolls back what it had begun.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::{
    contract::{Id, LockOutcome, PoolLabel, SqlState},
    deadline::within,
    metrics::Metrics,
    ports::{Clock, DbError, Role, Rows, Session, Statement, Value},
    topology::{Primary, Topology},
};

/// Why no session was to be had, or a call of one failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Every session was in use for longer than the time allowed.
    #[error("all database sessions are in use")]
    Busy,
    /// No endpoint is a primary.
    #[error("{0}")]
    NoPrimary(String),
    /// The database refused, or the connection was lost before `COMMIT`: nothing happened.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The connection was lost, or time ran out, during `COMMIT`: it may have happened.
    #[error("the outcome of COMMIT is unknown: {0}")]
    Unknown(String),
    /// Time ran out before `COMMIT`: nothing happened.
    #[error("the database did not answer in time")]
    Late,
}

struct Idle {
    session: Box<dyn Session>,
    primary: Primary,
    since: Duration,
}

/// Sessions of one role.
pub struct Pool {
    role: Role,
    label: PoolLabel,
    size: usize,
    acquire_timeout: Duration,
    max_idle: Duration,
    topology: Arc<Topology>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    /// An empty pool of at most `size` sessions; they are opened when asked for.
    pub fn new(
        role: Role,
        size: usize,
        limits: (Duration, Duration),
        topology: Arc<Topology>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let label = match role {
            Role::App => PoolLabel::App,
            Role::Worker => PoolLabel::Worker,
        };
        metrics.set_at(Id::PoolSize, label as usize, size as f64);
        metrics.set_at(Id::ConnectionsUsed, label as usize, 0.0);
        Arc::new(Self {
            role,
            label,
            size,
            acquire_timeout: limits.0,
            max_idle: limits.1,
            topology,
            clock,
            metrics,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
        })
    }

    /// A session for sole use, until it is dropped.
    ///
    /// # Errors
    /// [`Fault::Busy`] or [`Fault::NoPrimary`].
    pub async fn acquire(self: &Arc<Self>) -> Result<Lease, Fault> {
        let permits = Arc::clone(&self.permits);
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => within(&*self.clock, self.acquire_timeout, permits.acquire_owned())
                .await
                .ok_or(Fault::Busy)?
                .map_err(|_| Fault::Busy)?,
        };
        let (session, primary) = match self.reuse() {
            Some(idle) => (idle.session, idle.primary),
            None => self
                .topology
                .open(self.role)
                .await
                .map_err(Fault::NoPrimary)?,
        };
        self.show_used(self.size - permits_free(&self.permits));
        Ok(Lease {
            pool: Arc::clone(self),
            session: Some(session),
            primary,
            state: State::Clean,
            _permit: permit,
        })
    }

    fn reuse(&self) -> Option<Idle> {
        let primary = self.topology.primary();
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(candidate) = idle.pop() {
            let fresh = now.saturating_sub(candidate.since) < self.max_idle;
            if fresh && Some(candidate.primary) == primary && candidate.session.is_open() {
                return Some(candidate);
            }
        }
        None
    }

    fn give_back(&self, session: Box<dyn Session>, primary: Primary) {
        if session.is_open() && self.topology.primary() == Some(primary) {
            let since = self.clock.monotonic();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(Idle {
                session,
                primary,
                since,
            });
        }
    }

    fn show_used(&self, used: usize) {
        self.metrics
            .set_at(Id::ConnectionsUsed, self.label as usize, used as f64);
    }
}

fn permits_free(permits: &Semaphore) -> usize {
    permits.available_permits()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between transactions.
    Clean,
    /// In a transaction, no call under way.
    Open,
    /// A call is under way; who sees this from outside was dropped in the middle of it.
    Calling,
    /// `COMMIT` is under way.
    Committing,
    /// Not to be used again.
    Broken,
}

/// One session in use. Dropped between transactions it goes back to its pool, otherwise it is closed.
pub struct Lease {
    pool: Arc<Pool>,
    session: Option<Box<dyn Session>>,
    primary: Primary,
    state: State,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Starts a transaction under `tenant`, the only place where the tenant is named.
    ///
    /// # Errors
    /// As [`Session::begin`].
    pub async fn begin(&mut self, tenant: Option<Uuid>) -> Result<(), Fault> {
        let started = self.enter();
        let result = session(&mut self.session)?.begin(tenant).await;
        self.leave(started, result, State::Open)
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run(&mut self, statement: &Statement, params: &[Value]) -> Result<Rows, Fault> {
        let after = self.state;
        let started = self.enter();
        let result = session(&mut self.session)?.run(statement, params).await;
        self.count_locks([statement].into_iter(), result.as_ref().err());
        self.leave(started, result, after)
    }

    /// Runs statements that do not depend on one another.
    ///
    /// # Errors
    /// As [`Session::run_all`].
    pub async fn run_all(
        &mut self,
        batch: &[(&Statement, Vec<Value>)],
    ) -> Result<Vec<Rows>, Fault> {
        let after = self.state;
        let started = self.enter();
        let result = session(&mut self.session)?.run_all(batch).await;
        let statements = batch.iter().map(|(statement, _)| *statement);
        self.count_locks(statements, result.as_ref().err());
        self.leave(started, result, after)
    }

    /// Counts the tenants' statements that asked for row locks. Of a batch that failed only the one that ended it counts: what
    /// came before it took its locks on rows that the transaction had, or first of all.
    fn count_locks<'a>(
        &self,
        statements: impl Iterator<Item = &'a Statement>,
        error: Option<&DbError>,
    ) {
        if self.pool.role != Role::App {
            return;
        }
        let asked = statements
            .filter(|statement| statement.takes_row_locks())
            .count();
        if asked == 0 {
            return;
        }
        let (outcome, count) = match error {
            None => (LockOutcome::Acquired, asked as u64),
            Some(error) => match error.sqlstate() {
                Some("55P03" | "57014") => (LockOutcome::Timeout, 1),
                Some("40P01") => (LockOutcome::Deadlock, 1),
                _ => return,
            },
        };
        self.pool
            .metrics
            .add_at(Id::LockAcquisitions, outcome as usize, count);
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Fault::Unknown`] when the connection, or the server, went away meanwhile.
    pub async fn commit(&mut self) -> Result<(), Fault> {
        let started = self.enter();
        self.state = State::Committing;
        let result = session(&mut self.session)?.commit().await;
        self.leave(started, result, State::Clean)
            .map_err(|fault| match fault {
                Fault::Db(error @ DbError::Connection(_)) => Fault::Unknown(error.to_string()),
                Fault::Db(DbError::Server {
                    sqlstate, message, ..
                }) if server_leaves(&sqlstate) => Fault::Unknown(format!("{sqlstate}: {message}")),
                other => other,
            })
    }

    /// Rolls back.
    ///
    /// # Errors
    /// As [`Session::rollback`].
    pub async fn rollback(&mut self) -> Result<(), Fault> {
        let started = self.enter();
        let result = session(&mut self.session)?.rollback().await;
        let left = self.leave(started, result, State::Clean);
        if left.is_err() {
            // Nobody knows what the session is in.
            self.state = State::Broken;
        }
        left
    }

    /// Ends a transaction that shall not happen. A session that cannot roll back is closed later, which does the same.
    pub async fn undo(&mut self) {
        if self.state == State::Open {
            // Counted where it fails; the caller has its error already.
            let _ = self.rollback().await;
        }
    }

    /// The server says that it is no primary any more: closes the session and asks all endpoints again.
    pub fn doubt_primary(&mut self) {
        self.pool.topology.doubt(self.primary);
        self.state = State::Broken;
    }

    /// Closes the session instead of giving it back; session-level locks end with it.
    pub fn close(mut self) {
        self.state = State::Broken;
    }

    fn enter(&mut self) -> Duration {
        self.state = State::Calling;
        self.pool.clock.monotonic()
    }

    fn leave<T>(
        &mut self,
        started: Duration,
        result: Result<T, DbError>,
        after: State,
    ) -> Result<T, Fault> {
        let metrics = &self.pool.metrics;
        let took = self.pool.clock.monotonic().saturating_sub(started);
        metrics.observe(Id::QueryDuration, 0, took.as_secs_f64());
        let error = match result {
            Ok(value) => {
                self.state = after;
                return Ok(value);
            }
            Err(error) => error,
        };
        let (code, primary_gone) = match &error {
            DbError::Connection(_) => (SqlState::Connection, true),
            DbError::Server {
                sqlstate,
                constraint,
                ..
            } => (
                SqlState::of(sqlstate, constraint.is_some()),
                server_leaves(sqlstate) || sqlstate == "25006",
            ),
        };
        metrics.inc(Id::PgErrors, code as usize);
        self.state = if primary_gone {
            self.pool.topology.doubt(self.primary);
            State::Broken
        } else {
            // Outside of a transaction a refused statement leaves the session as it was; inside, it must be rolled back.
            if after == State::Clean {
                after
            } else {
                State::Open
            }
        };
        Err(Fault::Db(error))
    }
}

/// SQLSTATEs with which a server says that it goes away or is not there yet.
fn server_leaves(sqlstate: &str) -> bool {
    sqlstate.starts_with("57P0") || sqlstate.starts_with("08")
}

fn session(session: &mut Option<Box<dyn Session>>) -> Result<&mut Box<dyn Session>, Fault> {
    session
        .as_mut()
        .ok_or_else(|| Fault::Db(DbError::Connection("the session was given back".to_owned())))
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pool = Arc::clone(&self.pool);
        if let Some(session) = self.session.take() {
            match self.state {
                State::Clean => pool.give_back(session, self.primary),
                // Dropped while the database did not answer: perhaps it is not the primary any more.
                State::Calling | State::Committing => pool.topology.doubt(self.primary),
                State::Open | State::Broken => {}
            }
        }
        // The permit is freed right after this.
        pool.show_used(pool.size.saturating_sub(permits_free(&pool.permits) + 1));
    }
}
