//! `firedrill mutate rules`: which mistakes in a rule no scenario and no unit test would notice.
//!
//! Invariant: each scenario and seed is simulated once, with the rules as they are, which must pass it and their unit tests: only
//! then does a failure say something of a mistake. A mutant is noticed by a run when the judge finds an expectation unmet, by a test
//! file when a test fails. Every rule counts, also one that nothing exercises. The report depends on nothing but scenarios, seeds,
//! rules, tests and SQL: a mutant is shown to the runs one after the other, so that who noticed it first hangs on no clock.

pub mod markdown;
mod missed;
mod runs;
pub mod text;
mod units;
mod words;

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use alerts::{
    mutate::{Mutant, Mutants, Operator},
    rules::{RuleSet, Slice},
    timeline::RuleAt,
};
use chaos::scenario::Plan;
use serde::Serialize;

pub use missed::Missed;
pub use runs::{Run, Seen};
pub use units::{Tests, Unfit};

use crate::{books::thread_cpu, diff_rules::Identity, exit::Error, report::Verdict, runner};

/// A changed rule with what it needs to be evaluated.
#[derive(Debug)]
pub struct Change {
    slice: Slice,
    /// The changed rule, and those that can do something else with it.
    touched: BTreeSet<RuleAt>,
}

/// What mutants are shown to.
#[derive(Debug)]
pub struct Audience {
    /// In the order asked for.
    pub runs: Vec<Run>,
    /// In the order of their files.
    pub tests: Vec<Tests>,
    /// Shows each mutant to all of them; otherwise to the runs until one notices it, and to the tests until one does.
    pub all: bool,
}

/// A run that noticed a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Noticed {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The first expectation that is not met.
    pub finding: String,
}

/// One mutant, and who noticed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// File and line of its rule.
    pub rule: String,
    /// File, line and column of the change.
    pub place: String,
    /// What was changed.
    pub operator: Operator,
    /// What stood there.
    pub old: String,
    /// What stands there now; empty where something was dropped.
    pub new: String,
    /// The runs that noticed it.
    pub runs: Vec<Noticed>,
    /// The tests that noticed it: file and test.
    pub tests: Vec<String>,
    /// Which scenario should have noticed it; empty where someone did.
    pub missed: Vec<Missed>,
    /// Why nobody has to notice it, as a comment in the rule's file says; only of a survivor.
    pub explained: Option<String>,
}

impl Row {
    /// Nobody noticed it.
    pub fn survives(&self) -> bool {
        self.runs.is_empty() && self.tests.is_empty()
    }
}

/// How many mutants there are, and how many are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub mutants: usize,
    /// Noticed by a scenario.
    pub by_scenarios: usize,
    /// Noticed by a unit test.
    pub by_tests: usize,
    /// Noticed by neither.
    pub survivors: usize,
    /// Of those, how many a comment explains.
    pub explained: usize,
}

impl Counts {
    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Counts {
        rows.fold(Counts::default(), |mut counts, row| {
            counts.mutants += 1;
            counts.by_scenarios += usize::from(!row.runs.is_empty());
            counts.by_tests += usize::from(!row.tests.is_empty());
            counts.survivors += usize::from(row.survives());
            counts.explained += usize::from(row.explained.is_some());
            counts
        })
    }

    fn percent(self, noticed: usize) -> f64 {
        100.0 * noticed as f64 / self.mutants.max(1) as f64
    }

    /// Percent that scenarios notice by themselves.
    pub fn score_by_scenarios(self) -> f64 {
        self.percent(self.by_scenarios)
    }

    /// Percent that scenarios or unit tests notice.
    pub fn score(self) -> f64 {
        self.percent(self.mutants - self.survivors)
    }
}

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// File and line.
    pub rule: String,
    /// Its name.
    pub name: String,
    /// What its alert is known by; `None` of a recording rule.
    pub alert: Option<Identity>,
    /// What became of its mutants.
    pub counts: Counts,
}

/// A comment about survivors that is not true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Untrue {
    /// File, line and column.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demands {
    /// Least percent that scenarios or unit tests must notice.
    pub min_score: Option<f64>,
    /// Each survivor must be explained.
    pub explained: bool,
}

/// All that the command found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// `fail` if less was noticed or explained than was asked for.
    pub verdict: Verdict,
    /// Percent that scenarios notice by themselves.
    pub score_by_scenarios: f64,
    /// Percent that scenarios or unit tests notice.
    pub score: f64,
    /// The sum.
    pub counts: Counts,
    /// How many runs the mutants were shown to.
    pub runs: usize,
    /// The test files.
    pub test_files: Vec<String>,
    /// In the order of the files.
    pub rules: Vec<RuleRow>,
    /// In the order of the rules and of their text.
    pub mutants: Vec<Row>,
    /// Comments that are not true.
    pub untrue: Vec<Untrue>,
    /// What was asked for.
    #[serde(skip)]
    pub demands: Demands,
}

/// Shows each mutant to the audience; answers who noticed it, and the CPU time that it took.
///
/// # Errors
/// A mutant that broke the program.
pub fn show(
    mutants: &Mutants,
    audience: &Audience,
    threads: usize,
) -> Result<(Vec<Row>, Duration), Error> {
    let spent = Mutex::new(Duration::ZERO);
    let work = |mutant: &&Mutant| {
        let row = row(mutants, mutant, audience);
        *spent
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) += thread_cpu();
        row
    };
    let results = runner::run_all(&mutants.mutants, threads, work, |_, _| {});
    let rows = mutants.mutants.iter().zip(results).map(|(mutant, result)| {
        result.map_err(|panic| {
            let (file, line) = (file(&mutants.rules, mutant.place), mutant.line);
            Error::Internal(format!(
                "{file}:{line}: {} → {}: {panic}",
                mutant.old, mutant.new
            ))
        })
    });
    let rows = rows.collect::<Result<Vec<Row>, Error>>()?;
    Ok((
        rows,
        spent
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    ))
}

fn row(mutants: &Mutants, mutant: &Mutant, audience: &Audience) -> Row {
    let rules = &mutants.rules;
    let changed = rules.with_rule(mutant.place, mutant.rule.clone());
    let change = Change::of(&changed, mutant.place);
    let alerts = alerts(rules, &change.touched);
    let mut seen: Vec<(&Plan, Seen)> = Vec::new();
    for run in missed::order(&audience.runs, &alerts) {
        let what = run.see(&change);
        let noticed = matches!(what, Seen::Noticed(_));
        seen.push((&*run.plan, what));
        if noticed && !audience.all {
            break;
        }
    }
    let noticed = seen.iter().filter_map(|(plan, seen)| match seen {
        Seen::Noticed(finding) => Some(Noticed {
            scenario: plan.scenario.name.to_string(),
            seed: plan.seed,
            finding: finding.clone(),
        }),
        _ => None,
    });
    let runs: Vec<Noticed> = noticed.collect();
    let mut tests = Vec::new();
    for file in &audience.tests {
        if tests.is_empty() || audience.all {
            tests.extend(file.noticing(mutant, audience.all));
        }
    }
    let file = file(rules, mutant.place);
    let mut row = Row {
        rule: format!("{file}:{}", rules.rule(mutant.place).line),
        place: format!("{file}:{}:{}", mutant.line, mutant.column),
        operator: mutant.operator,
        old: mutant.old.clone(),
        new: mutant.new.clone(),
        runs,
        tests,
        missed: Vec::new(),
        explained: None,
    };
    if row.survives() {
        row.missed = missed::missed(&seen, &alerts, mutant.sense);
        let mut comments = mutants.comments.iter();
        let comment = comments.find(|comment| comment.covers(mutant));
        row.explained = comment.map(|comment| comment.reason.clone());
    }
    row
}

fn file(rules: &RuleSet, at: RuleAt) -> &str {
    &rules.groups()[at.group].file
}

/// What the alerts among these rules are known by.
fn alerts(rules: &RuleSet, places: &BTreeSet<RuleAt>) -> Vec<Identity> {
    let alerts = places.iter().map(|at| rules.rule(*at));
    let mut known: Vec<Identity> = alerts
        .filter(|rule| rule.is_alert())
        .map(Identity::of)
        .collect();
    known.sort();
    known.dedup();
    known
}

impl Report {
    /// Sums up. `rows` are those of the mutants, in their order.
    pub fn new(mutants: &Mutants, audience: &Audience, rows: Vec<Row>, demands: Demands) -> Report {
        let counts = Counts::of(rows.iter());
        let too_few = demands
            .min_score
            .is_some_and(|least| counts.score() < least);
        let open = demands.explained && counts.explained < counts.survivors;
        let rules = mutants.rules.places().map(|(at, rule)| {
            let of_rule = mutants.mutants.iter().zip(&rows);
            let of_rule = of_rule.filter(|(mutant, _)| mutant.place == at);
            RuleRow {
                rule: format!("{}:{}", file(&mutants.rules, at), rule.line),
                name: rule.name.clone(),
                alert: rule.is_alert().then(|| Identity::of(rule)),
                counts: Counts::of(of_rule.map(|(_, row)| row)),
            }
        });
        Report {
            verdict: if too_few || open {
                Verdict::Fail
            } else {
                Verdict::Pass
            },
            score_by_scenarios: rounded(counts.score_by_scenarios()),
            score: rounded(counts.score()),
            counts,
            runs: audience.runs.len(),
            test_files: audience
                .tests
                .iter()
                .map(|tests| tests.name().to_owned())
                .collect(),
            rules: rules.collect(),
            untrue: untrue(mutants, &rows),
            mutants: rows,
            demands,
        }
    }

    /// Mutants that nobody noticed.
    pub fn survivors(&self) -> impl Iterator<Item = &Row> {
        self.mutants.iter().filter(|row| row.survives())
    }

    /// The report for programs, in the form of `docs/mutate-rules.schema.json`: one JSON document, indented, with a final newline.
    pub fn json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => unreachable!("a report has only string keys and numbers: {error}"),
        }
    }
}

/// Percent to the tenth, downwards: no score is shown that was not reached.
fn rounded(percent: f64) -> f64 {
    (percent * 10.0).floor() / 10.0
}

/// Comments that name no survivor.
fn untrue(mutants: &Mutants, rows: &[Row]) -> Vec<Untrue> {
    let mut out = Vec::new();
    for comment in &mutants.comments {
        let covered = mutants.mutants.iter().zip(rows);
        let covered: Vec<&Row> = covered
            .filter(|(mutant, _)| comment.covers(mutant))
            .map(|(_, row)| row)
            .collect();
        if covered.iter().any(|row| row.survives()) {
            continue;
        }
        let operator = comment.operator;
        let message = match covered.first() {
            None => format!("{operator} changes nothing like this here: remove the comment"),
            Some(row) => {
                let by = row
                    .runs
                    .first()
                    .map(|run| format!("{} seed {}", run.scenario, run.seed));
                let by = by
                    .or_else(|| row.tests.first().cloned())
                    .unwrap_or_default();
                format!("{operator} does not survive here: {by} notices it; remove the comment")
            }
        };
        out.push(Untrue {
            place: format!("{}:{}:{}", comment.file, comment.line, comment.column),
            message,
        });
    }
    out
}

#[cfg(test)]
mod tests;
