//! The ledger's values in PostgreSQL's binary format, both ways.
//!
//! Invariant: what `decode_row` returns is what the server has; nothing is rounded. Left out: months in intervals, which no
//! difference of two timestamps has.

use ledger::ports::Value;
use sqlx::{
    Column, Decode, Encode, Postgres, Row, Type, TypeInfo, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};
use uuid::Uuid;

/// A row's values.
///
/// # Errors
/// Names the column whose type the ledger's values do not have.
pub fn decode_row(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.columns().len())
        .map(|index| {
            decode(row.try_get_raw(index)?).map_err(|source| sqlx::Error::ColumnDecode {
                index: row.columns()[index].name().to_owned(),
                source,
            })
        })
        .collect()
}

/// From 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const DAY_US: i64 = 86_400_000_000;

fn decode(raw: PgValueRef<'_>) -> Result<Value, BoxDynError> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let bytes = raw.as_bytes()?;
    let long = || <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes);
    let int = || <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes);
    Ok(match kind.as_str() {
        "BOOL" => Value::Bool(bytes != [0]),
        "INT4" => Value::Int(int()?.into()),
        "INT8" => Value::Int(long()?),
        "TEXT" => Value::Text(String::decode(raw)?.into()),
        "UUID" => Value::Uuid(Uuid::from_slice(bytes)?),
        "DATE" => Value::Date(int()? + EPOCH_DAYS),
        "TIMESTAMPTZ" => Value::Timestamp(long()? + i64::from(EPOCH_DAYS) * DAY_US),
        "INTERVAL" => {
            let (us, rest) = bytes.split_at_checked(8).ok_or("a short interval")?;
            let (days, months) = rest.split_at_checked(4).ok_or("a short interval")?;
            if months != [0; 4] {
                return Err("an interval with months is no difference of two timestamps".into());
            }
            let days = i64::from(i32::from_be_bytes(days.try_into()?));
            Value::Interval(i64::from_be_bytes(us.try_into()?) + days * DAY_US)
        }
        other => return Err(format!("a column of type {other} is not read here").into()),
    })
}

/// A parameter in PostgreSQL's binary format.
pub struct Bound(pub Value);

impl Type<Postgres> for Bound {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Bound {
    fn produces(&self) -> Option<PgTypeInfo> {
        let oid = match self.0 {
            Value::Null => 0,
            Value::Bool(_) => 16,
            Value::Int(_) => 20,
            Value::Text(_) => 25,
            Value::Uuid(_) => 2950,
            Value::Date(_) => 1082,
            Value::Timestamp(_) => 1184,
            Value::Interval(_) => 1186,
        };
        Some(PgTypeInfo::with_oid(Oid(oid)))
    }

    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Bool(value) => buffer.push(u8::from(*value)),
            Value::Int(value) => buffer.extend(value.to_be_bytes()),
            Value::Text(value) => buffer.extend(value.as_bytes()),
            Value::Uuid(value) => buffer.extend(value.as_bytes()),
            Value::Date(value) => buffer.extend((value - EPOCH_DAYS).to_be_bytes()),
            Value::Timestamp(value) => {
                buffer.extend((value - i64::from(EPOCH_DAYS) * DAY_US).to_be_bytes())
            }
            Value::Interval(_) => return Err("no statement takes an interval".into()),
        }
        Ok(IsNull::No)
    }
}
