//! Prometheus alert rules over recorded series: when was each alert pending, firing, resolved?
//!
//! The crate knows nothing of what is monitored, nor of simulation. What goes in is Prometheus text exposition with the instant of
//! each scrape; what comes out is a [`timeline::Timeline`]. Reference semantics are those of Prometheus 3.x.
//!
//! ```
//! use alerts::{rules::{RuleSet, Schedule}, scrape::{Ingest, Target}};
//!
//! let rules = RuleSet::from_sources([("a.yml", "groups: [{name: g, rules: [{alert: Down, expr: up == 0, for: 30s}]}]")]).unwrap();
//! let mut ingest = Ingest::new();
//! let target = Target::new("ledger", "ledger-1:8080");
//! for t_ms in (0..120_000).step_by(15_000) {
//!     let outcome = if t_ms < 60_000 { Ok("requests_total 1\n") } else { Err("connection refused") };
//!     ingest.scrape(&target, t_ms, 0.003, outcome).unwrap();
//! }
//! let timeline = rules.evaluate(ingest.store(), &Schedule::steady(0, 120_000, 15_000)).unwrap();
//! assert_eq!(timeline.first_firing("alertname", "Down", 0), Some(90_000));
//! ```
//!
//! # Map
//!
//! In the order in which data passes:
//!
//! | module | holds |
//! |---|---|
//! | [`exposition`] | the text format, line by line; an error has its line |
//! | [`scrape`] | scrapes → series: `up`, stale markers, target labels; the previous body is remembered, so that an equal line costs one comparison |
//! | [`series`] | interned label sets; samples as runs over shared instants: an unchanged value costs nothing |
//! | [`openmetrics`] | series as OpenMetrics text, and back: the way to and from a Prometheus server's storage |
//! | [`promql`] | queries, evaluated over all instants at once |
//! | [`template`] | Go's text/template as rules use it |
//! | [`rules`] | rule files with the place of each error, the order in which rules run, the life of an alert |
//! | [`timeline`] | what happened, for judges and reports |
//! | [`promqltest`] | runs files in the language of Prometheus' PromQL tests |
//! | [`notation`] | series and values as test files write them |
//! | [`unit`] | promtool's unit tests of rules: files read, run and written; failures, coverage |
//! | [`mutate`] | rules with one thing changed: what tests and recordings should notice |
//! | [`lint`] | what parses and still cannot work, found without any series |
//! | [`labels`], [`number`] | label sets; numbers as Go writes them, the stale marker |
//!
//! # What holds everywhere
//!
//! - Time is `i64` milliseconds since the epoch; nothing reads a clock.
//! - What is not supported is an error before evaluation (native histograms, experimental functions and modifiers), what fails
//!   at run time fails the whole evaluation: an empty answer always means "no such series".
//! - Absence inside columns is the stale marker's bit pattern, which no arithmetic yields. Any other NaN is a value.
//! - Only [`rules::RuleSet::load`] touches the disk.
//!
//! Deliberately absent: native histograms, remote storage, notification routing, groups that run at the same time (at one
//! instant they run in order).

pub mod exposition;
pub mod labels;
pub mod lint;
pub mod mutate;
pub mod notation;
pub mod number;
pub mod openmetrics;
pub mod promql;
pub mod promqltest;
pub mod rules;
pub mod scrape;
pub mod series;
pub mod template;
pub mod timeline;
pub mod unit;
