//! The real adapters: PostgreSQL through sqlx, the system's clock and randomness, tokio's tasks, and what the binary needs.
//!
//! RabbitMQ and Redis have no adapters yet: the only broker here writes events to stdout, the only cache is in memory.

mod broker;
mod cache;
mod migrate;
mod serve;
mod session;
mod system;
mod value;

pub use broker::LogBroker;
pub use cache::MemoryCache;
pub use migrate::{MigrateError, bootstrap, migrate};
pub use serve::serve;
pub use session::{Credentials, PgConnect};
pub use system::{SystemClock, SystemIds, TokioSpawn};
