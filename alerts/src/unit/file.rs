//! A unit-test file of promtool: what it says, checked.
//!
//! Invariant: a [`TestFile`] can be run. Unknown fields, values of the wrong kind, series, queries and durations that do not
//! parse are refused with file, line, column and reason; nothing is guessed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::yaml::{FromText, Number, Scalar, Texts};
use crate::labels::Labels;
use crate::notation::{self, Values};
use crate::promql::Query;
use crate::rules::{RuleError, parse_duration};

/// More evaluations in one test are refused: at one a minute these are almost two years.
pub const MAX_EVALUATIONS: i64 = 1_000_000;
/// More input samples in one test are refused; they take 16 bytes each.
pub const MAX_SAMPLES: u64 = 20_000_000;
/// `evaluation_interval` of a file that has none.
const DEFAULT_INTERVAL_MS: i64 = 60_000;

/// One unit-test file.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// The file as it was named.
    pub file: String,
    /// Rule files, relative to the folder of this one; `*`, `?` and `[…]` as in a shell.
    pub rule_files: Vec<String>,
    /// Time between evaluations, milliseconds.
    pub interval_ms: i64,
    /// Names of groups in the order in which they are evaluated.
    pub group_eval_order: Vec<String>,
    /// Numbers may differ by the smallest step there is.
    pub fuzzy_compare: bool,
    /// The tests.
    pub tests: Vec<TestGroup>,
}

/// Input series and what is expected of the rules that see them.
#[derive(Debug, Clone)]
pub struct TestGroup {
    /// Name; empty when it has none.
    pub name: String,
    /// Time between the values of a series, milliseconds.
    pub interval_ms: i64,
    /// Instant of the first value and of the first evaluation, milliseconds since the epoch.
    pub start_ms: i64,
    /// The input.
    pub input: Vec<(Labels, Values)>,
    /// What alerts must fire.
    pub alerts: Vec<AlertTest>,
    /// What expressions must answer.
    pub expressions: Vec<ExpressionTest>,
    /// What templates see as `$externalLabels`.
    pub external_labels: Labels,
    /// What templates see as `$externalURL`.
    pub external_url: String,
}

/// The alerts of one name that must fire at one instant.
#[derive(Debug, Clone)]
pub struct AlertTest {
    /// When, milliseconds after the test's start.
    pub eval_ms: i64,
    /// Name of the alert.
    pub alertname: String,
    /// All of them; none is "it must not fire".
    pub expected: Vec<ExpectedAlert>,
}

/// An alert that must fire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedAlert {
    /// All its labels but `alertname`.
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What an expression must answer at one instant.
#[derive(Debug, Clone)]
pub struct ExpressionTest {
    /// When, milliseconds after the test's start.
    pub eval_ms: i64,
    /// The expression as written.
    pub expr: String,
    /// The same, parsed.
    pub query: Query,
    /// All samples.
    pub expected: Vec<(Labels, f64)>,
}

impl TestFile {
    /// Reads a file's text; `file` is what messages call it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<TestFile, RuleError> {
        let yaml = read(text).map_err(|error| placed(file, text, &error))?;
        let whole = |reason: String| RuleError {
            file: file.into(),
            line: 0,
            column: 0,
            reason,
            source_line: String::new(),
        };
        yaml.checked(file).map_err(whole)
    }
}

impl TestGroup {
    /// The last instant that a check looks at, milliseconds after the start.
    pub fn last_ms(&self) -> i64 {
        let alerts = self.alerts.iter().map(|test| test.eval_ms);
        let expressions = self.expressions.iter().map(|test| test.eval_ms);
        alerts.chain(expressions).max().unwrap_or(0)
    }

    /// How reports call it: its name, or its place in the file.
    pub fn title(&self, at: usize) -> String {
        if self.name.is_empty() {
            format!("unnamed#{at}")
        } else {
            self.name.clone()
        }
    }

    /// How many checks it makes.
    pub fn checks(&self) -> usize {
        self.alerts.len() + self.expressions.len()
    }
}

fn read(text: &str) -> Result<FileYaml, serde_yaml_ng::Error> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(FileYaml::default());
    }
    let direct = serde_yaml_ng::from_str::<Option<FileYaml>>(text).map(Option::unwrap_or_default);
    if direct.is_err() && text.contains("<<:") {
        // Merge keys need the whole document; positions are those of the merged one.
        let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        value.apply_merge()?;
        return serde_yaml_ng::from_str(&serde_yaml_ng::to_string(&value)?);
    }
    direct
}

fn placed(file: &str, text: &str, error: &serde_yaml_ng::Error) -> RuleError {
    let (line, column) = error
        .location()
        .map_or((0, 0), |at| (at.line(), at.column()));
    let reason = error.to_string();
    let place = format!(" at line {line} column {column}");
    let source_line = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
    RuleError {
        file: file.into(),
        line,
        column,
        reason: reason.strip_suffix(&place).unwrap_or(&reason).into(),
        source_line: source_line.into(),
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    rule_files: Option<Vec<Scalar<String>>>,
    evaluation_interval: Option<Scalar<Millis>>,
    group_eval_order: Option<Vec<Scalar<String>>>,
    fuzzy_compare: Option<Scalar<bool>>,
    tests: Option<Vec<TestYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestYaml {
    name: Option<Scalar<String>>,
    interval: Option<Scalar<Millis>>,
    start_timestamp: Option<Scalar<Instant>>,
    input_series: Option<Vec<SeriesYaml>>,
    alert_rule_test: Option<Vec<AlertTestYaml>>,
    promql_expr_test: Option<Vec<ExpressionYaml>>,
    external_labels: Option<Texts>,
    external_url: Option<Scalar<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesYaml {
    series: Scalar<Metric>,
    values: Option<Scalar<Values>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTestYaml {
    eval_time: Option<Scalar<Millis>>,
    alertname: Scalar<AlertName>,
    exp_alerts: Option<Vec<ExpectedYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedYaml {
    exp_labels: Option<Texts>,
    exp_annotations: Option<Texts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionYaml {
    expr: Scalar<Expression>,
    eval_time: Option<Scalar<Millis>>,
    exp_samples: Option<Vec<SampleYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleYaml {
    labels: Option<Scalar<SampleLabels>>,
    value: Option<Number>,
    #[serde(rename = "histogram")]
    _histogram: Option<Scalar<NoHistogram>>,
}

struct Millis(i64);
struct Instant(i64);
struct Metric(Labels);
struct SampleLabels(Labels);
struct AlertName(String);
struct Expression(String, Query);
struct NoHistogram;

impl FromText for Millis {
    const WANTED: &'static str = "a duration such as 1m30s";

    fn from_text(text: &str) -> Result<Self, String> {
        let millis = parse_duration(text).map_err(|error| error.to_string())?;
        Ok(Millis(millis))
    }
}

impl FromText for Instant {
    const WANTED: &'static str = "a time: RFC 3339, or seconds since 1970";

    fn from_text(text: &str) -> Result<Self, String> {
        let bad = || format!("not a time: {text:?}, wanted RFC 3339 or seconds since 1970");
        if let Ok(seconds) = text.parse::<f64>() {
            // Beyond this an instant plus a duration would no longer fit.
            let fits = seconds.abs() < 1e12;
            return fits
                .then(|| Instant((seconds * 1000.0).round() as i64))
                .ok_or_else(bad);
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        Ok(Instant(time.as_millisecond()))
    }
}

impl FromText for Metric {
    const WANTED: &'static str = "a series such as up{job=\"a\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        let labels = notation::labels(text).map_err(|error| error.to_string())?;
        match labels.name() {
            "" if labels.is_empty() => Err("a series needs a name or a label".into()),
            _ => Ok(Metric(labels)),
        }
    }
}

impl FromText for SampleLabels {
    const WANTED: &'static str = "a series such as up{job=\"a\"}, or {}";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(SampleLabels(Labels::default()));
        }
        let labels = notation::labels(text).map_err(|error| error.to_string())?;
        Ok(SampleLabels(labels))
    }
}

impl FromText for Values {
    const WANTED: &'static str = "values such as 1 2+3x4 _ stale";

    fn from_text(text: &str) -> Result<Self, String> {
        let values = notation::values(text).map_err(|error| error.to_string())?;
        match values.has_native() {
            true => Err("native histograms ({{…}}) are not supported".into()),
            false => Ok(values),
        }
    }
}

impl FromText for AlertName {
    const WANTED: &'static str = "the name of an alert";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an alert_rule_test needs an alertname".into()),
            name => Ok(AlertName(name.into())),
        }
    }
}

impl FromText for Expression {
    const WANTED: &'static str = "a PromQL expression";

    fn from_text(text: &str) -> Result<Self, String> {
        let query = Query::parse(text).map_err(|error| error.to_string())?;
        Ok(Expression(text.into(), query))
    }
}

impl FromText for NoHistogram {
    const WANTED: &'static str = "nothing: native histograms are not supported";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(NoHistogram),
            _ => Err("native histograms are not supported: compare numbers".into()),
        }
    }
}

fn list<T, U>(items: Option<Vec<T>>, read: impl FnMut(T) -> U) -> Vec<U> {
    items.unwrap_or_default().into_iter().map(read).collect()
}

fn millis(duration: Option<Scalar<Millis>>) -> i64 {
    duration.map_or(0, |duration| duration.0.0)
}

fn labels(texts: Option<Texts>) -> Labels {
    let texts = texts.unwrap_or_default().0;
    let pairs: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    Labels::of(&pairs)
}

impl FileYaml {
    fn checked(self, file: &str) -> Result<TestFile, String> {
        let interval_ms = match millis(self.evaluation_interval) {
            0 => DEFAULT_INTERVAL_MS,
            interval => interval,
        };
        let order = list(self.group_eval_order, |name| name.0);
        if let Some(twice) = (1..order.len()).find(|at| order[..*at].contains(&order[*at])) {
            let name = &order[twice];
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
        let tests = list(self.tests, |test| test.checked(interval_ms));
        for (at, test) in tests.iter().enumerate() {
            bounded(test, interval_ms).map_err(|reason| format!("tests[{at}]: {reason}"))?;
        }
        Ok(TestFile {
            file: file.into(),
            rule_files: list(self.rule_files, |name| name.0),
            interval_ms,
            group_eval_order: order,
            fuzzy_compare: self.fuzzy_compare.is_some_and(|flag| flag.0),
            tests,
        })
    }
}

/// Refuses what would take hours or all memory.
fn bounded(test: &TestGroup, interval_ms: i64) -> Result<(), String> {
    let evaluations = test.last_ms() / interval_ms;
    if evaluations > MAX_EVALUATIONS {
        return Err(format!(
            "{evaluations} evaluations up to the last eval_time, more than {MAX_EVALUATIONS}"
        ));
    }
    let counts = test.input.iter().map(|(_, values)| values.len());
    let samples = counts.fold(0, u64::saturating_add);
    if samples > MAX_SAMPLES {
        return Err(format!("{samples} input samples, more than {MAX_SAMPLES}"));
    }
    Ok(())
}

impl TestYaml {
    fn checked(self, interval_ms: i64) -> TestGroup {
        TestGroup {
            name: self.name.map_or_else(String::new, |name| name.0),
            interval_ms: match millis(self.interval) {
                0 => interval_ms,
                interval => interval,
            },
            start_ms: self.start_timestamp.map_or(0, |time| time.0.0),
            input: list(self.input_series, |input| {
                let values = input.values.map(|values| values.0);
                (input.series.0.0, values.unwrap_or_default())
            }),
            alerts: list(self.alert_rule_test, AlertTestYaml::checked),
            expressions: list(self.promql_expr_test, ExpressionYaml::checked),
            external_labels: labels(self.external_labels),
            external_url: self.external_url.map_or_else(String::new, |url| url.0),
        }
    }
}

impl AlertTestYaml {
    fn checked(self) -> AlertTest {
        let expected = |alert: ExpectedYaml| ExpectedAlert {
            labels: alert.exp_labels.unwrap_or_default().0,
            annotations: alert.exp_annotations.unwrap_or_default().0,
        };
        AlertTest {
            eval_ms: millis(self.eval_time),
            alertname: self.alertname.0.0,
            expected: list(self.exp_alerts, expected),
        }
    }
}

impl ExpressionYaml {
    fn checked(self) -> ExpressionTest {
        let Expression(expr, query) = self.expr.0;
        let sample = |sample: SampleYaml| {
            let labels = sample.labels.map(|labels| labels.0.0);
            let value = sample.value.map_or(0.0, |value| value.0);
            (labels.unwrap_or_default(), value)
        };
        ExpressionTest {
            eval_ms: millis(self.eval_time),
            expr,
            query,
            expected: list(self.exp_samples, sample),
        }
    }
}
