//! Scrapes become series, as Prometheus' scrape loop makes them.
//!
//! Invariant: a scrape is taken whole or not at all. A body that does not parse is a failed scrape; a failed scrape and a
//! vanished series write stale markers; `up` and the other report series are written in any case. Not here: sample
//! limits, relabelling, `honor_labels` (an exposed `job` becomes `exported_job`), exemplars.
//!
//! Most lines of a body equal the line at the same place of the target's previous body. They are remembered, so that an
//! equal line costs one comparison and a line whose value changed one number.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::exposition::{self, Line, MetricType};
use crate::labels::{Labels, NAME};
use crate::number::{STALE, format_bound, parse_value};
use crate::series::{ColumnId, OutOfOrder, SeriesId, SeriesStore};

/// What is scraped: becomes the labels `job` and `instance`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The job's name.
    pub job: String,
    /// The instance, usually `host:port`.
    pub instance: String,
}

impl Target {
    /// A target from its two labels.
    pub fn new(job: impl Into<String>, instance: impl Into<String>) -> Self {
        Target {
            job: job.into(),
            instance: instance.into(),
        }
    }

    fn labelled(&self, name: &str) -> Labels {
        Labels::of(&[
            (NAME, name),
            ("job", &self.job),
            ("instance", &self.instance),
        ])
    }
}

/// What one scrape did.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeReport {
    /// The value of `up`.
    pub up: bool,
    /// Samples read; those before the error when the body did not parse.
    pub samples: usize,
    /// Series that the previous good scrape did not have.
    pub added: usize,
    /// Samples with an explicit timestamp that is not after the series' last one: not written.
    pub out_of_order: usize,
    /// Why the scrape failed.
    pub error: Option<String>,
}

/// Writes scrapes of any number of targets into one store.
#[derive(Debug, Default)]
pub struct Ingest {
    store: SeriesStore,
    targets: IndexMap<Target, TargetState>,
}

/// A line of the previous body.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    from: u32,
    to: u32,
    /// Length of the part that names the series; 0 where only an equal line may be reused.
    key: u32,
    series: Option<SeriesId>,
    /// Read anew each time: a later sample of the same series, or one that follows instants of its own.
    again: bool,
}

#[derive(Debug)]
struct TargetState {
    column: ColumnId,
    reports: [SeriesId; 5],
    body: String,
    lines: Vec<Remembered>,
    /// Series of the last good scrape that follow the target's instants, sorted.
    present: Vec<SeriesId>,
    /// The series by the text that names them, after the type of their family is known.
    keys: IndexMap<Box<str>, SeriesId>,
    types: Vec<(String, MetricType)>,
}

/// What a body would write; applied only when the whole body parsed.
#[derive(Default)]
struct Draft {
    start_ms: i64,
    changes: Vec<(SeriesId, f64)>,
    timed: Vec<(Labels, i64, f64)>,
    lines: Vec<Remembered>,
    samples: usize,
    /// True when the set of series may differ from the previous body's.
    reshaped: bool,
}

const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl Draft {
    /// Lets the second and later lines of one series be read anew each time; true when there are any.
    fn forget_duplicates(&mut self) -> bool {
        let mut seen: Vec<(SeriesId, usize)> = self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((line.series?, at)))
            .collect();
        seen.sort_unstable();
        let again: Vec<usize> = seen
            .windows(2)
            .filter(|two| two[0].0 == two[1].0)
            .map(|two| two[1].1)
            .collect();
        for at in &again {
            self.lines[*at] = Remembered {
                key: 0,
                series: None,
                again: true,
                ..self.lines[*at]
            };
        }
        !again.is_empty()
    }
}

impl Ingest {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far.
    pub fn store(&self) -> &SeriesStore {
        &self.store
    }

    /// The finished recording.
    pub fn into_store(self) -> SeriesStore {
        self.store
    }

    /// One scrape, stamped at its start. `outcome` is the body, or why there is none. Errors only when `start_ms` is not
    /// after the target's previous scrape.
    pub fn scrape(
        &mut self,
        target: &Target,
        start_ms: i64,
        duration_s: f64,
        outcome: Result<&str, &str>,
    ) -> Result<ScrapeReport, OutOfOrder> {
        let state = Self::state(&mut self.targets, &mut self.store, target);
        self.store
            .advance(state.column, start_ms)
            .map_err(|error| OutOfOrder {
                labels: target.labelled("up").to_string(),
                ..error
            })?;
        let mut draft = Draft {
            start_ms,
            ..Draft::default()
        };
        let failure = match outcome {
            Ok(body) => state.read(&mut self.store, target, body, &mut draft).err(),
            Err(reason) => Some(reason.to_string()),
        };
        let (added, out_of_order) = match failure {
            None => state.apply(&mut self.store, outcome.unwrap_or(""), &mut draft),
            Some(_) => {
                state.vanish(&mut self.store);
                (0, 0)
            }
        };
        let count = draft.samples as f64;
        let up = if failure.is_none() { 1.0 } else { 0.0 };
        for (series, value) in
            state
                .reports
                .into_iter()
                .zip([up, duration_s, count, count, added as f64])
        {
            self.store.set(series, value);
        }
        Ok(ScrapeReport {
            up: failure.is_none(),
            samples: draft.samples,
            added,
            out_of_order,
            error: failure,
        })
    }

    fn state<'a>(
        targets: &'a mut IndexMap<Target, TargetState>,
        store: &mut SeriesStore,
        target: &Target,
    ) -> &'a mut TargetState {
        if !targets.contains_key(target) {
            let column = store.add_column();
            let reports = REPORTS.map(|name| store.intern(&target.labelled(name), column));
            targets.insert(target.clone(), TargetState::new(column, reports));
        }
        &mut targets[target]
    }
}

impl TargetState {
    fn new(column: ColumnId, reports: [SeriesId; 5]) -> Self {
        TargetState {
            column,
            reports,
            body: String::new(),
            lines: Vec::new(),
            present: Vec::new(),
            keys: IndexMap::new(),
            types: Vec::new(),
        }
    }

    /// Reads a body against the previous one.
    fn read(
        &mut self,
        store: &mut SeriesStore,
        target: &Target,
        body: &str,
        draft: &mut Draft,
    ) -> Result<(), String> {
        self.read_lines(store, target, body, draft)?;
        if draft.reshaped && draft.forget_duplicates() {
            // The first of two samples for one series counts, which only a reading from scratch can tell.
            self.lines.clear();
            *draft = Draft {
                start_ms: draft.start_ms,
                ..Draft::default()
            };
            self.read_lines(store, target, body, draft)?;
            draft.forget_duplicates();
        }
        Ok(())
    }

    fn read_lines(
        &mut self,
        store: &mut SeriesStore,
        target: &Target,
        body: &str,
        draft: &mut Draft,
    ) -> Result<(), String> {
        draft.lines.reserve(self.lines.len());
        self.types.clear();
        let mut from = 0usize;
        for (at, text) in body.split('\n').enumerate() {
            let to = from + text.len();
            let before = self.lines.get(at).copied();
            let span = |key: usize, series| Remembered {
                from: from as u32,
                to: to as u32,
                key: key as u32,
                series,
                again: false,
            };
            let line =
                match before.map(|line| (line, &self.body[line.from as usize..line.to as usize])) {
                    Some((line, same))
                        if same == text && !line.again && !text.starts_with("# TYPE") =>
                    {
                        draft.samples += usize::from(line.series.is_some());
                        span(line.key as usize, line.series)
                    }
                    Some((line, old)) if line.key > 0 => {
                        let key = line.key as usize;
                        match text
                            .get(..key)
                            .filter(|head| *head == &old[..key])
                            .and_then(|_| plain_value(&text[key..]))
                        {
                            Some(value) => {
                                draft.samples += 1;
                                draft
                                    .changes
                                    .extend(line.series.map(|series| (series, value)));
                                span(key, line.series)
                            }
                            None => self
                                .read_line(store, target, text, draft, span)
                                .map_err(|e| located(at, e))?,
                        }
                    }
                    _ => self
                        .read_line(store, target, text, draft, span)
                        .map_err(|e| located(at, e))?,
                };
            draft.lines.push(line);
            from = to + 1;
        }
        draft.reshaped |= draft.lines.len() != self.lines.len();
        Ok(())
    }

    /// A line that is new at its place.
    fn read_line(
        &mut self,
        store: &mut SeriesStore,
        target: &Target,
        text: &str,
        draft: &mut Draft,
        span: impl Fn(usize, Option<SeriesId>) -> Remembered,
    ) -> Result<Remembered, String> {
        draft.reshaped |= !text.starts_with('#');
        let sample = match exposition::parse_line(text)? {
            Line::Nothing | Line::Help(..) => return Ok(span(0, None)),
            Line::Type(name, kind) => {
                self.types.push((name.to_string(), kind));
                return Ok(span(0, None));
            }
            Line::Sample(sample) => sample,
        };
        draft.samples += 1;
        let labels = |types: &[(String, MetricType)]| target_labels(target, &sample, types);
        if let Some(t_ms) = sample.timestamp_ms {
            draft.timed.push((labels(&self.types), t_ms, sample.value));
            return Ok(Remembered {
                again: true,
                ..span(0, None)
            });
        }
        let key = exposition::key_length(text).unwrap_or(0);
        let series = match self.keys.get(&text[..key]) {
            Some(series) => *series,
            None => {
                let series = store.intern(&labels(&self.types), self.column);
                self.keys.insert(text[..key].into(), series);
                series
            }
        };
        if store.column_of(series) != self.column {
            // It was written at instants of its own before, and nothing goes on by itself there.
            draft
                .timed
                .push((store.labels(series).clone(), draft.start_ms, sample.value));
            return Ok(Remembered {
                again: true,
                ..span(0, None)
            });
        }
        draft.changes.push((series, sample.value));
        Ok(span(key, Some(series)))
    }

    /// Writes a draft; answers how many series the previous good scrape did not have, and how many samples came late.
    fn apply(&mut self, store: &mut SeriesStore, body: &str, draft: &mut Draft) -> (usize, usize) {
        let mut added = 0;
        if draft.reshaped || self.present.is_empty() {
            let mut present: Vec<SeriesId> =
                draft.lines.iter().filter_map(|line| line.series).collect();
            present.sort_unstable();
            present.dedup();
            for gone in self
                .present
                .iter()
                .filter(|series| present.binary_search(series).is_err())
            {
                store.set(*gone, STALE);
            }
            added = present
                .iter()
                .filter(|series| self.present.binary_search(series).is_err())
                .count();
            self.present = present;
        }
        // The first of two samples for one series counts, as in Prometheus: written last here.
        for (series, value) in draft.changes.iter().rev() {
            store.set(*series, *value);
        }
        let late = draft
            .timed
            .drain(..)
            .filter(|(labels, t_ms, value)| store.append(labels, *t_ms, *value).is_err());
        let late = late.count();
        self.lines = std::mem::take(&mut draft.lines);
        self.body.clear();
        self.body.push_str(body);
        (added, late)
    }

    /// Ends every series of the target; the next body is read from scratch.
    fn vanish(&mut self, store: &mut SeriesStore) {
        for series in &self.present {
            store.set(*series, STALE);
        }
        self.lines.clear();
        self.body.clear();
    }
}

fn located(at: usize, reason: String) -> String {
    exposition::ExpositionError {
        line: at + 1,
        reason,
    }
    .to_string()
}

/// A value without timestamp, as nearly all lines end.
fn plain_value(text: &str) -> Option<f64> {
    let value = text.strip_prefix(' ')?;
    if value.contains([' ', '\t']) {
        None
    } else {
        parse_value(value)
    }
}

/// The labels under which a sample is stored: the target's own win, and bounds are written in one way.
fn target_labels(
    target: &Target,
    sample: &exposition::Sample<'_>,
    types: &[(String, MetricType)],
) -> Labels {
    let kind = types
        .iter()
        .rev()
        .find(|(family, _)| in_family(&sample.name, family))
        .map(|(_, kind)| *kind);
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = vec![(NAME.into(), (*sample.name).into())];
    for (name, value) in &sample.labels {
        let bound = matches!(
            (kind, &**name),
            (Some(MetricType::Histogram), "le") | (Some(MetricType::Summary), "quantile")
        );
        let value = match parse_value(value).filter(|_| bound) {
            Some(number) => format_bound(number).into(),
            None => Arc::from(&**value),
        };
        let mut name = name.to_string();
        while name == "job" || name == "instance" || pairs.iter().any(|(have, _)| **have == *name) {
            name.insert_str(0, "exported_");
        }
        pairs.push((name.into(), value));
    }
    pairs.push(("job".into(), target.job.as_str().into()));
    pairs.push(("instance".into(), target.instance.as_str().into()));
    Labels::from_pairs(pairs)
}

fn in_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
}
