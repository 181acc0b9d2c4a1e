//! A real Prometheus on a free port over a folder of its own; it is killed when dropped, by a panic too, and the folder removed
//! with the last that holds it.
//!
//! HTTP is 1.0 over a plain connection per request: the server answers in one piece and closes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

/// Readiness is asked for this often…
const PATIENCE: u32 = 600;
/// …at this distance: half a minute in all.
const PAUSE: Duration = Duration::from_millis(50);
/// No answer takes longer; a server that hangs must not hang the test.
const ANSWER: Duration = Duration::from_secs(30);

/// A Prometheus installation: the server and its promtool.
pub struct Installation {
    server: PathBuf,
    pub promtool: PathBuf,
    /// Such as `2.42.0+ds`.
    pub version: String,
}

impl Installation {
    /// The server of version 2, which must be there where `FIREDRILL_REQUIRE_LIVE` is set.
    pub fn of_version_2() -> Option<Installation> {
        match Installation::find("FIREDRILL_PROMETHEUS", Some("prometheus")) {
            Ok(found) => Some(found),
            Err(reason) => {
                let required = std::env::var("FIREDRILL_REQUIRE_LIVE").as_deref() == Ok("1");
                assert!(!required, "FIREDRILL_REQUIRE_LIVE is set: {reason}");
                println!("did not run against Prometheus 2: {reason}");
                None
            }
        }
    }

    /// The server of version 3, where one is named.
    pub fn of_version_3() -> Option<Installation> {
        match Installation::find("FIREDRILL_PROMETHEUS_3", None) {
            Ok(found) => {
                assert!(found.is_3(), "{} is not version 3", found.version);
                Some(found)
            }
            Err(reason) => {
                println!("did not run against Prometheus 3: {reason}");
                None
            }
        }
    }

    /// The server that the variable names; `default` is looked for on the path when it is not set.
    fn find(variable: &str, default: Option<&str>) -> Result<Installation, String> {
        let server = match (std::env::var_os(variable), default) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(name)) => on_path(name).ok_or(format!(
                "no {name:?} on the path: install the package prometheus, or name the server in {variable}"
            ))?,
            (None, None) => {
                return Err(format!(
                    "{variable} does not name a server; `.ci/prometheus-3` fetches one and prints its folder"
                ));
            }
        };
        let beside = server.with_file_name("promtool");
        let promtool = match beside.exists() {
            true => beside,
            false => on_path("promtool").ok_or("no promtool beside the server or on the path")?,
        };
        let output = Command::new(&server)
            .arg("--version")
            .output()
            .map_err(|error| format!("{}: {error}", server.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = text
            .split_once("version ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .ok_or_else(|| format!("{} names no version", server.display()))?
            .to_string();
        Ok(Installation {
            server,
            promtool,
            version,
        })
    }

    pub fn is_3(&self) -> bool {
        self.version.starts_with("3.")
    }

    /// Starts the server in a folder that holds `prometheus.yml` and, once it ran, its storage.
    pub fn start(&self, folder: &Rc<TempDir>, flags: &[&str]) -> Server {
        let path = folder.path();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path.join("log"))
            .expect("a log");
        // The port is free now; should another program take it before the server does, the server says so and ends.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(&self.server)
            .arg(format!(
                "--config.file={}",
                path.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                path.join("storage").display()
            ))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut server = Server {
            child,
            port,
            folder: folder.clone(),
        };
        server.wait();
        server
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(name));
    candidates.find(|candidate| candidate.is_file())
}

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
    folder: Rc<TempDir>,
}

impl Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "waits for a real process, no simulated time passes here"
    )]
    fn wait(&mut self) {
        for _ in 0..PATIENCE {
            if matches!(self.request("GET", "/-/ready", "", b""), Ok((200, _))) {
                return;
            }
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended, "the server ended:\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
        panic!("the server is not ready:\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&answer[..end.unwrap_or(0)]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        match (status, end) {
            (Some(status), Some(end)) => Ok((status, answer.split_off(end + 4))),
            _ => Err(std::io::Error::other("not an HTTP answer")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
