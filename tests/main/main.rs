//! Tests of the whole program, one binary: what it prints, what it refuses, that it repeats itself, that each break is seen,
//! and the rules that the repository sets itself.
//!
//! `FIREDRILL_BIN` names another build of the program to drive, usually the release one; with it, `determinism` covers
//! every scenario, without it those that a debug build runs in seconds.

mod breaks;
mod check_rules;
mod contract;
mod determinism;
mod diff_rules;
mod edges;
mod export;
mod mutate_rules;
mod program;
mod promqltest;
mod routing;
mod runbooks;
mod schema;
mod test_rules;
mod tidy;
mod transcripts;
