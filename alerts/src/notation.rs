//! Series and values as Prometheus' test languages write them: `up{job="a"} 1 2+3x4 _ stale`.
//!
//! Accepts and refuses what the grammar of Prometheus' series descriptions does; one difference: a label may not stand twice,
//! which Prometheus notices later, on writing. Values stay runs until they are asked for, so that `0+1x1000000` costs nothing
//! before; no text may ask for more than [`MAX_VALUES`].
//!
//! Left out: what stands between the braces of a native histogram. `{{…}}` is recognised, counted and not read.

use std::sync::Arc;

use thiserror::Error;

use crate::labels::{Labels, NAME, Pair};
use crate::number::STALE;

mod cursor;
mod write;

pub use cursor::number;
use cursor::{Cursor, in_word};
pub use write::{write_labels, write_values};

/// How many values one series may describe: years of a scrape each 15 s. A hostile `1x4000000000` is refused.
pub const MAX_VALUES: u64 = 10_000_000;

/// Words that the language keeps for itself where a metric's name is expected.
const RESERVED: [&str; 8] = [
    "atan2",
    "bool",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "on",
];

/// Text that describes no series or no values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {reason}")]
pub struct NotationError {
    /// Where in the text, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Values of one series, one per interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Checked, and kept as it was written: that is the least memory that tells the runs.
    text: Box<str>,
    len: u64,
    native: bool,
}

/// Values that were written as one item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Run {
    /// `_`: there is no sample.
    Omitted {
        /// How many in a row.
        count: u64,
    },
    /// Numbers; the stale marker is one of them.
    Numbers {
        /// The first.
        first: f64,
        /// What is added for each further one, if anything.
        step: Option<f64>,
        /// How many.
        count: u64,
    },
    /// `{{…}}`: native histograms, whose content is not read.
    Native {
        /// How many in a row.
        count: u64,
    },
}

/// What is written for one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Nothing.
    Omitted,
    /// A number or the stale marker.
    Number(f64),
    /// A native histogram.
    Native,
}

impl Values {
    /// How many intervals they cover; at most [`MAX_VALUES`].
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there is none, not even an omitted one.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items as written.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let mut cursor = Cursor::new(&self.text);
        std::iter::from_fn(move || {
            cursor.spaces();
            // It was read before, so that only the end is no item.
            if cursor.is_done() {
                None
            } else {
                item(&mut cursor).ok()
            }
        })
    }

    /// True when some value is a native histogram.
    pub fn has_native(&self) -> bool {
        self.native
    }

    /// One value after the other. A step is added again and again, as Prometheus does, so rounding is the same.
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        self.runs().flat_map(Run::iter)
    }
}

impl Run {
    fn count(self) -> u64 {
        match self {
            Run::Omitted { count } | Run::Numbers { count, .. } | Run::Native { count } => count,
        }
    }

    fn iter(self) -> impl Iterator<Item = Value> {
        let mut next = match self {
            Run::Numbers { first, .. } => first,
            _ => 0.0,
        };
        (0..self.count()).map(move |_| match self {
            Run::Omitted { .. } => Value::Omitted,
            Run::Native { .. } => Value::Native,
            Run::Numbers { step, .. } => {
                let value = next;
                // A step turns the stale marker into an ordinary NaN, as it does in Prometheus.
                next = step.map_or(
                    next,
                    |step| if next.is_nan() { f64::NAN } else { next + step },
                );
                Value::Number(value)
            }
        })
    }
}

/// A series and its values: `up{job="a"} 1 2+3x4 _ stale`.
///
/// # Errors
/// What the grammar does not accept, and more than [`MAX_VALUES`].
pub fn series(text: &str) -> Result<(Labels, Values), NotationError> {
    let mut cursor = Cursor::new(text);
    cursor.spaces();
    let name = metric_name(&mut cursor)?;
    let labels = label_set(&mut cursor, name)?;
    if !cursor.is_done() && !cursor.at_space() {
        return Err(cursor.unexpected("series values", "a space in front of the values"));
    }
    Ok((labels, items(&mut cursor)?))
}

/// A series alone: `up{job="a"}`, `{"quoted name", job="a"}` or `{}`.
///
/// # Errors
/// What the grammar does not accept.
pub fn labels(text: &str) -> Result<Labels, NotationError> {
    let mut cursor = Cursor::new(text);
    cursor.spaces();
    let name = metric_name(&mut cursor)?;
    cursor.spaces();
    let labels = label_set(&mut cursor, name)?;
    cursor.spaces();
    // The language's comments, which a description of values does not have.
    while cursor.eat('#') {
        cursor.word(|c| c != '\n');
        cursor.spaces();
    }
    match cursor.is_done() {
        true => Ok(labels),
        false => Err(cursor.unexpected("metric", "nothing more")),
    }
}

/// Values alone: `1 2+3x4 1x5 -2-3x4 _ _x3 stale Inf NaN`.
///
/// # Errors
/// What the grammar does not accept, and more than [`MAX_VALUES`].
pub fn values(text: &str) -> Result<Values, NotationError> {
    items(&mut Cursor::new(text))
}

fn metric_name(cursor: &mut Cursor<'_>) -> Result<Option<String>, NotationError> {
    let start = cursor.clone();
    let word = cursor.word(in_word);
    if word.is_empty() {
        return match cursor.peek() {
            Some('{') => Ok(None),
            _ => Err(cursor.unexpected("series", "a metric's name or \"{\"")),
        };
    }
    let lower = word.to_ascii_lowercase();
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(start.error("a metric's name does not begin with a digit".into()));
    }
    if RESERVED.contains(&&*lower) {
        return Err(start.error(format!(
            "{word:?} is a word of the language: write {{{word:?}}} if it is a metric's name"
        )));
    }
    Ok(Some(word.to_string()))
}

fn label_set(cursor: &mut Cursor<'_>, name: Option<String>) -> Result<Labels, NotationError> {
    let mut pairs: Vec<Pair> = Vec::new();
    if cursor.eat('{') {
        loop {
            cursor.spaces();
            if cursor.eat('}') {
                break;
            }
            let place = cursor.clone();
            let pair = label(cursor)?;
            if pairs.iter().any(|(have, _)| *have == pair.0) {
                return Err(place.error(format!("label {:?} stands twice", &*pair.0)));
            }
            pairs.push(pair);
            cursor.spaces();
            if !cursor.eat(',') && cursor.peek() != Some('}') {
                return Err(cursor.unexpected("label set", "\",\" or \"}\""));
            }
        }
    }
    // The name in front of the braces wins over one between them.
    if let Some(name) = name {
        pairs.push((Arc::from(NAME), Arc::from(name)));
    }
    Ok(Labels::from_pairs(pairs))
}

/// `name="value"`, `"quoted name"="value"`, or the metric's name in quotes.
fn label(cursor: &mut Cursor<'_>) -> Result<Pair, NotationError> {
    let quoted = matches!(cursor.peek(), Some('"' | '\'' | '`'));
    let name = if quoted {
        cursor.string()?
    } else {
        if !matches!(cursor.peek(), Some('a'..='z' | 'A'..='Z' | '_')) {
            return Err(cursor.unexpected("label set", "a label's name or \"}\""));
        }
        let word = cursor.word(|c| c.is_ascii_alphanumeric() || c == '_');
        word.to_string()
    };
    cursor.spaces();
    if !cursor.eat('=') {
        return match quoted {
            true => Ok((Arc::from(NAME), Arc::from(name))),
            false => Err(cursor.unexpected("label set", "\"=\"")),
        };
    }
    cursor.spaces();
    match cursor.peek() {
        Some('"' | '\'' | '`') => Ok((Arc::from(name), Arc::from(cursor.string()?))),
        _ => Err(cursor.unexpected("label set", "a quoted value")),
    }
}

fn items(cursor: &mut Cursor<'_>) -> Result<Values, NotationError> {
    let text = cursor.rest();
    let (mut len, mut native) = (0u64, false);
    loop {
        cursor.spaces();
        if cursor.is_done() {
            let text = Box::from(text);
            return Ok(Values { text, len, native });
        }
        let place = cursor.clone();
        let run = item(cursor)?;
        len = len.saturating_add(run.count());
        native |= matches!(run, Run::Native { count: 1.. });
        if len > MAX_VALUES {
            let reason = format!("more than {MAX_VALUES} values are described: write fewer");
            return Err(place.error(reason));
        }
        if !cursor.is_done() && !cursor.at_space() {
            return Err(cursor.unexpected("series values", "a space after each value"));
        }
    }
}

fn item(cursor: &mut Cursor<'_>) -> Result<Run, NotationError> {
    if cursor.eat('_') {
        let count = times(cursor)?.unwrap_or(1);
        return Ok(Run::Omitted { count });
    }
    // `x4` is four more than the one in front of it.
    if cursor.native()? {
        if matches!(cursor.peek(), Some('+' | '-')) {
            cursor.next();
            if !cursor.native()? || cursor.peek() != Some('x') {
                return Err(cursor.unexpected("series values", "{{…}}x and a count"));
            }
        }
        let count = times(cursor)?.map_or(1, |times| times.saturating_add(1));
        return Ok(Run::Native { count });
    }
    let first = match cursor.stale() {
        true => STALE,
        false => cursor.signed_number()?,
    };
    let step = match cursor.peek() {
        Some('+' | '-') => Some(cursor.signed_number()?),
        _ => None,
    };
    match (step, times(cursor)?) {
        (Some(_), None) => Err(cursor.unexpected("series values", "x and a count")),
        (step, times) => Ok(Run::Numbers {
            first,
            step,
            count: times.unwrap_or(0).saturating_add(1),
        }),
    }
}

/// `x` and a count.
fn times(cursor: &mut Cursor<'_>) -> Result<Option<u64>, NotationError> {
    if !cursor.eat('x') {
        return Ok(None);
    }
    let place = cursor.clone();
    let word = cursor.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    match word.parse() {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(place.error(format!(
            "invalid repetition {word:?} in series values, expected a whole number"
        ))),
    }
}

/// A string in double, single or back quotes, as PromQL writes it.
///
/// # Errors
/// Text that is not one quoted string.
pub fn quoted(text: &str) -> Result<String, NotationError> {
    let mut cursor = Cursor::new(text);
    if !matches!(cursor.peek(), Some('"' | '\'' | '`')) {
        return Err(cursor.unexpected("string", "a quote"));
    }
    let string = cursor.string()?;
    match cursor.is_done() {
        true => Ok(string),
        false => Err(cursor.unexpected("string", "nothing more")),
    }
}
