//! Records since when the untagged images of a repository have had no tag
//! ([`warden_core::untagged`]).

use warden_aws::registry::VisibilityError;
use warden_core::graph::{Graph, Inventory};
use warden_core::untagged::{UntaggedRecord, observe_untagged};

use super::{Seen, Sweep};

/// The record of earlier sweeps, and whether it must be renewed.
pub(super) type EarlierRecord = Option<(UntaggedRecord, bool)>;

impl Sweep<'_> {
    /// Reads the record of earlier sweeps, if this policy needs one. If the record cannot be read, the
    /// run stops, because only the record shows how long an image has had no tag.
    pub(super) async fn read_untagged_images(&self) -> anyhow::Result<EarlierRecord> {
        if self.policy.untagged_mode().is_none() {
            return Ok(None);
        }
        let earlier = self.context.ledger.untagged_images(self.repository, self.now).await;
        earlier.map_err(|error| VisibilityError(format!("{error:#}")).into())
    }

    /// Adds the untagged images to the inventory. Returns whether the record must be written.
    pub(super) fn observe_untagged_images(
        &self,
        inventory: &mut Inventory,
        earlier: &EarlierRecord,
    ) -> anyhow::Result<bool> {
        if self.policy.untagged_mode().is_none() {
            return Ok(false);
        }
        let graph = Graph::build(inventory)?;
        let (earlier, is_old) = match earlier {
            Some((record, is_old)) => (Some(record), *is_old),
            None => (None, true),
        };
        inventory.untagged = observe_untagged(inventory, &graph, earlier, self.now);
        Ok(is_old || earlier != Some(&inventory.untagged))
    }

    /// Writes the record to the ledger, before anything is removed.
    pub(super) async fn record_untagged_images(&self, seen: &Seen) -> anyhow::Result<()> {
        if !seen.has_new_untagged_record {
            return Ok(());
        }
        let record = &seen.inventory.untagged;
        self.context.ledger.record_untagged_images(self.repository, record, self.now).await
    }
}
