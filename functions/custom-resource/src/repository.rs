//! `Custom::EcrRepository`: one repository, made, adopted, changed or let go.
//!
//! [`properties`] reads the desired repository, `observe` the repository as it is, [`reconcile`]
//! decides, `apply` acts, and this module puts them in order. A repository made here carries an owner tag from the
//! call that makes it; only with that tag is it ever removed.

mod apply;
mod observe;
pub mod properties;
pub mod pull;
pub mod reconcile;

use anyhow::Context as _;
use serde_json::{Value, json};
use tracing::{info, warn};
use warden_aws::registry::Registry;
use warden_aws::registry::replaced_lifecycle::COUNT_TAG;

use self::apply::apply;
use self::observe::{observe, observe_standing, preview_lifecycle};
use self::properties::{Desired, OnDelete, Previous};
use self::reconcile::{
    LifecycleDecision, LifecycleImpact, ObservedRepository, OwnershipState, ReconcileRefusal,
};
use crate::Context;
use crate::arn::RepositoryArn;
use crate::request::{Kind, PhysicalId, Request};
use crate::response::Data;
use crate::stack::{code, once_permitted, removing, rolling_back};
use crate::verification::verify_provision;

/// The type's name in a template.
pub const RESOURCE_TYPE: &str = "Custom::EcrRepository";

/// Makes the repository what the properties say, and gives its attributes.
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
    let previous = Previous::read(&request.old_properties);
    let arn = stack.repository(&desired.policy.repository_name);

    let observed = once_permitted(|| observe(registry, &arn)).await?;
    let before = previous.of(&arn.name);
    if let Err(refusal) = reconcile::permit(&desired, &before, observed.as_ref(), kind) {
        // To refuse a roll-back would leave the stack stuck, and what it goes back to was
        // accepted once.
        if kind != Kind::Update || !rolling_back(context, request, false).await {
            return Err(refusal.into());
        }
        warn!(repository.name = %arn.name, "{refusal}");
        if let (ReconcileRefusal::Exists { .. }, Some(found)) = (&refusal, &observed) {
            // The stack goes back without a change of somebody else's repository.
            physical_id.set(&arn.to_string());
            return Ok(attributes(&desired, found));
        }
    }
    // From here on a failed creation has something to take away; but what held images
    // before, although it is ours, is not this creation's.
    let standing = observed.as_ref().map(|found| &found.standing);
    let ours = |standing: &OwnershipState| standing.owned_by(&desired.owner) && standing.empty;
    if kind == Kind::Create && standing.is_none_or(ours) {
        physical_id.set(&arn.to_string());
    }

    let lifecycle = match reconcile::lifecycle(&desired, observed.as_ref()) {
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
        once_permitted(|| apply(registry, &arn, action))
            .await
            .with_context(|| format!("repository {}: {action}", arn.name))?;
    }

    if kind == Kind::Update
        && let Err(error) = remove_stray(registry, request, &previous, &arn).await
    {
        // The update itself is done, and an empty repository harms nobody.
        warn!("what a rename that failed left behind could not be removed: {error:#}");
    }
    let found = match observed {
        Some(found) => found,
        None => observe(registry, &arn)
            .await?
            .context("the repository is gone right after it was made")?,
    };
    physical_id.set(&arn.to_string());
    Ok(attributes(&desired, &found))
}

fn attributes(desired: &Desired, found: &ObservedRepository) -> Data {
    let attributes = json!({
        "Arn": found.description.arn,
        "RepositoryName": desired.policy.repository_name,
        "RepositoryUri": found.description.uri,
        "RegistryId": found.description.registry_id,
        "Governance": desired.policy.normalised(),
    });
    match attributes {
        Value::Object(data) => data,
        _ => Data::new(),
    }
}

/// Asks ECR what a changed lifecycle policy would expire, and decides whether it may. Blind
/// is as good as too many; only a roll-back is never refused: the policy in force stays.
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
    // Refusing could leave the stack stuck between two states; keeping harms nobody.
    if !rolling_back(context, request, true).await {
        return Err(refusal);
    }
    warn!(repository.name = %arn.name, "the lifecycle policy in force stays: {refusal:#}");
    Ok(LifecycleDecision::Keep)
}

/// A rename that failed may have left the new, empty repository behind. Its roll-back comes
/// with that name among the old properties, and with an ID of another name.
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
        info!(repository.name = %stray.name, "{action}: left behind by a rename that failed");
        apply(registry, &stray, &action).await?;
    }
    Ok(())
}

/// Lets the repository go as `OnDelete` says. It only fails where AWS does: what cannot be
/// read means that the repository stays.
pub async fn delete(context: &Context, request: &Request) -> anyhow::Result<Data> {
    let id = request.physical_resource_id.as_deref().unwrap_or_default();
    let ours = request.stack().ok().zip(id.parse::<RepositoryArn>().ok());
    let Some((stack, arn)) = ours.filter(|(stack, arn)| stack.repository(&arn.name) == *arn) else {
        info!("{id:?} is no repository of this account and region; nothing to remove");
        return Ok(Data::new());
    };
    let standing = once_permitted(|| observe_standing(&context.registry, &arn)).await?;
    // The tag says what the last accepted request wanted. Whoever may tag the repository can change
    // the tag, and whoever may invoke the function can write the request: images need both.
    let requested = request.properties.get("OnDelete").and_then(Value::as_str);
    let mut with_images = matches!(requested.map(str::parse), Some(Ok(OnDelete::DeleteWithImages)))
        && standing.as_ref().is_some_and(OwnershipState::is_deleted_with_images);
    if with_images && standing.as_ref().is_some_and(|standing| !standing.empty) {
        // A creation that is rolled back may have taken up what had images long before, and a
        // late copy of the request may come when there are others.
        with_images = removing(context, request).await;
        if !with_images {
            warn!(
                repository.name = %arn.name,
                "OnDelete is delete-with-images, but only while the stack removes something, and not in a roll-back"
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
                warn!(repository.name = %arn.name, "an image arrived meanwhile, so the repository stays");
            }
            outcome => outcome.with_context(|| format!("repository {}: {action}", arn.name))?,
        }
    }
    Ok(Data::new())
}
