//! What is kept, what goes, and why: a plan for a whole repository.
//!
//! Rules only say what to keep. A unit ([`Unit`]) goes when every rule has been asked of every
//! image in it and none keeps it; what is unknown, unmatched or unparsable is kept. A plan that
//! would take too much away is stopped as a whole ([`Stop`]).
//!
//! In reading order: [`plan`], [`Keep`] with the rules, [`Because`], [`Stop`], and what can be
//! asked of a [`Plan`].

mod rules;
mod show;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use crate::arena::{Arena, GroupId, ImageId, UnitId};
use crate::graph::{Graph, Inventory, Listed, Unit};
use crate::image::{Component, Digest, ImageStatus, Tag, TagPrefix, Wildcard};
use crate::policy::{InUse, LifecycleScope, Policy};
use rules::Facts;
pub(crate) use rules::says_channel;

/// So many units may go in a run, whatever share of the repository they are: in a small one
/// each is a large share.
const ALWAYS_ALLOWED: usize = 20;
/// How many digits of the hash of a plan are shown and asked for.
const HASH_DIGITS: usize = 16;

/// On how many workloads each image runs, by what the policy says tells it, and 0 where it ran
/// lately; empty where only pulls tell.
pub type Running = HashMap<Digest, u64>;

/// What is done with a repository's images, and why.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// What is governed, and how.
    pub policy: &'a Policy,
    /// What there is.
    pub inventory: &'a Inventory,
    /// What becomes of each unit.
    pub units: Arena<UnitId, Decided>,
    /// What goes, the oldest first.
    pub removals: Vec<Removal>,
    /// Quarantine tags beside conforming ones, which go alone.
    pub untags: Vec<(ImageId, Tag)>,
    /// Why nothing goes after all.
    pub stopped: Option<Stop>,
    groups: Arena<GroupId, Group>,
    /// The unit that decides about each image.
    decided_by: Arena<ImageId, Option<UnitId>>,
}

/// A unit, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The unit.
    pub unit: Unit,
    /// What becomes of it.
    pub fate: Fate,
    /// Its places among those that are counted with it, from the newest, which is 1.
    places: Vec<Place>,
}

/// Where a unit stands among those that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    group: GroupId,
    rank: usize,
}

/// What becomes of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for what is known of this image of it.
    Keep(Keep, ImageId),
    /// It goes.
    Remove(Because),
}

/// Why a unit stays, the strongest reason first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Something about it cannot be known.
    Unknown(Unknown),
    /// A tag is protected by [`crate::policy::Retention::protect_tags`].
    Protected(Tag, Wildcard),
    /// It runs so many times.
    InUse(u64),
    /// A tag that is moved from version to version points at it.
    Channel(Tag),
    /// It was pulled within [`crate::policy::Retention::protect_pulled_within_days`].
    Pulled(DateTime<Utc>),
    /// It came, or comes, back from the archive: somebody wants it.
    Restored(Option<DateTime<Utc>>),
    /// It was pushed within [`crate::policy::Retention::minimum_age_days`].
    Young(DateTime<Utc>),
    /// A tag neither conforms nor has a prefix that is counted.
    Unmatched(Tag),
    /// It is among the newest that are counted together.
    Newest,
    /// [`LifecycleScope::Repository`]: ECR counts.
    Native,
    /// It waits to be restored for a few days more.
    Quarantined {
        /// The first day on which it may go.
        until: NaiveDate,
    },
    /// It has no tag: ECR's own rule sees to it.
    Untagged,
    /// It is in the archive already, and expires there by ECR's own rule.
    Archived,
}

/// What cannot be known, and so keeps an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// ECR does not say when it was pushed.
    Push,
    /// It has a tag that is none by OCI, or a subject of another kind.
    Odd,
    /// What it refers to is not listed, and may be there.
    Subject,
    /// What it refers to refers to it, by their tags.
    Circle,
}

/// Why a unit goes: no rule keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// There are enough newer ones of everything that it is counted as.
    Beyond,
    /// Its days in quarantine are over.
    QuarantineOver {
        /// The day it began.
        since: NaiveDate,
    },
    /// What it refers to is gone.
    Orphan(Digest),
}

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing of this component, or prefix, would be left.
    Emptied(String),
    /// More would go than [`crate::policy::Retention::max_remove_percent`] allows.
    TooMany {
        /// So many images would go.
        removed: usize,
        /// Of so many that are not in the archive.
        of: usize,
        /// And so many per cent may.
        percent: u32,
    },
    /// What tells that images run names none: it may not see them.
    NothingInUse,
}

/// A unit that goes, or as much of it as nothing else needs, each image with the last unit that
/// it goes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The unit.
    pub unit: UnitId,
    /// The image itself and then what it needs, an index before its images.
    pub images: Vec<ImageId>,
    /// What refers to those.
    pub referrers: Vec<ImageId>,
}

/// What is counted together.
#[derive(Clone, Debug)]
struct Group {
    key: Key,
    /// The units in it, the newest first.
    units: Vec<UnitId>,
    /// How many images are called so, as they are counted.
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Component(Component),
    Prefix(TagPrefix),
}

/// Decides for a whole repository.
#[must_use]
pub fn plan<'a>(
    policy: &'a Policy,
    inventory: &'a Inventory,
    graph: Graph,
    running: &Running,
    now: DateTime<Utc>,
) -> Plan<'a> {
    let (facts, mut groups) = rules::look(policy, inventory, running, now);
    let places = count(inventory, &graph, &facts, &mut groups);
    let decide = |(unit, places): (Unit, Vec<Place>)| {
        let fate = if graph.circular.contains(&unit.root) {
            Fate::Keep(Keep::Unknown(Unknown::Circle), unit.root)
        } else {
            fate(policy, inventory, &facts, &unit, &places, now)
        };
        Decided { unit, fate, places }
    };
    let units = graph.units.into_iter().zip(places).map(decide).collect();
    let mut plan = Plan {
        policy,
        inventory,
        units,
        removals: vec![],
        untags: vec![],
        stopped: None,
        groups,
        decided_by: Arena::default(),
    };
    plan.removals = plan.settle();
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
) -> Arena<UnitId, Vec<Place>> {
    let images = &inventory.images;
    // A part may be in many units. They would crowd out what is called so itself: it counts once,
    // by its own push, for each of them.
    let mut counted: Arena<GroupId, Vec<(ImageId, UnitId)>> = groups.map(|_| vec![]);
    for (id, unit) in graph.units.enumerate() {
        let root = &images[unit.root];
        let is_called = root.own_tags().next().is_some() || root.subjects().next().is_some();
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
        let mut before = None;
        for (image, unit) in counted {
            group.count += usize::from(before.replace(*image) != Some(*image));
            places[*unit].push(Place { group: id, rank: group.count });
            group.units.push(*unit);
        }
    }
    places
}

/// Asks every rule of every image of a unit.
fn fate(
    policy: &Policy,
    inventory: &Inventory,
    facts: &Arena<ImageId, Facts>,
    unit: &Unit,
    places: &[Place],
    now: DateTime<Utc>,
) -> Fate {
    let keep = |keep| Fate::Keep(keep, unit.root);
    let images = &inventory.images;
    let root = &images[unit.root];
    if root.status == ImageStatus::Archived {
        return keep(Keep::Archived);
    }
    let reasons = unit.images().filter_map(|image| Some((image, facts[image].keep.as_ref()?)));
    let strongest = reasons.min_by_key(|(image, keep)| (keep.strength(), &images[*image].digest));
    if let Some((image, strongest)) = strongest {
        return Fate::Keep(strongest.clone(), image);
    }
    let mut orphan_of = None;
    if root.own_tags().next().is_none() {
        let mut subjects = root.subjects();
        let Some(subject) = subjects.next() else { return keep(Keep::Untagged) };
        let are_gone = inventory.gone.contains(&subject)
            && subjects.all(|subject| inventory.gone.contains(&subject));
        if !are_gone {
            return keep(Keep::Unknown(Unknown::Subject));
        }
        // A part that is called something is something, whatever becomes of the rest.
        orphan_of = Some(subject);
    }
    if !places.is_empty() {
        let retention = &policy.governance.retention;
        let kept = usize::try_from(retention.keep_per_component).unwrap_or(usize::MAX);
        return match policy.lifecycle_scope {
            LifecycleScope::Repository => keep(Keep::Native),
            LifecycleScope::Component if places.iter().any(|place| place.rank <= kept) => {
                keep(Keep::Newest)
            }
            LifecycleScope::Component => Fate::Remove(Because::Beyond),
        };
    }
    // Every tag that is left is of a quarantine; the last one counts.
    let since = unit.images().filter_map(|image| facts[image].quarantined_since).max();
    let days = chrono::Days::new(policy.governance.tags.quarantine_days.into());
    match (since.and_then(|since| Some((since, since.checked_add_days(days)?))), orphan_of) {
        (Some((since, until)), _) if until <= now.date_naive() => {
            Fate::Remove(Because::QuarantineOver { since })
        }
        (Some((_, until)), _) => keep(Keep::Quarantined { until }),
        (None, Some(subject)) => Fate::Remove(Because::Orphan(subject)),
        (None, None) => keep(Keep::Untagged),
    }
}

impl Keep {
    /// Its place among the reasons: of several the strongest is given.
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
            Self::Untagged => 11,
            Self::Archived => 12,
        }
    }
}

impl<'a> Plan<'a> {
    /// The image in the inventory.
    #[must_use]
    pub fn image(&self, id: ImageId) -> &'a Listed {
        &self.inventory.images[id]
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.untags.is_empty()
    }

    /// The images that go, each once.
    pub fn removed(&self) -> impl Iterator<Item = &'a Listed> + '_ {
        self.removals.iter().flat_map(Removal::all).map(|image| self.image(image))
    }

    /// The bytes of what goes; layers that others have too are counted, and stay.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removed().map(|image| image.bytes).sum()
    }

    /// What is kept although there are enough newer ones: for a reason that is worth telling.
    pub fn kept_beyond(&self) -> impl Iterator<Item = &Decided> {
        let kept = self.keep_count();
        self.units.iter().filter(move |decided| {
            let is_beyond = decided.places.iter().all(|place| place.rank > kept);
            is_beyond && !decided.places.is_empty() && matches!(decided.fate, Fate::Keep(..))
        })
    }

    /// The unit that decides about an image. None for indexes that need each other, and for
    /// their images.
    #[must_use]
    pub fn decided(&self, image: ImageId) -> Option<&Decided> {
        self.decided_by[image].map(|unit| &self.units[unit])
    }

    /// What tells this plan from others: the same for the same images with the same tags, in any
    /// order.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut lines: Vec<String> = self
            .removed()
            .map(|image| {
                let mut tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
                tags.sort_unstable();
                format!("{} {}", image.digest, tags.join(" "))
            })
            .collect();
        let untags = self.untags.iter();
        lines.extend(
            untags.map(|(image, tag)| format!("{} without {tag}", self.image(*image).digest)),
        );
        lines.sort_unstable();
        let mode = self.policy.governance.retention.enforcement;
        lines.insert(0, format!("{} {mode}", self.policy.repository_name));
        let hash = Sha256::digest(lines.join("\n"));
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.chars().take(HASH_DIGITS).collect()
    }

    fn keep_count(&self) -> usize {
        usize::try_from(self.policy.governance.retention.keep_per_component).unwrap_or(usize::MAX)
    }

    /// Settles which unit decides about each image, and gives what goes. What a unit that is
    /// kept needs is kept with it, whatever else it is in.
    fn settle(&mut self) -> Vec<Removal> {
        let root = |unit: UnitId| self.image(self.units[unit].unit.root);
        let mut decided_by: Arena<ImageId, Option<UnitId>> = self.inventory.images.map(|_| None);
        let mut removed: Vec<UnitId> = Vec::new();
        for (id, decided) in self.units.enumerate() {
            if matches!(decided.fate, Fate::Remove(_)) {
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
        removed.sort_by_cached_key(|unit| (root(*unit).pushed_at, &root(*unit).digest));
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
            let mut take = |image: &ImageId| {
                if decided_by[*image].is_some() {
                    return false;
                }
                decided_by[*image] = Some(id);
                self.is_to_go(*image)
            };
            let Unit { root, parts, referrers } = &self.units[id].unit;
            let parts: Vec<ImageId> = parts.iter().copied().filter(&mut take).collect();
            let images = std::iter::once(*root).chain(parts).collect();
            let referrers = referrers.iter().copied().filter(&mut take).collect();
            removals.push(Removal { unit: id, images, referrers });
        }
        removals.reverse();
        self.decided_by = decided_by;
        removals
    }

    /// Whether something is left to be done about an image that goes. What is in the archive
    /// expires there, and no rule was asked of it.
    fn is_to_go(&self, image: ImageId) -> bool {
        self.image(image).status != ImageStatus::Archived
    }

    /// The quarantine tags that an image has although it conforms by now. They are only ours
    /// to take where the policy gives them: there no tag can be moved to another image.
    fn quarantine_tags(&self, facts: &Arena<ImageId, Facts>) -> Vec<(ImageId, Tag)> {
        use crate::policy::TagEnforcement::Quarantine;
        if self.policy.governance.tags.enforcement != Quarantine {
            return vec![];
        }
        let mut is_removed = facts.map(|_| false);
        for image in self.removals.iter().flat_map(Removal::all) {
            is_removed[image] = true;
        }
        let mut tags = Vec::new();
        for (image, facts) in facts.enumerate().filter(|(image, _)| !is_removed[*image]) {
            if self.image(image).status == ImageStatus::Active && facts.conforms {
                tags.extend(facts.quarantine_tags.iter().map(|tag| (image, tag.clone())));
            }
        }
        tags.sort_by(|(_, one), (_, other)| one.cmp(other));
        tags
    }

    /// What speaks against carrying it out.
    fn guard(&self, running: &Running) -> Option<Stop> {
        if self.removals.is_empty() {
            return None;
        }
        let retention = &self.policy.governance.retention;
        if retention.in_use == InUse::Inspector && running.is_empty() {
            return Some(Stop::NothingInUse);
        }
        let goes = |unit: &UnitId| matches!(self.units[*unit].fate, Fate::Remove(_));
        // The newest are kept: it takes a mistake of ours to get here.
        let emptied = |group: &&Group| !group.units.is_empty() && group.units.iter().all(goes);
        if let Some(group) = self.groups.iter().find(emptied) {
            return Some(Stop::Emptied(group.key.to_string()));
        }
        let is_there = |image: &&Listed| image.status != ImageStatus::Archived;
        let (removed, of) =
            (self.removed().count(), self.inventory.images.iter().filter(is_there).count());
        let percent = retention.max_remove_percent;
        let allowed = of.saturating_mul(usize::try_from(percent).unwrap_or_default()) / 100;
        let is_few = self.removals.len() <= ALWAYS_ALLOWED;
        (!is_few && removed > allowed).then_some(Stop::TooMany { removed, of, percent })
    }
}

impl Removal {
    /// All of it.
    #[must_use]
    pub fn all(&self) -> impl DoubleEndedIterator<Item = ImageId> + '_ {
        self.images.iter().chain(&self.referrers).copied()
    }
}
