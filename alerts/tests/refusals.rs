//! Queries that must be refused, and with which words: the parser, our plan, or both say no, and never guess.

use alerts::promql::Query;

#[test]
fn what_is_not_promql_is_refused() {
    let queries = [
        "",
        "  ",
        "sum(up",
        "up{",
        "up}",
        "up +",
        "up)",
        "up up",
        "rate(up[5m)",
        "up[5m",
        "sum by (a up",
        "up offset",
        "foo{a=}",
        "1 +",
        "{}",
        "{a=\"b\" or c=\"d\"}",
        "up == == 1",
        "sum(up))",
        "up{a=\"b\",,}",
        "rate(up)",
        "rate(up[5m:1m)",
        "up @",
        "bottomk(up)",
        "absent(1)",
        "up and 1",
        "sum(1)",
        "count_values(1, up)",
        "label_replace(up, 1, 2, 3, 4)",
        "histogram_quantile(up, up)",
        "up > bool",
        "1 > 2",
        "vector(up)",
        "scalar(1)",
        "clamp(up, 1)",
        "topk(5)",
        "-\"a\"",
        "\"a\" + 1",
        "up[5m] + 1",
        "sum(up[5m])",
        "up[0s]",
        "foo{__name__=\"bar\"}",
        "{a=~\".*\"}",
        "up * on(a) group_left(a) up",
        "up and on(a) group_left() up",
        "nosuch(up)",
        "up{a=~\"(\"}",
        "label_replace(up, \"a\", \"b\", \"c\", \"(\")",
        "up[5m][5m]",
        "rate(up[5m]) offset 5m",
        "sum(up) offset 5m",
        "-up[5m]",
        "up or 1",
        "quantile(\"a\", up)",
        "time(1)",
        "up ^",
        "up bool == 1",
        "up + bool up",
        "sum(up,)",
        "round()",
        "up[5m:] + 1",
        "1[5m]",
        "\"a\"[5m:]",
        "up offset 5m offset 5m",
    ];
    let accepted: Vec<_> = queries
        .iter()
        .filter(|query| Query::parse(query).is_ok())
        .collect();
    assert!(accepted.is_empty(), "accepted: {accepted:#?}");
}

#[test]
fn what_is_experimental_or_native_is_refused_by_name() {
    let queries = [
        (
            "histogram_count(up)",
            "`histogram_count` needs native histograms",
        ),
        (
            "histogram_avg(up)",
            "`histogram_avg` needs native histograms",
        ),
        ("mad_over_time(up[5m])", "`mad_over_time` is experimental"),
        (
            "double_exponential_smoothing(up[5m], 0.5, 0.5)",
            "`double_exponential_smoothing` is experimental",
        ),
        (
            "sort_by_label(up, \"a\")",
            "`sort_by_label` is experimental",
        ),
        ("limitk(2, up)", "`limitk` is experimental"),
        ("limit_ratio(0.5, up)", "`limit_ratio` is experimental"),
        ("info(up)", "`info` is experimental"),
        ("up + on (a) fill (0) up", "fill modifiers are experimental"),
        (
            "up{a=\"\\xff\"}",
            "a string that is not UTF-8 is not supported",
        ),
    ];
    for (query, want) in queries {
        match Query::parse(query) {
            Ok(_) => panic!("{query} is accepted"),
            Err(error) => assert!(error.reason.contains(want), "{query}: {error}"),
        }
    }
}

#[test]
fn modifiers_that_are_not_supported_are_refused() {
    for query in [
        "rate(up[5m] anchored)",
        "rate(up[5m] smoothed)",
        "up smoothed",
        "rate(up[5m*2])",
        "up offset (5m+5m)",
        "rate(up[step()])",
    ] {
        assert!(Query::parse(query).is_err(), "{query} is accepted");
    }
}

/// Messages and places are those of Prometheus 3, which people search for.
#[test]
fn errors_are_worded_and_placed_as_in_prometheus() {
    let queries = [
        ("", "1:1: parse error: no expression found in input"),
        ("m)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("(m", "1:3: parse error: unclosed left parenthesis"),
        ("m[5m", "1:5: parse error: unclosed left bracket"),
        (
            "m{",
            "1:3: parse error: unexpected end of input inside braces",
        ),
        (
            "m{a=1}",
            "1:5: parse error: unexpected character inside braces: '1'",
        ),
        (
            "m{a}",
            "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator",
        ),
        ("m\n  n", "2:3: parse error: unexpected identifier \"n\""),
        (
            "sum(m n)",
            "1:7: parse error: unexpected identifier \"n\" in aggregation",
        ),
        (
            "sum by a (m)",
            "1:8: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\"",
        ),
        (
            "1..2",
            "1:1: parse error: bad number or duration syntax: \"1..\"",
        ),
        ("m[0]", "1:3: parse error: duration must be greater than 0"),
        (
            "m offset 1m [5m]",
            "1:13: parse error: no offset modifiers allowed before range",
        ),
        (
            "nosuch(m)",
            "1:1: parse error: unknown function with name \"nosuch\"",
        ),
        (
            "rate(m)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "round(m, 1, 2)",
            "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
        ),
        (
            "abs(m,)",
            "1:6: parse error: trailing commas not allowed in function call args",
        ),
        (
            "1 > 2",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "m == on(a) group_left(a) n",
            "1:3: parse error: label \"a\" must not occur in ON and GROUP clause at once",
        ),
        (
            "m or 1",
            "1:1: parse error: set operator \"or\" not allowed in binary scalar expression",
        ),
        (
            "{a=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "m{__name__=\"n\"}",
            "1:1: parse error: metric name must not be set twice: \"m\" or \"n\"",
        ),
        (
            "m{a=~\"(\"}",
            "1:3: parse error: error parsing regexp: missing closing ): `(`",
        ),
    ];
    for (query, want) in queries {
        match Query::parse(query) {
            Ok(_) => panic!("{query} is accepted"),
            Err(error) => {
                assert_eq!(error.reason, want, "{query}");
                assert!(!error.unsupported, "{query}");
                let at = error.at.unwrap_or_else(|| panic!("{query}: no place"));
                assert!(at <= query.len(), "{query}: {at}");
            }
        }
    }
}

/// Hostile input is refused before anything recurses into it. Run in a thread with the stack that threads have by default.
#[test]
fn deep_and_long_expressions_are_refused_not_overflowed() {
    let many = 100_000;
    let queries = [
        "(".repeat(many),
        "-".repeat(many) + "1",
        "sum(".repeat(many),
        "1".to_string() + &"+1".repeat(many),
        "1".to_string() + &"^1".repeat(many),
        "a or ".repeat(many) + "a",
        "a".to_string() + &"[5m:1m]".repeat(many),
        "a{".repeat(many),
        "[".repeat(many),
        " ".repeat(1 << 21),
        "\"".to_string() + &"x".repeat(1 << 21) + "\"",
        format!("a{{b=~\"{}\"}}", "(".repeat(many)),
        format!("a{{b=~\"{}\"}}", "(a{1000}){1000}".repeat(9)),
    ];
    for query in queries {
        let shown: String = query.chars().take(20).collect();
        assert!(Query::parse(&query).is_err(), "{shown}… is accepted");
    }
    let wide = format!("sum({})", vec!["a"; 200].join(" or "));
    Query::parse(&wide).expect("two hundred alternatives are not too deep");
}
