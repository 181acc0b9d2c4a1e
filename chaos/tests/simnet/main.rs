//! The simulated network against the real one, and what only the simulated one can do.

mod arms;
mod conformance;
mod determinism;
mod faults;
mod hosts;
mod http;
mod runtime;
mod stage;
