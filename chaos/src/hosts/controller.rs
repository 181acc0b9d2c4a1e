//! The failover controller: probes the primary every second and, after three misses, powers it off and promotes the standby.
//!
//! Powering off before promoting keeps two primaries from writing at once, whatever the network between them did.

use std::{sync::Arc, time::Duration};

use super::{
    DATABASES, World,
    database::{CONTROL_PORT, Control},
    disk::State,
    wire::Wire,
};
use crate::{
    recording::{Event, HostState},
    simnet::HostCtx,
};

/// Time between probes, and how long each may take.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Misses in a row that mean failure.
pub const MISSES_MAX: u32 = 3;

/// The host: watches until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    let (mut primary, mut standby) = (Peer::new(DATABASES[0]), Some(Peer::new(DATABASES[1])));
    let mut misses = 0;
    loop {
        tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            () = ctx.clock.sleep(PROBE_EVERY) => {}
        }
        let seen = primary.ask(&ctx, Control::State, PROBE_EVERY).await;
        misses = if seen.is_some_and(|state| !state.standby) {
            0
        } else {
            misses + 1
        };
        if misses < MISSES_MAX {
            continue;
        }
        let Some(mut candidate) = standby.take() else {
            continue;
        };
        fence(&world, primary.host);
        match candidate.ask(&ctx, Control::Promote, PROBE_EVERY * 5).await {
            Some(State {
                standby: false,
                timeline,
            }) => {
                world.record(Event::Promoted {
                    host: candidate.host.into(),
                    timeline,
                });
                (primary, misses) = (candidate, 0);
            }
            _ => standby = Some(candidate),
        }
    }
}

fn fence(world: &World, host: &'static str) {
    world.disks[host].fence();
    if world.sim().is_up(host) {
        world.sim().crash(host);
        world.record(Event::Host {
            host: host.into(),
            state: HostState::Crashed,
        });
    }
}

/// A database host and the connection to its control port, kept between probes.
struct Peer {
    host: &'static str,
    wire: Option<Wire>,
}

impl Peer {
    fn new(host: &'static str) -> Peer {
        Peer { host, wire: None }
    }

    /// Asks once; a miss drops the connection.
    async fn ask(&mut self, ctx: &HostCtx, request: Control, limit: Duration) -> Option<State> {
        let kept = self.wire.take();
        let host = self.host;
        let (wire, state) = ctx
            .clock
            .timeout(limit, exchange(kept, host, request))
            .await??;
        self.wire = Some(wire);
        Some(state)
    }
}

async fn exchange(kept: Option<Wire>, host: &str, request: Control) -> Option<(Wire, State)> {
    let mut wire = match kept {
        Some(wire) => wire,
        None => Wire::connect(&format!("{host}:{CONTROL_PORT}"))
            .await
            .ok()?,
    };
    wire.send(&request).await.ok()?;
    let state = wire.receive().await.ok()?;
    Some((wire, state))
}
