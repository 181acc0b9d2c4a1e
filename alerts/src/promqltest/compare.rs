//! Compares an answer with what is expected of it.
//!
//! Invariant: numbers are equal as for Prometheus' runner: within a millionth of their sum, the stale marker only with itself,
//! any other NaN with any other.

use indexmap::{IndexMap, IndexSet};

use super::{Expect, Steps};
use crate::labels::Labels;
use crate::notation::{Value, Values};
use crate::number::{format_g, is_stale};
use crate::promql::Answer;

/// Relative difference that two equal numbers may have.
const EPSILON: f64 = 0.000_001;

/// An answer as it is compared.
pub(super) enum Answered {
    Text(String),
    Scalar(f64),
    /// In the order of the answer.
    Vector(Vec<(Labels, f64)>),
    /// Instants and values of each series.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
}

impl Answered {
    /// The answer at one instant, or of a range.
    pub fn of(answer: Answer, steps: Option<Steps>) -> Self {
        let stepped = |values: Vec<f64>, steps: &Steps| -> Vec<(i64, f64)> {
            let present = values.into_iter().enumerate();
            present
                .filter(|(_, value)| !is_stale(*value))
                .map(|(index, value)| (steps.at(index), value))
                .collect()
        };
        match (answer, steps) {
            (Answer::Text(text), _) => Answered::Text(text),
            (Answer::Scalar(values), None) => {
                Answered::Scalar(values.first().copied().unwrap_or(f64::NAN))
            }
            (Answer::Scalar(values), Some(steps)) => {
                Answered::Matrix(vec![(Labels::default(), stepped(values, &steps))])
            }
            (Answer::Vector(columns), None) => Answered::Vector(
                columns
                    .iter()
                    .filter_map(|column| {
                        let (_, value) = column.present().next()?;
                        Some((column.labels.clone(), value))
                    })
                    .collect(),
            ),
            (Answer::Vector(columns), Some(steps)) => Answered::Matrix(
                columns
                    .into_iter()
                    .map(|column| (column.labels, stepped(column.values, &steps)))
                    .collect(),
            ),
            (Answer::Matrix(series), _) => Answered::Matrix(
                series
                    .into_iter()
                    .map(|(labels, samples)| {
                        (
                            labels,
                            samples.t_ms.into_iter().zip(samples.values).collect(),
                        )
                    })
                    .collect(),
            ),
        }
    }

    /// The second instant of a range's answer.
    pub fn middle(answer: Answer) -> Self {
        match answer {
            Answer::Scalar(values) => Answered::Scalar(values.get(1).copied().unwrap_or(f64::NAN)),
            Answer::Vector(columns) => Answered::Vector(
                columns
                    .iter()
                    .filter_map(|column| {
                        let (_, value) = column.present().find(|(at, _)| *at == 1)?;
                        Some((column.labels.clone(), value))
                    })
                    .collect(),
            ),
            other => Answered::of(other, None),
        }
    }

    /// In the notation of the file, a range's instants spelt out.
    pub fn shown(&self) -> Vec<String> {
        match self {
            Answered::Text(text) => vec![format!("expect string {text:?}")],
            Answered::Scalar(value) => vec![number(*value)],
            Answered::Vector(vector) if vector.is_empty() => vec!["no series".into()],
            Answered::Matrix(series) if series.is_empty() => vec!["no series".into()],
            Answered::Vector(vector) => vector
                .iter()
                .map(|(labels, value)| format!("{labels} {}", number(*value)))
                .collect(),
            Answered::Matrix(series) => series
                .iter()
                .map(|(labels, samples)| format!("{labels} {}", points(samples)))
                .collect(),
        }
    }
}

fn number(value: f64) -> String {
    if is_stale(value) {
        "stale".into()
    } else {
        format_g(value, None)
    }
}

fn points(samples: &[(i64, f64)]) -> String {
    let points = samples
        .iter()
        .map(|(t_ms, value)| format!("{}@{}s", number(*value), *t_ms as f64 / 1000.0));
    points.collect::<Vec<_>>().join(" ")
}

/// The expected values of each series, with their position.
type Wanted = IndexMap<Labels, (usize, Values)>;

/// The first difference. Range vectors and ranges have values at `steps`.
pub(super) fn compare(
    expect: &Expect,
    steps: Option<Steps>,
    answered: &Answered,
) -> Result<(), String> {
    let wanted = &expect.series;
    match answered {
        Answered::Text(text) if *text == expect.text.clone().unwrap_or_default() => Ok(()),
        Answered::Text(text) => Err(format!("answered the string {text:?}")),
        Answered::Scalar(value) => match expect.scalar {
            Some(want) if close(want, *value) => Ok(()),
            Some(want) => Err(format!("{} instead of {}", number(*value), number(want))),
            None => Err("answered a scalar".into()),
        },
        Answered::Vector(_) | Answered::Matrix(_) if expect.scalar.is_some() => {
            Err("expected a scalar".into())
        }
        Answered::Vector(vector) => {
            compare_vector(wanted, expect.ordered, vector)?;
            complete(wanted, vector.iter().map(|(labels, _)| labels))
        }
        Answered::Matrix(_) if expect.ordered => Err("a range has no order".into()),
        Answered::Matrix(series) => {
            let steps = steps.ok_or("answered a range vector")?;
            compare_matrix(wanted, steps, series)?;
            complete(wanted, series.iter().map(|(labels, _)| labels))
        }
    }
}

fn compare_vector(wanted: &Wanted, ordered: bool, vector: &[(Labels, f64)]) -> Result<(), String> {
    for (at, (labels, value)) in vector.iter().enumerate() {
        let (position, values) = find(wanted, labels)?;
        if ordered && position != at + 1 {
            let at = at + 1;
            return Err(format!("{labels} is number {at} instead of {position}"));
        }
        // Prometheus' runner takes an omitted value for 0 here.
        let want = match values.iter().next() {
            Some(Value::Number(want)) => want,
            _ => 0.0,
        };
        if !close(want, *value) {
            let (got, want) = (number(*value), number(want));
            return Err(format!("{labels} is {got} instead of {want}"));
        }
    }
    Ok(())
}

fn compare_matrix(
    wanted: &Wanted,
    steps: Steps,
    series: &[(Labels, Vec<(i64, f64)>)],
) -> Result<(), String> {
    for (labels, samples) in series {
        let (_, values) = find(wanted, labels)?;
        if values.len() > steps.count() as u64 {
            let (have, most) = (values.len(), steps.count());
            return Err(format!(
                "{have} values of {labels} are expected at {most} instants"
            ));
        }
        let written = values.iter().enumerate();
        let wanted: Vec<(i64, f64)> = written
            .filter_map(|(at, value)| match value {
                Value::Number(value) => Some((steps.at(at), value)),
                _ => None,
            })
            .collect();
        let differs = |((t, value), (at, want)): &(&(i64, f64), &(i64, f64))| {
            t != at || !close(*want, *value)
        };
        if let Some((got, want)) = samples.iter().zip(&wanted).find(differs) {
            let (got, want) = (points(&[*got]), points(&[*want]));
            return Err(format!("{labels} is {got} instead of {want}"));
        }
        if samples.len() != wanted.len() {
            let (got, want) = (samples.len(), wanted.len());
            return Err(format!("{labels} has {got} values instead of {want}"));
        }
    }
    Ok(())
}

fn find<'e>(wanted: &'e Wanted, labels: &Labels) -> Result<(usize, &'e Values), String> {
    match wanted.get(labels) {
        Some((position, values)) => Ok((*position, values)),
        None => Err(format!("unexpected series {labels}")),
    }
}

/// Everything that is expected was answered.
fn complete<'a>(wanted: &Wanted, answered: impl Iterator<Item = &'a Labels>) -> Result<(), String> {
    let answered: IndexSet<&Labels> = answered.collect();
    match wanted.keys().find(|labels| !answered.contains(labels)) {
        Some(labels) => Err(format!("series {labels} is missing")),
        None => Ok(()),
    }
}

/// Whether two numbers are the same, but for rounding.
fn close(want: f64, got: f64) -> bool {
    if is_stale(want) || is_stale(got) {
        return is_stale(want) && is_stale(got);
    }
    if (want.is_nan() && got.is_nan()) || want == got {
        return true;
    }
    let sum = want.abs() + got.abs();
    let difference = (want - got).abs();
    if want == 0.0 || got == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}
