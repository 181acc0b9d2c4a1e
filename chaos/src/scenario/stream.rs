//! Streams of randomness, one per consumer, each named by a label.
//!
//! Invariant: a stream depends on the seed and its own label alone, so that a consumer which draws more or less shifts nobody
//! else. Integers only: no float function, whose result may differ between machines, decides anything.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One labelled stream of a seed (ChaCha8 keyed with the SHA-256 of both).
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream that `label` names under `seed`.
    pub fn new(seed: u64, label: &str) -> Stream {
        let mut hasher = Sha256::new();
        hasher.update(label.as_bytes());
        hasher.update([0]);
        hasher.update(seed.to_le_bytes());
        Stream(ChaCha8Rng::from_seed(hasher.finalize().into()))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Widening multiplication: biased by less than bound / 2^64, and the same on each machine.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.below(width))
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One element; `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// An index, each with the chance of its weight; 0 where all weights are 0.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }

    /// A version-4 id.
    pub fn uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_seed_and_its_label_alone() {
        let draw = |seed, label| {
            let mut stream = Stream::new(seed, label);
            [stream.bits(), stream.bits(), stream.bits()]
        };
        assert_eq!(draw(1, "arrivals"), draw(1, "arrivals"));
        assert_ne!(draw(1, "arrivals"), draw(2, "arrivals"));
        assert_ne!(draw(1, "arrivals"), draw(1, "fixtures"));
    }

    #[test]
    fn draws_stay_inside_their_bounds_and_reach_them() {
        let mut stream = Stream::new(7, "bounds");
        let drawn: Vec<i64> = (0..1000).map(|_| stream.between(-2, 2)).collect();
        assert!(drawn.iter().all(|value| (-2..=2).contains(value)));
        assert!(drawn.contains(&-2) && drawn.contains(&2));
        let mut hits = [0u32; 3];
        for _ in 0..1000 {
            hits[stream.weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(hits[1], 0);
        assert!(hits[2] > hits[0]);
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.uuid().get_version_num(), 4);
    }
}
