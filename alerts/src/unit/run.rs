//! Runs one test: input series, rules at every instant, checks.
//!
//! Invariant: a [`GroupResult`] depends on the test and its rules alone. Failures come in promtool's order: checks of alerts by their
//! instant, then rules that failed (which end the test), then expressions.

use std::fmt::Write;

use indexmap::IndexMap;

use super::compare::{Strictness, alert_fits, same_alerts, same_samples};
use super::coverage::Coverage;
use super::failure::{Failure, Shown, map, sample_text};
use super::file::{AlertTest, ExpectedAlert, ExpressionTest, TestFile, TestGroup};
use crate::labels::Labels;
use crate::notation::{Value, Values};
use crate::number::{format_g, is_stale};
use crate::promql;
use crate::promql::{Answer, Source};
use crate::rules::{Evaluation, RuleSet, Schedule};
use crate::series::SeriesStore;
use crate::timeline::{ActiveAlert, AlertState};

/// What goes beyond promtool; off by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Compare only the labels and annotations that are listed.
    pub partial_labels: bool,
    /// Fail when an alert fires, at any evaluation, that no check of the test expects.
    pub nothing_else_fires: bool,
    /// Evaluate each group at its own interval; promtool evaluates all at the file's.
    pub group_intervals: bool,
    /// Keep all series of the test as text.
    pub dump: bool,
}

/// What became of one test.
#[derive(Debug, Clone)]
pub struct GroupResult {
    /// How many checks the test makes.
    pub checks: usize,
    /// What failed, in promtool's order; nothing is a pass.
    pub failures: Vec<Failure>,
    /// What the checks saw of the rules.
    pub coverage: Coverage,
    /// All series at the end, input and written by rules, if [`Options::dump`] asked for them.
    pub dump: Option<String>,
}

pub(super) fn run(
    file: &TestFile,
    test: &TestGroup,
    rules: &RuleSet,
    options: &Options,
) -> GroupResult {
    let last_ms = match options.group_intervals {
        true => test.last_ms(),
        false => test.last_ms() / file.interval_ms * file.interval_ms,
    };
    let rules = rules
        .clone()
        .with_external_labels(test.external_labels.clone())
        .with_external_url(test.external_url.clone());
    let rules = match options.group_intervals {
        true => rules,
        false => rules.at_one_interval(),
    };
    let store = load(test, last_ms);
    let mut looks: Vec<&AlertTest> = test.alerts.iter().collect();
    looks.sort_by_key(|look| look.eval_ms);
    let schedule = Schedule {
        snapshots: looks
            .iter()
            .map(|look| test.start_ms + look.eval_ms)
            .collect(),
        ..Schedule::steady(test.start_ms, test.start_ms + last_ms, file.interval_ms)
    };
    let evaluation = rules.evaluate_until_failure(&store, &schedule);
    let how = Strictness {
        partial: options.partial_labels,
        fuzzy: file.fuzzy_compare,
    };
    let mut run = Run {
        test,
        how,
        failures: Vec::new(),
        coverage: Coverage::of(&rules),
    };
    let failed_ms = evaluation.failures.first().map(|failure| failure.t_ms);
    for (look, active) in looks.iter().zip(&evaluation.snapshots) {
        if failed_ms.is_none_or(|failed| test.start_ms + look.eval_ms < failed) {
            run.coverage.looked(&rules, &look.alertname, active);
            run.alerts(look, active);
        }
    }
    let sources = std::iter::once(&store).chain([&evaluation.recorded]);
    let source = Source::layered(sources.collect());
    match failed_ms {
        Some(_) => run.rules(&evaluation),
        None => {
            for check in &test.expressions {
                run.expression(check, &source, file.interval_ms);
            }
            if test.checks() > 0 {
                run.coverage.recorded(&rules, &evaluation.recorded);
            }
            if options.nothing_else_fires {
                run.nothing_else(&evaluation);
            }
        }
    }
    GroupResult {
        checks: test.checks(),
        failures: run.failures,
        coverage: run.coverage,
        dump: options.dump.then(|| dump(&store, &evaluation.recorded)),
    }
}

/// The input up to the last evaluation: promtool loads no more.
fn load(test: &TestGroup, last_ms: i64) -> SeriesStore {
    // Of two inputs for one series the later counts.
    let input: IndexMap<&Labels, &Values> = test
        .input
        .iter()
        .map(|(labels, values)| (labels, values))
        .collect();
    let mut store = SeriesStore::new();
    for (labels, values) in input {
        let instants = (0..).map(|at: i64| at.saturating_mul(test.interval_ms));
        let loaded = instants.zip(values.iter());
        let mut samples = loaded
            .take_while(|(at_ms, _)| *at_ms <= last_ms)
            .filter_map(|(at_ms, value)| match value {
                Value::Number(value) => Some((test.start_ms + at_ms, value)),
                Value::Omitted | Value::Native => None,
            })
            .peekable();
        if samples.peek().is_some() {
            // Instants ascend, so the store takes them.
            let _ = store.extend(labels, samples);
        }
    }
    store
}

struct Run<'a> {
    test: &'a TestGroup,
    how: Strictness,
    failures: Vec<Failure>,
    coverage: Coverage,
}

impl Run<'_> {
    fn alerts(&mut self, look: &AlertTest, active: &[ActiveAlert]) {
        let firing = active
            .iter()
            .filter(|alert| alert.state == AlertState::Firing && alert.alert == look.alertname);
        let mut got: Vec<Shown> = firing.map(shown).collect();
        let mut expected: Vec<Shown> = look
            .expected
            .iter()
            .map(|alert| wanted(&look.alertname, alert))
            .collect();
        got.sort();
        expected.sort();
        if !same_alerts(&expected, &got, self.how) {
            self.failures.push(Failure::Alerts {
                test: self.test.name.clone(),
                alertname: look.alertname.clone(),
                eval_ms: look.eval_ms,
                expected,
                got,
            });
        }
    }

    fn rules(&mut self, evaluation: &Evaluation) {
        for failure in &evaluation.failures {
            self.failures.push(Failure::Rule {
                rule: failure.rule.clone(),
                t_ms: failure.t_ms,
                reason: failure.reason.clone(),
            });
        }
    }

    fn expression(&mut self, check: &ExpressionTest, source: &Source<'_>, interval_ms: i64) {
        let options = promql::Options {
            subquery_step_ms: interval_ms,
            ..promql::Options::default()
        };
        let t_ms = self.test.start_ms + check.eval_ms;
        let answer = check.query.at(source, &options, t_ms);
        let answer = answer.map_err(|error| error.reason);
        let mut got = match answer.and_then(samples) {
            Ok(got) => got,
            Err(reason) => {
                return self.failures.push(Failure::Expression {
                    expr: check.expr.clone(),
                    eval_ms: check.eval_ms,
                    reason,
                });
            }
        };
        // Of equal labels promtool lists the last first.
        let mut expected: Vec<(Labels, f64)> = check.expected.iter().rev().cloned().collect();
        got.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        if !same_samples(&expected, &got, self.how) {
            let texts = |samples: &[(Labels, f64)]| {
                let texts = samples.iter();
                texts
                    .map(|(labels, value)| sample_text(labels, *value))
                    .collect()
            };
            self.failures.push(Failure::Samples {
                expr: check.expr.clone(),
                eval_ms: check.eval_ms,
                expected: texts(&expected),
                got: texts(&got),
            });
        }
    }

    /// Every alert that fired at any evaluation is expected by some check.
    fn nothing_else(&mut self, evaluation: &Evaluation) {
        for alert in evaluation.timeline.fired() {
            let got = Shown {
                labels: map(&alert.labels),
                annotations: alert.annotations.clone(),
            };
            let mut checks = self.test.alerts.iter();
            let expected = checks.any(|look| {
                let mut alerts = look.expected.iter();
                alerts.any(|one| {
                    // Annotations change with the value; labels say which alert it is.
                    let one = Shown {
                        annotations: Default::default(),
                        ..wanted(&look.alertname, one)
                    };
                    match self.how.partial {
                        true => alert_fits(&one, &got),
                        false => one.labels == got.labels,
                    }
                })
            });
            if !expected {
                let fired_ms = alert.firings().first().map_or(0, |(start, _)| *start);
                self.failures.push(Failure::Unexpected {
                    test: self.test.name.clone(),
                    alertname: alert.alert.clone(),
                    eval_ms: fired_ms - self.test.start_ms,
                    got,
                });
            }
        }
    }
}

fn shown(alert: &ActiveAlert) -> Shown {
    Shown {
        labels: map(&alert.labels),
        annotations: alert.annotations.clone(),
    }
}

fn wanted(alertname: &str, alert: &ExpectedAlert) -> Shown {
    let mut labels = alert.labels.clone();
    labels.insert("alertname".into(), alertname.into());
    Shown {
        labels,
        annotations: alert.annotations.clone(),
    }
}

fn samples(answer: Answer) -> Result<Vec<(Labels, f64)>, String> {
    match answer {
        Answer::Vector(columns) => Ok(columns
            .into_iter()
            .filter(|column| !is_stale(column.values[0]))
            .map(|column| (column.labels, column.values[0]))
            .collect()),
        Answer::Scalar(values) => Ok(vec![(Labels::default(), values[0])]),
        Answer::Matrix(_) | Answer::Text(_) => {
            Err("rule result is not a vector or scalar".to_string())
        }
    }
}

/// All samples but stale markers, as Prometheus writes a range vector.
fn dump(store: &SeriesStore, recorded: &SeriesStore) -> String {
    let mut series: Vec<(Labels, String)> = Vec::new();
    for store in std::iter::once(store).chain([recorded]) {
        for id in store.all() {
            let samples = store.samples(id, i64::MIN, i64::MAX).without_stale();
            let mut text = String::new();
            for (t_ms, value) in samples.t_ms.iter().zip(&samples.values) {
                let _ = writeln!(text, "{} @[{t_ms}]", format_g(*value, None));
            }
            series.push((store.labels(id).clone(), text));
        }
    }
    series.sort();
    let texts = series
        .iter()
        .map(|(labels, text)| format!("{labels} =>\n{text}"));
    texts.collect()
}
