//! Ties the simulated database to PostgreSQL, in the manner of PostgreSQL's own isolation tester.
//!
//! `chaos/tests/specs/*.spec` hold interleavings and what PostgreSQL does in each. The simulated arm is held to that always,
//! PostgreSQL itself wherever there is one (`support/postgres.rs`). `UPDATE_EXPECT=1` records anew from PostgreSQL.
//! The files `pairs-*.spec` are generated from the statement files; the others are written by hand.
//! Left out: SQL that the ledger does not use.

#[path = "../support/postgres.rs"]
mod postgres;

mod arm;
mod binary;
mod breaks;
mod pairs;
mod play;
mod random;
mod real;
mod simulated;
mod spec;
mod statements;
mod world;

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use arm::Arm;
use real::Real;
use simulated::Simulated;
use spec::Spec;
use statements::Statements;

/// Specs by file name.
type Files = BTreeMap<String, Vec<Spec>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs")
}

fn is_generated(file: &str) -> bool {
    file.starts_with("pairs-")
}

/// Past the test harness, which would keep it to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The ledger's statements as they are.
fn ledger() -> Statements {
    statements::load(&postgres::ledger_dir()).unwrap()
}

/// The committed specs.
fn committed() -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".spec") {
            let text = fs::read_to_string(&path).unwrap();
            let specs = spec::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.insert(name, specs);
        }
    }
    files
}

/// What playing specs came to.
#[derive(Default)]
struct Played {
    specs: usize,
    permutations: usize,
    /// One text per permutation that was not as recorded.
    differences: Vec<String>,
}

impl Played {
    fn of(arm: &mut dyn Arm, statements: &Statements, files: &Files) -> Played {
        let mut played = Played::default();
        for (file, specs) in files {
            for spec in specs {
                played.specs += 1;
                let mut before = None;
                for permutation in &spec.permutations {
                    played.permutations += 1;
                    let got = play::play(arm, statements, spec, permutation, &mut before)
                        .unwrap_or_else(|error| vec![format!("! {error}")]);
                    if got != permutation.expected {
                        let title = spec.title(permutation);
                        let lines = diff(&permutation.expected, &got);
                        played.differences.push(format!(
                            "{file}: spec {}\npermutation {title}\n{lines}",
                            spec.name
                        ));
                    }
                }
            }
        }
        played
    }

    fn and(mut self, other: Played) -> Played {
        self.specs += other.specs;
        self.permutations += other.permutations;
        self.differences.extend(other.differences);
        self
    }

    /// Prints the first differences and says how many there are.
    fn verdict(&self, arm: &str) -> Result<(), String> {
        for text in self.differences.iter().take(40) {
            say(text);
        }
        match self.differences.len() {
            0 => Ok(()),
            n => Err(format!(
                "{n} of {} permutations differ on {arm} (- recorded, + now)",
                self.permutations
            )),
        }
    }
}

/// Lines in common at the start, then what is recorded and what came instead.
fn diff(expected: &[String], got: &[String]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let marked = [
        (" ", &expected[..same]),
        ("-", &expected[same..]),
        ("+", &got[same..]),
    ];
    marked
        .iter()
        .flat_map(|(mark, lines)| lines.iter().map(move |line| format!("{mark} {line}\n")))
        .collect()
}

/// Plays on PostgreSQL, pairs and the rest side by side; `None` where there is none.
fn on_postgresql(statements: &Statements, files: &Files) -> Option<(String, Played)> {
    let (pairs, rest): (Files, Files) = files
        .clone()
        .into_iter()
        .partition(|(name, _)| is_generated(name));
    let play = |files: &Files| {
        let mut arm = Real::new("isolation specs", &postgres::ledger_dir())?;
        let played = Played::of(&mut arm, statements, files);
        Some((arm.version, played))
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| play(&rest));
        let (version, played) = play(&pairs)?;
        let (_, more) = other.join().unwrap()?;
        Some((version, played.and(more)))
    })
}

/// Writes PostgreSQL's outcomes into the files.
fn record(statements: &Statements) {
    let mut files = committed();
    files.retain(|name, _| !is_generated(name));
    files.extend(pairs::specs(statements).unwrap());
    let mut arm =
        Real::new("recording", &postgres::ledger_dir()).expect("UPDATE_EXPECT=1 needs PostgreSQL");
    for (name, specs) in &mut files {
        for spec in specs.iter_mut() {
            let mut before = None;
            for index in 0..spec.permutations.len() {
                let got = play::play(
                    &mut arm,
                    statements,
                    spec,
                    &spec.permutations[index],
                    &mut before,
                );
                spec.permutations[index].expected =
                    got.unwrap_or_else(|error| panic!("{name}: {}: {error}", spec.name));
            }
        }
        let path = folder().join(name);
        let text = if is_generated(name) {
            let texts: Vec<String> = specs.iter().map(spec::render).collect();
            format!(
                "# Generated: UPDATE_EXPECT=1 cargo test -p chaos --test isolation both_arms\n\n{}",
                texts.join("\n")
            )
        } else {
            spec::with_expectations(&fs::read_to_string(&path).unwrap(), specs)
        };
        fs::write(path, text).unwrap();
    }
}

#[test]
fn the_specs_hold_on_both_arms() {
    let statements = ledger();
    if env::var("UPDATE_EXPECT").as_deref() == Ok("1") {
        record(&statements);
    }
    let files = committed();
    let mut simulated = Simulated::new(&postgres::ledger_dir()).unwrap();
    let played = Played::of(&mut simulated, &statements, &files);
    let mut verdicts = vec![played.verdict("the simulated database")];
    let on_real = match on_postgresql(&statements, &files) {
        Some((version, real)) => {
            verdicts.push(real.verdict(&format!("PostgreSQL {version}")));
            format!("{} on PostgreSQL {version}", real.specs)
        }
        None => "none on PostgreSQL".to_owned(),
    };
    let (specs, permutations) = (played.specs, played.permutations);
    let pairs = pairs::covered(files.values().flatten()).len();
    say(&format!(
        "isolation specs: {specs} on the simulated engine, {on_real}, {pairs} pairs covered ({permutations} permutations)"
    ));
    let failed: Vec<String> = verdicts.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("; "));
}

#[test]
fn each_pair_of_statements_that_may_meet_in_a_row_has_its_spec() {
    let statements = ledger();
    let mut files = committed();
    files.retain(|name, _| is_generated(name));
    let covered = pairs::covered(files.values().flatten());
    let pairs = statements::meeting(&statements);
    let missing: Vec<_> = pairs
        .keys()
        .filter(|pair| !covered.contains(*pair))
        .collect();
    assert!(
        missing.is_empty(),
        "no spec for {missing:?}: UPDATE_EXPECT=1 with PostgreSQL records them"
    );
    for specs in files.values_mut() {
        *specs = specs.iter().map(Spec::bare).collect();
    }
    let generated = pairs::specs(&statements).unwrap();
    assert!(
        files == generated,
        "the pair specs are not what the fixtures generate: UPDATE_EXPECT=1 with PostgreSQL records them"
    );
}

#[test]
fn a_database_of_the_harness_is_the_tests_own_and_its_sessions_have_the_services_limits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Some(server) = postgres::live("harness").await else {
            return;
        };
        let dir = postgres::ledger_dir();
        let (one, other) = (
            server.database(&dir).await.unwrap(),
            server.database(&dir).await.unwrap(),
        );
        assert_ne!(one.url("ledger_app"), other.url("ledger_app"));
        let mut worker = one
            .connect("ledger_worker", postgres::SERVICE)
            .await
            .unwrap();
        let shown = ["statement_timeout", "lock_timeout", "deadlock_timeout"];
        for (setting, want) in shown.into_iter().zip(["800ms", "700ms", "200ms"]) {
            let sql = sqlx::AssertSqlSafe(format!("SHOW {setting}"));
            let got: String = sqlx::query_scalar(sql)
                .fetch_one(&mut worker)
                .await
                .unwrap();
            assert_eq!(got, want, "{setting}");
        }
        sqlx::query("UPDATE job_runs SET succeeded_at = '2001-01-01'")
            .execute(&mut worker)
            .await
            .unwrap();
        let mut elsewhere =
            <sqlx::PgConnection as sqlx::Connection>::connect(&other.url("ledger_worker"))
                .await
                .unwrap();
        let sql = "SELECT count(*) FROM job_runs WHERE succeeded_at < now() - interval '1 day'";
        let late: i64 = sqlx::query_scalar(sql)
            .fetch_one(&mut elsewhere)
            .await
            .unwrap();
        assert_eq!(late, 0);
    });
}
