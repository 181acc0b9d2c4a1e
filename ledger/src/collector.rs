//! The collector: reads from the database what gauges show and who has series of their own, every few seconds and within its own
//! deadline, so that a scrape never waits for the database. When it fails, the gauges keep their last values and the refresh gauge
//! tells their age.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    app::{App, DatabaseSeen},
    contract::{Id, Registry},
    deadline::within,
    pool::Fault,
    ports::{Rows, Value},
    stay::shape,
};

const MICROS: f64 = 1_000_000.0;
/// Who has series of their own changes rarely: once in so many collections it is asked.
const MEMBERS_ONCE_IN: u32 = 12;

impl App {
    /// Reads the gauges once, and who has series of their own.
    ///
    /// # Errors
    /// The database, or the deadline.
    pub async fn collect(&self) -> Result<(), Fault> {
        self.collect_these(true).await
    }

    async fn collect_these(&self, members: bool) -> Result<(), Fault> {
        let work = self.collect_all(members);
        let result = within(&*self.ports.clock, self.config.collect_deadline, work)
            .await
            .unwrap_or(Err(Fault::Late));
        let seen = if result.is_ok() {
            DatabaseSeen::Working
        } else {
            DatabaseSeen::Failing
        };
        // Readiness waits for the first success; afterwards a failure is a warning.
        if result.is_ok() || self.database_seen.load(Relaxed) != DatabaseSeen::Never as u8 {
            self.database_seen.store(seen as u8, Relaxed);
        }
        result
    }

    async fn collect_all(&self, with_members: bool) -> Result<(), Fault> {
        let book = &self.book;
        let mut lease = self.worker_pool.acquire().await?;
        let micros = || self.ports.clock.now().as_microsecond();
        let asked = micros();
        let mut batch = vec![
            (&book.collect_outbox, vec![]),
            (&book.collect_holds, vec![]),
            (&book.collect_jobs, vec![]),
            (&book.server_state, vec![]),
        ];
        if with_members {
            batch.push((&book.collect_members, vec![]));
        }
        let read = lease.run_all(&batch).await?;
        let answered = micros();
        let [outbox, holds, jobs, server, members @ ..] = read.as_slice() else {
            return Err(Fault::Db(shape("four results or five", &[])));
        };
        self.metrics.set(Id::OutboxOldest, seconds(outbox)?);
        self.metrics.set(Id::HoldExpiryOldest, seconds(holds)?);
        for row in &jobs.rows {
            if let [Value::Text(job), Value::Timestamp(at)] = row.as_slice()
                && **job == *"expire-holds"
            {
                self.metrics
                    .set(Id::SweeperLastSuccess, *at as f64 / MICROS);
            }
        }
        if let Some(
            [
                Value::Bool(standby),
                Value::Int(timeline),
                Value::Timestamp(clock),
            ],
        ) = server.rows.first().map(Vec::as_slice)
        {
            if *standby {
                lease.doubt_primary();
                return Err(Fault::NoPrimary(
                    "the server has become a standby".to_owned(),
                ));
            }
            self.metrics.set(Id::PrimaryTimeline, *timeline as f64);
            let ahead = drift((asked, answered), *clock);
            self.metrics.set(Id::ClockDrift, ahead as f64 / MICROS);
        }
        for row in members.iter().flat_map(|members| &members.rows) {
            let [Value::Uuid(tenant), Value::Uuid(property)] = row.as_slice() else {
                return Err(Fault::Db(shape("tenant, property", row)));
            };
            self.metrics.admit(Registry::Tenant, &tenant.to_string());
            self.metrics
                .admit(Registry::Property, &property.to_string());
        }
        let now = self.ports.clock.now().as_microsecond();
        self.metrics.set(Id::CollectorRefresh, now as f64 / MICROS);
        Ok(())
    }

    /// Collects until shutdown.
    pub(crate) async fn collect_loop(&self) {
        let mut until_members = 0_u32;
        while !self.is_stopping() {
            // The refresh gauge and readiness tell of a failure; what was not read is asked again the next time.
            until_members = match self.collect_these(until_members == 0).await {
                Ok(()) => until_members.checked_sub(1).unwrap_or(MEMBERS_ONCE_IN - 1),
                Err(_) => 0,
            };
            self.pause(self.config.collect_every, None).await;
        }
    }
}

/// How far this host's clock is ahead of the database's, which stood at `clock` at some instant between the question and its answer:
/// the least difference that is possible, so that a slow answer is no drift.
fn drift((asked, answered): (i64, i64), clock: i64) -> i64 {
    // A clock that was set back while it waited has answered before it asked.
    clock.clamp(asked.min(answered), asked.max(answered)) - clock
}

/// The one interval of a result, 0 where it has no row.
fn seconds(rows: &Rows) -> Result<f64, Fault> {
    match rows.rows.first().map(Vec::as_slice) {
        None => Ok(0.0),
        Some([Value::Interval(micros)]) => Ok((*micros).max(0) as f64 / MICROS),
        Some(row) => Err(Fault::Db(shape("interval", row))),
    }
}

#[cfg(test)]
mod tests {
    use super::drift;

    #[test]
    fn a_slow_answer_is_no_drift_and_a_drift_is_the_least_that_is_possible() {
        let rows = [
            ((100, 900), 100, 0),
            ((100, 900), 500, 0),
            ((100, 900), 900, 0),
            ((100, 900), 30, 70),
            ((100, 900), 950, -50),
            ((900, 100), 500, 0),
            ((900, 100), 1_000, -100),
        ];
        for (waited, clock, ahead) in rows {
            assert_eq!(drift(waited, clock), ahead, "{waited:?} {clock}");
        }
    }
}
