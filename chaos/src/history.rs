//! A typed view over a recording's frames, and the one pass in which everybody who judges reads them.
//!
//! Invariant: a commit that a failover lost is taken back, in reverse order, before the first commit of the timeline that survived,
//! so that an observer's state is always that of one timeline. Rows that cannot be read are counted, never guessed. Ground truth
//! and scrapes go to different methods: who does not implement [`Observer::scrape`] cannot see one.

mod nights;
mod rows;

use std::{collections::VecDeque, sync::Arc};

pub use nights::{Nights, Oversold};
pub use rows::{Allocation, Change, Night, OutboxRow, Row, Status};

use crate::recording::{BodyDiff, Commit, EPOCH_UNIX_S, Event, Frame, Nanos};

/// Whoever reads a run. All methods default to not looking.
pub trait Observer {
    /// A transaction committed.
    fn commit(&mut self, _at: Nanos, _commit: &Commit, _changes: &[Change]) {}

    /// A commit seen before did not survive a failover; `changes` undo it, in reverse order.
    fn lost(&mut self, _at: Nanos, _commit: &Commit, _changes: &[Change]) {}

    /// Ground truth that is no commit: operations, hosts, links, database events, publications, jobs.
    fn event(&mut self, _at: Nanos, _event: &Event) {}

    /// A scrape began at `at`.
    fn scrape(
        &mut self,
        _at: Nanos,
        _target: &Arc<str>,
        _duration: Nanos,
        _outcome: &Result<BodyDiff, String>,
    ) {
    }

    /// The rule evaluator stopped or runs again.
    fn evaluator(&mut self, _at: Nanos, _up: bool) {}
}

/// What the pass itself found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Frames read.
    pub frames: u64,
    /// Commits on the timeline that survived.
    pub commits: u64,
    /// Commits that a failover lost.
    pub commits_lost: u64,
    /// Rows whose shape is not the schema's, with the first of them.
    pub unreadable: (u64, Option<String>),
    /// Instant of the last frame.
    pub end: Nanos,
}

/// Commits remembered in case that a failover loses them: minutes of a busy run. If it loses more, no verdict is given.
const REMEMBERED: usize = 2_000;

/// Feeds every frame to every observer, in order.
pub fn read(frames: impl Iterator<Item = Frame>, observers: &mut [&mut dyn Observer]) -> Pass {
    let mut reader = Reader::default();
    for frame in frames {
        reader.pass.frames += 1;
        reader.pass.end = reader.pass.end.max(frame.at);
        match frame.event {
            Event::Commit(commit) => reader.commit(frame.at, commit, observers),
            Event::Scrape {
                target,
                duration,
                outcome,
            } => {
                for observer in observers.iter_mut() {
                    observer.scrape(frame.at, &target, duration, &outcome);
                }
            }
            Event::Evaluator(up) => observers
                .iter_mut()
                .for_each(|observer| observer.evaluator(frame.at, up)),
            event => observers
                .iter_mut()
                .for_each(|observer| observer.event(frame.at, &event)),
        }
    }
    reader.pass
}

/// Follows the timelines.
#[derive(Default)]
struct Reader {
    pass: Pass,
    timeline: u32,
    recent: VecDeque<Commit>,
    forgotten: Option<u64>,
    changes: Vec<Change>,
}

impl Reader {
    fn commit(&mut self, at: Nanos, commit: Commit, observers: &mut [&mut dyn Observer]) {
        if commit.timeline < self.timeline {
            // The old primary's, after its successor began to write: nobody will ever read it.
            self.pass.commits_lost += 1;
            return;
        }
        if commit.timeline > self.timeline {
            self.timeline = commit.timeline;
            while self
                .recent
                .back()
                .is_some_and(|lost| lost.lsn >= commit.lsn)
            {
                let Some(lost) = self.recent.pop_back() else {
                    break;
                };
                self.pass.commits_lost += 1;
                self.pass.commits -= 1;
                self.decode(&lost);
                self.changes.reverse();
                self.changes.iter_mut().for_each(Change::reverse);
                for observer in observers.iter_mut() {
                    observer.lost(at, &lost, &self.changes);
                }
            }
        }
        if self.forgotten.is_some_and(|lsn| lsn >= commit.lsn) {
            self.unreadable(format!("a failover lost more than the last {REMEMBERED} commits: what they undid is not known"));
        }
        self.pass.commits += 1;
        self.decode(&commit);
        for observer in observers.iter_mut() {
            observer.commit(at, &commit, &self.changes);
        }
        if self.recent.len() == REMEMBERED {
            self.forgotten = self.recent.pop_front().map(|commit| commit.lsn);
        }
        self.recent.push_back(commit);
    }

    fn decode(&mut self, commit: &Commit) {
        self.changes.clear();
        for row in &commit.rows {
            match Change::read(row) {
                Ok(change) => self.changes.push(change),
                Err(reason) => self.unreadable(reason),
            }
        }
    }

    fn unreadable(&mut self, reason: String) {
        self.pass.unreadable.0 += 1;
        self.pass.unreadable.1.get_or_insert(reason);
    }
}

/// Virtual time of a database timestamp, on a database host whose clock is right.
pub fn virtual_time(unix_us: i64) -> Nanos {
    let since = unix_us.saturating_sub(EPOCH_UNIX_S * 1_000_000);
    u64::try_from(since).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::{testing::*, *};
    use crate::scenario::SECOND;

    /// Counts allocations that stand.
    #[derive(Default)]
    struct Standing(i64);

    impl Observer for Standing {
        fn commit(&mut self, _: Nanos, _: &Commit, changes: &[Change]) {
            for change in changes {
                if let Row::Allocation { before, after } = &change.row {
                    self.0 += i64::from(after.is_some()) - i64::from(before.is_some());
                }
            }
        }

        fn lost(&mut self, at: Nanos, commit: &Commit, changes: &[Change]) {
            self.commit(at, commit, changes);
        }
    }

    #[test]
    fn commits_that_a_failover_lost_are_taken_back() {
        let world = World::new();
        let mut story = Story::new(&world);
        story.hold(SECOND, 1, 5, 1);
        let kept = story.lsn;
        story.hold(2 * SECOND, 2, 5, 1);
        story.promote(3 * SECOND, kept);
        story.hold(4 * SECOND, 3, 5, 1);
        let mut standing = Standing::default();
        let pass = read(story.frames.into_iter(), &mut [&mut standing]);
        assert_eq!((standing.0, pass.commits, pass.commits_lost), (2, 2, 1));
    }

    #[test]
    fn more_lost_commits_than_are_remembered_are_admitted() {
        let lose = |count: u64| {
            let world = World::new();
            let mut story = Story::new(&world);
            (0..count).for_each(|number| story.hold(number, number as u32, 5, 1));
            story.promote(count, 0);
            story.hold(count + 1, 9, 5, 1);
            read(story.frames.into_iter(), &mut []).unreadable.0
        };
        assert_eq!((lose(2_000), lose(2_001)), (0, 1));
    }

    #[test]
    fn a_row_of_another_shape_is_counted_and_named() {
        let world = World::new();
        let mut story = Story::new(&world);
        story.commit(
            SECOND,
            "ledger_app",
            vec![crate::recording::RowChange {
                table: "outbox".into(),
                before: None,
                after: Some([ledger::ports::Value::Bool(true)].into()),
            }],
        );
        let pass = read(story.frames.into_iter(), &mut []);
        assert_eq!(pass.unreadable.0, 1);
        assert!(
            pass.unreadable
                .1
                .is_some_and(|reason| reason.contains("outbox"))
        );
    }

    #[test]
    fn database_time_becomes_virtual_time() {
        assert_eq!(
            virtual_time(EPOCH_UNIX_S * 1_000_000 + 1_500_000),
            1_500_000_000
        );
        assert_eq!(virtual_time(0), 0);
    }
}
