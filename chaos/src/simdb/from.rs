//! Compiles FROM: tables, partitions, functions and subqueries, joined in textual order.
//!
//! Invariant: each table brings its row security along; a join that is not an inner one is refused.

use std::sync::Arc;

use sqlparser::ast::{self, TableFactor};

use super::{
    bind::{Binder, Rel, Scope},
    catalog::{Command, Relation, privilege},
    error::{PgError, PgResult},
    expr::Expr,
    lock::Mode,
    parse::{ident, name},
    plan::{Access, Scan, Source},
    select::columns_of,
    types::{CastContext, Columns, Type},
};

type FactorSource<'f> = (Source, Arc<str>, Columns, Option<&'f ast::TableAlias>);

/// FROM as compiled so far.
#[derive(Default)]
pub(super) struct From {
    pub rels: Vec<Rel>,
    pub scans: Vec<Scan>,
    pub on: Vec<ast::Expr>,
    /// Row security.
    pub conjuncts: Vec<Expr>,
}

impl Binder<'_> {
    pub(super) fn from(
        &mut self,
        select: &ast::Select,
        parent: Option<&Scope<'_>>,
    ) -> PgResult<From> {
        let mut from = From::default();
        for item in &select.from {
            self.factor(&item.relation, parent, &mut from)?;
            for join in &item.joins {
                self.factor(&join.relation, parent, &mut from)?;
                match &join.join_operator {
                    _ if join.global => return Err(PgError::unsupported("GLOBAL JOIN")),
                    ast::JoinOperator::Join(ast::JoinConstraint::On(on))
                    | ast::JoinOperator::Inner(ast::JoinConstraint::On(on)) => {
                        from.on.push(on.clone())
                    }
                    ast::JoinOperator::CrossJoin(ast::JoinConstraint::None) => {}
                    _ => {
                        return Err(PgError::unsupported(format!(
                            "the join `{join}`: only [INNER] JOIN … ON and CROSS JOIN"
                        ))
                        .at(&join.relation));
                    }
                }
            }
        }
        Ok(from)
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        parent: Option<&Scope<'_>>,
        from: &mut From,
    ) -> PgResult<()> {
        let (source, default, mut columns, alias) = self
            .factor_source(factor, parent)
            .map_err(|error| error.at(factor))?;
        let called = match alias {
            None => default,
            Some(alias) => {
                for (at, column) in alias.columns.iter().enumerate() {
                    match (columns.get_mut(at), &column.data_type) {
                        (Some(slot), None) => slot.0 = ident(&column.name),
                        _ => {
                            return Err(
                                PgError::unsupported(format!("the alias `{alias}`")).at(factor)
                            );
                        }
                    }
                }
                // A function's only column is called as the function's alias.
                if matches!(source, Source::Series(..)) && alias.columns.is_empty() {
                    columns[0].0 = ident(&alias.name);
                }
                ident(&alias.name)
            }
        };
        if from.rels.iter().any(|rel| rel.alias == called) {
            return Err(PgError::new(
                "42712",
                format!("table name \"{called}\" specified more than once"),
            )
            .at(factor));
        }
        let rel = Rel {
            alias: called,
            slot: self.fresh_slot()?,
            columns,
        };
        if let Source::Table(id, None) = source {
            let table = self.catalog.table(id)?.clone();
            from.conjuncts
                .extend(self.row_security(&table, Command::Select, &rel)?);
        }
        from.scans.push(Scan {
            slot: rel.slot,
            source,
            access: Access::Scan,
            filter: Vec::new(),
            recheck: Vec::new(),
        });
        from.rels.push(rel);
        Ok(())
    }

    fn factor_source<'f>(
        &mut self,
        factor: &'f TableFactor,
        parent: Option<&Scope<'_>>,
    ) -> PgResult<FactorSource<'f>> {
        match factor {
            TableFactor::Table {
                name: object,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let called = name(object)?;
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err(PgError::unsupported(format!("`{factor}` in FROM")));
                    }
                    let (source, columns) = self.function_source(&called, &args.args, parent)?;
                    return Ok((source, called, columns, alias.as_ref()));
                }
                let (id, partition) = match self.catalog.relation(&called)? {
                    Relation::Table(id) => (id, None),
                    Relation::Partition(id, partition) => (id, Some(partition)),
                    _ => {
                        return Err(PgError::new(
                            "42809",
                            format!("cannot open relation \"{called}\""),
                        ));
                    }
                };
                let columns = self.table_source(id, partition)?;
                Ok((
                    Source::Table(id, partition),
                    called,
                    columns,
                    alias.as_ref(),
                ))
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias: Some(alias),
                sample: None,
            } => {
                let plan = self.query(subquery, None)?;
                let columns = plan.columns.clone();
                Ok((
                    Source::Derived(Arc::new(plan)),
                    "".into(),
                    columns,
                    Some(alias),
                ))
            }
            _ => Err(PgError::unsupported(format!("`{factor}` in FROM"))),
        }
    }

    fn table_source(&mut self, id: u32, partition: Option<u16>) -> PgResult<Columns> {
        let table = self.catalog.table(id)?.clone();
        self.lock_table(id, Mode::AccessShare);
        match &table.partitions {
            // Read by its own name, a partition has its own privileges: its owner's only.
            Some(parts) if partition.is_some() => {
                let leaf = partition.map_or(&table.name, |at| &parts.parts[usize::from(at)].name);
                let none = Default::default();
                if self.denied.is_none()
                    && !self
                        .catalog
                        .allows(self.role, &table.owner, &none, privilege::SELECT)
                {
                    self.denied = Some(PgError::new(
                        "42501",
                        format!("permission denied for table {leaf}"),
                    ));
                }
            }
            _ => self.need(id, privilege::SELECT)?,
        }
        Ok(columns_of(&table))
    }

    fn function_source(
        &mut self,
        called: &str,
        args: &[ast::FunctionArg],
        parent: Option<&Scope<'_>>,
    ) -> PgResult<(Source, Columns)> {
        match called {
            "pg_control_checkpoint" if args.is_empty() => Ok((
                Source::ControlCheckpoint,
                vec![("timeline_id".into(), Type::Int4)],
            )),
            "generate_series" if args.len() == 2 => {
                let mut bounds = Vec::new();
                let scope = Scope { rels: &[], parent };
                for arg in args {
                    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg else {
                        return Err(PgError::unsupported(format!("the argument {arg}")));
                    };
                    bounds.push(self.typed(expr, &scope, Type::Int8, CastContext::Implicit)?);
                }
                match <[Expr; 2]>::try_from(bounds) {
                    // Typed as PostgreSQL types two integer literals, the case at hand.
                    Ok([low, high]) => Ok((
                        Source::Series(low, high),
                        vec![("generate_series".into(), Type::Int4)],
                    )),
                    Err(_) => Err(PgError::internal("two bounds")),
                }
            }
            _ => Err(PgError::unsupported(format!(
                "the function {called}() in FROM"
            ))),
        }
    }
}
