//! Two rule sets, told apart rule by rule.

use super::*;

const HEAD: &str = "groups:\n- name: g\n  rules:\n";
const ONE: &str = "  - {alert: One, expr: x > 1, for: 5m, labels: {alert_id: A-1, severity: P1}}\n";
const TWO: &str = "  - {alert: Two, expr: y > 1, labels: {alert_id: A-2, branch: b}}\n";
const BARE: &str = "  - {alert: Bare, expr: z > 1}\n";
const SUM: &str = "  - {record: 'job:x:sum', expr: sum by (job) (x)}\n";

fn texts(rules: &[&str]) -> Texts {
    let text = HEAD.to_owned() + &rules.concat();
    let set = RuleSet::from_sources([("f.yml", &*text)]);
    Texts::of(&set.unwrap_or_else(|errors| panic!("{errors:?}\n{text}")))
}

fn alert(id: &str, branch: Option<&str>) -> Identity {
    Identity {
        id: id.into(),
        branch: branch.map(str::to_owned),
    }
}

fn seen(fired: &[&str], differ: &[&str]) -> Seen {
    let all = |ids: &[&str]| ids.iter().map(|id| alert(id, None)).collect();
    Seen {
        fired: all(fired),
        names: fired.iter().map(|name| (*name).to_owned()).collect(),
        differ: all(differ),
    }
}

#[test]
fn an_alert_is_known_by_id_and_branch_or_else_by_its_name() {
    let texts = texts(&[
        ONE,
        TWO,
        BARE,
        "  - {alert: Each, expr: z, labels: {alert_id: '{{ $labels.id }}'}}\n",
    ]);
    let known: Vec<String> = texts.alerts.keys().map(ToString::to_string).collect();
    assert_eq!(known, ["A-1", "A-2 (b)", "Bare", "Each"]);
    let labels = |id, branch| {
        texts
            .labels(&alert(id, branch))
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(labels("A-1", None), ["alert_id", "severity"]);
    assert_eq!(labels("A-2", Some("b")), ["alert_id", "branch"]);
    assert_eq!(
        labels("of-a-series", None),
        ["alert_id"],
        "it may be the template's"
    );
}

#[test]
fn sets_are_the_same_whatever_their_order_and_place() {
    let set = texts(&[ONE, TWO, SUM]);
    assert!(same(&set, &set));
    assert!(same(&set, &texts(&["# moved\n", SUM, TWO, ONE])));
    for (from, to) in [
        ("x > 1", "x > 2"),
        ("5m", "6m"),
        ("P1", "P2"),
        ("One", "Uno"),
        ("A-1", "A-3"),
    ] {
        assert!(
            !same(&set, &texts(&[&ONE.replace(from, to), TWO, SUM])),
            "{from} → {to}"
        );
    }
    assert!(!same(&set, &texts(&[ONE, TWO])) && !same(&texts(&[ONE, TWO]), &set));
    assert!(!same(&set, &texts(&[ONE, ONE, TWO, SUM])));
}

#[test]
fn an_alert_of_one_side_that_never_fired_is_not_exercised() {
    let (old, new) = (texts(&[ONE, BARE]), texts(&[TWO, BARE]));
    let found = |seen: &Seen| -> Vec<String> {
        let found = not_exercised(&old, &new, seen);
        let line = |found: &NotExercised| {
            format!("{} {} {}", found.only_in.name(), found.alert, found.rule)
        };
        found.iter().map(line).collect()
    };
    assert_eq!(
        found(&seen(&[], &[])),
        ["OLD A-1 f.yml:4", "NEW A-2 (b) f.yml:4"]
    );
    assert_eq!(found(&seen(&["A-1"], &["A-1"])), ["NEW A-2 (b) f.yml:4"]);
}

#[test]
fn a_rule_that_is_written_differently_without_effect_is_named_with_what_differs() {
    let old = texts(&[ONE, BARE, SUM]);
    let found = |new: &[&str], seen: &Seen| -> Vec<String> {
        let found = no_effect(&old, &texts(new), seen);
        let line =
            |found: &NoEffect| format!("{} {:?} {:?}", found.rule, found.fields, found.fired);
        found.iter().map(line).collect()
    };
    let slower = ONE.replace("5m", "6m").replace("P1", "P2");
    let nothing = seen(&[], &[]);
    let rows: [(&[&str], &Seen, &[&str]); 9] = [
        (&[ONE, BARE, SUM], &nothing, &[]),
        (
            &[&slower, BARE, SUM],
            &nothing,
            &[r#"A-1 ["for", "labels"] Some(false)"#],
        ),
        (
            &[&slower, BARE, SUM],
            &seen(&["A-1"], &[]),
            &[r#"A-1 ["for", "labels"] Some(true)"#],
        ),
        (&[&slower, BARE, SUM], &seen(&["A-1"], &["A-1"]), &[]),
        (&[ONE, SUM], &nothing, &[]), // gone: not exercised, or a difference
        (
            &[ONE, BARE],
            &nothing,
            &[r#"job:x:sum ["number of rules: 1 → 0"] None"#],
        ),
        (
            &[
                ONE,
                BARE,
                "  - {record: 'job:x:sum', expr: sum by (job) (y)}\n",
            ],
            &nothing,
            &[r#"job:x:sum ["expr"] None"#],
        ),
        (
            &[ONE, ONE, BARE, SUM],
            &nothing,
            &[r#"A-1 ["number of rules: 1 → 2"] Some(false)"#],
        ),
        (
            &[ONE, &BARE.replace('}', ", annotations: {a: b}}"), SUM],
            &nothing,
            &[r#"Bare ["annotations"] Some(false)"#],
        ),
    ];
    for (new, seen, expected) in rows {
        assert_eq!(found(new, seen), expected, "{new:?}");
    }
}

#[test]
fn a_recording_rule_has_an_effect_when_an_alert_that_reads_it_differs_through_others_too() {
    let reads = "  - {alert: Reads, expr: 'all > 1'}\n  - {record: all, expr: 'sum(job:x:sum)'}\n";
    let changed = SUM.replace("(x)", "(y)");
    let (old, new) = (texts(&[SUM, reads, BARE]), texts(&[&changed, reads, BARE]));
    assert_eq!(no_effect(&old, &new, &seen(&["Bare"], &["Bare"])).len(), 1);
    assert_eq!(no_effect(&old, &new, &seen(&["Reads"], &["Reads"])), []);
}
