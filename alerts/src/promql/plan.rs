//! What a query will do: the parsed expression with its names resolved and its types checked.
//!
//! Invariant: a plan holds only what the evaluator can answer; `resolve` makes it and refuses the rest.

use std::fmt::Display;

use regex::Regex;
use thiserror::Error;

use super::functions::Function;
use crate::labels::{Labels, NAME};

/// A query that cannot be evaluated: it does not parse, its types do not fit, or it uses what is not supported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct QueryError {
    /// What is wrong, with line and column as Prometheus puts them: `1:7: parse error: …`.
    pub reason: String,
    /// Where: byte offset into the expression, if it is known.
    pub at: Option<usize>,
    /// True for what Prometheus would evaluate and this crate does not: experimental functions and modifiers, native histograms.
    pub unsupported: bool,
}

impl QueryError {
    pub(super) fn syntax(text: &str, at: usize, reason: impl Display) -> Self {
        QueryError {
            reason: format!("{}: parse error: {reason}", line_and_column(text, at)),
            at: Some(at),
            unsupported: false,
        }
    }

    pub(super) fn unsupported(text: &str, at: usize, reason: impl Display) -> Self {
        QueryError {
            reason: format!("{}: {reason}", line_and_column(text, at)),
            at: Some(at),
            unsupported: true,
        }
    }
}

/// `line:column` of a byte, both from 1; columns count bytes.
pub(super) fn line_and_column(text: &str, at: usize) -> String {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    format!("{line}:{column}")
}

/// One step of a query.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Number(f64),
    Text(String),
    Instant(Selector),
    Range(Window),
    Call(Call),
    Aggregate(Aggregate),
    Binary(Binary),
    Negate(Box<Node>),
    /// A plus before a selector: its value, but no selector to `timestamp` and `absent`.
    Plus(Box<Node>),
}

/// Type of a query's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType {
    /// One number per instant.
    Scalar,
    /// A set of labelled numbers per instant.
    Vector,
    /// Samples of a range.
    Matrix,
    /// A string literal.
    Text,
}

/// Matchers on a series' labels and when to look.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub matchers: Vec<Matcher>,
    pub when: When,
}

/// Offset and `@` of a selector or subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct When {
    pub offset_ms: i64,
    pub at: Option<At>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Ms(i64),
    Start,
    End,
}

/// One condition on one label.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub name: String,
    pub condition: Condition,
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Equal(String),
    NotEqual(String),
    Like(Regex),
    Unlike(Regex),
}

impl Matcher {
    pub fn accepts(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Equal(want) => want == value,
            Condition::NotEqual(not) => not != value,
            Condition::Like(regex) => regex.is_match(value),
            Condition::Unlike(regex) => !regex.is_match(value),
        }
    }
}

impl Selector {
    /// True when a series with these labels is selected.
    pub fn accepts(&self, labels: &Labels) -> bool {
        self.matchers
            .iter()
            .all(|matcher| matcher.accepts(labels.get(&matcher.name)))
    }

    /// The metric name, when exactly one is asked for.
    pub fn metric(&self) -> Option<&str> {
        self.matchers
            .iter()
            .find_map(|matcher| match &matcher.condition {
                Condition::Equal(name) if matcher.name == NAME && !name.is_empty() => Some(&**name),
                _ => None,
            })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub source: WindowSource,
    pub range_ms: i64,
}

#[derive(Debug, Clone)]
pub(crate) enum WindowSource {
    Selector(Selector),
    Subquery {
        expr: Box<Node>,
        step_ms: Option<i64>,
        when: When,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub function: Function,
    pub args: Vec<Node>,
    /// Where the call and its arguments stand, for annotations.
    pub at: usize,
    pub args_at: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub op: AggregateOp,
    pub expr: Box<Node>,
    pub param: Option<Box<Node>>,
    /// Where the parameter stands, for annotations.
    pub param_at: usize,
    pub without: bool,
    pub grouping: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
}

#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub op: BinaryOp,
    pub left: Box<Node>,
    pub right: Box<Node>,
    /// A comparison that answers 0 or 1.
    pub bool: bool,
    pub matching: Matching,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Matching {
    pub on: bool,
    pub labels: Vec<String>,
    pub card: Card,
    /// Labels that the "one" side adds.
    pub include: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Card {
    #[default]
    OneToOne,
    ManyToOne,
    OneToMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(
            self,
            Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual
        )
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

impl Node {
    pub fn result_type(&self) -> ResultType {
        match self {
            Node::Number(_) => ResultType::Scalar,
            Node::Text(_) => ResultType::Text,
            Node::Range(_) => ResultType::Matrix,
            Node::Instant(_) | Node::Aggregate(_) => ResultType::Vector,
            Node::Call(call) => call.function.result_type(),
            Node::Negate(inner) | Node::Plus(inner) => inner.result_type(),
            Node::Binary(binary) => match (binary.left.result_type(), binary.right.result_type()) {
                (ResultType::Scalar, ResultType::Scalar) => ResultType::Scalar,
                _ => ResultType::Vector,
            },
        }
    }

    /// Visits every selector, those inside subqueries too.
    pub fn selectors<'a>(&'a self, visit: &mut dyn FnMut(&'a Selector)) {
        match self {
            Node::Number(_) | Node::Text(_) => {}
            Node::Instant(selector) => visit(selector),
            Node::Range(window) => match &window.source {
                WindowSource::Selector(selector) => visit(selector),
                WindowSource::Subquery { expr, .. } => expr.selectors(visit),
            },
            Node::Call(call) => call.args.iter().for_each(|arg| arg.selectors(visit)),
            Node::Aggregate(aggregate) => {
                aggregate.expr.selectors(visit);
                aggregate
                    .param
                    .iter()
                    .for_each(|param| param.selectors(visit));
            }
            Node::Binary(binary) => {
                binary.left.selectors(visit);
                binary.right.selectors(visit);
            }
            Node::Negate(inner) | Node::Plus(inner) => inner.selectors(visit),
        }
    }

    /// Visits the offset and `@` of every selector and subquery.
    fn whens(&self, visit: &mut dyn FnMut(&When)) {
        match self {
            Node::Number(_) | Node::Text(_) => {}
            Node::Instant(selector) => visit(&selector.when),
            Node::Range(window) => match &window.source {
                WindowSource::Selector(selector) => visit(&selector.when),
                WindowSource::Subquery { expr, when, .. } => {
                    visit(when);
                    expr.whens(visit);
                }
            },
            Node::Call(call) => call.args.iter().for_each(|arg| arg.whens(visit)),
            Node::Aggregate(aggregate) => {
                aggregate.expr.whens(visit);
                aggregate.param.iter().for_each(|param| param.whens(visit));
            }
            Node::Binary(binary) => {
                binary.left.whens(visit);
                binary.right.whens(visit);
            }
            Node::Negate(inner) | Node::Plus(inner) => inner.whens(visit),
        }
    }

    /// True when some `@ start()` or `@ end()` makes the answer depend on the query's bounds.
    pub fn depends_on_bounds(&self) -> bool {
        let mut found = false;
        self.whens(&mut |when| found |= matches!(when.at, Some(At::Start | At::End)));
        found
    }

    /// True when some selector may look past the instant of the evaluation.
    pub fn looks_ahead(&self) -> bool {
        let mut found = false;
        self.whens(&mut |when| found |= when.at.is_some() || when.offset_ms < 0);
        found
    }
}
