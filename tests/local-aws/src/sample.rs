//! Which cases of a fault matrix a test run takes, and numbers for other choices by a seed.
//!
//! The whole matrices take most of an hour on two cores. So a run takes one case of each kind,
//! chosen by a seed, unless `FAULTS=all` asks for every case. `FAULTS_SEED` sets another seed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The seed of a run that sets none: every run then takes the same cases.
const DEFAULT_SEED: u64 = 1;

/// The cases that a run takes, and how they were chosen.
#[derive(Debug)]
pub struct Sample<C> {
    /// The chosen cases, in the order of their kinds.
    pub cases: Vec<C>,
    /// How many cases there are in all.
    pub all: usize,
    /// The seed, or none where every case was taken.
    pub seed: Option<u64>,
}

impl<C> Sample<C> {
    /// Says how the cases were chosen, for the line that a matrix prints.
    #[must_use]
    pub fn description(&self) -> String {
        self.seed.map_or_else(
            || "all".to_owned(),
            |seed| format!("a sample with seed {seed} of {}; FAULTS=all runs all", self.all),
        )
    }
}

/// Takes one case of each kind, or every case if the environment says `FAULTS=all`.
#[must_use]
pub fn sample<C>(cases: Vec<C>, kind: impl Fn(&C) -> String) -> Sample<C> {
    if std::env::var("FAULTS").is_ok_and(|faults| faults == "all") {
        return Sample { all: cases.len(), cases, seed: None };
    }
    let set = std::env::var("FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
    choose(cases, kind, set.unwrap_or(DEFAULT_SEED))
}

/// The seeds of a property: so many from the run's own on. `FAULTS=all` asks for a hundred times as
/// many.
#[must_use]
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let set = std::env::var("FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = set.unwrap_or(DEFAULT_SEED);
    let is_all = std::env::var("FAULTS").is_ok_and(|faults| faults == "all");
    first..first + if is_all { 100 * count } else { count }
}

fn choose<C>(cases: Vec<C>, kind: impl Fn(&C) -> String, seed: u64) -> Sample<C> {
    let all = cases.len();
    let mut kinds: BTreeMap<String, Vec<C>> = BTreeMap::new();
    for case in cases {
        kinds.entry(kind(&case)).or_default().push(case);
    }
    let choose_one = |(kind, mut cases): (String, Vec<C>)| {
        let mut hasher = DefaultHasher::new();
        (seed, kind).hash(&mut hasher);
        let count = u64::try_from(cases.len()).unwrap_or(1);
        let chosen = usize::try_from(hasher.finish() % count).unwrap_or_default();
        cases.swap_remove(chosen)
    };
    Sample { cases: kinds.into_iter().map(choose_one).collect(), all, seed: Some(seed) }
}

/// Numbers that look random and are the same for each seed, by `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number that is less than `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let upper = usize::try_from((number ^ (number >> 31)) >> 32).unwrap_or_default();
        upper % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_each_kind_once_and_depends_on_the_seed_only() {
        let kind = |case: &u32| (case % 7).to_string();
        let chosen = |seed| choose((0..700).collect(), kind, seed).cases;
        let first = chosen(1);
        let kinds: Vec<String> = first.iter().map(kind).collect();
        assert_eq!(kinds, ["0", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(first, chosen(1));
        assert!((2..20).any(|seed| chosen(seed) != first));
    }
}
