//! Tests of the simulated database: tables of SQL and outcome.

mod editing;
mod failure;
mod ledger_files;
mod rig;
mod semantics;
mod waiting;
