//! Whether a policy document is one that IAM or ECR would store.
//!
//! The grammar is <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//! The checks are those of IAM in their order, as far as public reports and moto's
//! `policy_validation` have them; the texts are validated against both, but for those that a
//! comment marks as a guess.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::texts;

/// The purpose of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A policy of a role.
    Identity,
    /// The trust of a role.
    Trust,
    /// A policy of a repository of Amazon ECR.
    Repository,
    /// The policy of a registry of Amazon ECR.
    Registry,
}

/// All operators, without quantifiers and `IfExists`.
const OPERATORS: &[&str] = &[
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "BinaryEquals",
    "Bool",
    "DateEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateNotEquals",
    "IpAddress",
    "NotIpAddress",
    "Null",
    "NumericEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericNotEquals",
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "StringNotEquals",
    "StringNotEqualsIgnoreCase",
    "StringNotLike",
];
const ELEMENTS: &[&str] = &[
    "Action",
    "Condition",
    "Effect",
    "NotAction",
    "NotPrincipal",
    "NotResource",
    "Principal",
    "Resource",
    "Sid",
];

/// Checks a document. The error is IAM's text; ECR has one text for all of them.
pub(crate) fn check(text: &str, kind: Kind) -> Result<Value, String> {
    let syntax = || "Syntax errors in policy.".to_owned();
    let document: Value = serde_json::from_str(text).map_err(|_| syntax())?;
    let members = document.as_object().ok_or_else(syntax)?;
    if members.keys().any(|name| !["Version", "Id", "Statement"].contains(&name.as_str())) {
        return Err(syntax());
    }
    let version = members.get("Version").map(|version| version.as_str().unwrap_or_default());
    if version.is_some_and(|version| !["2012-10-17", "2008-10-17"].contains(&version)) {
        return Err(syntax());
    }
    let statements = match members.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err(syntax()),
    };
    let statements: Vec<&Map<String, Value>> = statements
        .iter()
        .map(|statement| statement.as_object().ok_or_else(syntax))
        .collect::<Result<_, _>>()?;
    for statement in &statements {
        if !has_grammar(statement) {
            return Err(syntax());
        }
    }
    if kind == Kind::Identity && version != Some("2012-10-17") {
        return Err("Policy document must be version 2012-10-17 or greater.".to_owned());
    }
    for statement in &statements {
        check_statement(statement, kind)?;
    }
    let mut sids = BTreeSet::new();
    for sid in statements.iter().filter_map(|statement| statement.get("Sid")?.as_str()) {
        if kind == Kind::Identity && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*".to_owned());
        }
        if !sids.insert(sid) {
            return Err("Statement IDs (SID) in a single policy must be unique.".to_owned());
        }
    }
    Ok(document)
}

/// Whether a statement has the elements and the operators that there are.
fn has_grammar(statement: &Map<String, Value>) -> bool {
    let has_one = |name: &str, negated: &str| {
        !(statement.contains_key(name) && statement.contains_key(negated))
    };
    let are_texts = |name: &str| statement.get(name).is_none_or(|value| texts(value).is_ok());
    let is_principal = |name: &str| {
        statement.get(name).is_none_or(|value| match value {
            Value::String(text) => text == "*",
            Value::Object(kinds) => kinds.iter().all(|(kind, values)| {
                ["AWS", "CanonicalUser", "Federated", "Service"].contains(&kind.as_str())
                    && texts(values).is_ok()
            }),
            _ => false,
        })
    };
    statement.keys().all(|name| ELEMENTS.contains(&name.as_str()))
        && matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny"))
        && statement.get("Sid").is_none_or(Value::is_string)
        && has_one("Action", "NotAction")
        && has_one("Resource", "NotResource")
        && has_one("Principal", "NotPrincipal")
        && ["Action", "NotAction", "Resource", "NotResource"].iter().all(|name| are_texts(name))
        && ["Principal", "NotPrincipal"].iter().all(|name| is_principal(name))
        && statement.get("Condition").is_none_or(are_conditions)
}

fn are_conditions(conditions: &Value) -> bool {
    conditions.as_object().is_some_and(|operators| {
        operators.iter().all(|(operator, keys)| is_operator(operator) && keys.is_object())
    })
}

fn is_operator(operator: &str) -> bool {
    let base = operator.strip_prefix("ForAllValues:").or(operator.strip_prefix("ForAnyValue:"));
    let base = base.unwrap_or(operator);
    let base = base.strip_suffix("IfExists").unwrap_or(base);
    OPERATORS.contains(&base) && operator != "NullIfExists"
}

/// Checks a statement by the rules of its kind of document.
fn check_statement(statement: &Map<String, Value>, kind: Kind) -> Result<(), String> {
    let has = |name: &str, negated: &str| {
        [name, negated].iter().any(|name| {
            let values = statement.get(*name).and_then(|value| texts(value).ok());
            values.is_some_and(|values| !values.is_empty())
        })
    };
    let has_principal =
        statement.contains_key("Principal") || statement.contains_key("NotPrincipal");
    if kind == Kind::Identity && has_principal {
        return Err("Policy document should not specify a principal.".to_owned());
    }
    if kind != Kind::Identity && !has_principal {
        // A guess for a trust.
        return Err("Missing required field Principal".to_owned());
    }
    if !has("Action", "NotAction") {
        return Err("Policy statement must contain actions.".to_owned());
    }
    let takes_resources = matches!(kind, Kind::Identity | Kind::Registry);
    let has_resources = statement.contains_key("Resource") || statement.contains_key("NotResource");
    if !takes_resources && has_resources {
        return Err("Has prohibited field Resource.".to_owned());
    }
    if takes_resources && !has("Resource", "NotResource") {
        return Err("Policy statement must contain resources.".to_owned());
    }
    for action in ["Action", "NotAction"].iter().filter_map(|name| statement.get(*name)) {
        for action in texts(action).unwrap_or_default() {
            check_action(&action, kind)?;
        }
    }
    for resource in ["Resource", "NotResource"].iter().filter_map(|name| statement.get(*name)) {
        for resource in texts(resource).unwrap_or_default() {
            check_resource(&resource)?;
        }
    }
    Ok(())
}

fn check_action(action: &str, kind: Kind) -> Result<(), String> {
    let Some((vendor, name)) = action.split_once(':') else {
        return match action {
            "*" => Ok(()),
            _ => Err("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                .to_owned()),
        };
    };
    if name.contains(':') {
        return Err("Actions/Condition can contain only one colon.".to_owned());
    }
    let is_in_vendor = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if vendor.is_empty() || !vendor.bytes().all(is_in_vendor) {
        return Err(format!("Vendor {vendor} is not valid"));
    }
    match (kind, vendor) {
        (Kind::Repository | Kind::Registry, "ecr") | (Kind::Trust, "sts") | (Kind::Identity, _) => {
            Ok(())
        }
        (Kind::Trust, _) => Err("Trust Policy statement actions can only be sts:AssumeRole, sts:AssumeRoleWithSAML,  and sts:AssumeRoleWithWebIdentity".to_owned()),
        // ECR has one text for everything.
        (Kind::Repository | Kind::Registry, _) => Err(format!("Vendor {vendor} is not valid")),
    }
}

fn check_resource(resource: &str) -> Result<(), String> {
    if resource == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    if parts.len() < 2 {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    if parts[0] != "arn" {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    if !["*", "aws", "aws-cn", "aws-us-gov"].contains(&parts[1]) {
        return Err(format!(
            "Partition \"{}\" is not valid for resource \"{resource}\".",
            parts[1]
        ));
    }
    if parts.len() < 3 || parts[2].is_empty() {
        return Err(
            "Resource vendor must be fully qualified and cannot contain regexes.".to_owned()
        );
    }
    Ok(())
}
