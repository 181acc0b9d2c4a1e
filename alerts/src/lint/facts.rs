//! What can be known of an expression's answer without any series: what kind of number it is, which labels it has, which values.
//!
//! Invariant: where nothing is known, anything is possible. A lint speaks only of what is certain under this module's answer, and
//! of what names say by convention (`…_total` is a counter).

use std::collections::{BTreeMap, BTreeSet};

use super::contract::{Contract, LabelValues, MetricKind};
use super::interval::Interval;
use crate::labels::NAME;
use crate::promql::ast::{LabelMatcher, Selector};
use crate::promql::token::Kind as Token;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The raw value of a counter, or a sum, an extreme or a copy of some.
    Counter,
    Gauge,
    Unknown,
}

/// Which labels an answer can have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Possible {
    /// Any but these.
    AllBut(BTreeSet<String>),
    /// These and no others.
    Only(BTreeSet<String>),
}

/// What is known of an answer.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub kind: Kind,
    pub possible: Possible,
    /// Labels whose value is fixed.
    pub fixed: BTreeMap<String, String>,
    pub values: Interval,
    /// Summed up over several series.
    pub summed: bool,
    /// A scalar has no labels, and meets any vector.
    pub scalar: bool,
    /// It grew out of a counter of which some series may be born above 0: what it is born with goes unseen.
    pub born: bool,
    /// Bounds of the buckets that a quantile was read from.
    pub bounds: Option<Vec<f64>>,
    /// What conditions were put on, as text: two conditions on one thing can exclude each other.
    pub base: Option<String>,
}

impl Facts {
    /// Of a vector of which nothing is known but its kind and values.
    pub fn any(kind: Kind, values: Interval) -> Self {
        Facts {
            kind,
            possible: Possible::AllBut(BTreeSet::new()),
            fixed: BTreeMap::new(),
            values,
            summed: false,
            scalar: false,
            born: false,
            bounds: None,
            base: None,
        }
    }

    pub fn scalar(values: Interval) -> Self {
        Facts {
            scalar: true,
            ..Facts::bare(values)
        }
    }

    /// Of a vector without labels.
    pub fn bare(values: Interval) -> Self {
        Facts {
            possible: Possible::Only(BTreeSet::new()),
            ..Facts::any(Kind::Gauge, values)
        }
    }

    pub fn can_have(&self, label: &str) -> bool {
        match &self.possible {
            Possible::AllBut(except) => !except.contains(label),
            Possible::Only(labels) => labels.contains(label),
        }
    }

    pub fn without(mut self, label: &str) -> Self {
        self.fixed.remove(label);
        match &mut self.possible {
            Possible::AllBut(except) => drop(except.insert(label.to_string())),
            Possible::Only(labels) => drop(labels.remove(label)),
        }
        self
    }

    /// With a label of some value.
    pub fn with(mut self, label: &str, value: Option<&str>) -> Self {
        self.fixed.remove(label);
        if let Some(value) = value {
            self.fixed.insert(label.to_string(), value.to_string());
        }
        match &mut self.possible {
            Possible::AllBut(except) => drop(except.remove(label)),
            Possible::Only(labels) => drop(labels.insert(label.to_string())),
        }
        self
    }

    /// Only these labels, as far as they are there.
    pub fn only(mut self, keep: &[String]) -> Self {
        let kept = keep.iter().filter(|label| self.can_have(label)).cloned();
        self.possible = Possible::Only(kept.collect());
        self.fixed.retain(|label, _| keep.contains(label));
        self
    }

    /// What is true of one of two.
    pub fn either(self, other: Self) -> Self {
        let possible = match (self.possible, other.possible) {
            (Possible::Only(mut a), Possible::Only(b)) => {
                a.extend(b);
                Possible::Only(a)
            }
            (Possible::AllBut(a), Possible::AllBut(b)) => Possible::AllBut(&a & &b),
            (Possible::AllBut(except), Possible::Only(labels))
            | (Possible::Only(labels), Possible::AllBut(except)) => {
                Possible::AllBut(&except - &labels)
            }
        };
        let same = |(label, value): &(String, String)| other.fixed.get(label) == Some(value);
        Facts {
            kind: if self.kind == other.kind {
                self.kind
            } else {
                Kind::Unknown
            },
            possible,
            fixed: self.fixed.into_iter().filter(same).collect(),
            values: self.values.hull(other.values),
            summed: self.summed || other.summed,
            scalar: self.scalar && other.scalar,
            born: self.born || other.born,
            bounds: None,
            base: None,
        }
    }
}

/// The value that an equality matcher demands of a label.
pub(super) fn demanded<'s>(selector: &'s Selector, label: &str) -> Option<&'s str> {
    selector
        .matchers
        .iter()
        .find_map(|matcher| match &matcher.value {
            Ok(value) if matcher.name == label && matcher.op == Token::Assign => {
                Some(value.as_str())
            }
            _ => None,
        })
}

/// The name of the series that a selector selects, if there is only one.
pub(super) fn name_of(selector: &Selector) -> Option<&str> {
    selector
        .name
        .as_deref()
        .or_else(|| demanded(selector, NAME))
}

/// A selector's facts: from the contract, from a rule that records the series, or from the name.
pub(super) fn of_selector(
    selector: &Selector,
    contract: Option<&Contract>,
    recorded: &BTreeMap<String, Facts>,
) -> Facts {
    let name = name_of(selector).unwrap_or("");
    let declared = contract.map(|contract| contract.of_series(name, demanded(selector, "job")));
    let declared = declared.unwrap_or_default();
    let facts = match recorded.get(name) {
        Some(facts) => facts.clone(),
        None if !declared.is_empty() => {
            let each = declared.iter().map(|(metric, end)| {
                let mut labels: BTreeSet<String> = metric.labels.keys().cloned().collect();
                labels.extend(["job", "instance"].map(String::from));
                match (*end, &metric.kind) {
                    ("_bucket", _) => drop(labels.insert("le".into())),
                    ("", MetricKind::Summary) => drop(labels.insert("quantile".into())),
                    _ => {}
                }
                let (kind, values) = match (&metric.kind, *end) {
                    (MetricKind::Counter, _) => (Kind::Counter, Interval::POSITIVE),
                    (MetricKind::Gauge, _) => (Kind::Gauge, Interval::ALL),
                    (_, "_bucket" | "_count" | "_sum") => (Kind::Counter, Interval::POSITIVE),
                    _ => (Kind::Unknown, Interval::ALL),
                };
                Facts {
                    possible: Possible::Only(labels),
                    ..Facts::any(kind, values)
                }
            });
            each.reduce(Facts::either).unwrap_or_else(|| by_name(name))
        }
        None => by_name(name),
    };
    selector.matchers.iter().fold(facts, matched)
}

fn matched(facts: Facts, matcher: &LabelMatcher) -> Facts {
    match (&matcher.value, matcher.op) {
        _ if matcher.name == NAME => facts,
        (Ok(value), Token::Assign) if value.is_empty() => facts.without(&matcher.name),
        // What no series has is another lint's business; here it is taken at its word.
        (Ok(value), Token::Assign) => facts.with(&matcher.name, Some(value)),
        _ => facts,
    }
}

/// Words in names of totals that count events. Others are as often a size: `…_memory_total`, `…_pending_task_total`.
const EVENTS: [&str; 22] = [
    "corrupt",
    "cpu_seconds",
    "cpu_usage",
    "dropped",
    "error",
    "evict",
    "fail",
    "hits",
    "lost",
    "misses",
    "panic",
    "processed",
    "receive",
    "refus",
    "reject",
    "request",
    "restart",
    "retri",
    "sent",
    "timeout",
    "transmit",
    "written",
];

fn counts_events(name: &str) -> bool {
    let holds = |word: &&str| name.contains(*word);
    let level = ["active", "current", "open", "pending"].iter().any(holds);
    EVENTS.iter().any(holds) && !level
}

/// What the name says by convention.
fn by_name(name: &str) -> Facts {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let (kind, values) = match name {
        "up" => (Kind::Gauge, Interval::closed(0.0, 1.0)),
        "ALERTS" => (Kind::Gauge, Interval::closed(1.0, 1.0)),
        // A level of the recording convention: what it records is its rule's business.
        _ if name.contains(':') => (Kind::Unknown, Interval::ALL),
        _ if ends(&["_bucket"]) => (Kind::Counter, Interval::POSITIVE),
        _ if ends(&["_total"]) && counts_events(&name.to_lowercase()) => {
            (Kind::Counter, Interval::POSITIVE)
        }
        // Of a histogram or summary; sums of negative numbers are rare.
        _ if ends(&[
            "_seconds_sum",
            "_bytes_sum",
            "_ms_sum",
            "_milliseconds_sum",
            "_duration_sum",
            "_latency_sum",
        ]) =>
        {
            (Kind::Counter, Interval::ALL)
        }
        _ if ends(&[
            "_timestamp_seconds",
            "_time_seconds_timestamp",
            "_info",
            "_ratio",
            "_percent",
            "_celsius",
        ]) =>
        {
            (Kind::Gauge, Interval::ALL)
        }
        _ => (Kind::Unknown, Interval::ALL),
    };
    Facts::any(kind, values)
}

/// Names of label values that a contract leaves open.
pub(super) fn values_of<'c>(
    selector: &Selector,
    label: &str,
    contract: &'c Contract,
) -> Option<Vec<&'c str>> {
    let name = name_of(selector)?;
    let mut out = Vec::new();
    for (metric, _) in contract.of_series(name, demanded(selector, "job")) {
        match metric.labels.get(label) {
            Some(LabelValues::These(values)) => out.extend(values.iter().map(String::as_str)),
            Some(LabelValues::Any) => return None,
            None => {}
        }
    }
    Some(out)
}
