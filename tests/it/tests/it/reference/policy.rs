//! The page of the keys of a policy.

use local_aws::world::POLICY;
use warden_core::node::find_yaml_type;
use warden_core::policy::PolicyDocument;
use warden_core::properties::description::{Description, Kind};

use super::parameters::grouped_digits;
use super::table;

pub fn page() -> String {
    let mut text = format!(
        "The policy is the file `infra/sam/policy.yaml`: one YAML document for the whole registry of the \
         stack's account and region. This page lists every key, and [Policy](../concepts/policy.md) \
         explains which rule governs a repository.\n\n\
         This is the shipped policy:\n\n\
         ```yaml\n{POLICY}```\n\n\
         The first line names the JSON Schema `infra/sam/policy.schema.json`. An editor with a YAML \
         language server completes keys by it, and marks mistakes. The schema does not know every \
         mistake: `ecr-warden policy check` finds the others too, such as an invalid template of a tag.\n\n"
    );
    add_section(&mut text, "Keys of the policy", "", "", &PolicyDocument::describe());
    text
}

/// Adds the keys of the map at `path`, and a section for each map inside.
fn add_section(text: &mut String, title: &str, about: &str, path: &str, keys: &[Description]) {
    *text += &format!("## {title}\n\n");
    if !about.is_empty() {
        *text += &format!("{about}\n\n");
    }
    *text += &table(&["key", "default", "description"], keys.iter().map(|key| cells(path, key)));
    for key in keys {
        let (path, inner) = match &key.kind {
            Kind::Map(inner) => (format!("{path}{}", key.name), inner),
            Kind::List(items) => match &**items {
                Kind::Map(inner) => (format!("{path}{}[]", key.name), inner),
                _ => continue,
            },
            _ => continue,
        };
        add_section(text, &format!("Keys of `{path}`"), key.about, &format!("{path}."), inner);
    }
}

fn cells(path: &str, key: &Description) -> Vec<String> {
    let default = match &key.default {
        Some(default) => format!("`{default}`"),
        None if key.is_required => "none: it must be given".to_owned(),
        None => "none".to_owned(),
    };
    let values = describe_values(&key.kind, key.is_required);
    vec![format!("`{path}{}`", key.name), default, format!("{}<br>Values: {values}", key.about)]
}

fn describe_values(kind: &Kind, is_required: bool) -> String {
    match kind {
        Kind::Text(expected) => expected.trim_start_matches("expected ").to_owned(),
        Kind::Keyword(words) => {
            words.iter().map(|word| keyword(word)).collect::<Vec<_>>().join(", ")
        }
        Kind::Number(from, to) => {
            let [from, to] = [from, to].map(|number| grouped_digits(&number.to_string()));
            format!("a whole number from {from} to {to}")
        }
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::List(items) => match &**items {
            Kind::Map(_) => "a list of maps".to_owned(),
            items if is_required => {
                format!("a list of at least one item, each {}", describe_values(items, false))
            }
            items => format!("a list, each item {}", describe_values(items, false)),
        },
        Kind::Map(_) => "a map".to_owned(),
    }
}

/// A keyword in the form of YAML.
fn keyword(word: &str) -> String {
    if find_yaml_type(word).is_some() { format!("`{word:?}`") } else { format!("`{word}`") }
}
