//! Replication: reads the `ECR Replication Action` events that ECR sends in the destination
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>), and finds the
//! copies of images in other registries.

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warden_core::image::RepositoryName;
use warden_core::replication::{RemoteRegistry, Replication};

use crate::event::{self, Origin, origin, parsed, required};
use crate::ledger::Ledger;
use crate::registry::{Registry, VisibilityError};

/// The detail type of the events.
pub const DETAIL_TYPE: &str = "ECR Replication Action";

/// An image that was copied to a repository of this registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicatedImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The registry that the image was copied from.
    pub source: RemoteRegistry,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    action_type: Option<String>,
    result: Option<String>,
    repository_name: Option<String>,
    source_account: Option<String>,
    source_region: Option<String>,
}

/// Reads an event. None for an action that is not a successful copy from another registry. The
/// error names the field that is invalid.
pub fn read_replication(payload: &Value) -> anyhow::Result<Option<ReplicatedImage>> {
    let event = event::read::<Detail>(payload)?;
    let detail = &event.detail;
    if detail.action_type.as_deref() != Some("REPLICATE")
        || detail.result.as_deref() != Some("SUCCESS")
    {
        return Ok(None);
    }
    let repository = required("detail.repository-name", detail.repository_name.as_ref())?;
    let account = required("detail.source-account", detail.source_account.as_ref())?;
    let region = required("detail.source-region", detail.source_region.as_ref())?;
    let repository = parsed("detail.repository-name", repository)?;
    let source = RemoteRegistry::new(account, region).ok_or_else(|| {
        anyhow!("the event: detail.source-account and detail.source-region: expected a registry")
    })?;
    let own: Origin = origin(&event)?;
    // AWS documents only events in the destination. An event in the source would name no copy here.
    let is_own = source.account() == own.account && source.region() == own.region;
    Ok((!is_own).then_some(ReplicatedImage { repository, source }))
}

/// Finds the copies of the images of a repository, before the repository is changed. Two concurrent
/// calls. The error is a [`VisibilityError`].
pub async fn find_replication(
    registry: &Registry,
    ledger: &Ledger,
    repository: &RepositoryName,
) -> anyhow::Result<Replication> {
    let found = tokio::try_join!(registry.replication_rules(), ledger.replica_source(repository));
    match found {
        Ok((rules, source)) => Ok(Replication::find(repository, &rules, source)),
        Err(error) => {
            let reason = format!("the replication of {repository} cannot be read: {error:#}");
            Err(VisibilityError(reason).into())
        }
    }
}
