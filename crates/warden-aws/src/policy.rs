//! The policy that a function was deployed with, and the rule of a repository in it.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use warden_core::image::RepositoryName;
use warden_core::policy::{Governance, Policy, RepositoryOrigin};

use crate::ledger::{Ledger, StoredPolicy};
use crate::registry::Registry;

/// The policy with the version that a deployment gave to a function. It is read from the ledger when the first
/// event needs it, and kept until the process ends.
#[derive(Debug)]
pub struct DeployedPolicy {
    version: String,
    read: OnceCell<ReadPolicy>,
}

/// The policy as the ledger has it.
#[derive(Debug)]
struct ReadPolicy {
    governance: Governance,
    deployed_at: Option<DateTime<Utc>>,
}

impl DeployedPolicy {
    /// The policy with this version, which is not read yet.
    #[must_use]
    pub fn new(version: String) -> Self {
        Self { version, read: OnceCell::new() }
    }

    /// The policy. The first call reads the ledger. An error fails the event, and the next event reads again.
    pub async fn get(&self, ledger: &Ledger) -> anyhow::Result<&Governance> {
        Ok(&self.read(ledger).await?.governance)
    }

    /// When the version was deployed last, in whole seconds. None if the ledger does not have the time. The
    /// call that reads the policy also reads this time.
    pub async fn deployed_at(&self, ledger: &Ledger) -> anyhow::Result<Option<DateTime<Utc>>> {
        Ok(self.read(ledger).await?.deployed_at)
    }

    async fn read(&self, ledger: &Ledger) -> anyhow::Result<&ReadPolicy> {
        self.read
            .get_or_try_init(async || {
                let StoredPolicy { document, deployed_at } = ledger.policy(&self.version).await?;
                let governance = Governance::parse(&document).with_context(|| {
                    format!(
                        "the policy {} in the ledger is invalid: deploy the stack again with a policy that \
                         this version of ECR Warden accepts",
                        self.version
                    )
                })?;
                Ok(ReadPolicy { governance, deployed_at })
            })
            .await
    }

    /// Finds the policy of a repository, also by its origin. None if no rule governs it. Two calls if the
    /// rule depends on the origin, and no call otherwise, after the first.
    pub async fn find_rule(
        &self,
        repository: &RepositoryName,
        registry: &Registry,
        ledger: &Ledger,
    ) -> anyhow::Result<Option<Policy>> {
        let governance = self.get(ledger).await?;
        let origin = if governance.depends_on_origin(repository) {
            let found =
                tokio::try_join!(registry.cache_prefixes(), ledger.replica_source(repository));
            let (prefixes, source) =
                found.with_context(|| format!("finding out how images come to {repository}"))?;
            RepositoryOrigin::classify(repository, &prefixes, source.is_some())
        } else {
            RepositoryOrigin::Pushed
        };
        Ok(governance.rule_for(repository, origin))
    }
}
