//! A database host's disk and the engine on it: what outlives the host's reboots, and who waits for which answer.
//!
//! Invariant: a commit is recorded when it becomes visible, once and by the host that shows it: with a synchronous standby once
//! that has it, by the standby when it is promoted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use ::ledger::ports::{DbError, SessionSettings};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::{World, database::Answer, lock};
use crate::{
    recording::{Commit, DbEvent, EPOCH_UNIX_S, Event, Nanos},
    simdb::{Database, LogRecord, Output, Request, SessionId},
};

/// How a database host stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct State {
    /// It only follows.
    pub standby: bool,
    /// Its timeline.
    pub timeline: u32,
}

/// A database host's disk and the server on it; cheap to clone.
#[derive(Clone)]
pub struct Disk {
    pub(super) host: Arc<str>,
    pub(super) inner: Arc<Mutex<Inner>>,
    /// A deadline of the engine came nearer.
    pub(super) deadline_moved: Arc<Notify>,
    /// The log grew.
    pub(super) log_grew: Arc<Notify>,
}

pub(super) struct Inner {
    pub(super) db: Database,
    pub(super) fenced: bool,
    pub(super) waiting: BTreeMap<SessionId, oneshot::Sender<Finished>>,
    /// Sessions of tenants' requests, whose locks are told.
    pub(super) tenants: BTreeSet<SessionId>,
    /// Sessions of superusers at the host itself, by fault.
    pub(super) reports: BTreeMap<u32, SessionId>,
    /// Commits in the log that nobody has seen yet: of a primary, until its standby has them; of a standby, until they are
    /// known to be visible on the primary.
    pub(super) unshown: VecDeque<Commit>,
    /// The log's end, as far as a standby does not have it.
    pub(super) log: VecDeque<Arc<LogRecord>>,
    pub(super) outputs: Vec<Output>,
    pub(super) armed: Option<Nanos>,
}

/// A statement's result and what it cost the host's cores, in nanoseconds.
pub(super) struct Finished {
    pub(super) answer: Answer,
    pub(super) cost: Nanos,
}

impl Disk {
    /// The disk of `host` with a database on it.
    pub fn new(host: &str, db: Database) -> Disk {
        let inner = Inner {
            db,
            fenced: false,
            waiting: BTreeMap::new(),
            tenants: BTreeSet::new(),
            reports: BTreeMap::new(),
            unshown: VecDeque::new(),
            log: VecDeque::new(),
            outputs: Vec::new(),
            armed: None,
        };
        Disk {
            host: host.into(),
            inner: Arc::new(Mutex::new(inner)),
            deadline_moved: Arc::default(),
            log_grew: Arc::default(),
        }
    }

    /// Whether its database takes writes, or would if its host were up.
    pub fn is_primary(&self) -> bool {
        let inner = lock(&self.inner);
        !inner.fenced && !inner.db.is_standby()
    }

    /// Makes it the primary. What it had received and the old primary had not yet shown to anybody is committed by that.
    pub(super) fn promote(&self, world: &World) {
        let mut inner = lock(&self.inner);
        if !inner.db.is_standby() {
            return;
        }
        inner.db.promote();
        inner.db.set_synchronous(false);
        for commit in std::mem::take(&mut inner.unshown) {
            if commit.lsn > world.last_commit() {
                self.committed(world, commit);
            }
        }
        self.route(world, &mut inner);
    }

    pub(super) fn committed(&self, world: &World, commit: Commit) {
        world.note_commit(commit.lsn);
        world.record(Event::Commit(Commit {
            host: self.host.clone(),
            ..commit
        }));
    }

    /// Keeps the server from ever starting here again: another one is primary.
    pub fn fence(&self) {
        lock(&self.inner).fenced = true;
    }

    pub(super) fn state(&self) -> State {
        let inner = lock(&self.inner);
        State {
            standby: inner.db.is_standby(),
            timeline: inner.db.timeline(),
        }
    }

    /// Hands a request to the engine; the receiver resolves when it is done, at once unless it waits for a lock.
    pub(super) fn submit(
        &self,
        world: &World,
        session: SessionId,
        request: Request,
        wall_us: i64,
    ) -> oneshot::Receiver<Finished> {
        let (sender, receiver) = oneshot::channel();
        let now = world.now();
        let mut inner = lock(&self.inner);
        inner.waiting.insert(session, sender);
        inner.db.submit(session, request, now, wall_us);
        self.route(world, &mut inner);
        receiver
    }

    /// Passes on what the engine put out.
    pub(super) fn route(&self, world: &World, inner: &mut Inner) {
        let mut outputs = std::mem::take(&mut inner.outputs);
        inner.db.drain(&mut outputs);
        // The engine tells how a lock ended right before it answers the request that asked for it; between the two stands at most
        // the error. A request that commits by itself is no tenant's.
        let mut lock_ended = None;
        for output in outputs.drain(..) {
            match output {
                Output::Done {
                    session,
                    result,
                    cost_ns,
                } => {
                    if let Some(what) = lock_ended.take()
                        && inner.tenants.contains(&session)
                    {
                        world.record(Event::Db {
                            host: self.host.clone(),
                            what,
                        });
                    }
                    if let Some(waiting) = inner.waiting.remove(&session) {
                        // A receiver that is gone belongs to a connection that ended; its session is being closed.
                        let _ = waiting.send(Finished {
                            answer: result,
                            cost: cost_ns,
                        });
                    }
                }
                Output::Committed(commit) => {
                    lock_ended = None;
                    inner.unshown.push_back(commit);
                }
                Output::Log(record) => {
                    inner.log.push_back(record);
                    self.log_grew.notify_one();
                }
                Output::Event(
                    what
                    @ (DbEvent::LockAcquired { .. } | DbEvent::LockTimeout | DbEvent::Deadlock),
                ) => lock_ended = Some(what),
                Output::Event(what) => world.record(Event::Db {
                    host: self.host.clone(),
                    what,
                }),
            }
        }
        inner.outputs = outputs;
        // What a standby received is shown by its primary, or by itself once it is promoted.
        let visible = if inner.db.is_standby() {
            0
        } else {
            inner.db.visible()
        };
        while let Some(commit) = inner.unshown.pop_front_if(|commit| commit.lsn <= visible) {
            self.committed(world, commit);
        }
        let deadline = inner.db.next_deadline();
        if deadline.is_some_and(|deadline| inner.armed.is_none_or(|armed| deadline < armed)) {
            self.deadline_moved.notify_one();
        }
    }

    /// Runs SQL as somebody at the host itself would, in a transaction of its own.
    ///
    /// # Errors
    /// The first statement's that failed.
    pub(super) async fn local(
        &self,
        world: &World,
        role: &str,
        tenant: Option<Uuid>,
        sql: &str,
    ) -> Answer {
        let session = lock(&self.inner).db.open(role, LOCAL_SETTINGS)?;
        let closing = Closing {
            disk: self,
            world,
            session,
        };
        self.ask(world, session, Request::Begin { tenant }).await?;
        let rows = self.ask(world, session, Request::Sql(sql.into())).await;
        let end = if rows.is_ok() {
            Request::Commit
        } else {
            Request::Rollback
        };
        let ended = self.ask(world, session, end).await;
        drop(closing);
        rows.and_then(|rows| ended.map(|_| rows))
    }

    pub(super) async fn ask(&self, world: &World, session: SessionId, request: Request) -> Answer {
        match self.submit(world, session, request, wall_us(world)).await {
            Ok(finished) => finished.answer,
            Err(_) => Err(DbError::Connection("the server ended".into())),
        }
    }

    /// Executes a fault's statement.
    ///
    /// # Panics
    /// If it fails: a fault that does not act would prove nothing. The run ends with an error that names it.
    pub async fn execute(&self, world: &World, role: &str, tenant: Option<Uuid>, sql: &str) {
        if let Err(error) = self.local(world, role, tenant, sql).await {
            panic!("the fault's SQL failed on {}: {error}: {sql}", self.host);
        }
    }

    /// Reads something.
    ///
    /// # Errors
    /// The statement's.
    pub async fn query(&self, world: &World, role: &str, sql: &str) -> Answer {
        self.local(world, role, None, sql).await
    }

    /// Opens a superuser's session that takes locks with `sql` and keeps them until [`Disk::close_report`].
    pub async fn open_report(&self, world: &World, fault: u32, sql: String) {
        let Ok(session) = lock(&self.inner).db.open("postgres", LOCAL_SETTINGS) else {
            return;
        };
        lock(&self.inner).reports.insert(fault, session);
        let wall = wall_us(world);
        drop(self.submit(world, session, Request::Begin { tenant: None }, wall));
        // It may have to wait for the locks itself; nobody waits for it.
        drop(self.submit(world, session, Request::Sql(sql.into()), wall));
    }

    /// Ends such a session; its transaction rolls back.
    pub async fn close_report(&self, world: &World, fault: u32) {
        let session = lock(&self.inner).reports.remove(&fault);
        if let Some(session) = session {
            self.close(world, session);
        }
    }

    pub(super) fn close(&self, world: &World, session: SessionId) {
        let mut inner = lock(&self.inner);
        inner.waiting.remove(&session);
        inner.tenants.remove(&session);
        inner.db.close(session);
        self.route(world, &mut inner);
    }
}

/// Nobody bounds a superuser's report.
const LOCAL_SETTINGS: SessionSettings = SessionSettings {
    statement_timeout: Duration::ZERO,
    lock_timeout: Duration::ZERO,
};

fn wall_us(world: &World) -> i64 {
    EPOCH_UNIX_S * 1_000_000 + (world.now() / 1_000) as i64
}

/// Closes a session when its connection ends, however it does.
pub(super) struct Closing<'a> {
    pub(super) disk: &'a Disk,
    pub(super) world: &'a World,
    pub(super) session: SessionId,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.disk.close(self.world, self.session);
    }
}
