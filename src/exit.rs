//! How the program ends: the exit codes, which users' scripts rely on, and the two kinds of failure that are no verdict.
//!
//! Invariant: only a passing verdict (or a request for help) ends with 0.

use crate::report::Verdict;

/// Every run passed.
pub const PASS: u8 = 0;
/// Some run failed.
pub const FAIL: u8 = 1;
/// No run failed, but some check lacked data.
pub const UNKNOWN: u8 = 2;
/// Only lint findings.
pub const LINT: u8 = 3;
/// The command line or an input file was refused; nothing was run or written.
pub const USAGE: u8 = 64;
/// The program itself failed: a panic, a disk error, or a replay that diverged.
pub const INTERNAL: u8 = 70;

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An input was refused: what, where (file and line), what to do.
    #[error("{0}")]
    Input(String),
    /// The program failed.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The exit code that stands for it.
    pub fn code(&self) -> u8 {
        match self {
            Error::Input(_) => USAGE,
            Error::Internal(_) => INTERNAL,
        }
    }
}

impl Verdict {
    /// The exit code that stands for it.
    pub fn code(self) -> u8 {
        match self {
            Verdict::Pass => PASS,
            Verdict::Fail => FAIL,
            Verdict::Unknown => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_passing_verdict_ends_with_0() {
        let codes = [
            Verdict::Pass.code(),
            Verdict::Fail.code(),
            Verdict::Unknown.code(),
            LINT,
            Error::Input(String::new()).code(),
            Error::Internal(String::new()).code(),
        ];
        assert_eq!(codes, [0, 1, 2, 3, 64, 70], "documented in README.md");
    }
}
