//! Functions of templates: Go's own and those of Prometheus.
//!
//! A value of the wrong kind or number is an error while the template runs, as in Go, where it is no error on loading.

use regex::Regex;

use super::Data;
use super::humanize::{humanize, humanize_1024, humanize_duration};
use super::printf::{print, printf};
use super::text::{escape_html, escape_js, escape_query, strip_domain, strip_port, title};
use super::time;
use super::value::Value;
use crate::number::format_g;

/// Name, and how many arguments it takes at least and at most.
const FUNCTIONS: [(&str, usize, usize); 45] = [
    ("and", 1, ANY),
    ("args", 0, ANY),
    ("call", 1, ANY),
    ("eq", 1, ANY),
    ("externalURL", 0, 0),
    ("first", 1, 1),
    ("ge", 2, 2),
    ("graphLink", 1, 1),
    ("gt", 2, 2),
    ("html", 0, ANY),
    ("humanize", 1, 1),
    ("humanize1024", 1, 1),
    ("humanizeDuration", 1, 1),
    ("humanizePercentage", 1, 1),
    ("humanizeTimestamp", 1, 1),
    ("index", 1, ANY),
    ("js", 0, ANY),
    ("label", 2, 2),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lt", 2, 2),
    ("match", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, ANY),
    ("parseDuration", 1, 1),
    ("pathPrefix", 0, 0),
    ("print", 0, ANY),
    ("printf", 1, ANY),
    ("println", 0, ANY),
    ("query", 1, 1),
    ("reReplaceAll", 3, 3),
    ("safeHtml", 1, 1),
    ("slice", 1, 4),
    ("sortByLabel", 2, 2),
    ("stripDomain", 1, 1),
    ("stripPort", 1, 1),
    ("strvalue", 1, 1),
    ("tableLink", 1, 1),
    ("title", 1, 1),
    ("toLower", 1, 1),
    ("toTime", 1, 1),
    ("toUpper", 1, 1),
    ("urlquery", 0, ANY),
    ("value", 1, 1),
];
const ANY: usize = usize::MAX;

/// A larger value fails: a template of a few lines can double text without end.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// True when Prometheus knows this function in alerting rules.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(have, ..)| *have == name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: Vec<Value>, data: &Data<'_>) -> Result<Value, String> {
    let (_, least, most) = FUNCTIONS
        .iter()
        .find(|(have, ..)| *have == name)
        .ok_or_else(|| format!("function {name:?} not defined"))?;
    let got = args.len();
    if got < *least || got > *most {
        let want = if *most == ANY {
            format!("at least {least}")
        } else {
            most.to_string()
        };
        return Err(format!(
            "wrong number of args for {name}: want {want} got {got}"
        ));
    }
    let failed = |reason: String| format!("error calling {name}: {reason}");
    let value = dispatch(name, &args, data).map_err(failed)?;
    if value.bytes() > VALUE_BYTES_MAX {
        return Err(failed(format!(
            "the result is larger than {VALUE_BYTES_MAX} bytes"
        )));
    }
    Ok(value)
}

fn dispatch(name: &str, args: &[Value], data: &Data<'_>) -> Result<Value, String> {
    let text = |at: usize| match &args[at] {
        Value::Text(text) => Ok(&**text),
        other => Err(format!(
            "wrong type for value; expected string; got {}",
            other.kind()
        )),
    };
    Ok(match name {
        "humanize" | "humanize1024" | "humanizeDuration" | "humanizePercentage"
        | "humanizeTimestamp" | "toTime" => numeric(name, args[0].number()?)?,
        "parseDuration" => {
            let millis =
                crate::rules::parse_duration(text(0)?).map_err(|error| error.to_string())?;
            Value::Float(millis as f64 / 1000.0)
        }
        "toUpper" => Value::Text(text(0)?.to_uppercase()),
        "toLower" => Value::Text(text(0)?.to_lowercase()),
        "title" => Value::Text(title(text(0)?)),
        "stripPort" => Value::Text(strip_port(text(0)?)),
        "stripDomain" => Value::Text(strip_domain(text(0)?)),
        "match" => Value::Bool(regex(text(0)?)?.is_match(text(1)?)),
        "reReplaceAll" => {
            let replaced = regex(text(0)?)?
                .replace_all(text(2)?, text(1)?)
                .into_owned();
            Value::Text(replaced)
        }
        "externalURL" => Value::Text(data.external_url.to_string()),
        "pathPrefix" => {
            let after = data
                .external_url
                .split_once("://")
                .map_or("", |(_, rest)| rest);
            let path = after.find('/').map_or("", |at| &after[at..]);
            let end = path.find(['?', '#']).unwrap_or(path.len());
            Value::Text(path[..end].to_string())
        }
        "graphLink" => Value::Text(link(text(0)?, 0)),
        "tableLink" => Value::Text(link(text(0)?, 1)),
        "safeHtml" => Value::Text(text(0)?.to_string()),
        "query" => {
            let found = (data.query)(text(0)?)?;
            let samples = found
                .iter()
                .map(|(labels, value)| Value::sample(labels, *value));
            Value::List(samples.collect())
        }
        "args" => {
            let named = args.iter().enumerate();
            Value::Map(
                named
                    .map(|(at, value)| (format!("arg{at}"), value.clone()))
                    .collect(),
            )
        }
        "print" | "println" => Value::Text(print(args, name == "println")),
        "printf" => Value::Text(printf(text(0)?, &args[1..])),
        "html" => Value::Text(escape_html(&print(args, false))),
        "js" => Value::Text(escape_js(&print(args, false))),
        "urlquery" => Value::Text(escape_query(&print(args, false))),
        "first" | "value" | "label" | "strvalue" | "sortByLabel" => samples(name, args)?,
        "len" => Value::Int(length(&args[0])? as i64),
        "index" => args[1..].iter().try_fold(args[0].clone(), index)?,
        "slice" => slice(&args[0], &args[1..])?,
        "call" => return Err("a template of a rule holds no function values".into()),
        "not" => Value::Bool(!args[0].truth()),
        _ => compare(name, args)?,
    })
}

/// Functions of one number.
fn numeric(name: &str, value: f64) -> Result<Value, String> {
    Ok(match name {
        "humanize" => Value::Text(humanize(value)),
        "humanize1024" => Value::Text(humanize_1024(value)),
        "humanizeDuration" => Value::Text(humanize_duration(value)),
        "humanizePercentage" => Value::Text(format_g(value * 100.0, Some(4)) + "%"),
        "humanizeTimestamp" => match value.is_finite() {
            true => Value::Text(time::millis(value)?.to_string()),
            false => Value::Text(format_g(value, Some(4))),
        },
        _ => Value::Time(time::millis(value)?),
    })
}

fn link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", escape_query(expr))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

/// Functions of query results and their samples.
fn samples(name: &str, args: &[Value]) -> Result<Value, String> {
    let labels = |sample: &Value| match sample {
        Value::Record(fields) => match fields.get("Labels") {
            Some(Value::Map(labels)) => Some(labels.clone()),
            _ => None,
        },
        _ => None,
    };
    let wrong = |value: &Value| format!("wrong type for value: got {}", value.kind());
    let label = |sample: &Value, name: &str| {
        let mut labels = labels(sample).ok_or_else(|| wrong(sample))?;
        Ok::<_, String>(labels.remove(name).unwrap_or_else(Value::empty))
    };
    match (name, args) {
        ("first", [Value::List(items)]) => items
            .first()
            .cloned()
            .ok_or_else(|| "first() called on vector with no elements".to_string()),
        ("value", [sample @ Value::Record(_)]) => sample.clone().field(&["Value".to_string()]),
        ("strvalue", [sample]) => label(sample, "__value__"),
        ("label", [Value::Text(name), sample]) => label(sample, name),
        ("sortByLabel", [Value::Text(name), Value::List(items)]) => {
            let mut items = items.clone();
            items
                .sort_by_key(|sample| label(sample, name).map_or(String::new(), |v| v.to_string()));
            Ok(Value::List(items))
        }
        (_, args) => Err(wrong(args.last().unwrap_or(&Value::Nil))),
    }
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::List(items) => Ok(items.len()),
        Value::Map(map) => Ok(map.len()),
        Value::Text(text) => Ok(text.len()),
        Value::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.kind())),
    }
}

fn index(value: Value, key: &Value) -> Result<Value, String> {
    let place = |count: usize, at: i64| {
        let place = usize::try_from(at).ok().filter(|at| *at < count);
        place.ok_or_else(|| format!("index out of range: {at}"))
    };
    match (value, key) {
        (Value::Map(mut map), Value::Text(key)) => Ok(map.remove(key).unwrap_or_else(Value::empty)),
        (Value::Map(_), key) => Err(format!("value has type {}; should be string", key.kind())),
        (Value::List(mut items), Value::Int(at)) => {
            let at = place(items.len(), *at)?;
            Ok(items.swap_remove(at))
        }
        (Value::Text(text), Value::Int(at)) => {
            let at = place(text.len(), *at)?;
            Ok(Value::Int(i64::from(text.as_bytes()[at])))
        }
        (Value::List(_) | Value::Text(_), key) => {
            Err(format!("cannot index slice/array with type {}", key.kind()))
        }
        (Value::Nil, _) => Err("index of untyped nil".into()),
        (other, _) => Err(format!("can't index item of type {}", other.kind())),
    }
}

fn slice(value: &Value, places: &[Value]) -> Result<Value, String> {
    let count = match value {
        Value::List(_) | Value::Text(_) => length(value)?,
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    let mut bounds = [0, count];
    if places.len() > bounds.len() {
        return Err("cannot 3-index slice a string".into());
    }
    for (bound, place) in bounds.iter_mut().zip(places) {
        let Value::Int(at) = place else {
            return Err(format!(
                "cannot index slice/array with type {}",
                place.kind()
            ));
        };
        let fits = usize::try_from(*at).ok().filter(|at| *at <= count);
        *bound = fits.ok_or_else(|| format!("index out of range: {at}"))?;
    }
    let [from, to] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value {
        Value::List(items) => Value::List(items[from..to].to_vec()),
        Value::Text(text) => {
            Value::Text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into())
        }
        other => other.clone(),
    })
}

fn compare(name: &str, args: &[Value]) -> Result<Value, String> {
    let [first, rest @ ..] = args else {
        return Err("missing argument for comparison".into());
    };
    if rest.is_empty() {
        return Err("missing argument for comparison".into());
    }
    let order = |a: &Value, b: &Value| match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.partial_cmp(b)),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.partial_cmp(b)),
        (Value::Bool(a), Value::Bool(b)) if matches!(name, "eq" | "ne") => Ok(a.partial_cmp(b)),
        (Value::Nil, Value::Nil) if matches!(name, "eq" | "ne") => {
            Ok(Some(std::cmp::Ordering::Equal))
        }
        (Value::Nil, _) | (_, Value::Nil) if matches!(name, "eq" | "ne") => Ok(None),
        _ => Err("incompatible types for comparison".to_string()),
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
