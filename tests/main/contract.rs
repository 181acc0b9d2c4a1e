//! The metrics contract against whole runs: what it declares is exported, and what moves in no run is listed with its reason.

use std::collections::BTreeSet;

use ledger::contract::{Kind, METRICS, UNMOVED};

use crate::program::call;

/// Runs in which every part of the service has something to do: nights oversold, a cache lost, locks given up, holds that expire
/// while they are confirmed, a primary that is gone.
const RUNS: [&str; 5] = [
    "overbooking-constraint-relaxed",
    "cache-down",
    "lock-contention",
    "sweeper-vs-confirm",
    "primary-failover-crash",
];

/// Rows of the contract that moved in a recording: a gauge by being there, the others by a value above 0.
fn moved(text: &str) -> BTreeSet<&'static str> {
    let rows = METRICS.iter();
    let of = |series: &str| {
        let ends = ["", "_bucket", "_count", "_sum"];
        let mut names = ends.iter().filter_map(|end| series.strip_suffix(end));
        names.find_map(|name| rows.clone().find(|row| row.name == name))
    };
    let mut out = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        // A label's value may hold a space; what stands behind the labels does not.
        let (series, rest) = match line.split_once('{') {
            Some((series, rest)) => (series, rest.rsplit_once('}').map_or("", |(_, rest)| rest)),
            None => line.split_once(' ').unwrap_or((line, "")),
        };
        let value: f64 = rest
            .split_whitespace()
            .next()
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no value: {line}"));
        if let Some(row) = of(series)
            && (row.kind == Kind::Gauge || value > 0.0)
        {
            out.insert(row.name);
        }
    }
    out
}

#[test]
fn every_metric_moves_in_some_run_or_is_listed_with_its_reason() {
    let mut seen = BTreeSet::new();
    for scenario in RUNS {
        let outcome = call(&["export", "openmetrics", scenario, "--quiet"]);
        assert_eq!(outcome.code, 0, "{scenario}: {}", outcome.stderr);
        seen.extend(moved(&outcome.stdout));
    }
    let mut complaints = Vec::new();
    for (at, row) in METRICS.iter().enumerate() {
        let listed = UNMOVED.iter().find(|(id, _)| *id as usize == at);
        match (listed, seen.contains(row.name)) {
            (None, false) => complaints.push(format!(
                "{} never moved: is it still counted, and does a run of {RUNS:?} need it?",
                row.name
            )),
            (Some((id, reason)), true) => complaints.push(format!(
                "{} moved: take {id:?} ({reason}) off the list in ledger/src/contract.rs",
                row.name
            )),
            _ => {}
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
