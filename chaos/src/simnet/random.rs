//! Randomness of a run: independent ChaCha8 streams of one seed, one per consumer, named by a label.
//!
//! Invariant: what one consumer draws never shifts what another draws, so that removing a fault from a plan changes nothing else.
//! Draws are plain integer arithmetic on the cipher's output, so an update of a distribution crate cannot change a recording.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The stream of `seed` that belongs to `label`: ChaCha8 keyed with SHA-256 of both.
#[must_use]
pub fn stream(seed: u64, label: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(label.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(&hash.finalize());
    ChaCha8Rng::from_seed(key)
}

/// An integer in `0..bound` (0 when `bound` is 0), by multiply and shift: its bias is below 2⁻⁶⁴ · bound.
pub fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// A duration in `min..=max` at microsecond grain.
pub fn between(rng: &mut ChaCha8Rng, min: Duration, max: Duration) -> Duration {
    let span = max.saturating_sub(min).as_micros() as u64;
    if span == 0 {
        min
    } else {
        min + Duration::from_micros(below(rng, span + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_label_alone() {
        let draw = |seed, label| below(&mut stream(seed, label), u64::MAX);
        assert_eq!(draw(7, "link/a/b"), draw(7, "link/a/b"));
        assert_ne!(draw(7, "link/a/b"), draw(7, "link/b/a"));
        assert_ne!(draw(7, "link/a/b"), draw(8, "link/a/b"));
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_both_ends() {
        let mut rng = stream(1, "test");
        let (min, max) = (Duration::from_micros(3), Duration::from_micros(5));
        let mut seen = [0u32; 3];
        for _ in 0..1000 {
            seen[(between(&mut rng, min, max) - min).as_micros() as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 200), "{seen:?}");
        assert_eq!(between(&mut rng, max, max), max);
    }
}
