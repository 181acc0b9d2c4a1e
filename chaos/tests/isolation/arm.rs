//! A database on which interleavings are played: what both arms offer.
//!
//! Invariant: a call ends once, and only `settle`, `pause` and `finish` say so. Left out: reconnecting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ledger::ports::{Role, Rows, SessionSettings, Statement, Value};
use uuid::Uuid;

/// The arm's own session of a tenant's role, for rows to begin with and for what is left.
pub const APP: usize = 0;
/// The same of the jobs' role.
pub const WORKER: usize = 1;
/// Sessions of the specs come after these.
pub const OWN: usize = 2;

/// One call of a session.
#[derive(Clone, Debug)]
pub enum Request {
    Begin(Option<Uuid>),
    Run(Arc<Statement>, Vec<Value>),
    Sql(String),
    Commit,
    Rollback,
}

/// How a call ended: rows, or a SQLSTATE.
pub type Outcome = Result<Rows, String>;

/// Calls that ended, with their sessions.
pub type Ended = Vec<(usize, Outcome)>;

/// A database on which interleavings are played.
pub trait Arm {
    /// Empties the database and closes every session but the arm's own: [`APP`] and [`WORKER`], which never time out.
    fn reset(&mut self) -> Result<(), String>;
    /// Opens a session; they are numbered from [`OWN`] since the last reset.
    fn open(&mut self, role: Role, settings: SessionSettings) -> Result<usize, String>;
    /// Hands in a call of a session that has none under way.
    fn submit(&mut self, session: usize, request: Request) -> Result<(), String>;
    /// Runs until each call under way waits for another session, in no cycle, and returns what ended.
    fn settle(&mut self) -> Result<Ended, String>;
    /// Lets time pass.
    fn pause(&mut self, time: Duration) -> Result<Ended, String>;
    /// Runs until the session's call has ended, by itself if need be.
    fn finish(&mut self, session: usize) -> Result<Ended, String>;
    /// The wall clock, microseconds since 1970.
    fn now_us(&self) -> i64;
}

/// Whether a session waits for itself, by way of others.
pub fn cyclic<Id: Ord + Copy>(blockers: &BTreeMap<Id, Vec<Id>>) -> bool {
    fn reaches<Id: Ord + Copy>(
        blockers: &BTreeMap<Id, Vec<Id>>,
        from: Id,
        to: Id,
        seen: &mut BTreeSet<Id>,
    ) -> bool {
        let next = blockers.get(&from).into_iter().flatten();
        next.copied()
            .any(|next| next == to || (seen.insert(next) && reaches(blockers, next, to, seen)))
    }
    blockers
        .keys()
        .any(|&id| reaches(blockers, id, id, &mut BTreeSet::new()))
}
