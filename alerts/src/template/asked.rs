//! What a template asks for, read from its steps: queries, labels.

use super::parse::{Operand, Pipeline, Step};

/// Collects the literals given to `query`; `None` when one is no literal.
pub(super) fn queries<'s>(steps: &'s [Step], out: &mut Vec<&'s str>) -> Option<()> {
    for step in steps {
        match step {
            Step::Text(_) | Step::Break | Step::Continue => {}
            Step::Write(value) | Step::Assign(_, value) => asked(value, out)?,
            Step::Template { value, .. } => value.iter().try_for_each(|value| asked(value, out))?,
            Step::If(control) | Step::With(control) | Step::Range(control) => {
                asked(&control.value, out)?;
                queries(&control.then, out)?;
                queries(&control.other, out)?;
            }
        }
    }
    Some(())
}

fn asked<'s>(pipeline: &'s Pipeline, out: &mut Vec<&'s str>) -> Option<()> {
    for (at, command) in pipeline.iter().enumerate() {
        for (place, operand) in command.iter().enumerate() {
            match operand {
                Operand::Group(inner, _) => asked(inner, out)?,
                Operand::Function(name) if name == "query" => {
                    let given = command.get(place + 1);
                    let piped = at.checked_sub(1).map(|before| &pipeline[before][..]);
                    match (given, piped) {
                        (Some(Operand::Text(text)), _) | (None, Some([Operand::Text(text)])) => {
                            out.push(text);
                        }
                        _ => return None,
                    }
                }
                _ => {}
            }
        }
    }
    Some(())
}

/// Collects the labels that are written outside of every `if`, `with` and `range`.
pub(super) fn labels(steps: &[Step], out: &mut Vec<String>) {
    for step in steps {
        if let Step::Write(value) | Step::Assign(_, value) = step {
            shown(value, out);
        }
    }
}

fn shown(pipeline: &Pipeline, out: &mut Vec<String>) {
    for operand in pipeline.iter().flatten() {
        match operand {
            Operand::Variable(name, path) if name == "$labels" && !path.is_empty() => {
                out.push(path[0].clone())
            }
            Operand::Dot(path) if path.len() > 1 && path[0] == "Labels" => {
                out.push(path[1].clone())
            }
            Operand::Group(inner, _) => shown(inner, out),
            _ => {}
        }
    }
}
