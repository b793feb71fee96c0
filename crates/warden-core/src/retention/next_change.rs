//! The earliest time at which a plan would change although nothing happens to the repository. Until
//! then, another sweep would plan nothing new.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use super::{Decision, KeepReason, RetentionPlan, UnitDecision, UnknownReason};
use crate::graph::ImageRecord;
use crate::policy::LifecycleScope;
use crate::quarantine::Quarantine;

impl RetentionPlan<'_> {
    /// The earliest time at which a rule may decide differently about an image that this plan keeps.
    /// This is `now` if a decision depends on facts that change without a push, such as the running
    /// images. None if no rule depends on the time. After a plan was carried out, the time also holds
    /// for the images that are left.
    #[must_use]
    pub fn next_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let kept = self.units.iter().filter_map(|decided| self.end_of_reason(decided, now));
        let quarantined = self.inventory.images.iter();
        let quarantined = quarantined.filter_map(|image| genuine_from(image, now.date_naive()));
        kept.chain(quarantined.map(start_of)).min()
    }

    /// When the reason that keeps a unit ends. The unit may have other reasons, which a sweep finds at
    /// that time.
    fn end_of_reason(&self, decided: &UnitDecision, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Decision::Keep(reason, _) = &decided.decision else { return None };
        if self.is_kept_by_count(decided) {
            return None;
        }
        let retention = self.policy.retention.as_ref()?;
        let days_after =
            |at: &DateTime<Utc>, days: u32| at.checked_add_days(Days::new(days.into()));
        match reason {
            KeepReason::Pulled(at) => days_after(at, retention.protect_pulled_within_days),
            KeepReason::Young { at, .. } | KeepReason::Restored(Some(at)) => {
                days_after(at, retention.minimum_age_days)
            }
            KeepReason::UntaggedLately { since } => days_after(since, retention.untagged_days),
            KeepReason::Unexpired { until, .. } => Some(*until),
            KeepReason::Quarantined { until } => Some(start_of(*until)),
            // Another fact than the time ends these reasons, at any time.
            KeepReason::InUse(_)
            | KeepReason::Restored(None)
            | KeepReason::Unknown(UnknownReason::Subject)
            | KeepReason::Unconfirmed => Some(now),
            // These reasons last until somebody changes an image, or until ECR expires an image.
            KeepReason::Unknown(
                UnknownReason::Push
                | UnknownReason::TagPush
                | UnknownReason::UnparsedReference
                | UnknownReason::ReferenceCycle
                | UnknownReason::ArchivedIndex,
            )
            | KeepReason::NoRetention
            | KeepReason::Protected(..)
            | KeepReason::Channel(_)
            | KeepReason::Unmatched(_)
            | KeepReason::Ignored(..)
            | KeepReason::Newest
            | KeepReason::Last
            | KeepReason::Native
            | KeepReason::Untagged
            | KeepReason::UntaggedReported { .. }
            | KeepReason::NeededByTaggedImage
            | KeepReason::OnlyReferrers
            | KeepReason::Archived
            | KeepReason::NeededByArchivedIndex
            | KeepReason::Threatened(_) => None,
        }
    }

    /// Whether the count keeps a unit when all its other reasons have ended.
    fn is_kept_by_count(&self, decided: &UnitDecision) -> bool {
        let kept = self.keep_count();
        match self.policy.lifecycle_scope {
            LifecycleScope::Component => decided.places.iter().any(|place| place.best() <= kept),
            LifecycleScope::Repository => !decided.places.is_empty(),
        }
    }
}

/// The day from which a quarantine tag of a future day counts as a quarantine tag of this image. Until
/// then the tag keeps the image, and may take a place in a count.
fn genuine_from(image: &ImageRecord, today: NaiveDate) -> Option<NaiveDate> {
    let quarantines = image.own_tags().filter_map(Quarantine::read);
    let later = quarantines.filter(|quarantine| {
        !quarantine.is_genuine(&image.digest, today)
            && quarantine.is_genuine(&image.digest, quarantine.since)
    });
    later.filter_map(|quarantine| quarantine.since.pred_opt()).min()
}

/// The first moment of a day, in UTC.
fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
