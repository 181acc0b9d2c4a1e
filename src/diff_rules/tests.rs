//! The report and its forms, from runs made up by hand.

use expect_test::{Expect, expect};

use super::*;
use crate::report::text::Style;

fn texts(file: &str) -> Texts {
    let text = format!("groups: [{{name: g, rules: [{file}]}}]");
    let set = RuleSet::from_sources([("rules.yml", &*text)]);
    Rules::new(set.unwrap_or_else(|errors| panic!("{errors:?}"))).texts
}

fn side(fired_at_s: f64, resolved_at_s: Option<f64>) -> Option<Side> {
    Some(Side {
        fired_at_s,
        resolved_at_s,
        firings: vec![Span {
            labels: BTreeMap::from([("severity".to_owned(), "P1".to_owned())]),
            pending_at_s: fired_at_s - 300.0,
            fired_at_s,
            resolved_at_s,
        }],
    })
}

fn incident(changes: &[Change], old: Option<Side>, new: Option<Side>) -> Incident {
    let later = |edge: fn(&Side) -> Option<f64>| {
        let by = edge(new.as_ref()?)? - edge(old.as_ref()?)?;
        Some(by).filter(|by| *by != 0.0)
    };
    Incident {
        changes: changes.iter().copied().collect(),
        fires_later_s: later(|side| Some(side.fired_at_s)),
        resolves_later_s: later(|side| side.resolved_at_s),
        labels: Vec::new(),
        old,
        new,
    }
}

fn row(id: &str, effect: Effect, incidents: Vec<Incident>) -> Row {
    let fails = matches!(effect, Effect::Breaks | Effect::StillFails);
    let said = Said {
        under: Which::New,
        verdict: Verdict::Fail,
        message: "fired at 17m, 1m5s too late".into(),
    };
    Row {
        scenario: "a".into(),
        seed: 1,
        alert: Identity {
            id: id.into(),
            branch: None,
        },
        names: ["Named".to_owned()].into(),
        expected: Expected::Must,
        budget_s: Some(345.0),
        old_detect_s: Some(313.4),
        new_detect_s: Some(410.0),
        effect,
        fault: fails.then_some(Fault::Late),
        findings: if fails { vec![said] } else { Vec::new() },
        incidents,
    }
}

fn run(scenario: &str, verdict: Verdict, rows: Vec<Row>) -> Run {
    let unknown = if verdict == Verdict::Unknown {
        vec!["holds is 3, but the scenario proves nothing below 500".to_owned()]
    } else {
        Vec::new()
    };
    let fired = rows
        .iter()
        .map(|row| (row.alert.clone(), row.names.clone()));
    Run {
        verdict,
        old: Some(Verdict::Pass),
        new: Some(Verdict::Pass),
        fired: fired.collect(),
        rows,
        ..Run::unknown(scenario, 1, unknown)
    }
}

fn report(runs: Vec<Run>) -> Report {
    let old = texts("{alert: Gone, expr: x}, {alert: Same, expr: x}, {alert: Other, expr: x}");
    let new = texts("{alert: Same, expr: x}, {alert: Other, expr: x, for: 1m}");
    let named = Named {
        old: "old".into(),
        new: "my rules".into(),
        flags: " --scenarios s".into(),
    };
    Report::new(runs, &old, &new, named)
}

fn check(report: &Report, expected: Expect) {
    let plain = text::render(report, Style { color: false });
    expected.assert_eq(&plain);
    let colored = text::render(report, Style { color: true });
    assert_ne!(colored, plain);
    let mut pieces = colored.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.map(|piece| piece.split_once('m').expect("an escape ends with m").1);
    assert_eq!(
        rest.fold(first, |text, piece| text + piece),
        plain,
        "colour changes nothing but colour"
    );
}

fn all_kinds() -> Vec<Run> {
    let mut never = row(
        "C",
        Effect::Ok,
        vec![incident(
            &[Change::ResolvesLater],
            side(600.0, Some(700.0)),
            side(600.0, None),
        )],
    );
    never.expected = Expected::May;
    let gone = incident(&[Change::Missing], side(2_000.0, None), None);
    let later = [Change::Later, Change::ResolvesLater];
    let later = incident(&later, side(645.0, Some(810.0)), side(742.5, Some(840.0)));
    let mut labels = incident(
        &[Change::Labels],
        side(645.0, Some(810.0)),
        side(645.0, Some(810.0)),
    );
    labels.labels = vec![LabelChange {
        name: "team".into(),
        old: ["".to_owned()].into(),
        new: ["a".to_owned(), "b".to_owned()].into(),
    }];
    vec![
        run(
            "a",
            Verdict::Pass,
            vec![never, row("D", Effect::Ok, vec![labels])],
        ),
        run(
            "b",
            Verdict::Fail,
            vec![row("B", Effect::Breaks, vec![later, gone])],
        ),
        run("c", Verdict::Unknown, Vec::new()),
    ]
}

#[test]
fn the_text_shows_the_heaviest_first_and_what_nothing_is_known_of() {
    check(
        &report(all_kinds()),
        expect![[r#"
            verdict       alert  scenario  seed  change                                           OLD  NEW    by     after/budget
            breaks: late  B      a         1     later, resolves 30 s later, and 1 more incident  645  742.5  +97.5  313→410/345
            ok            C      a         1     does not resolve                                 600  600           may
            ok            D      a         1     team (none) → a|b                                645  645           313→410/345

            OLD, NEW: second of the run at which it first fires; by: seconds that NEW is later; after/budget: seconds from symptom to firing under OLD→NEW, and the most that the scenario allows, or may or never where it need not or must not fire

            breaks: late B Named a seed 1
              ✗ fired at 17m, 1m5s too late
              see: firedrill run a --seed 1 --scenarios s --rules 'my rules'

            could not be judged:
              c seed 1: holds is 3, but the scenario proves nothing below 500

            not exercised here: only one side has it, and it never fired in the runs compared:
              only in OLD Gone (rules.yml:1)

            written differently, and no incident differs:
              Other (rules.yml:1): for; never fired

            fail: 3 runs compared; 3 differences: 1 breaking an expectation, 2 within what is expected; 1 run could not be judged whole
        "#]],
    );
}

#[test]
fn silence_is_told_from_equality() {
    check(
        &report(vec![run("a", Verdict::Pass, Vec::new())]),
        expect![[r#"
            not exercised here: only one side has it, and it never fired in the runs compared:
              only in OLD Gone (rules.yml:1)

            written differently, and no incident differs:
              Other (rules.yml:1): for; never fired

            pass: 1 run compared; no difference in any incident
        "#]],
    );
    let same = texts("{alert: Same, expr: x}");
    let pass = || vec![run("a", Verdict::Pass, Vec::new())];
    let equal = Report::new(pass(), &same, &same, Named::default());
    check(
        &equal,
        expect![[r#"
        pass: 1 run compared; no difference: OLD and NEW hold the same rules
    "#]],
    );
    let none = Report::new(Vec::new(), &same, &same, Named::default());
    assert_eq!(
        (none.verdict, &*none.summary()),
        (Verdict::Unknown, "0 runs compared")
    );
}

#[test]
fn a_rule_that_fails_in_several_runs_is_named_once() {
    let error = EvalError {
        file: "new/f.yml".into(),
        line: 7,
        group: "g".into(),
        rule: "Same".into(),
        t_ms: 0,
        reason: "many-to-many".into(),
    };
    let run = |name| Run {
        failed: vec![(Which::New, error.clone())],
        ..Run::unknown(name, 1, vec!["not evaluated".into()])
    };
    check(
        &report(vec![run("a"), run("b")]),
        expect![[r#"
            could not be evaluated:
              NEW Same (new/f.yml:7), so 2 runs not compared: many-to-many

            not exercised here: only one side has it, and it never fired in the runs compared:
              only in OLD Gone (rules.yml:1)

            written differently, and no incident differs:
              Other (rules.yml:1): for; never fired

            unknown: 0 runs compared; 2 runs could not be judged whole
        "#]],
    );
}

#[test]
fn markdown_holds_summary_table_and_folded_details() {
    let rendered = markdown::render(&report(all_kinds()));
    expect![[r#"
        ❌ **firedrill diff rules: fail**: 3 runs compared; 3 differences: 1 breaking an expectation, 2 within what is expected; 1 run could not be judged whole

        | verdict | alert | scenario | seed | change | OLD | NEW | by | after/budget |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | **breaks: late** | B | a | 1 | later, resolves 30 s later, and 1 more incident | 645 | 742.5 | +97.5 | 313→410/345 |
        | ok | C | a | 1 | does not resolve | 600 | 600 |  | may |
        | ok | D | a | 1 | team (none) → a&#124;b | 645 | 645 |  | 313→410/345 |

        <details><summary>why (1)</summary>

        - B Named a seed 1: fired at 17m, 1m5s too late; `firedrill run a --seed 1 --scenarios s --rules 'my rules'`

        </details>

        <details><summary>could not be judged (1)</summary>

        - c seed 1: holds is 3, but the scenario proves nothing below 500

        </details>

        <details><summary>not exercised here: only one side has it, and it never fired in the runs compared (1)</summary>

        - only in OLD Gone (rules.yml:1)

        </details>

        <details><summary>written differently, and no incident differs (1)</summary>

        - Other (rules.yml:1): for; never fired

        </details>

        <details><summary>columns</summary>

        - OLD, NEW: second of the run at which it first fires; by: seconds that NEW is later; after/budget: seconds from symptom to firing under OLD→NEW, and the most that the scenario allows, or may or never where it need not or must not fire

        </details>
    "#]].assert_eq(&rendered);
}

#[test]
fn markdown_stays_below_its_limit_and_names_the_rest() {
    for (alerts, scenarios, seeds, cut) in [(1, 1, 3_000, false), (20, 300, 1, true)] {
        let mut runs = Vec::new();
        for scenario in 0..scenarios {
            for seed in 1..=seeds {
                let rows = (0..alerts).map(|alert| Row {
                    scenario: format!("a-scenario-with-a-rather-long-name-{scenario}"),
                    seed,
                    ..row(
                        &format!("A-{alert}"),
                        Effect::Breaks,
                        vec![incident(
                            &[Change::Later],
                            side(645.0, None),
                            side(745.0, None),
                        )],
                    )
                });
                runs.push(run("a", Verdict::Fail, rows.collect()));
            }
        }
        let rendered = markdown::render(&report(runs));
        let length = rendered.chars().count();
        assert!(
            (45_000..=markdown::CHARACTERS_MAX).contains(&length),
            "{length}"
        );
        let rows = rendered
            .lines()
            .filter(|line| line.starts_with("| **breaks"))
            .count();
        let left = alerts * scenarios * usize::try_from(seeds).expect("small") - rows;
        let named = rendered.lines().find(|line| {
            line.starts_with(&format!("{left} differences did not fit: breaks: late A-"))
        });
        let named = named.unwrap_or_else(|| panic!("{rendered}"));
        assert_eq!(named.contains("more pair"), cut, "{named}");
        assert_eq!(
            rendered.matches("<details>").count(),
            rendered.matches("</details>").count()
        );
        assert!(rendered.contains("more line"));
    }
}

#[test]
fn nothing_of_the_input_is_read_as_markdown() {
    let mut odd = row("A|<b>_`x`", Effect::Breaks, Vec::new());
    odd.findings[0].message = "</details> | @all\n# head".into();
    let mut odd = report(vec![run("a", Verdict::Fail, vec![odd])]);
    odd.named.new = "a`b".into();
    let rendered = markdown::render(&odd);
    let row = rendered
        .lines()
        .find(|line| line.starts_with("| **breaks"))
        .expect("a row");
    assert_eq!(row.matches('|').count(), words::COLUMNS.len() + 1, "{row}");
    assert!(row.contains("A&#124;&lt;b&gt;&#95;&#96;x&#96;"), "{row}");
    assert!(
        rendered.contains("&lt;/details&gt; &#124; &#64;all &#35; head"),
        "{rendered}"
    );
    assert!(
        rendered.contains("``  firedrill run") || rendered.contains("`` firedrill run"),
        "{rendered}"
    );
}
