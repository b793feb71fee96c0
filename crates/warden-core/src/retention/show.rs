//! The reasons of a plan as text for people. Each reason is a clause about one image.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{
    Decision, Group, KeepReason, Key, PlanBlocker, RemoveReason, RetentionPlan, UnitDecision,
    UnknownReason, VersionRank,
};
use crate::arena::ImageId;
use crate::policy::{CleanupEnforcement, Retention};

impl RetentionPlan<'_> {
    /// Why the unit is kept or removed.
    #[must_use]
    pub fn reason(&self, decided: &UnitDecision) -> String {
        match &decided.decision {
            Decision::Keep(keep, image) => {
                let why = self.why_kept(decided, keep);
                if *image == decided.unit.root {
                    return why;
                }
                format!("its image {} is kept: {why}", self.image(*image).digest)
            }
            Decision::Remove(because) => self.why_removed(decided, because),
        }
    }

    /// Why an image is kept or removed.
    #[must_use]
    pub fn reason_of(&self, image: ImageId) -> String {
        let Some(decided) = self.decided(image) else {
            return UnknownReason::ReferenceCycle.to_string();
        };
        let unit = &decided.unit;
        if unit.root == image {
            return self.reason(decided);
        }
        if !self.is_removable(image, self.mode_of(image)) {
            return IN_THE_ARCHIVE.to_owned();
        }
        let part = if unit.parts.contains(&image) { "is part of" } else { "belongs to" };
        format!("it {part} {}: {}", self.image(unit.root).digest, self.reason(decided))
    }

    /// The decision about an image, in one word.
    #[must_use]
    pub fn decision_of(&self, image: ImageId) -> &'static str {
        let decided = self.decided(image);
        let goes = decided.is_some_and(|decided| matches!(decided.decision, Decision::Remove(_)))
            && self.is_removable(image, self.mode_of(image));
        match self.mode_of(image) {
            _ if !goes => "keep",
            CleanupEnforcement::Report => "report",
            CleanupEnforcement::Archive => "archive",
            CleanupEnforcement::Delete => "delete",
        }
    }

    fn why_kept(&self, decided: &UnitDecision, keep: &KeepReason) -> String {
        // Without rules for the cleanup, there is no reason that has days.
        let retention = self.policy.retention.as_ref();
        let days = |days: fn(&Retention) -> u32| retention.map_or(0, days);
        match keep {
            KeepReason::Unknown(unknown) => unknown.to_string(),
            KeepReason::Protected(tag, wildcard) => {
                format!("the tag {tag} matches the pattern {wildcard} of ProtectTags")
            }
            KeepReason::InUse(0) => {
                let days = days(|retention| retention.protect_pulled_within_days);
                format!(
                    "a workload ran it within the last {days} days, according to Amazon Inspector"
                )
            }
            KeepReason::InUse(1) => "1 workload runs it, according to Amazon Inspector".to_owned(),
            KeepReason::InUse(workloads) => {
                format!("{workloads} workloads run it, according to Amazon Inspector")
            }
            KeepReason::Channel(tag) => format!("the channel {tag} points at it"),
            KeepReason::Pulled(at) => {
                let days = days(|retention| retention.protect_pulled_within_days);
                format!("it was pulled on {}, within the last {days} days", day(*at))
            }
            KeepReason::Restored(None) => "ECR is restoring it from the archive".to_owned(),
            KeepReason::Restored(Some(at)) => {
                let days = days(|retention| retention.minimum_age_days);
                format!("it was restored on {}, within the last {days} days", day(*at))
            }
            KeepReason::Young { at, tag } => {
                let days = days(|retention| retention.minimum_age_days);
                let pushed =
                    tag.as_ref().map_or_else(|| "it".to_owned(), |tag| format!("its tag {tag}"));
                format!("{pushed} was pushed on {}, within the last {days} days", day(*at))
            }
            KeepReason::NoRetention => {
                format!("the rule {} has no Retention, so nothing is removed", self.policy.rule)
            }
            KeepReason::Unexpired { tag, until } => {
                format!("its tag {tag} expires on {}, by Expire", day(*until))
            }
            KeepReason::Ignored(tag, wildcard) => {
                format!("its tag {tag} matches {wildcard} of Ignored")
            }
            KeepReason::Unmatched(tag) if self.policy.grammar().is_none() => {
                format!("without a Grammar, the tag {tag} names no version")
            }
            KeepReason::Unmatched(tag) => {
                format!("the tag {tag} matches neither the grammar nor a lifecycle prefix")
            }
            KeepReason::Newest => {
                let nearest = decided
                    .places
                    .iter()
                    .min_by_key(|place| (place.best(), self.name_of_place(place)));
                nearest.map_or_else(String::new, |place| self.place(place))
            }
            KeepReason::Last => {
                "all its tags expired, and it is the last tagged image of the repository".to_owned()
            }
            KeepReason::Native => {
                "with LifecycleScope=repository, only the lifecycle policy of ECR expires tagged \
                 images"
                    .to_owned()
            }
            KeepReason::Quarantined { until } => format!("it is in quarantine until {until}"),
            KeepReason::Untagged if self.policy.untagged_mode().is_some() => {
                "it has no tag, and an image that it needs has one".to_owned()
            }
            KeepReason::Untagged => {
                "it has no tag, and the lifecycle policy of ECR expires untagged images".to_owned()
            }
            KeepReason::UntaggedLately { since } => {
                let days = days(|retention| retention.untagged_days);
                format!("it has had no tag since {}, for at most {days} days", day(*since))
            }
            KeepReason::UntaggedReported { since } => {
                format!(
                    "it has had no tag since {}, and with Untagged=report it is only reported",
                    day(*since)
                )
            }
            KeepReason::NeededByTaggedImage => {
                "it has no tag, but a tagged image that is kept refers to it".to_owned()
            }
            KeepReason::OnlyReferrers => {
                "the repository has only signatures and other referrers, so the images that they refer to \
                 are probably in another repository"
                    .to_owned()
            }
            KeepReason::Archived => IN_THE_ARCHIVE.to_owned(),
            KeepReason::Threatened(threat) => format!("it is not archived, because {threat}"),
            KeepReason::NeededByArchivedIndex => {
                "an archived index needs it, and without it the index could not be pulled after a \
                 restore"
                    .to_owned()
            }
            KeepReason::Unconfirmed => {
                "no rule keeps it, but nobody has confirmed its removal".to_owned()
            }
        }
    }

    fn why_removed(&self, decided: &UnitDecision, because: &RemoveReason) -> String {
        match because {
            RemoveReason::BeyondKeepCount => {
                let mut places: Vec<String> =
                    decided.places.iter().map(|place| self.place(place)).collect();
                places.sort_unstable();
                places.join("; ")
            }
            RemoveReason::QuarantineOver { since } => {
                let days = self.policy.tags.as_ref().map_or(0, |tags| tags.quarantine_days);
                format!(
                    "it was quarantined on {since}, and the {days} days of the quarantine are over"
                )
            }
            RemoveReason::Untagged { since } => {
                let retention = self.policy.retention.as_ref();
                let days = retention.map_or(0, |retention| retention.untagged_days);
                format!("it has had no tag since {}, for more than {days} days", day(*since))
            }
            RemoveReason::Expired { tag, at } => {
                format!("its tag {tag} expired on {}, by Expire", day(*at))
            }
            RemoveReason::Orphan(subject) => {
                format!("it refers to {subject}, which does not exist any more")
            }
        }
    }

    /// For example `number 21 of 23 of litellm (the newest 20 are kept)`. Both ranks are named if they
    /// differ.
    fn place(&self, place: &VersionRank) -> String {
        let (count, name) = (self.groups[place.group].count, self.name_of_place(place));
        let (rank, kept) = (place.by_push, self.keep_count());
        let other = place.by_version.filter(|by_version| *by_version != rank);
        let rank = other.map_or_else(
            || rank.to_string(),
            |by_version| format!("{rank} by push and number {by_version} by version"),
        );
        let kept = match (kept, other) {
            (1, None) => "the newest is kept".to_owned(),
            (1, Some(_)) => "the newest and the highest are kept".to_owned(),
            (_, None) => format!("the newest {kept} are kept"),
            (_, Some(_)) => format!("the newest {kept} and the highest {kept} are kept"),
        };
        format!("number {rank} of {count} of {name} ({kept})")
    }

    fn name_of_place(&self, place: &VersionRank) -> String {
        self.name_of(&self.groups[place.group])
    }

    pub(super) fn name_of(&self, group: &Group) -> String {
        match (&group.key, self.policy.grammar()) {
            (Key::Kind(kind), Some(grammar)) => grammar.describe_kind(kind),
            (Key::Kind(kind), None) => kind.component.to_string(),
            (Key::Prefix(prefix), _) => format!("the prefix {prefix}"),
        }
    }
}

const IN_THE_ARCHIVE: &str =
    "it is archived, and only a lifecycle rule of ECR or a person deletes archived images";

fn day(at: DateTime<Utc>) -> impl fmt::Display {
    at.date_naive()
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "ECR does not report when it was pushed",
            Self::TagPush => "ECR Warden does not know when one of its tags was pushed",
            Self::UnparsedReference => "it has a tag or a subject that cannot be parsed",
            Self::ReferenceCycle => "it and other images refer to each other",
            Self::ArchivedIndex => {
                "an archived index may need it, and ECR does not report which images that index \
                 needs"
            }
            Self::Subject => "the image that it refers to was not listed, but may exist",
        })
    }
}

impl fmt::Display for PlanBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptied(name) => write!(f, "no image of {name} would be left"),
            Self::TooMany { removed, of, percent } => write!(
                f,
                "{removed} of {of} images would be removed, and MaxRemovePercent={percent} allows \
                 fewer (archived images, and untagged images of the plan, are not counted)"
            ),
            Self::NothingInUse => f.write_str(
                "Amazon Inspector reports no running image of the repository: either no workload \
                 runs one, or Inspector does not see the workloads",
            ),
            Self::Unconfirmed { is_changed: false } => f.write_str(
                "the first plan that removes images from the repository waits for a confirmation",
            ),
            Self::Unconfirmed { is_changed: true } => f.write_str(
                "the new policy may remove more images than the policy before, so this plan waits \
                 for a confirmation",
            ),
        }
    }
}
