//! Lints as data: each file of `lint/` says beside its lines what is found there, and nothing else may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use alerts::lint::{Contract, Finding, LINTS, Settings, Severity, check};

fn settings() -> Settings {
    let mut contract = Contract::default();
    for job in ["shop", "web", "night"] {
        let text = include_str!("lint/contract.txt");
        contract
            .declare_exposition(job, text)
            .expect("an exposition");
    }
    Settings {
        contract: Some(contract),
        scrape_interval_ms: 15_000,
        evaluation_interval_ms: 15_000,
    }
}

fn found(name: &str, text: &str, settings: &Settings) -> Vec<Finding> {
    let sources = [(name.to_string(), text.to_string())];
    let report = check(&sources, settings).unwrap_or_else(|errors| panic!("{errors:?}"));
    report.findings
}

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|end| end == "yml") {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            out.push((name, fs::read_to_string(&path).expect("readable")));
        }
    }
    out.sort();
    out
}

#[test]
fn lints_find_what_stands_beside_the_line_and_nothing_else() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let mut wanted: Vec<(usize, &str)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let lints = line.split_once("# finds ").map_or("", |(_, lints)| lints);
            wanted.extend(
                lints
                    .split(' ')
                    .filter(|lint| !lint.is_empty())
                    .map(|lint| (at + 1, lint)),
            );
        }
        let findings = found(&name, &text, &settings());
        let mut got: Vec<(usize, &str)> = findings.iter().map(|one| (one.line, one.lint)).collect();
        // Runbooks are asked for in their own file alone.
        got.retain(|(_, lint)| *lint != "missing-runbook" || name == "missing-runbook");
        wanted.sort_unstable();
        got.sort_unstable();
        if got != wanted {
            wrong.push(format!(
                "{name}: found {got:?}, wanted {wanted:?}: {findings:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_lint_has_a_file_of_cases_and_a_page() {
    let cases: BTreeSet<String> = files().into_iter().map(|(name, _)| name).collect();
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lints");
    for lint in LINTS.iter().filter(|lint| lint.id != "disable-comment") {
        assert!(
            cases.contains(lint.id),
            "alerts/tests/lint/{}.yml is missing",
            lint.id
        );
    }
    for lint in LINTS {
        let page = fs::read_to_string(pages.join(format!("{}.md", lint.id)));
        let page = page.unwrap_or_else(|error| panic!("docs/lints/{}.md: {error}", lint.id));
        assert!(
            page.starts_with(&format!("# {}\n", lint.id)),
            "{}: title",
            lint.id
        );
        assert!(
            page.contains(lint.summary),
            "{}: its page holds its summary",
            lint.id
        );
    }
    let ids: Vec<&str> = LINTS.iter().map(|lint| lint.id).collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

const RULES: &str = "groups:
  - name: shop
    rules:
      - alert: Down
        expr: up == 0
        annotations: { runbook_url: x }
      # firedrill disable counter-without-rate: looked at by hand
      - alert: Raw
        expr: orders_total > 5
        annotations: { runbook_url: x }
";

#[test]
fn a_comment_silences_its_rule_and_is_itself_looked_at() {
    let rows = [
        (
            "# firedrill disable counter-without-rate: looked at by hand",
            None,
        ),
        (
            "#firedrill  disable counter-without-rate: also without a space",
            None,
        ),
        (
            "# firedrill disable counter-without-rate:",
            Some(
                "disabling counter-without-rate needs a reason: `# firedrill disable counter-without-rate: <reason>`",
            ),
        ),
        (
            "# firedrill disable counter: why",
            Some("there is no lint \"counter\"; known are "),
        ),
        (
            "# firedrill enable counter-without-rate: why",
            Some("a comment for firedrill is `# firedrill disable <lint>: <reason>`"),
        ),
        (
            "# firedrill survives threshold 0 → 1: one is not enough",
            None,
        ),
        (
            "# firedrill survives speed: why",
            Some("there is no operator \"speed\"; known are threshold, "),
        ),
        (
            "# firedrill disable short-for: why",
            Some("short-for finds nothing here: remove the comment"),
        ),
        ("# firedrills are good", None),
    ];
    for (comment, wrong) in rows {
        let text = RULES.replace(
            "# firedrill disable counter-without-rate: looked at by hand",
            comment,
        );
        let findings = found("a.yml", &text, &settings());
        let about: Vec<&str> = findings
            .iter()
            .filter(|one| one.lint == "disable-comment")
            .map(|one| &*one.message)
            .collect();
        match wrong {
            None => assert!(about.is_empty(), "{comment}: {about:?}"),
            Some(message) => assert!(
                about.len() == 1 && about[0].starts_with(message),
                "{comment}: {about:?}"
            ),
        }
        let silenced = !findings
            .iter()
            .any(|one| one.lint == "counter-without-rate");
        let should = comment.contains("disable counter-without-rate: ");
        assert_eq!(silenced, should, "{comment}: {findings:?}");
    }
}

#[test]
fn a_comment_is_about_the_next_rule_or_above_everything_about_the_file() {
    let again = RULES.replace(
        "      - alert: Raw",
        "      # firedrill disable counter-without-rate: for another reason\n      - alert: Raw",
    );
    let findings = found("a.yml", &again, &settings());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0]
            .message
            .contains("already at line 7, for another reason"),
        "{findings:?}"
    );

    let other = RULES.replace(
        "      # firedrill disable counter-without-rate: looked at by hand\n",
        "",
    );
    let other = other.replace(
        "      - alert: Down",
        "      # firedrill disable counter-without-rate: of the first rule\n      - alert: Down",
    );
    let lints: Vec<&str> = found("a.yml", &other, &settings())
        .iter()
        .map(|one| one.lint)
        .collect();
    assert_eq!(lints, ["disable-comment", "counter-without-rate"]);

    let whole = format!(
        "# firedrill disable counter-without-rate: of the file\n{}",
        other.replace(
            "      # firedrill disable counter-without-rate: of the first rule\n",
            ""
        )
    );
    assert_eq!(found("a.yml", &whole, &settings()), []);
}

#[test]
fn without_a_contract_only_conventions_speak_and_what_was_not_looked_for_is_named() {
    let bare = Settings {
        contract: None,
        ..settings()
    };
    let sources = |text: &str| [("a.yml".to_string(), text.to_string())];
    let rules = RULES.replace("orders_total", "orders_failed_total");
    let report = check(&sources(&rules), &bare).expect("rules");
    assert_eq!(report.skipped, ["bucket-bounds", "unknown-metric"]);
    assert_eq!(
        (report.rules, report.silenced, report.findings.len()),
        (2, 1, 0)
    );
    let rows = [
        ("orders_failed_total > 5", 1),
        ("orders_total > 5", 0),
        ("delta(orders_failed_total[5m]) > 5", 0),
        ("disk_used / disk_total > 0.8", 0),
        ("node_memory_total > 5", 0),
        ("nobody_knows > 5", 0),
        ("rate(nobody_knows[5m]) > 5", 0),
        ("sum by (nobody) (knows) > 5", 0),
    ];
    for (expr, count) in rows {
        let text = format!("groups: [{{name: g, rules: [{{record: a, expr: '{expr}'}}]}}]");
        let report = check(&sources(&text), &bare).expect("rules");
        assert_eq!(
            report.findings.len(),
            count,
            "{expr}: {:?}",
            report.findings
        );
    }
}

#[test]
fn a_finding_points_into_expressions_of_several_lines() {
    let text = "groups:\n  - name: g\n    rules:\n      - record: a\n        expr: |\n          sum(\n            rate(queue_length[5m])\n          )\n";
    let findings = found("a.yml", text, &settings());
    let places: Vec<(usize, usize, Severity)> = findings
        .iter()
        .map(|one| (one.line, one.column, one.severity))
        .collect();
    assert_eq!(places, [(7, 13, Severity::Error)]);
}
