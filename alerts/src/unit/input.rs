//! The input series of a test, as promtool reads them: it writes series and values of all into one text of lines and reads that.
//!
//! So a line feed within values ends a series, and an empty line or a comment within them ends all input: what stands after it
//! is not read, which is no error there. Here it is counted, so that it can be told.

use crate::labels::Labels;
use crate::notation::{self, NotationError, Values};
use crate::rules::document::{Fields, Reading};
use crate::rules::yaml::Node;

/// One input series as the file has it.
pub(super) struct Described<'n> {
    series: &'n str,
    values: &'n str,
    /// Where the series stands, and its values.
    places: (&'n Node, &'n Node),
}

impl<'n> Described<'n> {
    pub fn of(reading: &mut Reading<'_>, node: &'n Node, fields: &Fields<'n>) -> Self {
        let mut text = |field: &str| fields.get(field).and_then(|node| reading.text(node));
        Described {
            series: text("series").unwrap_or_default(),
            values: text("values").unwrap_or_default(),
            places: (
                fields.get("series").unwrap_or(node),
                fields.get("values").unwrap_or(node),
            ),
        }
    }
}

/// What is read, and how many are not.
pub(super) fn read(
    reading: &mut Reading<'_>,
    described: &[Described<'_>],
) -> (Vec<(Labels, Values)>, usize) {
    let mut out = Vec::new();
    for (at, one) in described.iter().enumerate() {
        let text = format!("{} {}", one.series, one.values);
        for line in text.split('\n') {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return (out, described.len() - at - 1);
            }
            match notation::series(line) {
                Ok((_, values)) if values.has_native() => {
                    let reason = "values: native histograms ({{…}}) are not supported";
                    reading.refuse(one.places.1, reason);
                }
                Ok((labels, _)) if labels.is_empty() => {
                    reading.refuse(one.places.0, "a series needs a name or a label");
                }
                Ok(read) => out.push(read),
                Err(error) => refuse(reading, one, line, &error),
            }
        }
    }
    (out, 0)
}

/// Refuses where the series or its values stand, as far as they are written in one line.
fn refuse(reading: &mut Reading<'_>, one: &Described<'_>, line: &str, error: &NotationError) {
    let series = one.series.trim();
    let values = line
        .strip_prefix(series)
        .map(|_| series.chars().count())
        .and_then(|length| error.column.checked_sub(length + 2));
    let chars = |text: &str, count: usize| text.chars().take(count).map(char::len_utf8).sum();
    let reason = error.reason.clone();
    match values {
        Some(column) => reading.refuse_within(one.places.1, chars(one.values, column), reason),
        None if line.starts_with(series) => {
            let offset = chars(series, error.column.saturating_sub(1));
            reading.refuse_within(one.places.0, offset, reason);
        }
        None => reading.refuse(one.places.1, format!("{reason} (in the line {line:?})")),
    }
}
