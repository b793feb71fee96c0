//! The policy that a function was deployed with, and the rule of a repository in it.

use anyhow::Context as _;
use tokio::sync::OnceCell;
use warden_core::image::RepositoryName;
use warden_core::policy::{Governance, Policy, RepositoryOrigin};

use crate::ledger::Ledger;
use crate::registry::Registry;

/// The policy with the version that a deployment gave to a function. It is read from the ledger when the first
/// event needs it, and kept until the process ends.
#[derive(Debug)]
pub struct DeployedPolicy {
    version: String,
    governance: OnceCell<Governance>,
}

impl DeployedPolicy {
    /// The policy with this version, which is not read yet.
    #[must_use]
    pub fn new(version: String) -> Self {
        Self { version, governance: OnceCell::new() }
    }

    /// The policy. The first call reads the ledger. An error fails the event, and the next event reads again.
    pub async fn get(&self, ledger: &Ledger) -> anyhow::Result<&Governance> {
        self.governance
            .get_or_try_init(async || {
                let text = ledger.policy(&self.version).await?;
                Governance::parse(&text).with_context(|| {
                    format!(
                        "the policy {} in the ledger is invalid: deploy the stack again with a policy that \
                         this version of ECR Warden accepts",
                        self.version
                    )
                })
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
