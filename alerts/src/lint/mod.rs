//! Lints of alert rules: what parses, and still cannot work, or not as it was meant.
//!
//! Invariant: a finding is about the rules alone, known without any series; what a service exports is known from a [`Contract`] or
//! not at all, and lints that need one say nothing without it ([`Report::skipped`]). Each lint has a page in `docs/lints/`.
//!
//! Map: `expression` walks an expression and knows what its parts answer (`facts`, `interval`); `selectors` and `operators` say
//! what is wrong there, `rule` what is wrong around the expression, `set` what is wrong between rules; `disable` reads comments.

mod contract;
mod disable;
mod expression;
mod facts;
mod interval;
mod operators;
mod render;
mod rule;
mod selectors;
mod set;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::promql::ast::Expr;
use crate::promql::parse;
use crate::rules::{Group, Rule, RuleError, RuleSet, Source};
use expression::Walk;
use facts::Facts;

pub use contract::{Contract, LabelValues, Metric, MetricKind};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look.
    Info,
    /// Probably not what was meant.
    Warning,
    /// Cannot work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lint {
    /// Its name, and that of its page.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it finds, in a sentence.
    pub summary: &'static str,
    /// It says nothing without a contract.
    pub needs_contract: bool,
}

const fn row(
    id: &'static str,
    severity: Severity,
    needs_contract: bool,
    summary: &'static str,
) -> Lint {
    Lint {
        id,
        severity,
        summary,
        needs_contract,
    }
}

/// All lints, by name.
pub const LINTS: &[Lint] = &[
    row(
        "blind-when-down",
        Severity::Warning,
        false,
        "An alert is silent when its target is down, and no other speaks for it.",
    ),
    row(
        "bucket-bounds",
        Severity::Warning,
        true,
        "A quantile is compared with what its buckets cannot tell.",
    ),
    row(
        "constant-condition",
        Severity::Error,
        false,
        "A condition that never holds, or an answer that is always the same.",
    ),
    row(
        "counter-birth",
        Severity::Info,
        false,
        "The first event of a counter that is born with it goes unseen.",
    ),
    row(
        "counter-without-rate",
        Severity::Warning,
        false,
        "The raw value of a counter is used as if it were a level.",
    ),
    row(
        "disable-comment",
        Severity::Error,
        false,
        "A comment for firedrill that cannot be followed, or that silences nothing.",
    ),
    row(
        "duplicate-rule",
        Severity::Warning,
        false,
        "Two rules say the same, or cannot be told apart.",
    ),
    row(
        "lost-label",
        Severity::Warning,
        false,
        "A template shows a label that the expression's answer does not have.",
    ),
    row(
        "missing-runbook",
        Severity::Warning,
        false,
        "An alert names no runbook.",
    ),
    row(
        "never-matches",
        Severity::Error,
        false,
        "The two sides of an operator can never meet.",
    ),
    row(
        "rate-of-gauge",
        Severity::Error,
        false,
        "The rate of what goes up and down.",
    ),
    row(
        "rate-of-sum",
        Severity::Error,
        false,
        "The rate of a sum of counters, which takes one restart for a reset of all.",
    ),
    row(
        "redundant-condition",
        Severity::Info,
        false,
        "A comparison that holds wherever there is an answer at all.",
    ),
    row(
        "short-for",
        Severity::Warning,
        false,
        "`for` is shorter than two evaluations.",
    ),
    row(
        "short-window",
        Severity::Warning,
        false,
        "A window holds fewer than four scrapes.",
    ),
    row(
        "unknown-label",
        Severity::Error,
        false,
        "A label or a value of one that nothing exports.",
    ),
    row(
        "unknown-metric",
        Severity::Error,
        true,
        "A metric that nothing exports.",
    ),
];

fn lint(id: &str) -> &'static Lint {
    LINTS
        .iter()
        .find(|lint| lint.id == id)
        .expect("a lint of the table")
}

/// What is presumed of the evaluation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the services export, if it is known.
    pub contract: Option<Contract>,
    /// Milliseconds between scrapes.
    pub scrape_interval_ms: i64,
    /// Milliseconds between evaluations of a group that names no interval.
    pub evaluation_interval_ms: i64,
}

/// Something that a lint found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint's name.
    pub lint: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// File as it was named.
    pub file: String,
    /// Line from 1.
    pub line: usize,
    /// Column from 1, in characters.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
    /// The rule, if it is about one.
    pub rule: Option<String>,
    /// The line itself.
    #[serde(skip)]
    pub source_line: String,
}

/// What was found in a set of rules.
#[derive(Debug, Clone)]
pub struct Report {
    /// In the order of files, lines and columns.
    pub findings: Vec<Finding>,
    /// How many more were silenced by comments.
    pub silenced: usize,
    /// Lints that could say nothing, for want of a contract.
    pub skipped: Vec<&'static str>,
    /// How many rules were looked at.
    pub rules: usize,
}

/// A part of a rule.
#[derive(Debug, Clone)]
enum Spot {
    Name,
    For,
    /// Byte of the expression.
    Expr(usize),
    /// Byte of the template.
    Label(String, usize),
    Annotation(String, usize),
}

/// A rule on its way.
struct One<'a> {
    group: &'a Group,
    rule: &'a Rule,
    expr: &'a Expr,
}

/// Looks at rule files together, each with its name and text.
///
/// # Errors
/// All that keeps the files from being rules.
pub fn check(sources: &[(String, String)], settings: &Settings) -> Result<Report, Vec<RuleError>> {
    let set = RuleSet::from_sources(sources.iter().map(|(file, text)| (&**file, &**text)))?;
    let parsed = parsed(&set);
    let rules = ones(&parsed);
    let recorded = recorded(&rules, settings);
    let mut spots: Vec<set::Found> = Vec::new();
    let mut answers: Vec<Facts> = Vec::new();
    for (at, one) in rules.iter().enumerate() {
        let mut walk = Walk {
            settings,
            recorded: &recorded,
            waits: one.rule.waits(),
            found: Vec::new(),
        };
        let facts = walk.facts(one.expr);
        spots.extend(
            walk.found
                .into_iter()
                .map(|(lint, byte, message)| (at, lint, Spot::Expr(byte), message)),
        );
        let mut around = Vec::new();
        rule::check(one.group, one.rule, &facts, settings, &mut around);
        spots.extend(
            around
                .into_iter()
                .map(|(lint, spot, message)| (at, lint, spot, message)),
        );
        answers.push(facts);
    }
    set::check(&rules, &answers, &mut spots);
    let mut report = Report {
        findings: Vec::new(),
        silenced: 0,
        skipped: LINTS
            .iter()
            .filter(|lint| lint.needs_contract && settings.contract.is_none())
            .map(|lint| lint.id)
            .collect(),
        rules: rules.len(),
    };
    for (file, text) in sources {
        file_findings(file, text, &rules, &spots, &mut report);
    }
    Ok(report)
}

/// Which labels answers can have, as far as rules and names tell.
pub(crate) struct Labelled {
    settings: Settings,
    recorded: BTreeMap<String, Facts>,
}

impl Labelled {
    /// As far as these rules tell.
    pub fn of(set: &RuleSet) -> Self {
        let settings = Settings {
            contract: None,
            scrape_interval_ms: 1,
            evaluation_interval_ms: 1,
        };
        let parsed = parsed(set);
        let recorded = recorded(&ones(&parsed), &settings);
        Labelled { settings, recorded }
    }

    /// False where no series that the expression answers has this label.
    pub fn can_have(&self, expr: &Expr, label: &str) -> bool {
        self.facts(expr).can_have(label)
    }

    /// Labels that have the same value in every series that the expression answers.
    pub fn fixed(&self, expr: &Expr) -> BTreeMap<String, String> {
        self.facts(expr).fixed
    }

    /// The expression answers a number.
    pub fn is_scalar(&self, expr: &Expr) -> bool {
        self.facts(expr).scalar
    }

    fn facts(&self, expr: &Expr) -> Facts {
        let mut walk = Walk {
            settings: &self.settings,
            recorded: &self.recorded,
            waits: false,
            found: Vec::new(),
        };
        walk.facts(expr)
    }
}

fn parsed(set: &RuleSet) -> Vec<(&Group, &Rule, Expr)> {
    set.groups()
        .iter()
        .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
        .filter_map(|(group, rule)| Some((group, rule, parse(rule.query.text()).ok()?)))
        .collect()
}

fn ones<'a>(parsed: &'a [(&'a Group, &'a Rule, Expr)]) -> Vec<One<'a>> {
    parsed
        .iter()
        .map(|(group, rule, expr)| One { group, rule, expr })
        .collect()
}

/// What each recorded series is, by name; of several rules with one name, what is true of all.
fn recorded(rules: &[One<'_>], settings: &Settings) -> BTreeMap<String, Facts> {
    let mut out: BTreeMap<String, Facts> = BTreeMap::new();
    for one in rules.iter().filter(|one| !one.rule.is_alert()) {
        let mut walk = Walk {
            settings,
            recorded: &out,
            waits: false,
            found: Vec::new(),
        };
        let mut facts = walk.facts(one.expr);
        facts.base = None;
        facts.scalar = false;
        for (label, value) in &one.rule.labels {
            facts = match value.text() {
                "" => facts.without(label),
                text => facts.with(label, Some(text)),
            };
        }
        let facts = match out.remove(&one.rule.name) {
            Some(known) => known.either(facts),
            None => facts,
        };
        out.insert(one.rule.name.clone(), facts);
    }
    out
}

/// Adds the findings of one file: those of its rules that no comment silences, and those about comments.
fn file_findings(
    file: &str,
    text: &str,
    rules: &[One<'_>],
    spots: &[set::Found],
    report: &mut Report,
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(file, text);
    let mut found: Vec<Finding> = Vec::new();
    for (at, id, spot, message) in spots
        .iter()
        .filter(|(at, ..)| rules[*at].group.file == file)
    {
        let rule = rules[*at].rule;
        let byte = place(&source, rule, spot);
        found.push(finding(
            id,
            &source.error(byte, message.clone()),
            Some(rule.name.clone()),
        ));
    }
    let mut starts: Vec<usize> = rules
        .iter()
        .filter(|one| one.group.file == file)
        .map(|one| one.rule.line)
        .collect();
    starts.sort_unstable();
    let (mut comments, malformed) = disable::comments(text, &starts);
    let about = |line: usize, column: usize, message: String| {
        let error = RuleError {
            file: file.into(),
            line,
            column,
            reason: message,
            source_line: text.lines().nth(line - 1).unwrap_or("").into(),
        };
        finding("disable-comment", &error, None)
    };
    let (silenced, wrong) = disable::apply(&mut found, &mut comments, about);
    report.silenced += silenced;
    found.extend(wrong);
    found.extend(
        malformed
            .into_iter()
            .map(|(line, column, message)| about(line, column, message)),
    );
    found.sort_by(|a, b| {
        (a.line, a.column, a.lint, &a.message).cmp(&(b.line, b.column, b.lint, &b.message))
    });
    found.dedup();
    report.findings.extend(found);
}

fn finding(id: &str, error: &RuleError, rule: Option<String>) -> Finding {
    let lint = lint(id);
    Finding {
        lint: lint.id,
        severity: lint.severity,
        file: error.file.clone(),
        line: error.line,
        column: error.column,
        message: error.reason.clone(),
        rule,
        source_line: error.source_line.clone(),
    }
}

/// The byte of the file at which a part of a rule stands.
fn place(source: &Source<'_>, rule: &Rule, spot: &Spot) -> usize {
    let places = &rule.places;
    let within = |known: &BTreeMap<String, _>, name: &String, text: Option<&str>, at: usize| match (
        known.get(name),
        text,
    ) {
        (Some(place), Some(text)) => source.inside(place, text, at),
        _ => places.name,
    };
    match spot {
        Spot::Name => places.name,
        Spot::For => places.wait.unwrap_or(places.name),
        Spot::Expr(at) => source.inside(&places.expr, rule.query.text(), *at),
        Spot::Label(name, at) => within(&places.labels, name, Some(rule.label(name)), *at),
        Spot::Annotation(name, at) => {
            within(&places.annotations, name, Some(rule.annotation(name)), *at)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = RuleError {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
            reason: format!("{}[{}]: {}", self.severity, self.lint, self.message),
            source_line: self.source_line.clone(),
        };
        shown.fmt(f)
    }
}
