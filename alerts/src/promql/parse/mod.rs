//! Expressions from text: the grammar of Prometheus 3.x, by recursive descent with operator precedence.
//!
//! The first error wins and is worded and placed as Prometheus does. What is valid but experimental (computed durations, `fill`,
//! `anchored`, `smoothed`) is read far enough to be refused by name. Nesting is bounded before anything recurses into it.

mod labels;
mod selector;
mod time;

use super::ast::{Aggregate, Expr, ExprKind};
use super::lex::Lexer;
use super::literal;
use super::plan::QueryError;
use super::token::{Kind, Token, describe};

/// Levels of nesting in an expression. Each may cost some kilobytes of stack when it is evaluated; people write ten.
pub(super) const DEPTH_MAX: usize = 250;
/// Bytes of an expression: what a rule file may hold in one rule, and more than anybody reads.
pub(super) const LENGTH_MAX: usize = 1 << 20;

/// An error is noted; there is no going on.
struct Stop;

type Parsed<T> = Result<T, Stop>;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// Where the last token that was read ends.
    end: usize,
    /// The first error, and where.
    error: Option<(usize, String)>,
    /// The first thing that is valid but not supported.
    unsupported: Option<(usize, String)>,
    depth: usize,
    /// Aggregations whose arguments are being read: an unexpected token is reported as theirs.
    aggregations: usize,
}

/// Parses an expression. Types are not checked yet.
pub(crate) fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > LENGTH_MAX {
        let reason = format!("expression is longer than {LENGTH_MAX} bytes");
        return Err(QueryError::syntax(text, 0, reason));
    }
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        peeked: None,
        end: 0,
        error: None,
        unsupported: None,
        depth: 0,
        aggregations: 0,
    };
    let parsed = parser.whole();
    match (parser.error, parser.unsupported, parsed) {
        (Some((at, reason)), ..) => Err(QueryError::syntax(text, at, reason)),
        (_, Some((at, reason)), _) => Err(QueryError::unsupported(text, at, reason)),
        (_, _, Ok(expr)) => Ok(expr),
        (_, _, Err(Stop)) => Err(QueryError::syntax(text, 0, "no expression found in input")),
    }
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Parsed<Expr> {
        if self.peek()?.kind == Kind::End {
            return self.fail(0, "no expression found in input");
        }
        let expr = self.expr(0)?;
        match self.peek()?.kind {
            Kind::End => Ok(expr),
            _ => self.unexpected("", ""),
        }
    }

    fn peek(&mut self) -> Parsed<Token> {
        if let Some(token) = self.peeked {
            return Ok(token);
        }
        match self.lexer.next() {
            Ok(token) => {
                self.peeked = Some(token);
                Ok(token)
            }
            Err((at, reason)) => self.fail(at, reason),
        }
    }

    fn next(&mut self) -> Parsed<Token> {
        let token = self.peek()?;
        self.peeked = None;
        self.end = token.end;
        Ok(token)
    }

    /// Consumes the next token if it is of this kind.
    fn eat(&mut self, kind: Kind) -> Parsed<bool> {
        let found = self.peek()?.kind == kind;
        if found {
            self.next()?;
        }
        Ok(found)
    }

    /// Consumes the next token if it is this keyword, in any case.
    fn eat_word(&mut self, word: &str) -> Parsed<Option<usize>> {
        let token = self.peek()?;
        let keyword = matches!(
            token.kind,
            Kind::Keyword | Kind::StrictKeyword | Kind::Preprocessor
        );
        if keyword && self.slice(token).eq_ignore_ascii_case(word) {
            self.next()?;
            return Ok(Some(token.start));
        }
        Ok(None)
    }

    fn slice(&self, token: Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    /// Notes an error; the first one counts.
    fn note(&mut self, at: usize, reason: impl Into<String>) {
        self.error.get_or_insert_with(|| (at, reason.into()));
    }

    fn fail<T>(&mut self, at: usize, reason: impl Into<String>) -> Parsed<T> {
        self.note(at, reason);
        Err(Stop)
    }

    fn refuse(&mut self, at: usize, what: &str) {
        self.unsupported
            .get_or_insert_with(|| (at, format!("{what} experimental and not supported")));
    }

    /// Complains about the next token.
    fn unexpected<T>(&mut self, context: &str, expected: &str) -> Parsed<T> {
        let token = self.peek()?;
        let mut reason = format!("unexpected {}", describe(token, self.text));
        let context = match context {
            "" if self.aggregations > 0 => "aggregation",
            context => context,
        };
        if !context.is_empty() {
            reason += &format!(" in {context}");
        }
        if !expected.is_empty() {
            reason += &format!(", expected {expected}");
        }
        self.fail(token.start, reason)
    }

    fn made(&mut self, at: usize, below: usize, kind: ExprKind) -> Parsed<Expr> {
        let depth = below + 1;
        if depth > DEPTH_MAX {
            return self.too_deep(at);
        }
        let end = self.end;
        Ok(Expr {
            at,
            end,
            depth,
            kind,
        })
    }

    fn too_deep<T>(&mut self, at: usize) -> Parsed<T> {
        self.fail(
            at,
            format!("expression is nested more than {DEPTH_MAX} levels deep"),
        )
    }

    /// An expression whose binary operators bind at least as tightly as `least`.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let at = self.peek()?.start;
            return self.too_deep(at);
        }
        let mut left = self.operand()?;
        while let Some((binds, right_to_left)) = binding(self.peek()?.kind) {
            if binds < least {
                break;
            }
            let op = self.next()?;
            let mut binary = self.modifiers(op, left)?;
            binary.right = self.expr(if right_to_left { binds } else { binds + 1 })?;
            let below = binary.left.depth.max(binary.right.depth);
            let at = binary.left.at;
            left = self.made(at, below, ExprKind::Binary(Box::new(binary)))?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What stands between two operators. A sign binds like `*`, so `-2 ^ 2` is `-(2 ^ 2)`.
    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Add | Kind::Sub) {
            return self.postfixed();
        }
        self.next()?;
        let minus = token.kind == Kind::Sub;
        let expr = self.expr(POW)?;
        if let ExprKind::Number(number) = expr.kind {
            let number = if minus { -number } else { number };
            return self.made(token.start, 0, ExprKind::Number(number));
        }
        let (below, expr) = (expr.depth, Box::new(expr));
        self.made(token.start, below, ExprKind::Unary { minus, expr })
    }

    /// An operand with its ranges, offsets and `@`: they bind tightest.
    fn postfixed(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::LeftBracket => expr = self.bracket(expr)?,
                Kind::At => self.at(&mut expr)?,
                Kind::Keyword => match &*self.slice(token).to_ascii_lowercase() {
                    "offset" => self.offset(&mut expr)?,
                    word @ ("anchored" | "smoothed") => {
                        self.next()?;
                        self.refuse(token.start, &format!("the modifier `{word}` is"));
                    }
                    _ => return Ok(expr),
                },
                _ => return Ok(expr),
            }
            expr.end = self.end;
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let number = self.number()?;
                self.made(token.start, 0, ExprKind::Number(number))
            }
            Kind::Text => {
                self.next()?;
                let text = literal::unquote(self.slice(token));
                self.made(token.start, 0, ExprKind::Text(text))
            }
            Kind::LeftParen => {
                self.next()?;
                let expr = self.expr(0)?;
                if !self.eat(Kind::RightParen)? {
                    return self.unexpected("", "");
                }
                self.made(token.start, expr.depth, ExprKind::Paren(Box::new(expr)))
            }
            Kind::LeftBrace => self.selector(None, token.start),
            Kind::Aggregator => {
                self.next()?;
                let follows = self.peek()?;
                let modifier = follows.kind == Kind::Keyword
                    && ["by", "without"]
                        .iter()
                        .any(|word| self.slice(follows).eq_ignore_ascii_case(word));
                if follows.kind == Kind::LeftParen || modifier {
                    return self.aggregate(token);
                }
                self.selector(Some(token), token.start)
            }
            Kind::Identifier | Kind::Preprocessor => {
                self.next()?;
                if self.peek()?.kind == Kind::LeftParen {
                    return self.call(token);
                }
                self.selector(Some(token), token.start)
            }
            Kind::Keyword | Kind::MetricIdentifier | Kind::And | Kind::Or | Kind::Unless => {
                self.next()?;
                self.selector(Some(token), token.start)
            }
            _ => self.unexpected("", ""),
        }
    }

    fn number(&mut self) -> Parsed<f64> {
        let token = self.next()?;
        let word = self.slice(token);
        let read = match token.kind {
            Kind::Duration => literal::duration(word),
            _ => literal::number(word),
        };
        Ok(read.unwrap_or_else(|reason| {
            self.note(token.start, reason);
            0.0
        }))
    }

    fn call(&mut self, name: Token) -> Parsed<Expr> {
        let args = self.arguments()?;
        let below = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
        let word = self.slice(name);
        if super::functions::signature(word).is_none() {
            self.note(name.start, format!("unknown function with name {:?}", word));
        }
        let name_text = word.to_string();
        self.made(
            name.start,
            below,
            ExprKind::Call {
                name: name_text,
                args,
            },
        )
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if !self.eat(Kind::LeftParen)? {
            return self.unexpected("", "");
        }
        if self.eat(Kind::RightParen)? {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            let token = self.peek()?;
            if self.eat(Kind::RightParen)? {
                return Ok(args);
            }
            if !self.eat(Kind::Comma)? {
                return self.unexpected("", "");
            }
            if matches!(self.peek()?.kind, Kind::RightParen | Kind::Comma) {
                return self.fail(
                    token.start,
                    "trailing commas not allowed in function call args",
                );
            }
        }
    }

    fn aggregate(&mut self, op: Token) -> Parsed<Expr> {
        let outer = self.aggregations;
        self.aggregations += 1;
        let mut modifier = self.grouping()?;
        let args = self.arguments()?;
        self.aggregations = outer;
        if modifier.is_none() {
            modifier = self.grouping()?;
        }
        let (without, grouping) = modifier.unwrap_or_default();
        let name = self.slice(op).to_ascii_lowercase();
        let takes_param = matches!(
            &*name,
            "topk" | "bottomk" | "count_values" | "quantile" | "limitk" | "limit_ratio"
        );
        let (wanted, got) = (1 + usize::from(takes_param), args.len());
        if got == 0 {
            return self.fail(op.start, "no arguments for aggregate expression provided");
        }
        let below = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
        let mut args = args.into_iter().map(Box::new);
        let param = if takes_param { args.next() } else { None };
        let (Some(expr), None) = (args.next(), args.next()) else {
            return self.fail(
                op.start,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
                ),
            );
        };
        let found = Aggregate {
            op: name,
            param,
            expr,
            without,
            grouping,
        };
        self.made(op.start, below, ExprKind::Aggregate(found))
    }
}

const POW: u8 = 6;

/// How tightly a binary operator binds, and whether it groups to the right.
fn binding(kind: Kind) -> Option<(u8, bool)> {
    Some(match kind {
        Kind::Or => (1, false),
        Kind::And | Kind::Unless => (2, false),
        kind if kind.is_comparison() => (3, false),
        Kind::Trim => (3, false),
        Kind::Add | Kind::Sub => (4, false),
        Kind::Mul | Kind::Div | Kind::Mod | Kind::Atan2 => (5, false),
        Kind::Pow => (POW, true),
        _ => return None,
    })
}
