//! Functions of templates: Go's own and those of Prometheus.

use regex::Regex;

use super::Data;
use super::run::Value;
use crate::number::{format_e, format_f, format_g};

const KNOWN: [&str; 48] = [
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "print",
    "printf",
    "println",
    "query",
    "first",
    "label",
    "value",
    "strvalue",
    "args",
    "reReplaceAll",
    "match",
    "title",
    "toUpper",
    "toLower",
    "sortByLabel",
    "stripPort",
    "stripDomain",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "toTime",
    "parseDuration",
    "externalURL",
    "graphLink",
    "tableLink",
    "safeHtml",
    "tmpl",
    "pathPrefix",
    "html",
    "js",
    "urlquery",
    "urlQueryEscape",
    "call",
    "slice",
    "now",
];
const UNSUPPORTED: [&str; 13] = [
    "graphLink",
    "tableLink",
    "safeHtml",
    "tmpl",
    "pathPrefix",
    "html",
    "js",
    "urlquery",
    "urlQueryEscape",
    "call",
    "slice",
    "now",
    "toDuration",
];

/// Refuses names that no template may use here.
pub(super) fn check(name: &str) -> Result<(), String> {
    if UNSUPPORTED.contains(&name) {
        return Err(format!("function {name:?} is not supported in rules"));
    }
    if !KNOWN.contains(&name) {
        return Err(format!("function {name:?} not defined"));
    }
    Ok(())
}

/// Calls a function.
pub(super) fn call(name: &str, args: Vec<Value>, data: &Data<'_>) -> Result<Value, String> {
    let text = |at: usize| {
        args.get(at)
            .map(Value::to_string)
            .ok_or_else(|| wrong(name, args.len()))
    };
    let number = |at: usize| {
        args.get(at)
            .ok_or_else(|| wrong(name, args.len()))
            .and_then(Value::number)
    };
    Ok(match name {
        "humanize" => Value::Text(humanize(number(0)?)),
        "humanize1024" => Value::Text(humanize_1024(number(0)?)),
        "humanizeDuration" => Value::Text(humanize_duration(number(0)?)),
        "humanizePercentage" => Value::Text(format_g(number(0)? * 100.0, Some(4)) + "%"),
        "humanizeTimestamp" | "toTime" => Value::Text(timestamp(number(0)?)),
        "parseDuration" => {
            let millis = crate::rules::parse_duration(&text(0)?)?;
            Value::Float(millis as f64 / 1000.0)
        }
        "toUpper" => Value::Text(text(0)?.to_uppercase()),
        "toLower" => Value::Text(text(0)?.to_lowercase()),
        "title" => Value::Text(title(&text(0)?)),
        "stripPort" => Value::Text(strip_port(&text(0)?)),
        "stripDomain" => Value::Text(strip_domain(&text(0)?)),
        "match" => Value::Bool(regex(&text(0)?)?.is_match(&text(1)?)),
        "reReplaceAll" => Value::Text(
            regex(&text(0)?)?
                .replace_all(&text(2)?, &*text(1)?)
                .into_owned(),
        ),
        "externalURL" => Value::Text(data.external_url.to_string()),
        "query" => {
            let found = (data.query)(&text(0)?)
                .map_err(|error| format!("error executing query: {error}"))?;
            Value::List(
                found
                    .iter()
                    .map(|(labels, value)| Value::sample(labels, *value))
                    .collect(),
            )
        }
        "args" => Value::Map(
            args.into_iter()
                .enumerate()
                .map(|(at, value)| (format!("arg{at}"), value))
                .collect(),
        ),
        "print" | "println" => Value::Text(print(&args, name == "println")),
        "printf" => Value::Text(printf(&text(0)?, args.get(1..).unwrap_or(&[]))),
        "first" | "value" | "label" | "strvalue" | "sortByLabel" => samples(name, &args)?,
        "len" | "index" => collection(name, &args)?,
        "not" => Value::Bool(!args.first().ok_or_else(|| wrong(name, 0))?.truth()),
        _ => compare(name, &args)?,
    })
}

fn wrong(name: &str, got: usize) -> String {
    format!("wrong number of args for {name}: got {got}")
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

fn samples(name: &str, args: &[Value]) -> Result<Value, String> {
    match (name, args) {
        ("first", [Value::List(items)]) => items
            .first()
            .cloned()
            .ok_or_else(|| "first() called on vector with no elements".to_string()),
        ("value", [Value::Map(sample)]) => sample
            .get("Value")
            .cloned()
            .ok_or_else(|| "value: not a sample".to_string()),
        ("strvalue", [Value::Map(sample)]) => match sample.get("Labels") {
            Some(Value::Map(labels)) => Ok(labels
                .get("__value__")
                .cloned()
                .unwrap_or(Value::Text(String::new()))),
            _ => Err("strvalue: not a sample".into()),
        },
        ("label", [name, Value::Map(sample)]) => match sample.get("Labels") {
            Some(Value::Map(labels)) => Ok(labels
                .get(&name.to_string())
                .cloned()
                .unwrap_or(Value::Text(String::new()))),
            _ => Err("label: not a sample".into()),
        },
        ("sortByLabel", [name, Value::List(items)]) => {
            let name = name.to_string();
            let key = |sample: &Value| match sample {
                Value::Map(sample) => match sample.get("Labels") {
                    Some(Value::Map(labels)) => {
                        labels.get(&name).map(Value::to_string).unwrap_or_default()
                    }
                    _ => String::new(),
                },
                _ => String::new(),
            };
            let mut items = items.clone();
            items.sort_by_key(key);
            Ok(Value::List(items))
        }
        _ => Err(format!("{name}: wrong arguments")),
    }
}

fn collection(name: &str, args: &[Value]) -> Result<Value, String> {
    match (name, args) {
        ("len", [Value::List(items)]) => Ok(Value::Int(items.len() as i64)),
        ("len", [Value::Map(map)]) => Ok(Value::Int(map.len() as i64)),
        ("len", [Value::Text(text)]) => Ok(Value::Int(text.len() as i64)),
        ("index", [Value::Map(map), key]) => Ok(map
            .get(&key.to_string())
            .cloned()
            .unwrap_or(Value::Text(String::new()))),
        ("index", [Value::List(items), Value::Int(at)]) => {
            let found = usize::try_from(*at).ok().and_then(|at| items.get(at));
            found
                .cloned()
                .ok_or_else(|| format!("error calling index: index out of range: {at}"))
        }
        _ => Err(format!("error calling {name}: wrong arguments")),
    }
}

fn compare(name: &str, args: &[Value]) -> Result<Value, String> {
    let [first, rest @ ..] = args else {
        return Err(wrong(name, 0));
    };
    if rest.is_empty() || (rest.len() > 1 && name != "eq") {
        return Err(format!(
            "error calling {name}: missing argument for comparison"
        ));
    }
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.partial_cmp(b)),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.partial_cmp(b)),
        (Value::Bool(a), Value::Bool(b)) if matches!(name, "eq" | "ne") => Ok(a.partial_cmp(b)),
        _ => Err(format!(
            "error calling {name}: incompatible types for comparison"
        )),
    };
    let mut holds = false;
    for other in rest {
        let order = order(first, other)?;
        holds |= match name {
            "eq" => order.is_some_and(std::cmp::Ordering::is_eq),
            "ne" => !order.is_some_and(std::cmp::Ordering::is_eq),
            "lt" => order.is_some_and(std::cmp::Ordering::is_lt),
            "le" => order.is_some_and(std::cmp::Ordering::is_le),
            "gt" => order.is_some_and(std::cmp::Ordering::is_gt),
            "ge" => order.is_some_and(std::cmp::Ordering::is_ge),
            _ => return Err(format!("function {name:?} not defined")),
        };
    }
    Ok(Value::Bool(holds))
}

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

fn humanize(value: f64) -> String {
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

fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return format_g(value, Some(4));
    }
    let prefixes = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    let (value, prefix) = scaled(value, 1.0 / 1024.0, &prefixes, |v| v.abs() >= 1024.0);
    format_g(value, Some(4)) + prefix
}

fn humanize_duration(value: f64) -> String {
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

/// A time as Go prints it, in UTC, to the nanosecond.
fn timestamp(seconds: f64) -> String {
    if !seconds.is_finite() {
        return format_g(seconds, Some(4));
    }
    let nanos = (seconds * 1e9) as i128;
    let (whole, nanos) = (
        nanos.div_euclid(1_000_000_000) as i64,
        nanos.rem_euclid(1_000_000_000),
    );
    let (year, month, day) = crate::promql::civil(whole);
    let of_day = whole.rem_euclid(86400);
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{point}{fraction} +0000 UTC"
    )
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let out = if start {
                c.to_uppercase().next().unwrap_or(c)
            } else {
                c
            };
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            out
        })
        .collect()
}

fn strip_port(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port))
            if !port.contains(']') && (!host.contains(':') || host.starts_with('[')) =>
        {
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .to_string()
        }
        _ => text.to_string(),
    }
}

fn strip_domain(text: &str) -> String {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_string();
    }
    let host = host.split('.').next().unwrap_or(host);
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

/// `print` puts spaces between operands that are no strings, `println` between all.
fn print(args: &[Value], line: bool) -> String {
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        let text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && (line || (!text(value) && !text(&args[at - 1]))) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    if line {
        out.push('\n');
    }
    out
}

#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            verb.minus |= flag == '-';
            verb.plus |= flag == '+';
            verb.zero |= flag == '0';
        }
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            verb.width = (verb.width * 10 + digit as usize - '0' as usize).min(1000);
        }
        if chars.next_if_eq(&'.').is_some() {
            let mut precision = 0;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                precision = (precision * 10 + digit as usize - '0' as usize).min(1000);
            }
            verb.precision = Some(precision);
        }
        match chars.next() {
            Some('%') => out.push('%'),
            None => out.push_str("%!(NOVERB)"),
            Some(letter) => match args.next() {
                None => out.push_str(&format!("%!{letter}(MISSING)")),
                Some(value) => out.push_str(&verb.pad(verb.write(letter, value))),
            },
        }
    }
    let extra: Vec<String> = args
        .map(|value| format!("{}={value}", kind(value)))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::Map(_) => "map[string]string",
        Value::List(_) => "[]interface {}",
    }
}

impl Verb {
    fn write(&self, letter: char, value: &Value) -> String {
        let signed = |text: String| {
            if self.plus && !text.starts_with(['-', '+']) {
                format!("+{text}")
            } else {
                text
            }
        };
        match (letter, value) {
            ('v', value) => value.to_string(),
            ('s', Value::Text(text)) => match self.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.clone(),
            },
            ('s', value @ (Value::Map(_) | Value::List(_))) => value.to_string(),
            ('q', Value::Text(text)) => format!("{text:?}"),
            ('t', Value::Bool(value)) => value.to_string(),
            ('d', Value::Int(value)) => signed(value.to_string()),
            ('x', Value::Int(value)) => format!("{value:x}"),
            ('f' | 'F', Value::Float(value)) => {
                signed(format_f(*value, Some(self.precision.unwrap_or(6))))
            }
            ('e', Value::Float(value)) => {
                signed(format_e(*value, Some(self.precision.unwrap_or(6))))
            }
            ('g', Value::Float(value)) => signed(format_g(*value, self.precision)),
            (letter, value) => format!("%!{letter}({}={value})", kind(value)),
        }
    }

    fn pad(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.minus, self.zero) {
            _ if missing == 0 => text,
            (true, _) => text + &" ".repeat(missing),
            (false, true) => match text.strip_prefix('-') {
                Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
                None => "0".repeat(missing) + &text,
            },
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}
