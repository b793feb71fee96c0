//! The changes of a plan: the removals in the order of ECR, the quarantine tags that are removed, and
//! the guards that stop a plan.

use super::decide::is_held;
use super::rules::Facts;
use super::{Decision, Group, PlanBlocker, RetentionPlan, RunningImages, UnitRemoval};
use crate::arena::{Arena, ImageId, UnitId};
use crate::graph::{ImageRecord, Unit};
use crate::image::{ImageStatus, Tag};
use crate::mutability::{Mutability, tag_can_move};
use crate::policy::{CleanupEnforcement, InUse, TagEnforcement};
use crate::tagging::keeps_accepted_tag;

/// The number of units that a run may always remove. In a small repository, each unit is a large
/// share of the images.
const ALWAYS_ALLOWED: usize = 20;

impl RetentionPlan<'_> {
    /// Finds the unit that decides about each image, and returns the images that are removed. An
    /// image that a kept unit needs is kept, also if it belongs to a removed unit too.
    pub(super) fn schedule_removals(&mut self) -> Vec<UnitRemoval> {
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
        // A unit is removed by itself, unless a kept unit needs its root, or the root is a part of
        // an index that is removed: ECR requires that the index is removed first.
        removed.retain(|unit| {
            let root = self.units[*unit].unit.root;
            let is_removed = !is_part[root] && decided_by[root].is_none();
            if is_removed {
                decided_by[root] = Some(*unit);
            }
            is_removed
        });
        // Referrers are removed after all other images. So is a part of an index that is a referrer,
        // also if the part belongs to another unit.
        let mut is_of_referrer = self.inventory.images.map(|_| false);
        for image in removed.iter().flat_map(|unit| &self.units[*unit].unit.referrers) {
            is_of_referrer[*image] = true;
        }
        // An image that several units need is removed with the last of them: until then, ECR
        // refuses to remove it.
        let mut removals = Vec::with_capacity(removed.len());
        for id in removed.into_iter().rev() {
            let mode = self.mode(id);
            let mut claim = |image: &ImageId| {
                if decided_by[*image].is_some() {
                    return false;
                }
                decided_by[*image] = Some(id);
                self.is_removable(*image, mode)
            };
            let Unit { root, parts, referrers } = &self.units[id].unit;
            let parts: Vec<ImageId> = parts.iter().copied().filter(&mut claim).collect();
            let (late, parts): (Vec<ImageId>, Vec<ImageId>) =
                parts.into_iter().partition(|part| is_of_referrer[*part]);
            let images = std::iter::once(*root).chain(parts).collect();
            let referrers = referrers.iter().copied().filter(&mut claim).chain(late).collect();
            removals.push(UnitRemoval { unit: id, images, referrers });
        }
        removals.reverse();
        self.decided_by = decided_by;
        removals
    }

    /// Whether an image of a removed unit is removed. An archived image stays, because a lifecycle
    /// rule of ECR expires it. An image that an archived index needs is not deleted.
    pub(super) fn is_removable(&self, image: ImageId, mode: CleanupEnforcement) -> bool {
        self.image(image).status != ImageStatus::Archived && !is_held(mode, self.inventory, image)
    }

    /// The quarantine tags of images that have an accepted tag. The tags are removed only if the
    /// policy quarantines, and only if [`RetentionPlan::keep_tags_that_can_move`] leaves them in the
    /// plan.
    pub(super) fn quarantine_tags(&self, facts: &Arena<ImageId, Facts>) -> Vec<(ImageId, Tag)> {
        if self.policy.tag_enforcement() != TagEnforcement::Quarantine {
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

    /// Leaves out the removal of each quarantine tag that a push could move to another image, and of
    /// each quarantine tag whose image has no other accepted tag than tags that a push could move.
    /// Between the check and the removal, such a tag could be gone, and ECR deletes an image with its
    /// last tag.
    pub fn keep_tags_that_can_move(&mut self, mutability: Option<&Mutability>) {
        let (policy, images) = (self.policy, &self.inventory.images);
        self.untags.retain(|(image, tag)| {
            !tag_can_move(mutability, tag)
                && keeps_accepted_tag(policy, &images[*image].tags, mutability)
        });
    }

    /// The guard that stops the plan, if any.
    pub(super) fn guard(&self, running: &RunningImages) -> Option<PlanBlocker> {
        if self.removals.is_empty() {
            return None;
        }
        let retention = self.policy.retention.as_ref()?;
        if self.policy.in_use == InUse::Inspector && running.is_empty() {
            return Some(PlanBlocker::NothingInUse);
        }
        let is_removed = |unit: &UnitId| matches!(self.units[*unit].decision, Decision::Remove(_));
        // The newest images of each group are kept, so only a bug in a rule can empty a group.
        let is_emptied =
            |group: &&Group| !group.units.is_empty() && group.units.iter().all(is_removed);
        if let Some(group) = self.groups.iter().find(is_emptied) {
            return Some(PlanBlocker::Emptied(self.name_of(group)));
        }
        // Untagged images do not count, neither as removed nor as present.
        let (untagged, counted): (Vec<&UnitRemoval>, Vec<&UnitRemoval>) =
            self.removals.iter().partition(|removal| self.is_untagged_removal(removal));
        let is_present = |image: &&ImageRecord| image.status != ImageStatus::Archived;
        let removed = counted.iter().flat_map(|removal| removal.all()).count();
        let present = self.inventory.images.iter().filter(is_present).count()
            - untagged.iter().flat_map(|removal| removal.all()).count();
        let percent = retention.max_remove_percent;
        let allowed = present.saturating_mul(usize::try_from(percent).unwrap_or_default()) / 100;
        let is_few = counted.len() <= ALWAYS_ALLOWED;
        let is_report = self.policy.cleanup() == CleanupEnforcement::Report;
        let blocker = PlanBlocker::TooMany { removed, of: present, percent };
        (!is_report && !is_few && removed > allowed).then_some(blocker)
    }
}
