//! Rule files to rules, with the place of everything that is refused.
//!
//! Read are Prometheus' own files and Kubernetes' `PrometheusRule` resources, alone, in lists, or several in one file. Field
//! by field this follows promtool: any scalar is text, a field without value is not set, unknown and repeated fields are
//! refused.

use std::collections::BTreeMap;

use super::document::{Fields, Reading};
use super::duration::parse_duration;
use super::source::{RuleError, Source};
use super::yaml::{Content, Documents, Fault, Node};
use super::{Group, Places, Rule, RuleKind};
use crate::labels::NAME;
use crate::promql::{Query, ResultType};
use crate::template::Template;

const RULE_FIELDS: [&str; 7] = [
    "record",
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
];
const GROUP_FIELDS: [&str; 6] = [
    "name",
    "interval",
    "query_offset",
    "limit",
    "labels",
    "rules",
];
/// Of a `PrometheusRule` alone: what Thanos does when a store does not answer. Prometheus has no such thing, and the
/// operator drops the field.
const PARTIAL: &str = "partial_response_strategy";
const API: &str = "monitoring.coreos.com/v1";

/// A text by name, with the node that holds it.
type Texts<'n> = BTreeMap<&'n str, (&'n str, &'n Node)>;

/// The rules of one file.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Group>, Vec<RuleError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(file, text);
    let mut reading = Reading::new(&source);
    let groups = match documents(text) {
        Ok(documents) => file_groups(&mut reading, &documents),
        Err(Fault { at, reason }) => {
            reading.refuse_at(at, reason);
            Vec::new()
        }
    };
    reading.finish(groups)
}

/// The first document; all, where they are resources.
fn documents(text: &str) -> Result<Vec<std::sync::Arc<Node>>, Fault> {
    let mut out = Vec::new();
    for document in Documents::checked(text)? {
        let document = document?;
        // Prometheus reads the first document of a rule file and no other.
        let plain = !document.is_null() && !is_resource(&document);
        if plain && out.is_empty() {
            return Ok(vec![document]);
        }
        out.push(document);
    }
    Ok(out)
}

fn is_resource(node: &Node) -> bool {
    let Content::Mapping(pairs) = &node.content else {
        return false;
    };
    pairs.iter().any(|(key, _)| {
        matches!(&key.content, Content::Scalar { text, .. } if text == "kind" || text == "apiVersion")
    })
}

fn file_groups(reading: &mut Reading<'_>, documents: &[std::sync::Arc<Node>]) -> Vec<Group> {
    let mut out = Vec::new();
    for document in documents {
        if is_resource(document) {
            resource(reading, document, &mut out);
        } else if let Some(fields) = reading.fields(document, "rule file", &["groups"]) {
            out.extend(groups(reading, fields.get("groups"), &[]));
        }
    }
    out
}

/// A `PrometheusRule`, or a list of them. Lists do not hold lists.
fn resource(reading: &mut Reading<'_>, node: &Node, out: &mut Vec<Group>) {
    let Some(head) = reading.any_fields(node) else {
        return;
    };
    let api = head.get("apiVersion").and_then(|node| reading.text(node));
    let kind = head.get("kind").and_then(|node| reading.text(node));
    match (api.unwrap_or(""), kind.unwrap_or("")) {
        (API, "PrometheusRule") => {
            let known = ["apiVersion", "kind", "metadata", "spec", "status"];
            if let Some(fields) = reading.fields(node, "PrometheusRule", &known)
                && let Some(spec) = fields.get("spec")
                && let Some(spec) = reading.fields(spec, "spec", &["groups"])
            {
                out.extend(groups(reading, spec.get("groups"), &[PARTIAL]));
            }
        }
        ("v1", "List") | (API, "PrometheusRuleList") => {
            let known = ["apiVersion", "kind", "metadata", "items"];
            let Some(fields) = reading.fields(node, "List", &known) else {
                return;
            };
            for item in reading.items(fields.get("items"), "items") {
                match reading.is_list(item) {
                    true => reading.refuse(item, "a List inside a List is not read"),
                    false => resource(reading, item, out),
                }
            }
        }
        (api, kind) => {
            let reason = format!(
                "a resource of kind {kind:?} and apiVersion {api:?} holds no rules; expected kind PrometheusRule of {API}"
            );
            let place = head.get("kind").or(head.get("apiVersion")).unwrap_or(node);
            reading.refuse(place, reason);
        }
    }
}

fn groups(reading: &mut Reading<'_>, node: Option<&Node>, more: &[&str]) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    let mut known = GROUP_FIELDS.to_vec();
    known.extend(more);
    for node in reading.items(node, "groups") {
        let Some(fields) = reading.fields(node, "group", &known) else {
            continue;
        };
        let group = group(reading, node, &fields);
        if out.iter().any(|other| other.name == group.name) {
            let reason = format!("group {:?} is defined twice in this file", group.name);
            reading.refuse(fields.get("name").unwrap_or(node), reason);
        }
        out.push(group);
    }
    out
}

fn group(reading: &mut Reading<'_>, node: &Node, fields: &Fields<'_>) -> Group {
    let name = fields.get("name").and_then(|node| reading.text(node));
    if name.unwrap_or("").is_empty() {
        reading.refuse(fields.get("name").unwrap_or(node), "group has no name");
    }
    if let Some(strategy) = fields.get(PARTIAL)
        && let Some(text) = reading.text(strategy)
        && !["", "warn", "abort"].contains(&&*text.to_lowercase())
    {
        reading.refuse(strategy, format!("{PARTIAL} must be `warn` or `abort`"));
    }
    let interval = duration(reading, fields, "interval");
    let limit = fields.get("limit").and_then(|node| reading.integer(node));
    let shared = texts(reading, fields.get("labels"), "label");
    let rules = reading
        .items(fields.get("rules"), "rules")
        .into_iter()
        .filter_map(|node| {
            let fields = reading.fields(node, "rule", &RULE_FIELDS)?;
            rule(reading, node, &fields, &shared)
        });
    let rules = rules.collect();
    Group {
        file: reading.source.file.into(),
        name: name.unwrap_or_default().into(),
        interval_ms: Some(interval).filter(|interval| *interval > 0),
        query_offset_ms: duration(reading, fields, "query_offset"),
        // A limit below 0 is none.
        limit: usize::try_from(limit.unwrap_or(0)).unwrap_or(0),
        rules,
    }
}

/// 0 when the field is not set.
fn duration(reading: &mut Reading<'_>, fields: &Fields<'_>, field: &str) -> i64 {
    let Some(node) = fields.get(field) else {
        return 0;
    };
    match reading.text(node).map(parse_duration) {
        Some(Ok(millis)) => millis,
        Some(Err(reason)) => {
            reading.refuse(node, reason.to_string());
            0
        }
        None => 0,
    }
}

/// Labels or annotations; a value that is left out is the empty text.
fn texts<'n>(reading: &mut Reading<'_>, node: Option<&'n Node>, what: &str) -> Texts<'n> {
    let mut out = Texts::new();
    let entries = node.and_then(|node| reading.any_fields(node));
    for (name, key, value) in entries.iter().flat_map(Fields::iter) {
        if name.is_empty() || (what == "label" && name == NAME) {
            reading.refuse(key, format!("invalid {what} name {name:?}"));
        }
        let text = reading.text(value).unwrap_or("");
        out.insert(name, (text, value));
    }
    out
}

fn rule(
    reading: &mut Reading<'_>,
    node: &Node,
    fields: &Fields<'_>,
    shared: &Texts<'_>,
) -> Option<Rule> {
    let mut named = |field: &str| {
        let node = fields.get(field)?;
        reading
            .text(node)
            .filter(|name| !name.is_empty())
            .map(|name| (name, node))
    };
    let (alert, record) = (named("alert"), named("record"));
    let expr = expression(reading, node, fields.get("expr"));
    let for_ms = duration(reading, fields, "for");
    let keep_firing_for_ms = duration(reading, fields, "keep_firing_for");
    let own = texts(reading, fields.get("labels"), "label");
    let annotations = texts(reading, fields.get("annotations"), "annotation");
    let mut labels = shared.clone();
    labels.extend(own);
    let line = reading.source.line(node.at());
    let place = |texts: &Texts<'_>| {
        let placed = texts.iter();
        placed
            .map(|(name, (_, node))| (name.to_string(), node.place()))
            .collect()
    };
    let (placed_labels, placed_annotations) = (place(&labels), place(&annotations));
    let named_at = alert.or(record).map_or(node.at(), |(_, node)| node.at());
    let (name, labels, kind) = match (alert, record) {
        (Some((name, _)), None) => {
            let annotations = templates(reading, annotations);
            let kind = RuleKind::Alerting {
                for_ms,
                keep_firing_for_ms,
                annotations,
            };
            (name, templates(reading, labels), kind)
        }
        (None, Some((name, node))) => {
            let unwanted = [
                ("for", for_ms != 0),
                ("keep_firing_for", keep_firing_for_ms != 0),
                ("annotations", !annotations.is_empty()),
            ];
            recorded(reading, fields, (name, node), unwanted);
            // Only alerting rules have templates: a recording rule's label is taken as it stands.
            let literal =
                |(name, (text, _)): (&str, (&str, _))| (name.to_string(), Template::literal(text));
            let labels = labels.into_iter().map(literal).collect();
            (name, labels, RuleKind::Recording)
        }
        (Some(_), Some((_, node))) => {
            reading.refuse(
                node,
                "a rule must have one of `alert` and `record`, not both",
            );
            return None;
        }
        (None, None) => {
            reading.refuse(node, "a rule must have one of `alert` and `record`");
            return None;
        }
    };
    Some(Rule {
        name: name.into(),
        line,
        query: expr?,
        labels,
        kind,
        places: Places {
            name: named_at,
            expr: fields.get("expr").unwrap_or(node).place(),
            wait: fields.get("for").map(Node::at),
            labels: placed_labels,
            annotations: placed_annotations,
        },
    })
}

/// Checks what only a recording rule may not say.
fn recorded(
    reading: &mut Reading<'_>,
    fields: &Fields<'_>,
    (name, node): (&str, &Node),
    unwanted: [(&str, bool); 3],
) {
    if name.contains(['{', '}']) {
        let reason = format!("braces in the name {name:?}: a selector belongs into `expr`");
        reading.refuse(node, reason);
    }
    for (field, _) in unwanted.iter().filter(|(_, set)| *set) {
        let place = fields.get(field).unwrap_or(node);
        let reason = format!("`{field}` is not allowed in a recording rule");
        reading.refuse(place, reason);
    }
}

fn expression(reading: &mut Reading<'_>, rule: &Node, node: Option<&Node>) -> Option<Query> {
    let text = node.and_then(|node| Some((node, reading.text(node)?)));
    let Some((node, text)) = text.filter(|(_, text)| !text.trim().is_empty()) else {
        reading.refuse(node.unwrap_or(rule), "field `expr` is missing or empty");
        return None;
    };
    match Query::parse(text) {
        Ok(query) if matches!(query.result_type(), ResultType::Scalar | ResultType::Vector) => {
            Some(query)
        }
        Ok(_) => {
            let reason = "a rule's expression must answer a scalar or an instant vector";
            reading.refuse_within(node, 0, reason.into());
            None
        }
        Err(error) => {
            // The place is shown in the file instead.
            let plain = error.reason.split_once("parse error: ");
            let reason = plain.map_or(&*error.reason, |(_, reason)| reason);
            let reason = format!("expression: {reason}");
            reading.refuse_within(node, error.at.unwrap_or(0), reason);
            None
        }
    }
}

fn templates(reading: &mut Reading<'_>, texts: Texts<'_>) -> Vec<(String, Template)> {
    let mut out = Vec::new();
    for (name, (text, node)) in texts {
        match Template::parse(text) {
            Ok(template) => out.push((name.to_string(), template)),
            Err(error) => {
                reading.refuse_within(node, error.at, format!("template of {name}: {error}"));
            }
        }
    }
    out
}
