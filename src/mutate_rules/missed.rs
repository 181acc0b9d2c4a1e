//! Which scenario should have noticed a survivor.
//!
//! Invariant: it is read from what scenarios say of the alert and from what the mutant really did in their recordings. A change
//! after which a condition is true at least as often can only be noticed where the alert must be silent; any other one, where it
//! must fire.

use alerts::mutate::Sense;
use chaos::scenario::{Plan, Scenario};
use serde::Serialize;

use super::{Run, Seen};
use crate::diff_rules::Identity;

/// A scenario that should have noticed, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// The scenario; `None` where no scenario could.
    pub scenario: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// What the mutant did there.
    pub why: String,
}

/// What a scenario says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Must,
    Never,
    May,
}

fn says(scenario: &Scenario, alerts: &[Identity]) -> Says {
    let of_one = |alert: &Identity| {
        let mut must = scenario.must.iter().filter(|must| *must.alert == *alert.id);
        let branch = |asked: Option<&str>| {
            asked.is_none() || alert.branch.is_none() || asked == alert.branch.as_deref()
        };
        if must.clone().any(|must| branch(must.branch.as_deref())) {
            Says::Must
        } else if must.next().is_some() || scenario.may.iter().any(|may| **may == *alert.id) {
            Says::May
        } else {
            Says::Never
        }
    };
    alerts.iter().map(of_one).min().unwrap_or(Says::May)
}

/// Runs in the order in which a mutant is shown to them: where one of the alerts must fire, where it must not, where it may; the
/// shortest first.
pub(super) fn order<'r>(runs: &'r [Run], alerts: &[Identity]) -> Vec<&'r Run> {
    let mut ordered: Vec<&Run> = runs.iter().collect();
    ordered.sort_by_key(|run| (says(&run.plan.scenario, alerts), run.plan.duration));
    ordered
}

/// Which scenarios should have noticed a survivor. `seen` is what each run said of it.
pub(super) fn missed(seen: &[(&Plan, Seen)], alerts: &[Identity], sense: Sense) -> Vec<Missed> {
    let wanted = match sense {
        Sense::More => Says::Never,
        Sense::Less | Sense::Other => Says::Must,
    };
    let asked = seen
        .iter()
        .filter(|(plan, _)| says(&plan.scenario, alerts) == wanted);
    let asked: Vec<&(&Plan, Seen)> = asked.collect();
    let differing = |of: &[&(&Plan, Seen)]| -> Vec<Missed> {
        let each = of.iter().filter_map(|(plan, seen)| match seen {
            Seen::Differs(how) => Some(named(plan, how.clone())),
            _ => None,
        });
        each.collect()
    };
    let found = differing(&asked);
    if !found.is_empty() {
        return found;
    }
    // Where nothing differs one of several seeds says as much as all.
    let mut others: Vec<Missed> = Vec::new();
    for (plan, _) in &asked {
        let why = match sense {
            Sense::More => "it must be silent there and never comes near",
            _ => "it must fire there and does all the same",
        };
        let next = named(plan, why.to_owned());
        if others.iter().all(|other| other.scenario != next.scenario) {
            others.push(next);
        }
    }
    if sense == Sense::More {
        // Runs come the shortest first, and the longest has most occasions.
        others = others.split_off(others.len().saturating_sub(1));
    }
    if others.is_empty() {
        let every: Vec<&(&Plan, Seen)> = seen.iter().collect();
        others = differing(&every);
        let why = match (alerts.is_empty(), sense) {
            (true, _) => "no alert reads what this rule records",
            (_, Sense::More) => "no scenario wants this alert to be silent",
            _ => "no scenario expects this alert",
        };
        others.insert(
            0,
            Missed {
                scenario: None,
                seed: None,
                why: why.to_owned(),
            },
        );
    }
    others
}

fn named(plan: &Plan, why: String) -> Missed {
    Missed {
        scenario: Some(plan.scenario.name.to_string()),
        seed: Some(plan.seed),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;

    /// Ids of alerts, what each run said, what the change does, who is named.
    type Case = (
        &'static [&'static str],
        [Seen; 3],
        Sense,
        &'static [&'static str],
    );

    fn plan(file: &str, text: &str) -> Plan {
        let scenario = inputs::scenario(file, text);
        scenario.expect("a scenario").compile(1)
    }

    #[test]
    fn who_should_have_noticed_hangs_on_what_scenarios_want_and_on_what_the_mutant_did() {
        let plans = [
            plan(
                "last-room-race.toml",
                include_str!("../../scenarios/last-room-race.toml"),
            ),
            plan(
                "outbox-publisher-down.toml",
                include_str!("../../scenarios/outbox-publisher-down.toml"),
            ),
            plan(
                "telemetry-scrape-loss.toml",
                include_str!("../../scenarios/telemetry-scrape-loss.toml"),
            ),
        ];
        let alert = |id: &str| Identity {
            id: id.into(),
            branch: None,
        };
        let differs = || Seen::Differs("later".into());
        let rows: [Case; 7] = [
            (
                &["RESV-INV-004"],
                [Seen::Same, Seen::Same, Seen::Same],
                Sense::Less,
                &[
                    "outbox-publisher-down: it must fire there and does all the same",
                    "telemetry-scrape-loss: it must fire there and does all the same",
                ],
            ),
            (
                &["RESV-INV-004"],
                [differs(), Seen::Same, differs()],
                Sense::Other,
                &["telemetry-scrape-loss: later"],
            ),
            (
                &["RESV-INV-004"],
                [Seen::Same, differs(), differs()],
                Sense::More,
                &["last-room-race: it must be silent there and never comes near"],
            ),
            (
                &["RESV-INV-004"],
                [differs(), Seen::Same, Seen::Same],
                Sense::More,
                &["last-room-race: later"],
            ),
            (
                &["RESV-INV-001"],
                [Seen::Same, Seen::Same, differs()],
                Sense::Less,
                &[
                    "no scenario expects this alert",
                    "telemetry-scrape-loss: later",
                ],
            ),
            (
                &["ORD-003", "RESV-PLT-004"],
                [Seen::Same, Seen::Same, Seen::Same],
                Sense::Less,
                &["telemetry-scrape-loss: it must fire there and does all the same"],
            ),
            (
                &[],
                [Seen::Same, Seen::Same, Seen::Same],
                Sense::Other,
                &["no alert reads what this rule records"],
            ),
        ];
        for (ids, seen, sense, expected) in rows {
            let alerts: Vec<Identity> = ids.iter().map(|id| alert(id)).collect();
            let seen: Vec<(&Plan, Seen)> = plans.iter().zip(seen).collect();
            let missed = missed(&seen, &alerts, sense).into_iter();
            let shown: Vec<String> = missed
                .map(|missed| match missed.scenario {
                    Some(scenario) => format!("{scenario}: {}", missed.why),
                    None => missed.why,
                })
                .collect();
            assert_eq!(shown, expected, "{ids:?} {sense:?}");
        }
    }
}
