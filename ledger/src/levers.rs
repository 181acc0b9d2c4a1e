//! Emergency levers: what an operator does by hand when the service cannot help itself.
//!
//! Invariant: the audit log's row and the change are one transaction, so that neither is there without the other. A lever is pulled once per
//! correlation id: a repetition finds the row and changes nothing. Where two persons are wanted, the first one's call only
//! records the wish; the second's, with the same id and the same target, pulls.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    error::{ApiError, MAINTENANCE_FREEZE},
    pool::Lease,
    ports::{Rows, Value},
    principals::{Duty, Principal},
    stay::shape,
    transaction::{Abort, Work},
};

/// A wish older than this is not fulfilled: the emergency it was meant for is another one.
const WISH_MICROS_MAX: i64 = 15 * 60 * 1_000_000;
/// All nights that the API accepts: 2000-01-01 to 2101-01-01, as days since 1970-01-01.
const ALL_NIGHTS: [i32; 2] = [10_957, 47_847];

/// What is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Lever {
    /// Closes (or opens) every night of a property for sale.
    StopSell { property_id: Uuid, stop_sell: bool },
    /// Refuses all writes of the tenant (or accepts them again).
    Freeze { frozen: bool, reason: String },
    /// Publishes an event again.
    Replay { outbox_id: i64 },
}

impl Lever {
    /// Its name in routes and in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Lever::StopSell { .. } => "stop-sell-property",
            Lever::Freeze { .. } => "freeze-tenant-writes",
            Lever::Replay { .. } => "replay-outbox",
        }
    }

    fn needs_two(&self) -> bool {
        matches!(self, Lever::StopSell { .. })
    }

    /// The target in one canonical line.
    fn target(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum Pulled {
    /// It was pulled now.
    Done {
        /// Nights, tenants or events that are otherwise than before.
        changed: u64,
    },
    /// It had been pulled under this correlation id before.
    DoneBefore,
    /// Another person has to make the same call.
    AwaitingSecondPerson,
}

struct Pull<'a> {
    lever: &'a Lever,
    correlation: &'a str,
    principal: &'a str,
}

/// A row of the audit log.
struct Entry {
    done: bool,
    same: bool,
    principal: String,
    age_micros: i64,
}

impl Work for Pull<'_> {
    type Out = Pulled;

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<Pulled, Abort> {
        let found = lease
            .run(&app.book.audit_find, &[self.correlation.into()])
            .await?;
        let entries = found.rows.iter().map(|row| self.entry(row));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        if entries.iter().any(|entry| !entry.same) {
            return Err(ApiError::new(
                http::StatusCode::UNPROCESSABLE_ENTITY,
                "CORRELATION_ID_REUSED",
                "this x-correlation-id belongs to another use of a lever; take a fresh one",
            )
            .into());
        }
        if entries.iter().any(|entry| entry.done) {
            return Ok(Pulled::DoneBefore);
        }
        if self.lever.needs_two() {
            match entries.first() {
                None => {
                    self.exists(app, lease).await?;
                    self.record(app, lease, "requested").await?;
                    return Ok(Pulled::AwaitingSecondPerson);
                }
                Some(wish) if wish.principal == self.principal => {
                    return Ok(Pulled::AwaitingSecondPerson);
                }
                Some(wish) if wish.age_micros > WISH_MICROS_MAX => {
                    return Err(ApiError::conflict(
                        "request_too_old",
                        "the first person asked more than 15 minutes ago; begin again with a fresh x-correlation-id",
                    )
                    .into());
                }
                Some(_) => {}
            }
        }
        self.record(app, lease, "done").await?;
        let changed = self.effect(app, lease).await?;
        Ok(Pulled::Done { changed })
    }
}

impl Pull<'_> {
    fn entry(&self, row: &[Value]) -> Result<Entry, Abort> {
        match row {
            [
                Value::Text(step),
                Value::Text(lever),
                Value::Text(target),
                Value::Text(principal),
                Value::Interval(age),
            ] => Ok(Entry {
                done: **step == *"done",
                same: **lever == *self.lever.name() && **target == *self.lever.target(),
                principal: principal.to_string(),
                age_micros: *age,
            }),
            _ => Err(shape("step, lever, target, principal, age", row).into()),
        }
    }

    /// Writes the audit log's row. Another call may have been faster: then this one looks again.
    async fn record(&self, app: &App, lease: &mut Lease, step: &str) -> Result<(), Abort> {
        let row: [Value; 5] = [
            self.correlation.into(),
            step.into(),
            self.lever.name().into(),
            self.lever.target().as_str().into(),
            self.principal.into(),
        ];
        let written = lease.run(&app.book.audit_insert, &row).await?;
        match written.rows.is_empty() {
            true => Err(Abort::Again),
            false => Ok(()),
        }
    }

    /// Refuses a target that is not there, before a second person is asked.
    async fn exists(&self, app: &App, lease: &mut Lease) -> Result<(), Abort> {
        match self.lever {
            Lever::StopSell { property_id, .. } => {
                room_types(app, lease, *property_id).await.map(|_| ())
            }
            Lever::Freeze { .. } | Lever::Replay { .. } => Ok(()),
        }
    }

    async fn effect(&self, app: &App, lease: &mut Lease) -> Result<u64, Abort> {
        match self.lever {
            Lever::StopSell {
                property_id,
                stop_sell,
            } => {
                let mut changed = 0;
                for room_type in room_types(app, lease, *property_id).await? {
                    let nights = [room_type].into_iter().chain(ALL_NIGHTS.map(Value::Date));
                    let nights: Vec<Value> = nights.collect();
                    let close: Vec<Value> = nights
                        .iter()
                        .cloned()
                        .chain([Value::Bool(*stop_sell)])
                        .collect();
                    // Night by night, as every stay locks them.
                    let batch = [
                        (&app.book.hold_lock_nights, nights),
                        (&app.book.stop_sell_nights, close),
                    ];
                    let done = app.locking(lease, &batch).await?;
                    changed += done.last().map_or(0, |rows| rows.affected);
                }
                Ok(changed)
            }
            Lever::Freeze {
                frozen: true,
                reason,
            } => {
                let reason = [reason.as_str().into()];
                Ok(lease.run(&app.book.freeze_tenant, &reason).await?.affected)
            }
            Lever::Freeze { frozen: false, .. } => {
                Ok(lease.run(&app.book.unfreeze_tenant, &[]).await?.affected)
            }
            Lever::Replay { outbox_id } => {
                let event = [Value::Int(*outbox_id)];
                let replayed = lease.run(&app.book.outbox_replay, &event).await?.affected;
                if replayed == 0 {
                    return Err(ApiError::not_found(
                        "event_not_found",
                        "this tenant has no published event of this outbox_id; what is unpublished will be published anyway",
                    )
                    .into());
                }
                Ok(replayed)
            }
        }
    }
}

async fn room_types(app: &App, lease: &mut Lease, property: Uuid) -> Result<Vec<Value>, Abort> {
    let property = [Value::Uuid(property)];
    let found = lease.run(&app.book.property_room_types, &property).await?;
    if found.rows.is_empty() {
        return Err(ApiError::not_found(
            "property_not_found",
            "this tenant has no such property, or it has no room types",
        )
        .into());
    }
    Ok(found.rows.into_iter().flatten().collect())
}

impl App {
    /// Pulls a lever, if this person may.
    pub(crate) async fn pull(
        &self,
        tenant: Uuid,
        principal: &Principal,
        correlation: &str,
        lever: &Lever,
    ) -> Result<Pulled, ApiError> {
        if principal.duty != Duty::PlatformEngineer {
            return Err(ApiError::new(
                http::StatusCode::FORBIDDEN,
                "forbidden",
                format!("{} is a platform engineer's lever", lever.name()),
            ));
        }
        let work = Pull {
            lever,
            correlation,
            principal: &principal.name,
        };
        // Tenants' sessions may add events and never touch them again.
        let pool = match lever {
            Lever::Replay { .. } => &self.worker_pool,
            Lever::StopSell { .. } | Lever::Freeze { .. } => &self.app_pool,
        };
        let pulled = self.transact_on(pool, tenant, &work).await?;
        if matches!(lever, Lever::Replay { .. }) {
            self.relay_wake.notify_one();
        }
        Ok(pulled)
    }

    /// Refuses a write of a tenant that an operator has frozen, told by a row of `tenant_frozen`.
    pub(crate) fn refuse_frozen(&self, frozen: &Rows) -> Result<(), Abort> {
        match frozen.rows.first().map(Vec::as_slice) {
            None => Ok(()),
            Some([Value::Text(reason)]) => Err(ApiError::later(
                MAINTENANCE_FREEZE,
                "an operator has stopped all changes; nothing is lost, repeat the request later",
                self.config.retry_after_seconds,
            )
            .with("reason", json!(**reason))
            .into()),
            Some(row) => Err(shape("reason", row).into()),
        }
    }
}
