//! Expressions as written: what stands where. Nothing is checked or resolved here.

use super::plan::When;
use super::token::Kind;

/// An expression and where it stands: from byte `at` to before byte `end`.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub at: usize,
    pub end: usize,
    /// Levels of nesting below and with this one; the parser bounds it, so that walks may recurse.
    pub depth: usize,
    pub kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Number(f64),
    Text(Text),
    Paren(Box<Expr>),
    /// A minus. A plus changes nothing, but is one level for types and positions.
    Unary {
        minus: bool,
        expr: Box<Expr>,
    },
    Selector(Selector),
    Range {
        selector: Selector,
        range_ms: i64,
    },
    Subquery {
        expr: Box<Expr>,
        range_ms: i64,
        step_ms: Option<i64>,
        when: When,
    },
    Call {
        name: String,
        args: Vec<Expr>,
    },
    Aggregate(Aggregate),
    Binary(Box<Binary>),
}

/// A string. Escapes may make bytes that are no UTF-8, for which Rust's strings have no room.
pub(crate) type Text = Result<String, Vec<u8>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    /// The name in front of the braces.
    pub name: Option<String>,
    pub matchers: Vec<LabelMatcher>,
    pub when: When,
}

#[derive(Debug, Clone)]
pub(crate) struct LabelMatcher {
    pub at: usize,
    pub name: String,
    /// One of `=`, `!=`, `=~`, `!~`.
    pub op: Kind,
    pub value: Text,
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    /// In lower case.
    pub op: String,
    pub param: Option<Box<Expr>>,
    pub expr: Box<Expr>,
    pub without: bool,
    pub grouping: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub op: Kind,
    pub op_at: usize,
    pub op_text: String,
    pub left: Expr,
    pub right: Expr,
    pub bool: bool,
    pub on: bool,
    pub labels: Vec<String>,
    pub group: Option<Group>,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub left: bool,
    pub include: Vec<String>,
}
