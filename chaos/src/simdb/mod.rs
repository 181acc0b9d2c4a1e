//! A simulated PostgreSQL: it executes the ledger's own migrations and statements, deterministically and without I/O.
//!
//! Text is parsed once and compiled per role to plans; what lies outside the subset is an error with its place, never a silent
//! difference. Sessions, read committed, row and advisory locks with their queues, time-outs, deadlocks, constraints,
//! partitions, row security, replication: as PostgreSQL 15 does them.
//!
//! | file | noun |
//! |---|---|
//! | `image` | the loaded SQL, from which databases are made |
//! | `request`, `database`, `timers`, `failover` | requests and outputs, time, replication and failure |
//! | `core`, `session`, `txn`, `replication` | state, transactions, the log |
//! | `parse`, `bind`, `call`, `from`, `select`, `statement`, `insert`, `access`, `policy`, `plan` | from text to plans |
//! | `catalog`, `ddl`, `ddl_table`, `ddl_constraint` | the schema and its changes |
//! | `heap`, `key`, `lock` | versions, indexes, locks |
//! | `query`, `group`, `execute`, `change`, `expr`, `func`, `types` | running a plan |
//!
//! Left out: serializable and repeatable read, savepoints, triggers, views, outer joins, floating point, any collation but "C".

mod access;
mod bind;
mod call;
mod catalog;
mod change;
mod core;
mod database;
mod ddl;
mod ddl_constraint;
mod ddl_table;
mod error;
mod execute;
mod expr;
mod failover;
mod from;
mod func;
mod group;
mod heap;
mod image;
mod insert;
mod key;
mod lock;
mod parse;
mod plan;
mod policy;
mod query;
mod replication;
mod request;
mod select;
mod session;
mod statement;
mod timers;
mod txn;
mod types;

#[cfg(test)]
mod tests;

pub use database::Database;
pub use error::SqlError;
pub use image::{Image, Source};
pub use replication::{Change, LogRecord};
pub use request::{Costs, DbConfig, Output, Request};
pub use session::SessionId;
