//! Runs test files in the language of Prometheus' own PromQL tests: those of `tests/promql/`, and those of the folder that
//! `PROMQLTEST_DIR` names, if any.
//!
//! Each evaluation passes, fails, or is refused (native histograms, experimental functions). Files of this project must pass
//! whole; for the others the counts are printed per file and `PROMQLTEST_MIN` may state how many must pass.
//! Every instant evaluation is repeated as one of three instants at once, which must answer the same. Warnings and infos
//! that a file expects are not checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alerts::labels::Labels;
use alerts::number::{STALE, is_stale};
use alerts::promql::{Answer, Column, Options, Query, Source};
use alerts::rules::parse_duration;
use alerts::series::SeriesStore;

mod notation;

use notation::{number, series, values};

#[derive(Debug, PartialEq)]
enum Outcome {
    Passed,
    Failed(String),
    Refused(String),
}

/// One `eval` and what it expects.
#[derive(Debug, Default)]
struct Eval {
    line: usize,
    query: String,
    /// Start, end, step; an instant has step 0.
    when: (i64, i64, i64),
    fail: bool,
    ordered: bool,
    text: Option<String>,
    range_vector: Option<(i64, i64, i64)>,
    /// Series and values, or a scalar under no labels.
    rows: Vec<(Option<Labels>, Vec<f64>)>,
    native: bool,
}

struct Tests {
    store: SeriesStore,
    native: Vec<Labels>,
    results: Vec<(usize, String, Outcome)>,
}

fn seconds(text: &str) -> i64 {
    match text.parse::<f64>() {
        Ok(seconds) => (seconds * 1000.0) as i64,
        Err(_) => match text.strip_prefix('-') {
            Some(rest) => -seconds(rest),
            None => parse_duration(text).unwrap_or_else(|error| panic!("{error}")),
        },
    }
}

impl Tests {
    fn run(text: &str) -> Tests {
        let mut tests = Tests {
            store: SeriesStore::new(),
            native: Vec::new(),
            results: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].trim();
            let first = at;
            at += 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut block = Vec::new();
            while at < lines.len() && !lines[at].trim().is_empty() && !is_command(lines[at]) {
                if !lines[at].trim().starts_with('#') {
                    block.push(lines[at].trim());
                }
                at += 1;
            }
            if line == "clear" {
                tests.store = SeriesStore::new();
                tests.native.clear();
            } else if let Some(step) = line.strip_prefix("load ") {
                tests.load(seconds(step.trim()), &block);
            } else if line.starts_with("load_with_nhcb") {
                tests
                    .native
                    .extend(block.iter().filter_map(|line| Some(series(line)?.0)));
            } else {
                let eval = tests.read(first + 1, line, &block);
                let outcome = tests.check(&eval);
                tests.results.push((eval.line, eval.query, outcome));
            }
        }
        tests
    }

    fn load(&mut self, step_ms: i64, block: &[&str]) {
        // Of two lines for one series the later counts.
        let mut loaded: Vec<(Labels, Vec<(f64, bool)>)> = Vec::new();
        for line in block {
            let Some((labels, rest)) = series(line) else {
                panic!("cannot read series: {line}")
            };
            let Some(values) = values(rest) else {
                self.native.push(labels);
                continue;
            };
            match loaded.iter_mut().find(|(have, _)| *have == labels) {
                Some((_, place)) => *place = values,
                None => loaded.push((labels, values)),
            }
        }
        for (labels, values) in loaded {
            for (at, (value, _)) in values
                .into_iter()
                .enumerate()
                .filter(|(_, (_, written))| *written)
            {
                self.store
                    .append(&labels, at as i64 * step_ms, value)
                    .expect("in order");
            }
        }
    }

    fn read(&self, line: usize, command: &str, block: &[&str]) -> Eval {
        let mut eval = Eval {
            line,
            ..Eval::default()
        };
        let (verb, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        eval.fail = verb == "eval_fail";
        eval.ordered = verb == "eval_ordered";
        let mut words = rest.trim_start();
        let mut word = || {
            let (head, tail) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
            words = tail.trim_start();
            head.to_string()
        };
        let instant = word() == "instant";
        word();
        let start = seconds(&word());
        eval.when = if instant {
            (start, start, 0)
        } else {
            word();
            let end = seconds(&word());
            word();
            (start, end, seconds(&word()))
        };
        eval.query = words.to_string();
        for line in block {
            match line.strip_prefix("expect ") {
                Some(expect) if expect.starts_with("fail") => eval.fail = true,
                Some("ordered") => eval.ordered = true,
                Some(expect) if expect.starts_with("string ") => {
                    let quoted = expect.trim_start_matches("string ").trim();
                    eval.text =
                        match Query::parse(quoted).map(|query| query.at(&empty(), &options(), 0)) {
                            Ok(Ok(Answer::Text(text))) => Some(text),
                            _ => Some(quoted.to_string()),
                        };
                }
                Some(expect) if expect.starts_with("range vector") => {
                    let words: Vec<&str> = expect.split_whitespace().collect();
                    eval.range_vector =
                        Some((seconds(words[3]), seconds(words[5]), seconds(words[7])));
                }
                Some(_) => {}
                None => self.row(&mut eval, line),
            }
        }
        eval
    }

    fn row(&self, eval: &mut Eval, line: &str) {
        if line.contains("{{") {
            eval.native = true;
        } else if let Some(value) = number(line) {
            eval.rows.push((None, vec![value]));
        } else if let Some((labels, rest)) = series(line) {
            let read = values(rest).unwrap_or_else(|| panic!("cannot read values: {line}"));
            eval.rows.push((
                Some(labels),
                read.into_iter().map(|(value, _)| value).collect(),
            ));
        } else {
            panic!("cannot read: {line}");
        }
    }

    fn check(&self, eval: &Eval) -> Outcome {
        let query = match Query::parse(&eval.query) {
            Ok(query) => query,
            Err(error) if error.reason.contains("not supported") => {
                return Outcome::Refused(error.reason);
            }
            Err(_) if eval.fail => return Outcome::Passed,
            Err(error) => return Outcome::Failed(error.reason),
        };
        if eval.native || self.native.iter().any(|labels| query.selects(labels)) {
            return Outcome::Refused("native histograms".into());
        }
        let source = Source::new(&self.store);
        let (start, end, step) = eval.when;
        let answer = match step {
            0 => query.at(&source, &options(), start),
            _ => query.range(&source, &options(), (start, end), step),
        };
        match answer {
            Err(_) if eval.fail => Outcome::Passed,
            Err(error) => Outcome::Failed(error.reason),
            Ok(answer) if eval.fail => {
                Outcome::Failed(format!("expected to fail, answered {answer:?}"))
            }
            Ok(answer) => match compare(eval, &answer) {
                Ok(()) if step == 0 && !eval.ordered => self.together(eval, &query),
                Ok(()) => Outcome::Passed,
                Err(reason) => Outcome::Failed(reason),
            },
        }
    }

    /// The instant as one of three.
    fn together(&self, eval: &Eval, query: &Query) -> Outcome {
        let t = eval.when.0;
        let source = Source::new(&self.store);
        match query.each(&source, &options(), &[t - 60_000, t, t + 60_000]) {
            Ok(columns) => {
                let middle = |column: Column| (column.labels.clone(), column.values[1]);
                let rows: Vec<(Labels, f64)> = columns
                    .into_iter()
                    .map(middle)
                    .filter(|(_, value)| !is_stale(*value))
                    .collect();
                match matches(eval, rows) {
                    Ok(()) => Outcome::Passed,
                    Err(reason) => Outcome::Failed(format!("as one of three instants: {reason}")),
                }
            }
            // Neighbours may be ambiguous where the instant is not, and literals are no vectors.
            Err(_) => Outcome::Passed,
        }
    }
}

fn empty() -> Source<'static> {
    Source::layered(Vec::new())
}

fn options() -> Options {
    Options {
        delayed_names: true,
        ..Options::default()
    }
}

fn is_command(line: &str) -> bool {
    let line = line.trim();
    line == "clear" || line.starts_with("load") || line.starts_with("eval")
}

fn close(want: f64, got: f64) -> bool {
    let same = (is_stale(want) && is_stale(got))
        || (want.is_nan() && got.is_nan() && !is_stale(want) && !is_stale(got));
    let scale = want.abs() + got.abs();
    same || want == got
        || ((want - got).abs() / scale.min(f64::MAX) < 1e-6 && !is_stale(want) && !is_stale(got))
}

fn compare(eval: &Eval, answer: &Answer) -> Result<(), String> {
    match answer {
        Answer::Text(text) if eval.text.as_ref() == Some(text) => Ok(()),
        Answer::Text(text) => Err(format!("answered {text:?}")),
        Answer::Scalar(values) if eval.when.2 == 0 => {
            matches(eval, vec![(Labels::default(), values[0])])
        }
        Answer::Scalar(values) => rows(eval, vec![(Labels::default(), values.clone())]),
        Answer::Vector(columns) if eval.when.2 == 0 => {
            let got: Vec<(Labels, f64)> = columns
                .iter()
                .map(|column| (column.labels.clone(), column.values[0]))
                .collect();
            if eval.ordered {
                let order = eval
                    .rows
                    .iter()
                    .map(|(labels, _)| labels.clone().unwrap_or_default());
                let same = order.eq(got.iter().map(|(labels, _)| labels.clone()));
                if !same {
                    return Err(format!("order differs: {got:?}"));
                }
            }
            matches(eval, got)
        }
        Answer::Vector(columns) => rows(
            eval,
            columns
                .iter()
                .map(|column| (column.labels.clone(), column.values.clone()))
                .collect(),
        ),
        Answer::Matrix(series) => {
            let Some((start, end, step)) = eval.range_vector else {
                return Err("answered a range vector".into());
            };
            let at = |t: i64| ((t - start) / step) as usize;
            let rows_got = series.iter().map(|(labels, samples)| {
                let mut values = vec![STALE; at(end) + 1];
                samples
                    .t_ms
                    .iter()
                    .zip(&samples.values)
                    .for_each(|(t, value)| values[at(*t)] = *value);
                (labels.clone(), values)
            });
            rows(eval, rows_got.collect())
        }
    }
}

fn matches(eval: &Eval, got: Vec<(Labels, f64)>) -> Result<(), String> {
    let left: BTreeMap<Labels, f64> = got.iter().cloned().collect();
    if left.len() != got.len() || got.len() != eval.rows.len() {
        return Err(format!(
            "answered {} series instead of {}: {got:?}",
            got.len(),
            eval.rows.len()
        ));
    }
    for (labels, want) in &eval.rows {
        let labels = labels.clone().unwrap_or_default();
        match left.get(&labels) {
            Some(value) if close(want[0], *value) => {}
            other => return Err(format!("{labels} is {other:?} instead of {:?}", want[0])),
        }
    }
    Ok(())
}

fn rows(eval: &Eval, got: Vec<(Labels, Vec<f64>)>) -> Result<(), String> {
    let left: BTreeMap<Labels, Vec<f64>> = got.iter().cloned().collect();
    let wanted: Vec<_> = eval
        .rows
        .iter()
        .filter(|(_, want)| want.iter().any(|value| !is_stale(*value)))
        .collect();
    if left.len() != wanted.len() {
        return Err(format!(
            "answered {} series instead of {}: {got:?}",
            left.len(),
            wanted.len()
        ));
    }
    for (labels, want) in wanted {
        let labels = labels.clone().unwrap_or_default();
        let value = left
            .get(&labels)
            .ok_or_else(|| format!("{labels} is missing in {got:?}"))?;
        let padded = want.iter().copied().chain(std::iter::repeat(STALE));
        if want.len() > value.len()
            || !value
                .iter()
                .zip(padded)
                .all(|(got, want)| close(want, *got))
        {
            return Err(format!("{labels} is {value:?} instead of {want:?}"));
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "test"));
    files.sort();
    files
}

#[test]
fn files_of_this_project_pass_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    let files = files(&folder);
    assert!(!files.is_empty());
    for file in files {
        let tests = Tests::run(&std::fs::read_to_string(&file).expect("readable"));
        assert!(
            !tests.results.is_empty(),
            "{} evaluates nothing",
            file.display()
        );
        let bad: Vec<_> = tests
            .results
            .iter()
            .filter(|(_, _, outcome)| *outcome != Outcome::Passed)
            .collect();
        assert!(bad.is_empty(), "{}: {bad:#?}", file.display());
    }
}

#[test]
fn upstream_files_pass_or_are_refused() {
    let Ok(folder) = std::env::var("PROMQLTEST_DIR") else {
        println!("PROMQLTEST_DIR is not set: nothing to run");
        return;
    };
    let mut all = (0, 0, 0);
    for file in files(Path::new(&folder)) {
        let tests = Tests::run(&std::fs::read_to_string(&file).expect("readable"));
        let (mut passed, mut failed, mut refused) = (0, 0, 0);
        for (line, query, outcome) in &tests.results {
            let place = format!("{}:{line}: {query}", file.display());
            match outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed(reason) => {
                    failed += 1;
                    println!(
                        "FAILED {place}\n    {}",
                        reason.chars().take(600).collect::<String>()
                    );
                }
                Outcome::Refused(reason) => {
                    refused += 1;
                    println!("refused {place}\n    {reason}");
                }
            }
        }
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        println!("TOTAL {name}: {passed} passed, {failed} failed, {refused} refused");
        all = (all.0 + passed, all.1 + failed, all.2 + refused);
    }
    println!(
        "TOTAL: {} passed, {} failed, {} refused",
        all.0, all.1, all.2
    );
    let least: usize = std::env::var("PROMQLTEST_MIN")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    assert!(
        all.0 >= least,
        "{} evaluations passed, at least {least} must",
        all.0
    );
}
