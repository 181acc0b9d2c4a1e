//! RESV-INV-001: committed allocations exceed capacity and policy of a night.

use super::spans::{Judged, Spans};
use crate::{
    history::{Change, Nights},
    recording::Nanos,
    scenario::Fixtures,
};

pub(super) struct Watch {
    nights: Nights,
    spans: Spans,
}

impl Watch {
    pub(super) fn new(fixtures: &Fixtures) -> Self {
        Watch {
            nights: Nights::new(fixtures),
            spans: Spans::default(),
        }
    }

    pub(super) fn commit(&mut self, at: Nanos, changes: &[Change]) {
        self.nights.apply(changes);
        let oversold = self.nights.oversold().next().is_some();
        self.spans.set(at, oversold);
    }

    pub(super) fn finish(self, end: Nanos) -> Judged {
        (self.spans.finish(end), self.nights.facts())
    }
}
