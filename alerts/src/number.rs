//! Numbers as Prometheus and Go write and read them, and the stale marker.
//!
//! Covers what `strconv.FormatFloat` and `fmt` do with the verbs `e`, `f` and `g`; nothing of locale or width.

/// The bit pattern of the stale marker: "this series ended here". Any other NaN is an ordinary value.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
/// The stale marker as a number. Compare with [`is_stale`], never with `==`.
pub const STALE: f64 = f64::from_bits(STALE_BITS);

/// True for the stale marker only.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// Reads a sample value: decimal, hexadecimal integers are refused, `Inf` and `NaN` in any case.
pub fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" => return Some(f64::INFINITY),
        "NaN" => return Some(f64::NAN),
        _ => {}
    }
    // Short plain integers are most of what an exposition holds.
    let bytes = text.as_bytes();
    if !bytes.is_empty() && bytes.len() <= 15 && bytes.iter().all(u8::is_ascii_digit) {
        let integer = bytes
            .iter()
            .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        return Some(integer as f64);
    }
    text.parse().ok()
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".into())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" }.into())
    } else {
        None
    }
}

/// `strconv.FormatFloat(value, 'f', precision)`; `None` is the shortest text that reads back the same.
pub fn format_f(value: f64, precision: Option<usize>) -> String {
    special(value).unwrap_or_else(|| match precision {
        Some(digits) => format!("{value:.digits$}"),
        None => format!("{value}"),
    })
}

/// `strconv.FormatFloat(value, 'e', precision)`.
pub fn format_e(value: f64, precision: Option<usize>) -> String {
    special(value).unwrap_or_else(|| {
        let text = match precision {
            Some(digits) => format!("{value:.digits$e}"),
            None => format!("{value:e}"),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        format!("{mantissa}e{sign}{digits:0>2}")
    })
}

/// `strconv.FormatFloat(value, 'g', precision)`: exponent notation below 1e-4 and from 10^precision on. Without a
/// precision the digits are the shortest that read back the same, and Go takes 6 for that decision.
pub fn format_g(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let precision = precision.map(|digits| digits.max(1));
    let scientific = match precision {
        Some(digits) => format!("{value:.*e}", digits - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // With a precision `g` drops trailing zeros, as Go's verb without `#` does.
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let large = match precision {
        Some(wanted) if wanted as i32 > digits && digits > exponent => digits,
        Some(wanted) => wanted as i32,
        None => 6,
    };
    if exponent < -4 || exponent >= large {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    match precision {
        None => format!("{value}"),
        Some(_) => format!("{value:.*}", (digits - 1 - exponent).max(0) as usize),
    }
}

/// A bucket bound or quantile as a scrape stores it: `1` becomes `1.0`, `0.050` becomes `0.05`.
pub fn format_bound(value: f64) -> String {
    let text = format_g(value, None);
    if text.contains(['e', '.']) || !value.is_finite() {
        text
    } else {
        text + ".0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases = [
            (format_g(1e21, None), "1e+21"),
            (format_g(123456789.0, None), "1.23456789e+08"),
            (format_g(0.5, None), "0.5"),
            (format_g(0.00001, None), "1e-05"),
            (format_g(1234567.0, Some(4)), "1.235e+06"),
            (format_g(123.456, Some(4)), "123.5"),
            (format_g(100.0, Some(4)), "100"),
            (format_g(0.0, Some(4)), "0"),
            (format_f(2.5, Some(2)), "2.50"),
            (format_f(1e21, None), "1000000000000000000000"),
            (format_e(12345.0, Some(2)), "1.23e+04"),
            (format_bound(1.0), "1.0"),
            (format_bound(0.05), "0.05"),
            (format_bound(1e6), "1e+06"),
            (format_bound(f64::INFINITY), "+Inf"),
            (format_g(f64::NEG_INFINITY, None), "-Inf"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn an_ordinary_nan_is_not_the_stale_marker() {
        assert!(is_stale(STALE));
        assert!(!is_stale(f64::NAN));
        assert!(STALE.is_nan());
    }
}
