//! Breaks: changes that firedrill exists to catch, each kept as a patch to the SQL, the rules or the Rust of the ledger.
//!
//! Each is applied to a copy, never to the repository; the run must then fail and say why. What is broken in Rust needs a
//! build of its copy: `.ci/nightly` does that, from the scenario and the finding that the patch itself names.

use std::{fs, path::Path};

use crate::program::{call, root};

/// A break that needs no build: patch, scenario that must fail, subject and part of the message of a finding that says why.
struct Break {
    patch: &'static str,
    scenario: &'static str,
    subject: &'static str,
    why: &'static str,
}

const fn row(
    patch: &'static str,
    scenario: &'static str,
    subject: &'static str,
    why: &'static str,
) -> Break {
    Break {
        patch,
        scenario,
        subject,
        why,
    }
}

const BREAKS: [Break; 6] = [
    row(
        "drop-check-and-guard.patch",
        "last-room-race",
        "invariant 1",
        "rooms are taken on",
    ),
    row(
        "confirm-without-state-guard.patch",
        "sweeper-vs-confirm",
        "invariant 8",
        "a hold was confirmed",
    ),
    row(
        "sweep-without-state-guard.patch",
        "sweeper-vs-confirm",
        "invariant 3",
        "an acknowledged confirmation is undone: the allocation is expired",
    ),
    row(
        "forget-row-policy.patch",
        "cache-down",
        "invariant 5",
        "was answered an allocation of tenant",
    ),
    row(
        "drop-idempotency-key.patch",
        "primary-failover-crash",
        "invariant 3",
        "one key stands for two allocations",
    ),
    row(
        "outbox-rule-slow.patch",
        "outbox-publisher-down",
        "RESV-INV-004",
        "did not fire",
    ),
];

/// Breaks in Rust, which the nightly script builds.
const NIGHTLY: [&str; 1] = ["publish-before-commit.patch"];

/// Each rule, and the scenario that must miss it when it is deleted.
const RULES: [(&str, &str); 8] = [
    ("RESV-INV-001", "overbooking-constraint-relaxed"),
    ("RESV-INV-002", "allocation-latency-audit-insert"),
    ("RESV-INV-003", "cache-down"),
    ("RESV-INV-004", "outbox-publisher-down"),
    ("RESV-INV-005", "sweeper-scheduler-outage"),
    ("RESV-INV-006", "lock-contention"),
    ("RESV-PLT-002", "primary-failover-crash"),
    ("RESV-PLT-004", "telemetry-scrape-loss"),
];

/// Names of the patches that something judges.
pub fn patches() -> Vec<String> {
    BREAKS
        .iter()
        .map(|row| row.patch)
        .chain(NIGHTLY)
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_kept_break_makes_the_run_fail_and_say_why() {
    for row in &BREAKS {
        assert!(!row.why.is_empty(), "{}: any finding would do", row.patch);
        let copy = copy();
        let patch =
            fs::read_to_string(root().join("breaks").join(row.patch)).expect("the patch is there");
        apply_all(copy.path(), &patch);
        must_fail(copy.path(), row.scenario, row.subject, row.why);
    }
    println!("{} breaks were seen", BREAKS.len());
}

#[test]
fn each_deleted_rule_is_missed() {
    for (id, scenario) in RULES {
        let copy = copy();
        let mut deleted = 0;
        for entry in fs::read_dir(copy.path().join("alerts/rules")).expect("readable") {
            let path = entry.expect("readable").path();
            let text = fs::read_to_string(&path).expect("readable");
            let (rest, count) = without_rule(&text, id);
            deleted += count;
            match rest {
                Some(rest) => fs::write(&path, rest).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
        }
        assert!(deleted > 0, "no rule has the alert_id {id}");
        must_fail(copy.path(), scenario, id, "did not fire");
    }
    println!("{} deleted rules were missed", RULES.len());
}

#[test]
fn a_break_in_rust_names_its_scenario_and_its_finding() {
    for patch in NIGHTLY {
        let text =
            fs::read_to_string(root().join("breaks").join(patch)).expect("the patch is there");
        let scenario = text
            .lines()
            .find_map(|line| line.strip_prefix("# scenario: "))
            .expect("names its scenario");
        assert!(
            crate::program::scenarios()
                .iter()
                .any(|name| name == scenario),
            "{patch}: {scenario}"
        );
        assert!(
            text.lines().any(|line| line.starts_with("# finding: ")),
            "{patch} names its finding"
        );
        for (path, hunks) in files_of(&text) {
            let original =
                fs::read_to_string(root().join(path)).expect("the patched file is there");
            assert_ne!(apply(&original, hunks).expect(patch), original);
        }
    }
}

/// Runs a scenario on a copy; it must fail with a finding of this subject.
fn must_fail(copy: &Path, scenario: &str, subject: &str, why: &str) {
    let [ledger, rules] =
        ["ledger", "alerts/rules"].map(|folder| copy.join(folder).display().to_string());
    let outcome = call(&[
        "run", scenario, "--ledger", &ledger, "--rules", &rules, "--format", "json", "--quiet",
    ]);
    assert_eq!(
        outcome.code, 1,
        "{scenario} did not notice {subject}\n{}{}",
        outcome.stdout, outcome.stderr
    );
    let report = outcome.json();
    let findings = report["runs"][0]["findings"]
        .as_array()
        .expect("a list")
        .clone();
    let says = |finding: &&serde_json::Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        finding["verdict"] == "fail" && text("subject") == subject && text("message").contains(why)
    };
    let Some(found) = findings.iter().find(says) else {
        panic!("{scenario} failed without a finding of {subject} that says `{why}`: {findings:#?}");
    };
    println!("{scenario}: {subject}: {}", found["message"]);
}

/// A copy of the ledger's SQL and of the rules, laid out as in the repository.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for folder in ["ledger/migrations", "ledger/sql", "alerts/rules"] {
        fs::create_dir_all(copy.path().join(folder)).expect("created");
        for entry in fs::read_dir(root().join(folder)).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                continue; // tests of rules are not read
            }
            let name = path.file_name().expect("a name");
            fs::copy(&path, copy.path().join(folder).join(name)).expect("copied");
        }
    }
    fs::copy(
        root().join("ledger/bootstrap.sql"),
        copy.path().join("ledger/bootstrap.sql"),
    )
    .expect("copied");
    copy
}

/// A rule file without the rules of one alert, and how many those were; `None` if no rule is left.
fn without_rule(text: &str, id: &str) -> (Option<String>, usize) {
    // The text before each `- alert:` or `- record:` belongs to what stands before it.
    let mut blocks: Vec<String> = vec![String::new()];
    for line in text.lines() {
        let entry = line.trim_start();
        let new_rule = entry.starts_with("- alert:")
            || entry.starts_with("- record:")
            || entry.starts_with("- name:");
        if new_rule {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("one block at least");
        block.push_str(line);
        block.push('\n');
    }
    let is_rule = |block: &String| !block.trim_start().starts_with("- name:");
    let before = blocks.len();
    blocks.retain(|block| {
        !block.lines().any(|line| {
            line.trim()
                .strip_prefix("alert_id:")
                .is_some_and(|found| found.trim() == id)
        })
    });
    let deleted = before - blocks.len();
    let left = blocks.iter().skip(1).any(is_rule);
    (left.then(|| blocks.concat()), deleted)
}

fn apply_all(copy: &Path, patch: &str) {
    let files = files_of(patch);
    assert!(!files.is_empty(), "no file in the patch");
    for (path, hunks) in files {
        let place = copy.join(path);
        let original = fs::read_to_string(&place).unwrap_or_else(|error| panic!("{path}: {error}"));
        fs::write(
            &place,
            apply(&original, hunks).unwrap_or_else(|reason| panic!("{path}: {reason}")),
        )
        .expect("written");
    }
}

/// The files of a unified diff (`+++ b/path`), each with its hunks.
fn files_of(patch: &str) -> Vec<(&str, &str)> {
    let mut files = Vec::new();
    for part in patch.split("\n+++ b/").skip(1) {
        let (path, rest) = part.split_once('\n').expect("a line that ends");
        let end = rest
            .find("\n--- ")
            .or_else(|| rest.find("\ndiff "))
            .map_or(rest.len(), |end| end + 1);
        files.push((path.trim_end(), &rest[..end]));
    }
    files
}

/// Applies hunks where the lines that they expect stand exactly once.
fn apply(original: &str, hunks: &str) -> Result<String, String> {
    let mut text = original.to_owned();
    for hunk in hunks.split("@@ -").skip(1) {
        let (mut old, mut new) = (String::new(), String::new());
        for line in hunk.lines().skip(1) {
            let (sides, rest): (&mut [&mut String], &str) = match line.split_at_checked(1) {
                Some(("-", rest)) => (&mut [&mut old], rest),
                Some(("+", rest)) => (&mut [&mut new], rest),
                Some((" ", rest)) => (&mut [&mut old, &mut new], rest),
                None => (&mut [&mut old, &mut new], ""),
                Some(("\\", _)) => continue,
                Some(_) => break,
            };
            for side in sides {
                side.push_str(rest);
                side.push('\n');
            }
        }
        if text.matches(&old).count() != 1 {
            return Err(format!(
                "these lines do not stand there exactly once:\n{old}"
            ));
        }
        text = text.replacen(&old, &new, 1);
    }
    Ok(text)
}

#[test]
fn a_patch_applies_only_where_its_lines_stand() {
    let patch = "# why\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n--- a/y\n+++ b/y\n@@ -1 +1,2 @@\n a\n+b\n";
    let files = files_of(patch);
    assert_eq!(
        files.iter().map(|(path, _)| *path).collect::<Vec<_>>(),
        ["x", "y"]
    );
    assert_eq!(
        apply("zero\none\ntwo\nthree\n", files[0].1).as_deref(),
        Ok("zero\none\n2\nthree\n")
    );
    assert_eq!(apply("a\n", files[1].1).as_deref(), Ok("a\nb\n"));
    for original in ["one\n2\nthree\n", "one\ntwo\nthree\none\ntwo\nthree\n"] {
        assert!(apply(original, files[0].1).is_err(), "{original}");
    }
}

#[test]
fn a_rule_is_cut_out_whole() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    labels:\n      alert_id: X-1\n  - alert: B\n    labels:\n      alert_id: X-2\n";
    let (rest, deleted) = without_rule(text, "X-1");
    assert_eq!(deleted, 1);
    assert_eq!(
        rest.as_deref(),
        Some("groups:\n- name: g\n  rules:\n  - alert: B\n    labels:\n      alert_id: X-2\n")
    );
    assert_eq!(without_rule(text, "X-3").1, 0);
    assert_eq!(
        without_rule(&without_rule(text, "X-1").0.expect("B is left"), "X-2"),
        (None, 1)
    );
}
