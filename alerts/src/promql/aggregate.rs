//! Aggregations: groups are fixed by labels once, values are folded per instant.

use indexmap::IndexMap;

use super::eval::{Column, Context, EvalFailure};
use super::plan::{Aggregate, AggregateOp, Node};
use super::quantile::quantile;
use super::range::{Mean, kahan};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, format_f, is_stale};

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
            return count_values(found, &columns, &groups, label, instants.len());
        }
        Some(node) => context.scalar(node, instants)?,
        None => Vec::new(),
    };
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
    let mut sum = vec![STALE; instants];
    let mut rest = vec![0.0; instants];
    for values in members {
        for at in 0..instants {
            let value = values[at];
            if is_stale(value) {
                continue;
            }
            if is_stale(sum[at]) {
                sum[at] = value;
            } else {
                (sum[at], rest[at]) = kahan(value, sum[at], rest[at]);
            }
        }
    }
    sum.iter()
        .zip(rest)
        .map(|(sum, rest)| if is_stale(*sum) { STALE } else { sum + rest })
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
    found: &Aggregate,
    columns: &[Column],
    groups: &[Group],
    label: &str,
    instants: usize,
) -> Result<Vec<Column>, EvalFailure> {
    if label.is_empty() {
        return Err(EvalFailure::new("invalid label name \"\" in count_values"));
    }
    let mut out: IndexMap<Labels, Vec<f64>> = IndexMap::new();
    for group in groups {
        for (at, value) in group
            .members
            .iter()
            .flat_map(|member| columns[*member].present())
        {
            let labels = key(found, &group.labels).with(label, &format_f(value, None));
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

/// `topk` and `bottomk`: keeps labels and names. For a single instant the answer is ordered by value, NaN last.
fn choose(
    columns: Vec<Column>,
    groups: &[Group],
    param: &[f64],
    bottom: bool,
    instants: &[i64],
) -> Result<Vec<Column>, EvalFailure> {
    if let Some(bad) = param
        .iter()
        .find(|param| param.is_nan() || param.abs() >= i64::MAX as f64)
    {
        return Err(EvalFailure::new(format!(
            "parameter value {bad} is not a whole number"
        )));
    }
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
