//! Functions of scalars and instant vectors.

use super::column::Column;
use super::eval::{Context, EvalFailure};
use super::functions::Function;
use super::plan::{Call, Condition, Matcher, Node, ResultType, WindowSource};
use super::quantile::{self, Question};
use super::range::RangeFunction;
use super::relabel;
use super::window::Windows;
use crate::labels::{Labels, NAME};
use crate::number::{STALE, is_stale};

/// The function of each value by this name.
pub(super) fn math(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |v| v * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |v| v * std::f64::consts::PI / 180.0,
        "sgn" => |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

fn seconds(instants: &[i64]) -> Vec<f64> {
    instants.iter().map(|t| *t as f64 / 1000.0).collect()
}

/// Calls that answer a scalar.
pub(super) fn scalar(
    context: &Context<'_>,
    call: &Call,
    instants: &[i64],
) -> Result<Vec<f64>, EvalFailure> {
    match (call.function, &*call.args) {
        (Function::Pi, _) => Ok(vec![std::f64::consts::PI; instants.len()]),
        (Function::Time, _) => Ok(seconds(instants)),
        (Function::Scalar, [arg]) => {
            let columns = context.vector(arg, instants)?;
            let mut out = vec![STALE; instants.len()];
            for (at, value) in columns.iter().flat_map(Column::present) {
                out[at] = if is_stale(out[at]) { value } else { f64::NAN };
            }
            Ok(out
                .into_iter()
                .map(|value| if is_stale(value) { f64::NAN } else { value })
                .collect())
        }
        _ => Err(EvalFailure::new(
            "expected a function that answers a scalar",
        )),
    }
}

/// Calls that answer a vector.
pub(super) fn vector(
    context: &Context<'_>,
    call: &Call,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    let args = &*call.args;
    match (call.function, args) {
        (Function::Range(function), _) => {
            // The window may stand after the scalar (`quantile_over_time`) or before it (`predict_linear`).
            let window = args.iter().find_map(|arg| {
                if let Node::Range(window) = arg {
                    Some(window)
                } else {
                    None
                }
            });
            let window = window.ok_or_else(|| EvalFailure::new("expected a range vector"))?;
            let param = match args
                .iter()
                .find(|arg| arg.result_type() == ResultType::Scalar)
            {
                Some(arg) => context.scalar(arg, instants)?,
                None => vec![0.0; instants.len()],
            };
            let windows = Windows::read(window, context, instants)?;
            let names: Vec<Labels> = match function.wants_counter() && context.notes.are_wanted() {
                true => windows.labels().cloned().collect(),
                false => Vec::new(),
            };
            let asks_quantile = function == RangeFunction::Quantile;
            let out = windows.columns(context, function.keeps_name(), |at, view| {
                if asks_quantile {
                    context.notes.quantile(call.args_at[0], param[at]);
                }
                function.answer(view, param[at], instants[at])
            })?;
            for (labels, column) in names.iter().zip(&out) {
                let notes = &context.notes;
                notes.counter(call.args_at[0], labels.name(), &column.values);
            }
            Ok(out)
        }
        (Function::Math(function), [arg]) => {
            Ok(context.map(context.vector(arg, instants)?, function))
        }
        (Function::Date(function), []) => {
            let values = instants.iter().map(|t| function(t / 1000)).collect();
            Ok(vec![Column {
                labels: Labels::default(),
                drop_name: false,
                values,
            }])
        }
        (Function::Date(function), [arg]) => {
            Ok(context.map(context.vector(arg, instants)?, |v| date(function, v)))
        }
        (Function::Absent | Function::AbsentOverTime, [arg]) => absent(context, arg, instants),
        (Function::Clamp, [arg, low, high]) => clamp(context, arg, Some(low), Some(high), instants),
        (Function::ClampMin, [arg, low]) => clamp(context, arg, Some(low), None, instants),
        (Function::ClampMax, [arg, high]) => clamp(context, arg, None, Some(high), instants),
        (Function::HistogramQuantile, [q, arg]) => {
            let q = context.scalar(q, instants)?;
            let buckets = context.vector(arg, instants)?;
            q.iter()
                .for_each(|q| context.notes.quantile(call.args_at[0], *q));
            let question = Question::Quantile(&q);
            let at = call.args_at[1];
            Ok(quantile::histogram(
                context, &question, buckets, at, instants,
            ))
        }
        (Function::HistogramFraction, [low, high, arg]) => {
            let (low, high) = (
                context.scalar(low, instants)?,
                context.scalar(high, instants)?,
            );
            let buckets = context.vector(arg, instants)?;
            let question = Question::Fraction(&low, &high);
            let at = call.args_at[2];
            Ok(quantile::histogram(
                context, &question, buckets, at, instants,
            ))
        }
        (Function::LabelReplace, [arg, rest @ ..]) => {
            relabel::replace(context.vector(arg, instants)?, rest)
        }
        (Function::LabelJoin, [arg, rest @ ..]) => {
            relabel::join(context.vector(arg, instants)?, rest)
        }
        (Function::Round, [arg, rest @ ..]) => round(context, arg, rest.first(), instants),
        (Function::Sort | Function::SortDesc, [arg]) => {
            if instants.first() != instants.last() {
                context.notes.sort_in_range(call.at);
            }
            let descending = matches!(call.function, Function::SortDesc);
            Ok(sorted(context.vector(arg, instants)?, instants, descending))
        }
        (Function::Timestamp, [arg]) => timestamp(context, arg, instants),
        (Function::Vector, [arg]) => Ok(vec![Column {
            labels: Labels::default(),
            drop_name: false,
            values: context.scalar(arg, instants)?,
        }]),
        _ => Err(EvalFailure::new("wrong number of arguments")),
    }
}

/// A part of the date of some seconds. What is no 64-bit number of them is the end of Go's time, where it wraps around.
fn date(function: fn(i64) -> f64, value: f64) -> f64 {
    let limit = 2f64.powi(63);
    function(if (-limit..limit).contains(&value) {
        value as i64
    } else {
        i64::MAX
    })
}

/// The larger one; NaN if either is, unless the other is +Inf. So does Go.
fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// 1 where nothing is, labelled by the equality matchers of a plain selector.
fn absent(context: &Context<'_>, arg: &Node, instants: &[i64]) -> Result<Vec<Column>, EvalFailure> {
    let mut values = vec![1.0; instants.len()];
    let mut hide = |column: &[f64]| {
        for (at, _) in column
            .iter()
            .enumerate()
            .filter(|(_, value)| !is_stale(**value))
        {
            values[at] = STALE;
        }
    };
    match arg {
        Node::Range(window) => {
            let windows = Windows::read(window, context, instants)?;
            windows
                .columns(context, true, |_, _| Some(1.0))?
                .iter()
                .for_each(|column| hide(&column.values));
        }
        _ => context
            .vector(arg, instants)?
            .iter()
            .for_each(|column| hide(&column.values)),
    }
    let labels = match arg {
        Node::Instant(selector) => equalities(&selector.matchers),
        Node::Range(window) => match &window.source {
            WindowSource::Selector(selector) => equalities(&selector.matchers),
            WindowSource::Subquery { .. } => Labels::default(),
        },
        _ => Labels::default(),
    };
    Ok(vec![Column {
        labels,
        drop_name: false,
        values,
    }])
}

/// Labels that a selector fixes; one that is matched twice fixes nothing.
fn equalities(matchers: &[Matcher]) -> Labels {
    let mut labels = Labels::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != NAME) {
        labels = match &matcher.condition {
            Condition::Equal(value) if !seen.contains(&&*matcher.name) => {
                seen.push(&matcher.name);
                labels.with(&matcher.name, value)
            }
            _ => labels.with(&matcher.name, ""),
        };
    }
    labels
}

fn clamp(
    context: &Context<'_>,
    arg: &Node,
    low: Option<&Node>,
    high: Option<&Node>,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    let bound = |node: Option<&Node>, none: f64| match node {
        Some(node) => context.scalar(node, instants),
        None => Ok(vec![none; instants.len()]),
    };
    let (low, high) = (bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?);
    let mut out = Vec::new();
    for mut column in context.vector(arg, instants)? {
        for (at, value) in column
            .values
            .iter_mut()
            .enumerate()
            .filter(|(_, value)| !is_stale(**value))
        {
            *value = if high[at] < low[at] {
                STALE
            } else {
                larger(low[at], -larger(-high[at], -*value))
            };
        }
        out.push(context.unnamed(column));
    }
    Ok(out)
}

fn round(
    context: &Context<'_>,
    arg: &Node,
    to: Option<&Node>,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    let to = match to {
        Some(node) => context.scalar(node, instants)?,
        None => vec![1.0; instants.len()],
    };
    let mut out = Vec::new();
    for mut column in context.vector(arg, instants)? {
        for (at, value) in column
            .values
            .iter_mut()
            .enumerate()
            .filter(|(_, value)| !is_stale(**value))
        {
            // The inverse avoids the error of dividing by a decimal fraction.
            let inverse = 1.0 / to[at];
            *value = (*value * inverse + 0.5).floor() / inverse;
        }
        out.push(context.unnamed(column));
    }
    Ok(out)
}

/// Sorts by value for an instant query; a range query is always ordered by its labels.
fn sorted(mut columns: Vec<Column>, instants: &[i64], descending: bool) -> Vec<Column> {
    if instants.len() == 1 {
        columns.retain(|column| !is_stale(column.values[0]));
        columns.sort_by(|a, b| {
            let (a, b) = (a.values[0], b.values[0]);
            match (a.is_nan(), b.is_nan()) {
                (false, false) if descending => b.total_cmp(&a),
                (false, false) => a.total_cmp(&b),
                (a_nan, b_nan) => a_nan.cmp(&b_nan),
            }
        });
    }
    columns
}

fn timestamp(
    context: &Context<'_>,
    arg: &Node,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    let mut out = Vec::new();
    if let Node::Instant(selector) = arg {
        let times = context.resolve(&selector.when, instants);
        for (mut column, at) in context.look(selector, &times)? {
            for (value, t) in column
                .values
                .iter_mut()
                .zip(at)
                .filter(|(value, _)| !is_stale(**value))
            {
                *value = t as f64 / 1000.0;
            }
            out.push(context.unnamed(column));
        }
        return Ok(out);
    }
    for mut column in context.vector(arg, instants)? {
        for (value, t) in column
            .values
            .iter_mut()
            .zip(instants)
            .filter(|(value, _)| !is_stale(**value))
        {
            *value = *t as f64 / 1000.0;
        }
        out.push(context.unnamed(column));
    }
    Ok(out)
}
