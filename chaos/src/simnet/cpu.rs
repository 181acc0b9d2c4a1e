//! The cores of a host: one FIFO queue, any number of cores.
//!
//! Invariants: nanosecond books of its own (tokio's timers round to 1 ms, so a 40 µs job must not cost a sleep); a job
//! starts on the core that is free first, never before an earlier job has started; no work is lost or counted twice.
//! Limit: a job whose end lies less than 1 ms away returns at once and stays in the books as debt; the wait of the others
//! is exact to 1 ms. Leaves out: priorities and preemption.

use super::clock::VirtualTime;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const MILLISECOND: u64 = 1_000_000;

#[derive(Debug)]
struct Books {
    /// Virtual nanosecond at which each core has done all it was given.
    free_at: Vec<u64>,
    busy_nanos: u64,
    factor: u32,
    /// Nanoseconds that the host was frozen so far: what it was working on ends that much later.
    paused_nanos: u64,
}

/// The processor of one host: cheap to clone, `Send + Sync`.
#[derive(Clone)]
pub struct Cpu {
    time: Arc<VirtualTime>,
    books: Arc<Mutex<Books>>,
}

impl Cpu {
    pub(super) fn new(time: Arc<VirtualTime>, cores: u32) -> Self {
        let books = Books {
            free_at: vec![0; cores.max(1) as usize],
            busy_nanos: 0,
            factor: 1,
            paused_nanos: 0,
        };
        Self {
            time,
            books: Arc::new(Mutex::new(books)),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses `cost` of one core, after everything that was asked for before; completes when the work is done.
    ///
    /// Dropping the future does not take the work back: it was already given to a core.
    pub async fn work(&self, cost: Duration) {
        let (end, paused) = self.charge(cost);
        loop {
            let wait = (end + self.books().paused_nanos - paused).saturating_sub(self.time.nanos());
            if wait < MILLISECOND {
                return;
            }
            // Down to whole milliseconds: the timer would round up, which would add 0.5 ms to every job on average.
            tokio::time::sleep(Duration::from_nanos(wait - wait % MILLISECOND)).await;
        }
    }

    /// Like [`Cpu::work`], in nanoseconds.
    pub async fn work_nanos(&self, cost: u64) {
        self.work(Duration::from_nanos(cost)).await;
    }

    /// Books the work without waiting; returns the virtual nanosecond of its end and the freezes that this accounts for.
    fn charge(&self, cost: Duration) -> (u64, u64) {
        let now = self.time.nanos();
        let mut books = self.books();
        let cost = u64::try_from(cost.as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(books.factor));
        books.busy_nanos = books.busy_nanos.saturating_add(cost);
        // `min_by_key` takes the first of equals, so that the choice does not depend on anything but the books.
        let paused = books.paused_nanos;
        let Some(core) = books.free_at.iter_mut().min_by_key(|core| **core) else {
            return (now, paused);
        };
        *core = (*core).max(now).saturating_add(cost);
        (*core, paused)
    }

    /// Nanoseconds of core time used since the start of the run, restarts included: `process_cpu_seconds_total` · 1e9.
    #[must_use]
    pub fn busy_nanos(&self) -> u64 {
        self.books().busy_nanos
    }

    /// How long a job that is given now waits before it starts.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        let free = self.books().free_at.iter().copied().min().unwrap_or(0);
        Duration::from_nanos(free.saturating_sub(self.time.nanos()))
    }

    /// Number of cores.
    #[must_use]
    pub fn cores(&self) -> u32 {
        self.books().free_at.len() as u32
    }

    /// Work takes `factor` times as long from now on.
    pub(super) fn set_factor(&self, factor: u32) {
        self.books().factor = factor.max(1);
    }

    /// A new process starts on idle cores.
    pub(super) fn clear(&self) {
        let now = self.time.nanos();
        self.books()
            .free_at
            .iter_mut()
            .for_each(|core| *core = (*core).min(now));
    }

    /// Nothing ran for `nanos`: what was queued ends that much later.
    pub(super) fn pause(&self, since: u64, nanos: u64) {
        let mut books = self.books();
        books.paused_nanos += nanos;
        books
            .free_at
            .iter_mut()
            .filter(|core| **core > since)
            .for_each(|core| *core = core.saturating_add(nanos));
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.books().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn jobs_take_the_core_that_is_free_first() {
        let cpu = Cpu::new(Arc::default(), 2);
        let ends = [500, 300, 300, 100].map(|cost| cpu.charge(micros(cost)).0 / 1000);
        assert_eq!(ends, [500, 300, 600, 600]);
        assert_eq!(cpu.busy_nanos(), 1_200_000);
        assert_eq!(cpu.queue_delay(), micros(600));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let time = Arc::new(VirtualTime::default());
        let cpu = Cpu::new(time.clone(), 1);
        cpu.charge(micros(100));
        time.set(1_000_000);
        assert_eq!(cpu.queue_delay(), Duration::ZERO);
        assert_eq!(cpu.charge(micros(40)).0, 1_040_000);
    }

    #[test]
    fn a_slow_core_and_a_pause_lengthen_the_work() {
        let cpu = Cpu::new(Arc::default(), 1);
        cpu.set_factor(4);
        assert_eq!(cpu.charge(micros(10)).0, 40_000);
        cpu.pause(0, 1_000);
        assert_eq!(cpu.queue_delay(), Duration::from_nanos(41_000));
        cpu.clear();
        assert_eq!(cpu.queue_delay(), Duration::ZERO);
        assert_eq!(cpu.busy_nanos(), 40_000);
    }
}
