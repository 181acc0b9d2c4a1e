//! What `firedrill test promql` prints: a file, its exact report, its exit code.

use std::fs;

use expect_test::{Expect, expect};

use crate::program::{Outcome, call_in, root};

const PASSES: &str = "load 1m\n  up 1 2 3\n\neval instant at 1m up + 1\n  {} 3\n";
const FAILS: &str = "load 1m\n  up{job=\"a\"} 1 2 3\n\neval instant at 1m up\n  up{job=\"a\"} 5\n\n\
                     eval range from 0 to 1m step 1m sum(up)\n  {} 1 2\n";
const REFUSES: &str = "load 1m\n  latency {{schema:0 sum:1}}x3\n\neval instant at 1m latency\n  latency 1\n\n\
                       eval instant at 2m latency * 2\n  {} 1\n";

/// Files in an empty folder, and a call there.
fn test_promql(files: &[(&str, &str)], args: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    call_in(folder.path(), &[&["test", "promql"], args].concat())
}

fn prints(files: &[(&str, &str)], args: &[&str], code: i32, stdout: Expect) {
    let outcome = test_promql(files, args);
    stdout.assert_eq(&outcome.stdout);
    assert_eq!((outcome.code, &*outcome.stderr), (code, ""), "{args:?}");
}

fn refused(files: &[(&str, &str)], args: &[&str], stderr: Expect) {
    let outcome = test_promql(files, args);
    stderr.assert_eq(&outcome.stderr);
    assert_eq!((outcome.code, &*outcome.stdout), (64, ""), "{args:?}");
}

#[test]
fn counts_are_printed_per_file_and_only_a_run_without_failures_passes() {
    prints(
        &[("a.test", PASSES)],
        &["a.test"],
        0,
        expect![[r#"
        a.test: 1 passed, 0 failed, 0 refused
        pass: 1 passed, 0 failed, 0 refused
    "#]],
    );
    let both = [("a.test", PASSES), ("b.test", FAILS), ("c.txt", "no test")];
    prints(
        &both,
        &["."],
        1,
        expect![[r#"
        ./a.test: 1 passed, 0 failed, 0 refused
        ./b.test:4: up
          up{job="a"} is 2 instead of 5
          expected:
            up{job="a"} 5
          got:
            up{job="a"} 2
        ./b.test: 1 passed, 1 failed, 0 refused
        fail: 2 passed, 1 failed, 0 refused
    "#]],
    );
    prints(
        &both,
        &["--quiet", "b.test"],
        1,
        expect![[r#"
        b.test:4: up
          up{job="a"} is 2 instead of 5
          expected:
            up{job="a"} 5
          got:
            up{job="a"} 2
        fail: 1 passed, 1 failed, 0 refused
    "#]],
    );
}

#[test]
fn refusals_alone_are_unknown() {
    prints(
        &[("a.test", REFUSES)],
        &["a.test"],
        2,
        expect![[r#"
        a.test: 0 passed, 0 failed, 2 refused
          refused: native histograms are not supported (line 4 and 1 more)
        unknown: nothing could be evaluated: 0 passed, 0 failed, 2 refused
    "#]],
    );
    let mixed = [("a.test", REFUSES), ("b.test", PASSES)];
    prints(
        &mixed,
        &["-q", "a.test", "b.test"],
        0,
        expect![[r#"
        pass: 1 passed, 0 failed, 2 refused
    "#]],
    );
}

#[test]
fn the_report_for_programs_has_every_failure_and_refusal() {
    let files = [("a.test", FAILS), ("b.test", REFUSES)];
    prints(
        &files,
        &["--format", "json", "a.test", "b.test"],
        1,
        expect![[r#"
            {
              "passed": 1,
              "failed": 1,
              "refused": 2,
              "files": [
                {
                  "file": "a.test",
                  "passed": 1,
                  "failed": 1,
                  "refused": 0,
                  "failures": [
                    {
                      "line": 4,
                      "query": "up",
                      "reason": "up{job=\"a\"} is 2 instead of 5",
                      "expected": [
                        "up{job=\"a\"} 5"
                      ],
                      "got": [
                        "up{job=\"a\"} 2"
                      ]
                    }
                  ],
                  "refusals": []
                },
                {
                  "file": "b.test",
                  "passed": 0,
                  "failed": 0,
                  "refused": 2,
                  "failures": [],
                  "refusals": [
                    {
                      "line": 4,
                      "query": "latency",
                      "reason": "native histograms are not supported"
                    },
                    {
                      "line": 7,
                      "query": "latency * 2",
                      "reason": "native histograms are not supported"
                    }
                  ]
                }
              ]
            }
        "#]],
    );
}

#[test]
fn what_cannot_be_run_is_refused_with_its_line_before_anything_is_printed() {
    let files = [
        ("good.test", PASSES),
        ("empty.test", "load 1m\n  up 1\n"),
        ("command.test", "load 1m\n  up 1\n\nevil instant at 0 up\n"),
        (
            "values.test",
            "load 1m\n  up 1 2x\n\neval instant at 0 up\n",
        ),
        (
            "again.test",
            "load 1m\n  up 1 2\n\nload 1m\n  up 5\n\neval instant at 0 up\n",
        ),
    ];
    refused(
        &files,
        &[
            "good.test",
            "empty.test",
            "command.test",
            "values.test",
            "missing.test",
        ],
        expect![[r#"
            firedrill: empty.test: no eval in this file: it would test nothing
            command.test:4: invalid command "evil instant at 0 up": write load, clear or eval
            values.test:2: column 8: invalid repetition "" in series values, expected a whole number
            missing.test: No such file or directory (os error 2)
        "#]],
    );
    refused(
        &files,
        &["good.test", "again.test"],
        expect![[r#"
        firedrill: again.test:5: up: sample at 0 ms is not after the last one at 60000 ms: a series that is loaded again must go on later
    "#]],
    );
    refused(
        &[],
        &["."],
        expect![[r#"
        firedrill: .: no *.test in this folder
    "#]],
    );
    refused(
        &[],
        &[],
        expect![[r#"
        error: the following required arguments were not provided:
          <FILE>...

        Usage: firedrill test promql <FILE>...

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn the_files_of_this_project_pass() {
    let outcome = call_in(
        root(),
        &["test", "promql", "--quiet", "alerts/tests/promql"],
    );
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.starts_with("pass: "), "{}", outcome.stdout);
}
