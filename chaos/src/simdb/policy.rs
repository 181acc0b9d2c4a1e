//! Row security: which conditions a role's policies add to a statement.
//!
//! Invariant: as in PostgreSQL, permissive policies are joined with OR, restrictive ones with AND; where row security applies and
//! no policy does, no row passes. Superusers and BYPASSRLS pass by; owners too, unless it is forced on them.

use ledger::ports::Value;
use sqlparser::ast;

use super::{
    bind::{Binder, Rel, Scope},
    catalog::{Command, Policy, Table},
    error::PgResult,
    expr::Expr,
    select::conjuncts,
};

impl Binder<'_> {
    fn row_security_applies(&self, table: &Table) -> PgResult<bool> {
        let role = self.catalog.role(self.role)?;
        let exempt = role.superuser
            || role.bypass_rls
            || (*table.owner == *self.role && !table.force_row_security);
        Ok(table.row_security && !exempt)
    }

    /// Conditions on the rows that a command may see or touch.
    pub fn row_security(
        &mut self,
        table: &Table,
        command: Command,
        rel: &Rel,
    ) -> PgResult<Vec<Expr>> {
        self.policies(table, command, rel, |policy| policy.using.as_ref())
    }

    /// Conditions on the rows that a command may leave behind.
    pub fn row_security_check(
        &mut self,
        table: &Table,
        command: Command,
        rel: &Rel,
    ) -> PgResult<Vec<Expr>> {
        self.policies(table, command, rel, |policy| {
            policy.check.as_ref().or(policy.using.as_ref())
        })
    }

    fn policies(
        &mut self,
        table: &Table,
        command: Command,
        rel: &Rel,
        expr: impl Fn(&Policy) -> Option<&ast::Expr>,
    ) -> PgResult<Vec<Expr>> {
        if !self.row_security_applies(table)? {
            return Ok(Vec::new());
        }
        let rels = std::slice::from_ref(rel);
        let scope = Scope { rels, parent: None };
        let group = self.group.take();
        let mut any = Vec::new();
        let mut all = Vec::new();
        for policy in &table.policies {
            let named =
                policy.roles.is_empty() || policy.roles.iter().any(|role| **role == *self.role);
            if !named || policy.command.is_some_and(|only| only != command) {
                continue;
            }
            // A policy without the clause lets every row pass in this respect.
            let bound = match expr(policy) {
                Some(expr) => self.condition(expr, &scope)?,
                None => Expr::Const(Value::Bool(true)),
            };
            if policy.restrictive {
                &mut all
            } else {
                &mut any
            }
            .push(bound);
        }
        self.group = group;
        let mut conditions = Vec::new();
        match any.len() {
            0 => conditions.push(Expr::Const(Value::Bool(false))),
            1 => conjuncts(any.remove(0), &mut conditions),
            _ => conditions.push(Expr::Or(any)),
        }
        all.into_iter()
            .for_each(|condition| conjuncts(condition, &mut conditions));
        Ok(conditions)
    }
}
