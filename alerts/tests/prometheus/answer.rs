//! Answers of both sides in one form, and what differs between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use alerts::labels::Labels;
use alerts::number::parse_value;
use alerts::promql::{Annotations, Answer, Options, Query, Source};
use regex::Regex;
use serde_json::Value;

use crate::server::Server;

/// Two sums of the same numbers in another order, or functions of two mathematical libraries, may differ by this.
const RELATIVE: f64 = 1e-9;
/// Squares of deviations lose half of the digits.
const OF_SQUARES: f64 = 1e-6;

/// When a query is asked, milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(i64),
    Range {
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    },
}

/// Instants and values of a series.
type Samples = Vec<(i64, f64)>;

/// What a query answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With the reason, which is printed with a difference.
    #[expect(dead_code, reason = "read by `Debug` alone")]
    Refused(String),
    Text(String),
    /// Series in the order answered; a scalar is one without labels.
    Series(Vec<(Labels, Samples)>),
}

/// What differs between two replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// One refuses, or answers another type.
    Refusal,
    /// Other series.
    Labels,
    /// Other instants of a series.
    Instants,
    /// Other numbers.
    Values,
    /// The same in another order, where order is promised.
    Order,
    /// Other warnings or infos beside the same answer.
    Notes,
}

fn seconds(t_ms: i64) -> String {
    format!("{}.{:03}", t_ms.div_euclid(1000), t_ms.rem_euclid(1000))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::At(t_ms) => write!(f, "at {}", seconds(*t_ms)),
            When::Range {
                start_ms,
                end_ms,
                step_ms,
            } => {
                let (start, end) = (seconds(*start_ms), seconds(*end_ms));
                write!(f, "from {start} to {end} step {}", seconds(*step_ms))
            }
        }
    }
}

/// Asks the server.
pub fn theirs(server: &Server, query: &str, when: When) -> Reply {
    annotated_theirs(server, query, when).0
}

/// The same with warnings and infos.
pub fn annotated_theirs(server: &Server, query: &str, when: When) -> (Reply, Annotations) {
    let answer = match when {
        When::At(t_ms) => api(
            server,
            "/api/v1/query",
            &[("query", query), ("time", &seconds(t_ms))],
        ),
        When::Range {
            start_ms,
            end_ms,
            step_ms,
        } => api(
            server,
            "/api/v1/query_range",
            &[
                ("query", query),
                ("start", &seconds(start_ms)),
                ("end", &seconds(end_ms)),
                ("step", &seconds(step_ms)),
            ],
        ),
    };
    let texts = |kind: &str| {
        let texts = answer[kind].as_array().into_iter().flatten();
        texts
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect()
    };
    let notes = Annotations {
        warnings: texts("warnings"),
        infos: texts("infos"),
    };
    (reply(&answer), notes)
}

fn reply(answer: &Value) -> Reply {
    if answer["status"] != "success" {
        return Reply::Refused(answer["error"].as_str().unwrap_or("no reason").to_string());
    }
    let result = &answer["data"]["result"];
    match answer["data"]["resultType"].as_str() {
        Some("string") => Reply::Text(result[1].as_str().expect("a string").to_string()),
        Some("scalar") => Reply::Series(vec![(Labels::default(), vec![pair(result)])]),
        Some(kind) => {
            let series = result.as_array().expect("a list").iter();
            Reply::Series(series.map(|series| one(kind, series)).collect())
        }
        None => panic!("no result type: {answer}"),
    }
}

/// Asks the HTTP API; an answer that is an error is an answer too.
fn api(server: &Server, path: &str, parameters: &[(&str, &str)]) -> Value {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let header = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = server.request("POST", path, header, body.as_bytes());
    let (status, body) =
        answer.unwrap_or_else(|error| panic!("{path} {parameters:?}: {error}\n{}", server.log()));
    serde_json::from_slice(&body).unwrap_or_else(|error| {
        let body = String::from_utf8_lossy(&body);
        panic!(
            "{path} {parameters:?}: {status} {error}: {body}\n{}",
            server.log()
        )
    })
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match plain(byte) {
            true => (byte as char).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

fn one(kind: &str, series: &Value) -> (Labels, Samples) {
    let labels = serde_json::from_value(series["metric"].clone()).expect("labels");
    let samples = match kind {
        "vector" => vec![pair(&series["value"])],
        _ => series["values"]
            .as_array()
            .expect("values")
            .iter()
            .map(pair)
            .collect(),
    };
    (labels, samples)
}

fn pair(pair: &Value) -> (i64, f64) {
    let t = pair[0].as_f64().expect("seconds");
    let value = pair[1].as_str().and_then(parse_value).expect("a number");
    ((t * 1000.0).round() as i64, value)
}

/// Evaluates here.
pub fn ours(source: &Source<'_>, query: &str, when: When) -> Reply {
    annotated_ours(source, query, when).0
}

/// The same with warnings and infos.
pub fn annotated_ours(source: &Source<'_>, query: &str, when: When) -> (Reply, Annotations) {
    let refused = |reason: String| (Reply::Refused(reason), Annotations::default());
    let options = Options::default();
    let parsed = match Query::parse(query) {
        Ok(parsed) => parsed,
        Err(error) => return refused(error.to_string()),
    };
    let (answer, instants): (_, Vec<i64>) = match when {
        When::At(t_ms) => (parsed.annotated_at(source, &options, t_ms), vec![t_ms]),
        When::Range {
            start_ms,
            end_ms,
            step_ms,
        } => (
            parsed.annotated_range(source, &options, (start_ms, end_ms), step_ms),
            (start_ms..=end_ms).step_by(step_ms as usize).collect(),
        ),
    };
    match answer {
        Err(error) => refused(error.to_string()),
        Ok((answer, notes)) => (shaped(answer, instants), notes),
    }
}

fn shaped(answer: Answer, instants: Vec<i64>) -> Reply {
    let series = match answer {
        Answer::Text(text) => return Reply::Text(text),
        Answer::Scalar(values) => {
            vec![(
                Labels::default(),
                instants.into_iter().zip(values).collect(),
            )]
        }
        Answer::Vector(columns) => columns
            .into_iter()
            .map(|column| {
                let samples = column.present().map(|(at, value)| (instants[at], value));
                (column.labels.clone(), samples.collect())
            })
            .collect(),
        Answer::Matrix(series) => series
            .into_iter()
            .map(|(labels, samples)| {
                (
                    labels,
                    samples.t_ms.into_iter().zip(samples.values).collect(),
                )
            })
            .collect(),
    };
    Reply::Series(series)
}

fn same(left: f64, right: f64, relative: f64) -> bool {
    let scale = left.abs().max(right.abs());
    left == right
        || (left.is_nan() && right.is_nan())
        || (scale.is_finite() && (left - right).abs() <= relative * scale)
}

/// Whether both hold the same numbers at each instant, whatever series they belong to.
pub fn same_numbers(theirs: &Reply, ours: &Reply) -> bool {
    let numbers = |reply: &Reply| -> Option<Samples> {
        let Reply::Series(series) = reply else {
            return None;
        };
        let mut out: Vec<_> = series.iter().flat_map(|(_, all)| all.clone()).collect();
        out.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.abs().total_cmp(&b.1.abs())));
        Some(out)
    };
    let (Some(theirs), Some(ours)) = (numbers(theirs), numbers(ours)) else {
        return false;
    };
    let mut pairs = theirs.iter().zip(&ours);
    theirs.len() == ours.len() && pairs.all(|(a, b)| a.0 == b.0 && same(a.1, b.1, RELATIVE))
}

/// What differs, if anything. Order counts where `sorted`.
pub fn difference(theirs: &Reply, ours: &Reply, query: &str, sorted: bool) -> Option<Difference> {
    let (theirs, ours) = match (theirs, ours) {
        (Reply::Refused(_), Reply::Refused(_)) => return None,
        (Reply::Text(left), Reply::Text(right)) if left == right => return None,
        (Reply::Series(left), Reply::Series(right)) => (left, right),
        _ => return Some(Difference::Refusal),
    };
    let squares = ["stddev", "stdvar", "deriv", "predict_linear"];
    let relative = match squares.iter().any(|name| query.contains(name)) {
        true => OF_SQUARES,
        false => RELATIVE,
    };
    let left: BTreeMap<_, _> = theirs.iter().cloned().collect();
    let right: BTreeMap<_, _> = ours.iter().cloned().collect();
    if theirs.len() != ours.len() || !left.keys().eq(right.keys()) {
        return Some(Difference::Labels);
    }
    let both = || left.values().zip(right.values());
    if both().any(|(left, right)| !left.iter().map(|(t, _)| t).eq(right.iter().map(|(t, _)| t))) {
        return Some(Difference::Instants);
    }
    let samples = |(left, right): (&Samples, &Samples)| {
        left.iter()
            .zip(right)
            .all(|(left, right)| same(left.1, right.1, relative))
    };
    if !both().all(samples) {
        return Some(Difference::Values);
    }
    let sequence = theirs.iter().zip(ours);
    let ordered = sequence
        .into_iter()
        .all(|(left, right)| samples((&left.1, &right.1)));
    (sorted && !ordered).then_some(Difference::Order)
}

/// Warnings and infos of each kind that the HTTP API answers; of more it says how many there are.
const NOTES_MAX: usize = 10;

/// What 3.5 says in other words: of buckets it names the metric always, also one without a name, and of repaired buckets no more; of
/// `sort` it says nothing. This is taken out of its notes and of ours.
pub const WORDS_OF_3_5: [(&str, &str); 3] = [
    (
        r"^PromQL warning: sort is ineffective for range queries since results are always ordered by labels \(\d+:\d+\)$",
        "",
    ),
    (
        r#"( (?:malformed value of "(?:[^"\\]|\\.)*"|needed to be fixed for monotonicity \(see [^)]*\))) for metric name "(?:[^"\\]|\\.)*""#,
        "$1",
    ),
    (
        r"(needed to be fixed for monotonicity \(see [^)]*\)), from buckets .* samples from \S+Z to \S+Z",
        "$1",
    ),
];

/// Notes without these words, and with numbers as exact as sums are.
fn plain(texts: &[String], words: &[(Regex, &str)]) -> BTreeSet<String> {
    let plain = |text: &String| {
        let text = words.iter().fold(text.clone(), |text, (pattern, short)| {
            pattern.replace_all(&text, *short).into_owned()
        });
        let number = text
            .rsplit_once(", got ")
            .and_then(|(_, rest)| rest.split(' ').next());
        match number.and_then(|number| Some((number, parse_value(number)?))) {
            Some((number, value)) => text.replace(number, &format!("{value:.9e}")),
            None => text,
        }
    };
    let texts = texts.iter().map(plain);
    texts.filter(|text| !text.is_empty()).collect()
}

fn placeless(notes: &BTreeSet<String>) -> BTreeSet<String> {
    let bare = |text: &String| {
        text.rsplit_once(" (")
            .map_or(text.clone(), |(text, _)| text.into())
    };
    notes.iter().map(bare).collect()
}

/// All notes without their places.
pub fn texts_of(notes: &Annotations, words: &[(Regex, &str)]) -> BTreeSet<String> {
    let all = [notes.warnings.clone(), notes.infos.clone()].concat();
    placeless(&plain(&all, words))
}

/// Whether both say the same beside their answers, but for these words. Theirs stand in no order, and of many they are any.
pub fn same_notes(theirs: &Annotations, ours: &Annotations, words: &[(Regex, &str)]) -> bool {
    let same = |theirs: &[String], ours: &[String], kind: &str| {
        let omitted = format!(" more {kind} annotations omitted");
        let (left, told): (Vec<String>, Vec<String>) = theirs
            .iter()
            .cloned()
            .partition(|text| text.ends_with(&omitted));
        let (told, all) = (plain(&told, words), plain(ours, words));
        match left.is_empty() {
            true if words.is_empty() => told == all,
            // Of one text the last place counts; what names metrics stays apart where it is one text here.
            true => all.is_subset(&told) && placeless(&all) == placeless(&told),
            false => theirs.len() == NOTES_MAX + 1 && placeless(&told).is_subset(&placeless(&all)),
        }
    };
    same(&theirs.warnings, &ours.warnings, "warning") && same(&theirs.infos, &ours.infos, "info")
}
