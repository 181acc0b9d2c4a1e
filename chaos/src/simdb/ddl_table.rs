//! Changes of tables: their columns and partitions, and what is dropped.
//!
//! Invariant: every name of a relation is claimed once; rows and definition have the same number of columns at all times.

use std::sync::Arc;

use ledger::ports::Value;
use sqlparser::ast::{self, ColumnOption, Statement, TableConstraint};

use super::{
    bind::{Binder, Rel, Scope, data_type},
    catalog::{Catalog, Column, IndexKind, Partition, Partitioning, Relation, Sequence, Table},
    ddl::Change,
    ddl_constraint::column_of,
    error::{PgError, PgResult},
    expr::Expr,
    heap::{Row, Store},
    parse::{blank, ident, name, only, statements},
    select::columns_of,
    types::{CastContext, Type},
};

/// A binder for expressions that live in the catalog, over slot 0.
pub(super) fn bind_row(
    catalog: &Catalog,
    role: &str,
    table: &Table,
    expr: &ast::Expr,
) -> PgResult<Expr> {
    let mut binder = Binder::new(catalog, role);
    binder.allow_once = false;
    let rel = Rel {
        alias: table.name.clone(),
        slot: binder.fresh_slot()?,
        columns: columns_of(table),
    };
    let bound = binder.condition(
        expr,
        &Scope {
            rels: std::slice::from_ref(&rel),
            parent: None,
        },
    )?;
    if !binder.params.is_empty() {
        return Err(PgError::new("42P02", "there is no parameter $1").at(expr));
    }
    Ok(bound)
}

pub fn check_policy(
    catalog: &Catalog,
    role: &str,
    table: &Table,
    expr: &ast::Expr,
) -> PgResult<()> {
    bind_row(catalog, role, table, expr).map(|_| ())
}

pub fn check_default(catalog: &Catalog, role: &str, expr: &ast::Expr, ty: Type) -> PgResult<()> {
    let mut binder = Binder::new(catalog, role);
    binder
        .typed(
            expr,
            &Scope {
                rels: &[],
                parent: None,
            },
            ty,
            CastContext::Assignment,
        )
        .map(|_| ())
}

/// The newest version of every row; a schema change looks at them under its exclusive lock.
pub(super) fn all_rows(store: &Store, table: u32) -> impl Iterator<Item = (u32, &Row)> {
    let rows = store.heap(table).rows.iter().enumerate();
    rows.filter_map(|(row, chain)| Some((row as u32, chain.as_ref()?.head.data.as_ref()?)))
}

pub fn check_not_null(store: &Store, table: &Table, column: u16) -> PgResult<()> {
    match all_rows(store, table.id).find(|(_, data)| data[usize::from(column)] == Value::Null) {
        None => Ok(()),
        Some((_, data)) => {
            let name = &table.columns[usize::from(column)].name;
            Err(PgError::new(
                "23502",
                format!(
                    "column \"{name}\" of relation \"{}\" contains null values",
                    table.leaf_name(data)
                ),
            ))
        }
    }
}

impl Change<'_> {
    pub(super) fn claim(&mut self, called: &Arc<str>, relation: Relation) -> PgResult<()> {
        if self.catalog.names.contains_key(called) {
            return Err(PgError::new(
                "42P07",
                format!("relation \"{called}\" already exists"),
            ));
        }
        self.catalog.names.insert(called.clone(), relation);
        Ok(())
    }

    /// A name that nobody has yet, made as PostgreSQL makes it.
    pub(super) fn invent(&self, table: &Table, columns: &[u16], suffix: &str) -> Arc<str> {
        let mut base = table.name.to_string();
        for column in columns {
            base.push('_');
            base.push_str(&table.columns[usize::from(*column)].name);
        }
        let taken = |name: &str| {
            self.catalog.names.contains_key(name)
                || table.checks.iter().any(|check| &*check.name == name)
                || table.foreign_keys.iter().any(|key| &*key.name == name)
        };
        let mut called = format!("{base}_{suffix}");
        let mut number = 0;
        while taken(&called) {
            number += 1;
            called = format!("{base}_{suffix}{number}");
        }
        called.into()
    }

    pub fn create_table(&mut self, create: &ast::CreateTable) -> PgResult<()> {
        let Statement::CreateTable(mut read) = blank("CREATE TABLE t ()")? else {
            return Err(PgError::internal("a blank CREATE TABLE"));
        };
        read.name = create.name.clone();
        read.columns.clone_from(&create.columns);
        read.constraints.clone_from(&create.constraints);
        read.if_not_exists = create.if_not_exists;
        read.partition_by.clone_from(&create.partition_by);
        read.partition_of.clone_from(&create.partition_of);
        read.for_values.clone_from(&create.for_values);
        only(create, &read)?;
        let called = name(&create.name)?;
        if create.if_not_exists && self.catalog.names.contains_key(&called) {
            return Ok(());
        }
        if let Some(parent) = &create.partition_of {
            return self.create_partition(create, parent, called);
        }
        let id = self.catalog.fresh_id();
        self.claim(&called, Relation::Table(id))?;
        let table = Table {
            id,
            name: called,
            owner: self.role.into(),
            columns: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            partitions: None,
            row_security: false,
            force_row_security: false,
            policies: Vec::new(),
            grants: Default::default(),
        };
        self.catalog.tables.insert(id, Arc::new(table));
        self.store.ensure(id);
        for column in &create.columns {
            self.define_column(id, column)?;
        }
        for column in &create.columns {
            self.column_constraints(id, column)?;
        }
        for constraint in &create.constraints {
            self.add_constraint(id, constraint, true)?;
        }
        if let Some(by) = &create.partition_by {
            let column = self.partition_column(id, by)?;
            let table = self.catalog.table(id)?;
            if let Some(index) = table
                .indexes
                .iter()
                .find(|index| !index.columns.contains(&column) && index.kind != IndexKind::Plain)
            {
                let message = format!(
                    "unique constraint on partitioned table must include all partitioning columns: \"{}\"",
                    index.name
                );
                return Err(PgError::new("0A000", message));
            }
            self.catalog.table_mut(id)?.partitions = Some(Partitioning {
                column,
                parts: Vec::new(),
            });
        }
        Ok(())
    }

    fn partition_column(&self, id: u32, by: &ast::Expr) -> PgResult<u16> {
        let refused = || {
            PgError::unsupported(format!("PARTITION BY {by}: only RANGE over one column")).at(by)
        };
        let ast::Expr::Function(function) = by else {
            return Err(refused());
        };
        let ast::FunctionArguments::List(list) = &function.args else {
            return Err(refused());
        };
        match (&*name(&function.name)?, list.args.as_slice()) {
            (
                "range",
                [
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Identifier(
                        column,
                    ))),
                ],
            ) => column_of(self.catalog.table(id)?, column),
            _ => Err(refused()),
        }
    }

    fn create_partition(
        &mut self,
        create: &ast::CreateTable,
        parent: &ast::ObjectName,
        called: Arc<str>,
    ) -> PgResult<()> {
        if !create.columns.is_empty()
            || !create.constraints.is_empty()
            || create.partition_by.is_some()
        {
            return Err(PgError::unsupported(
                "columns, constraints or partitions of a partition",
            ));
        }
        let table = self.owned(parent)?;
        let Some(parts) = &table.partitions else {
            return Err(PgError::new(
                "42809",
                format!("\"{}\" is not partitioned", table.name),
            ));
        };
        let ty = table.columns[usize::from(parts.column)].ty;
        let bounds = match &create.for_values {
            Some(ast::ForValues::Default) => None,
            Some(ast::ForValues::From { from, to }) => Some((
                self.partition_bound(from, ty)?,
                self.partition_bound(to, ty)?,
            )),
            _ => {
                return Err(PgError::unsupported(
                    "partitions other than FOR VALUES FROM … TO … and DEFAULT",
                ));
            }
        };
        let overlaps = |other: &Partition| match (&bounds, &other.bounds) {
            (None, None) => true,
            (Some((from, to)), Some((other_from, other_to))) => {
                let below =
                    |a: &Option<Value>, b: &Option<Value>| a.is_none() || b.is_none() || a < b;
                below(from, other_to) && below(other_from, to)
            }
            _ => false,
        };
        if let Some(other) = parts.parts.iter().find(|other| overlaps(other)) {
            return Err(PgError::new(
                "42P17",
                format!(
                    "partition \"{called}\" would overlap partition \"{}\"",
                    other.name
                ),
            ));
        }
        if let Some(new) = &bounds {
            let inside = |value: &Value| {
                new.0.as_ref().is_none_or(|from| value >= from)
                    && new.1.as_ref().is_none_or(|to| value < to)
            };
            let column = usize::from(parts.column);
            // Those that no other partition takes stand in the default partition.
            let stray = all_rows(self.store, table.id).find(|(_, data)| {
                inside(&data[column])
                    && parts
                        .route(data)
                        .is_some_and(|at| parts.parts[usize::from(at)].bounds.is_none())
            });
            if let Some((_, data)) = stray {
                let message = format!(
                    "updated partition constraint for default partition \"{}\" would be violated by some row",
                    table.leaf_name(data)
                );
                return Err(PgError::new("23514", message));
            }
        }
        let at = parts.parts.len() as u16;
        self.claim(&called, Relation::Partition(table.id, at))?;
        if let Some(parts) = &mut self.catalog.table_mut(table.id)?.partitions {
            parts.parts.push(Partition {
                name: called,
                bounds,
            });
        }
        Ok(())
    }

    fn partition_bound(
        &self,
        bound: &[ast::PartitionBoundValue],
        ty: Type,
    ) -> PgResult<Option<Value>> {
        match bound {
            [ast::PartitionBoundValue::MinValue | ast::PartitionBoundValue::MaxValue] => Ok(None),
            [ast::PartitionBoundValue::Expr(expr)] => {
                let mut binder = Binder::new(self.catalog, self.role);
                match binder.typed(
                    expr,
                    &Scope {
                        rels: &[],
                        parent: None,
                    },
                    ty,
                    CastContext::Assignment,
                )? {
                    Expr::Const(value) => Ok(Some(value)),
                    _ => Err(PgError::unsupported(format!("the partition bound {expr}")).at(expr)),
                }
            }
            _ => Err(PgError::unsupported(
                "partition bounds over several columns",
            )),
        }
    }

    fn define_column(&mut self, id: u32, def: &ast::ColumnDef) -> PgResult<()> {
        let called = ident(&def.name);
        let table = self.catalog.table(id)?.clone();
        if table.column(&called).is_some() {
            return Err(PgError::new(
                "42701",
                format!(
                    "column \"{called}\" of relation \"{}\" already exists",
                    table.name
                ),
            )
            .at_name(&def.name));
        }
        let serial = match def.data_type.to_string().to_ascii_lowercase().as_str() {
            "bigserial" | "serial8" => Some(Type::Int8),
            "serial" | "serial4" => Some(Type::Int4),
            _ => None,
        };
        let ty = match serial {
            Some(ty) => ty,
            None => data_type(&def.data_type).map_err(|error| error.at_name(&def.name))?,
        };
        let mut column = Column {
            name: called,
            ty,
            not_null: serial.is_some(),
            default: None,
        };
        if serial.is_some() {
            column.default = Some(self.create_sequence(&table, &column.name)?);
        }
        for option in &def.options {
            match &option.option {
                ColumnOption::NotNull => column.not_null = true,
                ColumnOption::Default(expr) => {
                    check_default(self.catalog, self.role, expr, ty)
                        .map_err(|error| error.at(expr))?;
                    column.default = Some(expr.clone());
                }
                ColumnOption::Null
                | ColumnOption::PrimaryKey(_)
                | ColumnOption::Unique(_)
                | ColumnOption::ForeignKey(_)
                | ColumnOption::Check(_) => {}
                other => {
                    return Err(PgError::unsupported(format!("the column option `{other}`"))
                        .at_name(&def.name));
                }
            }
        }
        self.catalog.table_mut(id)?.columns.push(column);
        Ok(())
    }

    fn create_sequence(&mut self, table: &Table, column: &str) -> PgResult<ast::Expr> {
        let called: Arc<str> = format!("{}_{column}_seq", table.name).into();
        let id = self.catalog.fresh_id();
        self.claim(&called, Relation::Sequence(id))?;
        let sequence = Sequence {
            table: table.id,
            owner: self.role.into(),
            grants: Default::default(),
        };
        self.catalog.sequences.insert(id, sequence);
        let parsed = statements(&format!("SELECT nextval('{called}')"))?;
        let Some(Statement::Query(query)) = parsed.first().map(|parsed| &*parsed.statement) else {
            return Err(PgError::internal("a sequence's default"));
        };
        match query
            .body
            .as_select()
            .and_then(|select| select.projection.first())
        {
            Some(ast::SelectItem::UnnamedExpr(expr)) => Ok(expr.clone()),
            _ => Err(PgError::internal("a sequence's default")),
        }
    }

    fn column_constraints(&mut self, id: u32, def: &ast::ColumnDef) -> PgResult<()> {
        let here = || ast::IndexColumn::from(def.name.clone());
        for option in &def.options {
            let constraint = match &option.option {
                ColumnOption::PrimaryKey(key) => {
                    let mut key = key.clone();
                    key.columns = vec![here()];
                    key.name.clone_from(&option.name);
                    TableConstraint::PrimaryKey(key)
                }
                ColumnOption::Unique(key) => {
                    let mut key = key.clone();
                    key.columns = vec![here()];
                    key.name.clone_from(&option.name);
                    TableConstraint::Unique(key)
                }
                ColumnOption::ForeignKey(key) => {
                    let mut key = key.clone();
                    key.columns = vec![def.name.clone()];
                    key.name.clone_from(&option.name);
                    TableConstraint::ForeignKey(key)
                }
                ColumnOption::Check(check) => {
                    let mut check = check.clone();
                    check.name.clone_from(&option.name);
                    TableConstraint::Check(check)
                }
                _ => continue,
            };
            self.add_constraint(id, &constraint, true)?;
        }
        Ok(())
    }

    pub fn add_column(
        &mut self,
        id: u32,
        def: &ast::ColumnDef,
        if_not_exists: bool,
    ) -> PgResult<()> {
        let before = self.catalog.table(id)?.columns.len();
        if if_not_exists && self.catalog.table(id)?.column(&ident(&def.name)).is_some() {
            return Ok(());
        }
        self.define_column(id, def)?;
        let table = self.catalog.table(id)?.clone();
        let mut binder = Binder::new(self.catalog, self.role);
        binder.allow_once = false;
        let value = match binder.default_of(&table, before)? {
            Expr::Const(value) => value,
            _ => {
                return Err(PgError::unsupported(format!(
                    "ADD COLUMN {} with a default that is no constant: add it, then update",
                    def.name
                ))
                .at_name(&def.name));
            }
        };
        if table.columns[before].not_null
            && value == Value::Null
            && let Some((_, data)) = all_rows(self.store, id).next()
        {
            let message = format!(
                "column \"{}\" of relation \"{}\" contains null values",
                table.columns[before].name,
                table.leaf_name(data)
            );
            return Err(PgError::new("23502", message));
        }
        self.widened.push((id, before));
        self.store
            .heap_mut(id)
            .rewrite(|data| data.iter().cloned().chain([value.clone()]).collect());
        self.column_constraints(id, def)
    }

    pub fn drop(
        &mut self,
        kind: ast::ObjectType,
        if_exists: bool,
        names: &[ast::ObjectName],
        cascade: bool,
    ) -> PgResult<()> {
        for object in names {
            let called = name(object)?;
            let word = if kind == ast::ObjectType::Table {
                "table"
            } else {
                "index"
            };
            let relation = match self.catalog.relation(&called) {
                Ok(relation) => relation,
                Err(_) if if_exists => continue,
                Err(_) => {
                    return Err(PgError::new(
                        if word == "table" { "42P01" } else { "42704" },
                        format!("{word} \"{called}\" does not exist"),
                    ));
                }
            };
            match (kind, relation) {
                (ast::ObjectType::Index, Relation::Index(id)) => {
                    let table = self.catalog.table(id)?.clone();
                    let owner =
                        ast::ObjectName::from(vec![ast::Ident::with_quote('"', &*table.name)]);
                    self.owned(&owner)?;
                    if table
                        .indexes
                        .iter()
                        .any(|index| index.name == called && index.constraint())
                    {
                        let message = format!(
                            "cannot drop index {called} because constraint {called} on table {} requires it",
                            table.name
                        );
                        return Err(PgError::new("2BP01", message));
                    }
                    self.drop_index(id, &called)?;
                }
                (ast::ObjectType::Table, Relation::Table(_)) if !cascade => {
                    self.drop_table(object)?
                }
                _ => {
                    return Err(PgError::unsupported(format!(
                        "DROP {word} of \"{called}\" in this way"
                    )));
                }
            }
        }
        Ok(())
    }

    fn drop_table(&mut self, object: &ast::ObjectName) -> PgResult<()> {
        let table = self.owned(object)?;
        if self
            .catalog
            .referencing(table.id)
            .any(|(child, _)| child.id != table.id)
        {
            let message = format!(
                "cannot drop table {} because other objects depend on it",
                table.name
            );
            return Err(PgError::new("2BP01", message));
        }
        // The rows stay in their heap, which nothing names any more, so that a rollback finds them.
        let id = table.id;
        self.catalog.tables.remove(&id);
        let gone: Vec<u32> = self
            .catalog
            .sequences
            .iter()
            .filter(|(_, sequence)| sequence.table == id)
            .map(|(own, _)| *own)
            .collect();
        self.catalog
            .sequences
            .retain(|_, sequence| sequence.table != id);
        self.catalog.names.retain(
            |_, relation| !matches!(relation, Relation::Sequence(own) if gone.contains(own)),
        );
        self.catalog.names.retain(|_, relation| !matches!(relation, Relation::Table(own) | Relation::Index(own) | Relation::Partition(own, _) if *own == id));
        Ok(())
    }
}
