//! How long calls take, so that functions that work at the same time meet at any of their calls.

use std::ops::Range;
use std::time::Duration;

/// Delays that look random and are the same for each seed.
#[derive(Debug)]
pub(crate) struct Delays {
    numbers: u64,
    range: Range<Duration>,
}

impl Delays {
    pub fn new(seed: u64, range: Range<Duration>) -> Self {
        Self { numbers: seed, range }
    }

    /// The time from the start of the next call until it is served, and from then until it is
    /// answered. Their sum is within the range.
    pub fn of_next(&mut self) -> (Duration, Duration) {
        let Range { start, end } = self.range;
        let total = start + end.saturating_sub(start).mul_f64(self.next_fraction());
        let before = total.mul_f64(self.next_fraction());
        (before, total - before)
    }

    /// The next number from 0 to 1, by SplitMix64.
    fn next_fraction(&mut self) -> f64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.numbers;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let upper = u32::try_from((number ^ (number >> 31)) >> 32).unwrap_or_default();
        f64::from(upper) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_is_within_its_range_and_the_seed_determines_it() {
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(40));
        let delays = |seed| {
            let mut delays = Delays::new(seed, least..most);
            (0..100).map(|_| delays.of_next()).collect::<Vec<_>>()
        };
        for (before, after) in delays(1) {
            assert!((least..=most).contains(&(before + after)), "{before:?} {after:?}");
        }
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
