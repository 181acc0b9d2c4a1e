//! Intervals in which something is true, and two ways to become true: with age, or as a share of a sliding window.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::recording::{HostState, Nanos};

/// Intervals and the number of facts behind them.
pub(super) type Judged = (Vec<(Nanos, Nanos)>, u64);

/// Intervals of one condition.
#[derive(Default)]
pub(super) struct Spans {
    open: Option<Nanos>,
    done: Vec<(Nanos, Nanos)>,
}

impl Spans {
    /// From `at` on it is, or is not, true.
    pub(super) fn set(&mut self, at: Nanos, truth: bool) {
        match (truth, self.open) {
            (true, None) => self.open = Some(at),
            (false, Some(from)) => {
                self.done.push((from, at));
                self.open = None;
            }
            _ => {}
        }
    }

    pub(super) fn finish(mut self, end: Nanos) -> Vec<(Nanos, Nanos)> {
        self.set(end, false);
        self.done
    }
}

/// True while the oldest of some things is older than `limit`.
pub(super) struct Overdue {
    limit: Nanos,
    spans: Spans,
}

impl Overdue {
    pub(super) fn new(limit: Nanos) -> Self {
        Overdue {
            limit,
            spans: Spans::default(),
        }
    }

    /// At `at` the oldest dates from `oldest`. To be called before and after each change.
    pub(super) fn see(&mut self, at: Nanos, oldest: Option<Nanos>) {
        match oldest.map(|oldest| oldest + self.limit) {
            Some(due) if due < at => self.spans.set(due, true),
            _ => self.spans.set(at, false),
        }
    }

    pub(super) fn finish(mut self, end: Nanos, oldest: Option<Nanos>) -> Vec<(Nanos, Nanos)> {
        self.see(end, oldest);
        self.spans.finish(end)
    }
}

/// True while more than `per_mille` of what fell into the last `window` was bad.
pub(super) struct Share {
    window: Nanos,
    per_mille: u64,
    least: u64,
    recent: VecDeque<(Nanos, u64, u64)>,
    bad: u64,
    all: u64,
    spans: Spans,
}

impl Share {
    /// With fewer than `least` in the window it is not true.
    pub(super) fn new(window: Nanos, per_mille: u64, least: u64) -> Self {
        Share {
            window,
            per_mille,
            least,
            recent: VecDeque::new(),
            bad: 0,
            all: 0,
            spans: Spans::default(),
        }
    }

    /// `bad` of `all` at `at`.
    pub(super) fn add(&mut self, at: Nanos, bad: u64, all: u64) {
        self.advance(at);
        self.recent.push_back((at, bad, all));
        self.bad += bad;
        self.all += all;
        self.judge(at);
    }

    fn advance(&mut self, now: Nanos) {
        while let Some(&(at, bad, all)) = self.recent.front() {
            let gone = at + self.window;
            if gone > now {
                break;
            }
            self.recent.pop_front();
            self.bad -= bad;
            self.all -= all;
            self.judge(gone);
        }
    }

    fn judge(&mut self, at: Nanos) {
        let truth = self.all >= self.least && self.bad * 1000 > self.all * self.per_mille;
        self.spans.set(at, truth);
    }

    pub(super) fn finish(mut self, end: Nanos) -> Vec<(Nanos, Nanos)> {
        self.advance(end);
        self.spans.finish(end)
    }
}

/// Which hosts run and which links pass.
#[derive(Default)]
pub(super) struct Topology {
    down: BTreeSet<Arc<str>>,
    cut: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Topology {
    pub(super) fn host(&mut self, host: &Arc<str>, state: HostState) {
        match state {
            HostState::Up | HostState::Resumed => self.down.remove(host),
            HostState::Stopped | HostState::Killed | HostState::Crashed | HostState::Stalled => {
                self.down.insert(host.clone())
            }
        };
    }

    pub(super) fn link(&mut self, from: &Arc<str>, to: &Arc<str>, up: bool) {
        let link = (from.clone(), to.clone());
        if up {
            self.cut.remove(&link);
        } else {
            self.cut.insert(link);
        }
    }

    pub(super) fn is_up(&self, host: &str) -> bool {
        !self.down.contains(host)
    }

    /// Whether `to` answers what `from` asks.
    pub(super) fn answers(&self, from: &str, to: &str) -> bool {
        let cut = |a: &str, b: &str| self.cut.iter().any(|(from, to)| **from == *a && **to == *b);
        self.is_up(to) && !cut(from, to) && !cut(to, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_true_from_the_sample_that_tips_it_until_enough_have_left_the_window() {
        let mut share = Share::new(100, 500, 4);
        for (at, bad) in [
            (0, 1),
            (10, 1),
            (20, 1),
            (30, 1),
            (90, 0),
            (95, 0),
            (96, 0),
            (97, 0),
        ] {
            share.add(at, bad, 1);
        }
        // Too few until 30; half and half at 97; a good one would have to leave before it became true again.
        assert_eq!(share.finish(1000), [(30, 97)]);
    }

    #[test]
    fn what_is_overdue_was_so_since_its_limit_and_not_since_somebody_looked() {
        let mut overdue = Overdue::new(30);
        overdue.see(10, Some(5));
        overdue.see(50, Some(5));
        overdue.see(50, Some(45));
        assert_eq!(overdue.finish(100, Some(45)), [(35, 50), (75, 100)]);
    }
}
