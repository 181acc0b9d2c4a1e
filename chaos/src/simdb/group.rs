//! GROUP BY, aggregates and HAVING.
//!
//! Invariant: groups come in the order of their first rows; without GROUP BY there is exactly one group.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use ledger::ports::Value;

use super::{
    error::{PgError, Run, Stop},
    expr::compare,
    plan::{Agg, AggFunc, Grouping, SelectPlan},
    query::{Env, Output, all_true, each_joined, narrowed, project, sort_values},
};

struct State {
    value: Value,
    count: i64,
    seen: BTreeSet<Value>,
}

pub(super) fn grouped(plan: &SelectPlan, grouping: &Grouping, env: &mut Env<'_>) -> Run<Output> {
    // Groups in the order of their first row; the map finds them.
    let mut groups: Vec<(Vec<Value>, Vec<State>)> = Vec::new();
    let mut index: BTreeMap<Vec<Value>, usize> = BTreeMap::new();
    let fresh = || {
        grouping
            .aggs
            .iter()
            .map(|_| State {
                value: Value::Null,
                count: 0,
                seen: BTreeSet::new(),
            })
            .collect()
    };
    if grouping.keys.is_empty() {
        groups.push((Vec::new(), fresh()));
        index.insert(Vec::new(), 0);
    }
    each_joined(plan, env, &mut |env| {
        let keys = project(&grouping.keys, env)?;
        let at = match index.get(&keys) {
            Some(at) => *at,
            None => {
                index.insert(keys.clone(), groups.len());
                groups.push((keys, fresh()));
                groups.len() - 1
            }
        };
        for (agg, state) in grouping.aggs.iter().zip(&mut groups[at].1) {
            accumulate(agg, state, env)?;
        }
        Ok(true)
    })?;
    let mut out = Output::new();
    let mut seen = BTreeSet::new();
    for (mut row, states) in groups {
        row.extend(
            grouping
                .aggs
                .iter()
                .zip(states)
                .map(|(agg, state)| match agg.func {
                    AggFunc::CountRows | AggFunc::Count => Value::Int(state.count),
                    _ => state.value,
                }),
        );
        narrowed(env, |env| {
            env.rows[usize::from(grouping.slot)] = &row;
            if !all_true(&grouping.having, env)? {
                return Ok(());
            }
            let values = project(&plan.project, env)?;
            if plan.distinct && !seen.insert(values.clone()) {
                return Ok(());
            }
            let keys = if plan.ordered {
                Vec::new()
            } else {
                sort_values(&plan.order, env)?
            };
            out.push((keys, values));
            Ok(())
        })?;
    }
    Ok(out)
}

fn accumulate(agg: &Agg, state: &mut State, env: &mut Env<'_>) -> Run<()> {
    let value = match &agg.arg {
        None => {
            state.count += 1;
            return Ok(());
        }
        Some(arg) => arg.eval(env)?,
    };
    if matches!(value, Value::Null) || (agg.distinct && !state.seen.insert(value.clone())) {
        return Ok(());
    }
    state.count += 1;
    let overflow = || Stop::Error(PgError::new("22003", "bigint out of range"));
    state.value = match (agg.func, &state.value, value) {
        (AggFunc::Sum, Value::Int(sum), Value::Int(value)) => {
            Value::Int(sum.checked_add(value).ok_or_else(overflow)?)
        }
        (AggFunc::Sum, Value::Interval(sum), Value::Interval(value)) => {
            Value::Interval(sum.checked_add(value).ok_or_else(overflow)?)
        }
        (AggFunc::BoolAnd, Value::Bool(all), Value::Bool(value)) => Value::Bool(*all && value),
        (AggFunc::BoolOr, Value::Bool(any), Value::Bool(value)) => Value::Bool(*any || value),
        (AggFunc::Min, old, value) if compare(old, &value).is_some_and(Ordering::is_lt) => {
            old.clone()
        }
        (AggFunc::Max, old, value) if compare(old, &value).is_some_and(Ordering::is_gt) => {
            old.clone()
        }
        (_, _, value) => value,
    };
    Ok(())
}
