//! Holds: rooms of a type set aside for some minutes, one or several nights, once per idempotency key.

use jiff::civil::Date;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    availability::{Night, not_in_calendar, read_nights},
    contract::{Id, Op, Outcome},
    error::ApiError,
    outbox::{Event, EventKind},
    pool::Lease,
    ports::{Statement, Value},
    stay::{Allocation, Stay, channel_label, date_of, shape},
    transaction::{Abort, Work},
};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldRequest {
    pub tenant: Uuid,
    pub key: String,
    pub stay: Stay,
    pub channel: String,
}

impl HoldRequest {
    /// The request in one canonical line. It is so short that it serves as its own digest.
    fn fingerprint(&self) -> String {
        let stay = &self.stay;
        format!(
            "{}/{}/{}/{}",
            stay.room_type,
            stay.arrival,
            stay.nights(),
            self.channel
        )
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// A new hold.
    New(Allocation),
    /// The key was used before, for the same request.
    Repeated(Allocation),
}

/// Payload of `allocation.held.v1`. The hold ends `hold_seconds` after the event's row was created: both are the transaction's `now()`.
#[derive(Serialize)]
struct HeldPayload<'a> {
    allocation_id: Uuid,
    room_type_id: Uuid,
    arrival: Option<Date>,
    departure: Option<Date>,
    channel: &'a str,
    hold_seconds: u32,
}

struct HoldWork<'a> {
    request: &'a HoldRequest,
    allocation: Uuid,
    fingerprint: String,
}

impl Work for HoldWork<'_> {
    type Out = Held;

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<Held, Abort> {
        let HoldRequest { key, stay, .. } = self.request;
        let claim = vec![
            key.as_str().into(),
            self.fingerprint.as_str().into(),
            Value::Uuid(self.allocation),
        ];
        let locked = app
            .locking(
                lease,
                &[
                    (&app.book.tenant_frozen, Vec::new()),
                    (&app.book.hold_claim_key, claim),
                    (&app.book.hold_lock_nights, stay.params()),
                ],
            )
            .await?;
        app.refuse_frozen(&locked[0])?;
        if locked[1].rows.is_empty() {
            return self.repeated(app, lease).await;
        }
        if locked[2].rows.len() != stay.nights() as usize {
            let nights = read_nights(app, lease, stay).await?;
            return Err(if nights.is_empty() {
                not_in_calendar()
            } else {
                insufficient(stay, &nights)
            }
            .into());
        }
        let batch: [(&Statement, Vec<Value>); 3] = [
            (&app.book.hold_reserve_nights, stay.params()),
            (&app.book.hold_insert, self.insert_params(app)),
            self.event(app),
        ];
        let done = lease.run_all(&batch).await?;
        if done[0].affected != stay.nights() as u64 {
            let mut nights = read_nights(app, lease, stay).await?;
            // This transaction sees its own reservations; the client wants to know what was there before.
            for row in &done[0].rows {
                let reserved = nights
                    .iter_mut()
                    .find(|night| row.first() == Some(&Value::Date(night.day)));
                if let Some(night) = reserved {
                    night.available += 1;
                }
            }
            return Err(insufficient(stay, &nights).into());
        }
        match done[1].rows.first().map(Vec::as_slice) {
            Some([until @ Value::Timestamp(_)]) => Ok(Held::New(self.allocation(until)?)),
            row => Err(shape("hold_until", row.unwrap_or_default()).into()),
        }
    }
}

impl HoldWork<'_> {
    fn insert_params(&self, app: &App) -> Vec<Value> {
        let mut params = vec![Value::Uuid(self.allocation)];
        params.extend(self.request.stay.params());
        params.push(Value::Text(self.request.channel.as_str().into()));
        params.push(Value::Int(app.config.hold_seconds.into()));
        params
    }

    fn event<'b>(&self, app: &'b App) -> (&'b Statement, Vec<Value>) {
        let stay = &self.request.stay;
        let payload = HeldPayload {
            allocation_id: self.allocation,
            room_type_id: stay.room_type,
            arrival: date_of(stay.arrival),
            departure: date_of(stay.departure),
            channel: &self.request.channel,
            hold_seconds: app.config.hold_seconds,
        };
        Event::new(self.allocation, EventKind::Held, &payload).insert(app)
    }

    fn allocation(&self, until: &Value) -> Result<Allocation, Abort> {
        let stay = &self.request.stay;
        Ok(Allocation::from_row(&[
            Value::Uuid(self.allocation),
            Value::Uuid(stay.room_type),
            Value::Null,
            Value::Date(stay.arrival),
            Value::Date(stay.departure),
            Value::Text(self.request.channel.as_str().into()),
            Value::Text("held".into()),
            until.clone(),
        ])?)
    }

    async fn repeated(&self, app: &App, lease: &mut Lease) -> Result<Held, Abort> {
        let key = [Value::Text(self.request.key.as_str().into())];
        let found = lease.run(&app.book.hold_find_key, &key).await?;
        let (hash, allocation) = match found.rows.first().map(Vec::as_slice) {
            Some([Value::Text(hash), Value::Uuid(allocation)]) => (hash, *allocation),
            row => {
                return Err(shape("request_hash, allocation_id", row.unwrap_or_default()).into());
            }
        };
        if **hash != *self.fingerprint {
            return Err(ApiError::new(
                http::StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
                "this idempotency-key was used for another request; take a fresh key for each new request",
            )
            .into());
        }
        Ok(Held::Repeated(
            app.read_allocation(lease, allocation).await?,
        ))
    }
}

impl App {
    /// Holds a room, or finds the hold that was made under the same key.
    pub(crate) async fn hold(&self, request: &HoldRequest) -> Result<Held, ApiError> {
        let started = self.ports.clock.monotonic();
        let work = HoldWork {
            request,
            allocation: self.ports.ids.uuid(),
            fingerprint: request.fingerprint(),
        };
        let result = self.transact(request.tenant, &work).await;
        let outcome = match &result {
            Ok(Held::New(_)) => {
                self.relay_wake.notify_one();
                Outcome::Ok
            }
            Ok(Held::Repeated(_)) => Outcome::Repeated,
            Err(error) => error.outcome(),
        };
        self.count(Op::Hold, outcome, started);
        if let Err(error) = &result {
            self.hold_failed(&work, error).await;
        }
        result
    }

    /// Counts and, where the database is there to do it, records a hold that failed for good, in a transaction of its own.
    async fn hold_failed(&self, work: &HoldWork<'_>, error: &ApiError) {
        let Some(reason) = error.failure() else {
            return;
        };
        let channel = channel_label(&work.request.channel);
        self.metrics
            .inc_pair(Id::AllocationFailed, channel as usize, reason as usize);
        if !matches!(
            error.outcome(),
            Outcome::Insufficient | Outcome::LockTimeout
        ) {
            return;
        }
        let stay = &work.request.stay;
        let payload = json!({
            "allocation_id": work.allocation, "room_type_id": stay.room_type, "arrival": date_of(stay.arrival),
            "departure": date_of(stay.departure), "channel": work.request.channel, "reason_code": reason.as_str(),
            "available": error.details.get("available"),
        });
        let event = Event::new(work.allocation, EventKind::Failed, &payload);
        // The client has its answer either way; the counter above and `pg_errors_total` tell when this is lost.
        if self
            .attempt(&self.app_pool, Some(work.request.tenant), &event, 0)
            .await
            .is_ok()
        {
            self.relay_wake.notify_one();
        }
    }
}

fn insufficient(stay: &Stay, nights: &[Night]) -> ApiError {
    let calendar_whole = nights.len() == stay.nights() as usize;
    let open = |night: &Night| {
        if night.stop_sell {
            0
        } else {
            night.available.max(0)
        }
    };
    let least = nights.iter().map(open).min().filter(|_| calendar_whole);
    ApiError::conflict(
        "insufficient_availability",
        "not every night of this stay has a room left",
    )
    .with("available", json!(least.unwrap_or(0)))
    .with("nights", json!(nights))
    .with(
        "rebook",
        json!("other nights or another room type: GET /v1/room-types/{id}/availability"),
    )
}
