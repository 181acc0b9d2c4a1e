//! The shape of every vector: a column per label set.
//!
//! Invariant: of the columns that [`distinct`] returns no two have equal labels, as Prometheus demands of each instant.

use indexmap::IndexMap;

use super::eval::EvalFailure;
use crate::labels::Labels;
use crate::number::is_stale;

/// One label set with one number per instant; the stale marker where it is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Labels of the result.
    pub labels: Labels,
    /// The metric's name goes at the end of the query (only with delayed names).
    pub(crate) drop_name: bool,
    /// One value per instant, absent ones as the stale marker.
    pub values: Vec<f64>,
}

impl Column {
    /// Present values: index of the instant, value.
    pub fn present(&self) -> impl Iterator<Item = (usize, f64)> {
        self.values
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, value)| !is_stale(*value))
    }
}

/// Merges columns of equal labels that never meet; an overlap is Prometheus' error.
pub(super) fn distinct(columns: Vec<Column>) -> Result<Vec<Column>, EvalFailure> {
    let mut seen: IndexMap<(Labels, bool), usize> = IndexMap::with_capacity(columns.len());
    let mut out: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let at = *seen
            .entry((column.labels.clone(), column.drop_name))
            .or_insert(out.len());
        let Some(kept) = out.get_mut(at) else {
            out.push(column);
            continue;
        };
        for (have, value) in kept.values.iter_mut().zip(column.values) {
            if is_stale(value) {
                continue;
            }
            if !is_stale(*have) {
                return Err(EvalFailure::new(
                    "vector cannot contain metrics with the same labelset",
                ));
            }
            *have = value;
        }
    }
    Ok(out)
}
