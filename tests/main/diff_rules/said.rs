//! What `firedrill diff rules` prints, in each form, and what it refuses.

use std::{fs, path::Path};

use expect_test::{Expect, expect};
use regex::Regex;

use super::{INVENTORY, OUTAGE, OUTBOX, Rules, SCRAPES, wait};
use crate::program::{call, call_in};

#[test]
fn silence_does_not_read_as_equality() {
    let never = "  - name: more\n    rules:\n      - {alert: Never, expr: 'vector(1) > 2', labels: {alert_id: X-1}}\n";
    let rules = Rules::new(
        &[],
        &[
            ("platform.yml", "", "", never),
            (
                INVENTORY,
                "alert: InventoryAllocationLatencyHigh",
                "for: 10m",
                "for: 11m",
            ),
            (INVENTORY, OUTBOX, "runbook_url: ", "runbook_url: new/"),
        ],
    );
    let outcome = rules.diff(&[OUTAGE]);
    // The rules of the repository may move within their files.
    let line = Regex::new(r"\.yml:\d+").expect("a pattern");
    let lineless = line.replace_all(&outcome.stdout, ".yml:LINE");
    expect![[r#"
        not exercised here: only one side has it, and it never fired in the runs compared:
          only in NEW X-1 Never (new/platform.yml:LINE)

        written differently, and no incident differs:
          RESV-INV-002 InventoryAllocationLatencyHigh (new/inventory.yml:LINE): for; never fired
          RESV-INV-004 InventoryOutboxLagHigh (new/inventory.yml:LINE): annotations; fires alike

        pass: 1 run compared; no difference in any incident
    "#]]
    .assert_eq(&lineless);
    assert_eq!(outcome.code, 0);
    // The other way round, the alert is gone.
    let back = call_in(
        rules.0.path(),
        &["diff", "rules", "new", "old", OUTAGE, "--quiet"],
    );
    assert!(
        back.stdout.contains("only in OLD X-1 Never"),
        "{}",
        back.stdout
    );
}

/// Refused by the side of what is wrong.
fn refused(folder: &Path, args: &[&str], expected: Expect) {
    let outcome = call_in(folder, &[&["diff", "rules"], args].concat());
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (64, ""),
        "{args:?}: {}",
        outcome.stderr
    );
    expected.assert_eq(&outcome.stderr);
}

#[test]
fn bad_input_is_refused_whole_with_its_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    };
    fs::create_dir(folder.path().join("empty")).expect("created");
    write("none/a.yml", "groups: []\n");
    write("tests/tests/a.yml", "tests: []\n");
    write(
        "good/a.yml",
        "groups: [{name: g, rules: [{alert: A, expr: x}]}]\n",
    );
    write(
        "bad/a.yml",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n",
    );
    write("bad/b.yml", "groups: 7\n");
    write("s/a.toml", "name = 7\n");
    let refused = |args, expected| refused(folder.path(), args, expected);
    refused(
        &["missing", "good"],
        expect![[r#"
        firedrill: OLD (missing) is refused:
        missing: No such file or directory (os error 2)
    "#]],
    );
    refused(
        &["good", "empty"],
        expect![[r#"
        firedrill: NEW (empty) is refused:
        empty: no *.yml or *.yaml in this folder
    "#]],
    );
    refused(
        &["none", "tests"],
        expect![[r#"
        firedrill: OLD (none) is refused:
        none: holds no rule
        NEW (tests) is refused:
        tests: holds no rule
    "#]],
    );
    refused(
        &[
            "bad",
            "bad/b.yml",
            "--scenarios",
            "s",
            "--ledger",
            "missing",
        ],
        expect![[r#"
            firedrill: OLD (bad) is refused:
            bad/a.yml:5:21: expression: unclosed left parenthesis
              |     expr: rate(x[5m]
              |                     ^
            bad/b.yml:1:9: `groups` must be a list, found text
              | groups: 7
              |         ^
            NEW (bad/b.yml) is refused:
            bad/b.yml:1:9: `groups` must be a list, found text
              | groups: 7
              |         ^
            missing/bootstrap.sql: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("good")).expect("created");
    let rules = "groups: [{name: g, rules: [{alert: A, expr: x}]}]\n";
    fs::write(folder.path().join("good/a.yml"), rules).expect("written");
    refused(
        folder.path(),
        &["good", "good", "cache-dwon"],
        expect![[r#"
        firedrill: there is no scenario `cache-dwon`; did you mean cache-down?
    "#]],
    );
    refused(
        folder.path(),
        &["good"],
        expect![[r#"
        error: the following required arguments were not provided:
          <NEW>

        Usage: firedrill diff rules <OLD> <NEW> [SCENARIO]...

        For more information, try '--help'.
    "#]],
    );
    refused(
        folder.path(),
        &["good", "good", "--seed", "1", "--seeds", "2"],
        expect![[r#"
            error: the argument '--seed <N>' cannot be used with '--seeds <N>'

            Usage: firedrill diff rules --seed <N> <OLD> <NEW> [SCENARIO]...

            For more information, try '--help'.
        "#]],
    );
    refused(
        folder.path(),
        &["good", "good", "--format", "xml"],
        expect![[r#"
        error: invalid value 'xml' for '--format <FORMAT>'
          [possible values: text, json, markdown]

        For more information, try '--help'.
    "#]],
    );
    refused(
        folder.path(),
        &["good", "good", "--rules", "good"],
        expect![[r#"
        error: unexpected argument '--rules' found

          tip: to pass '--rules' as a value, use '-- --rules'

        Usage: firedrill diff rules <OLD> <NEW> [SCENARIO]...

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn the_text_is_a_table_with_the_reason_and_one_line() {
    let rules = Rules::new(&[], &[wait("for: 7m")]);
    let outcome = rules.diff(&[OUTAGE, SCRAPES, "cache-down"]);
    assert_eq!(outcome.code, 1);
    expect![[r#"
        verdict       alert         scenario               seed  change  OLD  NEW   by    after/budget
        breaks: late  RESV-INV-004  outbox-publisher-down  1     later   645  765   +120  313→433/345
        breaks: late  RESV-INV-004  telemetry-scrape-loss  1     later   900  1020  +120  298→418/345

        OLD, NEW: second of the run at which it first fires; by: seconds that NEW is later; after/budget: seconds from symptom to firing under OLD→NEW, and the most that the scenario allows, or may or never where it need not or must not fire

        breaks: late RESV-INV-004 InventoryOutboxLagHigh outbox-publisher-down seed 1
          ✗ fired at 12m45s, 1m28s18ms too late: its symptom was true from 5m31s982ms to 13m866ms, and the budget is 5m45s
          see: firedrill run outbox-publisher-down --seed 1 --rules new

        breaks: late RESV-INV-004 InventoryOutboxLagHigh telemetry-scrape-loss seed 1
          ✗ fired at 17m, 1m13s100ms too late: its symptom was true from 6m29s710ms to 18m1s42ms; monitoring was blind until 10m1s900ms, and the budget is 5m45s
          see: firedrill run telemetry-scrape-loss --seed 1 --rules new

        fail: 3 runs compared; 2 differences: 2 breaking an expectation
    "#]].assert_eq(&outcome.stdout);
    let colored = rules.diff(&[OUTAGE, "--color", "always"]);
    assert!(
        colored.stdout.contains("\x1b[1;31mbreaks: late"),
        "{}",
        colored.stdout
    );
}

#[test]
fn markdown_is_for_a_pull_request() {
    let rules = Rules::new(&[], &[wait("for: 7m")]);
    let outcome = rules.diff(&[OUTAGE, "--format", "markdown"]);
    assert_eq!(outcome.code, 1);
    expect![[r#"
        ❌ **firedrill diff rules: fail**: 1 run compared; 1 difference: 1 breaking an expectation

        | verdict | alert | scenario | seed | change | OLD | NEW | by | after/budget |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | **breaks: late** | RESV-INV-004 | outbox-publisher-down | 1 | later | 645 | 765 | +120 | 313→433/345 |

        <details><summary>why (1)</summary>

        - RESV-INV-004 InventoryOutboxLagHigh outbox-publisher-down seed 1: fired at 12m45s, 1m28s18ms too late: its symptom was true from 5m31s982ms to 13m866ms, and the budget is 5m45s; `firedrill run outbox-publisher-down --seed 1 --rules new`

        </details>

        <details><summary>columns</summary>

        - OLD, NEW: second of the run at which it first fires; by: seconds that NEW is later; after/budget: seconds from symptom to firing under OLD→NEW, and the most that the scenario allows, or may or never where it need not or must not fire

        </details>
    "#]].assert_eq(&outcome.stdout);
}

#[test]
fn progress_is_one_line_per_run_on_standard_error() {
    let rules = Rules::new(&[], &[wait("for: 7m")]);
    let outcome = call_in(
        rules.0.path(),
        &["diff", "rules", "old", "new", OUTAGE, "last-room-race"],
    );
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("1 difference  outbox-publisher-down seed 1  ")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("same  last-room-race seed 1  ")),
        "{lines:?}"
    );
    assert!(call(&["diff", "rules", "--help"]).stdout.contains("OLD"));
}
