//! Time in the database: deadlock checks, lock time-outs, statement time-outs.
//!
//! Invariant: what is due fires in the order of its instants; at one instant deadlock checks come first, then time-outs of locks,
//! then of statements, each in the order of the sessions.

use super::{
    database::{Database, timeout},
    error::PgError,
    request::Output,
    session::SessionId,
};
use crate::recording::{DbEvent, Nanos};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Deadlock,
    Lock,
    Statement,
}

impl Database {
    /// Tells the time: fires deadlock checks, lock time-outs and statement time-outs that are due, in their order.
    pub fn advance(&mut self, now: Nanos) {
        while let Some((at, session, what)) = self.next_timer()
            && at <= now
        {
            self.tick(at);
            self.fire(session, what);
        }
        self.tick(now);
    }

    /// When `advance` has something to do next.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.next_timer().map(|(at, ..)| at)
    }

    fn next_timer(&self) -> Option<(Nanos, SessionId, Timer)> {
        let mut next: Option<(Nanos, Timer, SessionId)> = None;
        for (id, wait) in self.core.aux.locks.waits() {
            let Some(session) = self.sessions.get(&id) else {
                continue;
            };
            let lock = session.limits.lock_timeout.as_nanos() as Nanos;
            let deadlock = (!wait.checked).then(|| wait.since + self.config.deadlock_timeout_ns);
            let lock = (lock > 0).then(|| wait.since + lock);
            let statement = session
                .running
                .as_ref()
                .and_then(|running| session.statement_deadline(running.started));
            for (at, what) in [
                (deadlock, Timer::Deadlock),
                (lock, Timer::Lock),
                (statement, Timer::Statement),
            ] {
                if let Some(at) = at
                    && next.is_none_or(|known| (at, what, id) < known)
                {
                    next = Some((at, what, id));
                }
            }
        }
        next.map(|(at, what, id)| (at, id, what))
    }

    fn fire(&mut self, id: SessionId, what: Timer) {
        let error = match what {
            Timer::Deadlock => {
                self.core.aux.locks.mark_checked(id);
                if !self.core.aux.locks.deadlocked(id) {
                    return;
                }
                self.core.outputs.push(Output::Event(DbEvent::Deadlock));
                PgError::new("40P01", "deadlock detected")
            }
            Timer::Lock => {
                self.core.outputs.push(Output::Event(DbEvent::LockTimeout));
                PgError::new("55P03", "canceling statement due to lock timeout")
            }
            Timer::Statement => {
                self.core.outputs.push(Output::Event(DbEvent::LockTimeout));
                timeout()
            }
        };
        if let Some(mut session) = self.sessions.remove(&id) {
            let cost = session
                .running
                .as_deref()
                .map_or(0, |running| self.cost(running));
            self.fail(&mut session, error, cost);
            self.sessions.insert(id, session);
        }
        self.drive();
    }
}
