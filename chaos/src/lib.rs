//! The simulation: network, database, services, faults, workloads, oracle and checkers.

pub mod checkers;
pub mod history;
pub mod hosts;
pub mod judge;
pub mod oracle;
pub mod reach;
pub mod recording;
pub mod scenario;
pub mod simdb;
pub mod simnet;
mod simulate;

pub use simulate::{SimulateError, Simulation, compile, simulate};
