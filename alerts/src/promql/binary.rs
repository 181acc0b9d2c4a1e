//! Binary operators: arithmetic, comparison, sets; with matching of labels on vectors.
//!
//! Which series can meet is decided once by labels; which are present, and whether a match is ambiguous, per instant.

use indexmap::IndexMap;

use super::eval::{Column, Context, EvalFailure};
use super::plan::{Binary, BinaryOp, Card, Matching, ResultType};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, is_stale};

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::from(u8::from(holds(op, left, right))),
    }
}

fn holds(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::Less => left < right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::LessOrEqual => left <= right,
        _ => false,
    }
}

/// Both sides scalar.
pub(super) fn scalars(context: &Context<'_>, found: &Binary, instants: &[i64]) -> Result<Vec<f64>, EvalFailure> {
    let (left, right) = (context.scalar(&found.left, instants)?, context.scalar(&found.right, instants)?);
    Ok(left.into_iter().zip(right).map(|(left, right)| arithmetic(found.op, left, right)).collect())
}

/// At least one side a vector.
pub(super) fn vectors(context: &Context<'_>, found: &Binary, instants: &[i64]) -> Result<Vec<Column>, EvalFailure> {
    let scalar = |node: &super::plan::Node| node.result_type() == ResultType::Scalar;
    if scalar(&found.left) {
        let values = context.scalar(&found.left, instants)?;
        let columns = context.vector(&found.right, instants)?;
        return Ok(with_scalar(context, found, columns, &values, true));
    }
    if scalar(&found.right) {
        let values = context.scalar(&found.right, instants)?;
        let columns = context.vector(&found.left, instants)?;
        return Ok(with_scalar(context, found, columns, &values, false));
    }
    let (left, right) = (context.vector(&found.left, instants)?, context.vector(&found.right, instants)?);
    if found.op.is_set() {
        return Ok(set(found.op, &found.matching, left, right, instants.len()));
    }
    matched(context, found, &left, &right, instants)
}

fn drops_name(found: &Binary) -> bool {
    !found.op.is_comparison() || found.bool
}

fn with_scalar(
    context: &Context<'_>,
    found: &Binary,
    mut columns: Vec<Column>,
    scalar: &[f64],
    scalar_left: bool,
) -> Vec<Column> {
    let filters = found.op.is_comparison() && !found.bool;
    for column in &mut columns {
        for (value, scalar) in column.values.iter_mut().zip(scalar).filter(|(value, _)| !is_stale(**value)) {
            let (left, right) = if scalar_left { (*scalar, *value) } else { (*value, *scalar) };
            *value = match filters {
                true if holds(found.op, left, right) => *value,
                true => STALE,
                false => arithmetic(found.op, left, right),
            };
        }
    }
    match drops_name(found) {
        true => columns.into_iter().map(|column| context.unnamed(column)).collect(),
        false => columns,
    }
}

/// What two series must share to meet.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    match matching.on {
        true => labels.filtered(listed),
        false => labels.filtered(|name| name != NAME && !listed(name)),
    }
}

fn by_signature(matching: &Matching, columns: &[Column]) -> IndexMap<Labels, Vec<usize>> {
    let mut out: IndexMap<Labels, Vec<usize>> = IndexMap::new();
    for (at, column) in columns.iter().enumerate() {
        out.entry(signature(matching, &column.labels)).or_default().push(at);
    }
    out
}

/// `and`, `or`, `unless`.
fn set(op: BinaryOp, matching: &Matching, left: Vec<Column>, right: Vec<Column>, instants: usize) -> Vec<Column> {
    let presence = |columns: &[Column]| {
        let mut out: IndexMap<Labels, Vec<bool>> = IndexMap::new();
        for column in columns {
            let seen = out.entry(signature(matching, &column.labels)).or_insert_with(|| vec![false; instants]);
            column.present().for_each(|(at, _)| seen[at] = true);
        }
        out
    };
    let keep = |mut columns: Vec<Column>, other: &IndexMap<Labels, Vec<bool>>, where_other: bool| {
        for column in &mut columns {
            let seen = other.get(&signature(matching, &column.labels));
            for (at, value) in column.values.iter_mut().enumerate() {
                if seen.is_some_and(|seen| seen[at]) != where_other {
                    *value = STALE;
                }
            }
        }
        columns.retain(|column| column.values.iter().any(|value| !is_stale(*value)));
        columns
    };
    match op {
        BinaryOp::And => keep(left, &presence(&right), true),
        BinaryOp::Unless => keep(left, &presence(&right), false),
        _ => {
            let extra = keep(right, &presence(&left), false);
            left.into_iter().chain(extra).collect()
        }
    }
}

/// Arithmetic and comparison of two vectors.
fn matched(
    context: &Context<'_>,
    found: &Binary,
    left: &[Column],
    right: &[Column],
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    // The "one" side stands on the right from here on; only values are computed in the order written.
    let swapped = found.matching.card == Card::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let ones = by_signature(&found.matching, one);
    let manys = by_signature(&found.matching, many);
    let mut out = Vec::new();
    for (signature, members) in &manys {
        let Some(partners) = ones.get(signature) else { continue };
        let mut results: IndexMap<(Labels, bool), Vec<f64>> = IndexMap::new();
        let labels = Pairing { context, found, many, one };
        for at in 0..instants.len() {
            labels.at(at, members, partners, signature, swapped, &mut results, instants.len())?;
        }
        let columns = results.into_iter().map(|((labels, drop_name), values)| Column { labels, drop_name, values });
        out.extend(columns);
    }
    check_sides(&found.matching, many, one, &manys, &ones, instants, swapped)?;
    Ok(out)
}

/// A match group must have one series on its "one" side even when the other side has none.
fn check_sides(
    matching: &Matching,
    _many: &[Column],
    one: &[Column],
    manys: &IndexMap<Labels, Vec<usize>>,
    ones: &IndexMap<Labels, Vec<usize>>,
    instants: &[i64],
    swapped: bool,
) -> Result<(), EvalFailure> {
    for (signature, partners) in ones.iter().filter(|(signature, all)| all.len() > 1 && !manys.contains_key(*signature)) {
        for at in 0..instants.len() {
            if partners.iter().filter(|partner| !is_stale(one[**partner].values[at])).count() > 1 {
                return Err(duplicate(matching, signature, swapped));
            }
        }
    }
    Ok(())
}

fn duplicate(_matching: &Matching, signature: &Labels, swapped: bool) -> EvalFailure {
    let side = if swapped { "left" } else { "right" };
    EvalFailure::new(format!(
        "found duplicate series for the match group {signature} on the {side} hand-side of the operation; \
         many-to-many matching not allowed: matching labels must be unique on one side"
    ))
}

struct Pairing<'a, 'b> {
    context: &'a Context<'b>,
    found: &'a Binary,
    many: &'a [Column],
    one: &'a [Column],
}

impl Pairing<'_, '_> {
    #[expect(clippy::too_many_arguments, reason = "the inner step of one loop, split off for its length")]
    fn at(
        &self,
        at: usize,
        members: &[usize],
        partners: &[usize],
        signature: &Labels,
        swapped: bool,
        results: &mut IndexMap<(Labels, bool), Vec<f64>>,
        instants: usize,
    ) -> Result<(), EvalFailure> {
        let mut present = partners.iter().filter(|partner| !is_stale(self.one[**partner].values[at]));
        let Some(partner) = present.next() else { return Ok(()) };
        if present.next().is_some() {
            return Err(duplicate(&self.found.matching, signature, swapped));
        }
        let other = self.one[*partner].values[at];
        let mut met = false;
        for member in members {
            let value = self.many[*member].values[at];
            if is_stale(value) {
                continue;
            }
            let (left, right) = if swapped { (other, value) } else { (value, other) };
            let filters = self.found.op.is_comparison() && !self.found.bool;
            let result = match filters {
                true if holds(self.found.op, left, right) => left,
                true => STALE,
                false => arithmetic(self.found.op, left, right),
            };
            if self.found.matching.card == Card::OneToOne {
                // Ambiguity counts for what is kept; what a comparison filtered away is not there.
                if filters && is_stale(result) {
                    continue;
                }
                if std::mem::replace(&mut met, true) {
                    return Err(EvalFailure::new(format!(
                        "multiple matches for labels {signature}: many-to-one matching must be explicit \
                         (group_left/group_right)"
                    )));
                }
            } else if filters && is_stale(result) {
                continue;
            }
            let key = self.result_labels(*member, *partner);
            let values = results.entry(key).or_insert_with(|| vec![STALE; instants]);
            if !is_stale(values[at]) {
                return Err(EvalFailure::new(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            values[at] = result;
        }
        Ok(())
    }

    fn result_labels(&self, member: usize, partner: usize) -> (Labels, bool) {
        let matching = &self.found.matching;
        let many = &self.many[member];
        let mut column = Column { labels: many.labels.clone(), drop_name: many.drop_name, values: Vec::new() };
        if drops_name(self.found) {
            column = self.context.unnamed(column);
        }
        let mut labels = column.labels;
        if matching.card == Card::OneToOne {
            let listed = |name: &str| matching.labels.iter().any(|label| label == name);
            labels = match matching.on {
                true => labels.filtered(listed),
                false => labels.filtered(|name| !listed(name)),
            };
        }
        for name in &matching.include {
            labels = labels.with(name, self.one[partner].labels.get(name));
        }
        (labels, column.drop_name)
    }
}
