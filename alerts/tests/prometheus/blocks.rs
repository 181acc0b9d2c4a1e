//! A server over blocks made from OpenMetrics text.

use std::fs;
use std::process::Command;
use std::rc::Rc;

use crate::server::{Installation, Server};

/// Starts the server over these series.
pub fn serve(found: &Installation, openmetrics: &[u8]) -> Server {
    let folder = tempfile::Builder::new()
        .prefix("prometheus")
        .tempdir()
        .expect("a temporary folder");
    let storage = folder.path().join("storage");
    fs::create_dir(&storage).expect("a storage folder");
    fs::write(folder.path().join("prometheus.yml"), "global: {}\n").expect("a configuration");
    let text = folder.path().join("blocks.om");
    fs::write(&text, openmetrics).expect("a text to read");
    let output = Command::new(&found.promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &storage])
        .output()
        .expect("promtool starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool refuses blocks: {told}");
    found.start(&Rc::new(folder), &["--web.enable-remote-write-receiver"])
}
