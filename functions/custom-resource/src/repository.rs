//! `Custom::EcrRepository`: one repository, made, adopted, changed or let go.
//!
//! [`properties`] reads what is wanted, [`registry`] what is there, [`reconcile`] decides,
//! and this module puts them in order. A repository made here carries an owner tag from the
//! call that makes it; only with that tag is it ever removed.

pub mod properties;
pub mod pull;
pub mod reconcile;
pub mod registry;

use anyhow::Context as _;
use serde_json::{Value, json};
use tracing::{info, warn};

use self::properties::{Desired, Previous};
use self::reconcile::{Claim, Impact, Lifecycle, Observed};
pub use self::registry::Registry;
use crate::Context;
use crate::arn::RepositoryArn;
use crate::request::{Kind, PhysicalId, Request};
use crate::response::Data;

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
    let previous = Previous::read(&request.old_properties);
    let arn = stack.repository(&desired.policy.repository_name);
    let physical = request.physical_resource_id.as_deref();
    let claim = if physical == Some(&arn.to_string()) { Claim::Held } else { Claim::New };

    let observed = registry.observe(&arn).await?;
    reconcile::permit(&desired, &previous, observed.as_ref(), claim)?;
    // From here on a failed creation has something to take away; but what held images
    // before, although it is ours, is not this creation's.
    if kind == Kind::Create
        && observed.as_ref().is_none_or(|found| found.owned_by(&desired.owner) && found.empty)
    {
        physical_id.set(&arn.to_string());
    }

    let lifecycle = match reconcile::lifecycle(&desired, observed.as_ref()) {
        Lifecycle::Preview => preview(context, request, &desired, &arn).await?,
        decided => decided,
    };
    let plan = reconcile::plan(&desired, &previous, observed.as_ref(), lifecycle)?;
    info!(repository.name = %arn.name, "{plan}");
    for action in &plan.actions {
        registry
            .apply(&arn, action)
            .await
            .with_context(|| format!("repository {}: {action}", arn.name))?;
    }

    if kind == Kind::Update {
        remove_stray(registry, request, &previous, &arn).await?;
    }
    let found = match observed {
        Some(found) => found,
        None => registry
            .observe(&arn)
            .await?
            .context("the repository is gone right after it was made")?,
    };
    physical_id.set(&arn.to_string());
    Ok(attributes(&desired, &found))
}

fn attributes(desired: &Desired, found: &Observed) -> Data {
    let attributes = json!({
        "Arn": found.arn,
        "RepositoryName": desired.policy.repository_name,
        "RepositoryUri": found.uri,
        "RegistryId": found.registry_id,
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
) -> anyhow::Result<Lifecycle> {
    let previewed = context.registry.preview(&arn.name, &desired.lifecycle).await;
    let refusal = match previewed
        .and_then(|impact: Impact| Ok(impact.within(desired.lifecycle_impact_limit)?))
    {
        Ok(()) => return Ok(Lifecycle::Put),
        Err(refusal) => refusal.context(format!("repository {}", arn.name)),
    };
    let rolling_back = match stack_status(context, &request.stack_id).await {
        Ok(status) => status.contains("ROLLBACK"),
        Err(error) => {
            // Refusing could leave the stack stuck between two states; keeping harms nobody.
            warn!("cannot tell whether the stack rolls back: {error:#}");
            true
        }
    };
    if !rolling_back {
        return Err(refusal);
    }
    warn!(repository.name = %arn.name, "the lifecycle policy in force stays: {refusal:#}");
    Ok(Lifecycle::Keep)
}

async fn stack_status(context: &Context, stack_id: &str) -> anyhow::Result<String> {
    let stacks = context
        .cloudformation
        .describe_stacks()
        .stack_name(stack_id)
        .send()
        .await
        .map_err(aws::explain)
        .context("describing the stack")?;
    let status = stacks.stacks().first().and_then(|stack| stack.stack_status());
    Ok(status.context("the stack has no status")?.as_str().to_owned())
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
    let outcome = registry.observe(&stray).await?;
    if let Some(action) = reconcile::removal(outcome.as_ref(), &request.owner(), false).action {
        info!(repository.name = %stray.name, "{action}: left behind by a rename that failed");
        registry.apply(&stray, &action).await?;
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
    let with_images =
        request.properties.get("OnDelete").and_then(Value::as_str) == Some("delete-with-images");
    let observed = context.registry.observe(&arn).await?;
    let removal = reconcile::removal(observed.as_ref(), &request.owner(), with_images);
    info!(repository.name = %arn.name, "repository {} of stack {}: {removal}", arn.name, stack.name);
    if let Some(action) = removal.action {
        match context.registry.apply(&arn, &action).await {
            Err(error) if error.is::<registry::NotEmpty>() => {
                warn!(repository.name = %arn.name, "an image arrived meanwhile, so the repository stays");
            }
            outcome => outcome.with_context(|| format!("repository {}: {action}", arn.name))?,
        }
    }
    Ok(Data::new())
}
