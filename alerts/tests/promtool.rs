//! promtool's unit-test files: what they answer here is what promtool answers.
//!
//! Three sets of files: our own in `tests/unit/` with the exact text of their failures, those that are refused, and real ones below
//! `PROMTOOL_DIR`, whose `manifest.tsv` lists repository, commit, path, rule files and promtool's exit code. promtool itself
//! judges the same files where it is found: `FIREDRILL_PROMTOOL` (several, separated by `:`), otherwise `promtool` of `PATH`. It
//! says so when it is not there; with `FIREDRILL_REQUIRE_LIVE=1` that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use alerts::unit::{Files, Suite};
use expect_test::expect_file;

#[path = "installed/failures.rs"]
mod failures;
#[expect(dead_code, reason = "rule files are checked elsewhere")]
mod installed;
#[path = "unit/refused.rs"]
mod refused;

use failures::failures;
use installed::Promtool;

/// Exit code and standard error.
fn judged(promtool: &Promtool, file: &Path) -> (i32, String) {
    let output = Command::new(&promtool.path)
        .args(["test", "rules"])
        .arg(file)
        .output()
        .expect("promtool runs");
    let code = output.status.code().unwrap_or(-1);
    (code, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What both say the same: why an evaluation failed is said in other words.
fn comparable(text: &str) -> String {
    let lines = text.lines().filter(|line| *line != "  FAILED:");
    lines
        .map(|line| line.split(", err: ").next().unwrap_or(line).to_string() + "\n")
        .collect()
}

fn own() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unit");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "yml"))
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn our_own_files_pass_and_fail_as_their_names_say() {
    for file in own() {
        let text = failures(&file).unwrap_or_else(|refused| panic!("{refused}"));
        if stem(&file).starts_with("pass-") {
            assert_eq!(text, "", "{}", file.display());
        } else {
            assert_ne!(text, "", "{}", file.display());
            // promtool ends some lines with a space.
            expect_file![file.with_extension("txt")].assert_eq(&text.replace(" \n", "\n"));
        }
    }
}

#[test]
fn promtool_passes_the_tests_of_the_shipped_rules() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    for promtool in Promtool::installed() {
        for file in &files {
            let (code, text) = judged(&promtool, file);
            assert_eq!(code, 0, "{} {text}", promtool.path.display());
        }
    }
}

/// Our own files that promtool 2 judges otherwise, and why.
const OWN_CHANGES: [(&str, Change); 4] = [
    ("pass-alerts", Change::DefaultInterval),
    ("pass-expressions", Change::FuzzyCompare),
    ("fail-expressions", Change::DefaultInterval),
    ("fail-rule", Change::DefaultInterval),
];

#[test]
fn promtool_says_the_same_of_our_own_files() {
    for promtool in Promtool::installed() {
        for file in own() {
            let (code, text) = judged(&promtool, &file);
            let changed = OWN_CHANGES.iter().find(|(name, _)| *name == stem(&file));
            let ours = failures(&file).expect("our own files are not refused");
            let same = comparable(&text) == comparable(&ours) && (code == 0) == ours.is_empty();
            match changed {
                Some((_, why)) if promtool.major() < 3 => {
                    assert!(!same, "{}: no longer {why:?}", file.display());
                }
                _ => assert!(
                    same,
                    "{} {}:\n{text}\ninstead of\n{ours}",
                    promtool.path.display(),
                    file.display()
                ),
            }
        }
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_reason() {
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
            let there = pattern == "rules.yml";
            Ok(there.then(|| pattern.to_string()).into_iter().collect())
        }

        fn read(&self, path: &str) -> Result<String, String> {
            Ok(if path == "rules.yml" {
                refused::RULES
            } else {
                self.0
            }
            .to_string())
        }
    }
    let mut said = String::new();
    for case in refused::cases() {
        let errors = Suite::load("test.yml", &One(&case.text)).expect_err(&case.text);
        for error in errors {
            let text = error.to_string();
            said += &format!("{}\n\n", text.replace(" \n", "\n"));
        }
    }
    expect_file!["unit/refused.txt"].assert_eq(&said);
}

#[test]
fn promtool_refuses_what_is_refused_here() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rules.yml"), refused::RULES).expect("written");
    for promtool in Promtool::installed() {
        for case in refused::cases().iter().filter(|case| case.by_promtool) {
            let file = folder.path().join("test.yml");
            std::fs::write(&file, &case.text).expect("written");
            let (code, text) = judged(&promtool, &file);
            assert_ne!(
                code,
                0,
                "{}:\n{}\n{text}",
                promtool.path.display(),
                case.text
            );
        }
    }
}

/// What changed between Prometheus 2 and 3 so that a file is judged otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Ranges and lookback lost their left end.
    LeftOpen,
    /// `rate` multiplies in another order: the last digit differs, and numbers are compared exactly.
    Extrapolation,
    /// `interval` of a test is `evaluation_interval` where it is missing.
    DefaultInterval,
    /// Promtool 2 does not know the field.
    FuzzyCompare,
}

/// Real files of which promtool 2 and promtool 3 say different things.
const CHANGES: [(&str, Change); 8] = [
    ("etcd-io+etcd/contrib/mixin/test.yaml", Change::LeftOpen),
    (
        "redhat-appstudio+o11y/test/promql/tests/recording/caching_availability_recording_rules_test.corpus.yaml",
        Change::Extrapolation,
    ),
    (
        "redhat-appstudio+o11y/test/promql/tests/data_plane/kyverno_test.corpus.yaml",
        Change::LeftOpen,
    ),
    (
        "redhat-appstudio+o11y/test/promql/tests/data_plane/node_alerts_test.corpus.yaml",
        Change::LeftOpen,
    ),
    (
        "redhat-appstudio+o11y/test/promql/tests/data_plane/crashloopbackoff_test.corpus.yaml",
        Change::LeftOpen,
    ),
    (
        "kubernetes-monitoring+kubernetes-mixin/tests/absent_alert-test.yaml",
        Change::LeftOpen,
    ),
    (
        "kubernetes-monitoring+kubernetes-mixin/tests/tests.yaml",
        Change::LeftOpen,
    ),
    (
        "openshift+cluster-monitoring-operator/test/rules/bz1974830.corpus.yaml",
        Change::LeftOpen,
    ),
];

/// One real file: what became of it.
struct Real {
    name: String,
    file: PathBuf,
    recorded: i32,
    ours: Result<String, String>,
}

fn real() -> Vec<Real> {
    let Ok(folder) = std::env::var("PROMTOOL_DIR") else {
        println!("PROMTOOL_DIR is not set: no real files are run");
        return Vec::new();
    };
    let folder = Path::new(&folder);
    let manifest =
        std::fs::read_to_string(folder.join("manifest.tsv")).expect("manifest.tsv is readable");
    let rows = manifest.lines().skip(1).filter_map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [repository, _, path, _, code, ..] = columns[..] else {
            return None;
        };
        let name = format!("{}/{path}", repository.replace('/', "+"));
        let file = folder.join(&name);
        Some(Real {
            ours: failures(&file),
            recorded: code.parse().ok()?,
            name,
            file,
        })
    });
    rows.collect()
}

#[test]
fn real_files_give_promtools_outcome() {
    let files = real();
    let mut wrong = Vec::new();
    for real in &files {
        let changed = CHANGES.iter().any(|(name, _)| *name == real.name);
        let passes = real.ours.as_ref().is_ok_and(String::is_empty);
        if passes != (real.recorded == 0) && !changed {
            let said = match &real.ours {
                Ok(text) | Err(text) => text.lines().take(30).collect::<Vec<_>>().join("\n"),
            };
            wrong.push(format!("{}: recorded {}\n{said}", real.name, real.recorded));
        }
    }
    let passed = files.iter().filter(|real| real.ours == Ok(String::new()));
    println!(
        "{} real files, {} pass, {} otherwise than recorded, {} changed with version 3",
        files.len(),
        passed.count(),
        wrong.len(),
        CHANGES.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The same text of each failure, from promtool 3 itself; slow, because promtool is.
#[test]
fn promtool_says_the_same_of_real_files() {
    if std::env::var("PROMTOOL_DIR").is_err() {
        return println!("PROMTOOL_DIR is not set: no real files are run");
    }
    let mut wrong = Vec::new();
    for promtool in Promtool::installed()
        .iter()
        .filter(|promtool| promtool.major() >= 3)
    {
        for real in real() {
            let (code, text) = judged(promtool, &real.file);
            let (ours, refused) = match &real.ours {
                Ok(text) => (text.clone(), false),
                Err(text) => (text.clone(), true),
            };
            let same_text = refused || sorted(&text) == sorted(&ours);
            let passes = !refused && ours.is_empty();
            if (code == 0) != passes || !same_text {
                let short = |text: &str| text.lines().take(40).collect::<Vec<_>>().join("\n");
                wrong.push(format!(
                    "{}:\n{}\ninstead of\n{}",
                    real.name,
                    short(&ours),
                    short(&text)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files: {}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Lines in order: rules of several groups fail in promtool in an order that changes from run to run.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = comparable(text).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
