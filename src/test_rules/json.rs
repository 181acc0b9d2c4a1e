//! The report as JSON, in the form of `docs/test-rules.schema.json`.

use serde_json::{Value, json};

use super::{FileOutcome, Outcome};

pub(super) fn render(outcome: &Outcome) -> String {
    let (seen, all) = outcome.coverage.branches();
    let report = json!({
        "verdict": outcome.verdict().name(),
        "files": outcome.files.iter().map(file).collect::<Vec<_>>(),
        "coverage": {
            "seen": seen,
            "branches": all,
            "percent": outcome.coverage.percent(),
            "rules": outcome.coverage.rules(),
        },
    });
    format!("{report:#}\n")
}

fn file(file: &FileOutcome) -> Value {
    let tests: Vec<Value> = file
        .tests
        .iter()
        .map(|(at, result)| {
            let name = file.suite.file.tests[*at].title(*at);
            match result {
                Ok(result) => json!({
                    "name": name,
                    "checks": result.checks,
                    "failures": result.failures,
                }),
                Err(panic) => json!({ "name": name, "internal_error": panic }),
            }
        })
        .collect();
    json!({
        "file": file.suite.file.file,
        "verdict": match file.skipped() {
            true => "skipped",
            false => file.verdict().name(),
        },
        "warnings": file.suite.warnings,
        "tests": tests,
    })
}
