//! Functions of the samples in a window.
//!
//! Sums are compensated (Neumaier), as in Prometheus, so that results agree to the last bit where its own do.

use super::quantile::quantile;
use super::window::View;
use crate::number::STALE;

/// A function of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Avg,
    Changes,
    Count,
    Delta,
    Deriv,
    First,
    Idelta,
    Increase,
    Irate,
    Last,
    Max,
    Min,
    PredictLinear,
    Present,
    Quantile,
    Rate,
    Resets,
    Stddev,
    Stdvar,
    Sum,
}

impl RangeFunction {
    pub fn named(name: &str) -> Option<Self> {
        use RangeFunction::*;
        Some(match name {
            "avg_over_time" => Avg,
            "changes" => Changes,
            "count_over_time" => Count,
            "delta" => Delta,
            "deriv" => Deriv,
            "first_over_time" => First,
            "idelta" => Idelta,
            "increase" => Increase,
            "irate" => Irate,
            "last_over_time" => Last,
            "max_over_time" => Max,
            "min_over_time" => Min,
            "predict_linear" => PredictLinear,
            "present_over_time" => Present,
            "quantile_over_time" => Quantile,
            "rate" => Rate,
            "resets" => Resets,
            "stddev_over_time" => Stddev,
            "stdvar_over_time" => Stdvar,
            "sum_over_time" => Sum,
            _ => return None,
        })
    }

    /// Those that answer one of the series' own samples keep its name.
    pub fn keeps_name(self) -> bool {
        matches!(self, RangeFunction::First | RangeFunction::Last)
    }

    /// Those that are meant for counters only and say so.
    pub fn wants_counter(self) -> bool {
        matches!(self, RangeFunction::Rate | RangeFunction::Increase)
    }

    /// The answer for a window that holds at least one sample. `param` is the function's scalar, `now_ms` the instant of
    /// the evaluation (not of the window's end).
    pub(super) fn answer(self, view: &View<'_>, param: f64, now_ms: i64) -> Option<f64> {
        use RangeFunction::*;
        let values = view.values;
        Some(match self {
            Avg => average(values.iter().copied()),
            Changes => pairs(values, |before, after| {
                before != after && !(before.is_nan() && after.is_nan())
            }),
            Count => values.len() as f64,
            Delta => return extrapolated(view, false, false),
            Increase => return extrapolated(view, true, false),
            Rate => return extrapolated(view, true, true),
            Deriv => regression(view, view.t_ms[0])?.0,
            PredictLinear => {
                let (slope, intercept) = regression(view, now_ms)?;
                slope * param + intercept
            }
            First => values[0],
            Idelta => return last_two(view, false),
            Irate => return last_two(view, true),
            Last => *values.last()?,
            Max => values.iter().copied().fold(f64::NAN, |most, v| {
                if v > most || most.is_nan() { v } else { most }
            }),
            Min => values.iter().copied().fold(f64::NAN, |least, v| {
                if v < least || least.is_nan() {
                    v
                } else {
                    least
                }
            }),
            Present => 1.0,
            Quantile => quantile(param, &mut values.to_vec()),
            Resets => view.resets.len() as f64,
            Stddev => variance(values).sqrt(),
            Stdvar => variance(values),
            Sum => {
                let mut sum = Compensated::default();
                values.iter().for_each(|value| sum.add(*value));
                sum.value()
            }
        })
    }
}

/// A sum with its rounding errors (Neumaier's), as Prometheus adds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compensated {
    sum: f64,
    rest: f64,
}

impl Compensated {
    pub fn of(first: f64) -> Self {
        Compensated {
            sum: first,
            rest: 0.0,
        }
    }

    /// What the sum loses is what the smaller one loses. (Knuth's way to it needs no comparison, but overflows near the largest
    /// numbers.)
    #[inline]
    pub fn add(&mut self, term: f64) {
        let total = self.sum + term;
        let (large, small) = match self.sum.abs() >= term.abs() {
            true => (self.sum, term),
            false => (term, self.sum),
        };
        self.rest += (large - total) + small;
        self.sum = total;
    }

    /// An infinite sum has no errors to give back; it stays infinite or becomes NaN, so that this is early enough to see.
    #[inline]
    pub fn value(self) -> f64 {
        if self.sum.is_infinite() {
            self.sum
        } else {
            self.sum + self.rest
        }
    }

    /// Both parts times a factor.
    fn scaled(self, factor: f64) -> Self {
        Compensated {
            sum: self.sum * factor,
            rest: self.rest * factor,
        }
    }
}

/// Compensated mean; when the sum overflows the rest is averaged step by step.
pub(super) struct Mean {
    sum: Compensated,
    count: f64,
    stepwise: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Mean {
            sum: Compensated::of(first),
            count: 1.0,
            stepwise: false,
        }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.stepwise {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.sum = sum;
                return;
            }
            self.stepwise = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.rest /= self.count - 1.0;
        }
        self.sum = self.sum.scaled((self.count - 1.0) / self.count);
        self.sum.add(value / self.count);
    }

    pub fn value(&self) -> f64 {
        if self.stepwise {
            self.sum.value()
        } else {
            self.sum.sum / self.count + self.sum.rest / self.count
        }
    }
}

fn average(mut values: impl Iterator<Item = f64>) -> f64 {
    let Some(first) = values.next() else {
        return STALE;
    };
    let mut mean = Mean::new(first);
    values.for_each(|value| mean.add(value));
    mean.value()
}

fn pairs(values: &[f64], counts: impl Fn(f64, f64) -> bool) -> f64 {
    values
        .windows(2)
        .filter(|two| counts(two[0], two[1]))
        .count() as f64
}

/// `rate`, `increase` and `delta`: the change over the samples, extended towards the window's bounds.
fn extrapolated(view: &View<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let (t, values) = (view.t_ms, view.values);
    let last = values.len() - 1;
    if last == 0 {
        return None;
    }
    let mut change = values[last] - values[0];
    if counter {
        for before in view.resets {
            change += before;
        }
    }
    let sampled = (t[last] - t[0]) as f64 / 1000.0;
    let spacing = sampled / last as f64;
    let threshold = spacing * 1.1;
    let mut to_start = t[0].saturating_sub(view.start_ms) as f64 / 1000.0;
    let mut to_end = view.end_ms.saturating_sub(t[last]) as f64 / 1000.0;
    if to_start >= threshold {
        to_start = spacing / 2.0;
    }
    if counter {
        // A counter cannot have been below zero: not further back than where the slope meets it.
        let to_zero = if change > 0.0 && values[0] >= 0.0 {
            sampled * (values[0] / change)
        } else {
            to_start
        };
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = spacing / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= view.end_ms.saturating_sub(view.start_ms) as f64 / 1000.0;
    }
    Some(change * factor)
}

fn last_two(view: &View<'_>, rate: bool) -> Option<f64> {
    let last = view.values.len().checked_sub(1).filter(|last| *last > 0)?;
    let (before, after) = (view.values[last - 1], view.values[last]);
    let spacing = view.t_ms[last] - view.t_ms[last - 1];
    let change = if rate && after < before {
        after
    } else {
        after - before
    };
    Some(if rate {
        change / (spacing as f64 / 1000.0)
    } else {
        change
    })
}

/// Least squares: slope per second and value at `origin_ms`.
fn regression(view: &View<'_>, origin_ms: i64) -> Option<(f64, f64)> {
    if view.values.len() < 2 {
        return None;
    }
    let first = view.values[0];
    if view.values.iter().all(|value| *value == first) {
        return Some(if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        });
    }
    let n = view.values.len() as f64;
    let seconds = |t: &i64| t.saturating_sub(origin_ms) as f64 / 1000.0;
    let (mut y, mut xy) = (Compensated::default(), Compensated::default());
    let (x, xx) = match whole_seconds(view.t_ms, origin_ms) {
        Some(sums) => {
            for (t, value) in view.t_ms.iter().zip(view.values) {
                y.add(*value);
                xy.add(seconds(t) * value);
            }
            sums
        }
        None => {
            let (mut x, mut xx) = (Compensated::default(), Compensated::default());
            for (t, value) in view.t_ms.iter().zip(view.values) {
                let at = seconds(t);
                x.add(at);
                y.add(*value);
                xy.add(at * value);
                xx.add(at * at);
            }
            (x.value(), xx.value())
        }
    };
    let (y, xy) = (y.value(), xy.value());
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// The sums of the distances to `origin_ms`, in seconds, and of their squares, where all are whole numbers and no sum is so large
/// that it would be rounded: then they need no compensation, and come out the same.
fn whole_seconds(t_ms: &[i64], origin_ms: i64) -> Option<(f64, f64)> {
    const EXACT: i64 = 1 << 53;
    let far = |t: &i64| t.saturating_sub(origin_ms).saturating_abs() / 1000;
    let most = far(t_ms.first()?).max(far(t_ms.last()?));
    most.checked_mul(most)?
        .checked_mul(t_ms.len() as i64)
        .filter(|sum| *sum < EXACT)?;
    let (mut x, mut xx, mut rest) = (0, 0, 0);
    for t in t_ms {
        let ms = t - origin_ms;
        let at = ms / 1000;
        rest |= ms - at * 1000;
        x += at;
        xx += at * at;
    }
    (rest == 0).then_some((x as f64, xx as f64))
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut spread, mut count) = (Compensated::default(), Compensated::default(), 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        spread.add(delta * (value - mean.value()));
    }
    spread.value() / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum as Prometheus writes it.
    fn neumaier(terms: &[f64]) -> f64 {
        let (mut sum, mut rest) = (0.0_f64, 0.0);
        for term in terms {
            let total = sum + term;
            rest = if total.is_infinite() {
                0.0
            } else if sum.abs() >= term.abs() {
                rest + ((sum - total) + term)
            } else {
                rest + ((term - total) + sum)
            };
            sum = total;
        }
        sum + rest
    }

    fn term() -> impl Strategy<Value = f64> {
        let edges = [
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        prop_oneof![
            4 => -1e6..1e6_f64,
            4 => any::<f64>(),
            1 => prop::sample::select(edges.to_vec()),
        ]
    }

    #[test]
    fn sums_near_the_largest_numbers_do_not_overflow_on_the_way() {
        let terms = [7.142215339346609e307, f64::MIN];
        let mut sum = Compensated::default();
        terms.iter().for_each(|term| sum.add(*term));
        assert_eq!(sum.value(), neumaier(&terms));
    }

    #[test]
    fn sums_of_whole_seconds_need_no_compensation() {
        let sums = |t_ms: &[i64], origin_ms| whole_seconds(t_ms, origin_ms);
        assert_eq!(
            sums(&[1_000, 16_000, 31_000], 31_000),
            Some((-45.0, 1125.0))
        );
        assert_eq!(sums(&[1_500, 16_500], 1_500), Some((15.0, 225.0)));
        assert_eq!(sums(&[1_000, 16_001], 31_000), None);
        assert_eq!(sums(&[0], 4_000_000_000_000_000), None);
        assert_eq!(sums(&[i64::MIN], i64::MAX), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn sums_are_those_of_prometheus_to_the_bit(terms in prop::collection::vec(term(), 0..12)) {
            let mut sum = Compensated::default();
            terms.iter().for_each(|term| sum.add(*term));
            let (ours, theirs) = (sum.value(), neumaier(&terms));
            prop_assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{ours:e} instead of {theirs:e}");
        }
    }
}
