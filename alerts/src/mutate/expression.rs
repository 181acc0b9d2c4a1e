//! What of an expression is changed, operator by operator.
//!
//! Invariant: an expression is walked once, from left to right; an edit replaces whole tokens. Dropping a side of an operator needs
//! no new parentheses, since what remains binds at least as tightly.

use std::ops::Range;

use super::edit::{Edit, Tokens, number, times};
use super::{Operator, Sense};
use crate::lint::Labelled;
use crate::promql::ast::{Aggregate, Binary, Expr, ExprKind, LabelMatcher, Selector};
use crate::promql::token::{Kind, Token};

/// What thresholds are multiplied with.
const FACTORS: [f64; 4] = [0.5, 0.9, 1.1, 2.0];
/// Quantiles that people ask for.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// A function, and what is mistaken for it.
const RATES: [(&str, &str); 5] = [
    ("rate", "irate"),
    ("irate", "rate"),
    ("increase", "rate"),
    ("delta", "idelta"),
    ("idelta", "delta"),
];
/// What a sum over all targets is forgotten to be summed over.
const ADDED: &str = "instance";

/// All edits of an expression, in the order of its text.
pub(super) fn edits(text: &str, expr: &Expr, labelled: &Labelled) -> Vec<Edit> {
    let mut walk = Walk {
        tokens: Tokens::of(text),
        labelled,
        out: Vec::new(),
    };
    walk.expr(expr, Sense::More, false);
    walk.out.sort_by_key(|edit| edit.span.start);
    walk.out
}

struct Walk<'a> {
    tokens: Tokens<'a>,
    labelled: &'a Labelled,
    out: Vec<Edit>,
}

impl Walk<'_> {
    fn push(
        &mut self,
        operator: Operator,
        span: Range<usize>,
        new: impl Into<String>,
        sense: Sense,
    ) {
        self.out.push(Edit {
            operator,
            span,
            new: new.into(),
            sense,
        });
    }

    /// `sense` is what more answers of this part make of the whole; `compared`, whether a comparison hangs on its value.
    fn expr(&mut self, expr: &Expr, sense: Sense, compared: bool) {
        match &expr.kind {
            ExprKind::Number(value) if compared => self.number(expr, *value, Sense::Other),
            ExprKind::Number(_) | ExprKind::Text(_) => {}
            ExprKind::Paren(inner) => self.expr(inner, sense, compared),
            ExprKind::Unary { expr, .. } => self.expr(expr, sense, compared),
            ExprKind::Selector(selector) => self.selector(expr, selector),
            ExprKind::Range { selector, range_ms } => {
                self.selector(expr, selector);
                self.range(expr.at..expr.end, *range_ms);
            }
            ExprKind::Subquery {
                expr: inner,
                range_ms,
                when,
                ..
            } => {
                self.expr(inner, Sense::Other, false);
                self.range(inner.end..expr.end, *range_ms);
                self.offset(inner.end..expr.end, when.offset_ms);
            }
            ExprKind::Call { name, args } => {
                if let Some((_, new)) = RATES.iter().find(|(old, _)| old == name) {
                    let span = expr.at..expr.at + name.len();
                    self.push(Operator::Rate, span, *new, Sense::Other);
                }
                if matches!(&**name, "histogram_quantile" | "quantile_over_time") {
                    self.quantile(&args[0]);
                }
                for arg in args {
                    self.expr(arg, Sense::Other, false);
                }
            }
            ExprKind::Aggregate(found) => self.aggregate(expr, found),
            ExprKind::Binary(found) => self.binary(found, sense, compared),
        }
    }

    /// A number that is compared with or calculated with.
    fn number(&mut self, expr: &Expr, value: f64, sense: Sense) {
        let span = expr.at..expr.end;
        let is_duration = self.tokens.find(span.clone(), Kind::Duration).is_some();
        if value == 0.0 {
            return self.push(Operator::Threshold, span, "1", sense.inverted());
        }
        for factor in FACTORS {
            // Of a number below 0 a tenth less is more.
            let sense = match (factor < 1.0) == (value > 0.0) {
                true => sense,
                false => sense.inverted(),
            };
            let new = times(is_duration, value, factor);
            self.push(Operator::Threshold, span.clone(), new, sense);
        }
    }

    fn selector(&mut self, expr: &Expr, selector: &Selector) {
        let named = selector.name.is_some();
        self.matchers(expr.at..expr.end, named, &selector.matchers);
        // The first token may be a metric that is called so.
        let first = self.tokens.within(expr.at..expr.end).first();
        let start = first.map_or(expr.at, |first| first.end);
        self.offset(start..expr.end, selector.when.offset_ms);
    }

    fn range(&mut self, span: Range<usize>, ms: i64) {
        if let Some(bracket) = self.tokens.find(span.clone(), Kind::LeftBracket) {
            self.time(bracket.end..span.end, ms);
        }
    }

    fn offset(&mut self, span: Range<usize>, ms: i64) {
        let mut words = self.tokens.within(span.clone()).iter();
        let word = words
            .find(|token| token.kind == Kind::Keyword && self.tokens.is_word(**token, "offset"));
        if let Some(end) = word.map(|token| token.end) {
            self.time(end..span.end, ms.abs());
        }
    }

    /// The first duration of these bytes, half and double.
    fn time(&mut self, span: Range<usize>, ms: i64) {
        let mut tokens = self.tokens.within(span).iter();
        let found = tokens.find(|token| matches!(token.kind, Kind::Duration | Kind::Number));
        if let Some(Token { kind, start, end }) = found.copied() {
            for factor in [0.5, 2.0] {
                let new = times(kind == Kind::Duration, ms as f64 / 1_000.0, factor);
                self.push(Operator::Window, start..end, new, Sense::Other);
            }
        }
    }

    fn matchers(&mut self, span: Range<usize>, named: bool, matchers: &[LabelMatcher]) {
        let Some(open) = self.tokens.find(span.clone(), Kind::LeftBrace) else {
            return;
        };
        let Some(close) = self.tokens.find(span, Kind::RightBrace) else {
            return;
        };
        for (place, matcher) in matchers.iter().enumerate() {
            let next = matchers.get(place + 1).map(|next| next.at);
            let whole = matcher.at..next.unwrap_or(close.start);
            let parts = self.tokens.within(whole.clone()).to_vec();
            let negated = parts
                .iter()
                .find_map(|part| Some((*part, negated(part.kind)?)));
            let last = |kind| parts.iter().rev().find(|part: &&Token| part.kind != kind);
            let end = last(Kind::Comma).map_or(whole.end, |part| part.end);
            let before = self.tokens.within(open.end..matcher.at).to_vec();
            let dropped = match (
                next,
                before.iter().rev().find(|part| part.kind != Kind::Comma),
            ) {
                (Some(next), _) => matcher.at..next,
                (None, Some(before)) => before.end..end,
                (None, None) if named => open.start..close.end,
                (None, None) => matcher.at..end,
            };
            self.push(Operator::Matcher, dropped, "", Sense::Other);
            if let Some((part, new)) = negated {
                self.push(Operator::Matcher, part.start..part.end, new, Sense::Other);
            }
        }
    }

    fn quantile(&mut self, expr: &Expr) {
        if let Some(value) = constant(expr) {
            for other in QUANTILES.into_iter().filter(|other| *other != value) {
                let span = expr.at..expr.end;
                self.push(Operator::Quantile, span, number(other), Sense::Other);
            }
        }
    }

    fn aggregate(&mut self, expr: &Expr, found: &Aggregate) {
        let name = expr.at..expr.at + found.op.len();
        // Behind the name, or behind the arguments.
        let behind = self.tokens.within(name.end..expr.end).first();
        let place = match behind.is_some_and(|token| token.kind == Kind::LeftParen) {
            true => found.expr.end..expr.end,
            false => name.end..expr.end,
        };
        let list = self.list(place, &["by", "without"]);
        let labels = &found.grouping;
        let has = |label: &str| labels.iter().any(|have| have == label);
        let adds = !found.without && !has(ADDED) && self.labelled.can_have(&found.expr, ADDED);
        match list {
            Some((word, span)) => {
                self.drop_each(&word, &span, labels);
                if adds {
                    let more: Vec<&str> =
                        labels.iter().map(|label| &**label).chain([ADDED]).collect();
                    let new = format!("{word} ({})", more.join(", "));
                    self.push(Operator::Label, span, new, Sense::Other);
                }
            }
            None if adds => {
                let new = format!("{} by ({ADDED})", found.op);
                self.push(Operator::Label, name, new, Sense::Other);
            }
            None => {}
        }
        if let Some(param) = &found.param {
            if found.op == "quantile" {
                self.quantile(param);
            }
            self.expr(param, Sense::Other, false);
        }
        self.expr(&found.expr, Sense::Other, false);
    }

    /// A list of labels behind one of these words within these bytes: the word, and the bytes of both.
    fn list(&self, place: Range<usize>, words: &[&str]) -> Option<(String, Range<usize>)> {
        let tokens = self.tokens.within(place.clone());
        let word = tokens.iter().find(|token| {
            let keyword = matches!(token.kind, Kind::Keyword | Kind::StrictKeyword);
            keyword && words.iter().any(|word| self.tokens.is_word(**token, word))
        })?;
        let close = self.tokens.find(word.end..place.end, Kind::RightParen)?;
        let text = self.tokens.slice(*word).to_ascii_lowercase();
        Some((text, word.start..close.end))
    }

    fn drop_each(&mut self, word: &str, span: &Range<usize>, labels: &[String]) {
        for dropped in 0..labels.len() {
            let kept = labels.iter().enumerate();
            let kept = kept.filter(|(place, _)| *place != dropped);
            let kept: Vec<&str> = kept.map(|(_, label)| &**label).collect();
            let new = format!("{word} ({})", kept.join(", "));
            self.push(Operator::Label, span.clone(), new, Sense::Other);
        }
    }

    fn binary(&mut self, found: &Binary, sense: Sense, compared: bool) {
        let (left, right) = (&found.left, &found.right);
        let op = found.op_at..found.op_at + found.op_text.len();
        if let Some((word, span)) = self.list(op.end..right.at, &["on", "ignoring"]) {
            self.drop_each(&word, &span, &found.labels);
        }
        match found.op {
            Kind::And | Kind::Or | Kind::Unless => {
                let (keeps_left, keeps_right) = match found.op {
                    Kind::Or => (sense.inverted(), Sense::Other),
                    _ => (sense, Sense::Other),
                };
                self.push(Operator::Branch, left.at..right.at, "", keeps_right);
                self.push(Operator::Branch, left.end..right.end, "", keeps_left);
                self.expr(left, sense, compared);
                let sense = match found.op {
                    Kind::Unless => sense.inverted(),
                    _ => sense,
                };
                self.expr(right, sense, compared && found.op == Kind::Or);
            }
            op_kind if op_kind.is_comparison() => {
                // With `bool` it answers either way.
                let sense = if found.bool { Sense::Other } else { sense };
                self.comparison(found, op, sense);
            }
            _ => {
                self.expr(left, Sense::Other, compared);
                self.expr(right, Sense::Other, compared);
            }
        }
    }

    fn comparison(&mut self, found: &Binary, op: Range<usize>, sense: Sense) {
        let (left, right) = (&found.left, &found.right);
        let others: &[(&str, Sense)] = match found.op {
            Kind::Greater => &[(">=", Sense::More), ("<", Sense::Other)],
            Kind::GreaterOrEqual => &[(">", Sense::Less), ("<=", Sense::Other)],
            Kind::Less => &[("<=", Sense::More), (">", Sense::Other)],
            Kind::LessOrEqual => &[("<", Sense::Less), (">=", Sense::Other)],
            Kind::Equal => &[("!=", Sense::Other)],
            _ => &[("==", Sense::Other)],
        };
        for (new, change) in others {
            let change = match sense {
                Sense::More => *change,
                Sense::Less => change.inverted(),
                Sense::Other => Sense::Other,
            };
            self.push(Operator::Comparison, op.clone(), *new, change);
        }
        let equality = matches!(found.op, Kind::Equal | Kind::NotEqual);
        let upward = matches!(found.op, Kind::Greater | Kind::GreaterOrEqual);
        match (constant(left), constant(right)) {
            (Some(_), Some(_)) => {}
            (None, None) => {
                self.expr(left, Sense::Other, true);
                self.expr(right, Sense::Other, true);
            }
            (bound @ Some(value), None) | (None, bound @ Some(value)) => {
                let on_right = constant(left).is_none();
                let (bounded, other) = if on_right {
                    (right, left)
                } else {
                    (left, right)
                };
                if equality {
                    // Half of what is asked for exactly is as wrong as its neighbour.
                    let neighbour = if value == 1.0 { 0.0 } else { value + 1.0 };
                    let span = bounded.at..bounded.end;
                    self.push(Operator::Threshold, span, number(neighbour), Sense::Other);
                } else {
                    // A lower bound on the right of `>` lets more through.
                    let lower = if upward == on_right {
                        sense
                    } else {
                        sense.inverted()
                    };
                    self.number(bounded, bound.unwrap_or_default(), lower);
                }
                self.expr(other, sense, false);
            }
        }
    }
}

fn negated(op: Kind) -> Option<&'static str> {
    Some(match op {
        Kind::Assign => "!=",
        Kind::NotEqual => "=",
        Kind::Like => "!~",
        Kind::Unlike => "=~",
        _ => return None,
    })
}

/// The value of an expression that is made of numbers alone.
fn constant(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Number(value) => Some(*value),
        ExprKind::Paren(inner) => constant(inner),
        ExprKind::Unary { minus, expr } => {
            constant(expr).map(|value| if *minus { -value } else { value })
        }
        ExprKind::Binary(found) => {
            let (left, right) = (constant(&found.left)?, constant(&found.right)?);
            match found.op {
                Kind::Add => Some(left + right),
                Kind::Sub => Some(left - right),
                Kind::Mul => Some(left * right),
                Kind::Div => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}
