//! The reference services' metrics as rules are checked against them: the tables in the services' own code.

use std::collections::BTreeMap;

use alerts::lint::{Contract, LabelValues, Metric, MetricKind};
use ledger::contract::{Kind, METRICS, Series};

use crate::observe::JOB;

/// What the ledger exports.
pub fn reference() -> Contract {
    let mut out = Contract::default();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => MetricKind::Counter,
            Kind::Gauge => MetricKind::Gauge,
            Kind::Histogram(bounds) => MetricKind::Histogram(bounds.to_vec()),
        };
        let these = |label: &str, values: &[&str]| {
            let values = values.iter().map(|value| value.to_string()).collect();
            (label.to_string(), LabelValues::These(values))
        };
        let labels = match metric.series {
            Series::One => BTreeMap::new(),
            Series::Per(label, values) => BTreeMap::from([these(label, values)]),
            Series::Pairs(outer, outers, inner, inners) => {
                BTreeMap::from([these(outer, outers), these(inner, inners)])
            }
        };
        out.declare(
            metric.name,
            Metric {
                job: JOB.into(),
                // A gauge is absent until it is first read; counters and buckets are there from the start.
                from_start: kind != MetricKind::Gauge,
                kind,
                labels,
            },
        );
    }
    out
}
