//! Compiled statements: what the executor runs.
//!
//! Invariant: a plan holds for one role and one version of the catalog; privileges were checked when it was compiled.
//! Slot 0 of a statement that changes rows is its target table.

use std::sync::Arc;

use ledger::ports::Value;
use sqlparser::ast;

use super::lock::Mode;
use super::{
    error::PgError,
    expr::Expr,
    types::{Columns, Type},
};

/// Where a scan's rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A table, or one partition of it.
    Table(u32, Option<u16>),
    /// `pg_control_checkpoint()`: one row, the timeline.
    ControlCheckpoint,
    /// `generate_series(from, to)` over integers.
    Series(Expr, Expr),
    /// A subquery in FROM.
    Derived(Arc<SelectPlan>),
}

/// How a table is read.
#[derive(Clone, Debug)]
pub enum Access {
    /// In insertion order.
    Scan,
    /// Through the index at this position of the table's list.
    Index {
        index: usize,
        /// Values of its leading columns.
        equal: Vec<Expr>,
        /// Bounds of the next column, with whether they are inclusive.
        low: Option<(Expr, bool)>,
        high: Option<(Expr, bool)>,
        backward: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Scan {
    pub slot: u16,
    pub source: Source,
    pub access: Access,
    /// Conjuncts that can be judged once this scan's row is known and that the access does not already ensure.
    pub filter: Vec<Expr>,
    /// All of them, for the re-check of a newer version.
    pub recheck: Vec<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    Block,
    Skip,
    NoWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggFunc {
    CountRows,
    Count,
    Min,
    Max,
    Sum,
    BoolAnd,
    BoolOr,
}

#[derive(Clone, Debug)]
pub struct Agg {
    pub func: AggFunc,
    pub arg: Option<Expr>,
    pub distinct: bool,
}

#[derive(Clone, Debug)]
pub struct Grouping {
    /// Slot of the virtual row: keys, then aggregates.
    pub slot: u16,
    pub keys: Vec<Expr>,
    pub aggs: Vec<Agg>,
    pub having: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Debug)]
pub struct SelectPlan {
    /// Conjuncts that depend on no row of this query.
    pub guard: Vec<Expr>,
    pub scans: Vec<Scan>,
    /// Values that estimation would evaluate: an error in them shows even when no row is met.
    pub eager: Vec<Expr>,
    pub grouping: Option<Grouping>,
    pub project: Vec<Expr>,
    pub columns: Columns,
    pub distinct: bool,
    pub order: Vec<SortKey>,
    /// The access path already delivers this order.
    pub ordered: bool,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
    pub lock: Option<(Mode, WaitPolicy)>,
    /// NOT EXISTS and EXISTS by one pass: outer values and inner values that have to be equal.
    pub hash: Option<HashKeys>,
}

/// A correlated subquery whose only ties to the outer query are equalities.
#[derive(Clone, Debug)]
pub struct HashKeys {
    /// Memo slot within the execution.
    pub memo: u16,
    pub outer: Vec<Expr>,
    pub inner: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub enum InsertSource {
    /// Whole rows, defaults filled in.
    Values(Vec<Vec<Expr>>),
    /// A query whose row is then seen in `slot` by the expressions of the whole row.
    Query {
        plan: Arc<SelectPlan>,
        slot: u16,
        row: Vec<Expr>,
    },
}

#[derive(Clone, Debug)]
pub enum Conflict {
    /// Any unique index or exclusion.
    Any,
    /// This unique index.
    Index(usize),
}

#[derive(Clone, Debug)]
pub struct Insert {
    pub source: InsertSource,
    pub conflict: Option<Conflict>,
}

/// What happens to the rows of a target query.
#[derive(Clone, Debug)]
pub enum Change {
    Update(Vec<(u16, Expr)>),
    Delete,
}

#[derive(Clone, Debug)]
pub struct Returning {
    pub project: Vec<Expr>,
}

/// A row that a policy must let pass: the expression, and the table named in the error.
#[derive(Clone, Debug)]
pub struct PolicyCheck {
    /// Each must be true.
    pub all: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub enum Action {
    Select(Arc<SelectPlan>),
    Insert {
        table: u32,
        insert: Insert,
        check: PolicyCheck,
        returning: Option<Returning>,
    },
    Change {
        table: u32,
        target: Arc<SelectPlan>,
        change: Change,
        check: PolicyCheck,
        returning: Option<Returning>,
    },
    /// SET: name, value, for the transaction only.
    Set(Arc<str>, Option<Arc<str>>, bool),
    Begin,
    Commit,
    Rollback,
    /// A change of the catalog, run as it stands: statement and its text.
    Ddl(Arc<ast::Statement>, Arc<str>),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub action: Action,
    /// The role lacks a privilege: what its execution answers.
    pub denied: Option<Box<PgError>>,
    /// Types of the parameters.
    pub params: Vec<Type>,
    /// Number of `Expr::Once` slots.
    pub once: usize,
    /// Number of hash memos.
    pub memos: usize,
    /// Tables to lock before it runs.
    pub tables: Vec<(u32, Mode)>,
    /// What a read-only server answers, if it is not allowed there: the command's name.
    pub writes: Option<&'static str>,
}

/// A memo of one execution: the inner values of a hashed subquery.
pub type Memo = std::collections::BTreeSet<Vec<Value>>;
