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
            Resets => pairs(values, |before, after| after < before),
            Stddev => variance(values).sqrt(),
            Stdvar => variance(values),
            Sum => {
                let (sum, rest) = values
                    .iter()
                    .fold((0.0, 0.0), |(sum, rest), v| kahan(*v, sum, rest));
                if sum.is_infinite() { sum } else { sum + rest }
            }
        })
    }
}

/// One step of a compensated sum: `(sum, compensation)` after adding `term`.
#[inline]
pub(super) fn kahan(term: f64, sum: f64, rest: f64) -> (f64, f64) {
    let total = sum + term;
    let rest = if total.is_infinite() {
        0.0
    } else if sum.abs() >= term.abs() {
        rest + ((sum - total) + term)
    } else {
        rest + ((term - total) + sum)
    };
    (total, rest)
}

/// Compensated mean; when the sum overflows the rest is averaged step by step.
pub(super) struct Mean {
    sum: f64,
    rest: f64,
    count: f64,
    stepwise: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Mean {
            sum: first,
            rest: 0.0,
            count: 1.0,
            stepwise: false,
        }
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.stepwise {
            let (sum, rest) = kahan(value, self.sum, self.rest);
            if !sum.is_infinite() {
                (self.sum, self.rest) = (sum, rest);
                return;
            }
            self.stepwise = true;
            self.sum /= self.count - 1.0;
            self.rest /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        (self.sum, self.rest) = kahan(value / self.count, share * self.sum, share * self.rest);
    }

    pub fn value(&self) -> f64 {
        if self.stepwise {
            self.sum + self.rest
        } else {
            self.sum / self.count + self.rest / self.count
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
        let mut before = values[0];
        for value in &values[1..] {
            if *value < before {
                change += before;
            }
            before = *value;
        }
    }
    let sampled = (t[last] - t[0]) as f64 / 1000.0;
    let spacing = sampled / last as f64;
    let threshold = spacing * 1.1;
    let mut to_start = (t[0] - view.start_ms) as f64 / 1000.0;
    let mut to_end = (view.end_ms - t[last]) as f64 / 1000.0;
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
        factor /= (view.end_ms - view.start_ms) as f64 / 1000.0;
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
    let (mut x, mut y, mut xy, mut xx) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    for (t, value) in view.t_ms.iter().zip(view.values) {
        let at = (*t - origin_ms) as f64 / 1000.0;
        x = kahan(at, x.0, x.1);
        y = kahan(*value, y.0, y.1);
        xy = kahan(at * value, xy.0, xy.1);
        xx = kahan(at * at, xx.0, xx.1);
    }
    let (x, y, xy, xx) = (x.0 + x.1, y.0 + y.1, xy.0 + xy.1, xx.0 + xx.1);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut spread, mut count) = ((0.0, 0.0), (0.0, 0.0), 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean.0 + mean.1);
        mean = kahan(delta / count, mean.0, mean.1);
        spread = kahan(delta * (value - (mean.0 + mean.1)), spread.0, spread.1);
    }
    (spread.0 + spread.1) / count
}
