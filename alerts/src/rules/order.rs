//! Whether rules may be evaluated one after the other over all instants, or only instant by instant.

use super::{Group, Rule, RuleKind, RuleSet};
use crate::labels::NAME;
use crate::promql::Query;
use crate::template::Template;

impl RuleSet {
    /// True when evaluating rule by rule could differ from evaluating instant by instant: a rule could read its own output, a
    /// later rule's, or what an earlier one writes in an evaluation yet to come; or two could write one series, of which
    /// storage keeps what comes first.
    pub(super) fn needs_steps(&self) -> bool {
        let rules: Vec<(&Group, &Rule)> = self
            .groups
            .iter()
            .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
            .collect();
        let shared = rules.iter().enumerate().any(|(at, (_, one))| {
            let mut others = rules[at + 1..].iter();
            others.any(|(_, other)| may_share(one, other))
        });
        if shared {
            return true;
        }
        rules.iter().enumerate().any(|(at, (group, reader))| {
            let Some(asked) = asked(reader) else {
                return true;
            };
            let ahead = reader.query.plan().looks_ahead();
            let writers = rules.iter().enumerate().filter(|(place, (other, _))| {
                // An offset back-dates what is written.
                ahead || *place >= at || other.query_offset_ms > group.query_offset_ms
            });
            writers
                .map(|(_, (_, writer))| writer)
                .any(|writer| asked.iter().any(|query| reads(query, writer)))
        })
    }
}

/// The queries of a rule, those of its templates included; `None` when they are known only while it runs.
pub(super) fn asked(rule: &Rule) -> Option<Vec<Query>> {
    let RuleKind::Alerting { annotations, .. } = &rule.kind else {
        return Some(vec![rule.query.clone()]);
    };
    let mut out = vec![rule.query.clone()];
    for (_, template) in rule.labels.iter().chain(annotations) {
        // What does not parse fails in the template.
        out.extend(
            template
                .queries()?
                .iter()
                .filter_map(|text| Query::parse(text).ok()),
        );
    }
    Some(out)
}

/// Could two rules write one series? Rather yes than no.
pub(super) fn may_share(one: &Rule, other: &Rule) -> bool {
    let same_names = match (one.is_alert(), other.is_alert()) {
        (true, true) | (false, false) => one.name == other.name,
        (true, false) => names(one).contains(&&*other.name),
        (false, true) => names(other).contains(&&*one.name),
    };
    let differs = |(name, text): &(String, Template)| {
        // These are set by alerts themselves.
        let fixed = text.is_plain() && !matches!(&**name, "alertname" | "alertstate");
        let mut labels = other.labels.iter();
        fixed
            && labels.any(|(have, other)| {
                have == name && other.is_plain() && other.text() != text.text()
            })
    };
    same_names && !one.labels.iter().any(differs)
}

/// The names of the series that a rule writes.
fn names(writer: &Rule) -> Vec<&str> {
    match writer.is_alert() {
        true => vec!["ALERTS", "ALERTS_FOR_STATE"],
        false => vec![&*writer.name],
    }
}

/// Could a selector of a query match what a rule writes? Rather yes than no.
pub(super) fn reads(query: &Query, writer: &Rule) -> bool {
    let names = names(writer);
    let mut found = false;
    query.plan().selectors(&mut |selector| {
        found |= names.iter().any(|name| {
            selector
                .matchers
                .iter()
                .all(|matcher| match &*matcher.name {
                    NAME => matcher.accepts(name),
                    "alertname" if writer.is_alert() => matcher.accepts(&writer.name),
                    label => {
                        let set = writer
                            .labels
                            .iter()
                            .find(|(have, template)| have == label && template.is_plain());
                        set.is_none_or(|(_, template)| matcher.accepts(template.text()))
                    }
                })
        });
    });
    found
}
