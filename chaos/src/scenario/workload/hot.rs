//! Many holds on a few nights, most of them released soon: rows that everybody locks.

use super::{Crowd, Fate, MINUTE, SECOND};

/// Few keep what they hold, and those give it back soon, so that the nights never sell out.
const FICKLE: Fate = Fate {
    confirm: 150,
    release: 800,
    cancel: 1000,
    get: 50,
    think: (2 * SECOND, 10 * SECOND),
    regret: (10 * SECOND, MINUTE),
};

/// Nights that are wanted, of how many of the largest room types.
const NIGHTS: u64 = 5;
const KINDS: usize = 3;

pub(super) fn fill(crowd: &mut Crowd, per_minute: u32) {
    let every = MINUTE / u64::from(per_minute.max(1));
    let largest: Vec<usize> = crowd.smallest().into_iter().rev().take(KINDS).collect();
    for number in 0..crowd.end / every {
        let at = number * every + crowd.arrivals.below(every);
        let client = crowd.client();
        let kind = largest[crowd.stays.below(largest.len() as u64) as usize];
        let night = 10 + crowd.stays.below(NIGHTS) as u32;
        let nights = 1 + crowd.stays.below(3) as u8;
        let stay = crowd.stay(kind, night, nights);
        crowd.hold_with(at, client, stay, &FICKLE);
        if number % 4 == 0 {
            crowd.search(at + every / 2, client, stay);
        }
    }
}
