//! Ranges, subqueries, `offset` and `@`.

use super::super::ast::{Expr, ExprKind};
use super::super::literal;
use super::super::plan::{At, When};
use super::super::token::Kind;
use super::{Parsed, Parser, Stop};

impl Parser<'_> {
    /// A literal duration in seconds, with its signs. Anything computed is refused.
    fn duration(&mut self, context: &str, expected: &str) -> Parsed<f64> {
        let first = self.peek()?;
        let mut minus = false;
        while matches!(self.peek()?.kind, Kind::Add | Kind::Sub) {
            minus ^= self.next()?.kind == Kind::Sub;
        }
        match self.peek()?.kind {
            Kind::Number | Kind::Duration => {}
            Kind::LeftParen | Kind::Preprocessor => return self.computed(first.start),
            _ => return self.unexpected(context, expected),
        }
        let seconds = self.number()?;
        let limit = i64::MAX as f64 / 1e9;
        if !(-limit..=limit).contains(&seconds) {
            return self.fail(first.start, "duration out of range");
        }
        Ok(if minus { -seconds } else { seconds })
    }

    fn computed<T>(&mut self, at: usize) -> Parsed<T> {
        self.refuse(at, "duration expressions are");
        Err(Stop)
    }

    /// A duration in brackets, above 0.
    fn positive(&mut self, context: &str, expected: &str) -> Parsed<i64> {
        let at = self.peek()?.start;
        let seconds = self.duration(context, expected)?;
        if seconds <= 0.0 || seconds.is_nan() {
            self.note(at, "duration must be greater than 0");
        }
        match self.peek()?.kind {
            Kind::Add | Kind::Sub | Kind::Mul | Kind::Div | Kind::Mod | Kind::Pow => {
                self.computed(at)
            }
            _ => Ok(literal::millis(seconds)),
        }
    }

    /// `[range]` or `[range:step]` behind an expression.
    pub(super) fn bracket(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.next()?;
        let range_ms = self.positive(
            "subquery or range selector",
            "number, duration, step(), or range()",
        )?;
        let at = expr.at;
        if self.eat(Kind::RightBracket)? {
            let ExprKind::Selector(selector) = expr.kind else {
                return self.fail(open.start, "ranges only allowed for vector selectors");
            };
            if selector.when.offset_ms != 0 {
                self.note(open.start, "no offset modifiers allowed before range");
            } else if selector.when.at.is_some() {
                self.note(open.start, "no @ modifiers allowed before range");
            }
            return self.made(at, expr.depth, ExprKind::Range { selector, range_ms });
        }
        if !self.eat(Kind::Colon)? {
            return self.unexpected("subquery or range", "\":\" or \"]\"");
        }
        let mut step_ms = None;
        if !self.eat(Kind::RightBracket)? {
            step_ms = Some(self.positive(
                "subquery selector",
                "number, duration, step(), range(), or \"]\"",
            )?);
            if !self.eat(Kind::RightBracket)? {
                return self.unexpected("subquery selector", "\"]\"");
            }
        }
        let (below, expr) = (expr.depth, Box::new(expr));
        let kind = ExprKind::Subquery {
            expr,
            range_ms,
            step_ms,
            when: When::default(),
        };
        self.made(at, below, kind)
    }

    pub(super) fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.next()?;
        let seconds = self.duration("offset", "number, duration, step(), or range()")?;
        let at = expr.at;
        let Some(when) = when(expr) else {
            return self.fail(
                at,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if when.offset_ms != 0 {
            return self.fail(at, "offset may not be set multiple times");
        }
        when.offset_ms = literal::millis(seconds);
        Ok(())
    }

    pub(super) fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.next()?;
        let instant = self.timestamp()?;
        let at = expr.at;
        if let At::Ms(_) = instant.1 {
            let seconds = instant.0;
            let limit = i64::MAX as f64;
            if !(-limit < seconds && seconds < limit) {
                return self.fail(
                    at,
                    format!(
                        "timestamp out of bounds for @ modifier: {}",
                        crate::number::format_f(seconds, Some(6))
                    ),
                );
            }
        }
        let Some(when) = when(expr) else {
            return self.fail(
                at,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if when.at.is_some() {
            return self.fail(at, "@ <timestamp> may not be set multiple times");
        }
        when.at = Some(instant.1);
        Ok(())
    }

    /// What follows `@`: the number as written in seconds, and what it stands for.
    fn timestamp(&mut self) -> Parsed<(f64, At)> {
        for (word, bound) in [("start", At::Start), ("end", At::End)] {
            if self.eat_word(word)?.is_some() {
                if self.eat(Kind::LeftParen)? && self.eat(Kind::RightParen)? {
                    return Ok((0.0, bound));
                }
                return self.unexpected("@", "timestamp");
            }
        }
        let minus = self.eat(Kind::Sub)?;
        let _plus = !minus && self.eat(Kind::Add)?;
        if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
            return self.unexpected("@", "timestamp");
        }
        let number = self.number()?;
        let seconds = if minus { -number } else { number };
        Ok((seconds, At::Ms((seconds * 1000.0).round() as i64)))
    }
}

/// Where an expression's own offset and `@` are kept, if it may have any.
fn when(expr: &mut Expr) -> Option<&mut When> {
    match &mut expr.kind {
        ExprKind::Selector(selector) | ExprKind::Range { selector, .. } => Some(&mut selector.when),
        ExprKind::Subquery { when, .. } => Some(when),
        _ => None,
    }
}
