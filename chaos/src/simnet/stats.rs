//! Counters of a run: what the network did, for reports, reach minima and determinism tests.
//!
//! Invariant: every counter is a function of configuration, seed and the code under test alone; none depends on the machine.

use sha2::{Digest, Sha256};
use turmoil_net::{Packet, TcpSegment};

/// Totals since the start of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Packets handed to a host's kernel.
    pub delivered: u64,
    /// TCP payload bytes in them.
    pub delivered_bytes: u64,
    /// Packets lost on a link or at a host without power (first transmissions and repetitions).
    pub lost: u64,
    /// Repetitions sent after a time-out.
    pub retransmissions: u64,
    /// Connections given up after the last repetition.
    pub given_up: u64,
    /// SYNs that found a full accept queue.
    pub backlog_full: u64,
    /// Window updates sent for readers that read in small pieces.
    pub window_updates: u64,
    /// Times a host was polled.
    pub polls: u64,
    /// Passes of the event loop.
    pub rounds: u64,
    /// Sweeps over every socket (the expensive part of a pass).
    pub sweeps: u64,
    /// Rolling hash over time, addresses, numbers, flags and length of every delivered packet, in order. Not cryptographic
    /// and blind to payload; it costs nothing.
    pub digest: u64,
}

impl NetStats {
    pub(super) fn count(&mut self, now: u64, packet: &Packet, segment: &TcpSegment) {
        self.delivered += 1;
        self.delivered_bytes += segment.payload.len() as u64;
        let [ports, numbers] = header_words(segment);
        let source = super::fabric::host_of(packet.src).map_or(u64::MAX, u64::from);
        let destination = super::fabric::host_of(packet.dst).map_or(u64::MAX, u64::from);
        for word in [
            now,
            source << 32 | destination,
            ports,
            numbers,
            segment.payload.len() as u64,
        ] {
            self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

fn header_words(s: &TcpSegment) -> [u64; 2] {
    let flags = [s.flags.syn, s.flags.ack, s.flags.fin, s.flags.rst]
        .iter()
        .fold(0u64, |bits, flag| bits << 1 | u64::from(*flag));
    let ports = flags << 48
        | u64::from(s.window) << 32
        | u64::from(s.src_port) << 16
        | u64::from(s.dst_port);
    [ports, u64::from(s.seq) << 32 | u64::from(s.ack)]
}

/// Adds a delivered packet, payload included, to the cryptographic hash of the run.
pub(super) fn hash_packet(hash: &mut Sha256, now: u64, packet: &Packet, segment: &TcpSegment) {
    hash.update(now.to_le_bytes());
    hash.update(packet.src.to_string());
    hash.update(packet.dst.to_string());
    for word in header_words(segment) {
        hash.update(word.to_le_bytes());
    }
    hash.update((segment.payload.len() as u64).to_le_bytes());
    hash.update(&segment.payload);
}
