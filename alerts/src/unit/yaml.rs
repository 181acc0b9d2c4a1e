//! Scalars and maps of a unit-test file as promtool reads them: by version 2 of go-yaml, so in YAML 1.1 with Go's rules for what
//! becomes text.
//!
//! Invariant: what is wrong is refused where it stands. A scalar that is wanted as text is its text, whatever it looks like
//! (`1.50`, `yes`); a missing value is `null`.

use std::collections::BTreeMap;

use libyaml_safer::ScalarStyle;

use crate::rules::document::{Fields, Reading};
use crate::rules::parse_duration;
use crate::rules::yaml::{Content, Node};

/// A field's text; empty when it is not set.
pub(super) fn text(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> String {
    let text = fields.get(field).and_then(|node| reading.text(node));
    text.unwrap_or_default().to_string()
}

/// A field's text, read further; what is wrong with it is refused. `None` when it is not set or refused.
pub(super) fn parsed<'n, T>(
    reading: &mut Reading<'_>,
    fields: &Fields<'n>,
    field: &str,
    parse: impl FnOnce(&'n str) -> Result<T, String>,
) -> Option<T> {
    let node = fields.get(field)?;
    let text = reading.text(node)?;
    let read = parse(text);
    read.map_err(|reason| reading.refuse(node, format!("{field}: {reason}")))
        .ok()
}

/// A duration in milliseconds; 0 when it is not set.
pub(super) fn millis(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> i64 {
    // go-yaml asks the type of the field what these two words mean, and for a duration they are text.
    if let Some(node) = fields.given(field)
        && let Content::Scalar { text, .. } = &node.content
        && node.core_tag().is_none()
        && matches!(&**text, "Null" | "NULL")
    {
        reading.refuse(node, format!("{field}: not a valid duration: {text:?}"));
    }
    let duration = |text: &str| parse_duration(text).map_err(|error| error.to_string());
    parsed(reading, fields, field, duration).unwrap_or(0)
}

/// True or false without quotes, also in the words of YAML 1.1; false when it is not set.
pub(super) fn flag(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> bool {
    let Some(node) = fields.get(field) else {
        return false;
    };
    let word = resolved(node, "bool").unwrap_or_default();
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => true,
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            false
        }
        _ => {
            reading.refuse(
                node,
                format!("{field}: expected true or false without quotes"),
            );
            false
        }
    }
}

/// A number without quotes; 0 when it is not set.
pub(super) fn number(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> f64 {
    let Some(node) = fields.get(field) else {
        return 0.0;
    };
    let tag = node.core_tag().unwrap_or("float");
    let value = resolved(node, tag)
        .filter(|_| tag == "float" || tag == "int")
        .and_then(|text| integer(text).or_else(|| decimal(text).filter(|_| tag == "float")));
    value.unwrap_or_else(|| {
        let found = match &node.content {
            Content::Scalar { text, .. } => format!("{text:?}"),
            _ => node.kind().into(),
        };
        reading.refuse(
            node,
            format!("{field}: not a number: {found} (write numbers without quotes, `.nan` and `.inf` with their dot)"),
        );
        0.0
    })
}

/// Names and texts; a name that stands twice is refused.
pub(super) fn texts(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    field: &str,
) -> BTreeMap<String, String> {
    let entries = fields.get(field).and_then(|node| reading.any_fields(node));
    let mut out = BTreeMap::new();
    for (name, _, value) in entries.iter().flat_map(Fields::iter) {
        let text = reading.text(value).unwrap_or_default();
        out.insert(name.to_string(), text.to_string());
    }
    out
}

/// The text of a scalar that may be of this type: it stands without quotes, or has the type's tag.
fn resolved<'n>(node: &'n Node, tag: &str) -> Option<&'n str> {
    match (&node.content, node.core_tag()) {
        (Content::Scalar { text, style }, None) if *style == ScalarStyle::Plain => Some(text),
        (Content::Scalar { text, .. }, Some(have)) if have == tag => Some(text),
        _ => None,
    }
}

/// A whole number as Go writes it, underscores anywhere but in front: `0x1F`, `0b11`, `0o17`, `017`, `1_000`.
fn integer(text: &str) -> Option<f64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    let plain = text.replace('_', "").to_ascii_lowercase();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x', ..] => (&digits[2..], 16),
        [b'0', b'b', ..] => (&digits[2..], 2),
        [b'0', b'o', ..] => (&digits[2..], 8),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // A second sign would be read by Rust.
    let digits = Some(digits).filter(|digits| !digits.starts_with(['+', '-']))?;
    let value = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        false => Some(value as f64),
        true => (value <= 1 << 63).then_some(-(value as f64)),
    }
}

/// `1.5`, `.5`, `1.`, `1e3`, `.inf`, `.nan`; not so large that it would be infinite.
fn decimal(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    // Underscores are taken out where a sign or a digit stands in front.
    let plain = match text.starts_with('.') {
        true => text.to_string(),
        false => text.replace('_', ""),
    };
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let value: f64 = plain.chars().all(numeric).then(|| plain.parse().ok())??;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go_yaml_2() {
        let read = |text: &str| integer(text).or_else(|| decimal(text));
        for (text, want) in [
            ("0x1F", 31.0),
            ("-0b11", -3.0),
            ("010", 8.0),
            ("08", 8.0),
            ("0o17", 15.0),
            ("1_000", 1000.0),
            ("1.", 1.0),
            ("-.5", -0.5),
            ("18446744073709551616", 18446744073709551616.0),
            ("1_.5", 1.5),
        ] {
            assert_eq!(read(text), Some(want), "{text}");
        }
        for text in [
            "1e400", "0x1p4", "_1", "nan", ".", "-", "1:30", "0x", "--1", "1e", ".1_5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
