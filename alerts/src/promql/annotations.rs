//! What an answer is worth: warnings and infos that Prometheus gives beside a result.
//!
//! Invariant: a note never changes an answer, and an evaluation that nobody asks for notes pays nothing for them. Texts are
//! Prometheus' own, with the place in the expression as `(line:column)` at their end.

use std::cell::RefCell;

use indexmap::IndexMap;

use super::calendar::civil;
use super::plan::line_and_column;
use crate::number::{format_g, is_stale};

/// Warnings and infos of one evaluation, in Prometheus' words: each distinct text once, in the order of its first occurrence and
/// with the place of its last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The answer may be wrong: `PromQL warning: …`.
    pub warnings: Vec<String>,
    /// The answer may not be what was meant: `PromQL info: …`.
    pub infos: Vec<String>,
}

/// Counter names end like this; anything else is suspicious under `rate`.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// Takes notes, if anybody asked for them.
#[derive(Debug, Default)]
pub(super) struct Notes(Option<RefCell<Taken>>);

#[derive(Debug)]
struct Taken {
    query: String,
    /// Where in the query, by text.
    warnings: IndexMap<String, usize>,
    infos: IndexMap<String, usize>,
    /// By text, which repairs of buckets were needed, and where in the query.
    repairs: IndexMap<String, (usize, Repair)>,
}

/// Buckets of a classic histogram that had to be made monotonic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Repair {
    /// First and last instant.
    pub t_ms: (i64, i64),
    /// Lowest and highest bound that was changed.
    pub bounds: (f64, f64),
    /// The largest difference.
    pub most: f64,
    pub samples: usize,
}

impl Repair {
    fn merge(&mut self, other: Repair) {
        self.t_ms = (self.t_ms.0.min(other.t_ms.0), self.t_ms.1.max(other.t_ms.1));
        self.bounds = (
            self.bounds.0.min(other.bounds.0),
            self.bounds.1.max(other.bounds.1),
        );
        self.most = self.most.max(other.most);
        self.samples += other.samples;
    }
}

/// The metric's name behind a text, where it is known.
fn for_metric(text: String, metric: &str) -> String {
    match metric {
        "" => text,
        metric => format!("{text} for metric name {metric:?}"),
    }
}

fn rfc3339(t_ms: i64) -> String {
    let seconds = t_ms.div_euclid(1000);
    let (year, month, day) = civil(seconds);
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl Notes {
    /// Notes on this query.
    pub fn wanted(query: &str) -> Self {
        Notes(Some(RefCell::new(Taken {
            query: query.to_string(),
            warnings: IndexMap::new(),
            infos: IndexMap::new(),
            repairs: IndexMap::new(),
        })))
    }

    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub fn into_annotations(self) -> Annotations {
        let Some(taken) = self.0 else {
            return Annotations::default();
        };
        let taken = taken.into_inner();
        let placed = |notes: IndexMap<String, usize>| -> Vec<String> {
            let notes = notes.into_iter();
            notes
                .map(|(text, at)| format!("{text} ({})", line_and_column(&taken.query, at)))
                .collect()
        };
        let mut annotations = Annotations {
            warnings: placed(taken.warnings),
            infos: placed(taken.infos),
        };
        for (text, (at, repair)) in taken.repairs {
            let place = line_and_column(&taken.query, at);
            annotations.infos.push(format!(
                "{text}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({place})",
                format_g(repair.bounds.0, None),
                format_g(repair.bounds.1, None),
                format_g(repair.most, Some(2)),
                repair.samples,
                rfc3339(repair.t_ms.0),
                rfc3339(repair.t_ms.1),
            ));
        }
        annotations
    }

    fn warn(&self, at: usize, text: impl FnOnce() -> String) {
        self.take(at, "warning", text, |found| &mut found.warnings);
    }

    fn take(
        &self,
        at: usize,
        kind: &str,
        text: impl FnOnce() -> String,
        list: impl FnOnce(&mut Taken) -> &mut IndexMap<String, usize>,
    ) {
        let Some(taken) = &self.0 else {
            return;
        };
        let taken = &mut *taken.borrow_mut();
        list(taken).insert(format!("PromQL {kind}: {}", text()), at);
    }

    /// `sort` does nothing for a range of instants.
    pub fn sort_in_range(&self, at: usize) {
        self.warn(at, || {
            "sort is ineffective for range queries since results are always ordered by labels"
                .into()
        });
    }

    /// Warns of a quantile that is none.
    pub fn quantile(&self, at: usize, q: f64) {
        if !(0.0..=1.0).contains(&q) {
            self.warn(at, || {
                let q = format_g(q, None);
                format!("quantile value should be between 0 and 1, got {q}")
            });
        }
    }

    /// Warns of the parameters of a `quantile` aggregation as a whole.
    pub fn quantiles(&self, at: usize, params: &[f64]) {
        if !self.are_wanted() {
            return;
        }
        if params.iter().any(|q| q.is_nan()) {
            // The largest and the smallest are then unknown.
            return self.quantile(at, f64::NAN);
        }
        let most = params.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = params.iter().copied().fold(f64::INFINITY, f64::min);
        if most > 1.0 {
            self.quantile(at, most);
        }
        if least < 0.0 {
            self.quantile(at, least);
        }
    }

    pub fn bad_bucket(&self, at: usize, metric: &str, bound: &str) {
        self.warn(at, || {
            let text =
                format!("bucket label \"le\" is missing or has a malformed value of {bound:?}");
            for_metric(text, metric)
        });
    }

    /// Notes a metric under `rate` or `increase` whose name is not a counter's.
    pub fn counter(&self, at: usize, metric: &str, values: &[f64]) {
        if !self.are_wanted() || metric.is_empty() || values.iter().all(|value| is_stale(*value)) {
            return;
        }
        if COUNTER_SUFFIXES.iter().any(|end| metric.ends_with(end)) {
            return;
        }
        self.take(
            at,
            "info",
            || {
                format!(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
                )
            },
            |found| &mut found.infos,
        );
    }

    /// Notes buckets that had to be repaired; all those of one query and metric become one note.
    pub fn repaired(&self, at: usize, metric: &str, repair: Repair) {
        let Some(taken) = &self.0 else {
            return;
        };
        let text = for_metric(
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)".into(),
            metric,
        );
        let mut taken = taken.borrow_mut();
        match taken.repairs.get_mut(&text) {
            Some((place, have)) => {
                *place = at;
                have.merge(repair);
            }
            None => {
                taken.repairs.insert(text, (at, repair));
            }
        }
    }
}
