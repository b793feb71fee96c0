//! The reasons of a plan, for people. Each reason is the end of a sentence that begins with the
//! image.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{
    Decision, KeepReason, Key, PlanBlocker, RemoveReason, RetentionPlan, UnitDecision,
    UnknownReason, VersionRank,
};
use crate::arena::ImageId;
use crate::policy::CleanupEnforcement;

impl RetentionPlan<'_> {
    /// Why the unit is kept or removed.
    #[must_use]
    pub fn reason(&self, decided: &UnitDecision) -> String {
        match &decided.decision {
            Decision::Keep(keep, of) => {
                let why = self.why_kept(decided, keep);
                if *of == decided.unit.root {
                    return why;
                }
                format!("{why} (said of {}, which is part of it)", self.image(*of).digest)
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
        if !self.is_to_go(image, self.mode_of(image)) {
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
            && self.is_to_go(image, self.mode_of(image));
        match self.mode_of(image) {
            _ if !goes => "keep",
            CleanupEnforcement::Report => "report",
            CleanupEnforcement::Archive => "archive",
            CleanupEnforcement::Delete => "delete",
        }
    }

    fn why_kept(&self, decided: &UnitDecision, keep: &KeepReason) -> String {
        let retention = &self.policy.governance.retention;
        match keep {
            KeepReason::Unknown(unknown) => unknown.to_string(),
            KeepReason::Protected(tag, by) => format!("the tag {tag} is protected by {by}"),
            KeepReason::InUse(0) => {
                let days = retention.protect_pulled_within_days;
                format!("it was in use within {days} days, by Amazon Inspector")
            }
            KeepReason::InUse(times) => format!("it is in use, {times} times by Amazon Inspector"),
            KeepReason::Channel(tag) => format!("the channel {tag} points at it"),
            KeepReason::Pulled(at) => {
                let days = retention.protect_pulled_within_days;
                format!("it was pulled on {}, within {days} days", day(*at))
            }
            KeepReason::Restored(None) => "it is on its way back from the archive".to_owned(),
            KeepReason::Restored(Some(at)) => {
                let days = retention.minimum_age_days;
                format!("it came back from the archive on {}, within {days} days", day(*at))
            }
            KeepReason::Young(at) => {
                format!("it was pushed on {}, within {} days", day(*at), retention.minimum_age_days)
            }
            KeepReason::Unmatched(tag) => {
                format!("the tag {tag} neither conforms nor has a counted prefix")
            }
            KeepReason::Newest => {
                let nearest =
                    decided.places.iter().min_by_key(|place| (place.rank, self.name_of(place)));
                nearest.map_or_else(String::new, |place| self.place(place))
            }
            KeepReason::Native => {
                "LifecycleScope=repository leaves it to ECR's own rules".to_owned()
            }
            KeepReason::Quarantined { until } => format!("it is in quarantine until {until}"),
            KeepReason::Untagged if self.policy.untagged_mode().is_some() => {
                "it has no tag, and an image that it needs has one".to_owned()
            }
            KeepReason::Untagged => "it has no tag, and ECR's own rule sees to those".to_owned(),
            KeepReason::UntaggedLately { since } => {
                let days = self.policy.lifecycle_untagged_days;
                format!("it has had no tag since {}, within {days} days", day(*since))
            }
            KeepReason::UntaggedReported { since } => {
                format!(
                    "it has had no tag since {}, and Untagged=report only reports it",
                    day(*since)
                )
            }
            KeepReason::NeededByTaggedImage => {
                "it has no tag, and an image that refers to it has one and is kept".to_owned()
            }
            KeepReason::Archived => IN_THE_ARCHIVE.to_owned(),
            KeepReason::Threatened(threat) => format!("{threat}, so it is not archived"),
            KeepReason::NeededByArchivedIndex => {
                "an archived index needs it, which could not be pulled after a restore".to_owned()
            }
            KeepReason::Unconfirmed => {
                "no rule keeps it, but nobody confirmed that it may be removed".to_owned()
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
                let days = self.policy.governance.tags.quarantine_days;
                format!("it was quarantined on {since}, and its {days} days are over")
            }
            RemoveReason::Untagged { since } => {
                let days = self.policy.lifecycle_untagged_days;
                format!("it has had no tag since {}, and its {days} days are over", day(*since))
            }
            RemoveReason::Orphan(subject) => format!("what it refers to, {subject}, is gone"),
        }
    }

    /// As in `number 21 of 23 of litellm, which keeps 20`.
    fn place(&self, place: &VersionRank) -> String {
        let (count, name) = (self.groups[place.group].count, self.name_of(place));
        format!("number {} of {count} of {name}, which keeps {}", place.rank, self.keep_count())
    }

    fn name_of(&self, place: &VersionRank) -> String {
        self.groups[place.group].key.to_string()
    }
}

const IN_THE_ARCHIVE: &str = "it is in the archive, where ECR's own rule sees to it";

fn day(at: DateTime<Utc>) -> impl fmt::Display {
    at.date_naive()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(component) => component.fmt(f),
            Self::Prefix(prefix) => write!(f, "the prefix {prefix}"),
        }
    }
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "ECR does not say when it was pushed",
            Self::UnparsedReference => "it has a tag or a subject that is not understood",
            Self::ReferenceCycle => "it belongs to nothing but itself, by its tags",
            Self::ArchivedIndex => {
                "an archived index may need it, and ECR does not say which images that index needs"
            }
            Self::Subject => "what it refers to may be there, though it is not listed",
        })
    }
}

impl fmt::Display for PlanBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emptied(name) => write!(f, "nothing of {name} would be left"),
            Self::TooMany { removed, of, percent } => write!(
                f,
                "{removed} of {of} images would go, and MaxRemovePercent={percent} allows fewer"
            ),
            Self::NothingInUse => f.write_str(
                "Amazon Inspector names no image of the repository that is in use: either \
                 nothing runs, or it does not see what does",
            ),
            Self::Unconfirmed { is_changed: false } => f.write_str(
                "the first plan that removes images from the repository waits for a confirmation",
            ),
            Self::Unconfirmed { is_changed: true } => f.write_str(
                "the policy changed so that more images may be removed, and this plan waits for a \
                 confirmation",
            ),
        }
    }
}
