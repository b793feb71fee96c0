//! Reads a policy from YAML. Only the tool reads YAML: the functions read the normal form in JSON.

use anyhow::{anyhow, bail, ensure};
use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use warden_core::node::{Key, Node, NodeValue, Scalar};

/// Reads the only document of a text. JSON is YAML too.
pub fn read(text: &str) -> anyhow::Result<Node> {
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true)?;
    if let Some(error) = loader.error() {
        return Err(anyhow!(error.clone()));
    }
    let documents = loader.into_documents();
    ensure!(documents.len() == 1, "expected one document, got {}", documents.len());
    documents.first().map_or_else(|| bail!("expected one document"), node)
}

fn node(yaml: &Yaml) -> anyhow::Result<Node> {
    let value = match yaml {
        Yaml::Representation(text, style, None) => NodeValue::Scalar(scalar(text, *style)),
        Yaml::Sequence(nodes) => NodeValue::List(nodes.iter().map(node).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml, &Yaml)| match key {
                Yaml::Representation(name, _, None) => {
                    anyhow::Ok((Key { name: name.to_string(), position: None }, node(value)?))
                }
                _ => bail!("a key is a text"),
            };
            NodeValue::Map(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        _ => bail!("tags and aliases are not supported in a policy"),
    };
    Ok(Node { value, position: None })
}

fn scalar(text: &str, style: ScalarStyle) -> Scalar {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Scalar::Null,
        (ScalarStyle::Plain, text) => Scalar::Plain(text.to_owned()),
        (_, text) => Scalar::Quoted(text.to_owned()),
    }
}
