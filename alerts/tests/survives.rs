//! Comments about survivors: which mutants they are about, and which comments are refused.

use alerts::mutate::{DROPPED, mutants};
use expect_test::expect;

#[test]
fn a_comment_is_about_one_rule_and_one_operator_or_one_change() {
    let text = "groups:\n- name: g\n  rules:\n  # firedrill survives threshold 3 → 6: nobody asks for more\n  # firedrill survives comparison: whole numbers\n  - alert: A\n    expr: x > 3\n  - alert: B\n    # firedrill survives matcher {a=\"1\"} -> nothing: there is one\n    expr: x{a=\"1\"} > 3\n";
    let found = mutants(&[("r.yml".into(), text.into())], 15_000).expect("rules");
    let covered: Vec<Vec<String>> = found
        .comments
        .iter()
        .map(|comment| {
            let mutants = found.mutants.iter().filter(|mutant| comment.covers(mutant));
            mutants
                .map(|mutant| format!("{} {} → {}", mutant.line, mutant.old, mutant.new))
                .collect()
        })
        .collect();
    assert_eq!(
        covered,
        [
            vec!["7 3 → 6"],
            vec!["7 > → >=", "7 > → <"],
            vec!["10 {a=\"1\"} → "],
        ]
    );
    assert_eq!(found.comments[2].change.as_ref().expect("one").1, DROPPED);
}

#[test]
fn comments_that_cannot_be_followed_are_refused_all_at_once() {
    let text = "# firedrill survives for: above everything\ngroups:\n- name: g\n  rules:\n  # firedrill survives speed: no operator\n  # firedrill survives for\n  # firedrill survives for:\n  # firedrill survives threshold 3 6: no arrow\n  # firedrill survives threshold: all\n  # firedrill survives threshold 3 → 6: one\n  - alert: A\n    expr: x > 3\n";
    let errors = mutants(&[("r.yml".into(), text.into())], 15_000).expect_err("refused");
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        r.yml:1:1: stands in front of no rule: put it above or into the rule
          | # firedrill survives for: above everything
          | ^
        r.yml:5:3: there is no operator "speed"; known are threshold, comparison, for, keep_firing_for, window, matcher, label, quantile, branch, rate
          |   # firedrill survives speed: no operator
          |   ^
        r.yml:6:3: a comment about survivors is `# firedrill survives for: <reason>` or `# firedrill survives for <old> → <new>: <reason>`
          |   # firedrill survives for
          |   ^
        r.yml:7:3: that for survives needs a reason: `# firedrill survives for: <reason>`
          |   # firedrill survives for:
          |   ^
        r.yml:8:3: a comment about survivors is `# firedrill survives threshold: <reason>` or `# firedrill survives threshold <old> → <new>: <reason>`
          |   # firedrill survives threshold 3 6: no arrow
          |   ^
        r.yml:10:3: line 9 says already why threshold survives here: keep one of the two
          |   # firedrill survives threshold 3 → 6: one
          |   ^"#]].assert_eq(&shown.join("\n"));
}
