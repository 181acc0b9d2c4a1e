//! The wire: takes packets from the kernels, decides when each arrives, and repeats what was lost.
//!
//! `turmoil-net` 0.1.0 counts sweeps instead of time, so its own retransmission is switched off and done here. A *flow* is
//! one direction of a connection. Invariants: packets of a flow arrive in order and exactly once (its receiver neither
//! reorders nor acknowledges a duplicate, so anything else would hang); a lost packet blocks its flow until a repetition
//! gets through; a flow has at most one valid timer; every connection that is given up is reset at the end that waits.
//! Leaves out: congestion control, selective acknowledgement, TIME_WAIT.

use super::{
    config::{NetConfig, SimError},
    fabric::{self, FlowKey, ip_of},
    handle::Shared,
    link::Fate,
    packet::{Kind, handshake_ack, kind, rst, window_update},
    stats::{NetStats, hash_packet},
};
use indexmap::IndexMap;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};
use turmoil_net::{EnterGuard, Netstat, NetstatEntry, NetstatState, Packet, TcpSegment, Transport as Payload, netstat};

/// Windows below half of the 64 KiB receive buffer are watched: the kernel does not announce that small reads widened them.
const HALF_WINDOW: usize = 32 * 1024;
const BUFFER: usize = 64 * 1024;
const RTO_MAX: Duration = Duration::from_secs(120);
const SYN_RTO: Duration = Duration::from_secs(1);
const SYN_RETRIES: u32 = 6;
const SYN_ACK_RETRIES: u32 = 5;
/// Linux' `tcp_fin_timeout`: how long a closed socket waits for a peer that does not close.
const ORPHAN_NANOS: u64 = 60 * 1_000_000_000;

#[derive(Debug)]
pub(super) enum Event {
    Packet(Packet),
    /// Time-out of a flow; valid while the flow's timer has this number.
    Retry(FlowKey, u64),
    /// End of the freeze with this number.
    Thaw(u16, u64),
    /// Look for sockets of a host that nobody owns.
    Orphans(u16),
}

#[derive(Debug)]
struct Due {
    at: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[derive(Debug, Default)]
struct Flow {
    /// Arrival of the latest packet: later ones arrive no sooner.
    last: u64,
    blocked: VecDeque<Packet>,
    attempt: u32,
    timer: u64,
    held: bool,
    fin_sent: bool,
}

pub(super) struct Transport {
    pub guard: EnterGuard,
    pub now: u64,
    pub stats: NetStats,
    pub failure: Option<SimError>,
    shared: Arc<Shared>,
    config: NetConfig,
    agenda: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    flows: IndexMap<FlowKey, Flow>,
    flows_before_sweep: usize,
    powered: Vec<bool>,
    /// Server ends in SYN_RCVD, with the acknowledgement that completes them.
    half_open: BTreeMap<FlowKey, Packet>,
    /// Latest acknowledgement of connections that advertised a small window.
    low_windows: BTreeMap<FlowKey, TcpSegment>,
    /// Sockets that no task owns any more, with the time they were dropped.
    orphans: BTreeMap<FlowKey, u64>,
    syns: Vec<(FlowKey, Packet)>,
    out: Vec<Packet>,
    delivered: bool,
}

impl Transport {
    pub fn new(guard: EnterGuard, shared: Arc<Shared>, config: NetConfig) -> Self {
        let powered = vec![true; shared.names.len()];
        Self {
            guard,
            now: 0,
            stats: NetStats::default(),
            failure: None,
            shared,
            config,
            agenda: BinaryHeap::new(),
            sequence: 0,
            flows: IndexMap::new(),
            flows_before_sweep: 1024,
            powered,
            half_open: BTreeMap::new(),
            low_windows: BTreeMap::new(),
            orphans: BTreeMap::new(),
            syns: Vec::new(),
            out: Vec::new(),
            delivered: false,
        }
    }

    pub fn schedule(&mut self, at: u64, event: Event) -> u64 {
        self.sequence += 1;
        self.agenda.push(Reverse(Due { at, sequence: self.sequence, event }));
        self.sequence
    }

    pub fn next_at(&self) -> Option<u64> {
        self.agenda.peek().map(|due| due.0.at)
    }

    pub fn pop_due(&mut self) -> Option<Event> {
        if self.next_at()? > self.now {
            return None;
        }
        self.agenda.pop().map(|due| due.0.event)
    }

    pub fn set_powered(&mut self, host: u16, powered: bool) {
        self.powered[usize::from(host)] = powered;
    }

    fn is_powered(&self, host: u16) -> bool {
        self.powered[usize::from(host)]
    }

    /// Hands a packet to the kernel of its destination.
    fn inject(&mut self, packet: Packet) {
        self.delivered = true;
        self.guard.deliver(packet);
    }

    /// Takes what the kernels want to send, if any socket was touched since the last time.
    pub fn collect(&mut self) {
        for key in fabric::take_dropped() {
            self.adopt(key);
        }
        if !(fabric::take_touched() | std::mem::take(&mut self.delivered)) {
            return;
        }
        self.stats.sweeps += 1;
        let mut out = std::mem::take(&mut self.out);
        self.guard.egress_all(&mut out);
        let mut drained = fabric::take_drained();
        let mut syns = std::mem::take(&mut self.syns);
        for packet in out.drain(..) {
            let Payload::Tcp(segment) = &packet.payload else {
                self.failure.get_or_insert_with(|| SimError::Udp(packet.src.to_string()));
                continue;
            };
            let Some(key) = key_of(&packet, segment) else { continue };
            if segment.flags.syn || segment.flags.rst {
                syns.retain(|(syn, _)| *syn != key.reverse());
            }
            if self.watch_window(key, segment) {
                drained.push(key);
            }
            self.send(key, packet);
        }
        self.out = out;
        for (key, syn) in syns {
            self.stats.backlog_full += 1;
            self.lost(key, syn, true);
        }
        self.widen(drained);
    }

    /// Remembers a connection whose advertised window is small; true when it is.
    fn watch_window(&mut self, key: FlowKey, segment: &TcpSegment) -> bool {
        let low = usize::from(segment.window) < HALF_WINDOW && segment.flags.ack && !segment.flags.rst;
        if low {
            fabric::watch_reads(true);
            self.low_windows.insert(key, TcpSegment { payload: bytes::Bytes::new(), ..segment.clone() });
            let consumed = segment.payload.len() as u32 + u32::from(segment.flags.fin);
            if let Some(kept) = self.low_windows.get_mut(&key) {
                kept.seq = segment.seq.wrapping_add(consumed);
            }
        } else if !self.low_windows.is_empty() {
            self.forget_window(key);
        }
        low
    }

    fn forget_window(&mut self, key: FlowKey) {
        if self.low_windows.remove(&key).is_some() && self.low_windows.is_empty() {
            fabric::watch_reads(false);
        }
    }

    /// Announces the window of connections whose reader has emptied half of the buffer since.
    fn widen(&mut self, drained: Vec<FlowKey>) {
        for key in drained {
            let Some(segment) = self.low_windows.get(&key) else { continue };
            let Some(entry) = find(&netstat(ip_of(key.src)), key) else {
                self.forget_window(key);
                continue;
            };
            if entry.recv_q <= HALF_WINDOW {
                let update = window_update(key, segment, BUFFER - entry.recv_q);
                self.stats.window_updates += 1;
                self.forget_window(key);
                self.send(key, update);
            }
        }
    }

    /// First transmission. A blocked flow queues behind its lost packet.
    fn send(&mut self, key: FlowKey, packet: Packet) {
        let Payload::Tcp(segment) = &packet.payload else { return };
        let flags = segment.flags;
        if flags.syn {
            self.orphans.remove(&key);
            if flags.ack {
                self.half_open.insert(key, handshake_ack(key, segment));
            }
        }
        if flags.rst {
            self.half_open.remove(&key);
        }
        self.sweep_flows();
        let flow = self.flows.entry(key).or_default();
        flow.fin_sent = (flow.fin_sent && !flags.syn) | flags.fin;
        if flow.blocked.is_empty() {
            flow.attempt = 0;
            self.attempt(key, packet);
        } else {
            flow.blocked.push_back(packet);
        }
    }

    /// Forgets flows that no longer constrain anything.
    fn sweep_flows(&mut self) {
        if self.flows.len() <= self.flows_before_sweep {
            return;
        }
        let now = self.now;
        self.flows.retain(|_, flow| flow.last >= now || !flow.blocked.is_empty() || (flow.fin_sent && flow.last + ORPHAN_NANOS >= now));
        self.flows_before_sweep = (self.flows.len() * 2).max(1024);
    }

    /// Puts a packet on the wire; false when it stays behind as the head of its blocked flow.
    fn attempt(&mut self, key: FlowKey, packet: Packet) -> bool {
        if !self.is_powered(key.dst) {
            return self.lost(key, packet, true);
        }
        let syn = matches!(kind(&packet), Kind::Syn | Kind::SynAck);
        let fate = self.shared.state().links.fate(usize::from(key.src), usize::from(key.dst));
        match fate {
            Fate::Lost => self.lost(key, packet, true),
            Fate::Held => {
                let flow = self.flows.entry(key).or_default();
                flow.blocked.push_front(packet);
                flow.held = true;
                false
            }
            Fate::Arrives(delay) => {
                let flow = self.flows.entry(key).or_default();
                if !syn {
                    flow.attempt = 0; // a SYN may still find no room on arrival: its backoff goes on
                }
                flow.last = flow.last.max(self.now + delay.as_nanos() as u64);
                let at = flow.last;
                self.schedule(at, Event::Packet(packet));
                true
            }
        }
    }

    /// A packet did not get through. Returns true when nothing needs to be repeated: whoever has lost power has nothing
    /// left that a bare acknowledgement or reset could matter to.
    fn lost(&mut self, key: FlowKey, packet: Packet, front: bool) -> bool {
        self.stats.lost += 1;
        if !self.is_powered(key.dst) && matches!(kind(&packet), Kind::Ack | Kind::Rst) {
            return true;
        }
        let syn = matches!(kind(&packet), Kind::Syn | Kind::SynAck);
        let now = self.now;
        let flow = self.flows.entry(key).or_default();
        if !front && !flow.blocked.is_empty() {
            flow.blocked.push_back(packet);
            return false;
        }
        flow.blocked.push_front(packet);
        let base = if syn { SYN_RTO } else { self.config.rto };
        let wait = base.saturating_mul(1 << flow.attempt.min(16)).min(RTO_MAX);
        let timer = self.schedule(now + wait.as_nanos() as u64, Event::Retry(key, self.sequence + 1));
        self.flows.entry(key).or_default().timer = timer;
        false
    }

    /// The retransmission timer of a flow fired.
    pub fn retry(&mut self, key: FlowKey, timer: u64) {
        let retries = self.config.retries;
        let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.timer == timer && !flow.held) else { return };
        let Some(head) = flow.blocked.front() else { return };
        flow.attempt += 1;
        let limit = match kind(head) {
            Kind::Syn => retries.min(SYN_RETRIES),
            Kind::SynAck => retries.min(SYN_ACK_RETRIES),
            _ => retries,
        };
        if flow.attempt > limit {
            return self.give_up(key);
        }
        self.stats.retransmissions += 1;
        self.flush(key);
    }

    /// Sends what a flow has waiting, up to the next loss.
    fn flush(&mut self, key: FlowKey) {
        while let Some(packet) = self.flows.get_mut(&key).and_then(|flow| flow.blocked.pop_front()) {
            if !self.attempt(key, packet) {
                break;
            }
        }
    }

    /// Lets go of packets whose link is no longer held.
    pub fn release(&mut self) {
        let mut keys: Vec<FlowKey> = self.flows.iter().filter(|(_, flow)| flow.held).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        for key in keys {
            let held = self.shared.state().links.get(usize::from(key.src), usize::from(key.dst)).hold;
            if let Some(flow) = self.flows.get_mut(&key).filter(|_| !held) {
                flow.held = false;
                self.flush(key);
            }
        }
    }

    /// The last repetition was lost: whoever waits for an answer to one of the packets is told.
    fn give_up(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.swap_remove(&key) else { return };
        self.stats.given_up += 1;
        let (mut sender, mut receiver, mut reset) = (false, false, false);
        for packet in &flow.blocked {
            match kind(packet) {
                Kind::Syn | Kind::SynAck | Kind::Data => sender = true,
                Kind::Ack => receiver = true,
                Kind::Rst => reset = true,
            }
        }
        if sender {
            self.abort(key, true);
        }
        if receiver || reset {
            self.abort(key.reverse(), receiver && !reset);
        }
    }

    /// Resets the end `key.source()` of a connection; `timed_out` makes its owner see a time-out instead.
    fn abort(&mut self, key: FlowKey, timed_out: bool) {
        if !self.is_powered(key.src) {
            return;
        }
        if self.half_open.contains_key(&key) {
            return self.reset_half_open(key);
        }
        if timed_out && !self.orphans.contains_key(&key) && find(&netstat(ip_of(key.src)), key).is_some() {
            fabric::add_timed_out(key);
        }
        self.forget_window(key);
        self.inject(rst(key.reverse()));
    }

    /// `turmoil-net` never frees a socket that is reset in SYN_RCVD, and it would block the listener's port for ever.
    /// Completing the handshake first hands it to the listener, whose `accept` throws it away.
    fn reset_half_open(&mut self, key: FlowKey) {
        if let Some(ack) = self.half_open.remove(&key) {
            self.inject(ack);
            fabric::add_ghost(key);
            self.inject(rst(key.reverse()));
        }
    }

    /// A packet reaches the end of the wire.
    pub fn arrive(&mut self, packet: Packet) {
        let Payload::Tcp(segment) = &packet.payload else { return };
        let Some(key) = key_of(&packet, segment) else { return };
        if !self.is_powered(key.dst) {
            self.lost(key, packet, false);
            return;
        }
        self.stats.count(self.now, &packet, segment);
        if self.config.hash_packets
            && let Some(hash) = &mut self.shared.state().packets
        {
            hash_packet(hash, self.now, &packet, segment);
        }
        let (flags, end) = (segment.flags, key.reverse());
        if !self.half_open.is_empty() {
            if flags.rst && self.half_open.contains_key(&end) {
                return self.reset_half_open(end);
            }
            if flags.ack && !flags.syn {
                self.half_open.remove(&end);
            }
        }
        if flags.rst {
            self.forget_window(end);
        }
        if flags.syn && !flags.ack {
            self.syns.push((key, packet.clone()));
        }
        if !segment.payload.is_empty() && self.orphans.remove(&end).is_some() {
            // Linux answers data for a socket that nobody can read any more with a reset.
            self.inject(rst(key));
            return self.send(end, rst(end));
        }
        self.inject(packet);
    }

    /// The last owner of a socket is gone; its kernel finishes the conversation.
    fn adopt(&mut self, key: FlowKey) {
        self.forget_window(key);
        if !self.is_powered(key.src) {
            return;
        }
        let first = self.orphans.range(first_of(key.src)..=last_of(key.src)).next().is_none();
        self.orphans.insert(key, self.now);
        if first {
            self.schedule(self.now + ORPHAN_NANOS, Event::Orphans(key.src));
        }
    }

    /// Ends the ownerless sockets of a host whose peer has not closed its side within a minute.
    pub fn reap_orphans(&mut self, host: u16) {
        let sockets = netstat(ip_of(host));
        let mine: Vec<(FlowKey, u64)> = self.orphans.range(first_of(host)..=last_of(host)).map(|(k, since)| (*k, *since)).collect();
        let mut next: Option<u64> = None;
        for (key, since) in mine {
            let state = find(&sockets, key).and_then(|entry| entry.state);
            let expired = since + ORPHAN_NANOS <= self.now;
            match state {
                None => drop(self.orphans.remove(&key)),
                Some(NetstatState::FinWait2) if expired => {
                    self.orphans.remove(&key);
                    self.inject(rst(key.reverse()));
                }
                Some(_) => {
                    let again = if expired { self.now + ORPHAN_NANOS } else { since + ORPHAN_NANOS };
                    next = Some(next.map_or(again, |n| n.min(again)));
                }
            }
        }
        if let Some(at) = next {
            self.schedule(at, Event::Orphans(host));
        }
    }

    /// Frees a port from sockets that nobody owns, so that it can be bound again.
    pub fn evict(&mut self, host: u16, port: u16) {
        for entry in netstat(ip_of(host)).entries {
            let Some(key) = entry.peer.and_then(|peer| FlowKey::of(entry.local, peer)) else { continue };
            if key.src_port != port || self.orphans.remove(&key).is_none() {
                continue;
            }
            self.inject(rst(key.reverse()));
            let said_goodbye = entry.state == Some(NetstatState::FinWait2) || self.flows.get(&key).is_some_and(|f| f.fin_sent);
            if !said_goodbye {
                self.send(key, rst(key)); // the peer would wait for the rest for ever
            }
        }
        self.collect();
    }

    /// The power of a host fails after its tasks were dropped: nothing it still wanted to send leaves.
    pub fn power_off(&mut self, host: u16) {
        let mute = |transport: &mut Self| {
            let mut out = Vec::new();
            transport.guard.egress_all(&mut out);
            for packet in out {
                if let Payload::Tcp(segment) = &packet.payload
                    && let Some(key) = key_of(&packet, segment)
                    && key.src != host
                {
                    transport.send(key, packet);
                }
            }
        };
        self.set_powered(host, false);
        mute(self);
        for entry in netstat(ip_of(host)).entries {
            if let Some(key) = entry.peer.and_then(|peer| FlowKey::of(entry.local, peer)) {
                self.guard.deliver(rst(key.reverse()));
            }
        }
        mute(self);
        fabric::forget_host(host);
        self.flows.retain(|key, _| key.src != host);
        self.half_open.retain(|key, _| key.src != host);
        self.low_windows.retain(|key, _| key.src != host);
        fabric::watch_reads(!self.low_windows.is_empty());
        self.orphans.retain(|key, _| key.src != host);
        self.syns.retain(|(key, _)| key.dst != host);
    }
}

fn first_of(host: u16) -> FlowKey {
    FlowKey { src: host, src_port: 0, dst: 0, dst_port: 0 }
}

fn last_of(host: u16) -> FlowKey {
    FlowKey { src: host, src_port: u16::MAX, dst: u16::MAX, dst_port: u16::MAX }
}

fn key_of(packet: &Packet, segment: &TcpSegment) -> Option<FlowKey> {
    let (src, dst) = (fabric::host_of(packet.src)?, fabric::host_of(packet.dst)?);
    Some(FlowKey { src, src_port: segment.src_port, dst, dst_port: segment.dst_port })
}

fn find(sockets: &Netstat, key: FlowKey) -> Option<NetstatEntry> {
    let (local, peer) = (key.source(), Some(key.destination()));
    sockets.entries.iter().find(|entry| entry.local == local && entry.peer == peer).cloned()
}
