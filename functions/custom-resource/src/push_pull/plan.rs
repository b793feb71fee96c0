//! Decides the changes from the desired policy to the observed policy, without a call.

use std::fmt;

use serde_json::Value;

use super::Desired;
use crate::plan::ChangePlan;

/// The most versions of a policy that IAM keeps.
const MOST_VERSIONS: usize = 5;

/// A policy in IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPolicy {
    /// The value of its owner tag.
    pub owner: Option<String>,
    /// The document of its default version.
    pub document: Value,
    /// The versions that are not the default one, the oldest first.
    pub other_versions: Vec<String>,
    /// The names of the roles that the policy is attached to.
    pub roles: Vec<String>,
    /// The users and groups that the policy is attached to, and the principals that it bounds. ECR Warden
    /// never does either.
    pub others: Vec<String>,
}

/// The error for a policy of the same name that this resource did not create.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the policy {arn} exists already, and this resource did not create it; nothing was changed. Delete the policy, or deploy the stack under another name"
)]
pub struct Foreign {
    /// The policy's ARN.
    pub arn: String,
}

/// A change of a policy or of its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// Create the policy with its owner tag.
    Create {
        /// The name of the policy.
        name: String,
        /// The policy document.
        document: Value,
        /// The value of the owner tag.
        owner: String,
    },
    /// Delete a version.
    DeleteVersion(String),
    /// Add a version, which becomes the default version.
    CreateVersion(Value),
    /// Attach the policy to a role, by the role's name.
    Attach(String),
    /// Detach the policy from a role.
    Detach(String),
    /// Delete the policy.
    Delete,
}

/// Fails if this resource did not create the observed policy.
pub fn permit(desired: &Desired, observed: Option<&ObservedPolicy>) -> Result<(), Foreign> {
    match observed {
        Some(found) if found.owner.as_ref() != Some(&desired.owner) => {
            Err(Foreign { arn: desired.arn.clone() })
        }
        _ => Ok(()),
    }
}

/// The changes that make the observed policy equal to the desired policy. `previous` holds the roles that
/// the old properties name.
#[must_use]
pub fn plan(
    desired: &Desired,
    previous: &[String],
    observed: Option<&ObservedPolicy>,
) -> ChangePlan<PolicyChange> {
    let mut actions = Vec::new();
    let mut attached: &[String] = &[];
    if let Some(observed) = observed {
        attached = &observed.roles;
        if observed.document != desired.document {
            let spare = (MOST_VERSIONS - 1).saturating_sub(observed.other_versions.len());
            if spare == 0 {
                actions.extend(
                    observed.other_versions.first().cloned().map(PolicyChange::DeleteVersion),
                );
            }
            actions.push(PolicyChange::CreateVersion(desired.document.clone()));
        }
    } else {
        let (name, document, owner) =
            (desired.name.clone(), desired.document.clone(), desired.owner.clone());
        actions.push(PolicyChange::Create { name, document, owner });
    }
    for role in desired.roles.iter().filter(|role| !attached.contains(role)) {
        actions.push(PolicyChange::Attach(role.clone()));
    }
    // Only roles of the old properties are detached, because others may attach the policy too.
    for role in
        previous.iter().filter(|role| !desired.roles.contains(role) && attached.contains(role))
    {
        actions.push(PolicyChange::Detach(role.clone()));
    }
    ChangePlan { actions }
}

/// The outcome for a policy whose resource is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRemoval {
    /// The policy is kept, or does not exist any more.
    Nothing {
        /// The changes that detach the roles of the properties.
        plan: ChangePlan<PolicyChange>,
        /// The reason.
        reason: String,
    },
    /// The policy is deleted.
    Whole(ChangePlan<PolicyChange>),
}

/// Detaches the roles that the properties name, and deletes the policy if nobody else uses the policy.
#[must_use]
pub fn removal(observed: Option<&ObservedPolicy>, owner: &str, roles: &[String]) -> PolicyRemoval {
    let nothing = |plan, reason: &str| PolicyRemoval::Nothing { plan, reason: reason.to_owned() };
    let Some(observed) = observed else {
        return nothing(ChangePlan { actions: Vec::new() }, "the policy does not exist any more");
    };
    if observed.owner.as_deref() != Some(owner) {
        return nothing(
            ChangePlan { actions: Vec::new() },
            "the policy is kept, because this resource did not create it",
        );
    }
    let (ours, theirs): (Vec<&String>, Vec<&String>) =
        observed.roles.iter().partition(|role| roles.contains(role));
    let mut plan =
        ChangePlan { actions: ours.into_iter().cloned().map(PolicyChange::Detach).collect() };
    let others: Vec<&str> =
        theirs.into_iter().chain(&observed.others).map(String::as_str).collect();
    if !others.is_empty() {
        let reason = format!("the policy is kept, because others use it: {}", others.join(", "));
        return PolicyRemoval::Nothing { plan, reason };
    }
    plan.actions.extend(observed.other_versions.iter().cloned().map(PolicyChange::DeleteVersion));
    plan.actions.push(PolicyChange::Delete);
    PolicyRemoval::Whole(plan)
}

impl fmt::Display for PolicyRemoval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { plan, reason } if plan.actions.is_empty() => f.write_str(reason),
            Self::Nothing { plan, reason } => write!(f, "{plan}; {reason}"),
            Self::Whole(plan) => write!(f, "{plan}"),
        }
    }
}

impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { document, .. } => write!(f, "create the policy {document}"),
            Self::DeleteVersion(version) => write!(f, "delete version {version} of the policy"),
            Self::CreateVersion(document) => write!(f, "replace the policy by {document}"),
            Self::Attach(role) => write!(f, "attach the policy to the role {role}"),
            Self::Detach(role) => write!(f, "detach the policy from the role {role}"),
            Self::Delete => f.write_str("delete the policy"),
        }
    }
}
