//! Range vectors: samples of each series and, for each instant, which of them are in the window.
//!
//! Invariant: a window is left-open, `(end - range, end]`; stale markers are not in it, ordinary NaN values are.

use std::collections::BTreeSet;

use super::column::Column;
use super::eval::{Context, EvalFailure};
use super::plan::{Node, Window, WindowSource};
use crate::labels::Labels;
use crate::number::{STALE, is_stale};
use crate::series::Samples;

/// Samples for one window expression over all instants.
pub(super) struct Windows {
    pub series: Vec<WindowSeries>,
    /// End of the window at each instant, offset and `@` applied.
    pub ends: Vec<i64>,
    pub range_ms: i64,
}

pub(super) struct WindowSeries {
    pub labels: Labels,
    pub drop_name: bool,
    pub samples: Samples,
}

/// One window of one series.
pub(super) struct View<'a> {
    pub t_ms: &'a [i64],
    pub values: &'a [f64],
    /// The values that are followed by a smaller one within the window: what a counter had when it was reset. They are found
    /// once per series, not once per window.
    pub resets: &'a [f64],
    /// The window's bounds.
    pub start_ms: i64,
    pub end_ms: i64,
}

/// More points than this in one subquery are a mistake in its step.
const SUBQUERY_POINTS_MAX: usize = 10_000_000;

/// More samples than this in the windows of one range function, each counted as often as it is in one, take minutes.
const VISITS_MAX: usize = 5_000_000_000;

/// The multiples of the step that lie in some window, ascending.
fn points(ends: &[i64], range_ms: i64, step: i64) -> Result<Vec<i64>, EvalFailure> {
    let mut out: Vec<i64> = Vec::new();
    for end in ends {
        let start = end.saturating_sub(range_ms);
        let next = out.last().map_or(i64::MIN, |last| last.saturating_add(1));
        // Windows overlap: go on where the last one ended.
        let from = start.saturating_add(1).max(next);
        // Rounded up to a multiple, and away from what no 64 bits hold.
        let Some(mut t) = from.checked_add((-from).rem_euclid(step)) else {
            continue;
        };
        // Counted before they are made.
        let more = (i128::from(*end) - i128::from(t)).div_euclid(i128::from(step)) + 1;
        if out.len() as i128 + more.max(0) > SUBQUERY_POINTS_MAX as i128 {
            return Err(EvalFailure::new(format!(
                "a subquery needs more than {SUBQUERY_POINTS_MAX} points"
            )));
        }
        while t <= *end {
            out.push(t);
            let Some(following) = t.checked_add(step) else {
                break;
            };
            t = following;
        }
    }
    Ok(out)
}

impl Windows {
    pub fn read(
        window: &Window,
        context: &Context<'_>,
        instants: &[i64],
    ) -> Result<Windows, EvalFailure> {
        match &window.source {
            WindowSource::Selector(selector) => {
                let ends = context.resolve(&selector.when, instants);
                let (from, to) = (
                    ends.first().copied().unwrap_or(0),
                    ends.last().copied().unwrap_or(0),
                );
                let series = context
                    .source
                    .select(selector)
                    .into_iter()
                    .map(|found| {
                        let samples = context.source.samples(
                            &found,
                            from.saturating_sub(window.range_ms),
                            to,
                        );
                        WindowSeries {
                            labels: found.labels,
                            drop_name: false,
                            samples: samples.without_stale(),
                        }
                    })
                    .filter(|series| !series.samples.t_ms.is_empty())
                    .collect();
                Ok(Windows {
                    series,
                    ends,
                    range_ms: window.range_ms,
                })
            }
            WindowSource::Subquery {
                expr,
                step_ms,
                when,
            } => {
                let ends = context.resolve(when, instants);
                Self::subquery(
                    expr,
                    step_ms.unwrap_or(context.options.subquery_step_ms),
                    window,
                    ends,
                    context,
                )
            }
        }
    }

    /// Evaluates the inner expression at the absolute multiples of the step that any window needs.
    fn subquery(
        expr: &Node,
        step: i64,
        window: &Window,
        ends: Vec<i64>,
        context: &Context<'_>,
    ) -> Result<Windows, EvalFailure> {
        let inner = points(&ends, window.range_ms, step)?;
        let steps = Context {
            stepwise: true,
            ..*context
        };
        let columns = steps.vector(expr, &inner)?;
        let series = columns
            .into_iter()
            .map(|column| {
                let mut samples = Samples::default();
                for (t, value) in inner
                    .iter()
                    .zip(&column.values)
                    .filter(|(_, value)| !is_stale(**value))
                {
                    samples.t_ms.push(*t);
                    samples.values.push(*value);
                }
                WindowSeries {
                    labels: column.labels,
                    drop_name: column.drop_name,
                    samples,
                }
            })
            .filter(|series| !series.samples.t_ms.is_empty())
            .collect();
        Ok(Windows {
            series,
            ends,
            range_ms: window.range_ms,
        })
    }

    /// Samples in the windows of one series, each counted as often as it is in one.
    fn visits(&self, samples: &Samples) -> usize {
        let count = |end: &i64| {
            let start = end.saturating_sub(self.range_ms);
            let before = |t_ms: i64| samples.t_ms.partition_point(|t| *t <= t_ms);
            before(*end) - before(start)
        };
        self.ends.iter().map(count).sum()
    }

    /// Slides over one series; `answer` sees windows that hold at least one sample.
    fn slide(
        &self,
        samples: &Samples,
        mut answer: impl FnMut(usize, &View<'_>) -> Option<f64>,
    ) -> Vec<f64> {
        let pairs = samples.values.windows(2).enumerate();
        let (reset_at, before): (Vec<usize>, Vec<f64>) = pairs
            .filter(|(_, two)| two[1] < two[0])
            .map(|(at, two)| (at, two[0]))
            .unzip();
        let (mut low, mut high) = (0, 0);
        let (mut reset_low, mut reset_high) = (0, 0);
        let mut out = Vec::with_capacity(self.ends.len());
        for (at, end) in self.ends.iter().enumerate() {
            let start = end.saturating_sub(self.range_ms);
            while high < samples.t_ms.len() && samples.t_ms[high] <= *end {
                high += 1;
            }
            while low < high && samples.t_ms[low] <= start {
                low += 1;
            }
            while reset_high < reset_at.len() && reset_at[reset_high] + 1 < high {
                reset_high += 1;
            }
            while reset_low < reset_high && reset_at[reset_low] < low {
                reset_low += 1;
            }
            let value = if low == high {
                None
            } else {
                answer(
                    at,
                    &View {
                        t_ms: &samples.t_ms[low..high],
                        values: &samples.values[low..high],
                        resets: &before[reset_low..reset_high],
                        start_ms: start,
                        end_ms: *end,
                    },
                )
            };
            out.push(value.unwrap_or(STALE));
        }
        out
    }

    /// Applies `answer` to every series.
    pub fn columns(
        self,
        context: &Context<'_>,
        keep_name: bool,
        answer: impl Fn(usize, &View<'_>) -> Option<f64>,
    ) -> Result<Vec<Column>, EvalFailure> {
        context.room(self.series.len(), self.ends.len())?;
        let mut out = Vec::with_capacity(self.series.len());
        // Few samples or few instants need no counting.
        let most = self.series.iter().map(|series| series.samples.t_ms.len());
        if most.sum::<usize>().saturating_mul(self.ends.len()) > VISITS_MAX {
            let visits = self
                .series
                .iter()
                .map(|series| self.visits(&series.samples));
            if visits.sum::<usize>() > VISITS_MAX {
                return Err(EvalFailure::new(format!(
                    "windows of one range function hold more than {VISITS_MAX} samples"
                )));
            }
        }
        for series in &self.series {
            let values = self.slide(&series.samples, &answer);
            let column = Column {
                labels: series.labels.clone(),
                drop_name: series.drop_name,
                values,
            };
            out.push(if keep_name {
                column
            } else {
                context.unnamed(column)
            });
        }
        if context.stepwise && !context.options.delayed_names {
            refuse_equal_labels(&out)?;
        }
        Ok(out)
    }

    /// Labels of the series, in the order of [`Self::columns`].
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.iter().map(|series| &series.labels)
    }
}

/// Of the steps of one evaluation Prometheus demands distinct labels from a function of ranges, also where they never meet.
fn refuse_equal_labels(columns: &[Column]) -> Result<(), EvalFailure> {
    let mut seen = BTreeSet::new();
    let present = columns
        .iter()
        .filter(|column| column.present().next().is_some());
    for column in present {
        if !seen.insert(&column.labels) {
            return Err(EvalFailure::new(
                "vector cannot contain metrics with the same labelset",
            ));
        }
    }
    Ok(())
}
