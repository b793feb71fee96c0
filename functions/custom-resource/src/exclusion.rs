//! `Custom::EcrPullTimeExclusion`: roles whose pulls ECR does not record. So a function that only reads an
//! image does not protect the image from cleanup.
//!
//! The registry has one list of excluded roles, which does not record who added a role. So the roles
//! that the properties name count as added here, and are removed with the resource.

use std::fmt;

use anyhow::Context as _;
use serde_json::Value;
use tracing::{info, warn};
use warden_aws::registry::Registry;
use warden_core::node::Node;
use warden_core::properties::{Invalid, Reader};

use crate::Context;
use crate::arn::{RoleArn, Stack};
use crate::plan::ChangePlan;
use crate::request::{PhysicalId, Request};
use crate::response::Data;
use crate::stack::{once_known, once_permitted, rolling_back, unknown};
use crate::verification::verify_provision;

/// The type's name in a template.
pub const RESOURCE_TYPE: &str = "Custom::EcrPullTimeExclusion";

/// The name of the only property.
const ROLES: &str = "RoleArns";

/// A change of the registry's list. The value is the ARN of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ExclusionChange {
    /// Adds the role to the list: ECR records no pulls of the role.
    Register(String),
    /// Removes the role from the list: ECR records pulls of the role again.
    Deregister(String),
}

/// Reads the properties. The error names every mistake.
pub fn desired(properties: &Value, stack: &Stack) -> Result<Vec<String>, Invalid> {
    let node = Node::from(properties);
    let mut reader = Reader::new(&node);
    for name in ["ServiceToken", "ServiceTimeout", "PolicyVersion"] {
        reader.ignore(name);
    }
    let roles: Vec<RoleArn> = reader.required_words(ROLES, "ARN of a role");
    for role in roles.iter().filter(|role| role.account != stack.account) {
        let message = format!(
            "role {} is in account {}; only roles of this account, {}, can be excluded",
            role.name, role.account, stack.account
        );
        reader.problem(ROLES, message);
    }
    match reader.finish() {
        problems if problems.is_empty() => Ok(roles.into_iter().map(|role| role.arn).collect()),
        problems => Err(Invalid(problems)),
    }
}

/// The roles of properties that may have been refused. A role that cannot be read, or that is in another
/// account, was never registered here.
fn registered(properties: &Value, stack: &Stack) -> Vec<String> {
    let roles: Vec<RoleArn> = Reader::new(&Node::from(properties)).words(ROLES);
    let ours = roles.into_iter().filter(|role| role.account == stack.account);
    ours.map(|role| role.arn).collect()
}

/// Registers the roles of the properties, and then deregisters the roles that only the old properties
/// name. To register a registered role again changes nothing, so the plan reads no list first.
fn plan(desired: &[String], previous: &[String]) -> ChangePlan<ExclusionChange> {
    let stale = previous.iter().filter(|role| !desired.contains(role));
    let actions = desired.iter().cloned().map(ExclusionChange::Register);
    ChangePlan { actions: actions.chain(stale.cloned().map(ExclusionChange::Deregister)).collect() }
}

/// Changes the registry's list so that it has the roles of the properties.
pub async fn provision(
    context: &Context,
    request: &Request,
    physical_id: &PhysicalId,
) -> anyhow::Result<Data> {
    let stack = request.stack()?;
    let desired = desired(&request.properties, &stack)?;
    verify_provision(context, request).await?;
    let plan = plan(&desired, &registered(&request.old_properties, &stack));
    info!("pull-time exclusions: {plan}");
    // The ID never changes: other roles are not another resource.
    physical_id.set(&request.owner());
    for action in &plan.actions {
        if let Err(error) = once_known(|| apply(&context.registry, action)).await {
            // A role that was deleted since must not stop the roll-back of a stack.
            if !unknown(&error) || !rolling_back(context, request, false).await {
                return Err(error.context(format!("pull-time exclusions: {action}")));
            }
            warn!("pull-time exclusions: {action}: {error:#}");
        }
    }
    Ok(Data::new())
}

/// Removes the roles of the properties from the registry's list. Only a failed call of AWS is an error:
/// a role that cannot be read was never on the list.
pub async fn delete(context: &Context, request: &Request) -> anyhow::Result<Data> {
    let id = request.physical_resource_id.as_deref().unwrap_or_default();
    let Some(stack) = request.stack().ok().filter(|_| request.owner() == id) else {
        info!("the physical ID {id:?} is not the ID of this resource; nothing to deregister");
        return Ok(Data::new());
    };
    let plan = plan(&[], &registered(&request.properties, &stack));
    info!("pull-time exclusions: {plan}");
    for action in &plan.actions {
        once_permitted(|| apply(&context.registry, action))
            .await
            .with_context(|| format!("pull-time exclusions: {action}"))?;
    }
    Ok(Data::new())
}

/// Carries out one action. No other function changes the registry's list.
async fn apply(registry: &Registry, action: &ExclusionChange) -> anyhow::Result<()> {
    match action {
        ExclusionChange::Register(role) => registry.exclude_pulls_of(role).await,
        ExclusionChange::Deregister(role) => registry.count_pulls_of(role).await,
    }
}

impl fmt::Display for ExclusionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(role) => write!(f, "register {role}"),
            Self::Deregister(role) => write!(f, "deregister {role}"),
        }
    }
}
