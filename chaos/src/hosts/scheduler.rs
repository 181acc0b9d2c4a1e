//! The scheduler host: triggers the sweep every 10 s through a ledger's job endpoint, as a cloud scheduler does.
//!
//! The sweep comes at whole multiples of its interval by this host's clock. A ledger that does not answer is passed over for the next one; the trigger is recorded with how it ended.

use std::{sync::Arc, time::Duration};

use super::{LEDGER_PORT, LEDGERS, World, ledger::JOB_TOKEN};
use crate::{
    recording::Event,
    simnet::{
        HostCtx,
        http::{Client, ClientConfig},
    },
};

/// How often the sweep runs.
pub const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How long a trigger may take.
const TRIGGER_TIMEOUT: Duration = Duration::from_secs(8);

/// The host: triggers until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    let client = Client::new(&ctx, ClientConfig::default());
    for round in 0.. {
        let past = ctx
            .clock
            .unix_nanos()
            .rem_euclid(SWEEP_EVERY.as_nanos() as i64) as u64;
        tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            () = ctx.clock.sleep(SWEEP_EVERY - Duration::from_nanos(past)) => {}
        }
        let mut ok = false;
        for turn in 0..LEDGERS.len() {
            let ledger = LEDGERS[(round + turn) % LEDGERS.len()];
            ok = trigger(&client, ledger, "expire-holds").await;
            if ok {
                break;
            }
        }
        world.record(Event::Job {
            job: "expire-holds".into(),
            ok,
        });
    }
}

async fn trigger(client: &Client, ledger: &str, job: &str) -> bool {
    let Ok(request) = http::Request::post(format!("/internal/jobs/{job}"))
        .header("authorization", format!("Bearer {JOB_TOKEN}"))
        .body(bytes::Bytes::new())
    else {
        return false;
    };
    client
        .request(ledger, LEDGER_PORT, request, TRIGGER_TIMEOUT)
        .await
        .is_ok_and(|reply| reply.status().is_success())
}
