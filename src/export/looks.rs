//! At which instants a unit test looks at which alert.
//!
//! Invariant: an alert that must fire is looked at where the scenario decides: right before it fired, when its budget ends,
//! while it lasts, a minute after it resolved. Between firing and the end of the budget, and in the minute after each change,
//! nothing is said of it: a rule that is slower within its budget keeps the promise. An alert that may fire is not looked
//! at; every other one must be silent at all instants.

use std::collections::{BTreeMap, BTreeSet};

use alerts::{rules::RuleSet, timeline::Timeline};
use chaos::judge::{AlertOutcome, Expected, RunVerdict};

/// A rule has so long to notice a change.
const SLACK_MS: i64 = 60 * 1000;

/// One alert at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Milliseconds since the first evaluation.
    pub eval_ms: i64,
    /// The alert's name.
    pub alert: String,
    /// Why it is looked at there, unless it is one of many.
    pub why: Option<String>,
}

/// What the scenario says of one alert of the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Role<'a> {
    /// The alert's name; rules may share it.
    pub alert: &'a str,
    /// The ids of those rules.
    pub ids: BTreeSet<&'a str>,
    /// `May` if any of them may fire, else `Must` if any of them must.
    pub expected: Expected,
    /// What became of those that must.
    pub outcomes: Vec<&'a AlertOutcome>,
}

/// The instants of a run's evaluations, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Evaluations {
    /// The first, since the epoch.
    pub start_ms: i64,
    /// The last, since the first.
    pub end_ms: i64,
    /// From one to the next.
    pub interval_ms: i64,
}

/// What the scenario says of each alert of the rules, in their order.
pub fn roles<'a>(
    rules: &'a RuleSet,
    may: &[impl AsRef<str>],
    verdict: &'a RunVerdict,
) -> Vec<Role<'a>> {
    let mut roles: Vec<Role<'a>> = Vec::new();
    for (_, rule) in rules.alerts() {
        // A rule without an id goes by its name.
        let id = Some(rule.label("alert_id")).filter(|id| !id.is_empty());
        let id = id.unwrap_or(&rule.name);
        let at = roles.iter().position(|role| role.alert == rule.name);
        let at = at.unwrap_or_else(|| {
            roles.push(Role {
                alert: &rule.name,
                ids: BTreeSet::new(),
                expected: Expected::Never,
                outcomes: Vec::new(),
            });
            roles.len() - 1
        });
        roles[at].ids.insert(id);
    }
    for role in &mut roles {
        let musts = verdict.alerts.iter();
        role.outcomes = musts
            .filter(|outcome| outcome.expected == Expected::Must && role.ids.contains(&*outcome.id))
            .collect();
        role.expected = if may.iter().any(|may| role.ids.contains(may.as_ref())) {
            Expected::May
        } else if role.outcomes.is_empty() {
            Expected::Never
        } else {
            Expected::Must
        };
    }
    roles
}

/// Where to look, by instant and then in the order of the rules: at all alerts every `regular_ms`, and where the scenario
/// decides.
pub fn looks(
    roles: &[Role<'_>],
    timeline: &Timeline,
    evaluations: Evaluations,
    regular_ms: usize,
) -> Vec<Look> {
    let musts: Vec<Option<Must>> = roles
        .iter()
        .map(|role| Must::of(role, timeline, evaluations))
        .collect();
    let regular = (0..=evaluations.end_ms).step_by(regular_ms);
    let mut instants: BTreeSet<i64> = regular.collect();
    instants.extend(musts.iter().flatten().flat_map(|must| must.special.keys()));
    let mut looks = Vec::new();
    for eval_ms in instants {
        for (role, must) in roles.iter().zip(&musts) {
            let why = must.as_ref().and_then(|must| must.special.get(&eval_ms));
            let unsaid = match must {
                Some(must) => must
                    .unsaid
                    .iter()
                    .any(|(from, to)| (*from..*to).contains(&eval_ms)),
                None => role.expected == Expected::May,
            };
            if why.is_some() || !unsaid {
                looks.push(Look {
                    eval_ms,
                    alert: role.alert.to_owned(),
                    why: why.cloned(),
                });
            }
        }
    }
    looks
}

/// When an alert that must fire is looked at, and when nothing is said of it; milliseconds since the first evaluation.
struct Must {
    special: BTreeMap<i64, String>,
    unsaid: Vec<(i64, i64)>,
}

impl Must {
    fn of(role: &Role<'_>, timeline: &Timeline, evaluations: Evaluations) -> Option<Must> {
        if role.expected != Expected::Must {
            return None;
        }
        let Evaluations {
            start_ms,
            end_ms,
            interval_ms,
        } = evaluations;
        let floor = |ms: i64| ms.div_euclid(interval_ms) * interval_ms;
        let alert = role.alert;
        let firings = timeline
            .alerts
            .iter()
            .filter(|history| history.alert == alert);
        let firings: Vec<(i64, Option<i64>)> = firings
            .flat_map(|history| history.firings())
            .map(|(from, to)| (from - start_ms, to.map(|to| to - start_ms)))
            .collect();
        let spans = merged(&firings);
        let (fired, resolved) = *spans.first()?;
        let last = resolved.map_or(end_ms, |resolved| resolved - interval_ms);
        let budgets = role.outcomes.iter().filter_map(|outcome| {
            let (symptom, budget) = (outcome.t_sym_s?, outcome.budget_s?);
            Some((floor(((symptom + budget) * 1e3).round() as i64), budget))
        });
        let (due, budget) = budgets.max_by_key(|(due, _)| *due)?;
        let due = due.clamp(fired, last.max(fired));
        let mut special = BTreeMap::new();
        let mut look = |at: i64, why: String| {
            if (0..=end_ms).contains(&at) {
                special.entry(at).or_insert(why);
            }
        };
        look(
            due,
            format!("{alert}: its budget of {budget} s ends, it fires"),
        );
        look(
            fired - interval_ms,
            format!("{alert}: right before it fires"),
        );
        look(floor((due + last) / 2), format!("{alert}: while it lasts"));
        for resolved in spans.iter().filter_map(|(_, resolved)| *resolved) {
            let after = floor(resolved + SLACK_MS);
            if !spans
                .iter()
                .any(|(from, to)| *from <= after && to.is_none_or(|to| after < to))
            {
                look(after, format!("{alert}: a minute after it resolved"));
            }
        }
        let mut unsaid = vec![(fired, due)];
        let edges = firings.iter().flat_map(|(from, to)| [Some(*from), *to]);
        unsaid.extend(edges.flatten().map(|edge| (edge, edge + SLACK_MS)));
        Some(Must { special, unsaid })
    }
}

/// Spans in which at least one fires, in order.
fn merged(firings: &[(i64, Option<i64>)]) -> Vec<(i64, Option<i64>)> {
    let mut sorted = firings.to_vec();
    sorted.sort_by_key(|(from, to)| (*from, to.unwrap_or(i64::MAX)));
    let mut out: Vec<(i64, Option<i64>)> = Vec::new();
    for (from, to) in sorted {
        match out.last_mut() {
            Some((_, end)) if end.is_none_or(|end| from <= end) => {
                *end = end.zip(to).map(|(end, to)| end.max(to));
            }
            _ => out.push((from, to)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;

    use alerts::{
        labels::Labels,
        timeline::{AlertHistory, AlertState, RuleAt, Transition},
    };
    use chaos::judge::Verdict;

    use super::*;

    const RULES: &str = "groups: [{name: g, rules: [
        {alert: Lag, expr: up == 0, labels: {alert_id: X-1}},
        {alert: Slow, expr: up == 0, labels: {alert_id: X-2}},
        {alert: Slow, expr: up == 1, labels: {alert_id: X-3}},
        {alert: Unnamed, expr: up == 0}]}]";

    fn outcome(id: &str, expected: Expected, symptom_s: f64) -> AlertOutcome {
        AlertOutcome {
            id: id.into(),
            expected,
            fired_at_s: None,
            budget_s: Some(100.0),
            t_sym_s: Some(symptom_s),
            time_to_detect_s: None,
            resolved_at_s: None,
        }
    }

    /// `Lag` fires in these spans of seconds; answers the looks at an alert, `!` where there is a reason.
    fn looked(name: &str, spans: &[(i64, Option<i64>)]) -> String {
        let start_ms = 1_000_000_000;
        let rules = RuleSet::from_sources([("r.yml", RULES)]).expect("rules");
        let verdict = RunVerdict {
            verdict: Verdict::Pass,
            alerts: vec![
                outcome("X-1", Expected::Must, 280.2),
                outcome("X-3", Expected::May, 0.0),
            ],
            findings: Vec::new(),
            reach: Map::new(),
        };
        let at = |s: i64, state| Transition {
            t_ms: start_ms + s * 1_000,
            state,
            value: 1.0,
        };
        let transitions = spans.iter().flat_map(|(from, to)| {
            [
                Some(at(*from, AlertState::Firing)),
                to.map(|to| at(to, AlertState::Resolved)),
            ]
        });
        let history = AlertHistory {
            file: "r.yml".into(),
            group: "g".into(),
            alert: "Lag".into(),
            place: RuleAt::default(),
            labels: Labels::default(),
            annotations: Map::new(),
            transitions: transitions.flatten().collect(),
        };
        let timeline = Timeline {
            alerts: vec![history],
            evaluations: 1,
        };
        let evaluations = Evaluations {
            start_ms,
            end_ms: 1_500_000,
            interval_ms: 15_000,
        };
        let roles = roles(&rules, &["X-3"], &verdict);
        let looks = looks(&roles, &timeline, evaluations, 300_000);
        let of = looks.iter().filter(|look| look.alert == name);
        let shown = of.map(|look| {
            format!(
                "{}{}",
                look.eval_ms / 1_000,
                if look.why.is_some() { "!" } else { "" }
            )
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_alert_that_must_fire_is_looked_at_where_the_scenario_decides() {
        for (spans, expected) in [
            // 300 lies between firing and the end of the budget.
            (&[(300, Some(840))][..], "0 285! 375! 600! 900! 1200 1500"),
            (
                &[(330, Some(900))],
                "0 300 315! 375! 600 630! 960! 1200 1500",
            ),
            // It fires again, and still does at the end.
            (
                &[(330, Some(600)), (1200, None)],
                "0 300 315! 375! 480! 660! 900 1500",
            ),
            // It resolved before the budget ended.
            (
                &[(330, Some(360))],
                "0 300 315! 345! 420! 600 900 1200 1500",
            ),
        ] {
            assert_eq!(looked("Lag", spans), expected, "{spans:?}");
        }
    }

    #[test]
    fn others_are_looked_at_whenever_something_is_and_one_that_may_fire_never() {
        let spans = [(330, Some(900))];
        assert_eq!(
            looked("Unnamed", &spans),
            "0 300 315 375 600 630 900 960 1200 1500"
        );
        assert_eq!(looked("Slow", &spans), "");
    }
}
