//! What of an expression is changed, operator by operator.
//!
//! Invariant: an expression is walked once, from left to right; an edit replaces whole tokens. Dropping a side of an operator needs
//! no new parentheses, since what remains binds at least as tightly. A matcher that the other side of an operator demands too is not
//! dropped, since nothing else could meet there ([`Held`]).

use std::collections::BTreeMap;
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
        held: Held::new(),
    };
    walk.expr(expr, Sense::More, false);
    walk.out.sort_by_key(|edit| edit.span.start);
    walk.out
}

/// What is known of the place of a part: labels that only matter with one value, since series with any other meet nothing.
type Held = BTreeMap<String, String>;

struct Walk<'a> {
    tokens: Tokens<'a>,
    labelled: &'a Labelled,
    out: Vec<Edit>,
    held: Held,
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
                let asks = matches!(&**name, "histogram_quantile" | "quantile_over_time");
                if let Some(asked) = args.first().filter(|_| asks) {
                    self.quantile(asked);
                }
                for arg in args {
                    let held = self.held_of(|label| keeps(name, label));
                    self.below(arg, Sense::Other, false, held);
                }
            }
            ExprKind::Aggregate(found) => self.aggregate(expr, found),
            ExprKind::Binary(found) => self.binary(found, sense, compared),
        }
    }

    /// A part, with other labels held.
    fn below(&mut self, expr: &Expr, sense: Sense, compared: bool, held: Held) {
        let outer = std::mem::replace(&mut self.held, held);
        self.expr(expr, sense, compared);
        self.held = outer;
    }

    /// What is held of the labels that these keep.
    fn held_of(&self, kept: impl Fn(&str) -> bool) -> Held {
        let held = self.held.iter().filter(|(label, _)| kept(label));
        held.map(|(label, value)| (label.clone(), value.clone()))
            .collect()
    }

    /// A number that is compared with or calculated with.
    fn number(&mut self, expr: &Expr, value: f64, sense: Sense) {
        let span = expr.at..expr.end;
        let is_duration = self.tokens.find(span.clone(), Kind::Duration).is_some();
        if value == 0.0 {
            return self.push(Operator::Threshold, span, "1", sense.inverted());
        }
        // Half of infinity is infinity.
        for factor in FACTORS.into_iter().filter(|_| value.is_finite()) {
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
            let held = self.held.get(&matcher.name).map(|value| Ok(value.clone()));
            if matcher.op != Kind::Assign || held.as_ref() != Some(&matcher.value) {
                self.push(Operator::Matcher, dropped, "", Sense::Other);
            }
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
                self.drop_each(&word, &span, labels, |_| false);
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
            self.below(param, Sense::Other, false, Held::new());
        }
        let held = self.held_of(|label| has(label) != found.without);
        self.below(&found.expr, Sense::Other, false, held);
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

    /// Drops each label but those of which that changes nothing.
    fn drop_each(
        &mut self,
        word: &str,
        span: &Range<usize>,
        labels: &[String],
        same: impl Fn(&str) -> bool,
    ) {
        for dropped in (0..labels.len()).filter(|at| !same(&labels[*at])) {
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
        let is_set = matches!(found.op, Kind::And | Kind::Or | Kind::Unless);
        let fixed = [left, right].map(|side| self.labelled.fixed(side));
        if let Some((word, span)) = self.list(op.end..right.at, &["on", "ignoring"]) {
            // All that meets has this label with this value anyway; other operators also answer it.
            let same = |label: &str| {
                let [left, right] = fixed.each_ref().map(|fixed| fixed.get(label));
                is_set && found.on && left.is_some() && left == right
            };
            self.drop_each(&word, &span, &found.labels, same);
        }
        let [left_held, right_held] = self.sides(found, fixed);
        match found.op {
            Kind::And | Kind::Or | Kind::Unless => {
                let (keeps_left, keeps_right) = match found.op {
                    Kind::Or => (sense.inverted(), Sense::Other),
                    _ => (sense, Sense::Other),
                };
                self.push(Operator::Branch, left.at..right.at, "", keeps_right);
                self.push(Operator::Branch, left.end..right.end, "", keeps_left);
                self.below(left, sense, compared, left_held);
                let sense = match found.op {
                    Kind::Unless => sense.inverted(),
                    _ => sense,
                };
                let compared = compared && found.op == Kind::Or;
                self.below(right, sense, compared, right_held);
            }
            op_kind if op_kind.is_comparison() => {
                // With `bool` it answers either way.
                let sense = if found.bool { Sense::Other } else { sense };
                self.comparison(found, op, sense, [left_held, right_held]);
            }
            _ => {
                self.below(left, Sense::Other, compared, left_held);
                self.below(right, Sense::Other, compared, right_held);
            }
        }
    }

    /// What is held of both sides of an operator: what is held of its answer, and what the other side has.
    fn sides(&self, found: &Binary, [left, right]: [Held; 2]) -> [Held; 2] {
        let scalar = [&found.left, &found.right].map(|side| self.labelled.is_scalar(side));
        if scalar.contains(&true) {
            return [self.held.clone(), self.held.clone()];
        }
        // Several of a group on one side fail the rule, also where they meet nothing.
        let is_set = matches!(found.op, Kind::And | Kind::Or | Kind::Unless);
        if !is_set && (found.on || !found.labels.is_empty()) {
            return [Held::new(), Held::new()];
        }
        let matched = |label: &str| found.labels.iter().any(|other| other == label) == found.on;
        let with = |other: Held, meets: bool| {
            let mut held = self.held_of(matched);
            let other = other.into_iter();
            held.extend(other.filter(|(label, _)| meets && matched(label)));
            held
        };
        // What meets nothing on the right of `unless` is what it answers.
        let asks_left = !matches!(found.op, Kind::Or | Kind::Unless);
        [with(right, asks_left), with(left, found.op != Kind::Or)]
    }

    fn comparison(&mut self, found: &Binary, op: Range<usize>, sense: Sense, held: [Held; 2]) {
        let [left_held, right_held] = held;
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
                self.below(left, Sense::Other, true, left_held);
                self.below(right, Sense::Other, true, right_held);
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

/// Whether a function answers each series by itself and with this label.
fn keeps(function: &str, label: &str) -> bool {
    match function {
        "rate" | "irate" | "increase" | "delta" | "idelta" | "deriv" | "changes" | "resets" => true,
        "abs" | "ceil" | "floor" | "round" | "clamp" | "clamp_min" | "clamp_max" => true,
        "histogram_quantile" => label != "le",
        name => name.ends_with("_over_time") && name != "absent_over_time",
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
