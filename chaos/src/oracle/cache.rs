//! The cache branch of RESV-INV-003: for more than half of the searches there is no cache.
//!
//! A ledger has none while the cache's host is down, while nothing passes between them, or while its last call was not answered:
//! calls that it holds back after failures are needs that fail all the same. Each answered search asks all running ledgers alike.

use std::{collections::BTreeSet, sync::Arc};

use super::spans::{Judged, Share, Topology};
use crate::{
    recording::{HostState, Nanos, Op, Phase, Reply},
    scenario::{LEDGERS, SECOND},
};

/// Short, since the symptom is what happens now; how long it must last before somebody is woken is not decided here.
const WINDOW: Nanos = 30 * SECOND;
const CACHE: &str = "cache";

pub(super) struct Watch {
    topology: Topology,
    unanswered: BTreeSet<Arc<str>>,
    needs: Share,
    facts: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            topology: Topology::default(),
            unanswered: BTreeSet::new(),
            needs: Share::new(WINDOW, 500, 5),
            facts: 0,
        }
    }
}

impl Watch {
    pub(super) fn host(&mut self, _: Nanos, host: &Arc<str>, state: HostState) {
        self.topology.host(host, state);
        // A process that starts anew knows nothing of earlier failures.
        self.unanswered.remove(host);
    }

    pub(super) fn link(&mut self, _: Nanos, from: &Arc<str>, to: &Arc<str>, up: bool) {
        self.topology.link(from, to, up);
    }

    pub(super) fn call(&mut self, _: Nanos, host: &Arc<str>, ok: bool) {
        self.facts += 1;
        if ok {
            self.unanswered.remove(host);
        } else {
            self.unanswered.insert(host.clone());
        }
    }

    pub(super) fn op(&mut self, at: Nanos, op: &Op) {
        if !matches!(op.phase, Phase::Ok(Reply::Availability { .. })) {
            return;
        }
        let running = LEDGERS.iter().filter(|ledger| self.topology.is_up(ledger));
        let (mut all, mut without) = (0, 0);
        for ledger in running {
            all += 1;
            let answers =
                self.topology.answers(ledger, CACHE) && !self.unanswered.contains(*ledger);
            without += u64::from(!answers);
        }
        self.facts += 1;
        self.needs.add(at, without, all);
    }

    pub(super) fn finish(self, end: Nanos) -> Judged {
        (self.needs.finish(end), self.facts)
    }
}
