//! RESV-INV-002 and the latency branch of RESV-INV-003: what clients waited for, from the first sending to the answer.
//!
//! The 99th percentile of five minutes is above its limit exactly while more than 1 % of the answers took longer.

use super::spans::{Judged, Share};
use crate::{
    recording::{Call, Nanos, Op, Phase},
    scenario::{MILLISECOND, MINUTE},
};

const WINDOW: Nanos = 5 * MINUTE;
const PER_MILLE: u64 = 10;
/// Fewer answers have no 99th percentile worth the name.
const LEAST: u64 = 20;
const ALLOCATION_LIMIT: Nanos = 200 * MILLISECOND;
const SEARCH_LIMIT: Nanos = 300 * MILLISECOND;

#[derive(Clone, Copy)]
enum Kind {
    Search,
    Allocation,
    Other,
}

pub(super) struct Watch {
    sent: Vec<Option<(Nanos, Kind)>>,
    allocations: (Share, u64),
    searches: (Share, u64),
}

impl Watch {
    pub(super) fn new(operations: usize) -> Self {
        Watch {
            sent: vec![None; operations],
            allocations: (Share::new(WINDOW, PER_MILLE, LEAST), 0),
            searches: (Share::new(WINDOW, PER_MILLE, LEAST), 0),
        }
    }

    pub(super) fn op(&mut self, at: Nanos, op: &Op) {
        let Some(sent) = self.sent.get_mut(op.op as usize) else {
            return;
        };
        if let Phase::Invoke(call) = &op.phase {
            let kind = match call {
                Call::Search(_) => Kind::Search,
                Call::Hold(_) | Call::Confirm(_) | Call::Release(_) | Call::Cancel(_) => {
                    Kind::Allocation
                }
                Call::Get(_) => Kind::Other,
            };
            *sent = Some((at, kind));
            return;
        }
        let Some((since, kind)) = sent.take() else {
            return;
        };
        let ((share, facts), limit) = match kind {
            Kind::Search => (&mut self.searches, SEARCH_LIMIT),
            Kind::Allocation => (&mut self.allocations, ALLOCATION_LIMIT),
            Kind::Other => return,
        };
        share.add(at, u64::from(at - since > limit), 1);
        *facts += 1;
    }

    pub(super) fn finish(self, end: Nanos) -> (Judged, Judged) {
        let close = |(share, facts): (Share, u64)| (share.finish(end), facts);
        (close(self.allocations), close(self.searches))
    }
}
