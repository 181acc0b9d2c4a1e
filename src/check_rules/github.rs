//! Findings as workflow commands of GitHub Actions, which shows ten annotations of a kind for a step and drops the rest.

use std::fmt::Write;

use alerts::lint::{Report, Severity};

/// So many of a kind are shown.
const SHOWN_MAX: usize = 10;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let kinds = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Info, "notice"),
    ];
    for (severity, command) in kinds {
        let all: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .collect();
        // The last place says what is not shown.
        let shown = if all.len() > SHOWN_MAX {
            SHOWN_MAX - 1
        } else {
            all.len()
        };
        for finding in &all[..shown] {
            let _ = writeln!(
                out,
                "::{command} file={},line={},col={},title={}::{}",
                property(&finding.file),
                finding.line,
                finding.column,
                property(finding.lint),
                data(&finding.message)
            );
        }
        if shown < all.len() {
            let _ = writeln!(
                out,
                "::{command} title=firedrill::{} more of this kind; `firedrill check rules` lists them",
                all.len() - shown
            );
        }
    }
    out
}

/// What would end the command is escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
