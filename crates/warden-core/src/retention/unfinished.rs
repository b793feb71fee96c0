//! Units whose removal was interrupted. A sweep finishes or restores each of them before it plans
//! anything else.
//!
//! ECR has no transaction: the removal of a unit of five images takes five calls, and a function can
//! be killed between two calls. A unit must not stay half removed. An index without its images cannot
//! be pulled, and native lifecycle rules expire images whose index is archived.
//!
//! See the cases A1 and A2 in `docs/contributing/prior-art.md`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Decision, KeepReason, RetentionPlan, UnknownReason};
use crate::arena::ImageId;
use crate::image::{Digest, ImageStatus};
use crate::policy::TagEnforcement;
use crate::tagging::is_accepted_tag;

/// The function that removes a unit, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitRemover {
    /// Enforcement archives an image whose tags break the rules.
    EnforcementArchives,
    /// A sweep archives an image that no rule keeps.
    SweepArchives,
    /// A sweep deletes an image that no rule keeps.
    SweepDeletes,
}

/// A unit whose removal has begun. The record is written before the first call. A unit of one image
/// needs no record. The record also lists the images that an archived index needs, because ECR
/// returns no manifest of an archived index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The image that no other image needs.
    pub root: Digest,
    /// The images that are removed with the root: its parts and then the referrers.
    pub removed: Vec<Digest>,
    /// The images of the unit that stay, because another unit needs them.
    pub shared: Vec<Digest>,
    /// The function that removes the unit, and how.
    pub remover: UnitRemover,
    /// When the removal began.
    pub began: DateTime<Utc>,
}

impl UnitRecord {
    /// The root, the parts and the referrers, including the images that another unit needs. The root
    /// needs all of them after a restore.
    pub fn images(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.root).chain(&self.removed).chain(&self.shared)
    }

    /// Whether the unit has other images than its root. Its removal can be interrupted, or one of
    /// them can be lost while the root is archived.
    #[must_use]
    pub fn has_several_images(&self) -> bool {
        !self.removed.is_empty() || !self.shared.is_empty()
    }

    /// The images in the order in which a sweep archives them: referrers, then parts, and the root
    /// last. An active index protects its parts from native lifecycle rules until then.
    #[must_use]
    pub fn archive_order(&self) -> Vec<&Digest> {
        self.removed.iter().rev().chain([&self.root]).collect()
    }
}

/// The calls that finish the removal of a unit, or restore the unit. Without a call, the unit is
/// complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedUnit {
    /// The images that are still to be archived, in this order.
    pub archive: Vec<ImageId>,
    /// The images that are still to be deleted, in this order.
    pub delete: Vec<ImageId>,
    /// The images that are restored from the archive.
    pub restore: Vec<ImageId>,
}

impl UnfinishedUnit {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

/// Decides how a unit is completed. `plan` is a new plan for the repository: it contains the images
/// that are left and the rules that keep them.
///
/// The removal is finished if the new plan still removes the root, and nobody has used an image of
/// the unit since. Otherwise the archived images of the unit are restored. An image that another
/// active index needs is restored in either case. A deleted image cannot be restored, so a deletion
/// is always finished.
#[must_use]
pub fn complete_unit(record: &UnitRecord, plan: &RetentionPlan<'_>) -> UnfinishedUnit {
    let images = &plan.inventory.images;
    let id_of: HashMap<&Digest, ImageId> =
        images.enumerate().map(|(id, image)| (&image.digest, id)).collect();
    let id = |digest: &Digest| id_of.get(digest).copied();
    let present: Vec<ImageId> =
        record.shared.iter().chain(record.archive_order()).filter_map(id).collect();
    let root = id_of.get(&record.root).copied();
    let needed = needed_elsewhere(record, plan);
    let is_needed = |image: ImageId| needed.contains(&images[image].digest);
    let of_status = |status: ImageStatus| -> Vec<ImageId> {
        present.iter().copied().filter(|image| images[*image].status == status).collect()
    };
    let (archived, active) = (of_status(ImageStatus::Archived), of_status(ImageStatus::Active));
    let was_used = |image: ImageId| images[image].pulled_at.is_some_and(|at| at > record.began);

    if record.remover == UnitRemover::SweepDeletes {
        if root.is_some() {
            // ECR deletes an index before its parts: while the root exists, no part was deleted.
            return UnfinishedUnit::default();
        }
        let is_left = |image: &ImageId| {
            let may_be_needed = plan.decided(*image).is_some_and(|decided| {
                let reason = KeepReason::Unknown(UnknownReason::ArchivedIndex);
                matches!(&decided.decision, Decision::Keep(keep, _) if *keep == reason)
            });
            !is_needed(*image) && !was_used(*image) && !may_be_needed && !is_kept(plan, *image)
        };
        let is_active = |image: &ImageId| images[*image].status == ImageStatus::Active;
        let removed = record.removed.iter().filter_map(id).filter(is_active);
        let is_held =
            |image: &ImageId| plan.inventory.needed_by_archived.contains(&images[*image].digest);
        let delete = removed.filter(is_left).filter(|image| !is_held(image)).collect();
        return UnfinishedUnit { delete, ..UnfinishedUnit::default() };
    }
    if archived.is_empty() {
        return UnfinishedUnit::default();
    }
    let own = active.iter().copied().filter(|image| !is_needed(*image));
    let is_being_restored = !of_status(ImageStatus::Activating).is_empty();
    let is_unwanted = match record.remover {
        // A policy that judges no tag, or only reports, refuses none.
        UnitRemover::EnforcementArchives => {
            plan.policy.grammar().is_some()
                && plan.policy.tag_enforcement() == TagEnforcement::Archive
                && !active.iter().chain(&archived).any(|image| {
                    images[*image].tags.iter().any(|tag| is_accepted_tag(plan.policy, tag))
                })
        }
        UnitRemover::SweepArchives | UnitRemover::SweepDeletes => {
            !own.clone().any(|image| is_kept(plan, image))
        }
    };
    if is_being_restored || !is_unwanted || own.clone().any(was_used) {
        return UnfinishedUnit { restore: archived, ..UnfinishedUnit::default() };
    }
    UnfinishedUnit {
        archive: own.collect(),
        delete: vec![],
        restore: archived.into_iter().filter(|image| is_needed(*image)).collect(),
    }
}

/// Finds active indexes that the plan keeps and that need an archived image: such an index cannot be
/// pulled. Returns each index with the archived image. The images of `records` are left out, because
/// [`complete_unit`] decides about them.
#[must_use]
pub fn torn_images<'r>(
    plan: &RetentionPlan<'_>,
    records: impl IntoIterator<Item = &'r UnitRecord>,
) -> Vec<(ImageId, ImageId)> {
    let decided: HashSet<&Digest> = records.into_iter().flat_map(UnitRecord::images).collect();
    let images = &plan.inventory.images;
    let mut needed: HashMap<&Digest, ImageId> = HashMap::new();
    for (id, image) in images.enumerate() {
        let is_kept = image.status == ImageStatus::Active && plan.decision_of(id) == "keep";
        if let Some(parts) = plan.inventory.indexes.get(&image.digest).filter(|_| is_kept) {
            needed.extend(parts.iter().map(|part| (part, id)));
        }
    }
    let archived = images.enumerate().filter(|(_, image)| {
        image.status == ImageStatus::Archived && !decided.contains(&image.digest)
    });
    archived.filter_map(|(id, image)| Some((*needed.get(&image.digest)?, id))).collect()
}

/// Whether a rule keeps an image that is left of a unit. The rules about untagged images do not
/// count: the image lost its index by the removal. The rules about archived indexes do not count
/// either: archiving the image does not harm the index.
fn is_kept(plan: &RetentionPlan<'_>, image: ImageId) -> bool {
    plan.decided(image).is_none_or(|decided| match &decided.decision {
        Decision::Keep(
            KeepReason::Untagged
            | KeepReason::UntaggedLately { .. }
            | KeepReason::UntaggedReported { .. }
            | KeepReason::NeededByArchivedIndex
            | KeepReason::Unknown(UnknownReason::ArchivedIndex),
            _,
        )
        | Decision::Remove(_) => false,
        Decision::Keep(..) => true,
    })
}

/// The images that an active index outside of the unit needs.
fn needed_elsewhere<'p>(
    record: &'p UnitRecord,
    plan: &'p RetentionPlan<'_>,
) -> HashSet<&'p Digest> {
    let unit: HashSet<&Digest> = record.images().collect();
    let mut needed: HashSet<&Digest> = HashSet::new();
    let active = plan.inventory.images.iter().filter(|image| image.has_parts());
    for index in active.filter(|index| !unit.contains(&index.digest)) {
        needed.extend(plan.inventory.indexes.get(&index.digest).into_iter().flatten());
    }
    if needed.contains(&record.root) {
        needed.extend(unit);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::policy::Policy;
    use crate::retention::plan_retention;
    use crate::retention::tests::{digest, inventory, now, two, with};

    /// Checks the calls for a unit of `index`, `amd` and `arm` that is beyond the count. `unit` and
    /// `other` describe the three images and an index outside of the unit.
    fn check(remover: UnitRemover, unit: [&str; 3], other: &str, expected: &str) {
        let archives = [("Tags.Enforcement", "archive".into())];
        check_by(&with(&archives), remover, unit, other, expected);
    }

    /// Checks the calls under this policy.
    fn check_by(
        policy: &Policy,
        remover: UnitRemover,
        unit: [&str; 3],
        other: &str,
        expected: &str,
    ) {
        let mut images = vec![("new", "a-v3.0.0, pushed 30"), ("newer", "a-v4.0.0, pushed 20")];
        let named = ["index", "amd", "arm"].into_iter().zip(unit).chain([("other", other)]);
        images.extend(named.filter(|(_, text)| *text != "gone"));
        let inventory = inventory(&images);
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(policy, &inventory, graph, &HashMap::new(), now());
        let record = UnitRecord {
            root: digest("index"),
            removed: vec![digest("amd"), digest("arm")],
            shared: vec![],
            remover,
            began: now() - chrono::Duration::days(1),
        };
        let UnfinishedUnit { archive, delete, restore } = complete_unit(&record, &plan);
        let name = |id: &ImageId| {
            let image = &inventory.images[*id].digest;
            images.iter().find(|(name, _)| digest(name) == *image).unwrap().0
        };
        let calls = [("archive", archive), ("delete", delete), ("restore", restore)];
        let calls = calls
            .iter()
            .flat_map(|(call, ids)| ids.iter().map(move |id| format!("{call} {}", name(id))));
        assert_eq!(calls.collect::<Vec<_>>().join("; "), expected, "{unit:?} {other}");
    }

    #[test]
    fn an_interrupted_archiving_is_finished() {
        use UnitRemover::SweepArchives;
        let root = "a-v1.0.0, needs amd arm";
        check(SweepArchives, [root, "", ""], "gone", "");
        check(SweepArchives, [root, "", ", archived"], "gone", "archive amd; archive index");
        let archived_root = "a-v1.0.0, archived, needs amd arm";
        check(SweepArchives, [archived_root, "", ", archived"], "gone", "archive amd");
        check(SweepArchives, [archived_root, "", ""], "gone", "archive arm; archive amd");
        check(SweepArchives, [archived_root, ", archived", ", archived"], "gone", "");
        check(SweepArchives, ["gone", "gone", "gone"], "gone", "");
    }

    #[test]
    fn an_interrupted_archiving_is_undone_where_somebody_uses_the_image() {
        use UnitRemover::SweepArchives;
        let root = "a-v1.0.0, needs amd arm";
        // A pull after the removal began, a new tag, and a restore by a person.
        check(SweepArchives, [root, ", pulled 0", ", archived"], "gone", "restore arm");
        check(
            SweepArchives,
            ["a-v1.0.0 prod, needs amd arm", "", ", archived"],
            "gone",
            "restore arm",
        );
        let activating = "a-v1.0.0, activating, needs amd arm";
        check(
            SweepArchives,
            [activating, ", archived", ", archived"],
            "gone",
            "restore arm; restore amd",
        );
    }

    #[test]
    fn an_image_that_another_index_needs_now_is_restored() {
        use UnitRemover::SweepArchives;
        let archived_root = "a-v1.0.0, archived, needs amd arm";
        let other = "b-v1.0.0, needs arm";
        check(SweepArchives, [archived_root, "", ", archived"], other, "archive amd; restore arm");
        check(SweepArchives, [archived_root, ", archived", ""], other, "");
        let nested = "b-v1.0.0, needs index";
        check(
            SweepArchives,
            [archived_root, ", archived", ", archived"],
            nested,
            "restore arm; restore amd; restore index",
        );
    }

    #[test]
    fn archiving_by_enforcement_is_finished_while_no_tag_conforms() {
        use UnitRemover::EnforcementArchives;
        check(EnforcementArchives, ["bad, needs amd arm", "", ""], "gone", "");
        let calls = "archive amd; archive index";
        check(EnforcementArchives, ["bad, needs amd arm", "", ", archived"], "gone", calls);
        let good = "bad a-v1.0.0, needs amd arm";
        check(EnforcementArchives, [good, "", ", archived"], "gone", "restore arm");
        let archived = "bad a-v1.0.0, archived, needs amd arm";
        check(
            EnforcementArchives,
            [archived, "", ", archived"],
            "gone",
            "restore arm; restore index",
        );
        // The policy refuses no tag any more.
        let unit = ["bad, needs amd arm", "", ", archived"];
        for changes in [
            [("Tags.Enforcement", "report".into())],
            [("Tags.Grammar", serde_json::Value::Null)],
            [("Tags", serde_json::Value::Null)],
        ] {
            check_by(&with(&changes), EnforcementArchives, unit, "gone", "restore arm");
        }
    }

    #[test]
    fn an_image_that_no_active_index_needs_any_more_is_archived_with_its_index() {
        use UnitRemover::SweepArchives;
        let archived_root = "a-v1.0.0, archived, needs amd arm";
        // The other index was deleted, or archived.
        check(SweepArchives, [archived_root, ", archived", ""], "gone", "archive arm");
        let other = "b-v1.0.0, archived, needs arm";
        check(SweepArchives, [archived_root, ", archived", ""], other, "archive arm");
    }

    #[test]
    fn an_archived_image_of_an_active_index_is_found() {
        let policy = two();
        let inventory = inventory(&[
            ("kept", "a-v3.0.0, needs amd arm"),
            ("newer", "a-v4.0.0, pushed 20"),
            ("beyond", "a-v1.0.0, pushed 200, needs other"),
            ("amd", ", archived"),
            ("arm", ""),
            ("other", ", archived"),
        ]);
        let graph = Graph::build(&inventory).unwrap();
        let plan = plan_retention(&policy, &inventory, graph, &HashMap::new(), now());
        let torn = |records: &[UnitRecord]| -> Vec<Digest> {
            let torn = torn_images(&plan, records).into_iter();
            torn.map(|(_, image)| inventory.images[image].digest.clone()).collect()
        };
        assert_eq!(torn(&[]), [digest("amd")]);
        let record = UnitRecord {
            root: digest("kept"),
            removed: vec![digest("amd")],
            shared: vec![],
            remover: UnitRemover::SweepArchives,
            began: now(),
        };
        assert_eq!(torn(&[record]), []);
    }

    #[test]
    fn an_interrupted_deletion_is_finished_unless_an_image_is_used() {
        use UnitRemover::SweepDeletes;
        check(SweepDeletes, ["a-v1.0.0, needs amd arm", "", ""], "gone", "");
        check(SweepDeletes, ["gone", "", ""], "gone", "delete amd; delete arm");
        check(SweepDeletes, ["gone", "", ", pulled 0"], "gone", "delete amd");
        check(SweepDeletes, ["gone", "prod", ""], "gone", "delete arm");
        check(SweepDeletes, ["gone", "", ""], "b-v1.0.0, needs amd", "delete arm");
    }
}
