//! The ambient world behind the ports: this is the one place that may touch it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::ports::{BoxFuture, Clock, Ids, Spawn};

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Monotonic time counts from here.
    #[expect(clippy::disallowed_methods, reason = "the adapter of the real clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Ids and jitter from the operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the adapter of the real randomness"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn bits(&self) -> u64 {
        let (high, low) = self.uuid().as_u64_pair();
        // Six bits of a version 4 id are fixed, at different places of the halves.
        high ^ low.rotate_left(32)
    }
}

/// Tasks of the current tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioSpawn;

impl Spawn for TokioSpawn {
    #[expect(clippy::disallowed_methods, reason = "the adapter of the real runtime")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}
