//! How often a run reached what it must reach to prove something.
//!
//! Invariant: every counter that a scenario can name is counted, from 0; a minimum that was not reached is a finding, since a race
//! that never happened proves nothing about races.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    history::{Change, Observer, Row, Status},
    recording::{BodyDiff, Call, Commit, DbEvent, Event, HostState, Nanos, Op, Phase, Reply},
    scenario::{Channel, Plan, PlannedKind, catalogue::REACH},
};

/// Counts while the frames go by.
pub struct Reach {
    plan: Arc<Plan>,
    counters: BTreeMap<&'static str, u64>,
    /// What the sweepers say they skipped: per instance the last value, and the sum of what was added.
    sweepers: BTreeMap<Arc<str>, u64>,
    skipped: u64,
}

/// The sweeper's count of candidates that were locked or had advanced. Those that were locked are known from the database; the
/// others leave no trace but this.
const SKIPPED: &str = "inventory_sweeper_skipped_due_to_advance_total ";

impl Reach {
    /// Everything at 0.
    pub fn new(plan: &Plan) -> Reach {
        Reach {
            plan: Arc::new(plan.clone()),
            counters: REACH.iter().map(|name| (*name, 0)).collect(),
            sweepers: BTreeMap::new(),
            skipped: 0,
        }
    }

    /// The counters by name.
    pub fn finish(mut self) -> BTreeMap<String, u64> {
        let locked = self.counters.get("rows_skipped").copied().unwrap_or(0);
        self.counters
            .insert("candidates_advanced", self.skipped.saturating_sub(locked));
        self.counters
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    fn op(&mut self, op: &Op) {
        match &op.phase {
            Phase::Invoke(call) => {
                self.count("requests");
                if matches!(call, Call::Search(_)) {
                    self.count("searches");
                }
            }
            Phase::Ok(Reply::Availability { cached: true, .. }) => self.count("searches_cached"),
            Phase::Ok(Reply::Availability { cached: false, .. }) => {}
            Phase::Ok(Reply::Allocation { .. }) => self.acknowledged(op.op),
            Phase::Fail { status, code } => self.refused(op.op, *status, code),
            Phase::Info(_) => self.count("unknown_outcomes"),
        }
    }

    fn acknowledged(&mut self, op: u32) {
        match self
            .plan
            .operations
            .get(op as usize)
            .map(|planned| planned.kind)
        {
            Some(PlannedKind::Hold { channel, .. }) => {
                self.count("holds");
                match channel {
                    Channel::WalkIn => self.count("won_by_walk_in"),
                    Channel::Ota => self.count("won_by_channel"),
                    Channel::Direct => {}
                }
            }
            Some(PlannedKind::Again { .. }) => self.count("holds_repeated"),
            Some(PlannedKind::Confirm { .. }) => self.count("confirmed"),
            Some(PlannedKind::Release { .. }) => self.count("released"),
            Some(PlannedKind::Cancel { .. }) => self.count("cancelled"),
            Some(PlannedKind::Search(_) | PlannedKind::Get { .. }) | None => {}
        }
    }

    fn refused(&mut self, op: u32, status: u16, code: &str) {
        let Some(&planned) = self.plan.operations.get(op as usize) else {
            return;
        };
        let of = planned
            .kind
            .of()
            .and_then(|of| self.plan.operations.get(of as usize));
        if of.is_some_and(|hold| hold.tenant != planned.tenant) && status == 404 {
            self.count("strays_refused");
        }
        if matches!(planned.kind, PlannedKind::Hold { .. }) && code == "insufficient_availability" {
            self.count("holds_refused");
        }
    }
}

impl Observer for Reach {
    fn scrape(
        &mut self,
        _: Nanos,
        target: &Arc<str>,
        _: Nanos,
        outcome: &Result<BodyDiff, String>,
    ) {
        let Ok(body) = outcome else { return };
        let values = body.changed.iter();
        let values = values.filter_map(|(_, line)| line.strip_prefix(SKIPPED)?.trim().parse().ok());
        for value in values {
            let last = self.sweepers.insert(target.clone(), value).unwrap_or(0);
            // A lower value is that of a new process, which began at 0.
            self.skipped += if value < last { value } else { value - last };
        }
    }

    fn commit(&mut self, _: Nanos, _: &Commit, changes: &[Change]) {
        self.count("commits");
        for change in changes {
            if let Row::Allocation {
                before: Some(before),
                after: Some(after),
            } = &change.row
                && (before.status, after.status) == (Status::Held, Status::Expired)
            {
                self.count("expired");
            }
        }
    }

    fn event(&mut self, _: Nanos, event: &Event) {
        match event {
            Event::Op(op) => self.op(op),
            Event::Published { .. } => self.count("published"),
            Event::Promoted { .. } => self.count("promotions"),
            Event::Job { job, ok: true } if &**job == "expire-holds" => self.count("sweeps"),
            Event::Host {
                state: HostState::Up,
                ..
            } => self.count("boots"),
            Event::Db { what, .. } => match what {
                DbEvent::LockAcquired { waited: 1.. } => self.count("lock_waits"),
                DbEvent::LockAcquired { waited: 0 }
                | DbEvent::Error { .. }
                | DbEvent::Ddl { .. } => {}
                DbEvent::LockTimeout => self.count("lock_timeouts"),
                DbEvent::Deadlock => self.count("deadlocks"),
                DbEvent::Recheck { kept: true } => self.count("rechecks_kept"),
                DbEvent::Recheck { kept: false } => self.count("rechecks_dropped"),
                DbEvent::Skipped => self.count("rows_skipped"),
                DbEvent::CommitInDoubt => self.count("commits_in_doubt"),
            },
            _ => {}
        }
    }
}

/// The minima of a scenario that were not reached: name, what was reached, what was needed.
pub fn unreached<'a>(
    minima: &'a [(Arc<str>, u64)],
    reach: &BTreeMap<String, u64>,
) -> Vec<(&'a str, u64, u64)> {
    let reached = |name: &str| reach.get(name).copied().unwrap_or(0);
    let all = minima
        .iter()
        .map(|(name, needed)| (&**name, reached(name), *needed));
    all.filter(|(_, reached, needed)| reached < needed)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{self, testing::*};

    #[test]
    fn each_kind_of_event_has_its_counter() {
        let world = World::new();
        let index = |wanted: fn(&PlannedKind) -> bool| {
            world
                .plan
                .operations
                .iter()
                .position(|op| wanted(&op.kind))
                .expect("one") as u32
        };
        let hold = index(|kind| {
            matches!(
                kind,
                PlannedKind::Hold {
                    channel: Channel::Ota,
                    ..
                }
            )
        });
        let walk_in = index(|kind| {
            matches!(
                kind,
                PlannedKind::Hold {
                    channel: Channel::WalkIn,
                    ..
                }
            )
        });
        let confirm = index(|kind| matches!(kind, PlannedKind::Confirm { .. }));
        let release = index(|kind| matches!(kind, PlannedKind::Release { .. }));
        let cancel = index(|kind| matches!(kind, PlannedKind::Cancel { .. }));
        let mut story = Story::new(&world);
        let ok = |status: &str| {
            Phase::Ok(Reply::Allocation {
                id: id(1),
                status: status.into(),
                room: None,
                hold_until: None,
            })
        };
        story.op(1, hold, ok("held"));
        story.op(1, walk_in, ok("held"));
        story.op(
            1,
            walk_in,
            Phase::Fail {
                status: 409,
                code: "insufficient_availability".into(),
            },
        );
        story.op(1, confirm, ok("confirmed"));
        story.op(1, release, ok("released"));
        story.op(1, cancel, ok("cancelled"));
        story.op(
            1,
            0,
            Phase::Invoke(Call::Search(crate::recording::Stay {
                tenant: id(1),
                room_type: id(1),
                arrival: 0,
                nights: 1,
            })),
        );
        story.op(
            1,
            0,
            Phase::Ok(Reply::Availability {
                available: vec![],
                cached: true,
            }),
        );
        story.op(1, 0, Phase::Info("lost".into()));
        let events = [
            DbEvent::LockAcquired { waited: 0 },
            DbEvent::LockAcquired { waited: 1 },
            DbEvent::LockTimeout,
            DbEvent::Deadlock,
            DbEvent::Recheck { kept: true },
            DbEvent::Recheck { kept: false },
            DbEvent::Skipped,
            DbEvent::CommitInDoubt,
        ];
        for what in events {
            story.event(
                2,
                Event::Db {
                    host: "db-1".into(),
                    what,
                },
            );
        }
        story.hold(3, 1, 5, 1);
        story.set(4, 1, "expired", None);
        story.publish(5, 1, 1);
        story.promote(6, 9);
        story.host(6, "db-2", HostState::Up);
        story.event(
            7,
            Event::Job {
                job: "expire-holds".into(),
                ok: true,
            },
        );
        story.event(
            7,
            Event::Job {
                job: "expire-holds".into(),
                ok: false,
            },
        );
        let again = index(|kind| matches!(kind, PlannedKind::Again { .. }));
        story.op(1, again, ok("held"));
        // One of two was locked. A new process counts from 0.
        for (at, skipped) in [(8, 1), (9, 0), (10, 1)] {
            let mut previous = Vec::new();
            let body = format!("{SKIPPED}{skipped}\n");
            story.event(
                at,
                Event::Scrape {
                    target: "ledger-1".into(),
                    duration: 1,
                    outcome: Ok(BodyDiff::advance(&mut previous, &body)),
                },
            );
        }
        let mut reach = Reach::new(&world.plan);
        history::read(story.frames.into_iter(), &mut [&mut reach]);
        let reach = reach.finish();
        for (name, count) in &reach {
            let expected = match name.as_str() {
                "holds" | "commits" => 2,
                "strays_refused" => 0,
                _ => 1,
            };
            assert_eq!(*count, expected, "{name}");
        }
        assert_eq!(reach.len(), REACH.len());
        let minima = [("holds".into(), 2), ("lock_waits".into(), 2)];
        assert_eq!(unreached(&minima, &reach), [("lock_waits", 1, 2)]);
    }

    #[test]
    fn a_stray_is_refused_when_it_is_told_that_there_is_nothing() {
        let mut world = World::new();
        let stray = world
            .plan
            .operations
            .iter()
            .position(|op| op.kind.of().is_some())
            .expect("a follower");
        world.plan.operations[stray].tenant = id(77);
        for (status, expected) in [(404, 1), (409, 0), (500, 0)] {
            let mut story = Story::new(&world);
            story.op(
                1,
                stray as u32,
                Phase::Fail {
                    status,
                    code: "not_found".into(),
                },
            );
            let mut reach = Reach::new(&world.plan);
            history::read(story.frames.into_iter(), &mut [&mut reach]);
            assert_eq!(reach.finish()["strays_refused"], expected, "{status}");
        }
    }
}
