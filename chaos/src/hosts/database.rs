//! The database host: the simulated database behind three ports: sessions, log shipping, control.
//!
//! The [`Disk`] outlives the host's reboots; sessions do not. A reply is delayed by what the statement cost this host's cores.
//! A commit is recorded when it becomes visible: with a synchronous standby, once that has it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::ledger::ports::{DbError, Role, Rows, SessionSettings, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::{World, lock, wire::Wire};
use crate::{
    recording::{Commit, DbEvent, EPOCH_UNIX_S, Event, Nanos},
    simdb::{Database, LogRecord, Output, Request, SessionId},
    simnet::{HostCtx, TcpListener},
};

/// Where sessions are served.
pub const SESSION_PORT: u16 = 5432;
/// Where the log is shipped from.
pub const LOG_PORT: u16 = 5433;
/// Where the controller asks.
pub const CONTROL_PORT: u16 = 5434;

/// What a client sends on a session; each message is answered by one [`Answer`].
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    Open(Role, SessionSettings),
    /// Makes the statement known to this connection under the next number.
    Prepare {
        name: Arc<str>,
        sql: Arc<str>,
    },
    Begin(Option<Uuid>),
    Run(u32, Vec<Value>),
    Commit,
    Rollback,
}

pub(super) type Answer = Result<Rows, DbError>;

/// What the controller asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Control {
    /// How it stands.
    State,
    /// Become the primary.
    Promote,
}

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
    host: Arc<str>,
    inner: Arc<Mutex<Inner>>,
    /// A deadline of the engine came nearer.
    deadline_moved: Arc<Notify>,
    /// The log grew.
    log_grew: Arc<Notify>,
}

struct Inner {
    db: Database,
    fenced: bool,
    waiting: BTreeMap<SessionId, oneshot::Sender<Finished>>,
    /// Sessions of tenants' requests, whose locks are told.
    tenants: BTreeSet<SessionId>,
    /// Sessions of superusers at the host itself, by fault.
    reports: BTreeMap<u32, SessionId>,
    /// Commits in the log that nobody has seen yet: of a primary, until its standby has them; of a standby, until they are
    /// known to be visible on the primary.
    unshown: VecDeque<Commit>,
    /// The log's end, as far as a standby does not have it.
    log: VecDeque<Arc<LogRecord>>,
    outputs: Vec<Output>,
    armed: Option<Nanos>,
}

/// A statement's result and what it cost the host's cores, in nanoseconds.
struct Finished {
    answer: Answer,
    cost: Nanos,
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
    fn promote(&self, world: &World) {
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

    fn committed(&self, world: &World, commit: Commit) {
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

    fn state(&self) -> State {
        let inner = lock(&self.inner);
        State {
            standby: inner.db.is_standby(),
            timeline: inner.db.timeline(),
        }
    }

    /// Hands a request to the engine; the receiver resolves when it is done, at once unless it waits for a lock.
    fn submit(
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
    fn route(&self, world: &World, inner: &mut Inner) {
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
    async fn local(&self, world: &World, role: &str, tenant: Option<Uuid>, sql: &str) -> Answer {
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

    async fn ask(&self, world: &World, session: SessionId, request: Request) -> Answer {
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

    fn close(&self, world: &World, session: SessionId) {
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
struct Closing<'a> {
    disk: &'a Disk,
    world: &'a World,
    session: SessionId,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.disk.close(self.world, self.session);
    }
}

/// The host: recovers what its disk has and serves until it is stopped. A fenced one serves nothing.
pub async fn run(ctx: HostCtx, world: Arc<World>, peer: &'static str) {
    let disk = world.disks[&*ctx.name].clone();
    {
        let mut inner = lock(&disk.inner);
        if inner.fenced {
            return;
        }
        if ctx.boot > 1 {
            inner.db.crash_recover();
            inner.waiting.clear();
            inner.tenants.clear();
            inner.reports.clear();
        }
        inner.armed = None;
    }
    let (timers, timed) = (ctx.clone(), disk.clone());
    ctx.spawn(keep_deadlines(timers, world.clone(), timed));
    if disk.state().standby {
        ctx.spawn(follow(ctx.clone(), world.clone(), disk.clone(), peer));
    }
    let ports: [(u16, Serve); 3] = [
        (SESSION_PORT, Serve::Sessions),
        (LOG_PORT, Serve::Log),
        (CONTROL_PORT, Serve::Control),
    ];
    for (port, what) in ports {
        let Ok(listener) = TcpListener::bind(format!("0.0.0.0:{port}")).await else {
            return;
        };
        let (host, world, disk) = (ctx.clone(), world.clone(), disk.clone());
        ctx.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ctx, world, disk) = (host.clone(), world.clone(), disk.clone());
                let wire = Wire::new(stream);
                match what {
                    Serve::Sessions => {
                        drop(host.spawn(async move {
                            drop(serve_session(ctx, world, disk, wire).await)
                        }))
                    }
                    Serve::Log => {
                        drop(host.spawn(async move { drop(ship(world, disk, wire).await) }))
                    }
                    Serve::Control => {
                        drop(host.spawn(async move { drop(control(world, disk, wire).await) }))
                    }
                }
            }
        });
    }
    ctx.stop.wait().await;
}

#[derive(Clone, Copy)]
enum Serve {
    Sessions,
    Log,
    Control,
}

/// Wakes the engine at its deadlines.
async fn keep_deadlines(ctx: HostCtx, world: Arc<World>, disk: Disk) {
    loop {
        let deadline = {
            let mut inner = lock(&disk.inner);
            inner.armed = inner.db.next_deadline();
            inner.armed
        };
        let Some(deadline) = deadline else {
            disk.deadline_moved.notified().await;
            continue;
        };
        tokio::select! {
            biased;
            () = disk.deadline_moved.notified() => continue,
            () = ctx.sim.sleep_until(Duration::from_nanos(deadline)) => {}
        }
        let mut inner = lock(&disk.inner);
        inner.db.advance(world.now());
        disk.route(&world, &mut inner);
    }
}

async fn serve_session(
    ctx: HostCtx,
    world: Arc<World>,
    disk: Disk,
    mut wire: Wire,
) -> io::Result<()> {
    let Ask::Open(role, settings) = wire.receive().await? else {
        return Ok(());
    };
    let name = match role {
        Role::App => "ledger_app",
        Role::Worker => "ledger_worker",
    };
    let opened = lock(&disk.inner).db.open(name, settings);
    let session = match opened {
        Ok(session) => session,
        Err(error) => return wire.send(&Answer::Err(error)).await,
    };
    if role == Role::App {
        lock(&disk.inner).tenants.insert(session);
    }
    let _closing = Closing {
        disk: &disk,
        world: &world,
        session,
    };
    wire.send(&Answer::Ok(Rows::default())).await?;
    let mut prepared: Vec<Prepared> = Vec::new();
    loop {
        let ask = wire.receive().await?;
        let mut extra = Duration::ZERO;
        let request = match ask {
            Ask::Open(..) => return Ok(()),
            Ask::Prepare { name, sql } => {
                let shipped = world
                    .schema
                    .statements
                    .iter()
                    .any(|(known, text)| **known == *name && **text == *sql);
                prepared.push(Prepared {
                    name,
                    changed: (!shipped).then_some(sql),
                });
                continue;
            }
            Ask::Begin(tenant) => Request::Begin { tenant },
            Ask::Commit => Request::Commit,
            Ask::Rollback => Request::Rollback,
            Ask::Run(number, params) => {
                let Some(Prepared { name, changed }) = prepared.get(number as usize) else {
                    return Ok(());
                };
                extra = world
                    .switches()
                    .slow_statements
                    .get(name)
                    .copied()
                    .unwrap_or_default();
                match changed {
                    None => Request::Run {
                        statement: name.clone(),
                        params,
                    },
                    Some(sql) => Request::Text {
                        sql: sql.clone(),
                        params,
                    },
                }
            }
        };
        let committing = matches!(request, Request::Commit);
        let wall = ctx.clock.unix_nanos() / 1_000;
        let mut in_doubt = InDoubt {
            world: &world,
            host: &disk.host,
            armed: committing,
        };
        let Ok(finished) = disk.submit(&world, session, request, wall).await else {
            return Ok(());
        };
        ctx.cpu.work_nanos(finished.cost).await;
        if !extra.is_zero() {
            ctx.clock.sleep(extra).await;
        }
        wire.queue(&finished.answer)?;
        if !wire.has_message() {
            wire.flush().await?;
        }
        in_doubt.armed = false;
    }
}

/// A statement as one connection knows it.
struct Prepared {
    name: Arc<str>,
    /// Its text, if the release changed it.
    changed: Option<Arc<str>>,
}

/// Records that a client was left without an answer to its COMMIT.
struct InDoubt<'a> {
    world: &'a World,
    host: &'a Arc<str>,
    armed: bool,
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.world.record(Event::Db {
                host: self.host.clone(),
                what: DbEvent::CommitInDoubt,
            });
        }
    }
}

/// Ships the log to a standby and takes its acknowledgements.
async fn ship(world: Arc<World>, disk: Disk, mut wire: Wire) -> io::Result<()> {
    let mut sent: u64 = wire.receive().await?;
    loop {
        let records: Vec<Arc<LogRecord>> = lock(&disk.inner)
            .log
            .iter()
            .filter(|record| record.lsn() > sent)
            .cloned()
            .collect();
        if let Some(last) = records.last() {
            sent = last.lsn();
            wire.send(&records).await?;
        }
        tokio::select! {
            biased;
            acknowledged = wire.receive::<u64>() => {
                let acknowledged = acknowledged?;
                let mut inner = lock(&disk.inner);
                inner.log.retain(|record| record.lsn() > acknowledged);
                inner.db.acknowledge(acknowledged);
                disk.route(&world, &mut inner);
            }
            () = disk.log_grew.notified() => {}
        }
    }
}

/// Time between a standby's attempts to reach the primary.
const FOLLOW_RETRY: Duration = Duration::from_secs(1);

/// Follows the primary until this one is promoted.
async fn follow(ctx: HostCtx, world: Arc<World>, disk: Disk, primary: &'static str) {
    while disk.state().standby {
        let _ = follow_once(&world, &disk, primary).await;
        ctx.clock.sleep(FOLLOW_RETRY).await;
    }
}

async fn follow_once(world: &World, disk: &Disk, primary: &str) -> io::Result<()> {
    let mut wire = Wire::connect(&format!("{primary}:{LOG_PORT}")).await?;
    let from = lock(&disk.inner).db.lsn();
    wire.send(&from).await?;
    loop {
        let records: Vec<LogRecord> = wire.receive().await?;
        let applied = {
            let mut inner = lock(&disk.inner);
            if !inner.db.is_standby() {
                return Ok(());
            }
            let shown = world.last_commit();
            inner.unshown.retain(|commit| commit.lsn > shown);
            for record in &records {
                inner.db.apply(record).map_err(io::Error::other)?;
                inner.unshown.push_back(record.commit.clone());
            }
            inner.db.lsn()
        };
        wire.send(&applied).await?;
    }
}

async fn control(world: Arc<World>, disk: Disk, mut wire: Wire) -> io::Result<()> {
    loop {
        if let Control::Promote = wire.receive().await? {
            disk.promote(&world);
        }
        wire.send(&disk.state()).await?;
    }
}
