//! Runs many independent runs on a few threads.
//!
//! Invariant: results come back in the order in which the jobs were given, whatever finished first; each run has a thread of
//! its own from beginning to end, so nothing that one leaves behind in thread-local state reaches the next; a panic is an error
//! of its run alone and never looks like a pass.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

/// Does `work` for each job on at most `threads` threads at a time; `done` is told of each in the order in which they finish. A job
/// is made when a thread is free for it, so that those still to come take no memory.
///
/// # Errors
/// Per job: the message of its panic.
pub fn run_all<J: Send + Sync, R: Send>(
    jobs: impl IntoIterator<Item = J, IntoIter: Send>,
    threads: usize,
    work: impl Fn(&J) -> R + Sync,
    done: impl Fn(&J, &Result<R, String>) + Sync,
) -> Vec<Result<R, String>> {
    let jobs = jobs.into_iter();
    let threads = jobs.size_hint().1.map_or(threads, |most| threads.min(most));
    let jobs = Mutex::new(jobs.enumerate());
    let results = Mutex::new(Vec::new());
    let lane = || {
        while let Some((place, job)) = take(&jobs) {
            // The thread ends with the run: what its thread-local state holds ends with it.
            let result =
                thread::scope(
                    |scope| match scope.spawn(|| attempt(|| work(&job))).join() {
                        Ok(result) => result,
                        Err(panic) => Err(message(panic.as_ref())),
                    },
                );
            done(&job, &result);
            lock(&results).push((place, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(lane);
        }
    });
    let mut results = results
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs `work`; a panic becomes its message.
///
/// # Errors
/// The panic's message.
pub fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}

/// In a function of its own, so that the lock ends with it.
fn take<J>(jobs: &Mutex<impl Iterator<Item = J>>) -> Option<J> {
    lock(jobs).next()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs_whatever_finishes_first() {
        for threads in [0, 1, 2, 5] {
            let jobs: Vec<u64> = (0..20).collect();
            let spin = |job: &&u64| {
                (0..(20 - **job) * 10_000).fold(**job, |sum, _| std::hint::black_box(sum))
            };
            let told = AtomicUsize::new(0);
            let results = run_all(&jobs, threads, spin, |_, _| {
                told.fetch_add(1, Ordering::Relaxed);
            });
            let expected: Vec<Result<u64, String>> = jobs.iter().copied().map(Ok).collect();
            assert_eq!(results, expected, "{threads} threads");
            assert_eq!(told.into_inner(), jobs.len());
        }
        assert!(run_all(&[0; 0], 4, |_| (), |_, _| {}).is_empty());
    }

    #[test]
    fn a_panic_is_an_error_of_its_run_alone() {
        let results = run_all(
            &[1, 2, 3],
            2,
            |job| assert!(**job != 2, "job {job} broke"),
            |_, _| {},
        );
        assert_eq!(results, [Ok(()), Err("job 2 broke".into()), Ok(())]);
    }

    #[test]
    fn each_run_begins_with_fresh_thread_local_state() {
        thread_local!(static SEEN: Cell<u32> = const { Cell::new(0) });
        let count = |_: &&u8| SEEN.with(|seen| seen.replace(seen.get() + 1));
        assert_eq!(run_all(&[0u8; 6], 2, count, |_, _| {}), vec![Ok(0); 6]);
    }
}
