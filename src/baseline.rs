//! A bare HTTP pair over the simulated network: what a request costs before the ledger does anything for it.
//!
//! Invariant: measured in the same process as the runs that it stands beside, and no run sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use chaos::simnet::{
    HostConfig, HostCtx, NetConfig, SimBuilder, SimError, TcpListener,
    http::{Client, ClientConfig, serve_fn},
};

use crate::books::thread_cpu;

/// Requests of one measurement.
const REQUESTS: u32 = 20_000;

/// What the pair took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// Requests answered.
    pub requests: u32,
    /// CPU time of all of them, both ends and the network.
    pub cpu: Duration,
}

impl Baseline {
    /// CPU time of one request.
    pub fn micros_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.requests.max(1))
    }
}

/// Sends requests one after the other from one host to another.
///
/// # Errors
/// A fault of the simulated network, or a request that it lost.
pub fn measure() -> Result<Baseline, SimError> {
    let before = thread_cpu();
    let done = Arc::new(AtomicBool::new(false));
    let finished = done.clone();
    SimBuilder::new(NetConfig::new(1))
        .host("server", HostConfig::default(), server)
        .host("client", HostConfig::default(), move |ctx| {
            client(ctx, finished.clone())
        })
        .run(move |sim| async move {
            while !done.load(Relaxed) {
                sim.sleep_until(sim.now() + Duration::from_secs(1)).await;
            }
        })?;
    Ok(Baseline {
        requests: REQUESTS,
        cpu: thread_cpu().saturating_sub(before),
    })
}

async fn server(ctx: HostCtx) {
    match TcpListener::bind("0.0.0.0:80").await {
        Ok(listener) => {
            serve_fn(&ctx, listener, |_| async {
                http::Response::new(Bytes::from_static(b"ok"))
            })
            .await
        }
        Err(error) => unreachable!("the first socket of a host can be bound: {error}"),
    }
}

async fn client(ctx: HostCtx, done: Arc<AtomicBool>) {
    let client = Client::new(&ctx, ClientConfig::default());
    // The server's socket is there after the first poll of its host.
    ctx.clock.sleep(Duration::from_millis(10)).await;
    for index in 0..REQUESTS {
        if let Err(error) = client.get("server", 80, "/").await {
            panic!("request {index} over a healthy network failed: {error}");
        }
    }
    done.store(true, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_of_the_bare_pair_is_answered_and_costs_something() {
        let baseline = measure().expect("measured");
        assert_eq!(baseline.requests, REQUESTS);
        assert!(baseline.cpu > Duration::ZERO);
        println!("{:.1} µs per request", baseline.micros_per_request());
    }
}
