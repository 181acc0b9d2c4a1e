//! Deadlines by the injected clock, and waiting for several futures on one task.
//!
//! Nothing here asks the runtime for the time: in a simulation each host has a clock of its own.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::ports::{BoxFuture, Clock};

/// Runs `work` for at most `limit` of this host's time; `None` when the time is up, and `work` is dropped.
pub async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        value = work => Some(value),
        () = clock.sleep(limit) => None,
    }
}

/// Waits for all futures, polled in the order given; results in that order.
pub struct JoinAll<'a, T> {
    pending: Vec<Option<BoxFuture<'a, T>>>,
    done: Vec<Option<T>>,
}

/// Waits for all of `futures`. For a handful: each wake polls every one that is not done yet.
pub fn join_all<T: Unpin>(futures: Vec<BoxFuture<'_, T>>) -> JoinAll<'_, T> {
    JoinAll {
        done: futures.iter().map(|_| None).collect(),
        pending: futures.into_iter().map(Some).collect(),
    }
}

impl<T: Unpin> Future for JoinAll<'_, T> {
    type Output = Vec<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<T>> {
        let this = self.get_mut();
        let mut waiting = false;
        for (slot, done) in this.pending.iter_mut().zip(&mut this.done) {
            if let Some(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => {
                        *done = Some(value);
                        *slot = None;
                    }
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            return Poll::Pending;
        }
        Poll::Ready(this.done.drain(..).flatten().collect())
    }
}
