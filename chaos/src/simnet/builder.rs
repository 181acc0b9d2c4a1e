//! Describes a network, then runs it to the end of a script.
//!
//! Invariant: nothing runs before [`SimBuilder::run`], and when it returns nothing of the simulation is left on the thread.

use super::{
    clock::{HostClock, VirtualTime},
    config::{HostConfig, NetConfig, SimError},
    cpu::Cpu,
    engine::{Engine, Outcome},
    fabric,
    handle::{Shared, Sim},
    host::{Factory, Guarded, Host, HostCtx, StopSignal},
    link::Links,
    transport::Transport,
};
use std::{
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Once},
};
use tokio::task::LocalSet;
use turmoil_net::{KernelConfig, Net};

/// A network under construction.
pub struct SimBuilder {
    config: NetConfig,
    hosts: Vec<(String, HostConfig, Factory)>,
}

impl SimBuilder {
    /// A network without hosts.
    #[must_use]
    pub fn new(config: NetConfig) -> Self {
        Self {
            config,
            hosts: Vec::new(),
        }
    }

    /// Adds a host whose process is `factory`'s future and everything that it spawns; the factory is called at every boot,
    /// the first when the run starts.
    #[must_use]
    pub fn host<F, Fut>(mut self, name: &str, config: HostConfig, factory: F) -> Self
    where
        F: Fn(HostCtx) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.hosts.push((
            name.to_owned(),
            config,
            Rc::new(move |ctx| Box::pin(factory(ctx))),
        ));
        self
    }

    fn check(&self) -> Result<(), SimError> {
        self.config.check()?;
        if self.hosts.len() > 1000 {
            return Err(SimError::Config(format!(
                "{} hosts; 1000 are possible",
                self.hosts.len()
            )));
        }
        for (index, (name, config, _)) in self.hosts.iter().enumerate() {
            let reserved = name.is_empty()
                || name == "localhost"
                || name.contains(':')
                || name.parse::<IpAddr>().is_ok();
            if reserved || self.hosts[..index].iter().any(|(other, ..)| other == name) {
                return Err(SimError::Config(format!(
                    "host name {name:?} is reserved, empty or taken"
                )));
            }
            if config.cores == 0 {
                return Err(SimError::Config(format!("host {name:?} has no cores")));
            }
        }
        Ok(())
    }

    /// Runs until the script's future returns, and gives its value. What the script does before its
    /// first `await` (links, clocks) precedes the first step of every host. Hosts are dropped, not stopped, when it ends.
    ///
    /// # Errors
    /// A wrong configuration; a panic in any task; a stray `tokio::spawn`; the time limit.
    pub fn run<T, F, Fut>(self, script: F) -> Result<T, SimError>
    where
        T: 'static,
        F: FnOnce(Sim) -> Fut + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.check()?;
        if tokio::runtime::Handle::try_current().is_ok() {
            let reason = "a simulation brings its own runtime: run it outside of tokio's";
            return Err(SimError::Config(reason.into()));
        }
        watch_panics();
        // Retransmission by sweeps is off: the wire does it by time.
        let kernel = KernelConfig::default()
            .mtu(self.config.mtu)
            .default_backlog(self.config.backlog);
        let mut net = Net::with_config(kernel.retx_threshold(u32::MAX).retx_max(u32::MAX));
        let ids = self
            .hosts
            .iter()
            .map(|(name, ..)| net.add_host(name.as_str()))
            .collect();
        let Some(installed) = fabric::install(ids) else {
            return Err(SimError::Config(
                "another simulation runs on this thread".into(),
            ));
        };
        let guard = net.enter();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| SimError::Config(format!("no runtime: {e}")))?;
        let result = runtime.block_on(async move {
            let mut engine = self.engine(guard, script);
            engine.start();
            std::future::poll_fn(|cx| engine.poll(cx)).await
        });
        drop(runtime);
        drop(installed);
        result
    }

    fn engine<T, F, Fut>(self, guard: turmoil_net::EnterGuard, script: F) -> Engine<T>
    where
        T: 'static,
        F: FnOnce(Sim) -> Fut + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let time = Arc::new(VirtualTime::default());
        let names: Vec<String> = self.hosts.iter().map(|(name, ..)| name.clone()).collect();
        let clocks = names
            .iter()
            .map(|_| HostClock::new(time.clone(), self.config.epoch_unix_nanos))
            .collect::<Vec<_>>();
        let cpus = self
            .hosts
            .iter()
            .map(|(_, config, _)| Cpu::new(time.clone(), config.cores))
            .collect::<Vec<_>>();
        let links = Links::new(self.config.seed, self.config.link, names.clone());
        let shared = Arc::new(Shared::new(
            names,
            time,
            clocks.clone(),
            cpus.clone(),
            links,
            self.config.hash_packets,
        ));
        let sim = Sim(shared.clone());
        let hosts = self.hosts.into_iter().zip(clocks).zip(cpus).enumerate();
        let hosts = hosts.map(|(index, (((name, _, factory), clock), cpu))| {
            let ctx = HostCtx {
                name: name.into(),
                boot: 0,
                sim: sim.clone(),
                clock,
                cpu,
                stop: StopSignal::default(),
                host: index as u16,
            };
            Host::new(ctx, factory, shared.root.clone())
        });
        let hosts = hosts.collect();
        let outcome: Outcome<T> = Rc::default();
        let tasks = LocalSet::new();
        let main = (outcome.clone(), sim.clone());
        tasks.spawn_local(Guarded(Box::pin(async move {
            let value = script(main.1).await;
            *main.0.borrow_mut() = Some(value);
        })));
        let (limit, stopwatch) = (self.config.time_limit, self.config.stopwatch);
        Engine::new(
            &sim,
            hosts,
            tasks,
            outcome,
            Transport::new(guard, shared, self.config),
            limit,
            stopwatch,
        )
    }
}

/// Panics on a thread with a simulation are noted, wherever they are caught: tokio's task sets keep them to themselves.
fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            fabric::note_panic(|| {
                let text = info.payload_as_str().unwrap_or("(no message)");
                info.location()
                    .map_or_else(|| text.to_owned(), |at| format!("{text} ({at})"))
            });
            previous(info);
        }));
    });
}
