//! The wire: takes packets from the kernels, decides when each arrives, and repeats what was lost.
//!
//! `turmoil-net` 0.1.0 counts sweeps instead of time, so its own retransmission is switched off and done here. A *flow* is
//! one direction of a connection. Invariants: packets of a flow arrive in order and exactly once (its receiver neither
//! reorders nor acknowledges a duplicate, so anything else would hang); a lost packet blocks its flow until a repetition
//! gets through; a flow has at most one valid timer; every connection that is given up is reset at the end that waits.
//! Leaves out: congestion control, selective acknowledgement, TIME_WAIT.

use super::{
    agenda::{Agenda, Event},
    config::{NetConfig, SimError},
    fabric::{self, FlowKey, ip_of},
    handle::Shared,
    link::Fate,
    packet::{Kind, handshake_ack, kind, rst},
    stats::{NetStats, hash_packet},
};
use indexmap::IndexMap;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use turmoil_net::{
    EnterGuard, Netstat, NetstatEntry, Packet, TcpSegment, Transport as Payload, netstat,
};

const RTO_MAX: Duration = Duration::from_secs(120);
const SYN_RTO: Duration = Duration::from_secs(1);
const SYN_RETRIES: u32 = 6;
const SYN_ACK_RETRIES: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Arrival of the latest packet: later ones arrive no sooner.
    last: u64,
    blocked: VecDeque<Packet>,
    attempt: u32,
    timer: u64,
    held: bool,
}

pub(super) struct Transport {
    pub guard: EnterGuard,
    pub now: u64,
    pub stats: NetStats,
    pub failure: Option<SimError>,
    pub(super) shared: Arc<Shared>,
    pub(super) config: NetConfig,
    pub agenda: Agenda,
    pub(super) flows: IndexMap<FlowKey, Flow>,
    flows_before_sweep: usize,
    powered: Vec<bool>,
    /// Server ends in SYN_RCVD, with the acknowledgement that completes them.
    pub(super) half_open: BTreeMap<FlowKey, Packet>,
    /// Latest acknowledgement of connections that advertised a small window.
    pub(super) low_windows: BTreeMap<FlowKey, TcpSegment>,
    /// Sockets that no task owns any more, with the time they were dropped.
    pub(super) orphans: BTreeMap<FlowKey, u64>,
    pub(super) syns: Vec<(FlowKey, Packet)>,
    out: Vec<Packet>,
    delivered: bool,
    /// Number of the latest retransmission timer of any flow.
    timers: u64,
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
            agenda: Agenda::default(),
            flows: IndexMap::new(),
            flows_before_sweep: 1024,
            powered,
            half_open: BTreeMap::new(),
            low_windows: BTreeMap::new(),
            orphans: BTreeMap::new(),
            syns: Vec::new(),
            out: Vec::new(),
            delivered: false,
            timers: 0,
        }
    }

    pub fn set_powered(&mut self, host: u16, powered: bool) {
        self.powered[usize::from(host)] = powered;
    }

    pub(super) fn is_powered(&self, host: u16) -> bool {
        self.powered[usize::from(host)]
    }

    /// Hands a packet to the kernel of its destination.
    pub(super) fn inject(&mut self, packet: Packet) {
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
                self.failure
                    .get_or_insert_with(|| SimError::Udp(packet.src.to_string()));
                continue;
            };
            let Some(key) = key_of(&packet, segment) else {
                continue;
            };
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
            self.unanswered(key, syn);
        }
        self.widen(drained);
    }

    /// A kernel took a SYN and said nothing: its accept queue is full, or it still has a connection of that name, left half
    /// open by a client that lost power. That one is reset, as Linux does through its challenge acknowledgement.
    fn unanswered(&mut self, key: FlowKey, syn: Packet) {
        if self.is_powered(key.dst) && find(&netstat(ip_of(key.dst)), key.reverse()).is_some() {
            self.inject(rst(key));
        } else {
            self.stats.backlog_full += 1;
        }
        self.lost(key, syn, true);
    }

    /// First transmission. A blocked flow queues behind its lost packet.
    pub(super) fn send(&mut self, key: FlowKey, packet: Packet) {
        let Payload::Tcp(segment) = &packet.payload else {
            return;
        };
        let flags = segment.flags;
        if flags.syn {
            self.orphans.remove(&key);
            fabric::forget_connection(key);
            if flags.ack {
                self.half_open.insert(key, handshake_ack(key, segment));
            }
        }
        if flags.rst {
            self.half_open.remove(&key);
        }
        self.sweep_flows();
        let flow = self.flows.entry(key).or_default();
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
        self.flows
            .retain(|_, flow| flow.last >= now || !flow.blocked.is_empty());
        self.flows_before_sweep = (self.flows.len() * 2).max(1024);
    }

    /// Puts a packet on the wire; false when it stays behind as the head of its blocked flow.
    fn attempt(&mut self, key: FlowKey, packet: Packet) -> bool {
        if !self.is_powered(key.dst) {
            return self.lost(key, packet, true);
        }
        let syn = matches!(kind(&packet), Kind::Syn | Kind::SynAck);
        let fate = self
            .shared
            .state()
            .links
            .fate(usize::from(key.src), usize::from(key.dst));
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
                self.agenda.push(at, Event::Packet(packet));
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
        self.timers += 1;
        flow.timer = self.timers;
        let retry = Event::Retry(key, flow.timer);
        self.agenda.push(now + wait.as_nanos() as u64, retry);
        false
    }

    /// The retransmission timer of a flow fired.
    pub fn retry(&mut self, key: FlowKey, timer: u64) {
        let retries = self.config.retries;
        let Some(flow) = self
            .flows
            .get_mut(&key)
            .filter(|flow| flow.timer == timer && !flow.held)
        else {
            return;
        };
        let Some(head) = flow.blocked.front() else {
            return;
        };
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
        while let Some(packet) = self
            .flows
            .get_mut(&key)
            .and_then(|flow| flow.blocked.pop_front())
        {
            if !self.attempt(key, packet) {
                break;
            }
        }
    }

    /// Lets go of packets whose link is no longer held.
    pub fn release(&mut self) {
        let mut keys: Vec<FlowKey> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.held)
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        for key in keys {
            let held = self
                .shared
                .state()
                .links
                .get(usize::from(key.src), usize::from(key.dst))
                .hold;
            if let Some(flow) = self.flows.get_mut(&key).filter(|_| !held) {
                flow.held = false;
                self.flush(key);
            }
        }
    }

    /// The last repetition was lost: whoever waits for an answer to one of the packets is told.
    fn give_up(&mut self, key: FlowKey) {
        let Some(flow) = self.flows.swap_remove(&key) else {
            return;
        };
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

    /// A packet reaches the end of the wire.
    pub fn arrive(&mut self, packet: Packet) {
        let Payload::Tcp(segment) = &packet.payload else {
            return;
        };
        let Some(key) = key_of(&packet, segment) else {
            return;
        };
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
}

pub(super) fn key_of(packet: &Packet, segment: &TcpSegment) -> Option<FlowKey> {
    let (src, dst) = (fabric::host_of(packet.src)?, fabric::host_of(packet.dst)?);
    Some(FlowKey {
        src,
        src_port: segment.src_port,
        dst,
        dst_port: segment.dst_port,
    })
}

pub(super) fn find(sockets: &Netstat, key: FlowKey) -> Option<NetstatEntry> {
    let (local, peer) = (key.source(), Some(key.destination()));
    sockets
        .entries
        .iter()
        .find(|entry| entry.local == local && entry.peer == peer)
        .cloned()
}
