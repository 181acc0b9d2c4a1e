//! Lists of labels, and the modifiers of operators and aggregations that hold them.

use super::super::ast::{Binary, Expr, ExprKind, Group};
use super::super::literal;
use super::super::token::{Kind, Token};
use super::{Parsed, Parser};

impl Parser<'_> {
    /// `by (…)` or `without (…)`: whether it is `without`, and the labels.
    pub(super) fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        if self.eat_word("by")?.is_some() {
            return Ok(Some((false, self.labels()?)));
        }
        if self.eat_word("without")?.is_some() {
            return Ok(Some((true, self.labels()?)));
        }
        Ok(None)
    }

    fn labels(&mut self) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        if !self.eat(Kind::LeftParen)? {
            return self.unexpected("grouping opts", "\"(\"");
        }
        while !self.eat(Kind::RightParen)? {
            labels.push(self.label()?);
            if !self.eat(Kind::Comma)? && self.peek()?.kind != Kind::RightParen {
                return self.unexpected("grouping opts", "\",\" or \")\"");
            }
        }
        Ok(labels)
    }

    fn label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        let word = self.slice(token);
        let name = match token.kind {
            Kind::Keyword if word.eq_ignore_ascii_case("without") => None,
            Kind::Keyword
            | Kind::StrictKeyword
            | Kind::Aggregator
            | Kind::Preprocessor
            | Kind::And
            | Kind::Or
            | Kind::Unless
            | Kind::Atan2
            | Kind::Identifier
            | Kind::MetricIdentifier => Some(Ok(word.to_string())),
            Kind::Text => Some(literal::unquote(word)),
            _ => None,
        };
        let Some(name) = name else {
            return self.unexpected("grouping opts", "label");
        };
        self.next()?;
        match name {
            Ok(name) if !name.is_empty() => Ok(name),
            bad => {
                let shown = literal::quoted(&bad);
                self.fail(
                    token.start,
                    format!("invalid label name for grouping: {shown}"),
                )
            }
        }
    }

    /// The modifiers after a binary operator. The right side is still to come.
    pub(super) fn modifiers(&mut self, op: Token, left: Expr) -> Parsed<Binary> {
        let mut binary = Binary {
            op: op.kind,
            op_at: op.start,
            op_text: self.slice(op).to_ascii_lowercase(),
            left,
            right: Expr {
                at: 0,
                end: 0,
                depth: 0,
                kind: ExprKind::Number(0.0),
            },
            bool: false,
            on: false,
            labels: Vec::new(),
            group: None,
        };
        if op.kind == Kind::Trim {
            self.unsupported.get_or_insert_with(|| {
                let reason =
                    "operators `</` and `>/` need native histograms, which are not supported";
                (op.start, reason.into())
            });
        }
        binary.bool = self.eat_word("bool")?.is_some();
        binary.on = self.eat_word("on")?.is_some();
        if binary.on || self.eat_word("ignoring")?.is_some() {
            binary.labels = self.labels()?;
            let left = self.eat_word("group_left")?.is_some();
            if left || self.eat_word("group_right")?.is_some() {
                let include = match self.peek()?.kind {
                    Kind::LeftParen => self.labels()?,
                    _ => Vec::new(),
                };
                binary.group = Some(Group { left, include });
            }
        }
        while let Some(at) = self.fill()? {
            self.refuse(at, "the fill modifiers are");
        }
        Ok(binary)
    }

    fn fill(&mut self) -> Parsed<Option<usize>> {
        for word in ["fill", "fill_left", "fill_right"] {
            let Some(at) = self.eat_word(word)? else {
                continue;
            };
            let open = self.eat(Kind::LeftParen)?;
            let _sign = self.eat(Kind::Add)? || self.eat(Kind::Sub)?;
            if !open || !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
                return self.unexpected("", "");
            }
            self.number()?;
            if !self.eat(Kind::RightParen)? {
                return self.unexpected("", "");
            }
            return Ok(Some(at));
        }
        Ok(None)
    }
}
