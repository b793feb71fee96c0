//! Finds the unit of an image: the images that are archived and restored together with it.

use std::collections::HashSet;

use tracing::warn;
use warden_alerts::About;
use warden_aws::ledger::PreviousClaim;
use warden_aws::registry::VisibilityError;
use warden_core::arena::ImageId;
use warden_core::enforcement::{EnforcementOutcome, EnforcementPlan, EnforcementStep};
use warden_core::graph::{Graph, ImageRecord, Inventory};
use warden_core::image::{Digest, ImageStatus};
use warden_core::policy::{Policy, TagEnforcement};
use warden_core::retention::{UnitRecord, UnitRemover};
use warden_core::tagging::is_accepted_tag;

use crate::{Context, Judgement};

impl Judgement<'_> {
    /// Finds the images that are archived or restored with the pushed image, and writes them to the
    /// ledger before the first call. Changes the plan if an earlier attempt was interrupted within
    /// the unit, or if another image needs this image. None if the plan neither archives nor restores.
    pub(crate) async fn find_unit(
        &self,
        policy: &Policy,
        plan: &mut EnforcementPlan,
        before: &PreviousClaim,
    ) -> anyhow::Result<Option<UnitRecord>> {
        let About { repository, digest, .. } = &self.push.about;
        let Context { ledger, registry, .. } = self.context;
        if policy.tag_enforcement() != TagEnforcement::Archive {
            return Ok(None);
        }
        // An earlier attempt may have been interrupted within the unit, which the ledger then holds.
        let begun = if before.was_begun {
            ledger.units(repository, std::slice::from_ref(digest)).await?.remove(digest)
        } else {
            None
        };
        let begun = begun.filter(|unit| unit.remover == UnitRemover::EnforcementArchives);
        if let Some(begun) = begun.as_ref().filter(|_| !plan.tag_is_present) {
            // The tag is gone. The next sweep finishes or restores the unit.
            let begun = UnitRecord { began: self.now, ..begun.clone() };
            ledger.begin_units(repository, &[begun], self.now).await?;
            return Ok(None);
        }
        if begun.is_none() && !plan.steps.contains(&EnforcementStep::Archive) {
            return Ok(None);
        }
        if begun.is_some()
            && let Some(because) = plan.replication.reason_to_report(policy)
        {
            plan.action = EnforcementOutcome::Reported;
            plan.because = Some(because.into());
            plan.steps = vec![EnforcementStep::Restore];
            return Ok(begun);
        }
        let inventory = match registry.inventory(repository).await {
            Ok(inventory) => inventory,
            Err(error) if begun.is_none() && error.is::<VisibilityError>() => {
                warn!("{error:#}");
                *plan = EnforcementPlan::report(Some(UNREADABLE_INDEX));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut unit = self.unit_to_archive(policy, plan, &inventory, begun.as_ref())?;
        if let Some(new) = unit.take_if(|_| begun.is_none()) {
            unit = self.check_native_rules_for_unit(new, &inventory, plan).await?;
        }
        let is_archived = plan.steps.contains(&EnforcementStep::Archive);
        match (unit, begun) {
            // Each attempt renews the record. A sweep leaves a unit alone while its record is fresh.
            (Some(unit), _) if is_archived && unit.has_several_images() => {
                ledger.begin_units(repository, std::slice::from_ref(&unit), self.now).await?;
                Ok(Some(unit))
            }
            (Some(unit), _) if is_archived => Ok(Some(unit)),
            (_, Some(begun)) => {
                plan.steps = vec![EnforcementStep::Restore];
                Ok(Some(begun))
            }
            (_, None) => Ok(None),
        }
    }

    /// Builds the unit of the image from the images of the repository. The manifest of an archived
    /// index cannot be read, so its images come from the record of the attempt that archived it.
    /// If an image of the unit must stay active, returns None and changes the plan to a report.
    fn unit_to_archive(
        &self,
        policy: &Policy,
        plan: &mut EnforcementPlan,
        inventory: &Inventory,
        begun: Option<&UnitRecord>,
    ) -> anyhow::Result<Option<UnitRecord>> {
        let digest = &self.push.about.digest;
        if plan.action != EnforcementOutcome::Archived {
            return Ok(None);
        }
        let images = &inventory.images;
        let others = if let Some(begun) = begun {
            others_of_record(begun, inventory)
        } else {
            let root = images.position(|image| image.digest == *digest);
            let graph = Graph::build(inventory)?;
            let digests = |ids: Vec<ImageId>| -> Vec<Digest> {
                ids.into_iter().map(|image| images[image].digest.clone()).collect()
            };
            let others = root.and_then(|root| graph.others_of_unit(root));
            others.map(|(removed, shared)| (digests(removed), digests(shared)))
        };
        let Some((removed, shared)) = others else {
            *plan = EnforcementPlan::report(Some("another image needs this image"));
            return Ok(None);
        };
        let has_accepted_tag = |image: &ImageRecord| {
            removed.contains(&image.digest)
                && image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
        };
        if images.iter().any(has_accepted_tag) {
            *plan = EnforcementPlan::report(Some("a part of this image has an accepted tag"));
            return Ok(None);
        }
        plan.steps = vec![EnforcementStep::Archive];
        Ok(Some(UnitRecord {
            root: digest.clone(),
            removed,
            shared,
            remover: UnitRemover::EnforcementArchives,
            began: self.now,
        }))
    }

    /// Whether an archived unit must be restored: a new index needs one of its images, or somebody
    /// added an accepted tag to one of its images, or somebody restored its root.
    pub(crate) async fn is_unit_used(
        &self,
        policy: &Policy,
        unit: &UnitRecord,
    ) -> anyhow::Result<bool> {
        let repository = &self.push.about.repository;
        // This function has listed no indexes before, so all but the unit's root count as new.
        let mut known = HashSet::from([unit.root.clone()]);
        let watched: HashSet<&Digest> = unit.images().collect();
        let look = self.context.registry.list_again(repository, &mut known, &watched).await?;
        let removed = || std::iter::once(&unit.root).chain(&unit.removed);
        let is_wanted = |image: &ImageRecord| {
            image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
                || image.digest == unit.root && image.status != ImageStatus::Archived
        };
        let images = removed().filter_map(|digest| look.images.get(digest));
        Ok(removed().any(|digest| look.needed.contains(digest))
            || images.into_iter().any(is_wanted))
    }
}

/// The reason to report instead of archiving if an index of the repository cannot be read.
const UNREADABLE_INDEX: &str =
    "an index of the repository cannot be read, and that index may need the image";

/// Divides the images of a unit, without its root, into those that no active index needs and those
/// that an active index needs. None if an active index needs the root.
fn others_of_record(
    unit: &UnitRecord,
    inventory: &Inventory,
) -> Option<(Vec<Digest>, Vec<Digest>)> {
    let own: HashSet<&Digest> = unit.images().collect();
    let indexes = inventory.indexes.iter().filter(|(index, _)| !own.contains(index));
    let needed: HashSet<&Digest> = indexes.flat_map(|(_, parts)| parts).collect();
    let others = unit.images().filter(|image| **image != unit.root).cloned();
    (!needed.contains(&unit.root)).then(|| others.partition(|image| !needed.contains(image)))
}
