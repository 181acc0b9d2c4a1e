//! What is due when: a heap of events in the order of (instant, number of arrival).
//!
//! Invariant: two events of one instant happen in the order in which they were scheduled.

use super::fabric::FlowKey;
use std::{cmp::Reverse, collections::BinaryHeap};
use turmoil_net::Packet;

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

/// Future events.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Due>>,
    sequence: u64,
}

impl Agenda {
    /// Schedules an event for that many virtual nanoseconds after the start.
    pub fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Due {
            at,
            sequence: self.sequence,
            event,
        }));
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|due| due.0.at)
    }

    /// The next event, if it is due by `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<Event> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|due| due.0.event)
    }
}
