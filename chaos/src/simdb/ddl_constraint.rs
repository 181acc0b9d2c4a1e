//! Constraints and indexes: added, dropped, checked against the rows that are already there.
//!
//! Invariant: a constraint that existing rows violate is not added; names are PostgreSQL's (`<table>_<columns>_key`, `_fkey`,
//! `_pkey`, `_check`, `_excl`), so that messages and later DROPs agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ledger::ports::{SessionSettings, Value};
use sqlparser::ast::{self, Statement, TableConstraint};

use super::{
    catalog::{Catalog, Check, ForeignKey, Index, IndexKind, Relation, Table, privilege},
    change::overlap,
    core::Aux,
    ddl::Change,
    ddl_table::{all_rows, bind_row, check_not_null},
    error::{PgError, PgResult, Stop},
    expr::{Expr, SLOTS},
    heap::{Row, Snapshot, Store, index_key, is_simple},
    parse::{blank, ident, name, only},
    query::Env,
    select::conjuncts,
    session::{Session, SessionId},
    types::Type,
};

fn plain_columns(table: &Table, columns: &[ast::IndexColumn]) -> PgResult<Vec<u16>> {
    columns
        .iter()
        .map(|column| plain_column(table, column))
        .collect()
}

fn plain_column(table: &Table, column: &ast::IndexColumn) -> PgResult<u16> {
    let options = &column.column.options;
    let plain = column.operator_class.is_none()
        && column.column.with_fill.is_none()
        && options.sort != Some(ast::OrderBySort::Desc)
        && options.nulls_first != Some(true);
    match &column.column.expr {
        ast::Expr::Identifier(called) if plain => column_of(table, called),
        other => Err(PgError::unsupported(format!(
            "the index column `{column}`: plain columns in ascending order"
        ))
        .at(other)),
    }
}

pub(super) fn column_of(table: &Table, called: &ast::Ident) -> PgResult<u16> {
    table.column(&ident(called)).ok_or_else(|| {
        PgError::new(
            "42703",
            format!("column \"{}\" named in key does not exist", ident(called)),
        )
        .at_name(called)
    })
}

impl Change<'_> {
    pub fn add_constraint(
        &mut self,
        id: u32,
        constraint: &TableConstraint,
        validate: bool,
    ) -> PgResult<()> {
        let table = self.catalog.table(id)?.clone();
        match constraint {
            TableConstraint::PrimaryKey(key)
                if key.characteristics.is_none()
                    && key.index_type.is_none()
                    && key.include.is_empty()
                    && key.index_options.is_empty() =>
            {
                if table.indexes.iter().any(Index::primary) {
                    return Err(PgError::new(
                        "42P16",
                        format!(
                            "multiple primary keys for table \"{}\" are not allowed",
                            table.name
                        ),
                    ));
                }
                let columns = plain_columns(&table, &key.columns)?;
                for column in &columns {
                    check_not_null(self.store, &table, *column)?;
                    self.catalog.table_mut(id)?.columns[usize::from(*column)].not_null = true;
                }
                let called = key
                    .name
                    .as_ref()
                    .map_or_else(|| self.invent(&table, &[], "pkey"), ident);
                self.add_index(
                    id,
                    called,
                    columns,
                    IndexKind::Unique {
                        primary: true,
                        constraint: true,
                    },
                    Vec::new(),
                )
            }
            TableConstraint::Unique(key)
                if key.characteristics.is_none()
                    && key.index_type.is_none()
                    && key.include.is_empty()
                    && key.index_options.is_empty()
                    && key.nulls_distinct != ast::NullsDistinctOption::NotDistinct =>
            {
                let columns = plain_columns(&table, &key.columns)?;
                let called = key
                    .name
                    .as_ref()
                    .map_or_else(|| self.invent(&table, &columns, "key"), ident);
                self.add_index(
                    id,
                    called,
                    columns,
                    IndexKind::Unique {
                        primary: false,
                        constraint: true,
                    },
                    Vec::new(),
                )
            }
            TableConstraint::Check(check) if !check.no_inherit && check.enforced != Some(false) => {
                self.add_check(&table, check, validate)
            }
            TableConstraint::ForeignKey(key) => self.add_foreign_key(&table, key, validate),
            TableConstraint::Exclude(exclude) => self.add_exclusion(&table, exclude),
            other => Err(PgError::unsupported(format!("the constraint `{other}`")).at(other)),
        }
    }

    fn add_check(
        &mut self,
        table: &Table,
        check: &ast::CheckConstraint,
        validate: bool,
    ) -> PgResult<()> {
        let expr = bind_row(self.catalog, self.role, table, &check.expr)?;
        let called = check
            .name
            .as_ref()
            .map_or_else(|| self.invent(table, &check_columns(&expr), "check"), ident);
        if table.checks.iter().any(|known| known.name == called) {
            return Err(PgError::new(
                "42710",
                format!(
                    "constraint \"{called}\" for relation \"{}\" already exists",
                    table.name
                ),
            ));
        }
        let check = Check { name: called, expr };
        if validate {
            for (_, data) in all_rows(self.store, table.id) {
                if row_test(&check.expr, data, self.store, self.catalog)? == Some(false) {
                    let message = format!(
                        "check constraint \"{}\" of relation \"{}\" is violated by some row",
                        check.name,
                        table.leaf_name(data)
                    );
                    return Err(PgError::new("23514", message));
                }
            }
        }
        let checks = &mut self.catalog.table_mut(table.id)?.checks;
        checks.push(check);
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn add_foreign_key(
        &mut self,
        table: &Table,
        key: &ast::ForeignKeyConstraint,
        validate: bool,
    ) -> PgResult<()> {
        let plain = |action: Option<ast::ReferentialAction>| {
            matches!(action, None | Some(ast::ReferentialAction::NoAction))
        };
        if !plain(key.on_delete)
            || !plain(key.on_update)
            || key.match_kind.is_some()
            || key.characteristics.is_some()
            || key.index_name.is_some()
        {
            return Err(PgError::unsupported(format!(
                "a clause of the foreign key `{key}`: NO ACTION, not deferrable"
            )));
        }
        let columns = key
            .columns
            .iter()
            .map(|column| column_of(table, column))
            .collect::<PgResult<Vec<_>>>()?;
        let parent = self
            .catalog
            .table_named(&name(&key.foreign_table)?)
            .map_err(|error| error.at(&key.foreign_table))?
            .clone();
        if !self.catalog.allows(
            self.role,
            &parent.owner,
            &parent.grants,
            privilege::REFERENCES,
        ) {
            return Err(PgError::new(
                "42501",
                format!("permission denied for table {}", parent.name),
            ));
        }
        let parent_columns = match key.referred_columns.as_slice() {
            [] => match parent.indexes.iter().find(|index| index.primary()) {
                Some(index) => index.columns.clone(),
                None => {
                    return Err(PgError::new(
                        "42704",
                        format!(
                            "there is no primary key for referenced table \"{}\"",
                            parent.name
                        ),
                    ));
                }
            },
            given => given
                .iter()
                .map(|column| column_of(&parent, column))
                .collect::<PgResult<Vec<_>>>()?,
        };
        let unique = parent.indexes.iter().any(|index| {
            index.unique() && index.predicate.is_empty() && index.columns == parent_columns
        });
        if !unique || columns.len() != parent_columns.len() {
            let message = format!(
                "there is no unique constraint matching given keys for referenced table \"{}\"",
                parent.name
            );
            return Err(PgError::new("42830", message));
        }
        let called = key
            .name
            .as_ref()
            .map_or_else(|| self.invent(table, &columns, "fkey"), ident);
        if validate {
            let parents: BTreeSet<Vec<Value>> = all_rows(self.store, parent.id)
                .map(|(_, data)| {
                    parent_columns
                        .iter()
                        .map(|column| data[usize::from(*column)].clone())
                        .collect()
                })
                .collect();
            for (_, data) in all_rows(self.store, table.id) {
                let values: Vec<Value> = columns
                    .iter()
                    .map(|column| data[usize::from(*column)].clone())
                    .collect();
                if !values.contains(&Value::Null) && !parents.contains(&values) {
                    let message = format!(
                        "insert or update on table \"{}\" violates foreign key constraint \"{called}\"",
                        table.name
                    );
                    return Err(PgError::new("23503", message));
                }
            }
        }
        self.catalog
            .table_mut(table.id)?
            .foreign_keys
            .push(ForeignKey {
                name: called,
                columns,
                parent: parent.id,
                parent_columns,
            });
        Ok(())
    }

    fn add_exclusion(&mut self, table: &Table, exclude: &ast::ExcludeConstraint) -> PgResult<()> {
        let method = exclude.index_method.as_ref().map(ident);
        if method.as_deref() != Some("gist")
            || !exclude.include.is_empty()
            || exclude.characteristics.is_some()
        {
            return Err(PgError::unsupported(format!(
                "a clause of the constraint `{exclude}`: EXCLUDE USING gist"
            )));
        }
        if table.partitions.is_some() {
            return Err(PgError::new(
                "0A000",
                "exclusion constraints are not supported on partitioned tables",
            ));
        }
        let mut columns = Vec::new();
        let mut range = None;
        for element in &exclude.elements {
            let ast::ExcludeConstraintOperator::Token(operator) = &element.operator else {
                return Err(PgError::unsupported(format!("the element `{element}`")));
            };
            match (&element.column.column.expr, operator.as_str()) {
                (ast::Expr::Identifier(_), "=") => {
                    columns.push(plain_column(table, &element.column)?)
                }
                (ast::Expr::Function(function), "&&") if range.is_none() => {
                    range = Some(daterange(table, function)?)
                }
                _ => {
                    return Err(PgError::unsupported(format!(
                        "the element `{element}`: a column WITH =, daterange(a, b) WITH &&"
                    )));
                }
            }
        }
        let predicate = exclude
            .where_clause
            .as_deref()
            .map_or(Ok(Vec::new()), |expr| self.index_predicate(table, expr))?;
        let called = exclude
            .name
            .as_ref()
            .map_or_else(|| self.invent(table, &columns, "excl"), ident);
        self.add_index(
            table.id,
            called,
            columns,
            IndexKind::Exclude { range },
            predicate,
        )
    }

    fn index_predicate(&self, table: &Table, expr: &ast::Expr) -> PgResult<Vec<Expr>> {
        let mut predicate = Vec::new();
        conjuncts(
            bind_row(self.catalog, self.role, table, expr)?,
            &mut predicate,
        );
        if !predicate.iter().all(is_simple) {
            return Err(PgError::unsupported(format!(
                "the index predicate `{expr}`: comparisons of columns with constants"
            ))
            .at(expr));
        }
        Ok(predicate)
    }

    pub fn create_index(&mut self, create: &ast::CreateIndex) -> PgResult<()> {
        let Statement::CreateIndex(mut read) = blank("CREATE INDEX i ON t (a)")? else {
            return Err(PgError::internal("a blank CREATE INDEX"));
        };
        read.name.clone_from(&create.name);
        read.table_name = create.table_name.clone();
        read.columns.clone_from(&create.columns);
        (read.unique, read.if_not_exists, read.concurrently) =
            (create.unique, create.if_not_exists, create.concurrently);
        read.predicate.clone_from(&create.predicate);
        if create.using == Some(ast::IndexType::BTree) {
            read.using.clone_from(&create.using);
        }
        only(create, &read)?;
        let table = self.owned(&create.table_name)?;
        let columns = plain_columns(&table, &create.columns)?;
        let called = match &create.name {
            Some(object) => name(object)?,
            None => self.invent(&table, &columns, "idx"),
        };
        if create.if_not_exists && self.catalog.names.contains_key(&called) {
            return Ok(());
        }
        let predicate = create
            .predicate
            .as_ref()
            .map_or(Ok(Vec::new()), |expr| self.index_predicate(&table, expr))?;
        let kind = if create.unique {
            IndexKind::Unique {
                primary: false,
                constraint: false,
            }
        } else {
            IndexKind::Plain
        };
        self.add_index(table.id, called, columns, kind, predicate)
    }

    fn add_index(
        &mut self,
        id: u32,
        called: Arc<str>,
        columns: Vec<u16>,
        kind: IndexKind,
        predicate: Vec<Expr>,
    ) -> PgResult<()> {
        let table = self.catalog.table(id)?.clone();
        if let Some(parts) = &table.partitions
            && kind != IndexKind::Plain
            && !columns.contains(&parts.column)
        {
            return Err(PgError::new(
                "0A000",
                "unique constraint on partitioned table must include all partitioning columns",
            ));
        }
        self.claim(&called, Relation::Index(id))?;
        let index = Index {
            id: self.catalog.fresh_id(),
            name: called,
            columns,
            kind,
            predicate,
        };
        check_unique(self.store, &table, &index)?;
        let table = self.catalog.table_mut(id)?;
        table.indexes.push(index);
        self.store.heap_mut(id).sync_indexes(table);
        Ok(())
    }

    pub fn drop_constraint(&mut self, id: u32, called: &str, if_exists: bool) -> PgResult<()> {
        let table = self.catalog.table(id)?.clone();
        if let Some(at) = table.checks.iter().position(|check| &*check.name == called) {
            self.catalog.table_mut(id)?.checks.remove(at);
        } else if let Some(at) = table
            .foreign_keys
            .iter()
            .position(|key| &*key.name == called)
        {
            self.catalog.table_mut(id)?.foreign_keys.remove(at);
        } else if table
            .indexes
            .iter()
            .any(|index| &*index.name == called && index.constraint())
        {
            self.drop_index(id, called)?;
        } else if !if_exists {
            return Err(PgError::new(
                "42704",
                format!(
                    "constraint \"{called}\" of relation \"{}\" does not exist",
                    table.name
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn drop_index(&mut self, id: u32, called: &str) -> PgResult<()> {
        let table = self.catalog.table(id)?.clone();
        let Some(at) = table
            .indexes
            .iter()
            .position(|index| &*index.name == called)
        else {
            return Err(PgError::internal(format!("index {called} is gone")));
        };
        let needed = self
            .catalog
            .referencing(id)
            .any(|(_, key)| key.parent_columns == table.indexes[at].columns);
        if table.indexes[at].unique() && needed {
            let message = format!(
                "cannot drop constraint {called} on table {} because other objects depend on it",
                table.name
            );
            return Err(PgError::new("2BP01", message));
        }
        self.catalog.names.remove(called);
        let table = self.catalog.table_mut(id)?;
        table.indexes.remove(at);
        self.store.heap_mut(id).sync_indexes(table);
        Ok(())
    }
}

fn check_columns(expr: &Expr) -> Vec<u16> {
    let mut columns = Vec::new();
    expr.walk(&mut |part| {
        if let Expr::Col(_, column) = part
            && !columns.contains(column)
        {
            columns.push(*column);
        }
    });
    // PostgreSQL names a column only where it is the only one.
    if columns.len() == 1 {
        columns
    } else {
        Vec::new()
    }
}

fn daterange(table: &Table, function: &ast::Function) -> PgResult<(u16, u16)> {
    let refused = || PgError::unsupported(format!("`{function}`: daterange(column, column)"));
    let ast::FunctionArguments::List(list) = &function.args else {
        return Err(refused());
    };
    let mut columns = Vec::new();
    for arg in &list.args {
        let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Identifier(column))) =
            arg
        else {
            return Err(refused());
        };
        let at = column_of(table, column)?;
        if table.columns[usize::from(at)].ty != Type::Date {
            return Err(refused());
        }
        columns.push(at);
    }
    match (&*name(&function.name)?, columns.as_slice()) {
        ("daterange", [low, high]) => Ok((*low, *high)),
        _ => Err(refused()),
    }
}

/// Whether the rows that are there allow this index.
fn check_unique(store: &Store, table: &Table, index: &Index) -> PgResult<()> {
    if index.kind == IndexKind::Plain {
        return Ok(());
    }
    let mut seen: BTreeMap<Vec<u8>, Vec<&Row>> = Default::default();
    for (row, data) in all_rows(store, table.id) {
        let null = index
            .columns
            .iter()
            .any(|column| data[usize::from(*column)] == Value::Null);
        let Some(key) = index_key(index, data, row).filter(|_| !null) else {
            continue;
        };
        let same = seen.entry(key[..key.len() - 4].to_vec()).or_default();
        let clash = match index.kind {
            IndexKind::Exclude { range: Some(range) } => {
                same.iter().any(|other| overlap(other, data, range))
            }
            _ => !same.is_empty(),
        };
        if clash {
            return Err(match index.kind {
                IndexKind::Exclude { .. } => PgError::new(
                    "23P01",
                    format!("could not create exclusion constraint \"{}\"", index.name),
                ),
                _ => PgError::new(
                    "23505",
                    format!("could not create unique index \"{}\"", index.name),
                ),
            });
        }
        same.push(data);
    }
    Ok(())
}

/// Evaluates a condition of the catalog on a row, outside of any statement.
fn row_test(expr: &Expr, row: &Row, store: &Store, catalog: &Catalog) -> PgResult<Option<bool>> {
    let mut rows: [&[Value]; SLOTS] = [&[]; SLOTS];
    rows[0] = row;
    let limits = SessionSettings {
        statement_timeout: Default::default(),
        lock_timeout: Default::default(),
    };
    let mut env = Env {
        rows,
        params: &[],
        once: &mut [],
        memos: &mut [],
        store,
        catalog,
        snapshot: Snapshot {
            commit: u64::MAX,
            txn: 0,
            command: 0,
        },
        session: &mut Session::new(SessionId(0), "postgres".into(), limits),
        aux: &mut Aux::default(),
    };
    match expr.test(&mut env) {
        Ok(truth) => Ok(truth),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Wait(..)) => Err(PgError::internal(
            "a condition of the catalog waited for a lock",
        )),
    }
}
