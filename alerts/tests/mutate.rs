//! Mutants of rules, as a table: each operator at each kind of site, expression in, changes out.

use alerts::mutate::{Mutants, Operator, Sense, mutants};
use expect_test::{Expect, expect};

fn of(text: &str) -> Mutants {
    mutants(&[("r.yml".into(), text.into())], 15_000).expect("rules")
}

fn file(expr: &str) -> String {
    format!("groups: [{{name: g, rules: [{{alert: A, expr: {expr:?}}}]}}]\n")
}

/// Each mutant's operator, sense and whole expression, without those of `for`.
fn check(expr: &str, expected: Expect) {
    let mut out = String::new();
    for mutant in of(&file(expr)).mutants {
        if mutant.operator != Operator::For {
            let sense = match mutant.sense {
                Sense::More => '+',
                Sense::Less => '-',
                Sense::Other => ' ',
            };
            let whole = mutant.rule.query.text();
            out += &format!("{:<11}{sense} {whole}\n", mutant.operator.name());
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn thresholds_are_halved_doubled_and_moved_by_a_tenth() {
    check(
        "x > 30",
        expect![[r#"
        comparison + x >= 30
        comparison   x < 30
        threshold  + x > 15
        threshold  + x > 27
        threshold  - x > 33
        threshold  - x > 60
    "#]],
    );
    check(
        "0.2 >= x",
        expect![[r#"
        threshold  - 0.1 >= x
        threshold  - 0.18 >= x
        threshold  + 0.22 >= x
        threshold  + 0.4 >= x
        comparison - 0.2 > x
        comparison   0.2 <= x
    "#]],
    );
    check(
        "x < -4",
        expect![[r#"
        comparison + x <= -4
        comparison   x > -4
        threshold  + x < -2
        threshold  + x < -3.6
        threshold  - x < -4.4
        threshold  - x < -8
    "#]],
    );
    check(
        "x > 5m",
        expect![[r#"
        comparison + x >= 5m
        comparison   x < 5m
        threshold  + x > 2m30s
        threshold  + x > 4m30s
        threshold  - x > 5m30s
        threshold  - x > 10m
    "#]],
    );
    check(
        "x > 0",
        expect![[r#"
        comparison + x >= 0
        comparison   x < 0
        threshold  - x > 1
    "#]],
    );
    check(
        "x > -Inf",
        expect![[r#"
        comparison + x >= -Inf
        comparison   x < -Inf
    "#]],
    );
    check(
        "up == 0",
        expect![[r#"
        comparison   up != 0
        threshold    up == 1
    "#]],
    );
    check(
        "x != bool 7",
        expect![[r#"
        comparison   x == bool 7
        threshold    x != bool 8
    "#]],
    );
    check(
        "x > 0.9 * y",
        expect![[r#"
        comparison + x >= 0.9 * y
        comparison   x < 0.9 * y
        threshold    x > 0.45 * y
        threshold    x > 0.81 * y
        threshold    x > 0.99 * y
        threshold    x > 1.8 * y
    "#]],
    );
    check(
        "100 * x / y > (2 + 3)",
        expect![[r#"
        comparison + 100 * x / y >= (2 + 3)
        comparison   100 * x / y < (2 + 3)
        threshold  + 100 * x / y > 2.5
        threshold  + 100 * x / y > 4.5
        threshold  - 100 * x / y > 5.5
        threshold  - 100 * x / y > 10
    "#]],
    );
    check(
        "1 > bool 2 + vector(1)",
        expect![[r#"
        threshold    0.5 > bool 2 + vector(1)
        threshold    0.9 > bool 2 + vector(1)
        threshold    1.1 > bool 2 + vector(1)
        threshold    2 > bool 2 + vector(1)
        comparison   1 >= bool 2 + vector(1)
        comparison   1 < bool 2 + vector(1)
    "#]],
    );
    check(
        "x unless x > 3",
        expect![[r#"
        branch       x > 3
        branch     + x
        comparison - x unless x >= 3
        comparison   x unless x < 3
        threshold  - x unless x > 1.5
        threshold  - x unless x > 2.7
        threshold  + x unless x > 3.3
        threshold  + x unless x > 6
    "#]],
    );
    check(
        "x / (y >= 50)",
        expect![[r#"
        comparison   x / (y > 50)
        comparison   x / (y <= 50)
        threshold    x / (y >= 25)
        threshold    x / (y >= 45)
        threshold    x / (y >= 55)
        threshold    x / (y >= 100)
    "#]],
    );
}

#[test]
fn windows_and_offsets_are_halved_and_doubled() {
    check(
        "rate(x[5m] offset 1m)",
        expect![[r#"
        rate         irate(x[5m] offset 1m)
        window       rate(x[2m30s] offset 1m)
        window       rate(x[10m] offset 1m)
        window       rate(x[5m] offset 30s)
        window       rate(x[5m] offset 2m)
    "#]],
    );
    check(
        "offset offset 1h",
        expect![[r#"
        window       offset offset 30m
        window       offset offset 2h
    "#]],
    );
    check(
        "max_over_time(rate(x[30s])[1h:15s] offset -10m)",
        expect![[r#"
        rate         max_over_time(irate(x[30s])[1h:15s] offset -10m)
        window       max_over_time(rate(x[15s])[1h:15s] offset -10m)
        window       max_over_time(rate(x[1m])[1h:15s] offset -10m)
        window       max_over_time(rate(x[30s])[30m:15s] offset -10m)
        window       max_over_time(rate(x[30s])[2h:15s] offset -10m)
        window       max_over_time(rate(x[30s])[1h:15s] offset -5m)
        window       max_over_time(rate(x[30s])[1h:15s] offset -20m)
    "#]],
    );
    check(
        "delta(x[90])",
        expect![[r#"
        rate         idelta(x[90])
        window       delta(x[45])
        window       delta(x[180])
    "#]],
    );
}

#[test]
fn matchers_are_dropped_and_negated() {
    check(
        "x{a=\"1\"}",
        expect![[r#"
        matcher      x
        matcher      x{a!="1"}
    "#]],
    );
    check(
        "x{a=~\"1|2\", b!=\"3\",}",
        expect![[r#"
        matcher      x{b!="3",}
        matcher      x{a!~"1|2", b!="3",}
        matcher      x{a=~"1|2",}
        matcher      x{a=~"1|2", b="3",}
    "#]],
    );
    check("{a=\"1\"}", expect![[""]]);
    check(
        "{\"x.y\", a!~\"1\"}",
        expect![[r#"
        matcher      {"x.y"}
        matcher      {"x.y", a=~"1"}
    "#]],
    );
}

#[test]
fn a_matcher_that_the_other_side_demands_too_is_not_dropped() {
    /// Selectors (by their order) from which the matcher is dropped.
    fn dropped(expr: &str) -> Vec<usize> {
        let all: Vec<usize> = expr.match_indices("{a=").map(|(at, _)| at).collect();
        let mutants = of(&file(expr)).mutants.into_iter();
        let dropped = mutants.filter(|mutant| mutant.old == "{a=\"1\"}" && mutant.new.is_empty());
        let places = dropped.map(|mutant| mutant.rule.query.text().to_owned());
        let place = |text: String| {
            let same = |at: &&usize| text[..**at] == expr[..**at] && !text[**at..].starts_with('{');
            let at = all.iter().find(same).expect("one is gone");
            all.iter().position(|other| other == at).expect("known")
        };
        places.map(place).collect()
    }
    for (expr, expected) in [
        ("x{a=\"1\"} and y{a=\"1\"}", &[][..]),
        ("x{a=\"1\"} unless y{a=\"1\"}", &[0]),
        ("x{a=\"1\"} or y{a=\"1\"}", &[0, 1]),
        ("x{a=\"1\"} > y{a=\"1\"}", &[]),
        ("x{a=\"1\"} + on (b) y{a=\"1\"}", &[0, 1]),
        ("x{a=\"1\"} + ignoring (b) y{a=\"1\"}", &[0, 1]),
        ("x{a=\"1\"} + ignoring (a) y{a=\"1\"}", &[0, 1]),
        ("x{a=\"1\"} / y{a=\"2\"}", &[0]),
        ("x{a=\"1\"} and on (a) y{a=\"1\"} > 3", &[]),
        ("x{a=\"1\"} and on (a) time() - y{a=\"1\"} > 3", &[]),
        ("x{a=\"1\"} and ignoring (b) y{a=\"1\"}", &[]),
        ("x{a=\"1\"} and ignoring (a) y{a=\"1\"}", &[0, 1]),
        ("(x{a=\"1\"} + on (a) y) and z{a=\"1\"}", &[0]),
        ("rate(x{a=\"1\"}[1m]) / rate(y{a=\"1\"}[1m])", &[]),
        ("sum(x{a=\"1\"}) / sum(y{a=\"1\"})", &[0, 1]),
        ("sum by (a) (x{a=\"1\"}) / sum by (a) (y{a=\"1\"})", &[]),
        ("sum by (b) (x{a=\"1\"}) / y{a=\"1\"}", &[0, 1]),
        ("sum(x{a=\"1\"} / y{a=\"1\"})", &[]),
        ("y{a=\"1\"} unless x{a=\"1\"} == z{a=\"1\"}", &[0]),
        ("(x{a=\"1\"} or y{a=\"1\"}) and z{a=\"1\"}", &[]),
        ("y{a=\"1\"} and on () absent(x{a=\"1\"})", &[0, 1]),
        ("x{a=\"1\"} * scalar(y{a=\"1\"})", &[0, 1]),
    ] {
        assert_eq!(dropped(expr), expected, "{expr}");
    }
    check(
        "x{a=\"1\"} and on (a, b) y{a=\"1\"}",
        expect![[r#"
        branch       y{a="1"}
        matcher      x{a!="1"} and on (a, b) y{a="1"}
        branch     + x{a="1"}
        label        x{a="1"} and on (a) y{a="1"}
        matcher      x{a="1"} and on (a, b) y{a!="1"}
    "#]],
    );
}

#[test]
fn labels_are_dropped_and_instance_is_added_where_there_can_be_one() {
    check(
        "sum by (a, b) (x)",
        expect![[r#"
        label        sum by (b) (x)
        label        sum by (a) (x)
        label        sum by (a, b, instance) (x)
    "#]],
    );
    check(
        "max(x) BY (a)",
        expect![[r#"
        label        max(x) by ()
        label        max(x) by (a, instance)
    "#]],
    );
    check(
        "sum without (a) (x)",
        expect![[r#"
        label        sum without () (x)
    "#]],
    );
    check(
        "sum(sum by (a) (x))",
        expect![[r#"
        label        sum(sum by () (x))
        label        sum(sum by (a, instance) (x))
    "#]],
    );
    check(
        "topk by (instance) (3, x)",
        expect![[r#"
        label        topk by () (3, x)
    "#]],
    );
    check(
        "x * on (a, b) group_left (c) y",
        expect![[r#"
        label        x * on (b) group_left (c) y
        label        x * on (a) group_left (c) y
    "#]],
    );
    check(
        "x and ignoring (a) y",
        expect![[r#"
        branch       y
        branch     + x
        label        x and ignoring () y
    "#]],
    );
}

#[test]
fn quantiles_rates_and_branches() {
    check(
        "histogram_quantile(0.99, x)",
        expect![[r#"
        quantile     histogram_quantile(0.5, x)
        quantile     histogram_quantile(0.9, x)
    "#]],
    );
    check(
        "quantile(0.75, x)",
        expect![[r#"
        label        quantile by (instance)(0.75, x)
        quantile     quantile(0.5, x)
        quantile     quantile(0.9, x)
        quantile     quantile(0.99, x)
    "#]],
    );
    check(
        "quantile_over_time(0.5, x[1m])",
        expect![[r#"
        quantile     quantile_over_time(0.9, x[1m])
        quantile     quantile_over_time(0.99, x[1m])
        window       quantile_over_time(0.5, x[30s])
        window       quantile_over_time(0.5, x[2m])
    "#]],
    );
    check(
        "increase(x[1m]) + irate(y[1m])",
        expect![[r#"
        rate         rate(x[1m]) + irate(y[1m])
        window       increase(x[30s]) + irate(y[1m])
        window       increase(x[2m]) + irate(y[1m])
        rate         increase(x[1m]) + rate(y[1m])
        window       increase(x[1m]) + irate(y[30s])
        window       increase(x[1m]) + irate(y[2m])
    "#]],
    );
    check(
        "a or b and c unless d",
        expect![[r#"
        branch       b and c unless d
        branch     - a
        branch       a or d
        branch       a or c unless d
        branch     + a or b unless d
        branch     + a or b and c
    "#]],
    );
    check(
        "a\n  or # why\n  absent(b)",
        expect![[r#"
        branch       absent(b)
        branch     - a
    "#]],
    );
}

#[test]
fn waits_are_dropped_halved_and_doubled() {
    let check = |fields: &str, expected: Expect| {
        let text = format!(
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: x\n    {fields}\n  - record: a:b\n    expr: y\n"
        );
        let lines = of(&text).mutants.into_iter().map(|mutant| {
            let (at, line) = (mutant.column, mutant.line);
            format!(
                "{line}:{at} {} {} → {}\n",
                mutant.operator, mutant.old, mutant.new
            )
        });
        expected.assert_eq(&lines.collect::<String>());
    };
    check(
        "for: 10m",
        expect![[r#"
        6:10 for 10m → 0s
        6:10 for 10m → 5m
        6:10 for 10m → 20m
    "#]],
    );
    check(
        "labels: {a: b}",
        expect![[r#"
        4:12 for 0s → 15s
        4:12 for 0s → 1m
    "#]],
    );
    check(
        "for: 1m30s\n    keep_firing_for: 1h",
        expect![[r#"
        6:10 for 1m30s → 0s
        6:10 for 1m30s → 45s
        6:10 for 1m30s → 3m
        4:12 keep_firing_for 1h → 0s
        4:12 keep_firing_for 1h → 30m
        4:12 keep_firing_for 1h → 2h
    "#]],
    );
}

#[test]
fn an_interval_of_the_group_is_the_shortest_wait_and_equal_mutants_are_one() {
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: x}]}]";
    let waits: Vec<String> = of(text)
        .mutants
        .into_iter()
        .map(|mutant| mutant.new)
        .collect();
    assert_eq!(waits, ["1m"]);
}

#[test]
fn a_change_is_shown_on_one_line_where_it_stands() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: |\n      # now\n      up == 0\n      or\n      absent(up{job=\"j\"})\n";
    let found = of(text).mutants;
    let shown: Vec<String> = found
        .iter()
        .filter(|mutant| matches!(mutant.operator, Operator::Branch | Operator::Matcher))
        .map(|mutant| {
            format!(
                "{}:{} [{}] → [{}]",
                mutant.line, mutant.column, mutant.old, mutant.new
            )
        })
        .collect();
    expect![[r#"
        7:7 [up == 0 or] → []
        8:7 [or absent(up{job="j"})] → []
        9:16 [{job="j"}] → []
        9:20 [=] → [!=]"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn every_change_of_the_shipped_rules_differs_and_parses() {
    let sources = ["inventory", "platform"].map(|name| {
        let path = format!("{}/rules/{name}.yml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("readable");
        (path, text)
    });
    let found = mutants(&sources, 15_000).expect("rules");
    for operator in Operator::ALL {
        let count = found
            .mutants
            .iter()
            .filter(|mutant| mutant.operator == operator)
            .count();
        assert!(
            count > 0 || operator == Operator::KeepFiringFor,
            "{operator}"
        );
    }
    for mutant in &found.mutants {
        assert_ne!(mutant.old, mutant.new, "{}:{}", mutant.line, mutant.column);
    }
}
