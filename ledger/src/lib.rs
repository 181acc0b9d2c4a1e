//! The reference ledger: a hotel inventory service on PostgreSQL.

pub mod ports;
