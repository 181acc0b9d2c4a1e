//! The simulation: network, database, services, faults, workloads, oracle and checkers.

pub mod checkers;
pub mod history;
pub mod judge;
pub mod oracle;
pub mod reach;
pub mod recording;
pub mod scenario;
