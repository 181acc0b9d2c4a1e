//! The notation written: what [`super::labels`] and [`super::values`] read back as it was.
//!
//! Invariant: each value comes back bit for bit, a NaN as the ordinary one. A run is written only where Prometheus' own way of
//! reading it, adding the step again and again, yields exactly these values.

use std::fmt::Write as _;

use crate::exposition::is_name;
use crate::labels::{Labels, NAME};
use crate::number::{format_f, is_stale};

/// Runs of fewer numbers are not shorter than the numbers.
const RUN_MIN: usize = 3;

/// One value per interval, `None` where there is no sample, in the shortest usual form: `_x4 5x40 0+1x10 stale`.
pub fn write_values(values: &[Option<f64>]) -> String {
    let mut out = String::new();
    let mut rest = values;
    while let Some(first) = rest.first() {
        if !out.is_empty() {
            out.push(' ');
        }
        let taken = match first {
            None => omitted(rest, &mut out),
            Some(first) => numbers(*first, rest, &mut out),
        };
        rest = &rest[taken..];
    }
    out
}

/// A series: `up{job="a"}`. A metric's name that is no plain one stands between the braces, as Prometheus 3 reads it.
pub fn write_labels(labels: &Labels) -> String {
    let mut out = String::new();
    let mut parts = Vec::new();
    match labels.name() {
        name if is_name(name, true) => out.push_str(name),
        "" => {}
        name => parts.push(quoted(name)),
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
        let name = match is_name(name, false) {
            true => name.to_owned(),
            false => quoted(name),
        };
        parts.push(format!("{name}={}", quoted(value)));
    }
    if !parts.is_empty() || out.is_empty() {
        let _ = write!(out, "{{{}}}", parts.join(", "));
    }
    out
}

/// Writes a run of absent values; answers how many.
fn omitted(values: &[Option<f64>], out: &mut String) -> usize {
    let count = values.iter().take_while(|value| value.is_none()).count();
    out.push('_');
    if count > 1 {
        let _ = write!(out, "x{count}");
    }
    count
}

/// Writes the number in front of `values` with those that follow it by one step; answers how many.
fn numbers(first: f64, values: &[Option<f64>], out: &mut String) -> usize {
    if is_stale(first) {
        out.push_str("stale");
        return 1;
    }
    out.push_str(&format_f(first, None));
    // `NaNx3` and `Infx3` would be words.
    let step = match values.get(1) {
        Some(Some(second)) if first.is_finite() && second.is_finite() => second - first,
        _ => return 1,
    };
    let mut expected = first;
    let follows = |value: &&Option<f64>| {
        let same = value.is_some_and(|value| value.to_bits() == expected.to_bits());
        if step != 0.0 {
            expected += step;
        }
        same
    };
    let count = values.iter().take_while(follows).count();
    if count < RUN_MIN {
        return 1;
    }
    if step != 0.0 {
        let sign = if step > 0.0 { "+" } else { "" };
        let _ = write!(out, "{sign}{}", format_f(step, None));
    }
    let _ = write!(out, "x{}", count - 1);
    count
}

/// A double-quoted string as Go reads it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
