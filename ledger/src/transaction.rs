//! One transaction, its deadline, and when it is tried again.
//!
//! A transaction is tried again only when it is certain that nothing happened: the database refused, or the connection was lost
//! before `COMMIT`. An unknown outcome is told to the client, who repeats with the same key.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::{
    app::App,
    contract::Id,
    deadline::within,
    error::{ApiError, LOCK_TIMEOUT, OUTCOME_UNKNOWN, UNAVAILABLE},
    pool::{Fault, Lease, Pool},
    ports::{DbError, Rows, Statement, Value},
    topology::jittered,
};

/// Why a transaction did not commit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Abort {
    /// The database or the way to it.
    Fault(Fault),
    /// The ledger itself says no; trying again changes nothing.
    Refused(Box<ApiError>),
    /// Somebody else took what this one had chosen (a room): choose again.
    Again,
}

impl From<Fault> for Abort {
    fn from(fault: Fault) -> Self {
        Abort::Fault(fault)
    }
}

impl From<DbError> for Abort {
    fn from(error: DbError) -> Self {
        Abort::Fault(Fault::Db(error))
    }
}

impl From<ApiError> for Abort {
    fn from(error: ApiError) -> Self {
        Abort::Refused(Box::new(error))
    }
}

/// The statements of one transaction, between `BEGIN` and `COMMIT`.
pub(crate) trait Work: Sync {
    /// What it gives once committed.
    type Out: Send;

    /// Runs the statements; `attempt` counts from 0.
    fn run<'a>(
        &'a self,
        app: &'a App,
        lease: &'a mut Lease,
        attempt: u32,
    ) -> impl Future<Output = Result<Self::Out, Abort>> + Send + 'a;
}

impl App {
    /// One attempt, bounded by `attempt_deadline`.
    pub(crate) async fn attempt<W: Work>(
        &self,
        pool: &Arc<Pool>,
        tenant: Option<Uuid>,
        work: &W,
        attempt: u32,
    ) -> Result<W::Out, Abort> {
        let committing = AtomicBool::new(false);
        let whole = async {
            let mut lease = pool.acquire().await?;
            lease.begin(tenant).await?;
            match work.run(self, &mut lease, attempt).await {
                Ok(out) => {
                    committing.store(true, Relaxed);
                    lease.commit().await?;
                    Ok(out)
                }
                Err(abort) => {
                    lease.undo().await;
                    Err(abort)
                }
            }
        };
        match within(&*self.ports.clock, self.config.attempt_deadline, whole).await {
            Some(result) => result,
            None if committing.load(Relaxed) => {
                Err(Fault::Unknown("no answer in time".to_owned()).into())
            }
            None => Err(Fault::Late.into()),
        }
    }

    /// Attempts until one commits, the ledger refuses, or retries and time are used up.
    pub(crate) async fn transact<W: Work>(
        &self,
        tenant: Uuid,
        work: &W,
    ) -> Result<W::Out, ApiError> {
        self.transact_on(&self.app_pool, tenant, work).await
    }

    /// The same on a session of this pool.
    pub(crate) async fn transact_on<W: Work>(
        &self,
        pool: &Arc<Pool>,
        tenant: Uuid,
        work: &W,
    ) -> Result<W::Out, ApiError> {
        let clock = &*self.ports.clock;
        let end = clock.monotonic() + self.config.request_deadline;
        let mut pause = self.config.retry_backoff;
        for attempt in 0.. {
            let abort = match self.attempt(pool, Some(tenant), work, attempt).await {
                Ok(out) => return Ok(out),
                Err(abort) => abort,
            };
            let wait = jittered(pause * 2, self.ports.ids.bits());
            let late = clock.monotonic() + wait + self.config.attempt_deadline > end;
            if !may_pass(&abort) || attempt >= self.config.retries || late {
                return Err(self.told(abort));
            }
            clock.sleep(wait).await;
            pause *= 2;
        }
        Err(ApiError::internal("retries are bounded"))
    }

    /// What the client is told.
    pub(crate) fn told(&self, abort: Abort) -> ApiError {
        let seconds = self.config.retry_after_seconds;
        match abort {
            Abort::Refused(error) => *error,
            Abort::Again => ApiError::later(
                UNAVAILABLE,
                "others took the room each time; repeat the request",
                seconds,
            ),
            Abort::Fault(Fault::Unknown(why)) => ApiError::later(
                OUTCOME_UNKNOWN,
                format!(
                    "{why}; repeat the request as it is, a change that happened is not made twice"
                ),
                seconds,
            ),
            Abort::Fault(Fault::Db(DbError::Server {
                sqlstate, message, ..
            })) => match sqlstate.as_str() {
                "55P03" | "57014" | "40P01" => ApiError::later(
                    LOCK_TIMEOUT,
                    "the rows of this stay are in use; repeat the request",
                    seconds,
                ),
                "23514" | "23P01" | "23505" | "23503" => ApiError::internal(format!(
                    "the database refused an inconsistent change ({sqlstate}: {message})"
                )),
                code if passes_with_the_server(code) => ApiError::later(
                    UNAVAILABLE,
                    format!("the database is not available ({sqlstate})"),
                    seconds,
                ),
                _ => ApiError::internal(format!("the database refused ({sqlstate}: {message})")),
            },
            Abort::Fault(fault) => ApiError::later(UNAVAILABLE, fault.to_string(), seconds),
        }
    }

    /// Runs statements of which the first to matter takes row locks, and keeps the books about how long that took.
    pub(crate) async fn locking(
        &self,
        lease: &mut Lease,
        batch: &[(&Statement, Vec<Value>)],
    ) -> Result<Vec<Rows>, Fault> {
        let started = self.ports.clock.monotonic();
        let result = lease.run_all(batch).await;
        let took = self.ports.clock.monotonic().saturating_sub(started);
        let ended = match &result {
            Ok(_) => true,
            Err(Fault::Db(error)) => {
                matches!(error.sqlstate(), Some("55P03" | "57014" | "40P01"))
            }
            Err(_) => false,
        };
        if ended {
            self.metrics.observe(Id::LockWait, 0, millis(took));
        }
        result
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Whether the next attempt may end otherwise, and this one certainly changed nothing.
fn may_pass(abort: &Abort) -> bool {
    match abort {
        Abort::Again => true,
        Abort::Refused(_) | Abort::Fault(Fault::Unknown(_) | Fault::Busy) => false,
        Abort::Fault(Fault::NoPrimary(_) | Fault::Late) => true,
        Abort::Fault(Fault::Db(DbError::Connection(_))) => true,
        Abort::Fault(Fault::Db(DbError::Server { sqlstate, .. })) => {
            matches!(sqlstate.as_str(), "55P03" | "57014" | "40P01" | "40001")
                || passes_with_the_server(sqlstate)
        }
    }
}

/// SQLSTATEs of a server that goes away, comes up, is a standby or full: another moment or another server will do.
fn passes_with_the_server(sqlstate: &str) -> bool {
    sqlstate == "25006"
        || sqlstate.starts_with("57P0")
        || sqlstate.starts_with("53")
        || sqlstate.starts_with("08")
}
