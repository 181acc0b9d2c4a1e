//! The client hosts: guests, channel manager, desk. Each carries out its operations of the plan over HTTP, as such clients do:
//! keep-alive connections, a time-out per attempt, and a bounded number of repetitions under the same idempotency key.
//!
//! Invariant: each operation that was invoked ends in exactly one of ok, fail, info; what is not certain is info.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use tokio::sync::watch;
use uuid::Uuid;

use super::{LEDGER_PORT, LEDGERS, World, date, lock};
use crate::{
    recording::{Call, EPOCH_UNIX_S, Event, Nanos, Op, Phase, Reply, Stay},
    scenario::{Client as Who, Plan, PlannedKind, PlannedOp},
    simnet::{
        HostCtx,
        http::{Client, ClientConfig},
    },
};

/// How long a client waits for one attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts of one operation.
pub const ATTEMPTS_MAX: u32 = 5;

/// Wait before the first repetition; doubles each time.
pub const BACKOFF: Duration = Duration::from_millis(500);

/// What the clients know of their holds.
#[derive(Default)]
pub struct Journal(Mutex<BTreeMap<u32, watch::Sender<Outcome>>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Open,
    Held { id: Uuid, until_us: i64 },
    None,
}

impl Journal {
    fn slot(&self, op: u32) -> watch::Sender<Outcome> {
        lock(&self.0)
            .entry(op)
            .or_insert_with(|| watch::channel(Outcome::Open).0)
            .clone()
    }

    async fn outcome(&self, op: u32) -> Outcome {
        let mut slot = self.slot(op).subscribe();
        match slot.wait_for(|outcome| *outcome != Outcome::Open).await {
            Ok(outcome) => *outcome,
            Err(_) => Outcome::None,
        }
    }
}

/// The host of `who`: sends its operations at their times, until the plan or the host ends.
pub async fn run(
    ctx: HostCtx,
    world: Arc<World>,
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    who: Who,
) {
    let client = Arc::new(Client::new(&ctx, ClientConfig::default()));
    for (index, op) in plan
        .operations
        .iter()
        .enumerate()
        .filter(|(_, op)| op.client == who)
    {
        let now = world.now();
        if op.at > now {
            ctx.clock.sleep(Duration::from_nanos(op.at - now)).await;
        }
        let mut run = Run {
            ctx: ctx.clone(),
            world: world.clone(),
            journal: journal.clone(),
            client: client.clone(),
            index: index as u32,
            key: index as u32,
            op: *op,
        };
        if let PlannedKind::Again { of } = op.kind {
            // Word for word the request of that hold.
            run.key = of;
            run.op.kind = plan.operations[of as usize].kind;
        }
        ctx.spawn(run.carry_out());
    }
    ctx.stop.wait().await;
}

struct Run {
    ctx: HostCtx,
    world: Arc<World>,
    journal: Arc<Journal>,
    client: Arc<Client>,
    index: u32,
    /// The operation that the idempotency key is derived from: another than `index` if this repeats it.
    key: u32,
    op: PlannedOp,
}

/// How one attempt ended.
enum Attempt {
    Done(Reply),
    /// Certainly without effect, and a repetition would end alike.
    Refused {
        status: u16,
        code: Arc<str>,
    },
    /// Certainly without effect, and a repetition may succeed.
    Busy {
        status: u16,
        code: Arc<str>,
    },
    /// It may have had its effect.
    Unclear(Arc<str>),
}

impl Run {
    async fn carry_out(self) {
        let Some(call) = self.call().await else {
            return;
        };
        self.record(Phase::Invoke(call.clone()));
        let mut unclear: Option<Arc<str>> = None;
        let mut last = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                self.ctx.clock.sleep(BACKOFF * (1 << (attempt - 1))).await;
            }
            match self.attempt(&call, attempt).await {
                Attempt::Done(reply) => return self.end(Phase::Ok(reply)),
                Attempt::Refused { status, code } => {
                    last = Some((status, code));
                    break;
                }
                Attempt::Busy { status, code } => last = Some((status, code)),
                Attempt::Unclear(why) => unclear = Some(why),
            }
        }
        self.end(match (unclear, last) {
            (None, Some((status, code))) => Phase::Fail { status, code },
            (Some(why), _) => Phase::Info(why),
            (None, None) => Phase::Info("no attempt".into()),
        });
    }

    /// What to ask, once what it follows is acknowledged; nothing if that failed.
    async fn call(&self) -> Option<Call> {
        let of = match self.op.kind {
            PlannedKind::Search(stay) => return Some(Call::Search(stay)),
            PlannedKind::Hold { stay, .. } => return Some(Call::Hold(stay)),
            PlannedKind::Again { of }
            | PlannedKind::Confirm { of, .. }
            | PlannedKind::Release { of }
            | PlannedKind::Cancel { of }
            | PlannedKind::Get { of } => of,
        };
        let Outcome::Held { id, until_us } = self.journal.outcome(of).await else {
            return None;
        };
        Some(match self.op.kind {
            PlannedKind::Confirm { from_hold_end, .. } => {
                if let Some(offset) = from_hold_end {
                    self.wait_until(until_us, offset).await;
                }
                Call::Confirm(id)
            }
            PlannedKind::Release { .. } => Call::Release(id),
            PlannedKind::Cancel { .. } => Call::Cancel(id),
            _ => Call::Get(id),
        })
    }

    async fn wait_until(&self, until_us: i64, offset: i64) {
        let end = (until_us - EPOCH_UNIX_S * 1_000_000) * 1_000;
        let at = u64::try_from(end + offset).unwrap_or(0);
        let wait: Nanos = at.saturating_sub(self.world.now());
        self.ctx.clock.sleep(Duration::from_nanos(wait)).await;
    }

    fn record(&self, phase: Phase) {
        self.world.record(Event::Op(Op {
            op: self.index,
            client: self.ctx.name.clone(),
            phase,
        }));
    }

    fn end(&self, phase: Phase) {
        if self.key == self.index && matches!(self.op.kind, PlannedKind::Hold { .. }) {
            let outcome = match &phase {
                Phase::Ok(Reply::Allocation {
                    id,
                    hold_until: Some(until_us),
                    ..
                }) => Outcome::Held {
                    id: *id,
                    until_us: *until_us,
                },
                _ => Outcome::None,
            };
            self.journal.slot(self.index).send_replace(outcome);
        }
        self.record(phase);
    }

    async fn attempt(&self, call: &Call, attempt: u32) -> Attempt {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(error) => {
                return Attempt::Refused {
                    status: 0,
                    code: error.to_string().into(),
                };
            }
        };
        let ledger = LEDGERS[(self.index + attempt) as usize % LEDGERS.len()];
        match self
            .client
            .request(ledger, LEDGER_PORT, request, ATTEMPT_TIMEOUT)
            .await
        {
            Ok(response) => judge(response.status().as_u16(), response.body(), call),
            Err(error) if !error.may_have_been_sent() => Attempt::Busy {
                status: 0,
                code: error.to_string().into(),
            },
            Err(error) => Attempt::Unclear(error.to_string().into()),
        }
    }

    fn request(&self, call: &Call) -> Result<http::Request<bytes::Bytes>, http::Error> {
        let (method, path) = match call {
            Call::Search(stay) => (
                "GET",
                format!(
                    "/v1/room-types/{}/availability?arrival={}&nights={}",
                    stay.room_type,
                    date(stay.arrival),
                    stay.nights
                ),
            ),
            Call::Hold(_) => ("POST", "/v1/holds".to_owned()),
            Call::Confirm(id) => ("POST", format!("/v1/allocations/{id}/confirm")),
            Call::Release(id) => ("POST", format!("/v1/allocations/{id}/release")),
            Call::Cancel(id) => ("POST", format!("/v1/allocations/{id}/cancel")),
            Call::Get(id) => ("GET", format!("/v1/allocations/{id}")),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("x-tenant-id", self.op.tenant.to_string());
        match (call, self.op.kind) {
            (Call::Hold(stay), PlannedKind::Hold { channel, .. }) => request
                .header("idempotency-key", format!("op-{}", self.key))
                .header("content-type", "application/json")
                .body(hold_body(stay, channel.as_str()).into()),
            _ => request.body(bytes::Bytes::new()),
        }
    }
}

fn hold_body(stay: &Stay, channel: &str) -> String {
    format!(
        r#"{{"room_type_id":"{}","arrival":"{}","nights":{},"channel":"{channel}"}}"#,
        stay.room_type,
        date(stay.arrival),
        stay.nights
    )
}

#[derive(Deserialize)]
struct NightView {
    available: i32,
}

#[derive(Deserialize)]
struct AvailabilityView {
    nights: Vec<NightView>,
    cached: bool,
}

#[derive(Deserialize)]
struct AllocationView {
    allocation_id: Uuid,
    status: Arc<str>,
    room_id: Option<Uuid>,
    hold_until: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorView,
}

#[derive(Deserialize)]
struct ErrorView {
    code: Arc<str>,
}

/// Codes of a 503 after which the request may have taken effect.
const IN_DOUBT: &str = "MELMASTOON.INVENTORY.OUTCOME_UNKNOWN";

/// The code of a 503 that the service gives after its own repetitions; a client shows it to its user.
const LOCK_TIMEOUT: &str = "MELMASTOON.INVENTORY.LOCK_TIMEOUT";

fn judge(status: u16, body: &[u8], call: &Call) -> Attempt {
    if (200..300).contains(&status) {
        return match reply(body, call) {
            Ok(reply) => Attempt::Done(reply),
            Err(error) => Attempt::Unclear(format!("reply does not parse: {error}").into()),
        };
    }
    let code: Arc<str> = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error.code,
        Err(_) => "no error body".into(),
    };
    match status {
        503 if *code == *IN_DOUBT => Attempt::Unclear(code),
        503 if *code != *LOCK_TIMEOUT => Attempt::Busy { status, code },
        500.. if status != 503 => Attempt::Unclear(code),
        _ => Attempt::Refused { status, code },
    }
}

fn reply(body: &[u8], call: &Call) -> serde_json::Result<Reply> {
    if let Call::Search(_) = call {
        let view: AvailabilityView = serde_json::from_slice(body)?;
        return Ok(Reply::Availability {
            available: view.nights.iter().map(|night| night.available).collect(),
            cached: view.cached,
        });
    }
    let view: AllocationView = serde_json::from_slice(body)?;
    Ok(Reply::Allocation {
        id: view.allocation_id,
        status: view.status,
        room: view.room_id,
        hold_until: view.hold_until.map(|until| until.as_microsecond()),
    })
}
