//! Runs the steps of a template.

use std::collections::BTreeMap;

use super::parse::{Binding, Control, Defined, Operand, Pipeline, Step};
use super::value::Value;
use super::{Data, functions};

/// Deeper nesting of templates and blocks is a loop; each level costs stack.
const DEPTH_MAX: usize = 200;
/// Steps of one expansion: a template can call itself twice in each call.
const STEPS_MAX: usize = 100_000;
/// Longer text is none for an alert.
const OUT_BYTES_MAX: usize = 1 << 20;

pub(super) struct Run<'a> {
    data: &'a Data<'a>,
    defined: &'a Defined,
    variables: Vec<(String, Value)>,
    out: String,
    depth: usize,
    steps: usize,
}

#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn run(steps: &[Step], defined: &Defined, data: &Data<'_>) -> Result<String, String> {
    let labels = Value::labels(data.labels);
    let external = Value::labels(data.external_labels);
    let url = Value::Text(data.external_url.to_string());
    let value = Value::Float(data.value);
    let dot = Value::Record(BTreeMap::from([
        ("Labels", labels.clone()),
        ("ExternalLabels", external.clone()),
        ("ExternalURL", url.clone()),
        ("Value", value.clone()),
    ]));
    let variables = [
        ("$", dot.clone()),
        ("$labels", labels),
        ("$externalLabels", external),
        ("$externalURL", url),
        ("$value", value),
    ];
    let mut run = Run {
        data,
        defined,
        variables: variables
            .map(|(name, value)| (name.to_string(), value))
            .to_vec(),
        out: String::new(),
        depth: 0,
        steps: 0,
    };
    run.block(steps, &dot)?;
    Ok(run.out)
}

impl Run<'_> {
    /// Steps whose declarations end with them.
    fn block(&mut self, steps: &[Step], dot: &Value) -> Result<Flow, String> {
        if self.depth >= DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} deep"));
        }
        let variables = self.variables.len();
        self.depth += 1;
        let mut flow = Flow::On;
        for step in steps {
            flow = self.step(step, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.depth -= 1;
        self.variables.truncate(variables);
        Ok(flow)
    }

    fn step(&mut self, step: &Step, dot: &Value) -> Result<Flow, String> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("takes more than {STEPS_MAX} steps"));
        }
        match step {
            Step::Text(text) => self.write(text)?,
            Step::Write(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.write(&value.to_string())?;
            }
            Step::Assign(binding, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.bind(binding, value)?;
            }
            Step::If(control) | Step::With(control) => {
                let with = matches!(step, Step::With(_));
                return self.scoped(|run| run.branch(control, with, dot));
            }
            Step::Range(control) => return self.scoped(|run| run.range(control, dot)),
            Step::Template { name, value } => self.template(name, value.as_ref(), dot)?,
            Step::Break => return Ok(Flow::Break),
            Step::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > OUT_BYTES_MAX {
            return Err(format!("the text is longer than {OUT_BYTES_MAX} bytes"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn bind(&mut self, binding: &Binding, value: Value) -> Result<(), String> {
        if binding.declare {
            self.variables.push((binding.name.clone(), value));
            return Ok(());
        }
        let mut places = self.variables.iter_mut().rev();
        match places.find(|(name, _)| *name == binding.name) {
            Some((_, place)) => *place = value,
            None => return Err(format!("undefined variable: {}", binding.name)),
        }
        Ok(())
    }

    /// What a control structure declares ends with it.
    fn scoped(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<Flow, String>,
    ) -> Result<Flow, String> {
        let variables = self.variables.len();
        let flow = run(self);
        self.variables.truncate(variables);
        flow
    }

    fn branch(&mut self, control: &Control, with: bool, dot: &Value) -> Result<Flow, String> {
        let value = self.pipeline(&control.value, dot)?;
        if let Some(binding) = control.bound.first() {
            self.bind(binding, value.clone())?;
        }
        match (value.truth(), with) {
            (true, true) => self.block(&control.then, &value),
            (true, false) => self.block(&control.then, dot),
            (false, _) => self.block(&control.other, dot),
        }
    }

    fn range(&mut self, control: &Control, dot: &Value) -> Result<Flow, String> {
        let items: Vec<(Value, Value)> = match self.pipeline(&control.value, dot)? {
            Value::List(items) => (0..).map(Value::Int).zip(items).collect(),
            Value::Map(map) => {
                let pairs = map.into_iter();
                pairs
                    .map(|(key, value)| (Value::Text(key), value))
                    .collect()
            }
            // As often as the number says.
            Value::Int(count) => {
                let count = count.clamp(0, STEPS_MAX as i64);
                (0..count)
                    .map(|at| (Value::Int(at), Value::Int(at)))
                    .collect()
            }
            Value::Nil => Vec::new(),
            other => return Err(format!("range can't iterate over {other}")),
        };
        if items.is_empty() {
            return self.block(&control.other, dot);
        }
        for (place, value) in items {
            let flow = self.scoped(|run| {
                match &control.bound[..] {
                    [item] => run.bind(item, value.clone())?,
                    [key, item] => {
                        run.bind(key, place)?;
                        run.bind(item, value.clone())?;
                    }
                    _ => {}
                }
                run.block(&control.then, &value)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Another template sees its argument alone.
    fn template(
        &mut self,
        name: &str,
        value: Option<&Pipeline>,
        dot: &Value,
    ) -> Result<(), String> {
        let defined = self.defined;
        let steps = defined.get(name);
        let steps = steps.ok_or_else(|| format!("template {name:?} not defined"))?;
        let value = match value {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nil,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), value.clone())]);
        self.block(steps, &value)?;
        self.variables = outer;
        Ok(())
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
        let Some((first, rest)) = command.split_first() else {
            return Err("empty command".into());
        };
        let Operand::Function(name) = first else {
            if rest.is_empty() && piped.is_none() {
                return match first {
                    Operand::Nil => Err("nil is not a command".into()),
                    first => self.operand(first, dot),
                };
            }
            return self.method(first, self.arguments(rest, piped, dot)?, dot);
        };
        match &**name {
            "and" | "or" => self.logic(name == "or", rest, piped, dot),
            name => functions::call(name, self.arguments(rest, piped, dot)?, self.data),
        }
    }

    fn arguments(
        &self,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Vec<Value>, String> {
        let mut out = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            out.push(self.operand(operand, dot)?);
        }
        out.extend(piped);
        Ok(out)
    }

    /// A call such as `$t.Format "15:04"`.
    fn method(&self, operand: &Operand, args: Vec<Value>, dot: &Value) -> Result<Value, String> {
        let (receiver, path) = match operand {
            Operand::Dot(path) => (dot.clone(), path),
            Operand::Variable(name, path) => (self.variable(name)?.clone(), path),
            Operand::Group(pipeline, path) => (self.pipeline(pipeline, dot)?, path),
            _ => return Err("can't give argument to non-function".into()),
        };
        let Some((name, before)) = path.split_last() else {
            return Err("can't give argument to non-function".into());
        };
        match receiver.field(before)? {
            Value::Time(time) => time
                .method(name, &args)
                .ok_or_else(|| format!("can't call method {name} of a time with these arguments")),
            _ => Err(format!("{name} is not a method but has arguments")),
        }
    }

    /// `and` and `or` answer the first argument that decides, and evaluate none after it.
    fn logic(
        &self,
        or: bool,
        rest: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if value.truth() == or {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| {
            let name = if or { "or" } else { "and" };
            format!("wrong number of args for {name}: want at least 1 got 0")
        })
    }

    fn variable(&self, name: &str) -> Result<&Value, String> {
        let found = self.variables.iter().rev().find(|(have, _)| have == name);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| format!("undefined variable: {name}"))
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Dot(path) => dot.clone().field(path),
            Operand::Variable(name, path) => self.variable(name)?.clone().field(path),
            Operand::Function(name) if name == "and" || name == "or" => {
                self.logic(name == "or", &[], None, dot)
            }
            Operand::Function(name) => functions::call(name, Vec::new(), self.data),
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Int(value) => Ok(Value::Int(*value)),
            Operand::Float(value) => Ok(Value::Float(*value)),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Nil => Ok(Value::Nil),
            Operand::Group(pipeline, path) => self.pipeline(pipeline, dot)?.field(path),
        }
    }
}
