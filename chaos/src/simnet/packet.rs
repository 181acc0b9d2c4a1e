//! Packets that the wire itself makes, and what kind a packet is.

use super::fabric::FlowKey;
use bytes::Bytes;
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

/// What matters about a packet when it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    /// Carries data or FIN.
    Data,
    Ack,
    Rst,
}

pub(super) fn kind(packet: &Packet) -> Kind {
    let Transport::Tcp(segment) = &packet.payload else {
        return Kind::Data;
    };
    let flags = segment.flags;
    match (flags.rst, flags.syn, flags.ack) {
        (true, ..) => Kind::Rst,
        (false, true, false) => Kind::Syn,
        (false, true, true) => Kind::SynAck,
        _ if flags.fin || !segment.payload.is_empty() => Kind::Data,
        _ => Kind::Ack,
    }
}

fn packet(key: FlowKey, seq: u32, ack: u32, flags: TcpFlags, window: u16) -> Packet {
    let segment = TcpSegment {
        src_port: key.src_port,
        dst_port: key.dst_port,
        seq,
        ack,
        flags,
        window,
        payload: Bytes::new(),
    };
    Packet {
        src: key.source().ip(),
        dst: key.destination().ip(),
        ttl: 64,
        payload: Transport::Tcp(segment),
    }
}

/// A reset that travels along `key`.
pub(super) fn rst(key: FlowKey) -> Packet {
    packet(
        key,
        0,
        0,
        TcpFlags {
            rst: true,
            ..TcpFlags::default()
        },
        0,
    )
}

/// The acknowledgement with which the client completes the handshake of the server end `key`, given its SYN-ACK.
pub(super) fn handshake_ack(key: FlowKey, syn_ack: &TcpSegment) -> Packet {
    let flags = TcpFlags {
        ack: true,
        ..TcpFlags::default()
    };
    packet(
        key.reverse(),
        syn_ack.ack,
        syn_ack.seq.wrapping_add(1),
        flags,
        u16::MAX,
    )
}

/// An acknowledgement that repeats `latest` with a window of `room` bytes.
pub(super) fn window_update(key: FlowKey, latest: &TcpSegment, room: usize) -> Packet {
    let flags = TcpFlags {
        ack: true,
        ..TcpFlags::default()
    };
    packet(
        key,
        latest.seq,
        latest.ack,
        flags,
        u16::try_from(room).unwrap_or(u16::MAX),
    )
}
