//! [`Sim`]: the handle with which a script, or a service that is meant to, breaks and heals the network.
//!
//! Invariant: links change at once; what happens to hosts and held packets is done by the event loop at the same virtual
//! instant, in the order of the calls, before any other host runs again. Reads (`is_up`, `is_reachable`) show what was
//! asked for last. Names are those given to the builder; an unknown one is a bug of the caller and panics, naming the hosts.

use super::{
    clock::{HostClock, VirtualTime},
    config::LinkConfig,
    cpu::Cpu,
    host::{Guarded, Root},
    link::Links,
    stats::NetStats,
};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    fmt,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// What only the event loop can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Boot(u16),
    Stop(u16),
    Kill(u16),
    Crash(u16),
    Freeze(u16, Option<Duration>),
    Thaw(u16),
    Release,
}

pub(super) struct Shared {
    pub names: Vec<String>,
    pub time: Arc<VirtualTime>,
    pub root: Arc<Root>,
    pub clocks: Vec<HostClock>,
    pub cpus: Vec<Cpu>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub links: Links,
    pub commands: VecDeque<Command>,
    pub up: Vec<bool>,
    pub stats: NetStats,
    pub packets: Option<Sha256>,
    /// Own time of each host's polls, and of everything else last.
    pub books: Vec<Duration>,
}

impl Shared {
    pub fn new(
        names: Vec<String>,
        time: Arc<VirtualTime>,
        clocks: Vec<HostClock>,
        cpus: Vec<Cpu>,
        links: Links,
        hash_packets: bool,
    ) -> Self {
        let state = State {
            links,
            commands: VecDeque::new(),
            up: vec![true; names.len()],
            books: vec![Duration::ZERO; names.len() + 1],
            stats: NetStats::default(),
            packets: hash_packets.then(Sha256::new),
        };
        Self {
            names,
            time,
            root: Arc::default(),
            clocks,
            cpus,
            state: Mutex::new(state),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle on the running simulation: `Send + Sync`, cheap to clone.
#[derive(Clone)]
pub struct Sim(pub(super) Arc<Shared>);

impl Sim {
    /// Virtual time since the start of the run.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.time.nanos())
    }

    /// Waits until that much virtual time has passed since the start; at once if it has.
    pub async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.now())).await;
    }

    /// Starts a task beside the script, outside every host; dropped when the script ends. It cannot open sockets.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(Guarded(Box::pin(future)))
    }

    /// Names of all hosts, in the order they were added.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.0.names
    }

    #[track_caller]
    fn index(&self, host: &str) -> usize {
        match self.0.names.iter().position(|name| name == host) {
            Some(index) => index,
            None => panic!(
                "no host {host:?} in this simulation; there are {:?}",
                self.0.names
            ),
        }
    }

    fn command(&self, command: Command, up: Option<bool>) {
        let mut state = self.0.state();
        if let (Some(up), Command::Boot(h) | Command::Kill(h) | Command::Crash(h)) = (up, command) {
            state.up[usize::from(h)] = up;
        }
        state.commands.push_back(command);
        drop(state);
        self.0.root.wake();
    }

    #[track_caller]
    fn each_way(&self, a: &str, b: &str, change: impl Fn(&mut super::link::Link)) {
        let (a, b) = (self.index(a), self.index(b));
        let mut state = self.0.state();
        change(state.links.get_mut(a, b));
        change(state.links.get_mut(b, a));
    }

    #[track_caller]
    fn one_way(&self, from: &str, to: &str, change: impl FnOnce(&mut super::link::Link)) {
        let (from, to) = (self.index(from), self.index(to));
        change(self.0.state().links.get_mut(from, to));
    }

    /// Loses every packet between the two; what is already on the wire arrives.
    #[track_caller]
    pub fn partition(&self, a: &str, b: &str) {
        self.each_way(a, b, |link| link.cut = true);
    }

    /// Loses every packet from one to the other.
    #[track_caller]
    pub fn partition_one_way(&self, from: &str, to: &str) {
        self.one_way(from, to, |link| link.cut = true);
    }

    /// Ends a partition between the two; connections go on at their next retransmission.
    #[track_caller]
    pub fn repair(&self, a: &str, b: &str) {
        self.each_way(a, b, |link| link.cut = false);
    }

    /// Ends a partition in one direction.
    #[track_caller]
    pub fn repair_one_way(&self, from: &str, to: &str) {
        self.one_way(from, to, |link| link.cut = false);
    }

    /// Partitions a host from every other.
    #[track_caller]
    pub fn isolate(&self, host: &str) {
        self.0
            .names
            .iter()
            .filter(|name| *name != host)
            .for_each(|other| self.partition(host, other));
    }

    /// Repairs the links of a host to every other.
    #[track_caller]
    pub fn rejoin(&self, host: &str) {
        self.0
            .names
            .iter()
            .filter(|name| *name != host)
            .for_each(|other| self.repair(host, other));
    }

    /// Keeps every packet between the two back, in order, until [`Sim::release`].
    #[track_caller]
    pub fn hold(&self, a: &str, b: &str) {
        self.each_way(a, b, |link| link.hold = true);
    }

    /// Sends what was held back, in order.
    #[track_caller]
    pub fn release(&self, a: &str, b: &str) {
        self.each_way(a, b, |link| link.hold = false);
        self.command(Command::Release, None);
    }

    /// Gives both directions between the two their own latency and loss.
    ///
    /// # Panics
    /// On an unknown host or a link whose minimum exceeds its maximum.
    #[track_caller]
    pub fn set_link(&self, a: &str, b: &str, config: LinkConfig) {
        assert!(config.check().is_ok(), "{:?}", config.check());
        self.each_way(a, b, |link| link.config = Some(config));
    }

    /// Gives one direction its own latency and loss.
    ///
    /// # Panics
    /// As [`Sim::set_link`].
    #[track_caller]
    pub fn set_link_one_way(&self, from: &str, to: &str, config: LinkConfig) {
        assert!(config.check().is_ok(), "{:?}", config.check());
        self.one_way(from, to, |link| link.config = Some(config));
    }

    /// Both directions follow the network's default again.
    #[track_caller]
    pub fn reset_link(&self, a: &str, b: &str) {
        self.each_way(a, b, |link| link.config = None);
    }

    /// Both directions lose `ppm` packets per million; latency stays.
    #[track_caller]
    pub fn set_loss(&self, a: &str, b: &str, ppm: u32) {
        let (from, to) = (self.index(a), self.index(b));
        let (there, back) = {
            let state = self.0.state();
            (state.links.config(from, to), state.links.config(to, from))
        };
        self.set_link_one_way(a, b, there.with_loss_ppm(ppm));
        self.set_link_one_way(b, a, back.with_loss_ppm(ppm));
    }

    /// Power loss: tasks, sockets and unsent data are gone, no FIN is sent, peers are left half open. What is already on the
    /// wire arrives. Nothing answers until [`Sim::boot`].
    #[track_caller]
    pub fn crash(&self, host: &str) {
        self.command(Command::Crash(self.index(host) as u16), Some(false));
    }

    /// Kills the process (SIGKILL, out of memory): its kernel lives on, sends FIN or RST and refuses new connections.
    #[track_caller]
    pub fn kill(&self, host: &str) {
        self.command(Command::Kill(self.index(host) as u16), Some(false));
    }

    /// Asks the process to end ([`HostCtx::stop`](super::HostCtx::stop)); it is up until its main task has returned.
    #[track_caller]
    pub fn stop(&self, host: &str) {
        self.command(Command::Stop(self.index(host) as u16), None);
    }

    /// Starts the host's process anew; one that still runs is killed first.
    #[track_caller]
    pub fn boot(&self, host: &str) {
        self.command(Command::Boot(self.index(host) as u16), Some(true));
    }

    /// The process does not run for that long (a long pause of its collector, a stopped virtual machine). Its kernel goes
    /// on: it acknowledges, buffers and accepts handshakes.
    #[track_caller]
    pub fn stall(&self, host: &str, duration: Duration) {
        self.command(
            Command::Freeze(self.index(host) as u16, Some(duration)),
            None,
        );
    }

    /// As [`Sim::stall`], until [`Sim::thaw`].
    #[track_caller]
    pub fn freeze(&self, host: &str) {
        self.command(Command::Freeze(self.index(host) as u16, None), None);
    }

    /// Ends a stall or freeze.
    #[track_caller]
    pub fn thaw(&self, host: &str) {
        self.command(Command::Thaw(self.index(host) as u16), None);
    }

    /// From now on the host's wall clock is wrong by `offset_nanos`, and its clocks gain `drift_ppm` µs per second.
    #[track_caller]
    pub fn set_clock(&self, host: &str, offset_nanos: i64, drift_ppm: i64) {
        assert!(
            (-900_000..=900_000_000).contains(&drift_ppm),
            "drift of {drift_ppm} ppm is outside -900000..=900000000"
        );
        self.0.clocks[self.index(host)].set(offset_nanos, drift_ppm);
    }

    /// Work given to the host's cores from now on takes `factor` times as long; 1 = normal.
    #[track_caller]
    pub fn slow_cpu(&self, host: &str, factor: u32) {
        self.0.cpus[self.index(host)].set_factor(factor);
    }

    /// Does a process run on the host (frozen ones do)?
    #[track_caller]
    #[must_use]
    pub fn is_up(&self, host: &str) -> bool {
        self.0.state().up[self.index(host)]
    }

    /// Are both hosts up and neither direction between them cut? Held links count as reachable.
    #[track_caller]
    #[must_use]
    pub fn is_reachable(&self, a: &str, b: &str) -> bool {
        let (a, b) = (self.index(a), self.index(b));
        let state = self.0.state();
        state.up[a] && state.up[b] && !state.links.get(a, b).cut && !state.links.get(b, a).cut
    }

    /// The clock of a host, for those who compare clocks.
    #[track_caller]
    #[must_use]
    pub fn clock(&self, host: &str) -> HostClock {
        self.0.clocks[self.index(host)].clone()
    }

    /// The cores of a host, for the books.
    #[track_caller]
    #[must_use]
    pub fn cpu(&self, host: &str) -> Cpu {
        self.0.cpus[self.index(host)].clone()
    }

    /// Counters as of the latest pass of the event loop.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.0.state().stats
    }

    /// Where the run's own time went so far: each host by name, then `"network"`, which is everything else. Zero without
    /// [`NetConfig::stopwatch`](super::NetConfig).
    #[must_use]
    pub fn books(&self) -> Vec<(String, Duration)> {
        let names = self.0.names.iter().map(String::as_str).chain(["network"]);
        names
            .map(str::to_owned)
            .zip(self.0.state().books.iter().copied())
            .collect()
    }

    /// SHA-256 in hex over every packet delivered so far; `None` unless [`NetConfig::hash_packets`](super::NetConfig) is set.
    #[must_use]
    pub fn packet_sha256(&self) -> Option<String> {
        let hash = self.0.state().packets.clone()?;
        Some(
            hash.finalize()
                .iter()
                .fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                }),
        )
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim({:?} of {:?})", self.now(), self.0.names)
    }
}
