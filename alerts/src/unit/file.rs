//! A unit-test file of promtool: what it says, checked.
//!
//! Invariant: a [`TestGroup`] can be run. Unknown fields, values of the wrong kind, series, queries and durations that do not
//! parse are refused with file, line, column and reason; nothing is guessed.

use std::collections::BTreeMap;

use super::input::{self, Described};
use super::yaml::{flag, millis, number, parsed, text, texts};
use crate::labels::Labels;
use crate::notation::{self, Values};
use crate::promql::Query;
use crate::rules::RuleError;
use crate::rules::document::{Fields, Reading};
use crate::rules::source::Source;
use crate::rules::yaml::{Documents, Fault, Node};

/// More evaluations in one test are refused: at one a minute these are almost two years.
pub const MAX_EVALUATIONS: i64 = 1_000_000;
/// More input samples in one test are refused; they take 16 bytes each.
pub const MAX_SAMPLES: u64 = 20_000_000;
/// `evaluation_interval` of a file that has none.
const DEFAULT_INTERVAL_MS: i64 = 60_000;

/// What one unit-test file says of all its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How many input series are not read: an empty line or a comment within the text of one ends all input in promtool.
    pub unread: usize,
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
    /// Reads a file's text, with its tests; `file` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn parse(file: &str, text: &str) -> Result<(TestFile, Vec<TestGroup>), Vec<RuleError>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(file, text);
        let mut reading = Reading::version_2(&source);
        // promtool reads the first document and no other.
        let document = Documents::checked(text).and_then(|mut all| all.next().transpose());
        let read = match document {
            Ok(document) => {
                let head = head(&mut reading, document.as_deref());
                head.map(|(file, tests)| {
                    let tests = tests.into_iter();
                    let tests = tests.filter_map(|node| test(&mut reading, node, file.interval_ms));
                    let tests = tests.collect();
                    (file, tests)
                })
            }
            Err(Fault { at, reason }) => {
                reading.refuse_at(at, reason);
                None
            }
        };
        let read = reading.finish(read)?;
        read.ok_or_else(Vec::new)
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

const FILE: [&str; 5] = [
    "rule_files",
    "evaluation_interval",
    "group_eval_order",
    "fuzzy_compare",
    "tests",
];
const TEST: [&str; 8] = [
    "name",
    "interval",
    "start_timestamp",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
];

/// What is said of all tests, and the tests; without a document nothing is said. `None` where something was refused.
pub(super) fn head<'n>(
    reading: &mut Reading<'_>,
    document: Option<&'n Node>,
) -> Option<(TestFile, Vec<&'n Node>)> {
    let fields = match document {
        Some(document) => reading.fields(document, "unit-test file", &FILE)?,
        None => Fields::none(),
    };
    let interval_ms = match millis(reading, &fields, "evaluation_interval") {
        0 => DEFAULT_INTERVAL_MS,
        interval => interval,
    };
    let order = names(reading, &fields, "group_eval_order");
    let mut earlier = order.iter().enumerate();
    if let Some((_, name)) = earlier.find(|(at, name)| order[..*at].contains(name)) {
        let reason = format!("group name repeated in evaluation order: {name}");
        reading.refuse(fields.get("group_eval_order")?, reason);
    }
    let file = TestFile {
        file: reading.source.file.into(),
        rule_files: names(reading, &fields, "rule_files"),
        interval_ms,
        group_eval_order: order,
        fuzzy_compare: flag(reading, &fields, "fuzzy_compare"),
    };
    Some((file, reading.items(fields.get("tests"), "tests")))
}

fn names(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> Vec<String> {
    let items = reading.items(fields.get(field), field).into_iter();
    items
        .map(|node| reading.text(node).unwrap_or_default().to_string())
        .collect()
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

/// One test; `interval_ms` is that of the file. `None` where something was refused.
pub(super) fn test(reading: &mut Reading<'_>, node: &Node, interval_ms: i64) -> Option<TestGroup> {
    let fields = reading.fields(node, "test", &TEST)?;
    let mut described = Vec::new();
    for node in reading.items(fields.get("input_series"), "input_series") {
        if let Some(fields) = reading.fields(node, "input series", &["series", "values"]) {
            described.push(Described::of(reading, node, &fields));
        }
    }
    let (input, unread) = input::read(reading, &described);
    let alerts = reading
        .items(fields.get("alert_rule_test"), "alert_rule_test")
        .into_iter()
        .filter_map(|node| alert_test(reading, node))
        .collect();
    let expressions = reading
        .items(fields.get("promql_expr_test"), "promql_expr_test")
        .into_iter()
        .filter_map(|node| expression_test(reading, node))
        .collect();
    let external = texts(reading, &fields, "external_labels");
    let external: Vec<(&str, &str)> = external
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let test = TestGroup {
        name: text(reading, &fields, "name"),
        interval_ms: match millis(reading, &fields, "interval") {
            0 => interval_ms,
            interval => interval,
        },
        start_ms: parsed(reading, &fields, "start_timestamp", instant).unwrap_or(0),
        input,
        unread,
        alerts,
        expressions,
        external_labels: Labels::of(&external),
        external_url: text(reading, &fields, "external_url"),
    };
    if let Err(reason) = bounded(&test, interval_ms) {
        reading.refuse(node, reason);
    }
    Some(test)
}

fn alert_test(reading: &mut Reading<'_>, node: &Node) -> Option<AlertTest> {
    let known = ["eval_time", "alertname", "exp_alerts"];
    let fields = reading.fields(node, "alert_rule_test", &known)?;
    let alertname = text(reading, &fields, "alertname");
    if alertname.is_empty() {
        let place = fields.get("alertname").unwrap_or(node);
        reading.refuse(place, "an alert_rule_test needs an alertname");
    }
    let mut expected = Vec::new();
    for node in reading.items(fields.get("exp_alerts"), "exp_alerts") {
        let known = ["exp_labels", "exp_annotations"];
        if let Some(fields) = reading.fields(node, "expected alert", &known) {
            expected.push(ExpectedAlert {
                labels: texts(reading, &fields, "exp_labels"),
                annotations: texts(reading, &fields, "exp_annotations"),
            });
        }
    }
    Some(AlertTest {
        eval_ms: millis(reading, &fields, "eval_time"),
        alertname,
        expected,
    })
}

fn expression_test(reading: &mut Reading<'_>, node: &Node) -> Option<ExpressionTest> {
    let fields = reading.fields(
        node,
        "promql_expr_test",
        &["expr", "eval_time", "exp_samples"],
    )?;
    let eval_ms = millis(reading, &fields, "eval_time");
    let mut expected = Vec::new();
    for node in reading.items(fields.get("exp_samples"), "exp_samples") {
        if let Some(fields) =
            reading.fields(node, "expected sample", &["labels", "value", "histogram"])
        {
            let labels = parsed(reading, &fields, "labels", sample_labels);
            let value = number(reading, &fields, "value");
            parsed(reading, &fields, "histogram", no_histogram);
            expected.push((labels.unwrap_or_default(), value));
        }
    }
    let expr = text(reading, &fields, "expr");
    let place = fields.get("expr").unwrap_or(node);
    let query = Query::parse(&expr).map_err(|error| {
        let at = error.at.unwrap_or(0);
        reading.refuse_within(place, at, format!("expr: {}", error.reason));
    });
    Some(ExpressionTest {
        eval_ms,
        expr,
        query: query.ok()?,
        expected,
    })
}

/// A time: RFC 3339, or seconds since 1970.
fn instant(text: &str) -> Result<i64, String> {
    let bad = || format!("not a time: {text:?}, wanted RFC 3339 or seconds since 1970");
    if let Ok(seconds) = text.parse::<f64>() {
        // Beyond this an instant plus a duration would no longer fit.
        let fits = seconds.abs() < 1e12;
        return fits
            .then(|| (seconds * 1000.0).round() as i64)
            .ok_or_else(bad);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
    Ok(time.as_millisecond())
}

/// A series such as `up{job="a"}`, or `{}`.
fn sample_labels(text: &str) -> Result<Labels, String> {
    if text.trim().is_empty() {
        return Ok(Labels::default());
    }
    notation::labels(text).map_err(|error| error.to_string())
}

fn no_histogram(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        _ => Err("native histograms are not supported: compare numbers".into()),
    }
}
