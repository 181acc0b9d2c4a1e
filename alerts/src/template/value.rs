//! What a template computes with, and how Go writes it.

use std::collections::BTreeMap;
use std::fmt;

use super::time::Time;
use crate::labels::Labels;
use crate::number::format_g;

/// A value inside a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(Time),
    /// Named values; a missing name is empty.
    Map(BTreeMap<String, Value>),
    /// Fields of a Go struct; any other is an error.
    Record(BTreeMap<&'static str, Value>),
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spaced = |f: &mut fmt::Formatter<'_>, at: usize| match at {
            0 => Ok(()),
            _ => f.write_str(" "),
        };
        match self {
            Value::Nil => f.write_str("<no value>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => f.write_str(&format_g(*value, None)),
            Value::Text(text) => f.write_str(text),
            Value::Time(time) => write!(f, "{time}"),
            Value::Map(map) => {
                f.write_str("map[")?;
                for (at, (key, value)) in map.iter().enumerate() {
                    spaced(f, at)?;
                    write!(f, "{key}:{value}")?;
                }
                f.write_str("]")
            }
            Value::Record(fields) => {
                f.write_str("{")?;
                // Go writes fields in the order of their declaration.
                let order = ["Labels", "ExternalLabels", "ExternalURL", "Value"];
                let present = order.iter().filter_map(|name| fields.get(name));
                for (at, value) in present.enumerate() {
                    spaced(f, at)?;
                    write!(f, "{value}")?;
                }
                f.write_str("}")
            }
            Value::List(items) => {
                f.write_str("[")?;
                for (at, value) in items.iter().enumerate() {
                    spaced(f, at)?;
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Value {
    /// What a missing label is.
    pub fn empty() -> Value {
        Value::Text(String::new())
    }

    /// Whether `if` and `with` take it: everything but the empty value of its kind.
    pub fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Time(_) | Value::Record(_) => true,
        }
    }

    /// A number for the humanize functions; text is read.
    pub fn number(&self) -> Result<f64, String> {
        match self {
            Value::Int(value) => Ok(*value as f64),
            Value::Float(value) => Ok(*value),
            Value::Text(text) => text
                .parse()
                .map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
            other => Err(format!("can't convert {} to float", other.kind())),
        }
    }

    /// The name of its type in Go.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Time(_) => "*time.Time",
            Value::Map(_) => "map[string]string",
            Value::Record(_) => "template.sample",
            Value::List(_) => "template.queryResult",
        }
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        let own = match self {
            Value::Text(text) => text.len(),
            Value::Map(map) => map
                .iter()
                .map(|(key, value)| key.len() + value.bytes())
                .sum(),
            Value::Record(fields) => fields.values().map(Value::bytes).sum(),
            Value::List(items) => items.iter().map(Value::bytes).sum(),
            _ => 0,
        };
        own + std::mem::size_of::<Value>()
    }

    /// A field of a field of it. A missing label is empty, as `missingkey=zero` makes it.
    pub fn field(self, path: &[String]) -> Result<Value, String> {
        path.iter().try_fold(self, |value, name| match value {
            Value::Map(mut map) => Ok(map.remove(name).unwrap_or_else(Value::empty)),
            Value::Record(mut fields) => fields
                .remove(&**name)
                .ok_or_else(|| format!("can't evaluate field {name} in type template.sample")),
            Value::Time(time) => time
                .method(name, &[])
                .ok_or_else(|| format!("can't evaluate field {name} in type *time.Time")),
            Value::Nil => Err(format!("nil data; no entry for key {name:?}")),
            other => Err(format!(
                "can't evaluate field {name} in type {}",
                other.kind()
            )),
        })
    }

    pub fn labels(labels: &Labels) -> Value {
        let pairs = labels.iter();
        Value::Map(
            pairs
                .map(|(name, value)| (name.to_string(), Value::Text(value.to_string())))
                .collect(),
        )
    }

    pub fn sample(labels: &Labels, value: f64) -> Value {
        Value::Record(BTreeMap::from([
            ("Labels", Value::labels(labels)),
            ("Value", Value::Float(value)),
        ]))
    }
}
