//! Real promtool unit tests: what promtool accepts must hold here. `PROMTOOL_DIR` names a folder whose `manifest.tsv`
//! lists repository, commit, path, rule files and promtool's exit code; without it there is nothing to run.
//!
//! Annotations are expanded here when an alert begins to fire and by promtool in each evaluation: those that differ are
//! counted apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alerts::labels::{Labels, NAME};
use alerts::number::STALE_BITS;
use alerts::promql::{Answer, Options, Query, Source};
use alerts::rules::{RuleSet, Schedule, parse_duration};
use alerts::series::SeriesStore;
use serde_yaml_ng::Value;

mod notation;

use notation::{number, series, values};

#[derive(Default)]
struct Score {
    checks: usize,
    annotations: usize,
    wrong: Vec<String>,
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_sequence)
        .map_or(&[], Vec::as_slice)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}

fn map(value: &Value, key: &str) -> BTreeMap<String, String> {
    let entries = value.get(key).and_then(Value::as_mapping);
    entries
        .into_iter()
        .flatten()
        .map(|(name, value)| (scalar(name), scalar(value)))
        .collect()
}

fn duration(text: &str, default_ms: i64) -> i64 {
    if text.is_empty() {
        default_ms
    } else {
        parse_duration(text).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn load(group: &Value, step_ms: i64) -> Result<SeriesStore, String> {
    let mut store = SeriesStore::new();
    // Of two inputs for one series the later counts.
    let mut loaded: BTreeMap<Labels, Vec<(f64, bool)>> = BTreeMap::new();
    for input in items(group, "input_series") {
        let (labels, _) = series(text(input, "series")).ok_or("series notation")?;
        let written = input.get("values").map(scalar).unwrap_or_default();
        loaded.insert(
            labels,
            values(&written).ok_or_else(|| format!("values notation: {written}"))?,
        );
    }
    for (labels, values) in loaded {
        for (at, (value, _)) in values
            .into_iter()
            .enumerate()
            .filter(|(_, (_, written))| *written)
        {
            store
                .append(&labels, at as i64 * step_ms, value)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(store)
}

fn run(file: &Path, score: &mut Score) -> Result<(), String> {
    let yaml: Value =
        serde_yaml_ng::from_str(&std::fs::read_to_string(file).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
    let folder = file.parent().ok_or("no folder")?;
    let rule_files: Vec<PathBuf> = items(&yaml, "rule_files")
        .iter()
        .map(|path| folder.join(scalar(path)))
        .collect();
    let rules = RuleSet::load(&rule_files)
        .map_err(|errors| errors[0].to_string())?
        .at_one_interval();
    let interval_ms = duration(text(&yaml, "evaluation_interval"), 60_000).max(1);
    for group in items(&yaml, "tests") {
        let external = map(group, "external_labels");
        let external: Vec<(&str, &str)> = external
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let rules = rules.clone().with_external_labels(Labels::of(&external));
        let store = load(group, duration(text(group, "interval"), interval_ms))?;
        let times = |key: &str| {
            items(group, key)
                .iter()
                .map(|test| duration(text(test, "eval_time"), 0))
                .max()
                .unwrap_or(0)
        };
        let end_ms = times("alert_rule_test").max(times("promql_expr_test"));
        let evaluation = rules
            .evaluate_recorded(&store, &Schedule::steady(0, end_ms, interval_ms))
            .map_err(|error| error.to_string())?;
        for test in items(group, "alert_rule_test") {
            let t_ms = duration(text(test, "eval_time"), 0).div_euclid(interval_ms) * interval_ms;
            alert_test(test, t_ms, &evaluation.timeline, score);
        }
        let source = Source::layered(
            std::iter::once(&store)
                .chain(&evaluation.recorded)
                .collect(),
        );
        for test in items(group, "promql_expr_test") {
            expression_test(test, &source, interval_ms, score);
        }
    }
    Ok(())
}

fn alert_test(test: &Value, t_ms: i64, timeline: &alerts::timeline::Timeline, score: &mut Score) {
    score.checks += 1;
    let name = text(test, "alertname");
    let mut wanted: Vec<(Labels, BTreeMap<String, String>)> = items(test, "exp_alerts")
        .iter()
        .map(|alert| {
            let labels = map(alert, "exp_labels");
            let labels = labels
                .iter()
                .fold(Labels::of(&[("alertname", name)]), |set, (name, value)| {
                    set.with(name, value)
                });
            (labels, map(alert, "exp_annotations"))
        })
        .collect();
    let mut got: Vec<(Labels, BTreeMap<String, String>)> = timeline
        .alerts
        .iter()
        .filter(|alert| alert.alert == name && alert.fires_at(t_ms))
        .map(|alert| (alert.labels.clone(), alert.annotations.clone()))
        .collect();
    wanted.sort();
    got.sort();
    let same = wanted
        .iter()
        .map(|(labels, _)| labels)
        .eq(got.iter().map(|(labels, _)| labels));
    if !same {
        score.wrong.push(format!(
            "{name} at {t_ms}: {got:?}\n      instead of {wanted:?}"
        ));
    } else if wanted != got {
        score.annotations += 1;
        if std::env::var("PROMTOOL_ANNOTATIONS").is_ok() {
            println!("annotations of {name} at {t_ms}: {got:?}\n      instead of {wanted:?}");
        }
    }
}

fn expression_test(test: &Value, source: &Source<'_>, interval_ms: i64, score: &mut Score) {
    score.checks += 1;
    let (expr, t_ms) = (text(test, "expr"), duration(text(test, "eval_time"), 0));
    let mut wanted: Vec<(Labels, f64)> = Vec::new();
    for sample in items(test, "exp_samples") {
        let labels = text(sample, "labels");
        let labels = if labels.is_empty() {
            Some((Labels::default(), ""))
        } else {
            series(labels)
        };
        let value = sample
            .get("value")
            .map(scalar)
            .unwrap_or_else(|| "0".into());
        let value = number(value.trim_start_matches('.')).unwrap_or(f64::NAN);
        wanted.extend(labels.map(|(labels, _)| (labels, value)));
    }
    let options = Options {
        subquery_step_ms: interval_ms,
        ..Options::default()
    };
    let answer = Query::parse(expr).map_err(|error| error.to_string());
    let answer = answer.and_then(|query| {
        query
            .at(source, &options, t_ms)
            .map_err(|error| error.to_string())
    });
    let mut got: Vec<(Labels, f64)> = match answer {
        Ok(Answer::Vector(columns)) => columns
            .into_iter()
            .map(|column| (column.labels, column.values[0]))
            .collect(),
        Ok(Answer::Scalar(values)) => vec![(Labels::default(), values[0])],
        other => return score.wrong.push(format!("{expr} at {t_ms}: {other:?}")),
    };
    let order = |a: &(Labels, f64), b: &(Labels, f64)| a.0.cmp(&b.0);
    wanted.sort_by(order);
    got.sort_by(order);
    let equal = |a: f64, b: f64| {
        a.to_bits() != STALE_BITS
            && (a == b
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= 1e-6 * a.abs().max(b.abs()))
    };
    let same = wanted.len() == got.len()
        && wanted
            .iter()
            .zip(&got)
            .all(|(a, b)| a.0 == b.0 && equal(a.1, b.1));
    if !same {
        score.wrong.push(format!(
            "{expr} at {t_ms} ({NAME}): {got:?}\n      instead of {wanted:?}"
        ));
    }
}

#[test]
fn what_promtool_accepts_holds_here() {
    let Ok(folder) = std::env::var("PROMTOOL_DIR") else {
        println!("PROMTOOL_DIR is not set: nothing to run");
        return;
    };
    let folder = Path::new(&folder);
    let manifest =
        std::fs::read_to_string(folder.join("manifest.tsv")).expect("manifest.tsv is readable");
    let (mut files, mut good, mut all) = (0, 0, Score::default());
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [repository, _, path, _, "0", ..] = columns[..] else {
            continue;
        };
        files += 1;
        let file = folder.join(repository.replace('/', "+")).join(path);
        let mut score = Score::default();
        if let Err(reason) = run(&file, &mut score) {
            score.wrong.push(reason);
        }
        good += usize::from(score.wrong.is_empty());
        if !score.wrong.is_empty() {
            println!("WRONG {}", file.display());
            score
                .wrong
                .iter()
                .take(3)
                .for_each(|wrong| println!("    {}", wrong.chars().take(900).collect::<String>()));
        }
        all.checks += score.checks;
        all.annotations += score.annotations;
        all.wrong.extend(score.wrong);
    }
    println!(
        "TOTAL: {good} of {files} files, {} checks, {} wrong, {} with other annotations",
        all.checks,
        all.wrong.len(),
        all.annotations
    );
    let least: usize = std::env::var("PROMTOOL_MIN")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    assert!(good >= least, "{good} files hold, at least {least} must");
}
