//! Durations as Prometheus writes them.

use thiserror::Error;

/// Units in the order in which they must stand, in milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Go counts nanoseconds in 64 bits: longer durations are refused.
const LONGEST_MS: i64 = i64::MAX / 1_000_000;

/// What is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing at all.
    #[error("empty duration")]
    Empty,
    /// Not numbers with units in their order.
    #[error("not a valid duration: {0:?}; write it as 90s, 5m or 1h30m, largest unit first")]
    Malformed(String),
    /// Longer than 292 years.
    #[error("duration out of range: {0:?}")]
    TooLong(String),
}

/// A Prometheus duration such as `1h30m` to milliseconds; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(0);
    }
    let bad = || DurationError::Malformed(text.into());
    let long = || DurationError::TooLong(text.into());
    let (mut rest, mut total, mut next) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit());
        let letters = letters.map_or(rest.len(), |end| end + digits);
        // Units stand in order, each at most once.
        let unit = UNITS
            .iter()
            .skip(next)
            .position(|(unit, _)| *unit == &rest[digits..letters])
            .ok_or_else(bad)?
            + next;
        if digits == 0 {
            return Err(bad());
        }
        let count: i64 = rest[..digits].parse().map_err(|_| long())?;
        let part = count.checked_mul(UNITS[unit].1).ok_or_else(long)?;
        total = total.checked_add(part).ok_or_else(long)?;
        next = unit + 1;
        rest = &rest[letters..];
    }
    if total > LONGEST_MS {
        return Err(long());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_prometheus() {
        let good = [
            ("0", 0),
            ("1h30m", 5_400_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("05m", 300_000),
            ("90s", 90_000),
        ];
        for (text, want) in good {
            assert_eq!(parse_duration(text), Ok(want), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "1x",
            "1m1h",
            "1m1m",
            "-1m",
            "1.5m",
            " 1m",
            "1m ",
            "NaN",
            "Inf",
            "+Inf",
            "293y",
            "99999999999999999999s",
            "1M",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
