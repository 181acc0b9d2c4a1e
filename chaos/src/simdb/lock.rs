//! Locks: on rows, tables, advisory keys and on the end of a transaction; their queues; deadlocks.
//!
//! Invariant: a session waits for at most one lock; a request that conflicts with no holder is granted at once (PostgreSQL
//! lets a compatible row lock pass the queue), any other waits behind earlier ones and is granted in their order.
//! A session's own locks never block it. Left out: lock table overflow, rearranging queues instead of a deadlock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::session::SessionId;
use crate::recording::Nanos;

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKey {
    /// A table (of a partitioned one: the parent).
    Table(u32),
    /// A row: table, row number.
    Row(u32, u32),
    /// Held by a transaction until it ends; who waits for its outcome waits for this.
    Txn(u64),
    /// An advisory key.
    Advisory(i64),
    /// Changes of the catalog, one transaction at a time.
    Catalog,
}

/// How strongly. Row modes conflict among themselves, table modes among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// FOR KEY SHARE: a foreign key's look at its parent.
    KeyShare,
    /// FOR SHARE.
    RowShared,
    /// UPDATE that leaves the keys alone.
    NoKeyUpdate,
    /// FOR UPDATE, DELETE, UPDATE of a key.
    Update,
    AccessShare,
    RowShare,
    RowExclusive,
    Share,
    AccessExclusive,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        use Mode::*;
        matches!(
            (self.min(other), self.max(other)),
            (KeyShare, Update)
                | (RowShared | NoKeyUpdate, NoKeyUpdate | Update)
                | (Update, Update)
                | (RowExclusive, Share)
                | (_, AccessExclusive)
        )
    }
}

struct Waiter {
    session: SessionId,
    mode: Mode,
}

#[derive(Default)]
struct Lock {
    /// One entry per session, with its strongest mode and, for advisory locks, how often it is held.
    holders: Vec<(SessionId, Mode, u32)>,
    queue: VecDeque<Waiter>,
}

impl Lock {
    fn blocked(&self, session: SessionId, mode: Mode) -> bool {
        self.holders
            .iter()
            .any(|(holder, held, _)| *holder != session && held.conflicts(mode))
    }

    fn blocked_by_queue(&self, session: SessionId, mode: Mode) -> bool {
        self.queue
            .iter()
            .take_while(|waiter| waiter.session != session)
            .any(|waiter| waiter.mode.conflicts(mode))
    }

    fn hold(&mut self, session: SessionId, mode: Mode) -> bool {
        for (holder, held, count) in &mut self.holders {
            if *holder == session {
                *held = (*held).max(mode);
                *count += 1;
                return false;
            }
        }
        self.holders.push((session, mode, 1));
        true
    }
}

/// What a session waits for, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub key: LockKey,
    pub mode: Mode,
    /// Since when this wait lasts; it begins anew where PostgreSQL's would (see `Locks::requeue`).
    pub since: Nanos,
    /// Whether the deadlock check of this wait has been made.
    pub checked: bool,
    at_head: bool,
}

/// Result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Newly held: the transaction has to remember it.
    New,
    /// Held before.
    Held,
    /// Somebody else holds it.
    Busy,
}

/// All locks of a database.
#[derive(Default)]
pub struct Locks {
    locks: BTreeMap<LockKey, Lock>,
    waits: BTreeMap<SessionId, Wait>,
    /// Sessions whose wait ended with the lock granted, in the order of the grants.
    granted: VecDeque<(SessionId, LockKey, bool)>,
    now: Nanos,
}

impl Locks {
    pub fn set_now(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// Takes the lock if nobody has to be waited for.
    pub fn try_lock(&mut self, session: SessionId, key: LockKey, mode: Mode) -> Grant {
        let lock = self.locks.entry(key).or_default();
        let busy = lock.blocked(session, mode)
            // Heavyweight locks honour the queue; a row lock that no holder opposes passes it.
            || (!matches!(key, LockKey::Row(..))
                && !lock.holders.iter().any(|(holder, held, _)| *holder == session && *held >= mode)
                && lock.queue.iter().any(|waiter| waiter.session != session && waiter.mode.conflicts(mode)));
        if busy {
            Grant::Busy
        } else if lock.hold(session, mode) {
            Grant::New
        } else {
            Grant::Held
        }
    }

    /// Queues the session behind whoever holds or awaits the lock.
    pub fn wait(&mut self, session: SessionId, key: LockKey, mode: Mode) {
        let lock = self.locks.entry(key).or_default();
        lock.queue.push_back(Waiter { session, mode });
        let at_head = !lock.blocked_by_queue(session, mode);
        let wait = Wait {
            key,
            mode,
            since: self.now,
            checked: false,
            at_head,
        };
        self.waits.insert(session, wait);
    }

    /// The wait of a session.
    pub fn waiting(&self, session: SessionId) -> Option<&Wait> {
        self.waits.get(&session)
    }

    pub fn waits(&self) -> impl Iterator<Item = (SessionId, &Wait)> {
        self.waits.iter().map(|(session, wait)| (*session, wait))
    }

    pub fn mark_checked(&mut self, session: SessionId) {
        if let Some(wait) = self.waits.get_mut(&session) {
            wait.checked = true;
        }
    }

    /// Next session whose wait was granted; the flag says that the lock is new to it.
    pub fn pop_granted(&mut self) -> Option<(SessionId, LockKey, bool)> {
        self.granted.pop_front()
    }

    /// Gives up a wait: time-out, deadlock or closed session.
    pub fn cancel(&mut self, session: SessionId) {
        self.granted.retain(|(granted, ..)| *granted != session);
        if let Some(wait) = self.waits.remove(&session) {
            if let Some(lock) = self.locks.get_mut(&wait.key) {
                lock.queue.retain(|waiter| waiter.session != session);
            }
            self.requeue(wait.key, false);
        }
    }

    /// Gives one hold back; true when the session held it. `all` drops it however often it is held.
    pub fn release(&mut self, session: SessionId, key: LockKey, all: bool, changed: bool) -> bool {
        let Some(lock) = self.locks.get_mut(&key) else {
            return false;
        };
        let Some(at) = lock
            .holders
            .iter()
            .position(|(holder, ..)| *holder == session)
        else {
            return false;
        };
        let count = &mut lock.holders[at].2;
        *count -= 1;
        if all || *count == 0 {
            lock.holders.remove(at);
            self.requeue(key, changed);
        }
        true
    }

    /// Grants what can be granted now. Whoever remains and is first in line begins a new wait, as in PostgreSQL, where it
    /// waited for the line's head until now and waits for the holder from here on; so do all when the row has a new version.
    fn requeue(&mut self, key: LockKey, changed: bool) {
        let Some(lock) = self.locks.get_mut(&key) else {
            return;
        };
        let mut at = 0;
        while let Some(waiter) = lock.queue.get(at) {
            let (session, mode) = (waiter.session, waiter.mode);
            if lock.blocked(session, mode) || lock.blocked_by_queue(session, mode) {
                at += 1;
                continue;
            }
            lock.queue.remove(at);
            let new = lock.hold(session, mode);
            self.waits.remove(&session);
            self.granted.push_back((session, key, new));
        }
        for waiter in &lock.queue {
            let head = !lock.blocked_by_queue(waiter.session, waiter.mode);
            if let Some(wait) = self.waits.get_mut(&waiter.session) {
                if changed || (head && !wait.at_head) {
                    wait.since = self.now;
                    wait.checked = false;
                }
                wait.at_head = head;
            }
        }
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.locks.remove(&key);
        }
    }

    /// Whom a waiting session waits for: conflicting holders, and those before it in the queue. In order, without repetition.
    pub fn blockers(&self, session: SessionId) -> Vec<SessionId> {
        let mut blockers = BTreeSet::new();
        if let Some(wait) = self.waits.get(&session)
            && let Some(lock) = self.locks.get(&wait.key)
        {
            let holders = lock
                .holders
                .iter()
                .filter(|(_, held, _)| held.conflicts(wait.mode));
            blockers.extend(holders.map(|(holder, ..)| *holder));
            let ahead = lock
                .queue
                .iter()
                .take_while(|waiter| waiter.session != session);
            blockers.extend(
                ahead
                    .filter(|waiter| waiter.mode.conflicts(wait.mode))
                    .map(|waiter| waiter.session),
            );
            blockers.remove(&session);
        }
        blockers.into_iter().collect()
    }

    /// Whether the session waits, through others, for itself.
    pub fn deadlocked(&self, session: SessionId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = self.blockers(session);
        while let Some(next) = open.pop() {
            if next == session {
                return true;
            }
            if seen.insert(next) {
                open.extend(self.blockers(next));
            }
        }
        false
    }

    /// Forgets everything: the server crashed.
    pub fn clear(&mut self) {
        self.locks.clear();
        self.waits.clear();
        self.granted.clear();
    }
}
