//! The rules that the repository sets itself, as tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::program::{root, scenarios};

/// Longest Rust file, in lines.
const LINES_MAX: usize = 500;

/// Longer files, each with the reason for which it stays whole.
const LONGER: [(&str, &str); 12] = [
    (
        "alerts/tests/rules.rs",
        "tables of both sides of each rule's edges",
    ),
    (
        "chaos/src/checkers/tests.rs",
        "tables of histories, one row each",
    ),
    (
        "chaos/src/judge/day.rs",
        "a ledger played for the tests of judges, never built into the program",
    ),
    (
        "chaos/src/simdb/bind.rs",
        "the SQL subset's expressions, one arm each",
    ),
    (
        "chaos/src/simdb/database.rs",
        "one database: sessions, requests and waits over one state",
    ),
    (
        "chaos/src/simdb/ddl.rs",
        "the clauses of schema changes, one arm each",
    ),
    (
        "chaos/src/simdb/ddl_constraint.rs",
        "each kind of constraint and index: added, dropped, checked",
    ),
    (
        "chaos/src/simdb/ddl_table.rs",
        "the clauses of CREATE and ALTER TABLE, one arm each",
    ),
    (
        "chaos/src/simdb/execute.rs",
        "the steps of one statement over one state",
    ),
    (
        "chaos/src/simdb/select.rs",
        "the clauses of SELECT, one arm each",
    ),
    (
        "ledger/tests/live/cases.rs",
        "a table of cases against the real database",
    ),
    (
        "tests/main/test_rules.rs",
        "transcripts, whole, one after the other",
    ),
];

/// Alerts that no scenario needs yet, since the part of the service that they speak of is not there. The list can only shrink.
const WITHOUT_SCENARIO: [&str; 18] = [
    "ORD-001",
    "ORD-002",
    "ORD-003",
    "ORD-004",
    "ORD-005",
    "RESV-INV-007",
    "RESV-INV-008",
    "RESV-INV-009",
    "RESV-INV-010",
    "RESV-INV-011",
    "RESV-INV-012",
    "RESV-INV-013",
    "RESV-INV-014",
    "RESV-PLT-001",
    "RESV-PLT-003",
    "RESV-PLT-005",
    "RESV-PLT-006",
    "RESV-PLT-007",
];

/// Folders that are no part of the repository.
const OUTSIDE: [&str; 3] = ["target", ".git", "store"];

/// Every text file: path relative to the root, and its text.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !OUTSIDE.contains(&&*name) && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path)
                && name != ".git"
            {
                found.push((relative(&path), text));
            }
        }
    }
    found.sort();
    assert!(
        found.len() > 100,
        "the repository has more files than {}",
        found.len()
    );
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .expect("below the root")
        .to_string_lossy()
        .into_owned()
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn text_is_plain() {
    let mut complaints = Vec::new();
    for (path, text) in files() {
        if text.contains('\r') {
            complaints.push(format!("{path}: CR at a line's end"));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            complaints.push(format!("{path}: the last line does not end"));
        }
        // In a patch, an empty line of context is one space.
        let trailing = |line: &str| line.ends_with([' ', '\t']) && !path.ends_with(".patch");
        if let Some(index) = text.lines().position(trailing) {
            complaints.push(format!("{path}:{}: white space at the end", index + 1));
        }
    }
    none(complaints);
}

#[test]
fn a_rust_file_is_short_and_says_what_it_is() {
    let mut complaints = Vec::new();
    for (path, text) in files().iter().filter(|(path, _)| path.ends_with(".rs")) {
        let lines = text.lines().count();
        let reason = LONGER.iter().find(|(longer, _)| longer == path);
        match reason {
            None if lines > LINES_MAX => {
                complaints.push(format!("{path}: {lines} lines, more than {LINES_MAX}"))
            }
            Some(_) if lines <= LINES_MAX => {
                complaints.push(format!("{path}: {lines} lines, no longer too long"))
            }
            _ => {}
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{path}: does not open with what it is (`//!`)"));
        }
    }
    none(complaints);
}

#[test]
fn nothing_is_left_undone_and_nothing_names_a_machine() {
    // Put together here, so that this file does not name them.
    let banned = [
        ["to", "do!"].concat(),
        ["unimple", "mented!"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["/ho", "me/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["/Us", "ers/"].concat(),
    ];
    let mut complaints = Vec::new();
    for (path, text) in files()
        .iter()
        .filter(|(path, _)| path != "clippy.toml" && path != "Cargo.toml")
    {
        for (index, line) in text.lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(&***word)) {
                complaints.push(format!("{path}:{}: {word}", index + 1));
            }
        }
    }
    none(complaints);
}

#[test]
fn dependencies_come_from_the_public_registry() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock is there");
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    let other: Vec<&str> = sources
        .filter(|source| !source.starts_with("\"registry+https://github.com/rust-lang/"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn every_rule_has_a_scenario_that_needs_it_or_is_listed() {
    let texts: Vec<(String, String)> = files();
    let scenarios: Vec<&String> = texts
        .iter()
        .filter(|(path, _)| path.starts_with("scenarios/"))
        .map(|(_, text)| text)
        .collect();
    let rules = texts.iter().filter(|(path, _)| {
        path.starts_with("alerts/rules/") && !path.starts_with("alerts/rules/tests/")
    });
    let mut judged = BTreeSet::new();
    let mut complaints = Vec::new();
    for (path, text) in rules {
        for line in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("alert_id:"))
        {
            let id = line.trim().trim_matches(['"', '\'']);
            let needed = scenarios
                .iter()
                .any(|text| text.contains(&format!("alert = \"{id}\"")));
            match (needed, WITHOUT_SCENARIO.contains(&id)) {
                (false, false) => complaints.push(format!("{path}: no scenario must fire {id}")),
                (true, true) => {
                    complaints.push(format!("{id} has a scenario: take it off the list"))
                }
                _ => {}
            }
            judged.insert(id.to_owned());
        }
    }
    let gone = WITHOUT_SCENARIO.iter().filter(|id| !judged.contains(**id));
    complaints.extend(gone.map(|id| format!("{id} is listed and has no rule")));
    none(complaints);
    assert!(judged.len() >= 26, "{judged:?}");
}

#[test]
fn the_readme_lists_every_scenario_and_every_option() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is there");
    let mut complaints = Vec::new();
    for name in scenarios() {
        if !readme.contains(&format!("| `{name}` |")) {
            complaints.push(format!("README.md: no row for the scenario {name}"));
        }
    }
    let commands: [&[&str]; 5] = [
        &["diff", "rules"],
        &["run"],
        &["replay"],
        &["export", "openmetrics"],
        &["export", "tests"],
    ];
    for command in commands {
        let help = crate::program::call(&[command, &["--help"]].concat()).stdout;
        let words = help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2);
        for option in
            words.map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-'))
        {
            if option != "--help" && !readme.contains(option) {
                complaints.push(format!(
                    "README.md: no word of {} {option}",
                    command.join(" ")
                ));
            }
        }
    }
    none(complaints);
}

#[test]
fn every_break_is_judged() {
    let mut kept: Vec<String> = files()
        .iter()
        .filter_map(|(path, _)| {
            path.strip_prefix("breaks/")
                .filter(|name| name.ends_with(".patch"))
        })
        .map(str::to_owned)
        .collect();
    kept.sort();
    let mut judged = crate::breaks::patches();
    judged.sort();
    assert_eq!(
        kept, judged,
        "breaks/*.patch and the table of tests/main/breaks.rs"
    );
}
