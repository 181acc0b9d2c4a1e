//! What an expression selects: metrics and labels that exist, windows that hold enough samples.

use regex::Regex;

use super::expression::Walk;
use super::facts::{demanded, name_of, values_of};
use super::render::matcher;
use crate::labels::NAME;
use crate::promql::ast::{Expr, ExprKind, LabelMatcher, Selector};
use crate::promql::token::Kind;

/// What Prometheus itself writes about each target, and about its rules.
const OWN: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "ALERTS",
    "ALERTS_FOR_STATE",
];

/// Functions that need samples on both sides of a change.
const NEED_SEVERAL: [&str; 7] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
];

/// Each selector of an expression with its place.
pub(super) fn each<'e>(expr: &'e Expr, found: &mut dyn FnMut(usize, &'e Selector)) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Paren(inner)
        | ExprKind::Unary { expr: inner, .. }
        | ExprKind::Subquery { expr: inner, .. } => each(inner, found),
        ExprKind::Selector(selector) | ExprKind::Range { selector, .. } => found(expr.at, selector),
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| each(arg, found)),
        ExprKind::Aggregate(inside) => {
            inside.param.iter().for_each(|param| each(param, found));
            each(&inside.expr, found);
        }
        ExprKind::Binary(inside) => {
            each(&inside.left, found);
            each(&inside.right, found);
        }
    }
}

/// Complains of a metric, label or value that the contract does not know.
pub(super) fn known(walk: &mut Walk<'_>, at: usize, selector: &Selector) {
    let Some(contract) = walk.contract() else {
        return;
    };
    let Some(name) = name_of(selector) else {
        return;
    };
    if OWN.contains(&name) || walk.recorded.contains_key(name) {
        return;
    }
    let job = demanded(selector, "job");
    if let Some(job) = job
        && !contract.has_job(job)
    {
        let message = format!("no job is called {job:?} in the contract");
        return walk.complain("unknown-label", at, message);
    }
    if contract.of_series(name, job).is_empty() {
        let of = job.map_or(String::new(), |job| format!(" of job {job:?}"));
        let near = contract
            .names()
            .filter(|known| strsim::jaro_winkler(known, name) > 0.9);
        let near = near
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return walk.complain(
            "unknown-metric",
            at,
            format!("nothing{of} exports `{name}`{near}"),
        );
    }
    let mut complaints = Vec::new();
    for found in selector.matchers.iter().filter(|found| found.name != NAME) {
        complaints.extend(unknown(found, selector, walk).map(|message| (found.at, message)));
    }
    for (at, message) in complaints {
        walk.complain("unknown-label", at, message);
    }
}

/// Why no series satisfies a matcher, or why each does.
fn unknown(found: &LabelMatcher, selector: &Selector, walk: &Walk<'_>) -> Option<String> {
    let contract = walk.contract()?;
    let name = name_of(selector)?;
    let metrics = contract.of_series(name, demanded(selector, "job"));
    if ["job", "instance", "le", "quantile"].contains(&&*found.name) {
        return None;
    }
    if !metrics
        .iter()
        .any(|(metric, _)| metric.labels.contains_key(&found.name))
    {
        let labels: Vec<&str> = metrics
            .iter()
            .flat_map(|(metric, _)| metric.labels.keys())
            .map(String::as_str)
            .collect();
        let has = if labels.is_empty() {
            "none".into()
        } else {
            labels.join(", ")
        };
        return Some(format!(
            "`{name}` has no label `{}`; it has {has}",
            found.name
        ));
    }
    let values = values_of(selector, &found.name, contract)?;
    let wanted = found.value.as_ref().ok()?;
    let pattern = || Regex::new(&format!("^(?s:{wanted})$")).ok();
    let fits: Vec<&&str> = match found.op {
        Kind::Assign => values.iter().filter(|value| **value == wanted).collect(),
        Kind::Like => {
            let pattern = pattern()?;
            values
                .iter()
                .filter(|value| pattern.is_match(value))
                .collect()
        }
        _ => return None,
    };
    let none = fits.is_empty() && !wanted.is_empty();
    none.then(|| {
        format!(
            "no series of `{name}` satisfies {}; `{}` is one of {}",
            matcher(found),
            found.name,
            values.join(", ")
        )
    })
}

/// Complains of a window that holds too few samples.
pub(super) fn window(walk: &mut Walk<'_>, function: &str, args: &[Expr]) {
    let scrape_ms = walk.settings.scrape_interval_ms;
    for arg in args {
        let ExprKind::Range { range_ms, .. } = &arg.kind else {
            continue;
        };
        if NEED_SEVERAL.contains(&function) && *range_ms < 4 * scrape_ms {
            let message = format!(
                "a window of {} holds fewer than four scrapes of {}: one that fails, and `{function}` answers nothing",
                seconds(*range_ms),
                seconds(scrape_ms)
            );
            walk.complain("short-window", arg.at, message);
        }
    }
}

/// A duration for people.
pub(super) fn seconds(ms: i64) -> String {
    crate::unit::write::duration(ms)
}
