//! Mistakes that a rule could have: each rule with one thing in it changed.
//!
//! Invariant: a mutant differs from its rule in one place, is a rule that can be evaluated, and no two of a rule say the same. Each
//! operator is applied wherever it can be, in the order of the text; what a mutant does is not known here. Changes are edits of the
//! text at places that the parser knows, so that what is shown is what an author would have written.
//!
//! | operator | where | becomes |
//! |---|---|---|
//! | `threshold` | a number that is compared with, or that what is compared is calculated with | half, double, a tenth less and more; 0 becomes 1; under `==` its neighbour |
//! | `comparison` | `>`, `>=`, `<`, `<=`, `==`, `!=` | the same with or without the edge, the other direction; equal and unequal change places |
//! | `for`, `keep_firing_for` | the rule | none, half, double; where there is none, one evaluation and a minute (`for` alone) |
//! | `window` | a range, an offset | half, double |
//! | `matcher` | each matcher | dropped, negated |
//! | `label` | labels of `by`, `without`, `on`, `ignoring` | each dropped; `instance` added to `by`, where the series can have it |
//! | `quantile` | the quantile asked for | 0.5, 0.9, 0.99 |
//! | `branch` | `or`, `and`, `unless` | the left side alone, the right side alone |
//! | `rate` | `rate`, `irate`, `increase`, `delta`, `idelta` | its neighbour |
//!
//! Half and double are mistakes that an incident should show; a tenth is what both sides of an edge, tested, hold in place.
//! Left out is what labels prove to change nothing: a matcher that the other side of an operator demands too, `instance` where no
//! series has it. Aggregators, names of metrics, arithmetic and the steps of subqueries are not changed.

mod edit;
mod expression;
mod survives;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::lint::Labelled;
use crate::promql::{Query, ResultType, parse};
use crate::rules::{Rule, RuleError, RuleKind, RuleSet, Source};
use crate::timeline::RuleAt;
use crate::unit::write::duration;
use edit::Edit;

pub(crate) use survives::comment;
pub use survives::{DROPPED, Survives};

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// A number that is compared with.
    Threshold,
    /// A comparison.
    Comparison,
    /// How long a condition must hold.
    For,
    /// How long a firing alert outlives its condition.
    KeepFiringFor,
    /// How far a selector looks back.
    Window,
    /// A matcher of a label.
    Matcher,
    /// A label that is grouped or matched by.
    Label,
    /// A quantile.
    Quantile,
    /// A side of `or`, `and` or `unless`.
    Branch,
    /// A function of a counter's growth.
    Rate,
}

impl Operator {
    /// All of them.
    pub const ALL: [Operator; 10] = [
        Operator::Threshold,
        Operator::Comparison,
        Operator::For,
        Operator::KeepFiringFor,
        Operator::Window,
        Operator::Matcher,
        Operator::Label,
        Operator::Quantile,
        Operator::Branch,
        Operator::Rate,
    ];

    /// As reports and comments call it.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Threshold => "threshold",
            Operator::Comparison => "comparison",
            Operator::For => "for",
            Operator::KeepFiringFor => "keep_firing_for",
            Operator::Window => "window",
            Operator::Matcher => "matcher",
            Operator::Label => "label",
            Operator::Quantile => "quantile",
            Operator::Branch => "branch",
            Operator::Rate => "rate",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a changed rule finds its condition true more or less often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// At least whenever the rule did.
    More,
    /// At most whenever the rule did.
    Less,
    /// Neither is certain.
    Other,
}

impl Sense {
    fn inverted(self) -> Sense {
        match self {
            Sense::More => Sense::Less,
            Sense::Less => Sense::More,
            Sense::Other => Sense::Other,
        }
    }
}

/// A rule with one thing changed.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Which rule.
    pub place: RuleAt,
    /// What was changed.
    pub operator: Operator,
    /// Line of the change in the rule's file, from 1.
    pub line: usize,
    /// Column from 1, in characters.
    pub column: usize,
    /// What stood there, on one line.
    pub old: String,
    /// What stands there now; empty where something was dropped.
    pub new: String,
    /// What that does to its condition.
    pub sense: Sense,
    /// The changed rule.
    pub rule: Rule,
}

/// Rules, what could be wrong with each, and the comments that say why some of it goes unnoticed.
#[derive(Debug)]
pub struct Mutants {
    /// The rules as they are.
    pub rules: RuleSet,
    /// In the order of the rules and of their text.
    pub mutants: Vec<Mutant>,
    /// In the order of the files.
    pub comments: Vec<Survives>,
}

/// The mutants of rule files, each with its name and text. Groups without an interval are evaluated each `interval_ms`.
///
/// # Errors
/// All that keeps the files from being rules, and comments about survivors that cannot be followed.
pub fn mutants(sources: &[(String, String)], interval_ms: i64) -> Result<Mutants, Vec<RuleError>> {
    let rules = RuleSet::from_sources(sources.iter().map(|(file, text)| (&**file, &**text)))?;
    let labelled = Labelled::of(&rules);
    let (mut mutants, mut comments, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (file, text) in sources {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(file, text);
        for (group_at, group) in rules.groups().iter().enumerate() {
            if group.file != *file {
                continue;
            }
            let interval_ms = group.interval_ms.unwrap_or(interval_ms);
            for (rule_at, rule) in group.rules.iter().enumerate() {
                let place = RuleAt {
                    group: group_at,
                    rule: rule_at,
                };
                of_rule(&source, (place, rule), &labelled, interval_ms, &mut mutants);
            }
        }
        match survives::of_file(&source, &rules) {
            Ok(found) => comments.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    match errors.is_empty() {
        true => Ok(Mutants {
            rules,
            mutants,
            comments,
        }),
        false => Err(errors),
    }
}

/// What tells two rules of one place apart.
fn said(rule: &Rule) -> (String, i64, i64) {
    let (wait, keep) = match rule.kind {
        RuleKind::Recording => (0, 0),
        RuleKind::Alerting {
            for_ms,
            keep_firing_for_ms,
            ..
        } => (for_ms, keep_firing_for_ms),
    };
    (rule.query.text().to_owned(), wait, keep)
}

fn of_rule(
    source: &Source<'_>,
    (place, rule): (RuleAt, &Rule),
    labelled: &Labelled,
    interval_ms: i64,
    out: &mut Vec<Mutant>,
) {
    let mut seen = BTreeSet::from([said(rule)]);
    let mut push = |operator, byte: usize, old: &str, new: &str, sense, changed: Rule| {
        if seen.insert(said(&changed)) {
            let at = source.error(byte, "");
            out.push(Mutant {
                place,
                operator,
                line: at.line,
                column: at.column,
                old: one_line(old),
                new: one_line(new),
                sense,
                rule: changed,
            });
        }
    };
    let text = rule.query.text();
    if let Ok(expr) = parse(text) {
        for edit in expression::edits(text, &expr, labelled) {
            let byte = source.inside(&rule.places.expr, text, edit.span.start);
            let old = &text[edit.span.clone()];
            if let Some(query) = edited(text, &edit) {
                let changed = Rule {
                    query,
                    ..rule.clone()
                };
                push(edit.operator, byte, old, &edit.new, edit.sense, changed);
            }
        }
    }
    let RuleKind::Alerting {
        for_ms,
        keep_firing_for_ms,
        annotations,
    } = &rule.kind
    else {
        return;
    };
    let kind = |for_ms, keep_firing_for_ms| RuleKind::Alerting {
        for_ms,
        keep_firing_for_ms,
        annotations: annotations.clone(),
    };
    let waits = match *for_ms {
        0 => vec![interval_ms, 60_000],
        ms => vec![0, ms / 2, ms * 2],
    };
    let keeps = match *keep_firing_for_ms {
        0 => Vec::new(),
        ms => vec![0, ms / 2, ms * 2],
    };
    let waits = waits
        .into_iter()
        .map(|ms| (Operator::For, *for_ms, ms, kind(ms, *keep_firing_for_ms)));
    let keeps = keeps.into_iter().map(|ms| {
        let kind = kind(*for_ms, ms);
        (Operator::KeepFiringFor, *keep_firing_for_ms, ms, kind)
    });
    for (operator, old, new, kind) in waits.chain(keeps) {
        let (byte, sense) = match operator {
            Operator::For if new < old => (rule.places.wait, Sense::More),
            Operator::For => (rule.places.wait, Sense::Less),
            _ => (None, Sense::Other),
        };
        let byte = byte.unwrap_or(rule.places.name);
        let changed = Rule {
            kind,
            ..rule.clone()
        };
        push(
            operator,
            byte,
            &duration(old),
            &duration(new),
            sense,
            changed,
        );
    }
}

/// The changed expression, if a rule may have it.
fn edited(text: &str, edit: &Edit) -> Option<Query> {
    let changed = [&text[..edit.span.start], &edit.new, &text[edit.span.end..]].concat();
    let query = Query::parse(&changed).ok()?;
    matches!(query.result_type(), ResultType::Scalar | ResultType::Vector).then_some(query)
}

/// Text without line breaks and the space around them.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}
