//! A host's own idea of time.
//!
//! Invariants: integer arithmetic only; the monotonic clock never goes back, whatever is done to the wall clock.
//! Grain: nanoseconds, but virtual time itself moves in steps of 1 ms (tokio's timers round up), and stands still while
//! tasks run: CPU time is charged through [`Cpu`](super::Cpu), not by the clock.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Virtual nanoseconds since the start of the run, written by the event loop alone.
#[derive(Debug, Default)]
pub(super) struct VirtualTime(AtomicU64);

impl VirtualTime {
    pub(super) fn nanos(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, nanos: u64) {
        self.0.store(nanos, Relaxed);
    }
}

/// Both clocks of a host run at `1 + ppm/1e6` since `since`.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    since: u64,
    monotonic_then: u64,
    offset_nanos: i64,
    drift_ppm: i64,
}

impl Rate {
    fn local(&self, virtual_nanos: u64) -> i128 {
        let elapsed = i128::from(virtual_nanos - self.since);
        elapsed + elapsed * i128::from(self.drift_ppm) / 1_000_000
    }
}

/// The clock of one host: cheap to clone, `Send + Sync`, keeps running over restarts of the host.
#[derive(Clone)]
pub struct HostClock {
    time: Arc<VirtualTime>,
    epoch_unix_nanos: i64,
    rate: Arc<Mutex<Rate>>,
}

impl HostClock {
    pub(super) fn new(time: Arc<VirtualTime>, epoch_unix_nanos: i64) -> Self {
        Self {
            time,
            epoch_unix_nanos,
            rate: Arc::default(),
        }
    }

    fn rate(&self) -> Rate {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the wall clock is wrong by `offset_nanos` and both clocks gain `drift_ppm` µs per true second.
    /// `(0, 0)` sets the wall clock right again.
    pub(super) fn set(&self, offset_nanos: i64, drift_ppm: i64) {
        let now = self.time.nanos();
        let monotonic_then = self.monotonic().as_nanos() as u64;
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Rate {
            since: now,
            monotonic_then,
            offset_nanos,
            drift_ppm,
        };
    }

    /// Nanoseconds since 1970 as this host believes.
    #[must_use]
    pub fn unix_nanos(&self) -> i64 {
        let rate = self.rate();
        let local = i128::from(rate.since) + rate.local(self.time.nanos());
        (i128::from(self.epoch_unix_nanos) + local + i128::from(rate.offset_nanos)) as i64
    }

    /// Time since the start of the run as this host measures it: drifts, never steps.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        let rate = self.rate();
        Duration::from_nanos(
            (i128::from(rate.monotonic_then) + rate.local(self.time.nanos())) as u64,
        )
    }

    /// Sleeps `duration` of this host's time; rounded up to the next virtual millisecond. A change of drift during the
    /// sleep does not move its end.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.to_virtual(duration)).await;
    }

    /// Runs `future` for at most `limit` of this host's time; `None` when the time is up first.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(self.to_virtual(limit), future)
            .await
            .ok()
    }

    fn to_virtual(&self, local: Duration) -> Duration {
        let ppm = i128::from(self.rate().drift_ppm);
        if ppm == 0 {
            return local;
        }
        let divisor = 1_000_000 + ppm;
        let nanos = (local.as_nanos() as i128 * 1_000_000 + divisor - 1) / divisor;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for HostClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostClock({} ns since 1970)", self.unix_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn offset_and_drift_are_exact_and_healing_steps_the_wall_clock_only() {
        let time = Arc::new(VirtualTime::default());
        let clock = HostClock::new(time.clone(), 1_000);
        clock.set(-500, 100);
        time.set(10 * SECOND);
        assert_eq!(
            clock.unix_nanos(),
            1_000 - 500 + 10 * SECOND as i64 + 1_000_000
        );
        assert_eq!(
            clock.monotonic().as_nanos(),
            10 * u128::from(SECOND) + 1_000_000
        );
        clock.set(0, 0);
        assert_eq!(clock.unix_nanos(), 1_000 + 10 * SECOND as i64);
        assert_eq!(
            clock.monotonic().as_nanos(),
            10 * u128::from(SECOND) + 1_000_000
        );
        time.set(20 * SECOND);
        assert_eq!(clock.unix_nanos(), 1_000 + 20 * SECOND as i64);
        assert_eq!(
            clock.monotonic().as_nanos(),
            20 * u128::from(SECOND) + 1_000_000
        );
    }

    #[test]
    fn a_fast_clock_sleeps_less_virtual_time_and_never_too_little() {
        let clock = HostClock::new(Arc::default(), 0);
        clock.set(0, 1_000_000);
        assert_eq!(
            clock.to_virtual(Duration::from_secs(10)),
            Duration::from_secs(5)
        );
        clock.set(0, -500_000);
        assert_eq!(
            clock.to_virtual(Duration::from_secs(10)),
            Duration::from_secs(20)
        );
        clock.set(0, 3);
        assert_eq!(
            clock.to_virtual(Duration::from_nanos(10)),
            Duration::from_nanos(10)
        );
    }
}
