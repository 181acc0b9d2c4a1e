//! Hand-made histories for tests: a small plan, and a story told in holds, changes and events.

use std::{collections::BTreeMap, sync::Arc};

use ledger::ports::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    recording::{Commit, EPOCH_UNIX_S, Event, Frame, HostState, Nanos, Op, Phase, RowChange},
    scenario::{MINUTE, Plan, SECOND, Scenario},
};

/// A plan whose fixtures the stories use: room type 0 has four rooms, tenant 0 owns it.
pub(crate) struct World {
    pub(crate) plan: Plan,
}

impl World {
    pub(crate) fn new() -> World {
        World::with("")
    }

    /// With further lines at the top of the scenario.
    pub(crate) fn with(extra: &str) -> World {
        let text = format!(
            "name = \"told\"\nhypothesis = \"told\"\nduration = \"1h\"\nhold = \"10m\"\n{extra}\n\
             [workload]\nkind = \"steady\"\nper_minute = 60\nhold_per_mille = 400\n\
             [[faults]]\nkind = \"broker-refuses\"\nat = \"1m\"\nfor = \"1m\"\n"
        );
        let scenario =
            Scenario::parse("told.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}"));
        World {
            plan: scenario.compile(1),
        }
    }

    pub(crate) fn tenant(&self, index: usize) -> Uuid {
        self.plan.fixtures.tenants[index].id
    }

    /// The first room type of the first tenant: four rooms.
    pub(crate) fn room_type(&self) -> Uuid {
        self.plan.fixtures.tenants[0].properties[0].room_types[0].id
    }

    pub(crate) fn room(&self, index: usize) -> Uuid {
        self.plan.fixtures.tenants[0].properties[0].room_types[0].rooms[index].id
    }
}

/// Id of the allocation with this number.
pub(crate) fn id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

pub(crate) fn us(at: Nanos) -> i64 {
    EPOCH_UNIX_S * 1_000_000 + (at / 1000) as i64
}

/// Frames as they are told.
pub(crate) struct Story {
    pub(crate) frames: Vec<Frame>,
    pub(crate) lsn: u64,
    pub(crate) tenant: Uuid,
    timeline: u32,
    room_type: Uuid,
    first: i32,
    rows: BTreeMap<Uuid, Vec<Value>>,
    outbox: BTreeMap<i64, Vec<Value>>,
}

impl Story {
    pub(crate) fn new(world: &World) -> Story {
        Story {
            frames: Vec::new(),
            lsn: 0,
            tenant: world.tenant(0),
            timeline: 1,
            room_type: world.room_type(),
            first: world.plan.fixtures.first_night,
            rows: BTreeMap::new(),
            outbox: BTreeMap::new(),
        }
    }

    pub(crate) fn event(&mut self, at: Nanos, event: Event) {
        self.frames.push(Frame { at, event });
    }

    pub(crate) fn commit(&mut self, at: Nanos, role: &str, rows: Vec<RowChange>) {
        self.lsn += 1;
        let commit = Commit {
            host: "db-1".into(),
            lsn: self.lsn,
            timeline: self.timeline,
            role: role.into(),
            tenant: (role == "ledger_app").then_some(self.tenant),
            now_us: us(at),
            rows,
        };
        self.event(at, Event::Commit(commit));
    }

    /// Commits a hold of ten minutes on room type 0.
    pub(crate) fn hold(&mut self, at: Nanos, number: u32, night: i32, nights: i32) {
        let row = vec![
            Value::Uuid(id(number)),
            Value::Uuid(self.tenant),
            Value::Uuid(self.room_type),
            Value::Null,
            Value::Date(self.first + night),
            Value::Date(self.first + night + nights),
            Value::Text("direct".into()),
            Value::Text("held".into()),
            Value::Timestamp(us(at + 10 * MINUTE)),
            Value::Int(1),
            Value::Timestamp(us(at)),
            Value::Timestamp(us(at)),
        ];
        self.rows.insert(id(number), row.clone());
        self.commit(
            at,
            "ledger_app",
            vec![change("room_allocations", None, Some(row))],
        );
    }

    /// Another row stands for an allocation from now on.
    pub(crate) fn replace(&mut self, number: u32, row: Vec<Value>) {
        self.rows.insert(id(number), row);
    }

    /// Commits another state of an allocation.
    pub(crate) fn set(&mut self, at: Nanos, number: u32, status: &str, room: Option<Uuid>) {
        let before = self.rows[&id(number)].clone();
        let mut after = before.clone();
        after[3] = room.map_or(Value::Null, Value::Uuid);
        after[7] = Value::Text(status.into());
        after[8] = Value::Null;
        self.rows.insert(id(number), after.clone());
        self.commit(
            at,
            "ledger_app",
            vec![change("room_allocations", Some(before), Some(after))],
        );
    }

    /// Commits an outbox row about an allocation.
    pub(crate) fn outbox(&mut self, at: Nanos, outbox_id: i64, number: u32) {
        let row = vec![
            Value::Int(outbox_id),
            Value::Uuid(self.tenant),
            Value::Uuid(id(number)),
            Value::Text("allocation.held.v1".into()),
            Value::Text(format!("{{\"n\":{outbox_id}}}").into()),
            Value::Timestamp(us(at)),
            Value::Null,
        ];
        self.outbox.insert(outbox_id, row.clone());
        self.commit(at, "ledger_app", vec![change("outbox", None, Some(row))]);
    }

    /// The broker stores it.
    pub(crate) fn publish(&mut self, at: Nanos, outbox_id: i64, number: u32) {
        let payload = format!("{{\"n\":{outbox_id}}}");
        let tenant = self.tenant;
        self.event(
            at,
            Event::Published {
                id: outbox_id,
                tenant,
                subject: "allocation.held.v1".into(),
                key: id(number),
                payload_sha256: Sha256::digest(payload.as_bytes()).into(),
            },
        );
    }

    /// The relay marks it as published.
    pub(crate) fn mark(&mut self, at: Nanos, outbox_id: i64) {
        let before = self.outbox[&outbox_id].clone();
        let mut after = before.clone();
        after[6] = Value::Timestamp(us(at));
        self.outbox.insert(outbox_id, after.clone());
        self.commit(
            at,
            "ledger_worker",
            vec![change("outbox", Some(before), Some(after))],
        );
    }

    /// A standby that has everything up to `lsn` becomes the primary.
    pub(crate) fn promote(&mut self, at: Nanos, lsn: u64) {
        self.lsn = lsn;
        self.timeline += 1;
        let timeline = self.timeline;
        self.event(
            at,
            Event::Promoted {
                host: "db-2".into(),
                timeline,
            },
        );
    }

    pub(crate) fn op(&mut self, at: Nanos, op: u32, phase: Phase) {
        self.event(
            at,
            Event::Op(Op {
                op,
                client: "guests".into(),
                phase,
            }),
        );
    }

    pub(crate) fn host(&mut self, at: Nanos, host: &str, state: HostState) {
        self.event(
            at,
            Event::Host {
                host: host.into(),
                state,
            },
        );
    }

    pub(crate) fn link(&mut self, at: Nanos, from: &str, to: &str, up: bool) {
        self.event(
            at,
            Event::Link {
                from: from.into(),
                to: to.into(),
                up,
            },
        );
    }

    /// Something happens at the very end, so that the run is that long.
    pub(crate) fn end(&mut self, at: Nanos) {
        self.event(
            at,
            Event::Job {
                job: "nothing".into(),
                ok: true,
            },
        );
    }
}

pub(crate) fn change(
    table: &str,
    before: Option<Vec<Value>>,
    after: Option<Vec<Value>>,
) -> RowChange {
    RowChange {
        table: table.into(),
        before: before.map(Arc::from),
        after: after.map(Arc::from),
    }
}

/// `m:s` of virtual time.
pub(crate) fn at(minutes: u64, seconds: u64) -> Nanos {
    minutes * MINUTE + seconds * SECOND
}
