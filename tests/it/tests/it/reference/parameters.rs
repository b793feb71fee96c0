//! The page of the template's parameters.

use std::collections::BTreeSet;

use local_aws::world::TEMPLATE;
use serde_json::Value;

use super::{table, template};

pub fn page() -> String {
    let mut text = "These are the parameters of `infra/sam/template.yaml`, in the groups that the \
                    CloudFormation console shows. `sam deploy --guided` asks for each of them.\n\n"
        .to_owned();
    let interface = template::metadata("AWS::CloudFormation::Interface");
    let mut grouped = BTreeSet::new();
    for group in interface["ParameterGroups"].as_array().unwrap() {
        let names =
            group["Parameters"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let names: Vec<&str> = names.collect();
        for name in &names {
            assert!(grouped.insert(*name), "{name} is in two groups");
        }
        text += &format!("## {}\n\n", group["Label"]["default"].as_str().unwrap());
        let headings = ["parameter", "default", "description"];
        text += &table(&headings, names.iter().map(|name| cells(name)));
    }
    let declared: BTreeSet<&str> =
        TEMPLATE.declared_parameters().keys().map(String::as_str).collect();
    assert_eq!(grouped, declared, "each parameter is in one group");
    text += "## Rules\n\nCloudFormation refuses a deployment that breaks one of these rules:\n\n";
    for rule in TEMPLATE.rules().values() {
        for assertion in rule["Assertions"].as_array().unwrap() {
            text += &format!("- {}\n", assertion["AssertDescription"].as_str().unwrap());
        }
    }
    text
}

fn cells(name: &str) -> Vec<String> {
    let parameter = &TEMPLATE.declared_parameters()[name];
    let text = |key: &str| parameter[key].as_str().map(str::to_owned);
    let number = |key: &str| parameter.get(key).map(|value| grouped_digits(&value.to_string()));
    let default = match &parameter["Default"] {
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Null => "none: it must be given".to_owned(),
        other => format!("`{other}`"),
    };
    let values = parameter["AllowedValues"].as_array().map(|values| {
        let values = values.iter().map(|value| format!("`{}`", value.as_str().unwrap()));
        values.collect::<Vec<_>>().join(", ")
    });
    let range =
        number("MinValue").zip(number("MaxValue")).map(|(min, max)| format!("{min} to {max}"));
    let pattern = text("AllowedPattern").map(|pattern| format!("matches `{pattern}`"));
    let values = values.or(range).or(text("ConstraintDescription")).or(pattern);
    let values = values.unwrap_or_else(|| "any text".to_owned());
    vec![
        format!("`{name}`"),
        default,
        format!("{}<br>Values: {values}", text("Description").unwrap()),
    ]
}

/// A number with a comma before each group of three digits.
pub fn grouped_digits(number: &str) -> String {
    let mut text = String::new();
    for (nth, digit) in number.chars().enumerate() {
        if nth > 0 && (number.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
