//! Reads the facts about a repository that a run decides by.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, stream};
use tracing::warn;
use warden_aws::environment::DeploymentScope;
use warden_aws::ledger::RecordedSightings;
use warden_aws::registry::{CONCURRENT_CALLS, VisibilityError};
use warden_core::graph::{ImageRecord, Inventory};
use warden_core::image::{Digest, ImageStatus};
use warden_core::policy::InUse;
use warden_core::retention::{
    Decision, KeepReason, RetentionPlan, RunningImages, UnitDecision, UnitRecord,
};
use warden_core::sightings::Sightings;

use super::Sweep;
use crate::report::Workloads;

/// The most images whose workloads a run looks up. Each costs a call.
const LOOKED_UP_IMAGES: usize = 10;

/// The facts about a repository that a run decides by.
pub(super) struct Seen {
    pub(super) inventory: Inventory,
    pub(super) running: RunningImages,
    /// The records of the archived indexes, by the digest of the index.
    pub(super) archived_units: HashMap<Digest, UnitRecord>,
    /// The records of earlier sweeps and the pushes since then.
    pub(super) recorded: RecordedSightings,
    /// The record of tags after this sweep.
    pub(super) tags: Sightings,
}

impl Seen {
    /// Whether an active index may need an archived image, or an archived unit may have an image that
    /// is not archived. This check is cheaper than a plan.
    pub(super) fn may_be_incomplete(&self) -> bool {
        let Inventory { images, indexes, .. } = &self.inventory;
        let archived = images.iter().filter(|image| image.status == ImageStatus::Archived);
        let archived: HashSet<&Digest> = archived.map(|image| &image.digest).collect();
        let mut parts = indexes.values().flatten();
        let mut units = self.archived_units.values().flat_map(UnitRecord::images);
        !archived.is_empty()
            && (parts.any(|part| archived.contains(part))
                || units.any(|image| !archived.contains(image)))
    }
}

impl Sweep<'_> {
    /// Reads the images, the running images, and the records of archived indexes.
    pub(super) async fn look(&self) -> anyhow::Result<Seen> {
        let inventory = self.context.registry.inventory(self.repository);
        let running = async {
            match self.policy.in_use {
                InUse::PullTime => Ok(RunningImages::new()),
                InUse::Inspector => self.list_running_images().await,
            }
        };
        let (mut inventory, running, recorded) =
            tokio::try_join!(inventory, running, self.read_sightings())?;
        let archived_units = self.archived_units(&inventory).await?;
        inventory.needed_by_archived =
            archived_units.values().flat_map(UnitRecord::images).cloned().collect();
        let is_unknown = |index: &ImageRecord| !archived_units.contains_key(&index.digest);
        let has_unknown = archived_indexes(&inventory).any(is_unknown);
        inventory.has_unknown_archived_index = has_unknown;
        let tags = self.observe(&mut inventory, &recorded)?;
        Ok(Seen { inventory, running, archived_units, recorded, tags })
    }

    /// Reads the records of the archived indexes. An index that a person archived has no record.
    async fn archived_units(
        &self,
        inventory: &Inventory,
    ) -> anyhow::Result<HashMap<Digest, UnitRecord>> {
        let archived = archived_indexes(inventory);
        let roots: Vec<Digest> = archived.map(|image| image.digest.clone()).collect();
        let records = self.context.ledger.units(self.repository, &roots).await;
        records.map_err(|error| VisibilityError(format!("{error:#}")).into())
    }

    /// Lists the running images with Amazon Inspector. An error stops the run, because it must not
    /// remove an image that Inspector would have listed.
    async fn list_running_images(&self) -> anyhow::Result<RunningImages> {
        let retention = self.policy.retention.as_ref();
        let days = retention.map_or(0, |retention| retention.protect_pulled_within_days);
        let since = self.now - chrono::Duration::days(days.into());
        let blind =
            |why: String| VisibilityError(format!("the running images cannot be listed: {why}"));
        let asked = tokio::try_join!(
            self.context.registry.has_enhanced_scanning(),
            self.context.inspector.list_running_images(
                &self.context.config.place.account,
                self.repository,
                since
            )
        );
        match asked {
            Ok((true, running)) => Ok(running),
            Ok((false, _)) => {
                let why = "InUseSources has inspector, but the registry has no enhanced scanning; turn \
                           on enhanced scanning or remove inspector from InUseSources";
                Err(blind(why.to_owned()).into())
            }
            Err(error) => Err(blind(format!("{error:#}")).into()),
        }
    }

    /// Names the workloads of the images beyond the keep count that are kept because they run.
    pub(super) async fn workloads(&self, plan: &RetentionPlan<'_>) -> Workloads {
        let beyond: Vec<&UnitDecision> = plan.kept_beyond().collect();
        self.workloads_of(plan, &beyond).await
    }

    pub(super) async fn workloads_of(
        &self,
        plan: &RetentionPlan<'_>,
        decided: &[&UnitDecision],
    ) -> Workloads {
        let in_use = decided.iter().filter_map(|decided| match decided.decision {
            Decision::Keep(KeepReason::InUse(_), by) => Some(plan.image(by).digest.clone()),
            _ => None,
        });
        let DeploymentScope { partition, region, account, .. } = &self.context.config.place;
        let named = in_use.take(LOOKED_UP_IMAGES).map(|digest| async move {
            let arn = format!(
                "arn:{partition}:ecr:{region}:{account}:repository/{}/{digest}",
                self.repository
            );
            // Without a name the image is kept too, so an error is only logged.
            let named = self.context.inspector.name_workloads(&arn).await;
            let named = named.inspect_err(|error| warn!("{error:#}")).unwrap_or_default();
            (digest, named)
        });
        let named = stream::iter(named).buffered(CONCURRENT_CALLS);
        named.filter(|(_, named)| std::future::ready(!named.is_empty())).collect().await
    }
}

/// The archived indexes of a repository.
fn archived_indexes(inventory: &Inventory) -> impl Iterator<Item = &ImageRecord> {
    let images = inventory.images.iter();
    images.filter(|image| image.is_index && image.status == ImageStatus::Archived)
}
