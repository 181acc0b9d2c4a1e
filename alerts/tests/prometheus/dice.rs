//! Choices from a seed: the same seed makes the same data and queries on any machine. SplitMix64.

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A stream of its own for each pair.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream);
        dice.next();
        Dice(dice.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `count`, which is positive.
    pub fn below(&mut self, count: i64) -> i64 {
        (self.next() % count as u64) as i64
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, chance: i64) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as i64) as usize]
    }

    /// One of these, by weight.
    pub fn weighted<T: Copy>(&mut self, from: &[(i64, T)]) -> T {
        let mut left = self.below(from.iter().map(|(weight, _)| weight).sum());
        for (weight, item) in from {
            left -= weight;
            if left < 0 {
                return *item;
            }
        }
        unreachable!("the weights add up")
    }

    /// Some of these, in their order.
    pub fn some<T: Copy>(&mut self, from: &[T], chance: i64) -> Vec<T> {
        from.iter()
            .copied()
            .filter(|_| self.percent(chance))
            .collect()
    }
}
