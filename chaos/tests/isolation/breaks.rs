//! Breaks of the ledger's SQL, each a patch in `breaks/`: the named spec must see it.
//!
//! Invariant: a break changes a copy of the ledger, never the ledger. Left out: breaks of Rust code and of rules.

use std::{fs, path::Path, process::Command};

use crate::{
    Played,
    arm::Arm,
    committed, postgres,
    real::Real,
    say,
    simulated::Simulated,
    statements::{self, Statements},
};

/// Patch, and the spec that sees it.
const BREAKS: [(&str, &str); 5] = [
    ("drop-check-and-guard", "two-holds-for-the-last-room"),
    ("confirm-without-state-guard", "confirm-against-release"),
    ("sweep-without-state-guard", "confirm-against-the-sweep"),
    ("forget-row-policy", "tenants-are-kept-apart"),
    ("drop-idempotency-key", "one-idempotency-key-twice"),
];

/// A copy of the ledger's SQL with the patch applied, in a folder that goes with the value.
fn broken(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("ledger");
    for folder in ["", "migrations", "sql"] {
        fs::create_dir_all(copy.join(folder)).unwrap();
        for entry in fs::read_dir(postgres::ledger_dir().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "sql") {
                fs::copy(&path, copy.join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let patch = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../breaks/{name}.patch"));
    let out = Command::new("git")
        .arg("apply")
        .arg(patch.canonicalize().unwrap())
        .current_dir(dir.path())
        // Else the folder above, if it is a repository, would be meant.
        .env("GIT_CEILING_DIRECTORIES", dir.path().parent().unwrap())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    dir
}

/// What differs from the committed expectation in the spec that ought to see the break.
fn seen(arm: &mut dyn Arm, statements: &Statements, spec: &str) -> Vec<String> {
    let mut files = committed();
    for specs in files.values_mut() {
        specs.retain(|candidate| candidate.name == spec);
    }
    let played = Played::of(arm, statements, &files);
    assert!(played.permutations > 0, "there is no spec `{spec}`");
    played.differences
}

#[test]
fn each_break_has_its_row() {
    // Patches of Rust code and rules are others' business; what touches SQL alone is in the table.
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../breaks")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let touched: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("+++ "))
            .collect();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !touched.is_empty() && touched.iter().all(|file| file.trim().ends_with(".sql")) {
            assert!(
                BREAKS.iter().any(|(patch, _)| *patch == name),
                "{name}.patch is seen by no spec: add a row"
            );
        }
    }
}

#[test]
fn the_real_database_sees_each_sql_break_and_the_simulated_one_sees_the_same() {
    for (patch, spec) in BREAKS {
        let dir = broken(patch);
        let ledger = dir.path().join("ledger");
        let statements = statements::load(&ledger).unwrap();
        let mut simulated = Simulated::new(&ledger).unwrap();
        let on_simulated = seen(&mut simulated, &statements, spec);
        assert!(
            !on_simulated.is_empty(),
            "{patch}: the spec {spec} does not see it in the simulated database"
        );
        let Some(mut real) = Real::new("breaks", &ledger) else {
            continue;
        };
        let on_real = seen(&mut real, &statements, spec);
        assert!(
            !on_real.is_empty(),
            "{patch}: the spec {spec} does not see it in PostgreSQL"
        );
        assert_eq!(
            on_real.join("\n"),
            on_simulated.join("\n"),
            "{patch}: {spec} (PostgreSQL, simulated)"
        );
        say(&format!(
            "break {patch}: {} permutations of {spec} differ on both arms",
            on_real.len()
        ));
    }
}
