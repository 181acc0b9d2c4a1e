//! The one place where recording and rules meet: scrapes of a recording as Prometheus would have stored them.
//!
//! Invariant: of the recording only the scrapes and the evaluator's up-intervals are read, never ground truth; what the rules
//! get is text exposition with a timestamp, and what comes back is when each alert fired.

use std::{collections::BTreeMap, sync::Arc};

use alerts::scrape::{Ingest, Target};
use chaos::recording::{EPOCH_UNIX_S, Event, Nanos, Recording};

/// The job label of every target.
const JOB: &str = "inventory-service";

/// One millisecond of virtual time.
const MILLISECOND: Nanos = 1_000_000;

/// What Prometheus had: its samples, and when it evaluated rules.
#[derive(Debug)]
pub struct Observed {
    /// Every sample.
    pub ingest: Ingest,
    /// `[from, to)` in milliseconds since the Unix epoch, ascending and disjoint: when rules were evaluated.
    pub evaluator_up_ms: Vec<(i64, i64)>,
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
            Event::Scrape { target, duration, outcome } => {
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
                ingest.scrape(target, unix_ms(frame.at), seconds, outcome).map_err(|error| format!("{error:?}"))?;
                scrapes += 1;
            }
            _ => {}
        }
    }
    Ok(Observed { ingest, evaluator_up_ms: up_intervals(&evaluator, duration), scrapes })
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

/// When something was up, from its changes; a change to the state that it has changes nothing.
fn up_intervals(changes: &[(Nanos, bool)], duration: Nanos) -> Vec<(i64, i64)> {
    let mut intervals = Vec::new();
    let mut since = None;
    for &(at, up) in changes {
        match (since, up) {
            (None, true) => since = Some(at),
            (Some(from), false) => {
                intervals.push((unix_ms(from), unix_ms(at)));
                since = None;
            }
            _ => {}
        }
    }
    if let Some(from) = since {
        // The last instant of the run is evaluated too.
        intervals.push((unix_ms(from), unix_ms(duration) + 1));
    }
    intervals
}

#[cfg(test)]
mod tests {
    use chaos::recording::{BodyDiff, Recorder};

    use super::*;

    #[test]
    fn the_evaluator_is_up_from_its_start_to_its_stop() {
        let ms = MILLISECOND;
        for (changes, expected) in [
            (&[][..], &[][..]),
            (&[(0, true)], &[(0, 101)]),
            (&[(0, true), (20 * ms, false), (50 * ms, true)], &[(0, 20), (50, 101)]),
            (&[(0, true), (10 * ms, true), (20 * ms, false), (30 * ms, false)], &[(0, 20)]),
        ] {
            let since_start: Vec<(i64, i64)> = up_intervals(changes, 100 * ms)
                .iter()
                .map(|(from, to)| (from - EPOCH_UNIX_S * 1_000, to - EPOCH_UNIX_S * 1_000))
                .collect();
            assert_eq!(since_start, expected, "{changes:?}");
        }
    }

    #[test]
    fn scrapes_become_bodies_again_per_target_also_after_a_failure_and_a_restart() {
        let mut recorder = Recorder::default();
        let mut previous = [Vec::new(), Vec::new()];
        let mut push = |at: u64, target: usize, body: Option<&str>| {
            let outcome = body.map(|body| BodyDiff::advance(&mut previous[target], body)).ok_or("refused".to_owned());
            if at == 30 {
                previous[target].clear(); // Prometheus starts again: the next difference is to the empty body
            }
            let target = ["ledger-1", "ledger-2"][target].into();
            recorder.push(at * 1_000_000_000, Event::Scrape { target, duration: 2_000_000, outcome });
        };
        push(0, 0, Some("a 1\nb 1\n"));
        push(5, 1, Some("a 7\n"));
        push(15, 0, None);
        push(30, 0, Some("a 1\nb 2\n"));
        push(45, 0, Some("b 3\n"));
        let observed = observe(&recorder.finish(), 60_000_000_000).expect("observed");
        assert_eq!(observed.scrapes, 5);
        let text = format!("{:?}", observed.ingest.store());
        assert!(text.contains("inventory-service") && text.contains("ledger-2"), "{text}");
    }
}
