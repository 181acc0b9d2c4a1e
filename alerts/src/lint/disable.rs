//! Comments that silence a finding: `# firedrill disable <lint>: <reason>`.
//!
//! Invariant: a comment that silences nothing, says no reason, names no lint, or says twice what holds already is itself a finding:
//! what stands in a rule file about lints is true.

use super::{Finding, LINTS, Severity, lint};
use crate::mutate;
use crate::rules::comment::{self, About, Comment};

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

/// The comments of a file about lints, and those that are malformed. `rules` are the first lines of its rules, ascending.
pub(super) fn comments<'t>(
    text: &'t str,
    rules: &[usize],
) -> (Vec<Disable<'t>>, Vec<(usize, usize, String)>) {
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    for comment in comment::comments(text, rules) {
        let Comment { line, column, .. } = comment;
        let (lint, reason) = match comment.word() {
            ("disable", rest) => rest
                .split_once(':')
                .map_or((rest, ""), |(lint, reason)| (lint.trim(), reason.trim())),
            ("survives", _) => {
                wrong.extend(mutate::comment(&comment).err());
                continue;
            }
            _ => {
                let reason = "a comment for firedrill is `# firedrill disable <lint>: <reason>` or `# firedrill survives <operator>: <reason>`";
                wrong.push((line, column, reason.into()));
                continue;
            }
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
        let lines = match comment.about {
            About::File => 1..=text.lines().count(),
            About::Rule { lines, .. } => lines,
            About::Nothing => {
                wrong.push((line, column, "stands in front of no rule: put it above the rule, or above everything for the whole file".into()));
                continue;
            }
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
