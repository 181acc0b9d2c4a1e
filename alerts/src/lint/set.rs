//! What is wrong between rules: two that say the same or cannot be told apart, alerts that nobody speaks for when their target is gone.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::facts::{Facts, Possible, demanded, name_of};
use super::render::{matcher, render};
use super::selectors::each;
use super::{One, Spot};
use crate::promql::ast::{Expr, ExprKind, Selector};
use crate::promql::token::Kind;

/// Index of the rule, lint, where, message.
pub(super) type Found = (usize, &'static str, Spot, String);

/// Everything between the rules of one set.
pub(super) fn check(rules: &[One<'_>], answers: &[Facts], out: &mut Vec<Found>) {
    twice(rules, answers, out);
    blind(rules, out);
}

/// Whether an alert, name, and labels as written: what an alert or a recorded series is known by.
type Identity<'a> = (bool, &'a str, Vec<(&'a str, &'a str)>);

fn identity<'a>(one: &One<'a>) -> Identity<'a> {
    let mut labels: Vec<(&str, &str)> = one
        .rule
        .labels
        .iter()
        .map(|(name, text)| (&**name, text.text()))
        .collect();
    labels.sort_unstable();
    (one.rule.is_alert(), &one.rule.name, labels)
}

/// Two rules that never speak of the same series: their answers have other labels, or they select by different values of a label
/// that both keep.
fn disjoint(rules: &[One<'_>], answers: &[Facts], a: usize, b: usize) -> bool {
    if let (Possible::Only(left), Possible::Only(right)) =
        (&answers[a].possible, &answers[b].possible)
        && left != right
    {
        return true;
    }
    let matchers = |at: usize| {
        let mut out: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        each(rules[at].expr, &mut |_, selector| {
            for found in &selector.matchers {
                out.entry(&found.name).or_default().insert(matcher(found));
            }
        });
        out
    };
    let (left, right) = (matchers(a), matchers(b));
    left.iter().any(|(label, values)| {
        let kept = answers[a].can_have(label) && answers[b].can_have(label);
        kept && right
            .get(label)
            .is_some_and(|others| others.is_disjoint(values))
    })
}

fn twice(rules: &[One<'_>], answers: &[Facts], out: &mut Vec<Found>) {
    let mut seen: BTreeMap<Identity<'_>, Vec<usize>> = BTreeMap::new();
    let mut exprs: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for (at, one) in rules.iter().enumerate() {
        let text = render(one.expr);
        let place = |other: &One<'_>| format!("{}:{}", other.group.file, other.rule.line);
        let same = seen.entry(identity(one)).or_default();
        if let Some(first) = same
            .iter()
            .find(|first| render(rules[**first].expr) == text)
        {
            let message = format!("the same rule stands at {}", place(&rules[*first]));
            out.push((at, "duplicate-rule", Spot::Name, message));
        } else if let Some(first) = same
            .iter()
            .find(|first| !disjoint(rules, answers, **first, at))
        {
            let what = if one.rule.is_alert() {
                "fire the same alert"
            } else {
                "write the same series"
            };
            let message = format!(
                "two rules {what}: {} has its name and labels, and another expression; give each a label of its own",
                place(&rules[*first])
            );
            out.push((at, "duplicate-rule", Spot::Name, message));
        } else if let Some(first) = exprs.get(&(one.rule.is_alert(), text.clone()))
            && one.rule.is_alert()
            && same_waiting(&rules[*first], one)
        {
            let message = format!(
                "{} fires on the same condition as {} ({})",
                one.rule.name,
                rules[*first].rule.name,
                place(&rules[*first])
            );
            out.push((at, "duplicate-rule", Spot::Name, message));
        }
        same.push(at);
        exprs.entry((one.rule.is_alert(), text)).or_insert(at);
    }
}

fn same_waiting(a: &One<'_>, b: &One<'_>) -> bool {
    use crate::rules::RuleKind::Alerting;
    match (&a.rule.kind, &b.rule.kind) {
        (Alerting { for_ms: a, .. }, Alerting { for_ms: b, .. }) => a == b,
        _ => true,
    }
}

/// An alert on a metric is silent when its target is gone, unless some alert asks for the target.
fn blind(rules: &[One<'_>], out: &mut Vec<Found>) {
    let watched: Vec<&Selector> = rules
        .iter()
        .filter(|one| one.rule.is_alert())
        .flat_map(|one| watches(one.expr))
        .collect();
    let mut told: BTreeSet<Option<String>> = BTreeSet::new();
    for (at, one) in rules
        .iter()
        .enumerate()
        .filter(|(_, one)| one.rule.is_alert())
    {
        if !watches(one.expr).is_empty() {
            continue;
        }
        let mut jobs: BTreeSet<Option<String>> = BTreeSet::new();
        each(one.expr, &mut |_, selector| {
            jobs.insert(demanded(selector, "job").map(str::to_string));
        });
        for job in jobs {
            let speaks =
                |selector: &&Selector| job.as_deref().is_none_or(|job| accepts(selector, job));
            if !watched.iter().any(speaks) && told.insert(job.clone()) {
                let of = job.map_or("its target".into(), |job| format!("job {job:?}"));
                let message = format!(
                    "silent when {of} is down: no rule asks for `up == 0` or `absent(…)` of it, and a metric that is gone meets no threshold"
                );
                out.push((at, "blind-when-down", Spot::Name, message));
            }
        }
    }
}

/// Selectors by which an expression notices that targets are gone.
fn watches(expr: &Expr) -> Vec<&Selector> {
    let mut out = Vec::new();
    each(expr, &mut |_, selector| {
        if name_of(selector) == Some("up") {
            out.push(selector);
        }
    });
    absent(expr, &mut out);
    out
}

fn absent<'e>(expr: &'e Expr, out: &mut Vec<&'e Selector>) {
    match &expr.kind {
        ExprKind::Call { name, args } if name.starts_with("absent") => {
            args.iter()
                .for_each(|arg| each(arg, &mut |_, selector| out.push(selector)));
        }
        ExprKind::Call { args, .. } => args.iter().for_each(|arg| absent(arg, out)),
        ExprKind::Paren(inner)
        | ExprKind::Unary { expr: inner, .. }
        | ExprKind::Subquery { expr: inner, .. } => absent(inner, out),
        ExprKind::Aggregate(found) => absent(&found.expr, out),
        ExprKind::Binary(found) => {
            absent(&found.left, out);
            absent(&found.right, out);
        }
        ExprKind::Number(_)
        | ExprKind::Text(_)
        | ExprKind::Selector(_)
        | ExprKind::Range { .. } => {}
    }
}

fn accepts(selector: &Selector, job: &str) -> bool {
    selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name == "job")
        .all(|matcher| {
            let Ok(value) = &matcher.value else {
                return false;
            };
            let pattern = || {
                Regex::new(&format!("^(?s:{value})$")).is_ok_and(|pattern| pattern.is_match(job))
            };
            match matcher.op {
                Kind::Assign => value == job,
                Kind::NotEqual => value != job,
                Kind::Like => pattern(),
                _ => !pattern(),
            }
        })
}
