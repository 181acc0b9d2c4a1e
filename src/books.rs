//! The CPU books of one run: what each part of the pipeline took on this thread.
//!
//! Invariant: nothing that is measured here reaches the recording, the rules or the judge. A run stays on one thread, so the
//! thread's CPU clock is the run's. Waiting is not counted.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time by part, in the order in which the parts were first booked.
#[derive(Clone, Debug, Default)]
pub struct Books {
    parts: Vec<(String, Duration)>,
}

impl Books {
    /// Runs a part and books what it took.
    pub fn measure<T>(&mut self, part: &str, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu();
        let result = work();
        self.add(part, thread_cpu().saturating_sub(before));
        result
    }

    /// Runs work that books parts of its time itself, by [`stopwatch`]; the rest of it goes to `rest`. Each part gets its share
    /// of the CPU time.
    pub fn split<T>(
        &mut self,
        rest: &str,
        work: impl FnOnce() -> T,
        parts: impl FnOnce(&T) -> Vec<(&'static str, Duration)>,
    ) -> T {
        let (before, began) = (thread_cpu(), stopwatch());
        let result = work();
        let mut left = thread_cpu().saturating_sub(before);
        let elapsed = stopwatch().saturating_sub(began).max(left).as_secs_f64();
        let share = left.as_secs_f64() / elapsed.max(f64::MIN_POSITIVE);
        for (part, time) in parts(&result) {
            let time = time.mul_f64(share).min(left);
            self.add(part, time);
            left -= time;
        }
        self.add(rest, left);
        result
    }

    /// Books CPU time that a part measured itself.
    pub fn add(&mut self, part: &str, time: Duration) {
        match self.parts.iter_mut().find(|(name, _)| name == part) {
            Some((_, sum)) => *sum += time,
            None => self.parts.push((part.to_owned(), time)),
        }
    }

    /// All parts together.
    pub fn total(&self) -> Duration {
        self.parts.iter().map(|(_, time)| *time).sum()
    }

    /// The parts.
    pub fn into_parts(self) -> Vec<(String, Duration)> {
        self.parts
    }
}

/// CPU time of this thread since it began.
pub fn thread_cpu() -> Duration {
    since(ClockId::ThreadCPUTime)
}

/// Time since some instant, to be read millions of times: unlike a thread's CPU clock it takes no call into the kernel.
pub fn stopwatch() -> Duration {
    since(ClockId::Monotonic)
}

fn since(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Most memory that the process had resident, in bytes; `None` where the system does not say.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_works_is_booked_and_its_times_add_up() {
        let mut books = Books::default();
        let mut sum = 0u64;
        for _ in 0..2 {
            books.measure("work", || {
                sum = (1..3_000_000u64).fold(sum, |a, b| a.rotate_left(1).wrapping_add(b))
            });
        }
        assert_ne!(sum, 0);
        let before = thread_cpu();
        let spin = || {
            let began = stopwatch();
            sum = (1..3_000_000u64).fold(sum, |a, b| a.rotate_left(1).wrapping_add(b));
            stopwatch().saturating_sub(began)
        };
        books.split("rest", spin, |took| vec![("other", *took / 2)]);
        let spent = thread_cpu() - before;
        assert_ne!(sum, 0);
        let total = books.total();
        let parts = books.into_parts();
        assert_eq!(
            parts
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["work", "other", "rest"]
        );
        assert!(parts.iter().all(|(_, time)| *time > Duration::ZERO));
        assert_eq!(total, parts.iter().map(|(_, time)| *time).sum());
        assert!(parts[1].1 + parts[2].1 <= spent, "{parts:?} of {spent:?}");
    }

    #[test]
    fn the_peak_of_memory_is_known_where_proc_is() {
        if std::path::Path::new("/proc/self/status").exists() {
            assert!(peak_memory().expect("VmHWM is there") > 100_000);
        }
    }
}
