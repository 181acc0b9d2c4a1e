//! `firedrill test promql`: files in the language of Prometheus' PromQL tests → counts and differences.
//!
//! Invariant: every file is read and understood before any is run, so a malformed one is refused with its line and nothing is
//! printed. Only a run without a failure that evaluated something passes: refusals alone are unknown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use alerts::promqltest::{Outcome, Report, Script};
use serde::Serialize;

use crate::cli::{self, Format};
use crate::exit::{self, Error};

/// Lines of an expectation or an answer that the text report shows.
const LINES_SHOWN: usize = 20;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Test files; a folder stands for the *.test in it.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Form of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Prints failures and the total, not each file.
    #[arg(long, short)]
    quiet: bool,
}

/// The whole report.
#[derive(Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    refused: usize,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    passed: usize,
    failed: usize,
    refused: usize,
    failures: Vec<FailureReport>,
    refusals: Vec<RefusalReport>,
}

#[derive(Serialize)]
struct FailureReport {
    line: usize,
    query: String,
    reason: String,
    expected: Vec<String>,
    got: Vec<String>,
}

#[derive(Serialize)]
struct RefusalReport {
    line: usize,
    query: String,
    reason: String,
}

/// Runs the files; the exit code is 0 when none failed.
///
/// # Errors
/// A file that cannot be read, is not of the language or evaluates nothing.
pub fn run(args: &Args) -> Result<u8, Error> {
    let scripts = read(&args.files)?;
    let mut files = Vec::new();
    for (file, script) in &scripts {
        let report = script
            .run()
            .map_err(|error| Error::Input(format!("{file}:{error}")))?;
        files.push(file_report(file, report));
    }
    let sum = |count: fn(&FileReport) -> usize| files.iter().map(count).sum();
    let summary = Summary {
        passed: sum(|file| file.passed),
        failed: sum(|file| file.failed),
        refused: sum(|file| file.refused),
        files,
    };
    cli::print(&match args.format {
        Format::Text => text(&summary, args.quiet),
        Format::Json => json(&summary)?,
    })?;
    Ok(match (summary.failed, summary.passed) {
        (1.., _) => exit::FAIL,
        (0, 1..) => exit::PASS,
        (0, 0) => exit::UNKNOWN,
    })
}

/// Every file with its script, or all that is wrong with them.
fn read(paths: &[PathBuf]) -> Result<Vec<(String, Script)>, Error> {
    let mut scripts = Vec::new();
    let mut wrong = Vec::new();
    for path in paths {
        match found(path) {
            Err(reason) => wrong.push(reason),
            Ok(files) => {
                for file in files {
                    match script(&file) {
                        Ok(script) => scripts.push((file.display().to_string(), script)),
                        Err(reason) => wrong.push(reason),
                    }
                }
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(scripts),
        false => Err(Error::Input(wrong.join("\n"))),
    }
}

fn script(file: &Path) -> Result<Script, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let script = Script::parse(&text).map_err(|error| format!("{shown}:{error}"))?;
    match script.evals() {
        0 => Err(format!(
            "{shown}: no eval in this file: it would test nothing"
        )),
        _ => Ok(script),
    }
}

/// The file itself, or the test files in the folder, by name.
fn found(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "test"));
    files.sort();
    match files.is_empty() {
        true => Err(format!("{}: no *.test in this folder", path.display())),
        false => Ok(files),
    }
}

fn file_report(file: &str, report: Report) -> FileReport {
    let mut out = FileReport {
        file: file.to_string(),
        passed: report.passed(),
        failed: report.failed(),
        refused: report.refused(),
        failures: Vec::new(),
        refusals: Vec::new(),
    };
    for eval in report.evals {
        let (line, query) = (eval.line, eval.query);
        match eval.outcome {
            Outcome::Passed => {}
            Outcome::Failed(failure) => out.failures.push(FailureReport {
                line,
                query,
                reason: failure.reason,
                expected: failure.expected,
                got: failure.got,
            }),
            Outcome::Refused(reason) => out.refusals.push(RefusalReport {
                line,
                query,
                reason,
            }),
        }
    }
    out
}

fn json(summary: &Summary) -> Result<String, Error> {
    match serde_json::to_string_pretty(summary) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}

fn text(summary: &Summary, quiet: bool) -> String {
    let mut out = String::new();
    for file in &summary.files {
        for failure in &file.failures {
            block(&mut out, &file.file, failure);
        }
        if !quiet {
            let counts = counts(file.passed, file.failed, file.refused);
            let _ = writeln!(out, "{}: {counts}", file.file);
            for (reason, lines) in refusals(file) {
                let _ = writeln!(out, "  refused: {reason} (line {lines})");
            }
        }
    }
    let counts = counts(summary.passed, summary.failed, summary.refused);
    let verdict = match (summary.failed, summary.passed) {
        (1.., _) => "fail",
        (0, 1..) => "pass",
        (0, 0) => "unknown: nothing could be evaluated",
    };
    let _ = writeln!(out, "{verdict}: {counts}");
    out
}

fn counts(passed: usize, failed: usize, refused: usize) -> String {
    format!("{passed} passed, {failed} failed, {refused} refused")
}

fn block(out: &mut String, file: &str, failure: &FailureReport) {
    let _ = writeln!(out, "{file}:{}: {}", failure.line, failure.query);
    let _ = writeln!(out, "  {}", failure.reason);
    for (kind, lines) in [("expected", &failure.expected), ("got", &failure.got)] {
        let _ = writeln!(out, "  {kind}:");
        for line in lines.iter().take(LINES_SHOWN) {
            let _ = writeln!(out, "    {line}");
        }
        if let Some(more @ 1..) = lines.len().checked_sub(LINES_SHOWN) {
            let _ = writeln!(out, "    and {more} more");
        }
    }
}

/// Reasons of refusals, each once, with the first line and how many more there are.
fn refusals(file: &FileReport) -> Vec<(&str, String)> {
    let mut reasons: Vec<(&str, usize, usize)> = Vec::new();
    for refusal in &file.refusals {
        match reasons
            .iter_mut()
            .find(|(reason, ..)| *reason == refusal.reason)
        {
            Some((_, _, more)) => *more += 1,
            None => reasons.push((&refusal.reason, refusal.line, 0)),
        }
    }
    let shown = |(reason, line, more)| match more {
        0 => (reason, format!("{line}")),
        _ => (reason, format!("{line} and {more} more")),
    };
    reasons.into_iter().map(shown).collect()
}
