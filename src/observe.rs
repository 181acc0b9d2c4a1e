//! The one place where recording and rules meet: scrapes of a recording as Prometheus would have stored them.
//!
//! Invariant: of the recording only the scrapes and the evaluator's up-intervals are read, never ground truth; what the rules
//! get is text exposition with a timestamp, and what comes back is when each alert fired.

use std::{collections::BTreeMap, sync::Arc};

use alerts::{
    rules::{Schedule, Up},
    scrape::{Ingest, Target},
    timeline::{AlertHistory, AlertState, Timeline},
};
use chaos::{
    judge::Firing,
    recording::{EPOCH_UNIX_S, Event, Nanos, Recording},
};

/// The job label of every target.
pub const JOB: &str = "inventory-service";

/// One millisecond of virtual time.
const MILLISECOND: Nanos = 1_000_000;

/// Prometheus' evaluation interval, which is also its scrape interval.
pub const INTERVAL_MS: i64 = 15_000;

/// What Prometheus had: its samples, and when it evaluated rules.
#[derive(Debug)]
pub struct Observed {
    /// Every sample.
    pub ingest: Ingest,
    /// When rules were evaluated; times in milliseconds since the Unix epoch.
    pub schedule: Schedule,
    /// Scrapes read.
    pub scrapes: u64,
}

/// Reads the scrapes of a recording that lasted `duration`.
///
/// # Errors
/// A scrape that is not after its target's previous one, which no recording of the simulation holds.
pub fn observe(recording: &Recording, duration: Nanos) -> Result<Observed, String> {
    let mut bodies: BTreeMap<Arc<str>, (Target, Vec<Box<str>>)> = BTreeMap::new();
    let mut ingest = Ingest::new();
    let mut evaluator = Vec::new();
    let mut scrapes = 0;
    let mut text = String::new();
    for frame in recording.iter() {
        match frame.event {
            Event::Evaluator(up) => evaluator.push((frame.at, up)),
            Event::Scrape {
                target,
                duration,
                outcome,
            } => {
                let body = || (Target::new(JOB, &*target), Vec::new());
                let (target, lines) = bodies.entry(target.clone()).or_insert_with(body);
                let outcome = outcome.map(|diff| {
                    diff.apply(lines);
                    join(lines, &mut text);
                });
                let outcome = match &outcome {
                    Ok(()) => Ok(&*text),
                    Err(reason) => Err(&**reason),
                };
                let seconds = duration as f64 / 1e9;
                ingest
                    .scrape(target, unix_ms(frame.at), seconds, outcome)
                    .map_err(|error| format!("{error:?}"))?;
                scrapes += 1;
            }
            _ => {}
        }
    }
    let schedule = Schedule {
        up: up_intervals(&evaluator, duration),
        ..Schedule::steady(unix_ms(0), unix_ms(duration), INTERVAL_MS)
    };
    Ok(Observed {
        ingest,
        schedule,
        scrapes,
    })
}

/// Wall time of an instant, as Prometheus stamps it: expressions compare it with timestamps that services expose.
pub fn unix_ms(at: Nanos) -> i64 {
    EPOCH_UNIX_S * 1_000 + i64::try_from(at / MILLISECOND).unwrap_or_default()
}

/// The virtual time of a stamp; 0 for one before the run.
pub fn nanos(unix_ms: i64) -> Nanos {
    u64::try_from(unix_ms - EPOCH_UNIX_S * 1_000).unwrap_or_default() * MILLISECOND
}

fn join(lines: &[Box<str>], text: &mut String) {
    text.clear();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

/// What the judge is told: each span in which an alert fired, with when it became pending.
pub fn firings(timeline: &Timeline) -> Vec<Firing> {
    timeline.alerts.iter().flat_map(spans).collect()
}

/// The spans of one alert. A rule without the label `alert_id` goes by its name, so that its firing is not lost.
pub fn spans(alert: &AlertHistory) -> Vec<Firing> {
    let labels: BTreeMap<String, String> = alert
        .labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let mut spans: Vec<Firing> = Vec::new();
    let mut pending = None;
    for change in &alert.transitions {
        let at_ms = nanos(change.t_ms) / MILLISECOND;
        match change.state {
            AlertState::Pending => pending = Some(at_ms),
            AlertState::Firing => spans.push(Firing {
                alert_id: labels.get("alert_id").unwrap_or(&alert.alert).clone(),
                branch: labels.get("branch").cloned(),
                labels: labels.clone(),
                pending_at_ms: pending.take().unwrap_or(at_ms),
                fired_at_ms: at_ms,
                resolved_at_ms: None,
            }),
            AlertState::Resolved | AlertState::Inactive => {
                pending = None;
                if let Some(open) = spans
                    .last_mut()
                    .filter(|open| open.resolved_at_ms.is_none())
                {
                    open.resolved_at_ms = Some(at_ms);
                }
            }
        }
    }
    spans
}

/// When the evaluator was up, from its changes; a change to the state that it has changes nothing. It stops only with its
/// host, so each return is a restart, from which Prometheus restores its alerts.
fn up_intervals(changes: &[(Nanos, bool)], duration: Nanos) -> Vec<Up> {
    let mut intervals: Vec<Up> = Vec::new();
    let mut since = None;
    // The last instant of the run is evaluated too.
    let end = unix_ms(duration) + 1;
    let changes = changes.iter().map(|&(at, up)| (unix_ms(at), up));
    for (at, up) in changes.chain([(end, false)]) {
        match (since, up) {
            (None, true) => since = Some(at),
            (Some(from_ms), false) => {
                let restarted = !intervals.is_empty();
                intervals.push(Up {
                    from_ms,
                    to_ms: at,
                    restarted,
                });
                since = None;
            }
            _ => {}
        }
    }
    intervals
}

#[cfg(test)]
mod tests {
    use alerts::{
        labels::Labels,
        timeline::{RuleAt, Transition},
    };
    use chaos::recording::{BodyDiff, Recorder};

    use super::*;

    #[test]
    fn the_evaluator_is_up_from_its_start_to_its_stop() {
        let ms = MILLISECOND;
        for (changes, expected) in [
            (&[][..], &[][..]),
            (&[(0, true)], &[(0, 101, false)]),
            (
                &[(0, true), (20 * ms, false), (50 * ms, true)],
                &[(0, 20, false), (50, 101, true)],
            ),
            (
                &[
                    (0, true),
                    (10 * ms, true),
                    (20 * ms, false),
                    (30 * ms, false),
                ],
                &[(0, 20, false)],
            ),
        ] {
            let start = EPOCH_UNIX_S * 1_000;
            let seen = up_intervals(changes, 100 * ms);
            let seen: Vec<_> = seen
                .iter()
                .map(|up| (up.from_ms - start, up.to_ms - start, up.restarted))
                .collect();
            assert_eq!(seen, expected, "{changes:?}");
        }
    }

    #[test]
    fn each_span_of_an_alert_is_a_firing_in_virtual_time() {
        let at = |seconds: i64, state| Transition {
            t_ms: (EPOCH_UNIX_S + seconds) * 1_000,
            state,
            value: 1.0,
        };
        let history = |labels: &[(&str, &str)], transitions: Vec<Transition>| AlertHistory {
            file: "f.yml".into(),
            group: "g".into(),
            alert: "Named".into(),
            place: RuleAt::default(),
            labels: Labels::of(labels),
            annotations: BTreeMap::new(),
            transitions,
        };
        use AlertState::{Firing as Fires, Inactive, Pending, Resolved};
        let identified = [("alert_id", "X-1"), ("branch", "lag"), ("instance", "a")];
        let timeline = Timeline {
            alerts: vec![
                history(
                    &identified,
                    vec![
                        at(15, Pending),
                        at(30, Inactive),
                        at(45, Pending),
                        at(75, Fires),
                        at(90, Resolved),
                        at(105, Fires),
                    ],
                ),
                history(&[("instance", "b")], vec![at(30, Fires), at(60, Resolved)]),
                history(&identified, vec![at(15, Pending)]),
            ],
            evaluations: 7,
        };
        let seen = firings(&timeline);
        let seen: Vec<_> = seen
            .iter()
            .map(|firing| {
                (
                    &*firing.alert_id,
                    firing.branch.as_deref(),
                    firing.pending_at_ms,
                    firing.fired_at_ms,
                    firing.resolved_at_ms,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("X-1", Some("lag"), 45_000, 75_000, Some(90_000)),
                ("X-1", Some("lag"), 105_000, 105_000, None),
                ("Named", None, 30_000, 30_000, Some(60_000)),
            ]
        );
    }

    #[test]
    fn scrapes_become_bodies_again_per_target_also_after_a_failure_and_a_restart() {
        let mut recorder = Recorder::default();
        let mut previous = [Vec::new(), Vec::new()];
        let mut push = |at: u64, target: usize, body: Option<&str>| {
            let outcome = body
                .map(|body| BodyDiff::advance(&mut previous[target], body))
                .ok_or("refused".to_owned());
            if at == 30 {
                previous[target].clear(); // Prometheus starts again: the next difference is to the empty body
            }
            let target = ["ledger-1", "ledger-2"][target].into();
            recorder.push(
                at * 1_000_000_000,
                Event::Scrape {
                    target,
                    duration: 2_000_000,
                    outcome,
                },
            );
        };
        push(0, 0, Some("a 1\nb 1\n"));
        push(5, 1, Some("a 7\n"));
        push(15, 0, None);
        push(30, 0, Some("a 1\nb 2\n"));
        push(45, 0, Some("b 3\n"));
        let observed = observe(&recorder.finish(), 60_000_000_000).expect("observed");
        assert_eq!(observed.scrapes, 5);
        let text = format!("{:?}", observed.ingest.store());
        assert!(
            text.contains("inventory-service") && text.contains("ledger-2"),
            "{text}"
        );
    }
}
