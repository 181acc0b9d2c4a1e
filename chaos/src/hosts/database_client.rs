//! The ledger's session over the simulated network: what sqlx is against real PostgreSQL.

use std::{io, sync::Arc};

use ::ledger::ports::{
    BoxFuture, Connect, DbError, Role, Rows, Session, SessionSettings, Statement, Value,
};
use uuid::Uuid;

use super::{
    World,
    database::{Answer, Ask},
    wire::Wire,
};
use crate::recording::Event;

/// Opens sessions from one ledger host.
pub struct SimConnect {
    world: Arc<World>,
    host: Arc<str>,
}

impl SimConnect {
    /// Connections from `host`.
    pub fn new(world: Arc<World>, host: Arc<str>) -> SimConnect {
        SimConnect { world, host }
    }
}

impl Connect for SimConnect {
    fn connect<'a>(
        &'a self,
        endpoint: &'a str,
        role: Role,
        settings: SessionSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, DbError>> {
        Box::pin(async move {
            let to = endpoint.split(':').next().unwrap_or(endpoint);
            // A caller that gives up drops this future: that is a failed attempt too.
            let mut attempt = Attempt {
                connect: self,
                to,
                ok: false,
            };
            let mut wire = Wire::connect(endpoint).await.map_err(lost)?;
            wire.send(&Ask::Open(role, settings)).await.map_err(lost)?;
            wire.receive::<Answer>().await.map_err(lost)??;
            attempt.ok = true;
            let session = SimSession {
                wire: Some(wire),
                prepared: Vec::new(),
                owed: 0,
                busy: false,
            };
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}

struct Attempt<'a> {
    connect: &'a SimConnect,
    to: &'a str,
    ok: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.connect.world.record(Event::DbConnect {
            host: self.connect.host.clone(),
            to: self.to.into(),
            ok: self.ok,
        });
    }
}

fn lost(error: io::Error) -> DbError {
    DbError::Connection(error.to_string())
}

struct SimSession {
    /// `None` once the connection failed.
    wire: Option<Wire>,
    /// Statements that the server knows, by their number.
    prepared: Vec<Arc<str>>,
    /// Answers under way that nobody has read: of a `Begin` that was sent ahead.
    owed: usize,
    /// A call was started and not finished: its caller gave up, and answers no longer match questions.
    busy: bool,
}

impl SimSession {
    fn queue(&mut self, ask: &Ask) -> Result<(), DbError> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.busy) else {
            return Err(DbError::Connection("the session is closed".into()));
        };
        wire.queue(ask).map_err(lost)
    }

    fn queue_run(&mut self, statement: &Statement, params: Vec<Value>) -> Result<(), DbError> {
        let known = self
            .prepared
            .iter()
            .position(|sql| Arc::ptr_eq(sql, &statement.sql));
        let number = match known {
            Some(number) => number,
            None => {
                self.queue(&Ask::Prepare {
                    name: statement.name.clone(),
                    sql: statement.sql.clone(),
                })?;
                self.prepared.push(statement.sql.clone());
                self.prepared.len() - 1
            }
        };
        self.queue(&Ask::Run(number as u32, params))
    }

    /// Sends what is queued and reads `count` answers; the first error is the result, and the rest is read all the same.
    async fn exchange(&mut self, count: usize) -> Result<Vec<Rows>, DbError> {
        let Some(mut wire) = self.wire.take() else {
            return Err(DbError::Connection("the session is closed".into()));
        };
        self.busy = true;
        wire.flush().await.map_err(lost)?;
        let mut rows = Vec::with_capacity(count);
        let mut failed = None;
        for turn in 0..self.owed + count {
            match wire.receive::<Answer>().await.map_err(lost)? {
                Ok(_) if turn < self.owed => {}
                Ok(answer) => rows.push(answer),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.owed = 0;
        self.busy = false;
        self.wire = Some(wire);
        match failed {
            None => Ok(rows),
            Some(error) => Err(error),
        }
    }

    async fn end(&mut self, ask: Ask) -> Result<(), DbError> {
        self.queue(&ask)?;
        self.exchange(1).await.map(drop)
    }
}

impl Session for SimSession {
    fn begin(&mut self, tenant: Option<Uuid>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            self.queue(&Ask::Begin(tenant))?;
            self.owed += 1;
            Ok(())
        })
    }

    fn run<'a>(
        &'a mut self,
        statement: &'a Statement,
        params: &'a [Value],
    ) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(async move {
            self.queue_run(statement, params.to_vec())?;
            let rows = self.exchange(1).await?;
            rows.into_iter()
                .next()
                .ok_or_else(|| DbError::Connection("no answer".into()))
        })
    }

    fn run_all<'a>(
        &'a mut self,
        batch: &'a [(&'a Statement, Vec<Value>)],
    ) -> BoxFuture<'a, Result<Vec<Rows>, DbError>> {
        Box::pin(async move {
            for (statement, params) in batch {
                self.queue_run(statement, params.clone())?;
            }
            self.exchange(batch.len()).await
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(self.end(Ask::Commit))
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(self.end(Ask::Rollback))
    }

    fn is_open(&self) -> bool {
        self.wire.is_some() && !self.busy
    }
}
