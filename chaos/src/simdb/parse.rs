//! From text to statements, with their places; and the guard against silently ignored syntax.
//!
//! Invariant: whatever a syntax tree holds beyond what the compiler reads is an error. `only` proves it by building the tree
//! anew from the parts that are read and comparing the two, so that a new field of the parser cannot slip through.

use std::sync::Arc;

use sqlparser::{
    ast::{Ident, ObjectName, ObjectNamePart, Statement},
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::Token,
};

use super::error::{PgError, PgResult};

/// One statement and its text.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub statement: Arc<Statement>,
    pub text: Arc<str>,
    /// The whole text that it was part of.
    pub source: Arc<str>,
    /// Line and column of its first word, from 1.
    pub at: (u64, u64),
}

/// Splits a source into its statements.
pub fn statements(text: &str) -> PgResult<Vec<Parsed>> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(syntax)?;
    let mut parsed = Vec::new();
    let source: Arc<str> = text.into();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            return Ok(parsed);
        }
        let statement = parser.parse_statement().map_err(syntax)?;
        let next = parser.peek_token();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            let mut error = PgError::new(
                "42601",
                format!("syntax error at or near \"{}\"", next.token),
            );
            error.at = (next.span.start.line, next.span.start.column);
            return Err(error);
        }
        let start = offset(text, first.span.start.line, first.span.start.column);
        let end = match next.token {
            Token::EOF => text.len(),
            _ => offset(text, next.span.start.line, next.span.start.column),
        };
        parsed.push(Parsed {
            statement: Arc::new(statement),
            source: source.clone(),
            text: text[start..end].trim().into(),
            at: (first.span.start.line, first.span.start.column),
        });
    }
}

fn offset(text: &str, line: u64, column: u64) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1) as usize)
        .map(str::len)
        .sum();
    let rest = &text[start..];
    let within = rest.char_indices().nth(column.saturating_sub(1) as usize);
    start + within.map_or(rest.len(), |(at, _)| at)
}

/// The parser writes places into its message; they become the error's own.
fn syntax(error: sqlparser::parser::ParserError) -> Box<PgError> {
    let message = error.to_string();
    let message = message
        .strip_prefix("sql parser error: ")
        .unwrap_or(&message);
    let (reason, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let mut error = PgError::new("42601", format!("syntax error: {reason}"));
    if let Some((line, column)) = place.split_once(", Column: ") {
        error.at = (
            line.trim().parse().unwrap_or(0),
            column.trim().parse().unwrap_or(0),
        );
    }
    error
}

/// A statement whose every field has its neutral value: the ground on which `only` rebuilds.
pub fn blank(text: &str) -> PgResult<Statement> {
    let mut parsed = statements(text)?;
    match parsed.pop() {
        Some(parsed) => Ok(Arc::unwrap_or_clone(parsed.statement)),
        None => Err(PgError::internal("an empty blank")),
    }
}

/// Refuses `found` unless it equals what the compiler would read of it.
pub fn only<T: PartialEq + std::fmt::Display>(found: &T, read: &T) -> PgResult<()> {
    if found == read {
        return Ok(());
    }
    let (found, read) = (found.to_string(), read.to_string());
    let same = found
        .bytes()
        .zip(read.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let word = found
        .get(..same)
        .and_then(|text| text.rfind(' '))
        .map_or(0, |at| at + 1);
    let near: String = found
        .get(word..)
        .unwrap_or(&found)
        .chars()
        .take(60)
        .collect();
    Err(PgError::unsupported(format!("a clause near `{near}`")))
}

/// An identifier's name: folded to lower case unless quoted.
pub fn ident(ident: &Ident) -> Arc<str> {
    match ident.quote_style {
        Some(_) => ident.value.as_str().into(),
        None => ident.value.to_ascii_lowercase().into(),
    }
}

/// A relation's name; only the schema `public` exists.
pub fn name(object: &ObjectName) -> PgResult<Arc<str>> {
    match object.0.as_slice() {
        [ObjectNamePart::Identifier(only)] => Ok(ident(only)),
        [
            ObjectNamePart::Identifier(schema),
            ObjectNamePart::Identifier(table),
        ] if &*ident(schema) == "public" => Ok(ident(table)),
        _ => Err(PgError::unsupported(format!("the name {object}")).at(object)),
    }
}
