//! Recorded series: interned label sets, and samples that cost memory only where a value changes.
//!
//! A *column* is a list of instants shared by the series that are written together (one target's scrapes, one group's
//! evaluations). A series keeps *runs*: from this instant of its column on, this value. A run of the stale marker stands
//! for one marker and then nothing, until the next run.
//!
//! Invariant: the instants of a column grow strictly, and so do the starts of a series' runs; what [`SeriesStore::samples`]
//! returns is exactly what was written. A series that must follow other instants leaves its column for one of its own.

use std::sync::Arc;

use indexmap::IndexMap;
use thiserror::Error;

use crate::labels::Labels;
use crate::number::is_stale;

/// A series of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(u32);

/// A list of instants of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnId(u32);

/// A sample that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{labels}: sample at {t_ms} ms is not after the last one at {last_ms} ms")]
pub struct OutOfOrder {
    /// The series.
    pub labels: String,
    /// The refused instant.
    pub t_ms: i64,
    /// The last instant written.
    pub last_ms: i64,
}

/// Samples of one series, oldest first. Stale markers are among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Instants, milliseconds since the epoch.
    pub t_ms: Vec<i64>,
    /// Values, as many as instants.
    pub values: Vec<f64>,
}

#[derive(Debug)]
struct Entry {
    labels: Labels,
    column: u32,
    starts: Vec<u32>,
    values: Vec<f64>,
    /// Its column is its own for good.
    detached: bool,
}

/// All series of one recording.
#[derive(Debug, Default)]
pub struct SeriesStore {
    columns: Vec<Vec<i64>>,
    /// How many series follow each column.
    followers: Vec<u32>,
    series: Vec<Entry>,
    index: IndexMap<Labels, u32>,
    by_name: IndexMap<Arc<str>, Vec<SeriesId>>,
}

impl SeriesStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new list of instants.
    pub fn add_column(&mut self) -> ColumnId {
        self.columns.push(Vec::new());
        self.followers.push(0);
        ColumnId(self.columns.len() as u32 - 1)
    }

    /// Adds an instant to a column: every series of it that is present goes on with its value.
    pub fn advance(&mut self, column: ColumnId, t_ms: i64) -> Result<(), OutOfOrder> {
        let instants = &mut self.columns[column.0 as usize];
        match instants.last() {
            Some(last_ms) if *last_ms >= t_ms => Err(OutOfOrder {
                labels: "column".into(),
                t_ms,
                last_ms: *last_ms,
            }),
            _ => {
                instants.push(t_ms);
                Ok(())
            }
        }
    }

    /// The series of a label set, made in `column` when it is new. A series that exists keeps its own column: see
    /// [`Self::column_of`].
    pub fn intern(&mut self, labels: &Labels, column: ColumnId) -> SeriesId {
        if let Some(id) = self.index.get(labels) {
            return SeriesId(*id);
        }
        let id = SeriesId(self.series.len() as u32);
        self.followers[column.0 as usize] += 1;
        self.index.insert(labels.clone(), id.0);
        self.by_name
            .entry(Arc::from(labels.name()))
            .or_default()
            .push(id);
        self.series.push(Entry {
            labels: labels.clone(),
            column: column.0,
            starts: Vec::new(),
            values: Vec::new(),
            detached: false,
        });
        id
    }

    /// The series of a label set, if it was ever written.
    pub fn find(&self, labels: &Labels) -> Option<SeriesId> {
        self.index.get(labels).map(|id| SeriesId(*id))
    }

    /// The column whose instants a series follows.
    pub fn column_of(&self, series: SeriesId) -> ColumnId {
        ColumnId(self.series[series.0 as usize].column)
    }

    /// Writes a value (or the stale marker) at the last instant of the series' column.
    pub fn set(&mut self, series: SeriesId, value: f64) {
        let entry = &mut self.series[series.0 as usize];
        let Some(at) = self.columns[entry.column as usize].len().checked_sub(1) else {
            return;
        };
        let at = at as u32;
        if entry.starts.last() == Some(&at) {
            // Written twice at one instant: the later write counts.
            entry.starts.pop();
            entry.values.pop();
        }
        match entry.values.last() {
            Some(last) if last.to_bits() == value.to_bits() => {
                // An unchanged value goes on by itself, and so does absence.
            }
            None if is_stale(value) => {}
            _ => {
                entry.starts.push(at);
                entry.values.push(value);
            }
        }
    }

    /// Writes one sample at its own instant. The series gets instants of its own if it had to share some.
    pub fn append(
        &mut self,
        labels: &Labels,
        t_ms: i64,
        value: f64,
    ) -> Result<SeriesId, OutOfOrder> {
        self.extend(labels, [(t_ms, value)])
    }

    /// Writes samples, each at its own instant: what [`Self::append`] does, with one look for the series. Those before the one
    /// that is refused stay.
    pub fn extend(
        &mut self,
        labels: &Labels,
        samples: impl IntoIterator<Item = (i64, f64)>,
    ) -> Result<SeriesId, OutOfOrder> {
        let series = match self.find(labels) {
            Some(series) => series,
            None => {
                let column = self.add_column();
                self.intern(labels, column)
            }
        };
        if self.followers[self.column_of(series).0 as usize] > 1 {
            self.leave_column(series);
        }
        for (t_ms, value) in samples {
            self.push(series, t_ms, value)?;
        }
        Ok(series)
    }

    /// Gives a series instants of its own, whoever wrote it until now.
    pub(crate) fn detach(&mut self, series: SeriesId) {
        if !self.series[series.0 as usize].detached {
            self.leave_column(series);
            self.series[series.0 as usize].detached = true;
        }
    }

    /// The last sample of a series that has instants of its own.
    pub(crate) fn last(&self, series: SeriesId) -> Option<(i64, f64)> {
        let entry = &self.series[series.0 as usize];
        let last_ms = self.columns[entry.column as usize].last()?;
        Some((*last_ms, *entry.values.last()?))
    }

    /// A sample of a series that follows no other's instants.
    pub(crate) fn push(
        &mut self,
        series: SeriesId,
        t_ms: i64,
        value: f64,
    ) -> Result<(), OutOfOrder> {
        self.advance(self.column_of(series), t_ms)
            .map_err(|error| OutOfOrder {
                labels: self.labels(series).to_string(),
                ..error
            })?;
        let entry = &mut self.series[series.0 as usize];
        let at = self.columns[entry.column as usize].len() as u32 - 1;
        // Nothing may go on by itself here: the stale marker is written each time.
        let same = entry
            .values
            .last()
            .is_some_and(|last| last.to_bits() == value.to_bits() && !is_stale(value));
        if !same {
            entry.starts.push(at);
            entry.values.push(value);
        }
        Ok(())
    }

    fn leave_column(&mut self, series: SeriesId) {
        let samples = self.samples(series, i64::MIN, i64::MAX);
        let column = self.add_column();
        self.followers[column.0 as usize] = 1;
        let entry = &mut self.series[series.0 as usize];
        self.followers[entry.column as usize] -= 1;
        entry.column = column.0;
        entry.starts = (0..samples.values.len() as u32).collect();
        entry.values = samples.values;
        self.columns[column.0 as usize] = samples.t_ms;
    }

    /// Samples after `from_ms` (exclusive) up to `to_ms` (inclusive), stale markers included.
    pub fn samples(&self, series: SeriesId, from_ms: i64, to_ms: i64) -> Samples {
        let instants = &self.columns[self.series[series.0 as usize].column as usize];
        let before = |t_ms: i64| instants.partition_point(|t| *t <= t_ms);
        let most = before(to_ms).saturating_sub(before(from_ms));
        let mut out = Samples {
            t_ms: Vec::with_capacity(most),
            values: Vec::with_capacity(most),
        };
        for (instants, value) in self.runs(series, from_ms, to_ms) {
            out.t_ms.extend_from_slice(instants);
            out.values.resize(out.t_ms.len(), value);
        }
        out
    }

    /// Instant of a series' last sample, a stale marker included.
    pub fn last_ms(&self, series: SeriesId) -> Option<i64> {
        let entry = &self.series[series.0 as usize];
        let instants = &self.columns[entry.column as usize];
        let (start, value) = (*entry.starts.last()?, *entry.values.last()?);
        match is_stale(value) {
            true => instants.get(start as usize).copied(),
            false => instants.last().copied(),
        }
    }

    /// All samples one by one, oldest first, stale markers included.
    pub fn stream(&self, series: SeriesId) -> impl Iterator<Item = (i64, f64)> + use<'_> {
        self.runs(series, i64::MIN, i64::MAX)
            .flat_map(|(instants, value)| instants.iter().map(move |t_ms| (*t_ms, value)))
    }

    /// Each run's instants that are after `from_ms` and not after `to_ms`, and its value.
    fn runs(
        &self,
        series: SeriesId,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Iterator<Item = (&[i64], f64)> + use<'_> {
        let entry = &self.series[series.0 as usize];
        let instants = &self.columns[entry.column as usize];
        let low = instants.partition_point(|t| *t <= from_ms) as u32;
        let high = instants.partition_point(|t| *t <= to_ms) as u32;
        let first = entry
            .starts
            .partition_point(|start| *start <= low)
            .saturating_sub(1);
        let runs = (first..entry.starts.len()).take_while(move |run| entry.starts[*run] < high);
        runs.filter_map(move |run| {
            let (start, value) = (entry.starts[run], entry.values[run]);
            let end = if is_stale(value) {
                start + 1
            } else {
                entry.starts.get(run + 1).copied().unwrap_or(u32::MAX)
            };
            let part = instants.get(start.max(low) as usize..end.min(high) as usize)?;
            Some((part, value))
        })
    }

    /// Labels of a series.
    pub fn labels(&self, series: SeriesId) -> &Labels {
        &self.series[series.0 as usize].labels
    }

    /// Series with this metric name, in the order in which they were born.
    pub fn named(&self, name: &str) -> &[SeriesId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// All series, in the order in which they were born.
    pub fn all(&self) -> impl Iterator<Item = SeriesId> + use<> {
        (0..self.series.len() as u32).map(SeriesId)
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// True when nothing was written.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Bytes held by instants and runs, without label sets and index.
    pub fn sample_bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| column.capacity() * 8)
            .sum::<usize>()
            + self
                .series
                .iter()
                .map(|entry| entry.starts.capacity() * 4 + entry.values.capacity() * 8)
                .sum::<usize>()
    }
}

impl Samples {
    /// Drops stale markers: what a range selector sees.
    pub fn without_stale(mut self) -> Self {
        if self.values.iter().any(|value| is_stale(*value)) {
            let keep: Vec<bool> = self.values.iter().map(|value| !is_stale(*value)).collect();
            let mut at = keep.iter();
            self.t_ms.retain(|_| *at.next().unwrap_or(&true));
            self.values.retain(|value| !is_stale(*value));
        }
        self
    }

    /// Merges with samples of the same series from another store; `self` wins at equal instants.
    pub fn merged(self, other: Samples) -> Samples {
        let mut out = Samples::default();
        let (mut left, mut right) = (0, 0);
        while left < self.t_ms.len() || right < other.t_ms.len() {
            let take_left = right >= other.t_ms.len()
                || (left < self.t_ms.len() && self.t_ms[left] <= other.t_ms[right]);
            if take_left {
                if right < other.t_ms.len() && other.t_ms[right] == self.t_ms[left] {
                    right += 1;
                }
                out.t_ms.push(self.t_ms[left]);
                out.values.push(self.values[left]);
                left += 1;
            } else {
                out.t_ms.push(other.t_ms[right]);
                out.values.push(other.values[right]);
                right += 1;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::STALE;

    #[test]
    fn an_unchanged_value_goes_on_by_itself_and_costs_nothing() {
        let mut store = SeriesStore::new();
        let column = store.add_column();
        let series = store.intern(&Labels::of(&[("__name__", "a")]), column);
        for t in 0..1000 {
            store.advance(column, t * 15).expect("in order");
            store.set(series, if t < 500 { 1.0 } else { 2.0 });
        }
        assert_eq!(store.series[0].starts, [0, 500]);
        let samples = store.samples(series, 15 * 498, 15 * 501);
        assert_eq!(samples.t_ms, [15 * 499, 15 * 500, 15 * 501]);
        assert_eq!(samples.values, [1.0, 2.0, 2.0]);
    }

    #[test]
    fn a_stale_marker_is_one_sample_and_then_nothing() {
        let mut store = SeriesStore::new();
        let column = store.add_column();
        let series = store.intern(&Labels::of(&[("__name__", "a")]), column);
        for (t, value) in [
            (0, Some(1.0)),
            (1, Some(STALE)),
            (2, None),
            (3, None),
            (4, Some(5.0)),
            (5, None),
        ] {
            store.advance(column, t).expect("in order");
            if let Some(value) = value {
                store.set(series, value);
            }
        }
        let samples = store.samples(series, -1, 9);
        assert_eq!(samples.t_ms, [0, 1, 4, 5]);
        assert_eq!(samples.without_stale().values, [1.0, 5.0, 5.0]);
    }

    #[test]
    fn a_sample_with_its_own_instant_leaves_the_shared_column() {
        let mut store = SeriesStore::new();
        let column = store.add_column();
        let (a, b) = (
            Labels::of(&[("__name__", "a")]),
            Labels::of(&[("__name__", "b")]),
        );
        let (first, second) = (store.intern(&a, column), store.intern(&b, column));
        store.advance(column, 10).expect("in order");
        store.set(first, 1.0);
        store.set(second, 2.0);
        store.append(&a, 17, 3.0).expect("in order");
        store.advance(column, 20).expect("in order");
        assert_eq!(store.samples(first, 0, 99).t_ms, [10, 17]);
        assert_eq!(store.samples(second, 0, 99).t_ms, [10, 20]);
        assert!(store.append(&a, 17, 3.0).is_err());
    }
}
