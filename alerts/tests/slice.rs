//! Some rules of a set: who depends on one, what they need, and that they answer alone what they answer in the whole.

use std::collections::BTreeSet;

use alerts::notation;
use alerts::rules::{RuleSet, Schedule};
use alerts::series::SeriesStore;
use alerts::timeline::{AlertHistory, RuleAt};

const RULES: &str = "
groups:
- name: first
  rules:
  - {record: a:x, expr: x}
  - {alert: Lone, expr: y > 0}
  - {record: b:x, expr: 'a:x * 2'}
- name: second
  rules:
  - {alert: Doubled, expr: 'b:x > 3', for: 30s}
  - {alert: Asks, expr: 'y > 0', annotations: {text: '{{ query \"b:x\" | first | value }}'}}
  - {alert: Consequence, expr: 'ALERTS{alertname=\"Doubled\", alertstate=\"firing\"}'}
  - {alert: Twice, expr: x > 1, labels: {team: a}}
  - {alert: Twice, expr: x > 2, labels: {team: b}}
  - {alert: Same, expr: x > 1}
  - {alert: Same, expr: y > 1}
";

fn set() -> RuleSet {
    RuleSet::from_sources([("r.yml", RULES)]).expect("rules")
}

/// Names of rules; of two with one name the second has a dash.
fn names(set: &RuleSet, places: &BTreeSet<RuleAt>) -> String {
    let mut seen = BTreeSet::new();
    let name = |at| set.rule(at).name.clone();
    let all: Vec<(RuleAt, String)> = set
        .places()
        .map(|(at, _)| {
            let dash = if seen.insert(name(at)) { "" } else { "-" };
            (at, name(at) + dash)
        })
        .collect();
    let named = all.iter().filter(|(at, _)| places.contains(at));
    named.map(|(_, name)| &**name).collect::<Vec<_>>().join(" ")
}

#[test]
fn who_depends_on_a_rule_and_what_it_needs_is_followed_through_others() {
    let set = set();
    for (place, dependents, needed) in [
        ((0, 0), "a:x b:x Doubled Asks Consequence", "a:x"),
        ((0, 1), "Lone", "Lone"),
        ((1, 0), "Doubled Consequence", "a:x b:x Doubled"),
        ((1, 1), "Asks", "a:x b:x Asks"),
        ((1, 2), "Consequence", "a:x b:x Doubled Consequence"),
        ((1, 3), "Twice", "Twice"),
        ((1, 5), "Same Same-", "Same Same-"),
    ] {
        let at = RuleAt {
            group: place.0,
            rule: place.1,
        };
        assert_eq!(names(&set, &set.dependents(at)), dependents, "{at:?}");
        let slice = set.slice(&BTreeSet::from([at]));
        let kept: BTreeSet<RuleAt> = slice
            .rules
            .places()
            .map(|(at, rule)| {
                assert_eq!(rule.line, set.rule(slice.place(at)).line);
                slice.place(at)
            })
            .collect();
        assert_eq!(names(&set, &kept), needed, "{at:?}");
    }
}

#[test]
fn a_slice_answers_what_the_whole_set_answers_of_its_rules() {
    let set = set();
    let mut store = SeriesStore::new();
    for (series, values) in [
        ("x", [0.0, 2.0, 2.0, 2.0, 3.0]),
        ("y", [1.0, 0.0, 2.0, 2.0, 0.0]),
    ] {
        let labels = notation::labels(series).expect("labels");
        let samples = values.iter().enumerate();
        let samples = samples.map(|(at, value)| (at as i64 * 15_000, *value));
        store.extend(&labels, samples).expect("in order");
    }
    let schedule = Schedule::steady(0, 60_000, 15_000);
    let whole = set.evaluate(&store, &schedule).expect("evaluated").alerts;
    let mut alerts = 0;
    for (at, _) in set.places() {
        let slice = set.slice(&BTreeSet::from([at]));
        let alone = slice.rules.evaluate(&store, &schedule).expect("evaluated");
        let of = |histories: &[AlertHistory], place: &dyn Fn(RuleAt) -> RuleAt| {
            let mine = histories.iter().filter(|alert| place(alert.place) == at);
            mine.map(|alert| {
                (
                    alert.labels.clone(),
                    alert.transitions.clone(),
                    alert.annotations.clone(),
                )
            })
            .collect::<Vec<_>>()
        };
        let together = of(&whole, &|place| place);
        assert_eq!(
            of(&alone.alerts, &|place| slice.place(place)),
            together,
            "{at:?}"
        );
        alerts += together.len();
    }
    assert!(alerts >= 7, "{alerts} alerts");
}
