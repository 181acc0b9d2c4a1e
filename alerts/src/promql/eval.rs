//! Walks a plan over a list of instants.
//!
//! Invariant: within one vector no two columns have equal labels (columns that never overlap in time are merged, any
//! other pair is an error), as Prometheus demands of each instant.

use indexmap::IndexMap;
use thiserror::Error;

use super::annotations::{Annotations, Notes};
use super::column::{Column, distinct};
use super::plan::{At, Call, Node, QueryError, ResultType, Selector, When};
use super::resolve;
use super::select::{Source, latest};
use super::window::Windows;
use super::{aggregate, binary, instant};
use crate::labels::Labels;
use crate::number::{STALE, is_stale};
use crate::series::Samples;

/// A query that failed while it ran.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct EvalFailure {
    /// What happened.
    pub reason: String,
}

impl EvalFailure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        EvalFailure {
            reason: reason.into(),
        }
    }
}

/// Settings of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How far back an instant selector looks, exclusive; Prometheus' default is 5 minutes.
    pub lookback_ms: i64,
    /// Step of a subquery that names none.
    pub subquery_step_ms: i64,
    /// Whether metric names are dropped at the end of the query instead of by each function
    /// (`promql-delayed-name-removal`, off by default).
    pub delayed_names: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            delayed_names: false,
        }
    }
}

/// What a query answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One number per instant.
    Scalar(Vec<f64>),
    /// Columns in the order of the query.
    Vector(Vec<Column>),
    /// Samples of the range before a single instant.
    Matrix(Vec<(Labels, Samples)>),
    /// A literal.
    Text(String),
}

/// A parsed and checked query.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    plan: Node,
}

pub(super) struct Context<'a> {
    pub source: &'a Source<'a>,
    pub options: &'a Options,
    pub notes: &'a Notes,
    /// Meaning of `start()` and `end()`.
    pub bounds: (i64, i64),
    /// Whether the instants are steps of one evaluation; if not, each stands alone, as those of rules do.
    pub stepwise: bool,
}

impl Query {
    /// Parses and plans; refuses what cannot be evaluated.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        Ok(Query {
            text: text.to_string(),
            plan: resolve::plan(text)?,
        })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Type of the answer.
    pub fn result_type(&self) -> ResultType {
        self.plan.result_type()
    }

    /// True when some selector of the query, those in subqueries included, matches this label set.
    pub fn selects(&self, labels: &Labels) -> bool {
        let mut found = false;
        self.plan
            .selectors(&mut |selector| found |= selector.accepts(labels));
        found
    }

    pub(crate) fn plan(&self) -> &Node {
        &self.plan
    }

    /// An instant query.
    pub fn at(
        &self,
        source: &Source<'_>,
        options: &Options,
        t_ms: i64,
    ) -> Result<Answer, EvalFailure> {
        self.run(
            source,
            options,
            &Notes::default(),
            &[t_ms],
            ((t_ms, t_ms), true),
        )
    }

    /// An instant query with its warnings and infos.
    pub fn annotated_at(
        &self,
        source: &Source<'_>,
        options: &Options,
        t_ms: i64,
    ) -> Result<(Answer, Annotations), EvalFailure> {
        let notes = Notes::wanted(&self.text);
        let answer = self.run(source, options, &notes, &[t_ms], ((t_ms, t_ms), true))?;
        Ok((answer, notes.into_annotations()))
    }

    /// A range query; `step_ms` must be positive.
    pub fn range(
        &self,
        source: &Source<'_>,
        options: &Options,
        bounds: (i64, i64),
        step_ms: i64,
    ) -> Result<Answer, EvalFailure> {
        let instants = self.instants(bounds, step_ms)?;
        self.run(
            source,
            options,
            &Notes::default(),
            &instants,
            (bounds, true),
        )
    }

    /// A range query with its warnings and infos.
    pub fn annotated_range(
        &self,
        source: &Source<'_>,
        options: &Options,
        bounds: (i64, i64),
        step_ms: i64,
    ) -> Result<(Answer, Annotations), EvalFailure> {
        let instants = self.instants(bounds, step_ms)?;
        let notes = Notes::wanted(&self.text);
        let answer = self.run(source, options, &notes, &instants, (bounds, true))?;
        Ok((answer, notes.into_annotations()))
    }

    fn instants(
        &self,
        (start_ms, end_ms): (i64, i64),
        step_ms: i64,
    ) -> Result<Vec<i64>, EvalFailure> {
        if step_ms <= 0 {
            return Err(EvalFailure::new("step must be positive"));
        }
        let kind = match self.result_type() {
            ResultType::Matrix => Some("range vector"),
            ResultType::Text => Some("string"),
            ResultType::Scalar | ResultType::Vector => None,
        };
        if let Some(kind) = kind {
            return Err(EvalFailure::new(format!(
                "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
            )));
        }
        if end_ms < start_ms {
            return Ok(Vec::new());
        }
        match end_ms.checked_sub(start_ms).map(|span| span / step_ms) {
            Some(count) if count < STEPS_MAX => {
                Ok((0..=count).map(|at| start_ms + at * step_ms).collect())
            }
            _ => Err(EvalFailure::new(format!(
                "a range query of more than {STEPS_MAX} steps"
            ))),
        }
    }

    /// An instant query at each of these instants (ascending), as rules are evaluated. A scalar becomes one column without
    /// labels.
    pub fn each(
        &self,
        source: &Source<'_>,
        options: &Options,
        instants: &[i64],
    ) -> Result<Vec<Column>, EvalFailure> {
        if self.plan.depends_on_bounds() {
            return self.one_by_one(source, options, instants);
        }
        let bounds = (
            instants.first().copied().unwrap_or(0),
            instants.last().copied().unwrap_or(0),
        );
        as_vector(self.run(
            source,
            options,
            &Notes::default(),
            instants,
            (bounds, false),
        )?)
    }

    fn one_by_one(
        &self,
        source: &Source<'_>,
        options: &Options,
        instants: &[i64],
    ) -> Result<Vec<Column>, EvalFailure> {
        let mut out: IndexMap<Labels, Vec<f64>> = IndexMap::new();
        for (at, t) in instants.iter().enumerate() {
            for column in as_vector(self.at(source, options, *t)?)? {
                let values = out
                    .entry(column.labels)
                    .or_insert_with(|| vec![STALE; instants.len()]);
                values[at] = column.values[0];
            }
        }
        Ok(out
            .into_iter()
            .map(|(labels, values)| Column {
                labels,
                drop_name: false,
                values,
            })
            .collect())
    }

    fn run(
        &self,
        source: &Source<'_>,
        options: &Options,
        notes: &Notes,
        instants: &[i64],
        (bounds, stepwise): ((i64, i64), bool),
    ) -> Result<Answer, EvalFailure> {
        let context = Context {
            source,
            options,
            notes,
            bounds,
            stepwise,
        };
        Ok(match self.result_type() {
            ResultType::Scalar => Answer::Scalar(context.scalar(&self.plan, instants)?),
            ResultType::Vector => {
                let mut columns = context.vector(&self.plan, instants)?;
                for column in columns.iter_mut().filter(|column| column.drop_name) {
                    column.labels = column.labels.without_metadata();
                    column.drop_name = false;
                }
                let mut columns = distinct(columns)?;
                columns.retain(|column| column.values.iter().any(|value| !is_stale(*value)));
                Answer::Vector(columns)
            }
            ResultType::Text => match &self.plan {
                Node::Text(text) => Answer::Text(text.clone()),
                _ => return Err(EvalFailure::new("not a string literal")),
            },
            ResultType::Matrix => match &self.plan {
                Node::Range(window) => {
                    let windows = Windows::read(window, &context, instants)?;
                    let series = windows.series.into_iter();
                    Answer::Matrix(
                        series
                            .map(|series| (series.labels, series.samples))
                            .collect(),
                    )
                }
                _ => return Err(EvalFailure::new("not a range vector")),
            },
        })
    }
}

fn as_vector(answer: Answer) -> Result<Vec<Column>, EvalFailure> {
    match answer {
        Answer::Vector(columns) => Ok(columns),
        Answer::Scalar(values) => Ok(vec![Column {
            labels: Labels::default(),
            drop_name: false,
            values,
        }]),
        Answer::Matrix(_) | Answer::Text(_) => Err(EvalFailure::new(
            "a rule must answer a scalar or an instant vector",
        )),
    }
}

/// More numbers than this in one vector are refused: as many as Prometheus holds for one query by default.
const SAMPLES_MAX: usize = 50_000_000;
/// More steps than this in one range query are refused.
const STEPS_MAX: i64 = 10_000_000;

impl Context<'_> {
    /// Refuses a vector of so many series over so many instants before it is made.
    pub fn room(&self, series: usize, instants: usize) -> Result<(), EvalFailure> {
        match series.checked_mul(instants) {
            Some(samples) if samples <= SAMPLES_MAX => Ok(()),
            _ => Err(EvalFailure::new(
                "query processing would load too many samples into memory in query execution",
            )),
        }
    }

    /// The instants at which a selector looks.
    pub fn resolve(&self, when: &When, instants: &[i64]) -> Vec<i64> {
        let fixed = match when.at {
            None => {
                return instants
                    .iter()
                    .map(|t| t.saturating_sub(when.offset_ms))
                    .collect();
            }
            Some(At::Ms(t)) => t,
            Some(At::Start) => self.bounds.0,
            Some(At::End) => self.bounds.1,
        };
        vec![fixed.saturating_sub(when.offset_ms); instants.len()]
    }

    pub fn scalar(&self, node: &Node, instants: &[i64]) -> Result<Vec<f64>, EvalFailure> {
        match node {
            Node::Number(number) => Ok(vec![*number; instants.len()]),
            Node::Negate(inner) => Ok(self
                .scalar(inner, instants)?
                .into_iter()
                .map(|value| -value)
                .collect()),
            Node::Binary(found) => binary::scalars(self, found, instants),
            Node::Call(call) => instant::scalar(self, call, instants),
            _ => Err(EvalFailure::new("expected a scalar")),
        }
    }

    pub fn vector(&self, node: &Node, instants: &[i64]) -> Result<Vec<Column>, EvalFailure> {
        let columns = match node {
            Node::Instant(selector) => {
                let times = self.resolve(&selector.when, instants);
                return Ok(self
                    .look(selector, &times)?
                    .into_iter()
                    .map(|(column, _)| column)
                    .collect());
            }
            Node::Negate(inner) => self.map(self.vector(inner, instants)?, |value| -value),
            Node::Plus(inner) => return self.vector(inner, instants),
            Node::Call(call) => self.call(call, instants)?,
            Node::Aggregate(found) => aggregate::aggregate(self, found, instants)?,
            Node::Binary(found) if node.result_type() == ResultType::Vector => {
                binary::vectors(self, found, instants)?
            }
            // A scalar where a vector is asked for happens in subqueries only.
            _ => vec![Column {
                labels: Labels::default(),
                drop_name: false,
                values: self.scalar(node, instants)?,
            }],
        };
        distinct(columns)
    }

    fn call(&self, call: &Call, instants: &[i64]) -> Result<Vec<Column>, EvalFailure> {
        if call.function.result_type() == ResultType::Scalar {
            let values = instant::scalar(self, call, instants)?;
            return Ok(vec![Column {
                labels: Labels::default(),
                drop_name: false,
                values,
            }]);
        }
        instant::vector(self, call, instants)
    }

    /// Selected series, with the instants of the samples.
    pub fn look(
        &self,
        selector: &Selector,
        times: &[i64],
    ) -> Result<Vec<(Column, Vec<i64>)>, EvalFailure> {
        let (from, to) = (
            times.first().copied().unwrap_or(0),
            times.last().copied().unwrap_or(0),
        );
        let found = self.source.select(selector);
        self.room(found.len(), times.len())?;
        let columns = found.into_iter().map(|found| {
            let samples =
                self.source
                    .samples(&found, from.saturating_sub(self.options.lookback_ms), to);
            let (values, at) = latest(&samples, times, self.options.lookback_ms);
            (
                Column {
                    labels: found.labels,
                    drop_name: false,
                    values,
                },
                at,
            )
        });
        Ok(columns
            .filter(|(column, _)| column.values.iter().any(|value| !is_stale(*value)))
            .collect())
    }

    /// Drops the metric's name, now or at the end.
    pub fn unnamed(&self, mut column: Column) -> Column {
        if self.options.delayed_names {
            column.drop_name = true;
        } else {
            column.labels = column.labels.without_metadata();
        }
        column
    }

    /// Applies a function to each present value and drops the names.
    pub fn map(&self, columns: Vec<Column>, function: impl Fn(f64) -> f64) -> Vec<Column> {
        let mut out = Vec::with_capacity(columns.len());
        for mut column in columns {
            for value in column.values.iter_mut().filter(|value| !is_stale(**value)) {
                *value = function(*value);
            }
            out.push(self.unnamed(column));
        }
        out
    }
}
