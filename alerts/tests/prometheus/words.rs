//! What queries are made of, with weights: how often people write it, from public rule files.

pub const METRICS: [(i64, &str); 17] = [
    (12, "hits_total"),
    (6, "errors_total"),
    (6, "up"),
    (8, "load"),
    (5, "heat"),
    (2, "start_time_seconds"),
    (5, "build_info"),
    (6, "latency_seconds_bucket"),
    (2, "latency_seconds_count"),
    (2, "latency_seconds_sum"),
    (3, "odd_bucket"),
    (4, "a"),
    (4, "b"),
    (1, "missing"),
    (1, "{__name__=~\"a|b\"}"),
    (1, "{__name__=~\".*_total\"}"),
    (1, "{job=\"api\"}"),
];
pub const LABELS: [&str; 7] = ["job", "instance", "code", "le", "x", "version", "y"];
pub const MATCHERS: [(i64, &str); 18] = [
    (10, "job=\"api\""),
    (5, "job!=\"api\""),
    (5, "job=~\"a.*|web\""),
    (3, "job!~\"w.b\""),
    (4, "instance=\"a:1\""),
    (4, "code=~\"5..\""),
    (3, "code!~\"2..\""),
    (3, "code!=\"\""),
    (3, "code=\"\""),
    (2, "missing=\"\""),
    (2, "missing=~\".*\""),
    (1, "missing=~\".+\""),
    (2, "x=~\"[1-2]\""),
    (1, "x=\"line\\nfeed\""),
    (1, "x='é'"),
    (2, "le!=\"+Inf\""),
    (1, "x=~\"(?i)TAB.\""),
    (1, "__name__!=\"a\""),
];
pub const RANGES: [&str; 10] = [
    "5m", "5m", "1m", "2m", "10m", "30s", "90s", "1m30s", "30m", "1h",
];
pub const STEPS: [&str; 6] = ["1m", "30s", "15s", "2m", "5m", ""];
pub const OVER_TIME: [(i64, &str); 20] = [
    (30, "rate"),
    (12, "increase"),
    (3, "irate"),
    (3, "delta"),
    (1, "idelta"),
    (3, "deriv"),
    (4, "changes"),
    (2, "resets"),
    (5, "avg_over_time"),
    (5, "max_over_time"),
    (3, "min_over_time"),
    (4, "sum_over_time"),
    (3, "count_over_time"),
    (3, "last_over_time"),
    (2, "present_over_time"),
    (2, "stddev_over_time"),
    (1, "stdvar_over_time"),
    (2, "absent_over_time"),
    (3, "quantile_over_time"),
    (3, "predict_linear"),
];
pub const MATH: [&str; 24] = [
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
    "round",
];
pub const DATES: [&str; 8] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "year",
];
pub const AGGREGATIONS: [(i64, &str); 12] = [
    (40, "sum"),
    (9, "max"),
    (6, "count"),
    (5, "avg"),
    (4, "min"),
    (3, "topk"),
    (2, "bottomk"),
    (2, "group"),
    (2, "quantile"),
    (2, "count_values"),
    (1, "stddev"),
    (1, "stdvar"),
];
pub const ARITHMETIC: [(i64, &str); 7] = [
    (30, "/"),
    (20, "*"),
    (16, "-"),
    (6, "+"),
    (2, "%"),
    (2, "^"),
    (1, "atan2"),
];
pub const COMPARISONS: [(i64, &str); 6] = [
    (20, ">"),
    (6, "=="),
    (6, "<"),
    (3, ">="),
    (3, "!="),
    (2, "<="),
];
pub const SETS: [(i64, &str); 3] = [(6, "and"), (5, "or"), (2, "unless")];
pub const NUMBERS: [&str; 16] = [
    "0", "1", "0.5", "2", "100", "-1", "0.99", "1e3", "3.7", "-0.5", "60", "NaN", "+Inf", "-Inf",
    "0x1F", "5",
];
