//! `firedrill export`: what it writes, what it refuses, and that promtool itself passes the unit tests and reads the recording.
//!
//! promtool is looked for in `FIREDRILL_PROMTOOL` (several, divided by `:`), else on the path. Where there is none the tests say that they
//! did not run; with `FIREDRILL_REQUIRE_LIVE=1` they fail instead.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use expect_test::{Expect, expect};

use crate::program::{binary, call, call_in, root, scenarios};

/// What each call exports where no optimised program is named: a debug build takes minutes for the others.
const SHORT: [&str; 4] = [
    "outbox-publisher-down",
    "primary-failover-crash",
    "sweeper-scheduler-outage",
    "telemetry-scrape-loss",
];

/// Every promtool that is to be asked.
fn promtools() -> Vec<PathBuf> {
    let named = env::var("FIREDRILL_PROMTOOL").unwrap_or_else(|_| "promtool".into());
    let runs = |path: &PathBuf| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let found: Vec<PathBuf> = named.split(':').map(PathBuf::from).filter(runs).collect();
    if found.is_empty() {
        let todo = "install Debian's package `prometheus`, or set FIREDRILL_PROMTOOL";
        let required = env::var("FIREDRILL_REQUIRE_LIVE").as_deref() == Ok("1");
        assert!(
            !required,
            "FIREDRILL_REQUIRE_LIVE is set, but there is no promtool: {todo}"
        );
        println!("NOT RUN with promtool: {todo}");
    }
    found
}

/// Calls promtool in a folder; whether it passed, and what it said.
fn promtool(path: &Path, folder: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new(path).args(args).current_dir(folder).output();
    let output = output.expect("promtool starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Exports unit tests into `tests` below a new folder.
fn exported(names: &[&str], more: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        &["export", "tests"],
        names,
        &["--output", "tests", "--quiet"],
        more,
    ]
    .concat();
    let outcome = call_in(folder.path(), &args);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (0, ""),
        "{}",
        outcome.stderr
    );
    folder
}

fn refused(args: &[&str], code: i32, expected: Expect) {
    let outcome = call(args);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (code, ""),
        "{}",
        outcome.stderr
    );
    expected.assert_eq(&outcome.stderr);
}

#[test]
fn promtool_passes_what_is_exported_and_fails_it_when_a_rule_waits_too_long() {
    let found = promtools();
    if found.is_empty() {
        return;
    }
    let every = scenarios();
    let names: Vec<&str> = if binary().1 {
        every.iter().map(String::as_str).collect()
    } else {
        SHORT.to_vec()
    };
    let folder = exported(&names, &[]);
    let tests = folder.path().join("tests");
    let files: Vec<String> = names.iter().map(|name| format!("{name}.yml")).collect();
    let args: Vec<&str> = ["test", "rules"]
        .into_iter()
        .chain(files.iter().map(|file| &**file))
        .collect();
    for promtool_path in &found {
        let (passed, said) = promtool(promtool_path, &tests, &args);
        assert!(passed, "{promtool_path:?}: {said}");
    }
    // The same break as breaks/outbox-rule-slow.patch.
    let rules = tests.join("rules/inventory.yml");
    let text = fs::read_to_string(&rules).expect("the rules are there");
    let (head, tail) = text
        .split_once("InventoryOutboxLagHigh")
        .expect("the rule is there");
    let slow = format!(
        "{head}InventoryOutboxLagHigh{}",
        tail.replacen("for: 5m", "for: 30m", 1)
    );
    fs::write(&rules, slow).expect("written");
    for promtool_path in &found {
        let (passed, said) = promtool(
            promtool_path,
            &tests,
            &["test", "rules", "outbox-publisher-down.yml"],
        );
        assert!(
            !passed && said.contains("InventoryOutboxLagHigh"),
            "{promtool_path:?}: {said}"
        );
    }
    println!("{} files passed by {} promtools", files.len(), found.len());
}

#[test]
fn promtool_makes_blocks_of_an_exported_recording_and_every_sample_is_in_them() {
    let found = promtools();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "export",
        "openmetrics",
        "sweeper-scheduler-outage",
        "--output",
        "run.om",
    ];
    let outcome = call_in(folder.path(), &args);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (0, ""),
        "{}",
        outcome.stderr
    );
    let text = fs::read_to_string(folder.path().join("run.om")).expect("the file is there");
    let mut wanted: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    wanted.sort_unstable();
    assert!(wanted.len() > 10_000, "{} samples", wanted.len());
    assert!(
        outcome
            .stderr
            .contains(&format!("{} samples", wanted.len())),
        "{}",
        outcome.stderr
    );
    for (at, path) in found.iter().enumerate() {
        let blocks = format!("blocks-{at}");
        let (made, said) = promtool(
            path,
            folder.path(),
            &[
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                "run.om",
                &blocks,
            ],
        );
        assert!(made, "{path:?}: {said}");
        // Without a log beside the blocks there is no database to dump.
        fs::create_dir(folder.path().join(&blocks).join("wal")).expect("created");
        let (dumped, said) = promtool(path, folder.path(), &["tsdb", "dump", &blocks]);
        assert!(dumped, "{path:?}: {said}");
        assert_eq!(said.lines().count(), wanted.len(), "{path:?}");
    }
}

#[test]
fn a_bundle_exports_as_its_scenario_does_and_standard_output_is_the_same_as_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = call_in(
        folder.path(),
        &[
            "run",
            "last-room-race",
            "--seed",
            "3",
            "--output",
            "store",
            "--quiet",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let of = |what: &str, more: &[&str]| {
        let args = [&["export", "openmetrics", what, "--quiet"], more].concat();
        let outcome = call_in(folder.path(), &args);
        assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
        outcome.stdout
    };
    let simulated = of("last-room-race", &["--seed", "3"]);
    assert!(simulated.ends_with("# EOF\n") && simulated.lines().count() > 1_000);
    assert_eq!(of("store/last-room-race/3", &[]), simulated);
    assert_eq!(
        of(
            "store/last-room-race/3/bundle.firedrill",
            &["--output", "new/run.om"]
        ),
        ""
    );
    let written = fs::read_to_string(folder.path().join("new/run.om")).expect("written");
    assert_eq!(written, simulated);
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_written() {
    refused(
        &[
            "export",
            "tests",
            "outbox-publisher-dwon",
            "--output",
            "tests",
        ],
        64,
        expect![[r#"
            firedrill: there is no scenario `outbox-publisher-dwon`; did you mean outbox-publisher-down?
        "#]],
    );
    refused(
        &[
            "export",
            "openmetrics",
            "nowhere/at-all",
            "--output",
            "x.om",
        ],
        64,
        expect![[r#"
            firedrill: there is no scenario `nowhere/at-all`; there are: allocation-latency-audit-insert, cache-down, healthy-day, last-room-race, lock-contention, outbox-publisher-down, overbooking-constraint-relaxed, primary-failover-crash, sweeper-scheduler-outage, sweeper-vs-confirm, telemetry-scrape-loss
            nor is there a bundle nowhere/at-all
        "#]],
    );
    refused(
        &["export", "tests", "cache-down"],
        64,
        expect![[r#"
        error: the following required arguments were not provided:
          --output <DIR>

        Usage: firedrill export tests --output <DIR> <SCENARIO>...

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn what_stands_in_the_place_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("tests")).expect("created");
    fs::write(folder.path().join("tests/mine.yml"), "mine").expect("written");
    for args in [
        ["export", "tests", "last-room-race", "--output", "tests"],
        [
            "export",
            "openmetrics",
            "last-room-race",
            "--output",
            "tests/mine.yml",
        ],
    ] {
        let outcome = call_in(folder.path(), &args);
        assert_eq!(
            (outcome.code, &*outcome.stdout),
            (64, ""),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome
                .stderr
                .contains("is there already and is not replaced"),
            "{}",
            outcome.stderr
        );
        let kept = fs::read_to_string(folder.path().join("tests/mine.yml")).expect("still there");
        assert_eq!(kept, "mine");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }
}

#[test]
fn a_run_that_does_not_pass_has_no_expectation_to_export() {
    let rules = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(root().join("alerts/rules")).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            continue; // tests of rules are not read
        }
        let text = fs::read_to_string(&path).expect("readable");
        let place = rules.path().join(path.file_name().expect("a name"));
        fs::write(place, text.replace("for: 5m\n", "for: 30m\n")).expect("written");
    }
    let rules = rules.path().display().to_string();
    refused(
        &[
            "export",
            "tests",
            "outbox-publisher-down",
            "--rules",
            &rules,
            "--output",
            "tests",
            "--quiet",
        ],
        1,
        expect![[r#"
            outbox-publisher-down seed 1: RESV-INV-004: did not fire: its symptom was true from 5m31s982ms to 13m866ms, and the budget of 5m45s ended at 11m16s982ms
            nothing was written: only a run that passes has an expectation that holds
        "#]],
    );
}
