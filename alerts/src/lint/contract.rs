//! What services export: the metrics that rules may count on.

use std::collections::BTreeMap;

use crate::exposition::{self, ExpositionError, Line, MetricType};
use crate::number::parse_value;

/// Metrics by name, as one or more jobs export them.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    metrics: BTreeMap<String, Vec<Metric>>,
}

/// One metric of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The `job` label of its targets.
    pub job: String,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels, those of the target and `le` left out.
    pub labels: BTreeMap<String, LabelValues>,
    /// All its series exist from the start of the process, counters at 0.
    pub from_start: bool,
}

/// What a metric is.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic buckets with these upper bounds, ascending, `+Inf` left out.
    Histogram(Vec<f64>),
    /// Quantiles, count and sum.
    Summary,
    /// Not said.
    Unknown,
}

/// Which values a label has.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelValues {
    /// These and no others.
    These(Vec<String>),
    /// Not known.
    Any,
}

impl Contract {
    /// Adds a metric; what the same job said of it before is replaced.
    pub fn declare(&mut self, name: &str, metric: Metric) {
        let known = self.metrics.entry(name.to_string()).or_default();
        known.retain(|other| other.job != metric.job);
        known.push(metric);
    }

    /// Adds what a job's target answered to a scrape: metrics with their types, names of labels and bounds of buckets. Which
    /// values labels can have is not known from one answer.
    ///
    /// # Errors
    /// The first line that is no exposition.
    pub fn declare_exposition(&mut self, job: &str, text: &str) -> Result<(), ExpositionError> {
        let lines = exposition::parse(text)?;
        let mut kinds: BTreeMap<&str, MetricType> = BTreeMap::new();
        for (_, line) in &lines {
            if let Line::Type(name, kind) = line {
                kinds.insert(name, *kind);
            }
        }
        let mut found: BTreeMap<&str, Metric> = BTreeMap::new();
        for (_, line) in &lines {
            let Line::Sample(sample) = line else { continue };
            let family = family(&sample.name, &kinds);
            let metric = found.entry(family).or_insert_with(|| Metric {
                job: job.to_string(),
                kind: match kinds.get(family) {
                    Some(MetricType::Counter) => MetricKind::Counter,
                    Some(MetricType::Gauge) => MetricKind::Gauge,
                    Some(MetricType::Histogram) => MetricKind::Histogram(Vec::new()),
                    Some(MetricType::Summary) => MetricKind::Summary,
                    Some(MetricType::Untyped) | None => MetricKind::Unknown,
                },
                labels: BTreeMap::new(),
                from_start: false,
            });
            for (label, value) in &sample.labels {
                match (&mut metric.kind, &**label) {
                    (MetricKind::Histogram(bounds), "le") => {
                        bounds.extend(parse_value(value).filter(|bound| bound.is_finite()));
                    }
                    (MetricKind::Summary, "quantile") => {}
                    _ => drop(metric.labels.insert(label.to_string(), LabelValues::Any)),
                }
            }
        }
        for (name, mut metric) in found {
            if let MetricKind::Histogram(bounds) = &mut metric.kind {
                bounds.sort_by(f64::total_cmp);
                bounds.dedup();
            }
            self.declare(name, metric);
        }
        Ok(())
    }

    /// Names of all metrics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.metrics.keys().map(String::as_str)
    }

    /// True when some metric belongs to this job.
    pub(super) fn has_job(&self, job: &str) -> bool {
        self.metrics
            .values()
            .flatten()
            .any(|metric| metric.job == job)
    }

    /// The metrics behind a series' name (`…_bucket` of a histogram), of one job or of all.
    pub(super) fn of_series(&self, name: &str, job: Option<&str>) -> Vec<(&Metric, &'static str)> {
        let ends = ["", "_bucket", "_count", "_sum"];
        let mut out = Vec::new();
        for end in ends {
            let Some(base) = name.strip_suffix(end) else {
                continue;
            };
            let known = self.metrics.get(base).into_iter().flatten();
            let fits = |metric: &&Metric| {
                let whole = match metric.kind {
                    MetricKind::Histogram(_) => !end.is_empty(),
                    MetricKind::Summary => end != "_bucket",
                    _ => end.is_empty(),
                };
                whole && job.is_none_or(|job| metric.job == job)
            };
            out.extend(known.filter(fits).map(|metric| (metric, end)));
        }
        out
    }
}

/// The metric that a series belongs to: of histograms and summaries the name without its end.
fn family<'n>(name: &'n str, kinds: &BTreeMap<&str, MetricType>) -> &'n str {
    let ends = ["_bucket", "_count", "_sum"].iter();
    let compound = |base: &&str| {
        matches!(
            kinds.get(base),
            Some(MetricType::Histogram | MetricType::Summary)
        )
    };
    let base = ends.filter_map(|end| name.strip_suffix(end)).find(compound);
    match kinds.contains_key(name) {
        true => name,
        false => base.unwrap_or(name),
    }
}
