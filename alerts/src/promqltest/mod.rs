//! The language of Prometheus' own PromQL tests: `load`, `clear` and `eval`, read and run.
//!
//! [`Script::parse`] reads a file whole or refuses it with the line; [`Script::run`] gives one [`Outcome`] per `eval`. The
//! language is that of the `promqltest` package of Prometheus 3.x with its older spellings (`eval_fail`, `eval_warn`,
//! `eval_info`, `eval_ordered`, `expected_fail_message`, `expected_fail_regexp`).
//!
//! Invariant: an `eval` passes only when Prometheus' own runner would pass it on the same answer. As there, an instant is
//! evaluated once more as the middle of a range. What needs native histograms or experimental features is refused, never
//! passed; any other query that cannot be evaluated failed.
//!
//! Left out: the content of native histograms, start timestamps (`@st`), and the repetition of instants with an `@` modifier.

mod compare;
mod parse;
mod run;

use indexmap::IndexMap;
use regex::Regex;
use thiserror::Error;

use crate::labels::Labels;
use crate::notation::Values;

/// How many steps a range may have; the bound of Prometheus' HTTP API.
pub const MAX_STEPS: i64 = 11_000;

/// How many samples may be loaded between two `clear`: 100 series over a month of 30 s steps, some 200 MB.
pub const MAX_SAMPLES: u64 = 10_000_000;

/// A file of commands.
#[derive(Debug, Clone, Default)]
pub struct Script {
    commands: Vec<Command>,
}

/// A file that cannot be run: what is wrong in which line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}: {reason}")]
pub struct ScriptError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub reason: String,
}

/// What became of each `eval`, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// One for each `eval`.
    pub evals: Vec<Evaluated>,
}

/// One `eval`.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Its line, from 1.
    pub line: usize,
    /// The query as written.
    pub query: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an `eval`.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The answer is the expected one.
    Passed,
    /// It is not.
    Failed(Failure),
    /// Native histograms or experimental features: what the query or its data needs.
    Refused(String),
}

/// Why an `eval` failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The first difference, in one line.
    pub reason: String,
    /// The expectation, as written.
    pub expected: Vec<String>,
    /// The answer in the same notation, or the error.
    pub got: Vec<String>,
}

impl Report {
    /// Evals that passed.
    pub fn passed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Passed))
    }

    /// Evals that failed.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Evals that were refused.
    pub fn refused(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Refused(_)))
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.evals.iter().filter(|eval| is(&eval.outcome)).count()
    }
}

impl Script {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is not of the language.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        parse::script(text)
    }

    /// Runs the commands in order.
    ///
    /// # Errors
    /// Samples that cannot be loaded: out of order, too many, or past the end of time.
    pub fn run(&self) -> Result<Report, ScriptError> {
        run::script(self)
    }

    /// How many `eval` it has.
    pub fn evals(&self) -> usize {
        let evals = |command: &&Command| matches!(command, Command::Eval(_));
        self.commands.iter().filter(evals).count()
    }
}

#[derive(Debug, Clone)]
enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

#[derive(Debug, Clone, Default)]
struct Load {
    step_ms: i64,
    /// Lines and values; of two lines for one series the later counts.
    series: IndexMap<Labels, (usize, Values)>,
    /// Classic histograms are loaded as native ones too.
    with_native: bool,
    /// Series that have start timestamps.
    started: Vec<Labels>,
}

#[derive(Debug, Clone)]
struct Eval {
    line: usize,
    query: String,
    when: When,
    expect: Expect,
    /// The lines below the command, as written.
    written: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Instant(i64),
    Range(Steps),
}

/// Instants from `start_ms` to `end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
}

/// What the lines below an `eval` say.
#[derive(Debug, Clone, Default)]
struct Expect {
    fail: Option<Text>,
    ordered: bool,
    warnings: Notes,
    infos: Notes,
    /// A string literal; `Some` as well when a string is answered and nothing was said.
    text: Option<String>,
    /// Samples of a range vector lie at these instants.
    range_vector: Option<Steps>,
    scalar: Option<f64>,
    /// Positions among the expected series, from 1, and values.
    series: IndexMap<Labels, (usize, Values)>,
}

#[derive(Debug, Clone, Default)]
struct Notes {
    /// Each must match one, and each that there is must be matched.
    matching: Vec<Text>,
    /// There must be at least one, of any text.
    some: bool,
    /// There must be none.
    none: bool,
}

/// A message that is expected.
#[derive(Debug, Clone)]
enum Text {
    Any,
    Exactly(String),
    Like(Regex),
}

impl Text {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Text::Any => true,
            Text::Exactly(want) => want == text,
            Text::Like(pattern) => pattern.is_match(text),
        }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Text::Any => f.write_str("of any text"),
            Text::Exactly(want) => write!(f, "{want:?}"),
            Text::Like(pattern) => write!(f, "like {:?}", pattern.as_str()),
        }
    }
}

impl Steps {
    fn at(&self, index: usize) -> i64 {
        self.start_ms
            .saturating_add(self.step_ms.saturating_mul(index as i64))
    }

    /// How many instants there are.
    fn count(&self) -> i64 {
        match self.step_ms {
            0 => 1,
            step_ms => (self.end_ms - self.start_ms) / step_ms + 1,
        }
    }
}
