//! What `firedrill test rules` prints: a command, its exact output, its exit code.

use std::{fs, path::Path};

use expect_test::{Expect, expect};

use crate::program::{Outcome, call, call_in, root};
use crate::schema::violations;

const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: Down
    expr: up == 0
    for: 1m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.instance }} is down'}
  - alert: Idle
    expr: rate(requests_total[2m]) == 0
  - record: jobs
    expr: count by (job) (up)
";

const TESTS: &str = "\
rule_files: [rules.yml]
tests:
- name: good
  input_series:
  - {series: 'up{instance=\"a\"}', values: 1 0x5}
  alert_rule_test:
  - eval_time: 3m
    alertname: Down
    exp_alerts:
    - exp_labels: {instance: a, severity: page}
      exp_annotations: {summary: a is down}
- name: bad
  input_series:
  - {series: 'up{instance=\"a\"}', values: 0x5}
  - {series: requests_total, values: 3x5}
  alert_rule_test:
  - eval_time: 3m
    alertname: Down
    exp_alerts:
    - exp_labels: {instance: b}
      exp_annotations: {summary: a is down}
  promql_expr_test:
  - expr: jobs
    eval_time: 1m
    exp_samples: [{labels: jobs, value: 2}]
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// One call: code, standard output, standard error.
fn said(folder: &Path, args: &[&str], expected: Expect) {
    let args = [&["test", "rules"], args].concat();
    let Outcome {
        code,
        stdout,
        stderr,
    } = call_in(folder, &args);
    let text = format!("exit code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}");
    // promtool ends some lines with a space.
    expected.assert_eq(&text.replace(" \n", "\n"));
}

fn both() -> tempfile::TempDir {
    folder(&[("rules.yml", RULES), ("test.yml", TESTS)])
}

/// Tests are run as they are read; what stands below them is not known by then.
#[test]
fn how_a_file_can_be_read_changes_nothing_of_what_is_said() {
    let settings = "evaluation_interval: 30s\nrule_files: [rules.yml]\n";
    let tests = TESTS.split_once('\n').map_or("", |(_, tests)| tests);
    let call = |text: &str| {
        let folder = folder(&[("rules.yml", RULES), ("test.yml", text)]);
        let args = [
            "test",
            "rules",
            "--coverage",
            "--debug",
            "test.yml",
            "test.yml",
        ];
        let outcome = call_in(folder.path(), &args);
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    let above = call(&format!("{settings}{tests}"));
    assert_eq!(above.0, 1, "{}", above.2);
    assert_eq!(above.1.matches("Unit Testing:  test.yml").count(), 2);
    for text in [
        format!("{tests}{settings}"),
        format!("{settings}{}", tests.replace("tests:", "tests: &all")),
        format!("{settings}{}", tests.trim_end()),
    ] {
        assert_eq!(call(&text), above, "{text}");
    }
}

#[test]
fn the_shipped_rules_pass_their_tests_and_every_branch_is_seen() {
    let files = glob::glob(
        &root()
            .join("alerts/rules/tests/*.yml")
            .display()
            .to_string(),
    );
    let files: Vec<String> = files
        .expect("a pattern")
        .map(|file| file.expect("readable"))
        .map(|file| {
            file.strip_prefix(root())
                .expect("below")
                .display()
                .to_string()
        })
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let args = ["--min-coverage", "100"];
    said(
        root(),
        &[&files[..], &args[..]].concat(),
        expect![[r#"
            exit code 0
            --- stdout
            Unit Testing:  alerts/rules/tests/inventory-counted.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/inventory-day.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/inventory-read.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/inventory.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/orders-day.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/orders.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/platform-counted.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/platform-day.yml
              SUCCESS

            Unit Testing:  alerts/rules/tests/platform.yml
              SUCCESS

            rule                            name                                                        active  silent
            alerts/rules/inventory.yml:15   InventoryOverbookingObserved                                     3       2
            alerts/rules/inventory.yml:32   InventoryAllocationLatencyHigh                                   3       3
            alerts/rules/inventory.yml:48   InventorySearchSlow                                              3       6
            alerts/rules/inventory.yml:67   InventorySearchSlow                                              1       8
            alerts/rules/inventory.yml:84   InventoryOutboxLagHigh                                           3       4
            alerts/rules/inventory.yml:101  InventoryHoldExpirySweeperStalled                                3       9
            alerts/rules/inventory.yml:120  InventoryHoldExpirySweeperStalled                                2      10
            alerts/rules/inventory.yml:137  outcome:inventory_allocation_lock_acquisitions:increase30m       4       ·
            alerts/rules/inventory.yml:159  InventoryLockTimeoutsHigh                                        3       2
            alerts/rules/inventory.yml:176  InventoryDeadLettersPresent                                      4       6
            alerts/rules/inventory.yml:201  InventoryCalendarHorizonShort                                    1       6
            alerts/rules/inventory.yml:220  InventoryPartitionRotationFailed                                 4       8
            alerts/rules/inventory.yml:248  InventoryOverbookingPolicyNearLimit                              1       6
            alerts/rules/inventory.yml:268  InventoryReconciliationDrift                                     3       4
            alerts/rules/inventory.yml:290  property:inventory_manual_releases:increase15m                   7       ·
            alerts/rules/inventory.yml:313  InventoryManualReleaseSpike                                      8      12
            alerts/rules/inventory.yml:331  tenant:inventory_offline_arbitration_lost:increase1d             6       ·
            alerts/rules/inventory.yml:352  tenant:inventory_offline_arbitration_pushed:increase1d           6       ·
            alerts/rules/inventory.yml:374  InventoryOfflineArbitrationLossHigh                              7       7
            alerts/rules/inventory.yml:391  InventoryInboxBacklogHigh                                        2       4
            alerts/rules/orders.yml:10      HighErrorRate                                                    3      10
            alerts/rules/orders.yml:27      OrderLatencyHigh                                                 4       7
            alerts/rules/orders.yml:51      ConnectionPoolNearLimit                                          1       5
            alerts/rules/orders.yml:67      HighCPUUsage                                                     3       6
            alerts/rules/orders.yml:84      error_type:payments_failed:share5m                               9       ·
            alerts/rules/orders.yml:93      PaymentErrorsByType                                              7      14
            alerts/rules/platform.yml:12    job:inventory_tenant_mismatch:increase5m                         9       ·
            alerts/rules/platform.yml:35    TenantMismatchProbe                                             10      15
            alerts/rules/platform.yml:58    DatabaseFailover                                                 5       5
            alerts/rules/platform.yml:81    ClockDriftHigh                                                   2       5
            alerts/rules/platform.yml:97    TargetDown                                                       3       3
            alerts/rules/platform.yml:119   tenant:inventory_group_hold_partial_fail:increase5m              6       ·
            alerts/rules/platform.yml:142   GroupHoldThrashing                                               9      11
            alerts/rules/platform.yml:167   DatabaseIntegrityErrors                                          7      11
            alerts/rules/platform.yml:191   CrossTenantLeak                                                  6       7
            coverage: 63 of 63 branches, 100.0 %
            --- stderr
        "#]],
    );
}

#[test]
fn failures_are_promtools_text_on_standard_error() {
    said(
        both().path(),
        &["test.yml"],
        expect![[r#"
        exit code 1
        --- stdout
        Unit Testing:  test.yml

        --- stderr
          FAILED:
            name: bad,
            alertname: Down, time: 3m,
                exp:[
                    0:
                      Labels:{alertname="Down", instance="b"}
                      Annotations:{summary="a is down"}
                    ],
                got:[
                    0:
                      Labels:{alertname="Down", instance="a", severity="page"}
                      Annotations:{summary="a is down"}
                    ]
            expr: "jobs", time: 1m,
                exp: {__name__="jobs"} 2E+00
                got: {__name__="jobs"} 1E+00
    "#]],
    );
}

#[test]
fn a_difference_is_shown_line_by_line() {
    said(
        both().path(),
        &["test.yml", "--diff"],
        expect![[r#"
        exit code 1
        --- stdout
        Unit Testing:  test.yml

        --- stderr
          FAILED:
            name: bad,
            alertname: Down, time: 3m,
                diff: - expected, + got
                      [
                      0:
                    -   Labels:{alertname="Down", instance="b"}
                    +   Labels:{alertname="Down", instance="a", severity="page"}
                        Annotations:{summary="a is down"}
                      ]
            expr: "jobs", time: 1m,
                diff: - expected, + got
                    - {__name__="jobs"} 2E+00
                    + {__name__="jobs"} 1E+00
    "#]],
    );
    let outcome = call_in(
        both().path(),
        &["test", "rules", "test.yml", "--diff", "--color", "always"],
    );
    assert!(outcome.stderr.contains("\u{1b}[31m-"), "{}", outcome.stderr);
}

#[test]
fn only_tests_that_are_named_run() {
    let folder = both();
    said(
        folder.path(),
        &["test.yml", "--run", "^goo", "--debug"],
        expect![[r#"
            exit code 0
            --- stdout
            Unit Testing:  test.yml
              SUCCESS

            --- stderr
            DEBUG: all series (input and rules) of test good:
            ALERTS{alertname="Down", alertstate="firing", instance="a", severity="page"} =>
            1 @[120000]
            1 @[180000]
            ALERTS{alertname="Down", alertstate="pending", instance="a", severity="page"} =>
            1 @[60000]
            ALERTS_FOR_STATE{alertname="Down", instance="a", severity="page"} =>
            60 @[60000]
            60 @[120000]
            60 @[180000]
            jobs =>
            1 @[0]
            1 @[60000]
            1 @[120000]
            1 @[180000]
            up{instance="a"} =>
            1 @[0]
            0 @[60000]
            0 @[120000]
            0 @[180000]
        "#]],
    );
    said(
        folder.path(),
        &["test.yml", "--run", "nothing"],
        expect![[r#"
            exit code 2
            --- stdout
            Unit Testing:  test.yml
              SKIPPED: no test has a name that --run wants

            --- stderr
            firedrill: no check was made
        "#]],
    );
    said(
        folder.path(),
        &["test.yml", "--run", "("],
        expect![[r#"
        exit code 64
        --- stdout
        --- stderr
        firedrill: --run: regex parse error:
            (
            ^
        error: unclosed group
    "#]],
    );
}

#[test]
fn what_is_not_listed_does_not_matter_with_partial_labels() {
    let partial = TESTS
        .replace("{instance: b}", "{severity: page}")
        .replace("value: 2", "value: 1");
    let partial = partial.replace("{instance: a, severity: page}", "{instance: a}");
    let folder = folder(&[("rules.yml", RULES), ("test.yml", &partial)]);
    said(
        folder.path(),
        &["test.yml", "--partial-labels"],
        expect![[r#"
            exit code 0
            --- stdout
            Unit Testing:  test.yml
              SUCCESS

            --- stderr
        "#]],
    );
    said(
        folder.path(),
        &["test.yml", "--partial-labels", "--nothing-else-fires"],
        expect![[r#"
            exit code 1
            --- stdout
            Unit Testing:  test.yml

            --- stderr
              FAILED:
                name: bad,
                alertname: Idle, time: 1m,
                    exp: nothing else fires,
                    got:[
                        0:
                          Labels:{alertname="Idle"}
                          Annotations:{}
                        ]
        "#]],
    );
}

#[test]
fn groups_keep_their_intervals_if_asked_to() {
    let rules = "groups: [{name: g, interval: 10s, rules: [{alert: A, expr: x > 0, for: 30s}]}]\n";
    let tests = "rule_files: [rules.yml]\ntests:\n- interval: 10s\n  input_series: [{series: x, values: 0 1x20}]\n  alert_rule_test:\n  - {eval_time: 45s, alertname: A, exp_alerts: [{}]}\n";
    let folder = folder(&[("rules.yml", rules), ("test.yml", tests)]);
    said(
        folder.path(),
        &["test.yml", "--group-intervals"],
        expect![[r#"
            exit code 0
            --- stdout
            Unit Testing:  test.yml
              SUCCESS

            --- stderr
        "#]],
    );
    said(
        folder.path(),
        &["test.yml"],
        expect![[r#"
        exit code 1
        --- stdout
        Unit Testing:  test.yml

        --- stderr
          FAILED:
            alertname: A, time: 45s,
                exp:[
                    0:
                      Labels:{alertname="A"}
                      Annotations:{}
                    ],
                got:[]
    "#]],
    );
}

#[test]
fn coverage_below_the_threshold_fails() {
    let folder = both();
    said(
        folder.path(),
        &["test.yml", "--run", "good", "--min-coverage", "50%"],
        expect![[r#"
            exit code 1
            --- stdout
            Unit Testing:  test.yml
              SUCCESS

            rule          name  active  silent
            rules.yml:4   Down       1   never
            rules.yml:9   Idle   never   never
            rules.yml:11  jobs       1       ·
            coverage: 2 of 5 branches, 40.0 %
            --- stderr
            firedrill: coverage 40.0 % is below 50 %
        "#]],
    );
    said(
        folder.path(),
        &["test.yml", "--run", "good", "--coverage"],
        expect![[r#"
            exit code 0
            --- stdout
            Unit Testing:  test.yml
              SUCCESS

            rule          name  active  silent
            rules.yml:4   Down       1   never
            rules.yml:9   Idle   never   never
            rules.yml:11  jobs       1       ·
            coverage: 2 of 5 branches, 40.0 %
            --- stderr
        "#]],
    );
    said(
        folder.path(),
        &["test.yml", "--min-coverage", "101"],
        expect![[r#"
            exit code 64
            --- stdout
            --- stderr
            error: invalid value '101' for '--min-coverage <PERCENT>': a number from 0 to 100

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn a_file_without_a_check_is_unknown() {
    let folder = folder(&[
        ("empty.yml", "# nothing\n"),
        ("idle.yml", "tests: [{name: a}]\n"),
    ]);
    said(
        folder.path(),
        &["empty.yml", "idle.yml"],
        expect![[r#"
        exit code 2
        --- stdout
        Unit Testing:  empty.yml

        Unit Testing:  idle.yml

        --- stderr
          UNKNOWN: no check was made
          UNKNOWN: no check was made
        firedrill: no check was made
    "#]],
    );
}

#[test]
fn what_is_wrong_is_refused_whole() {
    let bad = TESTS.replace("values: 3x5", "values: 3y5");
    let warned =
        "rule_files: ['*.none']\ntests: [{alert_rule_test: [{eval_time: 1m, alertname: A}]}]\n";
    let files = [
        ("rules.yml", RULES),
        ("test.yml", TESTS),
        ("bad.yml", &bad),
        ("missing.yml", "rule_files: [none.yml]\n"),
        ("warned.yml", warned),
    ];
    let folder = folder(&files);
    let args = ["test.yml", "bad.yml", "missing.yml", "gone.yml"];
    said(
        folder.path(),
        &args,
        expect![[r#"
            exit code 64
            --- stdout
            --- stderr
            firedrill: bad.yml:15:38: bad number syntax: "3y5"
              |   - {series: requests_total, values: 3y5}
              |                                      ^
            missing.yml: rule file none.yml is missing
            gone.yml: No such file or directory (os error 2)
        "#]],
    );
    said(
        folder.path(),
        &["warned.yml"],
        expect![[r#"
        exit code 0
        --- stdout
        Unit Testing:  warned.yml
          SUCCESS

        --- stderr
          WARNING: no file match pattern *.none
          WARNING: no rule makes the alert A
    "#]],
    );
    assert_eq!(call(&["test", "rules"]).code, 64);
}

#[test]
fn reports_for_programs_say_the_same() {
    let folder = both();
    let args = [
        "test", "rules", "test.yml", "--format", "json", "--junit", "out.xml",
    ];
    let outcome = call_in(folder.path(), &args);
    assert_eq!((outcome.code, &*outcome.stderr), (1, ""));
    let schema = fs::read_to_string(root().join("docs/test-rules.schema.json")).expect("there");
    let schema = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(violations(&schema, &outcome.json()), Vec::<String>::new());
    expect![[r#"
        {
          "coverage": {
            "branches": 5,
            "percent": 40.0,
            "rules": [
              {
                "active": 2,
                "alert": true,
                "file": "rules.yml",
                "group": "g",
                "line": 4,
                "rule": "Down",
                "silent": 0
              },
              {
                "active": 0,
                "alert": true,
                "file": "rules.yml",
                "group": "g",
                "line": 9,
                "rule": "Idle",
                "silent": 0
              },
              {
                "active": 2,
                "alert": false,
                "file": "rules.yml",
                "group": "g",
                "line": 11,
                "rule": "jobs",
                "silent": 0
              }
            ],
            "seen": 2
          },
          "files": [
            {
              "file": "test.yml",
              "tests": [
                {
                  "checks": 1,
                  "failures": [],
                  "name": "good"
                },
                {
                  "checks": 2,
                  "failures": [
                    {
                      "alertname": "Down",
                      "eval_ms": 180000,
                      "expected": [
                        {
                          "annotations": {
                            "summary": "a is down"
                          },
                          "labels": {
                            "alertname": "Down",
                            "instance": "b"
                          }
                        }
                      ],
                      "got": [
                        {
                          "annotations": {
                            "summary": "a is down"
                          },
                          "labels": {
                            "alertname": "Down",
                            "instance": "a",
                            "severity": "page"
                          }
                        }
                      ],
                      "kind": "alerts",
                      "test": "bad"
                    },
                    {
                      "eval_ms": 60000,
                      "expected": [
                        "{__name__=\"jobs\"} 2E+00"
                      ],
                      "expr": "jobs",
                      "got": [
                        "{__name__=\"jobs\"} 1E+00"
                      ],
                      "kind": "samples"
                    }
                  ],
                  "name": "bad"
                }
              ],
              "verdict": "fail",
              "warnings": []
            }
          ],
          "verdict": "fail"
        }
    "#]]
    .assert_eq(&outcome.stdout);
    let xml = fs::read_to_string(folder.path().join("out.xml")).expect("written");
    // promtool's lines, and so these, end with a space here and there.
    let xml: String = xml
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="firedrill test rules" tests="2" failures="1" errors="0">
            <testsuite name="test.yml" tests="2" disabled="0" errors="0" failures="1">
                <testcase name="good" classname="test.yml">
                </testcase>
                <testcase name="bad" classname="test.yml">
                    <failure message="name: bad,
            alertname: Down, time: 3m">    name: bad,
            alertname: Down, time: 3m,
                exp:[
                    0:
                      Labels:{alertname=&quot;Down&quot;, instance=&quot;b&quot;}
                      Annotations:{summary=&quot;a is down&quot;}
                    ],
                got:[
                    0:
                      Labels:{alertname=&quot;Down&quot;, instance=&quot;a&quot;, severity=&quot;page&quot;}
                      Annotations:{summary=&quot;a is down&quot;}
                    ]
            expr: &quot;jobs&quot;, time: 1m,
                exp: {__name__=&quot;jobs&quot;} 2E+00
                got: {__name__=&quot;jobs&quot;} 1E+00</failure>
                </testcase>
            </testsuite>
        </testsuites>
    "#]].assert_eq(&xml);
}
