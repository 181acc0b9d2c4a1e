//! `firedrill diff rules`: what a change of alert rules does to the same incidents.
//!
//! Invariant: each scenario and seed is simulated once, since rules never influence it, and both rule sets are evaluated over
//! that recording. A run of which one side could not be evaluated is unknown, never equal. The report depends on nothing but
//! scenarios, seeds, rules and SQL: it is the same on each machine, whatever finished first.

mod incidents;
mod judged;
pub mod markdown;
mod rows;
pub mod text;
mod texts;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use alerts::rules::{EvalError, RuleSet};
use serde::Serialize;

pub use incidents::{Change, Incident, LabelChange, Side, Span};
pub use judged::{Effect, Fault, Said, of_alerts};
pub use rows::one;
pub use texts::{Identity, NoEffect, NotExercised, Texts, Which};

use crate::report::{Expected, Verdict};

/// A rule set, and what it says.
#[derive(Debug)]
pub struct Rules {
    /// To be evaluated.
    pub set: RuleSet,
    /// To be compared.
    pub texts: Texts,
}

impl Rules {
    /// Of a rule set.
    pub fn new(set: RuleSet) -> Rules {
        let texts = Texts::of(&set);
        Rules { set, texts }
    }
}

/// One alert in one run that differs. Times are seconds of virtual time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The alert.
    #[serde(flatten)]
    pub alert: Identity,
    /// Its names; several where rules share an identity or where it was renamed.
    pub names: BTreeSet<String>,
    /// What the scenario says of it.
    pub expected: Expected,
    /// Most that may pass from the symptom to the firing; `None` where it need not fire.
    pub budget_s: Option<f64>,
    /// What passed under OLD.
    pub old_detect_s: Option<f64>,
    /// What passed under NEW.
    pub new_detect_s: Option<f64>,
    /// What the difference means.
    pub effect: Effect,
    /// What is wrong, or was where `effect` is `fixes`.
    pub fault: Option<Fault>,
    /// Why.
    pub findings: Vec<Said>,
    /// The incidents that differ, in the order of time.
    pub incidents: Vec<Incident>,
}

/// A rule that could not be evaluated: a run, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// In which rules.
    pub under: Which,
    /// Its name.
    pub name: String,
    /// File and line.
    pub rule: String,
    /// The first reason.
    pub reason: String,
    /// How many runs could not be compared for it.
    pub runs: usize,
}

/// One scenario with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// `fail` if a row breaks something, else `unknown` if something could not be judged.
    pub verdict: Verdict,
    /// What the alerts came to under OLD; `None` if it was not compared.
    pub old: Option<Verdict>,
    /// The same under NEW.
    pub new: Option<Verdict>,
    /// Why something could not be judged.
    pub unknown: Vec<String>,
    /// What differs.
    #[serde(skip)]
    pub rows: Vec<Row>,
    /// Alerts that fired under any of the two, with their names.
    #[serde(skip)]
    pub fired: BTreeMap<Identity, BTreeSet<String>>,
    /// Rules that could not be evaluated.
    #[serde(skip)]
    pub failed: Vec<(Which, EvalError)>,
    /// Virtual time that passed, and CPU time that it took.
    #[serde(skip)]
    pub took: (f64, f64),
    /// It broke off: an error of the program.
    #[serde(skip)]
    pub broke_off: bool,
}

impl Run {
    /// A run that was not compared.
    pub fn unknown(scenario: &str, seed: u64, reasons: Vec<String>) -> Run {
        Run {
            scenario: scenario.to_owned(),
            seed,
            verdict: Verdict::Unknown,
            old: None,
            new: None,
            unknown: reasons,
            rows: Vec::new(),
            fired: BTreeMap::new(),
            failed: Vec::new(),
            took: (0.0, 0.0),
            broke_off: false,
        }
    }
}

/// All that the command found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The heaviest verdict of the runs.
    pub verdict: Verdict,
    /// Both rule sets say the same.
    pub same_rules: bool,
    /// In the order asked for.
    pub runs: Vec<Run>,
    /// What differs: the heaviest first, then in the order of the runs.
    pub differences: Vec<Row>,
    /// Alerts that one rule set alone has and that never fired.
    pub not_exercised: Vec<NotExercised>,
    /// Rules that are written differently without an effect.
    pub no_effect: Vec<NoEffect>,
    /// Rules that could not be evaluated.
    pub failed: Vec<Failed>,
    /// How the command line named OLD and NEW, and the flags that name the other inputs.
    #[serde(skip)]
    pub named: Named,
}

/// How to see things again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The path of OLD.
    pub old: String,
    /// The path of NEW.
    pub new: String,
    /// `--scenarios` and `--ledger`, each with a space before it.
    pub flags: String,
}

impl Report {
    /// Merges the runs.
    pub fn new(mut runs: Vec<Run>, old: &Texts, new: &Texts, named: Named) -> Report {
        let mut seen = texts::Seen::default();
        let mut differences: Vec<Row> = Vec::new();
        let mut failed: Vec<Failed> = Vec::new();
        for run in &mut runs {
            differences.append(&mut run.rows);
            seen.fired.extend(run.fired.keys().cloned());
            seen.names.extend(run.fired.values().flatten().cloned());
            for (under, error) in &run.failed {
                note(&mut failed, *under, error);
            }
        }
        seen.differ = differences.iter().map(|row| row.alert.clone()).collect();
        // Stable: equals stay in the order of the runs, and of the alerts within each.
        differences.sort_by_key(|row| std::cmp::Reverse(row.effect));
        let verdicts = runs.iter().map(|run| run.verdict);
        Report {
            verdict: verdicts.max().unwrap_or(Verdict::Unknown),
            same_rules: texts::same(old, new),
            runs,
            differences,
            not_exercised: texts::not_exercised(old, new, &seen),
            no_effect: texts::no_effect(old, new, &seen),
            failed,
            named,
        }
    }

    /// How many rows have this effect.
    pub fn count(&self, effect: Effect) -> usize {
        let rows = self.differences.iter();
        rows.filter(|row| row.effect == effect).count()
    }

    /// One line that sums up.
    pub fn summary(&self) -> String {
        let compared = self.runs.iter().filter(|run| run.new.is_some()).count();
        let mut parts = vec![format!("{} compared", counted(compared, "run"))];
        let unknown = self.runs.iter().filter(|run| !run.unknown.is_empty());
        match (self.differences.len(), self.same_rules) {
            _ if compared == 0 => {}
            (0, true) => parts.push("no difference: OLD and NEW hold the same rules".into()),
            (0, false) => parts.push("no difference in any incident".into()),
            (rows, _) => {
                let mut kinds = Vec::new();
                for (effect, said) in EFFECTS {
                    let count = self.count(effect);
                    if count > 0 {
                        kinds.push(format!("{count} {said}"));
                    }
                }
                parts.push(format!(
                    "{}: {}",
                    counted(rows, "difference"),
                    kinds.join(", ")
                ));
            }
        }
        match unknown.count() {
            0 => {}
            runs => parts.push(format!(
                "{} could not be judged whole",
                counted(runs, "run")
            )),
        }
        parts.join("; ")
    }

    /// The report for programs, in the form of `docs/diff-rules.schema.json`: one JSON document, indented, with a final newline.
    pub fn json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => unreachable!("a report has only string keys and numbers: {error}"),
        }
    }

    /// The command that shows a run under NEW.
    pub fn again(&self, scenario: &str, seed: u64) -> String {
        let rules = crate::inputs::quote(&self.named.new);
        let flags = &self.named.flags;
        format!("firedrill run {scenario} --seed {seed}{flags} --rules {rules}")
    }
}

/// What each effect is called in a sum.
const EFFECTS: [(Effect, &str); 5] = [
    (Effect::Breaks, "breaking an expectation"),
    (Effect::Unknown, "not judged"),
    (Effect::StillFails, "failing before and after"),
    (Effect::Fixes, "fixing one"),
    (Effect::Ok, "within what is expected"),
];

/// `1 run`, `2 runs`.
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A rule that failed once more.
fn note(failed: &mut Vec<Failed>, under: Which, error: &EvalError) {
    let rule = format!("{}:{}", error.file, error.line);
    let same = |failed: &&mut Failed| failed.under == under && failed.rule == rule;
    match failed.iter_mut().find(same) {
        Some(failed) => failed.runs += 1,
        None => failed.push(Failed {
            under,
            name: error.rule.clone(),
            rule,
            reason: error.reason.clone(),
            runs: 1,
        }),
    }
}

#[cfg(test)]
mod tests;
