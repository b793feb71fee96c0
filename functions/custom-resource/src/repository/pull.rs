//! The principals that may pull: ECR Warden's statements in the repository policy. The statements of
//! others are kept.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::arn::{RoleArn, Stack, is_account};

/// The names of ECR Warden's statements begin with this text.
const SID: &str = "EcrWardenPull";
/// The service principal of AWS Lambda, which pulls the images of functions.
const LAMBDA: &str = "lambda.amazonaws.com";

/// A principal that may pull, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPrincipal {
    /// An account, twelve digits.
    Account(String),
    /// An organization, `o-` and 10 to 32 letters and digits.
    Organization(String),
    /// An organizational unit with all its accounts and units: a pattern for its path.
    OrganizationalUnit(String),
    /// A role, by its ARN.
    Role(String),
    /// The Lambda service, for functions of this account and of the other principals' accounts.
    Lambda,
}

/// The error for a text that names no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an account ID (12 digits), an organization ID (o-…), an organizational unit with its organization (o-…/ou-…, because another organization may have a unit with the same ID), the ARN of an IAM role, or lambda.amazonaws.com"
)]
pub struct InvalidPullPrincipal;

impl FromStr for PullPrincipal {
    type Err = InvalidPullPrincipal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_account(text) {
            return Ok(Self::Account(text.to_owned()));
        }
        if text == LAMBDA {
            return Ok(Self::Lambda);
        }
        if let Ok(role) = text.parse::<RoleArn>() {
            return Ok(Self::Role(role.arn));
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        let (organization, units) = path.split_once('/').unwrap_or((path, ""));
        if !is_id(organization, "o-", 10..=32) {
            return Err(InvalidPullPrincipal);
        }
        if path == organization {
            return if path == text {
                Ok(Self::Organization(text.to_owned()))
            } else {
                Err(InvalidPullPrincipal)
            };
        }
        // The path of a unit has its root first, which may be left out.
        let (root, units) = match units.split_once('/') {
            Some((root, units)) if is_id(root, "r-", 4..=32) => (root, units),
            _ => ("*", units),
        };
        if !units.split('/').all(is_unit) {
            return Err(InvalidPullPrincipal);
        }
        Ok(Self::OrganizationalUnit(format!("{organization}/{root}/{units}/*")))
    }
}

/// Whether the text is the ID of an organizational unit: `ou-`, the digits of the root, and its own
/// digits.
fn is_unit(text: &str) -> bool {
    text.rsplit_once('-')
        .is_some_and(|(root, own)| is_id(root, "ou-", 4..=32) && is_id(own, "", 8..=32))
}

/// Whether the text is the prefix and a number of lower-case letters and digits.
fn is_id(text: &str, prefix: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.strip_prefix(prefix).is_some_and(|id| length.contains(&id.len()) && id.bytes().all(valid))
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
    stack: &Stack,
) -> Result<Change, Unreadable> {
    let wanted = statements(principals, stack);
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
    statements.retain(|statement| !sid(statement).is_some_and(|sid| sid.starts_with(SID)));
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

/// The statements that let the principals pull. The conditions for organizations and Lambda are those of
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html> and
/// <https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#gettingstarted-images-permissions>.
fn statements(principals: &[PullPrincipal], stack: &Stack) -> Vec<Value> {
    let (mut accounts, mut roles) = (Vec::new(), Vec::new());
    let (mut organizations, mut units) = (Vec::new(), Vec::new());
    let Stack { partition, region, account, .. } = stack;
    let functions = |account: &str| format!("arn:{partition}:lambda:{region}:{account}:function:*");
    let mut functions_of = vec![functions(account)];
    for principal in principals {
        match principal {
            PullPrincipal::Account(id) => {
                // ECR returns an account as the ARN of its root user.
                accounts.push(format!("arn:{partition}:iam::{id}:root"));
                functions_of.push(functions(id));
            }
            PullPrincipal::Role(arn) => roles.push(arn.clone()),
            PullPrincipal::Organization(id) => organizations.push(id.clone()),
            PullPrincipal::OrganizationalUnit(path) => units.push(path.clone()),
            PullPrincipal::Lambda => {}
        }
    }
    let pull =
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    let pull_for_function = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    let lambda = json!({"Service": LAMBDA});
    let serves_lambda = principals.contains(&PullPrincipal::Lambda);
    let statement = |name: &str, actions: &[&str], principal: Value, condition: Value| {
        let mut statement = json!({
            "Sid": format!("{SID}{name}"), "Effect": "Allow", "Action": actions,
            "Principal": principal, "Condition": condition,
        });
        if let Some(statement) = statement.as_object_mut() {
            statement.retain(|_, value| !value.is_null());
        }
        statement
    };
    let mut statements = Vec::new();
    for (name, arns) in [("Accounts", accounts), ("Roles", roles)] {
        if !arns.is_empty() {
            statements.push(statement(name, &pull, json!({"AWS": arns}), Value::Null));
        }
    }
    for (name, operator, key, values) in [
        ("Organizations", "StringEquals", "OrgID", organizations),
        ("OrganizationalUnits", "ForAnyValue:StringLike", "OrgPaths", units),
    ] {
        if values.is_empty() {
            continue;
        }
        let condition = |of: &str| json!({operator: {format!("aws:{of}{key}"): values}});
        statements.push(statement(name, &pull, "*".into(), condition("Principal")));
        if serves_lambda {
            let name = format!("Lambda{name}");
            let condition = condition("Source");
            statements.push(statement(&name, &pull_for_function, lambda.clone(), condition));
        }
    }
    if serves_lambda {
        let condition = json!({"StringLike": {"aws:SourceArn": functions_of}});
        statements.push(statement("Lambda", &pull_for_function, lambda, condition));
    }
    statements
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn stack() -> Stack {
        "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-0000".parse().unwrap()
    }

    #[test]
    fn every_kind_of_principal_has_its_statement() {
        let mut principals: Vec<PullPrincipal> = [
            "210987654321",
            "arn:aws:iam::310987654321:role/ci/builder",
            "o-a1b2c3d4e5",
            "o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/",
            "o-c1b2c3d4e5/ou-cd34-33333333",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let mut lines = String::new();
        let mut add = |principals: &[PullPrincipal]| {
            for statement in statements(principals, &stack()) {
                let [principal, condition] = ["Principal", "Condition"].map(|of| &statement[of]);
                let sid = statement["Sid"].as_str().unwrap();
                lines += &format!("{sid}: {principal} {condition}\n");
            }
        };
        add(&principals);
        principals.push(PullPrincipal::Lambda);
        add(&principals);
        add(&[PullPrincipal::Lambda]);
        expect![[r#"
            EcrWardenPullAccounts: {"AWS":["arn:aws:iam::210987654321:root"]} null
            EcrWardenPullRoles: {"AWS":["arn:aws:iam::310987654321:role/ci/builder"]} null
            EcrWardenPullOrganizations: "*" {"StringEquals":{"aws:PrincipalOrgID":["o-a1b2c3d4e5"]}}
            EcrWardenPullOrganizationalUnits: "*" {"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":["o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/*","o-c1b2c3d4e5/*/ou-cd34-33333333/*"]}}
            EcrWardenPullAccounts: {"AWS":["arn:aws:iam::210987654321:root"]} null
            EcrWardenPullRoles: {"AWS":["arn:aws:iam::310987654321:role/ci/builder"]} null
            EcrWardenPullOrganizations: "*" {"StringEquals":{"aws:PrincipalOrgID":["o-a1b2c3d4e5"]}}
            EcrWardenPullLambdaOrganizations: {"Service":"lambda.amazonaws.com"} {"StringEquals":{"aws:SourceOrgID":["o-a1b2c3d4e5"]}}
            EcrWardenPullOrganizationalUnits: "*" {"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":["o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/*","o-c1b2c3d4e5/*/ou-cd34-33333333/*"]}}
            EcrWardenPullLambdaOrganizationalUnits: {"Service":"lambda.amazonaws.com"} {"ForAnyValue:StringLike":{"aws:SourceOrgPaths":["o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/*","o-c1b2c3d4e5/*/ou-cd34-33333333/*"]}}
            EcrWardenPullLambda: {"Service":"lambda.amazonaws.com"} {"StringLike":{"aws:SourceArn":["arn:aws:lambda:us-east-1:123456789012:function:*","arn:aws:lambda:us-east-1:210987654321:function:*"]}}
            EcrWardenPullLambda: {"Service":"lambda.amazonaws.com"} {"StringLike":{"aws:SourceArn":["arn:aws:lambda:us-east-1:123456789012:function:*"]}}
        "#]].assert_eq(&lines);
    }

    #[test]
    fn a_text_that_names_no_principal_or_too_many_is_refused() {
        for text in [
            "",
            "*",
            "12345",
            "o-short",
            "o-a1b2c3d4e5/",
            "o-a1b2c3d4e5/r-ab12",
            "o-a1b2c3d4e5/*",
            "o-*/ou-ab12-11111111",
            "ou-ab12-11111111",
            "r-ab12/ou-ab12-11111111",
            "o-a1b2c3d4e5/ou-ab12-*",
            "o-a1b2c3d4e5/ou-ab12-11111111/r-ab12",
            "o-a1b2c3d4e5/ou-ab12-11111111//",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:user/ana",
            "arn:aws:iam::123456789012:role/*",
            "ecs.amazonaws.com",
        ] {
            assert_eq!(text.parse::<PullPrincipal>(), Err(InvalidPullPrincipal), "{text}");
        }
    }

    #[test]
    fn a_policy_that_ecr_returns_in_another_form_does_not_change() {
        let principals: Vec<PullPrincipal> =
            ["210987654321", "310987654321", "o-abcdefghij"].map(|id| id.parse().unwrap()).into();
        let Change::Set(text) = change(None, &principals, &stack()).unwrap() else { panic!() };
        assert_eq!(change(Some(&text), &principals, &stack()), Ok(Change::None));
        let mut theirs: Value = serde_json::from_str(&text).unwrap();
        let statements = theirs["Statement"].as_array_mut().unwrap();
        statements.reverse();
        statements[0]["Condition"]["StringEquals"]["aws:PrincipalOrgID"] = "o-abcdefghij".into();
        statements[1]["Principal"]["AWS"].as_array_mut().unwrap().reverse();
        assert_eq!(change(Some(&theirs.to_string()), &principals, &stack()), Ok(Change::None));
        assert_eq!(change(Some(&text), &[], &stack()), Ok(Change::Delete));
        let fewer = principals.get(1..).unwrap();
        assert!(matches!(change(Some(&text), fewer, &stack()), Ok(Change::Set(_))));
    }

    #[test]
    fn a_policy_that_cannot_be_read_does_not_change_or_is_refused() {
        let principals = ["210987654321".parse().unwrap()];
        for text in ["", "[]", "{}", r#"{"Statement": 1}"#] {
            assert_eq!(change(Some(text), &[], &stack()), Ok(Change::None));
            assert_eq!(change(Some(text), &principals, &stack()), Err(Unreadable));
        }
    }
}
