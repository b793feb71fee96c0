//! Confirmations: a person reads the first plan that removes images, and confirms it.
//!
//! A policy is accepted for a repository when the stack created the repository under it, or when a
//! person confirmed a plan of it. Later plans of an accepted policy need no confirmation. A new
//! policy needs one unless it keeps at least the images that the accepted policy keeps.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, Utc};

use super::{Decision, KeepReason, PlanBlocker, RetentionPlan, UnitRemoval, short_hash};
use crate::arena::UnitId;
use crate::image::Digest;
use crate::policy::{CleanupEnforcement, InUse, Policy, Retention, TagEnforcement, WhenReplicated};

/// Days for which a confirmation is valid. The schedule sweeps each repository daily.
pub const CONFIRMATION_DAYS: u64 = 7;
/// The time by which the clock of an operator may be ahead.
const CLOCK_DIFFERENCE: chrono::Duration = chrono::Duration::minutes(15);
/// The number of hexadecimal digits that identify an image in a confirmation. An item of `DynamoDB`
/// can hold 400 KB, and so 20,000 images.
const IMAGE_DIGITS: usize = 16;
/// The most images of a confirmation.
pub const MOST_CONFIRMED: usize = 20_000;

/// The statement of a person that these images may be removed under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// [`retention_hash`] of the policy.
    pub retention: String,
    /// [`confirmed_image`] of each image.
    pub images: BTreeSet<String>,
    /// Whether these are all images that the plan removes. Otherwise the policy is not accepted.
    pub is_whole: bool,
    /// [`PlanBlocker::name`] of the guard that stopped the plan. No other guard is overridden.
    pub guard: String,
    /// When the person confirmed it.
    pub confirmed_at: DateTime<Utc>,
}

impl Confirmation {
    /// Whether the confirmation was given for this policy, and is not expired.
    #[must_use]
    pub fn is_valid(&self, policy: &Policy, now: DateTime<Utc>) -> bool {
        let end = self.confirmed_at.checked_add_days(Days::new(CONFIRMATION_DAYS));
        // Clocks differ, but a time in the far future is a mistake.
        let is_past = self.confirmed_at <= now + CLOCK_DIFFERENCE;
        self.retention == retention_hash(policy) && is_past && end.is_some_and(|end| now < end)
    }

    fn covers(&self, digest: &Digest) -> bool {
        self.images.contains(&confirmed_image(digest))
    }
}

/// The first digits of a digest, which identify an image in a confirmation.
#[must_use]
pub fn confirmed_image(digest: &Digest) -> String {
    let hex = digest.as_str().trim_start_matches("sha256:");
    hex.chars().take(IMAGE_DIGITS).collect()
}

/// The hash of the settings that decide which images a policy keeps.
#[must_use]
pub fn retention_hash(policy: &Policy) -> String {
    // Every field is named, so that a new one has to be judged here.
    let Policy {
        repository_name,
        rule: _,
        owner: _,
        mutability: _,
        lifecycle_tag_prefixes,
        lifecycle_scope,
        in_use,
        tags,
        retention,
        scan: _,
    } = policy;
    let settings =
        (repository_name, lifecycle_tag_prefixes, lifecycle_scope, in_use, tags, retention);
    #[expect(clippy::expect_used, reason = "strings and numbers always serialise")]
    short_hash(&serde_json::to_string(&settings).expect("settings serialise"))
}

/// Whether `policy` keeps every image that the `accepted` policy keeps. False also if the answer
/// depends on the images.
#[must_use]
pub fn keeps_at_least(policy: &Policy, accepted: &Policy) -> bool {
    // Every field is named, so that a new one has to be judged here.
    let Policy {
        repository_name,
        rule: _,
        owner: _,
        mutability: _,
        lifecycle_tag_prefixes,
        lifecycle_scope,
        in_use,
        // `tags_keep_at_least` reads it.
        tags: _,
        retention,
        scan: _,
    } = policy;
    let is_same = *repository_name == accepted.repository_name
        && *lifecycle_tag_prefixes == accepted.lifecycle_tag_prefixes
        && *lifecycle_scope == accepted.lifecycle_scope;
    let is_in_use_seen = *in_use == accepted.in_use || *in_use == InUse::Inspector;
    is_same
        && match (retention, &accepted.retention) {
            (None, _) => true,
            (Some(retention), None) => retention.enforcement == CleanupEnforcement::Report,
            (Some(retention), Some(accepted_retention)) => {
                is_in_use_seen
                    && tags_keep_at_least(policy, accepted)
                    && retention_keeps_at_least(retention, accepted_retention)
                    && removes_no_more(policy.untagged_mode(), accepted.untagged_mode())
            }
        }
}

/// Compares the rules for tags. Components and forbidden tags decide which tags are accepted, and not
/// which images are kept. Without rules for tags, no quarantine ends.
fn tags_keep_at_least(policy: &Policy, accepted: &Policy) -> bool {
    let days = |policy: &Policy| policy.tags.as_ref().map_or(u32::MAX, |tags| tags.quarantine_days);
    let enforcement = policy.tag_enforcement();
    let names = |policy: &Policy| {
        policy.tags.as_ref().map(|tags| (tags.channels.clone(), tags.ignored.clone()))
    };
    policy.grammar() == accepted.grammar()
        && names(policy) == names(accepted)
        && (enforcement == accepted.tag_enforcement() || enforcement == TagEnforcement::Report)
        && days(policy) >= days(accepted)
}

fn retention_keeps_at_least(retention: &Retention, accepted: &Retention) -> bool {
    let Retention {
        keep,
        // `Policy::untagged_mode` reads it.
        untagged: _,
        untagged_days,
        expire,
        protect_tags,
        protect_pulled_within_days,
        minimum_age_days,
        max_remove_percent,
        when_replicated,
        enforcement,
    } = retention;
    let is_replication_kept =
        *when_replicated == accepted.when_replicated || *when_replicated == WhenReplicated::Report;
    is_replication_kept
        && *keep >= accepted.keep
        && *untagged_days >= accepted.untagged_days
        && expire.iter().all(|expiry| accepted.expire.contains(expiry))
        && accepted.protect_tags.iter().all(|tag| protect_tags.contains(tag))
        && *protect_pulled_within_days >= accepted.protect_pulled_within_days
        && *minimum_age_days >= accepted.minimum_age_days
        && *max_remove_percent <= accepted.max_remove_percent
        && removes_no_more(Some(*enforcement), Some(accepted.enforcement))
}

fn is_accepted(policy: &Policy, accepted: Option<&Policy>) -> bool {
    accepted.is_some_and(|accepted| keeps_at_least(policy, accepted))
}

/// Whether an action removes no image that the accepted action keeps. An image that an archived index
/// needs is archived but not deleted, so neither of the two actions is the weaker one.
fn removes_no_more(
    action: Option<CleanupEnforcement>,
    accepted: Option<CleanupEnforcement>,
) -> bool {
    action == accepted || action == Some(CleanupEnforcement::Report)
}

impl RetentionPlan<'_> {
    /// Whether a person has to confirm the plan before it is carried out. `accepted` is the policy
    /// that is accepted for the repository, if any.
    #[must_use]
    pub fn needs_confirmation(&self, accepted: Option<&Policy>) -> bool {
        let is_report = self.policy.cleanup() == CleanupEnforcement::Report;
        // Only a bug of this software can empty a group, so a person cannot confirm such a plan.
        let is_faulty = matches!(self.stopped, Some(PlanBlocker::Emptied(_)));
        let is_free = is_accepted(self.policy, accepted) && self.stopped.is_none();
        !self.removals.is_empty() && !is_report && !is_faulty && !is_free
    }

    /// Whether only the confirmation of a person is missing. A plan that another guard stopped does not
    /// wait: the source of running images may change, and nothing lifts a defect.
    #[must_use]
    pub fn waits_for_confirmation(&self) -> bool {
        let is_enforced = self.policy.cleanup() != CleanupEnforcement::Report;
        is_enforced
            && match self.stopped {
                Some(PlanBlocker::Unconfirmed { .. } | PlanBlocker::TooMany { .. }) => true,
                Some(PlanBlocker::NothingInUse | PlanBlocker::Emptied(_)) | None => false,
            }
    }

    /// Stops a plan that needs a confirmation and has none. If a person confirmed images, only these
    /// images are removed, also if a guard stops the plan. Returns whether the policy of the plan is
    /// accepted from now on.
    pub fn apply_confirmation(
        &mut self,
        accepted: Option<&Policy>,
        confirmation: Option<&Confirmation>,
        now: DateTime<Utc>,
    ) -> bool {
        let is_accepted = is_accepted(self.policy, accepted);
        if !self.needs_confirmation(accepted) {
            return is_accepted;
        }
        let guard = self.stopped.as_ref().map(PlanBlocker::name);
        let valid = confirmation.filter(|confirmation| {
            let is_of_guard = guard.is_none_or(|guard| guard == confirmation.guard);
            confirmation.is_valid(self.policy, now) && is_of_guard
        });
        let is_confirmed = |removal: &UnitRemoval| {
            let mut digests = removal.all().map(|image| &self.image(image).digest);
            valid.is_some_and(|valid| digests.all(|digest| valid.covers(digest)))
        };
        let (confirmed, others): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) =
            self.removals.iter().partition(|removal| is_confirmed(removal));
        if confirmed.is_empty() {
            let is_changed = accepted.is_some();
            let why = PlanBlocker::Unconfirmed { is_changed };
            self.stopped.get_or_insert(why);
            return is_accepted;
        }
        // A unit whose root belongs to another unit is kept with that unit.
        let mut is_kept = self.inventory.images.map(|_| false);
        for image in others.iter().flat_map(|removal| removal.all()) {
            is_kept[image] = true;
        }
        let kept: Vec<UnitId> = self
            .units
            .enumerate()
            .filter(|(_, decided)| matches!(decided.decision, Decision::Remove(_)))
            .filter(|(_, decided)| is_kept[decided.unit.root])
            .map(|(id, _)| id)
            .collect();
        for id in kept {
            let root = self.units[id].unit.root;
            self.units[id].decision = Decision::Keep(KeepReason::Unconfirmed, root);
        }
        self.removals = self.schedule_removals();
        self.stopped = None;
        is_accepted || valid.is_some_and(|valid| valid.is_whole)
    }
}
