//! What a new version of a row has to satisfy: policies, NOT NULL, CHECK, partitions, uniqueness, exclusion, foreign keys.
//!
//! Invariant: the order of the checks is PostgreSQL's, so that of two violations the same one is reported. Uniqueness looks at
//! uncommitted rows too and waits for their transactions to end; foreign keys are checked when the statement has done its work.

use std::{cmp::Ordering, sync::Arc};

use ledger::ports::Value;

use super::{
    catalog::{Catalog, ForeignKey, Index, IndexKind, Table},
    error::{PgError, PgResult, Run, Stop},
    execute::{Stage, Step},
    heap::{Chain, Row, Stamp, admits, index_key, same_entry},
    key,
    lock::{LockKey, Mode},
    plan::{Conflict, PolicyCheck},
    query::all_true,
};

/// A row on its way into the indexes.
pub struct Placing {
    pub table: u32,
    pub row: u32,
    pub data: Row,
    /// The version that it replaces.
    pub old: Option<Row>,
    /// Index to check and fill next.
    pub index: usize,
}

/// A foreign key to check at the statement's end.
pub struct ForeignCheck {
    key: ForeignKey,
    child: Arc<str>,
    child_id: u32,
    /// Values of the key; of the parent that is left behind when `gone`.
    values: Vec<Value>,
    gone: bool,
}

/// How an existing row stands to a key.
enum Clash {
    No,
    /// Only this transaction's end decides.
    Undecided(u64),
    Yes,
}

fn clash(chain: &Chain, own: u64, matches: impl Fn(&Row) -> bool) -> Clash {
    let head = chain.head.data.as_ref().is_some_and(&matches);
    match chain.head.begin {
        Stamp::Txn(txn, _) if txn != own => {
            let committed = chain
                .older
                .last()
                .and_then(|version| version.data.as_ref())
                .is_some_and(&matches);
            if head || committed {
                Clash::Undecided(txn)
            } else {
                Clash::No
            }
        }
        _ if head => Clash::Yes,
        _ => Clash::No,
    }
}

fn values_of(row: &[Value], columns: &[u16]) -> Vec<Value> {
    columns
        .iter()
        .map(|column| row[usize::from(*column)].clone())
        .collect()
}

fn prefix_of(values: &[Value]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(values.len() * 17 + 4);
    values
        .iter()
        .for_each(|value| key::push(&mut prefix, value));
    prefix
}

/// A daterange's bounds, made comparable; `None` when it is empty.
fn range_of(row: &[Value], range: (u16, u16)) -> PgResult<Option<(i64, i64)>> {
    let bound = |column: u16, open: i64| match &row[usize::from(column)] {
        Value::Date(days) => i64::from(*days),
        _ => open,
    };
    let (low, high) = (bound(range.0, i64::MIN), bound(range.1, i64::MAX));
    match low.cmp(&high) {
        Ordering::Greater => Err(PgError::new(
            "22000",
            "range lower bound must be less than or equal to range upper bound",
        )),
        Ordering::Equal => Ok(None),
        Ordering::Less => Ok(Some((low, high))),
    }
}

/// Whether two rows' ranges overlap.
pub fn overlap(a: &Row, b: &Row, range: (u16, u16)) -> bool {
    match (range_of(a, range), range_of(b, range)) {
        (Ok(Some((a_low, a_high))), Ok(Some((b_low, b_high)))) => a_low < b_high && b_low < a_high,
        _ => false,
    }
}

impl Step<'_> {
    /// Checks a new version against policies, partitions, NOT NULL and CHECK.
    pub fn admit(&mut self, table: &Table, row: &Row, check: &PolicyCheck) -> Run<()> {
        if let Some(parts) = &table.partitions
            && parts.route(row).is_none()
        {
            return Err(PgError::new(
                "23514",
                format!("no partition of relation \"{}\" found for row", table.name),
            )
            .into());
        }
        let mut env = self.env(row);
        if !all_true(&check.all, &mut env)? {
            let message = format!(
                "new row violates row-level security policy for table \"{}\"",
                table.name
            );
            return Err(PgError::new("42501", message).into());
        }
        for (column, value) in table.columns.iter().zip(row.iter()) {
            if column.not_null && matches!(value, Value::Null) {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name,
                    table.leaf_name(row)
                );
                return Err(PgError::new("23502", message).into());
            }
        }
        for constraint in &table.checks {
            if constraint.expr.test(&mut env)? == Some(false) {
                let message = format!(
                    "new row for relation \"{}\" violates check constraint \"{}\"",
                    table.leaf_name(row),
                    constraint.name
                );
                return Err(PgError::of_constraint("23514", &constraint.name, message).into());
            }
        }
        Ok(())
    }

    /// Whether ON CONFLICT DO NOTHING has something to do nothing about.
    pub fn conflicts(&mut self, table: &Table, conflict: &Conflict, row: &Row) -> Run<bool> {
        for (at, index) in table.indexes.iter().enumerate() {
            let asked = match conflict {
                Conflict::Any => index.kind != IndexKind::Plain,
                Conflict::Index(wanted) => at == *wanted,
            };
            if asked && self.clashes(table, at, index, row, None)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether another row stands in the way of `data` in this index; waits for whoever may yet decide it.
    fn clashes(
        &mut self,
        table: &Table,
        at: usize,
        index: &Index,
        data: &Row,
        own_row: Option<u32>,
    ) -> Run<bool> {
        let values = values_of(data, &index.columns);
        if values.contains(&Value::Null) || !admits(index, data) {
            return Ok(false);
        }
        let range = match index.kind {
            IndexKind::Exclude { range: Some(range) } => match range_of(data, range)? {
                Some(own) => Some((range, own)),
                None => return Ok(false),
            },
            _ => None,
        };
        let prefix = prefix_of(&values);
        let heap = self.core.store.heap(table.id);
        let same_values = |other: &Row| {
            let mut columns = index.columns.iter().zip(&values);
            columns.all(|(column, value)| other[usize::from(*column)] == *value)
        };
        let matches = |other: &Row| {
            admits(index, other)
                && same_values(other)
                && range.is_none_or(|(columns, (low, high))| {
                    range_of(other, columns)
                        .ok()
                        .flatten()
                        .is_some_and(|(other_low, other_high)| low < other_high && other_low < high)
                })
        };
        let mut undecided = None;
        for row in heap.entries(at, &prefix) {
            if Some(row) == own_row {
                continue;
            }
            self.core.aux.visited += 1;
            let Some(chain) = heap.chain(row) else {
                continue;
            };
            match clash(chain, self.session.txn.id, matches) {
                Clash::Yes => return Ok(true),
                Clash::Undecided(txn) => undecided = undecided.or(Some(txn)),
                Clash::No => {}
            }
        }
        match undecided {
            Some(txn) => Err(Stop::Wait(LockKey::Txn(txn), Mode::AccessShare)),
            None => Ok(false),
        }
    }

    /// Enters the row in hand into the indexes, one after the other.
    pub fn place(&mut self) -> Run<()> {
        let catalog = self.catalog();
        while let Some(placing) = &self.running.placing {
            let (at, row, data) = (placing.index, placing.row, placing.data.clone());
            let table = catalog.table(placing.table)?;
            let Some(index) = table.indexes.get(at) else {
                return Ok(());
            };
            let known = placing
                .old
                .as_ref()
                .is_some_and(|old| same_entry(index, old, &data));
            let range_changed = match (&placing.old, index.kind) {
                (
                    Some(old),
                    IndexKind::Exclude {
                        range: Some((low, high)),
                    },
                ) => [low, high]
                    .iter()
                    .any(|column| old[usize::from(*column)] != data[usize::from(*column)]),
                _ => false,
            };
            if (!known || range_changed)
                && let Some(entry) = index_key(index, &data, row)
            {
                if index.kind != IndexKind::Plain
                    && self.clashes(table, at, index, &data, Some(row))?
                {
                    let name = table.leaf_index_name(index, &data);
                    return Err(match index.kind {
                        IndexKind::Exclude { .. } => PgError::of_constraint(
                            "23P01",
                            &name,
                            format!(
                                "conflicting key value violates exclusion constraint \"{name}\""
                            ),
                        ),
                        _ => PgError::of_constraint(
                            "23505",
                            &name,
                            format!("duplicate key value violates unique constraint \"{name}\""),
                        ),
                    }
                    .into());
                }
                self.core.store.heap_mut(table.id).add_entry(at, entry);
            }
            if let Some(placing) = &mut self.running.placing {
                placing.index += 1;
            }
        }
        Ok(())
    }

    /// A row that refers to others: its parents must be there.
    pub fn queue_child_checks(&mut self, table: &Table, new: &Row, old: Option<&Row>) {
        for key in &table.foreign_keys {
            let values = values_of(new, &key.columns);
            let same = old.is_some_and(|old| values_of(old, &key.columns) == values);
            if !same && !values.contains(&Value::Null) {
                self.running.checks.push_back(ForeignCheck {
                    key: key.clone(),
                    child: table.name.clone(),
                    child_id: table.id,
                    values,
                    gone: false,
                });
            }
        }
    }

    /// A row that others may refer to is deleted or gets another key: nobody may refer to it any more.
    pub fn queue_parent_checks(
        &mut self,
        catalog: &Catalog,
        table: &Table,
        old: &Row,
        new: Option<&Row>,
    ) {
        for (child, key) in catalog.referencing(table.id) {
            let values = values_of(old, &key.parent_columns);
            let same = new.is_some_and(|new| values_of(new, &key.parent_columns) == values);
            if !same && !values.contains(&Value::Null) {
                self.running.checks.push_back(ForeignCheck {
                    key: key.clone(),
                    child: child.name.clone(),
                    child_id: child.id,
                    values,
                    gone: true,
                });
            }
        }
    }

    /// Checks the queued foreign keys.
    pub fn foreign_keys(&mut self) -> Run<()> {
        while let Some(check) = self.running.checks.pop_front() {
            let result = if check.gone {
                self.check_children(&check)
            } else {
                self.check_parent(&check)
            };
            if let Err(Stop::Wait(key, mode)) = result {
                self.running.checks.push_front(check);
                return Err(Stop::Wait(key, mode));
            }
            result?;
        }
        self.running.stage = Stage::Done;
        Ok(())
    }

    fn check_parent(&mut self, check: &ForeignCheck) -> Run<()> {
        let key = &check.key;
        self.lock_table(key.parent, Mode::RowShare)?;
        if let Some(row) = self.find_row(key.parent, &key.parent_columns, &check.values)? {
            self.lock(LockKey::Row(key.parent, row), Mode::KeyShare)?;
            // Whoever deleted it while this one waited has committed.
            if self.find_row(key.parent, &key.parent_columns, &check.values)? == Some(row) {
                return Ok(());
            }
        }
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            check.child, key.name
        );
        Err(PgError::of_constraint("23503", &key.name, message).into())
    }

    fn check_children(&mut self, check: &ForeignCheck) -> Run<()> {
        let key = &check.key;
        // NO ACTION: another row may have taken the key's place.
        if self
            .find_row(key.parent, &key.parent_columns, &check.values)?
            .is_some()
        {
            return Ok(());
        }
        self.lock_table(check.child_id, Mode::RowShare)?;
        if self
            .find_row(check.child_id, &key.columns, &check.values)?
            .is_none()
        {
            return Ok(());
        }
        let parent = self.core.catalog.table(key.parent)?.name.clone();
        let message = format!(
            "update or delete on table \"{parent}\" violates foreign key constraint \"{}\" on table \"{}\"",
            key.name, check.child
        );
        Err(PgError::of_constraint("23503", &key.name, message).into())
    }

    /// A row with these values that is committed, or this transaction's own; through an index where one begins with them.
    fn find_row(&mut self, table: u32, columns: &[u16], values: &[Value]) -> PgResult<Option<u32>> {
        let own = self.session.txn.id;
        let catalog = self.catalog();
        let heap = self.core.store.heap(table);
        let index = catalog.table(table)?.indexes.iter().position(|index| {
            index.predicate.is_empty() && index.columns.get(..columns.len()) == Some(columns)
        });
        let holds = |row: u32| {
            heap.chain(row).is_some_and(|chain| {
                let newest = match chain.head.begin {
                    Stamp::Txn(txn, _) if txn != own => {
                        chain.older.last().and_then(|version| version.data.as_ref())
                    }
                    _ => chain.head.data.as_ref(),
                };
                newest.is_some_and(|data| {
                    columns
                        .iter()
                        .zip(values)
                        .all(|(column, value)| data[usize::from(*column)] == *value)
                })
            })
        };
        let (found, met) = match index {
            Some(at) => {
                let mut met = 0;
                let found = heap.entries(at, &prefix_of(values)).find(|row| {
                    met += 1;
                    holds(*row)
                });
                (found, met)
            }
            None => {
                let found = (0..heap.rows.len() as u32).find(|row| holds(*row));
                (found, heap.rows.len() as u64)
            }
        };
        self.core.aux.visited += met;
        Ok(found)
    }
}
