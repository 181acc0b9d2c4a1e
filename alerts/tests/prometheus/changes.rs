//! What changed between versions of Prometheus: the tables of `docs/prometheus-versions.md`, read from there.
//!
//! A difference is explained when the query, made as small as the difference allows, holds what a row says and
//! differs in the way it says. Each row has a query that shows the change on the documented data.

use std::path::Path;

use regex::Regex;

use crate::answer::{self, Difference, Reply, When};
use crate::server::Installation;
use alerts::openmetrics;
use alerts::promql::Source;
use alerts::series::SeriesStore;

/// Whose answers differ from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

impl Version {
    /// Which table of changes is between this server and us: none for one later than those listed.
    pub fn of(found: &Installation) -> Option<Version> {
        match &found.version {
            version if version.starts_with("2.42.") => Some(Version::V2),
            version if version.starts_with("3.5.") => Some(Version::V3),
            _ => None,
        }
    }
}

/// One row.
pub struct Change {
    /// What changed, in words.
    pub what: String,
    /// What the smallest query holds; nothing where random queries do not meet the change.
    pattern: Option<Regex>,
    /// How the answers differ; any way when empty.
    kinds: Vec<Difference>,
    /// The query that shows it.
    pub query: String,
    /// When it is asked.
    pub when: When,
    /// Its answer by the older version.
    pub before: String,
    /// Its answer by the newer version, and here.
    pub since: String,
}

/// When the queries are asked.
const START_MS: i64 = 600_500;

/// The document: its rows and its data.
pub struct Changes {
    pub rows: Vec<Change>,
    pub data: String,
}

impl Changes {
    /// The table of what changed between this version and the next one listed.
    pub fn since(version: Version) -> Changes {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus-versions.md");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, data) = text.split_once("```openmetrics\n").expect("data");
        let (data, _) = data.split_once("```").expect("the end of the data");
        let mut parts = text.split("\n## ");
        let table = match version {
            Version::V2 => parts.next(),
            Version::V3 => parts.nth(1),
        };
        let table = table.expect("a table");
        let rows = table.lines().filter(|line| line.starts_with("| "));
        Changes {
            rows: rows.skip(1).map(row).collect(),
            data: data.to_string(),
        }
    }

    /// All that changed after this version.
    pub fn after(version: Version) -> Changes {
        let mut all = Changes::since(version);
        if version == Version::V2 {
            all.rows.extend(Changes::since(Version::V3).rows);
        }
        all
    }

    /// The row that explains a difference of this query.
    pub fn explain(&self, query: &str, difference: Difference) -> Option<usize> {
        self.rows.iter().position(|row| {
            let holds = |pattern: &Regex| pattern.is_match(query);
            row.pattern.as_ref().is_some_and(holds)
                && match difference {
                    // What is said beside the same answer is no difference of any kind.
                    Difference::Notes => row.kinds.contains(&difference),
                    _ => row.kinds.is_empty() || row.kinds.contains(&difference),
                }
        })
    }

    pub fn store(&self) -> SeriesStore {
        openmetrics::read(self.data.as_bytes()).expect("the data is OpenMetrics")
    }

    /// Our answer to a row's query.
    pub fn here(&self, row: &Change, store: &SeriesStore) -> String {
        shown(&answer::ours(&Source::new(store), &row.query, row.when))
    }
}

/// `| what | pattern | kinds | query | 2.42 | 3 |`, code in back-ticks, `\|` for a bar.
fn row(line: &str) -> Change {
    let line = line.replace("\\|", "\u{1}");
    let cells: Vec<String> = line
        .trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect();
    let code = |cell: &str| cell.trim_matches('`').to_string();
    let [what, pattern, kinds, query, before, since] = &cells[..] else {
        panic!("six cells expected: {line}");
    };
    let kind = |word: &str| match word {
        "refusal" => Difference::Refusal,
        "series" => Difference::Labels,
        "instants" => Difference::Instants,
        "values" => Difference::Values,
        "notes" => Difference::Notes,
        other => panic!("no kind of difference: {other:?}"),
    };
    Change {
        what: what.clone(),
        pattern: (pattern != "-").then(|| Regex::new(&code(pattern)).expect("a pattern")),
        kinds: match kinds.as_str() {
            "any" => Vec::new(),
            kinds => kinds.split(", ").map(kind).collect(),
        },
        query: code(query.trim_end_matches(", in steps")),
        when: match query.ends_with(", in steps") {
            true => When::Range {
                start_ms: START_MS,
                end_ms: START_MS + 60_000,
                step_ms: 30_000,
            },
            false => When::At(START_MS),
        },
        before: code(before),
        since: code(since),
    }
}

/// An answer in one line, as the table has it.
pub fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Refused(_) => "refused".into(),
        Reply::Text(text) => format!("{text:?}"),
        Reply::Series(series) if series.is_empty() => "nothing".into(),
        Reply::Series(series) => {
            let mut rows: Vec<String> = series
                .iter()
                .map(|(labels, samples)| {
                    let values = samples.iter().map(|(_, value)| value.to_string());
                    format!("{labels} {}", values.collect::<Vec<_>>().join(" "))
                })
                .collect();
            rows.sort();
            rows.join("; ")
        }
    }
}
