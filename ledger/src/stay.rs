//! Words of the domain: stays, channels, allocations, and how they appear as SQL values and JSON.

use jiff::{Timestamp, ToSpan, civil::Date};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    contract::ChannelLabel,
    ports::{DbError, Value},
};

/// Longest stay in nights; the schema has the same bound.
pub const NIGHTS_MAX: i32 = 30;

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days since 1970-01-01.
pub fn days_of(date: Date) -> i32 {
    // A span between two dates is a whole number of days, and all of jiff's dates fit.
    (EPOCH.duration_until(date).as_hours() / 24) as i32
}

/// The date that many days after 1970-01-01; `None` beyond the calendar.
pub fn date_of(days: i32) -> Option<Date> {
    EPOCH.checked_add(days.days()).ok()
}

/// Nights of one room type: arrival inclusive, departure exclusive, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stay {
    /// The room type.
    pub room_type: Uuid,
    /// First night.
    pub arrival: i32,
    /// Day after the last night.
    pub departure: i32,
}

impl Stay {
    /// Number of nights.
    pub fn nights(&self) -> i32 {
        self.departure - self.arrival
    }

    /// The three parameters that many statements begin with.
    pub fn params(&self) -> Vec<Value> {
        vec![
            Value::Uuid(self.room_type),
            Value::Date(self.arrival),
            Value::Date(self.departure),
        ]
    }

    /// Reads `room_type_id, arrival, departure`.
    ///
    /// # Errors
    /// A row of another shape.
    pub fn from_row(row: &[Value]) -> Result<Self, DbError> {
        match row {
            [
                Value::Uuid(room_type),
                Value::Date(arrival),
                Value::Date(departure),
            ] => Ok(Self {
                room_type: *room_type,
                arrival: *arrival,
                departure: *departure,
            }),
            _ => Err(shape("room_type_id, arrival, departure", row)),
        }
    }
}

/// A row that the code cannot read: a statement was changed without the code.
pub fn shape(wanted: &str, row: &[Value]) -> DbError {
    DbError::Server {
        sqlstate: "XX000".to_owned(),
        message: format!("row of another shape: wanted ({wanted}), got {row:?}"),
        constraint: None,
    }
}

/// The bounded label of a channel's name.
pub fn channel_label(channel: &str) -> ChannelLabel {
    use ChannelLabel::*;
    [Direct, Channel, WalkIn]
        .into_iter()
        .find(|known| known.as_str() == channel)
        .unwrap_or(Other)
}

/// One allocation as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Its id.
    pub allocation_id: Uuid,
    /// `held`, `confirmed`, `released`, `expired` or `cancelled`.
    pub status: String,
    /// The room type.
    pub room_type_id: Uuid,
    /// The room, once confirmed.
    pub room_id: Option<Uuid>,
    /// First night.
    pub arrival: Date,
    /// Day after the last night.
    pub departure: Date,
    /// Number of nights.
    pub nights: i32,
    /// Where it came from.
    pub channel: String,
    /// When the hold ends, by the database's clock; none once it is no hold any more.
    pub hold_until: Option<Timestamp>,
}

impl Allocation {
    /// Reads a row of `allocation_get`.
    ///
    /// # Errors
    /// A row of another shape.
    pub fn from_row(row: &[Value]) -> Result<Self, DbError> {
        const COLUMNS: &str =
            "allocation_id, room_type_id, room_id, arrival, departure, channel, status, hold_until";
        let [
            Value::Uuid(allocation_id),
            Value::Uuid(room_type_id),
            room_id,
            Value::Date(arrival),
            Value::Date(departure),
            Value::Text(channel),
            Value::Text(status),
            hold_until,
        ] = row
        else {
            return Err(shape(COLUMNS, row));
        };
        let (Some(first), Some(last)) = (date_of(*arrival), date_of(*departure)) else {
            return Err(shape(COLUMNS, row));
        };
        Ok(Self {
            allocation_id: *allocation_id,
            status: status.to_string(),
            room_type_id: *room_type_id,
            room_id: match room_id {
                Value::Uuid(id) => Some(*id),
                _ => None,
            },
            arrival: first,
            departure: last,
            nights: departure - arrival,
            channel: channel.to_string(),
            hold_until: match hold_until {
                Value::Timestamp(micros) => Timestamp::from_microsecond(*micros).ok(),
                _ => None,
            },
        })
    }
}
