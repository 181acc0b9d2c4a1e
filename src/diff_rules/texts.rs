//! What two rule sets say, rule by rule: which alerts only one of them has, and which rules are written differently.
//!
//! Invariant: a pure function of two rule sets. Rules are told apart by what they alert or record, never by file, group or
//! order; a rule that only moved is the same.

use std::collections::{BTreeMap, BTreeSet};

use alerts::rules::{Group, Rule, RuleKind, RuleSet};
use serde::Serialize;

/// What makes two alerts of two rule sets the same: the labels `alert_id` and `branch`, else the alert's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// The label `alert_id`, or the name of an alert that has none.
    pub id: String,
    /// The label `branch`.
    pub branch: Option<String>,
}

impl Identity {
    /// Of an alerting rule whose labels are plain text.
    pub fn of(rule: &Rule) -> Identity {
        identity(rule, false)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)?;
        match &self.branch {
            Some(branch) => write!(f, " ({branch})"),
            None => Ok(()),
        }
    }
}

/// OLD or NEW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The rules as they were.
    Old,
    /// The rules as they are to be.
    New,
}

impl Which {
    /// As the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Which::Old => "OLD",
            Which::New => "NEW",
        }
    }
}

/// Fields of a rule as written, and of its group as far as they decide what it does.
type Fields = BTreeMap<&'static str, String>;

/// One rule set, rule by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Several rules may share an identity.
    alerts: BTreeMap<Identity, Vec<Text>>,
    records: BTreeMap<String, Vec<Text>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    name: String,
    place: String,
    fields: Fields,
    labels: BTreeSet<String>,
    /// The identity hangs on the series, so each firing has its own.
    templated: bool,
}

/// An alert that one rule set alone has, and that never fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotExercised {
    /// The only rule set that has it.
    pub only_in: Which,
    /// The alert.
    #[serde(flatten)]
    pub alert: Identity,
    /// Its name.
    pub name: String,
    /// File and line.
    pub rule: String,
}

/// A rule that is written differently although no incident differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoEffect {
    /// The alert, or the recorded series' name.
    #[serde(flatten)]
    pub rule: Identity,
    /// Name of the rule.
    pub name: String,
    /// File and line under NEW, or under OLD for a recording rule that only OLD has.
    pub place: String,
    /// What of it is written differently.
    pub fields: Vec<String>,
    /// It fired in some run, in the same way under both; `None` for a recording rule, which does not fire.
    pub fired: Option<bool>,
}

impl Texts {
    /// Reads a rule set.
    pub fn of(rules: &RuleSet) -> Texts {
        let mut texts = Texts::default();
        for group in rules.groups() {
            for rule in &group.rules {
                let text = Text::of(group, rule);
                let place = match rule.is_alert() {
                    true => texts
                        .alerts
                        .entry(identity(rule, text.templated))
                        .or_default(),
                    false => texts.records.entry(rule.name.clone()).or_default(),
                };
                place.push(text);
            }
        }
        texts
    }

    /// Names of the labels that the rules of an alert set. Where the identity is a template, those of all such rules.
    pub fn labels(&self, alert: &Identity) -> BTreeSet<String> {
        let own = self.alerts.get(alert).into_iter().flatten();
        let templated = self.alerts.values().flatten().filter(|text| text.templated);
        let labels = own.chain(templated).flat_map(|text| &text.labels);
        labels.cloned().collect()
    }

    /// The expressions of some alerts.
    fn expressions<'a>(&'a self, alerts: &BTreeSet<Identity>) -> Vec<&'a str> {
        let of = |alert| self.alerts.get(alert).into_iter().flatten();
        let texts = alerts.iter().flat_map(of);
        texts.filter_map(Text::expression).collect()
    }

    /// Names of the recorded series that some expressions read, through others too.
    fn read_by(&self, expressions: Vec<&str>) -> BTreeSet<&str> {
        let mut read = BTreeSet::new();
        let mut open = expressions;
        while let Some(expression) = open.pop() {
            for (name, texts) in &self.records {
                if expression.contains(&**name) && read.insert(&**name) {
                    open.extend(texts.iter().filter_map(Text::expression));
                }
            }
        }
        read
    }
}

impl Text {
    fn of(group: &Group, rule: &Rule) -> Text {
        let mut fields = Fields::new();
        let list = |templates: &[(String, alerts::template::Template)]| -> String {
            let lines = templates.iter();
            lines
                .map(|(name, template)| format!("{name}: {}\n", template.text()))
                .collect()
        };
        fields.insert("expr", rule.query.text().trim().to_owned());
        fields.insert("labels", list(&rule.labels));
        fields.insert("interval", format!("{:?}", group.interval_ms));
        fields.insert("query_offset", group.query_offset_ms.to_string());
        fields.insert("limit", group.limit.to_string());
        if let RuleKind::Alerting {
            for_ms,
            keep_firing_for_ms,
            annotations,
        } = &rule.kind
        {
            fields.insert("alert", rule.name.clone());
            fields.insert("for", for_ms.to_string());
            fields.insert("keep_firing_for", keep_firing_for_ms.to_string());
            fields.insert("annotations", list(annotations));
        }
        let own = ["alert_id", "branch"].map(|label| rule.label(label));
        Text {
            name: rule.name.clone(),
            place: format!("{}:{}", group.file, rule.line),
            fields,
            labels: rule.labels.iter().map(|(name, _)| name.clone()).collect(),
            templated: rule.is_alert() && own.iter().any(|text| text.contains("{{")),
        }
    }

    fn expression(&self) -> Option<&str> {
        self.fields.get("expr").map(|text| &**text)
    }
}

fn identity(rule: &Rule, templated: bool) -> Identity {
    let label = |name| Some(rule.label(name)).filter(|text| !text.is_empty() && !templated);
    Identity {
        id: label("alert_id").unwrap_or(&rule.name).to_owned(),
        branch: label("branch").map(str::to_owned),
    }
}

/// Both rule sets say the same; in which files, groups and order does not matter, except that recording rules may read each
/// other, which their intervals and expressions tell.
pub fn same(old: &Texts, new: &Texts) -> bool {
    let [old, new] = [old, new].map(|texts| {
        let fields = |rules: &[Text]| sorted(rules).into_iter().cloned().collect::<Vec<Fields>>();
        let alerts = texts
            .alerts
            .iter()
            .map(|(id, rules)| (id.clone(), fields(rules)));
        let records = texts
            .records
            .iter()
            .map(|(name, rules)| (name.clone(), fields(rules)));
        (alerts.collect::<Vec<_>>(), records.collect::<Vec<_>>())
    });
    old == new
}

fn sorted(rules: &[Text]) -> Vec<&Fields> {
    let mut fields: Vec<&Fields> = rules.iter().map(|text| &text.fields).collect();
    fields.sort();
    fields
}

/// What fired and what differed in all runs together.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Alerts that fired under any of the two.
    pub fired: BTreeSet<Identity>,
    /// Names of those alerts.
    pub names: BTreeSet<String>,
    /// Alerts of which an incident differs.
    pub differ: BTreeSet<Identity>,
}

impl Seen {
    fn fired(&self, alert: &Identity, rules: &[Text]) -> bool {
        let templated = |text: &Text| text.templated && self.names.contains(&text.name);
        self.fired.contains(alert) || rules.iter().any(templated)
    }
}

/// Alerts that one side alone has, and that never fired: of them nothing is known.
pub fn not_exercised(old: &Texts, new: &Texts, seen: &Seen) -> Vec<NotExercised> {
    let sides = [(Which::Old, old, new), (Which::New, new, old)];
    let mut found = Vec::new();
    for (only_in, texts, other) in sides {
        for (alert, rules) in &texts.alerts {
            if !other.alerts.contains_key(alert) && !seen.fired(alert, rules) {
                found.extend(rules.iter().map(|text| NotExercised {
                    only_in,
                    alert: alert.clone(),
                    name: text.name.clone(),
                    rule: text.place.clone(),
                }));
            }
        }
    }
    found
}

/// Rules that are written differently although no incident of theirs differs; for a recording rule, of an alert that reads it.
pub fn no_effect(old: &Texts, new: &Texts, seen: &Seen) -> Vec<NoEffect> {
    let mut found = Vec::new();
    for (alert, rules) in &new.alerts {
        let Some(before) = old
            .alerts
            .get(alert)
            .filter(|_| !seen.differ.contains(alert))
        else {
            continue;
        };
        if let Some((fields, text)) = changed(before, rules) {
            found.push(NoEffect {
                rule: alert.clone(),
                name: text.name.clone(),
                place: text.place.clone(),
                fields,
                fired: Some(seen.fired(alert, rules)),
            });
        }
    }
    let mut read: BTreeSet<&str> = BTreeSet::new();
    for texts in [old, new] {
        read.extend(texts.read_by(texts.expressions(&seen.differ)));
    }
    let names: BTreeSet<&String> = old.records.keys().chain(new.records.keys()).collect();
    for name in names.into_iter().filter(|name| !read.contains(&***name)) {
        let [before, after] = [old, new].map(|texts| texts.records.get(name));
        let [before, after] = [before, after].map(|rules| rules.map_or(&[][..], Vec::as_slice));
        if let Some((fields, text)) = changed(before, after) {
            found.push(NoEffect {
                rule: Identity {
                    id: name.clone(),
                    branch: None,
                },
                name: name.clone(),
                place: text.place.clone(),
                fields,
                fired: None,
            });
        }
    }
    found
}

/// Names of the fields that differ, and a rule to show.
fn changed<'a>(old: &'a [Text], new: &'a [Text]) -> Option<(Vec<String>, &'a Text)> {
    let (before, after) = (sorted(old), sorted(new));
    if before == after {
        return None;
    }
    if before.len() != after.len() {
        let said = format!("number of rules: {} → {}", before.len(), after.len());
        return Some((vec![said], new.first().or(old.first())?));
    }
    let names: BTreeSet<&str> = before
        .iter()
        .zip(&after)
        .flat_map(|(old, new)| old.keys().filter(|name| old.get(*name) != new.get(*name)))
        .copied()
        .collect();
    let unchanged = |text: &&Text| before.contains(&&text.fields);
    let shown = new.iter().find(|text| !unchanged(text)).or(new.first())?;
    Some((names.into_iter().map(str::to_owned).collect(), shown))
}

#[cfg(test)]
mod tests;
