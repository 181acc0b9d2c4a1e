//! Comments that silence a finding: `# firedrill disable <lint>: <reason>`.
//!
//! Invariant: a comment that silences nothing, says no reason, names no lint, or says twice what holds already is itself a finding:
//! what stands in a rule file about lints is true.

use super::{Finding, LINTS, Severity, lint};

/// One comment.
#[derive(Debug)]
pub(super) struct Disable<'t> {
    pub lint: &'t str,
    pub reason: &'t str,
    /// Line from 1, and column of the `#`.
    pub line: usize,
    pub column: usize,
    /// Lines of the rule that it is about; all, where it stands above everything.
    pub lines: std::ops::RangeInclusive<usize>,
    used: bool,
}

/// The comments of a file, and those that are malformed. `rules` are the first lines of its rules, ascending.
pub(super) fn comments<'t>(
    text: &'t str,
    rules: &[usize],
) -> (Vec<Disable<'t>>, Vec<(usize, usize, String)>) {
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    let lines: Vec<&str> = text.lines().collect();
    let blank = |line: usize| {
        lines
            .get(line - 1)
            .is_some_and(|text| text.trim().is_empty() || text.trim_start().starts_with('#'))
    };
    // A rule begins with the comments above it.
    let starts: Vec<usize> = rules
        .iter()
        .map(|first| {
            (1..*first)
                .rev()
                .take_while(|line| blank(*line))
                .last()
                .unwrap_or(*first)
        })
        .collect();
    let head = (1..=lines.len())
        .take_while(|line| blank(*line))
        .last()
        .unwrap_or(0);
    for (at, text) in lines.iter().enumerate() {
        let line = at + 1;
        let Some((before, said)) = split(text) else {
            continue;
        };
        let column = before.chars().count() + 1;
        let Some((lint, reason)) = said
            .strip_prefix("disable")
            .filter(|rest| rest.starts_with(char::is_whitespace))
            .map(|rest| {
                let rest = rest.trim();
                rest.split_once(':')
                    .map_or((rest, ""), |(lint, reason)| (lint.trim(), reason.trim()))
            })
        else {
            wrong.push((
                line,
                column,
                "a comment for firedrill is `# firedrill disable <lint>: <reason>`".into(),
            ));
            continue;
        };
        if !LINTS.iter().any(|known| known.id == lint) {
            let known: Vec<&str> = LINTS.iter().map(|known| known.id).collect();
            wrong.push((
                line,
                column,
                format!("there is no lint {lint:?}; known are {}", known.join(", ")),
            ));
            continue;
        }
        if reason.is_empty() {
            wrong.push((
                line,
                column,
                format!("disabling {lint} needs a reason: `# firedrill disable {lint}: <reason>`"),
            ));
            continue;
        }
        let place = starts.partition_point(|start| *start <= line);
        let lines = match place {
            _ if line <= head => 1..=lines.len(),
            0 => {
                wrong.push((line, column, "stands in front of no rule: put it above the rule, or above everything for the whole file".into()));
                continue;
            }
            _ => starts[place - 1]..=starts.get(place).map_or(lines.len(), |next| next - 1),
        };
        out.push(Disable {
            lint,
            reason,
            line,
            column,
            lines,
            used: false,
        });
    }
    (out, wrong)
}

/// What stands before a comment for firedrill, and what it says.
fn split(line: &str) -> Option<(&str, &str)> {
    let at = line
        .find("# firedrill")
        .or_else(|| line.find("#firedrill"))?;
    let before = &line[..at];
    let comment = before.is_empty() || before.ends_with(char::is_whitespace);
    let said = line[at..]
        .trim_start_matches('#')
        .trim_start()
        .strip_prefix("firedrill")?;
    let word = said.is_empty() || said.starts_with(char::is_whitespace);
    (comment && word).then_some((before, said.trim()))
}

/// Takes out what is silenced; answers how many findings that were, and what the comments themselves have wrong.
pub(super) fn apply(
    found: &mut Vec<Finding>,
    comments: &mut [Disable<'_>],
    mut finding: impl FnMut(usize, usize, String) -> Finding,
) -> (usize, Vec<Finding>) {
    let before = found.len();
    found.retain(|one| {
        let mut silent = false;
        for comment in comments.iter_mut() {
            if comment.lint == one.lint && comment.lines.contains(&one.line) {
                comment.used = true;
                silent = true;
            }
        }
        !silent
    });
    let mut wrong = Vec::new();
    for (at, comment) in comments.iter().enumerate() {
        let earlier = comments[..at].iter().find(|other| {
            other.lint == comment.lint && other.lines.contains(comment.lines.start())
        });
        if let Some(other) = earlier {
            let both = if other.reason == comment.reason {
                "again"
            } else {
                "for another reason"
            };
            let message = format!(
                "{} is disabled here already at line {}, {both}",
                comment.lint, other.line
            );
            wrong.push(finding(comment.line, comment.column, message));
        } else if !comment.used {
            let message = format!("{} finds nothing here: remove the comment", comment.lint);
            wrong.push(finding(comment.line, comment.column, message));
        }
    }
    debug_assert_eq!(lint("disable-comment").severity, Severity::Error);
    (before - found.len(), wrong)
}
