//! Ties the simulated database to PostgreSQL, in the manner of PostgreSQL's own isolation tester.
//!
//! `chaos/tests/specs/*.spec` hold interleavings and what PostgreSQL does in each. The simulated arm is held to that always,
//! PostgreSQL itself wherever there is one (`support/postgres.rs`). `UPDATE_EXPECT=1` records anew from PostgreSQL.
//! The files `pairs-*.spec` are generated from the statement files; the others are written by hand.

#[path = "../support/postgres.rs"]
mod postgres;

mod pairs;
mod play;
mod real;
mod spec;
mod statements;
mod world;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use play::Arm;
use spec::Spec;
use statements::Statements;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs")
}

fn updating() -> bool {
    env::var("UPDATE_EXPECT").as_deref() == Ok("1")
}

fn known() -> Statements {
    statements::load(&postgres::ledger_dir()).unwrap()
}

/// The committed specs whose file name begins so (`pairs-`), or does not.
fn committed(generated: bool) -> BTreeMap<String, Vec<Spec>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".spec") && name.starts_with("pairs-") == generated {
            let text = fs::read_to_string(&path).unwrap();
            let specs = spec::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.insert(name, specs);
        }
    }
    files
}

/// Plays specs and returns the number of permutations and the differences from what is recorded.
fn differences(arm: &mut dyn Arm, statements: &Statements, files: &BTreeMap<String, Vec<Spec>>) -> (usize, Vec<String>) {
    let (mut count, mut found) = (0, Vec::new());
    for (file, specs) in files {
        for spec in specs {
            for permutation in &spec.permutations {
                count += 1;
                let got = play::play(arm, statements, spec, permutation).unwrap_or_else(|error| vec![format!("! {error}")]);
                if got != permutation.expected {
                    let mut text = format!("{file}: spec {}\npermutation {}\n", spec.name, spec.title(permutation));
                    text.push_str(&diff(&permutation.expected, &got));
                    found.push(text);
                }
            }
        }
    }
    (count, found)
}

fn diff(expected: &[String], got: &[String]) -> String {
    let mut out = String::new();
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    for (mark, lines) in [(" ", &expected[..same]), ("-", &expected[same..]), ("+", &got[same..])] {
        for line in lines {
            out.push_str(&format!("{mark} {line}\n"));
        }
    }
    out
}

fn report(arm: &str, (count, found): (usize, Vec<String>), specs: usize) {
    for text in found.iter().take(20) {
        eprintln!("{text}");
    }
    assert!(
        found.is_empty(),
        "{} of {count} permutations ({specs} specs) differ on {arm} from what is recorded (- recorded, + now)",
        found.len()
    );
    eprintln!("isolation specs: {specs} on {arm}, {count} permutations");
}

fn on_postgresql(generated: bool) {
    let statements = known();
    let mut files = committed(generated);
    if updating() && generated {
        files = pairs::specs(&statements).unwrap();
    }
    let Some(mut arm) = real::Real::new("isolation specs", &postgres::ledger_dir()) else {
        return;
    };
    if updating() {
        for (name, specs) in &mut files {
            for spec in specs.iter_mut() {
                for index in 0..spec.permutations.len() {
                    let got = play::play(&mut arm, &statements, spec, &spec.permutations[index]);
                    spec.permutations[index].expected = got.unwrap_or_else(|error| panic!("{name}: {}: {error}", spec.name));
                }
            }
            let path = folder().join(name);
            let text = if generated {
                let texts: Vec<String> = specs.iter().map(spec::render).collect();
                format!("# Generated: UPDATE_EXPECT=1 cargo test -p chaos --test isolation\n\n{}", texts.join("\n"))
            } else {
                spec::with_expectations(&fs::read_to_string(&path).unwrap(), specs)
            };
            fs::write(path, text).unwrap();
        }
    }
    let name = format!("PostgreSQL {}", arm.version);
    report(&name, differences(&mut arm, &statements, &files), files.values().map(Vec::len).sum());
}

#[test]
fn postgresql_does_what_the_pair_specs_say() {
    on_postgresql(true);
}

#[test]
fn postgresql_does_what_the_specs_say() {
    on_postgresql(false);
}

#[test]
fn each_pair_of_statements_that_may_meet_in_a_row_has_its_spec() {
    let statements = known();
    let pairs = statements::meeting(&statements);
    let committed = committed(true);
    let covered = pairs::covered(committed.values().flatten());
    let missing: Vec<_> = pairs.keys().filter(|pair| !covered.contains(*pair)).collect();
    assert!(missing.is_empty(), "no spec for {missing:?}: UPDATE_EXPECT=1 with PostgreSQL records them");
    let bare = |specs: &BTreeMap<String, Vec<Spec>>| -> BTreeMap<String, Vec<Spec>> {
        let bare = |specs: &Vec<Spec>| specs.iter().map(Spec::bare).collect();
        specs.iter().map(|(name, specs)| (name.clone(), bare(specs))).collect()
    };
    let generated = pairs::specs(&statements).unwrap();
    assert!(bare(&committed) == generated, "the pair specs are not what the fixtures generate: UPDATE_EXPECT=1 records them");
    eprintln!("isolation specs: {} pairs covered", covered.len());
}
