//! Rule files to rules, with the place of everything that is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::{Group, Rule, RuleKind};
use crate::exposition::is_name;
use crate::promql::{Query, ResultType};
use crate::template::Template;

/// What a rule file may not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file as it was named on loading.
    pub file: String,
    /// Line from 1; 0 when the file could not be read.
    pub line: usize,
    /// Column from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
    /// The line itself.
    pub source_line: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.reason);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.reason
        )?;
        let caret = " ".repeat(self.column.saturating_sub(1));
        write!(f, "\n  | {}\n  | {caret}^", self.source_line)
    }
}

impl std::error::Error for RuleError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    #[serde(default)]
    groups: Vec<GroupYaml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupYaml {
    name: Option<String>,
    interval: Option<String>,
    query_offset: Option<String>,
    #[serde(default)]
    limit: i64,
    #[serde(default)]
    labels: Option<TextsYaml>,
    #[serde(default)]
    rules: Option<Vec<RuleYaml>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleYaml {
    record: Option<String>,
    alert: Option<String>,
    expr: Option<String>,
    r#for: Option<String>,
    keep_firing_for: Option<String>,
    labels: Option<TextsYaml>,
    annotations: Option<TextsYaml>,
}

/// A value that is left out (`null`) is the empty text.
type TextsYaml = BTreeMap<String, Option<String>>;

fn texts(yaml: Option<TextsYaml>) -> BTreeMap<String, String> {
    yaml.unwrap_or_default()
        .into_iter()
        .map(|(name, text)| (name, text.unwrap_or_default()))
        .collect()
}

/// The rule files behind a path: itself, or those of a directory.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, RuleError> {
    let failed = |path: &Path, reason: String| RuleError {
        file: path.display().to_string(),
        line: 0,
        column: 0,
        reason,
        source_line: String::new(),
    };
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path)
            .map_err(|error| failed(path, format!("cannot be listed: {error}")))?;
        files = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|end| end == "yml" || end == "yaml")
        });
        files.sort();
        if files.is_empty() {
            return Err(failed(path, "holds no *.yml or *.yaml rule file".into()));
        }
    }
    let read = |file: &Path| {
        std::fs::read_to_string(file)
            .map_err(|error| failed(file, format!("cannot be read: {error}")))
    };
    files
        .iter()
        .map(|file| Ok((file.display().to_string(), read(file)?)))
        .collect()
}

/// The rules of one file.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Group>, Vec<RuleError>> {
    let places = Places::of(file, text);
    let yaml: FileYaml = match serde_yaml_ng::from_str(text) {
        Ok(yaml) => yaml,
        Err(error) => {
            let (line, column) = error
                .location()
                .map_or((1, 1), |at| (at.line(), at.column()));
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or(&reason);
            return Err(vec![places.error(line, column, reason.to_string())]);
        }
    };
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    let mut rule_number = 0;
    for (at, yaml) in yaml.groups.into_iter().enumerate() {
        let line = places.group_line(at);
        let mut refuse = |reason: String| errors.push(places.error(line, 1, reason));
        let name = yaml.name.unwrap_or_default();
        if name.is_empty() {
            refuse("group has no name".into());
        }
        if groups.iter().any(|group: &Group| group.name == name) {
            refuse(format!("group {:?} is defined twice in this file", name));
        }
        let mut duration = |what: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(parse_duration).transpose();
            parsed.unwrap_or_else(|reason| {
                refuse(format!("{what} of group: {reason}"));
                None
            })
        };
        let interval_ms = duration("interval", &yaml.interval).filter(|interval| *interval > 0);
        let query_offset_ms = duration("query_offset", &yaml.query_offset).unwrap_or(0);
        let shared = texts(yaml.labels);
        let mut rules = Vec::new();
        for rule in yaml.rules.unwrap_or_default() {
            match checked(rule, &shared, &places, rule_number) {
                Ok(rule) => rules.push(rule),
                Err(found) => errors.extend(found),
            }
            rule_number += 1;
        }
        let limit = usize::try_from(yaml.limit).unwrap_or(0);
        groups.push(Group {
            file: file.into(),
            name,
            interval_ms,
            query_offset_ms,
            limit,
            rules,
        });
    }
    if errors.is_empty() {
        Ok(groups)
    } else {
        Err(errors)
    }
}

fn checked(
    yaml: RuleYaml,
    shared: &BTreeMap<String, String>,
    places: &Places<'_>,
    number: usize,
) -> Result<Rule, Vec<RuleError>> {
    let mut errors = Vec::new();
    let mut refuse = |field: &str, reason: String| {
        let (line, column) = places.field(number, field);
        errors.push(places.error(line, column, reason));
    };
    let (name, is_alert) = match (yaml.alert, yaml.record) {
        (Some(alert), None) => (alert, true),
        (None, Some(record)) => (record, false),
        _ => {
            refuse("", "a rule must have one of `alert` and `record`".into());
            return Err(errors);
        }
    };
    let what = if is_alert { "alert" } else { "record" };
    if name.is_empty() || (!is_alert && !is_name(&name, true)) {
        refuse(what, format!("invalid name {name:?}"));
    }
    let annotations = texts(yaml.annotations);
    if !is_alert {
        for (field, present) in [
            ("for", yaml.r#for.is_some()),
            ("keep_firing_for", yaml.keep_firing_for.is_some()),
            ("annotations", !annotations.is_empty()),
        ] {
            if present {
                refuse(
                    field,
                    format!("`{field}` is not allowed in a recording rule"),
                );
            }
        }
    }
    let mut labels = shared.clone();
    labels.extend(texts(yaml.labels));
    for label in labels.keys() {
        if !is_name(label, false) || label == crate::labels::NAME {
            refuse("labels", format!("invalid label name {label:?}"));
        }
    }
    for annotation in annotations.keys().filter(|name| !is_name(name, false)) {
        refuse(
            "annotations",
            format!("invalid annotation name {annotation:?}"),
        );
    }
    let expr = yaml.expr.unwrap_or_default();
    let query = match Query::parse(&expr) {
        _ if expr.trim().is_empty() => Err("field `expr` is missing or empty".to_string()),
        Ok(query) if !matches!(query.result_type(), ResultType::Scalar | ResultType::Vector) => {
            Err("a rule's expression must answer a scalar or an instant vector".to_string())
        }
        Ok(query) => Ok(query),
        Err(error) => Err(format!("expression of {name}: {error}")),
    };
    let query = query.map_err(|reason| refuse("expr", reason));
    let mut templates = |field: &str, texts: BTreeMap<String, String>| {
        let mut out = Vec::new();
        for (name, text) in texts {
            // Only alerting rules have templates: a recording rule's label is taken as it stands.
            let parsed = if is_alert {
                Template::parse(&text)
            } else {
                Ok(Template::literal(&text))
            };
            match parsed {
                Ok(template) => out.push((name, template)),
                Err(reason) => refuse(field, format!("template of {name}: {reason}")),
            }
        }
        out
    };
    let labels = templates("labels", labels);
    let annotations = templates("annotations", annotations);
    let mut duration = |field: &str, text: Option<String>| match text.as_deref().map(parse_duration)
    {
        Some(Err(reason)) => {
            refuse(field, reason);
            0
        }
        Some(Ok(millis)) => millis,
        None => 0,
    };
    let for_ms = duration("for", yaml.r#for);
    let keep_firing_for_ms = duration("keep_firing_for", yaml.keep_firing_for);
    let line = places.field(number, "").0;
    match query {
        Ok(query) if errors.is_empty() => {
            let alerting = RuleKind::Alerting {
                for_ms,
                keep_firing_for_ms,
                annotations,
            };
            let kind = if is_alert {
                alerting
            } else {
                RuleKind::Recording
            };
            Ok(Rule {
                name,
                line,
                query,
                labels,
                kind,
            })
        }
        _ => Err(errors),
    }
}

/// A Prometheus duration such as `1h30m` to milliseconds; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    if text == "0" {
        return Ok(0);
    }
    let bad = || format!("not a valid duration: {text:?}");
    let (mut rest, mut total, mut next) = (text, 0i64, 0);
    if text.is_empty() {
        return Err("empty duration".into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: i64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        // Units stand in order, each at most once.
        let unit = UNITS
            .iter()
            .skip(next)
            .position(|(unit, _)| *unit == &rest[..letters])
            .ok_or_else(bad)?
            + next;
        let part = count.checked_mul(UNITS[unit].1).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        next = unit + 1;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// Where groups, rules and their fields stand. The YAML parser does not say, so the text is scanned for the lines that
/// open them; block scalars are skipped by their indentation.
struct Places<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    groups: Vec<usize>,
    /// First and last line of each rule, from 0.
    rules: Vec<(usize, usize)>,
}

impl<'a> Places<'a> {
    fn of(file: &'a str, text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let (mut groups, mut rules) = (Vec::new(), Vec::<(usize, usize)>::new());
        let mut inside_rules: Option<usize> = None;
        let mut scalar: Option<usize> = None;
        let mut items: Vec<(usize, usize)> = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let body = line.trim_start();
            let indent = line.len() - body.len();
            if body.is_empty()
                || body.starts_with('#')
                || scalar.is_some_and(|outer| indent > outer)
            {
                continue;
            }
            scalar = None;
            let (dash, key) = match body.strip_prefix("- ") {
                Some(rest) => (true, rest.trim_start()),
                None => (false, body),
            };
            let column = indent + body.len() - key.len();
            if inside_rules.is_some_and(|outer| indent < outer || (indent == outer && !dash)) {
                inside_rules = None;
            }
            if key.starts_with("rules:") {
                inside_rules = Some(column);
            } else if dash && inside_rules.is_some() {
                items.push((at, indent));
            } else if dash && inside_rules.is_none() {
                groups.push(at);
            }
            let value = key.trim_end();
            if [": |", ": >", ": |-", ": >-", ": |+", ": >+"]
                .iter()
                .any(|end| value.ends_with(end))
            {
                scalar = Some(column);
            }
        }
        for (place, (at, _)) in items.iter().enumerate() {
            let next_item = items.get(place + 1).map_or(lines.len(), |(next, _)| *next);
            let next_group = groups
                .iter()
                .find(|group| *group > at)
                .copied()
                .unwrap_or(lines.len());
            rules.push((*at, next_item.min(next_group)));
        }
        Places {
            file,
            lines,
            groups,
            rules,
        }
    }

    fn error(&self, line: usize, column: usize, reason: String) -> RuleError {
        let source_line = self
            .lines
            .get(line.saturating_sub(1))
            .unwrap_or(&"")
            .to_string();
        RuleError {
            file: self.file.into(),
            line: line.max(1),
            column: column.max(1),
            reason,
            source_line,
        }
    }

    fn group_line(&self, at: usize) -> usize {
        self.groups.get(at).map_or(1, |line| line + 1)
    }

    /// Line and column of a field's value; of the rule when the field is not found.
    fn field(&self, rule: usize, field: &str) -> (usize, usize) {
        let Some((first, end)) = self.rules.get(rule).copied() else {
            return (1, 1);
        };
        for at in first..end {
            let line = self.lines[at];
            let key = line.trim_start().trim_start_matches("- ").trim_start();
            if let Some(value) = key
                .strip_prefix(field)
                .and_then(|rest| rest.strip_prefix(':'))
            {
                let column = line.len() - value.trim_start().len() + 1;
                return (at + 1, column);
            }
        }
        (first + 1, self.lines[first].find('-').unwrap_or(0) + 1)
    }
}
