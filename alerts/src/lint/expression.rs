//! Walks an expression from its leaves: what is known of each part, and what is wrong with it.

use std::collections::BTreeMap;

use super::contract::{Contract, MetricKind};
use super::facts::{Facts, Kind, Possible, demanded, name_of, of_selector};
use super::interval::Interval;
use super::{Settings, operators, selectors};
use crate::labels::NAME;
use crate::promql::ast::{Aggregate, Expr, ExprKind, Selector};

/// One expression on its way.
pub(super) struct Walk<'a> {
    pub settings: &'a Settings,
    /// What rules before this one record.
    pub recorded: &'a BTreeMap<String, Facts>,
    /// What it answers must hold for some time before anybody hears of it.
    pub waits: bool,
    /// Lint, byte of the expression, message.
    pub found: Vec<(&'static str, usize, String)>,
}

/// What can be told of rates needs so many samples in the window.
const RATES: [&str; 3] = ["rate", "irate", "increase"];

impl Walk<'_> {
    pub fn complain(&mut self, lint: &'static str, at: usize, message: impl Into<String>) {
        self.found.push((lint, at, message.into()));
    }

    /// Without a contract, what is a counter is known by convention only, and messages say so.
    pub fn sure(&self) -> &'static str {
        match self.settings.contract {
            Some(_) => "",
            None => " (so its name says)",
        }
    }

    pub fn contract(&self) -> Option<&Contract> {
        self.settings.contract.as_ref()
    }

    /// What is known of an expression's answer; complains of what is wrong on the way.
    pub fn facts(&mut self, expr: &Expr) -> Facts {
        match &expr.kind {
            ExprKind::Number(number) => Facts::scalar(Interval::closed(*number, *number)),
            ExprKind::Text(_) => Facts::scalar(Interval::ALL),
            ExprKind::Paren(inner) => self.facts(inner),
            ExprKind::Unary { minus, expr } => {
                let facts = self.facts(expr);
                let values = if *minus {
                    facts.values.negated()
                } else {
                    facts.values
                };
                Facts {
                    values,
                    base: None,
                    ..facts
                }
            }
            ExprKind::Selector(selector) | ExprKind::Range { selector, .. } => {
                selectors::known(self, expr.at, selector);
                let facts = of_selector(selector, self.contract(), self.recorded);
                let born = facts.kind == Kind::Counter && self.may_be_born(selector);
                Facts { born, ..facts }
            }
            ExprKind::Subquery { expr, .. } => self.facts(expr),
            ExprKind::Call { name, args } => self.call(expr.at, name, args),
            ExprKind::Aggregate(found) => self.aggregate(expr.at, found),
            ExprKind::Binary(found) => operators::binary(self, found),
        }
    }

    /// Whether a counter's series can be there first with a value above 0.
    fn may_be_born(&self, selector: &Selector) -> bool {
        let Some(contract) = self.contract() else {
            // One that has labels of its own, so that a series may come with the first event of its kind.
            let target = ["job", "instance", "cluster", "namespace", NAME];
            let mut matchers = selector.matchers.iter();
            return matchers.any(|found| !target.contains(&&*found.name));
        };
        let known = contract.of_series(name_of(selector).unwrap_or(""), demanded(selector, "job"));
        known.is_empty() || known.iter().any(|(metric, _)| !metric.from_start)
    }

    fn aggregate(&mut self, at: usize, found: &Aggregate) -> Facts {
        if let Some(param) = &found.param {
            self.facts(param);
        }
        let inner = self.facts(&found.expr);
        for label in &found.grouping {
            if !inner.can_have(label)
                && matches!(inner.possible, Possible::Only(_))
                && !found.without
            {
                let message = format!(
                    "`by ({label})`: nothing inside has the label `{label}`, so it groups nothing"
                );
                self.complain("unknown-label", at, message);
            }
        }
        let several = !matches!(&inner.possible, Possible::Only(labels) if labels.iter().all(|label| found.grouping.contains(label)) && !found.without);
        let labels = |facts: Facts| match found.without {
            true => found
                .grouping
                .iter()
                .fold(facts, |facts, label| facts.without(label)),
            false => facts.only(&found.grouping),
        };
        let base = Facts {
            base: None,
            ..inner.clone()
        };
        let gauge = |values| Facts {
            kind: Kind::Gauge,
            values,
            summed: false,
            born: false,
            bounds: None,
            ..labels(base.clone())
        };
        let at_least = |low| Interval::closed(low, f64::INFINITY);
        match &*found.op {
            "sum" => Facts {
                values: if inner.values.low >= 0.0 {
                    inner.values.hull(at_least(inner.values.low))
                } else {
                    Interval::ALL
                },
                summed: several || inner.summed,
                bounds: None,
                ..labels(base)
            },
            "avg" | "min" | "max" => Facts {
                summed: inner.summed || several && found.op == "avg",
                ..labels(base)
            },
            "topk" | "bottomk" | "limitk" => inner,
            "count" => gauge(at_least(1.0)),
            "count_values" => {
                let label = match found.param.as_deref().map(|param| &param.kind) {
                    Some(ExprKind::Text(Ok(label))) => label.as_str(),
                    _ => "",
                };
                gauge(at_least(1.0)).with(label, None)
            }
            "group" => gauge(Interval::closed(1.0, 1.0)),
            "stddev" | "stdvar" => gauge(Interval::POSITIVE),
            _ => gauge(inner.values),
        }
    }

    fn call(&mut self, at: usize, name: &str, args: &[Expr]) -> Facts {
        let facts: Vec<Facts> = args.iter().map(|arg| self.facts(arg)).collect();
        let vector = facts.iter().find(|facts| !facts.scalar).cloned();
        let inner = vector.unwrap_or_else(|| Facts::bare(Interval::ALL));
        selectors::window(self, name, args);
        if RATES.contains(&name) || name == "resets" {
            self.rate(at, name, &inner);
        }
        let text = |at: usize| match args.get(at).map(|arg| &arg.kind) {
            Some(ExprKind::Text(Ok(text))) => text.as_str(),
            _ => "",
        };
        let gauge = |values| Facts {
            kind: Kind::Gauge,
            values,
            summed: false,
            bounds: None,
            base: None,
            born: false,
            ..inner.clone()
        };
        let one =
            |facts: &[Facts], at: usize| facts.get(at).map_or(Interval::ALL, |facts| facts.values);
        let between = |low, high| gauge(Interval::closed(low, high));
        match name {
            "rate" | "irate" | "increase" => Facts {
                born: inner.born,
                ..gauge(Interval::POSITIVE)
            },
            "resets" | "changes" | "stddev_over_time" | "stdvar_over_time" | "exp" | "sqrt"
            | "abs" => gauge(Interval::POSITIVE),
            "count_over_time" => gauge(Interval::closed(1.0, f64::INFINITY)),
            "present_over_time" => between(1.0, 1.0),
            "min_over_time" | "last_over_time" | "first_over_time" => Facts {
                base: None,
                ..inner
            },
            "avg_over_time" | "max_over_time" | "quantile_over_time" | "sum_over_time"
            | "delta" | "idelta" | "deriv" | "predict_linear" => {
                self.of_raw_counter(at, name, &inner);
                match name {
                    "avg_over_time" | "max_over_time" | "quantile_over_time" => gauge(inner.values),
                    "sum_over_time" if inner.values.low >= 0.0 => gauge(Interval::POSITIVE),
                    _ => gauge(Interval::ALL),
                }
            }
            "histogram_quantile" => Facts {
                bounds: args.get(1).and_then(|arg| self.bounds(arg)),
                ..gauge(Interval::ALL).without("le")
            },
            "histogram_fraction" => between(0.0, 1.0).without("le"),
            "absent" | "absent_over_time" => absent(args),
            "sgn" => between(-1.0, 1.0),
            "clamp_max" => gauge(
                inner
                    .values
                    .meet(Interval::closed(f64::NEG_INFINITY, one(&facts, 1).high)),
            ),
            "clamp_min" => gauge(Interval::closed(
                inner.values.low.max(one(&facts, 1).low),
                f64::INFINITY,
            )),
            "clamp" => gauge(Interval::closed(one(&facts, 1).low, one(&facts, 2).high)),
            "hour" => between(0.0, 23.0),
            "minute" => between(0.0, 59.0),
            "day_of_week" => between(0.0, 6.0),
            "day_of_month" => between(1.0, 31.0),
            "days_in_month" => between(28.0, 31.0),
            "day_of_year" => between(1.0, 366.0),
            "month" => between(1.0, 12.0),
            "scalar" => Facts::scalar(inner.values),
            "vector" => Facts::bare(one(&facts, 0)),
            "time" => Facts::scalar(Interval::ALL),
            "pi" => Facts::scalar(Interval::closed(std::f64::consts::PI, std::f64::consts::PI)),
            "label_replace" | "label_join" => inner.with(text(1), None),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => inner,
            _ => gauge(Interval::ALL),
        }
    }

    fn rate(&mut self, at: usize, name: &str, inner: &Facts) {
        if inner.kind == Kind::Gauge {
            let message = format!(
                "`{name}` of what is no counter: each fall counts as a reset; `delta` or `deriv` is for what goes up and down"
            );
            self.complain("rate-of-gauge", at, message);
        } else if inner.kind == Kind::Counter && inner.summed {
            let message = format!(
                "`{name}` of a sum of counters: when one of them restarts, the sum falls and `{name}` takes that for a reset of all; \
                 first `{name}`, then sum"
            );
            self.complain("rate-of-sum", at, message);
        }
    }

    fn of_raw_counter(&mut self, at: usize, name: &str, inner: &Facts) {
        let of_gauges = matches!(name, "delta" | "idelta" | "deriv" | "predict_linear");
        // Who asks for the change of a gauge may know better than the name.
        if inner.kind == Kind::Counter && (!of_gauges || self.contract().is_some()) {
            let why = match of_gauges {
                true => "a restart counts as a fall; `increase` and `rate` know better",
                false => "it says how long the process has been running; use `rate` or `increase`",
            };
            let sure = self.sure();
            let message = format!("`{name}` of a raw counter{sure}: {why}");
            self.complain("counter-without-rate", at, message);
        }
    }

    /// The bounds of the buckets that an expression reads, where all are the same.
    fn bounds(&self, expr: &Expr) -> Option<Vec<f64>> {
        let contract = self.contract()?;
        let mut out: Option<Vec<f64>> = None;
        let mut one = true;
        super::selectors::each(expr, &mut |_, selector| {
            let name = name_of(selector).unwrap_or("");
            for (metric, _) in contract.of_series(name, demanded(selector, "job")) {
                if let MetricKind::Histogram(bounds) = &metric.kind {
                    one &= out.as_ref().is_none_or(|known| known == bounds);
                    out = Some(bounds.clone());
                }
            }
        });
        out.filter(|_| one)
    }
}

/// `absent` answers 1 with the labels that equality demands.
fn absent(args: &[Expr]) -> Facts {
    let one = Facts::bare(Interval::closed(1.0, 1.0));
    let mut out = one.clone();
    let selector = match args.first().map(|arg| &arg.kind) {
        Some(ExprKind::Selector(selector) | ExprKind::Range { selector, .. }) => selector,
        _ => return one,
    };
    for matcher in &selector.matchers {
        if let Some(value) = demanded(selector, &matcher.name)
            && matcher.name != NAME
        {
            out = out.with(&matcher.name, Some(value));
        }
    }
    out
}
