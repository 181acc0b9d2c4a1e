//! Series that rules write.

use std::cmp::Ordering;

use indexmap::IndexMap;

use crate::labels::Labels;
use crate::number::STALE;
use crate::series::{ColumnId, SeriesId, SeriesStore};

/// Writes the samples of one rule's evaluations.
#[derive(Default)]
pub(super) struct Recorder {
    column: Option<ColumnId>,
    /// Series that were written in the last evaluation, with its instant.
    live: IndexMap<SeriesId, i64>,
}

impl Recorder {
    /// The evaluator lost its memory: what it wrote before ends there, without a stale marker, and does not go on by itself.
    pub fn forget(&mut self) {
        *self = Recorder::default();
    }

    /// Nothing was written in the last evaluation: without samples, another changes nothing.
    pub fn is_idle(&self) -> bool {
        self.live.is_empty()
    }

    /// Writes one evaluation's samples; what is missing since the last one goes stale.
    pub fn write<'l>(
        &mut self,
        store: &mut SeriesStore,
        t_ms: i64,
        samples: impl Iterator<Item = (&'l Labels, f64)>,
    ) {
        let column = *self.column.get_or_insert_with(|| store.add_column());
        // Instants of one rule ascend, so its column takes them.
        let _ = store.advance(column, t_ms);
        for (labels, value) in samples {
            let series = store.intern(labels, column);
            if put(store, column, series, t_ms, value) {
                self.live.insert(series, t_ms);
            }
        }
        self.live.retain(|series, last| {
            if *last != t_ms {
                put(store, column, *series, t_ms, STALE);
            }
            *last == t_ms
        });
    }
}

/// Writes a sample as Prometheus' storage does. Of a series that others write too, it takes none that is before the last
/// one, nor another value at the same instant: false, and the rule counts as not having written it.
fn put(store: &mut SeriesStore, column: ColumnId, series: SeriesId, t_ms: i64, value: f64) -> bool {
    if store.column_of(series) == column {
        store.set(series, value);
        return true;
    }
    store.detach(series);
    let Some((last_ms, last)) = store.last(series) else {
        return store.push(series, t_ms, value).is_ok();
    };
    match last_ms.cmp(&t_ms) {
        Ordering::Less => store.push(series, t_ms, value).is_ok(),
        Ordering::Equal => last.to_bits() == value.to_bits(),
        Ordering::Greater => false,
    }
}
