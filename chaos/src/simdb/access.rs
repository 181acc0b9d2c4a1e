//! Chooses how a table is read: through the index that fixes most columns, or as a scan.
//!
//! Invariant: what the access ensures is exactly what is left out of the scan's filter; a partial index is used only where the
//! conditions say, conjunct by conjunct, what its predicate says. No statistics: an index that fits is used.

use ledger::ports::Value;

use super::{
    catalog::{Index, IndexKind, Table},
    expr::{CmpOp, Expr},
    plan::{Access, Scan, SortKey},
    select::slots_of,
};

/// Picks the access of a table scan and splits its conditions; true when rows come in the wanted order.
pub fn choose(table: &Table, scan: &mut Scan, order: &[SortKey], limited: bool) -> bool {
    let mut best: Option<(Score, Candidate)> = None;
    for (at, index) in table.indexes.iter().enumerate() {
        if matches!(index.kind, IndexKind::Exclude { .. }) || !implied(&index.predicate, scan) {
            continue;
        }
        let candidate = matched(at, index, scan, order);
        let whole = index.unique() && candidate.equal.len() == index.columns.len();
        let bounds = usize::from(candidate.low.is_some()) + usize::from(candidate.high.is_some());
        let useful = candidate.equal.len() + bounds > 0
            || !index.predicate.is_empty()
            || (limited && candidate.ordered && !order.is_empty());
        let score = (
            whole,
            candidate.equal.len(),
            bounds,
            !index.predicate.is_empty(),
            candidate.ordered,
        );
        if useful && best.as_ref().is_none_or(|(known, _)| score > *known) {
            best = Some((score, candidate));
        }
    }
    let Some((_, candidate)) = best else {
        scan.filter = scan.recheck.clone();
        return false;
    };
    scan.filter = scan
        .recheck
        .iter()
        .enumerate()
        .filter(|(at, _)| !candidate.ensured.contains(at))
        .map(|(_, conjunct)| conjunct.clone())
        .collect();
    scan.access = Access::Index {
        index: candidate.index,
        equal: candidate.equal,
        low: candidate.low,
        high: candidate.high,
        backward: candidate.backward,
    };
    candidate.ordered
}

/// All columns of a unique index, columns fixed, bounds, partial, in order.
type Score = (bool, usize, usize, bool, bool);

struct Candidate {
    index: usize,
    equal: Vec<Expr>,
    low: Option<(Expr, bool)>,
    high: Option<(Expr, bool)>,
    /// Positions of the conjuncts that the access ensures.
    ensured: Vec<usize>,
    ordered: bool,
    backward: bool,
}

fn matched(at: usize, index: &Index, scan: &Scan, order: &[SortKey]) -> Candidate {
    let mut found = Candidate {
        index: at,
        equal: Vec::new(),
        low: None,
        high: None,
        ensured: Vec::new(),
        ordered: false,
        backward: false,
    };
    for column in &index.columns {
        let equal = scan.recheck.iter().enumerate().find_map(|(at, conjunct)| {
            let (op, other) = comparison(conjunct, scan.slot, *column)?;
            (op == CmpOp::Eq).then(|| (at, other.clone()))
        });
        match equal {
            Some((at, value)) => {
                found.ensured.push(at);
                found.equal.push(value);
            }
            None => {
                bounds(&mut found, scan, *column);
                break;
            }
        }
    }
    let columns = &index.columns[found.equal.len()..];
    let same = |descending: bool| {
        order.len() <= columns.len()
            && order.iter().zip(columns).all(|(key, column)| {
                key.descending == descending
                    && key.nulls_first == descending
                    && key.expr == Expr::Col(scan.slot, *column)
            })
    };
    found.backward = !order.is_empty() && same(true);
    found.ordered = same(false) || found.backward;
    found
}

fn bounds(found: &mut Candidate, scan: &Scan, column: u16) {
    for (at, conjunct) in scan.recheck.iter().enumerate() {
        let Some((op, other)) = comparison(conjunct, scan.slot, column) else {
            continue;
        };
        match op {
            CmpOp::Gt | CmpOp::Ge if found.low.is_none() => {
                found.low = Some((other.clone(), op == CmpOp::Ge))
            }
            CmpOp::Lt | CmpOp::Le if found.high.is_none() => {
                found.high = Some((other.clone(), op == CmpOp::Le))
            }
            _ => continue,
        }
        found.ensured.push(at);
    }
}

/// `column op other`, turned round if need be, where the other side does not depend on this table.
fn comparison(conjunct: &Expr, slot: u16, column: u16) -> Option<(CmpOp, &Expr)> {
    let Expr::Cmp(op, a, b) = conjunct else {
        return None;
    };
    let own = Expr::Col(slot, column);
    if **a == own && slots_of(b) & (1 << slot) == 0 {
        return Some((*op, b));
    }
    if **b == own && slots_of(a) & (1 << slot) == 0 {
        return Some((op.flip(), a));
    }
    None
}

fn implied(predicate: &[Expr], scan: &Scan) -> bool {
    predicate.iter().all(|wanted| {
        let mut wanted = wanted.clone();
        move_to(&mut wanted, scan.slot);
        scan.recheck.iter().any(|given| implies(given, &wanted))
    })
}

/// Index predicates speak of slot 0.
fn move_to(expr: &mut Expr, slot: u16) {
    if let Expr::Col(own, _) = expr {
        *own = slot;
    }
    expr.each_child(&mut |child| move_to(child, slot));
}

/// Whether whoever satisfies `given` satisfies `wanted`; false when that is not plain to see.
fn implies(given: &Expr, wanted: &Expr) -> bool {
    if given == wanted {
        return true;
    }
    let constants = |list: &[Expr]| {
        list.iter()
            .all(|item| matches!(item, Expr::Const(value) if *value != Value::Null))
    };
    match (given, wanted) {
        (Expr::Cmp(CmpOp::Eq, a, b), Expr::In(probe, list, false)) => {
            a == probe && list.contains(b)
        }
        (Expr::In(a, few, false), Expr::In(b, many, false)) => {
            a == b && constants(few) && few.iter().all(|item| many.contains(item))
        }
        (Expr::Cmp(_, a, b), Expr::IsNull(inner, true)) => a == inner || b == inner,
        (Expr::In(a, _, false), Expr::IsNull(inner, true)) => a == inner,
        _ => false,
    }
}
