//! Recorded series as the input of a unit test: one value per evaluation, half an interval before it.
//!
//! A unit test knows no scrape offsets: its samples lie at multiples of an interval that begins with the first evaluation. A
//! sample that was scraped between two evaluations is put half way between them, so the evaluation that first saw it sees it
//! first, and every window and lookback of whole intervals holds exactly the samples that it held in the recording. Were it put
//! onto the evaluation itself, a window would begin with a sample on its edge, which Prometheus 3 leaves out and 2 counts.
//!
//! What is lost: the offset itself, and of two samples of one series between two evaluations the earlier one.

use crate::labels::Labels;
use crate::series::{SeriesId, SeriesStore};

/// Series on the half intervals of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Milliseconds from one evaluation to the next.
    pub interval_ms: i64,
    /// Labels, and a value per half interval from the first evaluation on; `None` where there is no sample, the stale marker
    /// where a series ended. Sorted by labels.
    pub series: Vec<(Labels, Vec<Option<f64>>)>,
}

impl Grid {
    /// The series for which `keep` is true, from the evaluation at `start_ms` to the one at `end_ms`, which are `interval_ms`
    /// apart. `value` may change a value, as instants need that count from elsewhere.
    pub fn of(
        store: &SeriesStore,
        (start_ms, end_ms): (i64, i64),
        interval_ms: i64,
        keep: impl Fn(&Labels) -> bool,
        value: impl Fn(&Labels, f64) -> f64,
    ) -> Grid {
        let slots = |series: SeriesId| {
            let labels = store.labels(series);
            let samples = store.samples(series, start_ms - 1, end_ms);
            let mut slots = vec![None; slot(end_ms - start_ms, interval_ms) + 1];
            for (t_ms, sample) in samples.t_ms.iter().zip(samples.values) {
                slots[slot(t_ms - start_ms, interval_ms)] = Some(value(labels, sample));
            }
            (labels.clone(), slots)
        };
        let wanted = store.all().filter(|series| keep(store.labels(*series)));
        let mut series: Vec<(Labels, Vec<Option<f64>>)> = wanted.map(slots).collect();
        series.retain(|(_, slots)| slots.iter().any(Option::is_some));
        series.sort_by(|a, b| a.0.cmp(&b.0));
        Grid {
            interval_ms,
            series,
        }
    }

    /// What a test runner makes of it: the first evaluation is at 0.
    pub fn store(&self) -> SeriesStore {
        let mut store = SeriesStore::new();
        for (labels, slots) in &self.series {
            for (at, value) in (0i64..).zip(slots) {
                if let Some(value) = value {
                    // Instants ascend within a series, and no label set stands twice.
                    let _ = store.append(labels, at * self.interval_ms / 2, *value);
                }
            }
        }
        store
    }
}

/// Half interval in which a sample is put: before the first evaluation that sees it, where there is one before it.
fn slot(since_start_ms: i64, interval_ms: i64) -> usize {
    let evaluation = -(-since_start_ms.max(0)).div_euclid(interval_ms.max(1));
    usize::try_from(evaluation * 2 - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::STALE;
    use crate::promql::{Answer, Options, Query, Source};

    const START_MS: i64 = 1_772_409_600_000;

    /// Scrapes at an offset, two of them missing, one stamped at an evaluation, and the end of the series.
    fn recorded() -> SeriesStore {
        let mut store = SeriesStore::new();
        let labels = Labels::of(&[("__name__", "x_total"), ("a", "b")]);
        for scrape in 0..60 {
            let (offset_ms, value) = match scrape {
                7 | 8 => continue,
                9 => (0, 9.0),
                59 => (3_217, STALE),
                _ => (3_217, f64::from(scrape)),
            };
            let t_ms = START_MS + i64::from(scrape) * 15_000 + offset_ms;
            store.append(&labels, t_ms, value).expect("in order");
        }
        store
    }

    fn grid(store: &SeriesStore) -> Grid {
        Grid::of(
            store,
            (START_MS, START_MS + 900_000),
            15_000,
            |_| true,
            |_, value| value,
        )
    }

    #[test]
    fn a_sample_stands_half_an_interval_before_the_evaluation_that_first_sees_it() {
        let grid = grid(&recorded());
        let [(_, slots)] = &grid.series[..] else {
            panic!("{:?}", grid.series)
        };
        assert_eq!(slots.len(), 120);
        let seen = |evaluation: usize| slots[evaluation * 2 - 1].map(f64::to_bits);
        let number = |value: f64| Some(value.to_bits());
        // The ninth scrape is stamped with the instant of an evaluation, which sees it.
        assert_eq!(
            [1, 2, 7, 8, 9, 10, 60].map(seen),
            [
                number(0.0),
                number(1.0),
                number(6.0),
                None,
                number(9.0),
                None,
                number(STALE)
            ]
        );
        assert!(slots.iter().step_by(2).all(Option::is_none));
    }

    #[test]
    fn windows_and_lookback_hold_what_they_held_in_the_recording() {
        let store = recorded();
        let moved = grid(&store).store();
        for text in [
            "x_total",
            "count_over_time(x_total[1m])",
            "sum_over_time(x_total[5m] offset 1m)",
            "x_total offset 4m",
            "max_over_time(rate(x_total[1m])[5m:15s]) > bool 0",
        ] {
            let query = Query::parse(text).expect("parses");
            let at = |store: &SeriesStore, t_ms| {
                let answer = query.at(&Source::new(store), &Options::default(), t_ms);
                match answer.expect("evaluated") {
                    Answer::Vector(columns) => columns.first().map(|column| column.values[0]),
                    other => panic!("{other:?}"),
                }
            };
            let mut present = 0;
            for t_ms in (0..=1_200_000).step_by(15_000) {
                let (was, is) = (at(&store, START_MS + t_ms), at(&moved, t_ms));
                assert_eq!(is, was, "{text} at {t_ms}");
                present += usize::from(is.is_some());
            }
            assert!(present > 20, "{text} {present}");
        }
    }
}
