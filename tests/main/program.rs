//! Runs the program and reads what it says.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What one call of the program left.
pub struct Outcome {
    /// Exit code; 255 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// The binary to drive, and whether it was named from outside.
pub fn binary() -> (PathBuf, bool) {
    match std::env::var_os("FIREDRILL_BIN") {
        Some(path) => (path.into(), true),
        None => (env!("CARGO_BIN_EXE_firedrill").into(), false),
    }
}

/// Calls the program in a folder.
pub fn call_in(folder: &Path, args: &[&str]) -> Outcome {
    let output = Command::new(binary().0)
        .args(args)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .output()
        .expect("the program starts");
    Outcome {
        code: output.status.code().unwrap_or(255),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Calls the program in an empty folder, far from the repository.
pub fn call(args: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = call_in(folder.path(), args);
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "{args:?} wrote into the current folder");
    outcome
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all scenarios, in order.
pub fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("scenarios"))
        .expect("scenarios/ is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
