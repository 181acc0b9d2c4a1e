//! What is said of a unit-test file, here and by promtool, so that both can be compared.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::failures::failures;
use crate::installed::Promtool;

/// Files that one call of promtool judges.
const BATCH: usize = 50;

/// Says that a query or labels do not parse.
const UNREAD: &str = "parse error: ";

/// What became of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It says something that is refused; what was said of that.
    Refused(String),
    /// It was run. What failed, line by line, in order; nothing is a pass.
    Ran(Vec<String>),
}

/// What is refused is refused, for whatever reason.
pub fn same(ours: &Verdict, theirs: &Verdict) -> bool {
    match (ours, theirs) {
        (Verdict::Refused(_), Verdict::Refused(_)) => true,
        (ours, theirs) => ours == theirs,
    }
}

/// Ours.
pub fn ours(file: &Path) -> Verdict {
    match failures(file) {
        Ok(text) => Verdict::Ran(lines(&text)),
        Err(reason) => Verdict::Refused(reason),
    }
}

/// promtool's, of each file.
pub fn theirs(promtool: &Promtool, files: &[PathBuf]) -> Vec<Verdict> {
    let mut out = Vec::new();
    while out.len() < files.len() {
        let rest = &files[out.len()..];
        let batch = &rest[..rest.len().min(BATCH)];
        let said = said(promtool, batch);
        assert!(!said.is_empty(), "promtool says nothing of {batch:?}");
        out.extend(said.iter().map(|text| verdict(text)));
    }
    out
}

/// promtool's words about these files, or the first of them where it broke down.
fn said(promtool: &Promtool, files: &[PathBuf]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("said");
    // Both streams into one file keep their order: success is said in one, failure in the other.
    let output = File::create(&path).expect("writable");
    // Its exit code says no more than the verdicts do.
    Command::new(&promtool.path)
        .args(["test", "rules"])
        .args(files)
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .status()
        .expect("promtool runs");
    let said = std::fs::read(&path).expect("readable");
    let said = String::from_utf8_lossy(&said).into_owned();
    // Only version 2 names the file; each verdict begins with such a line. What warns of a file stands before it.
    let mut blocks: Vec<String> = Vec::new();
    for line in said.lines() {
        match (line, blocks.last_mut()) {
            ("  SUCCESS" | "  FAILED:", _) => blocks.push(String::new()),
            (line, Some(block)) => block.extend([line, "\n"]),
            (_, None) => {}
        }
    }
    blocks
}

/// Of one file. What a check failed with begins in the fourth column; anything else says that something is refused. A query that does not parse
/// is found when it is asked.
fn verdict(text: &str) -> Verdict {
    let lines = lines(text);
    let odd = |line: &&String| {
        let check = line.starts_with("    ");
        !check || line.contains(", err: ")
    };
    match lines.iter().find(odd) {
        Some(_) => Verdict::Refused(lines.join("\n")),
        None => Verdict::Ran(lines),
    }
}

/// The lines that both say the same, sorted: rules of several groups fail in promtool in an order that changes from run to run.
/// Why an evaluation or a template failed is said in other words.
fn lines(text: &str) -> Vec<String> {
    let failed = Regex::new("<error expanding template: .*?>\"").expect("a pattern");
    let text = failed.replace_all(text, "<error expanding template>\"");
    // Version 2 does not quote odd names.
    let quoted = Regex::new(r#"([{ ])"([^"\\]*)"="#).expect("a pattern");
    let text = quoted.replace_all(&text, "$1$2=");
    let told = |line: &&str| {
        let plain = line.trim_end();
        !plain.is_empty()
            && !plain.starts_with("Unit Testing:  ")
            && !plain.starts_with("  WARNING: no file match pattern")
    };
    let mut lines: Vec<String> = text.lines().filter(told).map(short).collect();
    lines.sort();
    lines
}

/// A line without the reason of a failed evaluation; that something does not parse is a refusal, and stays.
fn short(line: &str) -> String {
    match line.split_once(", err: ") {
        Some((_, reason)) if reason.contains(UNREAD) || reason.starts_with("labels ") => {
            line.into()
        }
        Some((head, _)) => head.to_string(),
        None => line.trim_end().to_string(),
    }
}
