//! Range vectors: samples of each series and, for each instant, which of them are in the window.
//!
//! Invariant: a window is left-open, `(end - range, end]`; stale markers are not in it, ordinary NaN values are.

use super::eval::{Column, Context, EvalFailure};
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
    /// The window's bounds.
    pub start_ms: i64,
    pub end_ms: i64,
}

/// More points than this in one subquery are a mistake in its step.
const SUBQUERY_POINTS_MAX: i64 = 20_000_000;

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
        let (from, to) = (
            ends.first().copied().unwrap_or(0) - window.range_ms,
            ends.last().copied().unwrap_or(0),
        );
        let first = (from.div_euclid(step) + 1) * step;
        if (to - first) / step > SUBQUERY_POINTS_MAX {
            return Err(EvalFailure::new(format!(
                "subquery needs more than {SUBQUERY_POINTS_MAX} points"
            )));
        }
        let mut inner: Vec<i64> = Vec::new();
        let mut t = first;
        let mut windows = ends.iter().peekable();
        while t <= to {
            // Instants that lie in no window are skipped; windows and instants both ascend.
            while windows.peek().is_some_and(|end| **end < t) {
                windows.next();
            }
            match windows.peek() {
                Some(end) if **end - window.range_ms < t => inner.push(t),
                Some(end) => {
                    t = ((**end - window.range_ms).div_euclid(step) + 1) * step;
                    continue;
                }
                None => break,
            }
            t += step;
        }
        let columns = context.vector(expr, &inner)?;
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

    /// Slides over one series; `answer` sees windows that hold at least one sample.
    pub fn slide(
        &self,
        samples: &Samples,
        mut answer: impl FnMut(usize, &View<'_>) -> Option<f64>,
    ) -> Vec<f64> {
        let (mut low, mut high) = (0, 0);
        let mut out = Vec::with_capacity(self.ends.len());
        for (at, end) in self.ends.iter().enumerate() {
            let start = end.saturating_sub(self.range_ms);
            while high < samples.t_ms.len() && samples.t_ms[high] <= *end {
                high += 1;
            }
            while low < high && samples.t_ms[low] <= start {
                low += 1;
            }
            let value = if low == high {
                None
            } else {
                answer(
                    at,
                    &View {
                        t_ms: &samples.t_ms[low..high],
                        values: &samples.values[low..high],
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
    ) -> Vec<Column> {
        let mut out = Vec::with_capacity(self.series.len());
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
        out
    }
}
