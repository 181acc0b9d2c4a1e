//! The report as text, in promtool's shape.

use std::fmt::Write;

use alerts::unit::{Failure, RuleCoverage};
use similar::{ChangeTag, TextDiff};

use super::{FileOutcome, Outcome, Stream, emit};
use crate::{
    exit::Error,
    report::{Verdict, text::Style},
};

/// What is shown.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// Failures as differences.
    pub diff: bool,
    /// The table of rules.
    pub coverage: bool,
    /// Colours.
    pub style: Style,
}

pub(super) fn report(outcome: &Outcome, shown: Shown) -> Result<(), Error> {
    for file in &outcome.files {
        emit(Stream::Out, &format!("Unit Testing:  {}\n", file.file))?;
        for warning in &file.warnings {
            emit(Stream::Err, &format!("  WARNING: {warning}\n"))?;
        }
        debug(file)?;
        verdict(file, shown)?;
        emit(Stream::Out, "\n")?;
    }
    if !outcome.any {
        emit(Stream::Err, "firedrill: no check was made\n")?;
    }
    if shown.coverage {
        emit(Stream::Out, &coverage(outcome))?;
        if outcome.too_little_seen() {
            let least = outcome.min_coverage.unwrap_or(0.0);
            let seen = outcome.coverage.percent();
            let text = format!("firedrill: coverage {seen:.1} % is below {least} %\n");
            emit(Stream::Err, &text)?;
        }
    }
    Ok(())
}

fn verdict(file: &FileOutcome, shown: Shown) -> Result<(), Error> {
    match file.verdict() {
        _ if file.skipped() => emit(
            Stream::Out,
            "  SKIPPED: no test has a name that --run wants\n",
        ),
        Verdict::Pass => emit(Stream::Out, "  SUCCESS\n"),
        Verdict::Unknown => emit(Stream::Err, "  UNKNOWN: no check was made\n"),
        Verdict::Fail => {
            let mut text = String::from("  FAILED:\n");
            for failure in file.results().flat_map(|result| &result.failures) {
                let _ = match failure.sides() {
                    Some((expected, got)) if shown.diff => {
                        writeln!(text, "{}", diff(failure, &expected, &got, shown.style))
                    }
                    _ => writeln!(text, "{failure}"),
                };
            }
            emit(Stream::Err, &text)
        }
    }
}

fn diff(failure: &Failure, expected: &str, got: &str, style: Style) -> String {
    let mut text = format!("{}, \n        diff: - expected, + got", failure.head());
    for change in TextDiff::from_lines(expected, got).iter_all_changes() {
        let (sign, color) = match change.tag() {
            ChangeTag::Delete => ('-', "31"),
            ChangeTag::Insert => ('+', "32"),
            ChangeTag::Equal => (' ', ""),
        };
        let line = format!("{sign} {}", change.value().trim_end_matches('\n'));
        let line = match color {
            "" => line,
            color => style.paint(color, &line),
        };
        let _ = write!(text, "\n            {line}");
    }
    text
}

fn debug(file: &FileOutcome) -> Result<(), Error> {
    for test in &file.tests {
        if let Ok(result) = &test.result
            && let Some(dump) = &result.dump
        {
            let title = &test.title;
            let text = format!("DEBUG: all series (input and rules) of test {title}:\n{dump}");
            emit(Stream::Err, &text)?;
        }
    }
    Ok(())
}

fn coverage(outcome: &Outcome) -> String {
    let rules = outcome.coverage.rules();
    let width = |text: fn(&RuleCoverage) -> String, least: usize| {
        let widths = rules.iter().map(|rule| text(rule).chars().count());
        widths.max().unwrap_or(0).max(least)
    };
    let place = |rule: &RuleCoverage| format!("{}:{}", rule.file, rule.line);
    let (places, names) = (width(place, 4), width(|rule| rule.rule.clone(), 4));
    let mut out = format!(
        "{:places$}  {:names$}  {:>6}  {:>6}\n",
        "rule", "name", "active", "silent"
    );
    for rule in &rules {
        let count = |count: u64, asked: bool| match (count, asked) {
            (_, false) => "·".to_owned(),
            (0, true) => "never".to_owned(),
            (count, true) => count.to_string(),
        };
        let _ = writeln!(
            out,
            "{:places$}  {:names$}  {:>6}  {:>6}",
            place(rule),
            rule.rule,
            count(rule.active, true),
            count(rule.silent, rule.alert)
        );
    }
    let (seen, all) = outcome.coverage.branches();
    let percent = outcome.coverage.percent();
    let _ = writeln!(out, "coverage: {seen} of {all} branches, {percent:.1} %");
    out
}
