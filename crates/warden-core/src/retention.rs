//! A plan for a whole repository: which images are kept, which are removed, and why.
//!
//! A rule can only keep an image. A unit ([`Unit`]) is removed when no rule keeps any image in it.
//! An image that is unknown, unmatched or unparsable is kept. A plan that would remove too much is
//! stopped as a whole ([`PlanBlocker`]).
//!
//! In reading order: [`RetentionPlan`], [`KeepReason`], [`RemoveReason`], [`PlanBlocker`], and
//! [`plan_retention`] with the methods of the plan. The modules decide about single images
//! (`rules`) and units (`decide`), order the removals (`schedule`), find the time at which the plan
//! changes (`next_change`), and compose the texts (`show`).

mod confirmation;
mod decide;
mod next_change;
mod rules;
mod schedule;
mod show;
mod uncovered;
mod unfinished;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use crate::arena::{Arena, GroupId, ImageId, UnitId};
use crate::grammar::TagKind;
use crate::graph::{Graph, ImageRecord, Inventory, Unit};
use crate::image::{Digest, Tag, TagPrefix, Wildcard};
use crate::lifecycle::native::LifecycleThreat;
use crate::policy::{CleanupEnforcement, Policy};
pub use confirmation::{
    CONFIRMATION_DAYS, Confirmation, MOST_CONFIRMED, confirmed_image, keeps_at_least,
    retention_hash,
};
use decide::{
    decide_unit, keep_last_image, keep_orphans_among_only_referrers,
    keep_subjects_of_tagged_images, rank_units, removal_mode, threat_to,
};
use rules::TagReadings;
pub(crate) use rules::is_channel_tag;
pub use uncovered::UncoveredImages;
pub use unfinished::{UnfinishedUnit, UnitRecord, UnitRemover, complete_unit, torn_images};

/// The number of digits of the hash of a plan. A person repeats them to confirm the plan.
const HASH_DIGITS: usize = 16;

/// The number of workloads that run each image, from the source that the policy names
/// ([`crate::policy::InUse`]). An image that ran lately has the number 0. An absent image does not
/// run. With `InUse::Inspector`, an empty map stops the plan. With `InUse::PullTime`, the map is always
/// empty.
pub type RunningImages = HashMap<Digest, u64>;

/// The decision about each image of a repository, and the reason.
#[derive(Clone, Debug)]
pub struct RetentionPlan<'a> {
    /// The policy of the repository.
    pub policy: &'a Policy,
    /// The images of the repository.
    pub inventory: &'a Inventory,
    /// Each unit with its decision.
    pub units: Arena<UnitId, UnitDecision>,
    /// The units that are removed, the oldest first.
    pub removals: Vec<UnitRemoval>,
    /// The quarantine tags that are removed from images that are kept.
    pub untags: Vec<(ImageId, Tag)>,
    /// The guard that stops the plan, if any: then nothing is removed.
    pub stopped: Option<PlanBlocker>,
    groups: Arena<GroupId, Group>,
    /// The reading of each own tag of each image, in order ([`ImageRecord::own_tags`]).
    readings: Arena<ImageId, Vec<TagReading>>,
    /// The unit that decides about each image.
    decided_by: Arena<ImageId, Option<UnitId>>,
}

/// A unit with its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitDecision {
    /// The unit.
    pub unit: Unit,
    /// The decision.
    pub decision: Decision,
    /// The ranks of the unit in the groups in which it is counted.
    places: Vec<VersionRank>,
}

/// The ranks of a unit in a group. The newest and the highest unit have rank 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VersionRank {
    group: GroupId,
    /// The rank by the push of the tags by which the unit is counted in the group.
    by_push: usize,
    /// The rank by version. None if no tag by which the unit is counted has a version.
    by_version: Option<usize>,
}

impl VersionRank {
    /// The smaller rank: a unit is kept by the count if this rank is at most `Keep`.
    fn best(&self) -> usize {
        self.by_version.map_or(self.by_push, |by_version| by_version.min(self.by_push))
    }
}

/// The decision about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The unit is kept because of this image of the unit.
    Keep(KeepReason, ImageId),
    /// The unit is removed.
    Remove(RemoveReason),
}

/// Why a unit is kept, the strongest reason first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// A fact about the image is not known.
    Unknown(UnknownReason),
    /// A tag is protected by [`crate::policy::Retention::protect_tags`].
    Protected(Tag, Wildcard),
    /// Workloads run the image. The value is their number, or 0 for an image that ran lately.
    InUse(u64),
    /// A channel points at the image. A channel is a tag that is moved from version to version. If the
    /// tags of versions name a channel, the channel points at the newest of them.
    Channel(Tag),
    /// The image was pulled within [`crate::policy::Retention::protect_pulled_within_days`].
    Pulled(DateTime<Utc>),
    /// Somebody restored the image from the archive. No time where ECR is still restoring it.
    Restored(Option<DateTime<Utc>>),
    /// The image or a tag was pushed within [`crate::policy::Retention::minimum_age_days`].
    Young {
        /// The latest push.
        at: DateTime<Utc>,
        /// The tag of this push. None for the first push of the image.
        tag: Option<Tag>,
    },
    /// A tag neither matches the grammar nor has a counted prefix.
    Unmatched(Tag),
    /// This wildcard of [`crate::policy::Tags::ignored`] matches the tag.
    Ignored(Tag, Wildcard),
    /// [`crate::policy::Retention::expire`] keeps the tag for some more days.
    Unexpired {
        /// The tag.
        tag: Tag,
        /// The earliest end.
        until: DateTime<Utc>,
    },
    /// The unit is among the newest or the highest of a group.
    Newest,
    /// Every tagged image of the repository could be removed, and the tag of this image expired last.
    Last,
    /// In scope `repository`, a lifecycle rule of ECR counts the images.
    Native,
    /// The image is in quarantine, so that a person can restore its tag for some more days.
    Quarantined {
        /// The first day on which the image may be removed.
        until: NaiveDate,
    },
    /// The image has no tag. In scope `repository`, a lifecycle rule of ECR expires
    /// untagged images.
    Untagged,
    /// The image has had no tag for fewer days than [`crate::policy::Retention::untagged_days`].
    UntaggedLately {
        /// The later of the push and the first sighting without a tag.
        since: DateTime<Utc>,
    },
    /// The image has had no tag for long enough, and the policy only reports untagged images.
    UntaggedReported {
        /// The later of the push and the first sighting without a tag.
        since: DateTime<Utc>,
    },
    /// An image that has a tag, and is kept, refers to the untagged image or is a part of it.
    NeededByTaggedImage,
    /// The image refers to an image that does not exist, and every image of the repository refers to some image.
    /// The subjects are probably in another repository.
    OnlyReferrers,
    /// The image is archived. A lifecycle rule of ECR expires archived images.
    Archived,
    /// An archived index needs the image, and the policy would delete it.
    NeededByArchivedIndex,
    /// The policy would archive the image, and a native lifecycle rule would expire it or an image
    /// of its unit too early.
    Threatened(LifecycleThreat),
    /// No rule keeps the image, but nobody confirmed yet that it may be removed.
    Unconfirmed,
    /// The policy has no rules for the cleanup.
    NoRetention,
}

/// The unknown fact that keeps an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// ECR does not report when the image was pushed.
    Push,
    /// The time of the push of a tag is not known.
    TagPush,
    /// [`ImageRecord::has_unparsed_reference`]: a tag or the subject of the image cannot be parsed.
    UnparsedReference,
    /// The subject of the image is not listed, but may exist.
    Subject,
    /// The images refer to each other, by their tags.
    ReferenceCycle,
    /// [`Inventory::has_unknown_archived_index`]: an archived index may need the untagged image.
    ArchivedIndex,
}

/// Why a unit is removed. No rule keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveReason {
    /// In each of its groups, enough units are newer, and enough units have a higher version.
    BeyondKeepCount,
    /// The quarantine of the image is over.
    QuarantineOver {
        /// The first day of the quarantine.
        since: NaiveDate,
    },
    /// All tags have expired by [`crate::policy::Retention::expire`].
    Expired {
        /// The tag that expired last.
        tag: Tag,
        /// When it expired.
        at: DateTime<Utc>,
    },
    /// The subject of the image does not exist any more.
    Orphan(Digest),
    /// The image has had no tag for [`crate::policy::Retention::untagged_days`].
    Untagged {
        /// The later of the push and the first sighting without a tag.
        since: DateTime<Utc>,
    },
}

/// The guard that stops a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanBlocker {
    /// The plan would remove every image of this component or prefix.
    Emptied(String),
    /// The plan would remove more than [`crate::policy::Retention::max_remove_percent`] allows. This
    /// guard never stops the plan of a rule that only reports.
    TooMany {
        /// The number of images that the plan would remove.
        removed: usize,
        /// The number of images that are not archived.
        of: usize,
        /// The allowed percentage.
        percent: u32,
    },
    /// The source of running images reports no running image. The source may not see the workloads.
    NothingInUse,
    /// The plan waits for a [`Confirmation`].
    Unconfirmed {
        /// Whether an earlier policy is accepted, which keeps more images. Otherwise no plan was
        /// ever confirmed.
        is_changed: bool,
    },
}

impl PlanBlocker {
    /// A name that stays the same while the numbers of the plan change.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Emptied(_) => "emptied",
            Self::TooMany { .. } => "too-many",
            Self::NothingInUse => "nothing-in-use",
            Self::Unconfirmed { .. } => "unconfirmed",
        }
    }
}

/// The images that are removed with one unit. An image that a kept unit needs is not among them.
/// An image that several removed units need is removed with the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRemoval {
    /// The unit.
    pub unit: UnitId,
    /// The root and then its parts, an index before its parts.
    pub images: Vec<ImageId>,
    /// The referrers of those images.
    pub referrers: Vec<ImageId>,
}

/// Units that are counted together.
#[derive(Clone, Debug)]
struct Group {
    key: Key,
    /// The units of the group, the newest first.
    units: Vec<UnitId>,
    /// The number of places that are taken.
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Kind(TagKind),
    Prefix(TagPrefix),
}

/// How the policy reads a tag. A sweep matches each tag against the grammar once, and its plan, its
/// audit and its count of components use this reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TagReading {
    /// The group of the kind of the tag. None for a tag that does not match the grammar.
    group: Option<GroupId>,
    /// [`crate::tagging::is_accepted_tag`].
    pub is_accepted: bool,
    /// Whether the tag is a channel, and not a version.
    pub is_channel: bool,
    /// The channel that the tag of a version names, as a position in
    /// [`crate::policy::Tags::channels`].
    channel_of_version: Option<usize>,
}

/// Decides about every image of a repository.
#[must_use]
pub fn plan_retention<'a>(
    policy: &'a Policy,
    inventory: &'a Inventory,
    graph: Graph,
    running: &RunningImages,
    now: DateTime<Utc>,
) -> RetentionPlan<'a> {
    let mut readings = rules::read_tags(policy, inventory);
    let facts = rules::classify_images(policy, inventory, &graph, &mut readings, running, now);
    let TagReadings { tags: readings, groups, .. } = readings;
    let mut groups = groups.arena;
    let places = rank_units(inventory, &graph, &facts, &mut groups);
    let decide = |(unit, places): (Unit, Vec<VersionRank>)| {
        let decision = if graph.circular.contains(&unit.root) {
            Decision::Keep(KeepReason::Unknown(UnknownReason::ReferenceCycle), unit.root)
        } else {
            let decision = decide_unit(policy, inventory, &facts, &unit, &places, now);
            threat_to(policy, inventory, &unit, &decision, now).map_or(decision, |threat| {
                Decision::Keep(KeepReason::Threatened(threat), unit.root)
            })
        };
        UnitDecision { unit, decision, places }
    };
    let mut units: Arena<UnitId, UnitDecision> =
        graph.units.into_iter().zip(places).map(decide).collect();
    keep_subjects_of_tagged_images(&mut units);
    keep_last_image(inventory, &mut units);
    keep_orphans_among_only_referrers(inventory, &mut units);
    let mut plan = RetentionPlan {
        policy,
        inventory,
        units,
        removals: vec![],
        untags: vec![],
        stopped: None,
        groups,
        readings,
        decided_by: Arena::default(),
    };
    plan.removals = plan.schedule_removals();
    plan.untags = plan.quarantine_tags(&facts);
    plan.stopped = plan.guard(running);
    plan
}

impl KeepReason {
    /// The position among the reasons. Of several reasons, the strongest is reported.
    fn strength(&self) -> u8 {
        match self {
            Self::Unknown(_) => 0,
            Self::Protected(..) => 1,
            Self::InUse(_) => 2,
            Self::Channel(_) => 3,
            Self::Pulled(_) => 4,
            Self::Restored(_) => 5,
            Self::Young { .. } => 6,
            Self::Unmatched(_) | Self::Ignored(..) | Self::Unexpired { .. } => 7,
            Self::Newest | Self::Last => 8,
            Self::Native => 9,
            Self::Quarantined { .. } => 10,
            Self::Untagged | Self::UntaggedLately { .. } | Self::UntaggedReported { .. } => 11,
            Self::NeededByTaggedImage | Self::OnlyReferrers => 12,
            Self::Archived => 13,
            Self::NeededByArchivedIndex => 14,
            Self::Threatened(_) => 15,
            Self::Unconfirmed => 16,
            Self::NoRetention => 17,
        }
    }
}

impl<'a> RetentionPlan<'a> {
    /// The image in the inventory.
    #[must_use]
    pub fn image(&self, id: ImageId) -> &'a ImageRecord {
        &self.inventory.images[id]
    }

    /// The own tags of an image, each with its reading.
    pub(crate) fn read_tags(&self, id: ImageId) -> impl Iterator<Item = (&'a Tag, &TagReading)> {
        self.image(id).own_tags().zip(&self.readings[id])
    }

    /// The kind of a tag. None for a tag that does not match the grammar.
    pub(crate) fn kind_of(&self, reading: &TagReading) -> Option<&TagKind> {
        match &self.groups[reading.group?].key {
            Key::Kind(kind) => Some(kind),
            Key::Prefix(_) => None,
        }
    }

    /// Whether the plan removes neither an image nor a tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.untags.is_empty()
    }

    /// Whether the plan only reports. A plan that may be wrong is stopped instead.
    #[must_use]
    pub fn is_report(&self) -> bool {
        self.policy.cleanup() == CleanupEnforcement::Report && self.stopped.is_none()
    }

    /// The images that are removed, each once.
    pub fn removed(&self) -> impl Iterator<Item = &'a ImageRecord> + '_ {
        self.removals.iter().flat_map(UnitRemoval::all).map(|image| self.image(image))
    }

    /// The bytes of the images that are removed. ECR frees less where they share layers with
    /// images that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removed().map(|image| image.bytes).sum()
    }

    /// The units that a rule keeps although enough units are newer and enough units have a higher version.
    pub fn kept_beyond(&self) -> impl Iterator<Item = &UnitDecision> {
        let kept = self.keep_count();
        self.units.iter().filter(move |decided| {
            let is_beyond = decided.places.iter().all(|place| place.best() > kept);
            is_beyond
                && !decided.places.is_empty()
                && matches!(decided.decision, Decision::Keep(..))
        })
    }

    /// The unit that decides about an image. None for indexes that need each other, and for
    /// their images.
    #[must_use]
    pub fn decided(&self, image: ImageId) -> Option<&UnitDecision> {
        self.decided_by[image].map(|unit| &self.units[unit])
    }

    /// The action on the images of a removed unit.
    #[must_use]
    pub fn mode(&self, unit: UnitId) -> CleanupEnforcement {
        let mode = removal_mode(self.policy, &self.units[unit].decision);
        mode.unwrap_or(self.policy.cleanup())
    }

    /// The action on an image, by the unit that decides about it.
    #[must_use]
    pub fn mode_of(&self, image: ImageId) -> CleanupEnforcement {
        let decided_by = self.decided_by[image];
        decided_by.map_or(self.policy.cleanup(), |unit| self.mode(unit))
    }

    /// Whether the unit is removed because it has no tag.
    fn is_untagged_removal(&self, removal: &UnitRemoval) -> bool {
        matches!(self.units[removal.unit].decision, Decision::Remove(RemoveReason::Untagged { .. }))
    }

    /// The hash that identifies this plan, its policy and the guard that stops it. It is the same for
    /// the same images with the same tags, in any order.
    #[must_use]
    pub fn hash(&self) -> String {
        let mode = self.policy.cleanup();
        let mut lines: Vec<String> = Vec::new();
        for removal in &self.removals {
            let other_mode = Some(self.mode(removal.unit)).filter(|other| *other != mode);
            let other_mode = other_mode.map_or_else(String::new, |other| format!(" {other}"));
            lines.extend(removal.all().map(|image| {
                let image = self.image(image);
                let mut tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
                tags.sort_unstable();
                format!("{} {}{other_mode}", image.digest, tags.join(" "))
            }));
        }
        let untags = self.untags.iter();
        lines.extend(
            untags.map(|(image, tag)| format!("{} without {tag}", self.image(*image).digest)),
        );
        lines.sort_unstable();
        let (repository, retention) = (&self.policy.repository_name, retention_hash(self.policy));
        let guard = self.stopped.as_ref().map_or("", PlanBlocker::name);
        lines.insert(0, format!("{repository} {mode} {retention} {guard}"));
        short_hash(&lines.join("\n"))
    }

    fn keep_count(&self) -> usize {
        let keep = self.policy.retention.as_ref().map(|retention| retention.keep);
        keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(usize::MAX)
    }
}

/// The hash of several plans together. A single plan keeps its hash. None without any plan.
#[must_use]
pub fn hash_of_plans<'h>(hashes: impl IntoIterator<Item = &'h str>) -> Option<String> {
    let hashes: Vec<&str> = hashes.into_iter().collect();
    match hashes[..] {
        [] => None,
        [hash] => Some(hash.to_owned()),
        _ => Some(short_hash(&hashes.join("\n"))),
    }
}

/// The first digits of the SHA-256 of a text.
#[must_use]
pub fn short_hash(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars().take(HASH_DIGITS).collect()
}

impl UnitRemoval {
    /// The root, the parts and the referrers that are removed.
    #[must_use]
    pub fn all(&self) -> impl DoubleEndedIterator<Item = ImageId> + '_ {
        self.images.iter().chain(&self.referrers).copied()
    }
}
