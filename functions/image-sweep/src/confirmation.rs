//! Plans that wait for a person: what is accepted for a repository, and what an operator confirmed.

use anyhow::Context as _;
use tracing::warn;
use warden_aws::registry::{OWNER_TAG, VisibilityError};
use warden_core::policy::Policy;
use warden_core::retention::RetentionPlan;

use crate::config::DeploymentScope;
use crate::sweep::Sweep;

impl Sweep<'_> {
    /// Stops a plan that needs a confirmation and has none. `recorded` is the accepted policy of the
    /// repository, as the ledger has it. Gives the policy of the plan as one line where it is accepted
    /// from now on. [`VisibilityError`] if the ledger or the repository cannot be read.
    pub(crate) async fn apply_confirmation(
        &self,
        plan: &mut RetentionPlan<'_>,
        recorded: Option<&str>,
    ) -> anyhow::Result<Option<String>> {
        let blind = |error: anyhow::Error| {
            VisibilityError(format!("the confirmation cannot be seen: {error:#}"))
        };
        let accepted = match recorded {
            Some(line) => Policy::parse(line)
                .inspect_err(|error| warn!("the accepted policy cannot be read: {error}"))
                .ok(),
            // The first sweep of the repository.
            None => self.is_created_by_stack().await.map_err(blind)?.then(|| self.policy.clone()),
        };
        let confirmation = if plan.needs_confirmation(accepted.as_ref()) {
            self.context.ledger.confirmation(self.repository).await.map_err(blind)?
        } else {
            None
        };
        let is_accepted =
            plan.apply_confirmation(accepted.as_ref(), confirmation.as_ref(), self.now);
        let line = self.policy.normalised();
        Ok((is_accepted && recorded != Some(line.as_str())).then_some(line))
    }

    /// Whether this stack created the repository, and did not adopt it.
    async fn is_created_by_stack(&self) -> anyhow::Result<bool> {
        let DeploymentScope { partition, region, account, .. } = &self.context.config.place;
        let name = self.repository;
        let arn = format!("arn:{partition}:ecr:{region}:{account}:repository/{name}");
        let tags = self.context.registry.repository_tags(&arn).await;
        let tags = tags.with_context(|| format!("reading the tags of {name}"))?;
        let owner = tags.get(OWNER_TAG).and_then(|owner| owner.rsplit_once('/'));
        Ok(owner.is_some_and(|(stack, _)| stack == self.context.config.stack_id))
    }
}
