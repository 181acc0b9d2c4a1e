//! Runs test files in the language of Prometheus' own PromQL tests: those of `tests/promql/` must pass whole; of those in the
//! folder that `PROMQLTEST_DIR` names, if any, none may fail, and the counts are printed per file. Below that: what the
//! language accepts, what it refuses, and that each kind of expectation can fail.

use std::path::{Path, PathBuf};

use alerts::promqltest::{Outcome, Report, Script};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "test"));
    files.sort();
    assert!(
        !files.is_empty(),
        "{}: no *.test in this folder",
        folder.display()
    );
    files
}

fn run(file: &Path) -> Report {
    let text = std::fs::read_to_string(file).expect("readable");
    let report = Script::parse(&text).and_then(|script| script.run());
    let report = report.unwrap_or_else(|error| panic!("{}:{error}", file.display()));
    assert!(!report.evals.is_empty(), "{}: no eval", file.display());
    report
}

#[test]
fn files_of_this_project_pass_whole() {
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql")) {
        let report = run(&file);
        let passed = |outcome: &Outcome| *outcome == Outcome::Passed;
        let evals = report.evals.iter();
        let bad: Vec<_> = evals.filter(|eval| !passed(&eval.outcome)).collect();
        assert!(bad.is_empty(), "{}: {bad:#?}", file.display());
    }
}

#[test]
fn no_eval_of_the_named_folder_fails() {
    let Ok(folder) = std::env::var("PROMQLTEST_DIR") else {
        println!("PROMQLTEST_DIR is not set: nothing to run");
        return;
    };
    let mut all = [0; 3];
    for file in files(Path::new(&folder)) {
        let report = run(&file);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for eval in &report.evals {
            let place = format!("{name}:{}: {}", eval.line, eval.query);
            match &eval.outcome {
                Outcome::Passed => {}
                Outcome::Failed(failure) => println!("FAILED {place}\n    {failure:?}"),
                Outcome::Refused(reason) => println!("refused {place}\n    {reason}"),
            }
        }
        let counts = [report.passed(), report.failed(), report.refused()];
        let [passed, failed, refused] = counts;
        println!("TOTAL {name}: {passed} passed, {failed} failed, {refused} refused");
        all.iter_mut()
            .zip(counts)
            .for_each(|(all, one)| *all += one);
    }
    let [passed, failed, refused] = all;
    println!("TOTAL: {passed} passed, {failed} failed, {refused} refused");
    assert_eq!(failed, 0, "see above");
    assert!(passed > 0, "nothing was evaluated");
}

/// What becomes of the last eval of a script that loads two series first: `passed`, `refused: …` or `failed: …`.
fn outcome(eval: &str) -> String {
    const LOADED: &str = "load 1m\n  up{job=\"a\"} 1 2 3 stale\n  up{job=\"b\"} 4+1x3\n  hist 1 {{schema:0}}\n\n\
                          load_with_nhcb 1m\n  req_bucket{le=\"1\"} 1 2\n  req_bucket{le=\"+Inf\"} 2 4\n  req_count 2 4\n\n";
    let report = Script::parse(&format!("{LOADED}{eval}\n")).and_then(|script| script.run());
    let report = match report {
        Ok(report) => report,
        Err(error) => return format!("error: {error}"),
    };
    match &report.evals.last().expect("an eval").outcome {
        Outcome::Passed => "passed".into(),
        Outcome::Refused(reason) => format!("refused: {reason}"),
        Outcome::Failed(failure) => format!("failed: {}", failure.reason),
    }
}

#[test]
fn an_eval_passes_only_when_all_that_is_expected_holds() {
    for (eval, want) in [
        (
            "eval instant at 1m up\n up{job=\"a\"} 2\n up{job=\"b\"} 5",
            "passed",
        ),
        (
            "eval instant at 1m up\n up{job=\"b\"} 5\n up{job=\"a\"} 2.000001",
            "passed",
        ),
        (
            "eval instant at 1m up\n up{job=\"b\"} 5\n up{job=\"a\"} 2.00001",
            "failed: up{job=\"a\"} is 2 instead of 2.00001",
        ),
        (
            "eval instant at 1m up\n up{job=\"b\"} 5",
            "failed: unexpected series up{job=\"a\"}",
        ),
        (
            "eval instant at 3m up\n up{job=\"b\"} 7\n up{job=\"a\"} 3",
            "failed: series up{job=\"a\"} is missing",
        ),
        ("eval instant at 3m up\n up{job=\"b\"} 7", "passed"),
        ("eval instant at 1m 2 + 3\n 5", "passed"),
        ("eval instant at 1m 2 + 3\n 6", "failed: 5 instead of 6"),
        (
            "eval instant at 1m 2 + 3\n {} 5",
            "failed: answered a scalar",
        ),
        (
            "eval instant at 1m vector(5)\n 5",
            "failed: expected a scalar",
        ),
        ("eval instant at 1m nosuch", "passed"),
        (
            "eval instant at 1m nosuch\n nosuch 1",
            "failed: series nosuch is missing",
        ),
        ("eval instant at 1m vector(0/0)\n {} NaN", "passed"),
        (
            "eval instant at 1m vector(0/0)\n {} 1",
            "failed: {} is NaN instead of 1",
        ),
        (
            "eval instant at 1m vector(1)\n {} NaN",
            "failed: {} is 1 instead of NaN",
        ),
        (
            "eval instant at 1m vector(0)\n {} 1e-300",
            "failed: {} is 0 instead of 1e-300",
        ),
        // The order of an answer.
        (
            "eval instant at 1m sort(up)\n expect ordered\n up{job=\"a\"} 2\n up{job=\"b\"} 5",
            "passed",
        ),
        (
            "eval instant at 1m sort(up)\n expect ordered\n up{job=\"b\"} 5\n up{job=\"a\"} 2",
            "failed: up{job=\"a\"} is number 1 instead of 2",
        ),
        (
            "eval_ordered instant at 1m sort_desc(up)\n up{job=\"b\"} 5\n up{job=\"a\"} 2",
            "passed",
        ),
        (
            "eval_ordered instant at 1m sort_desc(up)\n up{job=\"a\"} 2\n up{job=\"b\"} 5",
            "failed: up{job=\"b\"} is number 1 instead of 2",
        ),
        // Ranges.
        (
            "eval range from 0 to 4m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 3",
            "passed",
        ),
        (
            "eval range from 0 to 4m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 3 _ _",
            "passed",
        ),
        (
            "eval range from 0 to 4m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 3 3",
            "failed: up{job=\"a\"} has 3 values instead of 4",
        ),
        (
            "eval range from 0 to 4m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 _ 3",
            "failed: up{job=\"a\"} is 3@120s instead of 3@180s",
        ),
        (
            "eval range from 0 to 1m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 3",
            "failed: 3 values of up{job=\"a\"} are expected at 2 instants",
        ),
        ("eval range from 0 to 1m step 1m 7\n {} 7 7", "passed"),
        (
            "eval range from 0 to 1m step 1m 7\n 7",
            "failed: expected a scalar",
        ),
        (
            "eval range from 1m to 1m step 1m up{job=\"a\"}\n up{job=\"a\"} 2",
            "passed",
        ),
        // Strings and range vectors.
        (
            "eval instant at 1m \"a\\n\"\n expect string \"a\\n\"",
            "passed",
        ),
        (
            "eval instant at 1m \"a\"\n expect string `b`",
            "failed: answered the string \"a\"",
        ),
        (
            "eval instant at 1m \"a\"",
            "failed: answered the string \"a\"",
        ),
        (
            "eval instant at 2m up{job=\"a\"}[2m]\n expect range vector from 1m to 2m step 1m\n up{job=\"a\"} 2 3",
            "passed",
        ),
        (
            "eval instant at 2m up{job=\"a\"}[2m]\n expect range vector from 1m to 2m step 1m\n up{job=\"a\"} 2 4",
            "failed: up{job=\"a\"} is 3@120s instead of 4@120s",
        ),
        (
            "eval instant at 2m up{job=\"a\"}[2m]\n up{job=\"a\"} 2",
            "failed: answered a range vector",
        ),
        // Errors.
        (
            "eval instant at 1m up{job=\"a\"} + on() up\n expect fail",
            "passed",
        ),
        ("eval_fail instant at 1m up{job=\"a\"} + on() up", "passed"),
        (
            "eval_fail instant at 1m up{job=\"a\"} + on() up\n expected_fail_regexp many.*many",
            "passed",
        ),
        (
            "eval_fail instant at 1m up{job=\"a\"} + on() up\n expected_fail_regexp ^many$",
            "failed: expected an error like \"^many$\"",
        ),
        (
            "eval_fail instant at 1m up{job=\"a\"} + on() up\n expected_fail_message many",
            "failed: expected an error \"many\"",
        ),
        (
            "eval instant at 1m up{job=\"a\"} + on() up\n expect fail regex: many.*many",
            "passed",
        ),
        (
            "eval instant at 1m up{job=\"a\"} + on() up\n expect fail msg: many",
            "failed: expected an error \"many\"",
        ),
        (
            "eval instant at 1m up{job=\"a\"} + on() up",
            "failed: the query failed",
        ),
        (
            "eval instant at 1m up\n expect fail",
            "failed: expected an error",
        ),
        (
            "eval range from 0 to 1m step 1m up\n expect fail",
            "failed: expected an error",
        ),
        ("eval instant at 1m sum(", "failed: the query failed"),
        // Only native histograms and what is experimental is refused; classic ones are loaded beside native ones.
        (
            "eval instant at 1m hist",
            "refused: native histograms are not supported",
        ),
        (
            "eval instant at 1m req",
            "refused: native histograms are not supported",
        ),
        (
            "eval instant at 1m {__name__=~\"req|up\"}",
            "refused: native histograms are not supported",
        ),
        (
            "eval instant at 1m up\n up{job=\"a\"} {{schema:0}}",
            "refused: native histograms are not supported",
        ),
        (
            "eval instant at 1m histogram_quantile(0.5, req_bucket)\n {} 1",
            "passed",
        ),
        ("eval instant at 1m req_count\n req_count 4", "passed"),
    ] {
        let got = outcome(eval);
        assert!(got.starts_with(want), "{eval}: {got}");
    }
}

#[test]
fn warnings_and_infos_are_checked_when_they_are_expected() {
    const WARNS: &str = "quantile(2, up)\n {} Inf\n";
    const INFORMS: &str = "rate(up{job=\"b\"}[3m])\n {job=\"b\"} 0.016666666666666666\n";
    const SILENT: &str = "count(up)\n {} 1\n";
    for (query, lines, want) in [
        (WARNS, "", "passed"),
        (WARNS, "expect warn", "passed"),
        (WARNS, "expect warn\nexpect no_info", "passed"),
        (WARNS, "expect no_warn", "failed: unexpected warning"),
        (WARNS, "expect info", "failed: expected an info of any text"),
        (
            WARNS,
            "expect warn regex: quantile value should be between 0 and 1, got 2",
            "passed",
        ),
        (
            WARNS,
            "expect warn msg: something else",
            "failed: expected a warning \"something else\"",
        ),
        (
            WARNS,
            "expect warn regex: ^quantile$",
            "failed: expected a warning like \"^quantile$\"",
        ),
        (
            INFORMS,
            "expect info regex: might not be a counter",
            "passed",
        ),
        (INFORMS, "expect no_info", "failed: unexpected info"),
        (SILENT, "expect no_info\nexpect no_warn", "passed"),
        (
            SILENT,
            "expect warn",
            "failed: expected a warning of any text",
        ),
        (
            SILENT,
            "expect info",
            "failed: expected an info of any text",
        ),
    ] {
        let (query, rows) = query.split_once('\n').expect("two lines");
        let got =
            outcome(&format!("eval instant at 3m {query}\n{lines}\n{rows}").replace("\n\n", "\n"));
        assert!(got.starts_with(want), "{query} {lines}: {got}");
    }
    for (verb, query, want) in [
        ("eval_warn", WARNS, "passed"),
        ("eval_warn", SILENT, "failed: expected a warning"),
        ("eval_info", INFORMS, "passed"),
        ("eval_info", SILENT, "failed: expected an info"),
    ] {
        let got = outcome(&format!("{verb} instant at 3m {query}"));
        assert!(got.starts_with(want), "{verb} {query}: {got}");
    }
}

#[test]
fn what_is_not_of_the_language_is_refused_with_its_line() {
    for (text, want) in [
        ("laod 1m", "1: invalid command \"laod 1m\""),
        ("\n\nload", "3: invalid load command"),
        ("load 5", "1: invalid step: not a valid duration: \"5\""),
        (
            "load 300y",
            "1: invalid step: duration out of range: \"300y\"",
        ),
        ("load_with_x 5m", "1: invalid load command"),
        (
            "load 1m\n  up 1 2\n  up{ 3",
            "3: column 5: unexpected character '3'",
        ),
        ("load 1m\n  {} 1", "2: a series needs a name or a label"),
        (
            "load 1m\n  up 1x4000000000",
            "2: column 4: more than 10000000 values",
        ),
        (
            "load 1m\n  up 1\neval instant at 1m up",
            "3: column 6: unexpected \"instant\"",
        ),
        ("load 1m\n  up@st 0s", "2: the @st line has no sample line"),
        ("eval instant up", "1: invalid eval command"),
        (
            "eval instant at up",
            "1: invalid time: not a valid duration: \"up\"",
        ),
        (
            "eval instant at -5m up",
            "1: invalid time: not a valid duration: \"-5m\"",
        ),
        ("eval instant at 5m", "1: invalid eval command"),
        (
            "eval_ordered range from 0 to 1m step 1m up",
            "1: invalid eval command",
        ),
        ("eval_nosuch instant at 5m up", "1: invalid eval command"),
        (
            "eval range from 5m to 1m step 1m up",
            "1: the end 1m is before the start 5m",
        ),
        (
            "eval range from 0 to 290y step 1ms up",
            "1: 9145440000001 steps are more than 11000",
        ),
        (
            "eval instant at 5m up\n up 1 2",
            "2: an instant has one value per series",
        ),
        ("eval instant at 5m up\n up", "2: the series has no value"),
        ("eval instant at 5m up\n expect", "2: invalid expect"),
        (
            "eval instant at 5m up\n expect nothing",
            "2: invalid expect",
        ),
        (
            "eval instant at 5m up\n expect fail\n expect fail",
            "3: only one expect fail is allowed",
        ),
        (
            "eval instant at 5m up\n expect warn\n expect no_warn",
            "3: warn and no_warn cannot be expected together",
        ),
        (
            "eval instant at 5m up\n expect fail text: a",
            "2: \"text: a\" is neither",
        ),
        (
            "eval instant at 5m up\n expect fail regex: (",
            "2: invalid regular expression",
        ),
        (
            "eval instant at 5m up\n expect string a",
            "2: expect string needs a quoted string",
        ),
        (
            "eval instant at 5m up\n expect range vector from 1m",
            "2: invalid eval command",
        ),
        // A comment ends a block, as it does for Prometheus.
        (
            "load 1m\n  up 1\n# more\n  up{a=\"b\"} 2",
            "4: invalid command",
        ),
        (
            "load 1m\n  up 1 2 3\n\nload 1m\n  up 5",
            "5: up: sample at 0 ms is not after the last one at 120000 ms",
        ),
        (
            "load 290y\n  up 1x2",
            "2: a sample lies past the end of time",
        ),
    ] {
        let error = Script::parse(text).and_then(|script| script.run());
        let error = error.err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert!(error.to_string().starts_with(want), "{text}: {error}");
    }
}
