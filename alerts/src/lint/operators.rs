//! What stands on both sides of an operator: can they meet, can the condition hold, are they what one compares?

use std::collections::BTreeSet;

use super::expression::Walk;
use super::facts::{Facts, Kind, Possible};
use super::interval::{Answer, Interval};
use super::render::{matcher, render, shape};
use super::selectors;
use crate::labels::NAME;
use crate::promql::ast::{Binary, Expr, ExprKind, Selector};
use crate::promql::token::Kind as Token;

/// Both sides are the same, but perhaps that one selects more: with all labels matched, a series meets only itself.
fn meets_itself(found: &Binary) -> bool {
    if found.on || !found.labels.is_empty() || found.group.is_some() {
        return render(&found.left) == render(&found.right);
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    selectors::each(&found.left, &mut |_, selector| {
        left.push(matchers(selector))
    });
    selectors::each(&found.right, &mut |_, selector| {
        right.push(matchers(selector))
    });
    let pairs = || left.iter().zip(&right);
    let narrower = pairs().all(|(a, b)| a.is_superset(b)) || pairs().all(|(a, b)| a.is_subset(b));
    let equal = pairs().all(|(a, b)| a == b);
    shape(&found.left) == shape(&found.right) && (equal || narrower && !aggregates(&found.left))
}

fn matchers(selector: &Selector) -> BTreeSet<String> {
    selector.matchers.iter().map(matcher).collect()
}

/// An aggregation's answer has fewer labels than what it aggregates, so that more meets.
fn aggregates(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Aggregate(_) => true,
        ExprKind::Number(_)
        | ExprKind::Text(_)
        | ExprKind::Selector(_)
        | ExprKind::Range { .. } => false,
        ExprKind::Paren(inner)
        | ExprKind::Unary { expr: inner, .. }
        | ExprKind::Subquery { expr: inner, .. } => aggregates(inner),
        ExprKind::Call { name, args } => name.starts_with("absent") || args.iter().any(aggregates),
        ExprKind::Binary(found) => aggregates(&found.left) || aggregates(&found.right),
    }
}

/// What is known of an operation's answer.
pub(super) fn binary(walk: &mut Walk<'_>, found: &Binary) -> Facts {
    let left = walk.facts(&found.left);
    let right = walk.facts(&found.right);
    if !left.scalar && !right.scalar && found.op != Token::Or {
        meeting(walk, found, &left, &right);
    }
    match found.op {
        Token::And => both(walk, found, left, right),
        Token::Or => left.either(right),
        Token::Unless => left,
        op if op.is_comparison() => comparison(walk, found, left, right),
        _ => arithmetic(walk, found, left, right),
    }
}

/// Labels of an operation's answer.
fn labelled(found: &Binary, left: &Facts, right: &Facts) -> Facts {
    let bare = |facts: &Facts| Facts {
        base: None,
        bounds: None,
        ..facts.clone()
    };
    if left.scalar || right.scalar {
        return bare(if left.scalar { right } else { left });
    }
    match &found.group {
        Some(group) => {
            let (many, one) = if group.left {
                (left, right)
            } else {
                (right, left)
            };
            let included = group.include.iter();
            included.fold(bare(many), |facts, label| match one.can_have(label) {
                true => facts.with(label, one.fixed.get(label).map(String::as_str)),
                false => facts.without(label),
            })
        }
        None if found.on => bare(left).only(&found.labels),
        None => found
            .labels
            .iter()
            .fold(bare(left), |facts, label| facts.without(label)),
    }
}

fn arithmetic(walk: &mut Walk<'_>, found: &Binary, left: Facts, right: Facts) -> Facts {
    let same = !left.scalar && meets_itself(found);
    if same && matches!(found.op, Token::Div | Token::Sub) {
        let value = if found.op == Token::Div { "1" } else { "0" };
        let message = format!(
            "each series meets itself on the other side: the answer is {value}, or NaN, whatever is measured"
        );
        walk.complain("constant-condition", found.op_at, message);
    }
    let raw = match walk.contract() {
        Some(_) => left.kind == Kind::Counter || right.kind == Kind::Counter,
        // `used / total`: by convention a counter, by use a size.
        None => {
            left.kind == Kind::Counter || right.kind == Kind::Counter && left.kind == Kind::Gauge
        }
    };
    if found.op == Token::Div && raw && !same {
        let sure = walk.sure();
        let message = format!(
            "a ratio of raw counters{sure} covers the whole time since the processes started, and jumps when one restarts; divide by \
             `rate` or `increase` of both"
        );
        walk.complain("counter-without-rate", found.op_at, message);
    }
    let values = match same {
        true => Interval::ALL, // said above; a condition on it need not be said again
        false => left.values.combined(found.op, right.values),
    };
    let scalar = left.scalar && right.scalar;
    let scaled = left.scalar || right.scalar;
    // A counter times a number still only grows.
    let counter = scaled
        && (left.kind == Kind::Counter || right.kind == Kind::Counter)
        && matches!(found.op, Token::Mul | Token::Div);
    let facts = labelled(found, &left, &right);
    Facts {
        kind: if counter { Kind::Counter } else { Kind::Gauge },
        values,
        scalar,
        born: scaled && facts.born,
        ..facts
    }
}

/// `and` of two conditions on one thing.
fn both(walk: &mut Walk<'_>, found: &Binary, left: Facts, right: Facts) -> Facts {
    let one = left.base.is_some() && left.base == right.base;
    if one
        && left.values.meet(right.values).is_empty()
        && !left.values.is_empty()
        && !right.values.is_empty()
    {
        walk.complain(
            "constant-condition",
            found.op_at,
            "the two conditions exclude each other: this never holds",
        );
    }
    left
}

fn comparison(walk: &mut Walk<'_>, found: &Binary, left: Facts, right: Facts) -> Facts {
    let flipped = |op| match op {
        Token::Less => Token::Greater,
        Token::Greater => Token::Less,
        Token::LessOrEqual => Token::GreaterOrEqual,
        Token::GreaterOrEqual => Token::LessOrEqual,
        other => other,
    };
    let same = !left.scalar && render(&found.left) == render(&found.right);
    let answer = match same {
        true if matches!(
            found.op,
            Token::Equal | Token::LessOrEqual | Token::GreaterOrEqual
        ) =>
        {
            Answer::Always
        }
        true => Answer::Never,
        false => left.values.compared(found.op, right.values),
    };
    let unlimited = |facts: &Facts| facts.values.is_empty();
    match answer {
        _ if unlimited(&left) || unlimited(&right) => {} // said where it became so
        Answer::Depends => {}
        Answer::Never => {
            let message = format!("this never holds: {}", because(&left, &right, same));
            walk.complain("constant-condition", found.op_at, message);
        }
        Answer::Always => {
            let message = format!(
                "this holds wherever there is an answer at all: {}",
                because(&left, &right, same)
            );
            walk.complain("redundant-condition", found.op_at, message);
        }
    }
    // Seen from the vector: what is compared, with what.
    let (vector, op, number) = match right.scalar {
        true => (&left, found.op, &right),
        false => (&right, flipped(found.op), &left),
    };
    if left.scalar != right.scalar {
        threshold(walk, found.op_at, vector, op, number.values.single());
    }
    raw(walk, found, &left, &right);
    if found.bool {
        return Facts {
            kind: Kind::Gauge,
            values: Interval::closed(0.0, 1.0),
            born: false,
            ..labelled(found, &left, &right)
        };
    }
    let scalars = left.scalar && right.scalar;
    let (kept, op, other, expr) = match left.scalar {
        true => (&right, flipped(found.op), &left, &found.right),
        false => (&left, found.op, &right, &found.left),
    };
    let base = kept.base.clone().unwrap_or_else(|| render(expr));
    Facts {
        kind: kept.kind,
        values: kept.values.kept(op, other.values),
        born: kept.born,
        base: Some(base),
        scalar: scalars,
        ..labelled(found, &left, &right)
    }
}

fn because(left: &Facts, right: &Facts, same: bool) -> String {
    if same {
        return "both sides are the same".into();
    }
    let said = |facts: &Facts| match (facts.values.single(), facts.values.low, facts.values.high) {
        (Some(one), ..) => format!("{one}"),
        (_, f64::NEG_INFINITY, f64::INFINITY) => "any number".into(),
        (_, low, f64::INFINITY) => format!(
            "{} {low}",
            if facts.values.low_open {
                "above"
            } else {
                "at least"
            }
        ),
        (_, f64::NEG_INFINITY, high) => format!(
            "{} {high}",
            if facts.values.high_open {
                "below"
            } else {
                "at most"
            }
        ),
        (_, low, high) => format!("between {low} and {high}"),
    };
    format!(
        "the left side is {}, the right side {}",
        said(left),
        said(right)
    )
}

/// A threshold against what can be measured: buckets, counters that are born with their first event.
fn threshold(walk: &mut Walk<'_>, at: usize, vector: &Facts, op: Token, number: Option<f64>) {
    let Some(number) = number else { return };
    if let Some(bounds) = &vector.bounds
        && let Some(top) = bounds.last()
    {
        let above = match op {
            Token::Greater => number >= *top,
            Token::GreaterOrEqual => number > *top,
            _ => false,
        };
        let shown = bounds
            .iter()
            .map(f64::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        if above {
            let message = format!(
                "a quantile of these buckets never exceeds {top}, the highest bound below +Inf: {shown}"
            );
            walk.complain("bucket-bounds", at, message);
        } else if !bounds.contains(&number) && number > 0.0 {
            let message = format!(
                "{number} is no bound of these buckets, so that the quantile near it is a guess between two of them: {shown}"
            );
            walk.complain("bucket-bounds", at, message);
        }
    }
    let first_event = match op {
        Token::Greater | Token::NotEqual => number == 0.0,
        Token::GreaterOrEqual => number > 0.0 && number <= 1.0,
        _ => false,
    };
    if vector.born && first_event && !walk.waits && vector.kind == Kind::Gauge {
        let message = "a series that is born with its first event never was 0, so that this event goes unseen. Export it as 0 from \
                       the start, or also ask for series that are new";
        walk.complain("counter-birth", at, message);
    }
}

/// A raw counter beside what is none.
fn raw(walk: &mut Walk<'_>, found: &Binary, left: &Facts, right: &Facts) {
    let counters = (left.kind == Kind::Counter, right.kind == Kind::Counter);
    if matches!(counters, (true, false) | (false, true)) {
        let sure = walk.sure();
        let message = format!(
            "compares a raw counter{sure}: it grows until the process restarts, so that this says how long it has been running, and \
             what held once holds on; use `rate` or `increase`"
        );
        walk.complain("counter-without-rate", found.op_at, message);
    }
}

/// Whether two sides can meet.
fn meeting(walk: &mut Walk<'_>, found: &Binary, left: &Facts, right: &Facts) {
    let mut labels: BTreeSet<&str> = BTreeSet::new();
    if found.on {
        labels.extend(found.labels.iter().map(String::as_str));
    } else {
        for side in [left, right] {
            labels.extend(side.fixed.keys().map(String::as_str));
            if let Possible::Only(known) = &side.possible {
                labels.extend(known.iter().map(String::as_str));
            }
        }
        labels
            .retain(|label| *label != NAME && !found.labels.iter().any(|ignored| ignored == label));
    }
    let consequence = match found.op {
        Token::Unless => "nothing is taken away",
        _ => "the answer is empty",
    };
    for label in labels {
        let message = match (left.fixed.get(label), right.fixed.get(label)) {
            (Some(a), Some(b)) if a != b => {
                format!(
                    "the sides never meet, {consequence}: `{label}` is {a:?} on the left and {b:?} on the right"
                )
            }
            (Some(value), None) if !right.can_have(label) => {
                format!(
                    "the sides never meet, {consequence}: `{label}` is {value:?} on the left, and the right side has no such label"
                )
            }
            (None, Some(value)) if !left.can_have(label) => {
                format!(
                    "the sides never meet, {consequence}: `{label}` is {value:?} on the right, and the left side has no such label"
                )
            }
            (None, None)
                if listed(left, label) != listed(right, label)
                    && left.can_have(label) != right.can_have(label) =>
            {
                let side = if left.can_have(label) {
                    "left"
                } else {
                    "right"
                };
                format!(
                    "only the {side} side has the label `{label}`: the sides meet only where it is empty; use `on` or `ignoring`"
                )
            }
            _ => continue,
        };
        return walk.complain("never-matches", found.op_at, message);
    }
}

fn listed(facts: &Facts, label: &str) -> bool {
    matches!(&facts.possible, Possible::Only(labels) if labels.contains(label))
}
