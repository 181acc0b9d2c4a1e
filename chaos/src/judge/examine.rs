//! Everything that is judged from the recording alone, in one pass over its frames.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    checkers::{CheckResult, Checkers},
    history::{self, Observer},
    oracle::{Oracle, Symptom},
    reach::Reach,
    recording::{BodyDiff, Nanos, Recording},
    scenario::{LEDGERS, Plan},
};

/// What a recording says by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// When each symptom was true.
    pub symptoms: Vec<Symptom>,
    /// What became of each invariant.
    pub checks: Vec<CheckResult>,
    /// How often the run reached what.
    pub reach: BTreeMap<String, u64>,
    /// When monitoring was blind.
    pub outages: Outages,
}

/// When monitoring was blind: from and to, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outages {
    /// The rule evaluator did not run.
    pub evaluator: Vec<(Nanos, Nanos)>,
    /// No ledger could be scraped.
    pub scrape: Vec<(Nanos, Nanos)>,
}

/// Reads a recording once and judges what can be judged from it.
pub fn examine(plan: &Plan, recording: &Recording) -> Examination {
    let mut oracle = Oracle::new(plan);
    let mut checkers = Checkers::new(plan);
    let mut reach = Reach::new(plan);
    let mut blind = Blind::default();
    let pass = history::read(
        recording.iter(),
        &mut [&mut oracle, &mut checkers, &mut reach, &mut blind],
    );
    let end = plan.duration.max(pass.end);
    Examination {
        symptoms: oracle.finish(end),
        checks: checkers.finish(&pass),
        reach: reach.finish(),
        outages: blind.finish(end),
    }
}

/// Follows the evaluator and the scrapes.
#[derive(Default)]
struct Blind {
    evaluator_since: Option<Nanos>,
    scrape_since: Option<Nanos>,
    failing: BTreeMap<Arc<str>, Nanos>,
    outages: Outages,
}

impl Blind {
    fn finish(mut self, end: Nanos) -> Outages {
        let still =
            |since: Option<Nanos>| since.filter(|since| *since < end).map(|since| (since, end));
        self.outages.evaluator.extend(still(self.evaluator_since));
        self.outages.scrape.extend(still(self.scrape_since));
        self.outages
    }
}

impl Observer for Blind {
    fn scrape(
        &mut self,
        at: Nanos,
        target: &Arc<str>,
        duration: Nanos,
        outcome: &Result<BodyDiff, String>,
    ) {
        if outcome.is_ok() {
            self.failing.remove(target);
            if let Some(since) = self.scrape_since.take() {
                self.outages.scrape.push((since, at + duration));
            }
            return;
        }
        self.failing.entry(target.clone()).or_insert(at);
        if LEDGERS
            .iter()
            .all(|ledger| self.failing.contains_key(*ledger))
        {
            self.scrape_since.get_or_insert(at);
        }
    }

    fn evaluator(&mut self, at: Nanos, up: bool) {
        match (up, self.evaluator_since) {
            (false, None) => self.evaluator_since = Some(at),
            (true, Some(since)) => {
                self.outages.evaluator.push((since, at));
                self.evaluator_since = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::testing::*,
        recording::{Event, Recorder},
        scenario::SECOND,
    };

    #[test]
    fn monitoring_is_blind_while_no_ledger_is_scraped_or_nobody_evaluates() {
        let world = World::new();
        let mut recorder = Recorder::default();
        let mut scrape = |second: u64, target: &str, ok: bool| {
            let outcome = if ok {
                Ok(BodyDiff::default())
            } else {
                Err("timed out".to_owned())
            };
            recorder.push(
                second * SECOND,
                Event::Scrape {
                    target: target.into(),
                    duration: SECOND,
                    outcome,
                },
            );
        };
        scrape(10, "ledger-1", false);
        scrape(11, "ledger-2", true);
        scrape(25, "ledger-1", false);
        scrape(26, "ledger-2", false);
        scrape(40, "ledger-1", false);
        scrape(41, "ledger-2", true);
        scrape(55, "ledger-1", true);
        recorder.push(60 * SECOND, Event::Evaluator(true));
        recorder.push(70 * SECOND, Event::Evaluator(false));
        recorder.push(90 * SECOND, Event::Evaluator(true));
        recorder.push(95 * SECOND, Event::Evaluator(false));
        let outages = examine(&world.plan, &recorder.finish()).outages;
        assert_eq!(outages.scrape, [(26 * SECOND, 42 * SECOND)]);
        assert_eq!(
            outages.evaluator,
            [(70 * SECOND, 90 * SECOND), (95 * SECOND, 3600 * SECOND)]
        );
    }
}
