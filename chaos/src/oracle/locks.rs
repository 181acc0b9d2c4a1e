//! RESV-INV-006: more than 2 % of the row locks that tenants' statements asked for within 30 minutes were given up.

use super::spans::{Judged, Share};
use crate::{
    recording::{DbEvent, Nanos},
    scenario::MINUTE,
};

/// With fewer, one statement alone would be more than 2 %.
const LEAST: u64 = 50;

pub(super) struct Watch {
    share: Share,
    facts: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            share: Share::new(30 * MINUTE, 20, LEAST),
            facts: 0,
        }
    }
}

impl Watch {
    pub(super) fn database(&mut self, at: Nanos, what: &DbEvent) {
        let given_up = match what {
            DbEvent::LockAcquired { .. } | DbEvent::Deadlock => 0,
            DbEvent::LockTimeout => 1,
            _ => return,
        };
        self.facts += 1;
        self.share.add(at, given_up, 1);
    }

    pub(super) fn finish(self, end: Nanos) -> Judged {
        (self.share.finish(end), self.facts)
    }
}
