//! Numbers that look random and are the same in each run, so that the same question has the same answer. Nothing secret is made
//! of them.

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Numbers(u64);

impl Numbers {
    /// The sequence with this seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A place in a list of this length, which is not empty.
    pub(super) fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).unwrap_or_default()
    }

    /// Between 0 and 1, neither of them.
    pub(super) fn fraction(&mut self) -> f64 {
        fraction_of((self.next() >> 32) as u32)
    }

    /// Exponentially distributed with the mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -self.fraction().ln()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The middle of one of 2³² parts of what is between 0 and 1.
fn fraction_of(part: u32) -> f64 {
    (f64::from(part) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut numbers = Numbers::new(1_234_567);

        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn no_fraction_is_0_or_1() {
        for part in [0, u32::MAX] {
            let fraction = fraction_of(part);
            assert!(0.0 < fraction && fraction < 1.0, "{fraction}");
        }
    }

    #[test]
    fn fractions_are_even_and_exponentials_have_the_mean_one() {
        let mut numbers = Numbers::new(1);
        let count = 100_000;
        let mean = |draw: &mut dyn FnMut() -> f64| {
            (0..count).map(|_| draw()).sum::<f64>() / f64::from(count)
        };

        let fractions = mean(&mut || numbers.fraction());
        let exponentials = mean(&mut || numbers.exponential());

        assert!((fractions - 0.5).abs() < 0.01, "{fractions}");
        assert!((exponentials - 1.0).abs() < 0.02, "{exponentials}");
    }
}
