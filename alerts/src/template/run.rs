//! Runs the steps of a template.

use std::collections::BTreeMap;
use std::fmt;

use super::parse::{Operand, Pipeline, Step};
use super::{Data, functions};
use crate::number::format_g;

/// A value inside a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Map(BTreeMap<String, Value>),
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("<no value>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => f.write_str(&format_g(*value, None)),
            Value::Text(text) => f.write_str(text),
            Value::Map(map) => {
                f.write_str("map[")?;
                for (at, (key, value)) in map.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if at > 0 { " " } else { "" })?;
                }
                f.write_str("]")
            }
            Value::List(items) => {
                f.write_str("[")?;
                for (at, value) in items.iter().enumerate() {
                    write!(f, "{}{value}", if at > 0 { " " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Value {
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
        }
    }

    /// A number for `printf` and the humanize functions; text is read.
    pub fn number(&self) -> Result<f64, String> {
        match self {
            Value::Int(value) => Ok(*value as f64),
            Value::Float(value) => Ok(*value),
            Value::Text(text) => text
                .trim()
                .parse()
                .map_err(|_| format!("can't convert {text:?} to float")),
            other => Err(format!("can't convert {other} to float")),
        }
    }

    pub fn labels(labels: &crate::labels::Labels) -> Value {
        Value::Map(
            labels
                .iter()
                .map(|(name, value)| (name.to_string(), Value::Text(value.to_string())))
                .collect(),
        )
    }

    pub fn sample(labels: &crate::labels::Labels, value: f64) -> Value {
        let fields = [
            ("Labels".to_string(), Value::labels(labels)),
            ("Value".to_string(), Value::Float(value)),
        ];
        Value::Map(fields.into_iter().collect())
    }
}

/// Deeper nesting of `template` is a loop.
const DEPTH_MAX: usize = 64;

pub(super) struct Run<'a> {
    pub data: &'a Data<'a>,
    defined: &'a BTreeMap<String, Vec<Step>>,
    variables: Vec<(String, Value)>,
    out: String,
    depth: usize,
}

enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn run(
    steps: &[Step],
    defined: &BTreeMap<String, Vec<Step>>,
    data: &Data<'_>,
) -> Result<String, String> {
    let labels = Value::labels(data.labels);
    let external = Value::labels(data.external_labels);
    let url = Value::Text(data.external_url.to_string());
    let dot = Value::Map(BTreeMap::from([
        ("Labels".to_string(), labels.clone()),
        ("ExternalLabels".to_string(), external.clone()),
        ("ExternalURL".to_string(), url.clone()),
        ("Value".to_string(), Value::Float(data.value)),
    ]));
    let variables = vec![
        ("$".to_string(), dot.clone()),
        ("$labels".to_string(), labels),
        ("$externalLabels".to_string(), external),
        ("$externalURL".to_string(), url),
        ("$value".to_string(), Value::Float(data.value)),
    ];
    let mut run = Run {
        data,
        defined,
        variables,
        out: String::new(),
        depth: 0,
    };
    run.steps(steps, &dot)?;
    Ok(run.out)
}

impl Run<'_> {
    fn steps(&mut self, steps: &[Step], dot: &Value) -> Result<Flow, String> {
        for step in steps {
            match self.step(step, dot)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    /// Steps with a variable of their own; what they declare ends with them.
    fn scope(
        &mut self,
        bound: &[(&Option<String>, &Value)],
        steps: &[Step],
        dot: &Value,
    ) -> Result<Flow, String> {
        let depth = self.variables.len();
        for (name, value) in bound {
            self.variables
                .extend(name.as_ref().map(|name| (name.clone(), (*value).clone())));
        }
        let flow = self.steps(steps, dot);
        self.variables.truncate(depth);
        flow
    }

    fn step(&mut self, step: &Step, dot: &Value) -> Result<Flow, String> {
        match step {
            Step::Text(text) => self.out.push_str(text),
            Step::Write(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.out.push_str(&value.to_string());
            }
            Step::Assign {
                name,
                declare,
                value,
            } => {
                let value = self.pipeline(value, dot)?;
                match self
                    .variables
                    .iter_mut()
                    .rev()
                    .find(|(have, _)| have == name)
                    .filter(|_| !declare)
                {
                    Some((_, place)) => *place = value,
                    None => self.variables.push((name.clone(), value)),
                }
            }
            Step::If {
                condition,
                bound,
                then,
                other,
            } => {
                let value = self.pipeline(condition, dot)?;
                return self.scope(
                    &[(bound, &value)],
                    if value.truth() { then } else { other },
                    dot,
                );
            }
            Step::With {
                value,
                bound,
                then,
                other,
            } => {
                let value = self.pipeline(value, dot)?;
                return match value.truth() {
                    true => self.scope(&[(bound, &value)], then, &value),
                    false => self.scope(&[(bound, &value)], other, dot),
                };
            }
            Step::Range {
                value,
                key,
                item,
                each,
                other,
            } => {
                let value = self.pipeline(value, dot)?;
                return self.range(value, (key, item), each, other, dot);
            }
            Step::Template { name, value } => {
                let value = match value {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Nil,
                };
                let steps = self
                    .defined
                    .get(name)
                    .ok_or_else(|| format!("template {name:?} not defined"))?;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(format!(
                        "template {name:?} is nested more than {DEPTH_MAX} deep"
                    ));
                }
                let outer = std::mem::take(&mut self.variables);
                self.variables.push(("$".to_string(), value.clone()));
                self.steps(steps, &value)?;
                self.variables = outer;
                self.depth -= 1;
            }
            Step::Break => return Ok(Flow::Break),
            Step::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        value: Value,
        (key, item): (&Option<String>, &Option<String>),
        each: &[Step],
        other: &[Step],
        dot: &Value,
    ) -> Result<Flow, String> {
        let items: Vec<(Value, Value)> = match value {
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, v)| (Value::Int(at as i64), v))
                .collect(),
            Value::Map(map) => map
                .into_iter()
                .map(|(key, v)| (Value::Text(key), v))
                .collect(),
            Value::Nil => Vec::new(),
            other => return Err(format!("range can't iterate over {other}")),
        };
        if items.is_empty() {
            return self.scope(&[], other, dot);
        }
        for (place, value) in items {
            if let Flow::Break = self.scope(&[(key, &place), (item, &value)], each, &value)? {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last: Option<Value> = None;
        for command in pipeline {
            last = Some(self.command(command, last, dot)?);
        }
        last.ok_or_else(|| "empty pipeline".to_string())
    }

    fn command(
        &self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let Some((Operand::Function(name), rest)) = command.split_first() else {
            return match (command, piped) {
                ([only], None) => self.operand(only, dot),
                _ => Err("can't give argument to non-function".into()),
            };
        };
        if name == "and" || name == "or" {
            return self.logic(name == "or", rest, piped, dot);
        }
        let mut args = rest
            .iter()
            .map(|operand| self.operand(operand, dot))
            .collect::<Result<Vec<_>, _>>()?;
        args.extend(piped);
        functions::call(name, args, self.data)
    }

    /// `and` and `or` answer the first argument that decides, and evaluate none after it.
    fn logic(
        &self,
        or: bool,
        rest: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let mut last = Value::Nil;
        for operand in rest {
            last = self.operand(operand, dot)?;
            if last.truth() == or {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Dot(path) => field(dot.clone(), path),
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(have, _)| have == name);
                let (_, value) = found.ok_or_else(|| format!("undefined variable {name:?}"))?;
                field(value.clone(), path)
            }
            Operand::Function(name) => functions::call(name, Vec::new(), self.data),
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Int(value) => Ok(Value::Int(*value)),
            Operand::Float(value) => Ok(Value::Float(*value)),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Nil => Ok(Value::Nil),
            Operand::Group(pipeline, path) => field(self.pipeline(pipeline, dot)?, path),
        }
    }
}

fn field(mut value: Value, path: &[String]) -> Result<Value, String> {
    for name in path {
        value = match value {
            // A missing label is empty, as `missingkey=zero` makes it.
            Value::Map(mut map) => map.remove(name).unwrap_or(Value::Text(String::new())),
            Value::Nil => return Err(format!("nil data; no entry for key {name:?}")),
            other => return Err(format!("can't evaluate field {name} in {other}")),
        };
    }
    Ok(value)
}
