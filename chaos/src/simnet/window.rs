//! Announces windows that small reads have opened.
//!
//! `turmoil-net` sends a window update only when one read empties half of the buffer, and has no persist probe: a sender
//! that met a closed window would wait for ever for a reader that reads in small pieces. Invariant: a connection whose
//! latest advertisement was below half is watched, until its buffer is half empty and the peer was told.

use super::{
    fabric::{self, FlowKey, ip_of},
    packet::window_update,
    transport::{Transport, find},
};
use turmoil_net::{TcpSegment, netstat};

/// The receive buffer of `turmoil-net`.
const BUFFER: usize = 64 * 1024;
const HALF_WINDOW: usize = BUFFER / 2;

impl Transport {
    /// Remembers a connection whose advertised window is small; true when it is.
    pub(super) fn watch_window(&mut self, key: FlowKey, segment: &TcpSegment) -> bool {
        let low =
            usize::from(segment.window) < HALF_WINDOW && segment.flags.ack && !segment.flags.rst;
        if low {
            fabric::watch_reads(true);
            self.low_windows.insert(
                key,
                TcpSegment {
                    payload: bytes::Bytes::new(),
                    ..segment.clone()
                },
            );
            let consumed = segment.payload.len() as u32 + u32::from(segment.flags.fin);
            if let Some(kept) = self.low_windows.get_mut(&key) {
                kept.seq = segment.seq.wrapping_add(consumed);
            }
        } else if !self.low_windows.is_empty() {
            self.forget_window(key);
        }
        low
    }

    pub(super) fn forget_window(&mut self, key: FlowKey) {
        if self.low_windows.remove(&key).is_some() && self.low_windows.is_empty() {
            fabric::watch_reads(false);
        }
    }

    /// Announces the window of connections whose reader has emptied half of the buffer since.
    pub(super) fn widen(&mut self, drained: Vec<FlowKey>) {
        for key in drained {
            let Some(segment) = self.low_windows.get(&key) else {
                continue;
            };
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
}
