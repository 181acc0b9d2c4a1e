//! What can break: each fault acts on a host, a link, a clock, data or code, never on a metric.
//!
//! Invariant: a planned fault says what happens at its start and what undoes it at its end; faults with several strokes become
//! one entry per stroke, so that each can be left out. How the simulation carries them out is not here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Fixtures, PlannedKind, PlannedOp, Scenario, Stream};
use crate::recording::Nanos;

/// Hosts of the simulation. `db-1` starts as the primary, `db-2` as its synchronous standby.
pub const HOSTS: &[&str] = &[
    "ledger-1",
    "ledger-2",
    "db-1",
    "db-2",
    "controller",
    "cache",
    "broker",
    "scheduler",
    "prometheus",
    "guests",
    "channel",
    "desk",
];

/// Hosts that run the ledger.
pub const LEDGERS: &[&str] = &["ledger-1", "ledger-2"];

/// Tables whose writes a fault can slow down.
pub const TABLES: &[&str] = &[
    "properties",
    "room_types",
    "rooms",
    "room_type_inventory_daily",
    "room_allocations",
    "idempotency_keys",
    "outbox",
    "job_runs",
    "tenant_freezes",
    "audit_log",
];

/// Statements of the ledger, by file stem.
pub(super) const STATEMENTS: &[&str] = &[
    "add_night",
    "add_property",
    "add_room",
    "add_room_type",
    "allocation_get",
    "assign_room",
    "audit_changed",
    "audit_find",
    "audit_insert",
    "audit_oversold",
    "audit_room_types",
    "availability",
    "cancel_allocation",
    "cancel_nights",
    "collect_holds",
    "collect_jobs",
    "collect_members",
    "collect_outbox",
    "confirm_allocation",
    "confirm_nights",
    "expire_allocation",
    "free_rooms",
    "freeze_tenant",
    "hold_claim_key",
    "hold_find_key",
    "hold_insert",
    "hold_lock_nights",
    "hold_reserve_nights",
    "job_succeeded",
    "outbox_batch",
    "outbox_insert",
    "outbox_published",
    "outbox_replay",
    "property_room_types",
    "release_allocation",
    "release_nights",
    "server_state",
    "stop_sell_nights",
    "sweep_candidates",
    "sweep_lock",
    "tenant_frozen",
    "try_leadership",
    "unfreeze_tenant",
];

/// Who runs a fault's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// Superuser: bypasses row security.
    Postgres,
    /// Owns the tables: may change the schema.
    Owner,
    /// The service's role.
    App,
    /// The jobs' role.
    Worker,
}

impl Principal {
    /// All of them.
    pub const ALL: [Principal; 4] = [
        Principal::Postgres,
        Principal::Owner,
        Principal::App,
        Principal::Worker,
    ];

    /// Its login.
    pub fn login(self) -> &'static str {
        match self {
            Principal::Postgres => "postgres",
            Principal::Owner => "ledger_owner",
            Principal::App => "ledger_app",
            Principal::Worker => "ledger_worker",
        }
    }
}

/// A fault as a scenario states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// When it begins.
    pub at: Nanos,
    /// When it is healed; `None` if it is momentary or never healed.
    pub until: Option<Nanos>,
    /// What it does.
    pub kind: SpecKind,
}

/// What a scenario's fault does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecKind {
    /// One fault, planned as it stands.
    Plain(FaultKind),
    /// SQL, in the name of the tenant at this index if one is named.
    Sql {
        /// Who runs it.
        role: Principal,
        /// Index into the fixtures' tenants.
        tenant: Option<u8>,
        /// Statements at the start, each in its own transaction.
        sql: Vec<String>,
        /// Statements at the end.
        repair: Vec<String>,
    },
    /// Row locks on nights that are about to be sold, each held for `hold`, one begun every `every`.
    HoldLock {
        /// How long each lock is held.
        hold: Nanos,
        /// From one lock's start to the next one's.
        every: Nanos,
    },
}

/// A fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// When it begins.
    pub at: Nanos,
    /// When it is healed; `None` if it is momentary or never healed.
    pub until: Option<Nanos>,
    /// What it does.
    pub kind: FaultKind,
}

/// What a fault does at its start; at its end the simulation undoes it as said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// Power loss: no FIN. End: boots.
    Crash {
        /// Host.
        host: Arc<str>,
    },
    /// The process is killed; its kernel closes the sockets. End: boots.
    Kill {
        /// Host.
        host: Arc<str>,
    },
    /// Graceful stop. End: boots.
    Stop {
        /// Host.
        host: Arc<str>,
    },
    /// Boots a host that is down. Momentary.
    Boot {
        /// Host.
        host: Arc<str>,
    },
    /// Not scheduled, as under a paused virtual machine. End: scheduled again.
    Stall {
        /// Host.
        host: Arc<str>,
    },
    /// Nothing passes between two hosts, in either direction. End: passes again.
    Partition {
        /// One end.
        a: Arc<str>,
        /// The other.
        b: Arc<str>,
    },
    /// Nothing passes from one host to another; the other direction is whole. End: passes again.
    PartitionOneWay {
        /// Sender.
        from: Arc<str>,
        /// Receiver.
        to: Arc<str>,
    },
    /// Packets between two hosts are lost at random. End: none are.
    Loss {
        /// One end.
        a: Arc<str>,
        /// The other.
        b: Arc<str>,
        /// Lost packets of 1000.
        per_mille: u16,
    },
    /// Packets between two hosts take longer. End: as before.
    Latency {
        /// One end.
        a: Arc<str>,
        /// The other.
        b: Arc<str>,
        /// Added to each packet, nanoseconds.
        by: Nanos,
    },
    /// The broker is up and refuses each publication. End: accepts.
    BrokerRefuses,
    /// The scheduler triggers no job. End: triggers again.
    SchedulerStopped,
    /// SQL on the primary, each statement in its own transaction. End: the repair.
    Sql {
        /// Who runs it.
        role: Principal,
        /// `app.tenant_id`, if set.
        tenant: Option<Uuid>,
        /// Statements at the start.
        sql: Vec<String>,
        /// Statements at the end.
        repair: Vec<String>,
    },
    /// A superuser's session locks nights of a room type, as an open report would. End: it rolls back.
    HoldLock {
        /// Room type.
        room_type: Uuid,
        /// First night, in days since 1970-01-01.
        night: i32,
        /// How many nights.
        nights: u8,
    },
    /// A statement of the ledger costs more on each database host. End: as before.
    SlowStatement {
        /// File stem of the statement.
        statement: Arc<str>,
        /// Added to each run, nanoseconds.
        by: Nanos,
    },
    /// An insert into a table costs more on each database host, as under a slow audit trigger. End: as before.
    SlowInsert {
        /// Table.
        table: Arc<str>,
        /// Added to each inserted row, nanoseconds.
        by: Nanos,
    },
    /// A release of the ledger with changed statements, one instance after the other. End: rolled back the same way.
    Release {
        /// File stem of a statement and its new text.
        overrides: Vec<(Arc<str>, Arc<str>)>,
        /// How long each instance is down.
        pause: Nanos,
    },
    /// A deploy without change: each ledger stops gracefully and boots, one after the other is ready. Momentary.
    Deploy {
        /// How long each instance is down.
        pause: Nanos,
    },
    /// A host's wall clock is off. End: right again.
    ClockOffset {
        /// Host.
        host: Arc<str>,
        /// Ahead if positive, nanoseconds.
        by: i64,
    },
    /// A host's clock runs fast or slow. End: at its rate, still off by what it gained.
    ClockDrift {
        /// Host.
        host: Arc<str>,
        /// Parts per million; fast if positive.
        ppm: i32,
    },
    /// An operator walks through every oversold night, newest allocation first, and releases the hold or cancels the booking
    /// through the ledger's API, until no night is oversold. Momentary.
    CancelSurplus,
}

/// The faults of a plan, sorted by their start.
pub(super) fn schedule(
    scenario: &Scenario,
    seed: u64,
    fixtures: &Fixtures,
    operations: &[PlannedOp],
) -> Vec<PlannedFault> {
    let mut planned = Vec::new();
    for (index, spec) in scenario.faults.iter().enumerate() {
        let one = |kind| PlannedFault {
            at: spec.at,
            until: spec.until,
            kind,
        };
        match &spec.kind {
            SpecKind::Plain(kind) => planned.push(one(kind.clone())),
            SpecKind::Sql {
                role,
                tenant,
                sql,
                repair,
            } => planned.push(one(FaultKind::Sql {
                role: *role,
                tenant: tenant.and_then(|index| {
                    fixtures
                        .tenants
                        .get(usize::from(index))
                        .map(|tenant| tenant.id)
                }),
                sql: sql.clone(),
                repair: repair.clone(),
            })),
            SpecKind::HoldLock { hold, every } => {
                let mut jitter = Stream::new(seed, &format!("fault {index}"));
                let end = spec.until.unwrap_or(scenario.heal);
                planned.extend(locks(spec.at..end, *hold, *every, &mut jitter, operations));
            }
        }
    }
    planned.sort_by_key(|fault| fault.at);
    planned
}

/// One lock every `every`, on the nights of the next hold that will be asked for, so that somebody has to wait.
fn locks(
    span: std::ops::Range<Nanos>,
    hold: Nanos,
    every: Nanos,
    jitter: &mut Stream,
    operations: &[PlannedOp],
) -> Vec<PlannedFault> {
    let mut found = Vec::new();
    let mut start = span.start;
    while start + hold <= span.end {
        let at = start + jitter.below(every.saturating_sub(hold) / 2 + 1);
        let next = operations.partition_point(|op| op.at < at);
        let stay = operations[next..].iter().find_map(|op| match op.kind {
            PlannedKind::Hold { stay, .. } => Some(stay),
            _ => None,
        });
        if let Some(stay) = stay {
            found.push(PlannedFault {
                at,
                until: Some((at + hold).min(span.end)),
                kind: FaultKind::HoldLock {
                    room_type: stay.room_type,
                    night: stay.arrival,
                    nights: stay.nights,
                },
            });
        }
        start += every;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn statements_and_tables_are_those_of_the_ledger() {
        let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger");
        let files = fs::read_dir(ledger.join("sql")).expect("the ledger's SQL");
        let names: BTreeSet<String> = files
            .map(|file| file.expect("an entry").path())
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        assert_eq!(
            names,
            STATEMENTS.iter().map(|name| (*name).to_owned()).collect()
        );
        let migrations = ledger::schema::embedded().migrations;
        let schema: String = migrations.into_iter().map(|(_, sql)| sql).collect();
        let tables: BTreeSet<&str> = schema
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE TABLE "))
            .filter_map(|line| line.strip_suffix(" ("))
            .collect();
        assert_eq!(tables, TABLES.iter().copied().collect());
    }
}
