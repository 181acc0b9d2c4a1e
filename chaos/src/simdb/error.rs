//! What can go wrong: a PostgreSQL error with its SQLSTATE, an error in a source file, or "not yet, wait for a lock".
//!
//! Invariant: messages are PostgreSQL's own wherever PostgreSQL has one; syntax outside the subset is `0A000` and says so.

use ledger::ports::DbError;
use sqlparser::{
    ast::{Ident, Spanned},
    tokenizer::Span,
};

use super::lock::{LockKey, Mode};

/// An error in one of the ledger's SQL files: outside the engine's subset, or refused by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {reason}")]
pub struct SqlError {
    /// The source's name, as given.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// An error as the server reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgError {
    /// Five characters.
    pub sqlstate: &'static str,
    /// PostgreSQL's message.
    pub message: String,
    /// Where in the text, line and column from 1; zero when it has no place.
    pub at: (u64, u64),
    /// The constraint that refused, where one did.
    pub constraint: Option<String>,
}

impl PgError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Box<PgError> {
        Box::new(PgError {
            sqlstate,
            message: message.into(),
            at: (0, 0),
            constraint: None,
        })
    }

    /// An error of a constraint.
    pub fn of_constraint(
        sqlstate: &'static str,
        constraint: &str,
        message: impl Into<String>,
    ) -> Box<PgError> {
        let mut error = PgError::new(sqlstate, message);
        error.constraint = Some(constraint.to_owned());
        error
    }

    /// Syntax that PostgreSQL may well accept and this engine does not.
    pub fn unsupported(what: impl std::fmt::Display) -> Box<PgError> {
        PgError::new(
            "0A000",
            format!("not in the simulated database's subset of SQL: {what}"),
        )
    }

    pub fn internal(what: impl std::fmt::Display) -> Box<PgError> {
        PgError::new("XX000", what.to_string())
    }

    /// Gives the error a place, unless it already has one.
    pub fn at(mut self: Box<PgError>, place: &impl Spanned) -> Box<PgError> {
        if self.at == (0, 0) {
            let span: Span = place.span();
            self.at = (span.start.line, span.start.column);
        }
        self
    }

    /// Gives the error an identifier's place, unless it already has one.
    pub fn at_name(mut self: Box<PgError>, name: &Ident) -> Box<PgError> {
        if self.at == (0, 0) {
            self.at = (name.span.start.line, name.span.start.column);
        }
        self
    }

    pub fn db_error(&self) -> DbError {
        DbError::Server {
            sqlstate: self.sqlstate.into(),
            message: self.message.clone(),
            constraint: self.constraint.clone(),
        }
    }
}

/// Why an execution step did not finish.
#[derive(Debug)]
pub enum Stop {
    /// It failed.
    Error(Box<PgError>),
    /// It has to wait for this lock and be tried again once it is granted.
    Wait(LockKey, Mode),
}

impl From<Box<PgError>> for Stop {
    fn from(error: Box<PgError>) -> Stop {
        Stop::Error(error)
    }
}

/// Result of compiling or of evaluating something that cannot wait.
pub type PgResult<T> = Result<T, Box<PgError>>;
/// Result of an execution step.
pub type Run<T> = Result<T, Stop>;
