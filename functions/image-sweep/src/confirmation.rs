//! Compares a plan with the accepted policy of its repository and with the confirmation of an
//! operator, and stops a plan that needs a confirmation.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tracing::warn;
use warden_aws::environment::DeploymentScope;
use warden_aws::ledger::AcceptedPolicy;
use warden_aws::registry::repository::RepositoryFacts;
use warden_aws::registry::{ADOPTED_TAG, OWNER_TAG, VisibilityError};
use warden_core::policy::Policy;
use warden_core::retention::{RetentionPlan, keeps_at_least};

use crate::sweep::Sweep;

/// A new repository accepts the policy of its first sweep for this time after its creation.
const NEW: chrono::Duration = chrono::Duration::days(7);

impl Sweep<'_> {
    /// Reads when the repository was created, and whether its tags are mutable.
    pub(crate) async fn repository_facts(&self) -> anyhow::Result<RepositoryFacts> {
        let found = self.context.registry.repository_facts(self.repository).await?;
        found.with_context(|| format!("ECR has no repository {}", self.repository))
    }

    /// Returns the accepted policy of the repository that was created at this time. `recorded` is that
    /// policy in the ledger. Without a recorded policy, this is the first sweep: a new repository accepts
    /// the current policy if it was created under that policy, or if the stack created it. Returns a
    /// [`VisibilityError`] if the repository cannot be read.
    pub(crate) async fn accepted_policy(
        &self,
        created_at: i64,
        recorded: Option<&AcceptedPolicy>,
    ) -> anyhow::Result<Option<Policy>> {
        let Some(AcceptedPolicy { line, .. }) = recorded else {
            // Rounds sweep a governed repository within a day. An older one had no rule until now, or was a
            // cache or a replica.
            if self.now.timestamp() - created_at > NEW.num_seconds() {
                return Ok(None);
            }
            // ECR has the one time and Lambda the other. If their clocks differ, the repository was created
            // shortly before the deployment, and has hardly any image. A repository of the same second waits.
            let is_later = |deployed_at: DateTime<Utc>| created_at > deployed_at.timestamp();
            if self.deployed_at.is_some_and(is_later) {
                return Ok(Some(self.policy.clone()));
            }
            let is_created = self.is_created_by_stack().await.map_err(|error| blind(&error))?;
            return Ok(is_created.then(|| self.policy.clone()));
        };
        let accepted = Policy::parse(line);
        let warn = |error: &_| {
            warn!(
                repository.name = %self.repository,
                "{}: the accepted policy in the ledger is invalid: {error}",
                self.repository,
            );
        };
        Ok(accepted.inspect_err(warn).ok())
    }

    /// The policy of this run as the accepted policy of the repository that was created at this time.
    /// Returns None if the ledger has the same acceptance already.
    pub(crate) fn acceptance(
        &self,
        created_at: i64,
        recorded: Option<&AcceptedPolicy>,
    ) -> Option<AcceptedPolicy> {
        let accepted = AcceptedPolicy { line: self.policy.normalised(), created_at };
        (recorded != Some(&accepted)).then_some(accepted)
    }

    /// Whether the policy of this run needs no confirmation beside the accepted policy.
    pub(crate) fn is_accepted_by(&self, accepted: &Policy) -> bool {
        keeps_at_least(self.policy, accepted)
    }

    /// Stops a plan that needs a confirmation and has none. Returns whether the policy counts as
    /// accepted after the plan was applied. Returns a [`VisibilityError`] if the ledger cannot be read.
    pub(crate) async fn apply_confirmation(
        &self,
        plan: &mut RetentionPlan<'_>,
        accepted: Option<&Policy>,
    ) -> anyhow::Result<bool> {
        let confirmation = if plan.needs_confirmation(accepted) {
            let read = self.context.ledger.confirmation(self.repository).await;
            read.map_err(|error| blind(&error))?
        } else {
            None
        };
        Ok(plan.apply_confirmation(accepted, confirmation.as_ref(), self.now))
    }

    /// Whether this stack created the repository. An adopted repository was not created by it.
    async fn is_created_by_stack(&self) -> anyhow::Result<bool> {
        let DeploymentScope { partition, region, account, .. } = &self.context.config.place;
        let name = self.repository;
        let arn = format!("arn:{partition}:ecr:{region}:{account}:repository/{name}");
        let tags = self.context.registry.repository_tags(&arn).await;
        let tags = tags.with_context(|| format!("reading the tags of {name}"))?;
        let owner = tags.get(OWNER_TAG).and_then(|owner| owner.rsplit_once('/'));
        let is_owned = owner.is_some_and(|(stack, _)| stack == self.context.config.stack_id);
        Ok(is_owned && !tags.contains_key(ADOPTED_TAG))
    }
}

fn blind(error: &anyhow::Error) -> VisibilityError {
    VisibilityError(format!("the confirmation cannot be read: {error:#}"))
}
