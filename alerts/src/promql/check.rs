//! Types: what an expression answers and what it takes. Messages and places are Prometheus' own.

use super::ast::{Aggregate, Binary, Expr, ExprKind, LabelMatcher, Selector};
use super::functions::{Signature, signature};
use super::literal;
use super::plan::{QueryError, ResultType};
use super::token::Kind;
use crate::labels::NAME;

use ResultType::{Matrix, Scalar, Text, Vector};

/// Checks a whole expression; the first complaint in reading order of the tree wins.
pub(super) fn check(text: &str, expr: &Expr) -> Result<(), QueryError> {
    let mut found = None;
    walk(expr, &mut |at, reason| {
        found.get_or_insert((at, reason));
    });
    match found {
        Some((at, reason)) => Err(QueryError::syntax(text, at, reason)),
        None => Ok(()),
    }
}

type Complain<'a> = dyn FnMut(usize, String) + 'a;

/// The type as documentation names it.
fn documented(kind: ResultType) -> &'static str {
    match kind {
        Scalar => "scalar",
        Vector => "instant vector",
        Matrix => "range vector",
        Text => "string",
    }
}

impl Expr {
    /// What the expression answers, whether or not its parts fit.
    pub(super) fn result_type(&self) -> ResultType {
        match &self.kind {
            ExprKind::Number(_) => Scalar,
            ExprKind::Text(_) => Text,
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => expr.result_type(),
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => Vector,
            ExprKind::Range { .. } | ExprKind::Subquery { .. } => Matrix,
            ExprKind::Call { name, .. } => signature(name).map_or(Vector, |found| found.answer),
            ExprKind::Binary(found) => {
                match (found.left.result_type(), found.right.result_type()) {
                    (Scalar, Scalar) => Scalar,
                    _ => Vector,
                }
            }
        }
    }
}

fn walk(expr: &Expr, complain: &mut Complain<'_>) -> ResultType {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Paren(inner) => {
            walk(inner, complain);
        }
        ExprKind::Unary { expr: inner, .. } => {
            let found = walk(inner, complain);
            if !matches!(found, Scalar | Vector) {
                complain(
                    expr.at,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                        documented(found)
                    ),
                );
            }
        }
        ExprKind::Selector(found)
        | ExprKind::Range {
            selector: found, ..
        } => {
            selector(expr.at, found, complain);
        }
        ExprKind::Subquery { expr: inner, .. } => {
            let found = walk(inner, complain);
            if found != Vector {
                let found = match found {
                    Matrix => "matrix",
                    other => documented(other),
                };
                complain(
                    expr.at,
                    format!("subquery is only allowed on instant vector, got {found} instead"),
                );
            }
        }
        ExprKind::Call { name, args } => {
            if let Some(found) = signature(name) {
                call(expr.at, name, &found, args, complain);
            }
        }
        ExprKind::Aggregate(found) => aggregate(found, complain),
        ExprKind::Binary(found) => binary(expr.at, found, complain),
    }
    expr.result_type()
}

fn expect(expr: &Expr, wanted: ResultType, context: &str, complain: &mut Complain<'_>) {
    let found = walk(expr, complain);
    if found != wanted {
        complain(
            expr.at,
            format!(
                "expected type {} in {context}, got {}",
                documented(wanted),
                documented(found)
            ),
        );
    }
}

fn aggregate(found: &Aggregate, complain: &mut Complain<'_>) {
    expect(&found.expr, Vector, "aggregation expression", complain);
    let wanted = if found.op == "count_values" {
        Text
    } else {
        Scalar
    };
    if let Some(param) = &found.param {
        expect(param, wanted, "aggregation parameter", complain);
    }
}

fn call(at: usize, name: &str, found: &Signature, args: &[Expr], complain: &mut Complain<'_>) {
    let (wanted, got) = (found.args.len(), args.len());
    let least = wanted - usize::from(found.variadic != 0).min(wanted);
    let most = usize::try_from(found.variadic).map(|more| least + more);
    if found.variadic == 0 && got != wanted {
        complain(
            at,
            format!("expected {wanted} argument(s) in call to {name:?}, got {got}"),
        );
    } else if got < least {
        complain(
            at,
            format!("expected at least {least} argument(s) in call to {name:?}, got {got}"),
        );
    } else if let (true, Ok(most)) = (found.variadic > 0, most)
        && got > most
    {
        complain(
            at,
            format!("expected at most {most} argument(s) in call to {name:?}, got {got}"),
        );
    }
    let context = format!("call to function {name:?}");
    for (at, arg) in args.iter().enumerate() {
        match found.args.get(at).or(found.args.last()) {
            Some(_) if at >= wanted && found.variadic == 0 => break,
            Some(wanted) => expect(arg, *wanted, &context, complain),
            None => break,
        }
    }
}

fn binary(at: usize, found: &Binary, complain: &mut Complain<'_>) {
    let (left, right) = (walk(&found.left, complain), walk(&found.right, complain));
    let op = &found.op_text;
    let comparison = found.op.is_comparison();
    let set = matches!(found.op, Kind::And | Kind::Or | Kind::Unless);
    if found.bool && !comparison {
        let reason = "bool modifier can only be used on comparison operators";
        complain(found.op_at, reason.into());
    }
    if comparison && !found.bool && (left, right) == (Scalar, Scalar) {
        let reason = "comparisons between scalars must use BOOL modifier";
        complain(found.op_at, reason.into());
    }
    let include = found.group.as_ref().map_or(&[][..], |group| &group.include);
    if let Some(label) = found.labels.iter().find(|label| include.contains(label))
        && found.on
    {
        complain(
            found.op_at,
            format!("label {label:?} must not occur in ON and GROUP clause at once"),
        );
    }
    for (side, kind) in [(&found.left, left), (&found.right, right)] {
        if !matches!(kind, Scalar | Vector) {
            let reason = "binary expression must contain only scalar and instant vector types";
            complain(side.at, reason.into());
        }
    }
    if (left, right) != (Vector, Vector) {
        if !found.labels.is_empty() {
            let reason = "vector matching only allowed between instant vectors";
            complain(at, reason.into());
        }
    } else if set && found.group.is_some() {
        complain(at, format!("no grouping allowed for {op:?} operation"));
    }
    if set && (left == Scalar || right == Scalar) {
        complain(
            at,
            format!("set operator {op:?} not allowed in binary scalar expression"),
        );
    }
}

fn selector(at: usize, found: &Selector, complain: &mut Complain<'_>) {
    if let Some(name) = &found.name {
        if let Some(twice) = found.matchers.iter().find(|matcher| matcher.name == NAME) {
            let again = literal::quoted(&twice.value);
            complain(
                at,
                format!("metric name must not be set twice: {name:?} or {again}"),
            );
        }
        return;
    }
    if found.matchers.iter().all(matches_empty) {
        let reason = "vector selector must contain at least one non-empty matcher";
        complain(at, reason.into());
    }
}

/// True when the matcher accepts a missing label. A pattern that does not compile is reported elsewhere.
fn matches_empty(matcher: &LabelMatcher) -> bool {
    let Ok(value) = &matcher.value else {
        return matcher.op == Kind::NotEqual;
    };
    let like = || super::pattern::anchored(value).is_ok_and(|regex| regex.is_match(""));
    match matcher.op {
        Kind::Assign => value.is_empty(),
        Kind::NotEqual => !value.is_empty(),
        Kind::Like => like(),
        _ => !like(),
    }
}
