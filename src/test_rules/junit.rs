//! The results as JUnit XML: a suite per file, a case per test.

use std::{fs, path::Path};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Outcome;
use crate::exit::Error;

pub(super) fn write(path: &Path, outcome: &Outcome) -> Result<(), Error> {
    let failed = |error: String| Error::Internal(format!("{}: {error}", path.display()));
    let text = report(outcome).to_string();
    let text = text.map_err(|error| failed(error.to_string()))?;
    fs::write(path, text).map_err(|error| failed(error.to_string()))
}

fn report(outcome: &Outcome) -> Report {
    let mut report = Report::new("firedrill test rules");
    for file in &outcome.files {
        let mut suite = TestSuite::new(file.file.as_str());
        for test in &file.tests {
            let status = match &test.result {
                Ok(result) if result.failures.is_empty() => TestCaseStatus::success(),
                Ok(result) => {
                    let texts: Vec<String> =
                        result.failures.iter().map(ToString::to_string).collect();
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(result.failures[0].head().trim().to_owned());
                    status.set_description(texts.join("\n"));
                    status
                }
                Err(panic) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                    status.set_message(panic.as_str());
                    status
                }
            };
            let mut case = TestCase::new(test.title.as_str(), status);
            case.set_classname(file.file.as_str());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report
}
