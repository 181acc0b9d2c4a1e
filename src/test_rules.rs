//! `firedrill test rules`: promtool's unit-test files, run as promtool runs them.
//!
//! Invariant: nothing is reported unless every file was read and nothing in it was refused; tests run in parallel, the report is in the
//! order of the arguments. As with promtool, what failed goes to standard error and the rest to standard output.

pub(crate) mod disk;
mod json;
mod junit;
mod run;
mod text;

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
    path::PathBuf,
};

use alerts::unit::{Coverage, Files, GroupResult, Options, Suite};
use clap::Args;
use regex::Regex;

use crate::{
    cli::{Color, Format},
    exit::Error,
    report::Verdict,
};

/// Runs promtool's unit-test files.
#[derive(Debug, Args)]
pub struct TestRules {
    /// Unit-test files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Only tests whose name matches; may be given more than once.
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Shows failures as a difference, line by line.
    #[arg(long)]
    diff: bool,
    /// Shows all series of each test on standard error.
    #[arg(long)]
    debug: bool,
    /// Writes the results to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Compares only the labels and annotations that a test lists.
    #[arg(long)]
    partial_labels: bool,
    /// Fails a test in which an alert fires, at any evaluation, that none of its checks expects.
    #[arg(long)]
    nothing_else_fires: bool,
    /// Evaluates each group at its own interval; promtool evaluates all of them at the file's.
    #[arg(long)]
    group_intervals: bool,
    /// Shows which rules the tests saw firing and silent.
    #[arg(long)]
    coverage: bool,
    /// Fails when less than this share of the rules' branches was seen.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_coverage: Option<f64>,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// When to use colour; `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
}

/// What became of all files.
struct Outcome {
    files: Vec<FileOutcome>,
    coverage: Coverage,
    /// Percent that must be seen.
    min_coverage: Option<f64>,
    /// Some test was run at all.
    any: bool,
}

struct FileOutcome {
    /// As it was named.
    file: String,
    warnings: Vec<String>,
    /// How many tests it describes.
    described: usize,
    /// Those that were run.
    tests: Vec<TestOutcome>,
}

struct TestOutcome {
    title: String,
    /// Or the message of its panic.
    result: Result<GroupResult, String>,
}

impl FileOutcome {
    /// What became of the tests that came to an end.
    fn results(&self) -> impl Iterator<Item = &GroupResult> {
        self.tests
            .iter()
            .filter_map(|test| test.result.as_ref().ok())
    }

    fn verdict(&self) -> Verdict {
        if self.results().any(|result| !result.failures.is_empty()) {
            Verdict::Fail
        } else if self.results().map(|result| result.checks).sum::<usize>() == 0 {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }

    /// None of its tests has a name that `--run` wants.
    fn skipped(&self) -> bool {
        self.tests.is_empty() && self.described > 0
    }
}

impl Outcome {
    fn verdict(&self) -> Verdict {
        let judged = self.files.iter().filter(|file| !file.skipped());
        let verdicts: Vec<Verdict> = judged.map(FileOutcome::verdict).collect();
        if verdicts.contains(&Verdict::Fail) || self.too_little_seen() {
            Verdict::Fail
        } else if verdicts.contains(&Verdict::Unknown) || !self.any {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }

    fn too_little_seen(&self) -> bool {
        let least = self.min_coverage.unwrap_or(0.0);
        self.coverage.percent() < least
    }

    fn panics(&self) -> impl Iterator<Item = String> {
        self.files.iter().flat_map(|file| {
            file.tests.iter().filter_map(|test| {
                let panic = test.result.as_ref().err()?;
                Some(format!("{}: {}: {panic}", file.file, test.title))
            })
        })
    }
}

/// Runs the command; answers the exit code.
///
/// # Errors
/// Files that are refused, all of them, and a test that broke the program.
pub fn run(args: TestRules) -> Result<u8, Error> {
    let wanted = match &args.run[..] {
        [] => None,
        patterns => {
            let pattern = patterns.join("|");
            let regex = Regex::new(&pattern);
            Some(regex.map_err(|error| Error::Input(format!("--run: {error}")))?)
        }
    };
    let options = Options {
        partial_labels: args.partial_labels,
        nothing_else_fires: args.nothing_else_fires,
        group_intervals: args.group_intervals,
        dump: args.debug,
    };
    let (files, coverage) = run::run(&run::Asked {
        files: &args.files,
        wanted: wanted.as_ref(),
        options: &options,
    })?;
    let checked = |file: &FileOutcome| file.results().any(|result| result.checks > 0);
    let outcome = Outcome {
        any: files.iter().any(checked),
        coverage,
        min_coverage: args.min_coverage,
        files,
    };
    if let Some(path) = &args.junit {
        junit::write(path, &outcome)?;
    }
    match args.format {
        Format::Json => emit(Stream::Out, &json::render(&outcome))?,
        Format::Text => {
            let shown = text::Shown {
                diff: args.diff,
                coverage: args.coverage || args.min_coverage.is_some(),
                style: args.color.style(std::io::stderr().is_terminal()),
            };
            text::report(&outcome, shown)?;
        }
    }
    match outcome.panics().next() {
        Some(panic) => Err(Error::Internal(panic)),
        None => Ok(outcome.verdict().code()),
    }
}

/// Reads test files and the rules that they name.
///
/// # Errors
/// All that is wrong with them, each once.
pub(crate) fn load(files: &[String], from: &impl Files) -> Result<Vec<Suite>, Error> {
    let (mut suites, mut refused) = (Vec::new(), BTreeSet::new());
    let mut errors = Vec::new();
    for file in files {
        match Suite::load(file, from) {
            Ok(suite) => suites.push(suite),
            Err(found) => {
                // Several tests may name the same broken rule file.
                let found = found.iter().map(ToString::to_string);
                errors.extend(found.filter(|error| refused.insert(error.clone())));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(suites),
        false => Err(Error::Input(errors.join("\n"))),
    }
}

/// A share on the command line.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let number = number.trim().parse::<f64>().ok();
    let number = number.filter(|percent| (0.0..=100.0).contains(percent));
    number.ok_or_else(|| "a number from 0 to 100".to_owned())
}

/// Where a part of the report goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Writes a part of the report at once, so that both streams keep their order on a terminal. Who closed a stream has read
/// enough.
fn emit(stream: Stream, text: &str) -> Result<(), Error> {
    let written = match stream {
        Stream::Out => {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }
        Stream::Err => std::io::stderr().lock().write_all(text.as_bytes()),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Internal(format!("the report: {error}")))
        }
        _ => Ok(()),
    }
}
