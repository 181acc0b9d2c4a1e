//! A real PostgreSQL server for tests: found or started once per process, one database per test, everything gone at the end.
//!
//! Order: the server behind `FIREDRILL_POSTGRES_URL` (a superuser's URL); else the installed binaries, started on a temporary
//! directory as a user that is not root. A container from a local image would come between the two. Where there is none,
//! [`live`] says so and what to install; `FIREDRILL_REQUIRE_LIVE=1` turns that into a failure.
//! The server that was started ends with this process (`installed.rs`).
//! Left out: TLS, replicas. Included by `#[path]` in each test binary that needs it.

mod installed;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::ChildStdin,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ledger::ports::SessionSettings;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions,
};
use tokio::sync::OnceCell;

/// What the service sets on its sessions.
pub const SERVICE: SessionSettings = SessionSettings {
    statement_timeout: Duration::from_millis(800),
    lock_timeout: Duration::from_millis(700),
};

/// The server's own: with the default of 1 s the statement timeout would win and 40P01 would never be seen.
pub const DEADLOCK_TIMEOUT: Duration = Duration::from_millis(200);

const OLDEST: u32 = 15;
const PASSWORD: &str = "firedrill-test";
const INSTALL: &str = "install PostgreSQL 15 or later (Debian: `apt-get install postgresql`) or set FIREDRILL_POSTGRES_URL to a superuser's URL";

/// The folder with `bootstrap.sql`, `migrations/` and `sql/`: `FIREDRILL_LEDGER_DIR`, else the repository's.
pub fn ledger_dir() -> PathBuf {
    env::var_os("FIREDRILL_LEDGER_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger"),
        PathBuf::from,
    )
}

/// A running server.
pub struct Server {
    admin: PgConnectOptions,
    /// As the server names it, `15.13` and the like.
    pub version: String,
    /// Closed by the end of the process: the shell on the other side stops the server and removes its directory.
    _watch: Option<ChildStdin>,
}

static SERVER: OnceCell<Result<Server, String>> = OnceCell::const_new();

/// The process's server. `None`: there is none, and standard error says that `what` did not run.
///
/// # Panics
/// If there is none and `FIREDRILL_REQUIRE_LIVE=1`.
pub async fn live(what: &str) -> Option<&'static Server> {
    match SERVER.get_or_init(find).await {
        Ok(server) => Some(server),
        Err(why) => {
            let text = format!("{what}: did not run on PostgreSQL: {why}");
            assert!(
                env::var("FIREDRILL_REQUIRE_LIVE").as_deref() != Ok("1"),
                "{text}"
            );
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "{text}");
            None
        }
    }
}

async fn find() -> Result<Server, String> {
    let (admin, watch) = match env::var("FIREDRILL_POSTGRES_URL") {
        Ok(url) => (
            url.parse::<PgConnectOptions>()
                .map_err(|error| format!("FIREDRILL_POSTGRES_URL: {error}"))?,
            None,
        ),
        Err(_) => {
            let (admin, watch) = installed::start().await?;
            (admin, Some(watch))
        }
    };
    let mut connection = connect(&admin).await?;
    let setting = |name: &'static str| {
        sqlx::query(AssertSqlSafe(format!("SELECT current_setting('{name}')")))
    };
    let version: String = fetch(setting("server_version"), &mut connection).await?;
    let version = version.split_whitespace().next().unwrap_or("?").to_owned();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(format!("the server is PostgreSQL {version}; {INSTALL}"));
    }
    let deadlock: String = fetch(setting("deadlock_timeout"), &mut connection).await?;
    if deadlock != "200ms" {
        return Err(format!(
            "the server's deadlock_timeout is {deadlock}; set it to 200ms (ALTER SYSTEM) and reload"
        ));
    }
    bootstrap(&mut connection).await?;
    Ok(Server {
        admin,
        version,
        _watch: watch,
    })
}

async fn fetch(
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    connection: &mut PgConnection,
) -> Result<String, String> {
    let row = query.fetch_one(connection).await.map_err(text)?;
    row.try_get(0).map_err(text)
}

/// Roles belong to the cluster: another test process may have created them, or be doing so now.
async fn bootstrap(connection: &mut PgConnection) -> Result<(), String> {
    let path = ledger_dir().join("bootstrap.sql");
    let sql = read(&path)?;
    let without_comments: String = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    for statement in without_comments.split(';').filter(|s| !s.trim().is_empty()) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *connection)
            .await;
        let code = done
            .as_ref()
            .err()
            .and_then(|e| e.as_database_error())
            .and_then(|e| e.code());
        if !matches!(code.as_deref(), None | Some("42710" | "23505"))
            || done.is_err() && code.is_none()
        {
            return Err(format!("{}: {statement}: {done:?}", path.display()));
        }
    }
    for role in ["ledger_owner", "ledger_app", "ledger_worker"] {
        let sql = format!("ALTER ROLE {role} PASSWORD '{PASSWORD}'");
        // Two processes may do this at once; both set the same.
        let _ = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *connection)
            .await;
    }
    Ok(())
}

impl Server {
    /// Creates a database with the schema of the ledger in `dir`; dropped with the value.
    pub async fn database(&self, dir: &Path) -> Result<Database, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "firedrill_test_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let mut admin = connect(&self.admin).await?;
        let create = format!("CREATE DATABASE {name} OWNER ledger_owner");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .map_err(text)?;
        let database = Database {
            admin: self.admin.clone(),
            name,
        };
        let mut owner = connect(&database.options("ledger_owner")).await?;
        let folder = dir.join("migrations");
        let mut files: Vec<_> = fs::read_dir(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()).map_err(text))
            .collect::<Result<_, _>>()?;
        files.retain(|path| path.extension().is_some_and(|e| e == "sql"));
        files.sort();
        for file in files {
            sqlx::raw_sql(AssertSqlSafe(read(&file)?))
                .execute(&mut owner)
                .await
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(database)
    }
}

/// One test's database. Dropping it drops the database, with whoever is still connected.
pub struct Database {
    admin: PgConnectOptions,
    name: String,
}

impl Database {
    /// Connects as `role` (`ledger_app`, `ledger_worker`, `ledger_owner`) with the given limits.
    pub async fn connect(
        &self,
        role: &str,
        settings: SessionSettings,
    ) -> Result<PgConnection, String> {
        let options = self.options(role).options([
            (
                "statement_timeout",
                settings.statement_timeout.as_millis().to_string(),
            ),
            (
                "lock_timeout",
                settings.lock_timeout.as_millis().to_string(),
            ),
        ]);
        connect(&options).await
    }

    /// Connects as the administrator, whom no row policy binds.
    pub async fn administrator(&self) -> Result<PgConnection, String> {
        connect(&self.admin.clone().database(&self.name)).await
    }

    /// Sets a server setting for the sessions that connect to this database from now on.
    pub async fn set(&self, setting: &str, value: &str) -> Result<(), String> {
        let sql = format!("ALTER DATABASE {} SET {setting} = '{value}'", self.name);
        let mut admin = connect(&self.admin).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .map_err(text)?;
        Ok(())
    }

    /// The database's URL for `role`, with its password.
    pub fn url(&self, role: &str) -> String {
        format!(
            "postgres://{role}:{PASSWORD}@{}:{}/{}",
            self.admin.get_host(),
            self.admin.get_port(),
            self.name
        )
    }

    fn options(&self, role: &str) -> PgConnectOptions {
        self.admin
            .clone()
            .username(role)
            .password(PASSWORD)
            .database(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = self.admin.clone();
        // A thread of its own, since the test's runtime may be the one that is dropping this.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                if let Ok(runtime) = runtime {
                    runtime.block_on(async {
                        if let Ok(mut admin) = connect(&admin).await {
                            let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await;
                            let _ = admin.close().await;
                        }
                    });
                }
            });
        });
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, String> {
    options.connect().await.map_err(text)
}

/// An error as text.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
