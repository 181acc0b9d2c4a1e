//! Values on PostgreSQL's wire: parameters are declared with the type of their [`Value`], columns are read by the type that the
//! server tells. A type that the ledger does not use is an error, never a guess.

use sqlx::{
    Column, Decode, Encode, Row, Type, TypeInfo, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgRow, PgTypeInfo, PgValueFormat, Postgres,
        types::{Oid, PgInterval},
    },
};
use uuid::Uuid;

use crate::ports::Value;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;

/// A parameter.
pub(super) struct Param<'a>(pub &'a Value);

impl Type<Postgres> for Param<'_> {
    fn type_info() -> PgTypeInfo {
        // Only for a parameter that does not say what it is; each does, below.
        PgTypeInfo::with_oid(Oid(705))
    }
}

impl<'q> Encode<'q, Postgres> for Param<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Bool(value) => buffer.push(u8::from(*value)),
            Value::Int(value) => buffer.extend_from_slice(&value.to_be_bytes()),
            Value::Text(value) => buffer.extend_from_slice(value.as_bytes()),
            Value::Uuid(value) => buffer.extend_from_slice(value.as_bytes()),
            Value::Date(days) => buffer.extend_from_slice(&(days - EPOCH_DAYS).to_be_bytes()),
            Value::Timestamp(micros) => {
                buffer.extend_from_slice(&(micros - EPOCH_MICROS).to_be_bytes())
            }
            Value::Interval(micros) => {
                buffer.extend_from_slice(&micros.to_be_bytes());
                buffer.extend_from_slice(&[0; 8]);
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        let oid = match self.0 {
            Value::Null => 705,
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
}

/// Reads all columns of a row.
pub(super) fn read_row(row: &PgRow) -> Result<Vec<Value>, BoxDynError> {
    (0..row.columns().len()).map(|at| read(row, at)).collect()
}

fn read(row: &PgRow, at: usize) -> Result<Value, BoxDynError> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    if raw.format() != PgValueFormat::Binary {
        return Err(format!("column {} is not in binary format", row.column(at).name()).into());
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "BOOL" => Value::Bool(<bool as Decode<Postgres>>::decode(raw)?),
        "INT4" => Value::Int(<i32 as Decode<Postgres>>::decode(raw)?.into()),
        "INT8" => Value::Int(<i64 as Decode<Postgres>>::decode(raw)?),
        "TEXT" | "VARCHAR" => Value::Text(<&str as Decode<Postgres>>::decode(raw)?.into()),
        "UUID" => Value::Uuid(<Uuid as Decode<Postgres>>::decode(raw)?),
        "DATE" => Value::Date(i32::from_be_bytes(raw.as_bytes()?.try_into()?) + EPOCH_DAYS),
        "TIMESTAMPTZ" => {
            Value::Timestamp(i64::from_be_bytes(raw.as_bytes()?.try_into()?) + EPOCH_MICROS)
        }
        "INTERVAL" => {
            let interval = <PgInterval as Decode<Postgres>>::decode(raw)?;
            if interval.months != 0 {
                return Err("an interval with months has no fixed length".into());
            }
            Value::Interval(interval.microseconds + i64::from(interval.days) * DAY_MICROS)
        }
        other => {
            return Err(format!(
                "column {}: type {other} is not used by the ledger",
                row.column(at).name()
            )
            .into());
        }
    })
}
