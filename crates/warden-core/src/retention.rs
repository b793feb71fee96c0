//! A plan for a whole repository: which images are kept, which are removed, and why.
//!
//! A rule can only keep an image. A unit ([`Unit`]) is removed when no rule keeps any image in it.
//! An image that is unknown, unmatched or unparsable is kept. A plan that would remove too much is
//! stopped as a whole ([`PlanBlocker`]).
//!
//! In reading order: [`plan_retention`], [`KeepReason`] with the rules, [`RemoveReason`], [`PlanBlocker`], and the questions
//! that a [`RetentionPlan`] answers.

mod confirmation;
mod rules;
mod show;
mod unfinished;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use crate::arena::{Arena, GroupId, ImageId, UnitId};
use crate::graph::{Graph, ImageRecord, Inventory, Unit};
use crate::image::{Component, Digest, ImageStatus, Tag, TagPrefix, Wildcard};
use crate::lifecycle::native::LifecycleThreat;
use crate::policy::{CleanupEnforcement, InUse, LifecycleScope, Policy};
use crate::untagged::{has_tag, is_untagged};
pub use confirmation::{
    CONFIRMATION_DAYS, Confirmation, MOST_CONFIRMED, confirmed_image, keeps_at_least,
    retention_hash,
};
use rules::Facts;
pub(crate) use rules::is_channel_tag;
pub use unfinished::{UnfinishedUnit, UnitRecord, UnitRemover, complete_unit, torn_images};

/// The number of units that a run may always remove. In a small repository, each unit is a large
/// share of the images.
const ALWAYS_ALLOWED: usize = 20;
/// The number of digits of the hash of a plan. A person repeats them to confirm the plan.
const HASH_DIGITS: usize = 16;

/// The number of workloads that run each image, by the source that the policy names. An image that
/// ran lately has the number 0. An image that is absent does not run. With Inspector, an empty map
/// stops the plan; with pull times, the map is always empty.
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

/// The rank of a unit in a group. The newest has rank 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VersionRank {
    group: GroupId,
    rank: usize,
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
    /// So many workloads run the image.
    InUse(u64),
    /// A channel points at the image. A channel is a tag that is moved from version to version.
    Channel(Tag),
    /// The image was pulled within [`crate::policy::Retention::protect_pulled_within_days`].
    Pulled(DateTime<Utc>),
    /// Somebody restored the image from the archive. No time where ECR is still restoring it.
    Restored(Option<DateTime<Utc>>),
    /// The image was pushed within [`crate::policy::Retention::minimum_age_days`].
    Young(DateTime<Utc>),
    /// A tag neither matches the grammar nor has a counted prefix.
    Unmatched(Tag),
    /// The unit is among the newest of a group.
    Newest,
    /// [`LifecycleScope::Repository`]: a lifecycle rule of ECR counts the images.
    Native,
    /// The image is in quarantine, so that a person can restore its tag for some more days.
    Quarantined {
        /// The first day on which the image may be removed.
        until: NaiveDate,
    },
    /// The image has no tag. In [`LifecycleScope::Repository`], a lifecycle rule of ECR expires
    /// untagged images.
    Untagged,
    /// The image has had no tag for fewer days than [`Policy::lifecycle_untagged_days`].
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
    /// The image is archived. A lifecycle rule of ECR expires archived images.
    Archived,
    /// An archived index needs the image, and the policy would delete it.
    NeededByArchivedIndex,
    /// The policy would archive the image, and a native lifecycle rule would expire it or an image
    /// of its unit too early.
    Threatened(LifecycleThreat),
    /// No rule keeps the image, but nobody confirmed yet that it may be removed.
    Unconfirmed,
}

/// The unknown fact that keeps an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// ECR does not report when the image was pushed.
    Push,
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
    /// In each of its groups, enough units are newer.
    BeyondKeepCount,
    /// The quarantine of the image is over.
    QuarantineOver {
        /// The first day of the quarantine.
        since: NaiveDate,
    },
    /// The subject of the image does not exist any more.
    Orphan(Digest),
    /// The image has had no tag for [`Policy::lifecycle_untagged_days`].
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
    /// The plan would remove more than [`crate::policy::Retention::max_remove_percent`] allows.
    TooMany {
        /// The number of images that the plan would remove.
        removed: usize,
        /// The number of images that are not archived.
        of: usize,
        /// The allowed percentage.
        percent: u32,
    },
    /// The source of running images names none. It may not see them.
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
    Component(Component),
    Prefix(TagPrefix),
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
    let (facts, mut groups) = rules::classify_images(policy, inventory, running, now);
    let places = count(inventory, &graph, &facts, &mut groups);
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
    keep_what_tagged_images_refer_to(&mut units);
    let mut plan = RetentionPlan {
        policy,
        inventory,
        units,
        removals: vec![],
        untags: vec![],
        stopped: None,
        groups,
        decided_by: Arena::default(),
    };
    plan.removals = plan.schedule_removals();
    plan.untags = plan.quarantine_tags(&facts);
    plan.stopped = plan.guard(running);
    plan
}

/// Puts the units into the groups in which they are counted, and returns the places of each.
fn count(
    inventory: &Inventory,
    graph: &Graph,
    facts: &Arena<ImageId, Facts>,
    groups: &mut Arena<GroupId, Group>,
) -> Arena<UnitId, Vec<VersionRank>> {
    let images = &inventory.images;
    // A unit takes one place in a group, by its newest image there. An image that is a part of
    // many units takes one place for all of them, so that they do not crowd out other units.
    let mut counted: Arena<GroupId, Vec<(ImageId, UnitId)>> = groups.map(|_| vec![]);
    for (id, unit) in graph.units.enumerate() {
        let root = &images[unit.root];
        // An untagged index is a version where one of its parts is called one.
        let is_called = root.subjects().next().is_some() || has_tag(inventory, unit);
        // An archived image cannot be pulled, so it is no version. Neither is an untagged image.
        let is_counted = root.status != ImageStatus::Archived
            && is_called
            && !graph.circular.contains(&unit.root);
        if !is_counted {
            continue;
        }
        let groups_of_root = &facts[unit.root].groups;
        for group in groups_of_root {
            counted[*group].push((unit.root, id));
        }
        // A referrer is no version, or it is the root of another unit.
        let is_part =
            |image: &ImageId| *image != unit.root && images[*image].subjects().next().is_none();
        for part in unit.images().filter(is_part) {
            for group in facts[part].groups.iter().filter(|group| !groups_of_root.contains(group)) {
                counted[*group].push((part, id));
            }
        }
    }
    let mut places = graph.units.map(|_| vec![]);
    for id in groups.ids() {
        let (group, counted) = (&mut groups[id], &mut counted[id]);
        // The digest decides between images that were pushed at the same time, so that the order
        // is always the same.
        counted.sort_by_cached_key(|(image, _)| {
            (std::cmp::Reverse(images[*image].pushed_at), &images[*image].digest)
        });
        for units_of_image in counted.chunk_by(|(one, _), (other, _)| one == other) {
            let has_place = |unit: UnitId| {
                let last: Option<&VersionRank> = places[unit].last();
                last.is_some_and(|place| place.group == id)
            };
            let new = units_of_image.iter().map(|(_, unit)| *unit);
            let new: Vec<UnitId> = new.filter(|unit| !has_place(*unit)).collect();
            group.count += usize::from(!new.is_empty());
            for unit in new {
                places[unit].push(VersionRank { group: id, rank: group.count });
                group.units.push(unit);
            }
        }
    }
    places
}

/// Asks every rule about every image of a unit.
fn decide_unit(
    policy: &Policy,
    inventory: &Inventory,
    facts: &Arena<ImageId, Facts>,
    unit: &Unit,
    places: &[VersionRank],
    now: DateTime<Utc>,
) -> Decision {
    let keep = |keep| Decision::Keep(keep, unit.root);
    let images = &inventory.images;
    let root = &images[unit.root];
    if root.status == ImageStatus::Archived {
        return keep(KeepReason::Archived);
    }
    let untagged = policy.untagged_mode().filter(|_| is_untagged(inventory, unit));
    let mode = untagged.unwrap_or(policy.governance.retention.enforcement);
    if is_held(mode, inventory, unit.root) {
        return keep(KeepReason::NeededByArchivedIndex);
    }
    let reasons = unit.images().flat_map(|image| {
        let Facts { keep, young, .. } = &facts[image];
        let young = young.iter().filter(|_| untagged.is_none());
        keep.iter().chain(young).map(move |keep| (image, keep))
    });
    let strongest = reasons.min_by_key(|(image, keep)| (keep.strength(), &images[*image].digest));
    if let Some((image, strongest)) = strongest {
        return Decision::Keep(strongest.clone(), image);
    }
    if let Some(mode) = untagged {
        return decide_untagged_unit(policy, inventory, unit, mode, now);
    }
    let mut orphan_of = None;
    if root.own_tags().next().is_none() {
        let mut subjects = root.subjects();
        match subjects.next() {
            Some(subject) => {
                let are_gone = inventory.gone.contains(&subject)
                    && subjects.all(|subject| inventory.gone.contains(&subject));
                if !are_gone {
                    return keep(KeepReason::Unknown(UnknownReason::Subject));
                }
                // The unit may still be counted in a group, because a part has a tag of its own.
                orphan_of = Some(subject);
            }
            None if is_untagged(inventory, unit) => return keep(KeepReason::Untagged),
            None => {}
        }
    }
    if !places.is_empty() {
        let retention = &policy.governance.retention;
        let kept = usize::try_from(retention.keep_per_component).unwrap_or(usize::MAX);
        return match policy.lifecycle_scope {
            LifecycleScope::Repository => keep(KeepReason::Native),
            LifecycleScope::Component if places.iter().any(|place| place.rank <= kept) => {
                keep(KeepReason::Newest)
            }
            LifecycleScope::Component => Decision::Remove(RemoveReason::BeyondKeepCount),
        };
    }
    // All other tags are quarantine tags. The latest of them counts.
    let since = unit.images().filter_map(|image| facts[image].quarantined_since).max();
    let days = Days::new(policy.governance.tags.quarantine_days.into());
    match (since.and_then(|since| Some((since, since.checked_add_days(days)?))), orphan_of) {
        (Some((since, until)), _) if until <= now.date_naive() => {
            Decision::Remove(RemoveReason::QuarantineOver { since })
        }
        (Some((_, until)), _) => keep(KeepReason::Quarantined { until }),
        (None, Some(subject)) => Decision::Remove(RemoveReason::Orphan(subject)),
        (None, None) => keep(KeepReason::Untagged),
    }
}

/// Decides about a unit without a tag that no other rule keeps. The days begin with the latest push
/// of an image of the unit.
fn decide_untagged_unit(
    policy: &Policy,
    inventory: &Inventory,
    unit: &Unit,
    mode: CleanupEnforcement,
    now: DateTime<Utc>,
) -> Decision {
    let keep = |keep| Decision::Keep(keep, unit.root);
    let pushed = unit.images().filter_map(|image| inventory.images[image].pushed_at).max();
    // An image that no sweep has recorded was first seen now.
    let seen = inventory.untagged.since(&inventory.images[unit.root].digest).unwrap_or(now);
    let since = pushed.map_or(seen, |pushed| pushed.max(seen));
    let days = Days::new(policy.lifecycle_untagged_days.into());
    if since.checked_add_days(days).is_none_or(|end| end >= now) {
        return keep(KeepReason::UntaggedLately { since });
    }
    match mode {
        // Where the whole cleanup reports, the plan has the untagged images too.
        CleanupEnforcement::Report if policy.governance.retention.enforcement != mode => {
            keep(KeepReason::UntaggedReported { since })
        }
        CleanupEnforcement::Delete if inventory.has_unknown_archived_index => {
            keep(KeepReason::Unknown(UnknownReason::ArchivedIndex))
        }
        CleanupEnforcement::Report | CleanupEnforcement::Archive | CleanupEnforcement::Delete => {
            Decision::Remove(RemoveReason::Untagged { since })
        }
    }
}

/// The native lifecycle rule that would expire an image of a unit too early, if the unit is archived.
fn threat_to(
    policy: &Policy,
    inventory: &Inventory,
    unit: &Unit,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Option<LifecycleThreat> {
    let rules = inventory.native_rules.as_ref()?;
    if removal_mode(policy, decision)? != CleanupEnforcement::Archive {
        return None;
    }
    let images = &inventory.images;
    let digests: HashSet<&Digest> = unit.images().map(|image| &images[image].digest).collect();
    let others = unit.images().filter(|image| *image != unit.root).map(|image| &images[image]);
    // ECR expires a referrer with its subject, and by no rule.
    let others = others.filter(|image| {
        let follows = image.subject.as_ref().is_some_and(|subject| digests.contains(subject));
        image.status == ImageStatus::Active && !follows
    });
    rules.threat_to_archived(others, now)
}

/// The action on the images of a removed unit. None for a unit that is kept.
fn removal_mode(policy: &Policy, decision: &Decision) -> Option<CleanupEnforcement> {
    match decision {
        Decision::Keep(..) => None,
        Decision::Remove(RemoveReason::Untagged { .. }) => policy.untagged_mode(),
        Decision::Remove(_) => Some(policy.governance.retention.enforcement),
    }
}

/// Keeps an untagged unit while an image of the unit that is tagged, and so a unit by itself, is
/// kept: for example the subject of a chart.
fn keep_what_tagged_images_refer_to(units: &mut Arena<UnitId, UnitDecision>) {
    let is_untagged_removal = |decided: &&UnitDecision| {
        matches!(decided.decision, Decision::Remove(RemoveReason::Untagged { .. }))
    };
    if !units.iter().any(|decided| is_untagged_removal(&decided)) {
        return;
    }
    // An archived image can be restored, and then needs the image that it refers to.
    let kept = units.iter().filter(|decided| !is_untagged_removal(decided));
    let kept: HashSet<ImageId> = kept.map(|decided| decided.unit.root).collect();
    for id in units.ids() {
        let decided = &units[id];
        let root = decided.unit.root;
        if is_untagged_removal(&decided) && decided.unit.images().any(|image| kept.contains(&image))
        {
            units[id].decision = Decision::Keep(KeepReason::NeededByTaggedImage, root);
        }
    }
}

/// Whether an archived index needs the image, and the policy would delete it. To archive it does
/// the index no harm.
fn is_held(mode: CleanupEnforcement, inventory: &Inventory, image: ImageId) -> bool {
    mode == CleanupEnforcement::Delete
        && inventory.needed_by_archived.contains(&inventory.images[image].digest)
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
            Self::Young(_) => 6,
            Self::Unmatched(_) => 7,
            Self::Newest => 8,
            Self::Native => 9,
            Self::Quarantined { .. } => 10,
            Self::Untagged | Self::UntaggedLately { .. } | Self::UntaggedReported { .. } => 11,
            Self::NeededByTaggedImage => 12,
            Self::Archived => 13,
            Self::NeededByArchivedIndex => 14,
            Self::Threatened(_) => 15,
            Self::Unconfirmed => 16,
        }
    }
}

impl<'a> RetentionPlan<'a> {
    /// The image in the inventory.
    #[must_use]
    pub fn image(&self, id: ImageId) -> &'a ImageRecord {
        &self.inventory.images[id]
    }

    /// Whether the plan removes neither an image nor a tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.untags.is_empty()
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

    /// The units that a rule keeps although enough units are newer.
    pub fn kept_beyond(&self) -> impl Iterator<Item = &UnitDecision> {
        let kept = self.keep_count();
        self.units.iter().filter(move |decided| {
            let is_beyond = decided.places.iter().all(|place| place.rank > kept);
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
        mode.unwrap_or(self.policy.governance.retention.enforcement)
    }

    /// The action on an image, by the unit that decides about it.
    #[must_use]
    pub fn mode_of(&self, image: ImageId) -> CleanupEnforcement {
        let decided_by = self.decided_by[image];
        decided_by.map_or(self.policy.governance.retention.enforcement, |unit| self.mode(unit))
    }

    /// Whether the unit is removed because it has no tag.
    fn is_untagged_removal(&self, removal: &UnitRemoval) -> bool {
        matches!(self.units[removal.unit].decision, Decision::Remove(RemoveReason::Untagged { .. }))
    }

    /// The hash that identifies this plan, its policy and the guard that stops it. It is the same for
    /// the same images with the same tags, in any order.
    #[must_use]
    pub fn hash(&self) -> String {
        let mode = self.policy.governance.retention.enforcement;
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
        usize::try_from(self.policy.governance.retention.keep_per_component).unwrap_or(usize::MAX)
    }

    /// Finds the unit that decides about each image, and returns the images that are removed. An
    /// image that a kept unit needs is kept, also where it is in a removed unit.
    fn schedule_removals(&mut self) -> Vec<UnitRemoval> {
        let root = |unit: UnitId| self.image(self.units[unit].unit.root);
        let mut decided_by: Arena<ImageId, Option<UnitId>> = self.inventory.images.map(|_| None);
        let mut removed: Vec<UnitId> = Vec::new();
        for (id, decided) in self.units.enumerate() {
            if matches!(decided.decision, Decision::Remove(_)) {
                removed.push(id);
                continue;
            }
            for image in decided.unit.images() {
                // Of several kept units, the one whose root has the smallest digest decides, so
                // that the result does not depend on the order of the list.
                let is_smaller = |other: UnitId| root(id).digest < root(other).digest;
                if decided_by[image].is_none_or(is_smaller) {
                    decided_by[image] = Some(id);
                }
            }
        }
        // Units that are archived come last: an image that one of them needs is then archived with
        // it, and not deleted with another unit.
        removed.sort_by_cached_key(|unit| {
            let is_archived = self.mode(*unit) == CleanupEnforcement::Archive;
            (is_archived, root(*unit).pushed_at, &root(*unit).digest)
        });
        let mut is_part = self.inventory.images.map(|_| false);
        for part in removed.iter().flat_map(|unit| &self.units[*unit].unit.parts) {
            is_part[*part] = true;
        }
        // A unit is removed as one of its own, unless it refers to an image that is kept, or it
        // is part of an index that is removed: ECR requires that the index is removed first.
        removed.retain(|unit| {
            let root = self.units[*unit].unit.root;
            let is_removed = !is_part[root] && decided_by[root].is_none();
            if is_removed {
                decided_by[root] = Some(*unit);
            }
            is_removed
        });
        // An image that several units need is removed with the last of them: until then, ECR
        // refuses to remove it.
        let mut removals = Vec::with_capacity(removed.len());
        for id in removed.into_iter().rev() {
            let mode = self.mode(id);
            let mut take = |image: &ImageId| {
                if decided_by[*image].is_some() {
                    return false;
                }
                decided_by[*image] = Some(id);
                self.is_to_go(*image, mode)
            };
            let Unit { root, parts, referrers } = &self.units[id].unit;
            let parts: Vec<ImageId> = parts.iter().copied().filter(&mut take).collect();
            let images = std::iter::once(*root).chain(parts).collect();
            let referrers = referrers.iter().copied().filter(&mut take).collect();
            removals.push(UnitRemoval { unit: id, images, referrers });
        }
        removals.reverse();
        self.decided_by = decided_by;
        removals
    }

    /// Whether an image of a removed unit is removed. An archived image expires by a lifecycle
    /// rule of ECR, and no rule was asked about it. An image that an archived index needs is not
    /// deleted.
    fn is_to_go(&self, image: ImageId, mode: CleanupEnforcement) -> bool {
        self.image(image).status != ImageStatus::Archived && !is_held(mode, self.inventory, image)
    }

    /// The quarantine tags of images that have an accepted tag. They are removed
    /// only where the policy quarantines: there no tag can be moved to another image.
    fn quarantine_tags(&self, facts: &Arena<ImageId, Facts>) -> Vec<(ImageId, Tag)> {
        use crate::policy::TagEnforcement::Quarantine;
        if self.policy.governance.tags.enforcement != Quarantine {
            return vec![];
        }
        let mut is_removed = facts.map(|_| false);
        for image in self.removals.iter().flat_map(UnitRemoval::all) {
            is_removed[image] = true;
        }
        let mut tags = Vec::new();
        for (image, facts) in facts.enumerate().filter(|(image, _)| !is_removed[*image]) {
            if self.image(image).status == ImageStatus::Active && facts.has_accepted_tag {
                tags.extend(facts.quarantine_tags.iter().map(|tag| (image, tag.clone())));
            }
        }
        tags.sort_by(|(_, one), (_, other)| one.cmp(other));
        tags
    }

    /// The guard that stops the plan, if any.
    fn guard(&self, running: &RunningImages) -> Option<PlanBlocker> {
        if self.removals.is_empty() {
            return None;
        }
        let retention = &self.policy.governance.retention;
        if retention.in_use == InUse::Inspector && running.is_empty() {
            return Some(PlanBlocker::NothingInUse);
        }
        let goes = |unit: &UnitId| matches!(self.units[*unit].decision, Decision::Remove(_));
        // The newest images of each group are kept, so only a bug in a rule can get here.
        let emptied = |group: &&Group| !group.units.is_empty() && group.units.iter().all(goes);
        if let Some(group) = self.groups.iter().find(emptied) {
            return Some(PlanBlocker::Emptied(group.key.to_string()));
        }
        // Untagged images do not count, neither as removed nor as present.
        let (untagged, counted): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) =
            self.removals.iter().partition(|removal| self.is_untagged_removal(removal));
        let is_there = |image: &&ImageRecord| image.status != ImageStatus::Archived;
        let removed = counted.iter().flat_map(|removal| removal.all()).count();
        let of = self.inventory.images.iter().filter(is_there).count()
            - untagged.iter().flat_map(|removal| removal.all()).count();
        let percent = retention.max_remove_percent;
        let allowed = of.saturating_mul(usize::try_from(percent).unwrap_or_default()) / 100;
        let is_few = counted.len() <= ALWAYS_ALLOWED;
        (!is_few && removed > allowed).then_some(PlanBlocker::TooMany { removed, of, percent })
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
fn short_hash(text: &str) -> String {
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
