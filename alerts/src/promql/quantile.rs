//! Quantiles: of plain values, and of classic histograms by their buckets.

use indexmap::IndexMap;

use super::eval::{Column, Context};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, is_stale, parse_value};

/// Bucket counts that differ by less than this, relatively, are taken as equal: float noise, not a lost observation.
const NOISE: f64 = 1e-12;

/// The quantile of values; sorts them, NaN first.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a_nan, b_nan) => b_nan.cmp(&a_nan),
    });
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// Merges equal bounds and makes counts monotonic. `None` without `+Inf`, where nothing can be said.
fn prepare(buckets: &mut Vec<Bucket>) -> Option<()> {
    if buckets.last()?.bound != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count < before || nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    Some(())
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < NOISE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < NOISE
}

/// The quantile of buckets sorted by bound.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    if prepare(buckets).is_none() || buckets.len() < 2 {
        return f64::NAN;
    }
    let top = buckets.len() - 1;
    let observations = buckets[top].count;
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let at = buckets[..top].partition_point(|bucket| bucket.count < rank);
    if at == top {
        return buckets[top - 1].bound;
    }
    if at == 0 && buckets[0].bound <= 0.0 {
        return buckets[0].bound;
    }
    let (mut start, end, mut count) = (0.0, buckets[at].bound, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    start + (end - start) * (rank / count)
}

/// The share of observations between two values.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if prepare(buckets).is_none() {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |value: f64| {
        let mut rank = 0.0;
        let mut from = if buckets[0].bound > 0.0 {
            0.0
        } else {
            f64::NEG_INFINITY
        };
        for bucket in buckets.iter() {
            if from >= value {
                return rank;
            }
            if bucket.bound > value {
                let share = (value - from) / (bucket.bound - from);
                // Inside an unbounded bucket nothing tells where: all of it counts as below.
                let share = if bucket.bound.is_infinite() || from.is_infinite() {
                    0.0
                } else {
                    share
                };
                return rank + (bucket.count - rank) * share;
            }
            (rank, from) = (bucket.count, bucket.bound);
        }
        rank
    };
    (below(upper).min(count) - below(lower).min(count)) / count
}

/// What to compute from buckets, with one number per instant.
pub(super) enum Question<'a> {
    Quantile(&'a [f64]),
    Fraction(&'a [f64], &'a [f64]),
}

/// Groups bucket series by their other labels and answers per instant.
pub(super) fn histogram(
    context: &Context<'_>,
    question: &Question<'_>,
    columns: Vec<Column>,
) -> Vec<Column> {
    /// Bound and counts of each bucket series.
    type Buckets = Vec<(f64, Vec<f64>)>;
    let mut groups: IndexMap<(Labels, bool), Buckets> = IndexMap::new();
    for column in columns {
        // A series without a readable bound is no bucket and is left out, as in Prometheus (which notes it).
        let Some(bound) = parse_value(column.labels.get("le")) else {
            continue;
        };
        let labels = column
            .labels
            .filtered(|name| name != "le" && (context.options.delayed_names || name != NAME));
        groups
            .entry((labels, column.drop_name))
            .or_default()
            .push((bound, column.values));
    }
    let mut out = Vec::with_capacity(groups.len());
    let mut buckets = Vec::new();
    for ((labels, drop_name), mut series) in groups {
        series.sort_by(|a, b| a.0.total_cmp(&b.0));
        let instants = series[0].1.len();
        let values = (0..instants)
            .map(|at| {
                buckets.clear();
                let present = series.iter().filter(|(_, values)| !is_stale(values[at]));
                buckets.extend(present.map(|(bound, values)| Bucket {
                    bound: *bound,
                    count: values[at],
                }));
                match question {
                    _ if buckets.is_empty() => STALE,
                    Question::Quantile(q) => bucket_quantile(q[at], &mut buckets),
                    Question::Fraction(lower, upper) => {
                        bucket_fraction(lower[at], upper[at], &mut buckets)
                    }
                }
            })
            .collect();
        out.push(context.unnamed(Column {
            labels,
            drop_name,
            values,
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(bound, count)| Bucket {
                bound: *bound,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn bucket_quantiles_at_the_edges() {
        let inf = f64::INFINITY;
        type Case<'a> = (&'a str, f64, &'a [(f64, f64)], f64);
        let cases: [Case<'_>; 9] = [
            (
                "interpolates",
                0.5,
                &[(1.0, 10.0), (2.0, 20.0), (inf, 20.0)],
                1.0,
            ),
            (
                "the top bucket answers the second-highest bound",
                0.99,
                &[(1.0, 1.0), (inf, 20.0)],
                1.0,
            ),
            ("no +Inf", 0.5, &[(1.0, 1.0), (2.0, 2.0)], f64::NAN),
            ("no observation", 0.5, &[(1.0, 0.0), (inf, 0.0)], f64::NAN),
            (
                "below 0",
                -1.0,
                &[(1.0, 1.0), (inf, 1.0)],
                f64::NEG_INFINITY,
            ),
            ("above 1", 2.0, &[(1.0, 1.0), (inf, 1.0)], inf),
            (
                "forced monotonic",
                0.9,
                &[(1.0, 10.0), (2.0, 5.0), (4.0, 20.0), (inf, 20.0)],
                3.6,
            ),
            (
                "equal bounds are merged",
                0.5,
                &[(1.0, 5.0), (1.0, 5.0), (2.0, 20.0), (inf, 20.0)],
                1.0,
            ),
            (
                "first bound not above 0",
                0.1,
                &[(-1.0, 5.0), (2.0, 20.0), (inf, 20.0)],
                -1.0,
            ),
        ];
        for (what, q, given, want) in cases {
            let got = bucket_quantile(q, &mut buckets(given));
            assert!(
                got == want || (got.is_nan() && want.is_nan()),
                "{what}: {got} instead of {want}"
            );
        }
    }
}
