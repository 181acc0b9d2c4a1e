//! The arm that is PostgreSQL: one database, emptied before each interleaving; each session a connection of its own.
//!
//! Whether a session waits is asked of the server (`pg_blocking_pids`), not guessed from time.
//! Left out: threads. Calls under way are futures that this arm polls between two questions to the server.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    path::Path,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use ledger::ports::{Role, Rows, SessionSettings};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, postgres::PgArguments};
use tokio::runtime::Runtime;

use crate::{
    arm::{Arm, Ended, OWN, Outcome, Request, cyclic},
    binary::{Bound, decode_row},
    postgres::{Database, Server, text},
    spec::PATIENT,
};

/// A call that has not ended after this long may be waiting: the server is asked.
const QUIET: Duration = Duration::from_millis(3);

/// Its rows are updated, never deleted, by what the specs may do: `job_runs` stays.
const EMPTY: &str = "TRUNCATE properties, room_types, rooms, room_type_inventory_daily, room_allocations, \
    idempotency_keys, outbox, tenant_freezes, audit_log RESTART IDENTITY";

type Call = Pin<Box<dyn Future<Output = (PgConnection, Outcome)>>>;

struct Connected {
    pid: i32,
    idle: Option<PgConnection>,
    call: Option<Call>,
}

/// See the module.
pub struct Real {
    runtime: Runtime,
    database: Database,
    admin: PgConnection,
    sessions: Vec<Connected>,
    /// The server's version.
    pub version: String,
}

impl Real {
    /// A database with the ledger in `dir`, or `None` where there is no server.
    pub fn new(what: &str, dir: &Path) -> Option<Real> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (server, database, admin) = runtime.block_on(async {
            let server: &Server = crate::postgres::live(what).await?;
            let database = server.database(dir).await.unwrap();
            // A few rows would be scanned in the order in which they lie; the service's tables are large, and indexes order the locks.
            for scan in ["seqscan", "bitmapscan"] {
                database
                    .set(&format!("enable_{scan}"), "off")
                    .await
                    .unwrap();
            }
            let admin = database.administrator().await.unwrap();
            Some((server, database, admin))
        })?;
        let mut real = Real {
            runtime,
            database,
            admin,
            sessions: Vec::new(),
            version: server.version.clone(),
        };
        real.open(Role::App, PATIENT).unwrap();
        real.open(Role::Worker, PATIENT).unwrap();
        Some(real)
    }
}

impl Arm for Real {
    fn reset(&mut self) -> Result<(), String> {
        // Whoever has not ended, because an earlier interleaving went wrong, must not hold locks here.
        let stuck = self
            .sessions
            .iter()
            .filter(|session| session.call.is_some());
        let stuck: Vec<i32> = stuck.map(|session| session.pid).collect();
        let own_stuck = self
            .sessions
            .iter()
            .take(OWN)
            .any(|session| session.call.is_some());
        let closing = self.sessions.split_off(if own_stuck { 0 } else { OWN });
        let (runtime, admin, own) = (&self.runtime, &mut self.admin, &mut self.sessions);
        runtime.block_on(async {
            if !stuck.is_empty() {
                let terminate =
                    sqlx::query("SELECT pg_terminate_backend(pid) FROM unnest($1::int4[]) AS pid");
                terminate
                    .bind(&stuck)
                    .execute(&mut *admin)
                    .await
                    .map_err(text)?;
            }
            for connection in closing.into_iter().filter_map(|session| session.idle) {
                connection.close().await.map_err(text)?;
            }
            for connection in own.iter_mut().filter_map(|session| session.idle.as_mut()) {
                sqlx::raw_sql("ROLLBACK")
                    .execute(connection)
                    .await
                    .map_err(text)?;
            }
            sqlx::raw_sql(EMPTY).execute(admin).await.map_err(text)?;
            Ok::<_, String>(())
        })?;
        if own_stuck {
            self.open(Role::App, PATIENT)?;
            self.open(Role::Worker, PATIENT)?;
        }
        Ok(())
    }

    fn open(&mut self, role: Role, settings: SessionSettings) -> Result<usize, String> {
        let role = match role {
            Role::App => "ledger_app",
            Role::Worker => "ledger_worker",
        };
        let (database, runtime) = (&self.database, &self.runtime);
        let (pid, connection) = runtime.block_on(async {
            let mut connection = database.connect(role, settings).await?;
            let row = connection
                .fetch_one("SELECT pg_backend_pid()")
                .await
                .map_err(text)?;
            Ok::<_, String>((row.try_get::<i32, _>(0).map_err(text)?, connection))
        })?;
        self.sessions.push(Connected {
            pid,
            idle: Some(connection),
            call: None,
        });
        Ok(self.sessions.len() - 1)
    }

    fn submit(&mut self, session: usize, request: Request) -> Result<(), String> {
        let session = &mut self.sessions[session];
        let connection = session
            .idle
            .take()
            .ok_or("the session has a call under way")?;
        session.call = Some(Box::pin(call(connection, request)));
        Ok(())
    }

    fn settle(&mut self) -> Result<Ended, String> {
        let (runtime, sessions, admin) = (&self.runtime, &mut self.sessions, &mut self.admin);
        runtime.block_on(async {
            let mut ended = Ended::new();
            for _ in 0..10_000 {
                let some = poll(sessions, &mut ended, QUIET).await;
                if sessions.iter().all(|session| session.call.is_none()) {
                    return Ok(ended);
                }
                if !some
                    && all_wait(sessions, admin).await?
                    && !poll(sessions, &mut ended, Duration::ZERO).await
                {
                    return Ok(ended);
                }
            }
            Err("a call neither ends nor waits for another session".to_owned())
        })
    }

    fn pause(&mut self, time: Duration) -> Result<Ended, String> {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
        self.settle()
    }

    fn finish(&mut self, session: usize) -> Result<Ended, String> {
        let mut ended = Ended::new();
        let (runtime, sessions) = (&self.runtime, &mut self.sessions);
        runtime.block_on(async {
            for _ in 0..1_000 {
                poll(sessions, &mut ended, Duration::from_millis(30)).await;
                if sessions[session].call.is_none() {
                    return Ok(());
                }
            }
            Err("the awaited call does not end".to_owned())
        })?;
        ended.extend(self.settle()?);
        Ok(ended)
    }

    fn now_us(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}

/// Polls the calls until one ended or the time is over; whether one ended.
async fn poll(sessions: &mut [Connected], ended: &mut Ended, at_most: Duration) -> bool {
    let before = ended.len();
    let mut over = pin!(tokio::time::sleep(at_most));
    poll_fn(|context| {
        for (index, session) in sessions.iter_mut().enumerate() {
            if let Some(call) = &mut session.call
                && let Poll::Ready((connection, outcome)) = call.as_mut().poll(context)
            {
                session.call = None;
                session.idle = Some(connection);
                ended.push((index, outcome));
            }
        }
        if ended.len() > before {
            return Poll::Ready(true);
        }
        over.as_mut().poll(context).map(|()| false)
    })
    .await
}

/// Whether each call under way waits for another session and no cycle is left for the server to break.
async fn all_wait(sessions: &[Connected], admin: &mut PgConnection) -> Result<bool, String> {
    let pids: Vec<i32> = sessions
        .iter()
        .filter(|s| s.call.is_some())
        .map(|s| s.pid)
        .collect();
    let all: Vec<i32> = sessions.iter().map(|s| s.pid).collect();
    let rows = sqlx::query("SELECT pid, pg_blocking_pids(pid) FROM unnest($1::int4[]) AS pid")
        .bind(&pids)
        .fetch_all(admin)
        .await
        .map_err(text)?;
    let mut blockers: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for row in rows {
        let pid: i32 = row.try_get(0).map_err(text)?;
        let mut by: Vec<i32> = row.try_get(1).map_err(text)?;
        by.retain(|pid| all.contains(pid));
        if by.is_empty() {
            return Ok(false);
        }
        blockers.insert(pid, by);
    }
    Ok(!cyclic(&blockers))
}

async fn call(mut connection: PgConnection, request: Request) -> (PgConnection, Outcome) {
    let outcome = run(&mut connection, request).await;
    if outcome.is_err() {
        // The server reports an error before it has let go of the transaction's locks: the call ends when it is ready again.
        let _ = connection.ping().await;
    }
    let outcome = outcome.map_err(
        |error| match error.as_database_error().and_then(|e| e.code()) {
            Some(code) => code.into_owned(),
            None => format!("not from the server: {error}"),
        },
    );
    (connection, outcome)
}

async fn run(connection: &mut PgConnection, request: Request) -> Result<Rows, sqlx::Error> {
    match request {
        Request::Begin(None) => simple(connection, "BEGIN".to_owned()).await,
        Request::Begin(Some(tenant)) => {
            simple(
                connection,
                format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'"),
            )
            .await
        }
        Request::Commit => simple(connection, "COMMIT".to_owned()).await,
        Request::Rollback => simple(connection, "ROLLBACK".to_owned()).await,
        Request::Sql(sql) => extended(connection, sql, PgArguments::default()).await,
        Request::Run(statement, params) => {
            let mut arguments = PgArguments::default();
            for param in params {
                sqlx::Arguments::add(&mut arguments, Bound(param)).map_err(sqlx::Error::Encode)?;
            }
            extended(connection, statement.sql.to_string(), arguments).await
        }
    }
}

async fn simple(connection: &mut PgConnection, sql: String) -> Result<Rows, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(Rows::default())
}

async fn extended(
    connection: &mut PgConnection,
    sql: String,
    arguments: PgArguments,
) -> Result<Rows, sqlx::Error> {
    let body = sql
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<String>();
    let returns = body.trim_start().starts_with("SELECT") || body.contains("RETURNING");
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    if !returns {
        let affected = query.execute(connection).await?.rows_affected();
        return Ok(Rows {
            rows: Vec::new(),
            affected,
        });
    }
    let found = query.fetch_all(connection).await?;
    let rows = found
        .iter()
        .map(decode_row)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Rows {
        affected: rows.len() as u64,
        rows,
    })
}
