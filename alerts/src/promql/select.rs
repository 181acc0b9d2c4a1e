//! Reads series for selectors: which match, and the value at each instant.

use indexmap::IndexMap;

use super::plan::Selector;
use crate::labels::Labels;
use crate::number::{STALE, is_stale};
use crate::series::{Samples, SeriesId, SeriesStore};

/// Where a query reads: one or more stores, of which the first wins where two hold a sample of one series at one instant.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    stores: Vec<&'a SeriesStore>,
}

/// A selected series, by store.
pub(super) struct Found {
    pub labels: Labels,
    places: Vec<(usize, SeriesId)>,
}

impl<'a> Source<'a> {
    /// One recording.
    pub fn new(store: &'a SeriesStore) -> Self {
        Source {
            stores: vec![store],
        }
    }

    /// A recording and what was computed from it.
    pub fn layered(stores: Vec<&'a SeriesStore>) -> Self {
        Source { stores }
    }

    pub(super) fn select(&self, selector: &Selector) -> Vec<Found> {
        let mut out: Vec<Found> = Vec::new();
        let mut seen: IndexMap<Labels, usize> = IndexMap::new();
        for (at, store) in self.stores.iter().enumerate() {
            let every: Vec<SeriesId>;
            let candidates = match selector.metric() {
                Some(name) => store.named(name),
                None => {
                    every = store.all().collect();
                    &every
                }
            };
            for series in candidates {
                let labels = store.labels(*series);
                if !selector.accepts(labels) {
                    continue;
                }
                match seen.get(labels) {
                    Some(place) => out[*place].places.push((at, *series)),
                    None => {
                        if self.stores.len() > 1 {
                            seen.insert(labels.clone(), out.len());
                        }
                        out.push(Found {
                            labels: labels.clone(),
                            places: vec![(at, *series)],
                        });
                    }
                }
            }
        }
        out
    }

    /// Samples of a selected series after `from_ms` up to `to_ms`, stale markers included.
    pub(super) fn samples(&self, found: &Found, from_ms: i64, to_ms: i64) -> Samples {
        let mut parts = found
            .places
            .iter()
            .map(|(at, series)| self.stores[*at].samples(*series, from_ms, to_ms));
        let first = parts.next().unwrap_or_default();
        parts.fold(first, Samples::merged)
    }
}

/// The latest sample within `lookback_ms` before each instant (left-open), as values and as instants of the samples.
/// A stale marker hides the series. The instants must not decrease.
pub(super) fn latest(
    samples: &Samples,
    instants: &[i64],
    lookback_ms: i64,
) -> (Vec<f64>, Vec<i64>) {
    let mut values = Vec::with_capacity(instants.len());
    let mut times = Vec::with_capacity(instants.len());
    let mut next = 0;
    for t in instants {
        while next < samples.t_ms.len() && samples.t_ms[next] <= *t {
            next += 1;
        }
        let fresh = next > 0 && samples.t_ms[next - 1] > *t - lookback_ms;
        let value = if fresh {
            samples.values[next - 1]
        } else {
            STALE
        };
        values.push(value);
        times.push(if is_stale(value) {
            0
        } else {
            samples.t_ms[next - 1]
        });
    }
    (values, times)
}
