//! Series that rules write.

use indexmap::IndexMap;

use crate::labels::Labels;
use crate::number::STALE;
use crate::series::{ColumnId, SeriesId, SeriesStore};

/// Writes the samples of one rule's evaluations.
#[derive(Default)]
pub(super) struct Recorder {
    column: Option<ColumnId>,
    own: Option<(usize, ColumnId)>,
    /// Series that were written in the last evaluation, with its instant.
    live: IndexMap<(usize, SeriesId), i64>,
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
        stores: &mut Vec<SeriesStore>,
        t_ms: i64,
        samples: impl Iterator<Item = (&'l Labels, f64)>,
    ) {
        let column = *self.column.get_or_insert_with(|| stores[0].add_column());
        // Instants of one rule ascend, so its columns take them.
        let _ = stores[0].advance(column, t_ms);
        if let Some((at, column)) = self.own {
            let _ = stores[at].advance(column, t_ms);
        }
        for (labels, value) in samples {
            let shared = stores[0].intern(labels, column);
            let place = if stores[0].column_of(shared) == column {
                (0, shared)
            } else {
                let (at, column) = *self.own.get_or_insert_with(|| {
                    let mut store = SeriesStore::new();
                    let column = store.add_column();
                    let _ = store.advance(column, t_ms);
                    stores.push(store);
                    (stores.len() - 1, column)
                });
                (at, stores[at].intern(labels, column))
            };
            stores[place.0].set(place.1, value);
            self.live.insert(place, t_ms);
        }
        self.live.retain(|(at, series), last| {
            if *last != t_ms {
                stores[*at].set(*series, STALE);
            }
            *last == t_ms
        });
    }
}
