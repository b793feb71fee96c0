//! The parameters of a stack, checked by what the template says of each, with the messages
//! of CloudFormation where they are known.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{Error, Result, err};

/// The value of every parameter of the template: a list for a `CommaDelimitedList`, and a
/// string for the rest, a number too.
pub(super) fn check<'t>(
    declared: &'t Map<String, Value>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'t str, Value>> {
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return err(format!("Parameters: [{unknown}] do not exist in the template"));
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in declared {
        let default = || parameter.get("Default").map(text);
        let Some(value) = given.get(name).cloned().or_else(default) else {
            return err(format!("Parameters: [{name}] must have values"));
        };
        values.insert(name.as_str(), read(name, parameter, &value)?);
    }
    Ok(values)
}

fn read(name: &str, parameter: &Value, value: &str) -> Result<Value> {
    let kind = parameter.get("Type").and_then(Value::as_str).unwrap_or_default();
    let is_list = kind == "CommaDelimitedList";
    // An empty list is one empty element, and arrives so in a custom resource.
    let elements: Vec<&str> =
        if is_list { value.split(',').map(str::trim).collect() } else { vec![value] };
    let number = match kind {
        "Number" => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            _ => return err(format!("Parameter '{name}' must be a number")),
        },
        "String" | "CommaDelimitedList" => None,
        other => return err(format!("{other:?} is no supported type of parameter {name}")),
    };
    let described = parameter.get("ConstraintDescription").and_then(Value::as_str);
    for element in &elements {
        match (violation(parameter, element, number)?, described) {
            (None, _) => {}
            (Some(_), Some(described)) => {
                return err(format!("Parameter {name} failed to satisfy constraint: {described}"));
            }
            (Some(what), None) => return err(format!("Parameter '{name}' {what}")),
        }
    }
    Ok(if is_list { elements.into() } else { value.into() })
}

/// The constraint of the template that the value violates.
fn violation(parameter: &Value, value: &str, number: Option<f64>) -> Result<Option<String>> {
    let limit = |name| parameter.get(name).map(text);
    let bound = |name| limit(name).and_then(|limit| limit.parse::<f64>().ok());
    let length = |name| limit(name).and_then(|limit| limit.parse::<usize>().ok());
    if let Some(allowed) = parameter.get("AllowedValues").and_then(Value::as_array)
        && !allowed.iter().any(|allowed| text(allowed) == value)
    {
        return Ok(Some("must be one of AllowedValues".to_owned()));
    }
    if let Some(pattern) = limit("AllowedPattern") {
        let anchored = Regex::new(&format!("^(?:{pattern})$"));
        if !anchored.map_err(|error| Error::new(error.to_string()))?.is_match(value) {
            return Ok(Some(format!("must match pattern {pattern}")));
        }
    }
    let letters = value.chars().count();
    if let Some(least) = length("MinLength").filter(|least| letters < *least) {
        return Ok(Some(format!("must contain at least {least} characters")));
    }
    if let Some(most) = length("MaxLength").filter(|most| letters > *most) {
        return Ok(Some(format!("must contain at most {most} characters")));
    }
    let Some(number) = number else { return Ok(None) };
    if let Some(least) = bound("MinValue").filter(|least| number < *least) {
        return Ok(Some(format!("must be a number not less than {least}")));
    }
    if let Some(most) = bound("MaxValue").filter(|most| number > *most) {
        return Ok(Some(format!("must be a number not greater than {most}")));
    }
    Ok(None)
}

/// A scalar as CloudFormation takes it, whether or not it has quotes in the template.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
