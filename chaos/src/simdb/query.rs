//! Runs compiled queries over one snapshot: nested loops, grouping, order, limit.
//!
//! Invariant: reading takes no lock and changes no row, so a query over a snapshot never waits (only a blocking function in its
//! select list may). Each row met is counted, for the statement's cost.

use std::{cmp::Ordering, collections::BTreeSet, ops::Bound};

use ledger::ports::Value;

use super::{
    catalog::Catalog,
    core::Aux,
    error::{PgError, Run},
    expr::{Expr, SLOTS, compare},
    group::grouped,
    heap::{Heap, Row, Snapshot, Stamp, Store, index_key, row_of},
    key,
    plan::{Access, Memo, Scan, SelectPlan, SortKey, Source},
    session::Session,
};

/// Everything that an expression may look at.
pub struct Env<'a> {
    pub rows: [&'a [Value]; SLOTS],
    pub params: &'a [Value],
    pub once: &'a mut [Option<Value>],
    pub memos: &'a mut [Option<Memo>],
    pub store: &'a Store,
    pub catalog: &'a Catalog,
    pub snapshot: Snapshot,
    pub session: &'a mut Session,
    pub aux: &'a mut Aux,
}

/// A row that a statement is to lock: its number and the version that the snapshot saw.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub row: u32,
    pub data: Row,
    pub stamp: Stamp,
}

/// What each joined row is handed to; false stops the query.
type Sink<'s, 'a> = &'s mut dyn FnMut(&mut Env<'a>) -> Run<bool>;

/// Whether all conditions are true.
pub fn all_true(conditions: &[Expr], env: &mut Env<'_>) -> Run<bool> {
    for condition in conditions {
        if condition.test(env)? != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs the joins of a plan.
fn joined<'a>(
    plan: &'a SelectPlan,
    level: usize,
    env: &mut Env<'a>,
    sink: Sink<'_, 'a>,
) -> Run<bool> {
    let Some(scan) = plan.scans.get(level) else {
        return sink(env);
    };
    let slot = usize::from(scan.slot);
    let mut next = |env: &mut Env<'a>, data: &'a [Value]| -> Run<bool> {
        env.rows[slot] = data;
        if !all_true(&scan.filter, env)? {
            return Ok(true);
        }
        joined(plan, level + 1, env, sink)
    };
    match &scan.source {
        Source::Table(id, None) => {
            let heap = env.store.heap(*id);
            each_row(heap, *id, scan, env, &mut |env, _, data, _| next(env, data))
        }
        Source::Table(id, Some(partition)) => {
            let heap = env.store.heap(*id);
            let parts = env
                .catalog
                .tables
                .get(id)
                .and_then(|table| table.partitions.as_ref());
            each_row(heap, *id, scan, env, &mut |env, _, data, _| {
                if parts.and_then(|parts| parts.route(data)) != Some(*partition) {
                    return Ok(true);
                }
                next(env, data)
            })
        }
        Source::ControlCheckpoint | Source::Series(..) | Source::Derived(_) => {
            Err(PgError::internal("a computed source was not materialised").into())
        }
    }
}

/// A handed-out row: number, values, begin of its version.
type RowSink<'s, 'a> = &'s mut dyn FnMut(&mut Env<'a>, u32, &'a Row, Stamp) -> Run<bool>;

/// The rows of one table that its access path delivers and the snapshot sees.
fn each_row<'a>(
    heap: &'a Heap,
    table: u32,
    scan: &'a Scan,
    env: &mut Env<'a>,
    sink: RowSink<'_, 'a>,
) -> Run<bool> {
    let Access::Index {
        index,
        equal,
        low,
        high,
        backward,
    } = &scan.access
    else {
        for (row, chain) in heap.rows.iter().enumerate() {
            let Some(chain) = chain else { continue };
            env.aux.visited += 1;
            if let Some((data, stamp)) = chain.visible(&env.snapshot)
                && !sink(env, row as u32, data, stamp)?
            {
                return Ok(false);
            }
        }
        return Ok(true);
    };
    let Some((from, to)) = bounds(equal, low.as_ref(), high.as_ref(), env)? else {
        return Ok(true);
    };
    let upper = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    if to.as_ref().is_some_and(|to| *to < from) {
        return Ok(true);
    }
    let mut range = heap.indexes[*index]
        .1
        .range::<[u8], _>((Bound::Included(&from[..]), upper));
    loop {
        let entry = if *backward {
            range.next_back()
        } else {
            range.next()
        };
        let Some(entry) = entry else { return Ok(true) };
        env.aux.visited += 1;
        let row = row_of(entry);
        let Some(chain) = heap.chain(row) else {
            continue;
        };
        let Some((data, stamp)) = chain.visible(&env.snapshot) else {
            continue;
        };
        if !chain.older.is_empty() {
            // Several versions: this entry may be another version's.
            let own = env
                .catalog
                .tables
                .get(&table)
                .and_then(|table| index_key(&table.indexes[*index], data, row));
            if own.as_ref() != Some(entry) {
                continue;
            }
        }
        if !sink(env, row, data, stamp)? {
            return Ok(false);
        }
    }
}

/// First key and end of an index range; `None` when a bound is NULL: nothing can match.
#[expect(clippy::type_complexity, reason = "a range of byte strings, used once")]
fn bounds(
    equal: &[Expr],
    low: Option<&(Expr, bool)>,
    high: Option<&(Expr, bool)>,
    env: &mut Env<'_>,
) -> Run<Option<(Vec<u8>, Option<Vec<u8>>)>> {
    let mut from = Vec::with_capacity(48);
    for value in equal {
        let value = value.eval(env)?;
        if matches!(value, Value::Null) {
            return Ok(None);
        }
        key::push(&mut from, &value);
    }
    let mut to = from.clone();
    let mut bounded = true;
    match high {
        Some((value, inclusive)) => {
            let value = value.eval(env)?;
            if matches!(value, Value::Null) {
                return Ok(None);
            }
            key::push(&mut to, &value);
            if *inclusive {
                bounded = key::advance(&mut to);
            }
        }
        None if low.is_some() => key::push_nulls_start(&mut to),
        None => bounded = key::advance(&mut to),
    }
    if let Some((value, inclusive)) = low {
        let value = value.eval(env)?;
        if matches!(value, Value::Null) {
            return Ok(None);
        }
        key::push(&mut from, &value);
        if !*inclusive {
            key::advance(&mut from);
        }
    }
    Ok(Some((from, bounded.then_some(to))))
}

/// Evaluates what PostgreSQL's estimation would: its errors show even when no row is met.
pub fn eager(plan: &SelectPlan, env: &mut Env<'_>) -> Run<()> {
    for expr in &plan.eager {
        expr.eval(env)?;
    }
    Ok(())
}

/// The rows that an UPDATE, DELETE or SELECT … FOR UPDATE is to lock, in order.
pub fn candidates<'a>(plan: &'a SelectPlan, env: &mut Env<'a>) -> Run<Vec<Candidate>> {
    eager(plan, env)?;
    let mut found: Vec<(Vec<Value>, Candidate)> = Vec::new();
    let (Some(scan), true) = (plan.scans.first(), all_true(&plan.guard, env)?) else {
        return Ok(Vec::new());
    };
    let Source::Table(id, None) = scan.source else {
        return Err(PgError::internal("locking something that is no table").into());
    };
    let heap = env.store.heap(id);
    let slot = usize::from(scan.slot);
    each_row(heap, id, scan, env, &mut |env, row, data, stamp| {
        env.rows[slot] = data;
        if all_true(&scan.filter, env)? {
            let keys = if plan.ordered {
                Vec::new()
            } else {
                sort_values(&plan.order, env)?
            };
            found.push((
                keys,
                Candidate {
                    row,
                    data: data.clone(),
                    stamp,
                },
            ));
        }
        Ok(true)
    })?;
    if !plan.ordered {
        found.sort_by(|(a, _), (b, _)| sort_order(&plan.order, a, b));
    }
    Ok(found.into_iter().map(|(_, candidate)| candidate).collect())
}

pub(super) fn sort_values(order: &[SortKey], env: &mut Env<'_>) -> Run<Vec<Value>> {
    order.iter().map(|key| key.expr.eval(env)).collect()
}

fn sort_order(order: &[SortKey], a: &[Value], b: &[Value]) -> Ordering {
    for (at, key) in order.iter().enumerate() {
        let one = match (&a[at], &b[at]) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) if key.nulls_first => Ordering::Less,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) if key.nulls_first => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (a, b) if key.descending => b.cmp(a),
            (a, b) => a.cmp(b),
        };
        if one.is_ne() {
            return one;
        }
    }
    Ordering::Equal
}

/// LIMIT or OFFSET: a number of rows.
pub fn count_of(expr: Option<&Expr>, what: &str, env: &mut Env<'_>) -> Run<Option<usize>> {
    match expr.map(|expr| expr.eval(env)).transpose()? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Int(count)) if count >= 0 => {
            Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)))
        }
        Some(_) => {
            let state = if what == "LIMIT" { "2201W" } else { "2201X" };
            Err(PgError::new(state, format!("{what} must not be negative")).into())
        }
    }
}

/// Runs a query to its end. `stop_at` bounds the rows wanted by the caller (EXISTS wants one).
pub fn rows(plan: &SelectPlan, env: &mut Env<'_>, stop_at: usize) -> Run<Vec<Vec<Value>>> {
    eager(plan, env)?;
    let limit = count_of(plan.limit.as_ref(), "LIMIT", env)?;
    let offset = count_of(plan.offset.as_ref(), "OFFSET", env)?.unwrap_or(0);
    let wanted = limit
        .unwrap_or(usize::MAX)
        .min(stop_at)
        .saturating_add(offset);
    let mut out = match &plan.grouping {
        Some(grouping) => grouped(plan, grouping, env)?,
        None => plain(
            plan,
            env,
            if plan.ordered || plan.order.is_empty() {
                wanted
            } else {
                usize::MAX
            },
        )?,
    };
    if !plan.ordered && !plan.order.is_empty() {
        out.sort_by(|(a, _), (b, _)| sort_order(&plan.order, a, b));
    }
    Ok(out
        .into_iter()
        .map(|(_, row)| row)
        .skip(offset)
        .take(wanted.saturating_sub(offset))
        .collect())
}

/// Sort values and output values of each row.
pub(super) type Output = Vec<(Vec<Value>, Vec<Value>)>;

fn plain(plan: &SelectPlan, env: &mut Env<'_>, wanted: usize) -> Run<Output> {
    let mut out = Output::new();
    let mut seen = BTreeSet::new();
    if wanted == 0 {
        return Ok(out);
    }
    each_joined(plan, env, &mut |env| {
        let row = project(&plan.project, env)?;
        if plan.distinct && !seen.insert(row.clone()) {
            return Ok(true);
        }
        let keys = if plan.ordered {
            Vec::new()
        } else {
            sort_values(&plan.order, env)?
        };
        out.push((keys, row));
        Ok(out.len() < wanted)
    })?;
    Ok(out)
}

pub fn project(list: &[Expr], env: &mut Env<'_>) -> Run<Vec<Value>> {
    let mut row = Vec::with_capacity(list.len());
    for expr in list {
        row.push(expr.eval(env)?);
    }
    Ok(row)
}

/// Computed sources are filled in first; their rows live in this frame, the environment is narrowed to it.
pub(super) fn each_joined(
    plan: &SelectPlan,
    env: &mut Env<'_>,
    sink: &mut dyn FnMut(&mut Env<'_>) -> Run<bool>,
) -> Run<()> {
    if !all_true(&plan.guard, env)? {
        return Ok(());
    }
    let computed = plan
        .scans
        .iter()
        .position(|scan| !matches!(scan.source, Source::Table(..)));
    let Some(at) = computed else {
        narrowed(env, |env| {
            joined(plan, 0, env, &mut |env| sink(env)).map(|_| ())
        })?;
        return Ok(());
    };
    if plan.scans.len() > 1 {
        return Err(PgError::unsupported(
            "joining a function or a subquery in FROM with something else",
        )
        .into());
    }
    let scan = &plan.scans[at];
    let made = computed_rows(&scan.source, env)?;
    env.aux.visited += made.len() as u64;
    for row in &made {
        let go_on = narrowed(env, |env| {
            env.rows[usize::from(scan.slot)] = row;
            if all_true(&scan.filter, env)? {
                sink(env)
            } else {
                Ok(true)
            }
        })?;
        if !go_on {
            break;
        }
    }
    Ok(())
}

/// Runs `body` with an environment whose rows may live shorter than the caller's.
pub fn narrowed<'b, T>(env: &'b mut Env<'_>, body: impl FnOnce(&mut Env<'b>) -> Run<T>) -> Run<T> {
    let mut inner = Env {
        rows: env.rows,
        params: env.params,
        once: &mut *env.once,
        memos: &mut *env.memos,
        store: env.store,
        catalog: env.catalog,
        snapshot: env.snapshot,
        session: &mut *env.session,
        aux: &mut *env.aux,
    };
    body(&mut inner)
}

fn computed_rows(source: &Source, env: &mut Env<'_>) -> Run<Vec<Vec<Value>>> {
    match source {
        Source::ControlCheckpoint => Ok(vec![vec![Value::Int(env.aux.timeline.into())]]),
        Source::Series(from, to) => match (from.eval(env)?, to.eval(env)?) {
            (Value::Int(from), Value::Int(to)) if to.saturating_sub(from) <= 1_000_000 => {
                Ok((from..=to).map(|at| vec![Value::Int(at)]).collect())
            }
            (Value::Int(_), Value::Int(_)) => {
                Err(PgError::unsupported("more than a million rows of generate_series()").into())
            }
            _ => Ok(Vec::new()),
        },
        Source::Derived(plan) => rows(plan, env, usize::MAX),
        Source::Table(..) => Err(PgError::internal("a table is not computed").into()),
    }
}

/// A scalar subquery: its only row's only column, or NULL.
pub fn scalar(plan: &SelectPlan, env: &mut Env<'_>) -> Run<Value> {
    let mut found = rows(plan, env, 2)?;
    if found.len() > 1 {
        return Err(PgError::new(
            "21000",
            "more than one row returned by a subquery used as an expression",
        )
        .into());
    }
    Ok(found
        .pop()
        .and_then(|mut row| row.pop())
        .unwrap_or(Value::Null))
}

/// EXISTS.
pub fn exists(plan: &SelectPlan, env: &mut Env<'_>) -> Run<bool> {
    let Some(hash) = &plan.hash else {
        return Ok(!rows(plan, env, 1)?.is_empty());
    };
    let memo = usize::from(hash.memo);
    if env.memos[memo].is_none() {
        let mut values = Memo::new();
        eager(plan, env)?;
        each_joined(plan, env, &mut |env| {
            let row = project(&hash.inner, env)?;
            if !row.contains(&Value::Null) {
                values.insert(row);
            }
            Ok(true)
        })?;
        env.memos[memo] = Some(values);
    }
    let probe = project(&hash.outer, env)?;
    Ok(env.memos[memo]
        .as_ref()
        .is_some_and(|values| values.contains(&probe)))
}

/// x IN (subquery).
pub fn contains(plan: &SelectPlan, probe: &Value, env: &mut Env<'_>) -> Run<Option<bool>> {
    let found = rows(plan, env, usize::MAX)?;
    if found.is_empty() {
        return Ok(Some(false));
    }
    let mut unknown = false;
    for row in &found {
        match row.first().and_then(|value| compare(value, probe)) {
            Some(Ordering::Equal) => return Ok(Some(true)),
            None => unknown = true,
            Some(_) => {}
        }
    }
    Ok(if unknown { None } else { Some(false) })
}
