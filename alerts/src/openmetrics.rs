//! Recorded series as OpenMetrics text with timestamps, and back: what `promtool tsdb create-blocks-from openmetrics` reads.
//!
//! Invariant: name, labels, instant and value of every sample come back as they were, bit for bit, from [`read`] and from
//! promtool. Two things the format cannot say: a stale marker (promtool turns every NaN into the ordinary one) and the
//! payload of a NaN. Markers are left out and counted; a reader of the text sees a vanished series for as long as its
//! lookback allows, where a reader of the recording saw it end. Families have no type, which OpenMetrics reads as unknown;
//! exemplars and creation instants are not kept.
//!
//! A sample costs no memory, neither in [`write`] nor in the text that [`read`] is given.

use std::io::{self, BufRead, Read, Write};

use thiserror::Error;

use crate::exposition::{self, ExpositionError};
use crate::labels::{Labels, NAME, Pair};
use crate::number::{is_stale, parse_value};
use crate::promql::Source;
use crate::series::SeriesStore;

/// The line that ends the text.
const EOF: &str = "# EOF";

/// No series needs a longer line; what has one is not this format, and is not taken into memory.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What [`write`] wrote and left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Series with at least one sample.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Stale markers, which the format cannot say.
    pub stale_markers: u64,
}

/// Why series could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A series that OpenMetrics cannot hold; nothing was written.
    #[error("{labels}: {reason}")]
    Series {
        /// The series.
        labels: Labels,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The output failed.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Why a text could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The text is not what it should be.
    #[error(transparent)]
    Text(#[from] ExpositionError),
    /// The input failed.
    #[error(transparent)]
    Input(#[from] io::Error),
}

/// Writes the series whose labels satisfy `keep`, sorted by name and labels, oldest sample first.
///
/// Refused before a byte is written: a series without a name, and one with a sample before the epoch, which promtool would
/// drop without a word. A name beyond `[a-zA-Z_:][a-zA-Z0-9_:]*` is quoted, which promtool reads from version 3 on.
pub fn write(
    source: &Source<'_>,
    keep: impl Fn(&Labels) -> bool,
    out: &mut impl Write,
) -> Result<Written, WriteError> {
    let mut found = source.matching(&keep);
    found.sort_by(|a, b| {
        let names = a.labels.name().cmp(b.labels.name());
        names.then_with(|| a.labels.cmp(&b.labels))
    });
    for series in &found {
        let refused = |reason| {
            Err(WriteError::Series {
                labels: series.labels.clone(),
                reason,
            })
        };
        if series.labels.name().is_empty() {
            return refused("a series without a name cannot be written as OpenMetrics");
        }
        if series.labels.iter().any(|(_, value)| value.contains('\0')) {
            return refused("OpenMetrics has no notation for a zero byte in a label");
        }
        if source
            .stream(series)
            .next()
            .is_some_and(|(t_ms, _)| t_ms < 0)
        {
            return refused("promtool reads no sample before the epoch");
        }
    }
    let mut written = Written::default();
    for series in &found {
        let key = key(&series.labels);
        let before = written.samples;
        for (t_ms, value) in source.stream(series) {
            if is_stale(value) {
                written.stale_markers += 1;
                continue;
            }
            out.write_all(key.as_bytes())?;
            write_value(out, value)?;
            writeln!(out, " {}", seconds(t_ms))?;
            written.samples += 1;
        }
        written.series += u64::from(written.samples > before);
    }
    writeln!(out, "{EOF}")?;
    Ok(written)
}

/// Name and labels as a sample line begins, with the space that follows.
fn key(labels: &Labels) -> String {
    let mut parts: Vec<String> = Vec::new();
    let name = labels.name();
    let plain = exposition::is_name(name, true);
    if !plain {
        parts.push(quoted(name));
    }
    for (label, value) in labels.iter().filter(|(label, _)| *label != NAME) {
        let label = match exposition::is_name(label, false) {
            true => label.to_string(),
            false => quoted(label),
        };
        parts.push(format!("{label}={}", quoted(value)));
    }
    let name = if plain { name } else { "" };
    match parts.is_empty() {
        true => format!("{name} "),
        false => format!("{name}{{{}}} ", parts.join(",")),
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

/// The shortest digits that read back the same.
fn write_value(out: &mut impl Write, value: f64) -> io::Result<()> {
    let size = value.abs();
    match value {
        _ if value.is_nan() => out.write_all(b"NaN"),
        f64::INFINITY => out.write_all(b"+Inf"),
        f64::NEG_INFINITY => out.write_all(b"-Inf"),
        _ if size != 0.0 && !(1e-5..1e17).contains(&size) => write!(out, "{value:e}"),
        _ => write!(out, "{value}"),
    }
}

/// Milliseconds as seconds. Prometheus multiplies by 1,000 and cuts off what is behind the point, so that 1.005 would become
/// 1,004 ms: the next larger number is written where that happens.
fn seconds(t_ms: i64) -> f64 {
    let mut seconds = t_ms as f64 / 1000.0;
    while milliseconds(seconds) < t_ms {
        seconds = seconds.next_up();
    }
    seconds
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

/// Reads a text into a store of its own. Every sample needs a timestamp, those of one series must grow, and the last line
/// must be `# EOF`, without which the text may have been cut.
pub fn read(mut input: impl BufRead) -> Result<SeriesStore, ReadError> {
    let mut store = SeriesStore::new();
    let (mut buffer, mut ended) = (Vec::new(), false);
    for line in 1.. {
        let wrong = |reason: String| ReadError::Text(ExpositionError { line, reason });
        buffer.clear();
        let mut limited = (&mut input).take(LINE_BYTES_MAX);
        if limited.read_until(b'\n', &mut buffer)? == 0 {
            return match ended {
                true => Ok(store),
                false => Err(wrong(format!("{EOF:?} expected: was the text cut?"))),
            };
        }
        if ended {
            return Err(wrong(format!("text after {EOF:?}")));
        }
        let bytes = match buffer.strip_suffix(b"\n") {
            Some(bytes) => bytes,
            None if buffer.len() as u64 == LINE_BYTES_MAX => {
                return Err(wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            None => &buffer,
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        if text == EOF {
            ended = true;
        } else if !text.starts_with('#') {
            let (labels, t_ms, value) = sample(text).map_err(wrong)?;
            store
                .append(&labels, t_ms, value)
                .map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(store)
}

fn sample(text: &str) -> Result<(Labels, i64, f64), String> {
    let (name, labels, rest) = exposition::parse_key(text)?;
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let value = words.next().ok_or("no value after the series")?;
    let value = parse_value(value).ok_or_else(|| format!("invalid value {value:?}"))?;
    let seconds: f64 = match words.next() {
        None | Some("#") => return Err(format!("sample of {name} has no timestamp")),
        Some(word) => word
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite())
            .ok_or_else(|| format!("invalid timestamp {word:?}: seconds expected"))?,
    };
    match words.next() {
        None | Some("#") => {}
        Some(word) => return Err(format!("unexpected {word:?} after the timestamp")),
    }
    let mut pairs: Vec<Pair> = vec![(NAME.into(), (*name).into())];
    pairs.extend(
        labels
            .iter()
            .map(|(name, value)| ((**name).into(), (**value).into())),
    );
    Ok((Labels::from_pairs(pairs), milliseconds(seconds), value))
}
