//! A circuit breaker on the injected clock: after several failures in a row, calls are not made for a while, then one tries.
//!
//! Ours, since the kept crates read the ambient clock (`failsafe` 1.3 has `Instant::now` in its state machine).

use std::{sync::Mutex, time::Duration};

/// State of one breaker. Times are the host's monotonic time.
pub struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<State>,
}

enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
    },
    /// One call is trying; if nobody reports how it went, another may try after the pause.
    HalfOpen {
        until: Duration,
    },
}

impl Breaker {
    /// Opens after `failures_max` failures in a row, for `pause`.
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        Self {
            failures_max: failures_max.max(1),
            pause,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Whether a call may be made now. Whoever is allowed reports [`Breaker::succeeded`] or [`Breaker::failed`].
    pub fn allows(&self, now: Duration) -> bool {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => true,
            State::Open { until } | State::HalfOpen { until } if now < until => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                *state = State::HalfOpen {
                    until: now + self.pause,
                };
                true
            }
        }
    }

    /// The call worked.
    pub fn succeeded(&self) {
        *self.lock() = State::Closed { failures: 0 };
    }

    /// The call failed.
    pub fn failed(&self, now: Duration) {
        let mut state = self.lock();
        let failures = match *state {
            State::Closed { failures } => failures + 1,
            State::Open { .. } | State::HalfOpen { .. } => self.failures_max,
        };
        *state = if failures >= self.failures_max {
            State::Open {
                until: now + self.pause,
            }
        } else {
            State::Closed { failures }
        };
    }

    /// Whether it is open or half open.
    pub fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while holding it; a poisoned lock still holds a whole state.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
