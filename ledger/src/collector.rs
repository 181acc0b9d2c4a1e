//! The collector: reads from the database what gauges show, every few seconds and within its own deadline, so that a scrape
//! never waits for the database. When it fails, the gauges keep their last values and the refresh gauge tells their age.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    app::{App, DatabaseSeen},
    contract::Id,
    deadline::within,
    pool::Fault,
    ports::{Rows, Value},
    stay::shape,
};

const MICROS: f64 = 1_000_000.0;

impl App {
    /// Reads the gauges once.
    ///
    /// # Errors
    /// The database, or the deadline.
    pub async fn collect(&self) -> Result<(), Fault> {
        let work = self.collect_all();
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

    async fn collect_all(&self) -> Result<(), Fault> {
        let book = &self.book;
        let mut lease = self.worker_pool.acquire().await?;
        let read = lease
            .run_all(&[
                (&book.collect_outbox, vec![]),
                (&book.collect_holds, vec![]),
                (&book.collect_jobs, vec![]),
                (&book.server_state, vec![]),
            ])
            .await?;
        let [outbox, holds, jobs, server] = read.as_slice() else {
            return Err(Fault::Db(shape("four results", &[])));
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
        if let Some([Value::Bool(standby), Value::Int(timeline)]) =
            server.rows.first().map(Vec::as_slice)
        {
            if *standby {
                lease.doubt_primary();
                return Err(Fault::NoPrimary(
                    "the server has become a standby".to_owned(),
                ));
            }
            self.metrics.set(Id::PrimaryTimeline, *timeline as f64);
        }
        let now = self.ports.clock.now().as_microsecond();
        self.metrics.set(Id::CollectorRefresh, now as f64 / MICROS);
        Ok(())
    }

    /// Collects until shutdown.
    pub(crate) async fn collect_loop(&self) {
        while !self.is_stopping() {
            // The refresh gauge and readiness tell of a failure.
            let _ = self.collect().await;
            self.pause(self.config.collect_every, None).await;
        }
    }
}

/// The one interval of a result, 0 where it has no row.
fn seconds(rows: &Rows) -> Result<f64, Fault> {
    match rows.rows.first().map(Vec::as_slice) {
        None => Ok(0.0),
        Some([Value::Interval(micros)]) => Ok((*micros).max(0) as f64 / MICROS),
        Some(row) => Err(Fault::Db(shape("interval", row))),
    }
}
