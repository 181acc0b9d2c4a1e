//! Invariant 11: metrics tell the truth. Counters in scraped bodies are compared with what was committed and published.
//!
//! A counter's total is the sum over instances and over their lives. It may lack what happened between the last scrape of a life
//! and its end, what was under way then, and commits whose outcome the service never learnt; it may never count what did not
//! happen. The two gauges of age are compared with the truth at the instant at which the service says it read them.

mod gauges;
mod totals;

use std::{collections::BTreeMap, sync::Arc};

use super::{Check, Notes};
use crate::{
    history::{Change, Nights, Observer, Pass, Row, Status},
    recording::{BodyDiff, Commit, DbEvent, Event, HostState, Nanos},
    scenario::{MINUTE, Plan},
};
use gauges::Gauges;
use totals::{TOTALS, Total, Totals};

/// An oversold night must have been counted after so long.
const AUDIT_BOUND: Nanos = MINUTE;
/// Requests that may be under way at any one instant.
const UNDER_WAY: u64 = 16;

pub(super) struct Checker {
    totals: Totals,
    gauges: Gauges,
    /// What happened so far, in the order of [`TOTALS`].
    truth: [u64; TOTALS.len()],
    published: u64,
    in_doubt: u64,
    undone: u64,
    nights: Nights,
    oversold_since: Option<Nanos>,
    oversold_longest: Nanos,
    oversold_ever: bool,
    scrapes: u64,
    notes: Notes,
}

impl Checker {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Checker {
            totals: Totals::default(),
            gauges: Gauges::default(),
            truth: [0; TOTALS.len()],
            published: 0,
            in_doubt: 0,
            undone: 0,
            nights: Nights::new(&plan.fixtures),
            oversold_since: None,
            oversold_longest: 0,
            oversold_ever: false,
            scrapes: 0,
            notes: Notes::default(),
        }
    }

    fn count(&mut self, total: Total) {
        self.truth[total as usize] += 1;
    }

    fn row(&mut self, change: &Change) {
        use Status::{Cancelled, Confirmed, Expired, Held, Released};
        match &change.row {
            Row::Allocation {
                before,
                after: Some(after),
            } => match (before.as_ref().map(|row| row.status), after.status) {
                (None, Held) => self.count(Total::Held),
                (Some(Held), Confirmed) => self.count(Total::Confirmed),
                (Some(Held), Released) => self.count(Total::Released),
                (Some(Held), Expired) => self.count(Total::Expired),
                (Some(Confirmed), Cancelled) => self.count(Total::Cancelled),
                _ => {}
            },
            Row::Outbox {
                before: Some(before),
                after: Some(after),
            } if after.published && !before.published => {
                self.count(Total::Published);
            }
            _ => {}
        }
    }

    fn oversold(&mut self, at: Nanos) {
        let now = self.nights.oversold().next().is_some();
        self.oversold_ever |= now;
        match (now, self.oversold_since) {
            (true, None) => self.oversold_since = Some(at),
            (false, Some(since)) => {
                self.oversold_longest = self.oversold_longest.max(at - since);
                self.oversold_since = None;
            }
            _ => {}
        }
    }

    /// Compares one total with the truth at the end of the run.
    fn judge(&mut self, end: Nanos, total: Total) {
        let (name, index) = (total.series(), total as usize);
        let Some((counted, unseen)) = self.totals.sum(total, self.truth[index]) else {
            self.notes.violated(end, || {
                (
                    format!("no scrape ever showed {name}"),
                    format!("{} scrapes", self.scrapes),
                )
            });
            return;
        };
        self.notes.facts += 1;
        let truth = self.truth[index];
        let least = truth.saturating_sub(unseen + self.in_doubt + UNDER_WAY);
        // A publication is counted as often as it is repeated.
        let most = if total == Total::Published {
            self.published
        } else {
            truth + self.undone
        } + UNDER_WAY;
        if !(least..=most).contains(&counted) {
            self.notes.violated(end, || {
                let what = format!("{name} counted {counted}, but {truth} happened");
                (
                    what,
                    format!(
                        "between {least} and {most} would be right: {unseen} unseen, {} in doubt",
                        self.in_doubt
                    ),
                )
            });
        }
    }

    fn judge_overbooking(&mut self, end: Nanos) {
        let Some((counted, _)) = self.totals.sum(Total::Overbooked, 0) else {
            let name = Total::Overbooked.series();
            self.notes.violated(end, || {
                (
                    format!("no scrape ever showed {name}"),
                    format!("{} scrapes", self.scrapes),
                )
            });
            return;
        };
        self.notes.facts += 1;
        if let Some(since) = self.oversold_since {
            self.oversold_longest = self.oversold_longest.max(end - since);
        }
        if counted > 0 && !self.oversold_ever {
            self.notes.violated(end, || {
                (
                    format!("{counted} oversold nights were counted, but none ever was"),
                    String::new(),
                )
            });
        }
        if counted == 0 && self.oversold_longest > AUDIT_BOUND {
            let what =
                "a night was oversold for longer than a minute, and none was counted".to_owned();
            self.notes.violated(end, || (what, String::new()));
        }
    }
}

impl Observer for Checker {
    fn commit(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
        if matches!(&*commit.role, "ledger_app" | "ledger_worker") {
            changes.iter().for_each(|change| self.row(change));
        }
        self.gauges.commit(at, changes);
        self.nights.apply(changes);
        self.oversold(at);
    }

    fn lost(&mut self, at: Nanos, _: &Commit, changes: &[Change]) {
        // What was counted once stays counted, though it is gone.
        self.undone += 1;
        self.gauges.commit(at, changes);
        self.nights.apply(changes);
        self.oversold(at);
    }

    fn event(&mut self, _: Nanos, event: &Event) {
        match event {
            Event::Published { .. } => self.published += 1,
            Event::Db {
                what: DbEvent::CommitInDoubt,
                ..
            } => self.in_doubt += 1,
            Event::Host {
                host,
                state: HostState::Up,
            } => self.totals.booted(host, &self.truth),
            _ => {}
        }
    }

    fn scrape(
        &mut self,
        at: Nanos,
        target: &Arc<str>,
        duration: Nanos,
        outcome: &Result<BodyDiff, String>,
    ) {
        let Ok(body) = outcome else { return };
        self.scrapes += 1;
        self.totals.scraped(target, body, &self.truth);
        for wrong in self.gauges.scraped(at, duration, target, body) {
            self.notes.violated(at, || wrong);
        }
        self.notes.facts += self.gauges.take_facts();
    }
}

impl Check for Checker {
    fn invariant(&self) -> u8 {
        11
    }

    fn close(&mut self, pass: &Pass) {
        if self.scrapes == 0 {
            return;
        }
        for total in TOTALS {
            if total != Total::Overbooked {
                self.judge(pass.end, total);
            }
        }
        self.judge_overbooking(pass.end);
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// Value of an exposition's line if it is a sample of `series`, given with its labels.
fn sample(line: &str, series: &str) -> Option<f64> {
    let rest = line.strip_prefix(series)?;
    // The name could go on; labels could follow.
    let value = rest.strip_prefix(' ')?;
    value.split_whitespace().next()?.parse().ok()
}

/// Values of some series of one target, kept up to date from differences.
#[derive(Default)]
struct Lines(BTreeMap<usize, (u32, f64)>);

impl Lines {
    /// Takes a body in. `series` gives the index under which a line is kept and its value.
    fn apply(&mut self, body: &BodyDiff, series: impl Fn(&str) -> Option<(usize, f64)>) {
        for (line, text) in &body.changed {
            if let Some((index, value)) = series(text) {
                self.0.insert(index, (*line, value));
            }
        }
        self.0.retain(|_, (line, _)| *line < body.lines);
    }

    fn get(&self, index: usize) -> Option<f64> {
        self.0.get(&index).map(|(_, value)| *value)
    }
}
