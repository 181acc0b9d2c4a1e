//! The sweeper: ends holds whose time is over. Candidates are read first, across tenants; each is then locked, unless somebody
//! holds it, and re-checked by the state guard, in a transaction of its own under its tenant. Where the nights are in use for too
//! long, the same run comes back to it while it has time: otherwise locks that come and go could outlast one run after the other.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::App,
    contract::{Id, Success},
    outbox::{Event, EventKind},
    pool::{Fault, Lease},
    ports::{DbError, Value},
    stay::{Stay, date_of, shape},
    transaction::{Abort, Work},
};

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sweep {
    /// Holds expired.
    pub expired: u64,
    /// Candidates that somebody held, or that had changed since they were read.
    pub skipped: u64,
    /// Candidates whose rows were in use for too long, also when this run came back to them, or for which it had no time left;
    /// the next run tries again.
    pub postponed: u64,
}

struct Candidate {
    tenant: Uuid,
    allocation: Uuid,
    late: Duration,
}

struct ExpireWork(Uuid);

impl Work for ExpireWork {
    /// Whether it was expired, or else skipped.
    type Out = bool;

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<bool, Abort> {
        let id = Value::Uuid(self.0);
        let locked = lease
            .run(&app.book.sweep_lock, std::slice::from_ref(&id))
            .await?;
        if locked.rows.is_empty() {
            return Ok(false);
        }
        let expired = lease.run(&app.book.expire_allocation, &[id]).await?;
        let Some(row) = expired.rows.first() else {
            return Ok(false);
        };
        let stay = Stay::from_row(row)?;
        let payload = serde_json::json!({
            "allocation_id": self.0, "room_type_id": stay.room_type, "arrival": date_of(stay.arrival),
            "departure": date_of(stay.departure),
        });
        let event = Event::new(self.0, EventKind::Expired, &payload);
        app.change_nights(
            lease,
            &app.book.release_nights,
            &stay,
            vec![event.insert(app)],
        )
        .await?;
        Ok(true)
    }
}

impl App {
    /// One run of the sweeper. A run that reads its candidates and tries each to its end is recorded as a success.
    ///
    /// # Errors
    /// The database is not there.
    pub async fn sweep(&self) -> Result<Sweep, Fault> {
        let result = self.sweep_all().await;
        let outcome = if result.is_ok() {
            Success::Ok
        } else {
            Success::Error
        };
        self.metrics.inc(Id::SweeperRuns, outcome as usize);
        result
    }

    async fn sweep_all(&self) -> Result<Sweep, Fault> {
        let clock = &*self.ports.clock;
        let end = clock.monotonic() + self.config.sweep_deadline;
        // Who comes back to what was in use must be done by the end, and each attempt may take its whole time.
        let last_return = end.saturating_sub(self.config.attempt_deadline);
        let mut done = Sweep::default();
        let mut blocked = Vec::new();
        loop {
            let candidates = self.bounded(self.sweep_candidates()).await?;
            let more = candidates.len() == self.config.sweep_batch as usize;
            let before = done.expired;
            self.sweep_each(candidates, end, &mut done, &mut blocked)
                .await?;
            // A batch of which nothing could be expired would only be read again.
            if !more || done.expired == before || clock.monotonic() >= end {
                break;
            }
        }
        while !blocked.is_empty() && clock.monotonic() < last_return {
            clock.sleep(self.config.retry_backoff).await;
            let again = std::mem::take(&mut blocked);
            self.sweep_each(again, end, &mut done, &mut blocked).await?;
        }
        done.postponed = blocked.len() as u64;
        self.bounded(self.job_succeeded("expire-holds")).await?;
        Ok(done)
    }

    /// Tries each candidate until the run's end; adds those whose rows are in use to `blocked`, once.
    async fn sweep_each(
        &self,
        candidates: Vec<Candidate>,
        end: Duration,
        done: &mut Sweep,
        blocked: &mut Vec<Candidate>,
    ) -> Result<(), Fault> {
        for candidate in candidates {
            let known = |other: &Candidate| other.allocation == candidate.allocation;
            let late = self.ports.clock.monotonic() >= end;
            if !blocked.iter().any(known) && (late || self.sweep_one(&candidate, done).await?) {
                blocked.push(candidate);
            }
        }
        Ok(())
    }

    /// Whether it is to be tried again.
    async fn sweep_one(&self, candidate: &Candidate, done: &mut Sweep) -> Result<bool, Fault> {
        let work = ExpireWork(candidate.allocation);
        match self
            .attempt(&self.app_pool, Some(candidate.tenant), &work, 0)
            .await
        {
            Ok(true) => {
                done.expired += 1;
                self.metrics.add(Id::HoldsExpired, 1);
                self.metrics
                    .observe(Id::HoldExpiryLag, 0, candidate.late.as_secs_f64());
                self.relay_wake.notify_one();
                Ok(false)
            }
            Ok(false) => {
                done.skipped += 1;
                self.metrics.add(Id::SweeperSkipped, 1);
                Ok(false)
            }
            Err(Abort::Fault(Fault::Db(DbError::Server { sqlstate, .. })))
                if matches!(sqlstate.as_str(), "55P03" | "57014" | "40P01") =>
            {
                Ok(true)
            }
            Err(Abort::Fault(fault)) => Err(fault),
            Err(Abort::Refused(_) | Abort::Again) => Ok(true),
        }
    }

    async fn sweep_candidates(&self) -> Result<Vec<Candidate>, Fault> {
        let mut lease = self.worker_pool.acquire().await?;
        let limit = [Value::Int(self.config.sweep_batch.into())];
        let rows = lease.run(&self.book.sweep_candidates, &limit).await?;
        let read = |row: &Vec<Value>| match row.as_slice() {
            [
                Value::Uuid(tenant),
                Value::Uuid(allocation),
                Value::Interval(late),
            ] => Ok(Candidate {
                tenant: *tenant,
                allocation: *allocation,
                late: Duration::from_micros((*late).max(0) as u64),
            }),
            _ => Err(Fault::Db(shape("tenant_id, allocation_id, late", row))),
        };
        rows.rows.iter().map(read).collect()
    }

    /// Records that a job ran to its end.
    pub(crate) async fn job_succeeded(&self, job: &str) -> Result<(), Fault> {
        let mut lease = self.worker_pool.acquire().await?;
        lease
            .run(&self.book.job_succeeded, &[Value::Text(job.into())])
            .await?;
        Ok(())
    }
}
