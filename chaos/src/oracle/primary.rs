//! RESV-PLT-002: the primary refuses connections, or a standby took its place.
//!
//! Both are instants. Those less than a minute apart are one trouble: an interval from the first of them to the last.

use std::sync::Arc;

use super::spans::Judged;
use crate::{
    recording::Nanos,
    scenario::{MINUTE, SECOND},
};

const ONE_TROUBLE: Nanos = MINUTE;
/// Until clients have found the new primary, a failure to reach the old one is still about this failover.
const AFTER_PROMOTION: Nanos = 5 * SECOND;

pub(super) struct Watch {
    primary: Arc<str>,
    former: Option<(Nanos, Arc<str>)>,
    troubles: Vec<(Nanos, Nanos)>,
    facts: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            primary: "db-1".into(),
            former: None,
            troubles: Vec::new(),
            facts: 0,
        }
    }
}

impl Watch {
    pub(super) fn connect(&mut self, at: Nanos, to: &Arc<str>, ok: bool) {
        self.facts += 1;
        let former = self
            .former
            .as_ref()
            .is_some_and(|(since, host)| host == to && at < since + AFTER_PROMOTION);
        if !ok && (*to == self.primary || former) {
            self.trouble(at);
        }
    }

    pub(super) fn promoted(&mut self, at: Nanos, host: &Arc<str>) {
        self.facts += 1;
        self.former = Some((at, std::mem::replace(&mut self.primary, host.clone())));
        self.trouble(at);
    }

    pub(super) fn finish(self) -> Judged {
        (self.troubles, self.facts)
    }

    fn trouble(&mut self, at: Nanos) {
        match self.troubles.last_mut() {
            Some((_, last)) if at - *last <= ONE_TROUBLE => *last = at,
            _ => self.troubles.push((at, at)),
        }
    }
}
