//! Confirm, release, cancel: an allocation's way after the hold. The state guards are in the statements; when one finds no row,
//! the allocation's state says what to answer. An allocation that is already where the client wants it is no error.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    contract::{Op, Outcome},
    error::ApiError,
    outbox::{Event, EventKind},
    pool::{Fault, Lease},
    ports::{Rows, Statement, Value},
    stay::{Allocation, Stay, date_of},
    transaction::{Abort, Work},
};

/// The change asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    Confirm,
    Release,
    Cancel,
}

impl Transition {
    fn op(self) -> Op {
        match self {
            Transition::Confirm => Op::Confirm,
            Transition::Release => Op::Release,
            Transition::Cancel => Op::Cancel,
        }
    }

    fn target(self) -> &'static str {
        match self {
            Transition::Confirm => "confirmed",
            Transition::Release => "released",
            Transition::Cancel => "cancelled",
        }
    }

    fn refusal(self, status: &str) -> ApiError {
        match (self, status) {
            // Still `held`, but the guard did not take it: its time is over, though no sweep has come by yet.
            (Transition::Confirm, "held")
            | (Transition::Confirm | Transition::Release, "expired") => {
                ApiError::conflict("hold_expired", "the hold has ended; hold again")
            }
            (Transition::Confirm | Transition::Release, _) => {
                ApiError::conflict("not_held", format!("the allocation is {status}, not held"))
            }
            (Transition::Cancel, _) => ApiError::conflict(
                "not_confirmed",
                format!("the allocation is {status}, not confirmed"),
            ),
        }
        .with("status", json!(status))
    }
}

/// An allocation after the change, and whether this request made it.
pub(crate) struct Changed {
    pub allocation: Allocation,
    made: bool,
}

struct TransitionWork {
    allocation: Uuid,
    transition: Transition,
}

#[derive(Serialize)]
struct Payload {
    allocation_id: Uuid,
    room_type_id: Uuid,
    arrival: Option<jiff::civil::Date>,
    departure: Option<jiff::civil::Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<Uuid>,
}

impl Payload {
    fn new(allocation: Uuid, stay: &Stay, room: Option<Uuid>) -> Self {
        Self {
            allocation_id: allocation,
            room_type_id: stay.room_type,
            arrival: date_of(stay.arrival),
            departure: date_of(stay.departure),
            room_id: room,
        }
    }
}

impl Work for TransitionWork {
    type Out = Changed;

    async fn run(&self, app: &App, lease: &mut Lease, attempt: u32) -> Result<Changed, Abort> {
        let guard = match self.transition {
            Transition::Confirm => &app.book.confirm_allocation,
            Transition::Release => &app.book.release_allocation,
            Transition::Cancel => &app.book.cancel_allocation,
        };
        let id = Value::Uuid(self.allocation);
        let batch = [(&app.book.tenant_frozen, vec![]), (guard, vec![id])];
        let guarded = app.locking(lease, &batch).await?;
        app.refuse_frozen(&guarded[0])?;
        let Some(row) = guarded[1].rows.first() else {
            let allocation = app.read_allocation(lease, self.allocation).await?;
            if allocation.status == self.transition.target() {
                return Ok(Changed {
                    allocation,
                    made: false,
                });
            }
            return Err(self.transition.refusal(&allocation.status).into());
        };
        let stay = Stay::from_row(row)?;
        let allocation = match self.transition {
            Transition::Confirm => self.confirm(app, lease, &stay, attempt).await?,
            Transition::Release => {
                self.give_back(
                    app,
                    lease,
                    &stay,
                    &app.book.release_nights,
                    EventKind::Released,
                )
                .await?
            }
            Transition::Cancel => {
                self.give_back(
                    app,
                    lease,
                    &stay,
                    &app.book.cancel_nights,
                    EventKind::Cancelled,
                )
                .await?
            }
        };
        Ok(Changed {
            allocation,
            made: true,
        })
    }
}

impl TransitionWork {
    /// Moves the nights' counters, then takes a free room. The counters' locks keep other confirmations of overlapping stays out
    /// until this one ends, so a room seen free is free, unless somebody writes past the service: then the database refuses
    /// (23P01) and the whole transaction is tried again with another room.
    async fn confirm(
        &self,
        app: &App,
        lease: &mut Lease,
        stay: &Stay,
        attempt: u32,
    ) -> Result<Allocation, Abort> {
        let also = vec![(&app.book.free_rooms, stay.params())];
        let free = app
            .change_nights(lease, &app.book.confirm_nights, stay, also)
            .await?;
        let rooms: Vec<Uuid> = free
            .last()
            .iter()
            .flat_map(|rows| &rows.rows)
            .filter_map(|row| match row.first() {
                Some(Value::Uuid(room)) => Some(*room),
                _ => None,
            })
            .collect();
        if rooms.is_empty() {
            return Err(ApiError::conflict(
                "no_free_room",
                "no single room is free for all nights of this stay; rooms have to be moved first",
            )
            .into());
        }
        let room = rooms[attempt as usize % rooms.len()];
        let payload = Payload::new(self.allocation, stay, Some(room));
        let event = Event::new(self.allocation, EventKind::Confirmed, &payload);
        let assign = vec![Value::Uuid(self.allocation), Value::Uuid(room)];
        let read = (&app.book.allocation_get, vec![Value::Uuid(self.allocation)]);
        match lease
            .run_all(&[(&app.book.assign_room, assign), event.insert(app), read])
            .await
        {
            Ok(done) => found(done.last()),
            Err(Fault::Db(error)) if error.sqlstate() == Some("23P01") => Err(Abort::Again),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes the stay off the nights' counters and tells of it.
    async fn give_back(
        &self,
        app: &App,
        lease: &mut Lease,
        stay: &Stay,
        nights: &Statement,
        kind: EventKind,
    ) -> Result<Allocation, Abort> {
        let event = Event::new(
            self.allocation,
            kind,
            &Payload::new(self.allocation, stay, None),
        );
        let read = (&app.book.allocation_get, vec![Value::Uuid(self.allocation)]);
        let done = app
            .change_nights(lease, nights, stay, vec![event.insert(app), read])
            .await?;
        found(done.last())
    }
}

fn found(rows: Option<&Rows>) -> Result<Allocation, Abort> {
    match rows.and_then(|rows| rows.rows.first()) {
        Some(row) => Ok(Allocation::from_row(row)?),
        None => {
            Err(ApiError::not_found("allocation_not_found", "there is no such allocation").into())
        }
    }
}

struct ReadWork(Uuid);

impl Work for ReadWork {
    type Out = Allocation;

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<Allocation, Abort> {
        app.read_allocation(lease, self.0).await
    }
}

impl App {
    /// Makes the change, once.
    pub(crate) async fn change(
        &self,
        tenant: Uuid,
        allocation: Uuid,
        transition: Transition,
    ) -> Result<Changed, ApiError> {
        let started = self.ports.clock.monotonic();
        let work = TransitionWork {
            allocation,
            transition,
        };
        let result = self.transact(tenant, &work).await;
        let outcome = match &result {
            Ok(Changed { made: true, .. }) => {
                self.relay_wake.notify_one();
                Outcome::Ok
            }
            Ok(_) => Outcome::Repeated,
            Err(error) => error.outcome(),
        };
        self.count(transition.op(), outcome, started);
        result
    }

    /// One allocation of the tenant.
    pub(crate) async fn allocation(
        &self,
        tenant: Uuid,
        allocation: Uuid,
    ) -> Result<Allocation, ApiError> {
        self.transact(tenant, &ReadWork(allocation)).await
    }

    /// Reads an allocation in the transaction under way; 404 where the tenant has none of this id.
    pub(crate) async fn read_allocation(
        &self,
        lease: &mut Lease,
        allocation: Uuid,
    ) -> Result<Allocation, Abort> {
        let rows = lease
            .run(&self.book.allocation_get, &[Value::Uuid(allocation)])
            .await?;
        found(Some(&rows))
    }

    /// Locks the nights of a stay in the canonical order, changes their counters, and runs what goes with it.
    pub(crate) async fn change_nights(
        &self,
        lease: &mut Lease,
        change: &Statement,
        stay: &Stay,
        also: Vec<(&Statement, Vec<Value>)>,
    ) -> Result<Vec<Rows>, Fault> {
        let mut batch = Vec::with_capacity(2 + also.len());
        // An UPDATE takes its locks in the order of its plan; one night needs no order.
        if stay.nights() > 1 {
            batch.push((&self.book.hold_lock_nights, stay.params()));
        }
        batch.push((change, stay.params()));
        batch.extend(also);
        self.locking(lease, &batch).await
    }
}
