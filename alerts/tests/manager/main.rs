//! The rule manager against a running server: the same rules at the same instants must write the same samples and show the
//! same alerts, also after the server was killed and started again.
//!
//! What a version does otherwise is listed in `docs/prometheus-versions.md`, from which this test takes it. The servers are
//! found as for the differential test; each needs some 35 seconds of real time.

mod plan;
mod readback;
#[path = "../prometheus/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alerts::labels::{Labels, NAME};
use alerts::rules::{Evaluation, Restoration, RuleSet, Schedule, Slots, Up};
use alerts::series::SeriesStore;
use serde_json::Value;

use plan::{BACK_S, END_S, GRACE_S, KILLED_S, LOOKS_S, QUIET_MS, TOLERANCE_S};
use readback::{Shown, Written};
use server::{Installation, Server};

#[test]
fn prometheus_2_writes_what_we_write() {
    if let Some(found) = Installation::of_version_2() {
        Run::of(&found).compare();
    }
}

#[test]
fn prometheus_3_writes_what_we_write() {
    if let Some(found) = Installation::of_version_3() {
        Run::of(&found).compare();
    }
}

fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a real server lives in real time"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after the epoch").as_millis() as i64
}

fn sleep_until(t_ms: i64) {
    let wait = u64::try_from(t_ms - now_ms()).unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "a real server lives in real time"
    )]
    std::thread::sleep(Duration::from_millis(wait));
}

/// What a server did with the rules.
struct Run {
    version: String,
    set: RuleSet,
    /// Second 0 of the plan, milliseconds since the epoch.
    start_ms: i64,
    back_ms: i64,
    /// When the server was asked for its alerts, and what it answered.
    looks: Vec<(i64, Value)>,
    written: Written,
}

impl Run {
    fn of(found: &Installation) -> Run {
        let folder = tempfile::Builder::new().prefix("manager").tempdir();
        let folder = Rc::new(folder.expect("a temporary folder"));
        let file = folder.path().join("rules.yml");
        // Time to start in; then a whole second.
        let start_ms = (now_ms() / 1000 + 2) * 1000;
        let name = file.to_str().expect("a path in UTF-8");
        fs::write(&file, plan::rules(found.is_3(), name, start_ms / 1000)).expect("rules");
        let configuration =
            format!("global: {{evaluation_interval: 1s}}\nrule_files: ['{name}']\n");
        fs::write(folder.path().join("prometheus.yml"), configuration).expect("a configuration");
        let grace = format!("--rules.alert.for-grace-period={GRACE_S}s");
        let tolerance = format!("--rules.alert.for-outage-tolerance={TOLERANCE_S}s");
        let flags = [&*grace, &*tolerance];
        let set = RuleSet::load(&[&file]).expect("rules that we read too");
        let mut looks = Vec::new();
        let server = found.start(&folder, &flags);
        look(&server, start_ms, 0..KILLED_S, &mut looks);
        sleep_until(start_ms + KILLED_S * 1000 + QUIET_MS);
        drop(server);
        sleep_until(start_ms + BACK_S * 1000);
        let back_ms = now_ms();
        let server = found.start(&folder, &flags);
        look(&server, start_ms, BACK_S..END_S, &mut looks);
        sleep_until(start_ms + END_S * 1000 + QUIET_MS);
        drop(server);
        Run {
            version: found.version.clone(),
            set,
            start_ms,
            back_ms,
            looks,
            written: readback::dumped(&found.promtool, &folder.path().join("storage")),
        }
    }

    /// The instants at which each group was really evaluated: those of its first rule.
    fn instants(&self) -> Vec<Vec<i64>> {
        let version_3 = self.version.starts_with("3.");
        let of = |group: &alerts::rules::Group| {
            let labels = [(NAME, "beat"), ("group", &*group.name)];
            let beats = self.written.iter().filter(|(series, _)| {
                labels
                    .iter()
                    .all(|(name, value)| series.get(name) == *value)
            });
            let beats = beats.flat_map(|(_, samples)| samples);
            let instants: Vec<i64> = beats
                .map(|(t_ms, _)| t_ms + group.query_offset_ms)
                .collect();
            assert!(
                instants.len() >= 5,
                "{} hardly ran: {instants:?}",
                group.name
            );
            let interval = group.interval_ms.expect("an interval");
            let offset = plan::offset_ms(version_3, &group.file, &group.name, interval / 1000);
            for t_ms in &instants {
                assert_eq!(t_ms % interval, offset, "{} at {t_ms}", group.name);
            }
            instants
        };
        self.set.groups().iter().map(of).collect()
    }

    fn evaluate(&self) -> Evaluation {
        let up = |from_ms, to_ms| Up {
            from_ms,
            to_ms,
            restarted: true,
        };
        let schedule = Schedule {
            up: vec![up(0, self.back_ms), up(self.back_ms, i64::MAX)],
            snapshots: self.looks.iter().map(|(t_ms, _)| *t_ms).collect(),
            slots: Slots::Given(self.instants()),
            restoration: Restoration {
                grace_ms: GRACE_S * 1000,
                outage_tolerance_ms: TOLERANCE_S * 1000,
            },
            ..Schedule::steady(0, i64::MAX, 1000)
        };
        self.set
            .evaluate_past_failures(&SeriesStore::new(), &schedule)
    }

    fn compare(&self) {
        let evaluation = self.evaluate();
        let mut wrong = Differences::default();
        self.compare_written(&readback::written(&evaluation), &mut wrong);
        for ((t_ms, answer), snapshot) in self.looks.iter().zip(&evaluation.snapshots) {
            self.compare_shown((*t_ms, answer), (&evaluation, snapshot), &mut wrong);
        }
        let listed = listed(&self.version);
        let names: BTreeSet<&String> = wrong.0.keys().collect();
        let told: Vec<&str> = wrong.0.values().flatten().map(String::as_str).collect();
        assert_eq!(
            names,
            listed.iter().collect(),
            "{}:\n{}",
            self.version,
            told.join("\n")
        );
        self.all_happened(&evaluation);
        let samples = self.written.values().map(Vec::len).sum::<usize>();
        assert!(
            samples > 1000,
            "{} wrote only {samples} samples",
            self.version
        );
        println!(
            "{}: {samples} samples of {} series, {} failures",
            self.version,
            self.written.len(),
            evaluation.failures.len()
        );
    }

    /// Each rule wrote something, and those failed that are to fail.
    fn all_happened(&self, evaluation: &Evaluation) {
        let wrote: BTreeSet<&str> = self.written.keys().map(rule_of).collect();
        let rules = self.set.groups().iter().flat_map(|group| &group.rules);
        let silent: Vec<&str> = rules
            .map(|rule| &*rule.name)
            .filter(|name| !wrote.contains(*name))
            .collect();
        assert!(
            silent.is_empty(),
            "{}: nothing written by {silent:?}",
            self.version
        );
        let failed = evaluation.failures.iter().map(|failure| &*failure.rule);
        assert_eq!(
            failed.collect::<BTreeSet<_>>(),
            BTreeSet::from(plan::FAILING_RULES),
            "{}",
            self.version
        );
    }

    fn compare_written(&self, ours: &Written, wrong: &mut Differences) {
        let names: BTreeSet<&Labels> = self.written.keys().chain(ours.keys()).collect();
        for labels in names {
            let (left, right) = (self.written.get(labels), ours.get(labels));
            if left != right {
                let text = |samples: Option<&Vec<(i64, Option<f64>)>>| {
                    let samples = samples.into_iter().flatten().map(|(t_ms, value)| {
                        let value = value.map_or("stale".into(), |value| value.to_string());
                        format!("{value}@{}", t_ms - self.start_ms)
                    });
                    samples.collect::<Vec<_>>().join(" ")
                };
                let (left, right) = (text(left), text(right));
                wrong.note(
                    labels,
                    format!("{labels}\n  theirs {left}\n  ours   {right}"),
                );
            }
        }
    }

    fn compare_shown(
        &self,
        (t_ms, answer): (i64, &Value),
        (evaluation, snapshot): (&Evaluation, &[alerts::timeline::ActiveAlert]),
        wrong: &mut Differences,
    ) {
        let at = t_ms - self.start_ms;
        let (theirs, health) = readback::shown(answer);
        let ours = readback::active(snapshot);
        let keys: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        for key in keys {
            let (left, right) = (theirs.get(key), ours.get(key));
            let same = match (left, right) {
                (Some(left), Some(right)) => {
                    left.len() == right.len()
                        && left
                            .iter()
                            .zip(right)
                            .all(|(left, right)| self.same(left, right, t_ms))
                }
                _ => false,
            };
            if !same {
                wrong.note(
                    &key.1,
                    format!("shown at {at}: {key:?}\n  theirs {left:?}\n  ours   {right:?}"),
                );
            }
        }
        let instants = self.instants();
        for (group, instants) in self.set.groups().iter().zip(&instants) {
            let last = instants.iter().rfind(|t| **t <= t_ms);
            let failed: BTreeSet<&String> = evaluation
                .failures
                .iter()
                .filter(|failure| failure.group == group.name && Some(&failure.t_ms) == last)
                .map(|failure| &failure.rule)
                .collect();
            for (_, rule, bad) in health.iter().filter(|(name, ..)| *name == group.name) {
                // A sample that storage refuses is a bad rule too, but for us no failure.
                let may_be_refused = ["both", "clash", "turns", "Twin", "Dated"].contains(&&**rule);
                if *bad != failed.contains(rule) && !may_be_refused {
                    let name = Labels::of(&[(NAME, rule)]);
                    wrong.note(&name, format!("{rule} at {at}: theirs failed: {bad}"));
                }
            }
        }
    }

    /// Instants that a restored alert took from the server's clock are later than ours by what the evaluation took.
    fn same(&self, theirs: &Shown, ours: &Shown, t_ms: i64) -> bool {
        let late = theirs.active_at_ms - ours.active_at_ms;
        let most = if t_ms > self.back_ms { 400 } else { 0 };
        let kept = self.version.starts_with("2.")
            || theirs.keep_firing_since_ms == ours.keep_firing_since_ms;
        (0..=most).contains(&late)
            && kept
            && (&theirs.state, theirs.value.to_bits(), &theirs.annotations)
                == (&ours.state, ours.value.to_bits(), &ours.annotations)
    }
}

/// Asks for the alerts at the planned seconds among these.
fn look(
    server: &Server,
    start_ms: i64,
    seconds: std::ops::Range<i64>,
    out: &mut Vec<(i64, Value)>,
) {
    for second in LOOKS_S.iter().filter(|second| seconds.contains(second)) {
        sleep_until(start_ms + second * 1000 + QUIET_MS);
        let t_ms = now_ms();
        let answer = server.request("GET", "/api/v1/rules", "", b"");
        let (status, body) = answer.unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        assert_eq!(status, 200, "{}", server.log());
        out.push((t_ms, serde_json::from_slice(&body).expect("JSON")));
    }
}

/// The name of the rule that wrote a series or made an alert.
fn rule_of(labels: &Labels) -> &str {
    match labels.name() {
        "" | "ALERTS" | "ALERTS_FOR_STATE" => labels.get("alertname"),
        name => name,
    }
}

/// What differs, by the name of the rule.
#[derive(Default)]
struct Differences(BTreeMap<String, Vec<String>>);

impl Differences {
    fn note(&mut self, labels: &Labels, what: String) {
        let name = rule_of(labels).to_string();
        self.0.entry(name).or_default().push(what);
    }
}

/// The rules of which this version makes something else than the last one.
fn listed(version: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus-versions.md");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, rules) = text.split_once("\n## Rules\n").expect("a table of rules");
    let column = match version {
        version if version.starts_with("2.42.") => 2,
        version if version.starts_with("3.5.") => 3,
        _ => return BTreeSet::new(),
    };
    let rows = rules.lines().filter(|line| line.starts_with("| "));
    let rows = rows
        .skip(1)
        .map(|row| -> Vec<&str> { row.trim_matches('|').split('|').map(str::trim).collect() });
    let changed = rows.filter(|cells| cells[column] != cells[4]);
    changed
        .map(|cells| cells[1].trim_matches('`').to_string())
        .collect()
}
