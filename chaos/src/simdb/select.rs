//! Compiles queries: FROM in textual order as nested loops, filters at the first place where they can be judged.
//!
//! Invariant: row security is part of the filters of each table, before the query's own. What the executor cannot do (outer
//! joins, set operations, windows, WITH) is refused here.

use std::sync::Arc;

use ledger::ports::Value;
use sqlparser::ast::{self, SetExpr};

use super::{
    access,
    bind::{Binder, Group, Scope},
    call::has_aggregate,
    catalog::{Command, Table, privilege},
    error::{PgError, PgResult},
    expr::Expr,
    lock::Mode,
    parse::{blank, ident, name, only},
    plan::{Access, Grouping, HashKeys, Scan, SelectPlan, SortKey, Source, WaitPolicy},
    types::{CastContext, Columns, Type},
};

/// Flattens a conjunction.
pub fn conjuncts(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::And(list) => list.into_iter().for_each(|item| conjuncts(item, into)),
        Expr::Const(Value::Bool(true)) => {}
        other => into.push(other),
    }
}

/// Bits of the slots that an expression reads, its subqueries' outer references included.
pub fn slots_of(expr: &Expr) -> u16 {
    let mut bits = 0;
    expr.walk(&mut |part| match part {
        Expr::Col(slot, _) => bits |= 1 << slot,
        Expr::Exists(plan, _) | Expr::Scalar(plan) | Expr::InQuery(_, plan, _) => {
            bits |= outer_slots(&plan.0)
        }
        _ => {}
    });
    bits
}

fn outer_slots(plan: &SelectPlan) -> u16 {
    let mut used = 0;
    let mut own = 0;
    let mut exprs: Vec<&Expr> = plan.guard.iter().chain(&plan.project).collect();
    for scan in &plan.scans {
        own |= 1 << scan.slot;
        exprs.extend(&scan.recheck);
        match &scan.source {
            Source::Series(from, to) => exprs.extend([from, to]),
            Source::Derived(inner) => used |= outer_slots(inner),
            _ => {}
        }
    }
    if let Some(group) = &plan.grouping {
        own |= 1 << group.slot;
        exprs.extend(group.keys.iter().chain(&group.having));
        exprs.extend(group.aggs.iter().filter_map(|agg| agg.arg.as_ref()));
    }
    exprs.extend(plan.order.iter().map(|key| &key.expr));
    exprs.extend(plan.limit.iter().chain(&plan.offset));
    if let Some(hash) = &plan.hash {
        exprs.extend(hash.outer.iter().chain(&hash.inner));
    }
    for expr in exprs {
        used |= slots_of(expr);
    }
    used & !own
}

impl Binder<'_> {
    /// Moves what depends on no row into slots that are evaluated once per execution.
    pub fn hoist(&mut self, expr: &mut Expr) {
        if matches!(
            expr,
            Expr::Const(_) | Expr::Param(_) | Expr::Col(..) | Expr::Once(..)
        ) {
            return;
        }
        let mut constant = self.allow_once;
        expr.walk(&mut |part| match part {
            Expr::Col(..)
            | Expr::Exists(..)
            | Expr::Scalar(_)
            | Expr::InQuery(..)
            | Expr::Once(..) => constant = false,
            Expr::Call(func, _) => constant &= func.stable(),
            _ => {}
        });
        if constant {
            let inner = std::mem::replace(expr, Expr::Const(Value::Null));
            *expr = Expr::Once(self.once as u16, Box::new(inner));
            self.once += 1;
            return;
        }
        expr.each_child(&mut |child| self.hoist(child));
    }

    /// Compiles a query.
    pub fn query(
        &mut self,
        query: &ast::Query,
        parent: Option<&Scope<'_>>,
    ) -> PgResult<SelectPlan> {
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(
                PgError::unsupported(format!("the query `{query}`: only SELECT")).at(query),
            );
        };
        check_shape(query, select).map_err(|error| error.at(query))?;
        let mut parts = self.from(select, parent)?;
        let rels = std::mem::take(&mut parts.rels);
        let scope = Scope {
            rels: &rels,
            parent,
        };
        let (lock, for_update) = lock_clause(query)?;
        if lock.is_some()
            && (parts.scans.len() != 1 || !matches!(parts.scans[0].source, Source::Table(_, None)))
        {
            return Err(PgError::unsupported("FOR UPDATE of anything but one table").at(query));
        }
        if for_update
            && let Some(Source::Table(table, _)) =
                parts.scans.first().map(|scan| scan.source.clone())
        {
            self.need(table, privilege::UPDATE)?;
            self.lock_table(table, Mode::RowShare);
            let table = self.catalog.table(table)?.clone();
            parts
                .conjuncts
                .extend(self.row_security(&table, Command::Update, &rels[0])?);
        }
        for on in &parts.on {
            conjuncts(self.condition(on, &scope)?, &mut parts.conjuncts);
        }
        if let Some(selection) = &select.selection {
            conjuncts(self.condition(selection, &scope)?, &mut parts.conjuncts);
        }
        let grouping = self.grouping(select, &scope)?;
        self.group = grouping;
        let output = self.output(query, select, &scope);
        let group = self.group.take();
        let mut plan = output?;
        if let (Some(group), Some(grouping)) = (group, plan.grouping.as_mut()) {
            grouping.keys = group.keys.into_iter().map(|(_, key, _)| key).collect();
            grouping.aggs = group.aggs;
        }
        if lock.is_some() && (plan.grouping.is_some() || plan.distinct) {
            return Err(PgError::new(
                "0A000",
                "FOR UPDATE is not allowed with aggregates or DISTINCT",
            )
            .at(query));
        }
        plan.lock = lock;
        self.place(&mut plan, parts.scans, parts.conjuncts)?;
        Ok(plan)
    }

    /// Puts each conjunct where it can first be judged and picks the access paths.
    pub fn place(
        &mut self,
        plan: &mut SelectPlan,
        mut scans: Vec<Scan>,
        mut conjuncts: Vec<Expr>,
    ) -> PgResult<()> {
        for conjunct in &mut conjuncts {
            self.hoist(conjunct);
            if let Expr::Cmp(_, a, b) = conjunct {
                let sides = [&**a, &**b];
                plan.eager.extend(
                    sides
                        .into_iter()
                        .filter(|side| matches!(side, Expr::Once(..)))
                        .cloned(),
                );
            }
        }
        let own: u16 = scans.iter().map(|scan| 1 << scan.slot).sum();
        let mut rest = Vec::new();
        for conjunct in conjuncts {
            let level = scans
                .iter()
                .rposition(|scan| slots_of(&conjunct) & own & (1 << scan.slot) != 0);
            match level {
                Some(level) => scans[level].recheck.push(conjunct),
                None => rest.push(conjunct),
            }
        }
        plan.guard = rest;
        for (at, scan) in scans.iter_mut().enumerate() {
            let single = at == 0 && plan.grouping.is_none();
            let order = if single { &plan.order[..] } else { &[] };
            let ordered = match scan.source {
                Source::Table(id, None) => {
                    access::choose(self.catalog.table(id)?, scan, order, plan.limit.is_some())
                }
                _ => {
                    scan.filter = scan.recheck.clone();
                    false
                }
            };
            if single {
                plan.ordered = ordered || plan.order.is_empty();
            }
        }
        if scans.len() != 1 && !plan.order.is_empty() && scans.len() > 1 {
            // A nested loop keeps the order of its outer side only if each outer row is alone with its key.
            plan.ordered = false;
        }
        plan.scans = scans;
        Ok(())
    }

    fn grouping(&mut self, select: &ast::Select, scope: &Scope<'_>) -> PgResult<Option<Group>> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = &select.group_by else {
            return Err(PgError::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(PgError::unsupported("a modifier of GROUP BY"));
        }
        let aggregated = select.projection.iter().any(|item| {
            matches!(item, ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } if has_aggregate(expr))
        });
        if exprs.is_empty() && !aggregated && select.having.is_none() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for expr in exprs {
            if matches!(expr, ast::Expr::Value(_)) {
                return Err(PgError::unsupported("GROUP BY by position").at(expr));
            }
            let (mut bound, ty) = self.bind(expr, scope)?;
            if !matches!(bound, Expr::Col(..)) {
                self.hoist(&mut bound);
            }
            keys.push((expr.clone(), bound, ty));
        }
        Ok(Some(Group {
            slot: self.fresh_slot()?,
            keys,
            aggs: Vec::new(),
        }))
    }

    /// Select list, HAVING, ORDER BY, LIMIT.
    fn output(
        &mut self,
        query: &ast::Query,
        select: &ast::Select,
        scope: &Scope<'_>,
    ) -> PgResult<SelectPlan> {
        let (mut project, columns) = self.projection(&select.projection, scope)?;
        let mut having = Vec::new();
        if let Some(expr) = &select.having {
            conjuncts(self.condition(expr, scope)?, &mut having);
        }
        let mut order = Vec::new();
        if let Some(by) = &query.order_by {
            let ast::OrderByKind::Expressions(list) = &by.kind else {
                return Err(PgError::unsupported("ORDER BY ALL"));
            };
            for item in list {
                let expr = self.order_expr(&item.expr, &project, &columns, scope)?;
                let descending = item.options.sort == Some(ast::OrderBySort::Desc);
                let nulls_first = item.options.nulls_first.unwrap_or(descending);
                order.push(SortKey {
                    expr,
                    descending,
                    nulls_first,
                });
            }
        }
        let (mut limit, mut offset) = self.limit(query)?;
        let hoisted = project
            .iter_mut()
            .chain(having.iter_mut())
            .chain(order.iter_mut().map(|key| &mut key.expr));
        hoisted
            .chain(&mut limit)
            .chain(&mut offset)
            .for_each(|expr| self.hoist(expr));
        let grouping = self.group.as_ref().map(|group| Grouping {
            slot: group.slot,
            keys: Vec::new(),
            aggs: Vec::new(),
            having,
        });
        Ok(SelectPlan {
            guard: Vec::new(),
            scans: Vec::new(),
            eager: Vec::new(),
            grouping,
            project,
            columns,
            distinct: matches!(select.distinct, Some(ast::Distinct::Distinct)),
            order,
            ordered: false,
            limit,
            offset,
            lock: None,
            hash: None,
        })
    }

    fn order_expr(
        &mut self,
        expr: &ast::Expr,
        project: &[Expr],
        columns: &[(Arc<str>, Type)],
        scope: &Scope<'_>,
    ) -> PgResult<Expr> {
        let at = match expr {
            ast::Expr::Value(ast::ValueWithSpan {
                value: ast::Value::Number(text, _),
                ..
            }) => {
                let at = text
                    .parse::<usize>()
                    .ok()
                    .and_then(|at| at.checked_sub(1))
                    .filter(|at| *at < project.len());
                Some(at.ok_or_else(|| {
                    PgError::new(
                        "42P10",
                        format!("ORDER BY position {text} is not in select list"),
                    )
                    .at(expr)
                })?)
            }
            ast::Expr::Identifier(column) => {
                columns.iter().position(|(name, _)| *name == ident(column))
            }
            _ => None,
        };
        match at {
            Some(at) => Ok(project[at].clone()),
            None => Ok(self.bind(expr, scope)?.0),
        }
    }

    fn limit(&mut self, query: &ast::Query) -> PgResult<(Option<Expr>, Option<Expr>)> {
        let none = Scope {
            rels: &[],
            parent: None,
        };
        let mut bound =
            |expr: &ast::Expr| self.typed(expr, &none, Type::Int8, CastContext::Implicit);
        match &query.limit_clause {
            None => Ok((None, None)),
            Some(ast::LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) if limit_by.is_empty() => {
                let limit = limit.as_ref().map(&mut bound).transpose()?;
                let offset = offset
                    .as_ref()
                    .map(|offset| bound(&offset.value))
                    .transpose()?;
                Ok((limit, offset))
            }
            Some(clause) => Err(PgError::unsupported(format!("the clause `{clause}`"))),
        }
    }

    /// A select list or a RETURNING list.
    pub fn projection(
        &mut self,
        items: &[ast::SelectItem],
        scope: &Scope<'_>,
    ) -> PgResult<(Vec<Expr>, Columns)> {
        let mut project = Vec::new();
        let mut columns = Vec::new();
        for item in items {
            let (expr, alias) = match item {
                ast::SelectItem::UnnamedExpr(expr) => (expr, None),
                ast::SelectItem::ExprWithAlias { expr, alias } => (expr, Some(ident(alias))),
                ast::SelectItem::Wildcard(options)
                    if *options == ast::WildcardAdditionalOptions::default()
                        && self.group.is_none() =>
                {
                    for rel in scope.rels {
                        for (at, (name, ty)) in rel.columns.iter().enumerate() {
                            project.push(Expr::Col(rel.slot, at as u16));
                            columns.push((name.clone(), *ty));
                        }
                    }
                    continue;
                }
                _ => {
                    return Err(PgError::unsupported(format!("`{item}` in a select list")).at(item));
                }
            };
            let (bound, ty) = self.bind(expr, scope)?;
            let shown = if ty == Type::Unknown { Type::Text } else { ty };
            project.push(self.coerce(bound, ty, shown, CastContext::Implicit)?);
            columns.push((alias.unwrap_or_else(|| output_name(expr)), shown));
        }
        Ok((project, columns))
    }
}

pub fn columns_of(table: &Table) -> Columns {
    table
        .columns
        .iter()
        .map(|column| (column.name.clone(), column.ty))
        .collect()
}

/// PostgreSQL's name of an unnamed output column.
fn output_name(expr: &ast::Expr) -> Arc<str> {
    match expr {
        ast::Expr::Identifier(column) => ident(column),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map_or("?column?".into(), ident),
        ast::Expr::Function(function) => name(&function.name).unwrap_or_else(|_| "?column?".into()),
        ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => output_name(inner),
        _ => "?column?".into(),
    }
}

fn lock_clause(query: &ast::Query) -> PgResult<(Option<(Mode, WaitPolicy)>, bool)> {
    match query.locks.as_slice() {
        [] => Ok((None, false)),
        [
            ast::LockClause {
                lock_type,
                of: None,
                nonblock,
            },
        ] => {
            let mode = match lock_type {
                ast::LockType::Update => Mode::Update,
                ast::LockType::Share => Mode::RowShared,
            };
            let policy = match nonblock {
                None => WaitPolicy::Block,
                Some(ast::NonBlock::SkipLocked) => WaitPolicy::Skip,
                Some(ast::NonBlock::Nowait) => WaitPolicy::NoWait,
            };
            Ok((Some((mode, policy)), true))
        }
        _ => Err(PgError::unsupported(
            "several locking clauses, or FOR UPDATE OF",
        )),
    }
}

/// Rebuilds the query from the parts that are compiled; whatever else it has makes the two differ.
fn check_shape(query: &ast::Query, select: &ast::Select) -> PgResult<()> {
    let ast::Statement::Query(mut read) = blank("SELECT 1")? else {
        return Err(PgError::internal("a blank SELECT"));
    };
    let SetExpr::Select(body) = read.body.as_mut() else {
        return Err(PgError::internal("a blank SELECT"));
    };
    body.projection.clone_from(&select.projection);
    body.from.clone_from(&select.from);
    body.selection.clone_from(&select.selection);
    body.group_by.clone_from(&select.group_by);
    body.having.clone_from(&select.having);
    if matches!(select.distinct, Some(ast::Distinct::Distinct)) {
        body.distinct.clone_from(&select.distinct);
    }
    if let Some(by) = &query.order_by {
        if by.interpolate.is_some() {
            return Err(PgError::unsupported("INTERPOLATE"));
        }
        if let ast::OrderByKind::Expressions(list) = &by.kind
            && list.iter().any(|item| item.with_fill.is_some())
        {
            return Err(PgError::unsupported("WITH FILL"));
        }
    }
    read.order_by.clone_from(&query.order_by);
    read.limit_clause.clone_from(&query.limit_clause);
    read.locks.clone_from(&query.locks);
    only(query, &*read)
}

/// Turns the correlated equalities of an EXISTS subquery into hash keys, if nothing else ties it to its outer query.
pub fn hash_keys(plan: &mut SelectPlan, memos: &mut usize) {
    let plain = plan.scans.len() == 1
        && plan.grouping.is_none()
        && plan.limit.is_none()
        && plan.lock.is_none();
    if !plain || !matches!(plan.scans[0].source, Source::Table(..)) {
        return;
    }
    let own = 1 << plan.scans[0].slot;
    let scan = &plan.scans[0];
    // An index that is entered with the outer row's value is better than reading all.
    if let Access::Index {
        equal, low, high, ..
    } = &scan.access
    {
        let mut bounds = equal
            .iter()
            .chain(low.iter().chain(high).map(|(bound, _)| bound));
        if bounds.any(|bound| slots_of(bound) != 0) {
            return;
        }
    }
    let mut outer = Vec::new();
    let mut inner = Vec::new();
    let mut rest = Vec::new();
    for conjunct in &scan.recheck {
        let ties = slots_of(conjunct) & !own != 0;
        match conjunct {
            Expr::Cmp(super::expr::CmpOp::Eq, a, b)
                if ties && slots_of(a) == own && slots_of(b) & own == 0 =>
            {
                inner.push((**a).clone());
                outer.push((**b).clone());
            }
            Expr::Cmp(super::expr::CmpOp::Eq, a, b)
                if ties && slots_of(b) == own && slots_of(a) & own == 0 =>
            {
                inner.push((**b).clone());
                outer.push((**a).clone());
            }
            _ if ties => return,
            other => rest.push(other.clone()),
        }
    }
    let guarded = plan.guard.iter().any(|conjunct| slots_of(conjunct) != 0);
    if inner.is_empty() || guarded {
        return;
    }
    plan.scans[0].recheck = rest;
    plan.scans[0]
        .filter
        .retain(|conjunct| slots_of(conjunct) & !own == 0);
    plan.hash = Some(HashKeys {
        memo: *memos as u16,
        outer,
        inner,
    });
    *memos += 1;
}
