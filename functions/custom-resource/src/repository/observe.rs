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

/// The time that a lifecycle preview may take, and the pause between two reads of the preview.
const PREVIEW_TIME: Duration = Duration::from_secs(120);
const PREVIEW_PAUSE: Duration = Duration::from_secs(2);
/// ECR's error code while another preview of the repository is in progress.
const IN_PROGRESS: &str = "LifecyclePolicyPreviewInProgressException";
/// The number of images of a preview that an error names.
const EXAMPLES: i32 = 5;

/// Reads the repository. None if the repository does not exist.
pub async fn observe(
    registry: &Registry,
    arn: &RepositoryArn,
) -> anyhow::Result<Option<ObservedRepository>> {
    let name = &arn.name;
    let Some(description) = registry.describe_repository(name).await? else { return Ok(None) };
    let arn = arn.to_string();
    let (tags, empty, lifecycle, policy) = tokio::try_join!(
        async { registry.repository_tags(&arn).await.context("listing the tags") },
        async { registry.is_empty(name).await.context("listing the images") },
        async { registry.lifecycle_policy(name).await.context("getting the lifecycle policy") },
        async { registry.repository_policy(name).await.context("getting the repository policy") },
    )
    .with_context(|| format!("reading repository {name}"))?;
    Ok(Some(ObservedRepository {
        description,
        standing: OwnershipState { tags, empty },
        lifecycle,
        policy,
    }))
}

/// Reads only the state that the removal of the repository needs, so that no other call can fail. None
/// if the repository does not exist.
pub async fn observe_standing(
    registry: &Registry,
    arn: &RepositoryArn,
) -> anyhow::Result<Option<OwnershipState>> {
    let (name, arn) = (&arn.name, arn.to_string());
    let read = tokio::try_join!(
        async { registry.repository_tags(&arn).await.context("listing the tags") },
        async { registry.is_empty(name).await.context("listing the images") },
    );
    match read {
        Ok((tags, empty)) => Ok(Some(OwnershipState { tags, empty })),
        Err(error) if code(&error) == Some("RepositoryNotFoundException") => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading repository {name}")),
    }
}

/// Asks ECR which images the lifecycle policy would expire now. Waits while somebody else's preview of the
/// repository is in progress, because ECR makes one preview at a time.
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
                    bail!("somebody else's lifecycle preview replaced this preview; deploy again");
                }
                return Ok(LifecycleImpact { count, examples });
            }
            LifecyclePreview::InProgress if Instant::now() < until => sleep(PREVIEW_PAUSE).await,
            LifecyclePreview::InProgress => {
                bail!("the lifecycle preview is still IN_PROGRESS after two minutes; deploy again")
            }
            LifecyclePreview::Ended(status) => {
                bail!("the lifecycle preview ended with the status {status}")
            }
        }
    }
}
