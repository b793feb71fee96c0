//! The policy that is wanted × the one that is there → what is to be done.

use std::fmt;

use serde_json::Value;

use super::Desired;
use crate::plan::ChangePlan;

/// IAM keeps this many versions of a policy.
const MOST_VERSIONS: usize = 5;

/// A policy in IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPolicy {
    /// The value of its owner tag.
    pub owner: Option<String>,
    /// What its default version grants.
    pub document: Value,
    /// The versions that are not the default one, the oldest first.
    pub other_versions: Vec<String>,
    /// The names of the roles it is attached to.
    pub roles: Vec<String>,
    /// Users and groups it is attached to, and principals it bounds: not by us.
    pub others: Vec<String>,
}

/// The policy's name is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy {arn} exists already and this resource did not make it; nothing was changed")]
pub struct Foreign {
    /// The policy's ARN.
    pub arn: String,
}

/// One change of a policy, or of what it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChange {
    /// Make it, with its owner tag.
    Create {
        /// Its name.
        name: String,
        /// What it grants.
        document: Value,
        /// The value of the owner tag.
        owner: String,
    },
    /// Remove a version.
    DeleteVersion(String),
    /// Add a version and make it the default.
    CreateVersion(Value),
    /// Attach it to a role, by its name.
    Attach(String),
    /// Detach it from a role.
    Detach(String),
    /// Remove it.
    Delete,
}

/// Whether anything may be done with what is there.
pub fn permit(desired: &Desired, observed: Option<&ObservedPolicy>) -> Result<(), Foreign> {
    match observed {
        Some(found) if found.owner.as_ref() != Some(&desired.owner) => {
            Err(Foreign { arn: desired.arn.clone() })
        }
        _ => Ok(()),
    }
}

/// What makes `observed` what is `desired`; `previous` are the roles that the properties
/// named before.
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
    // Only what our own old properties attached: others may attach it too.
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
    /// It stays, or is gone already.
    Nothing {
        /// Our own attachments still go.
        plan: ChangePlan<PolicyChange>,
        /// Why.
        reason: String,
    },
    /// It goes.
    Whole(ChangePlan<PolicyChange>),
}

/// Detaches the roles that the properties named, and removes the policy if nobody else uses
/// it.
#[must_use]
pub fn removal(observed: Option<&ObservedPolicy>, owner: &str, roles: &[String]) -> PolicyRemoval {
    let nothing = |plan, reason: &str| PolicyRemoval::Nothing { plan, reason: reason.to_owned() };
    let Some(observed) = observed else {
        return nothing(ChangePlan { actions: Vec::new() }, "gone already");
    };
    if observed.owner.as_deref() != Some(owner) {
        return nothing(
            ChangePlan { actions: Vec::new() },
            "kept, since this resource did not make it",
        );
    }
    let (ours, theirs): (Vec<&String>, Vec<&String>) =
        observed.roles.iter().partition(|role| roles.contains(role));
    let mut plan =
        ChangePlan { actions: ours.into_iter().cloned().map(PolicyChange::Detach).collect() };
    let others: Vec<&str> =
        theirs.into_iter().chain(&observed.others).map(String::as_str).collect();
    if !others.is_empty() {
        let reason = format!("kept, since others attached it: {}", others.join(", "));
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
            Self::Create { document, .. } => write!(f, "create it as {document}"),
            Self::DeleteVersion(version) => write!(f, "delete its version {version}"),
            Self::CreateVersion(document) => write!(f, "make it {document}"),
            Self::Attach(role) => write!(f, "attach it to {role}"),
            Self::Detach(role) => write!(f, "detach it from {role}"),
            Self::Delete => f.write_str("delete it"),
        }
    }
}
