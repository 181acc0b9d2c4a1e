//! Series and values of test files: what is accepted, and what is refused with its column. Each row was put to promtool 3.5,
//! which agrees, but for the rows that say otherwise.

use alerts::labels::Labels;
use alerts::notation::{self, MAX_VALUES, Value};
use alerts::number::{STALE, is_stale};

fn shown(text: &str) -> String {
    let values = match notation::values(text) {
        Ok(values) => values,
        Err(error) => return error.to_string(),
    };
    let shown: Vec<String> = values
        .iter()
        .map(|value| match value {
            Value::Omitted => "_".into(),
            Value::Native => "native".into(),
            Value::Number(number) if is_stale(number) => "stale".into(),
            Value::Number(number) => number.to_string(),
        })
        .collect();
    assert_eq!(values.len(), shown.len() as u64, "{text}");
    shown.join(" ")
}

#[test]
fn values_are_expanded_as_prometheus_does() {
    for (text, want) in [
        ("", ""),
        ("  ", ""),
        (" 1\t2 ", "1 2"),
        ("1 2+3x4", "1 2 5 8 11 14"),
        ("1x3 1x0", "1 1 1 1 1"),
        ("-2-3x2", "-2 -5 -8"),
        ("-2+3x2", "-2 1 4"),
        ("_ _x3 _x0 1", "_ _ _ _ 1"),
        ("_ stale _", "_ stale _"),
        ("stale+1x2", "stale NaN NaN"),
        ("Inf inf +Inf -INF", "inf inf inf -inf"),
        ("NaN nan NaN+1x2", "NaN NaN NaN NaN NaN"),
        ("1e3 1e-3 1e+3x1", "1000 0.001 1000 1000"),
        ("1e3+2x2", "1000 1002 1004"),
        (".5 5. 5.e2 1_000 0.5_0", "0.5 5 500 1000 0.5"),
        ("010 08 0_7 1x03", "8 8 7 1 1 1 1"),
        ("0x3", "0 0 0 0"),
        ("{{}} {{schema:0 sum:1}}x1", "native native native"),
        ("{{schema:0}}+{{sum:1}}x2", "native native native"),
        ("0.1+0.1x2", "0.1 0.2 0.30000000000000004"),
    ] {
        assert_eq!(shown(text), want, "{text}");
    }
}

#[test]
fn values_that_prometheus_refuses_are_refused_with_their_column() {
    for (text, want) in [
        ("stalex2", "column 1: unexpected \"stalex2\""),
        ("stale x2", "column 7: unexpected \"x2\""),
        ("Infx2", "column 1: unexpected \"Infx2\""),
        ("infinity", "column 1: unexpected \"infinity\""),
        ("1 sum", "column 3: unexpected \"sum\""),
        ("_x", "column 3: invalid repetition \"\""),
        ("1x-3", "column 3: invalid repetition \"\""),
        ("1x3.5", "column 3: invalid repetition \"3.5\""),
        ("1x1e2", "column 3: invalid repetition \"1e2\""),
        ("1x1_000", "column 3: invalid repetition \"1_000\""),
        ("1x 3", "column 3: invalid repetition \"\""),
        ("1x3x4", "column 3: invalid repetition \"3x4\""),
        ("0x3x2", "column 3: invalid repetition \"3x2\""),
        ("1x99999999999999999999", "column 3: invalid repetition"),
        ("1 x3", "column 3: unexpected \"x3\""),
        ("1__0", "column 1: bad number syntax: \"1__0\""),
        ("1_", "column 1: bad number syntax"),
        ("1_x2", "column 1: bad number syntax"),
        ("1_e5", "column 1: bad number syntax"),
        ("1._5", "column 1: bad number syntax"),
        ("1.5.2", "column 1: bad number syntax"),
        ("1e", "column 1: bad number syntax"),
        ("1e5e", "column 1: bad number syntax"),
        ("2 5m", "column 3: bad number syntax: \"5m\""),
        ("1+2", "column 4: unexpected end of input"),
        ("1+-2x3", "column 3: unexpected character '-'"),
        ("1--2x3", "column 3: unexpected character '-'"),
        ("++1", "column 2: unexpected character '+'"),
        ("_1", "column 2: unexpected character '1'"),
        ("1,2", "column 2: unexpected character ','"),
        ("1 # c", "column 3: unexpected character '#'"),
        ("1 {a}", "column 3: unexpected character '{'"),
        ("stale{", "column 6: unexpected character '{'"),
        ("1\u{a0}2", "column 2: unexpected character '\\u{a0}'"),
        ("1 é", "column 3: unexpected character 'é'"),
        (
            "{{schema:0",
            "column 1: the native histogram is not closed by \"}}\"",
        ),
        ("{{}}+{{}}", "column 10: unexpected end of input"),
    ] {
        let got = shown(text);
        assert!(got.starts_with(want), "{text}: {got}");
    }
}

#[test]
fn a_count_costs_nothing_until_it_is_asked_for_and_is_bounded() {
    let values = notation::values(&format!("0+1x{}", MAX_VALUES - 1)).expect("at the bound");
    assert_eq!((values.len(), values.runs().count()), (MAX_VALUES, 1));
    assert_eq!(values.iter().nth(7), Some(Value::Number(7.0)));
    for text in [
        "1x4000000000",
        "_x18446744073709551615",
        "1x18446744073709551615",
        "{{}}x18446744073709551615",
        "_x18446744073709551615 _x18446744073709551615",
    ] {
        let error = notation::values(text).expect_err(text);
        assert!(
            error.reason.contains("more than 10000000 values"),
            "{text}: {error}"
        );
    }
}

#[test]
fn series_are_read_as_prometheus_does() {
    const NAME: &str = "__name__";
    for (text, want) in [
        ("up", &[(NAME, "up")][..]),
        ("up{}", &[(NAME, "up")]),
        ("{}", &[]),
        ("up{a='b'}", &[(NAME, "up"), ("a", "b")]),
        ("up{a=`b\\`}", &[(NAME, "up"), ("a", "b\\")]),
        ("up{ a = \"b\" , }", &[(NAME, "up"), ("a", "b")]),
        ("{\"up\",a=\"b\"}", &[(NAME, "up"), ("a", "b")]),
        (
            "{\"up down\",\"é\"=\"b\"}",
            &[(NAME, "up down"), ("é", "b")],
        ),
        ("{__name__=\"b\"}", &[(NAME, "b")]),
        ("up{\"a\"}", &[(NAME, "up")]),
        ("up{__name__=\"b\"}", &[(NAME, "up")]),
        ("up{a=\"\"}", &[(NAME, "up")]),
        (":a:b", &[(NAME, ":a:b")]),
        ("sum{on=\"}\"}", &[(NAME, "sum"), ("on", "}")]),
        ("offset", &[(NAME, "offset")]),
        ("stale", &[(NAME, "stale")]),
        (
            "up{a=\"\\x41\\u00e9\\101\\n\\\"'\"}",
            &[(NAME, "up"), ("a", "Aé\u{41}\n\"'")],
        ),
    ] {
        let (labels, values) = notation::series(&format!("{text} 1 2")).expect(text);
        assert_eq!(labels, Labels::of(want), "{text}");
        assert_eq!(values.len(), 2, "{text}");
        assert_eq!(notation::labels(text), Ok(labels), "{text}");
    }
    let spaced = notation::labels("up {a=\"b\"} ").expect("a space may stand here without values");
    assert_eq!(spaced, Labels::of(&[(NAME, "up"), ("a", "b")]));
}

#[test]
fn series_that_prometheus_refuses_are_refused_with_their_column() {
    for (text, want) in [
        ("", "column 2: a metric's name does not begin with a digit"),
        ("up {a=\"b\"}", "column 4: unexpected character '{'"),
        (
            "up{a!=\"b\"}",
            "column 5: unexpected character '!' in label set, expected \"=\"",
        ),
        ("up{a=~\"b\"}", "column 6: unexpected character '~'"),
        ("up{,}", "column 4: unexpected character ','"),
        ("up{a=\"b\" c=\"d\"}", "column 10: unexpected character 'c'"),
        ("up{a=\"b\",a=\"c\"}", "column 10: label \"a\" stands twice"),
        ("{\"a\",\"b\"}", "column 6: label \"__name__\" stands twice"),
        ("on", "column 1: \"on\" is a word of the language"),
        ("Inf", "column 1: \"Inf\" is a word of the language"),
        ("atan2{}", "column 1: \"atan2\" is a word of the language"),
        (
            "1a",
            "column 1: a metric's name does not begin with a digit",
        ),
        ("é", "column 1: unexpected character 'é'"),
        ("up{a:b=\"c\"}", "column 5: unexpected character ':'"),
        ("up{1=\"b\"}", "column 4: unexpected character '1'"),
        // promtool takes a byte that is no character.
        ("up{a=\"\\xff\"}", "column 7: unknown or unfinished escape"),
        ("up{a=\"\\'\"}", "column 7: unknown or unfinished escape"),
        ("up{a=\"\\é\"}", "column 7: unknown or unfinished escape"),
        ("up{a=\"", "column 6: unterminated quoted string"),
        ("up{a=b}", "column 6: unexpected character 'b'"),
        ("up{a}", "column 5: unexpected character '}'"),
        ("up{", "column 5: unexpected character '1'"),
        ("up{a=\"b\"}{", "column 10: unexpected character '{'"),
        ("up{{", "column 4: unexpected character '{'"),
    ] {
        let error = notation::series(&format!("{text} 1 2")).expect_err(text);
        assert!(error.to_string().starts_with(want), "{text}: {error}");
    }
    assert!(notation::labels("up 1").is_err());
}

#[test]
fn numbers_are_read_as_go_does() {
    for (text, want) in [
        ("1", Some(1.0)),
        ("-1.5e3", Some(-1500.0)),
        ("0x10", Some(16.0)),
        ("0X_1f", Some(31.0)),
        ("0b11", Some(3.0)),
        ("0o17", Some(15.0)),
        ("017", Some(15.0)),
        ("019", Some(19.0)),
        ("+Inf", Some(f64::INFINITY)),
        ("-infinity", Some(f64::NEG_INFINITY)),
        ("99999999999999999999", Some(1e20)),
        ("", None),
        ("-", None),
        ("--1", None),
        ("0x", None),
        ("0x-1", None),
        ("1_", None),
        ("1 2", None),
        ("é", None),
    ] {
        assert_eq!(notation::number(text), want, "{text}");
    }
    assert!(notation::number("NaN").is_some_and(|nan| nan.is_nan() && !is_stale(nan)));
    assert!(is_stale(STALE));
}

#[test]
fn labels_alone_may_be_followed_by_a_comment() {
    let plain = notation::labels("x{job=\"a\"}").expect("labels");
    for text in ["x{job=\"a\"}#", "x{job=\"a\"} # the one\n # of all\n"] {
        assert_eq!(notation::labels(text).as_ref(), Ok(&plain), "{text:?}");
    }
    assert!(notation::labels("x # the one\n y").is_err());
    assert!(notation::series("x# 1").is_err());
}
