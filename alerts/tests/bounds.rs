//! What an evaluation may cost: deep expressions end, large ones are refused before they take the memory.

use alerts::labels::Labels;
use alerts::promql::{Options, Query, Source};
use alerts::series::SeriesStore;

fn store() -> SeriesStore {
    let mut store = SeriesStore::new();
    for instance in 0..3 {
        let labels = Labels::of(&[
            ("__name__", "m"),
            ("instance", ["a", "b", "c"][instance as usize]),
        ]);
        for t in 0..20 {
            let value = f64::from(instance * t);
            store
                .append(&labels, i64::from(t) * 60_000, value)
                .expect("in order");
        }
    }
    store
}

#[test]
fn expressions_as_deep_as_allowed_are_evaluated() {
    let store = store();
    let source = Source::new(&store);
    let nested = |open: &str, core: &str, close: &str, n| open.repeat(n) + core + &close.repeat(n);
    let queries = [
        nested("-(", "m", ")", 120),
        nested("abs(", "m", ")", 240),
        nested("sum by (instance) (", "m", ")", 240),
        nested("", "m", " + m", 240),
        nested("(m + ", "m", ")", 120),
        nested("max_over_time(", "m", "[1m:1m])", 120),
        nested("2 ^ ", "2", "", 240),
        nested("clamp_max(", "m", ", 1)", 240),
    ];
    for query in queries {
        let shown: String = query.chars().take(30).collect();
        let parsed = Query::parse(&query).unwrap_or_else(|error| panic!("{shown}: {error}"));
        parsed
            .at(&source, &Options::default(), 600_000)
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
}

#[test]
fn times_at_the_ends_of_the_clock_saturate() {
    let store = store();
    let source = Source::new(&store);
    let queries = [
        "m offset 292y",
        "m offset -292y",
        "m @ 9e15",
        "m @ -9e15",
        "m @ 9223372036854774784",
        "m @ -9223372036854774784 offset 292y",
        "increase(m[292y])",
        "increase(m[292y] offset 292y)",
        "deriv(m[292y] offset -292y)",
        "predict_linear(m[292y], 1e300)",
        "sum_over_time(m[292y:100y] offset 292y)",
        "absent_over_time(m[292y:292y] @ 9223372036854774784)",
        "timestamp(m @ -9223372036854774784)",
        "year(vector(-1e300)) + day_of_year(vector(1e300))",
    ];
    for query in queries {
        let parsed = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        for t_ms in [0, 600_000, i64::MAX, i64::MIN] {
            let _ = parsed.at(&source, &Options::default(), t_ms);
            let _ = parsed.each(&source, &Options::default(), &[i64::MIN, t_ms, i64::MAX]);
        }
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let store = store();
    let source = Source::new(&store);
    let day = 86_400_000;
    let cases = [
        ("1", (0, i64::MAX), 1, "steps"),
        ("1", (i64::MIN, i64::MAX), 1, "steps"),
        ("m @ 0", (0, 250 * day), 1000, "steps"),
        ("m", (0, 9 * day), 1000, ""),
        (
            "count_values(\"v\", vector(time()))",
            (0, 9 * day),
            1000,
            "too many samples",
        ),
        ("sum_over_time(m[100y:1ms])", (0, 0), 1, "points"),
        (
            "sum_over_time(vector(1)[100d:1s])",
            (0, day),
            60_000,
            "windows",
        ),
    ];
    for (query, bounds, step_ms, want) in cases {
        let parsed = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let answer = parsed.range(&source, &Options::default(), bounds, step_ms);
        match (answer, want) {
            (Ok(_), "") => {}
            (Ok(_), want) => panic!("{query} is evaluated, not refused for {want}"),
            (Err(error), "") => panic!("{query}: {error}"),
            (Err(error), want) => assert!(error.reason.contains(want), "{query}: {error}"),
        }
    }
}

/// Words of the language, and some that are none: most sequences of them are refused, some mean something.
const WORDS: [&str; 60] = [
    "m",
    "m",
    "n",
    "1",
    "2",
    "0.5",
    "NaN",
    "Inf",
    "5m",
    "1y",
    "\"a\"",
    "'",
    "`",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "[5m]",
    "[5m:1m]",
    "[1d:7s]",
    ",",
    "=",
    "=~",
    "!=",
    "==",
    ">",
    "<=",
    "bool",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    "@ 60",
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "(instance)",
    "group_left",
    "group_right",
    "by",
    "without",
    "offset",
    "sum",
    "topk",
    "count_values",
    "rate",
    "quantile_over_time",
    "label_replace",
    "{instance=~\".*\"}",
    "#",
    "\u{e9}",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3000))]

    #[test]
    fn no_sequence_of_words_panics(picks in proptest::collection::vec(0..WORDS.len(), 1..14)) {
        let words: Vec<&str> = picks.iter().map(|at| WORDS[*at]).collect();
        let store = store();
        let source = Source::new(&store);
        for query in [words.join(" "), words.concat()] {
            match Query::parse(&query) {
                Ok(parsed) => {
                    let _ = parsed.annotated_at(&source, &Options::default(), 600_000);
                    let _ = parsed.annotated_range(&source, &Options::default(), (0, 1_200_000), 97_000);
                }
                Err(error) => assert!(error.at.is_some_and(|at| at <= query.len()), "{query}: {error}"),
            }
        }
    }

    #[test]
    fn no_function_of_anything_panics(
        function in proptest::sample::select(vec![
            "rate", "deriv", "quantile", "topk", "round", "clamp", "histogram_quantile", "histogram_fraction", "year",
            "predict_linear", "quantile_over_time", "stddev_over_time", "label_join", "sort", "absent", "timestamp",
        ]),
        args in proptest::collection::vec(proptest::sample::select(vec![
            "m", "m[5m]", "m[20m:7s]", "1", "NaN", "-Inf", "1e300", "\"a\"", "-m", "m / 0", "scalar(m)", "time()",
            "{instance=~\".+\"}", "vector(-1e300)", "label_replace(m, \"le\", \"$1\", \"instance\", \"(.*)\")",
        ]), 0..4),
    ) {
        let query = format!("{function}({})", args.join(", "));
        let store = store();
        let source = Source::new(&store);
        if let Ok(parsed) = Query::parse(&query) {
            let _ = parsed.annotated_at(&source, &Options::default(), 600_000);
            let _ = parsed.annotated_range(&source, &Options::default(), (0, 1_200_000), 97_000);
        }
    }
}
