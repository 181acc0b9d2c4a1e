//! Each promtool that is installed: those of `FIREDRILL_PROMTOOL`, divided by `:`, else the one in `PATH`. Where there is none this
//! says so, and with `FIREDRILL_REQUIRE_LIVE=1` fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An installed promtool.
pub struct Promtool {
    pub path: PathBuf,
    /// Major and minor version.
    pub version: (u32, u32),
}

impl Promtool {
    /// Those that are to be asked.
    pub fn installed() -> Vec<Promtool> {
        let named = std::env::var("FIREDRILL_PROMTOOL").unwrap_or_else(|_| "promtool".into());
        let found: Vec<Promtool> = named.split(':').filter_map(Self::at).collect();
        if found.is_empty() {
            let required = std::env::var("FIREDRILL_REQUIRE_LIVE").is_ok_and(|value| value == "1");
            let todo = "install Debian's package `prometheus`, or set FIREDRILL_PROMTOOL";
            assert!(
                !required,
                "promtool is required and not found ({named}): {todo}"
            );
            println!("NOT RUN: no promtool ({named}); {todo}");
        }
        found
    }

    fn at(path: &str) -> Option<Promtool> {
        let output = Command::new(path).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        let version = text.strip_prefix("promtool, version ")?;
        let mut numbers = version.split('.').map(|number| number.parse().ok());
        let version = (numbers.next()??, numbers.next()??);
        Some(Promtool {
            path: path.into(),
            version,
        })
    }

    pub fn major(&self) -> u32 {
        self.version.0
    }

    /// For each text: promtool's reasons to refuse it, none when it is accepted.
    pub fn check(&self, texts: &[String]) -> Vec<Option<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let files: Vec<PathBuf> = (0..texts.len())
            .map(|at| folder.path().join(format!("{at}.yml")))
            .collect();
        for (file, text) in files.iter().zip(texts) {
            std::fs::write(file, text).expect("writes");
        }
        let output = Command::new(&self.path)
            .args(["check", "rules", "--lint=none"])
            .args(&files)
            .output()
            .expect("promtool runs");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let mut accepted: BTreeMap<&Path, bool> = BTreeMap::new();
        let mut current = Path::new("");
        for line in stdout.lines() {
            match line.strip_prefix("Checking ") {
                Some(file) => current = Path::new(file),
                None if line.contains("SUCCESS") => drop(accepted.insert(current, true)),
                None => {}
            }
        }
        let reasons = |file: &Path| {
            let name = file.display().to_string();
            let at = stderr.find(&format!("{name}: "));
            let rest = at.map_or("no reason given", |at| &stderr[at + name.len() + 2..]);
            rest.split("FAILED:")
                .next()
                .unwrap_or(rest)
                .trim()
                .to_string()
        };
        files
            .iter()
            .map(|file| (!accepted.contains_key(&**file)).then(|| reasons(file)))
            .collect()
    }
}
