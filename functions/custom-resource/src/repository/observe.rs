//! Reads a repository's present settings, and previews a lifecycle policy.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};
use warden_aws::registry::Registry;
use warden_aws::registry::repository::LifecyclePreview;
use warden_core::image::RepositoryName;
use warden_core::lifecycle::have_same_rules;

use super::reconcile::{LifecycleImpact, ObservedRepository, OwnershipState};
use crate::arn::RepositoryArn;
use crate::stack::{code, once_permitted};

/// How long a lifecycle preview may take, and the pause between two readings of it.
const PREVIEW_TIME: Duration = Duration::from_secs(120);
const PREVIEW_PAUSE: Duration = Duration::from_secs(2);
/// ECR's refusal while it makes another preview of the repository.
const IN_PROGRESS: &str = "LifecyclePolicyPreviewInProgressException";
/// How many images of a preview an error names.
const EXAMPLES: i32 = 5;

/// Reads the repository. None if ECR does not know it.
pub async fn observe(
    registry: &Registry,
    arn: &RepositoryArn,
) -> anyhow::Result<Option<ObservedRepository>> {
    let name = &arn.name;
    let Some(description) = registry.describe_repository(name).await? else { return Ok(None) };
    let arn = arn.to_string();
    let (tags, empty, lifecycle, policy) = tokio::try_join!(
        async { registry.repository_tags(&arn).await.context("listing its tags") },
        async { registry.is_empty(name).await.context("listing its images") },
        async { registry.lifecycle_policy(name).await.context("getting its lifecycle policy") },
        async { registry.repository_policy(name).await.context("getting its policy") },
    )
    .with_context(|| format!("reading repository {name}"))?;
    Ok(Some(ObservedRepository {
        description,
        standing: OwnershipState { tags, empty },
        lifecycle,
        policy,
    }))
}

/// Reads only what the removal of the repository depends on, so that no other call can fail. None
/// if there is no repository.
pub async fn observe_standing(
    registry: &Registry,
    arn: &RepositoryArn,
) -> anyhow::Result<Option<OwnershipState>> {
    let (name, arn) = (&arn.name, arn.to_string());
    let read = tokio::try_join!(
        async { registry.repository_tags(&arn).await.context("listing its tags") },
        async { registry.is_empty(name).await.context("listing its images") },
    );
    match read {
        Ok((tags, empty)) => Ok(Some(OwnershipState { tags, empty })),
        Err(error) if code(&error) == Some("RepositoryNotFoundException") => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading repository {name}")),
    }
}

/// Asks ECR what the lifecycle policy would expire now. Waits while ECR makes somebody else's
/// preview of the repository: it makes one at a time.
pub async fn preview_lifecycle(
    registry: &Registry,
    name: &RepositoryName,
    policy: &str,
) -> anyhow::Result<LifecycleImpact> {
    let until = Instant::now() + PREVIEW_TIME;
    loop {
        match once_permitted(|| registry.start_lifecycle_preview(name, policy)).await {
            Ok(()) => break,
            Err(error) if code(&error) == Some(IN_PROGRESS) && Instant::now() < until => {}
            Err(error) => return Err(error).context("starting a lifecycle preview"),
        }
        sleep(PREVIEW_PAUSE).await;
    }
    loop {
        match registry.lifecycle_preview(name, EXAMPLES).await? {
            LifecyclePreview::Complete { policy: previewed, count, examples } => {
                if !have_same_rules(&previewed, policy) {
                    bail!("somebody else's lifecycle preview took the place of ours");
                }
                return Ok(LifecycleImpact { count, examples });
            }
            LifecyclePreview::InProgress if Instant::now() < until => sleep(PREVIEW_PAUSE).await,
            LifecyclePreview::InProgress => bail!("the lifecycle preview ended as IN_PROGRESS"),
            LifecyclePreview::Ended(status) => bail!("the lifecycle preview ended as {status}"),
        }
    }
}
