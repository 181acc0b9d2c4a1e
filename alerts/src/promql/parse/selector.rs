//! Selectors: a name, matchers in braces.

use super::super::ast::{Expr, ExprKind, LabelMatcher, Selector, Text};
use super::super::literal;
use super::super::token::{Kind, Token};
use super::{Parsed, Parser};

impl Parser<'_> {
    /// A selector; its name, if any, is read already.
    pub(super) fn selector(&mut self, name: Option<Token>, at: usize) -> Parsed<Expr> {
        let mut selector = Selector {
            name: name.map(|name| self.slice(name).to_string()),
            ..Selector::default()
        };
        if self.eat(Kind::LeftBrace)? {
            while !self.eat(Kind::RightBrace)? {
                selector.matchers.push(self.matcher()?);
                if !self.eat(Kind::Comma)? && self.peek()?.kind != Kind::RightBrace {
                    return self.unexpected("label matching", "\",\" or \"}\"");
                }
            }
        }
        self.made(at, 0, ExprKind::Selector(selector))
    }

    fn matcher(&mut self) -> Parsed<LabelMatcher> {
        let token = self.peek()?;
        let word = self.slice(token);
        let name: Text = match token.kind {
            Kind::Identifier => Ok(word.to_string()),
            Kind::Text => literal::unquote(word),
            _ => return self.unexpected("label matching", "identifier or \"}\""),
        };
        self.next()?;
        let op = self.peek()?.kind;
        if !matches!(
            op,
            Kind::Assign | Kind::NotEqual | Kind::Like | Kind::Unlike
        ) {
            if token.kind == Kind::Text {
                return Ok(LabelMatcher {
                    at: token.start,
                    name: crate::labels::NAME.into(),
                    op: Kind::Assign,
                    value: name,
                });
            }
            return self.unexpected("label matching", "label matching operator");
        }
        self.next()?;
        let value = self.peek()?;
        if value.kind != Kind::Text {
            return self.unexpected("label matching", "string");
        }
        self.next()?;
        let Ok(name) = name else {
            let shown = literal::quoted(&name);
            return self.fail(token.start, format!("invalid label name {shown}"));
        };
        Ok(LabelMatcher {
            at: token.start,
            name,
            op,
            value: literal::unquote(self.slice(value)),
        })
    }
}
