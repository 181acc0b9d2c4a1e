//! The same seed twice, in two processes, gives the same recording; another seed gives another.

use serde_json::Value;

use crate::program::{binary, call, scenarios};

/// Left out where no optimised program is named: a debug build takes minutes for its 24 hours.
const LONG: &str = "healthy-day";

/// `recording_sha256` by scenario.
fn hashes(names: &[&str], seed: &str) -> Vec<(String, String)> {
    let args = [
        &["run"],
        names,
        &["--seed", seed, "--format", "json", "--quiet"],
    ]
    .concat();
    let report = call(&args).json();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let runs = report["runs"].as_array().expect("a list");
    runs.iter()
        .map(|run| (text(&run["scenario"]), text(&run["recording_sha256"])))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_recording_in_two_processes_and_another_seed_another() {
    let (_, named) = binary();
    let all = scenarios();
    let names: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|name| named || *name != LONG)
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    let (first, second, other) = (
        hashes(&names, "1"),
        hashes(&names, "1"),
        hashes(&names, "2"),
    );
    assert_eq!(
        first
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        names
    );
    assert_eq!(
        first, second,
        "the same seed diverged: `firedrill replay` on a bundle names the first frame"
    );
    for ((name, a), (_, b)) in first.iter().zip(&other) {
        assert_eq!(a.len(), 64, "{name} left no recording");
        assert_ne!(a, b, "{name}: another seed gave the same recording");
    }
    println!("{} scenarios repeat themselves", names.len());
}
