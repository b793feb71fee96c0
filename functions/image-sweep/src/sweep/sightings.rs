//! Records since when the untagged images of a repository have had no tag ([`warden_core::untagged`]),
//! and when each tag was pushed ([`warden_core::tag_times`]).

use chrono::{DateTime, Utc};
use warden_aws::ledger::RecordedSightings;
use warden_aws::registry::VisibilityError;
use warden_core::graph::{Graph, Inventory};
use warden_core::sightings::Sightings;
use warden_core::tag_times::observe_tags;
use warden_core::untagged::observe_untagged;

use super::{Seen, Sweep};

impl Sweep<'_> {
    /// Reads the records of earlier sweeps and the pushes since then. If the ledger cannot be read, the run
    /// stops, because only the ledger shows the age of a tag.
    pub(super) async fn read_sightings(&self) -> anyhow::Result<RecordedSightings> {
        let recorded = self.context.ledger.sightings(self.repository, self.now).await;
        recorded.map_err(|error| VisibilityError(format!("{error:#}")).into())
    }

    /// Adds the ages of tags and of untagged images to the inventory. Returns the record of tags.
    pub(super) fn observe(
        &self,
        inventory: &mut Inventory,
        recorded: &RecordedSightings,
    ) -> anyhow::Result<Sightings> {
        let RecordedSightings { earlier, pushes, .. } = recorded;
        let earlier = earlier.as_ref();
        // A tag may have been pushed while the images were listed.
        let listed: DateTime<Utc> = self.now + self.started.elapsed();
        let tags = observe_tags(inventory, earlier, pushes, listed);
        if self.policy.untagged_mode().is_some() {
            let graph = Graph::build(inventory)?;
            let earlier = earlier.map(|earlier| &earlier.untagged);
            inventory.untagged = observe_untagged(inventory, &graph, earlier, self.now);
        }
        Ok(tags)
    }

    /// Writes the records to the ledger, before anything is removed.
    pub(super) async fn record_sightings(&self, seen: &Seen) -> anyhow::Result<()> {
        let ledger = &self.context.ledger;
        let untagged = self.policy.untagged_mode().map(|_| &seen.inventory.untagged);
        let (recorded, tags) = (&seen.recorded, &seen.tags);
        ledger.record_sightings(self.repository, recorded, untagged, tags, self.now).await?;
        ledger.forget_pushes(self.repository, recorded).await
    }
}
