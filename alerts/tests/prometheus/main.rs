//! Differential test against the real server: random queries over random series, and each difference is an error here or a
//! listed change between versions (`docs/prometheus-versions.md`).
//!
//! Prometheus 3 is named by `FIREDRILL_PROMETHEUS_3`, Prometheus 2 by `FIREDRILL_PROMETHEUS` or found on the path. A test whose
//! server is missing says so; `FIREDRILL_REQUIRE_LIVE=1` makes a missing Prometheus 2 a failure.
//! `FIREDRILL_DIFFERENTIAL_CASES` sets how many queries are asked of each server, `FIREDRILL_DIFFERENTIAL_SEED` which.

mod answer;
mod blocks;
mod changes;
mod dice;
mod expr;
mod query;
mod remote_write;
mod search;
mod server;
mod words;
mod world;

use changes::{Changes, Version};
use server::Installation;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}"))
    })
}

#[test]
fn prometheus_3_gives_the_same_answers() {
    if let Some(found) = Installation::of_version_3() {
        search::run(&found);
    }
}

#[test]
fn prometheus_2_differs_only_as_listed() {
    if let Some(found) = Installation::of_version_2() {
        search::run(&found);
    }
}

#[test]
fn each_listed_change_shows_itself() {
    let tables = [Version::V2, Version::V3].map(|version| (version, Changes::since(version)));
    let mut wrong = Vec::new();
    let mut check = |who: &str, query: &str, got: String, want: &str| {
        if got != want {
            wrong.push(format!("{who}: {query}: {got} instead of {want}"));
        }
    };
    for (version, changes) in &tables {
        assert!(!changes.rows.is_empty(), "{version:?} has no changes");
        let store = changes.store();
        for row in &changes.rows {
            check("here", &row.query, changes.here(row, &store), &row.since);
        }
    }
    for found in Installation::of_version_2()
        .into_iter()
        .chain(Installation::of_version_3())
    {
        let server = blocks::serve(&found, tables[0].1.data.as_bytes());
        for (version, changes) in &tables {
            for row in &changes.rows {
                let got = changes::shown(&answer::theirs(&server, &row.query, row.when));
                match (Version::of(&found), version) {
                    (Some(own), version) if own == *version => {
                        check(&found.version, &row.query, got, &row.before);
                    }
                    // What 2.42 makes of the second table's queries stands in neither.
                    (Some(Version::V2), _) => {}
                    _ => check(&found.version, &row.query, got, &row.since),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
