//! The arm that is the simulated database, in virtual time: a millisecond per call, and whatever a timer needs.
//!
//! Invariant: no clock of the host is read; the same specs give the same lines on every machine.
//! Left out: network, replicas and costs.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use chaos::simdb::{self, Database, DbConfig, Image, Output, SessionId, Source};
use ledger::ports::{DbError, Role, SessionSettings};

use crate::{
    arm::{Arm, Ended, Request, cyclic},
    spec::PATIENT,
};

/// 2026-11-20T12:00:00Z.
const START_US: i64 = 1_795_176_000_000_000;

/// See the module.
pub struct Simulated {
    image: Arc<Image>,
    database: Database,
    sessions: Vec<SessionId>,
    under_way: Vec<bool>,
    now_ns: u64,
}

impl Simulated {
    /// The ledger in `dir`.
    ///
    /// # Errors
    /// What in its SQL is outside of the simulated database's subset.
    pub fn new(dir: &Path) -> Result<Simulated, String> {
        let texts = |folder: &str| -> Result<Vec<(String, String)>, String> {
            let mut found = Vec::new();
            for entry in fs::read_dir(dir.join(folder)).map_err(|e| format!("{folder}: {e}"))? {
                let path = entry.map_err(|e| e.to_string())?.path();
                if path.extension().is_some_and(|e| e == "sql") {
                    let name = path
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    found.push((name, fs::read_to_string(&path).map_err(|e| e.to_string())?));
                }
            }
            found.sort();
            Ok(found)
        };
        let bootstrap = fs::read_to_string(dir.join("bootstrap.sql")).map_err(|e| e.to_string())?;
        let (migrations, statements) = (texts("migrations")?, texts("sql")?);
        let migrations: Vec<Source<'_>> = migrations
            .iter()
            .map(|(file, text)| Source { file, text })
            .collect();
        let statements: Vec<Source<'_>> = statements
            .iter()
            .map(|(file, text)| Source { file, text })
            .collect();
        let bootstrap = Source {
            file: "bootstrap.sql",
            text: &bootstrap,
        };
        let image = Image::load(bootstrap, &migrations, &statements).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            texts.join("\n")
        })?;
        let mut simulated = Simulated {
            database: Database::new(image.clone(), DbConfig::default()),
            image,
            sessions: Vec::new(),
            under_way: Vec::new(),
            now_ns: 0,
        };
        simulated.reset()?;
        Ok(simulated)
    }

    fn drain(&mut self, ended: &mut Ended) -> Result<(), String> {
        let mut outputs = Vec::new();
        self.database.drain(&mut outputs);
        for output in outputs {
            let Output::Done {
                session, result, ..
            } = output
            else {
                continue;
            };
            let index = self.sessions.iter().position(|known| *known == session);
            let index = index.ok_or("an answer to a session that is not open")?;
            if !std::mem::take(&mut self.under_way[index]) {
                return Err("an answer that nobody asked for".to_owned());
            }
            let outcome = result.map_err(|error| match error {
                DbError::Server {
                    sqlstate, message, ..
                } if sqlstate == "0A000" => {
                    format!("0A000 ({message})")
                }
                DbError::Server { sqlstate, .. } => sqlstate,
                DbError::Connection(text) => format!("not from the server: {text}"),
            });
            ended.push((index, outcome));
        }
        Ok(())
    }

    /// To the next timer; whether there is one.
    fn next(&mut self, ended: &mut Ended) -> Result<bool, String> {
        let Some(at) = self.database.next_deadline() else {
            return Ok(false);
        };
        self.now_ns = self.now_ns.max(at);
        self.database.advance(self.now_ns);
        self.drain(ended)?;
        Ok(true)
    }

    fn blockers(&self) -> Result<BTreeMap<u32, Vec<u32>>, String> {
        let waiting = self
            .sessions
            .iter()
            .zip(&self.under_way)
            .filter(|(_, under_way)| **under_way);
        waiting
            .map(|(session, _)| match self.database.waiting(*session) {
                Some(by) if !by.is_empty() => Ok((session.0, by.iter().map(|id| id.0).collect())),
                _ => Err("a call has neither ended nor waits for a session".to_owned()),
            })
            .collect()
    }
}

impl Arm for Simulated {
    fn reset(&mut self) -> Result<(), String> {
        self.database = Database::new(self.image.clone(), DbConfig::default());
        self.sessions.clear();
        self.under_way.clear();
        self.now_ns = 0;
        self.open(Role::App, PATIENT)?;
        self.open(Role::Worker, PATIENT)?;
        Ok(())
    }

    fn open(&mut self, role: Role, settings: SessionSettings) -> Result<usize, String> {
        let role = match role {
            Role::App => "ledger_app",
            Role::Worker => "ledger_worker",
        };
        let session = self
            .database
            .open(role, settings)
            .map_err(|error| error.to_string())?;
        self.sessions.push(session);
        self.under_way.push(false);
        Ok(self.sessions.len() - 1)
    }

    fn submit(&mut self, session: usize, request: Request) -> Result<(), String> {
        if std::mem::replace(&mut self.under_way[session], true) {
            return Err("the session has a call under way".to_owned());
        }
        let request = match request {
            Request::Begin(tenant) => simdb::Request::Begin { tenant },
            Request::Run(statement, params) => simdb::Request::Run {
                statement: statement.name.clone(),
                params,
            },
            Request::Sql(sql) => simdb::Request::Sql(sql.into()),
            Request::Commit => simdb::Request::Commit,
            Request::Rollback => simdb::Request::Rollback,
        };
        self.now_ns += 1_000_000;
        self.database.advance(self.now_ns);
        self.database
            .submit(self.sessions[session], request, self.now_ns, self.now_us());
        Ok(())
    }

    fn settle(&mut self) -> Result<Ended, String> {
        let mut ended = Ended::new();
        self.drain(&mut ended)?;
        while cyclic(&self.blockers()?) {
            if !self.next(&mut ended)? {
                return Err("a cycle of waits that no timer ends".to_owned());
            }
        }
        Ok(ended)
    }

    fn pause(&mut self, time: Duration) -> Result<Ended, String> {
        self.now_ns += u64::try_from(time.as_nanos()).map_err(|e| e.to_string())?;
        self.database.advance(self.now_ns);
        self.settle()
    }

    fn finish(&mut self, session: usize) -> Result<Ended, String> {
        let mut ended = Ended::new();
        self.drain(&mut ended)?;
        while self.under_way[session] {
            if !self.next(&mut ended)? {
                return Err("the awaited call does not end".to_owned());
            }
        }
        ended.extend(self.settle()?);
        Ok(ended)
    }

    fn now_us(&self) -> i64 {
        START_US + i64::try_from(self.now_ns / 1_000).unwrap_or(i64::MAX)
    }
}
