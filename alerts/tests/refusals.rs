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
        ("up{a=\"\\xff\"}", "single byte above 0x7f"),
        ("{a=\"b\" or c=\"d\"}", "is not PromQL"),
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
