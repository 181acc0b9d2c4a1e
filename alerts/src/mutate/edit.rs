//! Edits of an expression's text: the tokens that they replace, and numbers and durations as text.

use std::ops::Range;

use super::{Operator, Sense};
use crate::promql::token::{Kind, Token};
use crate::promql::tokens;
use crate::unit::write::duration;

/// One place of an expression, and what it becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    pub operator: Operator,
    /// Bytes that are replaced.
    pub span: Range<usize>,
    pub new: String,
    pub sense: Sense,
}

/// An expression's tokens, asked by place.
pub(super) struct Tokens<'t> {
    text: &'t str,
    all: Vec<Token>,
}

impl<'t> Tokens<'t> {
    pub fn of(text: &'t str) -> Self {
        let all = tokens(text);
        Tokens { text, all }
    }

    /// Those that begin within these bytes.
    pub fn within(&self, span: Range<usize>) -> &[Token] {
        let place = |byte| self.all.partition_point(|token| token.start < byte);
        &self.all[place(span.start)..place(span.end).max(place(span.start))]
    }

    /// The first of a kind within these bytes.
    pub fn find(&self, span: Range<usize>, kind: Kind) -> Option<Token> {
        let mut found = self.within(span).iter();
        found.find(|token| token.kind == kind).copied()
    }

    pub fn slice(&self, token: Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    pub fn is_word(&self, token: Token, word: &str) -> bool {
        self.slice(token).eq_ignore_ascii_case(word)
    }
}

/// A number as people write it: what multiplying left behind the twelfth digit is no part of it.
pub(super) fn number(value: f64) -> String {
    let rounded = format!("{value:.11e}").parse().unwrap_or(value);
    format!("{rounded}")
}

/// Some times a number or a duration, as a number or a duration.
pub(super) fn times(is_duration: bool, value: f64, factor: f64) -> String {
    match is_duration && value > 0.0 {
        true => duration((value * factor * 1_000.0).round() as i64),
        false => number(value * factor),
    }
}
