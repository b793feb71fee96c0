//! The accounts and organizations that may pull: ECR Warden's statements in the repository policy. The
//! statements of others are kept.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::arn::is_account;

/// The names of ECR Warden's statements.
const SIDS: [&str; 2] = ["EcrWardenPullAccounts", "EcrWardenPullOrganizations"];

/// An account or an organization whose principals may pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPrincipal {
    /// An account, twelve digits.
    Account(String),
    /// An organization, `o-` and 10 to 32 letters and digits.
    Organization(String),
}

/// The error for a text that is neither an account nor an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an account ID (12 digits) or an organization ID (o-…)")]
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

/// The change of a repository policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The policy does not change.
    None,
    /// The policy is replaced by this text.
    Set(String),
    /// The policy has no statement left, and is deleted.
    Delete,
}

/// The error for a repository policy that no statement can be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the repository policy is not JSON with a list of statements, so PullPrincipals cannot be added; correct the repository policy, or leave PullPrincipals empty"
)]
pub struct Unreadable;

/// The change after which ECR Warden's statements in `policy` let exactly `principals` pull.
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
            // An unreadable policy of somebody else does not matter while no statement has to be added.
            Err(_) if wanted.is_empty() => return Ok(Change::None),
            Err(_) => return Err(Unreadable),
        },
    };
    let before = match document.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ if wanted.is_empty() => return Ok(Change::None),
        _ => return Err(Unreadable),
    };
    let mut statements = before.clone();
    let sid = |statement: &Value| statement.get("Sid").and_then(Value::as_str).map(str::to_owned);
    statements.retain(|statement| !sid(statement).is_some_and(|sid| SIDS.contains(&sid.as_str())));
    statements.extend(wanted);
    if canonical(&Value::Array(statements.clone())) == canonical(&before.into()) {
        Ok(Change::None)
    } else if statements.is_empty() {
        Ok(Change::Delete)
    } else {
        if let Some(document) = document.as_object_mut() {
            document.insert("Statement".to_owned(), statements.into());
        }
        Ok(Change::Set(document.to_string()))
    }
}

/// The value of a policy in one form, because ECR returns a policy in its own form. The order of a list
/// does not count, and a list of one entry equals the entry.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(canonical).collect();
            values.sort_by_cached_key(Value::to_string);
            if values.len() == 1 { values.remove(0) } else { values.into() }
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), canonical(value))).collect()
        }
        other => other.clone(),
    }
}

fn statements(principals: &[PullPrincipal], partition: &str) -> Vec<Value> {
    let mut accounts = Vec::new();
    let mut organizations = Vec::new();
    for principal in principals {
        match principal {
            // ECR returns an account as the ARN of its root user.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_ecr_returns_in_another_form_does_not_change() {
        let principals: Vec<PullPrincipal> =
            ["210987654321", "310987654321", "o-abcdefghij"].map(|id| id.parse().unwrap()).into();
        let Change::Set(text) = change(None, &principals, "aws").unwrap() else { panic!() };
        assert_eq!(change(Some(&text), &principals, "aws"), Ok(Change::None));
        let mut theirs: Value = serde_json::from_str(&text).unwrap();
        let statements = theirs["Statement"].as_array_mut().unwrap();
        statements.reverse();
        statements[0]["Condition"]["StringEquals"]["aws:PrincipalOrgID"] = "o-abcdefghij".into();
        statements[1]["Principal"]["AWS"].as_array_mut().unwrap().reverse();
        assert_eq!(change(Some(&theirs.to_string()), &principals, "aws"), Ok(Change::None));
        assert_eq!(change(Some(&text), &[], "aws"), Ok(Change::Delete));
        let fewer = principals.get(1..).unwrap();
        assert!(matches!(change(Some(&text), fewer, "aws"), Ok(Change::Set(_))));
    }

    #[test]
    fn a_policy_that_cannot_be_read_does_not_change_or_is_refused() {
        let principals = ["210987654321".parse().unwrap()];
        for text in ["", "[]", "{}", r#"{"Statement": 1}"#] {
            assert_eq!(change(Some(text), &[], "aws"), Ok(Change::None));
            assert_eq!(change(Some(text), &principals, "aws"), Err(Unreadable));
        }
    }
}
