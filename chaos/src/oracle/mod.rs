//! When was the symptom of each alarm true? Said from ground truth alone: commits, hosts, links, clients, jobs.
//!
//! Invariant: nothing that the service measures about itself is read here, and no condition by which somebody is woken; a test
//! reads these sources to make sure. One row per symptom in [`Oracle::finish`], and each says from how many facts it judged:
//! none means that it does not know. Clocks of database hosts are taken to be right.

mod backlog;
mod cache;
mod locks;
mod oversold;
mod primary;
mod slow;
mod spans;
mod targets;

use serde::{Deserialize, Serialize};

use crate::{
    history::{Change, Observer},
    recording::{Commit, Event, Nanos},
    scenario::Plan,
};

/// When the symptom of one alarm, or of one branch of it, was true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// Id in the failure catalogue.
    pub alert: String,
    /// Branch, where it has two.
    pub branch: Option<String>,
    /// From and to, sorted by their start; one that is true to the end ends with the run. Each start is a `t_sym`.
    pub intervals: Vec<(Nanos, Nanos)>,
    /// How many facts it was judged from; 0 means unknown.
    pub facts: u64,
}

impl Symptom {
    fn new(
        alert: &str,
        branch: Option<&str>,
        intervals: Vec<(Nanos, Nanos)>,
        facts: u64,
    ) -> Symptom {
        Symptom {
            alert: alert.to_owned(),
            branch: branch.map(str::to_owned),
            intervals,
            facts,
        }
    }
}

/// Watches a run.
pub struct Oracle {
    oversold: oversold::Watch,
    slow: slow::Watch,
    cache: cache::Watch,
    backlog: backlog::Watch,
    locks: locks::Watch,
    primary: primary::Watch,
    targets: targets::Watch,
}

impl Oracle {
    /// For a run of `plan`.
    pub fn new(plan: &Plan) -> Oracle {
        Oracle {
            oversold: oversold::Watch::new(&plan.fixtures),
            slow: slow::Watch::new(plan.operations.len()),
            cache: cache::Watch::default(),
            backlog: backlog::Watch::default(),
            locks: locks::Watch::default(),
            primary: primary::Watch::default(),
            targets: targets::Watch::default(),
        }
    }

    /// The symptoms of a run that ended at `end`.
    pub fn finish(self, end: Nanos) -> Vec<Symptom> {
        let (slow_allocations, slow_searches) = self.slow.finish(end);
        let (outbox, holds, sweep) = self.backlog.finish(end);
        [
            ("RESV-INV-001", None, self.oversold.finish(end)),
            ("RESV-INV-002", None, slow_allocations),
            ("RESV-INV-003", Some("latency"), slow_searches),
            ("RESV-INV-003", Some("cache"), self.cache.finish(end)),
            ("RESV-INV-004", None, outbox),
            ("RESV-INV-005", Some("lag"), holds),
            ("RESV-INV-005", Some("age"), sweep),
            ("RESV-INV-006", None, self.locks.finish(end)),
            ("RESV-PLT-002", None, self.primary.finish()),
            ("RESV-PLT-004", None, self.targets.finish(end)),
        ]
        .into_iter()
        .map(|(alert, branch, (intervals, facts))| Symptom::new(alert, branch, intervals, facts))
        .collect()
    }

    fn change(&mut self, at: Nanos, changes: &[Change]) {
        self.oversold.commit(at, changes);
        self.backlog.commit(at, changes);
    }
}

impl Observer for Oracle {
    fn commit(&mut self, at: Nanos, _: &Commit, changes: &[Change]) {
        self.change(at, changes);
    }

    fn lost(&mut self, at: Nanos, _: &Commit, changes: &[Change]) {
        self.change(at, changes);
    }

    fn event(&mut self, at: Nanos, event: &Event) {
        match event {
            Event::Op(op) => {
                self.slow.op(at, op);
                self.cache.op(at, op);
            }
            Event::Db { what, .. } => self.locks.database(at, what),
            Event::Host { host, state } => {
                self.cache.host(at, host, *state);
                self.targets.host(at, host, *state);
            }
            Event::Link { from, to, up } => {
                self.cache.link(at, from, to, *up);
                self.targets.link(at, from, to, *up);
            }
            Event::CacheCall { host, ok } => self.cache.call(at, host, *ok),
            Event::DbConnect { to, ok, .. } => self.primary.connect(at, to, *ok),
            Event::Promoted { host, .. } => self.primary.promoted(at, host),
            Event::Job { job, ok } => self.backlog.job(at, job, *ok),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
