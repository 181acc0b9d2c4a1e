//! What is written in the notation of unit tests reads back as it was.

use alerts::labels::{Labels, NAME};
use alerts::notation::{self, Value, write_labels, write_values};
use alerts::number::STALE;
use proptest::prelude::*;

fn read(text: &str) -> Vec<Option<u64>> {
    let values = notation::values(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let bits = |value| match value {
        Value::Omitted => None,
        Value::Number(number) => Some(f64::to_bits(number)),
        Value::Native => panic!("{text}: a native histogram"),
    };
    values.iter().map(bits).collect()
}

#[test]
fn runs_are_short_and_what_cannot_be_a_run_is_written_out() {
    let some = |values: &[f64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
    let cases: [(Vec<Option<f64>>, &str); 12] = [
        (vec![], ""),
        (vec![None], "_"),
        (vec![None; 5], "_x5"),
        (some(&[5.0; 41]), "5x40"),
        (some(&[5.0, 5.0]), "5 5"),
        (some(&[0.0, 1.0, 2.0, 3.0, 7.0]), "0+1x3 7"),
        (some(&[1.0, 0.5, 0.0, -0.5]), "1-0.5x3"),
        (some(&[-3.0, -3.0, -3.0]), "-3x2"),
        // A sum of tenths is not what is written for three of them.
        (some(&[0.0, 0.1, 0.2, 0.3]), "0+0.1x2 0.3"),
        (
            some(&[STALE, STALE, 1e21]),
            "stale stale 1000000000000000000000",
        ),
        (some(&[f64::INFINITY; 3]), "+Inf +Inf +Inf"),
        (
            vec![None, Some(4.0), None, Some(STALE), None, None],
            "_ 4 _ stale _x2",
        ),
    ];
    for (values, text) in cases {
        assert_eq!(write_values(&values), text);
        let bits: Vec<Option<u64>> = values.iter().map(|value| value.map(f64::to_bits)).collect();
        assert_eq!(read(text), bits, "{text}");
    }
}

/// Numbers as they come in recordings, and the odd ones.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-3i32..4).prop_map(f64::from),
        2 => any::<f64>().prop_filter("one NaN is like another", |value| !value.is_nan()),
        1 => prop_oneof![Just(STALE), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.1), Just(1e-9)],
    ]
}

proptest! {
    #[test]
    fn values_read_back_as_they_were(
        runs in prop::collection::vec((prop::option::of(number()), number(), 1usize..9), 0..20)
    ) {
        let mut values = Vec::new();
        for (first, step, count) in runs {
            let mut next = first;
            for _ in 0..count {
                values.push(next);
                next = next.map(|value| if step.is_finite() && value.is_finite() { value + step } else { value });
            }
        }
        let bits: Vec<Option<u64>> = values.iter().map(|value| value.map(f64::to_bits)).collect();
        prop_assert_eq!(read(&write_values(&values)), bits);
    }

    #[test]
    fn labels_read_back_as_they_were(
        name in "([a-z_:][a-z0-9_:]{0,5}|[a-zé. ]{1,5})",
        pairs in prop::collection::vec(("[a-z_][a-z0-9_]{0,5}|[a-z.é-]{1,4}", any::<String>()), 0..4),
    ) {
        let mut all = vec![(NAME, &*name)];
        all.extend(pairs.iter().map(|(name, value)| (&**name, &**value)));
        let labels = Labels::of(&all);
        let text = write_labels(&labels);
        let read = notation::labels(&text);
        prop_assert_eq!(read, Ok(labels), "{}", text);
    }
}
