//! A constant rate: what fault scenarios run under, so that only the fault changes anything.

use super::{Crowd, Fate, MINUTE, SECOND};

/// Guests who decide within a minute, so that short runs see every end of a hold.
const QUICK: Fate = Fate {
    confirm: 600,
    release: 200,
    cancel: 150,
    get: 120,
    think: (3 * SECOND, 45 * SECOND),
    regret: (10 * SECOND, 3 * MINUTE),
};

/// Nights of the smallest room types that everybody wants.
const HOT_NIGHTS: u64 = 3;
/// How many room types have such nights.
const HOT_KINDS: u64 = 3;
/// Every so many arrivals one comes from the wrong tenant.
const STRAY_EVERY: u64 = 150;

pub(super) fn fill(crowd: &mut Crowd, per_minute: u32, hold_per_mille: u16, hot_per_mille: u16) {
    let every = MINUTE / u64::from(per_minute.max(1));
    let hot = crowd.smallest();
    let mut last_hold = None;
    for number in 0..crowd.end / every {
        let at = number * every + crowd.arrivals.below(every);
        let client = crowd.client();
        if number % STRAY_EVERY == STRAY_EVERY - 1 {
            crowd.stray(at, last_hold);
        } else if crowd.arrivals.chance(hold_per_mille.into()) {
            let stay = if crowd.stays.chance(hot_per_mille.into()) {
                let kind = hot[crowd.stays.below(HOT_KINDS) as usize];
                let night = 10 + crowd.stays.below(HOT_NIGHTS) as u32;
                crowd.stay(kind, night, 1)
            } else {
                crowd.any_stay()
            };
            let index = crowd.operations.len() as u32;
            crowd.hold_with(at, client, stay, &QUICK);
            last_hold = ((index as usize) < crowd.operations.len()).then_some(index);
        } else {
            let stay = crowd.any_stay();
            crowd.browse(at, client, stay);
        }
    }
}
