//! What can be set about the service, with defaults that suit a mid-size hotel group, checked once before anything starts.

use std::{fmt, time::Duration};

use serde::Deserialize;

use crate::principals::{self, Principal};

/// A value that never shows in logs: `Debug` prints dots.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Configuration of one instance. Durations are of this host's clock, unless they say that the database enforces them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Primary and standby, in any order: each is asked which it is.
    pub database_endpoints: Vec<String>,
    /// Sessions for tenants' requests.
    pub app_pool_size: usize,
    /// Sessions for jobs. Relay and auditor keep one each while they run, collector and sweeper borrow one.
    pub worker_pool_size: usize,
    /// How long a hold lasts, by the database's clock.
    pub hold_seconds: u32,
    /// Time to live of a cached availability: how stale an answer marked `cached` may be.
    pub cache_ttl: Duration,
    /// Bound of one cache call.
    pub cache_timeout: Duration,
    /// Failed cache calls in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long the breaker stays open before it lets one call try.
    pub breaker_open: Duration,
    /// `lock_timeout` of tenants' sessions (55P03); the database enforces it.
    pub lock_timeout: Duration,
    /// `statement_timeout` of tenants' sessions (57014); the database enforces it, and it does not bound `COMMIT`.
    pub statement_timeout: Duration,
    /// `statement_timeout` of the jobs' sessions.
    pub worker_statement_timeout: Duration,
    /// Bound of connecting to one endpoint and asking for its state.
    pub connect_timeout: Duration,
    /// How long a request waits for a session of the pool.
    pub acquire_timeout: Duration,
    /// An idle session older than this is closed instead of used.
    pub max_idle: Duration,
    /// Bound of one attempt of a transaction, `COMMIT` included.
    pub attempt_deadline: Duration,
    /// Bound of a request: no attempt starts after it.
    pub request_deadline: Duration,
    /// Attempts after the first, for what may pass by itself (lock time-outs, deadlocks, lost connections).
    pub retries: u32,
    /// Wait before the first of them; doubles each time, plus up to as much jitter.
    pub retry_backoff: Duration,
    /// What a refused client is told to wait (`Retry-After`), in whole seconds.
    pub retry_after_seconds: u32,
    /// The relay looks for events this often, besides being woken by this instance's own commits.
    pub relay_poll: Duration,
    /// Events per batch.
    pub relay_batch: u32,
    /// Bound of one publication.
    pub broker_timeout: Duration,
    /// Longest pause after failed publications.
    pub relay_backoff_max: Duration,
    /// The auditor's interval.
    pub audit_every: Duration,
    /// The auditor looks at the stays changed in this time: longer than the interval plus the longest transaction.
    pub audit_window: Duration,
    /// Interval of the auditor's full passes.
    pub audit_full_every: Duration,
    /// Nights ahead of today that a full pass covers.
    pub audit_horizon_days: u32,
    /// Who does not lead tries again after this time.
    pub leadership_retry: Duration,
    /// Bound of one pass of a job over the database; a session that hangs longer is given up.
    pub worker_deadline: Duration,
    /// The collector's interval.
    pub collect_every: Duration,
    /// Bound of one collection.
    pub collect_deadline: Duration,
    /// Candidates read at once by the sweeper.
    pub sweep_batch: u32,
    /// The sweeper starts no candidate after this time; the next run continues.
    pub sweep_deadline: Duration,
    /// Bearer token of `/internal/jobs/*`.
    pub job_token: Secret,
    /// Who may pull the levers of `/internal/admin/*`.
    pub principals: Vec<Principal>,
}

impl Default for Config {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        Self {
            database_endpoints: Vec::new(),
            app_pool_size: 16,
            worker_pool_size: 4,
            hold_seconds: 600,
            cache_ttl: s(5),
            cache_timeout: ms(50),
            breaker_failures: 5,
            breaker_open: s(5),
            lock_timeout: ms(700),
            statement_timeout: ms(800),
            worker_statement_timeout: s(5),
            connect_timeout: s(1),
            acquire_timeout: s(1),
            max_idle: s(300),
            attempt_deadline: s(2),
            request_deadline: s(6),
            retries: 3,
            retry_backoff: ms(50),
            retry_after_seconds: 1,
            relay_poll: s(2),
            relay_batch: 100,
            broker_timeout: s(5),
            relay_backoff_max: s(5),
            audit_every: s(10),
            audit_window: s(60),
            audit_full_every: s(3600),
            audit_horizon_days: 400,
            leadership_retry: s(15),
            worker_deadline: s(10),
            collect_every: s(5),
            collect_deadline: s(3),
            sweep_batch: 100,
            sweep_deadline: s(8),
            job_token: Secret(String::new()),
            principals: Vec::new(),
        }
    }
}

/// A setting that cannot work, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {field}: {reason}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it and what would do.
    pub reason: String,
}

impl Config {
    /// Checks every setting, and those that depend on one another.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |field, reason: &str| {
            Err(ConfigError {
                field,
                reason: reason.to_owned(),
            })
        };
        if self.database_endpoints.is_empty() {
            return fail("database_endpoints", "name at least one endpoint");
        }
        if self.database_endpoints.iter().any(|e| e.trim().is_empty()) {
            return fail("database_endpoints", "an endpoint is empty");
        }
        if self.job_token.0.len() < principals::TOKEN_BYTES_MIN {
            return fail("job_token", "needs at least 16 characters");
        }
        principals::validate(&self.principals, &self.job_token)?;
        if !(1..=200).contains(&self.app_pool_size) {
            return fail("app_pool_size", "must lie in 1..=200");
        }
        if !(4..=50).contains(&self.worker_pool_size) {
            return fail("worker_pool_size", "must lie in 4..=50: four jobs use it");
        }
        if !(1..=86_400).contains(&self.hold_seconds) {
            return fail("hold_seconds", "must lie in 1..=86400");
        }
        if !(1..=1000).contains(&self.relay_batch) {
            return fail("relay_batch", "must lie in 1..=1000");
        }
        if !(1..=1000).contains(&self.sweep_batch) {
            return fail("sweep_batch", "must lie in 1..=1000");
        }
        if self.retries > 10 {
            return fail("retries", "must lie in 0..=10");
        }
        if !(1..=1100).contains(&self.audit_horizon_days) {
            return fail("audit_horizon_days", "must lie in 1..=1100");
        }
        self.validate_durations()
    }

    fn validate_durations(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("cache_ttl", self.cache_ttl),
            ("cache_timeout", self.cache_timeout),
            ("breaker_open", self.breaker_open),
            ("lock_timeout", self.lock_timeout),
            ("statement_timeout", self.statement_timeout),
            ("worker_statement_timeout", self.worker_statement_timeout),
            ("connect_timeout", self.connect_timeout),
            ("acquire_timeout", self.acquire_timeout),
            ("max_idle", self.max_idle),
            ("attempt_deadline", self.attempt_deadline),
            ("request_deadline", self.request_deadline),
            ("retry_backoff", self.retry_backoff),
            ("relay_poll", self.relay_poll),
            ("broker_timeout", self.broker_timeout),
            ("relay_backoff_max", self.relay_backoff_max),
            ("audit_every", self.audit_every),
            ("audit_window", self.audit_window),
            ("audit_full_every", self.audit_full_every),
            ("leadership_retry", self.leadership_retry),
            ("worker_deadline", self.worker_deadline),
            ("collect_every", self.collect_every),
            ("collect_deadline", self.collect_deadline),
            ("sweep_deadline", self.sweep_deadline),
        ] {
            // Zero would spin or refuse everything; PostgreSQL reads a limit below 1 ms as "no limit".
            if value < Duration::from_millis(1) {
                return Err(ConfigError {
                    field,
                    reason: "must be at least 1 ms".to_owned(),
                });
            }
        }
        for (field, small, large, other) in [
            (
                "lock_timeout",
                self.lock_timeout,
                self.statement_timeout,
                "statement_timeout",
            ),
            (
                "statement_timeout",
                self.statement_timeout,
                self.attempt_deadline,
                "attempt_deadline",
            ),
            (
                "attempt_deadline",
                self.attempt_deadline,
                self.request_deadline,
                "request_deadline",
            ),
            (
                "audit_every",
                self.audit_every,
                self.audit_window,
                "audit_window",
            ),
            (
                "audit_every",
                self.audit_every,
                self.audit_full_every,
                "audit_full_every",
            ),
        ] {
            if small >= large {
                return Err(ConfigError {
                    field,
                    reason: format!("{small:?} must be shorter than {other} ({large:?})"),
                });
            }
        }
        Ok(())
    }
}
