//! The steps of the simulated year that are still to come.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{DAY, Seconds};

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Step {
    /// The pipelines of all components decide what happens on this day.
    Day,
    /// A pipeline of the component with this number.
    Pipeline(usize, Job),
    /// The workload with this number pulls its image again.
    Pull(usize),
    /// The workload with this number ends.
    End(usize),
    /// The scan of an image of a repository ends.
    Scanned(String, String),
    /// A function gets an event for the second or the third time.
    Retry(super::functions::Function, Value, usize),
    /// The queue of sweeps delivers a message, for the time with this number.
    Sweep(Value, u64),
    /// ECR carries out lifecycle policies, and a round of sweeps starts.
    Round,
}

/// A job of a pipeline.
#[derive(Clone, Debug)]
pub enum Job {
    /// Builds the main branch.
    Build,
    /// Builds another branch.
    BuildBranch,
    /// Pushes to the pull request with this number. The second number is of the pushes that follow.
    PushRequest(u64, u32),
    /// Releases the next version.
    Release,
    /// Releases this version of a base image, whose candidate was released before.
    ReleaseAfterCandidate([u64; 3]),
    /// Releases a version of an older line.
    Backport,
    /// Promotes this image to production.
    Promote(String),
    /// Moves production back to this image.
    RollBack(String),
    /// Deploys the newest release for a long time, by digest.
    RunLong,
    /// Pushes a tag that violates the grammar.
    Violate,
    /// Learns of a new vulnerability in its packages.
    BecomeVulnerable,
    /// Imports the past of an upstream project.
    Import,
}

/// The steps, ordered by their times. Steps of the same time keep the order in which they were added.
#[derive(Debug, Default)]
pub struct Schedule {
    steps: BTreeMap<(Seconds, u64), Step>,
    added: u64,
}

impl Schedule {
    /// Adds a step.
    pub fn add(&mut self, at: Seconds, step: Step) {
        self.added += 1;
        self.steps.insert((at, self.added), step);
    }

    /// Takes the next step before a time.
    pub fn take_before(&mut self, end: Seconds) -> Option<(Seconds, Step)> {
        let first = self.steps.first_entry().filter(|first| first.key().0 < end)?;
        let ((at, _), step) = first.remove_entry();
        Some((at, step))
    }
}

/// The start of the day of a time, in UTC.
#[must_use]
pub fn start_of_day(time: Seconds) -> Seconds {
    time - time.rem_euclid(DAY)
}

/// Whether a day is from Monday to Friday.
#[must_use]
pub fn is_working_day(time: Seconds) -> bool {
    // 1970-01-01 was a Thursday.
    (time.div_euclid(DAY) + 3).rem_euclid(7) < 5
}

/// The first working day that begins so many days after the day of a time, or later.
#[must_use]
pub fn working_day_after(time: Seconds, days: u32) -> Seconds {
    let mut day = start_of_day(time) + Seconds::from(days) * DAY;
    while !is_working_day(day) {
        day += DAY;
    }
    day
}
