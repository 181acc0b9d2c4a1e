//! Runs a statement step by step; a step that has to wait for a lock is tried again once the lock is granted.
//!
//! Invariant: the rows to touch are found once, over the statement's snapshot, and in the plan's order. Then each is locked, and
//! only a row that changed meanwhile is judged again, on its newest version; the change applies to that version.

use std::{collections::VecDeque, sync::Arc};

use ledger::ports::{Rows, Value};

use super::{
    catalog::{Catalog, Table},
    change::{ForeignCheck, Placing},
    core::Core,
    error::{PgError, PgResult, Run, Stop},
    expr::{Expr, SLOTS},
    heap::{Row, Snapshot, Stamp, Version},
    lock::{Grant, LockKey, Mode},
    plan::{
        Action, Change, Insert, InsertSource, Memo, Plan, PolicyCheck, Returning, SelectPlan,
        Source, WaitPolicy,
    },
    query::{self, Candidate, Env, all_true},
    session::{Session, Write},
};
use crate::recording::{DbEvent, Nanos};

/// Where a statement stands.
pub enum Stage {
    /// Table locks, then the snapshot.
    Start,
    /// Rows still to be locked, and how many more the LIMIT admits.
    Locking(VecDeque<Candidate>, usize),
    /// Rows of an INSERT … SELECT, or the number of the next VALUES row.
    Inserting(Option<VecDeque<Vec<Value>>>, usize),
    /// Foreign keys, at the statement's end.
    ForeignKeys,
    Done,
}

/// A statement under way.
pub struct Running {
    pub plan: Arc<Plan>,
    pub params: Vec<Value>,
    pub once: Vec<Option<Value>>,
    pub memos: Vec<Option<Memo>>,
    pub started: Nanos,
    /// Total of its finished waits, and the beginning of the one under way.
    pub waited: Nanos,
    pub waiting_since: Nanos,
    /// Whether it asked for a row lock, or waited for anything.
    pub asked: bool,
    pub snapshot: Snapshot,
    pub stage: Stage,
    pub out: Rows,
    /// The row being put in place.
    pub placing: Option<Placing>,
    /// A row that is built and not yet in place.
    pub built: Option<Row>,
    pub checks: VecDeque<ForeignCheck>,
    pub visited: u64,
    pub written: u64,
}

impl Running {
    pub fn new(plan: Arc<Plan>, params: Vec<Value>, now: Nanos) -> Running {
        Running {
            once: vec![None; plan.once],
            memos: vec![None; plan.memos],
            plan,
            params,
            started: now,
            waited: 0,
            waiting_since: 0,
            asked: false,
            snapshot: Snapshot {
                commit: 0,
                txn: 0,
                command: 0,
            },
            stage: Stage::Start,
            out: Rows::default(),
            placing: None,
            built: None,
            checks: VecDeque::new(),
            visited: 0,
            written: 0,
        }
    }
}

/// The pieces that a step works on.
pub struct Step<'a> {
    pub core: &'a mut Core,
    pub session: &'a mut Session,
    pub running: &'a mut Running,
}

/// Advances a statement until it is done, fails or waits.
pub fn advance(core: &mut Core, session: &mut Session, running: &mut Running) -> Run<()> {
    let plan = running.plan.clone();
    let mut step = Step {
        core,
        session,
        running,
    };
    loop {
        match step.running.stage {
            Stage::Start => step.start(&plan)?,
            Stage::Locking(..) => step.locking(&plan)?,
            Stage::Inserting(..) => step.inserting(&plan)?,
            Stage::ForeignKeys => step.foreign_keys()?,
            Stage::Done => return Ok(()),
        }
    }
}

impl Step<'_> {
    /// An environment for expressions; slot 0 shows `target`.
    pub fn env<'e>(&'e mut self, target: &'e [Value]) -> Env<'e> {
        let mut rows: [&[Value]; SLOTS] = [&[]; SLOTS];
        rows[0] = target;
        Env {
            rows,
            params: &self.running.params,
            once: &mut self.running.once,
            memos: &mut self.running.memos,
            store: &self.core.store,
            catalog: &self.core.catalog,
            snapshot: self.running.snapshot,
            session: self.session,
            aux: &mut self.core.aux,
        }
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.catalog.clone()
    }

    fn start(&mut self, plan: &Plan) -> Run<()> {
        if let Some(denied) = &plan.denied {
            return Err(denied.clone().into());
        }
        if self.core.aux.standby
            && let Some(command) = plan.writes
        {
            return Err(PgError::new(
                "25006",
                format!("cannot execute {command} in a read-only transaction"),
            )
            .into());
        }
        for (table, mode) in &plan.tables {
            self.lock_table(*table, *mode)?;
        }
        match &plan.action {
            Action::Insert { .. } | Action::Change { .. } => self.open_write(),
            _ => self.session.txn.command += 1,
        }
        self.running.snapshot = self.session.snapshot(self.core.store.commit);
        match &plan.action {
            Action::Select(select) if select.lock.is_some() => self.find(select),
            Action::Select(select) => {
                let mut env = self.env(&[]);
                let rows = query::rows(select, &mut env, usize::MAX)?;
                self.running.out = Rows {
                    affected: rows.len() as u64,
                    rows,
                };
                self.running.stage = Stage::Done;
                Ok(())
            }
            Action::Change { target, .. } => self.find(target),
            Action::Insert { insert, .. } => {
                let rows = match &insert.source {
                    InsertSource::Values(_) => None,
                    InsertSource::Query { plan, .. } => {
                        let mut env = self.env(&[]);
                        Some(query::rows(plan, &mut env, usize::MAX)?.into())
                    }
                };
                self.running.stage = Stage::Inserting(rows, 0);
                Ok(())
            }
            Action::Set(name, value, local) => {
                let value = value.clone().unwrap_or_else(|| "".into());
                self.session.set(name, value, *local)?;
                self.running.stage = Stage::Done;
                Ok(())
            }
            Action::Ddl(statement, text) => {
                super::ddl::run(self, statement, text)?;
                self.running.stage = Stage::Done;
                Ok(())
            }
            Action::Begin | Action::Commit | Action::Rollback => {
                Err(PgError::internal("transaction control is the database's").into())
            }
        }
    }

    /// The transaction writes from here on: it gets a number that others can wait for.
    pub fn open_write(&mut self) {
        if self.session.txn.id == 0 {
            self.core.aux.next_txn += 1;
            self.session.txn.id = self.core.aux.next_txn;
            let key = LockKey::Txn(self.session.txn.id);
            self.core
                .aux
                .locks
                .try_lock(self.session.id, key, Mode::AccessExclusive);
            self.session.txn.locks.push(key);
        }
        self.session.txn.command += 1;
    }

    pub fn lock_table(&mut self, table: u32, mode: Mode) -> Run<()> {
        if self
            .session
            .txn
            .tables
            .iter()
            .any(|(held, held_mode)| *held == table && *held_mode >= mode)
        {
            return Ok(());
        }
        self.lock(LockKey::Table(table), mode)?;
        self.session.txn.tables.push((table, mode));
        Ok(())
    }

    /// Takes a lock of the transaction, or stops until it can be taken.
    pub fn lock(&mut self, key: LockKey, mode: Mode) -> Run<()> {
        match self.core.aux.locks.try_lock(self.session.id, key, mode) {
            Grant::New => self.session.txn.locks.push(key),
            Grant::Held => {}
            Grant::Busy => return Err(Stop::Wait(key, mode)),
        }
        Ok(())
    }

    fn find(&mut self, plan: &SelectPlan) -> Run<()> {
        self.running.asked = true;
        let mut env = self.env(&[]);
        let limit = query::count_of(plan.limit.as_ref(), "LIMIT", &mut env)?.unwrap_or(usize::MAX);
        let skip = query::count_of(plan.offset.as_ref(), "OFFSET", &mut env)?.unwrap_or(0);
        let mut found: VecDeque<Candidate> = query::candidates(plan, &mut env)?.into();
        found.drain(..skip.min(found.len()));
        self.running.stage = Stage::Locking(found, limit);
        Ok(())
    }

    /// Takes the next row of an UPDATE, DELETE or SELECT … FOR UPDATE.
    fn locking(&mut self, plan: &Plan) -> Run<()> {
        let (target, table) = match &plan.action {
            Action::Select(select) => (select, None),
            Action::Change { target, table, .. } => (target, Some(*table)),
            _ => return Err(PgError::internal("this statement locks no rows").into()),
        };
        if self.running.placing.is_some() {
            return self.finish_change(plan);
        }
        let Stage::Locking(queue, left) = &self.running.stage else {
            return Ok(());
        };
        let (Some(candidate), true) = (queue.front().cloned(), *left > 0) else {
            self.running.stage = Stage::ForeignKeys;
            return Ok(());
        };
        // As PostgreSQL does, the new version is made and checked before the row is locked; again if the row then has changed.
        if let (
            Action::Change {
                change: Change::Update(sets),
                check,
                table,
                ..
            },
            None,
        ) = (&plan.action, &self.running.built)
        {
            let catalog = self.catalog();
            let new = self.new_version(catalog.table(*table)?, sets, check, &candidate.data)?;
            self.running.built = Some(new);
        }
        let locked = self.lock_candidate(target, &candidate)?;
        if let Stage::Locking(queue, left) = &mut self.running.stage {
            queue.pop_front();
            if locked.is_some() && *left != usize::MAX {
                *left -= 1;
            }
        }
        let built = self.running.built.take();
        let Some(data) = locked else {
            return Ok(());
        };
        match (&plan.action, table) {
            (
                Action::Change {
                    change,
                    check,
                    returning,
                    ..
                },
                Some(id),
            ) => {
                let catalog = self.catalog();
                let table = catalog.table(id)?;
                let new = match change {
                    Change::Update(_) if Arc::ptr_eq(&data, &candidate.data) && built.is_some() => {
                        built
                    }
                    Change::Update(sets) => Some(self.new_version(table, sets, check, &data)?),
                    Change::Delete => None,
                };
                self.change_row(table, new, returning.as_ref(), candidate.row, data)
            }
            _ => {
                let mut env = self.env(&data);
                let row = query::project(&target.project, &mut env)?;
                self.running.out.rows.push(row);
                self.running.out.affected += 1;
                Ok(())
            }
        }
    }

    /// Locks one row; gives its values if it still qualifies.
    fn lock_candidate(&mut self, target: &SelectPlan, candidate: &Candidate) -> Run<Option<Row>> {
        let (Some(Source::Table(table, _)), Some((mode, policy))) = (
            target.scans.first().map(|scan| scan.source.clone()),
            target.lock,
        ) else {
            return Err(PgError::internal("a target without a table").into());
        };
        let key = LockKey::Row(table, candidate.row);
        match self.lock(key, mode) {
            Ok(()) => {}
            Err(Stop::Wait(..)) if policy == WaitPolicy::Skip => {
                self.core.aux.events.push(DbEvent::Skipped);
                return Ok(None);
            }
            Err(Stop::Wait(..)) if policy == WaitPolicy::NoWait => {
                let name = self
                    .core
                    .catalog
                    .table(table)?
                    .leaf_name(&candidate.data)
                    .clone();
                return Err(PgError::new(
                    "55P03",
                    format!("could not obtain lock on row in relation \"{name}\""),
                )
                .into());
            }
            Err(stop) => return Err(stop),
        }
        let Some(chain) = self.core.store.heap(table).chain(candidate.row) else {
            self.core.aux.events.push(DbEvent::Recheck { kept: false });
            return Ok(None);
        };
        if chain.head.begin == candidate.stamp {
            return Ok(Some(candidate.data.clone()));
        }
        if matches!(chain.head.begin, Stamp::Txn(..)) {
            return Ok(None); // changed by this very statement
        }
        let Some(data) = chain.head.data.clone() else {
            if chain.head.moved {
                let message = "tuple to be locked was already moved to another partition due to concurrent update";
                return Err(PgError::new("40001", message).into());
            }
            self.core.aux.events.push(DbEvent::Recheck { kept: false });
            return Ok(None);
        };
        let mut env = self.env(&data);
        let kept = all_true(&target.scans[0].recheck, &mut env)?;
        self.core.aux.events.push(DbEvent::Recheck { kept });
        Ok(kept.then_some(data))
    }

    /// What an UPDATE makes of a row, checked.
    fn new_version(
        &mut self,
        table: &Table,
        sets: &[(u16, Expr)],
        check: &PolicyCheck,
        old: &Row,
    ) -> Run<Row> {
        let mut values = old.to_vec();
        let mut env = self.env(old);
        for (column, expr) in sets {
            values[usize::from(*column)] = expr.eval(&mut env)?;
        }
        let new: Row = values.into();
        self.admit(table, &new, check)?;
        Ok(new)
    }

    fn change_row(
        &mut self,
        table: &Table,
        new: Option<Row>,
        returning: Option<&Returning>,
        row: u32,
        old: Row,
    ) -> Run<()> {
        let catalog = self.catalog();
        self.queue_parent_checks(&catalog, table, &old, new.as_ref());
        let Some(new) = new else {
            self.write(table, row, None, false)?;
            return self.returned(&old, returning);
        };
        let moves = table
            .partitions
            .as_ref()
            .is_some_and(|parts| parts.route(&old) != parts.route(&new));
        self.queue_child_checks(table, &new, Some(&old));
        let (row, old) = if moves {
            self.write(table, row, None, true)?;
            (self.insert_version(table, &new)?, None)
        } else {
            self.write(table, row, Some(new.clone()), false)?;
            (row, Some(old))
        };
        self.running.placing = Some(Placing {
            table: table.id,
            row,
            data: new,
            old,
            index: 0,
        });
        Ok(())
    }

    /// Completes an UPDATE's row: index entries, then RETURNING.
    fn finish_change(&mut self, plan: &Plan) -> Run<()> {
        self.place()?;
        let Some(placing) = self.running.placing.take() else {
            return Ok(());
        };
        match &plan.action {
            Action::Change { returning, .. } | Action::Insert { returning, .. } => {
                self.returned(&placing.data, returning.as_ref())
            }
            _ => Ok(()),
        }
    }

    fn returned(&mut self, data: &Row, returning: Option<&Returning>) -> Run<()> {
        self.running.out.affected += 1;
        if let Some(returning) = returning {
            let mut env = self.env(data);
            let row = query::project(&returning.project, &mut env)?;
            self.running.out.rows.push(row);
        }
        Ok(())
    }

    fn inserting(&mut self, plan: &Plan) -> Run<()> {
        let Action::Insert {
            table,
            insert,
            check,
            ..
        } = &plan.action
        else {
            return Err(PgError::internal("this statement inserts nothing").into());
        };
        if self.running.placing.is_some() {
            return self.finish_change(plan);
        }
        let catalog = self.catalog();
        let table = catalog.table(*table)?;
        if self.running.built.is_none() {
            let Some(row) = self.next_row(insert)? else {
                self.running.stage = Stage::ForeignKeys;
                return Ok(());
            };
            let row: Row = row.into();
            self.admit(table, &row, check)?;
            self.running.built = Some(row);
        }
        let Some(row) = self.running.built.clone() else {
            return Ok(());
        };
        if let Some(conflict) = &insert.conflict
            && self.conflicts(table, conflict, &row)?
        {
            self.running.built = None;
            return Ok(());
        }
        let number = self.insert_version(table, &row)?;
        self.running.built = None;
        self.queue_child_checks(table, &row, None);
        self.running.placing = Some(Placing {
            table: table.id,
            row: number,
            data: row,
            old: None,
            index: 0,
        });
        Ok(())
    }

    /// Evaluates the next row of an INSERT.
    fn next_row(&mut self, insert: &Insert) -> Run<Option<Vec<Value>>> {
        let Stage::Inserting(rows, next) = &mut self.running.stage else {
            return Ok(None);
        };
        *next += 1;
        let at = *next - 1;
        match &insert.source {
            InsertSource::Values(values) => {
                let Some(exprs) = values.get(at) else {
                    return Ok(None);
                };
                let mut env = self.env(&[]);
                query::project(exprs, &mut env).map(Some)
            }
            InsertSource::Query { slot, row, .. } => {
                let Some(given) = rows.as_mut().and_then(VecDeque::pop_front) else {
                    return Ok(None);
                };
                let mut env = self.env(&[]);
                query::narrowed(&mut env, |env| {
                    env.rows[usize::from(*slot)] = &given;
                    query::project(row, env)
                })
                .map(Some)
            }
        }
    }

    /// Puts a newer version (or a deletion) in front of a row that this transaction has locked.
    fn write(&mut self, table: &Table, row: u32, data: Option<Row>, moved: bool) -> PgResult<()> {
        self.core.aux.check_disk()?;
        let begin = Stamp::Txn(self.session.txn.id, self.session.txn.command);
        let heap = self.core.store.heap_mut(table.id);
        let before = heap.chain(row).map(|chain| &chain.head);
        let first = match before {
            Some(Version {
                begin: Stamp::Commit(_),
                data,
                ..
            }) => Some(data.clone()),
            _ => None,
        };
        heap.push(row, Version { begin, data, moved });
        self.session.txn.writes.push(Write {
            table: table.id,
            row,
            first,
        });
        self.running.written += 1;
        Ok(())
    }

    fn insert_version(&mut self, table: &Table, data: &Row) -> PgResult<u32> {
        self.core.aux.check_disk()?;
        let begin = Stamp::Txn(self.session.txn.id, self.session.txn.command);
        let row = self
            .core
            .store
            .heap_mut(table.id)
            .insert(data.clone(), begin);
        self.session.txn.writes.push(Write {
            table: table.id,
            row,
            first: Some(None),
        });
        self.running.written += 1;
        Ok(row)
    }
}
