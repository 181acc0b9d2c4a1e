//! What the program prints: a command, its exact output, its exit code.

use std::fs;

use expect_test::{Expect, expect};

use crate::program::{Outcome, call, call_in, root};

/// A refusal: exit code 64, nothing on standard output, and this on standard error.
fn refused(args: &[&str], expected: Expect) {
    let outcome = call(args);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (64, ""),
        "{args:?}: {}",
        outcome.stderr
    );
    expected.assert_eq(&outcome.stderr);
}

/// A copy of a folder of the repository with one file changed; `None` removes it.
fn changed(folder: &str, file: &str, text: Option<&str>) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_files(&root().join(folder), copy.path());
    let file = copy.path().join(file);
    match text {
        Some(text) => fs::write(file, text).expect("written"),
        None => fs::remove_file(file).expect("removed"),
    }
    copy
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir_all(&place).expect("created");
            copy_files(&path, &place);
        } else {
            fs::copy(&path, &place).expect("copied");
        }
    }
}

/// Refused because of a changed input; the folder's name is shown as DIR.
fn refused_with(flag: &str, copy: &tempfile::TempDir, expected: Expect) {
    let dir = copy.path().display().to_string();
    let outcome = call(&[
        "run",
        "last-room-race",
        flag,
        &dir,
        "--output",
        "kept",
        "--quiet",
    ]);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (64, ""),
        "{}",
        outcome.stderr
    );
    expected.assert_eq(&outcome.stderr.replace(&dir, "DIR"));
}

/// Times of this machine, as zeroes.
fn still(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("CPU ") {
            out.push_str("CPU …\n");
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn a_name_that_there_is_not_is_refused_with_those_that_resemble_it() {
    refused(
        &["run", "last-room-rcae"],
        expect![[r#"
        firedrill: there is no scenario `last-room-rcae`; did you mean last-room-race?
    "#]],
    );
    refused(
        &["run", "xyzzy"],
        expect![[r#"
        firedrill: there is no scenario `xyzzy`; there are: allocation-latency-audit-insert, cache-down, healthy-day, last-room-race, lock-contention, outbox-publisher-down, overbooking-constraint-relaxed, primary-failover-crash, sweeper-scheduler-outage, sweeper-vs-confirm, telemetry-scrape-loss
    "#]],
    );
}

#[test]
fn wrong_arguments_are_refused() {
    refused(
        &["run", "--sede", "1"],
        expect![[r#"
        error: unexpected argument '--sede' found

          tip: a similar argument exists: '--seed'

        Usage: firedrill run --seed <N> [SCENARIO]...

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["run", "--seed", "1", "--seeds", "2"],
        expect![[r#"
        error: the argument '--seed <N>' cannot be used with '--seeds <N>'

        Usage: firedrill run --seed <N> [SCENARIO]...

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["run", "--seeds", "0"],
        expect![[r#"
        error: invalid value '0' for '--seeds <N>': 0 is not in 1..=1000000

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["run", "--format", "xml"],
        expect![[r#"
        error: invalid value 'xml' for '--format <FORMAT>'
          [possible values: text, json]

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["run", "--rules", "missing"],
        expect![[r#"
        firedrill: missing: No such file or directory (os error 2)
    "#]],
    );
    refused(
        &["run", "--ledger", "missing"],
        expect![[r#"
        firedrill: missing/bootstrap.sql: No such file or directory (os error 2)
    "#]],
    );
    refused(
        &["replay"],
        expect![[r#"
        error: the following required arguments were not provided:
          <BUNDLE>

        Usage: firedrill replay <BUNDLE>

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["replay", "missing"],
        expect![[r#"
        firedrill: missing: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn help_and_version_are_no_failure() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["replay", "--help"],
    ] {
        let outcome = call(args);
        assert_eq!((outcome.code, &*outcome.stderr), (0, ""), "{args:?}");
        assert!(!outcome.stdout.is_empty());
    }
}

#[test]
fn a_scenario_with_errors_is_refused_with_all_of_them_by_line() {
    let text = fs::read_to_string(root().join("scenarios/cache-down.toml")).expect("there");
    let text = text
        .replace("hold = ", "hodl = ")
        .replace("\"crash\"", "\"crush\"")
        .replace("RESV-INV-003", "RESV-INV-999");
    refused_with(
        "--scenarios",
        &changed("scenarios", "cache-down.toml", Some(&text)),
        expect![[r#"
        firedrill: DIR/cache-down.toml:4:1: unknown key `hodl` in the scenario; known: name, hypothesis, duration, hold, heal, liveness, workload, faults, must, may, breaks, reach
        DIR/cache-down.toml:6:19: unknown alert `RESV-INV-999`; known: RESV-INV-001, RESV-INV-002, RESV-INV-003, RESV-INV-004, RESV-INV-005, RESV-INV-006, RESV-INV-007, RESV-INV-008, RESV-INV-009, RESV-INV-010, RESV-INV-011, RESV-INV-012, RESV-INV-013, RESV-INV-014, RESV-PLT-001, RESV-PLT-002, RESV-PLT-003, RESV-PLT-004, RESV-PLT-005, RESV-PLT-006, RESV-PLT-007, ORD-001, ORD-002, ORD-003, ORD-004, ORD-005
        DIR/cache-down.toml:16:8: unknown fault `crush`; known: crash, kill, stop, stall, partition, partition-one-way, loss, latency, broker-refuses, scheduler-stopped, sql, hold-lock, slow-statement, slow-insert, release, clock-offset, clock-drift, boot, deploy, cancel-surplus
    "#]],
    );
}

#[test]
fn a_rule_file_that_does_not_parse_is_refused_with_its_line() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n";
    refused_with(
        "--rules",
        &changed("alerts/rules", "bad.yml", Some(text)),
        expect![[r#"
            firedrill: DIR/bad.yml:5:21: expression: unclosed left parenthesis
              |     expr: rate(x[5m]
              |                     ^
        "#]],
    );
}

#[test]
fn sql_outside_the_subset_is_refused_with_its_line() {
    let text = "-- $1 room_type_id uuid\nSELECT night FROM room_type_inventory_daily TABLESAMPLE SYSTEM (10)\n";
    refused_with(
        "--ledger",
        &changed("ledger", "sql/availability.sql", Some(text)),
        expect![[r#"
        firedrill: DIR/sql/availability.sql:2:19: not in the simulated database's subset of SQL: `room_type_inventory_daily TABLESAMPLE SYSTEM (10)` in FROM (0A000)
    "#]],
    );
    let text = "CREATE TABLE t (a integer) INHERITS (u);\n";
    refused_with(
        "--ledger",
        &changed("ledger", "migrations/9999_extra.sql", Some(text)),
        expect![[r#"
        firedrill: DIR/migrations/9999_extra.sql:1:1: not in the simulated database's subset of SQL: a clause near `INTEGER) INHERITS (u)` (0A000)
    "#]],
    );
    refused_with(
        "--ledger",
        &changed("ledger", "sql/availability.sql", None),
        expect![[r#"
        firedrill: DIR/sql/availability.sql is missing: the service needs it
    "#]],
    );
}

#[test]
fn a_passing_run_prints_the_matrix_and_ends_with_0() {
    let Outcome {
        code,
        stdout,
        stderr,
    } = call(&["run", "telemetry-scrape-loss", "--quiet"]);
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    expect![[r#"
        scenario               verdict  ORD-003  INV-001  INV-002  INV-003  INV-004  INV-005  INV-006  PLT-002  PLT-004
        telemetry-scrape-loss  pass     ·        ·        ·        ·        298/345  ·        ·        ·        135/165

        seconds from symptom to firing / budget; @ second of the run at which it fired; may: allowed; FALSE: false alarm; · silent, as it should be

        CPU …
        CPU …
        CPU …

        pass: 1 passed, 0 failed, 0 unknown
    "#]].assert_eq(&still(&stdout));
}

#[test]
fn progress_is_one_line_per_run_on_standard_error() {
    let outcome = call(&["run", "last-room-race", "--seeds", "3", "--format", "json"]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let runs = lines
        .iter()
        .filter(|line| line.contains("  last-room-race seed "));
    assert_eq!(runs.count(), 3, "{lines:?}");
    assert!(
        !outcome.stderr.contains('\x1b'),
        "no escape sequences where there is no terminal"
    );
}

#[test]
fn artefacts_are_kept_and_a_bundle_replays_identically() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = call_in(
        folder.path(),
        &[
            "run",
            "last-room-race",
            "--seed",
            "5",
            "--output",
            "store",
            "--format",
            "json",
            "--quiet",
        ],
    );
    assert!(ran.code <= 2, "{}", ran.stderr);
    let store = folder.path().join("store/last-room-race");
    assert_eq!(
        fs::read_link(store.join("latest"))
            .expect("a link")
            .display()
            .to_string(),
        "5"
    );
    let replayed = call_in(
        folder.path(),
        &["replay", "store/last-room-race/latest", "--format", "json"],
    );
    assert_eq!(replayed.code, ran.code, "{}", replayed.stderr);
    assert!(
        replayed.stderr.contains("frames: identical"),
        "{}",
        replayed.stderr
    );
    let hash = |outcome: &Outcome| outcome.json()["runs"][0]["recording_sha256"].clone();
    assert_eq!(hash(&ran), hash(&replayed));
}

#[test]
fn a_bundle_of_another_commit_or_other_rules_is_refused_and_a_diverging_one_is_an_internal_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = call_in(
        folder.path(),
        &["run", "last-room-race", "--output", "store", "--quiet"],
    );
    assert!(ran.code <= 2, "{}", ran.stderr);
    let bundle = folder
        .path()
        .join("store/last-room-race/1/bundle.firedrill");
    let bytes = fs::read(&bundle).expect("the bundle is there");
    let end = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(1)
        .expect("two lines")
        .0;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("UTF-8");
    let json: serde_json::Value =
        serde_json::from_str(head.lines().nth(1).expect("a header")).expect("JSON");
    for (key, value, code, said) in [
        ("commit", "0000", 64, "bundle of another commit"),
        ("rules_sha256", "0000", 64, "bundle of another rules"),
        ("ledger_sha256", "0000", 64, "bundle of another SQL"),
        ("recording_sha256", "0000", 64, "the file was changed"),
        ("seed", "2", 70, "diverged at frame"),
    ] {
        let old = if key == "seed" {
            "\"seed\":1".to_owned()
        } else {
            format!("\"{key}\":{}", json[key])
        };
        let new = if key == "seed" {
            format!("\"seed\":{value}")
        } else {
            format!("\"{key}\":\"{value}\"")
        };
        let changed = [head.replacen(&old, &new, 1).as_bytes(), &bytes[end..]].concat();
        assert_ne!(changed, bytes, "{key}");
        fs::write(folder.path().join("changed"), changed).expect("written");
        let outcome = call_in(folder.path(), &["replay", "changed", "--quiet"]);
        assert_eq!(
            (outcome.code, &*outcome.stdout),
            (code, ""),
            "{key}: {}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(said), "{key}: {}", outcome.stderr);
    }
    let rules = changed("alerts/rules", "more.yml", Some("groups: []\n"));
    let rules = rules.path().display().to_string();
    let outcome = call_in(
        folder.path(),
        &["replay", "store/last-room-race/1", "--rules", &rules],
    );
    assert_eq!(outcome.code, 64, "{}", outcome.stderr);
}
