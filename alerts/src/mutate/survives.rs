//! Comments that say why a mistake goes unnoticed: `# firedrill survives <operator>: <reason>`, or of one change alone
//! `# firedrill survives <operator> <old> → <new>: <reason>`, with both as the report shows them.
//!
//! Invariant: what such a comment says is about one rule and has a reason; no two say something of the same survivors. Whether there
//! are any is known to whoever looked for them, see [`Survives::covers`].

use super::{Mutant, Operator, one_line};
use crate::rules::comment::{self, About, Comment};
use crate::rules::{RuleError, RuleSet, Source};
use crate::timeline::RuleAt;

/// A comment about survivors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survives {
    /// Its file.
    pub file: String,
    /// Line from 1.
    pub line: usize,
    /// Column of the `#`, from 1.
    pub column: usize,
    /// The rule that it is about.
    pub place: RuleAt,
    /// The operator.
    pub operator: Operator,
    /// The one change that it is about; all of the operator without it.
    pub change: Option<(String, String)>,
    /// Why they survive.
    pub reason: String,
}

/// What stands for a text that was dropped.
pub const DROPPED: &str = "nothing";

impl Survives {
    /// Whether it is about this mutant.
    pub fn covers(&self, mutant: &Mutant) -> bool {
        let new = match &*mutant.new {
            "" => DROPPED,
            new => new,
        };
        let change = |(from, to): &(String, String)| *from == mutant.old && to == new;
        self.place == mutant.place
            && self.operator == mutant.operator
            && self.change.as_ref().is_none_or(change)
    }
}

/// What a comment says: operator, change, reason.
type Said = (Operator, Option<(String, String)>, String);

/// Reads one comment.
///
/// # Errors
/// Line, column and what is wrong.
pub(crate) fn comment(comment: &Comment<'_>) -> Result<Said, (usize, usize, String)> {
    let wrong = |reason: String| Err((comment.line, comment.column, reason));
    let (_, rest) = comment.word();
    let end = rest.find(|c: char| c == ':' || c.is_whitespace());
    let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let Some(operator) = Operator::ALL.into_iter().find(|known| known.name() == word) else {
        let known = Operator::ALL.map(Operator::name);
        return wrong(format!(
            "there is no operator {word:?}; known are {}",
            known.join(", ")
        ));
    };
    let rest = rest.trim_start();
    let (change, reason) = match rest.strip_prefix(':') {
        Some(reason) => (None, reason),
        None => {
            let (change, reason) = rest.split_once(": ").unwrap_or((rest, ""));
            let sides = change.split_once('→').or_else(|| change.split_once("->"));
            let Some((from, to)) = sides else {
                return wrong(format!(
                    "a comment about survivors is `# firedrill survives {operator}: <reason>` or `# firedrill survives {operator} <old> → <new>: <reason>`"
                ));
            };
            (Some((one_line(from), one_line(to))), reason)
        }
    };
    match (reason.trim(), &comment.about) {
        ("", _) => wrong(format!(
            "that {operator} survives needs a reason: `# firedrill survives {operator}: <reason>`"
        )),
        (_, About::File | About::Nothing) => {
            wrong("stands in front of no rule: put it above or into the rule".into())
        }
        (reason, About::Rule { .. }) => Ok((operator, change, reason.into())),
    }
}

/// The comments of one file about survivors.
pub(super) fn of_file(
    source: &Source<'_>,
    rules: &RuleSet,
) -> Result<Vec<Survives>, Vec<RuleError>> {
    let in_file = |at: RuleAt| rules.groups()[at.group].file == source.file;
    let mut starts: Vec<(usize, RuleAt)> = rules
        .places()
        .filter(|(at, _)| in_file(*at))
        .map(|(at, rule)| (rule.line, at))
        .collect();
    starts.sort_unstable();
    let lines: Vec<usize> = starts.iter().map(|(line, _)| *line).collect();
    let (mut out, mut errors): (Vec<Survives>, Vec<RuleError>) = (Vec::new(), Vec::new());
    let refused = |line: usize, column: usize, reason: String| RuleError {
        file: source.file.into(),
        line,
        column,
        reason,
        source_line: source.text.lines().nth(line - 1).unwrap_or("").into(),
    };
    let about = comment::comments(source.text, &lines);
    for found in about.iter().filter(|found| found.word().0 == "survives") {
        let (operator, change, reason) = match comment(found) {
            Ok(said) => said,
            Err((line, column, reason)) => {
                errors.push(refused(line, column, reason));
                continue;
            }
        };
        let About::Rule { first, .. } = found.about else {
            continue;
        };
        let Some((_, place)) = starts.iter().find(|(line, _)| *line == first).copied() else {
            continue;
        };
        let said_already = out.iter().find(|other| {
            let overlap = other.change.is_none() || change.is_none() || other.change == change;
            other.place == place && other.operator == operator && overlap
        });
        if let Some(other) = said_already {
            let reason = format!(
                "line {} says already why {operator} survives here: keep one of the two",
                other.line
            );
            errors.push(refused(found.line, found.column, reason));
            continue;
        }
        out.push(Survives {
            file: source.file.into(),
            line: found.line,
            column: found.column,
            place,
            operator,
            change,
            reason,
        });
    }
    match errors.is_empty() {
        true => Ok(out),
        false => Err(errors),
    }
}
