//! Aggregations: groups are fixed by labels once, values are folded per instant.

use indexmap::IndexMap;

use super::column::Column;
use super::eval::{Context, EvalFailure};
use super::plan::{Aggregate, AggregateOp, Node};
use super::quantile::quantile;
use super::range::{Compensated, Mean};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, format_f, format_g, is_stale};

struct Group {
    labels: Labels,
    drop_name: bool,
    members: Vec<usize>,
}

/// Evaluates an aggregation.
pub(super) fn aggregate(
    context: &Context<'_>,
    found: &Aggregate,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    let columns = context.vector(&found.expr, instants)?;
    let groups = group(found, &columns);
    let param = match found.param.as_deref() {
        Some(Node::Text(label)) => {
            return count_values(context, found, &columns, &groups, label, instants.len());
        }
        Some(node) => context.scalar(node, instants)?,
        None => Vec::new(),
    };
    if found.op == AggregateOp::Quantile {
        context.notes.quantiles(found.param_at, &param);
    }
    match found.op {
        AggregateOp::Topk | AggregateOp::Bottomk => choose(
            columns,
            &groups,
            &param,
            found.op == AggregateOp::Bottomk,
            instants,
        ),
        _ => Ok(groups
            .into_iter()
            .map(|group| fold(found.op, &columns, group, &param, instants.len()))
            .collect()),
    }
}

fn key(found: &Aggregate, labels: &Labels) -> Labels {
    let listed = |name: &str| found.grouping.iter().any(|label| label == name);
    if found.without {
        labels.filtered(|name| name != NAME && !listed(name))
    } else {
        labels.filtered(listed)
    }
}

fn group(found: &Aggregate, columns: &[Column]) -> Vec<Group> {
    let mut groups: IndexMap<Labels, Group> = IndexMap::new();
    for (at, column) in columns.iter().enumerate() {
        let labels = key(found, &column.labels);
        let fresh = || Group {
            labels: labels.clone(),
            drop_name: column.drop_name,
            members: Vec::new(),
        };
        let group = groups.entry(labels.clone()).or_insert_with(fresh);
        // One member without its name takes the name from the whole group.
        group.drop_name |= column.drop_name;
        group.members.push(at);
    }
    groups.into_values().collect()
}

/// Folds each group to one column.
fn fold(
    op: AggregateOp,
    columns: &[Column],
    group: Group,
    param: &[f64],
    instants: usize,
) -> Column {
    let members: Vec<&[f64]> = group
        .members
        .iter()
        .map(|at| &*columns[*at].values)
        .collect();
    let values = match op {
        AggregateOp::Sum => sums(&members, instants),
        _ => {
            let mut present = Vec::with_capacity(members.len());
            (0..instants)
                .map(|at| {
                    present.clear();
                    present.extend(
                        members
                            .iter()
                            .map(|values| values[at])
                            .filter(|value| !is_stale(*value)),
                    );
                    if present.is_empty() {
                        STALE
                    } else {
                        one(op, &mut present, param.get(at).copied())
                    }
                })
                .collect()
        }
    };
    Column {
        labels: group.labels,
        drop_name: group.drop_name,
        values,
    }
}

/// Compensated sums, series by series for speed: the order of additions per instant is that of the series.
fn sums(members: &[&[f64]], instants: usize) -> Vec<f64> {
    let mut sums: Vec<Option<Compensated>> = vec![None; instants];
    for values in members {
        for (sum, value) in sums.iter_mut().zip(*values) {
            match sum {
                _ if is_stale(*value) => {}
                Some(sum) => sum.add(*value),
                None => *sum = Some(Compensated::of(*value)),
            }
        }
    }
    sums.iter()
        .map(|sum| sum.map_or(STALE, Compensated::value))
        .collect()
}

fn one(op: AggregateOp, present: &mut [f64], param: Option<f64>) -> f64 {
    let values = present.iter().copied();
    match op {
        AggregateOp::Avg => {
            let mut mean = Mean::new(present[0]);
            present[1..].iter().for_each(|value| mean.add(*value));
            mean.value()
        }
        AggregateOp::Max => values.fold(
            f64::NAN,
            |most, v| if most < v || most.is_nan() { v } else { most },
        ),
        AggregateOp::Min => values.fold(f64::NAN, |least, v| {
            if least > v || least.is_nan() {
                v
            } else {
                least
            }
        }),
        AggregateOp::Count => present.len() as f64,
        AggregateOp::Group => 1.0,
        AggregateOp::Stddev => variance(present).sqrt(),
        AggregateOp::Stdvar => variance(present),
        AggregateOp::Quantile => quantile(param.unwrap_or(f64::NAN), present),
        AggregateOp::Sum | AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::CountValues => {
            STALE
        }
    }
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut spread, mut count) = (
        values[0],
        if values[0].is_finite() { 0.0 } else { f64::NAN },
        1.0,
    );
    for value in &values[1..] {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        spread += delta * (value - mean);
    }
    spread / count
}

fn count_values(
    context: &Context<'_>,
    found: &Aggregate,
    columns: &[Column],
    groups: &[Group],
    label: &str,
    instants: usize,
) -> Result<Vec<Column>, EvalFailure> {
    let mut out: IndexMap<Labels, Vec<f64>> = IndexMap::new();
    for group in groups {
        for (at, value) in group
            .members
            .iter()
            .flat_map(|member| columns[*member].present())
        {
            let labelled = group.labels.with(label, &format_f(value, None));
            // `without` may take the new label away again.
            let labels = match found.without {
                true => key(found, &labelled),
                false => labelled,
            };
            if !out.contains_key(&labels) {
                context.room(out.len() + 1, instants)?;
            }
            let counts = out.entry(labels).or_insert_with(|| vec![STALE; instants]);
            counts[at] = if is_stale(counts[at]) {
                1.0
            } else {
                counts[at] + 1.0
            };
        }
    }
    Ok(out
        .into_iter()
        .map(|(labels, values)| Column {
            labels,
            drop_name: false,
            values,
        })
        .collect())
}

/// Refuses what is no count, unless nothing is asked for at all.
fn check_counts(param: &[f64]) -> Result<(), EvalFailure> {
    let nan = param.iter().any(|count| count.is_nan());
    let most = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = param.iter().copied().fold(f64::INFINITY, f64::min);
    let limit = i64::MAX as f64;
    if nan {
        return Err(EvalFailure::new("Parameter value is NaN"));
    }
    if most < 1.0 {
        return Ok(());
    }
    if least <= -limit {
        let least = format_g(least, None);
        return Err(EvalFailure::new(format!(
            "Scalar value {least} underflows int64"
        )));
    }
    if most >= limit {
        let most = format_g(most, None);
        return Err(EvalFailure::new(format!(
            "Scalar value {most} overflows int64"
        )));
    }
    Ok(())
}

/// `topk` and `bottomk`: keeps labels and names. For a single instant the answer is ordered by value, NaN last.
fn choose(
    columns: Vec<Column>,
    groups: &[Group],
    param: &[f64],
    bottom: bool,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    check_counts(param)?;
    let mut kept: Vec<Vec<f64>> = vec![vec![STALE; instants.len()]; columns.len()];
    let mut order: Vec<usize> = Vec::new();
    for group in groups {
        for at in 0..instants.len() {
            let count = param[at].max(0.0) as usize;
            let mut ranked: Vec<(usize, f64)> = group
                .members
                .iter()
                .map(|member| (*member, columns[*member].values[at]))
                .filter(|(_, value)| !is_stale(*value))
                .collect();
            // A stable sort: of equal values the earlier series stays.
            ranked.sort_by(|(_, a), (_, b)| match (a.is_nan(), b.is_nan()) {
                (false, false) if bottom => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
                (false, false) => b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal),
                (a_nan, b_nan) => a_nan.cmp(&b_nan),
            });
            for (member, value) in ranked.into_iter().take(count) {
                kept[member][at] = value;
                if instants.len() == 1 {
                    order.push(member);
                }
            }
        }
    }
    if instants.len() > 1 {
        order = (0..columns.len()).collect();
    }
    let mut columns: Vec<Option<Column>> = columns.into_iter().map(Some).collect();
    let chosen = order.into_iter().filter_map(|at| {
        columns[at].take().map(|column| Column {
            values: std::mem::take(&mut kept[at]),
            ..column
        })
    });
    Ok(chosen.collect())
}
