//! Real rule files against promtool's own verdict. `RULES_DIR` names a folder whose `manifest.tsv` lists, per file,
//! repository, commit, path, kind and promtool's exit code; without it there is nothing to run.

use std::path::Path;

use alerts::mutate::{Operator, mutants};
use alerts::rules::RuleSet;

#[test]
fn real_rule_files_load_where_promtool_accepts_them() {
    let Ok(folder) = std::env::var("RULES_DIR") else {
        println!("RULES_DIR is not set: nothing to run");
        return;
    };
    let folder = Path::new(&folder);
    let manifest =
        std::fs::read_to_string(folder.join("manifest.tsv")).expect("manifest.tsv is readable");
    let (mut agreed, mut refused, mut accepted) = (0, 0, 0);
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [repository, _, path, _, code] = columns[..] else {
            panic!("five columns expected: {row}")
        };
        let file = folder.join(repository.replace('/', "+")).join(path);
        match (RuleSet::load(&[&file]), code == "0") {
            (Ok(_), true) | (Err(_), false) => agreed += 1,
            (Ok(_), false) => {
                accepted += 1;
                println!("ACCEPTED what promtool refuses: {}", file.display());
            }
            (Err(errors), true) => {
                refused += 1;
                errors
                    .iter()
                    .for_each(|error| println!("REFUSED what promtool accepts: {error}"));
            }
        }
    }
    println!("TOTAL: {agreed} as promtool, {refused} refused, {accepted} accepted against it");
    assert!(
        accepted == 0,
        "{accepted} files that promtool refuses are accepted"
    );
}

#[test]
fn each_mutant_of_real_rules_differs_from_its_rule_in_one_place() {
    let Ok(folder) = std::env::var("RULES_DIR") else {
        println!("RULES_DIR is not set: nothing to run");
        return;
    };
    let pattern = format!("{folder}/**/*.y*ml");
    let (mut rules, mut found) = (0, 0);
    for path in glob::glob(&pattern).expect("a pattern").flatten() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let name = path.display().to_string();
        // What is no rule file is the other test's business.
        let Ok(all) = mutants(&[(name, text)], 60_000) else {
            continue;
        };
        rules += all.rules.places().count();
        for mutant in &all.mutants {
            let was = all.rules.rule(mutant.place).query.text();
            let (is, place) = (mutant.rule.query.text(), (mutant.line, mutant.column));
            let ends = |text: &str, end: &str| end.is_empty() || text.contains(end);
            let waits = matches!(mutant.operator, Operator::For | Operator::KeepFiringFor);
            assert_eq!(was == is, waits, "{}:{place:?}", path.display());
            let one = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                waits || ends(&one(was), &mutant.old),
                "{was}: {}",
                mutant.old
            );
            assert!(waits || ends(&one(is), &mutant.new), "{is}: {}", mutant.new);
        }
        found += all.mutants.len();
    }
    println!("TOTAL: {found} mutants of {rules} rules");
    assert!(found > rules);
}
