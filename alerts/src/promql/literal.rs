//! Numbers, durations and strings as PromQL writes them.

use super::ast::Text;
use crate::rules::DurationError;

/// A number: decimal, hexadecimal (`0x1f`), octal (`017`), with `_` between digits, `Inf` and `NaN` in any case.
pub(super) fn number(word: &str) -> Result<f64, String> {
    let bad =
        || format!("error parsing number: strconv.ParseFloat: parsing {word:?}: invalid syntax");
    match &*word.to_ascii_lowercase() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    // `_` stands between digits, or behind the prefix.
    let bytes = word.as_bytes();
    let lone = |at: usize| {
        let digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_hexdigit);
        let before = at > 0 && (digit(bytes.get(at - 1)) || matches!(bytes[at - 1], b'x' | b'X'));
        !before || !digit(bytes.get(at + 1))
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'_' && lone(at)) {
        return Err(bad());
    }
    let plain = word.replace('_', "");
    let hex = plain.strip_prefix("0x").or(plain.strip_prefix("0X"));
    if let Some(digits) = hex {
        return i64::from_str_radix(digits, 16)
            .map(|integer| integer as f64)
            .map_err(|_| bad());
    }
    if plain.len() > 1
        && plain.starts_with('0')
        && let Ok(integer) = i64::from_str_radix(&plain, 8)
    {
        return Ok(integer as f64);
    }
    match plain.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {word:?}: value out of range"
        )),
        Err(_) => Err(bad()),
    }
}

/// A duration in seconds.
pub(super) fn duration(word: &str) -> Result<f64, String> {
    match crate::rules::parse_duration(word) {
        Ok(ms) => Ok(ms as f64 / 1000.0),
        Err(DurationError::TooLong(_)) => Err("duration out of range".into()),
        Err(_) => Err(format!("not a valid duration string: {word:?}")),
    }
}

/// Whole milliseconds of some seconds, as Prometheus cuts its nanoseconds.
pub(super) fn millis(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

/// The value of a quoted string that the lexer has accepted.
pub(super) fn unquote(word: &str) -> Text {
    let inner = &word[1..word.len() - 1];
    if word.starts_with('`') {
        return Ok(inner.to_string());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (first, digits, base) = match rest.next() {
            Some('a') => (7, 0, 8),
            Some('b') => (8, 0, 8),
            Some('f') => (12, 0, 8),
            Some('n') => (10, 0, 8),
            Some('r') => (13, 0, 8),
            Some('t') => (9, 0, 8),
            Some('v') => (11, 0, 8),
            Some('x') => (0, 2, 16),
            Some('u') => (0, 4, 16),
            Some('U') => (0, 8, 16),
            Some(c @ '0'..='7') => (c.to_digit(8).unwrap_or(0), 2, 8),
            // A backslash or a quote stands for itself.
            Some(c) => (u32::from(c), 0, 8),
            None => break,
        };
        let digit = |c: char| c.to_digit(base).unwrap_or(0);
        let code = rest.by_ref().take(digits).fold(first, |code, c| {
            code.wrapping_mul(base).wrapping_add(digit(c))
        });
        match char::from_u32(code) {
            // `\x` and octal escapes are bytes, the others are characters.
            _ if digits == 2 => out.push(code as u8),
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
    }
    String::from_utf8(out).map_err(|error| error.into_bytes())
}

/// A string as Go quotes it: bytes that are no UTF-8 as `\x…`.
pub(super) fn quoted(text: &Text) -> String {
    let bytes = match text {
        Ok(text) => return format!("{text:?}"),
        Err(bytes) => bytes,
    };
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = format!("{:?}", chunk.valid());
        out += &valid[1..valid.len() - 1];
        chunk
            .invalid()
            .iter()
            .for_each(|byte| out += &format!("\\x{byte:02x}"));
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases = [
            ("0x1F", Some(31.0)),
            ("0x_1f", Some(31.0)),
            ("017", Some(15.0)),
            ("018", Some(18.0)),
            ("1_000.5", Some(1000.5)),
            ("1__0", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1e400", None),
            ("iNf", Some(f64::INFINITY)),
            ("0x", None),
        ];
        for (word, want) in cases {
            assert_eq!(number(word).ok(), want, "{word}");
        }
    }

    #[test]
    fn escapes_are_bytes_or_characters() {
        let cases = [
            (
                r#""a\x41\101\u00e9\U0001F600\n\\\"'""#,
                Ok("aAA\u{e9}\u{1f600}\n\\\"'".into()),
            ),
            (r#"'\''"#, Ok("'".into())),
            ("`\\n`", Ok("\\n".into())),
            (r#""\xc3\xa9""#, Ok("\u{e9}".into())),
            (r#""a\xc5z""#, Err(vec![b'a', 0xc5, b'z'])),
        ];
        for (word, want) in cases {
            assert_eq!(unquote(word), want, "{word}");
        }
        assert_eq!(quoted(&unquote(r#""a\xc5z""#)), r#""a\xc5z""#);
    }
}
