//! The Prometheus text exposition format, line by line.
//!
//! Invariant: what the format says is kept (escapes, `}` inside quotes, timestamps, quoted UTF-8 names) and what it does
//! not allow is an error with its line number, never a dropped line. OpenMetrics and protobuf are left out.

use std::borrow::Cow;

use thiserror::Error;

use crate::labels::{Labels, NAME};
use crate::number::parse_value;

/// Why a body is not valid exposition.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct ExpositionError {
    /// Line in the body, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Type of a metric family as its `# TYPE` line declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows, except for resets.
    Counter,
    /// May go up and down.
    Gauge,
    /// `_bucket`, `_sum` and `_count` with cumulative buckets.
    Histogram,
    /// `_sum`, `_count` and quantiles.
    Summary,
    /// Declared `untyped`.
    Untyped,
}

/// One line that says something.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Empty, or a comment that is neither HELP nor TYPE.
    Nothing,
    /// `# HELP name text`, unescaped.
    Help(&'a str, Cow<'a, str>),
    /// `# TYPE name type`.
    Type(&'a str, MetricType),
    /// A sample.
    Sample(Sample<'a>),
}

/// One sample line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// Metric name.
    pub name: Cow<'a, str>,
    /// Labels in the order written, unescaped; names are unique.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The value.
    pub value: f64,
    /// Explicit timestamp in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
}

impl Sample<'_> {
    /// Name and labels as one set.
    pub fn to_labels(&self) -> Labels {
        let mut pairs = vec![(NAME.into(), (*self.name).into())];
        pairs.extend(
            self.labels
                .iter()
                .map(|(name, value)| ((**name).into(), (**value).into())),
        );
        Labels::from_pairs(pairs)
    }
}

/// Reads a whole body; each item carries its line number.
pub fn parse(body: &str) -> Result<Vec<(usize, Line<'_>)>, ExpositionError> {
    let mut out = Vec::new();
    for (at, text) in body.split('\n').enumerate() {
        match parse_line(text) {
            Ok(Line::Nothing) => {}
            Ok(line) => out.push((at + 1, line)),
            Err(reason) => {
                return Err(ExpositionError {
                    line: at + 1,
                    reason,
                });
            }
        }
    }
    Ok(out)
}

/// Reads one line without its line feed.
pub fn parse_line(text: &str) -> Result<Line<'_>, String> {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Ok(Line::Nothing);
    }
    match text.strip_prefix('#') {
        Some(comment) => parse_comment(comment),
        None => parse_sample(text).map(Line::Sample),
    }
}

fn parse_comment(comment: &str) -> Result<Line<'_>, String> {
    let Some(rest) = comment.strip_prefix([' ', '\t']) else {
        return Ok(Line::Nothing);
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    let (keyword, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    if keyword != "HELP" && keyword != "TYPE" {
        return Ok(Line::Nothing);
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (name, text) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let name = name
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(name);
    if name.is_empty() {
        return Err(format!("{keyword} without a metric name"));
    }
    let text = text.trim_start_matches([' ', '\t']);
    if keyword == "HELP" {
        return Ok(Line::Help(name, unescape(text, false)));
    }
    let kind = match text {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        "untyped" => MetricType::Untyped,
        other => return Err(format!("invalid metric type {other:?} of {name}")),
    };
    Ok(Line::Type(name, kind))
}

/// Where the part that names the series ends: after the closing brace, or after the bare name. `None` when the braces
/// are not closed. Quotes and escapes are respected, so that `}` inside a value does not end it.
pub fn key_length(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let open = bytes
        .iter()
        .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    if bytes[open] != b'{' {
        let next = open
            + bytes[open..]
                .iter()
                .position(|byte| !matches!(byte, b' ' | b'\t'))?;
        if bytes[next] != b'{' {
            return Some(open);
        }
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Reads what follows the series: value and optional timestamp.
pub fn parse_value_part(text: &str) -> Result<(f64, Option<i64>), String> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().ok_or("no value after the series")?;
    let number = parse_value(value).ok_or_else(|| format!("invalid value {value:?}"))?;
    let timestamp = match words.next() {
        None => None,
        Some(word) => Some(
            word.parse()
                .map_err(|_| format!("invalid timestamp {word:?}: whole milliseconds expected"))?,
        ),
    };
    match words.next() {
        None => Ok((number, timestamp)),
        Some(word) => Err(format!("unexpected {word:?} after the timestamp")),
    }
}

fn parse_sample(text: &str) -> Result<Sample<'_>, String> {
    let (name, labels, rest) = parse_key(text)?;
    let (value, timestamp_ms) = parse_value_part(rest)?;
    Ok(Sample {
        name,
        labels,
        value,
        timestamp_ms,
    })
}

/// Reads the part that names the series; answers name, labels and what follows.
pub(crate) fn parse_key(text: &str) -> Result<(Cow<'_, str>, LabelList<'_>, &str), String> {
    let end = key_length(text).ok_or_else(|| match text.contains('{') {
        true => "label set is not closed".to_string(),
        false => "no value after the series".to_string(),
    })?;
    let (key, rest) = text.split_at(end);
    let (bare, inside) = match key.split_once('{') {
        Some((bare, inside)) => (
            bare.trim_end_matches([' ', '\t']),
            &inside[..inside.len() - 1],
        ),
        None => (key, ""),
    };
    let (quoted, labels) = parse_labels(inside)?;
    let name = match quoted {
        Some(_) if !bare.is_empty() => return Err(format!("metric name {bare:?} given twice")),
        Some(quoted) => quoted,
        None if is_name(bare, true) => Cow::Borrowed(bare),
        None => return Err(format!("invalid metric name {bare:?}")),
    };
    Ok((name, labels, rest))
}

pub(crate) type LabelList<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The inside of the braces. A lone quoted string is the metric's name (Prometheus 3 notation).
fn parse_labels(mut text: &str) -> Result<(Option<Cow<'_, str>>, LabelList<'_>), String> {
    let (mut metric, mut labels) = (None, LabelList::new());
    loop {
        text = text.trim_start_matches([' ', '\t']);
        if text.is_empty() {
            return Ok((metric, labels));
        }
        let name = if text.starts_with('"') {
            let (name, rest) = quoted(text)?;
            text = rest.trim_start_matches([' ', '\t']);
            if !text.starts_with('=') {
                if metric.replace(name).is_some() {
                    return Err("metric name given twice".into());
                }
                text = comma(text)?;
                continue;
            }
            name
        } else {
            let equals = text
                .find('=')
                .ok_or_else(|| format!("expected name=\"value\" at {text:?}"))?;
            let name = text[..equals].trim_end_matches([' ', '\t']);
            if !is_name(name, false) {
                return Err(format!("invalid label name {name:?}"));
            }
            text = &text[equals..];
            Cow::Borrowed(name)
        };
        let (value, rest) = quoted(text[1..].trim_start_matches([' ', '\t']))?;
        if labels.iter().any(|(have, _)| *have == name) {
            return Err(format!("label {name:?} is given twice"));
        }
        labels.push((name, value));
        text = comma(rest)?;
    }
}

fn comma(rest: &str) -> Result<&str, String> {
    let rest = rest.trim_start_matches([' ', '\t']);
    match rest.strip_prefix(',') {
        Some(rest) => Ok(rest),
        None if rest.is_empty() => Ok(rest),
        None => Err(format!("expected ',' or '}}' at {rest:?}")),
    }
}

/// A quoted string at the start, unescaped, and what follows it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let inner = text
        .strip_prefix('"')
        .ok_or_else(|| format!("expected a quoted value at {text:?}"))?;
    let mut escaped = false;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok((unescape(&inner[..at], true), &inner[at + 1..])),
            _ => {}
        }
    }
    Err(format!("quoted value is not closed at {text:?}"))
}

/// `\\` and `\n`, and `\"` in label values; any other backslash stands for itself, as in Prometheus.
fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let plain = match (char, chars.peek()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('n')) => '\n',
            ('\\', Some('"')) if quotes => '"',
            _ => {
                out.push(char);
                continue;
            }
        };
        chars.next();
        out.push(plain);
    }
    Cow::Owned(out)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, with colons where `metric`.
pub fn is_name(text: &str, metric: bool) -> bool {
    let good = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (metric && byte == b':');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|first| good(*first))
        && bytes
            .iter()
            .all(|byte| good(*byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<String, String> {
        match parse_line(text)? {
            Line::Sample(sample) => Ok(format!(
                "{} {} {:?}",
                sample.to_labels(),
                sample.value,
                sample.timestamp_ms
            )),
            other => Ok(format!("{other:?}")),
        }
    }

    #[test]
    fn what_the_format_says_is_kept() {
        let cases = [
            ("up 1", "up 1 None"),
            ("up\t1 1700000000123", "up 1 Some(1700000000123)"),
            ("  a { b = \"c\" , } 2", "a{b=\"c\"} 2 None"),
            (
                r#"http{route="/holds/{id}"} 3"#,
                r#"http{route="/holds/{id}"} 3 None"#,
            ),
            (r#"a{b="x\\y\"z\nw"} 4"#, r#"a{b="x\\y\"z\nw"} 4 None"#),
            (r#"a{b="\d"} 4"#, r#"a{b="\\d"} 4 None"#),
            (r#"{"my.metric",b="c"} 5"#, r#"my.metric{b="c"} 5 None"#),
            ("a{} -Inf", "a -inf None"),
            ("a NaN", "a NaN None"),
            ("a{b=\"\"} 1e3", "a 1000 None"),
            ("# HELP a one\\ntwo", "Help(\"a\", \"one\\ntwo\")"),
            ("# TYPE a histogram", "Type(\"a\", Histogram)"),
            ("# a comment", "Nothing"),
            ("#EOF", "Nothing"),
        ];
        for (text, want) in cases {
            assert_eq!(one(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_the_format_forbids_is_an_error_with_its_line() {
        let cases = [
            ("a", "no value"),
            ("a x", "invalid value"),
            ("a 1 x", "invalid timestamp"),
            ("a 1 2 3", "unexpected"),
            ("a{b=\"c\" 1", "not closed"),
            ("a{b=c} 1", "quoted"),
            ("a{b=\"c\" d=\"e\"} 1", "expected ','"),
            ("a{1b=\"c\"} 1", "invalid label name"),
            ("a{b=\"c\",b=\"d\"} 1", "twice"),
            ("1a 1", "invalid metric name"),
            ("{b=\"c\"} 1", "invalid metric name"),
            ("# TYPE a blob", "invalid metric type"),
        ];
        for (text, want) in cases {
            let body = format!("up 1\n{text}\n");
            let error = parse(&body).expect_err(text);
            assert_eq!(error.line, 2, "{text}");
            assert!(error.reason.contains(want), "{text}: {error}");
        }
    }
}
