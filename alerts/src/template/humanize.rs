//! Numbers for people, as Prometheus' template functions write them.

use crate::number::format_g;

fn scaled(
    mut value: f64,
    by: f64,
    prefixes: &[&'static str],
    more: impl Fn(f64) -> bool,
) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if !more(value) {
            break;
        }
        prefix = next;
        value *= by;
    }
    (value, prefix)
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_g(value, Some(4));
    }
    let (value, prefix) = if value.abs() >= 1.0 {
        scaled(
            value,
            1.0 / 1000.0,
            &["k", "M", "G", "T", "P", "E", "Z", "Y"],
            |v| v.abs() >= 1000.0,
        )
    } else {
        scaled(value, 1000.0, &SMALL, |v| v.abs() < 1.0)
    };
    format_g(value, Some(4)) + prefix
}

pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return format_g(value, Some(4));
    }
    let prefixes = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    let (value, prefix) = scaled(value, 1.0 / 1024.0, &prefixes, |v| v.abs() >= 1024.0);
    format_g(value, Some(4)) + prefix
}

pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return format_g(value, Some(4));
    }
    if value == 0.0 {
        return "0s".into();
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scaled(value, 1000.0, &SMALL, |v| v.abs() < 1.0);
        return format_g(value, Some(4)) + prefix + "s";
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (
        whole % 60,
        whole / 60 % 60,
        whole / 3600 % 24,
        whole / 86400,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", format_g(value.abs(), Some(4))),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}
