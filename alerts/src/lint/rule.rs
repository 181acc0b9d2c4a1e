//! What is wrong with a rule around its expression: waiting time, annotations, templates.

use super::facts::Facts;
use super::selectors::seconds;
use super::{Settings, Spot};
use crate::rules::{Group, Rule, RuleKind};

/// Lint, where, message.
pub(super) type Found = (&'static str, Spot, String);

/// Everything about one rule but its expression; `facts` are those of the expression's answer.
pub(super) fn check(
    group: &Group,
    rule: &Rule,
    facts: &Facts,
    settings: &Settings,
    out: &mut Vec<Found>,
) {
    let RuleKind::Alerting {
        for_ms,
        annotations,
        ..
    } = &rule.kind
    else {
        return;
    };
    let interval_ms = group.interval_ms.unwrap_or(settings.evaluation_interval_ms);
    if *for_ms > 0 && *for_ms < 2 * interval_ms {
        let message = format!(
            "`for: {}` is less than two evaluations of {}: one that sees the condition once more is all that it waits for",
            seconds(*for_ms),
            seconds(interval_ms)
        );
        out.push(("short-for", Spot::For, message));
    }
    let runbook = annotations
        .iter()
        .any(|(name, text)| name.contains("runbook") && !text.text().trim().is_empty());
    if !runbook {
        let message =
            "no annotation `runbook_url`: who is paged should not have to search for what to do";
        out.push(("missing-runbook", Spot::Name, message.into()));
    }
    let mut texts: Vec<(&String, &crate::template::Template, bool)> = Vec::new();
    texts.extend(rule.labels.iter().map(|(name, text)| (name, text, true)));
    texts.extend(annotations.iter().map(|(name, text)| (name, text, false)));
    for (name, template, label) in texts {
        for lost in template.labels() {
            if facts.can_have(&lost) {
                continue;
            }
            let what = if label { "label" } else { "annotation" };
            let message = format!(
                "{what} `{name}` shows $labels.{lost}, which the expression's answer does not have: it will be empty"
            );
            let at = template.text().find(&format!("abels.{lost}")).unwrap_or(0);
            let spot = match label {
                true => Spot::Label(name.clone(), at),
                false => Spot::Annotation(name.clone(), at),
            };
            out.push(("lost-label", spot, message));
        }
    }
}
