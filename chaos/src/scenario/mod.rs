//! What is tried: a scenario file, and the plan of operations and faults that it and a seed compile to.
//!
//! Invariant: a [`Plan`] is pure data, made before anything runs and equal for equal scenario and seed. Entries can be taken out
//! of it, and nothing else changes. What the simulation does with it is not here, and neither is the judgement.

pub mod catalogue;
mod faults;
mod fixtures;
mod parse;
mod span;
mod stream;
#[cfg(test)]
mod tests;
mod workload;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use faults::{FaultKind, FaultSpec, HOSTS, LEDGERS, PlannedFault, Principal, SpecKind, TABLES};
pub use fixtures::{Fixtures, Property, Room, RoomType, Tenant};
pub use span::ScenarioError;
pub(crate) use span::show_duration;
pub use stream::Stream;
pub use workload::Workload;

use crate::recording::{Nanos, Stay};

/// One second of virtual time.
pub const SECOND: Nanos = 1_000_000_000;
/// One millisecond of virtual time.
pub const MILLISECOND: Nanos = 1_000_000;
/// One minute of virtual time.
pub const MINUTE: Nanos = 60 * SECOND;

/// One hypothesis: what is done to the ledger, and what must be noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// The file's stem.
    pub name: Arc<str>,
    /// One sentence that a run can refute.
    pub hypothesis: String,
    /// How long it runs, in virtual nanoseconds.
    pub duration: Nanos,
    /// How long a hold lasts, in virtual nanoseconds; the ledger is configured with it.
    pub hold: Nanos,
    /// Who asks for what.
    pub workload: Workload,
    /// What is broken, in order of its start.
    pub faults: Vec<FaultSpec>,
    /// When everything is healed: the end of each fault that states none, and the start of the liveness bound.
    pub heal: Nanos,
    /// How long after `heal`, or after its own end if that is later, a hold may stay unresolved.
    pub liveness: Nanos,
    /// Alerts that must fire, each with its budget; exhaustive together with `may`.
    pub must: Vec<Must>,
    /// Alerts that may fire.
    pub may: Vec<Arc<str>>,
    /// Invariants that are broken on purpose: exactly these must be seen broken.
    pub breaks: Vec<u8>,
    /// What must at least have happened, or the run proved nothing: name of a reach counter and its minimum.
    pub reach: Vec<(Arc<str>, u64)>,
}

/// An alert that must fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Must {
    /// Its id, such as `RESV-INV-004`.
    pub alert: Arc<str>,
    /// One branch of it, or any.
    pub branch: Option<Arc<str>>,
    /// From the symptom to the firing evaluation, in virtual nanoseconds.
    pub budget: Nanos,
}

/// A scenario under one seed: everything that a run will do, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it was compiled from.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// How long the run lasts, in virtual nanoseconds.
    pub duration: Nanos,
    /// What stands in the database before the first operation.
    pub fixtures: Fixtures,
    /// What the clients do, sorted by `at`; the index of an operation is its identity in the recording.
    pub operations: Vec<PlannedOp>,
    /// What breaks and heals, sorted by `at`.
    pub faults: Vec<PlannedFault>,
}

/// One operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOp {
    /// When it is sent; one that follows another is sent no earlier than that one was acknowledged.
    pub at: Nanos,
    /// Who sends it.
    pub client: Client,
    /// As which tenant it is sent. Where that is not the owner of what it names, the service must answer as if there were nothing.
    pub tenant: Uuid,
    /// What is asked.
    pub kind: PlannedKind,
}

/// What an operation asks. Those with `of` follow the hold at that index and are dropped unless it was acknowledged; only
/// [`PlannedKind::Again`] waits for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlannedKind {
    /// Availability.
    Search(Stay),
    /// A hold.
    Hold {
        /// Nights.
        stay: Stay,
        /// Sales channel.
        channel: Channel,
    },
    /// Sends a hold once more, under the same idempotency key, while the first may still be under way: a double click.
    Again {
        /// Index of the hold.
        of: u32,
    },
    /// Confirms a hold.
    Confirm {
        /// Index of the hold.
        of: u32,
        /// Send it this many nanoseconds after (before, if negative) the end of the hold as its reply named it, instead of at `at`.
        from_hold_end: Option<i64>,
    },
    /// Releases a hold.
    Release {
        /// Index of the hold.
        of: u32,
    },
    /// Cancels a booking.
    Cancel {
        /// Index of the hold that it came from.
        of: u32,
    },
    /// Reads an allocation.
    Get {
        /// Index of the hold.
        of: u32,
    },
}

impl PlannedKind {
    /// The hold that this follows.
    pub fn of(&self) -> Option<u32> {
        match *self {
            PlannedKind::Search(_) | PlannedKind::Hold { .. } => None,
            PlannedKind::Again { of }
            | PlannedKind::Confirm { of, .. }
            | PlannedKind::Release { of }
            | PlannedKind::Cancel { of }
            | PlannedKind::Get { of } => Some(of),
        }
    }
}

/// A client host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Client {
    /// Guests at the web site.
    Guests,
    /// The channel manager.
    Channel,
    /// The desk, where walk-ins are sold.
    Desk,
}

impl Client {
    /// Its host's name.
    pub fn host(self) -> &'static str {
        match self {
            Client::Guests => "guests",
            Client::Channel => "channel",
            Client::Desk => "desk",
        }
    }

    /// The sales channel of its holds.
    pub fn channel(self) -> Channel {
        match self {
            Client::Guests => Channel::Direct,
            Client::Channel => Channel::Ota,
            Client::Desk => Channel::WalkIn,
        }
    }
}

/// Where a hold was sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// The hotel's own site.
    Direct,
    /// An agency, through the channel manager.
    Ota,
    /// Somebody at the desk.
    WalkIn,
}

impl Channel {
    /// As the service's API and tables spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Direct => "direct",
            Channel::Ota => "channel",
            Channel::WalkIn => "walk_in",
        }
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file, line, column and reason; never only the first.
    pub fn parse(file_name: &str, text: &str) -> Result<Scenario, Vec<ScenarioError>> {
        parse::parse(file_name, text)
    }

    /// Decides everything that a run will do. Pure: the same scenario and seed give the same plan on each machine.
    pub fn compile(&self, seed: u64) -> Plan {
        let fixtures = fixtures::lay_out(seed, &self.workload);
        let operations = workload::operations(self, seed, &fixtures);
        let faults = faults::schedule(self, seed, &fixtures, &operations);
        Plan {
            scenario: self.clone(),
            seed,
            duration: self.duration,
            fixtures,
            operations,
            faults,
        }
    }
}
