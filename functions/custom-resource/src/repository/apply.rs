//! Carries out the changes of a repository. No other module of this function changes a repository.

use warden_aws::registry::Registry;
use warden_aws::registry::repository::NewRepository;

use super::reconcile::RepositoryChange;
use crate::arn::{OWNER_TAG, RepositoryArn};
use crate::stack::{code, denied};

/// Carries out one action. A repeated action changes nothing.
pub async fn apply(
    registry: &Registry,
    arn: &RepositoryArn,
    action: &RepositoryChange,
) -> anyhow::Result<()> {
    let (name, id) = (&arn.name, arn.to_string());
    match action {
        RepositoryChange::Create { mutability, scan_on_push, encryption, tags } => {
            let scan_on_push = *scan_on_push;
            let settings = NewRepository { mutability, scan_on_push, encryption, tags };
            match registry.create_repository(name, &settings).await {
                // An earlier attempt may have created the repository although its answer was lost.
                Err(error) if code(&error) == Some("RepositoryAlreadyExistsException") => {
                    let found = registry.repository_tags(&id).await?;
                    if found.get(OWNER_TAG) == tags.get(OWNER_TAG) { Ok(()) } else { Err(error) }
                }
                outcome => outcome,
            }
        }
        RepositoryChange::Tag(tags) => registry.tag_repository(&id, tags).await,
        RepositoryChange::Untag(keys) => registry.untag_repository(&id, keys).await,
        RepositoryChange::SetMutability(mutability) => {
            registry.set_mutability(name, mutability).await
        }
        RepositoryChange::SetScanOnPush(on) => registry.set_scan_on_push(name, *on).await,
        RepositoryChange::SetPolicy(policy) => registry.set_repository_policy(name, policy).await,
        RepositoryChange::DeletePolicy => registry.delete_repository_policy(name).await,
        RepositoryChange::PutLifecycle(policy) => registry.put_lifecycle_policy(name, policy).await,
        RepositoryChange::Delete { with_images } => {
            match registry.delete_repository(name, *with_images).await {
                // The role deletes only repositories that carry the stack's tag, and a repository
                // that another copy of the request deleted carries none.
                Err(error) if denied(&error) => match registry.describe_repository(name).await {
                    Ok(None) => Ok(()),
                    _ => Err(error),
                },
                outcome => outcome,
            }
        }
    }
}
