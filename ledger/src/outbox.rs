//! Events: written in the transaction of the change that they tell of, published later by the relay.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    app::App,
    pool::Lease,
    ports::{Statement, Value},
    transaction::{Abort, Work},
};

/// What happened to an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Held,
    Confirmed,
    Released,
    Expired,
    Cancelled,
    Failed,
}

impl EventKind {
    fn subject(self) -> &'static str {
        match self {
            EventKind::Held => "allocation.held.v1",
            EventKind::Confirmed => "allocation.confirmed.v1",
            EventKind::Released => "allocation.released.v1",
            EventKind::Expired => "allocation.expired.v1",
            EventKind::Cancelled => "allocation.cancelled.v1",
            EventKind::Failed => "allocation.failed.v1",
        }
    }
}

/// One event of an allocation, which is also its ordering key.
pub(crate) struct Event {
    allocation: Uuid,
    kind: EventKind,
    payload: String,
}

impl Event {
    pub fn new(allocation: Uuid, kind: EventKind, payload: &impl Serialize) -> Self {
        Self {
            allocation,
            kind,
            // Payloads are structs and JSON values with text keys: they always serialise.
            payload: serde_json::to_string(payload).unwrap_or_default(),
        }
    }

    /// The statement that stores it, with its parameters.
    pub fn insert<'a>(&self, app: &'a App) -> (&'a Statement, Vec<Value>) {
        let params = vec![
            Value::Uuid(self.allocation),
            Value::Text(self.kind.subject().into()),
            Value::Text(self.payload.as_str().into()),
        ];
        (&app.book.outbox_insert, params)
    }
}

/// By itself, for what failed: there is no other change to go with.
impl Work for Event {
    type Out = ();

    async fn run(&self, app: &App, lease: &mut Lease, _attempt: u32) -> Result<(), Abort> {
        let (statement, params) = self.insert(app);
        lease.run(statement, &params).await?;
        Ok(())
    }
}
