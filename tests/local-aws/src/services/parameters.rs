//! Parameter Store. The winterbaume crate for it takes longer to compile than all the others and has
//! neither tiers nor versions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use serde_json::{Value, json};
use winterbaume_core::MockResponse;

use super::json::{input, text};
use super::{Answer, Call, Refusal};
use crate::ACCOUNT;

/// AWS Systems Manager Parameter Store.
#[derive(Default)]
pub struct Parameters {
    parameters: Mutex<Store>,
    changes: Mutex<Vec<ParameterChange>>,
}

/// A change of a parameter, which SSM sends to EventBridge as an event.
#[derive(Clone, Debug)]
pub struct ParameterChange {
    /// `Create`, `Update` or `Delete`.
    pub operation: &'static str,
    /// The region of the parameter.
    pub region: String,
    /// The name of the parameter.
    pub name: String,
    /// The type of the parameter.
    pub kind: String,
}

/// By region and name, the versions from the first on.
type Store = BTreeMap<(String, String), Vec<Version>>;

struct Version {
    value: String,
    kind: String,
    advanced: bool,
    at: f64,
}

impl Parameters {
    /// The changes since the last time.
    pub fn take_changes(&self) -> Vec<ParameterChange> {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, call: &Call, operation: &'static str, name: &str, versions: &[Version]) {
        let kind = versions.last().map(|version| version.kind.clone()).unwrap_or_default();
        let (region, name) = (call.region.clone(), name.to_owned());
        let change = ParameterChange { operation, region, name, kind };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    pub fn serve(&self, call: &Call) -> Answer {
        const OPERATIONS: &[&str] =
            &["PutParameter", "GetParameter", "GetParameters", "DeleteParameter"];
        let input = input(call, OPERATIONS)?;
        let mut parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |name: &str| (call.region.clone(), name.to_owned());
        let get = |parameters: &Store, given: &str| {
            let (name, version) = selected(given)?;
            let none = || Refusal::new("ParameterNotFound", format!("{given} is not there."));
            let versions = parameters.get(&at(&name)).ok_or_else(none)?;
            parameter(&call.region, &name, versions, version)
        };
        let output = match call.operation.as_str() {
            "PutParameter" => {
                let versions = parameters.entry(at(text(&input, "Name"))).or_default();
                let operation = if versions.is_empty() { "Create" } else { "Update" };
                match put(versions, &input) {
                    Ok(output) => {
                        self.change(call, operation, text(&input, "Name"), versions);
                        output
                    }
                    Err(refusal) => {
                        parameters.retain(|_, versions| !versions.is_empty());
                        return Err(refusal);
                    }
                }
            }
            "GetParameter" => json!({"Parameter": get(&parameters, text(&input, "Name"))?}),
            "GetParameters" => {
                let (mut found, mut invalid) = (Vec::new(), Vec::new());
                let names = input.get("Names").and_then(Value::as_array);
                for name in names.into_iter().flatten().filter_map(Value::as_str) {
                    match get(&parameters, name) {
                        Ok(parameter) => found.push(parameter),
                        Err(_) => invalid.push(name),
                    }
                }
                json!({"Parameters": found, "InvalidParameters": invalid})
            }
            _ => {
                let (name, _) = selected(text(&input, "Name"))?;
                let Some(versions) = parameters.remove(&at(&name)) else {
                    return Err(Refusal::new("ParameterNotFound", format!("{name} is not there.")));
                };
                self.change(call, "Delete", &name, &versions);
                json!({})
            }
        };
        Ok(MockResponse::json(200, output.to_string()))
    }
}

/// The tier and the size that go together, the type that a new parameter needs, and the names
/// that are the service's own.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>
fn put(versions: &mut Vec<Version>, input: &Value) -> Result<Value, Refusal> {
    let refused = |message: &str| Err(Refusal::new("ValidationException", message));
    let (name, value, kind) = (text(input, "Name"), text(input, "Value"), text(input, "Type"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let root = name.trim_start_matches('/').to_ascii_lowercase();
    if name.is_empty()
        || !name.chars().all(allowed)
        || (name.contains('/') && !name.starts_with('/'))
    {
        return refused("Parameter name: it must be made of letters, digits and .-_, after a /.");
    }
    if root.starts_with("aws") || root.starts_with("ssm") {
        return refused("Parameter name: can't be prefixed with \"aws\" or \"ssm\".");
    }
    if value.is_empty() {
        return refused("The value must have a length of at least 1.");
    }
    let (before, overwrite) = (versions.last(), input.get("Overwrite") == Some(&true.into()));
    if before.is_some() && !overwrite {
        let message = "The parameter already exists. To overwrite this value, set the overwrite \
                       option in the request to true.";
        return Err(Refusal::new("ParameterAlreadyExists", message));
    }
    let kind = match (kind, before) {
        ("", Some(before)) => before.kind.clone(),
        ("String" | "StringList" | "SecureString", _) => kind.to_owned(),
        _ => return refused("A parameter type is required when you create a parameter."),
    };
    let was_advanced = before.is_some_and(|before| before.advanced);
    let advanced = match text(input, "Tier") {
        "Advanced" => true,
        "Intelligent-Tiering" => was_advanced || value.len() > 4096,
        _ => was_advanced,
    };
    if value.len() > if advanced { 8192 } else { 4096 } {
        return refused("The value is longer than parameters of its tier may be.");
    }
    let at = DateTime::from(SystemTime::now()).as_secs_f64();
    versions.push(Version { value: value.to_owned(), kind, advanced, at });
    let tier = if advanced { "Advanced" } else { "Standard" };
    Ok(json!({"Version": versions.len(), "Tier": tier}))
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>
fn parameter(
    region: &str,
    name: &str,
    versions: &[Version],
    number: Option<usize>,
) -> Result<Value, Refusal> {
    let number = number.unwrap_or(versions.len());
    let Some(version) = number.checked_sub(1).and_then(|index| versions.get(index)) else {
        return Err(Refusal::new("ParameterVersionNotFound", format!("{name} has no {number}.")));
    };
    let path = name.strip_prefix('/').unwrap_or(name);
    Ok(json!({
        "Name": name,
        "Type": version.kind,
        "Value": version.value,
        "Version": number,
        "LastModifiedDate": version.at,
        "ARN": format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter/{path}"),
        "DataType": "text",
    }))
}

/// A parameter may be asked for by its ARN, and in one version, as in `/name:3`.
fn selected(given: &str) -> Result<(String, Option<usize>), Refusal> {
    let name = match given.strip_prefix("arn:").and_then(|arn| arn.split_once(":parameter/")) {
        Some((_, path)) if path.contains('/') => format!("/{path}"),
        Some((_, path)) => path.to_owned(),
        None => given.to_owned(),
    };
    match name.split_once(':') {
        None => Ok((name, None)),
        Some((name, version)) => {
            version.parse().map(|number| (name.to_owned(), Some(number))).map_err(|_| {
                Refusal::new(
                    "UnknownOperationException",
                    "labels of parameters are not served here",
                )
            })
        }
    }
}
