//! A session: its principal, limits and settings, and the transaction it is in.
//!
//! Invariant: a session outside a transaction holds no locks but session-level advisory ones. A setting that was ever set in
//! the session stays known and is empty once the transaction that set it is over, as PostgreSQL does with custom settings.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ledger::ports::{Rows, SessionSettings};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    catalog::Catalog,
    error::{PgError, PgResult},
    execute::Running,
    heap::{Row, Snapshot},
    lock::{LockKey, Mode},
    types::{Type, parse_text},
};
use crate::recording::Nanos;

/// A session of one database; numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u32);

/// Where a session stands between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// No transaction.
    Idle,
    /// A transaction for this one request only.
    Implicit,
    /// After BEGIN.
    Open,
    /// After BEGIN and an error: everything but its end is refused.
    Failed,
}

/// One written version, to be stamped at commit or taken back.
#[derive(Clone, Debug)]
pub struct Write {
    pub table: u32,
    pub row: u32,
    /// What was there before this transaction; only in a row's first write.
    pub first: Option<Option<Row>>,
}

#[derive(Debug, Default)]
pub struct Txn {
    pub id: u64,
    pub now_us: i64,
    pub command: u32,
    pub writes: Vec<Write>,
    pub locks: Vec<LockKey>,
    pub tables: Vec<(u32, Mode)>,
    /// Advisory keys held until its end.
    pub advisory: Vec<i64>,
    pub sequences: Vec<u32>,
    /// Settings as they were before SET LOCAL.
    pub local: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// Settings as they were before SET, which a rollback takes back.
    pub set: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// The catalog before the first schema change, and the changes themselves with their role.
    pub catalog: Option<Arc<Catalog>>,
    pub ddl: Vec<Arc<str>>,
    pub widened: Vec<(u32, usize)>,
}

pub struct Session {
    pub id: SessionId,
    pub role: Arc<str>,
    pub limits: SessionSettings,
    pub settings: BTreeMap<Arc<str>, Arc<str>>,
    pub block: Block,
    pub txn: Txn,
    pub advisory: Vec<i64>,
    /// The server's wall clock at the current request.
    pub wall_us: i64,
    pub waited_for: Option<LockKey>,
    pub running: Option<Box<Running>>,
    /// Statements of one request that are still to run.
    pub rest: Vec<Arc<super::parse::Parsed>>,
    /// Commit that waits for the standby.
    pub pending: Option<u64>,
    /// The client is gone; only the pending commit is left.
    pub orphan: bool,
    /// Answer and cost so far of the request under way.
    pub answer: (Rows, u64),
}

impl Session {
    pub fn new(id: SessionId, role: Arc<str>, limits: SessionSettings) -> Session {
        Session {
            id,
            role,
            limits,
            settings: BTreeMap::new(),
            block: Block::Idle,
            txn: Txn::default(),
            advisory: Vec::new(),
            wall_us: 0,
            waited_for: None,
            running: None,
            rest: Vec::new(),
            pending: None,
            orphan: false,
            answer: (Rows::default(), 0),
        }
    }

    /// A setting, `None` when nobody ever set it.
    pub fn setting(&self, name: &str) -> Option<Arc<str>> {
        match name {
            "statement_timeout" => Some(millis(self.limits.statement_timeout)),
            "lock_timeout" => Some(millis(self.limits.lock_timeout)),
            _ => self.settings.get(name).cloned(),
        }
    }

    /// SET, or SET LOCAL, which ends with the transaction.
    pub fn set(&mut self, name: &str, value: Arc<str>, local: bool) -> PgResult<()> {
        let name: Arc<str> = name.to_ascii_lowercase().into();
        if !name.contains('.') && !matches!(&*name, "statement_timeout" | "lock_timeout") {
            return Err(PgError::unsupported(format!("setting {name}")));
        }
        let before = self.setting(&name);
        let memory = if local {
            &mut self.txn.local
        } else {
            &mut self.txn.set
        };
        memory.entry(name.clone()).or_insert(before);
        self.put(&name, value)
    }

    fn put(&mut self, name: &Arc<str>, value: Arc<str>) -> PgResult<()> {
        match &**name {
            "statement_timeout" => self.limits.statement_timeout = duration(name, &value)?,
            "lock_timeout" => self.limits.lock_timeout = duration(name, &value)?,
            _ => {
                self.settings.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Puts settings back at the end of a transaction.
    pub fn restore_settings(&mut self, committed: bool) {
        let local = std::mem::take(&mut self.txn.local);
        let set = std::mem::take(&mut self.txn.set);
        for (name, before) in local
            .into_iter()
            .chain(set.into_iter().filter(|_| !committed))
        {
            // Once known, a custom setting stays known, and empty: there is nothing to go back to.
            let _ = self.put(&name, before.unwrap_or_else(|| "".into()));
        }
    }

    pub fn tenant(&self) -> Option<Uuid> {
        self.settings
            .get("app.tenant_id")
            .and_then(|text| Uuid::try_parse(text).ok())
    }

    pub fn snapshot(&self, commit: u64) -> Snapshot {
        Snapshot {
            commit,
            txn: self.txn.id,
            command: self.txn.command,
        }
    }

    /// When the current statement's time is over; zero limits nothing.
    pub fn statement_deadline(&self, started: Nanos) -> Option<Nanos> {
        let limit = self.limits.statement_timeout.as_nanos() as Nanos;
        (limit > 0).then(|| started.saturating_add(limit))
    }
}

fn millis(duration: Duration) -> Arc<str> {
    match duration.as_millis() {
        0 => "0".into(),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000).into(),
        ms => format!("{ms}ms").into(),
    }
}

fn duration(name: &str, text: &str) -> PgResult<Duration> {
    if let Ok(ms) = text.trim().parse::<u64>() {
        return Ok(Duration::from_millis(ms));
    }
    match parse_text(Type::Interval, text) {
        Ok(ledger::ports::Value::Interval(us)) if us >= 0 => Ok(Duration::from_micros(us as u64)),
        _ => Err(PgError::new(
            "22023",
            format!("invalid value for parameter \"{name}\": \"{text}\""),
        )),
    }
}
