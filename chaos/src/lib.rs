//! The simulation: network, database, services, faults, workloads, oracle and checkers.

pub mod checkers;
pub mod history;
pub mod oracle;
pub mod recording;
pub mod scenario;

pub mod simnet;
