//! Unit-test files that are refused; what is said of them stands in `refused.txt`.

/// The rule file that they name.
pub const RULES: &str = "groups: [{name: g, rules: [{alert: A, expr: x > 0}]}]\n";

/// One file.
pub struct Case {
    /// Its text.
    pub text: String,
    /// promtool refuses or fails it too.
    pub by_promtool: bool,
}

/// Everything that may be wrong.
pub fn cases() -> Vec<Case> {
    let test = |body: &str| format!("rule_files: [rules.yml]\ntests:\n- {body}\n");
    let series = |values: &str| {
        test(&format!(
            "input_series: [{{series: x, values: '{values}'}}]"
        ))
    };
    let check = |body: &str| test(&format!("promql_expr_test: [{{expr: x, {body}}}]"));
    let case = |text: String| Case {
        text,
        by_promtool: true,
    };
    vec![
        case("tests: [".into()),
        case("tests: {}\n".into()),
        case("rules: []\n".into()),
        case("evaluation_interval: 1x\n".into()),
        case("evaluation_interval: 5\n".into()),
        case("evaluation_interval: -1m\n".into()),
        case("evaluation_interval: [1m]\n".into()),
        case("fuzzy_compare: maybe\n".into()),
        case("group_eval_order: [a, b, a]\n".into()),
        case("rule_files: rules.yml\n".into()),
        case(test("nam: x")),
        case(test("interval: 1h1y")),
        case(test("start_timestamp: yesterday")),
        case(test("input_series: [{series: '{', values: 1}]")),
        case(test("input_series: [{series: 'x{a=1}', values: 1}]")),
        case(test("input_series: [{series: x, value: 1}]")),
        case(series("1 2 abc")),
        case(series("1+x5")),
        case(series("1 2x")),
        case(series("1 0x-5")),
        case(test("alert_rule_test: [{eval_time: 1m}]")),
        case(test("alert_rule_test: [{alertname: '', eval_time: 1m}]")),
        case(test("alert_rule_test: [{alertname: A, eval_time: soon}]")),
        case(test(
            "alert_rule_test: [{alertname: A, exp_alerts: [{labels: {a: b}}]}]",
        )),
        case(test(
            "alert_rule_test: [{alertname: A, exp_alerts: [{exp_labels: [a]}]}]",
        )),
        case(test(
            "alert_rule_test: [{alertname: A, exp_alerts: [{exp_labels: {a: b, a: c}}]}]",
        )),
        case(test("promql_expr_test: [{expr: 'sum(('}]")),
        case(check("exp_samples: [{labels: 'x{', value: 1}]")),
        case(check("exp_samples: [{value: NaN}]")),
        case(check("exp_samples: [{value: '1'}]")),
        case(check("exp_samples: [{value: one}]")),
        case(check("exp_samples: [{val: 1}]")),
        case(check("exp_samples: [{histogram: 'x'}]")),
        Case {
            by_promtool: false,
            ..case(series("{{schema:0}}"))
        },
        Case {
            by_promtool: false,
            ..case(check("exp_samples: [{histogram: '{{sum:1}}'}]"))
        },
        Case {
            by_promtool: false,
            ..case(series("0x4000000000"))
        },
        Case {
            by_promtool: false,
            ..case(test("alert_rule_test: [{alertname: A, eval_time: 100y}]"))
        },
        Case {
            by_promtool: false,
            ..case("rule_files: [missing.yml]\n".into())
        },
    ]
}
