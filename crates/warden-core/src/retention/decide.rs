//! The decision about each unit. Counts the versions of each group, and applies the rules to every
//! image of a unit.

use std::cmp::Reverse;
use std::collections::HashSet;

use chrono::{DateTime, Days, Utc};

use super::rules::{CountedTags, Facts};
use super::{Decision, Group, KeepReason, RemoveReason, UnitDecision, UnknownReason, VersionRank};
use crate::arena::{Arena, GroupId, ImageId, UnitId};
use crate::graph::{Graph, Inventory, Unit};
use crate::image::{Digest, ImageStatus};
use crate::lifecycle::native::LifecycleThreat;
use crate::policy::{CleanupEnforcement, LifecycleScope, Policy, Retention};
use crate::untagged::{has_tag, is_untagged, prefix_of};

/// Puts the units into the groups in which they are counted. Returns the ranks of each unit.
pub(super) fn rank_units(
    inventory: &Inventory,
    graph: &Graph,
    facts: &Arena<ImageId, Facts>,
    groups: &mut Arena<GroupId, Group>,
) -> Arena<UnitId, Vec<VersionRank>> {
    let images = &inventory.images;
    // A unit takes one place in a group, by its newest image there. An image that is a part of
    // many units takes one place for all of them, so that they do not crowd out other units.
    let mut counted: Arena<GroupId, Vec<CountedImage<'_>>> = groups.map(|_| vec![]);
    for (id, unit) in graph.units.enumerate() {
        let root = &images[unit.root];
        // An untagged index counts as a version if one of its parts has the tag of a version.
        let is_named = root.subjects().next().is_some() || has_tag(inventory, unit);
        // An archived image cannot be pulled, so it does not count as a version. Neither does an
        // untagged image.
        let is_counted = root.status != ImageStatus::Archived
            && is_named
            && !graph.circular.contains(&unit.root);
        if !is_counted {
            continue;
        }
        for tags in &facts[unit.root].groups {
            counted[tags.group].push(CountedImage::new(inventory, unit.root, id, tags));
        }
        // A referrer is not a version of this unit. If it has tags, it is the root of another unit.
        let is_part =
            |image: &ImageId| *image != unit.root && images[*image].subjects().next().is_none();
        for part in unit.images().filter(is_part) {
            for tags in &facts[part].groups {
                counted[tags.group].push(CountedImage::new(inventory, part, id, tags));
            }
        }
    }
    let mut places: Arena<UnitId, Vec<VersionRank>> = graph.units.map(|_| vec![]);
    for id in groups.ids() {
        let (group, counted) = (&mut groups[id], &mut counted[id]);
        // The push of the image and the digest make the order of equal tags the same in each run. An image whose
        // push is unknown comes last.
        counted.sort_by_cached_key(|counted| {
            let image = &images[counted.image];
            (Reverse(counted.pushed_at), Reverse(image.pushed_at), &image.digest)
        });
        let (ranks, count) = rank_in_order(counted, |one, other| one.pushed_at == other.pushed_at);
        group.count = count;
        for (unit, by_push) in ranks {
            places[unit].reserve_exact(1);
            places[unit].push(VersionRank { group: id, by_push, by_version: None });
            group.units.push(unit);
        }
        counted.retain(|counted| counted.tags.version.is_some());
        // The sort is stable: of equal versions, the newest comes first.
        counted.sort_by_key(|counted| Reverse(counted.tags.version.as_ref()));
        let are_equal = |one: &CountedImage<'_>, other: &CountedImage<'_>| {
            one.tags.version == other.tags.version && one.pushed_at == other.pushed_at
        };
        for (unit, rank) in rank_in_order(counted, are_equal).0 {
            // The place in this group was added last.
            if let Some(place) = places[unit].last_mut() {
                place.by_version = Some(rank);
            }
        }
    }
    places
}

/// An image of a unit, with the tags by which the image is counted in a group.
struct CountedImage<'a> {
    image: ImageId,
    unit: UnitId,
    tags: &'a CountedTags,
    /// The latest push of one of the tags. None if the push of the image is unknown.
    pushed_at: Option<DateTime<Utc>>,
}

impl<'a> CountedImage<'a> {
    fn new(inventory: &Inventory, image: ImageId, unit: UnitId, tags: &'a CountedTags) -> Self {
        let pushed_at = inventory.images[image].pushed_at.and(tags.pushed_at);
        Self { image, unit, tags, pushed_at }
    }
}

/// Returns the rank of each unit of a group, and the number of counted images. `counted` is sorted. Equal images
/// have the same rank, because ECR Warden does not know which of them is newer.
fn rank_in_order(
    counted: &[CountedImage<'_>],
    are_equal: impl Fn(&CountedImage<'_>, &CountedImage<'_>) -> bool,
) -> (Vec<(UnitId, usize)>, usize) {
    let (mut seen, mut ranks) = (HashSet::new(), vec![]);
    let (mut count, mut rank, mut before) = (0, 0, None);
    for units_of_image in counted.chunk_by(|one, other| one.image == other.image) {
        let units = units_of_image.iter().map(|counted| counted.unit);
        let new: Vec<UnitId> = units.filter(|unit| seen.insert(*unit)).collect();
        if new.is_empty() {
            continue;
        }
        let Some(image) = units_of_image.first() else { continue };
        count += 1;
        if before.is_none_or(|before| !are_equal(before, image)) {
            rank = count;
        }
        before = Some(image);
        ranks.extend(new.into_iter().map(|unit| (unit, rank)));
    }
    (ranks, count)
}

/// Decides about a unit. Applies every rule to every image of the unit.
pub(super) fn decide_unit(
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
    let Some(retention) = &policy.retention else {
        return keep(KeepReason::NoRetention);
    };
    let untagged = policy.untagged_mode().filter(|_| is_untagged(inventory, unit));
    let mode = untagged.unwrap_or(retention.enforcement);
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
        return decide_untagged_unit(retention, inventory, unit, mode, now);
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
    // An image with an accepted tag, such as a chart that refers to the root, is not in quarantine: its
    // quarantine tags are removed. The latest quarantine counts.
    let quarantined = unit.images().filter(|image| !facts[*image].has_accepted_tag);
    let since = quarantined.filter_map(|image| facts[image].quarantined_since).max();
    let days = policy.tags.as_ref().map(|tags| Days::new(tags.quarantine_days.into()));
    let quarantine =
        since.zip(days).and_then(|(since, days)| Some((since, since.checked_add_days(days)?)));
    if !places.is_empty() {
        let kept = usize::try_from(retention.keep).unwrap_or(usize::MAX);
        return match policy.lifecycle_scope {
            LifecycleScope::Repository => keep(KeepReason::Native),
            LifecycleScope::Component if places.iter().any(|place| place.best() <= kept) => {
                keep(KeepReason::Newest)
            }
            // The alert of the quarantine says until which day the image stays.
            LifecycleScope::Component => match quarantine {
                Some((_, until)) if until > now.date_naive() => {
                    keep(KeepReason::Quarantined { until })
                }
                _ => Decision::Remove(RemoveReason::BeyondKeepCount),
            },
        };
    }
    // All other tags are quarantine tags or have expired.
    match (quarantine, orphan_of) {
        (Some((since, until)), _) if until <= now.date_naive() => {
            Decision::Remove(RemoveReason::QuarantineOver { since })
        }
        (Some((_, until)), _) => keep(KeepReason::Quarantined { until }),
        (None, Some(subject)) => Decision::Remove(RemoveReason::Orphan(subject)),
        (None, None) => {
            let expired = unit.images().filter_map(|image| facts[image].expired.clone());
            match expired.max_by_key(|(_, at)| *at) {
                Some((tag, at)) => Decision::Remove(RemoveReason::Expired { tag, at }),
                None => keep(KeepReason::Untagged),
            }
        }
    }
}

/// Decides about a unit without a tag that no other rule keeps. The days begin with the latest push
/// of an image of the unit.
fn decide_untagged_unit(
    retention: &Retention,
    inventory: &Inventory,
    unit: &Unit,
    mode: CleanupEnforcement,
    now: DateTime<Utc>,
) -> Decision {
    let keep = |keep| Decision::Keep(keep, unit.root);
    let pushed = unit.images().filter_map(|image| inventory.images[image].pushed_at).max();
    // An image that no sweep has recorded was first seen now.
    let seen =
        inventory.untagged.get(prefix_of(&inventory.images[unit.root].digest)).unwrap_or(now);
    let since = pushed.map_or(seen, |pushed| pushed.max(seen));
    let days = Days::new(retention.untagged_days.into());
    if since.checked_add_days(days).is_none_or(|end| end >= now) {
        return keep(KeepReason::UntaggedLately { since });
    }
    match mode {
        // Where the whole cleanup reports, the plan has the untagged images too.
        CleanupEnforcement::Report if retention.enforcement != mode => {
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
pub(super) fn threat_to(
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
pub(super) fn removal_mode(policy: &Policy, decision: &Decision) -> Option<CleanupEnforcement> {
    match decision {
        Decision::Keep(..) => None,
        Decision::Remove(RemoveReason::Untagged { .. }) => policy.untagged_mode(),
        Decision::Remove(_) => Some(policy.cleanup()),
    }
}

/// Keeps an untagged unit, and the unit of an orphan, if one of its images has a tag and is kept as the
/// root of another unit: for example a tagged chart whose untagged subject is the root of the unit.
pub(super) fn keep_subjects_of_tagged_images(units: &mut Arena<UnitId, UnitDecision>) {
    let is_untagged_removal = |decided: &&UnitDecision| {
        matches!(decided.decision, Decision::Remove(RemoveReason::Untagged { .. }))
    };
    let is_orphan_removal = |decided: &UnitDecision| {
        matches!(decided.decision, Decision::Remove(RemoveReason::Orphan(_)))
    };
    if !units.iter().any(|decided| is_untagged_removal(&decided) || is_orphan_removal(decided)) {
        return;
    }
    let roots = |units: &Arena<UnitId, UnitDecision>, holds: &dyn Fn(&&UnitDecision) -> bool| {
        let roots = units.iter().filter(holds).map(|decided| decided.unit.root);
        roots.collect::<HashSet<ImageId>>()
    };
    // An archived image can be restored, and then needs the untagged image that it refers to.
    let need_untagged = roots(units, &|decided| !is_untagged_removal(decided));
    let kept = roots(units, &|decided| matches!(decided.decision, Decision::Keep(..)));
    for id in units.ids() {
        let decided = &units[id];
        let root = decided.unit.root;
        let has_any =
            |roots: &HashSet<ImageId>| decided.unit.images().any(|image| roots.contains(&image));
        if is_untagged_removal(&decided) && has_any(&need_untagged)
            || is_orphan_removal(decided) && has_any(&kept)
        {
            units[id].decision = Decision::Keep(KeepReason::NeededByTaggedImage, root);
        }
    }
}

/// Keeps the unit whose tag expired last, if no other tagged image of the repository would be left.
pub(super) fn keep_last_image(inventory: &Inventory, units: &mut Arena<UnitId, UnitDecision>) {
    let is_left = |decided: &UnitDecision| {
        let is_active = inventory.images[decided.unit.root].status != ImageStatus::Archived;
        let is_kept = matches!(decided.decision, Decision::Keep(..));
        is_kept && is_active && has_tag(inventory, &decided.unit)
    };
    if units.iter().any(is_left) {
        return;
    }
    let expired = units.enumerate().filter_map(|(id, decided)| match &decided.decision {
        Decision::Remove(RemoveReason::Expired { at, .. }) => Some((*at, id)),
        _ => None,
    });
    let last = expired.max_by_key(|(at, id)| (*at, &inventory.images[units[*id].unit.root].digest));
    if let Some((_, last)) = last {
        let root = units[last].unit.root;
        units[last].decision = Decision::Keep(KeepReason::Last, root);
    }
}

/// Keeps orphans in a repository that has only referrers. Such a repository probably has the signatures of images
/// of another repository, as with `COSIGN_REPOSITORY`.
pub(super) fn keep_orphans_among_only_referrers(
    inventory: &Inventory,
    units: &mut Arena<UnitId, UnitDecision>,
) {
    if inventory.images.iter().any(|image| image.subjects().next().is_none()) {
        return;
    }
    for id in units.ids() {
        if matches!(units[id].decision, Decision::Remove(RemoveReason::Orphan(_))) {
            units[id].decision = Decision::Keep(KeepReason::OnlyReferrers, units[id].unit.root);
        }
    }
}

/// Whether an archived index needs the image and the policy would delete the image. Archiving the
/// image does not harm the index.
pub(super) fn is_held(mode: CleanupEnforcement, inventory: &Inventory, image: ImageId) -> bool {
    mode == CleanupEnforcement::Delete
        && inventory.needed_by_archived.contains(&inventory.images[image].digest)
}
