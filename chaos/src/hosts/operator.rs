//! The operator's host: errands that a runbook asks a person to do, done through the ledger's API.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ::ledger::ports::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{LEDGER_PORT, LEDGERS, World, lock};
use crate::{
    recording::{Call, Event},
    simnet::{
        HostCtx,
        http::{Client, ClientConfig},
    },
};

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Walk through every oversold night, newest allocation first, and cancel the booking or release the hold until none is
    /// oversold.
    CancelSurplus,
}

/// What the operator was asked to do and has not begun.
#[derive(Default)]
pub struct Errands {
    waiting: std::sync::Mutex<VecDeque<Errand>>,
    came: Notify,
}

impl Errands {
    /// Asks for one more.
    pub fn push(&self, errand: Errand) {
        lock(&self.waiting).push_back(errand);
        self.came.notify_one();
    }

    async fn next(&self) -> Errand {
        loop {
            if let Some(errand) = lock(&self.waiting).pop_front() {
                return errand;
            }
            self.came.notified().await;
        }
    }
}

/// Passes over the oversold nights before the operator gives up.
const ROUNDS_MAX: u32 = 200;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The newest active allocation on the first oversold night, its tenant and state: what the operator looks up with `psql`.
const SURPLUS: &str = "SELECT a.tenant_id, a.allocation_id, a.status, a.created_at
FROM room_type_inventory_daily d
JOIN room_allocations a ON a.room_type_id = d.room_type_id AND a.arrival <= d.night AND a.departure > d.night
WHERE d.held + d.confirmed > d.capacity + d.policy_extra AND a.status IN ('held', 'confirmed')
ORDER BY a.created_at DESC, a.allocation_id
LIMIT 1";

/// The host: does errands until it is stopped.
pub async fn run(ctx: HostCtx, world: Arc<World>) {
    let client = Client::new(&ctx, ClientConfig::default());
    loop {
        let errand = tokio::select! {
            biased;
            () = ctx.stop.wait() => return,
            errand = world.errands.next() => errand,
        };
        match errand {
            Errand::CancelSurplus => cancel_surplus(&ctx, &world, &client).await,
        }
    }
}

async fn cancel_surplus(ctx: &HostCtx, world: &Arc<World>, client: &Client) {
    for round in 0..ROUNDS_MAX {
        let found = world.primary().query(world, "postgres", SURPLUS).await;
        let Some(row) = found.ok().and_then(|rows| rows.rows.into_iter().next()) else {
            return;
        };
        let [
            Value::Uuid(tenant),
            Value::Uuid(allocation),
            Value::Text(status),
            _,
        ] = &row[..]
        else {
            return;
        };
        let (verb, asked) = if **status == *"held" {
            ("release", Call::Release(*allocation))
        } else {
            ("cancel", Call::Cancel(*allocation))
        };
        world.record(Event::Operator(asked));
        call(
            client,
            LEDGERS[round as usize % LEDGERS.len()],
            *tenant,
            *allocation,
            verb,
        )
        .await;
        ctx.clock.sleep(Duration::from_millis(100)).await;
    }
}

async fn call(client: &Client, ledger: &str, tenant: Uuid, allocation: Uuid, verb: &str) {
    let request = http::Request::post(format!("/v1/allocations/{allocation}/{verb}"))
        .header("x-tenant-id", tenant.to_string())
        .body(bytes::Bytes::new());
    if let Ok(request) = request {
        // A call that fails is repeated by the next round, which finds the same night oversold.
        let _ = client
            .request(ledger, LEDGER_PORT, request, CALL_TIMEOUT)
            .await;
    }
}
