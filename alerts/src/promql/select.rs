//! Reads series for selectors: which match, and the value at each instant.

use std::iter::Peekable;

use indexmap::IndexMap;

use super::plan::Selector;
use crate::labels::Labels;
use crate::number::{STALE, is_stale};
use crate::series::{Samples, SeriesId, SeriesStore};

/// Where a query reads: one or more stores, of which the first wins where two hold a sample of one series at one instant.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    stores: Vec<&'a SeriesStore>,
    /// Nothing after this instant is there yet.
    until_ms: i64,
}

/// A selected series, by store.
pub(crate) struct Found {
    pub labels: Labels,
    places: Vec<(usize, SeriesId)>,
}

impl<'a> Source<'a> {
    /// One recording.
    pub fn new(store: &'a SeriesStore) -> Self {
        Source {
            stores: vec![store],
            until_ms: i64::MAX,
        }
    }

    /// A recording and what was computed from it.
    pub fn layered(stores: Vec<&'a SeriesStore>) -> Self {
        Source {
            stores,
            until_ms: i64::MAX,
        }
    }

    /// As it was known at an instant: no sample after it.
    pub fn until(mut self, t_ms: i64) -> Self {
        self.until_ms = t_ms;
        self
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

    /// All series whose labels satisfy `keep`.
    pub(crate) fn matching(&self, keep: impl Fn(&Labels) -> bool) -> Vec<Found> {
        let mut out: IndexMap<&Labels, Vec<(usize, SeriesId)>> = IndexMap::new();
        for (at, store) in self.stores.iter().enumerate() {
            for series in store.all() {
                let labels = store.labels(series);
                if keep(labels) {
                    out.entry(labels).or_default().push((at, series));
                }
            }
        }
        out.into_iter()
            .map(|(labels, places)| Found {
                labels: labels.clone(),
                places,
            })
            .collect()
    }

    /// All samples of a series one by one, oldest first, stale markers included.
    pub(crate) fn stream(&self, found: &Found) -> impl Iterator<Item = (i64, f64)> + use<'_, 'a> {
        let mut parts: Vec<_> = found
            .places
            .iter()
            .map(|(at, series)| {
                let store = self.stores[*at];
                store.stream(*series).peekable()
            })
            .collect();
        std::iter::from_fn(move || {
            let next = |part: &mut _| Peekable::peek(part).map(|(t, _)| *t);
            let t_ms = parts.iter_mut().filter_map(next).min()?;
            let mut first = None;
            for part in &mut parts {
                let sample = part.next_if(|(t, _)| *t == t_ms);
                first = first.or(sample);
            }
            first
        })
    }

    /// Samples of a selected series after `from_ms` up to `to_ms`, stale markers included.
    pub(super) fn samples(&self, found: &Found, from_ms: i64, to_ms: i64) -> Samples {
        let to_ms = to_ms.min(self.until_ms);
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
        let fresh = next > 0 && samples.t_ms[next - 1] > t.saturating_sub(lookback_ms);
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
