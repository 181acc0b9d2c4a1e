//! The service as one value: its ports, its pools, its loops and how they stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use crate::{
    auditor,
    breaker::Breaker,
    config::{Config, ConfigError},
    contract::{Id, Op, Outcome},
    deadline::within,
    leadership::Seat,
    metrics::Metrics,
    pool::{Fault, Pool},
    ports::{BoxFuture, Broker, Cache, Clock, Connect, Ids, Role, Spawn},
    sqlbook::SqlBook,
    topology::Topology,
};

/// Advisory locks of the loops: any two numbers that nothing else in the database uses.
const RELAY_LOCK: i64 = 7_203_101;
const AUDIT_LOCK: i64 = 7_203_102;

/// What the service needs from the world.
#[derive(Clone)]
pub struct Ports {
    /// Database sessions.
    pub connect: Arc<dyn Connect>,
    /// Where events go.
    pub broker: Arc<dyn Broker>,
    /// The courtesy cache.
    pub cache: Arc<dyn Cache>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub ids: Arc<dyn Ids>,
    /// Background tasks.
    pub spawn: Arc<dyn Spawn>,
}

/// What the collector last saw of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum DatabaseSeen {
    Never,
    Working,
    Failing,
}

/// One instance of the ledger.
pub struct App {
    pub(crate) config: Config,
    pub(crate) ports: Ports,
    pub(crate) book: Arc<SqlBook>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) app_pool: Arc<Pool>,
    pub(crate) worker_pool: Arc<Pool>,
    pub(crate) breaker: Breaker,
    pub(crate) relay_seat: Seat<()>,
    pub(crate) relay_wake: Notify,
    pub(crate) audit_seat: Seat<auditor::Memory>,
    pub(crate) database_seen: AtomicU8,
    stopping: watch::Sender<bool>,
}

impl App {
    /// An instance that has opened nothing and runs nothing yet.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(config: Config, ports: Ports, book: SqlBook) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let metrics = Arc::new(Metrics::new());
        let start = ports.clock.now().as_microsecond() as f64 / 1_000_000.0;
        metrics.set(Id::ProcessStart, start);
        metrics.set(Id::CacheBreakerOpen, 0.0);
        let book = Arc::new(book);
        let topology = Arc::new(Topology::new(
            &config,
            Arc::clone(&ports.connect),
            Arc::clone(&ports.clock),
            Arc::clone(&ports.ids),
            Arc::clone(&metrics),
            Arc::clone(&book),
        ));
        let pool = |role, size| {
            let limits = (config.acquire_timeout, config.max_idle);
            let (topology, clock) = (Arc::clone(&topology), Arc::clone(&ports.clock));
            Pool::new(role, size, limits, topology, clock, Arc::clone(&metrics))
        };
        Ok(Arc::new(Self {
            app_pool: pool(Role::App, config.app_pool_size),
            worker_pool: pool(Role::Worker, config.worker_pool_size),
            breaker: Breaker::new(config.breaker_failures, config.breaker_open),
            relay_seat: Seat::new(RELAY_LOCK),
            relay_wake: Notify::new(),
            audit_seat: Seat::new(AUDIT_LOCK),
            database_seen: AtomicU8::new(DatabaseSeen::Never as u8),
            stopping: watch::Sender::new(false),
            config,
            ports,
            book,
            metrics,
        }))
    }

    /// Starts relay, auditor and collector; they end after [`App::begin_shutdown`].
    pub fn start(self: &Arc<Self>) {
        let (relay, audit, collect) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let loops: [BoxFuture<'static, ()>; 3] = [
            Box::pin(async move { relay.relay_loop().await }),
            Box::pin(async move { audit.audit_loop().await }),
            Box::pin(async move { collect.collect_loop().await }),
        ];
        for task in loops {
            self.ports.spawn.spawn(task);
        }
    }

    /// Not ready from now on; the loops finish their pass, give up the lead and end. Requests are still answered: the caller
    /// stops accepting, waits for those under way, and ends the process.
    pub fn begin_shutdown(&self) {
        self.stopping.send_replace(true);
    }

    /// The page of `/metrics`.
    pub fn render_metrics(&self) -> String {
        self.metrics.render()
    }

    /// The values behind it.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits for `limit`, for `wake`, or for shutdown.
    pub(crate) async fn pause(&self, limit: Duration, wake: Option<&Notify>) {
        let mut stopping = self.stopping.subscribe();
        let woken = async {
            match wake {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // The sender lives as long as this instance.
            _ = stopping.wait_for(|stop| *stop) => {}
            () = woken => {}
            () = self.ports.clock.sleep(limit) => {}
        }
    }

    /// Bounds one step of a job.
    pub(crate) async fn bounded<T>(
        &self,
        step: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        within(&*self.ports.clock, self.config.worker_deadline, step)
            .await
            .unwrap_or(Err(Fault::Late))
    }

    /// Keeps the books of one operation on an allocation.
    pub(crate) fn count(&self, op: Op, outcome: Outcome, started: Duration) {
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.metrics
            .observe(Id::AllocationDuration, op as usize, took.as_secs_f64());
        self.metrics
            .inc_pair(Id::Allocations, op as usize, outcome as usize);
    }

    pub(crate) fn seen(&self) -> DatabaseSeen {
        match self.database_seen.load(Relaxed) {
            0 => DatabaseSeen::Never,
            1 => DatabaseSeen::Working,
            _ => DatabaseSeen::Failing,
        }
    }
}
