//! Loading rule files: what is refused, where, and how it reads.

use alerts::rules::RuleSet;

/// Errors of one file, as a user sees them.
fn refused(text: &str) -> String {
    match RuleSet::from_sources([("a.yml", text)]) {
        Ok(_) => "accepted".into(),
        Err(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn rule(body: &str) -> String {
    format!("groups:\n  - name: g\n    rules:\n{body}")
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let cases = [
        (
            rule("      - alert: A\n        expr: up ==\n"),
            "a.yml:5:20: expression: unexpected end of input",
        ),
        (
            rule("      - alert: A\n        expr: |\n          sum(up\n        for: 1m\n"),
            "a.yml:6:17: expression: ",
        ),
        (
            rule("      - alert: A\n        expr: up\n        fro: 1m\n"),
            "a.yml:6:9: unknown field `fro` in rule; known are record, alert,",
        ),
        (
            rule("      - alert: A\n        expr: up\n        for: 1x\n"),
            "a.yml:6:14: not a valid duration: \"1x\"",
        ),
        (
            rule("      - alert: A\n        expr: up\n        for: 1m1h\n"),
            "a.yml:6:14: not a valid duration",
        ),
        (
            rule("      - record: a:b\n        expr: up\n        for: 1m\n"),
            "a.yml:6:14: `for` is not allowed",
        ),
        (
            rule("      - record: sum{a}\n        expr: up\n"),
            "a.yml:4:17: braces in the name \"sum{a}\"",
        ),
        (
            rule("      - alert: A\n        record: b\n        expr: up\n"),
            "a.yml:5:17: a rule must have one of",
        ),
        (
            rule("      - alert: A\n"),
            "field `expr` is missing or empty",
        ),
        (
            rule("      - alert: A\n        expr: up[5m]\n"),
            "must answer a scalar or an instant vector",
        ),
        (
            rule("      - alert: A\n        expr: mad_over_time(up[5m])\n"),
            "`mad_over_time` is experimental and not supported",
        ),
        (
            rule("      - alert: A\n        expr: histogram_count(up)\n"),
            "native histograms, which are not supported",
        ),
        (
            rule("      - alert: A\n        expr: up\n        labels:\n          __name__: c\n"),
            "a.yml:7:11: invalid label name \"__name__\"",
        ),
        (
            rule(
                "      - alert: A\n        expr: up\n        annotations:\n          summary: '{{ nosuch }}'\n",
            ),
            "a.yml:7:24: template of summary: function \"nosuch\" not defined",
        ),
        (
            "groups:\n  - name: g\n  - name: g\n".into(),
            "a.yml:3:11: group \"g\" is defined twice",
        ),
        (
            "groups:\n  - name: g\n    intervall: 1m\n".into(),
            "a.yml:3:5: unknown field `intervall` in group; known are name,",
        ),
        (
            "groups: 5\n".into(),
            "a.yml:1:9: `groups` must be a list, found text",
        ),
        (
            "groups:\n  - name: [\n".into(),
            "a.yml:3:1: did not find expected node content while parsing a flow node",
        ),
    ];
    for (text, want) in cases {
        let got = refused(&text);
        assert!(
            got.contains(want),
            "{text}\n--- refused with\n{got}\n--- instead of {want}"
        );
    }
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let text = rule(
        "      - alert: A\n        expr: up\n      - alert: B\n        expr: up ==\n        for: soon\n",
    );
    let got = refused(&text);
    let (first, second) = got.split_once("\na.yml:8").expect("both are reported");
    assert!(first.starts_with("a.yml:7:20: expression: "), "{first}");
    assert!(
        first.ends_with("\n  |         expr: up ==\n  |                    ^"),
        "{first}"
    );
    assert_eq!(
        second,
        ":14: not a valid duration: \"soon\"; write it as 90s, 5m or 1h30m, largest unit first\n  |         for: soon\n  |              ^"
    );
}

#[test]
fn a_value_that_is_left_out_is_empty_and_any_scalar_is_text() {
    let text = rule(
        "      - alert: A\n        expr: up == 1\n        labels: {a: , b: 1.10, c: true}\n        annotations: {d: ~}\n",
    );
    let set = RuleSet::from_sources([("a.yml", &*text)]).expect("loads");
    let (_, alert) = set.alerts().next().expect("one alert");
    assert_eq!(
        [
            alert.label("a"),
            alert.label("b"),
            alert.label("c"),
            alert.annotation("d")
        ],
        ["", "1.10", "true", ""]
    );
}

#[test]
fn a_missing_file_and_an_empty_folder_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = RuleSet::load(&[folder.path().join("no.yml")]).expect_err("refused");
    assert!(
        missing[0].to_string().contains("no.yml: cannot be read"),
        "{}",
        missing[0]
    );
    let empty = RuleSet::load(&[folder.path()]).expect_err("refused");
    assert!(
        empty[0].to_string().contains("holds no *.yml"),
        "{}",
        empty[0]
    );
}

#[test]
fn what_is_no_rule_file_is_refused_with_its_place() {
    let named = |body: &str| format!("groups:\n  - name: g\n    rules:\n      - alert: A\n{body}");
    let bomb = format!(
        "groups:\n  - &a {{name: g, rules: [{}]}}\n  - [{}]\n",
        vec!["{alert: A, expr: up}"; 200].join(","),
        vec!["*a"; 5000].join(",")
    );
    let cases = [
        (
            "groups:\n\t- name: g\n".into(),
            "a.yml:2:1: found character that cannot start any token while scanning for the next token",
        ),
        (
            "groups:\n  - name: g\n    name: h\n".into(),
            "a.yml:3:5: \"name\" stands twice in one mapping",
        ),
        (
            named("        expr: up\n        labels: {a: 1, a: 2}\n"),
            "a.yml:6:24: \"a\" stands twice in one mapping",
        ),
        (
            named("        expr: [up]\n"),
            "a.yml:5:15: expected text, found a list",
        ),
        (
            named("        expr: up\n        labels: {a: {b: c}}\n"),
            "a.yml:6:21: expected text, found a mapping",
        ),
        (
            named("        expr: up\n        labels: [a]\n"),
            "a.yml:6:17: expected a mapping, found a list",
        ),
        (
            named("        expr: up\n        for: 5\n"),
            "a.yml:6:14: not a valid duration: \"5\"",
        ),
        (
            named("        expr: up\n        for: .nan\n"),
            "a.yml:6:14: not a valid duration: \".nan\"",
        ),
        (
            "groups: [{name: g, limit: .inf}]".into(),
            "a.yml:1:27: expected a whole number, found \".inf\"",
        ),
        (
            "groups: [{name: g, limit: '5'}]".into(),
            "a.yml:1:27: expected a whole number, found \"5\"",
        ),
        (
            "groups: [{name: g, query_offset: 1d1w}]".into(),
            "a.yml:1:34: not a valid duration",
        ),
        (
            "groups: [{name: g, interval: 300y}]".into(),
            "a.yml:1:30: duration out of range: \"300y\"",
        ),
        (
            "groups: [{name: ''}]".into(),
            "a.yml:1:17: group has no name",
        ),
        ("groups: [*a]".into(), "a.yml:1:10: unknown anchor \"a\""),
        (
            "groups: &a [*a]".into(),
            "a.yml:1:13: anchor \"a\" contains itself",
        ),
        (bomb, "aliases stand for more than 1000000 nodes"),
        (
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "a.yml:1:65: nested more than 64 deep",
        ),
        (
            "groups:\n  - name: \"a\0b\"\n".into(),
            "a.yml:2:13: control character '\\0' is not allowed",
        ),
        (
            "just text".into(),
            "a.yml:1:1: expected a mapping, found text",
        ),
        (
            "groups: [{name: g, <<: 5}]".into(),
            "a merge key needs a mapping or a list of mappings",
        ),
        (
            "groups: [{name: !!int g}]".into(),
            "a.yml:1:17: \"g\" cannot be read as !!int",
        ),
    ];
    for (text, want) in cases {
        let got = refused(&text);
        let shown: String = text.chars().take(300).collect();
        assert!(
            got.contains(want),
            "{shown}\n--- refused with\n{got}\n--- instead of {want}"
        );
    }
}

#[test]
fn line_ends_marks_anchors_and_any_script_are_read() {
    let cases = [
        ("", 0),
        ("---\n...\n", 0),
        ("groups:\n", 0),
        ("groups: [~, {name: g, rules: [~]}]", 0),
        ("groups: [{name: g, rules: }]", 0),
        (
            "\u{feff}groups:\r\n- name: g\r\n  rules:\r\n  - alert: A\r\n    expr: |\r\n      up\r\n      == 0\r\n",
            1,
        ),
        (
            "groups: [{name: g, rules: [{alert: Überbuchung 🏨, expr: up, labels: {größe: 大}}]}]",
            1,
        ),
        (
            "groups:\n- name: g\n  rules:\n  - &a {alert: A, expr: up, labels: &l {x: y}}\n  - {<<: *a, alert: B}\n  - {alert: C, expr: up, labels: {<<: [*l, {z: w}], x: v}}\n",
            3,
        ),
        // Prometheus reads the first document alone.
        (
            "groups: [{name: g, rules: [{alert: A, expr: up}]}]\n---\n[no rules\n",
            1,
        ),
        (
            "groups: [{name: g, limit: -1, interval: 0s, rules: [{record: a b, expr: 1, for: 0s}]}]",
            0,
        ),
    ];
    for (text, alerts) in cases {
        let set = RuleSet::from_sources([("a.yml", text)])
            .unwrap_or_else(|errors| panic!("{text}\n{}", errors[0]));
        assert_eq!(set.alerts().count(), alerts, "{text}");
    }
    let merged = RuleSet::from_sources([("a.yml", cases[7].0)]).expect("loads");
    let labels: Vec<[&str; 2]> = merged
        .alerts()
        .map(|(_, rule)| [rule.label("x"), rule.label("z")])
        .collect();
    assert_eq!(labels, [["y", ""], ["y", ""], ["v", "w"]]);
}

const RESOURCE: &str = "apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: a, labels: {role: alert-rules}}
spec:
  groups:
    - name: g
      partial_response_strategy: warn
      rules:
        - alert: A
          expr: up == 0
";

#[test]
fn prometheus_rule_resources_are_read_alone_in_lists_and_several_in_one_file() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}- {}",
        RESOURCE.trim_end().replace('\n', "\n  ") + "\n",
        RESOURCE.trim_end().replace('\n', "\n  ") + "\n"
    );
    let two = format!("# first\n---\n---\n{RESOURCE}---\n{RESOURCE}");
    for (text, lines) in [
        (RESOURCE.to_string(), vec![9]),
        (two, vec![12, 23]),
        (list, vec![12, 22]),
    ] {
        let set = RuleSet::from_sources([("a.yml", &*text)])
            .unwrap_or_else(|errors| panic!("{text}\n{}", errors[0]));
        let found: Vec<usize> = set.alerts().map(|(_, rule)| rule.line).collect();
        assert_eq!(found, lines, "{text}");
    }
}

#[test]
fn what_is_no_prometheus_rule_is_refused_by_name() {
    let cases = [
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "a.yml:2:7: a resource of kind \"ConfigMap\" and apiVersion \"v1\" holds no rules",
        ),
        (
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {group: []}\n",
            "a.yml:3:8: unknown field `group` in spec; known are groups",
        ),
        (
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {groups: [{name: g, partial_response_strategy: maybe}]}\n",
            "a.yml:3:54: partial_response_strategy must be `warn` or `abort`",
        ),
        (
            "groups: [{name: g, partial_response_strategy: warn}]\n",
            "unknown field `partial_response_strategy` in group",
        ),
        (
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List}]\n",
            "a.yml:3:9: a List inside a List is not read",
        ),
        (
            "kind: PrometheusRule\napiVersion: monitoring.coreos.com/v1\n---\nkind: Pod\napiVersion: v1\n",
            "a.yml:4:7: a resource of kind \"Pod\"",
        ),
    ];
    for (text, want) in cases {
        let got = refused(text);
        assert!(got.contains(want), "{text}\n{got}\n--- instead of {want}");
    }
}
