//! SQL types, and conversions between their values.
//!
//! Invariant: a value of a type is always the one variant of `Value` that stands for it, or NULL; `integer` is range-checked
//! wherever a value becomes one. Left out: numeric, floats, arrays, JSON, timestamps without zone, months in intervals.

use std::sync::Arc;

use jiff::{Timestamp, civil, tz::TimeZone};
use ledger::ports::Value;
use uuid::Uuid;

use super::error::{PgError, PgResult};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    Bool,
    Int4,
    Int8,
    Text,
    Uuid,
    Date,
    Timestamptz,
    Interval,
    /// What a blocking function returns: shown as an empty text.
    Void,
    /// A literal or a parameter whose context has not decided yet.
    Unknown,
}

/// Names and types of a table's or a query's columns.
pub type Columns = Vec<(Arc<str>, Type)>;

const DAY_US: i64 = 86_400_000_000;

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Bool => "boolean",
            Type::Int4 => "integer",
            Type::Int8 => "bigint",
            Type::Text => "text",
            Type::Uuid => "uuid",
            Type::Date => "date",
            Type::Timestamptz => "timestamp with time zone",
            Type::Interval => "interval",
            Type::Void => "void",
            Type::Unknown => "unknown",
        }
    }

    /// Whether a value (of a parameter) is of this type.
    pub fn admits(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (_, Value::Null)
                | (Type::Bool, Value::Bool(_))
                | (Type::Int4 | Type::Int8, Value::Int(_))
                | (Type::Text | Type::Unknown, Value::Text(_))
                | (Type::Uuid, Value::Uuid(_))
                | (Type::Date, Value::Date(_))
                | (Type::Timestamptz, Value::Timestamp(_))
                | (Type::Interval, Value::Interval(_))
        )
    }
}

fn invalid(ty: Type, text: &str) -> Box<PgError> {
    let (state, name) = match ty {
        Type::Date => ("22007", "date"),
        Type::Timestamptz => ("22007", "timestamp with time zone"),
        Type::Interval => ("22007", "interval"),
        _ => ("22P02", ty.name()),
    };
    PgError::new(
        state,
        format!("invalid input syntax for type {name}: \"{text}\""),
    )
}

/// What has the form of a date and is none is another error than what has not.
fn no_date(ty: Type, text: &str) -> Box<PgError> {
    let day = text.trim().get(..10).unwrap_or_default().as_bytes();
    let shaped = day.len() == 10
        && day.iter().enumerate().all(|(at, byte)| {
            if at == 4 || at == 7 {
                *byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    if shaped {
        return PgError::new(
            "22008",
            format!("date/time field value out of range: \"{text}\""),
        );
    }
    invalid(ty, text)
}

/// Reads a text as PostgreSQL's input function of `ty` would (in UTC, ISO dates).
pub fn parse_text(ty: Type, text: &str) -> PgResult<Value> {
    let trimmed = text.trim();
    Ok(match ty {
        Type::Text | Type::Unknown => Value::Text(text.into()),
        Type::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "yes" | "y" | "on" | "1" => Value::Bool(true),
            "f" | "false" | "no" | "n" | "off" | "0" => Value::Bool(false),
            _ => return Err(invalid(ty, text)),
        },
        Type::Int4 | Type::Int8 => {
            let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(invalid(ty, text));
            }
            match trimmed.parse::<i64>() {
                Ok(value) if ty == Type::Int8 || i32::try_from(value).is_ok() => Value::Int(value),
                _ => {
                    return Err(PgError::new(
                        "22003",
                        format!("value \"{text}\" is out of range for type {}", ty.name()),
                    ));
                }
            }
        }
        Type::Uuid => Value::Uuid(Uuid::try_parse(trimmed).map_err(|_| invalid(ty, text))?),
        Type::Date => Value::Date(days_of(
            trimmed
                .parse::<civil::Date>()
                .map_err(|_| no_date(ty, text))?,
        )),
        Type::Timestamptz => {
            Value::Timestamp(parse_timestamp(trimmed).ok_or_else(|| no_date(ty, text))?)
        }
        Type::Interval => {
            Value::Interval(parse_interval(trimmed).ok_or_else(|| invalid(ty, text))?)
        }
        Type::Void => return Err(PgError::unsupported("a literal of type void")),
    })
}

fn days_of(date: civil::Date) -> i32 {
    let epoch = civil::date(1970, 1, 1);
    (date - epoch).get_days()
}

fn date_of(days: i32) -> Option<civil::Date> {
    civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(days).ok()?)
        .ok()
}

fn parse_timestamp(text: &str) -> Option<i64> {
    let iso = text.replacen(' ', "T", 1);
    let padded = match iso.rfind(['+', '-']) {
        // PostgreSQL writes a whole-hour offset without minutes.
        Some(at) if at > 10 && iso.len() - at == 3 => format!("{iso}:00"),
        _ => iso,
    };
    if let Ok(instant) = padded.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let local = padded.parse::<civil::DateTime>().ok()?;
    Some(
        local
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_microsecond(),
    )
}

/// Quantities and units (`'1 day 2 hours'`), or `hh:mm[:ss]`; no months, whose length varies.
fn parse_interval(text: &str) -> Option<i64> {
    let mut total = 0i64;
    let mut words = text.split_whitespace();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word.contains(':') {
            total = total.checked_add(parse_clock(word)?)?;
            continue;
        }
        let split = word
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(word.len());
        let (number, unit) = word.split_at(split);
        let unit = if unit.is_empty() {
            words.next().unwrap_or("s")
        } else {
            unit
        };
        let size = match unit.to_ascii_lowercase().as_str() {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => 1,
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000,
            "d" | "day" | "days" => DAY_US,
            "w" | "week" | "weeks" => 7 * DAY_US,
            _ => return None,
        };
        total = total.checked_add(decimal_times(number, size)?)?;
    }
    any.then_some(total)
}

fn parse_clock(word: &str) -> Option<i64> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word),
    };
    let mut parts = word.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = decimal_times(parts.next().unwrap_or("0"), 1_000_000)?;
    Some(sign * (hours * 3_600_000_000 + minutes * 60_000_000 + seconds))
}

/// A decimal number times a whole one, in integers, so that every machine gives the same result.
fn decimal_times(number: &str, size: i64) -> Option<i64> {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut total = whole.parse::<i64>().ok()?.checked_mul(size)?;
    if !fraction.is_empty() {
        let digits = fraction.get(..fraction.len().min(9))?;
        let scale = 10i64.checked_pow(digits.len() as u32)?;
        total = total.checked_add(
            (i128::from(digits.parse::<i64>().ok()?) * i128::from(size) / i128::from(scale)) as i64,
        )?;
    }
    Some(sign * total)
}

/// PostgreSQL's text of a value, in UTC.
pub fn to_text(value: &Value) -> Option<Arc<str>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => if *value { "true" } else { "false" }.into(),
        Value::Int(value) => value.to_string().into(),
        Value::Text(text) => text.clone(),
        Value::Uuid(uuid) => uuid.to_string().into(),
        Value::Date(days) => match date_of(*days) {
            Some(date) => date.to_string().into(),
            None => days.to_string().into(),
        },
        Value::Timestamp(us) => match Timestamp::from_microsecond(*us) {
            Ok(instant) => {
                let text = instant.to_zoned(TimeZone::UTC).datetime().to_string();
                format!("{}+00", text.replacen('T', " ", 1)).into()
            }
            Err(_) => us.to_string().into(),
        },
        Value::Interval(us) => interval_text(*us).into(),
    })
}

fn interval_text(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let abs = us.unsigned_abs();
    let (seconds, micros) = (abs / 1_000_000, abs % 1_000_000);
    let mut text = format!(
        "{sign}{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if micros > 0 {
        text.push_str(format!(".{micros:06}").trim_end_matches('0'));
    }
    text
}

/// How far a conversion may go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// Whether PostgreSQL converts `from` to `to` in this context.
pub fn castable(from: Type, to: Type, context: CastContext) -> bool {
    use Type::*;
    from == to
        || match (from, to) {
            (Unknown, _) | (Int4, Int8) | (Date, Timestamptz) => true,
            (Int8, Int4) | (Timestamptz, Date) => context >= CastContext::Assignment,
            (_, Text) => context >= CastContext::Assignment,
            (Text, _) | (Int4, Bool) | (Bool, Int4) => context == CastContext::Explicit,
            _ => false,
        }
}

/// Converts a value; `castable` has said that the pair exists.
pub fn cast(value: Value, to: Type) -> PgResult<Value> {
    Ok(match (value, to) {
        (Value::Null, _) => Value::Null,
        (Value::Int(value), Type::Int4) => int4(value)?,
        (Value::Int(value), Type::Bool) => Value::Bool(value != 0),
        (Value::Bool(value), Type::Int4 | Type::Int8) => Value::Int(value.into()),
        (Value::Date(days), Type::Timestamptz) => Value::Timestamp(i64::from(days) * DAY_US),
        (Value::Timestamp(us), Type::Date) => Value::Date(us.div_euclid(DAY_US) as i32),
        (Value::Text(text), Type::Text | Type::Unknown) => Value::Text(text),
        (Value::Text(text), _) => parse_text(to, &text)?,
        (value, Type::Text) => to_text(&value).map_or(Value::Null, Value::Text),
        (value, _) => value,
    })
}

pub fn int4(value: i64) -> PgResult<Value> {
    if i32::try_from(value).is_err() {
        return Err(PgError::new("22003", "integer out of range"));
    }
    Ok(Value::Int(value))
}
