//! `firedrill mutate rules`: what it finds, also against what `firedrill run` and `firedrill test rules` say of rules that
//! are changed by hand; what it prints and refuses.

use std::{fs, path::Path};

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::{
    program::{Outcome, call, call_in, root},
    schema::violations,
};

const OUTAGE: &str = "outbox-publisher-down";

/// One alert of the repository, shortened, and a rule that nothing reads.
const RULES: &str = "\
groups:
  - name: inventory
    interval: 15s
    rules:
      # firedrill survives comparison > → >=: a row is never exactly 30 s old when it is looked at
      - alert: InventoryOutboxLagHigh
        expr: max(inventory_outbox_oldest_seconds{job=\"inventory-service\"}) > 30
        for: 5m
        labels: {alert_id: RESV-INV-004}
      - record: calls:rate5m
        expr: rate(inventory_cache_calls_total[5m])
";

const TEST: &str = "\
rule_files: [../rules.yml]
evaluation_interval: 15s
tests:
  - name: lag
    interval: 15s
    input_series:
      - series: inventory_outbox_oldest_seconds{job=\"inventory-service\"}
        values: 28x40 40x40
      - series: inventory_outbox_oldest_seconds{job=\"other\"}
        values: 40x80
    alert_rule_test:
      - {eval_time: 15m, alertname: InventoryOutboxLagHigh}
      - eval_time: 15m15s
        alertname: InventoryOutboxLagHigh
        exp_alerts: [{exp_labels: {alert_id: RESV-INV-004}}]
";

/// A folder with `rules/rules.yml` and, if there is any text, `rules/tests/lag.yml`.
fn folder(rules: &str, tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    };
    write("rules/rules.yml", rules);
    if !tests.is_empty() {
        write("rules/tests/lag.yml", tests);
    }
    folder
}

fn mutate(folder: &Path, args: &[&str]) -> Outcome {
    let args = [&["mutate", "rules", "--rules", "rules", "--quiet"], args].concat();
    call_in(folder, &args)
}

/// The report of the published shape.
fn report(folder: &Path, args: &[&str]) -> Value {
    let outcome = mutate(folder, &[args, &["--format", "json"]].concat());
    assert_eq!(outcome.stderr, "", "{args:?}");
    let schema = fs::read_to_string(root().join("docs/mutate-rules.schema.json")).expect("there");
    let schema = serde_json::from_str(&schema).expect("JSON");
    let report = outcome.json();
    assert_eq!(violations(&schema, &report), [""; 0]);
    report
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn the_text_is_a_table_with_each_survivor_and_who_should_have_noticed() {
    let folder = folder(RULES, TEST);
    let outcome = mutate(folder.path(), &[OUTAGE, "last-room-race"]);
    assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
    expect![[r#"
        rule                alert                                mutants  by scenarios  by tests  survive  explained
        rules/rules.yml:6   RESV-INV-004 InventoryOutboxLagHigh  12       3             9         3        1
        rules/rules.yml:10  calls:rate5m                         3        0             0         3        0

        mutants: the rule with one thing changed; by scenarios, by tests: how many of them make a run or a unit test fail; explained: survivors for which a comment in the rule's file gives the reason

        survives rules/rules.yml:7:15 label: max → max by (instance)
          should have noticed: outbox-publisher-down seed 1: it fires at the same time, and other series with it

        survives rules/rules.yml:7:79 threshold: 30 → 33
          should have noticed: outbox-publisher-down seed 1: it must fire there and does all the same

        survives rules/rules.yml:11:15 rate: rate → irate
          should have noticed: no alert reads what this rule records

        survives rules/rules.yml:11:48 window: 5m → 2m30s
          should have noticed: no alert reads what this rule records

        survives rules/rules.yml:11:48 window: 5m → 10m
          should have noticed: no alert reads what this rule records

        explained:
          rules/rules.yml:7:77 comparison: > → >=: a row is never exactly 30 s old when it is looked at

        pass: 15 mutants of 2 rules over 2 runs; 20.0 % noticed by scenarios alone; 60.0 % with unit tests; 6 survive, 5 unexplained
    "#]].assert_eq(&outcome.stdout);
    let colored = mutate(folder.path(), &[OUTAGE, "--color", "always"]);
    assert!(
        colored.stdout.contains("\x1b[33msurvives\x1b[0m"),
        "{}",
        colored.stdout
    );
}

#[test]
fn markdown_is_for_a_pull_request() {
    let folder = folder(RULES, TEST);
    let args = [OUTAGE, "--format", "markdown", "--min-score", "90"];
    let outcome = mutate(folder.path(), &args);
    assert_eq!(outcome.code, 1);
    expect![[r#"
        ❌ **firedrill mutate rules: fail**: 15 mutants of 2 rules over 1 run; 20.0 % noticed by scenarios alone; 60.0 % with unit tests; 6 survive, 5 unexplained; less than the 90 % asked for

        | rule | alert | mutants | by scenarios | by tests | survive | explained |
        | --- | --- | --- | --- | --- | --- | --- |
        | rules/rules.yml:6 | RESV-INV-004 InventoryOutboxLagHigh | 12 | 3 | 9 | 3 | 1 |
        | rules/rules.yml:10 | calls:rate5m | 3 | 0 | 0 | 3 | 0 |

        <details><summary>survivors (5)</summary>

        - rules/rules.yml:7:15 `label: max → max by (instance)`: outbox-publisher-down seed 1: it fires at the same time, and other series with it
        - rules/rules.yml:7:79 `threshold: 30 → 33`: outbox-publisher-down seed 1: it must fire there and does all the same
        - rules/rules.yml:11:15 `rate: rate → irate`: no alert reads what this rule records
        - rules/rules.yml:11:48 `window: 5m → 2m30s`: no alert reads what this rule records
        - rules/rules.yml:11:48 `window: 5m → 10m`: no alert reads what this rule records

        </details>

        <details><summary>explained (1)</summary>

        - rules/rules.yml:7:77 `comparison: > → >=`: a row is never exactly 30 s old when it is looked at

        </details>
    "#]].assert_eq(&outcome.stdout);
}

/// The rules with a mutant's change, made by hand; `None` where it does not stand on one line.
fn changed(text_of: &str, mutant: &Value) -> Option<String> {
    let mut place = text(&mutant["place"])
        .rsplit(':')
        .map(|n| n.parse::<usize>());
    let (column, line) = (place.next()?.ok()? - 1, place.next()?.ok()? - 1);
    let (old, new) = (text(&mutant["old"]), text(&mutant["new"]));
    let mut lines: Vec<String> = text_of.lines().map(str::to_owned).collect();
    let rest = lines[line].get(column..)?;
    if mutant["operator"] == "for" && old == "0s" {
        lines.insert(line + 1, format!("        for: {new}"));
    } else {
        let after = rest.strip_prefix(old)?.to_owned();
        lines[line].truncate(column);
        lines[line] += &(new.to_owned() + &after);
    }
    Some(lines.join("\n") + "\n")
}

#[test]
fn scenarios_notice_what_fails_with_the_rules_changed_by_hand() {
    let folder = folder(RULES, "");
    let found = report(folder.path(), &[OUTAGE]);
    let mut seen = [0, 0];
    for mutant in list(&found["mutants"]).iter().step_by(2) {
        let Some(changed) = changed(RULES, mutant) else {
            panic!("{mutant} stands on one line");
        };
        fs::write(folder.path().join("new.yml"), changed).expect("written");
        let args = ["run", OUTAGE, "--rules", "new.yml", "--quiet"];
        let run = call_in(folder.path(), &args);
        let noticed = !list(&mutant["runs"]).is_empty();
        assert_eq!(run.code != 0, noticed, "{mutant}: {}", run.stdout);
        seen[usize::from(noticed)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 1), "{seen:?}");
}

#[test]
fn unit_tests_notice_what_fails_with_the_rules_changed_by_hand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = root().join("alerts/rules");
    fs::create_dir_all(folder.path().join("rules/tests")).expect("created");
    let files = ["platform.yml", "tests/platform.yml"];
    let copied = files.map(|file| fs::read_to_string(rules.join(file)).expect("readable"));
    for (file, text) in files.iter().zip(&copied) {
        fs::write(folder.path().join("rules").join(file), text).expect("written");
    }
    let found = report(folder.path(), &["last-room-race", "--all"]);
    let mut seen = [0, 0];
    for mutant in list(&found["mutants"]) {
        let Some(changed) = changed(&copied[0], mutant) else {
            continue;
        };
        fs::write(folder.path().join("rules/platform.yml"), changed).expect("written");
        let args = ["test", "rules", "rules/tests/platform.yml"];
        let tested = call_in(folder.path(), &args);
        let noticed = !list(&mutant["tests"]).is_empty();
        assert_eq!(tested.code != 0, noticed, "{mutant}: {}", tested.stderr);
        seen[usize::from(noticed)] += 1;
    }
    assert!(seen[0] + seen[1] > 30 && seen[1] > 10, "{seen:?}");
}

#[test]
fn a_rule_that_nothing_exercises_is_not_skipped() {
    let folder = folder(RULES, TEST);
    let found = report(folder.path(), &["last-room-race"]);
    let rules = list(&found["rules"]);
    let survive = |at: usize| {
        (
            &rules[at]["counts"]["mutants"],
            &rules[at]["counts"]["survivors"],
        )
    };
    assert_eq!(rules[1]["alert"], Value::Null);
    assert_eq!(survive(1).0, survive(1).1, "{rules:?}");
    let missed = list(&found["mutants"])
        .iter()
        .map(|row| list(&row["missed"]));
    let whys: Vec<&str> = missed
        .flatten()
        .map(|missed| text(&missed["why"]))
        .collect();
    assert!(
        whys.contains(&"no alert reads what this rule records"),
        "{whys:?}"
    );
}

#[test]
fn the_report_is_the_same_however_often_and_names_the_first_that_noticed_or_all() {
    let folder = folder(RULES, TEST);
    let names = [OUTAGE, "last-room-race", "--seeds", "2"];
    let once = report(folder.path(), &names);
    assert_eq!(once, report(folder.path(), &names));
    let all = report(folder.path(), &[&names[..], &["--all"]].concat());
    let mut several = 0;
    for (first, all) in list(&once["mutants"]).iter().zip(list(&all["mutants"])) {
        for by in ["runs", "tests"] {
            let (first, all) = (list(&first[by]), list(&all[by]));
            assert!(
                first.len() <= 1 && all.starts_with(first),
                "{first:?} {all:?}"
            );
            several += usize::from(all.len() > 1);
        }
    }
    assert!(several > 0, "what one seed notices another one does too");
    assert_eq!(once["score"], all["score"]);
}

#[test]
fn the_exit_code_says_whether_enough_is_noticed_and_comments_are_true() {
    let rows: [(&str, &[&str], i32); 6] = [
        (RULES, &["--min-score", "50"], 0),
        (RULES, &["--min-score", "100"], 1),
        (RULES, &["--explained"], 1),
        (&RULES.replace("comparison > → >=: a", "for: a"), &[], 3),
        (&RULES.replace("comparison > → >=: a", "rate: a"), &[], 3),
        // What was asked for and is not there weighs more.
        (
            &RULES.replace("comparison > → >=: a", "for: a"),
            &["--min-score", "100"],
            1,
        ),
    ];
    for (rules, args, code) in rows {
        let folder = folder(rules, TEST);
        let outcome = mutate(folder.path(), &[args, &[OUTAGE]].concat());
        assert_eq!(outcome.code, code, "{args:?} {}", outcome.stdout);
        let untrue = outcome.stdout.contains("comments that are not true");
        assert_eq!(untrue, !rules.contains("comparison"), "{}", outcome.stdout);
    }
}

fn refused(rules: &str, tests: &str, args: &[&str], code: i32, expected: Expect) {
    let folder = folder(rules, tests);
    let outcome = mutate(folder.path(), args);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (code, ""),
        "{}",
        outcome.stderr
    );
    expected.assert_eq(&outcome.stderr);
}

#[test]
fn what_could_prove_nothing_is_refused_with_its_reason() {
    refused(
        "groups: []\n",
        "",
        &[],
        64,
        expect![[r#"
        firedrill: rules: holds no rule that could be changed
    "#]],
    );
    refused(
        RULES,
        "",
        &["nowhere"],
        64,
        expect![[r#"
        firedrill: there is no scenario `nowhere`; there are: allocation-latency-audit-insert, cache-down, healthy-day, last-room-race, lock-contention, outbox-publisher-down, overbooking-constraint-relaxed, primary-failover-crash, sweeper-scheduler-outage, sweeper-vs-confirm, telemetry-scrape-loss
    "#]],
    );
    let twice = "comparison > → >=: a row\n      # firedrill survives comparison: a row";
    let twice = RULES.replace("comparison > → >=: a row", twice);
    refused(
        &twice,
        "",
        &[OUTAGE],
        64,
        expect![[r#"
        firedrill: rules/rules.yml:6:7: line 5 says already why comparison survives here: keep one of the two
          |       # firedrill survives comparison: a row is never exactly 30 s old when it is looked at
          |       ^
    "#]],
    );
    let other = TEST.replace("../rules.yml", "../../other.yml");
    refused(
        RULES,
        &other,
        &[OUTAGE],
        64,
        expect![[r#"
        firedrill: rules/tests/lag.yml: rule file other.yml is missing
    "#]],
    );
    let stranger = TEST.replace("[../rules.yml]", "[]");
    refused(
        RULES,
        &stranger,
        &[OUTAGE],
        64,
        expect![[r#"
        firedrill: rules/tests/lag.yml: tests none of the rules that are mutated; its `rule_files` name others
    "#]],
    );
    let wrong = TEST.replace("15m15s", "14m");
    refused(
        RULES,
        &wrong,
        &[OUTAGE],
        1,
        expect![[r#"
        rules/tests/lag.yml: lag fails: InventoryOutboxLagHigh at second 840
        nothing was mutated: only where the rules as they are pass does a failure say something of a mistake
    "#]],
    );
    let idle = TEST.split("    alert_rule_test").next().expect("the head");
    refused(
        RULES,
        idle,
        &[OUTAGE],
        2,
        expect![[r#"
        rules/tests/lag.yml: makes no check
        nothing was mutated: only where the rules as they are pass does a failure say something of a mistake
    "#]],
    );
    let slow = RULES.replace("for: 5m", "for: 10m");
    refused(
        &slow,
        "",
        &[OUTAGE],
        1,
        expect![[r#"
        outbox-publisher-down seed 1: RESV-INV-004: did not fire: its symptom was true from 5m31s982ms to 13m866ms, and the budget of 5m45s ended at 11m16s982ms
        nothing was mutated: only where the rules as they are pass does a failure say something of a mistake
    "#]],
    );
    refused(
        RULES,
        "",
        &["cache-down"],
        1,
        expect![[r#"
        cache-down seed 1: RESV-INV-003: did not fire: its symptom (branch cache) was true from 6m14s441ms to 17m17s250ms, and the budget of 8m15s ended at 14m29s441ms
        nothing was mutated: only where the rules as they are pass does a failure say something of a mistake
    "#]],
    );
    let broken = "inventory_cache_calls_total * on (job) up";
    let broken = RULES.replace("rate(inventory_cache_calls_total[5m])", broken);
    refused(
        &broken,
        "",
        &[OUTAGE],
        64,
        expect![[r#"
            firedrill: rules/rules.yml:10: rule calls:rate5m of group inventory: found duplicate series for the match group {job="inventory-service"} on the right hand-side of the operation: [{__name__="up", instance="ledger-1", job="inventory-service"}, {__name__="up", instance="ledger-2", job="inventory-service"}];many-to-many matching not allowed: matching labels must be unique on one side
        "#]],
    );
}

#[test]
fn the_built_in_rules_come_with_their_tests() {
    let outcome = call(&["mutate", "rules", "last-room-race"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(
        lines[0].starts_with("recorded  last-room-race seed 1  "),
        "{lines:?}"
    );
    assert!(lines[1].contains(" mutants "), "{lines:?}");
    assert!(
        outcome.stdout.contains("% with unit tests"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome
            .stdout
            .contains("  RESV-INV-001 InventoryOverbookingObserved  "),
        "{}",
        outcome.stdout
    );
}

#[test]
fn named_tests_take_the_place_of_those_beside_the_rules() {
    let folder = folder(RULES, "tests: 7\n");
    fs::create_dir(folder.path().join("more")).expect("created");
    let elsewhere = TEST.replace("../rules.yml", "../rules/rules.yml");
    fs::write(folder.path().join("more/lag.yml"), elsewhere).expect("written");
    let found = report(folder.path(), &[OUTAGE, "--tests", "more/lag.yml"]);
    assert_eq!(found["test_files"], serde_json::json!(["more/lag.yml"]));
    assert!(
        found["counts"]["by_tests"].as_u64() > Some(5),
        "{}",
        found["counts"]["by_tests"]
    );
    let refused = mutate(folder.path(), &[OUTAGE]);
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("rules/tests/lag.yml:"),
        "{}",
        refused.stderr
    );
}
