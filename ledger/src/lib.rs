//! The reference ledger: a hotel inventory service on PostgreSQL.
//!
//! `api` parses and answers; `hold`, `transitions` and `availability` are the operations, each a [`SqlBook`] of statements in
//! one `transaction`; `levers` are pulled by `principals` through `admin`; `sweeper`, `relay`, `auditor` and `collector` are the jobs; `pool` and `topology` know where the primary
//! is. Everything reaches the world through [`ports`] alone. Guards against overselling, against changes in the wrong state and
//! between tenants live in the SQL, and nowhere else.

mod admin;
mod api;
mod app;
mod auditor;
mod availability;
mod breaker;
mod collector;
pub mod config;
pub mod contract;
mod deadline;
mod error;
mod health;
mod hold;
mod leadership;
mod levers;
pub mod metrics;
mod outbox;
mod pool;
pub mod ports;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod principals;
mod relay;
pub mod schema;
mod sqlbook;
mod stay;
mod sweeper;
mod topology;
mod transaction;
mod transitions;

pub use app::{App, Ports};
pub use auditor::Audit;
pub use config::{Config, ConfigError, Secret};
pub use pool::Fault;
pub use principals::{Duty, Principal};
pub use relay::{RelayError, Relayed};
pub use schema::{Schema, SchemaError};
pub use sqlbook::SqlBook;
pub use sweeper::Sweep;
