//! A walk-in and an agency want the last room of a night within 50 ms of one another.
//!
//! Each race has a room-night of its own. Where a room type has two rooms, a guest takes the first of them beforehand.

use super::{Client, Crowd, PlannedKind, SECOND};
use crate::scenario::MILLISECOND;

/// Farthest that the two are apart.
const APART: i64 = 50 * MILLISECOND as i64;

pub(super) fn fill(crowd: &mut Crowd, races: u32) {
    let every = crowd.end / u64::from(races.max(1));
    let kinds: Vec<usize> = crowd
        .smallest()
        .into_iter()
        .filter(|&index| crowd.capacities[index] <= 2)
        .collect();
    let nights = u32::from(crowd.fixtures.nights) - 1;
    for race in 0..races {
        let kind = kinds[race as usize % kinds.len()];
        let night = race / kinds.len() as u32 % nights;
        let stay = crowd.stay(kind, night, 1);
        let start = u64::from(race) * every + SECOND + crowd.arrivals.below(every / 4 + 1);
        if crowd.capacities[kind] == 2 {
            let taken = crowd.hold(start - SECOND, Client::Guests, stay);
            decide(crowd, start - SECOND, Client::Guests, taken, stay.tenant);
        }
        crowd.search(start, Client::Desk, stay);
        let first = start + 100 * MILLISECOND;
        let second = first.saturating_add_signed(crowd.arrivals.between(-APART, APART));
        for (at, client) in [(first, Client::Desk), (second, Client::Channel)] {
            let of = crowd.hold(at, client, stay);
            decide(crowd, at, client, of, stay.tenant);
        }
    }
}

/// Whoever won confirms a little later; followers of a refused hold are never sent.
fn decide(crowd: &mut Crowd, at: u64, client: Client, of: Option<u32>, tenant: uuid::Uuid) {
    if let Some(of) = of {
        let later = at + 2 * SECOND + crowd.fates.below(8 * SECOND);
        crowd.push(
            later,
            client,
            tenant,
            PlannedKind::Confirm {
                of,
                from_hold_end: None,
            },
        );
    }
}
