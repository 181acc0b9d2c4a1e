//! Unit-test files changed at random: they are refused, pass and fail here as in promtool, with the same failing checks.
//!
//! What is changed are our own unit tests and those below `PROMTOOL_DIR`, with their rules. promtool is looked for as in the
//! other tests. `FIREDRILL_MUTANTS` sets how many files each promtool judges, `FIREDRILL_MUTANTS_SEED` which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod base;
#[path = "../prometheus/dice.rs"]
#[expect(dead_code, reason = "not all choices are made here")]
mod dice;
#[path = "../installed/failures.rs"]
mod failures;
#[expect(dead_code, reason = "rule files are checked elsewhere")]
#[path = "../installed/mod.rs"]
mod installed;
mod judge;
mod known;
mod mutate;
mod older;
mod tree;
mod words;
mod write;

use base::Base;
use dice::Dice;
use installed::Promtool;
use judge::Verdict;

/// Files that each promtool judges.
const CASES: u64 = 400;
/// How often promtool is asked again where it differs.
const AGAIN: usize = 8;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}"))
    })
}

/// Writes one changed file with its rules.
fn mutant(bases: &[Base], seed: u64, case: u64, folder: &Path) -> PathBuf {
    let mut dice = Dice::new(seed, case);
    let at = dice.below(bases.len() as i64) as usize;
    let mut base = bases[at].some_tests(&mut dice);
    for _ in 0..dice.pick(&[1, 1, 2, 3]) {
        if dice.percent(25) && !base.rules.is_empty() {
            let at = dice.below(base.rules.len() as i64) as usize;
            mutate::rule_file(&mut dice, &mut base.rules[at]);
        } else {
            mutate::test_file(&mut dice, &mut base.test);
        }
    }
    base.order_groups();
    let folder = folder.join(case.to_string());
    std::fs::create_dir(&folder).expect("a new folder");
    for (at, rules) in base.rules.iter().enumerate() {
        let text = write::document(&mut dice, rules);
        std::fs::write(folder.join(format!("r{at}.yml")), text).expect("writes");
    }
    let mut text = write::document(&mut dice, &base.test);
    if dice.percent(6) {
        text = mutate::line(&mut dice, &text);
    }
    let file = folder.join("t.yml");
    std::fs::write(&file, text).expect("writes");
    file
}

#[test]
fn changed_unit_tests_are_judged_as_by_promtool() {
    let seed = number("FIREDRILL_MUTANTS_SEED", 1);
    let cases = number("FIREDRILL_MUTANTS", CASES);
    let bases = base::all();
    for promtool in Promtool::installed() {
        let folder = tempfile::tempdir().expect("a folder");
        let files: Vec<PathBuf> = (0..cases)
            .map(|case| mutant(&bases, seed, case, folder.path()))
            .collect();
        let wrong = compare(&promtool, &files);
        if !wrong.is_empty() {
            // Kept, for a look at the files.
            let folder = folder.keep();
            panic!("{}:\n{}", folder.display(), wrong.join("\n"));
        }
    }
}

/// What differs without a reason.
fn compare(promtool: &Promtool, files: &[PathBuf]) -> Vec<String> {
    let (mut passed, mut failed, mut refused, mut wrong) = (0, 0, 0, Vec::new());
    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, theirs) in files.iter().zip(judge::theirs(promtool, files)) {
        let ours = judge::ours(file);
        match &theirs {
            Verdict::Refused(_) => refused += 1,
            Verdict::Ran(lines) if lines.is_empty() => passed += 1,
            Verdict::Ran(_) => failed += 1,
        }
        if judge::same(&ours, &theirs) {
            continue;
        }
        let why = known::explains(promtool.version, file, &ours, &theirs);
        let why = why.or_else(|| older::change(promtool, file));
        // Groups without an order of their own are taken in any.
        let why = why.or_else(|| {
            let mut again = (0..AGAIN).map(|_| judge::theirs(promtool, std::slice::from_ref(file)));
            let agreed = again.any(|said| said[0] == ours);
            agreed.then_some("promtool says one thing in one run and another in the next")
        });
        if let Some(why) = why {
            *explained.entry(why).or_insert(0) += 1;
        } else {
            wrong.push(shown(file, &ours, &theirs));
        }
    }
    println!(
        "{}: {} files: {passed} pass, {failed} fail, {refused} are refused, {} differ",
        promtool.path.display(),
        files.len(),
        wrong.len()
    );
    for (why, count) in explained {
        println!("    {count} differ: {why}");
    }
    wrong
}

fn shown(file: &Path, ours: &Verdict, theirs: &Verdict) -> String {
    let said = |verdict: &Verdict, other: &Verdict| match (verdict, other) {
        (Verdict::Refused(reason), _) => format!("refused: {reason}"),
        (Verdict::Ran(lines), Verdict::Ran(others)) => {
            let own: Vec<&str> = lines
                .iter()
                .filter(|line| !others.contains(line))
                .map(|line| &**line)
                .collect();
            format!("ran, alone saying:\n{}", own.join("\n"))
        }
        (Verdict::Ran(lines), _) => format!("ran:\n{}", lines.join("\n")),
    };
    format!(
        "===== {}\n--- ours {}\n--- promtool {}",
        file.display(),
        said(ours, theirs),
        said(theirs, ours)
    )
}
