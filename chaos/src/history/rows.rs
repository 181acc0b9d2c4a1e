//! Rows of a commit as the domain knows them.
//!
//! Invariant: columns are read by their place in the ledger's migrations; a value of another type is an error, never a default.
//! Tables that nobody judges keep only their tenant.

use std::sync::Arc;

use ledger::ports::Value;
use uuid::Uuid;

use crate::recording::RowChange;

/// State of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Held until its end.
    Held,
    /// Booked.
    Confirmed,
    /// Given back.
    Released,
    /// Ended by the sweeper.
    Expired,
    /// Booked and given back.
    Cancelled,
}

impl Status {
    /// Reads it as tables and API spell it.
    pub fn parse(text: &str) -> Option<Status> {
        Some(match text {
            "held" => Status::Held,
            "confirmed" => Status::Confirmed,
            "released" => Status::Released,
            "expired" => Status::Expired,
            "cancelled" => Status::Cancelled,
            _ => return None,
        })
    }

    /// Whether it takes a room.
    pub fn active(self) -> bool {
        matches!(self, Status::Held | Status::Confirmed)
    }

    /// Whether the state may follow `self`; staying is always allowed.
    pub fn may_become(self, next: Status) -> bool {
        use Status::{Cancelled, Confirmed, Expired, Held, Released};
        self == next
            || matches!(
                (self, next),
                (Held, Confirmed | Released | Expired) | (Confirmed, Cancelled)
            )
    }
}

/// A row of `room_allocations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// `allocation_id`.
    pub id: Uuid,
    /// Owner.
    pub tenant: Uuid,
    /// Room type.
    pub room_type: Uuid,
    /// Assigned room.
    pub room: Option<Uuid>,
    /// First night, in days since 1970-01-01.
    pub arrival: i32,
    /// Day after the last night.
    pub departure: i32,
    /// State.
    pub status: Status,
    /// End of the hold, microseconds since the Unix epoch.
    pub hold_until: Option<i64>,
}

/// A row of `room_type_inventory_daily`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Night {
    /// Room type.
    pub room_type: Uuid,
    /// Days since 1970-01-01.
    pub night: i32,
    /// Capacity and policy together.
    pub limit: i64,
    /// The row's counters, held and confirmed together.
    pub sold: i64,
}

/// A row of `outbox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// `outbox_id`.
    pub id: i64,
    /// Owner.
    pub tenant: Uuid,
    /// Ordering key.
    pub key: Uuid,
    /// Event type.
    pub subject: Arc<str>,
    /// JSON.
    pub payload: Arc<str>,
    /// Whether `published_at` is set.
    pub published: bool,
}

/// A row of `idempotency_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Owner.
    pub tenant: Uuid,
    /// `idempotency_key`.
    pub key: Arc<str>,
    /// The allocation that answers it.
    pub allocation: Uuid,
}

/// A row before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// `room_allocations`.
    Allocation {
        /// Before.
        before: Option<Allocation>,
        /// After.
        after: Option<Allocation>,
    },
    /// `room_type_inventory_daily`.
    Night {
        /// Before.
        before: Option<Night>,
        /// After.
        after: Option<Night>,
    },
    /// `outbox`.
    Outbox {
        /// Before.
        before: Option<OutboxRow>,
        /// After.
        after: Option<OutboxRow>,
    },
    /// `idempotency_keys`.
    Key {
        /// Before.
        before: Option<KeyRow>,
        /// After.
        after: Option<KeyRow>,
    },
    /// Any other table.
    Other,
}

/// One changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Table.
    pub table: Arc<str>,
    /// Owner before, where the table has one.
    pub tenant_before: Option<Uuid>,
    /// Owner after.
    pub tenant_after: Option<Uuid>,
    /// The row.
    pub row: Row,
}

impl Change {
    /// Reads a recorded row.
    ///
    /// # Errors
    /// The table and the column that has another type than the schema says.
    pub fn read(change: &RowChange) -> Result<Change, String> {
        let table = &*change.table;
        let (before, after) = (
            Columns::of(table, &change.before),
            Columns::of(table, &change.after),
        );
        let tenant_column = match table {
            "room_type_inventory_daily" | "idempotency_keys" | "tenant_freezes" | "audit_log" => {
                Some(0)
            }
            "job_runs" => None,
            _ => Some(1),
        };
        let tenant = |row: &Option<Columns>| match (row, tenant_column) {
            (Some(row), Some(column)) => row.uuid(column).map(Some),
            _ => Ok(None),
        };
        fn each<T>(
            row: &Option<Columns>,
            read: impl Fn(&Columns) -> Result<T, String>,
        ) -> Result<Option<T>, String> {
            row.as_ref().map(read).transpose()
        }
        let row = match table {
            "room_allocations" => Row::Allocation {
                before: each(&before, allocation)?,
                after: each(&after, allocation)?,
            },
            "room_type_inventory_daily" => Row::Night {
                before: each(&before, night)?,
                after: each(&after, night)?,
            },
            "outbox" => Row::Outbox {
                before: each(&before, outbox)?,
                after: each(&after, outbox)?,
            },
            "idempotency_keys" => Row::Key {
                before: each(&before, key)?,
                after: each(&after, key)?,
            },
            _ => Row::Other,
        };
        Ok(Change {
            table: change.table.clone(),
            tenant_before: tenant(&before)?,
            tenant_after: tenant(&after)?,
            row,
        })
    }

    /// Turns it into the change that undoes it.
    pub fn reverse(&mut self) {
        std::mem::swap(&mut self.tenant_before, &mut self.tenant_after);
        match &mut self.row {
            Row::Allocation { before, after } => std::mem::swap(before, after),
            Row::Night { before, after } => std::mem::swap(before, after),
            Row::Outbox { before, after } => std::mem::swap(before, after),
            Row::Key { before, after } => std::mem::swap(before, after),
            Row::Other => {}
        }
    }
}

/// One row image and its table's name, for messages.
struct Columns<'a> {
    table: &'a str,
    values: &'a [Value],
}

impl<'a> Columns<'a> {
    fn of(table: &'a str, row: &'a Option<Arc<[Value]>>) -> Option<Self> {
        row.as_deref().map(|values| Columns { table, values })
    }

    fn wrong(&self, column: usize, wanted: &str) -> String {
        let found = self.values.get(column);
        format!(
            "{}: column {} should be {wanted}, found {found:?}",
            self.table,
            column + 1
        )
    }

    fn uuid(&self, column: usize) -> Result<Uuid, String> {
        match self.values.get(column) {
            Some(Value::Uuid(id)) => Ok(*id),
            _ => Err(self.wrong(column, "a uuid")),
        }
    }

    fn date(&self, column: usize) -> Result<i32, String> {
        match self.values.get(column) {
            Some(Value::Date(days)) => Ok(*days),
            _ => Err(self.wrong(column, "a date")),
        }
    }

    fn int(&self, column: usize) -> Result<i64, String> {
        match self.values.get(column) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(self.wrong(column, "an integer")),
        }
    }

    fn text(&self, column: usize) -> Result<&'a Arc<str>, String> {
        match self.values.get(column) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.wrong(column, "text")),
        }
    }

    fn nullable<T>(
        &self,
        column: usize,
        read: impl Fn(&Self, usize) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.values.get(column) {
            Some(Value::Null) => Ok(None),
            _ => read(self, column).map(Some),
        }
    }

    fn timestamp(&self, column: usize) -> Result<i64, String> {
        match self.values.get(column) {
            Some(Value::Timestamp(us)) => Ok(*us),
            _ => Err(self.wrong(column, "a timestamp")),
        }
    }
}

fn allocation(row: &Columns) -> Result<Allocation, String> {
    Ok(Allocation {
        id: row.uuid(0)?,
        tenant: row.uuid(1)?,
        room_type: row.uuid(2)?,
        room: row.nullable(3, Columns::uuid)?,
        arrival: row.date(4)?,
        departure: row.date(5)?,
        status: Status::parse(row.text(7)?).ok_or_else(|| row.wrong(7, "a status"))?,
        hold_until: row.nullable(8, Columns::timestamp)?,
    })
}

fn night(row: &Columns) -> Result<Night, String> {
    Ok(Night {
        room_type: row.uuid(1)?,
        night: row.date(2)?,
        limit: row.int(3)? + row.int(4)?,
        sold: row.int(5)? + row.int(6)?,
    })
}

fn outbox(row: &Columns) -> Result<OutboxRow, String> {
    Ok(OutboxRow {
        id: row.int(0)?,
        tenant: row.uuid(1)?,
        key: row.uuid(2)?,
        subject: row.text(3)?.clone(),
        payload: row.text(4)?.clone(),
        published: row.nullable(6, Columns::timestamp)?.is_some(),
    })
}

fn key(row: &Columns) -> Result<KeyRow, String> {
    Ok(KeyRow {
        tenant: row.uuid(0)?,
        key: row.text(1)?.clone(),
        allocation: row.uuid(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_the_migration_puts_them() {
        let migrations = ledger::schema::embedded().migrations;
        let schema: String = migrations.into_iter().map(|(_, sql)| sql).collect();
        let columns = |table: &str| -> Vec<&str> {
            let start = format!("CREATE TABLE {table} (");
            let lines = schema.lines().skip_while(|line| *line != start).skip(1);
            lines
                .take_while(|line| line.starts_with("    "))
                .filter_map(|line| line.split_whitespace().next())
                .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                .collect()
        };
        let starts = |table: &str, expected: &[&str]| {
            assert_eq!(&columns(table)[..expected.len()], expected, "{table}")
        };
        starts(
            "room_allocations",
            &[
                "allocation_id",
                "tenant_id",
                "room_type_id",
                "room_id",
                "arrival",
                "departure",
                "channel",
                "status",
                "hold_until",
            ],
        );
        starts(
            "room_type_inventory_daily",
            &[
                "tenant_id",
                "room_type_id",
                "night",
                "capacity",
                "policy_extra",
                "held",
                "confirmed",
            ],
        );
        starts(
            "outbox",
            &[
                "outbox_id",
                "tenant_id",
                "ordering_key",
                "event_type",
                "payload",
                "created_at",
                "published_at",
            ],
        );
        starts(
            "idempotency_keys",
            &[
                "tenant_id",
                "idempotency_key",
                "request_hash",
                "allocation_id",
            ],
        );
        for table in ["properties", "room_types", "rooms"] {
            assert_eq!(columns(table)[1], "tenant_id");
        }
        for table in ["tenant_freezes", "audit_log"] {
            assert_eq!(columns(table)[0], "tenant_id");
        }
        assert!(!columns("job_runs").contains(&"tenant_id"));
    }

    #[test]
    fn only_a_hold_and_a_booking_can_change() {
        use Status::*;
        let all = [Held, Confirmed, Released, Expired, Cancelled];
        let legal: Vec<_> = all
            .iter()
            .flat_map(|&from| all.iter().map(move |&to| (from, to)))
            .filter(|(from, to)| from != to && from.may_become(*to))
            .collect();
        assert_eq!(
            legal,
            [
                (Held, Confirmed),
                (Held, Released),
                (Held, Expired),
                (Confirmed, Cancelled)
            ]
        );
    }
}
