//! The reference services' metrics as rules are checked against them: the tables in the services' own code.

use std::collections::BTreeMap;

use alerts::lint::{Contract, LabelValues, Metric, MetricKind};
use ledger::contract::{self, Kind, Series, services::JOBS};

/// What the reference services and their container runtime export.
pub fn reference() -> Contract {
    let mut out = Contract::default();
    for (job, metrics) in JOBS {
        for metric in metrics {
            out.declare(metric.name, declared(job, metric));
        }
    }
    out
}

fn declared(job: &str, metric: &contract::Metric) -> Metric {
    let kind = match metric.kind {
        Kind::Counter => MetricKind::Counter,
        Kind::Gauge => MetricKind::Gauge,
        Kind::Histogram(bounds) => MetricKind::Histogram(bounds.to_vec()),
    };
    let these = |label: &str, values: &[&str]| {
        let values = values.iter().map(|value| value.to_string()).collect();
        (label.to_string(), LabelValues::These(values))
    };
    let open = |label: &str| (label.to_string(), LabelValues::Any);
    let (labels, closed) = match metric.series {
        Series::One => (BTreeMap::new(), true),
        Series::Per(label, values) => (BTreeMap::from([these(label, values)]), true),
        Series::Pairs(outer, outers, inner, inners) => (
            BTreeMap::from([these(outer, outers), these(inner, inners)]),
            true,
        ),
        Series::Each(registry) => (BTreeMap::from([open(registry.label())]), false),
        Series::EachPer(registry, label, values) => (
            BTreeMap::from([open(registry.label()), these(label, values)]),
            false,
        ),
    };
    Metric {
        job: job.into(),
        // A gauge is absent until it is first read, a member's series until the member is known; the others are there from the start.
        from_start: kind != MetricKind::Gauge && closed,
        kind,
        labels,
    }
}
