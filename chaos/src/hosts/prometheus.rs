//! The monitoring host: scrapes every target every 15 s over the same network that the faults break.
//!
//! As Prometheus does: an offset per target from a hash, a scrape timeout of 10 s, one scrape of a target at a time. Rules are
//! evaluated after the run, in the intervals in which this host was up.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::{LEDGER_PORT, LEDGERS, World};
use crate::{
    recording::{BodyDiff, Event},
    simnet::{
        HostCtx,
        http::{Client, ClientConfig},
    },
};

/// Time between two scrapes of a target.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

/// How long a scrape may take.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// The host: scrapes until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    world.record(Event::Evaluator(true));
    for target in LEDGERS {
        let (scraper, world) = (ctx.clone(), world.clone());
        ctx.spawn(async move { scrape(scraper, world, target).await });
    }
    ctx.stop.wait().await;
}

/// Where in the interval a target is scraped: spread by hash, so that targets are not scraped at once.
fn offset(target: &str) -> Duration {
    let digest = Sha256::digest(target.as_bytes());
    let bits = u16::from_le_bytes([digest[0], digest[1]]);
    Duration::from_millis(
        u64::from(bits) * SCRAPE_INTERVAL.as_millis() as u64 / (u64::from(u16::MAX) + 1),
    )
}

async fn scrape(ctx: HostCtx, world: Arc<World>, target: &'static str) {
    let client = Client::new(&ctx, ClientConfig::default());
    let name: Arc<str> = target.into();
    let mut previous = Vec::new();
    ctx.clock.sleep(offset(target)).await;
    let first = ctx.clock.monotonic();
    for round in 1u32.. {
        let at = world.now();
        let outcome = fetch(&client, target)
            .await
            .map(|body| BodyDiff::advance(&mut previous, &body));
        world.record_at(
            at,
            Event::Scrape {
                target: name.clone(),
                duration: world.now() - at,
                outcome,
            },
        );
        let next = first + SCRAPE_INTERVAL * round;
        let wait = next.saturating_sub(ctx.clock.monotonic());
        tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            () = ctx.clock.sleep(wait) => {}
        }
    }
}

async fn fetch(client: &Client, target: &str) -> Result<String, String> {
    let request = http::Request::get("/metrics")
        .body(bytes::Bytes::new())
        .map_err(|error| error.to_string())?;
    let reply = client
        .request(target, LEDGER_PORT, request, SCRAPE_TIMEOUT)
        .await
        .map_err(|error| error.to_string())?;
    if reply.status() != http::StatusCode::OK {
        return Err(format!("server returned HTTP status {}", reply.status()));
    }
    String::from_utf8(reply.into_body().to_vec()).map_err(|_| "body is not UTF-8".to_owned())
}
