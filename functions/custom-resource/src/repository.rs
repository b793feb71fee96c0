//! `Custom::EcrRepository`: creates, adopts, changes and deletes one repository.
//!
//! [`properties`] reads the desired repository, `observe` reads the present repository, [`reconcile`]
//! decides the changes, and `apply` makes them. This module calls them in order. The call that creates a
//! repository sets an owner tag, and only a repository with that tag is ever deleted.

mod apply;
mod observe;
pub mod properties;
pub mod pull;
pub mod reconcile;

use anyhow::Context as _;
use serde_json::{Value, json};
use tracing::{info, warn};
use warden_aws::policy::DeployedPolicy;
use warden_aws::registry::Registry;
use warden_aws::registry::replaced_lifecycle::COUNT_TAG;
use warden_core::policy::Policy;
use warden_core::policy::RepositoryOrigin;

use self::apply::apply;
use self::observe::{observe, observe_standing, preview_lifecycle};
use self::properties::{Desired, OnDelete, Previous};
use self::reconcile::{
    LifecycleDecision, LifecycleImpact, ObservedRepository, OwnershipState, ReconcileRefusal,
    RepositoryChange,
};
use crate::Context;
use crate::arn::RepositoryArn;
use crate::request::{Kind, PhysicalId, Request};
use crate::response::Data;
use crate::stack::{code, once_permitted, removing, rolling_back};
use crate::verification::verify_provision;

/// The type's name in a template.
pub const RESOURCE_TYPE: &str = "Custom::EcrRepository";

/// Creates or changes the repository as the properties describe it, and returns its attributes.
pub async fn provision(
    context: &Context,
    request: &Request,
    kind: Kind,
    physical_id: &PhysicalId,
) -> anyhow::Result<Data> {
    let registry = &context.registry;
    let stack = request.stack()?;
    let desired = Desired::read(&request.properties, &stack, request.owner())?;
    verify_provision(context, request).await?;
    let (desired, is_rule_known) = match find_rule(context, &desired).await {
        Ok(rule) => (desired.following(rule.as_ref()), true),
        // A failed roll-back would leave the stack stuck, and the lifecycle policy in force does no harm.
        Err(error) if kind == Kind::Update && rolling_back(context, request, false).await => {
            warn!("the policy cannot be read, so the lifecycle policy is not changed: {error:#}");
            (desired, false)
        }
        Err(error) => return Err(error),
    };
    let previous = Previous::read(&request.old_properties);
    let arn = stack.repository(&desired.settings.repository_name);

    let observed = once_permitted(|| observe(registry, &arn)).await?;
    let put_back = observed.as_ref().filter(|_| is_rule_known);
    let put_back = put_back.and_then(|found| reconcile::lifecycle_to_put_back(&desired, found));
    let desired = match put_back {
        Some(lifecycle) => Desired { lifecycle, keeps_adopted_lifecycle: false, ..desired },
        None => desired,
    };
    let before = previous.for_repository(&arn.name);
    if let Err(refusal) = reconcile::permit(&desired, &before, observed.as_ref(), kind) {
        // A refused roll-back would leave the stack stuck, and the settings that it restores were accepted
        // before.
        if kind != Kind::Update || !rolling_back(context, request, false).await {
            return Err(refusal.into());
        }
        warn!(repository.name = %arn.name, "{refusal}");
        if let (ReconcileRefusal::Exists { .. }, Some(found)) = (&refusal, &observed) {
            // The stack rolls back, and somebody else's repository does not change.
            physical_id.set(&arn.to_string());
            return Ok(attributes(&desired, found));
        }
    }
    // From here on, a failed creation leaves a repository that its Delete has to remove. A repository of this
    // resource that held images before was not created by this request, and is not removed.
    let standing = observed.as_ref().map(|found| &found.standing);
    let ours = |standing: &OwnershipState| standing.owned_by(&desired.owner) && standing.empty;
    if kind == Kind::Create && standing.is_none_or(ours) {
        physical_id.set(&arn.to_string());
    }

    let lifecycle = match reconcile::lifecycle(&desired, observed.as_ref()) {
        _ if !is_rule_known && observed.is_some() => LifecycleDecision::Keep,
        LifecycleDecision::Preview => preview(context, request, &desired, &arn).await?,
        decided => decided,
    };
    let plan = reconcile::plan(&desired, &before, observed.as_ref(), lifecycle)?;
    info!(repository.name = %arn.name, "{plan}");
    if let Some(text) = observed.as_ref().and_then(|found| found.lifecycle.as_deref())
        && lifecycle == LifecycleDecision::Put
    {
        info!(repository.name = %arn.name, "the lifecycle policy that is replaced: {text}");
    }
    for action in &plan.actions {
        if let Err(error) = once_permitted(|| apply(registry, &arn, action)).await {
            // A role that was deleted since must not stop the roll-back of a stack.
            let gone = matches!(action, RepositoryChange::SetPolicy(_))
                && code(&error) == Some("InvalidParameterException");
            if !gone || kind != Kind::Update || !rolling_back(context, request, false).await {
                return Err(error.context(format!("repository {}: {action}", arn.name)));
            }
            warn!(repository.name = %arn.name, "the repository policy in force stays: {action}: {error:#}");
        }
    }

    if kind == Kind::Update
        && let Err(error) = remove_stray(registry, request, &previous, &arn).await
    {
        // The update itself is done, and an empty repository does no harm.
        warn!("the empty repository of a failed rename could not be deleted: {error:#}");
    }
    let found = match observed {
        Some(found) => found,
        None => observe(registry, &arn)
            .await?
            .context("the repository does not exist right after it was created; deploy again")?,
    };
    physical_id.set(&arn.to_string());
    Ok(attributes(&desired, &found))
}

/// The rule of the repository in the policy that the properties name.
async fn find_rule(context: &Context, desired: &Desired) -> anyhow::Result<Option<Policy>> {
    let policy = DeployedPolicy::new(desired.policy_version.to_string());
    let governance = once_permitted(|| policy.get(&context.ledger)).await?;
    Ok(governance.rule_for(&desired.settings.repository_name, RepositoryOrigin::Pushed))
}

fn attributes(desired: &Desired, found: &ObservedRepository) -> Data {
    let attributes = json!({
        "Arn": found.description.arn,
        "RepositoryName": desired.settings.repository_name,
        "RepositoryUri": found.description.uri,
        "RegistryId": found.description.registry_id,
    });
    match attributes {
        Value::Object(data) => data,
        _ => Data::new(),
    }
}

/// Asks ECR which images the new lifecycle policy would expire, and decides by the limit. A preview that
/// fails counts as above the limit. A roll-back is never refused: the lifecycle policy stays instead.
async fn preview(
    context: &Context,
    request: &Request,
    desired: &Desired,
    arn: &RepositoryArn,
) -> anyhow::Result<LifecycleDecision> {
    let previewed = preview_lifecycle(&context.registry, &arn.name, &desired.lifecycle).await;
    let refusal = match previewed
        .and_then(|impact: LifecycleImpact| Ok(impact.within(desired.lifecycle_impact_limit)?))
    {
        Ok(()) => return Ok(LifecycleDecision::Put),
        Err(refusal) => refusal.context(format!("repository {}", arn.name)),
    };
    // A refused roll-back could leave the stack stuck between two states, and the present policy does no harm.
    if !rolling_back(context, request, true).await {
        return Err(refusal);
    }
    warn!(repository.name = %arn.name, "the lifecycle policy is not changed: {refusal:#}");
    Ok(LifecycleDecision::Keep)
}

/// Deletes the new, empty repository of a failed rename. The old properties of the roll-back have the new
/// name, and its physical ID has the old name.
async fn remove_stray(
    registry: &Registry,
    request: &Request,
    previous: &Previous,
    kept: &RepositoryArn,
) -> anyhow::Result<()> {
    let physical = request.physical_resource_id.as_deref().unwrap_or_default();
    let Some(name) = &previous.repository_name else {
        return Ok(());
    };
    let stray = request.stack()?.repository(name);
    if stray == *kept || stray.to_string() == physical {
        return Ok(());
    }
    let standing = observe_standing(registry, &stray).await?;
    if let Some(action) = reconcile::removal(standing.as_ref(), &request.owner(), false).action {
        info!(repository.name = %stray.name, "{action}: a failed rename created it");
        apply(registry, &stray, &action).await?;
    }
    Ok(())
}

/// Deletes or keeps the repository, by `OnDelete`. Only a failed call of AWS is an error. A request that
/// cannot be read keeps the repository.
pub async fn delete(context: &Context, request: &Request) -> anyhow::Result<Data> {
    let id = request.physical_resource_id.as_deref().unwrap_or_default();
    let ours = request.stack().ok().zip(id.parse::<RepositoryArn>().ok());
    let Some((stack, arn)) = ours.filter(|(stack, arn)| stack.repository(&arn.name) == *arn) else {
        info!(
            "the physical ID {id:?} is not a repository of this account and region; nothing to delete"
        );
        return Ok(Data::new());
    };
    let standing = once_permitted(|| observe_standing(&context.registry, &arn)).await?;
    // The tag stores `OnDelete` of the last accepted request. Anybody who may tag the repository can change
    // the tag, and anybody who may invoke the function can write a request, so the deletion of images needs
    // both.
    let requested = request.properties.get("OnDelete").and_then(Value::as_str);
    let mut with_images = matches!(requested.map(str::parse), Some(Ok(OnDelete::DeleteWithImages)))
        && standing.as_ref().is_some_and(OwnershipState::is_deleted_with_images);
    if with_images && standing.as_ref().is_some_and(|standing| !standing.empty) {
        // A Create that is rolled back may have taken over a repository with older images, and a late copy
        // of the request may find newer images.
        with_images = removing(context, request).await;
        if !with_images {
            warn!(
                repository.name = %arn.name,
                "the images are kept although OnDelete is delete-with-images: the stack is rolling back, or no operation of the stack is in progress"
            );
        }
    }
    let removal = reconcile::removal(standing.as_ref(), &request.owner(), with_images);
    info!(repository.name = %arn.name, "repository {} of stack {}: {removal}", arn.name, stack.name);
    if standing.as_ref().is_some_and(|standing| standing.tags.contains_key(COUNT_TAG)) {
        info!(
            repository.name = %arn.name,
            "to put back the lifecycle policy that ECR Warden replaced, run: ecr-warden restore-lifecycle {}",
            arn.name
        );
    }
    if let Some(action) = removal.action {
        match once_permitted(|| apply(&context.registry, &arn, &action)).await {
            Err(error) if code(&error) == Some("RepositoryNotEmptyException") => {
                warn!(repository.name = %arn.name, "an image was pushed in the meantime, so the repository is kept");
            }
            outcome => outcome.with_context(|| format!("repository {}: {action}", arn.name))?,
        }
    }
    Ok(Data::new())
}
