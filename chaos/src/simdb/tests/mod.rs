//! Tests of the simulated database: tables of SQL and outcome.

mod ledger_files;
mod rig;
