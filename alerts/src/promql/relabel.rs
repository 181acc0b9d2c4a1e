//! `label_replace` and `label_join`: labels do not depend on values, so each column is renamed once.

use super::eval::{Column, EvalFailure};
use super::plan::Node;
use super::resolve::dot_all;
use crate::labels::NAME;

fn text(node: Option<&Node>) -> Result<&str, EvalFailure> {
    match node {
        Some(Node::Text(text)) => Ok(text),
        _ => Err(EvalFailure::new("expected a string literal")),
    }
}

fn check_destination(name: &str) -> Result<(), EvalFailure> {
    // Prometheus 3 accepts any UTF-8 name but the empty one.
    if name.is_empty() {
        return Err(EvalFailure::new(format!(
            "invalid destination label name {name:?}"
        )));
    }
    Ok(())
}

/// Sets a label; naming the metric anew cancels a pending removal of its name.
fn set(column: &mut Column, name: &str, value: &str) {
    column.labels = column.labels.with(name, value);
    if name == NAME {
        column.drop_name = false;
    }
}

/// `label_replace(v, destination, replacement, source, regex)`.
pub(super) fn replace(columns: Vec<Column>, args: &[Node]) -> Result<Vec<Column>, EvalFailure> {
    let (destination, replacement) = (text(args.first())?, text(args.get(1))?);
    let (source, pattern) = (text(args.get(2))?, text(args.get(3))?);
    check_destination(destination)?;
    let regex =
        dot_all(&format!("^(?:{pattern})$")).map_err(|error| EvalFailure::new(error.reason))?;
    let mut out = columns;
    for column in &mut out {
        let mut value = String::new();
        match regex.captures(column.labels.get(source)) {
            Some(captures) => captures.expand(replacement, &mut value),
            None => continue,
        }
        set(column, destination, &value);
    }
    Ok(out)
}

/// `label_join(v, destination, separator, source…)`.
pub(super) fn join(columns: Vec<Column>, args: &[Node]) -> Result<Vec<Column>, EvalFailure> {
    let (destination, separator) = (text(args.first())?, text(args.get(1))?);
    let sources: Vec<&str> = args[2..]
        .iter()
        .map(|arg| text(Some(arg)))
        .collect::<Result<_, _>>()?;
    check_destination(destination)?;
    let mut out = columns;
    for column in &mut out {
        let values: Vec<&str> = sources
            .iter()
            .map(|source| column.labels.get(source))
            .collect();
        let value = values.join(separator);
        set(column, destination, &value);
    }
    Ok(out)
}
