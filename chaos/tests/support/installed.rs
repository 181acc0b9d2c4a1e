//! Starts the installed PostgreSQL on a temporary directory, as a user that is not root.
//!
//! Invariant: the server and its directory go when this process goes, however it goes. A shell waits for the end of a pipe that
//! only this process holds open. Left out: choosing among several installed versions; the newest is taken.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    time::Duration,
};

use sqlx::{
    Connection,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{DEADLOCK_TIMEOUT, INSTALL, connect, text};

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
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf -- "$dir"
"#;

/// Starts a server; returns how its administrator connects, and the pipe whose end stops it.
///
/// # Errors
/// What is missing, or the server's own words.
pub async fn start() -> Result<(PgConnectOptions, ChildStdin), String> {
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
    initdb.extend(
        [
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]
        .map(str::to_owned),
    );
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
    let watch = shell
        .stdin
        .take()
        .ok_or("the shell has no standard input")?;
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
