//! Where verdicts differ on purpose, and what changed between versions of promtool.

use std::path::Path;

use alerts::unit::TestFile;

use crate::judge::Verdict;

/// Refused here: what the refusal says, below which version of promtool it differs, and why that is right.
const OURS: [(&str, (u32, u32), &str); 7] = [
    (
        "invalid regular expression in label_replace()",
        ANY,
        "promtool parses only; every evaluation fails",
    ),
    (
        "must answer a scalar or an instant vector",
        ANY,
        "promtool parses only; every evaluation fails",
    ),
    (
        " is missing",
        ANY,
        "a rule file that is not there: promtool warns and tests without it",
    ),
    (
        "not supported",
        ANY,
        "native histograms and experimental functions",
    ),
    (
        "aliases stand for more than",
        ANY,
        "the bound differs from go-yaml's",
    ),
    ("nested more than", ANY, "the bound differs from go-yaml's"),
    (
        "a rule must have one of `alert` and `record`",
        (2, 55),
        "a name of nothing is nothing since 2.55, before it was the text `null`",
    ),
];
const ANY: (u32, u32) = (u32::MAX, 0);

/// Refused by promtool below this version (major and minor): what the refusal says.
const THEIRS: [((u32, u32), &str); 7] = [
    (
        (2, 53),
        "field query_offset not found in type rulefmt.RuleGroup",
    ),
    ((3, 0), "field labels not found in type rulefmt.RuleGroup"),
    ((3, 0), "parse error: unexpected string \""),
    ((3, 0), "parse error: unexpected duration \""),
    ((3, 0), "invalid label name"),
    ((3, 0), "invalid annotation name"),
    ((3, 0), "invalid recording rule name"),
];

/// Why these verdicts of a file may differ.
pub fn explains(
    version: (u32, u32),
    file: &Path,
    ours: &Verdict,
    theirs: &Verdict,
) -> Option<&'static str> {
    match (ours, theirs) {
        (Verdict::Refused(reason), Verdict::Ran(lines)) => {
            let known = OURS
                .iter()
                .find(|(needle, below, _)| version < *below && reason.contains(needle));
            known
                .map(|(.., why)| *why)
                .or_else(|| unreached(file, lines))
        }
        (Verdict::Ran(_), Verdict::Refused(reason)) => refused_there(version, reason),
        _ => None,
    }
}

/// promtool reads what it needs when it needs it.
fn unreached(file: &Path, lines: &[String]) -> Option<&'static str> {
    let text = std::fs::read_to_string(file).expect("readable");
    let name = file.display().to_string();
    match TestFile::parse(&name, &text) {
        Ok((_, tests)) if tests.is_empty() => {
            Some("promtool reads rule files when it comes to a test")
        }
        Err(errors) => {
            let late =
                |reason: &str| reason.starts_with("expr: ") || reason.starts_with("labels: ");
            let ended = lines.iter().any(|line| line.starts_with("    rule: "));
            let unseen = ended && errors.iter().all(|error| late(&error.reason));
            unseen.then_some(
                "promtool reads an expression when it comes to it, and a rule failed before",
            )
        }
        Ok(_) => None,
    }
}

/// Each of the reasons is a change.
fn refused_there(version: (u32, u32), reason: &str) -> Option<&'static str> {
    let reasons = reason.lines().filter(|line| {
        let check = line.starts_with("    ") && !line.contains(", err: ");
        !check && !line.ends_with("yaml: unmarshal errors:")
    });
    let changes: Option<Vec<&str>> = reasons
        .map(|line| {
            let known = THEIRS
                .iter()
                .find(|(since, needle)| version < *since && line.contains(needle));
            known.map(|(_, needle)| *needle)
        })
        .collect();
    changes?.first().copied()
}
