//! Findings as SARIF 2.1.0, the form that code scanning reads.

use alerts::lint::{Finding, LINTS, Report, Severity};
use serde_json::{Value, json};

pub(super) fn render(report: &Report) -> String {
    let rules: Vec<Value> = LINTS
        .iter()
        .map(|lint| {
            json!({
                "id": lint.id,
                "shortDescription": { "text": lint.summary },
                "helpUri": format!("docs/lints/{}.md", lint.id),
                "defaultConfiguration": { "level": level(lint.severity) },
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "firedrill", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn result(finding: &Finding) -> Value {
    json!({
        "ruleId": finding.lint,
        "ruleIndex": LINTS.iter().position(|lint| lint.id == finding.lint),
        "level": level(finding.severity),
        "message": { "text": finding.message },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&finding.file) },
                "region": { "startLine": finding.line, "startColumn": finding.column },
            },
        }],
    })
}

/// A path as a URI reference: what a URI gives a meaning of its own is written as bytes.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.strip_prefix("./")
        .unwrap_or(path)
        .bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
