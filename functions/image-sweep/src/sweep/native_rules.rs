//! Reads the native lifecycle rules of a repository, no matter who wrote them
//! ([`warden_core::lifecycle::native`]).

use anyhow::Context as _;
use warden_core::lifecycle::native::NativeRules;
use warden_core::policy::CleanupEnforcement;

use super::{Seen, Sweep};

impl Sweep<'_> {
    /// Reads the native rules if the plan would archive an image without them.
    pub(super) async fn read_native_rules(&self, seen: &mut Seen) -> anyhow::Result<()> {
        if !self.policy.may_remove_by(CleanupEnforcement::Archive) {
            return Ok(());
        }
        let plan = self.plan(&seen.inventory, &seen.running)?;
        let is_archived = |unit| plan.mode(unit) == CleanupEnforcement::Archive;
        if !plan.removals.iter().any(|removal| is_archived(removal.unit)) {
            return Ok(());
        }
        seen.inventory.native_rules = self.lifecycle_policy().await?.map(NativeRules::read);
        Ok(())
    }

    /// The lifecycle policy of the repository, if it has one. The first request of a run makes one call.
    pub(super) async fn lifecycle_policy(&self) -> anyhow::Result<Option<&str>> {
        let read = async || self.context.registry.lifecycle_policy(self.repository).await;
        let policy = self.lifecycle.get_or_try_init(read).await;
        let policy = policy
            .with_context(|| format!("reading the lifecycle policy of {}", self.repository))?;
        Ok(policy.as_deref())
    }
}
