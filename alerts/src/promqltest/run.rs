//! Runs commands against a store.
//!
//! Invariant: queries run as Prometheus' own runner sets its engine: names dropped at the end, five minutes of lookback, a
//! minute between the steps of a subquery that names none.

use super::compare::{self, Answered};
use super::parse::native_of;
use super::{
    Command, Eval, Evaluated, Failure, Load, MAX_SAMPLES, Notes, Outcome, Report, Script,
    ScriptError, Steps, When,
};
use crate::labels::Labels;
use crate::notation::Value;
use crate::promql::{Annotations, Answer, EvalFailure, Options, Query, QueryError, Source};
use crate::series::SeriesStore;

/// What is loaded.
#[derive(Default)]
struct Storage {
    store: SeriesStore,
    samples: u64,
    /// Series with native histograms, which are not stored.
    native: Vec<Labels>,
    /// Series with start timestamps, which are not kept.
    started: Vec<Labels>,
}

pub(super) fn script(script: &Script) -> Result<Report, ScriptError> {
    let mut storage = Storage::default();
    let mut report = Report::default();
    for command in &script.commands {
        match command {
            Command::Clear => storage = Storage::default(),
            Command::Load(load) => storage.load(load)?,
            Command::Eval(eval) => report.evals.push(Evaluated {
                line: eval.line,
                query: eval.query.clone(),
                outcome: storage.eval(eval),
            }),
        }
    }
    Ok(report)
}

/// The last instant: Prometheus counts nanoseconds in 64 bits.
const MAX_T_MS: i64 = i64::MAX / 1_000_000;

fn options() -> Options {
    Options {
        delayed_names: true,
        ..Options::default()
    }
}

impl Storage {
    fn load(&mut self, load: &Load) -> Result<(), ScriptError> {
        for (labels, (line, values)) in &load.series {
            let fail = |reason: String| ScriptError {
                line: *line,
                reason,
            };
            self.samples = self.samples.saturating_add(values.len());
            if self.samples > MAX_SAMPLES {
                let reason =
                    format!("more than {MAX_SAMPLES} samples are loaded: load fewer or clear");
                return Err(fail(reason));
            }
            let known = self.store.find(labels);
            let known_ms = known.and_then(|series| self.store.last_ms(series));
            for (at, value) in values.iter().enumerate() {
                let Value::Number(value) = value else {
                    continue;
                };
                let t_ms = load.step_ms.saturating_mul(at as i64);
                if t_ms > MAX_T_MS {
                    return Err(fail("a sample lies past the end of time: 292 years".into()));
                }
                let new = known_ms.is_none_or(|known_ms| known_ms < t_ms);
                if new || !self.has(labels, t_ms, value) {
                    let written = self.store.append(labels, t_ms, value);
                    written.map_err(|error| {
                        fail(format!(
                            "{error}: a series that is loaded again must go on later"
                        ))
                    })?;
                }
            }
            if values.has_native() {
                self.native.push(labels.clone());
            }
            if load.with_native {
                self.native.extend(native_of(labels));
            }
        }
        self.started.extend(load.started.iter().cloned());
        Ok(())
    }

    /// Whether the same sample is the last one already: it may be loaded twice.
    fn has(&self, labels: &Labels, t_ms: i64, value: f64) -> bool {
        self.store.find(labels).is_some_and(|series| {
            let last = self.store.samples(series, t_ms.saturating_sub(1), i64::MAX);
            last.t_ms == [t_ms] && last.values[0].to_bits() == value.to_bits()
        })
    }

    fn eval(&self, eval: &Eval) -> Outcome {
        let query = match Query::parse(&eval.query) {
            Ok(query) => query,
            Err(error) => return unparsed(eval, &error),
        };
        let mut expected = eval.expect.series.values();
        if expected.any(|(_, values)| values.has_native())
            || self.native.iter().any(|labels| query.selects(labels))
        {
            return Outcome::Refused("native histograms are not supported".into());
        }
        if self.started.iter().any(|labels| query.selects(labels)) {
            return Outcome::Refused("start timestamps are experimental and not supported".into());
        }
        let source = Source::new(&self.store);
        let answered = match eval.when {
            When::Instant(t_ms) => query.annotated_at(&source, &options(), t_ms),
            When::Range(steps) => query.annotated_range(
                &source,
                &options(),
                (steps.start_ms, steps.end_ms),
                steps.step_ms,
            ),
        };
        let outcome = answered_as(eval, answered);
        match (eval.when, outcome) {
            (When::Instant(t_ms), Outcome::Passed) if eval.expect.fail.is_none() => {
                in_a_range(eval, &query, &source, t_ms)
            }
            (_, outcome) => outcome,
        }
    }
}

/// A query that is not one, or needs what there is not.
fn unparsed(eval: &Eval, error: &QueryError) -> Outcome {
    if error.unsupported {
        return Outcome::Refused(error.reason.clone());
    }
    failed_as(eval, &error.reason)
}

/// An error in place of an answer.
fn failed_as(eval: &Eval, error: &str) -> Outcome {
    let reason = match &eval.expect.fail {
        Some(text) if text.accepts(error) => return Outcome::Passed,
        Some(text) => format!("expected an error {text}"),
        None => "the query failed".into(),
    };
    Outcome::Failed(Failure {
        reason,
        expected: eval.written.clone(),
        got: vec![format!("error: {error}")],
    })
}

fn answered_as(eval: &Eval, answered: Result<(Answer, Annotations), EvalFailure>) -> Outcome {
    let (answer, notes) = match answered {
        Ok(answered) => answered,
        Err(error) => return failed_as(eval, &error.reason),
    };
    let range = match eval.when {
        When::Range(steps) => Some(steps),
        When::Instant(_) => None,
    };
    let answered = Answered::of(answer, range);
    let steps = range.or(eval.expect.range_vector);
    let compared = match &eval.expect.fail {
        Some(_) => Err("expected an error".into()),
        None => noted("warning", &eval.expect.warnings, &notes.warnings)
            .and_then(|()| noted("info", &eval.expect.infos, &notes.infos))
            .and_then(|()| compare::compare(&eval.expect, steps, &answered)),
    };
    let Err(reason) = compared else {
        return Outcome::Passed;
    };
    let mut got = answered.shown();
    got.extend(notes.warnings.into_iter().chain(notes.infos));
    Outcome::Failed(Failure {
        reason,
        expected: eval.written.clone(),
        got,
    })
}

fn noted(kind: &str, expected: &Notes, found: &[String]) -> Result<(), String> {
    let article = if kind == "info" { "an" } else { "a" };
    if expected.none && !found.is_empty() {
        return Err(format!("unexpected {kind} {:?}", found[0]));
    }
    if expected.some && found.is_empty() {
        return Err(format!("expected {article} {kind}"));
    }
    if expected.matching.is_empty() {
        return Ok(());
    }
    let accepted = |note: &String| expected.matching.iter().any(|text| text.accepts(note));
    let missing = |text: &&super::Text| !found.iter().any(|note| text.accepts(note));
    if let Some(text) = expected.matching.iter().find(missing) {
        return Err(format!("expected {article} {kind} {text}"));
    }
    match found.iter().find(|note| !accepted(note)) {
        Some(note) => Err(format!("unexpected {kind} {note:?}")),
        None => Ok(()),
    }
}

/// The instant as the middle one of three.
fn in_a_range(eval: &Eval, query: &Query, source: &Source<'_>, t_ms: i64) -> Outcome {
    const MINUTE_MS: i64 = 60_000;
    // Strings and range vectors have no range, and these words mean something else in one.
    let literal = eval.expect.text.is_some() || eval.expect.range_vector.is_some();
    let words = ["start()", "end()", "range()", "step()"];
    if literal || words.iter().any(|word| eval.query.contains(word)) {
        return Outcome::Passed;
    }
    let failed = |reason: String, got: Vec<String>| {
        Outcome::Failed(Failure {
            reason: format!("as the middle of a range: {reason}"),
            expected: eval.written.clone(),
            got,
        })
    };
    let steps = Steps {
        start_ms: t_ms - MINUTE_MS,
        end_ms: t_ms + MINUTE_MS,
        step_ms: MINUTE_MS,
    };
    let bounds = (steps.start_ms, steps.end_ms);
    match query.range(source, &options(), bounds, MINUTE_MS) {
        Err(error) => failed("the query failed".into(), vec![format!("error: {error}")]),
        Ok(_) if eval.expect.ordered => Outcome::Passed,
        Ok(answer) => {
            let middle = Answered::middle(answer);
            match compare::compare(&eval.expect, None, &middle) {
                Ok(()) => Outcome::Passed,
                Err(reason) => failed(reason, middle.shown()),
            }
        }
    }
}
