//! Compiles INSERT: whole rows with their defaults, ON CONFLICT DO NOTHING, RETURNING.
//!
//! Invariant: every row that the plan yields has a value for each column of the table, already of the column's type.

use std::sync::Arc;

use sqlparser::ast::{self, Statement};

use super::{
    bind::{Binder, Scope},
    catalog::{Command, Table, privilege},
    error::{PgError, PgResult},
    expr::Expr,
    parse::{blank, ident, name, only},
    plan::{Action, Conflict, Insert, InsertSource, PolicyCheck},
    statement::{is_default, reads_target},
    types::CastContext,
};

impl Binder<'_> {
    pub(super) fn insert(&mut self, insert: &ast::Insert) -> PgResult<Action> {
        check_insert(insert)?;
        let ast::TableObject::TableName(object) = &insert.table else {
            return Err(PgError::unsupported(format!(
                "INSERT INTO {}",
                insert.table
            )));
        };
        let id = self
            .catalog
            .table_named(&name(object)?)
            .map_err(|error| error.at(object))?
            .id;
        let (table, rel) = self.target(id, None)?;
        self.need(id, privilege::INSERT)?;
        let columns = insert_columns(&table, insert)?;
        let source = match &insert.source {
            Some(source) => self.insert_source(&table, &columns, source)?,
            None => {
                let row = (0..table.columns.len()).map(|at| self.default_of(&table, at));
                InsertSource::Values(vec![row.collect::<PgResult<_>>()?])
            }
        };
        let rels = std::slice::from_ref(&rel);
        let returning = self.returning(insert.returning.as_ref(), &Scope { rels, parent: None })?;
        let conflict = self.conflict(&table, insert)?;
        let mut check = self.row_security_check(&table, Command::Insert, &rel)?;
        let returns = returning
            .as_ref()
            .is_some_and(|returning| reads_target(&returning.project));
        if returns || matches!(conflict, Some(Conflict::Index(_))) {
            self.need(id, privilege::SELECT)?;
            check.extend(self.row_security(&table, Command::Select, &rel)?);
        }
        check.iter_mut().for_each(|expr| self.hoist(expr));
        Ok(Action::Insert {
            table: id,
            insert: Insert { source, conflict },
            check: PolicyCheck { all: check },
            returning,
        })
    }

    fn insert_source(
        &mut self,
        table: &Table,
        columns: &[u16],
        source: &ast::Query,
    ) -> PgResult<InsertSource> {
        let place = |column: usize| {
            columns
                .iter()
                .position(|given| usize::from(*given) == column)
        };
        let ast::SetExpr::Values(values) = source.body.as_ref() else {
            let plan = Arc::new(self.query(source, None)?);
            if plan.lock.is_some() || plan.columns.len() > columns.len() {
                return Err(PgError::new(
                    "42601",
                    "INSERT has more expressions than target columns",
                ));
            }
            let slot = self.fresh_slot()?;
            let mut row = Vec::new();
            for (at, column) in table.columns.iter().enumerate() {
                row.push(
                    match place(at).filter(|place| *place < plan.columns.len()) {
                        Some(place) => {
                            let given = Expr::Col(slot, place as u16);
                            self.coerce(
                                given,
                                plan.columns[place].1,
                                column.ty,
                                CastContext::Assignment,
                            )?
                        }
                        None => self.default_of(table, at)?,
                    },
                );
            }
            return Ok(InsertSource::Query { plan, slot, row });
        };
        let none = Scope {
            rels: &[],
            parent: None,
        };
        let mut rows = Vec::new();
        for given in &values.rows {
            let given: &[ast::Expr] = &given.content;
            if given.len() != columns.len() {
                let fewer = if given.len() < columns.len() {
                    "target columns than expressions"
                } else {
                    "expressions than target columns"
                };
                return Err(PgError::new("42601", format!("INSERT has more {fewer}")));
            }
            let mut row = Vec::new();
            for (at, column) in table.columns.iter().enumerate() {
                row.push(match place(at).map(|place| &given[place]) {
                    Some(expr) if !is_default(expr) => {
                        let mut bound = self.typed(expr, &none, column.ty, CastContext::Assignment)?;
                        if !matches!(&bound, Expr::Cast(_, inner) if matches!(**inner, Expr::Param(_))) {
                            self.hoist(&mut bound);
                        }
                        bound
                    }
                    _ => self.default_of(table, at)?,
                });
            }
            rows.push(row);
        }
        Ok(InsertSource::Values(rows))
    }

    fn conflict(&mut self, table: &Table, insert: &ast::Insert) -> PgResult<Option<Conflict>> {
        let on = match &insert.on {
            None => return Ok(None),
            Some(ast::OnInsert::OnConflict(on))
                if on.action == ast::OnConflictAction::DoNothing =>
            {
                on
            }
            Some(other) => {
                return Err(PgError::unsupported(format!(
                    "`{other}`: only ON CONFLICT … DO NOTHING"
                )));
            }
        };
        let index = match &on.conflict_target {
            None => return Ok(Some(Conflict::Any)),
            Some(ast::ConflictTarget::Columns(columns)) => {
                let mut wanted = Vec::new();
                for column in columns {
                    let called = ident(column);
                    wanted.push(table.column(&called).ok_or_else(|| {
                        PgError::new("42703", format!("column \"{called}\" does not exist"))
                            .at_name(column)
                    })?);
                }
                wanted.sort_unstable();
                table.indexes.iter().position(|index| {
                    let mut columns = index.columns.clone();
                    columns.sort_unstable();
                    index.unique() && index.predicate.is_empty() && columns == wanted
                })
            }
            Some(ast::ConflictTarget::OnConstraint(constraint)) => {
                let called = name(constraint)?;
                table
                    .indexes
                    .iter()
                    .position(|index| index.constraint() && index.name == called)
            }
        };
        index.map(|at| Some(Conflict::Index(at))).ok_or_else(|| {
            PgError::new(
                "42P10",
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            )
        })
    }
}

fn insert_columns(table: &Table, insert: &ast::Insert) -> PgResult<Vec<u16>> {
    if insert.columns.is_empty() {
        let given = match insert.source.as_ref().map(|source| source.body.as_ref()) {
            Some(ast::SetExpr::Values(values)) => {
                values.rows.first().map_or(0, |row| row.content.len())
            }
            _ => table.columns.len(),
        };
        return Ok((0..table.columns.len().min(given) as u16).collect());
    }
    let mut columns = Vec::new();
    for column in &insert.columns {
        let called = name(column)?;
        let Some(at) = table.column(&called) else {
            let message = format!(
                "column \"{called}\" of relation \"{}\" does not exist",
                table.name
            );
            return Err(PgError::new("42703", message).at(column));
        };
        if columns.contains(&at) {
            return Err(PgError::new(
                "42701",
                format!("column \"{called}\" specified more than once"),
            )
            .at(column));
        }
        columns.push(at);
    }
    Ok(columns)
}

fn check_insert(insert: &ast::Insert) -> PgResult<()> {
    let Statement::Insert(mut read) = blank("INSERT INTO t VALUES (1)")? else {
        return Err(PgError::internal("a blank INSERT"));
    };
    read.table = insert.table.clone();
    read.columns.clone_from(&insert.columns);
    read.source.clone_from(&insert.source);
    read.on.clone_from(&insert.on);
    read.returning.clone_from(&insert.returning);
    if let Some(source) = &insert.source
        && let ast::SetExpr::Values(_) = source.body.as_ref()
    {
        let mut bare = (**source).clone();
        (bare.with, bare.order_by, bare.limit_clause, bare.fetch) = (None, None, None, None);
        bare.locks.clear();
        only(&**source, &bare)?;
    }
    only(insert, &read)
}
