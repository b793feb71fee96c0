//! Conditions of statements, by
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! and, for keys with several values,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{NotEvaluated, not_evaluated, texts, wildcard};

/// The condition keys that the requests here have values for, where AWS has. A key that ends in
/// `/` or `:` is followed by a name.
const KEYS: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalservicename",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "ecr:resourcetag/",
    "iam:passedtoservice",
    "iam:policyarn",
    "kms:encryptioncontext:",
    "kms:viaservice",
    "lambda:functionarn",
];
/// The keys that have several values, which need `ForAllValues` or `ForAnyValue`.
const KEYS_OF_SEVERAL: &[&str] = &[
    "aws:calledvia",
    "aws:principalorgpaths",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "dynamodb:leadingkeys",
];

/// A condition: one operator with one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    operator: Operator,
    quantifier: Quantifier,
    /// Whether a request without the key is let through.
    if_exists: bool,
    is_negated: bool,
    /// In lower case.
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    /// `ArnEquals` and `ArnLike` behave alike.
    Arn,
    Bool,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Quantifier {
    One,
    All,
    Any,
}

/// The conditions of a statement, which all have to hold.
pub fn read(conditions: Option<&Value>) -> Result<Vec<Condition>, NotEvaluated> {
    let Some(conditions) = conditions else { return Ok(Vec::new()) };
    let Some(operators) = conditions.as_object() else {
        return not_evaluated(format!("the condition {conditions}"));
    };
    let mut read = Vec::new();
    for (operator, keys) in operators {
        let Some(keys) = keys.as_object() else {
            return not_evaluated(format!("the condition {operator}"));
        };
        for (key, values) in keys {
            read.push(Condition::read(operator, key, values)?);
        }
    }
    Ok(read)
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Self, NotEvaluated> {
        let unknown = || not_evaluated(format!("the operator {operator}"));
        let (quantifier, base) = match operator.split_once(':') {
            None => (Quantifier::One, operator),
            Some(("ForAllValues", base)) => (Quantifier::All, base),
            Some(("ForAnyValue", base)) => (Quantifier::Any, base),
            Some(_) => return unknown(),
        };
        let (base, if_exists) = match base.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (base, false),
        };
        let (operator, is_negated) = match base {
            "StringEquals" => (Operator::StringEquals, false),
            "StringNotEquals" => (Operator::StringEquals, true),
            "StringEqualsIgnoreCase" => (Operator::StringEqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Operator::StringEqualsIgnoreCase, true),
            "StringLike" => (Operator::StringLike, false),
            "StringNotLike" => (Operator::StringLike, true),
            "ArnEquals" | "ArnLike" => (Operator::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Operator::Arn, true),
            "Bool" => (Operator::Bool, false),
            "Null" if !if_exists && quantifier == Quantifier::One => (Operator::Null, false),
            _ => return unknown(),
        };
        let key = key.to_lowercase();
        let is_of_several = KEYS_OF_SEVERAL.contains(&key.as_str());
        let is_known = KEYS.iter().any(|known| {
            let has_name = known.ends_with(['/', ':']);
            if has_name { key.len() > known.len() && key.starts_with(known) } else { key == *known }
        });
        if !is_known && !is_of_several {
            return not_evaluated(format!("the condition key {key}"));
        }
        if is_of_several && quantifier == Quantifier::One && operator != Operator::Null {
            return not_evaluated(format!("{key} without ForAllValues or ForAnyValue"));
        }
        let values = match values {
            Value::Bool(value) => vec![value.to_string()],
            values => texts(values)?,
        };
        Ok(Self { operator, quantifier, if_exists, is_negated, key, values })
    }

    pub fn holds(&self, context: &BTreeMap<String, Vec<String>>) -> bool {
        let found = context.get(&self.key).filter(|values| !values.is_empty());
        if self.operator == Operator::Null {
            let is_absent = if found.is_some() { "false" } else { "true" };
            return self.values.iter().any(|value| value == is_absent);
        }
        let Some(found) = found else {
            return self.if_exists
                || match self.quantifier {
                    Quantifier::One => self.is_negated,
                    Quantifier::All => true,
                    Quantifier::Any => false,
                };
        };
        let mut found = found.iter();
        match self.quantifier {
            Quantifier::One | Quantifier::Any => found.any(|value| self.matches(value)),
            Quantifier::All => found.all(|value| self.matches(value)),
        }
    }

    /// Whether one value of the request satisfies the operator.
    fn matches(&self, found: &str) -> bool {
        let is_match = |wanted: &String| match self.operator {
            Operator::StringEquals => wanted == found,
            Operator::StringEqualsIgnoreCase | Operator::Bool => wanted.eq_ignore_ascii_case(found),
            Operator::StringLike => wildcard(wanted, found),
            Operator::Arn => is_arn_like(wanted, found),
            Operator::Null => false,
        };
        self.values.iter().any(is_match) != self.is_negated
    }
}

/// Each of the six parts of an ARN is compared for itself.
fn is_arn_like(pattern: &str, arn: &str) -> bool {
    let (pattern, arn): (Vec<&str>, Vec<&str>) =
        (pattern.splitn(6, ':').collect(), arn.splitn(6, ':').collect());
    let mut parts = pattern.iter().zip(&arn);
    pattern.len() == arn.len() && parts.all(|(pattern, part)| wildcard(pattern, part))
}
