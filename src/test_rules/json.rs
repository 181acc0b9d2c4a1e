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
        .map(|test| match &test.result {
            Ok(result) => json!({
                "name": test.title,
                "checks": result.checks,
                "failures": result.failures,
            }),
            Err(panic) => json!({ "name": test.title, "internal_error": panic }),
        })
        .collect();
    json!({
        "file": file.file,
        "verdict": match file.skipped() {
            true => "skipped",
            false => file.verdict().name(),
        },
        "warnings": file.warnings,
        "tests": tests,
    })
}
