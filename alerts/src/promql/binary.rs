//! Binary operators: arithmetic, comparison, sets; with matching of labels on vectors.
//!
//! Which series can meet is decided once by labels; which are present, and whether a match is ambiguous, per instant.

use indexmap::IndexMap;

use super::column::Column;
use super::eval::{Context, EvalFailure};
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
pub(super) fn scalars(
    context: &Context<'_>,
    found: &Binary,
    instants: &[i64],
) -> Result<Vec<f64>, EvalFailure> {
    let (left, right) = (
        context.scalar(&found.left, instants)?,
        context.scalar(&found.right, instants)?,
    );
    Ok(left
        .into_iter()
        .zip(right)
        .map(|(left, right)| arithmetic(found.op, left, right))
        .collect())
}

/// At least one side a vector.
pub(super) fn vectors(
    context: &Context<'_>,
    found: &Binary,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
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
    let (left, right) = (
        context.vector(&found.left, instants)?,
        context.vector(&found.right, instants)?,
    );
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
        for (value, scalar) in column
            .values
            .iter_mut()
            .zip(scalar)
            .filter(|(value, _)| !is_stale(**value))
        {
            let (left, right) = if scalar_left {
                (*scalar, *value)
            } else {
                (*value, *scalar)
            };
            *value = match filters {
                true if holds(found.op, left, right) => *value,
                true => STALE,
                false => arithmetic(found.op, left, right),
            };
        }
    }
    match drops_name(found) {
        true => columns
            .into_iter()
            .map(|column| context.unnamed(column))
            .collect(),
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
        out.entry(signature(matching, &column.labels))
            .or_default()
            .push(at);
    }
    out
}

/// `and`, `or`, `unless`.
fn set(
    op: BinaryOp,
    matching: &Matching,
    left: Vec<Column>,
    right: Vec<Column>,
    instants: usize,
) -> Vec<Column> {
    let presence = |columns: &[Column]| {
        let mut out: IndexMap<Labels, Vec<bool>> = IndexMap::new();
        for column in columns {
            let seen = out
                .entry(signature(matching, &column.labels))
                .or_insert_with(|| vec![false; instants]);
            column.present().for_each(|(at, _)| seen[at] = true);
        }
        out
    };
    let keep =
        |mut columns: Vec<Column>, other: &IndexMap<Labels, Vec<bool>>, where_other: bool| {
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
    let (many, one) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let manys = by_signature(&found.matching, many);
    // Where one side has nothing at all, nothing is compared and nothing can be ambiguous.
    let mut live = vec![false; instants.len()];
    many.iter()
        .flat_map(Column::present)
        .for_each(|(at, _)| live[at] = true);
    let mut out = Vec::new();
    for (signature, partners) in by_signature(&found.matching, one) {
        let members = manys.get(&signature).map_or(&[][..], Vec::as_slice);
        let mut pairing = Pairing {
            context,
            found,
            many,
            one,
            swapped,
            signature: &signature,
            results: IndexMap::new(),
            places: IndexMap::new(),
            last: None,
        };
        for at in (0..instants.len()).filter(|at| live[*at]) {
            if let Some(partner) = pairing.partner(&partners, at)? {
                pairing.meet(members, partner, at, instants.len())?;
            }
        }
        let results = pairing.results.into_iter();
        out.extend(results.map(|((labels, drop_name), met)| Column {
            labels,
            drop_name,
            values: met.values,
        }));
    }
    Ok(out)
}

/// A result in the making: its values, and the last instant at which some pair came to it.
struct Met {
    values: Vec<f64>,
    met: Option<usize>,
}

/// A label set as Go prints it in errors: the name is a label like any other.
fn in_braces(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (at, (name, value)) in labels.iter().enumerate() {
        let legacy = name.bytes().enumerate().all(|(at, byte)| {
            byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
        });
        let shown = if legacy {
            name.to_string()
        } else {
            format!("{name:?}")
        };
        out += &format!("{}{shown}={value:?}", if at > 0 { ", " } else { "" });
    }
    out + "}"
}

/// One match group: the series of both sides that share a signature.
struct Pairing<'a, 'b> {
    context: &'a Context<'b>,
    found: &'a Binary,
    many: &'a [Column],
    one: &'a [Column],
    swapped: bool,
    signature: &'a Labels,
    results: IndexMap<(Labels, bool), Met>,
    /// Which result a pair of series contributes to.
    places: IndexMap<(usize, usize), usize>,
    /// The last of them that was asked for: series mostly keep their partner.
    last: Option<((usize, usize), usize)>,
}

impl Pairing<'_, '_> {
    /// The only present series of the "one" side.
    fn partner(&self, partners: &[usize], at: usize) -> Result<Option<usize>, EvalFailure> {
        let mut present = partners
            .iter()
            .filter(|partner| !is_stale(self.one[**partner].values[at]));
        let first = present.next().copied();
        if let (Some(first), Some(second)) = (first, present.next()) {
            let side = if self.swapped { "left" } else { "right" };
            let mut pair = [first, *second].map(|at| in_braces(&self.one[at].labels));
            pair.sort();
            return Err(EvalFailure::new(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}]\
                 ;many-to-many matching not allowed: matching labels must be unique on one side",
                in_braces(self.signature),
                pair[0],
                pair[1],
            )));
        }
        Ok(first)
    }

    fn meet(
        &mut self,
        members: &[usize],
        partner: usize,
        at: usize,
        instants: usize,
    ) -> Result<(), EvalFailure> {
        let filters = self.found.op.is_comparison() && !self.found.bool;
        let one_to_one = self.found.matching.card == Card::OneToOne;
        let other = self.one[partner].values[at];
        let mut met = false;
        for member in members {
            let value = self.many[*member].values[at];
            if is_stale(value) {
                continue;
            }
            let (left, right) = if self.swapped {
                (other, value)
            } else {
                (value, other)
            };
            if one_to_one && std::mem::replace(&mut met, true) {
                return Err(EvalFailure::new(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
            let place = self.place(*member, partner, instants)?;
            // Ambiguity counts also for what the comparison does not keep.
            if self.results[place].met.replace(at) == Some(at) {
                return Err(EvalFailure::new(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            self.results[place].values[at] = match filters {
                true if holds(self.found.op, left, right) => left,
                true => STALE,
                false => arithmetic(self.found.op, left, right),
            };
        }
        Ok(())
    }

    fn place(
        &mut self,
        member: usize,
        partner: usize,
        instants: usize,
    ) -> Result<usize, EvalFailure> {
        let pair = (member, partner);
        if let Some((known, at)) = self.last
            && known == pair
        {
            return Ok(at);
        }
        if let Some(at) = self.places.get(&pair) {
            self.last = Some((pair, *at));
            return Ok(*at);
        }
        self.context.room(self.results.len() + 1, instants)?;
        let entry = self.results.entry(self.result_labels(member, partner));
        let at = entry.index();
        entry.or_insert_with(|| Met {
            values: vec![STALE; instants],
            met: None,
        });
        self.places.insert(pair, at);
        Ok(at)
    }

    fn result_labels(&self, member: usize, partner: usize) -> (Labels, bool) {
        let matching = &self.found.matching;
        let mut labels = self.many[member].labels.clone();
        // Arithmetic drops names at once, also where others wait for the end of the query.
        let delayed = self.found.bool && self.context.options.delayed_names;
        if drops_name(self.found) && !delayed {
            labels = labels.without_metadata();
        }
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
        (labels, delayed)
    }
}
