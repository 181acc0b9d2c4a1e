//! Which rules did the tests look at, and what did they see?
//!
//! An alerting rule has two branches: a check of its name saw it fire, a check of its name saw it silent. A recording rule has one:
//! it wrote a series in a test that checks something. Counted is what was looked at, whether or not it was as expected.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::labels::Labels;
use crate::rules::{Rule, RuleSet};
use crate::series::SeriesStore;
use crate::timeline::{ActiveAlert, AlertState, RuleAt};

/// What was seen of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleCoverage {
    /// Its file.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// Its group.
    pub group: String,
    /// Its name.
    pub rule: String,
    /// True for an alerting rule.
    pub alert: bool,
    /// Checks that saw it fire; for a recording rule, tests in which it wrote something.
    pub active: u64,
    /// Checks that saw it silent; always 0 for a recording rule.
    pub silent: u64,
}

/// What was seen of all rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By file, group and place in the group.
    rules: BTreeMap<(String, String, usize), RuleCoverage>,
}

impl RuleCoverage {
    /// How many branches were seen, of how many.
    pub fn branches(&self) -> (usize, usize) {
        match self.alert {
            true => (
                usize::from(self.active > 0) + usize::from(self.silent > 0),
                2,
            ),
            false => (usize::from(self.active > 0), 1),
        }
    }
}

impl Coverage {
    /// Rules of which nothing was seen.
    pub fn of(rules: &RuleSet) -> Coverage {
        let mut out = Coverage::default();
        for group in rules.groups() {
            for (at, rule) in group.rules.iter().enumerate() {
                let unseen = RuleCoverage {
                    file: group.file.clone(),
                    line: rule.line,
                    group: group.name.clone(),
                    rule: rule.name.clone(),
                    alert: rule.is_alert(),
                    active: 0,
                    silent: 0,
                };
                let key = (group.file.clone(), group.name.clone(), at);
                out.rules.insert(key, unseen);
            }
        }
        out
    }

    /// Adds what other tests saw.
    pub fn merge(&mut self, other: Coverage) {
        for (key, seen) in other.rules {
            match self.rules.get_mut(&key) {
                Some(have) => {
                    have.active += seen.active;
                    have.silent += seen.silent;
                }
                None => {
                    self.rules.insert(key, seen);
                }
            }
        }
    }

    /// The rules, by file and place.
    pub fn rules(&self) -> Vec<&RuleCoverage> {
        let mut rules: Vec<&RuleCoverage> = self.rules.values().collect();
        rules.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        rules
    }

    /// How many branches were seen, of how many.
    pub fn branches(&self) -> (usize, usize) {
        let branches = self.rules.values().map(RuleCoverage::branches);
        branches.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Branches seen, in percent; of no rules 100.
    pub fn percent(&self) -> f64 {
        match self.branches() {
            (_, 0) => 100.0,
            (seen, all) => 100.0 * seen as f64 / all as f64,
        }
    }

    /// A check looked at the alerts of a name.
    pub(super) fn looked(&mut self, rules: &RuleSet, alertname: &str, active: &[ActiveAlert]) {
        for (group_at, group) in rules.groups().iter().enumerate() {
            for (rule_at, rule) in group.rules.iter().enumerate() {
                if !rule.is_alert() || rule.name != alertname {
                    continue;
                }
                let place = RuleAt {
                    group: group_at,
                    rule: rule_at,
                };
                let fires = active
                    .iter()
                    .any(|alert| alert.place == place && alert.state == AlertState::Firing);
                let key = (group.file.clone(), group.name.clone(), rule_at);
                if let Some(seen) = self.rules.get_mut(&key) {
                    seen.active += u64::from(fires);
                    seen.silent += u64::from(!fires);
                }
            }
        }
    }

    /// A test ended with these series written by rules.
    pub(super) fn recorded(&mut self, rules: &RuleSet, store: &SeriesStore) {
        for group in rules.groups() {
            for (at, rule) in group.rules.iter().enumerate() {
                let key = (group.file.clone(), group.name.clone(), at);
                if let Some(seen) = self.rules.get_mut(&key)
                    && !rule.is_alert()
                    && wrote(rule, store)
                {
                    seen.active += 1;
                }
            }
        }
    }
}

fn wrote(rule: &Rule, store: &SeriesStore) -> bool {
    let named = |labels: &Labels| {
        let mut own = rule.labels.iter();
        own.all(|(name, value)| labels.get(name) == value.text())
    };
    let mut series = store.named(&rule.name).iter();
    series.any(|id| named(store.labels(*id)))
}
