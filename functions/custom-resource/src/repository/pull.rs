//! Who outside the account may pull: our statements in the repository's policy, beside
//! those of others, which stay.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::arn::is_account;

/// What our statements are known by.
const SIDS: [&str; 2] = ["EcrWardenPullAccounts", "EcrWardenPullOrganizations"];

/// An account or an organisation whose principals may pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPrincipal {
    /// An account, twelve digits.
    Account(String),
    /// An organisation, `o-` and 10 to 32 letters and digits.
    Organization(String),
}

/// Text that is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an account ID (12 digits) or an organisation ID (o-…)")]
pub struct InvalidPullPrincipal;

impl FromStr for PullPrincipal {
    type Err = InvalidPullPrincipal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_account(text) {
            return Ok(Self::Account(text.to_owned()));
        }
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match text.strip_prefix("o-") {
            Some(id) if (10..=32).contains(&id.len()) && id.bytes().all(valid) => {
                Ok(Self::Organization(text.to_owned()))
            }
            _ => Err(InvalidPullPrincipal),
        }
    }
}

/// What is to be done with a repository's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is as it should be.
    None,
    /// It becomes this text.
    Set(String),
    /// Nothing is left in it.
    Delete,
}

/// The policy in force is not one that can be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the repository's policy cannot be read as JSON with a list of statements, so PullPrincipals cannot be added to it"
)]
pub struct Unreadable;

/// What makes `policy` let `principals` pull, and nobody else by a statement of ours.
pub fn change(
    policy: Option<&str>,
    principals: &[PullPrincipal],
    partition: &str,
) -> Result<Change, Unreadable> {
    let wanted = statements(principals, partition);
    let mut document = match policy {
        None if wanted.is_empty() => return Ok(Change::None),
        None => json!({"Version": "2012-10-17", "Statement": []}),
        Some(text) => match serde_json::from_str(text) {
            Ok(document) => document,
            // Somebody else's affair, as long as nothing is to be added.
            Err(_) if wanted.is_empty() => return Ok(Change::None),
            Err(_) => return Err(Unreadable),
        },
    };
    let Some(statements) = document.get_mut("Statement").and_then(Value::as_array_mut) else {
        return if wanted.is_empty() { Ok(Change::None) } else { Err(Unreadable) };
    };
    let before = statements.clone();
    let sid = |statement: &Value| statement.get("Sid").and_then(Value::as_str).map(str::to_owned);
    statements.retain(|statement| !sid(statement).is_some_and(|sid| SIDS.contains(&sid.as_str())));
    statements.extend(wanted);
    if *statements == before {
        Ok(Change::None)
    } else if statements.is_empty() {
        Ok(Change::Delete)
    } else {
        Ok(Change::Set(document.to_string()))
    }
}

fn statements(principals: &[PullPrincipal], partition: &str) -> Vec<Value> {
    let mut accounts = Vec::new();
    let mut organizations = Vec::new();
    for principal in principals {
        match principal {
            // As ECR gives it back: by the ARN of the account's root.
            PullPrincipal::Account(id) => accounts.push(format!("arn:{partition}:iam::{id}:root")),
            PullPrincipal::Organization(id) => organizations.push(id.clone()),
        }
    }
    let actions =
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    let [by_account, by_organization] = SIDS;
    let mut statements = Vec::new();
    if !accounts.is_empty() {
        statements.push(json!({
            "Sid": by_account, "Effect": "Allow", "Action": actions,
            "Principal": {"AWS": accounts},
        }));
    }
    if !organizations.is_empty() {
        statements.push(json!({
            "Sid": by_organization, "Effect": "Allow", "Action": actions, "Principal": "*",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": organizations}},
        }));
    }
    statements
}

impl fmt::Display for PullPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Account(id) | Self::Organization(id)) = self;
        f.write_str(id)
    }
}
