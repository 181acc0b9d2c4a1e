//! Binding calls: functions, aggregates, sequences.
//!
//! Invariant: a function that is not in the table of `func` is an error; an aggregate belongs to the query whose output is bound.

use ledger::ports::Value;
use sqlparser::ast;

use super::{
    bind::{Binder, Scope, Typed},
    catalog::{Relation, privilege},
    error::{PgError, PgResult},
    expr::Expr,
    func::{Func, signature},
    parse::name,
    plan::{Agg, AggFunc},
    types::{CastContext, Type},
};

impl Binder<'_> {
    pub(super) fn function(
        &mut self,
        function: &ast::Function,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let called = name(&function.name)?;
        let plain = function.filter.is_none()
            && function.over.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none()
            && !function.uses_odbc_syntax
            && matches!(function.parameters, ast::FunctionArguments::None);
        if !plain {
            return Err(PgError::unsupported(format!(
                "a clause of the call `{function}`"
            )));
        }
        let list = match &function.args {
            ast::FunctionArguments::None => None,
            ast::FunctionArguments::List(list) if list.clauses.is_empty() => Some(list),
            _ => {
                return Err(PgError::unsupported(format!(
                    "a clause of the call `{function}`"
                )));
            }
        };
        let distinct = list.is_some_and(|list| {
            list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct)
        });
        let mut args = Vec::new();
        let mut star = false;
        for arg in list.map_or(&[][..], |list| &list.args) {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => args.push(expr),
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) => star = true,
                _ => return Err(PgError::unsupported(format!("the argument {arg}"))),
            }
        }
        if let Some(func) = aggregate(&called, star) {
            return self.aggregate(&called, func, &args, distinct, scope);
        }
        if distinct || star {
            return Err(PgError::unsupported(format!(
                "a clause of the call `{function}`"
            )));
        }
        self.scalar_call(&called, &args, scope)
    }

    fn scalar_call(
        &mut self,
        called: &str,
        args: &[&ast::Expr],
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let Some(sig) = signature(called) else {
            return Err(PgError::unsupported(format!("the function {called}()")));
        };
        let least = sig.args.len() - sig.optional;
        if args.len() < least || (args.len() > sig.args.len() && !sig.variadic) {
            return Err(PgError::new(
                "42883",
                format!(
                    "function {called} does not exist with {} arguments",
                    args.len()
                ),
            ));
        }
        if sig.func == Func::Nextval {
            return self.nextval(args[0]);
        }
        if sig.result == Type::Unknown {
            let bound = args
                .iter()
                .map(|arg| self.bind(arg, scope))
                .collect::<PgResult<Vec<_>>>()?;
            let (bound, ty) = self.unify(bound)?;
            return Ok((Expr::Call(sig.func, bound), ty));
        }
        let mut bound = Vec::new();
        for (arg, ty) in args.iter().zip(sig.args) {
            bound.push(self.typed(arg, scope, *ty, CastContext::Implicit)?);
        }
        Ok((Expr::Call(sig.func, bound), sig.result))
    }

    /// The sequence is named by a literal; its privilege is checked here.
    fn nextval(&mut self, arg: &ast::Expr) -> PgResult<Typed> {
        let inner = match arg {
            ast::Expr::Cast { expr, .. } => expr,
            other => other,
        };
        let ast::Expr::Value(ast::ValueWithSpan {
            value: ast::Value::SingleQuotedString(text),
            ..
        }) = inner
        else {
            return Err(PgError::unsupported(
                "nextval() of anything but a literal name",
            ));
        };
        let Relation::Sequence(id) = self.catalog.relation(text)? else {
            return Err(PgError::new(
                "42809",
                format!("\"{text}\" is not a sequence"),
            ));
        };
        let sequence = &self.catalog.sequences[&id];
        let allowed = [privilege::USAGE, privilege::UPDATE].iter().any(|wanted| {
            self.catalog
                .allows(self.role, &sequence.owner, &sequence.grants, *wanted)
        });
        if !allowed && self.denied.is_none() {
            self.denied = Some(PgError::new(
                "42501",
                format!("permission denied for sequence {text}"),
            ));
        }
        Ok((
            Expr::Call(Func::Nextval, vec![Expr::Const(Value::Int(id.into()))]),
            Type::Int8,
        ))
    }

    fn aggregate(
        &mut self,
        called: &str,
        func: AggFunc,
        args: &[&ast::Expr],
        distinct: bool,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let Some(mut group) = self.group.take() else {
            return Err(PgError::new(
                "42803",
                format!("aggregate function {called} is not allowed here"),
            ));
        };
        let result = (|| {
            let (arg, ty) = match (func, args) {
                (AggFunc::CountRows, []) => (None, Type::Int8),
                (AggFunc::CountRows, _) => {
                    return Err(PgError::new("42883", "count(*) takes no further argument"));
                }
                (_, [arg]) => {
                    let (bound, ty) = self.bind(arg, scope)?;
                    (Some(bound), ty)
                }
                _ => {
                    return Err(PgError::new(
                        "42883",
                        format!("function {called} takes one argument"),
                    ));
                }
            };
            let ty = match (func, ty) {
                (AggFunc::CountRows | AggFunc::Count, _) => Type::Int8,
                (AggFunc::Sum, Type::Int4) => Type::Int8,
                (AggFunc::Sum, Type::Interval) => Type::Interval,
                (AggFunc::Sum, ty) => {
                    return Err(PgError::unsupported(format!(
                        "sum({}): only integer and interval",
                        ty.name()
                    )));
                }
                (AggFunc::BoolAnd | AggFunc::BoolOr, Type::Bool) => Type::Bool,
                (AggFunc::Min | AggFunc::Max, ty) if !matches!(ty, Type::Uuid | Type::Bool) => ty,
                (_, ty) => {
                    return Err(PgError::new(
                        "42883",
                        format!("function {called}({}) does not exist", ty.name()),
                    ));
                }
            };
            Ok((
                Agg {
                    func,
                    arg,
                    distinct,
                },
                ty,
            ))
        })();
        let bound = result.map(|(agg, ty)| {
            let at = group.keys.len() + group.aggs.len();
            group.aggs.push(agg);
            (Expr::Col(group.slot, at as u16), ty)
        });
        self.group = Some(group);
        bound
    }
}

fn aggregate(name: &str, star: bool) -> Option<AggFunc> {
    Some(match name {
        "count" if star => AggFunc::CountRows,
        "count" => AggFunc::Count,
        "min" => AggFunc::Min,
        "max" => AggFunc::Max,
        "sum" => AggFunc::Sum,
        "bool_and" | "every" => AggFunc::BoolAnd,
        "bool_or" => AggFunc::BoolOr,
        _ => return None,
    })
}

/// Whether an expression calls an aggregate of this query level.
pub fn has_aggregate(expr: &ast::Expr) -> bool {
    use ast::Expr as E;
    match expr {
        E::Function(function) => {
            name(&function.name).is_ok_and(|name| aggregate(&name, true).is_some())
                || {
                    match &function.args {
                ast::FunctionArguments::List(list) => list.args.iter().any(|arg| {
                    matches!(arg, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) if has_aggregate(expr))
                }),
                _ => false,
            }
                }
        }
        E::Nested(a)
        | E::UnaryOp { expr: a, .. }
        | E::Cast { expr: a, .. }
        | E::IsNull(a)
        | E::IsNotNull(a) => has_aggregate(a),
        E::BinaryOp { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        E::InList { expr, list, .. } => has_aggregate(expr) || list.iter().any(has_aggregate),
        E::Between {
            expr, low, high, ..
        } => [expr, low, high].iter().any(|part| has_aggregate(part)),
        E::Case {
            conditions,
            else_result,
            ..
        } => {
            conditions
                .iter()
                .any(|arm| has_aggregate(&arm.condition) || has_aggregate(&arm.result))
                || else_result.as_deref().is_some_and(has_aggregate)
        }
        _ => false,
    }
}
