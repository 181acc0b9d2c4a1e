//! Unit tests of the rules: which of them a changed rule fails.
//!
//! Invariant: a file counts only if it passes with the rules as they are and tests some of them. Of a test only the rules that a
//! change can reach are evaluated, unless the test asks expressions of its own.

use std::{collections::BTreeSet, fs, num::NonZero, path::Path, thread};

use alerts::{
    mutate::Mutant,
    rules::{RuleKind, RuleSet},
    timeline::RuleAt,
    unit::{Failure, Options, Suite},
};

use crate::{exit::Error, runner};

/// A test file, and where the rules stand that it tests.
#[derive(Debug)]
pub struct Tests {
    suite: Suite,
    /// Place among the rules that are mutated, and among those of the test file.
    places: Vec<(RuleAt, RuleAt)>,
}

/// Why unit tests prove nothing: some fail with the rules as they are, or a file checks nothing.
#[derive(Debug)]
pub struct Unfit {
    /// One line for each thing.
    pub reasons: Vec<String>,
    /// A test failed; otherwise nothing was checked.
    pub failed: bool,
}

impl Tests {
    /// Finds the rules of each file.
    ///
    /// # Errors
    /// A file that tests none of the rules.
    pub fn of(suites: Vec<Suite>, rules: &RuleSet) -> Result<Vec<Tests>, Error> {
        let tests: Vec<Tests> = suites
            .into_iter()
            .map(|suite| Tests {
                places: places(rules, &suite.rules),
                suite,
            })
            .collect();
        let strangers = tests.iter().filter(|tests| tests.places.is_empty());
        let strangers: Vec<String> = strangers
            .map(|tests| {
                let file = tests.name();
                format!(
                    "{file}: tests none of the rules that are mutated; its `rule_files` name others"
                )
            })
            .collect();
        match strangers.is_empty() {
            true => Ok(tests),
            false => Err(Error::Input(strangers.join("\n"))),
        }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.suite.file.file
    }

    /// Runs all files with the rules as they are.
    ///
    /// # Errors
    /// A test that broke the program.
    pub fn unfit(all: &[Tests]) -> Result<Option<Unfit>, Error> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let results = runner::run_all(all, threads, |tests| tests.unmutated(), |_, _| {});
        let mut unfit = Unfit {
            reasons: Vec::new(),
            failed: false,
        };
        for result in results {
            let (reasons, failed) = result.map_err(Error::Internal)?;
            unfit.reasons.extend(reasons);
            unfit.failed |= failed;
        }
        Ok((!unfit.reasons.is_empty()).then_some(unfit))
    }

    fn unmutated(&self) -> (Vec<String>, bool) {
        let (mut reasons, mut checks) = (Vec::new(), 0);
        for (at, test) in self.suite.tests.iter().enumerate() {
            let result = self.suite.run(test, &Options::default());
            checks += result.checks;
            if let Some(failure) = result.failures.first() {
                let (file, title) = (self.name(), test.title(at));
                reasons.push(format!("{file}: {title} fails: {}", about(failure)));
            }
        }
        let failed = !reasons.is_empty();
        if checks == 0 {
            reasons.push(format!("{}: makes no check", self.name()));
        }
        (reasons, failed)
    }

    /// The tests that fail with a mutant; with `all` all of them, otherwise the first.
    pub fn noticing(&self, mutant: &Mutant, all: bool) -> Vec<String> {
        let known = self.places.iter().find(|(place, _)| *place == mutant.place);
        let Some((_, place)) = known else {
            return Vec::new();
        };
        let changed = self.suite.rules.with_rule(*place, mutant.rule.clone());
        let mut wanted = changed.dependents(*place);
        let names: BTreeSet<&str> = wanted
            .iter()
            .map(|at| changed.rule(*at))
            .filter(|rule| rule.is_alert())
            .map(|rule| &*rule.name)
            .collect();
        // A check is of all alerts of a name.
        let namesakes = changed
            .places()
            .filter(|(_, rule)| names.contains(&*rule.name));
        wanted.extend(namesakes.map(|(at, _)| at));
        let slice = changed.slice(&wanted);
        let mut found = Vec::new();
        for (at, test) in self.suite.tests.iter().enumerate() {
            let asks = !test.expressions.is_empty();
            let checked = test
                .alerts
                .iter()
                .any(|look| names.contains(&*look.alertname));
            if !asks && !checked {
                continue;
            }
            let rules = if asks { &changed } else { &slice.rules };
            let result = self.suite.run_with(rules, test, &Options::default());
            let counts = |failure: &Failure| match failure {
                Failure::Alerts { alertname, .. } => names.contains(&**alertname),
                _ => true,
            };
            if result.failures.iter().any(counts) {
                found.push(format!("{}: {}", self.name(), test.title(at)));
                if !all {
                    break;
                }
            }
        }
        found
    }
}

/// The first line of what a failure says.
fn about(failure: &Failure) -> String {
    match failure {
        Failure::Alerts {
            alertname, eval_ms, ..
        } => format!("{alertname} at second {}", *eval_ms as f64 / 1_000.0),
        Failure::Samples { expr, .. } | Failure::Expression { expr, .. } => expr.clone(),
        Failure::Rule { rule, reason, .. } => format!("rule {rule}: {reason}"),
        Failure::Unexpected { alertname, .. } => alertname.clone(),
    }
}

/// Where the rules of one set stand in another: those of the same file, group and place that say the same.
fn places(rules: &RuleSet, tested: &RuleSet) -> Vec<(RuleAt, RuleAt)> {
    let mut out = Vec::new();
    for (at, group) in rules.groups().iter().enumerate() {
        let mut others = tested.groups().iter().enumerate();
        let other = others
            .find(|(_, other)| other.name == group.name && same_file(&other.file, &group.file));
        let Some((other_at, other)) = other else {
            continue;
        };
        let pairs = group.rules.iter().zip(&other.rules).enumerate();
        let same = pairs.filter(|(_, (one, other))| {
            let waits = |kind: &RuleKind| match kind {
                RuleKind::Recording => None,
                RuleKind::Alerting {
                    for_ms,
                    keep_firing_for_ms,
                    ..
                } => Some((*for_ms, *keep_firing_for_ms)),
            };
            one.name == other.name
                && one.query.text() == other.query.text()
                && waits(&one.kind) == waits(&other.kind)
        });
        out.extend(same.map(|(rule, _)| {
            let place = |group| RuleAt { group, rule };
            (place(at), place(other_at))
        }));
    }
    out
}

fn same_file(one: &str, other: &str) -> bool {
    let real = |path: &str| fs::canonicalize(Path::new(path)).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}
