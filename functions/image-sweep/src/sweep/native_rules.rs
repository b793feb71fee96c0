//! Reads the native lifecycle rules of a repository, no matter who wrote them
//! ([`warden_core::lifecycle::native`]).

use anyhow::Context as _;
use warden_core::lifecycle::native::NativeRules;
use warden_core::policy::CleanupEnforcement;

use super::{Seen, Sweep};

impl Sweep<'_> {
    /// Reads the native rules, with one call, if the plan would archive an image without them.
    pub(super) async fn read_native_rules(&self, seen: &mut Seen) -> anyhow::Result<()> {
        if !self.policy.may_remove_by(CleanupEnforcement::Archive) {
            return Ok(());
        }
        let plan = self.plan(&seen.inventory, &seen.running)?;
        let is_archived = |unit| plan.mode(unit) == CleanupEnforcement::Archive;
        if !plan.removals.iter().any(|removal| is_archived(removal.unit)) {
            return Ok(());
        }
        let policy = self.context.registry.lifecycle_policy(self.repository).await;
        let policy = policy
            .with_context(|| format!("reading the lifecycle policy of {}", self.repository))?;
        seen.inventory.native_rules = policy.as_deref().map(NativeRules::read);
        Ok(())
    }
}
