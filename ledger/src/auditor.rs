//! The overbooking auditor: counts allocations against what may be sold, so that it also sees what was written past the service.
//! It alone increments `inventory_overbooking_actual_total`, once per oversold night and pass.
//!
//! A pass looks at the stays that changed since the pass before and at the nights known to be oversold; at the start and every
//! hour at everything. Invariant: each change is looked at once after its commit, even one whose transaction took most of the
//! window: passes read the whole window and leave out the changes that an earlier one has counted.

use std::{collections::BTreeSet, time::Duration};

use jiff::tz::TimeZone;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::App,
    contract::Id,
    leadership::Held,
    pool::Fault,
    ports::{Statement, Value},
    stay::{Stay, days_of, shape},
};

/// What one pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether this instance leads; if not, another does the work.
    pub leader: bool,
    /// Whether everything was looked at.
    pub full: bool,
    /// Oversold room-nights.
    pub oversold: u64,
}

/// A stay as one change left it: allocation, version, nights. All of it counts, for a writer that forgets the version.
type Change = (Uuid, i64, Stay);

/// What the auditor remembers while it leads.
#[derive(Default)]
pub(crate) struct Memory {
    oversold: BTreeSet<(Uuid, i32)>,
    /// The changes of the last pass's window: all of them were audited. No older ones, so it stays small.
    audited: BTreeSet<Change>,
    last_full: Option<Duration>,
}

impl App {
    /// One pass, if this instance leads or can.
    ///
    /// # Errors
    /// The database; the lead is given up.
    pub async fn audit(&self) -> Result<Audit, Fault> {
        let mut seat = self.audit_seat.sit().await;
        let result = self.audit_all(&mut seat).await;
        if result.is_err() {
            seat.stand_up();
        }
        result
    }

    async fn audit_all(&self, seat: &mut Held<Memory>) -> Result<Audit, Fault> {
        if !self.audit_seat.lead(self, seat).await? {
            return Ok(Audit::default());
        }
        let now = self.ports.clock.monotonic();
        let full = seat
            .memory
            .last_full
            .is_none_or(|last| now.saturating_sub(last) >= self.config.audit_full_every);
        let mut changes = None;
        let ranges = if full {
            self.bounded(self.everything(seat)).await?
        } else {
            let window = self.bounded(self.changed(seat)).await?;
            let fresh = window.difference(&seat.memory.audited);
            let ranges = merged(fresh.map(|(_, _, stay)| *stay), &seat.memory.oversold);
            changes = Some(window);
            ranges
        };
        let oversold = self.bounded(self.oversold(seat, &ranges)).await?;
        let count = oversold.len() as u64;
        self.metrics.add(Id::OverbookingActual, count);
        seat.memory.oversold = oversold;
        // Only now: a pass that failed audited nothing.
        if let Some(window) = changes {
            seat.memory.audited = window;
        }
        if full {
            seat.memory.last_full = Some(now);
        }
        let job = [Value::Text("audit-overbooking".into())];
        self.bounded(seat.session()?.run(&self.book.job_succeeded, &job))
            .await?;
        Ok(Audit {
            leader: true,
            full,
            oversold: count,
        })
    }

    async fn everything(&self, seat: &mut Held<Memory>) -> Result<Vec<Stay>, Fault> {
        let today = days_of(TimeZone::UTC.to_datetime(self.ports.clock.now()).date());
        let rows = seat
            .session()?
            .run(&self.book.audit_room_types, &[])
            .await?;
        let read = |row: &Vec<Value>| match row.as_slice() {
            [Value::Uuid(room_type)] => Ok(Stay {
                room_type: *room_type,
                // The night that is not over yet began yesterday.
                arrival: today - 1,
                departure: today + self.config.audit_horizon_days as i32,
            }),
            _ => Err(Fault::Db(shape("room_type_id", row))),
        };
        rows.rows.iter().map(read).collect()
    }

    async fn changed(&self, seat: &mut Held<Memory>) -> Result<BTreeSet<Change>, Fault> {
        let seconds = [Value::Int(self.config.audit_window.as_secs() as i64)];
        let rows = seat
            .session()?
            .run(&self.book.audit_changed, &seconds)
            .await?;
        let read = |row: &Vec<Value>| match row.as_slice() {
            [Value::Uuid(allocation), Value::Int(version), stay @ ..] => {
                Ok((*allocation, *version, Stay::from_row(stay)?))
            }
            _ => Err(Fault::Db(shape("allocation_id, version, …", row))),
        };
        rows.rows.iter().map(read).collect()
    }

    async fn oversold(
        &self,
        seat: &mut Held<Memory>,
        ranges: &[Stay],
    ) -> Result<BTreeSet<(Uuid, i32)>, Fault> {
        let batch: Vec<(&Statement, Vec<Value>)> = ranges
            .iter()
            .map(|range| (&self.book.audit_oversold, range.params()))
            .collect();
        let mut found = BTreeSet::new();
        if batch.is_empty() {
            return Ok(found);
        }
        let results = seat.session()?.run_all(&batch).await?;
        for (range, rows) in ranges.iter().zip(&results) {
            for row in &rows.rows {
                match row.as_slice() {
                    [Value::Date(night), Value::Int(_), Value::Int(_)] => {
                        found.insert((range.room_type, *night));
                    }
                    _ => return Err(Fault::Db(shape("night, limit_rooms, sold", row))),
                }
            }
        }
        Ok(found)
    }

    /// Runs passes until shutdown.
    pub(crate) async fn audit_loop(&self) {
        while !self.is_stopping() {
            // A failed pass shows in `pg_errors_total` and in the age of the job's last success; the next one tries again.
            let pause = match self.audit().await {
                Ok(Audit { leader: false, .. }) => self.config.leadership_retry,
                Ok(_) | Err(_) => self.config.audit_every,
            };
            self.pause(pause, None).await;
        }
        self.audit_seat.sit().await.stand_up();
    }
}

/// The ranges of nights per room type that cover the stays and the nights and no others: counting a night costs more than asking
/// for a range.
fn merged(stays: impl Iterator<Item = Stay>, nights: &BTreeSet<(Uuid, i32)>) -> Vec<Stay> {
    let known = nights.iter().map(|&(room_type, night)| Stay {
        room_type,
        arrival: night,
        departure: night + 1,
    });
    let mut ranges: Vec<Stay> = stays.chain(known).collect();
    // By room type, then arrival: `Stay` orders by its fields.
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let touches = next.room_type == last.room_type && next.arrival <= last.departure;
        if touches {
            last.departure = last.departure.max(next.departure);
        }
        touches
    });
    ranges
}
