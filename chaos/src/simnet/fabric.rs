//! What sockets and event loop tell one another: which host is running, and which sockets were touched.
//!
//! `turmoil-net` keeps its kernels in a thread-local and lets every socket act on the *current* host, whichever that is.
//! This module holds the same thing for our side. Invariant: while a simulation runs on a thread, the current host here and
//! in `turmoil-net` are the same; a socket acts and is closed on the host that made it, wherever it was moved to.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};
use turmoil_net::HostId;

/// One direction of one TCP connection: source host and port, destination host and port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct FlowKey {
    pub src: u16,
    pub src_port: u16,
    pub dst: u16,
    pub dst_port: u16,
}

impl FlowKey {
    /// `None` when an address is not of a simulated host (loopback).
    pub fn of(src: SocketAddr, dst: SocketAddr) -> Option<Self> {
        Some(Self {
            src: host_of(src.ip())?,
            src_port: src.port(),
            dst: host_of(dst.ip())?,
            dst_port: dst.port(),
        })
    }

    pub fn reverse(self) -> Self {
        Self {
            src: self.dst,
            src_port: self.dst_port,
            dst: self.src,
            dst_port: self.src_port,
        }
    }

    pub fn source(self) -> SocketAddr {
        SocketAddr::new(ip_of(self.src), self.src_port)
    }

    pub fn destination(self) -> SocketAddr {
        SocketAddr::new(ip_of(self.dst), self.dst_port)
    }
}

/// `turmoil-net` numbers hosts from 192.168.0.1 in the order they are added.
pub(super) fn ip_of(host: u16) -> IpAddr {
    let [high, low] = (host + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(192, 168, high, low))
}

pub(super) fn host_of(ip: IpAddr) -> Option<u16> {
    match ip {
        IpAddr::V4(v4) => match v4.octets() {
            [192, 168, high, low] => u16::from_be_bytes([high, low]).checked_sub(1),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

#[derive(Default)]
struct Fabric {
    /// Number of the run that is installed on this thread; 0 = none.
    run: Cell<u64>,
    runs: Cell<u64>,
    host: Cell<Option<u16>>,
    ids: RefCell<Vec<HostId>>,
    touched: Cell<bool>,
    /// Some connection advertised a window below half: reads are worth reporting.
    low_windows: Cell<bool>,
    drained: RefCell<Vec<FlowKey>>,
    dropped: RefCell<Vec<FlowKey>>,
    /// Accepted-to-be connections that died in their handshake; `accept` discards them.
    ghosts: RefCell<BTreeSet<FlowKey>>,
    /// Endpoints that gave up retransmitting: their reset reads as a time-out.
    timed_out: RefCell<BTreeSet<FlowKey>>,
    /// Binds that wait for ownerless connections on their port to make way.
    evictions: RefCell<Vec<Eviction>>,
    /// First panic of the run: host (`None`: the script) and message.
    panic: RefCell<Option<(Option<u16>, String)>>,
}

thread_local! {
    static FABRIC: Fabric = Fabric::default();
}

/// Starts a run on this thread; `None` when one is already active.
pub(super) fn install(ids: Vec<HostId>) -> Option<Installed> {
    FABRIC.with(|f| {
        if f.run.get() != 0 {
            return None;
        }
        f.runs.set(f.runs.get() + 1);
        f.run.set(f.runs.get());
        f.ids.replace(ids);
        Some(Installed)
    })
}

/// Ends the run when dropped: sockets that outlive it become inert.
pub(super) struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        FABRIC.with(|f| {
            let runs = f.runs.get();
            f.run.set(0);
            f.host.set(None);
            f.touched.set(false);
            f.low_windows.set(false);
            f.ids.take();
            f.drained.take();
            f.dropped.take();
            f.ghosts.take();
            f.timed_out.take();
            f.panic.take();
            f.evictions.take();
            f.runs.set(runs);
        });
    }
}

/// Makes `host` current for both sides. `None` = the script.
pub(super) fn enter(host: Option<u16>) {
    FABRIC.with(|f| {
        f.host.set(host);
        if let Some(host) = host {
            let id = f.ids.borrow()[usize::from(host)];
            turmoil_net::set_current(id);
        }
    });
}

pub(super) fn current_host() -> Option<u16> {
    FABRIC.with(|f| f.host.get())
}

pub(super) fn current_run() -> u64 {
    FABRIC.with(|f| f.run.get())
}

/// Runs `action` with `host` current, then restores whoever was.
pub(super) fn on_host<R>(host: u16, action: impl FnOnce() -> R) -> R {
    let before = current_host();
    if before == Some(host) {
        return action();
    }
    enter(Some(host));
    let result = action();
    enter(before);
    result
}

pub(super) fn touch() {
    FABRIC.with(|f| f.touched.set(true));
}

pub(super) fn take_touched() -> bool {
    FABRIC.with(|f| f.touched.replace(false))
}

pub(super) fn watch_reads(on: bool) {
    FABRIC.with(|f| f.low_windows.set(on));
}

pub(super) fn note_read(key: FlowKey) {
    FABRIC.with(|f| {
        if f.low_windows.get() {
            f.drained.borrow_mut().push(key);
            f.touched.set(true);
        }
    });
}

pub(super) fn take_drained() -> Vec<FlowKey> {
    FABRIC.with(|f| f.drained.take())
}

pub(super) fn note_dropped(key: FlowKey) {
    FABRIC.with(|f| {
        f.timed_out.borrow_mut().remove(&key);
        f.dropped.borrow_mut().push(key);
    });
}

pub(super) fn take_dropped() -> Vec<FlowKey> {
    FABRIC.with(|f| f.dropped.take())
}

pub(super) fn add_ghost(key: FlowKey) {
    FABRIC.with(|f| f.ghosts.borrow_mut().insert(key));
}

pub(super) fn take_ghost(key: FlowKey) -> bool {
    FABRIC.with(|f| f.ghosts.borrow_mut().remove(&key))
}

pub(super) fn add_timed_out(key: FlowKey) {
    FABRIC.with(|f| f.timed_out.borrow_mut().insert(key));
}

pub(super) fn has_timed_out(key: FlowKey) -> bool {
    FABRIC.with(|f| f.timed_out.borrow().contains(&key))
}

/// A connect to `peer` failed: was it one whose SYNs were never answered?
pub(super) fn take_connect_timed_out(host: u16, peer: SocketAddr) -> bool {
    FABRIC.with(|f| {
        let mut set = f.timed_out.borrow_mut();
        let found = set
            .iter()
            .find(|k| k.src == host && k.destination() == peer)
            .copied();
        found.is_some_and(|key| set.remove(&key))
    })
}

/// A new connection begins: what was noted about an earlier one of the same name is void.
pub(super) fn forget_connection(key: FlowKey) {
    FABRIC.with(|f| {
        f.ghosts.borrow_mut().remove(&key);
        f.timed_out.borrow_mut().remove(&key);
    });
}

/// A bind that found its port occupied.
pub(super) struct Eviction {
    pub host: u16,
    pub port: u16,
    done: Arc<AtomicBool>,
    waker: Waker,
}

impl Eviction {
    pub fn done(self) {
        self.done.store(true, Relaxed);
        self.waker.wake();
    }
}

/// Asks the event loop to remove ownerless connections from a port; completes when it has.
pub(super) async fn evict_orphans(host: u16, port: u16) {
    let done = Arc::new(AtomicBool::new(false));
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if done.load(Relaxed) {
            return Poll::Ready(());
        }
        if !asked {
            asked = true;
            let request = Eviction {
                host,
                port,
                done: done.clone(),
                waker: cx.waker().clone(),
            };
            FABRIC.with(|f| f.evictions.borrow_mut().push(request));
        }
        Poll::Pending
    })
    .await;
}

pub(super) fn take_evictions() -> Vec<Eviction> {
    FABRIC.with(|f| f.evictions.take())
}

/// Forgets what was noted about the sockets of a host that lost power.
pub(super) fn forget_host(host: u16) {
    FABRIC.with(|f| {
        f.ghosts.borrow_mut().retain(|k| k.src != host);
        f.timed_out.borrow_mut().retain(|k| k.src != host);
        f.dropped.borrow_mut().retain(|k| k.src != host);
        f.drained.borrow_mut().retain(|k| k.src != host);
    });
}

/// Called by the panic hook: the first panic of a run is kept. Does nothing on a thread without a simulation.
pub(super) fn note_panic(message: impl FnOnce() -> String) {
    FABRIC.with(|f| {
        if f.run.get() != 0 {
            f.panic
                .borrow_mut()
                .get_or_insert_with(|| (f.host.get(), message()));
        }
    });
}

pub(super) fn take_panic() -> Option<(Option<u16>, String)> {
    FABRIC.with(|f| f.panic.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_map_one_to_one() {
        for host in [0, 1, 254, 255, 300] {
            assert_eq!(host_of(ip_of(host)), Some(host));
        }
        assert_eq!(ip_of(0).to_string(), "192.168.0.1");
        assert_eq!(ip_of(255).to_string(), "192.168.1.0");
        assert_eq!(host_of("127.0.0.1".parse().unwrap()), None);
    }
}
