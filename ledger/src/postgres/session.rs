//! A database session on sqlx's PostgreSQL connection. Statements are prepared once per connection; the tenant is set in the
//! same round trip as `BEGIN`.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Either, Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions},
    query::Query,
};
use uuid::Uuid;

use super::value::{Param, read_row};
use crate::{
    config::{ConfigError, Secret},
    ports::{BoxFuture, Connect, DbError, Role, Rows, Session, SessionSettings, Statement, Value},
};

/// How each role logs in: user name and, where the server wants one, password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// For tenants' requests.
    pub app: (String, Option<Secret>),
    /// For jobs.
    pub worker: (String, Option<Secret>),
}

impl Default for Credentials {
    /// The roles of `bootstrap.sql`, without passwords.
    fn default() -> Self {
        Self {
            app: ("ledger_app".to_owned(), None),
            worker: ("ledger_worker".to_owned(), None),
        }
    }
}

/// Connects to PostgreSQL. An endpoint is a URL, `postgres://host:port/database`; a socket's folder is given as `?host=`.
#[derive(Clone, Debug, Default)]
pub struct PgConnect {
    /// Logins.
    pub credentials: Credentials,
}

impl PgConnect {
    /// Refuses endpoints that can never be connected to, and those that hold credentials: endpoints show in messages.
    ///
    /// # Errors
    /// The first such endpoint, by its place.
    pub fn check(endpoints: &[String]) -> Result<(), ConfigError> {
        for (at, endpoint) in endpoints.iter().enumerate() {
            let place = at + 1;
            let fail = |reason: String| {
                Err(ConfigError {
                    field: "database_endpoints",
                    reason,
                })
            };
            let after_scheme = endpoint.split_once("://").map_or("", |(_, rest)| rest);
            let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
            if authority.contains('@') || endpoint.contains("password=") {
                return fail(format!(
                    "endpoint {place} holds a user or a password: the service logs in as ledger_app and ledger_worker, whose passwords are settings of their own"
                ));
            }
            if let Err(error) = PgConnectOptions::from_str(endpoint) {
                return fail(format!(
                    "endpoint {place}, {endpoint:?}: {error}; want postgres://host:port/database"
                ));
            }
        }
        Ok(())
    }
}

/// A session that forgets its transaction (the service died, the network swallowed the end) must not keep its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

impl Connect for PgConnect {
    fn connect<'a>(
        &'a self,
        endpoint: &'a str,
        role: Role,
        settings: SessionSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, DbError>> {
        Box::pin(async move {
            let (user, password) = match role {
                Role::App => &self.credentials.app,
                Role::Worker => &self.credentials.worker,
            };
            let mut options = PgConnectOptions::from_str(endpoint)
                .map_err(told)?
                .username(user)
                .application_name("ledger")
                .options([
                    ("statement_timeout", millis(settings.statement_timeout)),
                    ("lock_timeout", millis(settings.lock_timeout)),
                    (
                        "idle_in_transaction_session_timeout",
                        millis(IDLE_IN_TRANSACTION),
                    ),
                ])
                .disable_statement_logging();
            if let Some(Secret(password)) = password {
                options = options.password(password);
            }
            let connection = PgConnection::connect_with(&options).await.map_err(told)?;
            let session: Box<dyn Session> = Box::new(PgSession {
                connection,
                open: true,
            });
            Ok(session)
        })
    }
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

struct PgSession {
    connection: PgConnection,
    open: bool,
}

impl PgSession {
    async fn raw(&mut self, sql: &str) -> Result<(), DbError> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await;
        self.check(done).map(|_| ())
    }

    async fn one(&mut self, statement: &Statement, params: &[Value]) -> Result<Rows, DbError> {
        let result = fetch(&mut self.connection, statement, params).await;
        self.check(result)
    }

    fn check<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, DbError> {
        result.map_err(told).inspect_err(|error| {
            // A fatal error is the last thing the server says on a connection.
            let gone = error.sqlstate().is_none_or(|code| code.starts_with("57P0"));
            self.open &= !gone;
        })
    }
}

async fn fetch(
    connection: &mut PgConnection,
    statement: &Statement,
    params: &[Value],
) -> Result<Rows, sqlx::Error> {
    let mut query: Query<'_, Postgres, PgArguments> =
        sqlx::query(AssertSqlSafe(statement.sql.clone()));
    for param in params {
        query.try_bind(Param(param)).map_err(sqlx::Error::Encode)?;
    }
    let mut rows = Rows::default();
    let mut stream = connection.fetch_many(query);
    while let Some(step) = std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
    {
        match step? {
            Either::Left(done) => rows.affected += done.rows_affected(),
            Either::Right(row) => rows.rows.push(read_row(&row).map_err(sqlx::Error::Decode)?),
        }
    }
    Ok(rows)
}

impl Session for PgSession {
    fn begin(&mut self, tenant: Option<Uuid>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            match tenant {
                // A UUID prints as hexadecimal digits and dashes: nothing to escape.
                Some(tenant) => {
                    self.raw(&format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'"))
                        .await
                }
                None => self.raw("BEGIN").await,
            }
        })
    }

    fn run<'a>(
        &'a mut self,
        statement: &'a Statement,
        params: &'a [Value],
    ) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(self.one(statement, params))
    }

    fn run_all<'a>(
        &'a mut self,
        batch: &'a [(&'a Statement, Vec<Value>)],
    ) -> BoxFuture<'a, Result<Vec<Rows>, DbError>> {
        Box::pin(async move {
            // sqlx sends one statement at a time.
            let mut all = Vec::with_capacity(batch.len());
            for (statement, params) in batch {
                all.push(self.one(statement, params).await?);
            }
            Ok(all)
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(self.raw("COMMIT"))
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(self.raw("ROLLBACK"))
    }

    fn is_open(&self) -> bool {
        self.open
    }
}

fn told(error: sqlx::Error) -> DbError {
    match error {
        sqlx::Error::Database(error) => DbError::Server {
            sqlstate: error.code().unwrap_or_default().into_owned(),
            message: error.message().to_owned(),
            constraint: error.constraint().map(str::to_owned),
        },
        // The server answered, with what the code cannot read or send: the session itself is well.
        error @ (sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::TypeNotFound { .. }) => DbError::Server {
            sqlstate: "XX000".to_owned(),
            message: error.to_string(),
            constraint: None,
        },
        other => DbError::Connection(other.to_string()),
    }
}
