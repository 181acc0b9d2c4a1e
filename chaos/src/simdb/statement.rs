//! Compiles one statement for one role.
//!
//! Invariant: the target of a change is slot 0, so that the table's own CHECK expressions can be evaluated in its place.

use std::sync::Arc;

use ledger::ports::Value;
use sqlparser::ast::{self, Statement};

use super::{
    bind::{Binder, Rel, Scope},
    catalog::{Catalog, Command, Table, privilege},
    error::{PgError, PgResult},
    expr::Expr,
    lock::Mode,
    parse::{Parsed, blank, ident, name, only},
    plan::{
        Access, Action, Change, Plan, PolicyCheck, Returning, Scan, SelectPlan, Source, WaitPolicy,
    },
    select::{columns_of, conjuncts},
    types::{CastContext, Type},
};

/// Compiles a statement.
pub fn compile(catalog: &Catalog, role: &str, parsed: &Parsed) -> PgResult<Plan> {
    let mut binder = Binder::new(catalog, role);
    let mut writes = None;
    let action = match &*parsed.statement {
        Statement::Query(query) => {
            let plan = binder.query(query, None)?;
            writes = plan.lock.map(|(mode, _)| {
                if mode == Mode::Update {
                    "SELECT FOR UPDATE"
                } else {
                    "SELECT FOR SHARE"
                }
            });
            Action::Select(Arc::new(plan))
        }
        Statement::Insert(insert) => {
            writes = Some("INSERT");
            binder.insert(insert)?
        }
        Statement::Update(update) => {
            writes = Some("UPDATE");
            binder.update(update)?
        }
        Statement::Delete(delete) => {
            writes = Some("DELETE");
            binder.delete(delete)?
        }
        Statement::Set(set) => setting(set)?,
        Statement::StartTransaction {
            modes,
            modifier: None,
            statements,
            exception: None,
            has_end_keyword: false,
            ..
        } if statements.is_empty() => {
            read_committed(modes)?;
            Action::Begin
        }
        Statement::Commit {
            chain: false,
            modifier: None,
            ..
        } => Action::Commit,
        Statement::Rollback {
            chain: false,
            savepoint: None,
        } => Action::Rollback,
        other => {
            writes = Some("DDL");
            super::ddl::supported(other).map_err(|error| error.at(other))?;
            Action::Ddl(parsed.statement.clone(), parsed.text.clone())
        }
    };
    let params = binder.params.iter().map(|ty| {
        if *ty == Type::Unknown {
            Type::Text
        } else {
            *ty
        }
    });
    Ok(Plan {
        action,
        params: params.collect(),
        denied: binder.denied,
        once: binder.once,
        memos: binder.memos,
        tables: binder.tables,
        writes,
    })
}

fn read_committed(modes: &[ast::TransactionMode]) -> PgResult<()> {
    for mode in modes {
        if !matches!(
            mode,
            ast::TransactionMode::IsolationLevel(ast::TransactionIsolationLevel::ReadCommitted)
        ) {
            return Err(PgError::unsupported(format!(
                "the transaction mode {mode}: only READ COMMITTED"
            )));
        }
    }
    Ok(())
}

fn setting(set: &ast::Set) -> PgResult<Action> {
    let ast::Set::SingleAssignment {
        scope,
        hivevar: false,
        variable,
        values,
    } = set
    else {
        return Err(PgError::unsupported(format!("`{set}`")));
    };
    let variable: Vec<String> = variable.0.iter().map(ToString::to_string).collect();
    let variable: Arc<str> = variable.join(".").to_ascii_lowercase().into();
    let [value] = values.as_slice() else {
        return Err(PgError::unsupported(format!("`{set}`")));
    };
    let local = match scope {
        None | Some(ast::ContextModifier::Session) => false,
        Some(ast::ContextModifier::Local) => true,
        Some(ast::ContextModifier::Global) => return Err(PgError::unsupported(format!("`{set}`"))),
    };
    let text: Arc<str> = match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.as_str().into(),
            ast::Value::Number(text, _) => text.as_str().into(),
            ast::Value::Boolean(value) => value.to_string().into(),
            _ => return Err(PgError::unsupported(format!("`{set}`"))),
        },
        ast::Expr::Identifier(word) => ident(word),
        _ => return Err(PgError::unsupported(format!("`{set}`"))),
    };
    Ok(Action::Set(variable, Some(text), local))
}

/// Whether any of these reads a column of the target.
pub(super) fn reads_target<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> bool {
    exprs
        .into_iter()
        .any(|expr| super::select::slots_of(expr) & 1 != 0)
}

impl Binder<'_> {
    pub(super) fn target(
        &mut self,
        id: u32,
        alias: Option<Arc<str>>,
    ) -> PgResult<(Arc<Table>, Rel)> {
        let table = self.catalog.table(id)?.clone();
        let rel = Rel {
            alias: alias.unwrap_or_else(|| table.name.clone()),
            slot: self.fresh_slot()?,
            columns: columns_of(&table),
        };
        self.lock_table(id, Mode::RowExclusive);
        Ok((table, rel))
    }

    pub(super) fn returning(
        &mut self,
        items: Option<&Vec<ast::SelectItem>>,
        scope: &Scope<'_>,
    ) -> PgResult<Option<Returning>> {
        items
            .map(|items| {
                let (mut project, _) = self.projection(items, scope)?;
                project.iter_mut().for_each(|expr| self.hoist(expr));
                Ok(Returning { project })
            })
            .transpose()
    }

    /// A column's default, or NULL.
    pub fn default_of(&mut self, table: &Table, column: usize) -> PgResult<Expr> {
        let column = &table.columns[column];
        let Some(default) = &column.default else {
            return Ok(Expr::Const(Value::Null));
        };
        let none = Scope {
            rels: &[],
            parent: None,
        };
        let mut bound = self.typed(default, &none, column.ty, CastContext::Assignment)?;
        self.hoist(&mut bound);
        Ok(bound)
    }

    /// The rows of an UPDATE or DELETE, as a query over slot 0 that locks what it finds.
    fn target_query(
        &mut self,
        table: &Table,
        rel: &Rel,
        command: Command,
        selection: Option<&ast::Expr>,
        reads: bool,
        mode: Mode,
    ) -> PgResult<SelectPlan> {
        let rels = std::slice::from_ref(rel);
        let mut own = Vec::new();
        if let Some(selection) = selection {
            conjuncts(
                self.condition(selection, &Scope { rels, parent: None })?,
                &mut own,
            );
        }
        let mut all = self.row_security(table, command, rel)?;
        if reads || reads_target(&own) {
            self.need(table.id, privilege::SELECT)?;
            all.extend(self.row_security(table, Command::Select, rel)?);
        }
        all.extend(own);
        let mut plan = SelectPlan {
            guard: Vec::new(),
            scans: Vec::new(),
            eager: Vec::new(),
            grouping: None,
            project: Vec::new(),
            columns: Vec::new(),
            distinct: false,
            order: Vec::new(),
            ordered: true,
            limit: None,
            offset: None,
            lock: Some((mode, WaitPolicy::Block)),
            hash: None,
        };
        let scan = Scan {
            slot: 0,
            source: Source::Table(table.id, None),
            access: Access::Scan,
            filter: Vec::new(),
            recheck: Vec::new(),
        };
        all.dedup();
        self.place(&mut plan, vec![scan], all)?;
        Ok(plan)
    }

    fn update(&mut self, update: &ast::Update) -> PgResult<Action> {
        check_update(update)?;
        let (table, rel) = self.plain_target(&update.table)?;
        let id = table.id;
        self.need(id, privilege::UPDATE)?;
        let rels = std::slice::from_ref(&rel);
        let scope = Scope { rels, parent: None };
        let mut sets = Vec::new();
        for assignment in &update.assignments {
            let ast::AssignmentTarget::ColumnName(column) = &assignment.target else {
                return Err(PgError::unsupported(format!("`{assignment}`")));
            };
            let called = name(column)?;
            let Some(at) = table.column(&called) else {
                let message = format!(
                    "column \"{called}\" of relation \"{}\" does not exist",
                    table.name
                );
                return Err(PgError::new("42703", message).at(column));
            };
            if sets.iter().any(|(known, _)| *known == at) {
                return Err(PgError::new(
                    "42601",
                    format!("multiple assignments to same column \"{called}\""),
                )
                .at(column));
            }
            let ty = table.columns[usize::from(at)].ty;
            let mut bound = match is_default(&assignment.value) {
                true => self.default_of(&table, usize::from(at))?,
                false => self.typed(&assignment.value, &scope, ty, CastContext::Assignment)?,
            };
            self.hoist(&mut bound);
            sets.push((at, bound));
        }
        let returning = self.returning(update.returning.as_ref(), &scope)?;
        let reads = reads_target(sets.iter().map(|(_, expr)| expr))
            || returning
                .as_ref()
                .is_some_and(|list| reads_target(&list.project));
        let mode = if sets.iter().any(|(column, _)| table.is_key(*column)) {
            Mode::Update
        } else {
            Mode::NoKeyUpdate
        };
        let target = self.target_query(
            &table,
            &rel,
            Command::Update,
            update.selection.as_ref(),
            reads,
            mode,
        )?;
        let mut check = self.row_security_check(&table, Command::Update, &rel)?;
        if reads || reads_target(&target.scans[0].recheck) {
            check.extend(self.row_security(&table, Command::Select, &rel)?);
        }
        check.dedup();
        check.iter_mut().for_each(|expr| self.hoist(expr));
        Ok(Action::Change {
            table: id,
            target: Arc::new(target),
            change: Change::Update(sets),
            check: PolicyCheck { all: check },
            returning,
        })
    }

    fn delete(&mut self, delete: &ast::Delete) -> PgResult<Action> {
        let ast::FromTable::WithFromKeyword(from) = &delete.from else {
            return Err(PgError::unsupported(format!("`{delete}`")));
        };
        let Statement::Delete(mut read) = blank("DELETE FROM t")? else {
            return Err(PgError::internal("a blank DELETE"));
        };
        read.from = delete.from.clone();
        read.selection.clone_from(&delete.selection);
        read.returning.clone_from(&delete.returning);
        only(delete, &read)?;
        let [from] = from.as_slice() else {
            return Err(PgError::unsupported(format!("`{delete}`")));
        };
        let (table, rel) = self.plain_target(from)?;
        self.need(table.id, privilege::DELETE)?;
        let rels = std::slice::from_ref(&rel);
        let returning = self.returning(delete.returning.as_ref(), &Scope { rels, parent: None })?;
        let reads = returning
            .as_ref()
            .is_some_and(|list| reads_target(&list.project));
        let target = self.target_query(
            &table,
            &rel,
            Command::Delete,
            delete.selection.as_ref(),
            reads,
            Mode::Update,
        )?;
        Ok(Action::Change {
            table: table.id,
            target: Arc::new(target),
            change: Change::Delete,
            check: PolicyCheck { all: Vec::new() },
            returning,
        })
    }

    fn plain_target(&mut self, from: &ast::TableWithJoins) -> PgResult<(Arc<Table>, Rel)> {
        let ast::TableFactor::Table {
            name: object,
            alias,
            ..
        } = &from.relation
        else {
            return Err(PgError::unsupported(format!("`{from}` as the target")));
        };
        let mut read = from.clone();
        read.joins.clear();
        if let ast::TableFactor::Table {
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } = &mut read.relation
        {
            (*args, *version, *json_path, *sample, *with_ordinality) =
                (None, None, None, None, false);
            with_hints.clear();
            partitions.clear();
            index_hints.clear();
        }
        only(from, &read)?;
        let id = self
            .catalog
            .table_named(&name(object)?)
            .map_err(|error| error.at(object))?
            .id;
        self.target(id, alias.as_ref().map(|alias| ident(&alias.name)))
    }
}

pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

fn check_update(update: &ast::Update) -> PgResult<()> {
    let Statement::Update(mut read) = blank("UPDATE t SET a = 1")? else {
        return Err(PgError::internal("a blank UPDATE"));
    };
    read.table = update.table.clone();
    read.assignments.clone_from(&update.assignments);
    read.selection.clone_from(&update.selection);
    read.returning.clone_from(&update.returning);
    only(update, &read)
}
