//! Delays of calls, so that concurrent functions interleave at any of their calls.

use std::ops::Range;
use std::time::Duration;

use crate::sample::Numbers;

/// Delays that look random and are the same for each seed.
#[derive(Debug)]
pub(crate) struct Delays {
    numbers: Numbers,
    range: Range<Duration>,
}

impl Delays {
    pub fn new(seed: u64, range: Range<Duration>) -> Self {
        Self { numbers: Numbers::new(seed), range }
    }

    /// The time from the start of the next call until it is served, and from then until it is
    /// answered. Their sum is within the range.
    pub fn next_delays(&mut self) -> (Duration, Duration) {
        let Range { start, end } = self.range;
        let mut part_of = |whole: Duration| {
            whole * u32::try_from(self.numbers.below(1_001)).unwrap_or_default() / 1_000
        };
        let total = start + part_of(end.saturating_sub(start));
        let before = part_of(total);
        (before, total.saturating_sub(before))
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
            (0..100).map(|_| delays.next_delays()).collect::<Vec<_>>()
        };
        for (before, after) in delays(1) {
            assert!((least..=most).contains(&(before + after)), "{before:?} {after:?}");
        }
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
