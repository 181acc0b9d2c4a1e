//! The life of one rule's alerts: pending, firing, kept, resolved.
//!
//! Invariant: for each instant the states equal those of Prometheus' alerting rule. An alert fires in the evaluation in which
//! `for` has passed since it became active; one miss ends a pending alert; a firing one honours `keep_firing_for`.

use indexmap::IndexMap;

use super::schedule::Restoration;
use super::{Rule, RuleKind};
use crate::labels::Labels;
use crate::timeline::{AlertState, Transition};

/// A resolved alert is kept this long, so that its return is a return of the same alert.
const RESOLVED_KEPT_MS: i64 = 15 * 60 * 1000;

/// How a rule turns conditions into alerts, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub for_ms: i64,
    pub keep_firing_for_ms: i64,
}

impl Timing {
    /// None for a recording rule.
    pub fn of(rule: &Rule) -> Option<Self> {
        match rule.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting {
                for_ms,
                keep_firing_for_ms,
                ..
            } => Some(Timing {
                for_ms,
                keep_firing_for_ms,
            }),
        }
    }
}

#[derive(Debug, Clone)]
struct Alert {
    state: State,
    active_at_ms: i64,
    keep_since_ms: Option<i64>,
    resolved_at_ms: Option<i64>,
    /// Of the last evaluation in which its condition held.
    seen: Seen,
}

/// What an evaluation saw of an alert: when, labels of the sample before the rule's were added, and its value.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub t_ms: i64,
    pub sample: Labels,
    pub value: f64,
}

/// An alert whose condition holds in an evaluation.
pub(super) struct Holding<'a> {
    pub labels: Labels,
    pub sample: &'a Labels,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Firing,
    Resolved,
}

/// The alerts of one rule.
#[derive(Debug, Default)]
pub(super) struct Machine {
    alerts: IndexMap<Labels, Alert>,
}

/// An alert that is active after an evaluation: labels, firing, and since when its condition holds.
pub(super) struct Live<'a> {
    pub labels: &'a Labels,
    pub firing: bool,
    pub active_at_ms: i64,
    pub keep_since_ms: Option<i64>,
    pub seen: &'a Seen,
}

impl Machine {
    /// One evaluation: the alerts whose condition holds, each with its value. Reports every change.
    pub fn tick(
        &mut self,
        timing: Timing,
        t_ms: i64,
        holding: &[Holding<'_>],
        mut report: impl FnMut(&Labels, Transition),
    ) {
        if holding.is_empty() && self.is_idle() {
            return;
        }
        let mut seen: IndexMap<&Labels, ()> = IndexMap::with_capacity(holding.len());
        for now in holding {
            let (labels, value) = (&now.labels, &now.value);
            seen.insert(labels, ());
            let saw = Seen {
                t_ms,
                sample: now.sample.clone(),
                value: now.value,
            };
            match self.alerts.get_mut(labels) {
                Some(alert) if alert.state != State::Resolved => {
                    alert.seen = saw;
                    alert.keep_since_ms = None;
                }
                _ => {
                    let fresh = Alert {
                        state: State::Pending,
                        active_at_ms: t_ms,
                        keep_since_ms: None,
                        resolved_at_ms: None,
                        seen: saw,
                    };
                    self.alerts.insert(labels.clone(), fresh);
                    if timing.for_ms > 0 {
                        report(
                            labels,
                            Transition {
                                t_ms,
                                state: AlertState::Pending,
                                value: *value,
                            },
                        );
                    }
                }
            }
        }
        self.alerts.retain(|labels, alert| {
            if !seen.contains_key(labels) && !alert.miss(timing, t_ms, labels, &mut report) {
                return false;
            }
            let waited = t_ms - alert.active_at_ms >= timing.for_ms;
            let state = match alert.state {
                State::Pending if waited => AlertState::Firing,
                // It fired before it was restored, which gave it a later beginning.
                State::Firing if !waited => AlertState::Pending,
                _ => return true,
            };
            alert.state = match state {
                AlertState::Firing => State::Firing,
                _ => State::Pending,
            };
            if state == AlertState::Pending {
                alert.keep_since_ms = None;
            }
            let value = alert.seen.value;
            report(labels, Transition { t_ms, state, value });
            true
        });
    }

    /// After the second evaluation since a restart, alerts get back the time that they had already waited. `stored` answers
    /// the last sample of an alert's `ALERTS_FOR_STATE`: its instant and since when the alert is active, in seconds.
    pub fn restore(
        &mut self,
        timing: Timing,
        restoration: Restoration,
        t_ms: i64,
        stored: impl Fn(&Labels) -> Option<(i64, f64)>,
    ) {
        let grace_ms = restoration.grace_ms;
        if timing.for_ms < grace_ms {
            return;
        }
        // The server looks at its clock, which is past the evaluation's instant by then.
        let now_ms = t_ms + 1;
        for (labels, alert) in &mut self.alerts {
            let Some((last_ms, since)) = stored(labels) else {
                continue;
            };
            let down_ms = last_ms.div_euclid(1000) * 1000;
            // The series is read from storage, which may hold anything.
            let active_ms = since.clamp(-1e12, 1e12) as i64 * 1000;
            let remaining = timing.for_ms - (down_ms - active_ms);
            alert.active_at_ms = if remaining <= 0 {
                active_ms
            } else if remaining < grace_ms {
                now_ms + grace_ms - timing.for_ms
            } else {
                active_ms + (now_ms - down_ms)
            };
        }
    }

    /// Nothing is active or kept: without a condition that holds, an evaluation changes nothing.
    pub fn is_idle(&self) -> bool {
        self.alerts.is_empty()
    }

    /// True for an alert that is pending or firing.
    pub fn is_live(&self, labels: &Labels) -> bool {
        let alert = self.alerts.get(labels);
        alert.is_some_and(|alert| alert.state != State::Resolved)
    }

    /// No alert is active any more, and none was.
    pub fn forget(&mut self) {
        self.alerts.clear();
    }

    /// What was last seen of an alert.
    pub fn seen(&self, labels: &Labels) -> Option<&Seen> {
        self.alerts.get(labels).map(|alert| &alert.seen)
    }

    /// Alerts that are pending or firing.
    pub fn live(&self) -> impl Iterator<Item = Live<'_>> {
        self.alerts
            .iter()
            .filter(|(_, alert)| alert.state != State::Resolved)
            .map(|(labels, alert)| Live {
                labels,
                firing: alert.state == State::Firing,
                active_at_ms: alert.active_at_ms,
                keep_since_ms: alert.keep_since_ms,
                seen: &alert.seen,
            })
    }
}

impl Alert {
    fn ended(&self) -> Option<AlertState> {
        match self.state {
            State::Pending => Some(AlertState::Inactive),
            State::Firing => Some(AlertState::Resolved),
            State::Resolved => None,
        }
    }

    /// The condition does not hold in this evaluation; false when the alert is forgotten.
    fn miss(
        &mut self,
        timing: Timing,
        t_ms: i64,
        labels: &Labels,
        report: &mut impl FnMut(&Labels, Transition),
    ) -> bool {
        if self.state == State::Firing && timing.keep_firing_for_ms > 0 {
            let since = *self.keep_since_ms.get_or_insert(t_ms);
            if t_ms - since < timing.keep_firing_for_ms {
                return true;
            }
        }
        if let Some(state) = self.ended() {
            report(
                labels,
                Transition {
                    t_ms,
                    state,
                    value: self.seen.value,
                },
            );
        }
        if self.state == State::Pending
            || self
                .resolved_at_ms
                .is_some_and(|at| t_ms - at > RESOLVED_KEPT_MS)
        {
            return false;
        }
        if self.state != State::Resolved {
            self.state = State::Resolved;
            self.resolved_at_ms = Some(t_ms);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` holds, `.` does not, at 15 s steps. Answers each change with its second.
    fn life(for_s: i64, keep_s: i64, steps: &str) -> String {
        let timing = Timing {
            for_ms: for_s * 1000,
            keep_firing_for_ms: keep_s * 1000,
        };
        let (mut machine, mut out, mut t_ms) = (Machine::default(), Vec::new(), 0);
        let sample = Labels::default();
        let holding = [Holding {
            labels: Labels::of(&[("alertname", "A")]),
            sample: &sample,
            value: 1.0,
        }];
        for step in steps.chars().filter(|step| !step.is_whitespace()) {
            let now = if step == 'x' { &holding[..] } else { &[] };
            machine.tick(timing, t_ms, now, |_, change| {
                out.push(format!(
                    "{}@{}",
                    format!("{:?}", change.state).to_lowercase(),
                    change.t_ms / 1000
                ));
            });
            t_ms += 15_000;
        }
        out.join(" ")
    }

    #[test]
    fn an_alert_lives_as_in_prometheus() {
        let cases = [
            (0, 0, "x", "firing@0"),
            (0, 0, ".x.x", "firing@15 resolved@30 firing@45"),
            (30, 0, "xx", "pending@0"),
            (30, 0, "xxx", "pending@0 firing@30"),
            (30, 0, "xx.xx", "pending@0 inactive@30 pending@45"),
            (30, 0, "xxx.", "pending@0 firing@30 resolved@45"),
            (20, 0, "xxx", "pending@0 firing@30"),
            (0, 30, "x..", "firing@0"),
            (0, 30, "x...", "firing@0 resolved@45"),
            (0, 30, "x..x...", "firing@0 resolved@90"),
            (
                30,
                60,
                "xx.xxx",
                "pending@0 inactive@30 pending@45 firing@75",
            ),
        ];
        for (for_s, keep_s, steps, want) in cases {
            assert_eq!(
                life(for_s, keep_s, steps),
                want,
                "for {for_s} keep {keep_s}: {steps}"
            );
        }
    }
}
