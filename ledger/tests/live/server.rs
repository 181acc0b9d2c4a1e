//! A PostgreSQL server for the time of the tests, shared by those that run at once, and one database per test.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak, atomic::AtomicU32, atomic::Ordering::Relaxed},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

const PORT: u16 = 5432;

pub struct Server {
    admin: String,
    databases: AtomicU32,
    running: Option<Running>,
}

struct Running {
    child: Child,
    bin: PathBuf,
    folder: TempDir,
    user: Option<(u32, u32)>,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// The server, started if it must be; `None`, said aloud, when there is none.
pub fn server() -> Option<Arc<Server>> {
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let running = match std::env::var("FIREDRILL_POSTGRES_URL") {
        Ok(admin) => Ok((admin, None)),
        Err(_) => Running::start().map(|running| {
            let folder = running.folder.path().display().to_string();
            (
                format!("postgres://postgres@localhost:{PORT}/postgres?host={folder}"),
                Some(running),
            )
        }),
    };
    match running {
        Ok((admin, running)) => {
            let databases = AtomicU32::new(0);
            let server = Arc::new(Server {
                admin,
                databases,
                running,
            });
            *shared = Arc::downgrade(&server);
            Some(server)
        }
        Err(why) => {
            assert!(
                std::env::var("FIREDRILL_REQUIRE_LIVE").is_err(),
                "FIREDRILL_REQUIRE_LIVE is set, but there is no PostgreSQL: {why}"
            );
            eprintln!(
                "DID NOT RUN: no PostgreSQL ({why}); install its server, or set FIREDRILL_POSTGRES_URL"
            );
            None
        }
    }
}

impl Server {
    /// URL of an administrator in `database`.
    pub fn admin_url(&self, database: &str) -> String {
        let (before, query) = self.parts();
        format!("{before}/{database}{query}")
    }

    /// URL of `user` in `database`, or without a user; the server trusts the ledger's roles.
    pub fn url(&self, user: &str, database: &str) -> String {
        let (before, query) = self.parts();
        let (scheme, login) = before.split_once("://").unwrap_or(("postgres", before));
        let host = login.rsplit_once('@').map_or(login, |(_, host)| host);
        let at = if user.is_empty() { "" } else { "@" };
        format!("{scheme}://{user}{at}{host}/{database}{query}")
    }

    /// What stands before the database's name, and the query behind it.
    fn parts(&self) -> (&str, &str) {
        let (path, query) = self
            .admin
            .split_at(self.admin.find('?').unwrap_or(self.admin.len()));
        let before = path.rsplit_once('/').map_or(path, |(before, _)| before);
        (before, query)
    }

    /// Drops a database, whoever is still connected.
    pub async fn drop_database(&self, database: &str) {
        let mut admin = PgConnection::connect(&self.admin_url("postgres"))
            .await
            .unwrap();
        let drop = format!("DROP DATABASE {database} WITH (FORCE)");
        admin.execute(AssertSqlSafe(drop)).await.unwrap();
    }

    /// A fresh name.
    pub fn name(&self) -> String {
        let at = self.databases.fetch_add(1, Relaxed);
        format!("ledger_test_{}_{at}", std::process::id())
    }
}

impl Running {
    fn start() -> Result<Self, String> {
        let bin =
            binaries().ok_or("no folder /usr/lib/postgresql/*/bin with initdb and postgres")?;
        let folder = TempDir::new().map_err(|e| e.to_string())?;
        // PostgreSQL refuses to run as root: then it runs as its own user.
        let user = if is_root() {
            Some(postgres_user()?)
        } else {
            None
        };
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
        }
        let data = folder.path().join("data");
        let mut initdb = command(&bin.join("initdb"), user);
        initdb
            .args(["-A", "trust", "-U", "postgres", "-N", "-D"])
            .arg(&data);
        let output = initdb.output().map_err(|e| format!("initdb: {e}"))?;
        if !output.status.success() {
            return Err(format!(
                "initdb: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let mut postgres = command(&bin.join("postgres"), user);
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in [
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            "fsync=off".to_owned(),
            "max_connections=200".to_owned(),
            "deadlock_timeout=200ms".to_owned(),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let child = postgres
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let running = Self {
            child,
            bin,
            folder,
            user,
        };
        running.wait_until_ready()?;
        Ok(running)
    }

    #[expect(clippy::disallowed_methods, reason = "waits for a real process")]
    fn wait_until_ready(&self) -> Result<(), String> {
        for _ in 0..200 {
            let ready = command(&self.bin.join("pg_isready"), self.user)
                .args(["-q", "-p", &PORT.to_string(), "-h"])
                .arg(self.folder.path())
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server did not become ready within 10 s".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Immediate: the data is thrown away, there is nothing to write back.
        let data = self.folder.path().join("data");
        let mut stop = command(&self.bin.join("pg_ctl"), self.user);
        stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(data);
        if !stop.status().is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.take());
    }
}

fn command(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    versions.sort();
    versions.pop()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn postgres_user() -> Result<(u32, u32), String> {
    let users = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line
        .ok_or("this is root, and there is no user postgres to run the server as")?
        .split(':')
        .skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok());
    number()
        .zip(number())
        .ok_or_else(|| "/etc/passwd: line of postgres".to_owned())
}
