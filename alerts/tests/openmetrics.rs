//! OpenMetrics text: what is written reads back the same.

use alerts::labels::{Labels, NAME};
use alerts::number::STALE;
use alerts::openmetrics::{self, Written};
use alerts::promql::Source;
use alerts::series::SeriesStore;
use proptest::prelude::*;

/// Names and values of labels.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn text(store: &SeriesStore) -> (String, Written) {
    let mut out = Vec::new();
    let written = openmetrics::write(&Source::new(store), |_| true, &mut out).expect("writable");
    (String::from_utf8(out).expect("UTF-8"), written)
}

/// Every series with every sample that the format can say, values as bits.
fn dump(store: &SeriesStore) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let mut all: Vec<_> = store
        .all()
        .map(|series| {
            let samples = store.samples(series, i64::MIN, i64::MAX).without_stale();
            let bits = |value: f64| if value.is_nan() { f64::NAN } else { value }.to_bits();
            let values = samples.values.into_iter().map(bits);
            let samples: Vec<_> = samples.t_ms.into_iter().zip(values).collect();
            (store.labels(series).clone(), samples)
        })
        .filter(|(_, samples)| !samples.is_empty())
        .collect();
    all.sort();
    all
}

fn awkward() -> SeriesStore {
    let mut store = SeriesStore::new();
    let rows: [(Pairs<'_>, &[(i64, f64)]); 5] = [
        (
            &[(NAME, "z_total")],
            &[(1_005, 1.0), (1_006, STALE), (1_700_000_000_015, 2.0)],
        ),
        (
            &[(NAME, "a:b"), ("v", "q\" b\\ n\n } é \r")],
            &[(0, f64::NAN), (1, f64::INFINITY)],
        ),
        (
            &[(NAME, "a:b")],
            &[(1, f64::NEG_INFINITY), (2, -0.0), (3, 5e-324)],
        ),
        (
            &[(NAME, "_"), ("le", "0.1")],
            &[(1, f64::MAX), (2, 0.1 + 0.2), (3, 1e17), (4, 1e-5)],
        ),
        (&[(NAME, "gone")], &[(5, STALE)]),
    ];
    for (labels, samples) in rows {
        for (t_ms, value) in samples {
            store
                .append(&Labels::of(labels), *t_ms, *value)
                .expect("in order");
        }
    }
    store
}

#[test]
fn series_are_written_by_name_with_seconds_and_without_stale_markers() {
    let (text, written) = text(&awkward());
    let want = r#"_{le="0.1"} 1.7976931348623157e308 0.001
_{le="0.1"} 0.30000000000000004 0.002
_{le="0.1"} 1e17 0.003
_{le="0.1"} 0.00001 0.004
a:b -Inf 0.001
a:b -0 0.002
a:b 5e-324 0.003
a:b{v="q\" b\\ n\n } é "#
        .to_string()
        + "\r\"} NaN 0\n"
        + r#"a:b{v="q\" b\\ n\n } é "#
        + "\r\"} +Inf 0.001\n"
        + "z_total 1 1.0050000000000001\nz_total 2 1700000000.015\n# EOF\n";
    assert_eq!(text, want);
    let counts = Written {
        series: 4,
        samples: 11,
        stale_markers: 2,
    };
    assert_eq!(written, counts);
}

#[test]
fn layers_are_written_as_a_query_sees_them() {
    let (mut first, mut second) = (SeriesStore::new(), SeriesStore::new());
    let a = Labels::of(&[(NAME, "a")]);
    for (store, samples) in [
        (&mut first, [(1_000, 1.0), (3_000, 3.0)]),
        (&mut second, [(1_000, 9.0), (2_000, 2.0)]),
    ] {
        for (t_ms, value) in samples {
            store.append(&a, t_ms, value).expect("in order");
        }
    }
    first
        .append(&Labels::of(&[(NAME, "b")]), 1_000, 1.0)
        .expect("in order");
    let mut out = Vec::new();
    let source = Source::layered(vec![&first, &second]);
    openmetrics::write(&source, |labels| labels.name() == "a", &mut out).expect("writable");
    assert_eq!(
        String::from_utf8_lossy(&out),
        "a 1 1\na 2 2\na 3 3\n# EOF\n"
    );
}

#[test]
fn what_the_format_cannot_hold_is_refused_before_anything_is_written() {
    let cases: [(Pairs<'_>, i64, &str); 3] = [
        (&[("job", "x")], 1, r#"{job="x"}: a series without a name"#),
        (&[(NAME, "a"), ("job", "\0")], 1, "zero byte"),
        (
            &[(NAME, "a")],
            -1,
            "a: promtool reads no sample before the epoch",
        ),
    ];
    for (labels, t_ms, want) in cases {
        let mut store = awkward();
        store
            .append(&Labels::of(labels), t_ms, 1.0)
            .expect("in order");
        let mut out = Vec::new();
        let error = openmetrics::write(&Source::new(&store), |_| true, &mut out)
            .expect_err("refused")
            .to_string();
        assert!(error.contains(want), "{error}");
        assert!(out.is_empty());
    }
}

#[test]
fn what_is_not_openmetrics_with_instants_is_an_error_with_its_line() {
    let cases = [
        ("a 1 1\n", 2, "was the text cut?"),
        ("", 1, "was the text cut?"),
        ("a 1 1\n# EOF\na 1 2\n", 3, "text after"),
        ("a 1\n# EOF\n", 1, "has no timestamp"),
        ("a 1 # {x=\"y\"} 1\n# EOF\n", 1, "has no timestamp"),
        ("a 1 x\n# EOF\n", 1, "invalid timestamp"),
        ("a 1 inf\n# EOF\n", 1, "invalid timestamp"),
        ("a 1 1\r\n# EOF\n", 1, "invalid timestamp"),
        ("a 1 1 1\n# EOF\n", 1, "unexpected"),
        ("a x 1\n# EOF\n", 1, "invalid value"),
        ("\na 1 1\n# EOF\n", 1, "no value"),
        ("a 1 2\na 1 1\n# EOF\n", 2, "not after the last"),
        ("{a=\"b\"} 1 1\n# EOF\n", 1, "invalid metric name"),
    ];
    for (text, line, want) in cases {
        let error = openmetrics::read(text.as_bytes())
            .expect_err(text)
            .to_string();
        assert!(
            error.starts_with(&format!("line {line}: ")),
            "{text:?}: {error}"
        );
        assert!(error.contains(want), "{text:?}: {error}");
    }
    let endless = std::io::Read::chain("a{b=\"".as_bytes(), std::io::repeat(b'x'));
    let error = openmetrics::read(std::io::BufReader::new(endless)).expect_err("too long");
    assert_eq!(error.to_string(), "line 1: longer than 1048576 bytes");
    let error = openmetrics::read(&b"a{b=\"\xff\"} 1 1\n# EOF\n"[..]).expect_err("not UTF-8");
    assert!(
        error.to_string().starts_with("line 1: invalid utf-8"),
        "{error}"
    );
}

#[test]
fn comments_exemplars_and_quoted_names_are_read() {
    let text = "# TYPE a counter\n# HELP a x\na_total 1 1.5 # {trace_id=\"x\"} 1 1\n{\"b.c\",\"d.e\"=\"f\"} NaN 2\n# EOF";
    let store = openmetrics::read(text.as_bytes()).expect("readable");
    let want = [
        (
            Labels::of(&[(NAME, "a_total")]),
            vec![(1_500, 1f64.to_bits())],
        ),
        (
            Labels::of(&[(NAME, "b.c"), ("d.e", "f")]),
            vec![(2_000, f64::NAN.to_bits())],
        ),
    ];
    assert_eq!(dump(&store), want);
    assert_eq!(
        self::text(&store).0,
        "a_total 1 1.5\n{\"b.c\",\"d.e\"=\"f\"} NaN 2\n# EOF\n"
    );
}

proptest! {
    #[test]
    fn any_series_reads_back_the_same(
        series in prop::collection::vec(
            (
                "\\PC{1,8}",
                prop::collection::btree_map("\\PC{1,8}", "[^\0]{0,8}", 0..4),
                prop::collection::btree_map(0i64..4_000_000_000_000, any::<u64>(), 1..20),
            ),
            0..8,
        ),
    ) {
        let mut store = SeriesStore::new();
        for (name, labels, samples) in series {
            let mut pairs: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            pairs.push((NAME, &name));
            for (t_ms, bits) in samples {
                // Two series of equal labels may meet; the second is then dropped where it overlaps.
                let _ = store.append(&Labels::of(&pairs), t_ms, f64::from_bits(bits));
            }
        }
        let again = openmetrics::read(text(&store).0.as_bytes()).expect("readable");
        prop_assert_eq!(dump(&again), dump(&store));
    }
}
