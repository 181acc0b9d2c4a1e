//! Holds that end just as a sweep comes, and are confirmed in their last milliseconds.
//!
//! A confirmation may win only if its transaction begins before the hold ends, and it meets the sweep only if it is still under
//! way when the candidates are read. So the holds of one sweep end in the few milliseconds before that, their confirmations go
//! off a few milliseconds earlier, and all of them share a night: they wait for one another's counters, so that some still hold
//! their row when the sweeper comes to it, and others have moved on since it read them.

use super::{Crowd, Nanos, PlannedKind, SECOND, SWEEP_EVERY};
use crate::scenario::MILLISECOND;

/// Every so many holds one is left to expire.
const LEFT: u16 = 4;
/// From a client's sending to the database's `now()`: two links, and the beginning of a transaction.
const TRAVEL: Nanos = 3 * MILLISECOND;
/// How long before the sweep's instant the first of its holds ends; the last ends a little after it, as the candidates are read.
const EARLY: Nanos = 8 * MILLISECOND;
const LATE: Nanos = 3 * MILLISECOND;
/// How long before the end of its hold a confirmation is sent, at most; the latest come too late.
const AHEAD: Nanos = 12 * MILLISECOND;

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
            let ends = sweep * SWEEP_EVERY - EARLY + crowd.arrivals.below(EARLY + LATE);
            let at = (ends - crowd.hold).saturating_sub(TRAVEL);
            let Some(of) = crowd.hold(at, client, stay) else {
                continue;
            };
            if number % LEFT == LEFT - 1 {
                continue;
            }
            let from_hold_end = Some(-(crowd.fates.below(AHEAD) as i64));
            // The client looks at its hold well before that, and then waits for the moment.
            crowd.push(
                ends - SECOND,
                client,
                stay.tenant,
                PlannedKind::Confirm { of, from_hold_end },
            );
        }
        // Searches in between, so that the other half of the service is not silent.
        let stay = crowd.any_stay();
        let client = crowd.client();
        crowd.search(sweep * SWEEP_EVERY + 5 * SECOND, client, stay);
    }
}
