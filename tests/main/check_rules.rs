//! What `firedrill check rules` prints: rule files, its exact report, its exit code.

use std::fs;

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::program::{Outcome, call, call_in, root};
use crate::schema::violations;

const GOOD: &str = "groups:
  - name: shop
    rules:
      - alert: ShopDown
        expr: up{job=\"shop\"} == 0
        for: 2m
        annotations: { runbook_url: runbooks/down.md }
";
const BAD: &str = "groups:
  - name: shop
    rules:
      - alert: ShopDown
        expr: up{job=\"shop\"} == 0
        for: 2m
      - alert: NobodyThere
        expr: |
          count(
            up{job=\"shop\"} == 1
          ) == 0
        annotations: { runbook_url: runbooks/down.md }
      - alert: Twice
        expr: count(up{job=\"shop\"} == 0) > 0
        annotations: { runbook_url: runbooks/down.md }
";

fn check(files: &[(&str, &str)], args: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    call_in(folder.path(), &[&["check", "rules"], args].concat())
}

fn prints(files: &[(&str, &str)], args: &[&str], code: i32, stdout: Expect) {
    let outcome = check(files, args);
    stdout.assert_eq(&outcome.stdout);
    assert_eq!((outcome.code, &*outcome.stderr), (code, ""), "{args:?}");
}

fn refused(files: &[(&str, &str)], args: &[&str], stderr: Expect) {
    let outcome = check(files, args);
    stderr.assert_eq(&outcome.stderr);
    assert_eq!((outcome.code, &*outcome.stdout), (64, ""), "{args:?}");
}

#[test]
fn the_shipped_rules_are_clean_and_say_what_they_silence() {
    let outcome = call(&["check", "rules", "--fail-on", "info"]);
    expect![[r#"
        rules 35, errors 0, warnings 0, infos 0, silenced by comments 4
    "#]]
    .assert_eq(&outcome.stdout);
    assert_eq!((outcome.code, &*outcome.stderr), (0, ""));
    let folder = root().join("alerts/rules");
    let same = call(&[
        "check",
        "rules",
        &folder.to_string_lossy(),
        "--reference",
        "--fail-on",
        "info",
    ]);
    assert_eq!(same.stdout, outcome.stdout);
}

#[test]
fn findings_show_their_line_and_the_text_says_what_was_not_looked_for() {
    prints(
        &[("a.yml", BAD)],
        &["a.yml"],
        3,
        expect![[r#"
            a.yml:4:16: warning[missing-runbook]: no annotation `runbook_url`: who is paged should not have to search for what to do
              |       - alert: ShopDown
              |                ^

            a.yml:11:13: error[constant-condition]: this never holds: the left side is at least 1, the right side 0
              |           ) == 0
              |             ^

            a.yml:14:42: info[redundant-condition]: this holds wherever there is an answer at all: the left side is at least 1, the right side 0
              |         expr: count(up{job="shop"} == 0) > 0
              |                                          ^

            rules 3, errors 1, warnings 1, infos 1, silenced by comments 0
            not looked for, since it is not known what the services export (--metrics JOB=FILE): bucket-bounds, unknown-metric
        "#]],
    );
    prints(
        &[("a.yml", GOOD)],
        &["a.yml"],
        0,
        expect![[r#"
            rules 1, errors 0, warnings 0, infos 0, silenced by comments 0
            not looked for, since it is not known what the services export (--metrics JOB=FILE): bucket-bounds, unknown-metric
        "#]],
    );
}

#[test]
fn the_least_severity_that_fails_is_chosen() {
    let rows = [("error", 3), ("warning", 3), ("info", 3), ("never", 0)];
    for (least, code) in rows {
        assert_eq!(
            check(&[("a.yml", BAD)], &["a.yml", "--fail-on", least]).code,
            code,
            "{least}"
        );
    }
    let warned = BAD.replace("== 0\n        annotations", "== 2\n        annotations");
    for (least, code) in [("error", 0), ("warning", 3)] {
        assert_eq!(
            check(&[("a.yml", &warned)], &["a.yml", "--fail-on", least]).code,
            code,
            "{least}"
        );
    }
}

#[test]
fn metrics_of_a_scrape_are_what_rules_may_count_on() {
    let rules = "groups: [{name: g, rules: [{record: a, expr: 'rate(shop_order_total[5m]) + on () rate(queue[5m])'}]}]\n";
    let metrics =
        "# TYPE shop_orders_total counter\nshop_orders_total 1\n# TYPE queue gauge\nqueue 4\n";
    prints(
        &[("a.yml", rules), ("shop.txt", metrics)],
        &["a.yml", "--metrics", "shop=shop.txt"],
        3,
        expect![[r#"
            a.yml:1:52: error[unknown-metric]: nothing exports `shop_order_total`; did you mean `shop_orders_total`?
              | groups: [{name: g, rules: [{record: a, expr: 'rate(shop_order_total[5m]) + on () rate(queue[5m])'}]}]
              |                                                    ^

            a.yml:1:82: error[rate-of-gauge]: `rate` of what is no counter: each fall counts as a reset; `delta` or `deriv` is for what goes up and down
              | groups: [{name: g, rules: [{record: a, expr: 'rate(shop_order_total[5m]) + on () rate(queue[5m])'}]}]
              |                                                                                  ^

            rules 1, errors 2, warnings 0, infos 0, silenced by comments 0
        "#]],
    );
}

#[test]
fn programs_read_json_sarif_and_annotations() {
    let json = check(&[("a.yml", BAD)], &["a.yml", "--format", "json"]).json();
    let text = fs::read_to_string(root().join("docs/check-rules.schema.json"))
        .expect("the schema is there");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(violations(&schema, &json), Vec::<String>::new());
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(3));

    let sarif = check(&[("a b.yml", BAD)], &["a b.yml", "--format", "sarif"]).json();
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("rules");
    for result in results {
        let at = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[at]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.yml");
        assert!(place["region"]["startLine"].as_u64() >= Some(1));
    }
    assert_eq!(results.len(), 3);

    prints(
        &[("a.yml", BAD)],
        &["a.yml", "--format", "github"],
        3,
        expect![[r#"
            ::error file=a.yml,line=11,col=13,title=constant-condition::this never holds: the left side is at least 1, the right side 0
            ::warning file=a.yml,line=4,col=16,title=missing-runbook::no annotation `runbook_url`: who is paged should not have to search for what to do
            ::notice file=a.yml,line=14,col=42,title=redundant-condition::this holds wherever there is an answer at all: the left side is at least 1, the right side 0
        "#]],
    );
    let many: String = (0..12)
        .map(|at| format!("      - {{ alert: A{at}, expr: up == {at} }}\n"))
        .collect();
    let many = format!("groups:\n  - name: g\n    rules:\n{many}");
    let shown = check(&[("a.yml", &many)], &["a.yml", "--format", "github"]).stdout;
    let warnings: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("::warning"))
        .collect();
    assert_eq!(warnings.len(), 10, "{shown}");
    assert!(warnings[9].contains("3 more of this kind"), "{shown}");
}

#[test]
fn what_cannot_be_checked_is_refused_with_every_error() {
    refused(
        &[
            (
                "a.yml",
                "groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]\n",
            ),
            ("m.txt", "a{ 1\n"),
        ],
        &[
            "a.yml",
            "none.yml",
            "--metrics",
            "shop=m.txt",
            "--metrics",
            "shop",
        ],
        expect![[r#"
            firedrill: none.yml: cannot be read: No such file or directory (os error 2)
            m.txt: line 1: label set is not closed
            --metrics shop: expected JOB=FILE, such as `shop=metrics.txt`
            a.yml:1:51: expression: unexpected end of input
              | groups: [{name: g, rules: [{alert: A, expr: 'up =='}]}]
              |                                                   ^
        "#]],
    );
    refused(
        &[("a.yml", "groups: []\n")],
        &["a.yml"],
        expect![[r#"
        firedrill: no rule stands in a.yml: there is nothing to check
    "#]],
    );
    refused(
        &[],
        &["."],
        expect![[r#"
        firedrill: .: holds no *.yml or *.yaml rule file
    "#]],
    );
    let outcome = check(&[("a.yml", GOOD)], &["a.yml", "--scrape-interval", "0s"]);
    assert_eq!(outcome.code, 64);
    assert!(
        outcome.stderr.contains("must be above 0"),
        "{}",
        outcome.stderr
    );
}
