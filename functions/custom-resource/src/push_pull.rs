//! `Custom::EcrPushPullPolicy`: the IAM policy that lets CI/CD push and pull, and its attachments to the
//! roles that the properties name.
//!
//! [`document`] builds the policy document, [`plan`] decides the changes, and [`iam`] makes them.

pub mod document;
pub mod iam;
pub mod plan;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tracing::{info, warn};
use warden_core::node::Node;
use warden_core::properties::{Invalid, Reader};

pub use self::iam::Policies;
use self::plan::{PolicyChange, PolicyRemoval};
use crate::Context;
use crate::arn::{ADOPTED_TAG, OWNER_TAG, RepositoryArn, RoleArn, Stack};
use crate::request::{Kind, PhysicalId, Request};
use crate::response::Data;
use crate::stack::{code, denied, once_permitted, rolling_back};
use crate::verification::verify_provision;

/// The type's name in a template.
pub const RESOURCE_TYPE: &str = "Custom::EcrPushPullPolicy";

/// The path of every policy that this function creates. The function's role can change no other policy.
const PATH: &str = "/ecr-warden/";
/// IAM's limit for the name of a policy, in characters.
const LONGEST_NAME: usize = 128;

/// The policy that the properties describe. All values are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The policy's name.
    pub name: String,
    /// The policy's ARN, which depends only on the stack: a repeated request finds the same policy.
    pub arn: String,
    /// The policy document.
    pub document: Value,
    /// The repositories that the policy allows pushes to and pulls from.
    pub repositories: Vec<RepositoryArn>,
    /// The names of the roles that get the policy.
    pub roles: Vec<String>,
    /// The value of the owner tag.
    pub owner: String,
}

impl Desired {
    /// Reads the properties. The error names every mistake.
    pub fn read(properties: &Value, stack: &Stack, owner: String) -> Result<Self, Invalid> {
        let node = Node::from(properties);
        let mut reader = Reader::new(&node);
        for name in ["ServiceToken", "ServiceTimeout", "PolicyVersion"] {
            reader.ignore(name);
        }
        let repositories: Vec<RepositoryArn> =
            reader.required_words("RepositoryArns", "ARN of a repository");
        for arn in &repositories {
            if stack.repository(&arn.name) != *arn {
                let message = format!(
                    "{arn} is not in account {} and region {}",
                    stack.account, stack.region
                );
                reader.problem("RepositoryArns", message);
            }
        }
        let roles: Vec<RoleArn> = reader.words("AttachToRoleArns");
        for role in roles.iter().filter(|role| role.account != stack.account) {
            let message = format!(
                "role {} is in account {}; the policy can only be attached to roles of its own account, {}",
                role.name, role.account, stack.account
            );
            reader.problem("AttachToRoleArns", message);
        }
        let document = document::document(&repositories);
        if let Some(problem) = document::too_long(&document) {
            reader.problem("RepositoryArns", problem);
        }
        let name = name(stack);
        if name.len() > LONGEST_NAME {
            let message = format!(
                "the name of the policy, {name}, would be longer than {LONGEST_NAME} characters; choose a shorter stack name"
            );
            reader.problem("StackId", message);
        }
        match reader.finish() {
            problems if problems.is_empty() => Ok(Self {
                arn: arn(stack),
                name,
                document,
                repositories,
                roles: roles.into_iter().map(|role| role.name).collect(),
                owner,
            }),
            problems => Err(Invalid(problems)),
        }
    }
}

/// The name contains the region, because IAM is global. The name also contains part of the stack's ID:
/// otherwise a policy that outlived its stack would block a new stack of the same name.
fn name(stack: &Stack) -> String {
    format!("{}-{}-{}", stack.name, stack.region, stack.short_id)
}

fn arn(stack: &Stack) -> String {
    format!("arn:{}:iam::{}:policy{PATH}{}", stack.partition, stack.account, name(stack))
}

/// The roles of properties that may have been refused. Roles that cannot be read are left out.
fn roles(properties: &Value) -> Vec<String> {
    let roles: Vec<RoleArn> = Reader::new(&Node::from(properties)).words("AttachToRoleArns");
    roles.into_iter().map(|role| role.name).collect()
}

/// Creates or changes the policy as the properties describe it, and returns its attribute.
pub async fn provision(
    context: &Context,
    request: &Request,
    kind: Kind,
    physical_id: &PhysicalId,
) -> anyhow::Result<Data> {
    let stack = request.stack()?;
    let desired = Desired::read(&request.properties, &stack, request.owner())?;
    verify_provision(context, request).await?;
    if let Err(refusal) = permit_repositories(context, request, &desired.repositories).await {
        // A refused roll-back would leave the stack stuck, so the policy in force stays.
        if kind != Kind::Update || !rolling_back(context, request, false).await {
            return Err(refusal);
        }
        warn!(iam.policy = desired.arn, "the policy in force stays: {refusal:#}");
        return Ok(attributes(&desired));
    }
    let previous = roles(&request.old_properties);
    let observed = once_permitted(|| context.policies.observe(&desired.arn)).await?;
    plan::permit(&desired, observed.as_ref())?;
    if kind == Kind::Create {
        physical_id.set(&desired.arn);
    }
    let plan = plan::plan(&desired, &previous, observed.as_ref());
    info!(iam.policy = desired.arn, "{plan}");
    for action in &plan.actions {
        let outcome = once_permitted(|| context.policies.apply(&desired.arn, action)).await;
        if let Err(error) = outcome {
            // A role that was deleted since must not stop the roll-back of a stack. IAM may deny the call
            // instead of reporting the missing role, because only the role has the path.
            let gone = matches!(action, PolicyChange::Attach(_))
                && (code(&error) == Some("NoSuchEntity") || denied(&error));
            if !gone || !rolling_back(context, request, false).await {
                return Err(error.context(format!("policy {}: {action}", desired.arn)));
            }
            warn!(iam.policy = desired.arn, "{action}: {error:#}");
        }
    }
    physical_id.set(&desired.arn);
    Ok(attributes(&desired))
}

fn attributes(desired: &Desired) -> Data {
    Data::from_iter([("PolicyArn".to_owned(), desired.arn.clone().into())])
}

/// Fails unless this stack created or adopted each of the repositories.
async fn permit_repositories(
    context: &Context,
    request: &Request,
    repositories: &[RepositoryArn],
) -> anyhow::Result<()> {
    let of_stack = format!("{}/", request.stack_id);
    for arn in repositories {
        let id = arn.to_string();
        let tags = once_permitted(|| context.registry.repository_tags(&id)).await;
        let tags = tags.with_context(|| format!("RepositoryArns: listing the tags of {id}"))?;
        let marks = [OWNER_TAG, ADOPTED_TAG].map(|key| tags.get(key));
        ensure!(
            marks.into_iter().flatten().any(|mark| mark.starts_with(&of_stack)),
            "RepositoryArns: {id} is not a repository of this stack, so nothing was changed"
        );
    }
    Ok(())
}

/// Deletes the policy, unless somebody else attached it too. Only a failed call of AWS is an error.
pub async fn delete(context: &Context, request: &Request) -> anyhow::Result<Data> {
    let id = request.physical_resource_id.as_deref().unwrap_or_default();
    if !request.stack().is_ok_and(|stack| arn(&stack) == id) {
        info!("the physical ID {id:?} is not the ID of this stack's policy; nothing to delete");
        return Ok(Data::new());
    }
    let observed = once_permitted(|| context.policies.observe(id)).await?;
    let removal = plan::removal(observed.as_ref(), &request.owner(), &roles(&request.properties));
    info!(iam.policy = id, "{removal}");
    let (PolicyRemoval::Nothing { plan, .. } | PolicyRemoval::Whole(plan)) = &removal;
    for action in &plan.actions {
        match once_permitted(|| context.policies.apply(id, action)).await {
            Err(error) if code(&error) == Some("DeleteConflict") => {
                warn!(
                    iam.policy = id,
                    "somebody attached the policy in the meantime, so the policy is kept"
                );
                break;
            }
            outcome => outcome.with_context(|| format!("policy {id}: {action}"))?,
        }
    }
    Ok(Data::new())
}
