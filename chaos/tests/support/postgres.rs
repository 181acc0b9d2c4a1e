//! A real PostgreSQL server for tests: found or started once per process, one database per test, everything gone at the end.
//!
//! Order: the server behind `FIREDRILL_POSTGRES_URL` (a superuser's URL); else the installed binaries, started on a temporary
//! directory as a user that is not root. A container from a local image would come between the two. Where there is none,
//! [`live`] says so and what to install; `FIREDRILL_REQUIRE_LIVE=1` turns that into a failure.
//! The server that was started ends with this process, however the process ends: a shell waits on a pipe for that.
//! Left out: TLS, replicas. Included by `#[path]` in each test binary that needs it.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ledger::ports::SessionSettings;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
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
            eprintln!("{text}");
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
            let (admin, watch) = start().await?;
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
    for statement in without_comments
        .split(';')
        .filter(|s| !s.trim().is_empty())
    {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut *connection)
            .await;
        let code = done
            .as_ref()
            .err()
            .and_then(|e| e.as_database_error())
            .and_then(|e| e.code());
        if !matches!(code.as_deref(), None | Some("42710" | "23505")) || done.is_err() && code.is_none() {
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

/// The newest installed server's binaries.
fn binaries() -> Result<PathBuf, String> {
    let mut folders: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    folders.sort();
    let reported = Command::new("pg_config").arg("--bindir").output().ok();
    let reported =
        reported.map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim().to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    folders
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(reported)
        .chain(env::split_paths(&path))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .ok_or_else(|| format!("no server binaries found; {INSTALL}"))
}

/// Words before a command that make it run as somebody else, since PostgreSQL refuses root.
fn not_root() -> Result<Vec<String>, String> {
    let id = |args: &[&str]| {
        let out = Command::new("id").args(args).output().ok()?;
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return Ok(Vec::new());
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|user| {
            let (uid, gid) = (id(&["-u", user])?, id(&["-g", user])?);
            let words = [
                "setpriv".to_owned(),
                format!("--reuid={uid}"),
                format!("--regid={gid}"),
                "--clear-groups".to_owned(),
            ];
            Some(words.to_vec())
        })
        .ok_or_else(|| "running as root, and there is no user `postgres` or `nobody`".to_owned())
}

/// Runs the server in `$1` until standard input ends. The port is `$2`, the rest is the command.
const WATCH: &str = r#"
dir=$1; shift
"$@" </dev/null >"$dir/log" 2>&1 &
server=$!
read -r _
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf -- "$dir"
"#;

async fn start() -> Result<(PgConnectOptions, ChildStdin), String> {
    let bin = binaries()?;
    let prefix = not_root()?;
    let dir = tempfile::Builder::new()
        .prefix("firedrill-postgres-")
        .tempdir()
        .map_err(text)?;
    let as_user = |program: PathBuf| {
        let mut words = prefix.clone();
        words.push(program.display().to_string());
        words
    };
    if let Some(owner) = prefix.get(1).and_then(|word| word.strip_prefix("--reuid=")) {
        let out = Command::new("chown").arg(owner).arg(dir.path()).output();
        out.map_err(text)?;
    }
    let data = dir.path().join("data");
    let mut initdb = as_user(bin.join("initdb"));
    initdb.extend(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"].map(str::to_owned));
    initdb.push(data.display().to_string());
    let out = Command::new(&initdb[0])
        .args(&initdb[1..])
        .current_dir(dir.path())
        .output()
        .map_err(|error| format!("{}: {error}", initdb[0]))?;
    if !out.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&out.stderr)));
    }
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(text)?
        .port();
    let mut server = as_user(bin.join("postgres"));
    server.extend(["-D".to_owned(), data.display().to_string()]);
    for setting in [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", dir.path().display()),
        "fsync=off".to_owned(),
        "synchronous_commit=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "autovacuum=off".to_owned(),
        "max_connections=60".to_owned(),
        format!("deadlock_timeout={}ms", DEADLOCK_TIMEOUT.as_millis()),
        "timezone=UTC".to_owned(),
    ] {
        server.extend(["-c".to_owned(), setting]);
    }
    let mut shell = Command::new("sh")
        .args(["-c", WATCH, "firedrill-postgres"])
        .arg(dir.path())
        .args(&server)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // an interrupt from the terminal reaches the test process only; the shell sees its end
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    let watch = shell.stdin.take().ok_or("the shell has no standard input")?;
    let dir = dir.keep(); // removed by the shell
    let admin = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable);
    for _ in 0..300 {
        if let Ok(connection) = connect(&admin).await {
            let _ = connection.close().await;
            return Ok((admin, watch));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    Err(format!("the server does not answer on port {port}: {log}"))
}
