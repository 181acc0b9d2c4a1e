//! Reads a TOML table key by key and remembers where each value stands.
//!
//! Invariant: whatever was not asked for is reported as unknown, and nothing stops at the first fault of a file.

use std::{fmt, ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{MILLISECOND, MINUTE, SECOND};
use crate::recording::Nanos;

/// What is wrong with a scenario file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {reason}")]
pub struct ScenarioError {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// The faults found so far in one file.
pub(super) struct Errors<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Errors<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Errors {
            file,
            text,
            found: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, span: &Range<usize>, reason: impl fmt::Display) {
        self.found.push((span.start, reason.to_string()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order in which they stand in the file.
    pub(super) fn finish(mut self) -> Vec<ScenarioError> {
        self.found.sort();
        self.found.dedup();
        let place = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            (line, before[start..].chars().count() + 1)
        };
        let found = self.found.iter();
        found
            .map(|(offset, reason)| {
                let (line, column) = place(*offset);
                ScenarioError {
                    file: self.file.to_owned(),
                    line,
                    column,
                    reason: reason.clone(),
                }
            })
            .collect()
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table, whose keys are taken out as they are read.
pub(super) struct Keys<'t> {
    what: String,
    span: Range<usize>,
    left: Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'t>>)>,
    asked: Vec<&'static str>,
}

impl<'t> Keys<'t> {
    /// `what` names the table in messages.
    pub(super) fn new(what: impl Into<String>, span: Range<usize>, table: &'t DeTable<'t>) -> Self {
        let left = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        Keys {
            what: what.into(),
            span,
            left,
            asked: Vec::new(),
        }
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        let index = self.left.iter().position(|(name, ..)| *name == key)?;
        Some(self.left.remove(index).2)
    }

    /// The value of `key` as `read` understands it; an error if it is there and cannot be understood.
    pub(super) fn read<T>(
        &mut self,
        errors: &mut Errors,
        key: &'static str,
        read: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.take(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(At {
                value: read,
                span: value.span(),
            }),
            Err(reason) => {
                errors.push(&value.span(), format!("`{key}` of {}: {reason}", self.what));
                None
            }
        }
    }

    /// As [`Keys::read`]; an error if it is not there either.
    pub(super) fn need<T>(
        &mut self,
        errors: &mut Errors,
        key: &'static str,
        read: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<At<T>> {
        if !self.left.iter().any(|(name, ..)| *name == key) {
            self.asked.push(key);
            errors.push(&self.span, format!("{} needs `{key}`", self.what));
            return None;
        }
        self.read(errors, key, read)
    }

    /// The pairs that are left, for tables whose keys are names.
    pub(super) fn rest(&mut self) -> Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'t>>)> {
        std::mem::take(&mut self.left)
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(self, errors: &mut Errors) {
        for (key, span, _) in &self.left {
            let known = self.asked.join(", ");
            errors.push(
                span,
                format!("unknown key `{key}` in {}; known: {known}", self.what),
            );
        }
    }
}

/// Text.
pub(super) fn text<'t>(value: &'t DeValue<'t>) -> Result<&'t str, String> {
    value.as_str().ok_or_else(|| expected("a string", value))
}

/// An Arc of text.
pub(super) fn name<'t>(value: &'t DeValue<'t>) -> Result<Arc<str>, String> {
    text(value).map(Arc::from)
}

/// A whole number.
pub(super) fn integer<'t>(value: &'t DeValue<'t>) -> Result<i64, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| expected("a whole number", value))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| format!("`{}` is out of range", number.as_str()))
}

/// A whole number in `low..=high`.
pub(super) fn within<'t>(
    low: i64,
    high: i64,
) -> impl FnOnce(&'t DeValue<'t>) -> Result<i64, String> {
    move |value| {
        let number = integer(value)?;
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{number} is not in {low}..={high}"))
        }
    }
}

/// A duration such as `5m45s`, in nanoseconds.
pub(super) fn duration<'t>(value: &'t DeValue<'t>) -> Result<Nanos, String> {
    let text = text(value)?;
    parse_duration(text)
        .ok_or_else(|| format!("`{text}` is no duration; write it like 1h30m, 5m45s or 250ms"))
}

/// As [`duration`], with a sign.
pub(super) fn signed_duration<'t>(value: &'t DeValue<'t>) -> Result<i64, String> {
    let text = text(value)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let nanos = parse_duration(digits).and_then(|nanos| i64::try_from(nanos).ok());
    nanos
        .map(|nanos| sign * nanos)
        .ok_or_else(|| format!("`{text}` is no duration; write it like -2s or 250ms"))
}

/// A list, each element read by `read`.
pub(super) fn list<'t, T>(
    value: &'t DeValue<'t>,
    read: impl Fn(&'t DeValue<'t>) -> Result<T, String>,
) -> Result<Vec<At<T>>, String> {
    let array = value.as_array().ok_or_else(|| expected("a list", value))?;
    array
        .iter()
        .map(|item| {
            Ok(At {
                value: read(item.get_ref())?,
                span: item.span(),
            })
        })
        .collect()
}

/// The message for a value of another type.
pub(super) fn expected(what: &str, value: &DeValue) -> String {
    format!("expected {what}, found {}", value.type_str())
}

/// Nanoseconds of `1h2m3s4ms`: whole numbers with rising fineness, each unit at most once.
fn parse_duration(text: &str) -> Option<Nanos> {
    const UNITS: [(&str, Nanos); 5] = [
        ("d", 24 * 60 * MINUTE),
        ("h", 60 * MINUTE),
        ("m", MINUTE),
        ("s", SECOND),
        ("ms", MILLISECOND),
    ];
    let mut rest = text;
    let mut total: Nanos = 0;
    let mut next = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: Nanos = rest[..digits].parse().ok()?;
        let unit_and_rest = &rest[digits..];
        let end = unit_and_rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit_and_rest.len());
        let unit = &unit_and_rest[..end];
        let index = next + UNITS[next..].iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(UNITS[index].1)?)?;
        next = index + 1;
        rest = &unit_and_rest[end..];
    }
    (!text.is_empty()).then_some(total)
}

/// `5m45s` of nanoseconds, rounded down to milliseconds.
pub(crate) fn show_duration(nanos: Nanos) -> String {
    if nanos < SECOND {
        return format!("{}ms", nanos / MILLISECOND);
    }
    let seconds = nanos / SECOND;
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut shown: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    let rest = nanos % SECOND / MILLISECOND;
    if rest > 0 {
        shown.push_str(&format!("{rest}ms"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_alike() {
        for (text, nanos) in [
            ("24h", Some(86_400 * SECOND)),
            ("5m45s", Some(345 * SECOND)),
            ("1s500ms", Some(1500 * MILLISECOND)),
            ("250ms", Some(250 * MILLISECOND)),
            ("5", None),
            ("5x", None),
            ("", None),
            ("5s1m", None),
            ("1m1m", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
            if let Some(nanos) = nanos {
                assert_eq!(show_duration(nanos), text);
            }
        }
    }
}
