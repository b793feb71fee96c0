//! `Custom::EcrGovernance`: checks the policy, and writes it to the ledger under its version.
//!
//! The functions of a deployment read the version that this resource answers. A deployment with an invalid
//! policy fails, and names every mistake. A roll-back of the stack sends the earlier policy again.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::{info, warn};
use warden_core::image::RepositoryPattern;
use warden_core::node::Node;
use warden_core::policy::Governance;
use warden_core::policy::Provisioned;
use warden_core::properties::{Invalid, Problem, Reader};

use crate::Context;
use crate::request::{PhysicalId, Request};
use crate::response::Data;
use crate::stack::once_permitted;
use crate::verification::verify_provision;

/// The type's name in a template.
pub const RESOURCE_TYPE: &str = "Custom::EcrGovernance";

/// The most characters of the attribute `Warnings`.
const LONGEST_WARNINGS: usize = 1_000;

/// Reads the properties. The error names every mistake of the policy and of the other properties.
pub fn desired(properties: &Value) -> Result<Governance, Invalid> {
    let properties = Node::from(properties);
    let mut reader = Reader::new(&properties);
    for name in ["ServiceToken", "ServiceTimeout", "Policy", "Ledger"] {
        reader.ignore(name);
    }
    let ceiling: Vec<RepositoryPattern> = reader.words("EnforceRepositories");
    let provisioned = Provisioned::read(&mut reader);
    let mut problems = reader.finish();
    let Some(policy) = properties.get("Policy") else {
        problems.push(Problem::new("Policy", "this required property is missing"));
        return Err(Invalid(problems));
    };
    match Governance::read(policy, provisioned, Some(&ceiling)) {
        Ok(governance) if problems.is_empty() => Ok(governance),
        Ok(_) => Err(Invalid(problems)),
        Err(Invalid(of_policy)) => Err(Invalid([problems, of_policy].concat())),
    }
}

/// Writes the policy to the ledger, and returns its version and its warnings.
pub async fn provision(
    context: &Context,
    request: &Request,
    physical_id: &PhysicalId,
    now: DateTime<Utc>,
) -> anyhow::Result<Data> {
    let governance = desired(&request.properties).context("the policy is invalid")?;
    verify_provision(context, request).await?;
    let (version, policy) = (governance.version().to_string(), governance.normalised());
    // The ID never changes: another policy is not another resource.
    physical_id.set(&request.owner());
    once_permitted(|| context.ledger.record_policy(&version, &policy, now)).await?;
    let rules = governance.document.rules.len();
    info!(policy.version = version, "the policy {version} with {rules} rules is in the ledger");
    let warnings = governance.warnings();
    for warning in &warnings {
        warn!(policy.version = version, "{warning}");
    }
    let attributes = json!({"Version": version, "Warnings": shown(&warnings)});
    Ok(attributes.as_object().cloned().unwrap_or_default())
}

/// The warnings as one text, which says how many it leaves out.
fn shown(warnings: &[Problem]) -> String {
    if warnings.is_empty() {
        return "none".to_owned();
    }
    let mut text = String::new();
    for (nth, warning) in warnings.iter().enumerate() {
        let warning = format!("{}{warning}", if nth == 0 { "" } else { "; " });
        if text.len() + warning.len() > LONGEST_WARNINGS {
            return format!("{text}; and {} more, which are in the log", warnings.len() - nth);
        }
        text += &warning;
    }
    text
}

/// Lets the policy expire. Only a failed call of AWS is an error.
pub async fn delete(
    context: &Context,
    request: &Request,
    now: DateTime<Utc>,
) -> anyhow::Result<Data> {
    let id = request.physical_resource_id.as_deref().unwrap_or_default();
    if request.owner() != id {
        info!("the physical ID {id:?} is not the ID of this resource; nothing to do");
        return Ok(Data::new());
    }
    once_permitted(|| context.ledger.retire_policy(now)).await?;
    Ok(Data::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_counted_instead_of_shown() {
        let warnings: Vec<Problem> =
            (0..100).map(|nth| Problem::new(format!("Rules[{nth}]"), "has no effect")).collect();
        assert_eq!(shown(&[]), "none");
        assert_eq!(shown(&warnings[..2]), "Rules[0]: has no effect; Rules[1]: has no effect");
        let text = shown(&warnings);
        assert!(text.len() < LONGEST_WARNINGS + 50, "{text}");
        assert!(text.ends_with(" more, which are in the log"), "{text}");
    }
}
