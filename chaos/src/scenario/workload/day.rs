//! A day of 24 hours: hourly weights, rushes on hot nights at the peaks, strays.
//!
//! Invariant: the numbers asked for are planned; a hold that the service refuses takes its followers with it, which is why
//! there are a few more than asked for.

use super::{Crowd, Fate, MINUTE, ORDINARY, PlannedKind, RELOADED, SECOND};
use crate::{recording::Nanos, scenario::MILLISECOND};

const HOUR: Nanos = 60 * MINUTE;

/// Requests by hour of the day, relative to one another: two peaks, at noon and in the evening.
const HOURS: [u64; 24] = [
    2, 1, 1, 1, 1, 2, 4, 7, 10, 13, 13, 12, 11, 10, 9, 9, 10, 12, 15, 18, 16, 12, 8, 4,
];

/// From this weight on, an hour has rushes.
const RUSH_HOUR: u64 = 13;
/// Holds of one rush.
const RUSH: u64 = 8;
/// Stray requests of a day.
const STRAYS: u32 = 240;

pub(super) fn fill(crowd: &mut Crowd, requests: u32, holds: u32) {
    let days = (crowd.end / (24 * HOUR)).max(1);
    let mut planned = rushes(crowd);
    // Some holds find no room: plan a tenth more than are asked for.
    let wanted = holds + holds / 10;
    for at in spread(crowd, wanted.saturating_sub(planned), days) {
        let client = crowd.client();
        let stay = crowd.any_stay();
        crowd.hold_with(at, client, stay, &ORDINARY);
        planned += 1;
    }
    strays(crowd);
    // Followers of refused holds are never sent, hence as many searches more.
    let searches = (requests + planned / 10).saturating_sub(crowd.operations.len() as u32);
    let popular: Vec<_> = (0..200).map(|_| crowd.any_stay()).collect();
    for at in spread(
        crowd,
        searches - searches * RELOADED as u32 / (1000 + RELOADED as u32),
        days,
    ) {
        let client = crowd.client();
        let stay = if crowd.stays.chance(500) {
            popular[crowd.stays.below(popular.len() as u64) as usize]
        } else {
            crowd.any_stay()
        };
        crowd.browse(at, client, stay);
    }
}

/// `count` instants over the run, by the weights of the hours.
fn spread(crowd: &mut Crowd, count: u32, days: u64) -> Vec<Nanos> {
    let total: u64 = HOURS.iter().sum::<u64>() * days;
    let mut at = Vec::with_capacity(count as usize);
    let (mut weight, mut done) = (0, 0);
    for hour in 0..24 * days {
        weight += HOURS[(hour % 24) as usize];
        let due = u64::from(count) * weight / total;
        at.extend((done..due).map(|_| hour * HOUR + crowd.arrivals.below(HOUR)));
        done = due;
    }
    at
}

/// Every five minutes of a peak hour several clients want the same night at once; the same night three times, until it is sold.
fn rushes(crowd: &mut Crowd) -> u32 {
    let fate = Fate {
        think: (5 * SECOND, 90 * SECOND),
        ..ORDINARY
    };
    let hot = crowd.smallest();
    let (mut rush, mut planned) = (0u32, 0);
    for hour in 0..crowd.end.div_ceil(HOUR) {
        if HOURS[(hour % 24) as usize] < RUSH_HOUR {
            continue;
        }
        for slot in 0..12 {
            let start = hour * HOUR + slot * 5 * MINUTE + crowd.arrivals.below(2 * MINUTE);
            let kind = hot[(rush % 4) as usize];
            let night = 5 + rush / 12 % 300;
            for _ in 0..RUSH {
                let at = start + crowd.arrivals.below(30 * MILLISECOND);
                let client = crowd.client();
                let nights = 1 + crowd.stays.below(2) as u8;
                let stay = crowd.stay(kind, night, nights);
                crowd.hold_with(at, client, stay, &fate);
                planned += 1;
            }
            rush += 1;
        }
    }
    planned
}

/// Requests of the wrong tenant, most of them naming somebody else's hold while it lasts.
fn strays(crowd: &mut Crowd) {
    let holds: Vec<u32> = crowd
        .operations
        .iter()
        .enumerate()
        .filter_map(|(index, op)| {
            matches!(op.kind, PlannedKind::Hold { .. }).then_some(index as u32)
        })
        .collect();
    for _ in 0..STRAYS {
        let Some(&of) = crowd.arrivals.pick(&holds) else {
            return;
        };
        let at = crowd.operations[of as usize].at + SECOND + crowd.arrivals.below(crowd.hold);
        crowd.stray(at, Some(of));
    }
}
