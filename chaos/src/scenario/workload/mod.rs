//! Who asks for what and when: one file per kind of workload.
//!
//! Invariant: operations come out sorted by time, each follower after the hold that it follows; every draw comes from a labelled
//! stream, and arrival times are whole nanoseconds.

mod day;
mod hot;
mod race;
mod steady;
mod sweep;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Client, Fixtures, MILLISECOND, MINUTE, PlannedKind, PlannedOp, RoomType, SECOND, Scenario,
    Stream,
};
use crate::recording::{Nanos, Stay};

/// A kind of workload and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workload {
    /// A day with its peaks: guests, agencies and the desk, rushes on hot nights, stray requests of the wrong tenant.
    HealthyDay {
        /// Requests in all.
        requests: u32,
        /// Holds among them.
        holds: u32,
    },
    /// A constant rate of searches and holds.
    Steady {
        /// Searches and holds per minute; what follows a hold comes on top.
        per_minute: u32,
        /// Holds among them, of 1000.
        hold_per_mille: u16,
        /// Holds that want one of a few nights of the smallest room types, of 1000.
        hot_per_mille: u16,
    },
    /// A walk-in and an agency race for the last room of a night, again and again.
    LastRoom {
        /// Number of races, spread over the run.
        races: u32,
    },
    /// Holds that end as a sweep comes, and are confirmed in their last milliseconds.
    SweepVsConfirm {
        /// Such holds per sweep.
        per_sweep: u16,
    },
    /// Many holds on a few nights, most of them released soon.
    HotRow {
        /// Holds per minute.
        per_minute: u32,
    },
}

/// From one sweep to the next: the scheduler triggers them at whole multiples of this, counted from the start of the run.
pub const SWEEP_EVERY: Nanos = 10 * SECOND;

/// Searches that are repeated, of 1000.
const RELOADED: u64 = 300;

/// Holds that are sent twice under one key, of 1000, and how long after the first the second goes off at most: people click
/// twice, and what lies between them and the service repeats what it has no answer to.
const DOUBLED: u64 = 30;
const DOUBLED_WITHIN: Nanos = 400 * MILLISECOND;

/// Nothing is sent in the last seconds, so that every answer is still seen.
const QUIET_END: Nanos = 10 * SECOND;

/// The operations of a plan.
pub(super) fn operations(scenario: &Scenario, seed: u64, fixtures: &Fixtures) -> Vec<PlannedOp> {
    let mut crowd = Crowd::new(scenario, seed, fixtures);
    match scenario.workload {
        Workload::HealthyDay { requests, holds } => day::fill(&mut crowd, requests, holds),
        Workload::Steady {
            per_minute,
            hold_per_mille,
            hot_per_mille,
        } => steady::fill(&mut crowd, per_minute, hold_per_mille, hot_per_mille),
        Workload::LastRoom { races } => race::fill(&mut crowd, races),
        Workload::SweepVsConfirm { per_sweep } => sweep::fill(&mut crowd, per_sweep),
        Workload::HotRow { per_minute } => hot::fill(&mut crowd, per_minute),
    }
    crowd.finish()
}

/// What becomes of a hold, as far as the client plans it.
struct Fate {
    /// Of 1000 holds, those confirmed, and those released; the others are left to expire.
    confirm: u64,
    release: u64,
    /// Of 1000 confirmed ones, those cancelled.
    cancel: u64,
    /// Of 1000 holds, those read in between.
    get: u64,
    /// How long a guest thinks before confirming or releasing, and before cancelling.
    think: (Nanos, Nanos),
    regret: (Nanos, Nanos),
}

/// The clients at work: collects operations and keeps their references right.
struct Crowd<'a> {
    fixtures: &'a Fixtures,
    kinds: Vec<(Uuid, &'a RoomType)>,
    capacities: Vec<u64>,
    hold: Nanos,
    end: Nanos,
    arrivals: Stream,
    stays: Stream,
    fates: Stream,
    operations: Vec<PlannedOp>,
}

impl<'a> Crowd<'a> {
    fn new(scenario: &Scenario, seed: u64, fixtures: &'a Fixtures) -> Self {
        let kinds: Vec<_> = fixtures.room_types().collect();
        Crowd {
            fixtures,
            capacities: kinds
                .iter()
                .map(|(_, kind)| u64::from(kind.capacity))
                .collect(),
            kinds,
            hold: scenario.hold,
            end: scenario.duration.saturating_sub(QUIET_END),
            arrivals: Stream::new(seed, "arrivals"),
            stays: Stream::new(seed, "stays"),
            fates: Stream::new(seed, "fates"),
            operations: Vec::new(),
        }
    }

    /// A stay of any room type, large ones more often, on any night of the calendar.
    fn any_stay(&mut self) -> Stay {
        const NIGHTS: [u8; 7] = [1, 2, 3, 4, 5, 7, 14];
        let (tenant, kind) = self.kinds[self.stays.weighted(&self.capacities)];
        let nights = NIGHTS[self.stays.weighted(&[30, 30, 18, 10, 6, 5, 1])];
        let sold = u64::from(self.fixtures.nights).saturating_sub(30);
        // A few book for the coming weeks, most for some time of the year.
        let ahead = if self.stays.chance(50) {
            sold.min(30)
        } else {
            sold
        };
        Stay {
            tenant,
            room_type: kind.id,
            arrival: self.fixtures.first_night + 1 + self.stays.below(ahead) as i32,
            nights,
        }
    }

    /// Indexes of the room types, the smallest first.
    fn smallest(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.kinds.len()).collect();
        order.sort_by_key(|&index| self.capacities[index]);
        order
    }

    /// A stay of the room type at `index`.
    fn stay(&self, index: usize, night: u32, nights: u8) -> Stay {
        let (tenant, kind) = self.kinds[index];
        Stay {
            tenant,
            room_type: kind.id,
            arrival: self.fixtures.first_night + night as i32,
            nights,
        }
    }

    fn client(&mut self) -> Client {
        [Client::Guests, Client::Channel, Client::Desk][self.arrivals.weighted(&[5, 4, 1])]
    }

    /// Adds an operation unless it would come too late for its answer.
    fn push(&mut self, at: Nanos, client: Client, tenant: Uuid, kind: PlannedKind) {
        if at < self.end {
            self.operations.push(PlannedOp {
                at,
                client,
                tenant,
                kind,
            });
        }
    }

    fn search(&mut self, at: Nanos, client: Client, stay: Stay) {
        self.push(at, client, stay.tenant, PlannedKind::Search(stay));
    }

    /// A search that some guests repeat within seconds, as people reload a page: what a cache is good for.
    fn browse(&mut self, at: Nanos, client: Client, stay: Stay) {
        self.search(at, client, stay);
        if self.stays.chance(RELOADED) {
            let again = at + 500 * MILLISECOND + self.stays.below(3 * SECOND);
            self.search(again, client, stay);
        }
    }

    /// Adds a hold; its index for followers, unless it would come too late.
    fn hold(&mut self, at: Nanos, client: Client, stay: Stay) -> Option<u32> {
        let index = self.operations.len() as u32;
        let channel = client.channel();
        self.push(at, client, stay.tenant, PlannedKind::Hold { stay, channel });
        (self.operations.len() as u32 > index).then_some(index)
    }

    /// Adds a hold and what its client does with it.
    fn hold_with(&mut self, at: Nanos, client: Client, stay: Stay, fate: &Fate) {
        let Some(of) = self.hold(at, client, stay) else {
            return;
        };
        if self.fates.chance(DOUBLED) {
            let again = at + 1 + self.fates.below(DOUBLED_WITHIN);
            self.push(again, client, stay.tenant, PlannedKind::Again { of });
        }
        let think = |fates: &mut Stream, (low, high): (Nanos, Nanos)| low + fates.below(high - low);
        let decided = at + think(&mut self.fates, fate.think);
        if self.fates.chance(fate.get) {
            let read = at + SECOND + self.fates.below(decided - at);
            self.push(read, client, stay.tenant, PlannedKind::Get { of });
        }
        match self.fates.weighted(&[
            fate.confirm,
            fate.release,
            1000 - fate.confirm - fate.release,
        ]) {
            0 => {
                let confirm = PlannedKind::Confirm {
                    of,
                    from_hold_end: None,
                };
                self.push(decided, client, stay.tenant, confirm);
                if self.fates.chance(fate.cancel) {
                    let cancelled = decided + think(&mut self.fates, fate.regret);
                    self.push(cancelled, client, stay.tenant, PlannedKind::Cancel { of });
                }
            }
            1 => self.push(decided, client, stay.tenant, PlannedKind::Release { of }),
            _ => {}
        }
    }

    /// Adds a request of a tenant who does not own what it names: a correct service shows and changes nothing.
    fn stray(&mut self, at: Nanos, of: Option<u32>) {
        let owner = match of.and_then(|of| self.operations.get(of as usize)) {
            Some(hold) => hold.tenant,
            None => {
                self.fixtures.tenants
                    [self.arrivals.below(self.fixtures.tenants.len() as u64) as usize]
                    .id
            }
        };
        let others: Vec<Uuid> = self
            .fixtures
            .tenants
            .iter()
            .map(|tenant| tenant.id)
            .filter(|id| *id != owner)
            .collect();
        let Some(&tenant) = self.arrivals.pick(&others) else {
            return;
        };
        let own: Vec<usize> = (0..self.kinds.len())
            .filter(|&index| self.kinds[index].0 == owner)
            .collect();
        let Some(&index) = self.arrivals.pick(&own) else {
            return;
        };
        let stay = Stay {
            tenant,
            ..self.stay(index, 40, 2)
        };
        let kind = match (of, self.arrivals.below(6)) {
            (Some(of), 0 | 1) => PlannedKind::Get { of },
            (Some(of), 2) => PlannedKind::Confirm {
                of,
                from_hold_end: None,
            },
            (Some(of), 3) => PlannedKind::Release { of },
            (Some(of), 4) => PlannedKind::Cancel { of },
            (_, 5) => PlannedKind::Hold {
                stay,
                channel: Client::Guests.channel(),
            },
            _ => PlannedKind::Search(stay),
        };
        self.push(at, Client::Guests, tenant, kind);
    }

    /// Sorts by time and points followers at the new indexes.
    fn finish(self) -> Vec<PlannedOp> {
        let mut order: Vec<u32> = (0..self.operations.len() as u32).collect();
        order.sort_by_key(|&index| self.operations[index as usize].at);
        let mut place = vec![0u32; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old as usize] = new as u32;
        }
        let mut sorted: Vec<PlannedOp> = order
            .iter()
            .map(|&old| self.operations[old as usize])
            .collect();
        for op in &mut sorted {
            match &mut op.kind {
                PlannedKind::Search(_) | PlannedKind::Hold { .. } => {}
                PlannedKind::Again { of }
                | PlannedKind::Confirm { of, .. }
                | PlannedKind::Release { of }
                | PlannedKind::Cancel { of }
                | PlannedKind::Get { of } => *of = place[*of as usize],
            }
        }
        sorted
    }
}

/// Guests of an ordinary day: most book within minutes.
const ORDINARY: Fate = Fate {
    confirm: 640,
    release: 200,
    cancel: 100,
    get: 120,
    think: (15 * SECOND, 4 * MINUTE),
    regret: (MINUTE, 60 * MINUTE),
};
