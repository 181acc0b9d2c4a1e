//! Prometheus rule files: groups of alerting and recording rules.
//!
//! Invariant: a [`RuleSet`] holds only rules that can be evaluated. Unknown fields, queries and templates that do not
//! parse, and what is not supported are refused with file, line and reason, all of them at once.

mod alerting;
pub(crate) mod comment;
pub(crate) mod document;
mod duration;
mod evaluate;
mod load;
mod order;
mod parse;
mod record;
mod schedule;
mod slice;
pub(crate) mod source;
mod state;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use crate::labels::Labels;
use crate::promql::Query;
use crate::template::Template;

pub use duration::{DurationError, parse_duration};
pub use evaluate::{EvalError, Evaluation};
pub use schedule::{Restoration, Schedule, Slots, Up};
pub use slice::Slice;
pub use source::RuleError;
pub(crate) use source::Source;
pub(crate) use yaml::Place;

/// Rules of any number of files, in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    pub(crate) groups: Vec<Group>,
    pub(crate) external_labels: Labels,
    pub(crate) external_url: String,
}

/// Rules that run in order at one interval.
#[derive(Debug, Clone)]
pub struct Group {
    /// The file as it was named on loading.
    pub file: String,
    /// Name, unique in its file.
    pub name: String,
    /// Own interval in milliseconds; otherwise the schedule's.
    pub interval_ms: Option<i64>,
    /// How far in the past queries look, milliseconds.
    pub query_offset_ms: i64,
    /// More alerts or series than this fail the rule; 0 is no limit.
    pub limit: usize,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `alert` or `record`.
    pub name: String,
    /// Line of the rule in its file, from 1.
    pub line: usize,
    /// The expression.
    pub query: Query,
    /// Labels added; templates in alerting rules. Those of the group are included.
    pub labels: Vec<(String, Template)>,
    /// What kind of rule it is.
    pub kind: RuleKind,
    pub(crate) places: Places,
}

/// Where the parts of a rule stand in their file.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Byte of its `alert` or `record`.
    pub name: usize,
    pub expr: Place,
    /// Byte of `for`, where it is set.
    pub wait: Option<usize>,
    /// Templates of labels and annotations, by name.
    pub labels: BTreeMap<String, Place>,
    pub annotations: BTreeMap<String, Place>,
}

/// Alerting or recording.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Writes its result as a series of the rule's name.
    Recording,
    /// Turns each sample of its result into an alert.
    Alerting {
        /// How long the condition must hold, milliseconds.
        for_ms: i64,
        /// How long a firing alert outlives its condition, milliseconds.
        keep_firing_for_ms: i64,
        /// Name and template.
        annotations: Vec<(String, Template)>,
    },
}

impl RuleSet {
    /// Reads rule files. A directory stands for the `*.yml` and `*.yaml` in it, sorted by name.
    pub fn load(paths: &[impl AsRef<Path>]) -> Result<RuleSet, Vec<RuleError>> {
        let (sources, mut errors) = read(paths);
        match Self::from_sources(sources.iter().map(|(file, text)| (&**file, &**text))) {
            Ok(set) if errors.is_empty() => Ok(set),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }

    /// Rules from texts in memory, each with the name of its file.
    pub fn from_sources<'a>(
        sources: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<RuleSet, Vec<RuleError>> {
        let (mut set, mut errors) = (RuleSet::default(), Vec::new());
        for (file, text) in sources {
            match parse::parse(file, text) {
                Ok(groups) => set.groups.extend(groups),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() {
            Ok(set)
        } else {
            Err(errors)
        }
    }

    /// With labels that templates see as `$externalLabels`.
    pub fn with_external_labels(mut self, labels: Labels) -> Self {
        self.external_labels = labels;
        self
    }

    /// With the address that templates see as `$externalURL`.
    pub fn with_external_url(mut self, url: impl Into<String>) -> Self {
        self.external_url = url.into();
        self
    }

    /// With groups evaluated in this order at each instant, as promtool's `group_eval_order`. A group that is not named
    /// counts as named first; equals stay in the order of the files.
    pub fn in_order(mut self, names: &[impl AsRef<str>]) -> Self {
        let rank = |group: &Group| {
            let place = names.iter().position(|name| name.as_ref() == group.name);
            place.unwrap_or(0)
        };
        self.groups.sort_by_key(rank);
        self
    }

    /// Every group at the schedule's interval, whatever it says itself: how promtool runs unit tests.
    pub fn at_one_interval(mut self) -> Self {
        self.groups
            .iter_mut()
            .for_each(|group| group.interval_ms = None);
        self
    }

    /// The groups, in order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Names of the groups in order, each once: what promtool's `group_eval_order` may hold.
    pub fn group_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for group in &self.groups {
            if !names.contains(&group.name) {
                names.push(group.name.clone());
            }
        }
        names
    }

    /// All alerting rules with their group.
    pub fn alerts(&self) -> impl Iterator<Item = (&Group, &Rule)> {
        self.groups
            .iter()
            .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
            .filter(|(_, rule)| rule.is_alert())
    }
}

/// Name and text of rule files, those of directories as [`RuleSet::load`] finds them, and what could not be read.
pub fn read(paths: &[impl AsRef<Path>]) -> (Vec<(String, String)>, Vec<RuleError>) {
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match load::read(path.as_ref()) {
            Ok(found) => sources.extend(found),
            Err(error) => errors.push(error),
        }
    }
    (sources, errors)
}

impl Rule {
    /// True for an alerting rule.
    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alerting { .. })
    }

    /// True for an alert that fires only after its condition has held for some time.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.kind, RuleKind::Alerting { for_ms: 1.., .. })
    }

    /// True when a template of the rule asks a query, so that it may read any series.
    pub fn templates_query(&self) -> bool {
        let annotations = match &self.kind {
            RuleKind::Recording => &[][..],
            RuleKind::Alerting { annotations, .. } => annotations,
        };
        let mut templates = self.labels.iter().chain(annotations);
        templates.any(|(_, template)| template.text().contains("query"))
    }

    /// The text of a label as written, empty when the rule does not set it.
    pub fn label(&self, name: &str) -> &str {
        self.labels
            .iter()
            .find(|(have, _)| have == name)
            .map_or("", |(_, template)| template.text())
    }

    /// The text of an annotation as written, empty when the rule does not set it.
    pub fn annotation(&self, name: &str) -> &str {
        match &self.kind {
            RuleKind::Recording => "",
            RuleKind::Alerting { annotations, .. } => annotations
                .iter()
                .find(|(have, _)| have == name)
                .map_or("", |(_, template)| template.text()),
        }
    }
}
