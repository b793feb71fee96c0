//! Decides which repositories a round of sweeps sweeps. An unknown fact makes a repository due.

use chrono::{DateTime, TimeDelta, Utc};

use crate::policy::Policy;
use crate::retention::{RetentionPlan, short_hash};

/// A repository is due after this time, also if nothing is known to have happened: AWS delivers events
/// on a best-effort basis, and sends none for a pull or for a changed setting. With a round each day,
/// every repository is swept within a week.
pub const SWEPT_WITHIN: TimeDelta = TimeDelta::days(6);

/// The time for which one recorded push stands for all pushes of a repository.
pub const PUSH_RECORDED_FOR: TimeDelta = TimeDelta::hours(1);

/// A sweep that is complete this long after the last push has seen everything about that push: the
/// audit checks whether an image was scanned within an hour.
const PUSH_SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);

/// A sweep that began this long after a confirmation has read it: the clock of the operator may differ,
/// and the sweep may have begun before the confirmation was written.
const CONFIRMATION_SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);

/// A repository is overdue if no sweep was complete for this long after it was due. A round comes
/// once a day.
const OVERDUE_AFTER: TimeDelta = TimeDelta::days(1);

/// The record of a complete sweep of a repository. A sweep is complete if it read everything that it
/// needs and left no image for lack of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteSweep {
    /// When the sweep began to list the images.
    pub listed_at: DateTime<Utc>,
    /// When the next sweep is due at the latest.
    pub due_at: DateTime<Utc>,
    /// [`policy_hash`] of the policy of the sweep.
    pub policy: String,
    /// The settings of the repository as the sweep saw them, as one line.
    pub settings: String,
    /// Whether the plan waits for a confirmation. Otherwise a confirmation makes no sweep due.
    pub waits: bool,
}

impl CompleteSweep {
    /// The record of a sweep that began at `now`. `has_rest` says that the plan was not carried out
    /// completely, because a guard stopped it or ECR refused a removal, or that a setting is unknown.
    /// A plan that only waits for a confirmation has no rest: another sweep would plan the same.
    #[must_use]
    pub fn new(
        plan: &RetentionPlan<'_>,
        settings: String,
        has_rest: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let next_change = if has_rest { Some(now) } else { plan.next_change(now) };
        let latest = now + SWEPT_WITHIN;
        Self {
            listed_at: now,
            due_at: next_change.map_or(latest, |at| at.min(latest)),
            policy: policy_hash(plan.policy),
            settings,
            waits: plan.waits_for_confirmation(),
        }
    }
}

/// The hash of everything in a policy.
#[must_use]
pub fn policy_hash(policy: &Policy) -> String {
    short_hash(&policy.normalised())
}

/// The facts that the ledger has about the sweeps of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepHistory {
    /// The last complete sweep, if there was one.
    pub complete: Option<CompleteSweep>,
    /// When the first sweep after the last complete one began. None if no sweep has begun since.
    pub incomplete_since: Option<DateTime<Utc>>,
    /// A push. Pushes that follow within [`PUSH_RECORDED_FOR`] are not recorded.
    pub pushed_at: Option<DateTime<Utc>>,
    /// Whether the removal of a unit was interrupted.
    pub has_unfinished_unit: bool,
    /// When an operator last confirmed a plan. It is read only if the last complete sweep
    /// [waits](CompleteSweep::waits).
    pub confirmed_at: Option<DateTime<Utc>>,
}

keywords!(
    /// Why a repository is due.
    #[derive(PartialOrd, Ord)]
    DueReason {
        /// No complete sweep is known.
        NeverSwept = "never-swept",
        /// A sweep or another removal was interrupted.
        Interrupted = "interrupted",
        /// An image was pushed.
        Pushed = "pushed",
        /// The policy has changed.
        PolicyChanged = "policy-changed",
        /// A setting of the repository has changed.
        SettingsChanged = "settings-changed",
        /// A person confirmed the plan that waits.
        Confirmed = "confirmed",
        /// The plan changes at this time, or a week has passed.
        Time = "time",
    }
);

impl SweepHistory {
    /// Why a repository with this policy and these settings is due. None if a sweep would plan
    /// nothing new.
    #[must_use]
    pub fn due(&self, policy: &Policy, settings: &str, now: DateTime<Utc>) -> Option<DueReason> {
        let Some(complete) = &self.complete else { return Some(DueReason::NeverSwept) };
        let has_push = self.pushed_at.is_some_and(|pushed_at| {
            complete.listed_at < pushed_at + PUSH_RECORDED_FOR + PUSH_SETTLED_AFTER
        });
        let is_confirmed = self.confirmed_at.is_some_and(|confirmed_at| {
            complete.waits && complete.listed_at < confirmed_at + CONFIRMATION_SETTLED_AFTER
        });
        match () {
            () if self.incomplete_since.is_some() || self.has_unfinished_unit => {
                Some(DueReason::Interrupted)
            }
            () if has_push => Some(DueReason::Pushed),
            () if complete.policy != policy_hash(policy) => Some(DueReason::PolicyChanged),
            () if complete.settings != settings => Some(DueReason::SettingsChanged),
            () if is_confirmed => Some(DueReason::Confirmed),
            () if complete.due_at <= now => Some(DueReason::Time),
            () => None,
        }
    }

    /// Whether a complete sweep is missing although the repository has been due for more than a day.
    #[must_use]
    pub fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        let due_at = self.complete.as_ref().map(|complete| complete.due_at);
        let mut since = due_at.into_iter().chain(self.incomplete_since);
        since.any(|since| since + OVERDUE_AFTER < now)
    }
}

#[cfg(test)]
mod tests;
