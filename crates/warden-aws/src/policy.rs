//! The policy that a function was deployed with.

use anyhow::Context as _;
use tokio::sync::OnceCell;
use warden_core::policy::governance::Governance;

use crate::ledger::Ledger;

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
}
