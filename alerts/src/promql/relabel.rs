//! `label_replace` and `label_join`: labels do not depend on values, so each column is renamed once.

use super::column::Column;
use super::eval::EvalFailure;
use super::pattern;
use super::plan::Node;
use crate::labels::NAME;

fn text(node: Option<&Node>) -> Result<&str, EvalFailure> {
    match node {
        Some(Node::Text(text)) => Ok(text),
        _ => Err(EvalFailure::new("expected a string literal")),
    }
}

/// Prometheus 3 accepts any UTF-8 name but the empty one.
fn check_name(name: &str, what: &str) -> Result<(), EvalFailure> {
    match name {
        "" => Err(EvalFailure::new(format!("invalid {what}: {name}"))),
        _ => Ok(()),
    }
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
    let regex = pattern::anchored(pattern).map_err(|_| {
        EvalFailure::new(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    check_name(destination, "destination label name in label_replace()")?;
    let mut out = columns;
    for column in &mut out {
        let value = regex
            .captures(column.labels.get(source))
            .map(|captures| pattern::expand(replacement, &captures));
        if let Some(value) = value {
            set(column, destination, &value);
        }
    }
    Ok(out)
}

/// `label_join(v, destination, separator, source…)`.
pub(super) fn join(columns: Vec<Column>, args: &[Node]) -> Result<Vec<Column>, EvalFailure> {
    let (destination, separator) = (text(args.first())?, text(args.get(1))?);
    let sources: Vec<&str> = args
        .get(2..)
        .unwrap_or_default()
        .iter()
        .map(|arg| text(Some(arg)))
        .collect::<Result<_, _>>()?;
    for source in &sources {
        check_name(source, "source label name in label_join()")?;
    }
    check_name(destination, "destination label name in label_join()")?;
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
