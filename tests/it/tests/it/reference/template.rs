//! The template in words: its conditions, and the functions in place of values.

use local_aws::world::TEMPLATE;
use serde_json::Value;

/// An entry of the section `Metadata`.
pub fn metadata(name: &str) -> &'static Value {
    &TEMPLATE.metadata()[name]
}

/// A condition of the template, such as `CleanupEnforcement=archive`.
pub fn condition(name: &str) -> String {
    let alternatives = alternatives(&TEMPLATE.conditions()[name]);
    let is_common = |part: &String| alternatives.iter().all(|parts| parts.contains(part));
    let mut common: Vec<String> =
        alternatives[0].iter().filter(|part| is_common(part)).cloned().collect();
    let others: Vec<String> = alternatives
        .iter()
        .map(|parts| parts.iter().filter(|part| !common.contains(part)).cloned().collect())
        .map(|parts: Vec<String>| parts.join(" and "))
        .collect();
    if let [_, _, ..] = others.as_slice() {
        common.push(format!("({})", others.join(", or ")));
    }
    common.join(" and ")
}

/// The alternatives of a condition, of which one must hold. All parts of an alternative must hold.
fn alternatives(value: &Value) -> Vec<Vec<String>> {
    let (name, argument) = function(value);
    match name {
        "Condition" => alternatives(&TEMPLATE.conditions()[argument.as_str().unwrap()]),
        "Fn::Or" => argument.as_array().unwrap().iter().flat_map(alternatives).collect(),
        "Fn::And" => argument.as_array().unwrap().iter().fold(vec![vec![]], |all, part| {
            let parts = alternatives(part);
            let both = |(one, other): (&Vec<String>, &Vec<String>)| {
                let new = other.iter().filter(|part| !one.contains(part));
                one.iter().chain(new).cloned().collect()
            };
            all.iter()
                .flat_map(|one| parts.iter().map(move |other| (one, other)))
                .map(both)
                .collect()
        }),
        "Fn::Not" => match function(&argument[0]) {
            ("Condition", name) => {
                vec![vec![format!("not ({})", condition(name.as_str().unwrap()))]]
            }
            _ => vec![vec![compared(&argument[0], true)]],
        },
        _ => vec![vec![compared(value, false)]],
    }
}

/// A comparison of a parameter with a text.
fn compared(value: &Value, is_negated: bool) -> String {
    let (name, argument) = function(value);
    assert_eq!(name, "Fn::Equals", "{value}");
    let (left, text) = (&argument[0], argument[1].as_str().unwrap());
    let parameter = match function(left) {
        ("Ref", name) => name,
        // A list is compared as a text.
        ("Fn::Join", list) => function(&list[1]).1,
        other => panic!("{other:?}"),
    };
    let parameter = parameter.as_str().unwrap();
    match (is_negated, text) {
        (false, "") => format!("`{parameter}` is empty"),
        (true, "") => format!("`{parameter}` is set"),
        (false, text) => format!("`{parameter}={text}`"),
        (true, text) => format!("`{parameter}` is not `{text}`"),
    }
}

/// The name and the argument of a function, or of the key `Condition`.
pub fn function(value: &Value) -> (&str, &Value) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no function"));
    let (name, argument) = object.iter().next().unwrap();
    (name, argument)
}

/// A value, as a list of texts with `${…}` for what depends on the deployment.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Object(_) => match function(value) {
            ("Ref", name) => vec![format!("${{{}}}", name.as_str().unwrap())],
            ("Fn::GetAtt", path) => {
                let (id, attribute) = (path[0].as_str().unwrap(), path[1].as_str().unwrap());
                vec![format!("${{{id}.{attribute}}}")]
            }
            ("Fn::Sub", Value::String(text)) => vec![text.clone()],
            ("Fn::Sub", parts) => vec![parts[0].as_str().unwrap().to_owned()],
            other => panic!("{other:?}"),
        },
        Value::Null => vec![],
    }
}

/// An ARN without its partition, region and account, which are those of the stack.
pub fn shortened(arn: &str) -> String {
    let arn = arn.replace("arn:${AWS::Partition}:", "arn:…:");
    arn.replace(":${AWS::Region}:${AWS::AccountId}:", ":…:").replace("::${AWS::AccountId}:", ":…:")
}
