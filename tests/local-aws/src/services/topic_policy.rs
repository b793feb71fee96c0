//! The callers that the policy of a topic denies to publish.
//!
//! A Deny decides, even if another statement allows:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
//! Statements that allow are not evaluated: within an account, a policy of the caller's own is
//! enough. A condition that a statement names and this module does not know
//! ends the test.

use std::sync::PoisonError;

use serde_json::Value;

use super::sns::Sns;

impl Sns {
    pub fn set_policy(&self, topic: &str, policy: &Value) {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        policies.insert(topic.to_owned(), policy.clone());
    }

    /// Why the policy of a topic denies a caller to publish. Callers are roles and users, not
    /// services, and they all use TLS.
    pub fn publishing_denied(&self, topic: &str, principal: Option<&str>) -> Option<String> {
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let statements = policies.get(topic)?["Statement"].as_array()?;
        let denies = |statement: &&Value| {
            statement["Effect"] == "Deny"
                && statement["Action"] == "sns:Publish"
                && applies(&statement["Condition"], principal)
        };
        statements.iter().find(denies)?;
        let caller = principal.unwrap_or("anonymous");
        Some(format!(
            "User: {caller} is not authorized to perform: SNS:Publish on resource: {topic} with an \
             explicit deny in a resource-based policy"
        ))
    }
}

/// Whether every condition of a statement holds for a caller.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
fn applies(conditions: &Value, principal: Option<&str>) -> bool {
    let operators = conditions.as_object().into_iter().flatten();
    let mut tests = operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| (operator.as_str(), key.as_str(), values))
    });
    tests.all(|(operator, key, values)| match (operator, key) {
        // Of a role's session this is the ARN of the role. A negated operator holds where the
        // request has no such key.
        ("ArnNotEquals", "aws:PrincipalArn") => {
            let values = values.as_array().into_iter().flatten();
            let mut values = values.filter_map(Value::as_str);
            principal.is_none_or(|principal| values.all(|value| value != principal))
        }
        ("Bool", "aws:PrincipalIsAWSService") => values == "false",
        ("Bool", "aws:SecureTransport") => values == "true",
        _ => panic!("the condition {operator} of {key} is not known here"),
    })
}
