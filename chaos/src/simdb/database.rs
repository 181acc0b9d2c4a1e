//! The database: requests in, outputs out, time told from outside.
//!
//! Invariant: deterministic; the same calls give the same outputs in the same order. Nothing here reads a clock or waits: a
//! request that has to wait stays with its session until a lock, a time-out or the standby lets it go on.

use std::{collections::BTreeMap, sync::Arc};

use ledger::ports::{DbError, Rows, SessionSettings, Value};
use uuid::Uuid;

use super::{
    catalog::Catalog,
    core::{Aux, Core},
    error::{PgError, PgResult, Stop},
    execute::{self, Running},
    image::{Image, Seed},
    lock::LockKey,
    parse::{self, Parsed},
    plan::{Action, Plan},
    request::{DbConfig, Output, Request},
    session::{Block, Session, SessionId},
    statement,
    txn::{self, Committed},
};
use crate::recording::{DbEvent, Nanos};

/// Plans of one text, per role, for one version of the catalog.
#[derive(Clone, Default)]
struct Cached {
    plans: Vec<(Arc<str>, u64, Arc<Plan>)>,
}

/// The statements of one ad-hoc text, and their plans.
type Text = (Vec<Arc<Parsed>>, Vec<Cached>);

/// One database server.
pub struct Database {
    pub(super) image: Arc<Image>,
    pub(super) config: DbConfig,
    pub(super) core: Core,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    next_session: u32,
    /// By number of the image's statement.
    files: Vec<Cached>,
    texts: BTreeMap<Arc<str>, Text>,
    pub(super) now: Nanos,
    /// With its place in the text, for the loader.
    last_error: Option<Box<PgError>>,
}

impl Database {
    /// A server with the image's schema, as the migrations left it.
    pub fn new(image: Arc<Image>, config: DbConfig) -> Database {
        let seed = image.seed();
        let aux = Aux {
            sequences: seed.sequences.clone(),
            timeline: 1,
            next_txn: 1,
            ..Aux::default()
        };
        let core = Core {
            catalog: seed.catalog.clone(),
            store: seed.store.clone(),
            aux,
            outputs: Vec::new(),
            stale: Vec::new(),
        };
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

    /// Opens a session.
    ///
    /// # Errors
    /// 53300 when all connections are taken, 28000 when the role does not exist or may not log in.
    pub fn open(&mut self, role: &str, settings: SessionSettings) -> Result<SessionId, DbError> {
        let known = self.core.catalog.role(role).map_err(|_| {
            PgError::new("28000", format!("role \"{role}\" does not exist")).db_error()
        })?;
        if !known.login {
            return Err(PgError::new(
                "28000",
                format!("role \"{role}\" is not permitted to log in"),
            )
            .db_error());
        }
        let ordinary = self
            .config
            .max_connections
            .saturating_sub(self.config.superuser_reserved);
        if self.sessions.len() >= self.config.max_connections {
            return Err(PgError::new("53300", "sorry, too many clients already").db_error());
        }
        if !known.superuser && self.sessions.len() >= ordinary {
            let message =
                "remaining connection slots are reserved for non-replication superuser connections";
            return Err(PgError::new("53300", message).db_error());
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions
            .insert(id, Session::new(id, role.into(), settings));
        Ok(id)
    }

    /// Ends a session: rolls its transaction back and releases all its locks. A commit that waits for the standby goes on by
    /// itself, and its outcome is in doubt to the client.
    pub fn close(&mut self, session: SessionId) {
        let Some(mut closed) = self.sessions.remove(&session) else {
            return;
        };
        if closed.pending.is_some() {
            self.core
                .outputs
                .push(Output::Event(DbEvent::CommitInDoubt));
            closed.rest.clear();
            closed.orphan = true;
            self.sessions.insert(session, closed);
            return;
        }
        txn::abort(&mut self.core, &mut closed);
        for key in std::mem::take(&mut closed.advisory) {
            self.core
                .aux
                .locks
                .release(session, LockKey::Advisory(key), false, false);
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
            self.core.outputs.push(Output::Done {
                session,
                result: Err(error),
                cost_ns: 0,
            });
            return;
        };
        owned.wall_us = wall_us;
        if owned.running.is_some() || owned.pending.is_some() {
            let error = PgError::new("08P01", "a request is still outstanding on this session");
            self.core.outputs.push(Output::Done {
                session,
                result: Err(error.db_error()),
                cost_ns: 0,
            });
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
                None => Err(PgError::new(
                    "26000",
                    format!("prepared statement \"{statement}\" does not exist"),
                )),
            },
            Request::Text { sql, params } => {
                let plan = self
                    .single(&sql)
                    .and_then(|parsed| self.text_plan(&parsed, &session.role.clone()));
                return match plan {
                    Ok(plan) => self.start(session, plan, params),
                    Err(error) => self.fail(session, error, 0),
                };
            }
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
        let cost = self.config.costs.statement_ns / 5
            + if wrote {
                self.config.costs.commit_ns
            } else {
                0
            };
        session.answer = (Rows::default(), cost);
        if let Committed::Done = txn::commit(&mut self.core, session) {
            self.done(session, Rows::default(), cost);
        }
    }

    fn start(&mut self, session: &mut Session, plan: Arc<Plan>, params: Vec<Value>) {
        if session.block == Block::Failed
            && !matches!(plan.action, Action::Commit | Action::Rollback)
        {
            return self.fail(session, aborted(), 0);
        }
        if let Err(error) = check_params(&plan, &params) {
            return self.fail(session, error, 0);
        }
        match plan.action {
            Action::Begin => {
                let result = self.begin(session, None);
                return match result {
                    Ok(()) => {
                        self.next_text(session, Rows::default(), self.config.costs.statement_ns / 5)
                    }
                    Err(error) => self.fail(session, error, 0),
                };
            }
            Action::Commit => return self.commit(session),
            Action::Rollback => {
                let _ = self.rollback(session);
                return self.next_text(
                    session,
                    Rows::default(),
                    self.config.costs.statement_ns / 5,
                );
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
        let Some(mut running) = session.running.take() else {
            return;
        };
        self.core.aux.visited = 0;
        let result = execute::advance(&mut self.core, session, &mut running);
        running.visited += self.core.aux.visited;
        self.core
            .outputs
            .extend(self.core.aux.events.drain(..).map(Output::Event));
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

    pub(super) fn cost(&self, running: &Running) -> u64 {
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
            self.core.outputs.push(Output::Event(DbEvent::LockAcquired {
                waited: running.waited,
            }));
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
        let cost = cost
            + if wrote {
                self.config.costs.commit_ns
            } else {
                0
            };
        session.answer.0 = rows.clone();
        session.answer.1 += cost;
        if let Committed::Done = txn::commit(&mut self.core, session) {
            session.answer.1 -= cost;
            self.done(session, rows, cost);
        }
    }

    pub(super) fn done(&mut self, session: &mut Session, rows: Rows, cost: u64) {
        if !session.rest.is_empty() {
            return self.next_text(session, rows, cost);
        }
        let cost_ns = session.answer.1 + cost;
        session.answer = (Rows::default(), 0);
        self.core.outputs.push(Output::Done {
            session: session.id,
            result: Ok(rows),
            cost_ns,
        });
        self.prune();
    }

    /// Ends a request with an error: the transaction is rolled back at once; after BEGIN the session remembers it.
    pub(super) fn fail(&mut self, session: &mut Session, error: Box<PgError>, cost: u64) {
        let explicit = matches!(session.block, Block::Open | Block::Failed);
        if session.block != Block::Failed {
            txn::abort(&mut self.core, session);
        }
        session.rest.clear();
        session.running = None;
        session.block = if explicit { Block::Failed } else { Block::Idle };
        let cost_ns = session.answer.1 + cost;
        session.answer = (Rows::default(), 0);
        self.core.outputs.push(Output::Event(DbEvent::Error {
            sqlstate: error.sqlstate.into(),
        }));
        self.core.outputs.push(Output::Done {
            session: session.id,
            result: Err(error.db_error()),
            cost_ns,
        });
        self.last_error = Some(error);
        self.prune();
    }

    /// Lets every session go on whose lock was granted, in the order of the grants.
    pub(super) fn drive(&mut self) {
        while let Some((id, key, new)) = self.core.aux.locks.pop_granted() {
            let Some(mut session) = self.sessions.remove(&id) else {
                continue;
            };
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

    pub(super) fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.core.aux.locks.set_now(self.now);
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
        self.sessions
            .get(&session)
            .and_then(|session| session.pending)
            .map(|_| Vec::new())
    }

    fn file_plan(&mut self, number: usize, role: &Arc<str>) -> PgResult<Arc<Plan>> {
        let parsed = self.image.statements()[number].1.clone();
        cached(&mut self.files[number], &self.core.catalog, role, &parsed)
    }

    /// The one statement of a text.
    fn single(&mut self, text: &Arc<str>) -> PgResult<Arc<Parsed>> {
        match &self.parsed(text)?[..] {
            [parsed] => Ok(parsed.clone()),
            _ => Err(PgError::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )),
        }
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
        self.texts.insert(
            text.clone(),
            (parsed.clone(), vec![Cached::default(); parsed.len()]),
        );
        Ok(parsed)
    }

    fn text_plan(&mut self, parsed: &Arc<Parsed>, role: &Arc<str>) -> PgResult<Arc<Plan>> {
        for (known, plans) in self
            .texts
            .get_mut(&parsed.source)
            .into_iter()
            .map(|(known, plans)| (known, plans))
        {
            if let Some(at) = known.iter().position(|other| Arc::ptr_eq(other, parsed)) {
                return cached(&mut plans[at], &self.core.catalog, role, parsed);
            }
        }
        statement::compile(&self.core.catalog, role, parsed).map(Arc::new)
    }

    /// Runs a statement of a migration; its error keeps its place.
    pub(super) fn run_parsed(
        &mut self,
        session: SessionId,
        parsed: Parsed,
        wall_us: i64,
    ) -> PgResult<()> {
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
        Seed {
            catalog: self.core.catalog,
            store: self.core.store,
            sequences: self.core.aux.sequences,
        }
    }

    /// Drops versions that no statement under way can see.
    pub(super) fn prune(&mut self) {
        if self.core.stale.is_empty() {
            return;
        }
        let running = self
            .sessions
            .values()
            .filter_map(|session| session.running.as_ref());
        let horizon = running
            .map(|running| running.snapshot.commit)
            .min()
            .unwrap_or(u64::MAX)
            .min(self.core.store.commit);
        let stale = std::mem::take(&mut self.core.stale);
        for (table, row) in stale {
            if let Some(definition) = self.core.catalog.tables.get(&table)
                && self
                    .core
                    .store
                    .heap_mut(table)
                    .prune(definition, row, horizon)
            {
                self.core.stale.push((table, row));
            }
        }
    }
}

fn aborted() -> Box<PgError> {
    PgError::new(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

pub(super) fn timeout() -> Box<PgError> {
    PgError::new("57014", "canceling statement due to statement timeout")
}

fn check_params(plan: &Plan, params: &[Value]) -> PgResult<()> {
    if params.len() != plan.params.len() {
        let message = format!(
            "bind message supplies {} parameters, but the statement requires {}",
            params.len(),
            plan.params.len()
        );
        return Err(PgError::new("08P01", message));
    }
    for (at, (value, ty)) in params.iter().zip(&plan.params).enumerate() {
        if !ty.admits(value) {
            return Err(PgError::new(
                "42804",
                format!(
                    "parameter ${} is of type {}, not {value:?}",
                    at + 1,
                    ty.name()
                ),
            ));
        }
    }
    Ok(())
}

fn cached(
    cache: &mut Cached,
    catalog: &Catalog,
    role: &Arc<str>,
    parsed: &Parsed,
) -> PgResult<Arc<Plan>> {
    let known = cache.plans.iter().position(|(known, ..)| known == role);
    if let Some(at) = known {
        let (_, version, plan) = &cache.plans[at];
        if *version == catalog.version {
            return Ok(plan.clone());
        }
        cache.plans.remove(at);
    }
    let plan = Arc::new(statement::compile(catalog, role, parsed)?);
    cache
        .plans
        .push((role.clone(), catalog.version, plan.clone()));
    Ok(plan)
}
