//! Holds that end while a sweep is at work and are confirmed in their last milliseconds.
//!
//! The holds of one sweep share a night, so that confirmations and expiries wait for one another's counters and the window in
//! which a candidate is locked, or has moved on, is wide enough to be met.

use super::{Crowd, PlannedKind, SECOND, SWEEP_EVERY};
use crate::scenario::MILLISECOND;

/// Every so many holds one is left to expire.
const LEFT: u16 = 4;

pub(super) fn fill(crowd: &mut Crowd, per_sweep: u16) {
    let largest: Vec<usize> = crowd.smallest().into_iter().rev().take(3).collect();
    let nights = u32::from(crowd.fixtures.nights) - 1;
    let first = crowd.hold.div_ceil(SWEEP_EVERY) + 1;
    for sweep in first..crowd.end / SWEEP_EVERY {
        let stay = crowd.stay(
            largest[sweep as usize % largest.len()],
            sweep as u32 % nights,
            1,
        );
        for number in 0..per_sweep {
            let client = crowd.client();
            // The trigger travels for about a millisecond; the sweep itself takes a few per candidate.
            let ends = sweep * SWEEP_EVERY + crowd.arrivals.below(50 * MILLISECOND);
            let at = (ends - crowd.hold).saturating_sub(10 * MILLISECOND);
            let Some(of) = crowd.hold(at, client, stay) else {
                continue;
            };
            if number % LEFT == LEFT - 1 {
                continue;
            }
            let from_hold_end = Some(-(crowd.fates.below(8 * MILLISECOND) as i64));
            crowd.push(
                ends.max(at + SECOND),
                client,
                stay.tenant,
                PlannedKind::Confirm { of, from_hold_end },
            );
        }
        // Searches in between, so that the day's other half is not silent.
        let stay = crowd.any_stay();
        let client = crowd.client();
        crowd.search(sweep * SWEEP_EVERY + 5 * SECOND, client, stay);
    }
}
