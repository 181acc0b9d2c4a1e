//! `firedrill diff rules`: what it finds, also against what `firedrill run` says of each rule set by itself. What it prints and
//! refuses: `said.rs`.

mod said;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    program::{Outcome, binary, call_in, root, scenarios},
    schema::violations,
};

/// What is compared where no optimised program is named. RESV-INV-004 fires in two of them.
const SHORT: [&str; 3] = [
    "cache-down",
    "outbox-publisher-down",
    "telemetry-scrape-loss",
];

/// The rules of the repository in `old`, and the same with changes in `new`.
struct Rules(tempfile::TempDir);

/// A change: file, the text after which it happens, what is replaced there, and by what. Nothing replaced is a text added.
type Edit<'a> = (&'a str, &'a str, &'a str, &'a str);

const CACHE: &str = "sum(rate(inventory_cache_calls_total";
const OUTBOX: &str = "alert: InventoryOutboxLagHigh";
const INVENTORY: &str = "inventory.yml";

impl Rules {
    fn new(old: &[Edit<'_>], new: &[Edit<'_>]) -> Rules {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (side, edits) in [("old", old), ("new", new)] {
            let place = folder.path().join(side);
            fs::create_dir(&place).expect("created");
            for file in [INVENTORY, "platform.yml"] {
                let from = root().join("alerts/rules").join(file);
                fs::copy(from, place.join(file)).expect("copied");
            }
            edits.iter().for_each(|edit| apply(&place, edit));
        }
        Rules(folder)
    }

    fn diff(&self, args: &[&str]) -> Outcome {
        let args = [&["diff", "rules", "old", "new", "--quiet"], args].concat();
        let outcome = call_in(self.0.path(), &args);
        assert_eq!(outcome.stderr, "", "{args:?}");
        outcome
    }

    /// The report of the published shape, and the exit code.
    fn report(&self, args: &[&str]) -> (i32, Value) {
        let outcome = self.diff(&[args, &["--format", "json"]].concat());
        let schema = fs::read_to_string(root().join("docs/diff-rules.schema.json")).expect("there");
        let schema = serde_json::from_str(&schema).expect("JSON");
        let report = outcome.json();
        assert_eq!(violations(&schema, &report), [""; 0]);
        (outcome.code, report)
    }
}

fn apply(place: &Path, (file, after, from, to): &Edit<'_>) {
    let path = place.join(file);
    let text = fs::read_to_string(&path).expect("readable");
    let changed = if from.is_empty() {
        text + to
    } else {
        let at = text.find(after).expect(after);
        assert!(text[at..].contains(from), "{from}");
        text[..at].to_owned() + &text[at..].replacen(from, to, 1)
    };
    fs::write(path, changed).expect("written");
}

/// One difference in few words: alert, scenario, effect, changes.
fn shown(report: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let row = |row: &Value| {
        let branch = row["branch"].as_str().map(|branch| format!("({branch})"));
        let mut words = vec![
            text(&row["id"]) + &branch.unwrap_or_default(),
            text(&row["scenario"]),
            text(&row["effect"]),
        ];
        words.extend(row["fault"].as_str().map(str::to_owned));
        for incident in list(&row["incidents"]) {
            words.extend(list(&incident["changes"]).iter().map(text));
            words.extend(
                incident["fires_later_s"]
                    .as_f64()
                    .map(|by| format!("{by:+}")),
            );
            words.extend(
                incident["resolves_later_s"]
                    .as_f64()
                    .map(|by| format!("ends{by:+}")),
            );
            for label in list(&incident["labels"]) {
                words.push(format!(
                    "{}:{}>{}",
                    text(&label["name"]),
                    label["old"],
                    label["new"]
                ));
            }
        }
        words.join(" ")
    };
    list(&report["differences"]).iter().map(row).collect()
}

/// `run` under one rule set: first firing and last end of each alert that fired, by scenario and alert.
fn fired(
    folder: &Path,
    rules: &str,
    names: &[&str],
) -> BTreeMap<(String, String), [Option<f64>; 2]> {
    let flags = ["--rules", rules, "--quiet", "--format", "json"];
    let report = call_in(folder, &[&["run"], names, &flags].concat()).json();
    let mut fired = BTreeMap::new();
    for run in report["runs"].as_array().expect("a list") {
        for alert in run["alerts"].as_array().expect("a list") {
            let key = [&run["scenario"], &alert["id"]]
                .map(|value| value.as_str().expect("a text").to_owned());
            if alert["fired_at_s"].is_number() {
                let times = ["fired_at_s", "resolved_at_s"].map(|name| alert[name].as_f64());
                fired.insert(key.into(), times);
            }
        }
    }
    fired
}

#[test]
fn what_differs_is_what_two_runs_say_apart() {
    let every = scenarios();
    let names: Vec<&str> = match binary().1 {
        true => every.iter().map(String::as_str).collect(),
        false => SHORT.to_vec(),
    };
    let mut before = None;
    for (wait, moved_s) in [
        ("10m", None),
        ("7m", Some(120.0)),
        ("5m30s", Some(30.0)),
        ("1m", Some(-240.0)),
    ] {
        let to = format!("for: {wait}");
        let rules = Rules::new(&[], &[(INVENTORY, OUTBOX, "for: 5m", &to)]);
        let old = before.get_or_insert_with(|| fired(rules.0.path(), "old", &names));
        let new = fired(rules.0.path(), "new", &names);
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let mut expected: Vec<Value> = Vec::new();
        for key @ (scenario, id) in keys {
            let (old, new) = (old.get(key), new.get(key));
            if old != new {
                let began = |times: Option<&[Option<f64>; 2]>| times.and_then(|times| times[0]);
                expected.push(json!([scenario, id, began(old), began(new)]));
                let by = began(old).zip(began(new)).map(|(old, new)| new - old);
                assert!(
                    by.is_none() || by == moved_s,
                    "{wait}: {key:?} moved by {by:?}"
                );
            }
        }
        let (_, report) = rules.report(&names);
        let rows = report["differences"].as_array().expect("a list");
        let mut found: Vec<Value> = rows
            .iter()
            .map(|row| {
                let began = |side: &str| row["incidents"][0][side]["fired_at_s"].clone();
                json!([row["scenario"], row["id"], began("old"), began("new")])
            })
            .collect();
        found.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "{wait}");
        assert!(expected.len() >= 2, "{wait}: the change does something");
        assert!(
            expected.iter().all(|row| row[1] == "RESV-INV-004"),
            "{expected:?}"
        );
    }
}

/// Old edits, new edits, scenario, exit code and what differs.
type Case<'a> = (&'a [Edit<'a>], &'a [Edit<'a>], &'a str, i32, &'a [&'a str]);

const OUTAGE: &str = "outbox-publisher-down";
const SCRAPES: &str = "telemetry-scrape-loss";
const PUBLISHED: (&str, &str, &str) = (INVENTORY, OUTBOX, "for: 5m");

const fn wait(to: &str) -> Edit<'_> {
    (PUBLISHED.0, PUBLISHED.1, PUBLISHED.2, to)
}

const ALWAYS: Edit<'_> = (
    "platform.yml",
    "",
    "",
    "  - name: more\n    rules:\n      - {alert: Always, expr: 'vector(1) > 0'}\n",
);

fn check(cases: &[Case<'_>]) {
    for (old, new, scenario, code, expected) in cases {
        let rules = Rules::new(old, new);
        let (found, report) = rules.report(&[*scenario]);
        assert_eq!(shown(&report), *expected, "{old:?} {new:?}");
        assert_eq!(found, *code, "{old:?} {new:?}");
        assert_eq!(report["same_rules"], old == new);
    }
}

#[test]
fn each_kind_of_difference_has_its_verdict_and_its_exit_code() {
    let cases: [Case<'_>; 10] = [
        (&[], &[], OUTAGE, 0, &[]),
        (
            &[],
            &[wait("for: 5m30s")],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down ok later +30"],
        ),
        (
            &[],
            &[wait("for: 7m")],
            OUTAGE,
            1,
            &["RESV-INV-004 outbox-publisher-down breaks late later +120"],
        ),
        (
            &[],
            &[wait("for: 10m")],
            OUTAGE,
            1,
            &["RESV-INV-004 outbox-publisher-down breaks missed missing"],
        ),
        (
            &[],
            &[wait("for: 1m")],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down ok earlier -240"],
        ),
        (
            &[wait("for: 7m")],
            &[],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down fixes late earlier -120"],
        ),
        (
            &[wait("for: 10m")],
            &[],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down fixes missed new"],
        ),
        (
            &[wait("for: 6m")],
            &[wait("for: 7m")],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down still_fails late later +60"],
        ),
        (
            &[],
            &[wait("for: 5m\n        keep_firing_for: 30s")],
            OUTAGE,
            0,
            &["RESV-INV-004 outbox-publisher-down ok resolves_later ends+30"],
        ),
        (
            &[],
            &[wait("for: 5m\n        keep_firing_for: 5m")],
            OUTAGE,
            1,
            &["RESV-INV-004 outbox-publisher-down breaks resolution resolves_later ends+300"],
        ),
    ];
    check(&cases);
}

#[test]
fn labels_pages_and_false_alarms_differ_too() {
    let cases: [Case<'_>; 6] = [
        (
            &[],
            &[(INVENTORY, OUTBOX, "severity: P1", "severity: P2")],
            OUTAGE,
            0,
            &[r#"RESV-INV-004 outbox-publisher-down ok labels severity:["P1"]>["P2"]"#],
        ),
        (
            &[],
            &[(INVENTORY, OUTBOX, "max(", "max by (instance) (")],
            OUTAGE,
            0,
            &[
                r#"RESV-INV-004 outbox-publisher-down ok more_pages labels instance:[""]>["ledger-1","ledger-2"]"#,
            ],
        ),
        (
            &[],
            &[(
                "platform.yml",
                "alert: TargetDown",
                "up == 0",
                "up{instance=\"ledger-1\"} == 0",
            )],
            SCRAPES,
            0,
            &[
                r#"RESV-PLT-004 telemetry-scrape-loss ok fewer_pages labels instance:["ledger-1","ledger-2"]>["ledger-1"]"#,
            ],
        ),
        (
            &[],
            &[ALWAYS],
            OUTAGE,
            1,
            &["Always outbox-publisher-down breaks false_alarm new"],
        ),
        // Of two branches the one that must fire is late; without the label any firing stands for it.
        (
            &[],
            &[(INVENTORY, CACHE, "for: 5m", "for: 6m")],
            "cache-down",
            1,
            &["RESV-INV-003(cache) cache-down breaks late later +60"],
        ),
        (
            &[],
            &[(INVENTORY, CACHE, "branch: cache", "team: search")],
            "cache-down",
            0,
            &[
                "RESV-INV-003 cache-down ok new",
                "RESV-INV-003(cache) cache-down ok missing",
            ],
        ),
    ];
    check(&cases);
}
#[test]
fn the_same_rules_are_said_to_be_the_same_also_from_a_file() {
    let rules = Rules::new(&[], &[]);
    let args = ["cache-down", "--quiet"];
    for (old, new) in [
        ("old", "old"),
        ("old", "new"),
        ("old/inventory.yml", "new/inventory.yml"),
    ] {
        let outcome = call_in(
            rules.0.path(),
            &[&["diff", "rules", old, new], &args[..]].concat(),
        );
        assert_eq!(
            (outcome.code, &*outcome.stdout, &*outcome.stderr),
            (
                0,
                "pass: 1 run compared; no difference: OLD and NEW hold the same rules\n",
                ""
            ),
            "{old} {new}"
        );
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_leaves_the_run_unknown() {
    let fails = "  - name: more\n    rules:\n      - {alert: Many, expr: 'up * on (job) up'}\n";
    let fails: Edit<'_> = ("platform.yml", "", "", fails);
    for (old, new) in [
        (&[][..], &[fails][..]),
        (&[fails], &[]),
        (&[fails], &[fails]),
    ] {
        let rules = Rules::new(old, new);
        let (code, report) = rules.report(&[OUTAGE]);
        assert_eq!(
            (code, report["differences"].as_array().map(Vec::len)),
            (2, Some(0))
        );
        let failed: Vec<&Value> = report["failed"]
            .as_array()
            .expect("a list")
            .iter()
            .collect();
        let under: Vec<&Value> = failed.iter().map(|failed| &failed["under"]).collect();
        let sides = [("old", old), ("new", new)];
        let sides = sides
            .iter()
            .filter(|(_, edits)| !edits.is_empty())
            .map(|(side, _)| *side);
        assert_eq!(under, sides.collect::<Vec<_>>());
        for failed in failed {
            assert!(
                failed["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("many-to-many")),
                "{failed}"
            );
            assert_eq!(
                (&failed["name"], &failed["runs"]),
                (&json!("Many"), &json!(1))
            );
        }
        assert_eq!(report["runs"][0]["new"], Value::Null);
    }
}

#[test]
fn a_run_that_proves_nothing_is_unknown_also_where_nothing_differs() {
    let file = format!("scenarios/{OUTAGE}.toml");
    let text = fs::read_to_string(root().join(file)).expect("readable");
    for (from, to, code, why) in [
        (
            "published = 500",
            "published = 500_000",
            2,
            "proves nothing below 500000",
        ),
        (
            "budget = \"5m45s\"",
            "budget = \"30m\"",
            2,
            "its budget ends at 35m31s",
        ),
        ("[reach]", "[reach]", 1, ""),
    ] {
        let rules = Rules::new(&[], &[wait("for: 10m")]);
        let folder = rules.0.path().join("scenarios");
        fs::create_dir(&folder).expect("created");
        assert!(text.contains(from));
        fs::write(
            folder.join("a.toml"),
            text.replace(from, to).replace(OUTAGE, "a"),
        )
        .expect("written");
        // A run that proves nothing is unknown whatever differs; one that differs for the worse fails all the same.
        let edits: &[&str] = if from == "published = 500" {
            &["old", "old"]
        } else {
            &["old", "new"]
        };
        let args = [
            &["diff", "rules"],
            edits,
            &["--scenarios", "scenarios", "--format", "json", "--quiet"],
        ]
        .concat();
        let outcome = call_in(rules.0.path(), &args);
        assert_eq!(outcome.code, code, "{to}: {}", outcome.stdout);
        assert!(
            outcome.json()["runs"][0]["unknown"]
                .to_string()
                .contains(why),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn seeds_are_rows_of_their_own_and_two_processes_say_the_same() {
    let rules = Rules::new(&[], &[wait("for: 7m")]);
    let args = [OUTAGE, "--seeds", "3", "--format", "json"];
    let [one, other] = [(); 2].map(|()| rules.diff(&args));
    assert_eq!(one.stdout, other.stdout);
    let report = one.json();
    let seeds = report["differences"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["seed"].as_u64());
    assert_eq!(seeds.collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    let alone = rules
        .diff(&[OUTAGE, "--seed", "3", "--format", "json"])
        .json();
    assert_eq!(alone["differences"][0], report["differences"][2]);
}
