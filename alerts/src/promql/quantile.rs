//! Quantiles: of plain values, and of classic histograms by their buckets.

use indexmap::IndexMap;

use super::annotations::Repair;
use super::column::Column;
use super::eval::Context;
use crate::labels::Labels;
use crate::number::{STALE, is_stale, parse_value};

/// Bucket counts that differ by less than this, relatively, are taken as equal: float noise, not a lost observation.
const NOISE: f64 = 1e-12;

/// The quantile of values; sorts them, NaN first.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return outside(q);
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

/// Merges equal bounds. `None` without `+Inf`, where nothing can be said.
fn merge(buckets: &mut Vec<Bucket>) -> Option<()> {
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
    Some(())
}

/// Makes counts monotonic; tells what had to be changed beyond noise.
fn make_monotonic(buckets: &mut [Bucket], t_ms: i64) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if nearly_equal(before, count) {
            bucket.count = before;
            continue;
        }
        if count < before {
            bucket.count = before;
            let found = repair.get_or_insert(Repair {
                t_ms: (t_ms, t_ms),
                bounds: (f64::INFINITY, f64::NEG_INFINITY),
                most: 0.0,
                samples: 1,
            });
            found.bounds = (
                found.bounds.0.min(bucket.bound),
                found.bounds.1.max(bucket.bound),
            );
            found.most = found.most.max(before - count);
            continue;
        }
        before = count;
    }
    repair
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

/// The quantile of buckets sorted by bound, and what had to be repaired for it.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>, t_ms: i64) -> (f64, Option<Repair>) {
    if !(0.0..=1.0).contains(&q) {
        return (outside(q), None);
    }
    if merge(buckets).is_none() {
        return (f64::NAN, None);
    }
    let repair = make_monotonic(buckets, t_ms);
    let top = buckets.len() - 1;
    if top == 0 || buckets[top].count == 0.0 {
        return (f64::NAN, repair);
    }
    let mut rank = q * buckets[top].count;
    let at = buckets[..top].partition_point(|bucket| !reaches(bucket.count, rank));
    if at == top {
        return (buckets[top - 1].bound, repair);
    }
    if at == 0 && buckets[0].bound <= 0.0 {
        return (buckets[0].bound, repair);
    }
    let (mut start, end, mut count) = (0.0, buckets[at].bound, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), repair)
}

/// Never true where one side is NaN.
fn reaches(count: f64, rank: f64) -> bool {
    count >= rank
}

/// What a quantile outside of 0…1 answers.
fn outside(q: f64) -> f64 {
    if q.is_nan() {
        f64::NAN
    } else if q < 0.0 {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    }
}

/// The share of observations between two values. Counts are taken as they are, monotonic or not.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if merge(buckets).is_none() {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, count, buckets) - rank_of(lower, count, buckets)) / count
}

/// How many observations lie below a value, all of them at most.
fn rank_of(value: f64, count: f64, buckets: &[Bucket]) -> f64 {
    let mut rank = 0.0;
    // Without a bound at or below 0 there are no negative observations.
    let mut from = if buckets[0].bound <= 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    let most = |rank: f64| if rank > count { count } else { rank };
    for bucket in buckets {
        if from >= value {
            return most(rank);
        }
        if bucket.bound > value {
            // In a bucket without a lower bound nothing tells where: all of it is below.
            return most(match from == f64::NEG_INFINITY {
                true => bucket.count,
                false => rank + (bucket.count - rank) * (value - from) / (bucket.bound - from),
            });
        }
        (rank, from) = (bucket.count, bucket.bound);
    }
    count
}

/// What to compute from buckets, with one number per instant.
pub(super) enum Question<'a> {
    Quantile(&'a [f64]),
    Fraction(&'a [f64], &'a [f64]),
}

/// Bucket series of one histogram: bounds, and counts per instant.
struct Histogram {
    buckets: Vec<(f64, Vec<f64>)>,
    /// The name that an annotation gives.
    metric: String,
}

/// A bound as Go reads it: one too large for a float is malformed.
fn bound(text: &str) -> Option<f64> {
    let bound = parse_value(text)?;
    let overflown = bound.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!overflown).then_some(bound)
}

/// Groups bucket series by their other labels, the name included, and answers per instant. `at` is where the buckets stand.
pub(super) fn histogram(
    context: &Context<'_>,
    question: &Question<'_>,
    columns: Vec<Column>,
    at: usize,
    instants: &[i64],
) -> Vec<Column> {
    let mut groups: IndexMap<(Labels, bool), Histogram> = IndexMap::new();
    for column in columns {
        let metric = match context.options.delayed_names {
            true => column.labels.name().to_string(),
            false => String::new(),
        };
        let text = column.labels.get("le");
        let Some(bound) = bound(text) else {
            // A series that answers nothing here was not looked at.
            if column.present().next().is_some() {
                context.notes.bad_bucket(at, &metric, text);
            }
            continue;
        };
        let labels = column.labels.filtered(|name| name != "le");
        let group = groups.entry((labels, column.drop_name));
        let found = group.or_insert_with(|| Histogram {
            buckets: Vec::new(),
            metric,
        });
        found.buckets.push((bound, column.values));
    }
    let answer = |((labels, drop_name), mut found): ((Labels, bool), Histogram)| {
        found.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let values = answers(context, question, &found, at, instants);
        context.unnamed(Column {
            labels,
            drop_name,
            values,
        })
    };
    groups.into_iter().map(answer).collect()
}

fn answers(
    context: &Context<'_>,
    question: &Question<'_>,
    found: &Histogram,
    place: usize,
    instants: &[i64],
) -> Vec<f64> {
    let mut buckets = Vec::with_capacity(found.buckets.len());
    let mut out = Vec::with_capacity(instants.len());
    for (at, t_ms) in instants.iter().enumerate() {
        buckets.clear();
        let present = found
            .buckets
            .iter()
            .filter(|(_, values)| !is_stale(values[at]));
        buckets.extend(present.map(|(bound, values)| Bucket {
            bound: *bound,
            count: values[at],
        }));
        out.push(match question {
            _ if buckets.is_empty() => STALE,
            Question::Quantile(q) => {
                let (value, repair) = bucket_quantile(q[at], &mut buckets, *t_ms);
                if let Some(repair) = repair {
                    context.notes.repaired(place, &found.metric, repair);
                }
                value
            }
            Question::Fraction(lower, upper) => bucket_fraction(lower[at], upper[at], &mut buckets),
        });
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
            let (got, _) = bucket_quantile(q, &mut buckets(given), 0);
            assert!(
                got == want || (got.is_nan() && want.is_nan()),
                "{what}: {got} instead of {want}"
            );
        }
    }
}
