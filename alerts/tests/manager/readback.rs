//! What a server wrote and showed, and what we say to it, in one form.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use alerts::labels::Labels;
use alerts::number::parse_value;
use alerts::rules::Evaluation;
use alerts::timeline::{ActiveAlert, AlertState};
use serde_json::Value;

/// Of each series, instant and value of each sample; a stale marker has none.
pub type Written = BTreeMap<Labels, Vec<(i64, Option<f64>)>>;

/// All samples in the storage of a server that does not run.
pub fn dumped(promtool: &Path, storage: &Path) -> Written {
    let output = Command::new(promtool)
        .args(["tsdb", "dump"])
        .arg(storage)
        .output()
        .expect("promtool starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool dumps nothing: {told}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut out = Written::new();
    for line in text.lines() {
        let (rest, t_ms) = line.rsplit_once(' ').expect("an instant");
        let (labels, value) = rest.rsplit_once(' ').expect("a value");
        // No rule here makes a NaN of another kind.
        let value = Some(parse_value(value).expect("a number")).filter(|value| !value.is_nan());
        let sample = (t_ms.parse().expect("milliseconds"), value);
        out.entry(parsed(labels)).or_default().push(sample);
    }
    out
}

/// `{name="value", …}` with values that need no escapes.
fn parsed(text: &str) -> Labels {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let pairs = inner.expect("labels").split(", ").map(|pair| {
        let (name, value) = pair.split_once('=').expect("a pair");
        (name, value.trim_matches('"'))
    });
    Labels::of(&pairs.collect::<Vec<_>>())
}

/// All samples that we say were written.
pub fn written(evaluation: &Evaluation) -> Written {
    let store = &evaluation.recorded;
    let series = store.all().map(|series| {
        let samples = store.stream(series);
        let samples =
            samples.map(|(t_ms, value)| (t_ms, Some(value).filter(|value| !value.is_nan())));
        (store.labels(series).clone(), samples.collect())
    });
    series
        .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
        .collect()
}

/// An alert that is active, as `/api/v1/alerts` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub state: String,
    pub active_at_ms: i64,
    pub keep_firing_since_ms: Option<i64>,
    pub value: f64,
    pub annotations: BTreeMap<String, String>,
}

/// Active alerts by group, alert and labels; several rules may make the same one.
pub type Active = BTreeMap<(String, Labels), Vec<Shown>>;

/// What `/api/v1/rules` answered: active alerts, and of each rule whether it failed in its last evaluation.
pub fn shown(answer: &Value) -> (Active, Vec<(String, String, bool)>) {
    let (mut active, mut health) = (Active::new(), Vec::new());
    for group in answer["data"]["groups"].as_array().expect("groups") {
        let name = group["name"].as_str().expect("a name").to_string();
        for rule in group["rules"].as_array().expect("rules") {
            let failed = rule["health"] == "err";
            let rule_name = rule["name"].as_str().expect("a name").to_string();
            health.push((name.clone(), rule_name, failed));
            for alert in rule["alerts"].as_array().into_iter().flatten() {
                let labels = serde_json::from_value(alert["labels"].clone()).expect("labels");
                let key = (name.clone(), labels);
                active.entry(key).or_default().push(their_alert(alert));
            }
        }
    }
    (sorted(active), health)
}

fn their_alert(alert: &Value) -> Shown {
    let text = |name: &str| alert[name].as_str().map(str::to_string);
    Shown {
        state: text("state").expect("a state"),
        active_at_ms: instant(&alert["activeAt"]).expect("an instant"),
        keep_firing_since_ms: instant(&alert["keepFiringSince"]),
        value: parse_value(&text("value").expect("a value")).expect("a number"),
        annotations: serde_json::from_value(alert["annotations"].clone()).expect("annotations"),
    }
}

fn instant(value: &Value) -> Option<i64> {
    let instant: jiff::Timestamp = value.as_str()?.parse().expect("an instant");
    Some(instant.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// The same of ours.
pub fn active(snapshot: &[ActiveAlert]) -> Active {
    let mut out = Active::new();
    for alert in snapshot {
        let shown = Shown {
            state: match alert.state {
                AlertState::Firing => "firing".into(),
                _ => "pending".into(),
            },
            active_at_ms: alert.active_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            value: alert.value,
            annotations: alert.annotations.clone(),
        };
        let key = (alert.group.clone(), alert.labels.clone());
        out.entry(key).or_default().push(shown);
    }
    sorted(out)
}

/// The server answers in no order.
fn sorted(mut active: Active) -> Active {
    for same in active.values_mut() {
        same.sort_by(|a, b| (&a.state, a.active_at_ms).cmp(&(&b.state, b.active_at_ms)));
    }
    active
}
