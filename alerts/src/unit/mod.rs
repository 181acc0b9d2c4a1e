//! Unit tests of rules: promtool's files, unchanged.
//!
//! A [`Suite`] is a test file with the rule files that it names, read whole; [`Tests`] reads the same test by test. Each test runs by itself and answers a [`GroupResult`]:
//! how many checks were made, what failed in promtool's words, and what each rule did while it was looked at.
//! Semantics are those of `promtool test rules` 3.x: rules are evaluated from the test's start at every multiple of the
//! evaluation interval up to the last `eval_time`, a check of alerts sees the last evaluation at or before its `eval_time`, numbers
//! are compared exactly.
//!
//! Beyond promtool, all of it off by default ([`Options`]): compare only the labels that are listed, fail when anything else
//! fires, keep the intervals of groups. [`Coverage`] says which rules the checks saw firing and silent.
//!
//! [`grid`] and [`write`] go the other way: recorded series on a grid, and a file of tests written from them.
//!
//! Nothing here touches the disk: files come through [`Files`].
//!
//! Where promtool differs on purpose or by accident: a file that is malformed is refused whole before anything is run (promtool fails
//! the test that it reaches); a query may read any number of samples (promtool stops at 10,000); a rule that looks into the future
//! with a negative `offset` finds input samples there (promtool has not loaded them yet); native histograms are refused.

mod compare;
mod coverage;
mod failure;
mod file;
pub mod grid;
mod input;
mod run;
mod suite;
mod tests;
pub mod write;
mod yaml;

pub use coverage::{Coverage, RuleCoverage};
pub use failure::{Failure, Shown};
pub use file::{
    AlertTest, ExpectedAlert, ExpressionTest, MAX_EVALUATIONS, MAX_SAMPLES, TestFile, TestGroup,
};
pub use run::{GroupResult, Options};
pub use suite::{Files, Suite};
pub use tests::Tests;
