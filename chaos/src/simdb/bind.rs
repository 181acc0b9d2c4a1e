//! Binding: from syntax to typed expressions.
//!
//! Invariant: types are decided here, as PostgreSQL decides them: a literal or parameter of unknown type takes the type of what
//! stands on the other side. Anything not handled is an error with its place.

use std::sync::Arc;

use ledger::ports::Value;
use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::{
    catalog::Catalog,
    error::{PgError, PgResult},
    expr::{ArithOp, CmpOp, Expr, SLOTS, Subquery},
    lock::Mode,
    parse::ident,
    plan::Agg,
    select::hash_keys,
    types::{CastContext, Columns, Type, cast, castable, parse_text},
};

/// One table in FROM.
#[derive(Clone, Debug)]
pub struct Rel {
    pub alias: Arc<str>,
    pub slot: u16,
    pub columns: Columns,
}

/// What names mean; a subquery sees its parents' too.
#[derive(Clone, Copy)]
pub struct Scope<'p> {
    pub rels: &'p [Rel],
    pub parent: Option<&'p Scope<'p>>,
}

/// Set while the output of a grouped query is bound.
pub struct Group {
    pub slot: u16,
    pub keys: Vec<(ast::Expr, Expr, Type)>,
    pub aggs: Vec<Agg>,
}

/// State of compiling one statement for one role.
pub struct Binder<'c> {
    pub catalog: &'c Catalog,
    pub role: &'c str,
    pub params: Vec<Type>,
    pub slots: u16,
    pub once: usize,
    pub memos: usize,
    pub tables: Vec<(u32, Mode)>,
    pub denied: Option<Box<PgError>>,
    pub group: Option<Group>,
    /// Outside of statements (CHECK, index predicates) nothing is kept between rows.
    pub allow_once: bool,
}

pub(super) type Typed = (Expr, Type);

impl<'c> Binder<'c> {
    pub fn new(catalog: &'c Catalog, role: &'c str) -> Binder<'c> {
        Binder {
            catalog,
            role,
            params: Vec::new(),
            slots: 0,
            once: 0,
            memos: 0,
            tables: Vec::new(),
            denied: None,
            group: None,
            allow_once: true,
        }
    }

    pub fn fresh_slot(&mut self) -> PgResult<u16> {
        if usize::from(self.slots) >= SLOTS {
            return Err(PgError::unsupported(format!(
                "more than {SLOTS} tables in one statement"
            )));
        }
        self.slots += 1;
        Ok(self.slots - 1)
    }

    /// Remembers that the statement needs these privileges on a table.
    pub fn need(&mut self, table: u32, wanted: u8) -> PgResult<()> {
        let table = self.catalog.table(table)?;
        if self.denied.is_none()
            && !self
                .catalog
                .allows(self.role, &table.owner, &table.grants, wanted)
        {
            self.denied = Some(PgError::new(
                "42501",
                format!("permission denied for table {}", table.name),
            ));
        }
        Ok(())
    }

    pub fn lock_table(&mut self, table: u32, mode: Mode) {
        match self.tables.iter_mut().find(|(known, _)| *known == table) {
            Some((_, held)) => *held = (*held).max(mode),
            None => self.tables.push((table, mode)),
        }
    }

    /// Binds a condition.
    pub fn condition(&mut self, expr: &ast::Expr, scope: &Scope<'_>) -> PgResult<Expr> {
        let (bound, ty) = self.bind(expr, scope)?;
        if ty != Type::Bool && ty != Type::Unknown {
            let message = format!(
                "argument of WHERE must be type boolean, not type {}",
                ty.name()
            );
            return Err(PgError::new("42804", message).at(expr));
        }
        self.coerce(bound, ty, Type::Bool, CastContext::Implicit)
            .map_err(|error| error.at(expr))
    }

    /// Binds and converts to a wanted type.
    pub fn typed(
        &mut self,
        expr: &ast::Expr,
        scope: &Scope<'_>,
        want: Type,
        context: CastContext,
    ) -> PgResult<Expr> {
        let (bound, ty) = self.bind(expr, scope)?;
        self.coerce(bound, ty, want, context)
            .map_err(|error| error.at(expr))
    }

    /// Converts a bound expression; a literal is read at once, a parameter takes the type.
    pub fn coerce(
        &mut self,
        expr: Expr,
        from: Type,
        to: Type,
        context: CastContext,
    ) -> PgResult<Expr> {
        if from == Type::Unknown {
            return match expr {
                Expr::Const(Value::Text(text)) => Ok(Expr::Const(parse_text(to, &text)?)),
                Expr::Param(index) => {
                    self.params[usize::from(index)] =
                        if to == Type::Int4 { Type::Int8 } else { to };
                    Ok(if to == Type::Int4 {
                        Expr::Cast(Type::Int4, Box::new(Expr::Param(index)))
                    } else {
                        Expr::Param(index)
                    })
                }
                other => Ok(other),
            };
        }
        if !castable(from, to, context) {
            let message = match context {
                CastContext::Explicit => {
                    format!("cannot cast type {} to {}", from.name(), to.name())
                }
                _ => format!(
                    "expression is of type {} where {} is expected",
                    from.name(),
                    to.name()
                ),
            };
            return Err(PgError::new(
                if context == CastContext::Explicit {
                    "42846"
                } else {
                    "42804"
                },
                message,
            ));
        }
        Ok(match expr {
            expr if from == to || (from == Type::Int4 && to == Type::Int8) => expr,
            Expr::Const(value) => Expr::Const(cast(value, to)?),
            expr => Expr::Cast(to, Box::new(expr)),
        })
    }

    pub fn bind(&mut self, expr: &ast::Expr, scope: &Scope<'_>) -> PgResult<Typed> {
        if let Some(found) = self.grouped(expr, scope)? {
            return Ok(found);
        }
        use ast::Expr as E;
        match expr {
            E::Nested(inner) => self.bind(inner, scope),
            E::Identifier(column) => self.column(None, column, scope),
            E::CompoundIdentifier(parts) => match parts.as_slice() {
                [rel, column] => self.column(Some(rel), column, scope),
                _ => Err(PgError::unsupported(format!("the name {expr}")).at(expr)),
            },
            E::Value(value) => self.literal(&value.value).map_err(|error| error.at(expr)),
            E::TypedString(typed) => {
                let ty = data_type(&typed.data_type).map_err(|error| error.at(expr))?;
                let (value, _) = self.literal(&typed.value.value)?;
                Ok((
                    self.coerce(value, Type::Unknown, ty, CastContext::Explicit)
                        .map_err(|error| error.at(expr))?,
                    ty,
                ))
            }
            E::Interval(interval)
                if interval.leading_field.is_none() && interval.last_field.is_none() =>
            {
                Ok((
                    self.typed(
                        &interval.value,
                        scope,
                        Type::Interval,
                        CastContext::Explicit,
                    )?,
                    Type::Interval,
                ))
            }
            E::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr: inner,
                data_type: ty,
                format: None,
            } => {
                let ty = data_type(ty).map_err(|error| error.at(expr))?;
                Ok((self.typed(inner, scope, ty, CastContext::Explicit)?, ty))
            }
            E::UnaryOp { op, expr: inner } => {
                self.unary(op, inner, scope).map_err(|error| error.at(expr))
            }
            E::BinaryOp { left, op, right } => self
                .binary(left, op, right, scope)
                .map_err(|error| error.at(expr)),
            E::IsNull(inner) => Ok((
                Expr::IsNull(Box::new(self.any(inner, scope)?), false),
                Type::Bool,
            )),
            E::IsNotNull(inner) => Ok((
                Expr::IsNull(Box::new(self.any(inner, scope)?), true),
                Type::Bool,
            )),
            E::IsTrue(inner) => self.is_bool(inner, true, false, scope),
            E::IsNotTrue(inner) => self.is_bool(inner, true, true, scope),
            E::IsFalse(inner) => self.is_bool(inner, false, false, scope),
            E::IsNotFalse(inner) => self.is_bool(inner, false, true, scope),
            E::IsDistinctFrom(a, b) => self
                .distinct(a, b, false, scope)
                .map_err(|error| error.at(expr)),
            E::IsNotDistinctFrom(a, b) => self
                .distinct(a, b, true, scope)
                .map_err(|error| error.at(expr)),
            E::Between {
                expr: probe,
                negated,
                low,
                high,
            } => {
                let low = self
                    .compare(CmpOp::Ge, probe, low, scope)
                    .map_err(|error| error.at(expr))?;
                let high = self
                    .compare(CmpOp::Le, probe, high, scope)
                    .map_err(|error| error.at(expr))?;
                let both = Expr::And(vec![low, high]);
                Ok((
                    if *negated {
                        Expr::Not(Box::new(both))
                    } else {
                        both
                    },
                    Type::Bool,
                ))
            }
            E::InList {
                expr: probe,
                list,
                negated,
            } => self
                .in_list(probe, list, *negated, scope)
                .map_err(|error| error.at(expr)),
            E::InSubquery {
                expr: probe,
                subquery,
                negated,
            } => {
                let (plan, columns) = self.subquery(subquery, scope)?;
                let [(_, ty)] = columns.as_slice() else {
                    return Err(PgError::new("42601", "subquery has too many columns").at(expr));
                };
                let probe = self.typed(probe, scope, *ty, CastContext::Implicit)?;
                Ok((Expr::InQuery(Box::new(probe), plan, *negated), Type::Bool))
            }
            E::Exists { subquery, negated } => {
                let (Subquery(mut plan), _) = self.subquery(subquery, scope)?;
                hash_keys(Arc::make_mut(&mut plan), &mut self.memos);
                Ok((Expr::Exists(Subquery(plan), *negated), Type::Bool))
            }
            E::Subquery(query) => {
                let (plan, columns) = self.subquery(query, scope)?;
                let [(_, ty)] = columns.as_slice() else {
                    return Err(
                        PgError::new("42601", "subquery must return only one column").at(expr),
                    );
                };
                Ok((Expr::Scalar(plan), *ty))
            }
            E::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(
                operand.as_deref(),
                conditions,
                else_result.as_deref(),
                scope,
            ),
            E::Function(function) => self
                .function(function, scope)
                .map_err(|error| error.at(expr)),
            _ => Err(PgError::unsupported(format!("the expression `{expr}`")).at(expr)),
        }
    }

    fn any(&mut self, expr: &ast::Expr, scope: &Scope<'_>) -> PgResult<Expr> {
        let (bound, ty) = self.bind(expr, scope)?;
        self.coerce(
            bound,
            ty,
            if ty == Type::Unknown { Type::Text } else { ty },
            CastContext::Implicit,
        )
    }

    fn is_bool(
        &mut self,
        inner: &ast::Expr,
        wanted: bool,
        negated: bool,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let inner = self.typed(inner, scope, Type::Bool, CastContext::Implicit)?;
        Ok((Expr::IsBool(Box::new(inner), wanted, negated), Type::Bool))
    }

    /// In the output of a grouped query, a grouping expression stands for its key.
    fn grouped(&mut self, expr: &ast::Expr, scope: &Scope<'_>) -> PgResult<Option<Typed>> {
        let Some(group) = self.group.take() else {
            return Ok(None);
        };
        let is_name = matches!(
            expr,
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)
        );
        let found = if is_name {
            let bound = self.bind(expr, scope);
            let slot = group.slot;
            match bound {
                Err(error) => Err(error),
                Ok((bound, _)) => match group.keys.iter().position(|(_, key, _)| *key == bound) {
                    Some(at) => Ok(Some((Expr::Col(slot, at as u16), group.keys[at].2))),
                    None if matches!(bound, Expr::Col(slot, _) if scope.rels.iter().any(|rel| rel.slot == slot)) =>
                    {
                        let shown = shown_column(&bound, scope);
                        let message = format!(
                            "column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function"
                        );
                        Err(PgError::new("42803", message).at(expr))
                    }
                    None => Ok(None),
                },
            }
        } else {
            let at = group.keys.iter().position(|(key, ..)| key == expr);
            Ok(at.map(|at| (Expr::Col(group.slot, at as u16), group.keys[at].2)))
        };
        self.group = Some(group);
        found
    }

    fn column(
        &mut self,
        rel: Option<&ast::Ident>,
        column: &ast::Ident,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let wanted = ident(column);
        let alias = rel.map(ident);
        let mut level = Some(scope);
        while let Some(scope) = level {
            let mut found = None;
            for rel in scope
                .rels
                .iter()
                .filter(|rel| alias.as_ref().is_none_or(|alias| *alias == rel.alias))
            {
                if let Some(at) = rel.columns.iter().position(|(name, _)| *name == wanted) {
                    if found.is_some() {
                        return Err(PgError::new(
                            "42702",
                            format!("column reference \"{wanted}\" is ambiguous"),
                        )
                        .at_name(column));
                    }
                    found = Some((Expr::Col(rel.slot, at as u16), rel.columns[at].1));
                }
            }
            if let Some(found) = found {
                return Ok(found);
            }
            level = scope.parent;
        }
        let shown = match alias {
            Some(alias) => format!("column {alias}.{wanted} does not exist"),
            None => format!("column \"{wanted}\" does not exist"),
        };
        Err(PgError::new("42703", shown).at_name(column))
    }

    fn literal(&mut self, value: &ast::Value) -> PgResult<Typed> {
        use ast::Value as V;
        Ok(match value {
            V::Null => (Expr::Const(Value::Null), Type::Unknown),
            V::Boolean(value) => (Expr::Const(Value::Bool(*value)), Type::Bool),
            V::Number(text, false) => match text.parse::<i64>() {
                Ok(value) => {
                    let ty = if i32::try_from(value).is_ok() {
                        Type::Int4
                    } else {
                        Type::Int8
                    };
                    (Expr::Const(Value::Int(value)), ty)
                }
                Err(_) => {
                    return Err(PgError::unsupported(format!(
                        "the number {text}: only whole numbers of 64 bits"
                    )));
                }
            },
            V::SingleQuotedString(text) | V::EscapedStringLiteral(text) => (
                Expr::Const(Value::Text(text.as_str().into())),
                Type::Unknown,
            ),
            V::Placeholder(text) => {
                let number = text
                    .strip_prefix('$')
                    .and_then(|digits| digits.parse::<u16>().ok())
                    .filter(|number| (1..=64).contains(number));
                let Some(number) = number else {
                    return Err(PgError::unsupported(format!(
                        "the parameter {text}: $1 to $64"
                    )));
                };
                let index = number - 1;
                if self.params.len() <= usize::from(index) {
                    self.params.resize(usize::from(index) + 1, Type::Unknown);
                }
                (Expr::Param(index), self.params[usize::from(index)])
            }
            _ => return Err(PgError::unsupported(format!("the literal {value}"))),
        })
    }

    fn unary(
        &mut self,
        op: &UnaryOperator,
        inner: &ast::Expr,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        match op {
            UnaryOperator::Not => {
                let inner = self.typed(inner, scope, Type::Bool, CastContext::Implicit)?;
                Ok((Expr::Not(Box::new(inner)), Type::Bool))
            }
            UnaryOperator::Minus => {
                let (inner, ty) = self.bind(inner, scope)?;
                match (inner, ty) {
                    (Expr::Const(Value::Int(value)), _) => {
                        Ok((Expr::Const(Value::Int(-value)), ty))
                    }
                    (inner, Type::Int4 | Type::Int8 | Type::Interval) => {
                        Ok((Expr::Neg(ty, Box::new(inner)), ty))
                    }
                    _ => Err(PgError::new(
                        "42883",
                        format!("operator does not exist: - {}", ty.name()),
                    )),
                }
            }
            UnaryOperator::Plus => self.bind(inner, scope),
            _ => Err(PgError::unsupported(format!("the operator {op}"))),
        }
    }

    fn binary(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        use BinaryOperator as B;
        let cmp = match op {
            B::And | B::Or => {
                let mut list = Vec::new();
                for side in [left, right] {
                    match (
                        self.typed(side, scope, Type::Bool, CastContext::Implicit)?,
                        op,
                    ) {
                        (Expr::And(parts), B::And) | (Expr::Or(parts), B::Or) => list.extend(parts),
                        (other, _) => list.push(other),
                    }
                }
                return Ok((
                    if *op == B::And {
                        Expr::And(list)
                    } else {
                        Expr::Or(list)
                    },
                    Type::Bool,
                ));
            }
            B::Eq => CmpOp::Eq,
            B::NotEq => CmpOp::Ne,
            B::Lt => CmpOp::Lt,
            B::LtEq => CmpOp::Le,
            B::Gt => CmpOp::Gt,
            B::GtEq => CmpOp::Ge,
            B::Plus => return self.arith(ArithOp::Add, left, right, scope),
            B::Minus => return self.arith(ArithOp::Sub, left, right, scope),
            B::Multiply => return self.arith(ArithOp::Mul, left, right, scope),
            B::Divide => return self.arith(ArithOp::Div, left, right, scope),
            B::Modulo => return self.arith(ArithOp::Mod, left, right, scope),
            B::StringConcat => return self.arith(ArithOp::Concat, left, right, scope),
            _ => return Err(PgError::unsupported(format!("the operator {op}"))),
        };
        Ok((self.compare(cmp, left, right, scope)?, Type::Bool))
    }

    /// Brings two sides to one type, as the comparison operators need it.
    fn common(&mut self, a: Typed, b: Typed, op: &str) -> PgResult<(Expr, Expr, Type)> {
        let ((a, ta), (b, tb)) = (a, b);
        let ty = match (ta, tb) {
            (Type::Unknown, Type::Unknown) => Type::Text,
            (Type::Unknown, ty) | (ty, Type::Unknown) => ty,
            (a, b) if a == b => a,
            (Type::Int4, Type::Int8) | (Type::Int8, Type::Int4) => Type::Int8,
            (Type::Date, Type::Timestamptz) | (Type::Timestamptz, Type::Date) => Type::Timestamptz,
            _ => {
                return Err(PgError::new(
                    "42883",
                    format!("operator does not exist: {} {op} {}", ta.name(), tb.name()),
                ));
            }
        };
        let widen = |ty| if ty == Type::Int4 { Type::Int8 } else { ty };
        let a = self.coerce(
            a,
            ta,
            if ta == Type::Unknown { widen(ty) } else { ty },
            CastContext::Implicit,
        )?;
        let b = self.coerce(
            b,
            tb,
            if tb == Type::Unknown { widen(ty) } else { ty },
            CastContext::Implicit,
        )?;
        Ok((a, b, ty))
    }

    fn compare(
        &mut self,
        op: CmpOp,
        left: &ast::Expr,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> PgResult<Expr> {
        let (left, right) = (self.bind(left, scope)?, self.bind(right, scope)?);
        let (left, right, _) = self.common(left, right, op.symbol())?;
        Ok(Expr::Cmp(op, Box::new(left), Box::new(right)))
    }

    fn distinct(
        &mut self,
        a: &ast::Expr,
        b: &ast::Expr,
        negated: bool,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let (a, b) = (self.bind(a, scope)?, self.bind(b, scope)?);
        let (a, b, _) = self.common(a, b, "=")?;
        Ok((
            Expr::Distinct(Box::new(a), Box::new(b), negated),
            Type::Bool,
        ))
    }

    fn in_list(
        &mut self,
        probe: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let (mut probe, mut ty) = self.bind(probe, scope)?;
        let mut bound = Vec::new();
        for item in list {
            let item = self.bind(item, scope)?;
            let (new_probe, item, common) = self.common((probe, ty), item, "=")?;
            (probe, ty) = (new_probe, common);
            bound.push(item);
        }
        Ok((Expr::In(Box::new(probe), bound, negated), Type::Bool))
    }

    fn arith(
        &mut self,
        op: ArithOp,
        left: &ast::Expr,
        right: &ast::Expr,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        use Type::{Date, Int4, Int8, Interval, Text, Timestamptz, Unknown};
        let ((left, lt), (right, rt)) = (self.bind(left, scope)?, self.bind(right, scope)?);
        let symbol = match op {
            ArithOp::Add => "+",
            ArithOp::Sub => "-",
            ArithOp::Mul => "*",
            ArithOp::Div => "/",
            ArithOp::Mod => "%",
            ArithOp::Concat => "||",
        };
        // What an unknown side becomes: PostgreSQL prefers the other side's type where such an operator exists.
        let guess = |other: Type| match (op, other) {
            (ArithOp::Concat, _) | (_, Unknown) => Text,
            (ArithOp::Mul, Interval) => Int8,
            (ArithOp::Add, Timestamptz) => Interval,
            (ArithOp::Add, Date) => Int4,
            (_, other) => other,
        };
        let want_left = if lt == Unknown { guess(rt) } else { lt };
        let want_right = if rt == Unknown { guess(lt) } else { rt };
        let left = self.coerce(left, lt, want_left, CastContext::Implicit)?;
        let right = self.coerce(right, rt, want_right, CastContext::Implicit)?;
        let result = match (op, want_left, want_right) {
            (ArithOp::Concat, Text, _) | (ArithOp::Concat, _, Text) => Some(Text),
            (ArithOp::Concat, ..) => None,
            (_, Int4, Int4) => Some(Int4),
            (_, Int4 | Int8, Int4 | Int8) => Some(Int8),
            (ArithOp::Add | ArithOp::Sub, Date, Int4) | (ArithOp::Add, Int4, Date) => Some(Date),
            (ArithOp::Sub, Date, Date) => Some(Int4),
            (ArithOp::Add | ArithOp::Sub, Timestamptz, Interval)
            | (ArithOp::Add, Interval, Timestamptz) => Some(Timestamptz),
            (ArithOp::Sub, Timestamptz, Timestamptz) => Some(Interval),
            (ArithOp::Add | ArithOp::Sub, Interval, Interval) => Some(Interval),
            (ArithOp::Mul, Interval, Int4 | Int8) | (ArithOp::Mul, Int4 | Int8, Interval) => {
                Some(Interval)
            }
            _ => None,
        };
        let Some(result) = result else {
            let message = format!(
                "operator does not exist: {} {symbol} {}",
                want_left.name(),
                want_right.name()
            );
            return Err(PgError::new("42883", message));
        };
        let (left, right) = match op {
            ArithOp::Concat => (
                self.coerce(left, want_left, Text, CastContext::Assignment)?,
                self.coerce(right, want_right, Text, CastContext::Assignment)?,
            ),
            _ => (left, right),
        };
        Ok((
            Expr::Arith(op, result, Box::new(left), Box::new(right)),
            result,
        ))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        other: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> PgResult<Typed> {
        let mut whens = Vec::new();
        let mut values = Vec::new();
        for arm in conditions {
            whens.push(match operand {
                Some(operand) => self.compare(CmpOp::Eq, operand, &arm.condition, scope)?,
                None => self.condition(&arm.condition, scope)?,
            });
            values.push(self.bind(&arm.result, scope)?);
        }
        if let Some(other) = other {
            values.push(self.bind(other, scope)?);
        }
        let (mut values, ty) = self.unify(values)?;
        let other = if other.is_some() {
            values.pop().map(Box::new)
        } else {
            None
        };
        Ok((
            Expr::Case(whens.into_iter().zip(values).collect(), other),
            ty,
        ))
    }

    /// Brings several expressions to one type.
    pub(super) fn unify(&mut self, values: Vec<Typed>) -> PgResult<(Vec<Expr>, Type)> {
        let mut ty = Type::Unknown;
        for (_, next) in &values {
            ty = match (ty, *next) {
                (Type::Unknown, next) => next,
                (ty, Type::Unknown) => ty,
                (ty, next) if castable(next, ty, CastContext::Implicit) => ty,
                (ty, next) if castable(ty, next, CastContext::Implicit) => next,
                (ty, next) => {
                    return Err(PgError::new(
                        "42804",
                        format!("types {} and {} cannot be matched", ty.name(), next.name()),
                    ));
                }
            };
        }
        if ty == Type::Unknown {
            ty = Type::Text;
        }
        let coerced = values
            .into_iter()
            .map(|(expr, from)| self.coerce(expr, from, ty, CastContext::Implicit));
        Ok((coerced.collect::<PgResult<_>>()?, ty))
    }

    pub(super) fn subquery(
        &mut self,
        query: &ast::Query,
        scope: &Scope<'_>,
    ) -> PgResult<(Subquery, Columns)> {
        let group = self.group.take();
        let plan = self.query(query, Some(scope));
        self.group = group;
        let plan = plan?;
        let columns = plan.columns.clone();
        Ok((Subquery(Arc::new(plan)), columns))
    }
}

/// A column's or a cast's type.
pub fn data_type(ty: &ast::DataType) -> PgResult<Type> {
    use ast::DataType as D;
    Ok(match ty {
        D::Boolean | D::Bool => Type::Bool,
        D::Int(None) | D::Integer(None) | D::Int4(None) => Type::Int4,
        D::BigInt(None) | D::Int8(None) => Type::Int8,
        D::Text => Type::Text,
        D::Uuid => Type::Uuid,
        D::Date => Type::Date,
        D::Timestamp(None, ast::TimezoneInfo::Tz | ast::TimezoneInfo::WithTimeZone) => {
            Type::Timestamptz
        }
        D::Interval {
            fields: None,
            precision: None,
        } => Type::Interval,
        _ => return Err(PgError::unsupported(format!("the type {ty}"))),
    })
}

/// A column as PostgreSQL's messages show it: with its table.
fn shown_column(bound: &Expr, scope: &Scope<'_>) -> String {
    let Expr::Col(slot, column) = bound else {
        return String::new();
    };
    let rel = scope.rels.iter().find(|rel| rel.slot == *slot);
    rel.map_or_else(String::new, |rel| {
        format!("{}.{}", rel.alias, rel.columns[usize::from(*column)].0)
    })
}
