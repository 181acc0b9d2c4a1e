//! firedrill: a fire drill for a service and its alarms.
//!
//! One way through the house: scenario + seed → simulate → recording → rules → timeline → judge → verdict → report
//! (`pipeline`). Around it: the command line (`cli`), what it reads (`inputs`, `tree`), what it does in parallel (`jobs`,
//! `runner`), what it leaves (`artefacts`, `bundle`, `report`) and how it ends (`exit`). `diff_rules` evaluates two rule sets over
//! one recording, `mutate_rules` many. Beside it stand commands that need no simulation (`test_promql`). Only this crate touches disk and terminal.

pub mod artefacts;
pub mod baseline;
pub mod books;
pub mod bundle;
pub mod check_rules;
pub mod cli;
pub mod contract;
pub mod diff_rules;
pub mod exit;
pub mod export;
pub mod inputs;
pub mod jobs;
pub mod mutate_rules;
pub mod observe;
pub mod pipeline;
pub mod progress;
pub mod replay;
pub mod report;
pub mod runner;
pub mod test_promql;
pub mod test_rules;
pub mod tree;
