//! From YAML to the JSON that CloudFormation documents: tags become functions in their long
//! form, and `Globals` is merged into the functions that it is for.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Number, Value, json};

use super::{Error, Result, Template, err};

const FUNCTIONS: [&str; 12] = [
    "Fn::And",
    "Fn::Equals",
    "Fn::FindInMap",
    "Fn::GetAtt",
    "Fn::If",
    "Fn::Join",
    "Fn::Not",
    "Fn::Or",
    "Fn::Select",
    "Fn::Split",
    "Fn::Sub",
    "Fn::Transform",
];

const RESOURCE_ATTRIBUTES: [&str; 9] = [
    "Type",
    "Properties",
    "Condition",
    "DependsOn",
    "Metadata",
    "CreationPolicy",
    "DeletionPolicy",
    "UpdatePolicy",
    "UpdateReplacePolicy",
];

const TRANSFORM: &str = "AWS::Serverless-2016-10-31";
const FUNCTION: &str = "AWS::Serverless::Function";

/// The one document of a YAML text that is no template. Its tags are those of a template.
pub(super) fn document(text: &str) -> Result<Value> {
    let documents = Yaml::load_from_str(text).map_err(|error| Error::new(error.to_string()))?;
    match documents.as_slice() {
        [document] => value(document),
        _ => err("expected one document"),
    }
}

pub(super) fn template(text: &str) -> Result<Template> {
    let documents = Yaml::load_from_str(text).map_err(|error| Error::new(error.to_string()))?;
    let [Yaml::Mapping(root)] = documents.as_slice() else {
        return err("expected one document with sections");
    };
    let mut sections = Map::new();
    for (name, section) in root {
        let name = key(name)?;
        let section = value(section).map_err(|error| error.within(&name))?;
        sections.insert(name, section);
    }
    let mut take = |name| match sections.remove(name) {
        Some(Value::Object(section)) => Ok(section),
        None => Ok(Map::new()),
        Some(_) => Err(Error::new("expected a map").within(name)),
    };
    let mut template = Template {
        metadata: take("Metadata")?,
        parameters: take("Parameters")?,
        mappings: take("Mappings")?,
        rules: take("Rules")?,
        conditions: take("Conditions")?,
        resources: take("Resources")?,
        outputs: take("Outputs")?,
    };
    let mut globals = take("Globals")?;
    for (name, mapping) in &template.mappings {
        check_mapping(mapping).map_err(|error| error.within(name).within("Mappings"))?;
    }
    merge_globals(&mut template.resources, globals.remove("Function"))?;
    if let Some((section, _)) = globals.iter().next() {
        return Err(Error::new("not supported").within(section).within("Globals"));
    }
    for (name, section) in sections {
        let known = match name.as_str() {
            "AWSTemplateFormatVersion" | "Description" => true,
            "Transform" => section == TRANSFORM,
            _ => false,
        };
        if !known {
            return Err(Error::new("not supported").within(name));
        }
    }
    Ok(template)
}

/// A mapping has [two levels of keys][1], and under them texts or lists of texts; a function
/// among them would never be evaluated.
///
/// [1]: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/mappings-section-structure.html
fn check_mapping(mapping: &Value) -> Result<()> {
    let Value::Object(mapping) = mapping else { return err("expected a map") };
    for (key, values) in mapping {
        let Value::Object(values) = values else {
            return Err(Error::new("expected a map").within(key));
        };
        for (name, value) in values {
            let is_good = match value {
                Value::Array(values) => {
                    !values.iter().any(|value| value.is_object() || value.is_array())
                }
                value => !value.is_object(),
            };
            if !is_good {
                let error = Error::new("expected a text, or a list of texts");
                return Err(error.within(name).within(key));
            }
        }
    }
    Ok(())
}

/// Checks the resources' attributes on the way.
fn merge_globals(resources: &mut Map<String, Value>, globals: Option<Value>) -> Result<()> {
    let globals = globals.unwrap_or_else(|| json!({}));
    for (id, resource) in resources {
        let invalid = |reason: String| Error::new(reason).within(id).within("Resources");
        let Value::Object(resource) = resource else {
            return Err(invalid("expected a map".to_owned()));
        };
        if let Some(unknown) = resource.keys().find(|key| !is_one_of(&RESOURCE_ATTRIBUTES, key)) {
            return Err(invalid(format!("unknown attribute {unknown}")));
        }
        if resource.get("Type").is_some_and(|kind| kind == FUNCTION) {
            let own = resource.remove("Properties").unwrap_or_else(|| json!({}));
            resource.insert("Properties".to_owned(), merged(globals.clone(), own));
        }
    }
    Ok(())
}

/// Maps are merged and lists concatenated; for the rest, which functions are part of, the
/// resource's own value stands, [as in SAM][1].
///
/// [1]: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html
fn merged(global: Value, own: Value) -> Value {
    if function(&global).is_some() || function(&own).is_some() {
        return own;
    }
    match (global, own) {
        (Value::Object(mut global), Value::Object(own)) => {
            for (name, own) in own {
                let value = match global.remove(&name) {
                    Some(global) => merged(global, own),
                    None => own,
                };
                global.insert(name, value);
            }
            Value::Object(global)
        }
        (Value::Array(global), Value::Array(own)) => global.into_iter().chain(own).collect(),
        (_, own) => own,
    }
}

/// The name of a function in its long form and its argument, if the value is one.
pub(super) fn function(value: &Value) -> Option<(&str, &Value)> {
    let mut entries = value.as_object()?.iter();
    match (entries.next()?, entries.next()) {
        ((name, argument), None) if name == "Ref" || name.starts_with("Fn::") => {
            Some((name, argument))
        }
        _ => None,
    }
}

fn value(node: &Yaml) -> Result<Value> {
    match node {
        Yaml::Value(Scalar::String(text)) if text.contains("{{resolve:") => {
            err("dynamic references are not supported")
        }
        Yaml::Value(Scalar::String(text)) => Ok(Value::from(text.as_ref())),
        Yaml::Value(Scalar::Boolean(boolean)) => Ok(Value::from(*boolean)),
        Yaml::Value(Scalar::Integer(number)) => Ok(Value::from(*number)),
        Yaml::Value(Scalar::FloatingPoint(number)) => Number::from_f64(number.into_inner())
            .map_or_else(|| err("not a finite number"), |number| Ok(Value::Number(number))),
        Yaml::Value(Scalar::Null) => err("null values are not allowed"),
        Yaml::Sequence(nodes) => {
            let values = nodes.iter().enumerate();
            values.map(|(nth, node)| value(node).map_err(|error| error.within(nth))).collect()
        }
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (name, node) in entries {
                let name = key(name)?;
                let value = value(node).map_err(|error| error.within(&name))?;
                object.insert(name, value);
            }
            checked(object)
        }
        Yaml::Tagged(tag, node) => {
            let name = match tag.to_string().strip_prefix('!') {
                Some(name @ ("Ref" | "Condition")) => name.to_owned(),
                Some(name) if is_one_of(&FUNCTIONS, &format!("Fn::{name}")) => {
                    format!("Fn::{name}")
                }
                _ => return err(format!("unknown tag {tag}")),
            };
            let argument = value(node).map_err(|error| error.within(&name))?;
            checked(Map::from_iter([(name, argument)]))
        }
        Yaml::Alias(_) | Yaml::BadValue | Yaml::Representation(..) => err("not a value"),
    }
}

/// The map, unless it is a function that is not known. `Fn::GetAtt` has its list form.
pub(super) fn checked(mut object: Map<String, Value>) -> Result<Value> {
    if let Some(name) = object.keys().find(|name| name.starts_with("Fn::")) {
        if !is_one_of(&FUNCTIONS, name) {
            return err(format!("unknown function {name}"));
        }
        if object.len() > 1 {
            return err(format!("{name} stands beside other keys"));
        }
    }
    if let Some(argument) = object.get_mut("Fn::GetAtt")
        && let Some((id, attribute)) = argument.as_str().and_then(|text| text.split_once('.'))
    {
        *argument = json!([id, attribute]);
    }
    Ok(Value::Object(object))
}

fn key(node: &Yaml) -> Result<String> {
    match value(node)? {
        Value::String(text) => Ok(text),
        Value::Array(_) | Value::Object(_) => err("a key is a text"),
        scalar => Ok(scalar.to_string()),
    }
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.contains(&name)
}
