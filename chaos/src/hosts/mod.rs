//! The simulated hosts, one file each, and the [`World`] they share.
//!
//! Invariant: hosts talk to one another over the simulated network only. The world holds what is not on a wire: the recording,
//! what outlives a reboot (disks, the deployed release), and the switches that faults turn.

pub mod broker;
pub mod cache;
pub mod clients;
pub mod controller;
pub mod database;
pub mod database_client;
pub mod disk;
pub mod ledger;
pub mod nemesis;
pub mod operator;
pub mod prometheus;
pub mod scheduler;
pub mod wire;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ::ledger::Schema;

use crate::{
    recording::{Event, Nanos, Recorder},
    scenario::Plan,
    simnet::{LinkConfig, Sim},
};

/// Ledger hosts: those that clients call and Prometheus scrapes.
pub const LEDGERS: [&str; 2] = ["ledger-1", "ledger-2"];

/// Database hosts: the first is the primary at the start, the second its synchronous standby.
pub const DATABASES: [&str; 2] = ["db-1", "db-2"];

/// Where a ledger serves HTTP.
pub const LEDGER_PORT: u16 = 8080;

/// A link within one zone. The grain of simulated timers is a millisecond.
pub fn link() -> LinkConfig {
    LinkConfig::latency(Duration::from_micros(200), Duration::from_micros(900))
}

/// The date that is `days` after 1970-01-01, as SQL and the API spell it.
pub(crate) fn date(days: i32) -> jiff::civil::Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch
        .checked_add(jiff::Span::new().days(days))
        .unwrap_or(epoch)
}

/// Locks a mutex of the single-threaded simulation. A panic elsewhere ends the run anyway, so poison carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What faults turn on and off inside services; everything else they do to hosts, links and clocks.
#[derive(Clone, Debug, Default)]
pub struct Switches {
    /// The broker refuses every publication.
    pub broker_refuses: bool,
    /// A statement of this name takes this much longer on the database's disk.
    pub slow_statements: BTreeMap<Arc<str>, Duration>,
    /// The release that the ledgers run: statements by name that differ from the schema's.
    pub release: BTreeMap<Arc<str>, Arc<str>>,
}

/// What all hosts of one run share.
pub struct World {
    sim: OnceLock<Sim>,
    recorder: Mutex<Recorder>,
    switches: Mutex<Switches>,
    /// The ledger's SQL.
    pub schema: Arc<Schema>,
    /// The database hosts' disks.
    pub disks: BTreeMap<&'static str, disk::Disk>,
    /// What the operator was asked to do.
    pub errands: operator::Errands,
    last_commit: AtomicU64,
    /// How long a hold lasts.
    pub hold: Duration,
    /// The run's seed.
    pub seed: u64,
}

impl World {
    /// The world of one plan.
    pub fn new(
        plan: &Plan,
        schema: Arc<Schema>,
        disks: BTreeMap<&'static str, disk::Disk>,
    ) -> World {
        World {
            sim: OnceLock::new(),
            recorder: Mutex::default(),
            switches: Mutex::default(),
            schema,
            disks,
            errands: operator::Errands::default(),
            last_commit: AtomicU64::new(0),
            hold: Duration::from_nanos(plan.scenario.hold),
            seed: plan.seed,
        }
    }

    /// Gives the world its network; every host does at its boot, the first one counts.
    pub fn attach(&self, sim: &Sim) {
        self.sim.get_or_init(|| sim.clone());
    }

    /// The network.
    ///
    /// # Panics
    /// Before [`World::attach`].
    pub fn sim(&self) -> &Sim {
        match self.sim.get() {
            Some(sim) => sim,
            None => unreachable!("the world is attached at the first boot"),
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Nanos {
        self.sim().now().as_nanos() as Nanos
    }

    /// Records an event now.
    pub fn record(&self, event: Event) {
        self.record_at(self.now(), event);
    }

    /// Records an event that began earlier.
    pub fn record_at(&self, at: Nanos, event: Event) {
        lock(&self.recorder).push(at, event);
    }

    /// Takes the recorder when the run is over.
    pub fn take_recorder(&self) -> Recorder {
        std::mem::take(&mut lock(&self.recorder))
    }

    /// Log position of the last commit that was visible to anybody.
    pub fn last_commit(&self) -> u64 {
        self.last_commit.load(Relaxed)
    }

    /// A commit became visible.
    pub fn note_commit(&self, lsn: u64) {
        self.last_commit.fetch_max(lsn, Relaxed);
    }

    /// The disk of the database host that is primary now.
    pub fn primary(&self) -> &disk::Disk {
        let standing = DATABASES.iter().map(|host| &self.disks[host]);
        standing
            .clone()
            .find(|disk| disk.is_primary())
            .unwrap_or(&self.disks[DATABASES[0]])
    }

    /// Asks the operator for something.
    pub fn errand(&self, errand: operator::Errand) {
        self.errands.push(errand);
    }

    /// The switches, to read or to turn.
    pub fn switches(&self) -> MutexGuard<'_, Switches> {
        lock(&self.switches)
    }

    /// The statements of the release that is deployed now, as `(name, text)`.
    pub fn statements(&self) -> Vec<(String, String)> {
        let release = self.switches().release.clone();
        let deployed = |(name, sql): &(String, String)| {
            let sql = release
                .get(name.as_str())
                .map_or(sql.as_str(), |changed| changed);
            (name.clone(), sql.to_owned())
        };
        self.schema.statements.iter().map(deployed).collect()
    }
}
