//! The database: requests in, outputs out, time told from outside.
//!
//! Invariant: deterministic; the same calls give the same outputs in the same order. Nothing here reads a clock or waits: a
//! request that has to wait stays with its session until a lock, a time-out or the standby lets it go on.

use std::{collections::BTreeMap, sync::Arc};

use ledger::ports::{DbError, Rows, SessionSettings, Value};
use uuid::Uuid;

use super::{
    catalog::Catalog,
    error::{PgError, PgResult, Stop},
    execute::{self, Running},
    expr::{Expr, SLOTS},
    heap::{Row, Snapshot, Store},
    image::{Image, Seed},
    lock::{LockKey, Locks},
    parse::{self, Parsed},
    plan::{Action, Plan},
    query::Env,
    replication::LogRecord,
    session::{Block, Session, SessionId},
    statement,
    txn::{self, Committed},
};
use crate::recording::{Commit, DbEvent, Nanos};

/// What work costs, in nanoseconds of one core. Defaults are those of a small server with a local disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Each statement: parse, plan, round trip through the executor.
    pub statement_ns: u64,
    /// Each row or index entry met.
    pub row_ns: u64,
    /// Each row written.
    pub write_ns: u64,
    /// Each commit that writes: the log reaches the disk.
    pub commit_ns: u64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { statement_ns: 25_000, row_ns: 250, write_ns: 4_000, commit_ns: 300_000 }
    }
}

/// A server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbConfig {
    /// How long a session waits before it looks for a deadlock, in nanoseconds.
    pub deadlock_timeout_ns: Nanos,
    /// Sessions at most.
    pub max_connections: usize,
    /// Of these, kept for superusers.
    pub superuser_reserved: usize,
    /// What work costs.
    pub costs: Costs,
}

impl Default for DbConfig {
    fn default() -> DbConfig {
        DbConfig { deadlock_timeout_ns: 200_000_000, max_connections: 100, superuser_reserved: 3, costs: Costs::default() }
    }
}

/// What a session asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Starts a transaction; with a tenant, sets `app.tenant_id` for it.
    Begin {
        /// The tenant, if any.
        tenant: Option<Uuid>,
    },
    /// Runs a statement file of the image.
    Run {
        /// Its name, without `.sql`.
        statement: Arc<str>,
        /// `$1`, `$2`, …
        params: Vec<Value>,
    },
    /// Runs SQL text, of one statement or several; several outside a transaction are one transaction.
    Sql(Arc<str>),
    /// Commits; of a failed transaction it is a rollback, as in PostgreSQL.
    Commit,
    /// Rolls back.
    Rollback,
}

/// What the database has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A request is answered.
    Done {
        /// Whose.
        session: SessionId,
        /// Rows, or the error.
        result: Result<Rows, DbError>,
        /// Work that it caused, in nanoseconds of one core; waits are not in it.
        cost_ns: u64,
    },
    /// A transaction reached the log. With a synchronous standby it is not visible yet and may be lost with this server.
    Committed(Commit),
    /// The same, for the standby.
    Log(Arc<LogRecord>),
    /// Something that the recording wants to know. A statement that asks for row locks (UPDATE, DELETE, SELECT … FOR UPDATE)
    /// or that waited for a key, a parent row or a table tells `LockAcquired` once, when it succeeds, with its waits' total; when
    /// a wait ends it badly, `LockTimeout` or `Deadlock` instead.
    Event(DbEvent),
}

/// State besides rows and catalog.
#[derive(Default)]
pub struct Aux {
    pub locks: Locks,
    pub sequences: BTreeMap<u32, i64>,
    pub events: Vec<DbEvent>,
    pub next_txn: u64,
    pub lsn: u64,
    pub acknowledged: u64,
    pub timeline: u32,
    pub standby: bool,
    pub synchronous: bool,
    pub disk_full: bool,
    /// Rows and index entries met by the statement under way.
    pub visited: u64,
}

/// Everything but the sessions.
pub struct Core {
    pub catalog: Arc<Catalog>,
    pub store: Store,
    pub aux: Aux,
    pub outputs: Vec<Output>,
    /// Rows with versions that may be dropped.
    pub stale: Vec<(u32, u32)>,
}

impl Core {
    /// Puts the catalog back as it was before a transaction's schema changes.
    pub fn restore_catalog(&mut self, before: Arc<Catalog>, widened: &[(u32, usize)]) {
        let version = self.catalog.version;
        self.catalog = before;
        // A version is never used twice: plans of the catalog that is gone must not be taken for its successor's.
        Arc::make_mut(&mut self.catalog).version = version + 1;
        for (table, columns) in widened.iter().rev() {
            self.store.heap_mut(*table).rewrite(|data| data[..*columns].into());
        }
        for table in self.catalog.tables.values() {
            self.store.heap_mut(table.id).sync_indexes(table);
        }
    }
}

/// Plans of one text, per role, for one version of the catalog.
#[derive(Clone, Default)]
struct Cached {
    plans: Vec<(Arc<str>, u64, Arc<Plan>)>,
}

/// One database server.
pub struct Database {
    image: Arc<Image>,
    config: DbConfig,
    core: Core,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u32,
    /// By number of the image's statement.
    files: Vec<Cached>,
    texts: BTreeMap<Arc<str>, (Vec<Arc<Parsed>>, Vec<Cached>)>,
    now: Nanos,
    /// With its place in the text, for the loader.
    last_error: Option<Box<PgError>>,
}

impl Database {
    /// A server with the image's schema, as the migrations left it.
    pub fn new(image: Arc<Image>, config: DbConfig) -> Database {
        let seed = image.seed();
        let aux = Aux { sequences: seed.sequences.clone(), timeline: 1, next_txn: 1, ..Aux::default() };
        let core = Core { catalog: seed.catalog.clone(), store: seed.store.clone(), aux, outputs: Vec::new(), stale: Vec::new() };
        Database {
            files: vec![Cached::default(); image.statements().len()],
            image,
            config,
            core,
            sessions: BTreeMap::new(),
            next_session: 1,
            texts: BTreeMap::new(),
            now: 0,
            last_error: None,
        }
    }

    /// A standby that starts from the same schema and gets the primary's log from its first record on.
    pub fn standby_of(image: Arc<Image>, config: DbConfig) -> Database {
        let mut database = Database::new(image, config);
        database.core.aux.standby = true;
        database
    }

    /// A standby made from a base backup of this server: its committed state, at its log position.
    pub fn base_backup(&self) -> Database {
        let mut backup = Database::new(self.image.clone(), self.config);
        let core = &mut backup.core;
        core.catalog = self.core.catalog.clone();
        core.store = self.core.store.clone();
        core.aux.sequences = self.core.aux.sequences.clone();
        (core.aux.lsn, core.aux.acknowledged) = (self.core.aux.lsn, self.core.aux.lsn);
        (core.aux.timeline, core.aux.next_txn) = (self.core.aux.timeline, self.core.aux.next_txn);
        core.aux.standby = true;
        // What was under way is not part of a backup; what is in the log is.
        for session in self.sessions.values() {
            txn::strip(core, &session.txn, session.pending.is_some());
        }
        backup
    }

    /// Opens a session.
    ///
    /// # Errors
    /// 53300 when all connections are taken, 28000 when the role does not exist or may not log in.
    pub fn open(&mut self, role: &str, settings: SessionSettings) -> Result<SessionId, DbError> {
        let known = self.core.catalog.role(role).map_err(|_| PgError::new("28000", format!("role \"{role}\" does not exist")).db_error())?;
        if !known.login {
            return Err(PgError::new("28000", format!("role \"{role}\" is not permitted to log in")).db_error());
        }
        let ordinary = self.config.max_connections.saturating_sub(self.config.superuser_reserved);
        if self.sessions.len() >= self.config.max_connections {
            return Err(PgError::new("53300", "sorry, too many clients already").db_error());
        }
        if !known.superuser && self.sessions.len() >= ordinary {
            let message = "remaining connection slots are reserved for non-replication superuser connections";
            return Err(PgError::new("53300", message).db_error());
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(id, Session::new(id, role.into(), settings));
        Ok(id)
    }

    /// Ends a session: rolls its transaction back and releases all its locks. A commit that waits for the standby goes on by
    /// itself, and its outcome is in doubt to the client.
    pub fn close(&mut self, session: SessionId) {
        let Some(mut closed) = self.sessions.remove(&session) else { return };
        if closed.pending.is_some() {
            self.core.outputs.push(Output::Event(DbEvent::CommitInDoubt));
            closed.rest.clear();
            closed.orphan = true;
            self.sessions.insert(session, closed);
            return;
        }
        txn::abort(&mut self.core, &mut closed);
        for key in std::mem::take(&mut closed.advisory) {
            self.core.aux.locks.release(session, LockKey::Advisory(key), false, false);
        }
        self.drive();
    }

    /// Number of open sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Takes a request of a session that has none outstanding. Its answer is an output, at once or later.
    /// `now` is virtual time, `wall_us` this host's own clock in microseconds since the Unix epoch.
    pub fn submit(&mut self, session: SessionId, request: Request, now: Nanos, wall_us: i64) {
        self.tick(now);
        self.core.aux.visited = 0;
        let Some(mut owned) = self.sessions.remove(&session) else {
            let error = DbError::Connection("no such session".into());
            self.core.outputs.push(Output::Done { session, result: Err(error), cost_ns: 0 });
            return;
        };
        owned.wall_us = wall_us;
        if owned.running.is_some() || owned.pending.is_some() {
            let error = PgError::new("08P01", "a request is still outstanding on this session");
            self.core.outputs.push(Output::Done { session, result: Err(error.db_error()), cost_ns: 0 });
        } else {
            self.request(&mut owned, request);
        }
        self.sessions.insert(session, owned);
        self.drive();
    }

    fn request(&mut self, session: &mut Session, request: Request) {
        let result = match request {
            Request::Begin { tenant } => self.begin(session, tenant),
            Request::Commit => return self.commit(session),
            Request::Rollback => self.rollback(session),
            Request::Run { statement, params } => match self.image.statement(&statement) {
                Some(number) => {
                    return match self.file_plan(number, &session.role.clone()) {
                        Ok(plan) => self.start(session, plan, params),
                        Err(error) => self.fail(session, error, 0),
                    };
                }
                None => Err(PgError::new("26000", format!("prepared statement \"{statement}\" does not exist"))),
            },
            Request::Sql(text) => match self.parsed(&text) {
                Ok(parsed) => {
                    session.rest = parsed.into_iter().rev().collect();
                    if session.block == Block::Idle && session.rest.len() > 1 {
                        session.block = Block::Implicit;
                        self.begin_txn(session);
                    }
                    return self.next_text(session, Rows::default(), 0);
                }
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(()) => self.done(session, Rows::default(), self.config.costs.statement_ns / 5),
            Err(error) => self.fail(session, error, 0),
        }
    }

    fn begin_txn(&mut self, session: &mut Session) {
        session.txn.now_us = session.wall_us;
    }

    fn begin(&mut self, session: &mut Session, tenant: Option<Uuid>) -> PgResult<()> {
        match session.block {
            Block::Failed => return Err(aborted()),
            Block::Idle => self.begin_txn(session),
            // PostgreSQL only warns.
            Block::Implicit | Block::Open => {}
        }
        session.block = Block::Open;
        if let Some(tenant) = tenant {
            let mut buffer = Uuid::encode_buffer();
            let text: Arc<str> = (&*tenant.hyphenated().encode_lower(&mut buffer)).into();
            session.set("app.tenant_id", text, true)?;
        }
        Ok(())
    }

    fn rollback(&mut self, session: &mut Session) -> PgResult<()> {
        let rest = std::mem::take(&mut session.rest);
        txn::abort(&mut self.core, session);
        session.rest = rest;
        Ok(())
    }

    fn commit(&mut self, session: &mut Session) {
        if session.block == Block::Failed {
            txn::abort(&mut self.core, session);
            return self.done(session, Rows::default(), self.config.costs.statement_ns / 5);
        }
        let wrote = !session.txn.writes.is_empty() || !session.txn.ddl.is_empty();
        let cost = self.config.costs.statement_ns / 5 + if wrote { self.config.costs.commit_ns } else { 0 };
        session.answer = (Rows::default(), cost);
        if let Committed::Done = txn::commit(&mut self.core, session) {
            self.done(session, Rows::default(), cost);
        }
    }

    fn start(&mut self, session: &mut Session, plan: Arc<Plan>, params: Vec<Value>) {
        if session.block == Block::Failed && !matches!(plan.action, Action::Commit | Action::Rollback) {
            return self.fail(session, aborted(), 0);
        }
        if let Err(error) = check_params(&plan, &params) {
            return self.fail(session, error, 0);
        }
        match plan.action {
            Action::Begin => {
                let result = self.begin(session, None);
                return match result {
                    Ok(()) => self.next_text(session, Rows::default(), self.config.costs.statement_ns / 5),
                    Err(error) => self.fail(session, error, 0),
                };
            }
            Action::Commit => return self.commit(session),
            Action::Rollback => {
                let _ = self.rollback(session);
                return self.next_text(session, Rows::default(), self.config.costs.statement_ns / 5);
            }
            _ => {}
        }
        if session.block == Block::Idle {
            session.block = Block::Implicit;
            self.begin_txn(session);
        }
        session.running = Some(Box::new(Running::new(plan, params, self.now)));
        self.resume(session);
    }

    /// Runs a session's statement until it ends or waits.
    fn resume(&mut self, session: &mut Session) {
        let Some(mut running) = session.running.take() else { return };
        self.core.aux.visited = 0;
        let result = execute::advance(&mut self.core, session, &mut running);
        running.visited += self.core.aux.visited;
        self.core.outputs.extend(self.core.aux.events.drain(..).map(Output::Event));
        match result {
            Ok(()) => self.statement_done(session, *running),
            Err(Stop::Wait(key, mode)) => {
                running.asked = true;
                running.waiting_since = self.now;
                session.running = Some(running);
                self.core.aux.locks.wait(session.id, key, mode);
            }
            Err(Stop::Error(error)) => {
                let cost = self.cost(&running);
                self.fail(session, error, cost);
            }
        }
    }

    fn cost(&self, running: &Running) -> u64 {
        let costs = self.config.costs;
        costs.statement_ns + running.visited * costs.row_ns + running.written * costs.write_ns
    }

    fn statement_done(&mut self, session: &mut Session, running: Running) {
        let cost = self.cost(&running);
        if let Some(deadline) = session.statement_deadline(running.started)
            && self.now.saturating_add(cost) > deadline
        {
            return self.fail(session, timeout(), deadline.saturating_sub(self.now));
        }
        if running.asked {
            self.core.outputs.push(Output::Event(DbEvent::LockAcquired { waited: running.waited }));
        }
        self.next_text(session, running.out, cost);
    }

    /// Goes on with the next statement of the request, or ends it.
    fn next_text(&mut self, session: &mut Session, rows: Rows, cost: u64) {
        let spent = session.answer.1 + cost;
        if let Some(parsed) = session.rest.pop() {
            session.answer.1 = spent;
            return match self.text_plan(&parsed, &session.role.clone()) {
                Ok(plan) => self.start(session, plan, Vec::new()),
                Err(error) => self.fail(session, error, 0),
            };
        }
        if session.block != Block::Implicit {
            return self.done(session, rows, cost);
        }
        let wrote = !session.txn.writes.is_empty() || !session.txn.ddl.is_empty();
        let cost = cost + if wrote { self.config.costs.commit_ns } else { 0 };
        session.answer.0 = rows.clone();
        session.answer.1 += cost;
        if let Committed::Done = txn::commit(&mut self.core, session) {
            session.answer.1 -= cost;
            self.done(session, rows, cost);
        }
    }

    fn done(&mut self, session: &mut Session, rows: Rows, cost: u64) {
        if !session.rest.is_empty() {
            return self.next_text(session, rows, cost);
        }
        let cost_ns = session.answer.1 + cost;
        session.answer = (Rows::default(), 0);
        self.core.outputs.push(Output::Done { session: session.id, result: Ok(rows), cost_ns });
        self.prune();
    }

    /// Ends a request with an error: the transaction is rolled back at once; after BEGIN the session remembers it.
    fn fail(&mut self, session: &mut Session, error: Box<PgError>, cost: u64) {
        let explicit = matches!(session.block, Block::Open | Block::Failed);
        if session.block != Block::Failed {
            txn::abort(&mut self.core, session);
        }
        session.rest.clear();
        session.running = None;
        session.block = if explicit { Block::Failed } else { Block::Idle };
        let cost_ns = session.answer.1 + cost;
        session.answer = (Rows::default(), 0);
        self.core.outputs.push(Output::Event(DbEvent::Error { sqlstate: error.sqlstate.into() }));
        self.core.outputs.push(Output::Done { session: session.id, result: Err(error.db_error()), cost_ns });
        self.last_error = Some(error);
        self.prune();
    }

    /// Lets every session go on whose lock was granted, in the order of the grants.
    fn drive(&mut self) {
        while let Some((id, key, new)) = self.core.aux.locks.pop_granted() {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            match key {
                // Only the other transaction's end was waited for.
                LockKey::Txn(_) => {
                    self.core.aux.locks.release(id, key, true, false);
                }
                LockKey::Advisory(_) => session.waited_for = Some(key),
                key if new => session.txn.locks.push(key),
                _ => {}
            }
            if let Some(running) = &mut session.running {
                running.waited += self.now.saturating_sub(running.waiting_since);
            }
            self.resume(&mut session);
            self.sessions.insert(id, session);
        }
    }

    fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.core.aux.locks.set_now(self.now);
    }

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
            let Some(session) = self.sessions.get(&id) else { continue };
            let lock = session.limits.lock_timeout.as_nanos() as Nanos;
            let deadlock = (!wait.checked).then(|| wait.since + self.config.deadlock_timeout_ns);
            let lock = (lock > 0).then(|| wait.since + lock);
            let statement = session.running.as_ref().and_then(|running| session.statement_deadline(running.started));
            for (at, what) in [(deadlock, Timer::Deadlock), (lock, Timer::Lock), (statement, Timer::Statement)] {
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
            let cost = session.running.as_deref().map_or(0, |running| self.cost(running));
            self.fail(&mut session, error, cost);
            self.sessions.insert(id, session);
        }
        self.drive();
    }

    /// Moves the outputs so far to `into`, in order.
    pub fn drain(&mut self, into: &mut Vec<Output>) {
        into.append(&mut self.core.outputs);
    }

    /// For whom a session waits, if it does: lock holders and those before it in the queue. Empty while it waits for the standby.
    pub fn waiting(&self, session: SessionId) -> Option<Vec<SessionId>> {
        if self.core.aux.locks.waiting(session).is_some() {
            return Some(self.core.aux.locks.blockers(session));
        }
        self.sessions.get(&session).and_then(|session| session.pending).map(|_| Vec::new())
    }

    fn file_plan(&mut self, number: usize, role: &Arc<str>) -> PgResult<Arc<Plan>> {
        let parsed = self.image.statements()[number].1.clone();
        cached(&mut self.files[number], &self.core.catalog, role, &parsed)
    }

    /// Parses a text once. The cache is emptied when it grows large: texts with literals would fill it.
    fn parsed(&mut self, text: &Arc<str>) -> PgResult<Vec<Arc<Parsed>>> {
        if let Some((parsed, _)) = self.texts.get(text) {
            return Ok(parsed.clone());
        }
        let parsed: Vec<Arc<Parsed>> = parse::statements(text)?.into_iter().map(Arc::new).collect();
        if self.texts.len() >= 1024 {
            self.texts.clear();
        }
        self.texts.insert(text.clone(), (parsed.clone(), vec![Cached::default(); parsed.len()]));
        Ok(parsed)
    }

    fn text_plan(&mut self, parsed: &Arc<Parsed>, role: &Arc<str>) -> PgResult<Arc<Plan>> {
        for (known, plans) in self.texts.get_mut(&parsed.source).into_iter().map(|(known, plans)| (known, plans)) {
            if let Some(at) = known.iter().position(|other| Arc::ptr_eq(other, parsed)) {
                return cached(&mut plans[at], &self.core.catalog, role, parsed);
            }
        }
        statement::compile(&self.core.catalog, role, parsed).map(Arc::new)
    }

    /// Runs a statement of a migration; its error keeps its place.
    pub(super) fn run_parsed(&mut self, session: SessionId, parsed: Parsed, wall_us: i64) -> PgResult<()> {
        let Some(mut owned) = self.sessions.remove(&session) else {
            return Err(PgError::internal("no such session"));
        };
        owned.wall_us = wall_us;
        owned.rest = vec![Arc::new(parsed)];
        self.last_error = None;
        self.next_text(&mut owned, Rows::default(), 0);
        self.sessions.insert(session, owned);
        self.core.outputs.clear();
        self.last_error.take().map_or(Ok(()), Err)
    }

    /// What the migrations left.
    pub(super) fn into_seed(self) -> Seed {
        Seed { catalog: self.core.catalog, store: self.core.store, sequences: self.core.aux.sequences }
    }

    /// Drops versions that no statement under way can see.
    fn prune(&mut self) {
        if self.core.stale.is_empty() {
            return;
        }
        let running = self.sessions.values().filter_map(|session| session.running.as_ref());
        let horizon = running.map(|running| running.snapshot.commit).min().unwrap_or(u64::MAX).min(self.core.store.commit);
        let stale = std::mem::take(&mut self.core.stale);
        for (table, row) in stale {
            if let Some(definition) = self.core.catalog.tables.get(&table)
                && self.core.store.heap_mut(table).prune(definition, row, horizon)
            {
                self.core.stale.push((table, row));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Deadlock,
    Lock,
    Statement,
}

fn aborted() -> Box<PgError> {
    PgError::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

fn timeout() -> Box<PgError> {
    PgError::new("57014", "canceling statement due to statement timeout")
}

fn check_params(plan: &Plan, params: &[Value]) -> PgResult<()> {
    if params.len() != plan.params.len() {
        let message = format!("bind message supplies {} parameters, but the statement requires {}", params.len(), plan.params.len());
        return Err(PgError::new("08P01", message));
    }
    for (at, (value, ty)) in params.iter().zip(&plan.params).enumerate() {
        if !ty.admits(value) {
            return Err(PgError::new("42804", format!("parameter ${} is of type {}, not {value:?}", at + 1, ty.name())));
        }
    }
    Ok(())
}

fn cached(cache: &mut Cached, catalog: &Catalog, role: &Arc<str>, parsed: &Parsed) -> PgResult<Arc<Plan>> {
    let known = cache.plans.iter().position(|(known, ..)| known == role);
    if let Some(at) = known {
        let (_, version, plan) = &cache.plans[at];
        if *version == catalog.version {
            return Ok(plan.clone());
        }
        cache.plans.remove(at);
    }
    let plan = Arc::new(statement::compile(catalog, role, parsed)?);
    cache.plans.push((role.clone(), catalog.version, plan.clone()));
    Ok(plan)
}

/// Evaluates a condition of the catalog on a row, outside of any statement.
pub fn row_test(expr: &Expr, row: &Row, store: &Store, catalog: &Catalog) -> PgResult<Option<bool>> {
    let mut rows: [&[Value]; SLOTS] = [&[]; SLOTS];
    rows[0] = row;
    let limits = SessionSettings { statement_timeout: Default::default(), lock_timeout: Default::default() };
    let mut env = Env {
        rows,
        params: &[],
        once: &mut [],
        memos: &mut [],
        store,
        catalog,
        snapshot: Snapshot { commit: u64::MAX, txn: 0, command: 0 },
        session: &mut Session::new(SessionId(0), "postgres".into(), limits),
        aux: &mut Aux::default(),
    };
    match expr.test(&mut env) {
        Ok(truth) => Ok(truth),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Wait(..)) => Err(PgError::internal("a condition of the catalog waited for a lock")),
    }
}

/// Replication, failure and faults.
impl Database {
    /// Whether it replays a primary's log.
    pub fn is_standby(&self) -> bool {
        self.core.aux.standby
    }

    /// Position of its last log record.
    pub fn lsn(&self) -> u64 {
        self.core.aux.lsn
    }

    /// Timeline on which it writes.
    pub fn timeline(&self) -> u32 {
        self.core.aux.timeline
    }

    /// Turns waiting for the standby's acknowledgement on or off; off lets those go that wait.
    pub fn set_synchronous(&mut self, on: bool) {
        self.core.aux.synchronous = on;
        if !on {
            self.release_pending(u64::MAX);
        }
    }

    /// The standby has stored the log up to `lsn`.
    pub fn acknowledge(&mut self, lsn: u64) {
        self.core.aux.acknowledged = self.core.aux.acknowledged.max(lsn);
        self.release_pending(lsn);
    }

    fn release_pending(&mut self, lsn: u64) {
        let due = self.sessions.iter().filter_map(|(id, session)| session.pending.filter(|own| *own <= lsn).map(|own| (own, *id)));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        for (_, id) in due {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            session.pending = None;
            txn::finish(&mut self.core, &mut session, true);
            if session.orphan {
                self.sessions.insert(id, session);
                self.close(id);
                continue;
            }
            let (rows, cost) = std::mem::take(&mut session.answer);
            self.done(&mut session, rows, cost);
            self.sessions.insert(id, session);
        }
        self.drive();
    }

    /// Replays a record of the primary's log; records come without gaps, one that is already there is passed over.
    ///
    /// # Errors
    /// When records are missing before this one, or this server is no standby.
    pub fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        if !self.core.aux.standby {
            return Err("not a standby".into());
        }
        if record.lsn() <= self.core.aux.lsn {
            return Ok(());
        }
        if record.lsn() != self.core.aux.lsn + 1 {
            return Err(format!("record {} does not follow {}", record.lsn(), self.core.aux.lsn));
        }
        for text in &record.ddl {
            txn::replay_ddl(&mut self.core, &record.commit.role, text).map_err(|error| error.message)?;
        }
        txn::replay_rows(&mut self.core, record);
        self.prune();
        Ok(())
    }

    /// Ends the replay: the server becomes a primary on a new timeline, which it returns.
    pub fn promote(&mut self) -> u32 {
        if self.core.aux.standby {
            self.core.aux.standby = false;
            self.core.aux.timeline += 1;
            self.core.aux.acknowledged = self.core.aux.lsn;
        }
        self.core.aux.timeline
    }

    /// The server crashed and has recovered: what is in the log is there, sessions are not.
    pub fn crash_recover(&mut self) {
        self.core.aux.locks.clear();
        for mut session in std::mem::take(&mut self.sessions).into_values() {
            let logged = session.pending.is_some();
            txn::finish(&mut self.core, &mut session, logged);
        }
        self.core.aux.locks.clear();
        // Answers die with their sessions; what reached the log did happen.
        self.core.outputs.retain(|output| !matches!(output, Output::Done { .. }));
        self.prune();
    }

    /// The administrator shuts the server down or fences it: every session ends with 57P01; what waits for the standby is in
    /// the log and becomes visible.
    pub fn terminate_all(&mut self) {
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            let busy = session.running.is_some() || session.pending.is_some();
            if session.pending.take().is_some() {
                self.core.outputs.push(Output::Event(DbEvent::CommitInDoubt));
                txn::finish(&mut self.core, &mut session, true);
            }
            if busy && !session.orphan {
                let error = PgError::new("57P01", "terminating connection due to administrator command");
                self.core.outputs.push(Output::Event(DbEvent::Error { sqlstate: error.sqlstate.into() }));
                self.core.outputs.push(Output::Done { session: id, result: Err(error.db_error()), cost_ns: 0 });
            }
            txn::abort(&mut self.core, &mut session);
        }
        self.core.aux.locks.clear();
        self.prune();
    }

    /// Whether writes fail with 53100.
    pub fn set_disk_full(&mut self, full: bool) {
        self.core.aux.disk_full = full;
    }

    /// Changes what work costs: a slow disk, a busy machine.
    pub fn set_costs(&mut self, costs: Costs) {
        self.config.costs = costs;
    }
}
