//! Firings of one alert under two rule sets, put beside each other by incident.
//!
//! Invariant: a pure function of plain data, symmetric in its two sides. Firings that differ in anything that somebody who is
//! paged could notice (instants, number, labels) never read as equal. When a condition became true is used to find what
//! belongs together, and is no difference by itself.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use chaos::judge::Firing;
use serde::Serialize;

/// Firings that do not overlap belong together when their conditions became true within this time: Prometheus' lookback,
/// and the window of most rules.
const NEAR_MS: u64 = 300_000;

/// How two sides of an incident differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Fires under NEW only.
    New,
    /// Fires under OLD only.
    Missing,
    /// Some firing begins earlier under NEW.
    Earlier,
    /// Some firing begins later under NEW.
    Later,
    /// Some firing ends earlier under NEW.
    ResolvesEarlier,
    /// Some firing ends later under NEW, or does not end.
    ResolvesLater,
    /// More firings under NEW.
    MorePages,
    /// Fewer firings under NEW.
    FewerPages,
    /// Other labels, by which alerts are routed and grouped.
    Labels,
}

/// What is known of an alert beside its firings.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Names of labels that its rules set, on either side; the others come from the series.
    pub rule_labels: BTreeSet<String>,
    /// When its symptom was true: firings within one span are of one incident. Milliseconds.
    pub symptoms: Vec<(u64, u64)>,
}

/// One firing. Times are seconds of virtual time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// When its condition became true.
    pub pending_at_s: f64,
    /// When it fired.
    pub fired_at_s: f64,
    /// When it resolved; `None` if it still fires at the end.
    pub resolved_at_s: Option<f64>,
}

/// What one rule set made of an incident. Times are seconds of virtual time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The first firing.
    pub fired_at_s: f64,
    /// The last end; `None` if one still fires.
    pub resolved_at_s: Option<f64>,
    /// In the order of their beginning.
    pub firings: Vec<Span>,
}

/// A label whose values differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelChange {
    /// Its name.
    pub name: String,
    /// Values under OLD; the empty one where it is not set.
    pub old: BTreeSet<String>,
    /// Values under NEW.
    pub new: BTreeSet<String>,
}

/// An incident of one alert under both rule sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// How the sides differ; empty if they do not.
    pub changes: BTreeSet<Change>,
    /// Seconds by which NEW fires later (negative: earlier): the first firing, or if that is the same the one that moves most.
    pub fires_later_s: Option<f64>,
    /// Seconds by which NEW resolves later, in the same way.
    pub resolves_later_s: Option<f64>,
    /// Labels that differ.
    pub labels: Vec<LabelChange>,
    /// Under OLD.
    pub old: Option<Side>,
    /// Under NEW.
    pub new: Option<Side>,
}

/// The incidents of one alert, in the order of time; those that do not differ too.
pub fn incidents(old: &[Firing], new: &[Firing], context: &Context) -> Vec<Incident> {
    let groups = grouped(old, new, &context.symptoms);
    groups
        .into_iter()
        .map(|group| compare(&group, &context.rule_labels))
        .collect()
}

/// Firings of both sides that belong together.
#[derive(Clone, Debug, Default)]
struct Group<'a> {
    sides: [Vec<&'a Firing>; 2],
}

impl Group<'_> {
    fn is_empty(&self) -> bool {
        self.sides.iter().all(Vec::is_empty)
    }

    /// When its condition became true, and the only side on which it did.
    fn lone(&self) -> Option<(usize, u64)> {
        let side = self.sides.iter().position(|side| !side.is_empty())?;
        let onset = self.sides[side].iter().map(|firing| firing.pending_at_ms);
        onset
            .min()
            .filter(|_| self.sides[1 - side].is_empty())
            .map(|onset| (side, onset))
    }
}

/// From, to, and the firing with its side; a symptom has none.
type Timed<'a> = (u64, u64, Option<(usize, &'a Firing)>);

/// What overlaps, from the condition to the end of the firing, and what falls into one symptom; then what is near.
fn grouped<'a>(old: &'a [Firing], new: &'a [Firing], symptoms: &[(u64, u64)]) -> Vec<Group<'a>> {
    let firings = |side: usize, firings: &'a [Firing]| {
        firings.iter().map(move |firing| {
            let end = firing.resolved_at_ms.unwrap_or(u64::MAX);
            (firing.pending_at_ms, end, Some((side, firing)))
        })
    };
    let mut spans: Vec<Timed<'_>> = firings(0, old).chain(firings(1, new)).collect();
    spans.extend(symptoms.iter().map(|(from, to)| (*from, *to, None)));
    spans.sort_by_key(|(from, to, _)| (*from, *to));
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut until = None;
    for (from, to, firing) in spans {
        if until.is_none_or(|until| from >= until) {
            groups.push(Group::default());
        }
        until = until.max(Some(to));
        if let (Some(group), Some((side, firing))) = (groups.last_mut(), firing) {
            group.sides[side].push(firing);
        }
    }
    groups.retain(|group| !group.is_empty());
    while let Some(at) = nearest(&groups) {
        let [old, new] = groups.remove(at + 1).sides;
        groups[at].sides[0].extend(old);
        groups[at].sides[1].extend(new);
    }
    groups
}

/// The first of two neighbours of different sides alone that are nearest to each other, and near.
fn nearest(groups: &[Group<'_>]) -> Option<usize> {
    let apart = |(at, pair): (usize, &[Group<'_>])| {
        let [(one, begins), (other, follows)] = [pair[0].lone()?, pair[1].lone()?];
        let apart = follows.saturating_sub(begins);
        (one != other && apart <= NEAR_MS).then_some((apart, at))
    };
    groups
        .windows(2)
        .enumerate()
        .filter_map(apart)
        .min()
        .map(|(_, at)| at)
}

fn compare(group: &Group<'_>, rule_labels: &BTreeSet<String>) -> Incident {
    let [old, new] = [0, 1].map(|side| Side::of(&group.sides[side]));
    let mut changes = BTreeSet::new();
    let (mut fires, mut resolves, mut labels) = (None, None, Vec::new());
    match (&old, &new) {
        (None, _) => drop(changes.insert(Change::New)),
        (_, None) => drop(changes.insert(Change::Missing)),
        (Some(old), Some(new)) => {
            let shifts = Shifts::of(old, new, rule_labels);
            fires = shifts.note(Span::fired, (Change::Earlier, Change::Later), &mut changes);
            let ends = (Change::ResolvesEarlier, Change::ResolvesLater);
            resolves = shifts.note(Span::resolved, ends, &mut changes);
            changes.extend(
                shifts
                    .pages
                    .iter()
                    .filter_map(|(old, new)| match new.cmp(old) {
                        Ordering::Greater => Some(Change::MorePages),
                        Ordering::Less => Some(Change::FewerPages),
                        Ordering::Equal => None,
                    }),
            );
            labels = label_changes(old, new);
            if !labels.is_empty() {
                changes.insert(Change::Labels);
            }
        }
    }
    Incident {
        changes,
        fires_later_s: fires,
        resolves_later_s: resolves.filter(|by| by.is_finite()),
        labels,
        old,
        new,
    }
}

impl Side {
    fn of(firings: &[&Firing]) -> Option<Side> {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let mut firings: Vec<Span> = firings
            .iter()
            .map(|firing| Span {
                labels: firing.labels.clone(),
                pending_at_s: seconds(firing.pending_at_ms),
                fired_at_s: seconds(firing.fired_at_ms),
                resolved_at_s: firing.resolved_at_ms.map(seconds),
            })
            .collect();
        firings.sort_by(|a, b| {
            let times = a.fired_at_s.total_cmp(&b.fired_at_s);
            times.then_with(|| a.labels.cmp(&b.labels))
        });
        let ends = firings.iter().map(|span| span.resolved_at_s);
        let resolved_at_s = ends.reduce(|a, b| Some(a?.max(b?))).flatten();
        Some(Side {
            fired_at_s: firings.first()?.fired_at_s,
            resolved_at_s,
            firings,
        })
    }

    /// Firings by what of their labels comes from the series.
    fn by_series(&self, rule_labels: &BTreeSet<String>) -> BTreeMap<Vec<(&str, &str)>, Vec<&Span>> {
        let mut series: BTreeMap<_, Vec<&Span>> = BTreeMap::new();
        for span in &self.firings {
            let labels = span.labels.iter();
            let own =
                labels.filter(|(name, _)| *name != "alertname" && !rule_labels.contains(*name));
            let key = own.map(|(name, value)| (&**name, &**value)).collect();
            series.entry(key).or_default().push(span);
        }
        series
    }
}

impl Span {
    fn fired(&self) -> f64 {
        self.fired_at_s
    }

    fn resolved(&self) -> f64 {
        self.resolved_at_s.unwrap_or(f64::INFINITY)
    }
}

/// Firings of both sides that stand for each other.
struct Shifts<'a> {
    sides: [&'a Side; 2],
    /// Of series that fired equally often on both sides, in order; otherwise which is which is not known.
    pairs: Vec<(&'a Span, &'a Span)>,
    /// How often both sides fired: all in all, and each series that they share.
    pages: Vec<(usize, usize)>,
}

impl<'a> Shifts<'a> {
    fn of(old: &'a Side, new: &'a Side, rule_labels: &BTreeSet<String>) -> Shifts<'a> {
        let (old_series, new_series) = (old.by_series(rule_labels), new.by_series(rule_labels));
        let mut pairs = Vec::new();
        let mut pages = vec![(old.firings.len(), new.firings.len())];
        for (key, old) in old_series {
            let Some(new) = new_series.get(&key) else {
                continue;
            };
            pages.push((old.len(), new.len()));
            if old.len() == new.len() {
                pairs.extend(old.into_iter().zip(new.iter().copied()));
            }
        }
        let sides = [old, new];
        Shifts {
            sides,
            pairs,
            pages,
        }
    }

    /// By how much NEW is later at an edge of the firings; infinite when only one side has that edge.
    fn note(
        &self,
        edge: impl Fn(&Span) -> f64,
        (earlier, later): (Change, Change),
        changes: &mut BTreeSet<Change>,
    ) -> Option<f64> {
        let by = |old: f64, new: f64| if old == new { 0.0 } else { new - old };
        let moved = self.pairs.iter().map(|(old, new)| by(edge(old), edge(new)));
        let mut moved: Vec<f64> = moved.filter(|by| *by != 0.0).collect();
        // The whole: its first beginning or its last end.
        let whole = self.sides.map(|side| {
            let edges = side.firings.iter().map(&edge);
            match earlier {
                Change::Earlier => edges.fold(f64::INFINITY, f64::min),
                _ => edges.fold(f64::NEG_INFINITY, f64::max),
            }
        });
        let whole = by(whole[0], whole[1]);
        let most = moved
            .iter()
            .copied()
            .reduce(|a, b| if b.abs() > a.abs() { b } else { a });
        moved.push(whole);
        if moved.iter().any(|by| *by < 0.0) {
            changes.insert(earlier);
        }
        if moved.iter().any(|by| *by > 0.0) {
            changes.insert(later);
        }
        if whole != 0.0 { Some(whole) } else { most }
    }
}

/// Labels with other values. Where the same values are only combined otherwise, those with more than one.
fn label_changes(old: &Side, new: &Side) -> Vec<LabelChange> {
    let sets = [old, new].map(|side| -> BTreeSet<&BTreeMap<String, String>> {
        side.firings.iter().map(|span| &span.labels).collect()
    });
    if sets[0] == sets[1] {
        return Vec::new();
    }
    let names: BTreeSet<&String> = sets.iter().flatten().flat_map(|set| set.keys()).collect();
    let values = |side: usize, name: &String| -> BTreeSet<String> {
        let values = sets[side].iter().map(|set| set.get(name).cloned());
        values.map(Option::unwrap_or_default).collect()
    };
    let all = names.into_iter().map(|name| LabelChange {
        name: name.clone(),
        old: values(0, name),
        new: values(1, name),
    });
    let all: Vec<LabelChange> = all.collect();
    let differ = all.iter().filter(|change| change.old != change.new);
    let differ: Vec<LabelChange> = differ.cloned().collect();
    if differ.is_empty() {
        let several = all.into_iter().filter(|change| change.old.len() > 1);
        return several.collect();
    }
    differ
}

#[cfg(test)]
mod tests;
