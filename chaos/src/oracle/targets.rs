//! RESV-PLT-004: a ledger is down, or the monitoring host and it do not reach one another.
//!
//! Intervals are per ledger, so that two short ones do not look like a long one; they may overlap.

use std::sync::Arc;

use super::spans::{Judged, Spans, Topology};
use crate::{
    recording::{HostState, Nanos},
    scenario::LEDGERS,
};

const MONITOR: &str = "prometheus";

#[derive(Default)]
pub(super) struct Watch {
    topology: Topology,
    spans: [Spans; LEDGERS.len()],
    facts: u64,
}

impl Watch {
    pub(super) fn host(&mut self, at: Nanos, host: &Arc<str>, state: HostState) {
        self.topology.host(host, state);
        if LEDGERS.contains(&&**host) {
            self.judge(at);
        }
    }

    pub(super) fn link(&mut self, at: Nanos, from: &Arc<str>, to: &Arc<str>, up: bool) {
        self.topology.link(from, to, up);
        self.judge(at);
    }

    pub(super) fn finish(self, end: Nanos) -> Judged {
        let mut intervals: Vec<_> = self
            .spans
            .into_iter()
            .flat_map(|spans| spans.finish(end))
            .collect();
        intervals.sort_unstable();
        (intervals, self.facts)
    }

    fn judge(&mut self, at: Nanos) {
        for (ledger, spans) in LEDGERS.iter().zip(&mut self.spans) {
            self.facts += 1;
            spans.set(at, !self.topology.answers(MONITOR, ledger));
        }
    }
}
