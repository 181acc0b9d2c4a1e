//! Typed expressions over row slices, and their evaluation with SQL's three-valued logic.
//!
//! Invariant: an expression was type-checked when it was bound, so evaluation meets only the variants its types allow; NULL
//! propagates through every strict operator. Columns of an outer query are further row slots, so correlation costs nothing.

use std::{cmp::Ordering, sync::Arc};

use ledger::ports::Value;

use super::{
    error::{PgError, PgResult, Run},
    func::{Func, call},
    plan::SelectPlan,
    query::{self, Env},
    types::{Type, cast, int4},
};

/// Row slots of one statement: its own tables and those of its subqueries.
pub const SLOTS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl CmpOp {
    /// The operator with its sides exchanged.
    pub fn flip(self) -> CmpOp {
        match self {
            CmpOp::Lt => CmpOp::Gt,
            CmpOp::Le => CmpOp::Ge,
            CmpOp::Gt => CmpOp::Lt,
            CmpOp::Ge => CmpOp::Le,
            same => same,
        }
    }

    pub fn symbol(self) -> &'static str {
        match self {
            CmpOp::Eq => "=",
            CmpOp::Ne => "<>",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            CmpOp::Eq => order.is_eq(),
            CmpOp::Ne => order.is_ne(),
            CmpOp::Lt => order.is_lt(),
            CmpOp::Le => order.is_le(),
            CmpOp::Gt => order.is_gt(),
            CmpOp::Ge => order.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Concat,
}

/// Type of an arithmetic result, and thereby its overflow error.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Const(Value),
    Param(u16),
    Col(u16, u16),
    /// Does not depend on any row: evaluated once per execution and kept in this slot.
    Once(u16, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Cmp(CmpOp, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>, bool),
    /// IS [NOT] TRUE / FALSE: value asked for, negated.
    IsBool(Box<Expr>, bool, bool),
    /// IS [NOT] DISTINCT FROM: negated.
    Distinct(Box<Expr>, Box<Expr>, bool),
    In(Box<Expr>, Vec<Expr>, bool),
    Arith(ArithOp, Type, Box<Expr>, Box<Expr>),
    Neg(Type, Box<Expr>),
    Cast(Type, Box<Expr>),
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    Call(Func, Vec<Expr>),
    Exists(Subquery, bool),
    Scalar(Subquery),
    /// x [NOT] IN (subquery): the subquery has one column.
    InQuery(Box<Expr>, Subquery, bool),
}

/// A compiled subquery; two are never taken for the same.
#[derive(Clone, Debug)]
pub struct Subquery(pub Arc<SelectPlan>);

impl PartialEq for Subquery {
    fn eq(&self, _: &Subquery) -> bool {
        false
    }
}

impl Expr {
    /// Calls `visit` on this expression and on those in it, subqueries excepted.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Const(_)
            | Expr::Param(_)
            | Expr::Col(..)
            | Expr::Exists(..)
            | Expr::Scalar(_) => {}
            Expr::Once(_, a)
            | Expr::Not(a)
            | Expr::IsNull(a, _)
            | Expr::IsBool(a, ..)
            | Expr::Neg(_, a)
            | Expr::Cast(_, a)
            | Expr::InQuery(a, ..) => a.walk(visit),
            Expr::Cmp(_, a, b) | Expr::Distinct(a, b, _) | Expr::Arith(_, _, a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
            Expr::And(list) | Expr::Or(list) | Expr::Call(_, list) => {
                list.iter().for_each(|item| item.walk(visit));
            }
            Expr::In(a, list, _) => {
                a.walk(visit);
                list.iter().for_each(|item| item.walk(visit));
            }
            Expr::Case(arms, other) => {
                for (when, then) in arms {
                    when.walk(visit);
                    then.walk(visit);
                }
                if let Some(other) = other {
                    other.walk(visit);
                }
            }
        }
    }

    /// Calls `visit` on the expressions directly in this one.
    pub fn each_child(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match self {
            Expr::Const(_)
            | Expr::Param(_)
            | Expr::Col(..)
            | Expr::Exists(..)
            | Expr::Scalar(_) => {}
            Expr::Once(_, a)
            | Expr::Not(a)
            | Expr::IsNull(a, _)
            | Expr::IsBool(a, ..)
            | Expr::Neg(_, a)
            | Expr::Cast(_, a)
            | Expr::InQuery(a, ..) => visit(a),
            Expr::Cmp(_, a, b) | Expr::Distinct(a, b, _) | Expr::Arith(_, _, a, b) => {
                visit(a);
                visit(b);
            }
            Expr::And(list) | Expr::Or(list) | Expr::Call(_, list) => {
                list.iter_mut().for_each(visit)
            }
            Expr::In(a, list, _) => {
                visit(a);
                list.iter_mut().for_each(visit);
            }
            Expr::Case(arms, other) => {
                for (when, then) in arms {
                    visit(when);
                    visit(then);
                }
                if let Some(other) = other {
                    visit(other);
                }
            }
        }
    }

    /// The value.
    pub fn eval(&self, env: &mut Env<'_>) -> Run<Value> {
        if let Some(value) = self.peek(env)? {
            return Ok(value.clone());
        }
        Ok(match self {
            Expr::Const(value) => value.clone(),
            Expr::Param(_) | Expr::Col(..) | Expr::Once(..) => Value::Null,
            Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Cmp(..)
            | Expr::IsNull(..)
            | Expr::IsBool(..)
            | Expr::Distinct(..)
            | Expr::In(..)
            | Expr::Exists(..)
            | Expr::InQuery(..) => self.test(env)?.map_or(Value::Null, Value::Bool),
            Expr::Arith(op, ty, a, b) => {
                let (a, b) = (a.eval(env)?, b.eval(env)?);
                arith(*op, *ty, &a, &b)?
            }
            Expr::Neg(ty, a) => match a.eval(env)? {
                Value::Int(value) => in_range(*ty, value.checked_neg())?,
                Value::Interval(us) => Value::Interval(us.saturating_neg()),
                _ => Value::Null,
            },
            Expr::Cast(to, a) => cast(a.eval(env)?, *to)?,
            Expr::Case(arms, other) => {
                for (when, then) in arms {
                    if when.test(env)? == Some(true) {
                        return then.eval(env);
                    }
                }
                match other {
                    Some(other) => other.eval(env)?,
                    None => Value::Null,
                }
            }
            Expr::Call(func, args) => call(*func, args, env)?,
            Expr::Scalar(plan) => query::scalar(&plan.0, env)?,
        })
    }

    /// The value by reference where it exists as one; `None` otherwise.
    fn peek<'e>(&'e self, env: &'e mut Env<'_>) -> Run<Option<&'e Value>> {
        Ok(match self {
            Expr::Const(value) => Some(value),
            Expr::Param(index) => env.params.get(usize::from(*index)),
            Expr::Col(slot, column) => env.rows[usize::from(*slot)].get(usize::from(*column)),
            Expr::Once(slot, inner) => {
                let slot = usize::from(*slot);
                if env.once[slot].is_none() {
                    env.once[slot] = Some(inner.eval(env)?);
                }
                env.once[slot].as_ref()
            }
            _ => None,
        })
    }

    /// The truth value of a boolean expression.
    pub fn test(&self, env: &mut Env<'_>) -> Run<Option<bool>> {
        Ok(match self {
            Expr::And(list) => {
                let mut result = Some(true);
                for item in list {
                    match item.test(env)? {
                        Some(false) => return Ok(Some(false)),
                        None => result = None,
                        Some(true) => {}
                    }
                }
                result
            }
            Expr::Or(list) => {
                let mut result = Some(false);
                for item in list {
                    match item.test(env)? {
                        Some(true) => return Ok(Some(true)),
                        None => result = None,
                        Some(false) => {}
                    }
                }
                result
            }
            Expr::Not(inner) => inner.test(env)?.map(|value| !value),
            Expr::Cmp(op, a, b) => compare_exprs(a, b, env)?.map(|order| op.holds(order)),
            Expr::IsNull(inner, negated) => Some(is_null(inner, env)? != *negated),
            Expr::IsBool(inner, wanted, negated) => {
                Some((inner.test(env)? == Some(*wanted)) != *negated)
            }
            Expr::Distinct(a, b, negated) => Some((a.eval(env)? != b.eval(env)?) != *negated),
            Expr::In(probe, list, negated) => {
                in_list(probe, list, env)?.map(|found| found != *negated)
            }
            Expr::Exists(plan, negated) => Some(query::exists(&plan.0, env)? != *negated),
            Expr::InQuery(probe, plan, negated) => {
                let probe = probe.eval(env)?;
                query::contains(&plan.0, &probe, env)?.map(|found| found != *negated)
            }
            _ => match self.eval(env)? {
                Value::Bool(value) => Some(value),
                _ => None,
            },
        })
    }
}

fn is_null(expr: &Expr, env: &mut Env<'_>) -> Run<bool> {
    if let Some(value) = expr.peek(env)? {
        return Ok(matches!(value, Value::Null));
    }
    Ok(matches!(expr.eval(env)?, Value::Null))
}

fn compare_exprs(a: &Expr, b: &Expr, env: &mut Env<'_>) -> Run<Option<Ordering>> {
    // The common case, a column against something that is already there, without a clone.
    if let (
        Expr::Col(slot, column),
        Expr::Const(_) | Expr::Param(_) | Expr::Col(..) | Expr::Once(..),
    ) = (a, b)
    {
        let row = env.rows[usize::from(*slot)];
        if let Some(right) = b.peek(env)? {
            return Ok(row
                .get(usize::from(*column))
                .and_then(|left| compare(left, right)));
        }
    }
    let left = a.eval(env)?;
    if matches!(left, Value::Null) {
        return Ok(None);
    }
    if let Some(right) = b.peek(env)? {
        return Ok(compare(&left, right));
    }
    Ok(compare(&left, &b.eval(env)?))
}

/// Order of two values of one type; `None` when either is NULL.
pub fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => None,
        _ => Some(a.cmp(b)),
    }
}

fn in_list(probe: &Expr, list: &[Expr], env: &mut Env<'_>) -> Run<Option<bool>> {
    let probe = probe.eval(env)?;
    if matches!(probe, Value::Null) {
        return Ok(None);
    }
    let mut unknown = false;
    for item in list {
        let equal = match item.peek(env)? {
            Some(value) => compare(&probe, value),
            None => compare(&probe, &item.eval(env)?),
        };
        match equal {
            Some(Ordering::Equal) => return Ok(Some(true)),
            None => unknown = true,
            Some(_) => {}
        }
    }
    Ok(if unknown { None } else { Some(false) })
}

fn in_range(ty: Type, value: Option<i64>) -> PgResult<Value> {
    match (ty, value) {
        (Type::Int4, Some(value)) => int4(value),
        (Type::Int4, None) => Err(PgError::new("22003", "integer out of range")),
        (_, Some(value)) => Ok(Value::Int(value)),
        (_, None) => Err(PgError::new("22003", "bigint out of range")),
    }
}

fn days(from: i32, days: Option<i64>) -> PgResult<Value> {
    days.and_then(|days| i64::from(from).checked_add(days))
        .and_then(|days| i32::try_from(days).ok())
        .map(Value::Date)
        .ok_or_else(|| PgError::new("22008", "date out of range"))
}

fn instant(us: Option<i64>) -> PgResult<Value> {
    us.map(Value::Timestamp)
        .ok_or_else(|| PgError::new("22008", "timestamp out of range"))
}

fn span(us: Option<i64>) -> PgResult<Value> {
    us.map(Value::Interval)
        .ok_or_else(|| PgError::new("22008", "interval out of range"))
}

fn arith(op: ArithOp, ty: Type, a: &Value, b: &Value) -> PgResult<Value> {
    use Value::{Date, Int, Interval, Null, Text, Timestamp};
    match (op, a, b) {
        (_, Null, _) | (_, _, Null) => Ok(Null),
        (ArithOp::Add, Int(a), Int(b)) => in_range(ty, a.checked_add(*b)),
        (ArithOp::Sub, Int(a), Int(b)) => in_range(ty, a.checked_sub(*b)),
        (ArithOp::Mul, Int(a), Int(b)) => in_range(ty, a.checked_mul(*b)),
        (ArithOp::Div | ArithOp::Mod, Int(_), Int(0)) => {
            Err(PgError::new("22012", "division by zero"))
        }
        (ArithOp::Div, Int(a), Int(b)) => in_range(ty, a.checked_div(*b)),
        (ArithOp::Mod, Int(a), Int(b)) => Ok(Int(a.wrapping_rem(*b))),
        (ArithOp::Add, Date(a), Int(b)) | (ArithOp::Add, Int(b), Date(a)) => days(*a, Some(*b)),
        (ArithOp::Sub, Date(a), Int(b)) => days(*a, b.checked_neg()),
        (ArithOp::Sub, Date(a), Date(b)) => Ok(Int(i64::from(*a) - i64::from(*b))),
        (ArithOp::Add, Timestamp(a), Interval(b)) | (ArithOp::Add, Interval(b), Timestamp(a)) => {
            instant(a.checked_add(*b))
        }
        (ArithOp::Sub, Timestamp(a), Interval(b)) => instant(a.checked_sub(*b)),
        (ArithOp::Sub, Timestamp(a), Timestamp(b)) => span(a.checked_sub(*b)),
        (ArithOp::Add, Interval(a), Interval(b)) => span(a.checked_add(*b)),
        (ArithOp::Sub, Interval(a), Interval(b)) => span(a.checked_sub(*b)),
        (ArithOp::Mul, Interval(a), Int(b)) | (ArithOp::Mul, Int(b), Interval(a)) => {
            span(a.checked_mul(*b))
        }
        (ArithOp::Concat, Text(a), Text(b)) => Ok(Text([&**a, &**b].concat().into())),
        _ => Err(PgError::internal(format!(
            "operator {op:?} on {a:?} and {b:?}"
        ))),
    }
}
