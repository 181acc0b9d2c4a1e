//! The overbooking auditor: counts allocations against what may be sold, so that it also sees what was written past the service.
//! It alone increments `inventory_overbooking_actual_total`, once per oversold night and pass.
//!
//! A pass looks at the stays changed lately and at the nights known to be oversold; at the start and every hour at everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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

/// Ranges of nights closer than this are read together.
const GAP_NIGHTS: i32 = 7;

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

/// What the auditor remembers while it leads.
#[derive(Default)]
pub(crate) struct Memory {
    oversold: BTreeSet<(Uuid, i32)>,
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
        let ranges = if full {
            self.bounded(self.everything(seat)).await?
        } else {
            let changed = self.bounded(self.changed(seat)).await?;
            merged(changed, &seat.memory.oversold)
        };
        let oversold = self.bounded(self.oversold(seat, &ranges)).await?;
        let count = oversold.len() as u64;
        self.metrics.add(Id::OverbookingActual, count);
        seat.memory.oversold = oversold;
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

    async fn changed(&self, seat: &mut Held<Memory>) -> Result<Vec<Stay>, Fault> {
        let seconds = [Value::Int(self.config.audit_window.as_secs() as i64)];
        let rows = seat
            .session()?
            .run(&self.book.audit_changed, &seconds)
            .await?;
        rows.rows
            .iter()
            .map(|row| Stay::from_row(row).map_err(Fault::Db))
            .collect()
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

/// Ranges of nights per room type that cover the stays and the nights, those close together as one.
fn merged(stays: Vec<Stay>, nights: &BTreeSet<(Uuid, i32)>) -> Vec<Stay> {
    let mut by_type: BTreeMap<Uuid, Vec<(i32, i32)>> = BTreeMap::new();
    for stay in stays {
        by_type
            .entry(stay.room_type)
            .or_default()
            .push((stay.arrival, stay.departure));
    }
    for (room_type, night) in nights {
        by_type
            .entry(*room_type)
            .or_default()
            .push((*night, night + 1));
    }
    let mut merged: Vec<Stay> = Vec::new();
    for (room_type, mut ranges) in by_type {
        ranges.sort_unstable();
        for (arrival, departure) in ranges {
            match merged.last_mut() {
                Some(last)
                    if last.room_type == room_type && arrival <= last.departure + GAP_NIGHTS =>
                {
                    last.departure = last.departure.max(departure);
                }
                _ => merged.push(Stay {
                    room_type,
                    arrival,
                    departure,
                }),
            }
        }
    }
    merged
}
