//! A real Prometheus on a free port over a folder of its own; it is stopped and the folder removed when dropped, by a panic too.
//!
//! HTTP is 1.0 over a plain connection per request: the server answers in one piece and closes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::changes::Version;

/// Readiness is asked for this often…
const PATIENCE: u32 = 600;
/// …at this distance: half a minute in all.
const PAUSE: Duration = Duration::from_millis(50);
/// No answer takes longer; a server that hangs must not hang the test.
const ANSWER: Duration = Duration::from_secs(30);

/// A Prometheus installation: the server and its promtool.
pub struct Installation {
    server: PathBuf,
    promtool: PathBuf,
    /// Such as `2.42.0+ds`.
    pub version: String,
}

impl Installation {
    /// The server that the variable names; `default` is looked for on the path when it is not set.
    pub fn find(variable: &str, default: Option<&str>) -> Result<Installation, String> {
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

    /// Which table of changes is between this server and us: none for one later than those listed.
    pub fn table(&self) -> Option<Version> {
        match &self.version {
            version if version.starts_with("2.42.") => Some(Version::V2),
            version if version.starts_with("3.5.") => Some(Version::V3),
            _ => None,
        }
    }

    pub fn is_3(&self) -> bool {
        self.version.starts_with("3.")
    }

    /// Starts the server over blocks made from this OpenMetrics text.
    pub fn start(&self, openmetrics: &[u8]) -> Server {
        let folder = tempfile::Builder::new()
            .prefix("prometheus")
            .tempdir()
            .expect("a temporary folder");
        let storage = folder.path().join("storage");
        fs::create_dir(&storage).expect("a storage folder");
        self.make_blocks(folder.path(), &storage, openmetrics);
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "global: {}\n").expect("a configuration");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        // The port is free now; should another program take it before the server does, the server says so and ends.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(&self.server)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", storage.display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut server = Server {
            child,
            port,
            folder,
        };
        server.wait();
        server
    }

    fn make_blocks(&self, folder: &Path, storage: &Path, openmetrics: &[u8]) {
        let text = folder.join("blocks.om");
        fs::write(&text, openmetrics).expect("a text to read");
        let output = Command::new(&self.promtool)
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&text, storage])
            .output()
            .expect("promtool starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool refuses blocks: {told}");
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
    folder: TempDir,
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

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn request(
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

    /// Asks the HTTP API; an answer that is an error is an answer too.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let pairs = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let header = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.request("POST", path, header, body.as_bytes());
        let (status, body) =
            answer.unwrap_or_else(|error| panic!("{path} {parameters:?}: {error}\n{}", self.log()));
        serde_json::from_slice(&body).unwrap_or_else(|error| {
            let body = String::from_utf8_lossy(&body);
            panic!(
                "{path} {parameters:?}: {status} {error}: {body}\n{}",
                self.log()
            )
        })
    }

    /// Sends a remote write request: the only way by which stale markers can be given to a server.
    pub fn remote_write(&self, body: &[u8]) {
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
            X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let (status, answer) = self
            .request("POST", "/api/v1/write", headers, body)
            .expect("the server answers");
        let answer = String::from_utf8_lossy(&answer);
        assert!(status / 100 == 2, "remote write: {status} {answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match plain(byte) {
            true => (byte as char).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
