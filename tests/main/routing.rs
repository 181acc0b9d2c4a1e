//! `alerts/alertmanager.yml` against the real Alertmanager: who hears of each alert, and what is not told beside its cause.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use alerts::rules::RuleSet;
use serde_json::Value;

use crate::program::root;

/// Readiness is asked for this often, at this distance: ten seconds in all.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

const P0: &str = "tech-lead,on-call";
/// Every alert of the catalogue with its severity, `!` for security, and its receivers.
const RECEIVERS: [(&str, &str, &str); 26] = [
    ("RESV-INV-001", "P0", P0),
    ("RESV-INV-002", "P1", "on-call"),
    ("RESV-INV-003", "P2", "team"),
    ("RESV-INV-004", "P1", "on-call"),
    ("RESV-INV-005", "P1", "on-call"),
    ("RESV-INV-006", "P2", "team"),
    ("RESV-INV-007", "P1", "on-call"),
    ("RESV-INV-008", "P2", "team"),
    ("RESV-INV-009", "P1", "on-call"),
    ("RESV-INV-010", "P2", "team"),
    ("RESV-INV-011", "P2", "team"),
    ("RESV-INV-012", "P3", "tickets"),
    ("RESV-INV-013", "P2", "team"),
    ("RESV-INV-014", "P1", "on-call"),
    ("RESV-PLT-001", "P1!", "security"),
    ("RESV-PLT-002", "P1", "on-call"),
    ("RESV-PLT-003", "P2", "team"),
    ("RESV-PLT-004", "P1", "on-call"),
    ("RESV-PLT-005", "P3", "tickets"),
    ("RESV-PLT-006", "P1", "on-call"),
    ("RESV-PLT-007", "P0!", "security,tech-lead,on-call"),
    ("ORD-001", "P1", "on-call"),
    ("ORD-002", "P2", "team"),
    ("ORD-003", "P2", "team"),
    ("ORD-004", "P2", "team"),
    ("ORD-005", "P2", "team"),
];

/// Cause and what is held back beside it.
const HELD_BACK: [(&str, &[&str]); 4] = [
    ("RESV-INV-001", &["RESV-INV-011"]),
    ("RESV-INV-002", &["ORD-002", "ORD-003", "RESV-INV-006"]),
    ("RESV-INV-006", &["ORD-002", "ORD-003"]),
    (
        "RESV-PLT-002",
        &[
            "ORD-002",
            "ORD-003",
            "RESV-INV-002",
            "RESV-INV-005",
            "RESV-INV-006",
        ],
    ),
];

/// Whether Alertmanager is there; if not, says what to install, or fails where it must be.
fn installed() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let all = there("amtool") && there("prometheus-alertmanager");
    if !all {
        let missing = "amtool and prometheus-alertmanager are not on the path: install Debian's package `prometheus-alertmanager`";
        let required = std::env::var("FIREDRILL_REQUIRE_LIVE").is_ok_and(|value| value == "1");
        assert!(!required, "{missing}");
        eprintln!("{missing}; this test did not run");
    }
    all
}

fn config() -> PathBuf {
    root().join("alerts/alertmanager.yml")
}

fn amtool(args: &[&str]) -> String {
    let output = Command::new("amtool")
        .args(args)
        .output()
        .expect("amtool starts");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Labels that decide about the route.
fn labels(id: &str, severity: &str) -> Vec<String> {
    let mut out = vec![
        format!("alertname={id}"),
        format!("alert_id={id}"),
        format!("severity={}", severity.trim_end_matches('!')),
    ];
    if severity.ends_with('!') {
        out.push("category=security".into());
    }
    out
}

#[test]
fn each_alert_reaches_those_who_should_hear_of_it_and_nobody_twice() {
    if !installed() {
        return;
    }
    let file = format!("--config.file={}", config().display());
    amtool(&["check-config", &config().to_string_lossy()]);
    for (id, severity, receivers) in RECEIVERS {
        let labels = labels(id, severity);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let found = amtool(&[&["config", "routes", "test", &*file], &labels[..]].concat());
        assert_eq!(found, receivers, "{id}");
    }
    let unknown = amtool(&["config", "routes", "test", &file, "alertname=Unknown"]);
    assert_eq!(unknown, "on-call", "an alert without severity is not lost");
}

#[test]
fn the_shipped_rules_carry_the_severity_that_decides_their_route() {
    let rules = RuleSet::load(&[root().join("alerts/rules")]).expect("rules");
    let table: BTreeMap<&str, &str> = RECEIVERS
        .iter()
        .map(|(id, severity, _)| (*id, *severity))
        .collect();
    let mut routed = BTreeSet::new();
    for (_, rule) in rules.alerts() {
        let (id, security) = (rule.label("alert_id"), rule.label("category") == "security");
        let severity = format!(
            "{}{}",
            rule.label("severity"),
            if security { "!" } else { "" }
        );
        assert_eq!(table.get(id), Some(&&*severity), "{} ({id})", rule.name);
        routed.insert(id.to_owned());
    }
    let known: BTreeSet<String> = table.keys().map(|id| id.to_string()).collect();
    assert_eq!(routed, known, "each alert of the catalogue has a rule");
}

/// Waits a moment; true.
#[expect(clippy::disallowed_methods, reason = "a real server needs real time")]
fn pause() -> bool {
    thread::sleep(PAUSE);
    true
}

/// A running Alertmanager; dropping it stops it.
struct Server {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config().display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let address = format!("--alertmanager.url=http://127.0.0.1:{port}");
        let server = Server {
            child,
            address,
            _folder: folder,
        };
        let ready = || {
            Command::new("amtool")
                .args([&*server.address, "cluster", "show"])
                .output()
                .is_ok_and(|output| output.status.success())
        };
        assert!(
            (0..PATIENCE).any(|_| ready() || !pause()),
            "Alertmanager does not answer"
        );
        server
    }

    fn fire(&self, id: &str, severity: &str) {
        let labels = labels(id, severity);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        amtool(&[&[&*self.address, "alert", "add"], &labels[..]].concat());
    }

    /// Alerts that are there but held back.
    fn held_back(&self) -> BTreeSet<String> {
        let text = amtool(&[
            &self.address,
            "alert",
            "query",
            "--inhibited",
            "--output=json",
        ]);
        let found: Value = serde_json::from_str(&text).expect("JSON");
        let found = found.as_array().expect("a list").iter();
        found
            .filter(|alert| alert["status"]["state"] == "suppressed")
            .map(|alert| {
                alert["labels"]["alert_id"]
                    .as_str()
                    .expect("an id")
                    .to_owned()
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn only_consequences_are_held_back_and_never_by_what_fewer_hear_of() {
    if !installed() {
        return;
    }
    let severity = |wanted: &str| {
        RECEIVERS
            .iter()
            .find(|(id, ..)| *id == wanted)
            .expect("of the catalogue")
            .1
    };
    for (cause, consequences) in HELD_BACK {
        let server = Server::start();
        // Everything that can be a consequence and has no other cause here, and every alert that is none.
        let causes = HELD_BACK.iter().filter(|(other, _)| *other != cause);
        let others: BTreeSet<&str> = causes
            .map(|(other, _)| *other)
            .filter(|other| !consequences.contains(other))
            .collect();
        for (id, severity, _) in RECEIVERS.iter().filter(|(id, ..)| !others.contains(id)) {
            server.fire(id, severity);
        }
        let wanted: BTreeSet<String> = consequences.iter().map(|id| id.to_string()).collect();
        let seen = (0..PATIENCE).any(|_| server.held_back() == wanted || !pause());
        assert!(
            seen,
            "{cause}: {:?} instead of {wanted:?}",
            server.held_back()
        );
        for id in consequences {
            let (cause_severity, own) = (severity(cause), severity(id));
            assert!(
                cause_severity <= own && !own.starts_with("P0"),
                "{cause} ({cause_severity}) holds back {id} ({own})"
            );
        }
    }
}
