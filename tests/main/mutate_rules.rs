//! `firedrill mutate rules`: what it finds, also against what `firedrill diff rules` and `firedrill test rules` say of rules that
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
    expect![[""]].assert_eq(&outcome.stdout);
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
    expect![[""]].assert_eq(&outcome.stdout);
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
fn scenarios_notice_what_a_diff_of_rules_breaks() {
    let folder = folder(RULES, "");
    let found = report(folder.path(), &[OUTAGE]);
    let mut seen = [0, 0];
    for mutant in list(&found["all"]).iter().step_by(2) {
        let Some(changed) = changed(RULES, mutant) else {
            panic!("{mutant} stands on one line");
        };
        fs::write(folder.path().join("new.yml"), changed).expect("written");
        let args = ["diff", "rules", "rules", "new.yml", OUTAGE, "--quiet"];
        let diff = call_in(folder.path(), &args);
        let noticed = !list(&mutant["runs"]).is_empty();
        assert_eq!(diff.code != 0, noticed, "{mutant}: {}", diff.stdout);
        seen[usize::from(noticed)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
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
    for mutant in list(&found["all"]) {
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
    let survive = |at: usize| (&rules[at]["mutants"], &rules[at]["survivors"]);
    assert_eq!(rules[1]["alert"], Value::Null);
    assert_eq!(survive(1).0, survive(1).1, "{rules:?}");
    let missed = list(&found["all"]).iter().map(|row| list(&row["missed"]));
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
    let names = [OUTAGE, "telemetry-scrape-loss", "last-room-race"];
    let once = report(folder.path(), &names);
    assert_eq!(once, report(folder.path(), &names));
    let all = report(folder.path(), &[&names[..], &["--all"]].concat());
    let mut several = 0;
    for (first, all) in list(&once["all"]).iter().zip(list(&all["all"])) {
        for by in ["runs", "tests"] {
            let (first, all) = (list(&first[by]), list(&all[by]));
            assert!(
                first.len() <= 1 && all.starts_with(first),
                "{first:?} {all:?}"
            );
            several += usize::from(all.len() > 1);
        }
    }
    assert!(
        several > 0,
        "an alert that two scenarios expect is missed in both"
    );
    assert_eq!(once["score"], all["score"]);
}

#[test]
fn the_exit_code_says_whether_enough_is_noticed_and_comments_are_true() {
    let lasting = "threshold 30 → 60: the outage lasts";
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
    assert!(!RULES.contains(lasting));
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
    refused("groups: []\n", "", &[], 64, expect![[""]]);
    refused(RULES, "", &["nowhere"], 64, expect![[""]]);
    let twice = "comparison > → >=: a row\n      # firedrill survives comparison: a row";
    let twice = RULES.replace("comparison > → >=: a row", twice);
    refused(&twice, "", &[OUTAGE], 64, expect![[""]]);
    let other = TEST.replace("../rules.yml", "../../other.yml");
    refused(RULES, &other, &[OUTAGE], 64, expect![[""]]);
    let stranger = TEST.replace("[../rules.yml]", "[]");
    refused(RULES, &stranger, &[OUTAGE], 64, expect![[""]]);
    let wrong = TEST.replace("15m15s", "14m");
    refused(RULES, &wrong, &[OUTAGE], 1, expect![[""]]);
    let idle = TEST.split("    alert_rule_test").next().expect("the head");
    refused(RULES, idle, &[OUTAGE], 2, expect![[""]]);
    let slow = RULES.replace("for: 5m", "for: 10m");
    refused(&slow, "", &[OUTAGE], 1, expect![[""]]);
    refused(RULES, "", &["cache-down"], 1, expect![[""]]);
    let broken = RULES
        .replace("rate(inv", "scalar(inv")
        .replace("[5m])", ") * on (a) up");
    refused(&broken, "", &[OUTAGE], 64, expect![[""]]);
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
        outcome.stdout.contains("alerts/rules/inventory.yml:13"),
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
        found["by_tests"].as_u64() > Some(5),
        "{}",
        found["by_tests"]
    );
    let refused = mutate(folder.path(), &[OUTAGE]);
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("rules/tests/lag.yml:"),
        "{}",
        refused.stderr
    );
}
