//! The report for programs: `docs/run.schema.json` is its published schema.
//!
//! Invariant: exactly the keys of the schema; a new key changes the schema and the changelog first.

use super::Report;

/// One JSON document, indented, with a final newline.
pub fn render(report: &Report) -> String {
    match serde_json::to_string_pretty(report) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("a report has only string keys and numbers: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{
        super::{Finding, Verdict, tests::run},
        *,
    };

    #[test]
    fn a_report_has_exactly_the_published_shape() {
        let mut failed = run("outbox-publisher-down", 7);
        failed.verdict = Verdict::Fail;
        failed.findings = vec![Finding {
            verdict: Verdict::Fail,
            subject: "RESV-INV-004".into(),
            message: "did not fire".into(),
        }];
        expect![[r#"
            {
              "verdict": "fail",
              "runs": [
                {
                  "scenario": "outbox-publisher-down",
                  "seed": 7,
                  "verdict": "fail",
                  "alerts": [
                    {
                      "id": "RESV-INV-003",
                      "expected": "may",
                      "fired_at_s": null,
                      "budget_s": null,
                      "resolved_at_s": null
                    },
                    {
                      "id": "RESV-INV-004",
                      "expected": "must",
                      "fired_at_s": 4215.0,
                      "budget_s": 345.0,
                      "resolved_at_s": 5400.0
                    },
                    {
                      "id": "RESV-PLT-004",
                      "expected": "never",
                      "fired_at_s": null,
                      "budget_s": null,
                      "resolved_at_s": null
                    }
                  ],
                  "findings": [
                    {
                      "verdict": "fail",
                      "subject": "RESV-INV-004",
                      "message": "did not fire"
                    }
                  ],
                  "reach": {
                    "lock_waits": 12
                  },
                  "sim_seconds": 7200.0,
                  "cpu_seconds": 1.25,
                  "recording_sha256": "abababababababababababababababababababababababababababababababab"
                }
              ]
            }
        "#]].assert_eq(&render(&Report::new(vec![failed])));
    }
}
