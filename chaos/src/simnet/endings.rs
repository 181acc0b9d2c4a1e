//! How connections end when nobody is left to end them: time-outs, dead handshakes, sockets without an owner, power loss.
//!
//! Invariant: no socket stays in a kernel for ever; whoever still waits on a connection learns of its end, except after a
//! power loss, where silence is what a peer would see.

use super::{
    agenda::Event,
    fabric::{self, FlowKey, ip_of},
    packet::rst,
    transport::{Transport, find, key_of},
};
use turmoil_net::{NetstatState, Transport as Payload, netstat};

/// Linux' `tcp_fin_timeout`: how long a closed socket waits for a peer that does not close.
const ORPHAN_NANOS: u64 = 60 * 1_000_000_000;

impl Transport {
    /// Resets the end `key.source()` of a connection; `timed_out` makes its owner see a time-out instead.
    pub(super) fn abort(&mut self, key: FlowKey, timed_out: bool) {
        if !self.is_powered(key.src) {
            return;
        }
        if self.half_open.contains_key(&key) {
            return self.reset_half_open(key);
        }
        if timed_out
            && !self.orphans.contains_key(&key)
            && find(&netstat(ip_of(key.src)), key).is_some()
        {
            fabric::add_timed_out(key);
        }
        self.forget_window(key);
        self.inject(rst(key.reverse()));
    }

    /// `turmoil-net` never frees a socket that is reset in SYN_RCVD, and it would block the listener's port for ever.
    /// Completing the handshake first hands it to the listener, whose `accept` throws it away.
    pub(super) fn reset_half_open(&mut self, key: FlowKey) {
        if let Some(ack) = self.half_open.remove(&key) {
            self.inject(ack);
            fabric::add_ghost(key);
            self.inject(rst(key.reverse()));
        }
    }

    /// The last owner of a socket is gone; its kernel finishes the conversation.
    pub(super) fn adopt(&mut self, key: FlowKey) {
        self.forget_window(key);
        if !self.is_powered(key.src) {
            return;
        }
        let first = self
            .orphans
            .range(first_of(key.src)..=last_of(key.src))
            .next()
            .is_none();
        self.orphans.insert(key, self.now);
        if first {
            self.agenda
                .push(self.now + ORPHAN_NANOS, Event::Orphans(key.src));
        }
    }

    /// Ends the ownerless sockets of a host whose peer has not closed its side within a minute.
    pub fn reap_orphans(&mut self, host: u16) {
        let sockets = netstat(ip_of(host));
        let mine: Vec<(FlowKey, u64)> = self
            .orphans
            .range(first_of(host)..=last_of(host))
            .map(|(k, since)| (*k, *since))
            .collect();
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
                    let again = if expired {
                        self.now + ORPHAN_NANOS
                    } else {
                        since + ORPHAN_NANOS
                    };
                    next = Some(next.map_or(again, |n| n.min(again)));
                }
            }
        }
        if let Some(at) = next {
            self.agenda.push(at, Event::Orphans(host));
        }
    }

    /// Frees a port from sockets that nobody owns, so that it can be bound again. A peer that waits for what such a socket
    /// could not send yet widens its window one day, and is answered with a reset.
    pub fn evict(&mut self, host: u16, port: u16) {
        for entry in netstat(ip_of(host)).entries {
            let Some(key) = entry.peer.and_then(|peer| FlowKey::of(entry.local, peer)) else {
                continue;
            };
            if key.src_port != port || self.orphans.remove(&key).is_none() {
                continue;
            }
            self.inject(rst(key.reverse()));
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
    FlowKey {
        src: host,
        src_port: 0,
        dst: 0,
        dst_port: 0,
    }
}

fn last_of(host: u16) -> FlowKey {
    FlowKey {
        src: host,
        src_port: u16::MAX,
        dst: u16::MAX,
        dst_port: u16::MAX,
    }
}
