//! A file that the macro `AWS::Include` inserts into a template, read as CloudFormation reads it.
//!
//! CloudFormation reads [YAML 1.1][1] without timestamps: an unquoted `yes` is a boolean, and an unquoted
//! `010` is the number 8. The short forms of functions are [not supported][2] in the file.
//!
//! [1]: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
//! [2]: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/transform-aws-include.html

use std::sync::LazyLock;

use regex_lite::Regex;
use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Map, Value};

use super::read::{checked, function};
use super::{Error, Result, err};

const MACRO: &str = "AWS::Include";

/// The value with the content of a file in place of each `Fn::Transform` that names the file.
pub(super) fn included(value: Value, location: &str, content: &Value) -> Value {
    if let Some(("Fn::Transform", argument)) = function(&value)
        && argument["Name"] == MACRO
        && argument["Parameters"]["Location"] == location
    {
        return content.clone();
    }
    match value {
        Value::Array(values) => {
            values.into_iter().map(|value| included(value, location, content)).collect()
        }
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, included(value, location, content)))
            .collect(),
        scalar => scalar,
    }
}

/// The content of a file.
pub(super) fn read(text: &str) -> Result<Value> {
    let invalid = |error: saphyr::ScanError| Error::new(error.to_string());
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(invalid)?;
    if let Some(error) = loader.error() {
        return Err(invalid(error.clone()));
    }
    match loader.into_documents().as_slice() {
        [document @ Yaml::Mapping(_)] => value(document),
        _ => err("expected one document with keys"),
    }
}

fn value(node: &Yaml) -> Result<Value> {
    match node {
        Yaml::Representation(text, ScalarStyle::Plain, None) => plain(text),
        Yaml::Representation(text, _, None) => Ok(Value::from(text.as_ref())),
        Yaml::Sequence(nodes) => {
            let values = nodes.iter().enumerate();
            values.map(|(nth, node)| value(node).map_err(|error| error.within(nth))).collect()
        }
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (name, node) in entries {
                let Yaml::Representation(name, _, None) = name else {
                    return err("a key is a text");
                };
                let value = value(node).map_err(|error| error.within(name))?;
                object.insert(name.to_string(), value);
            }
            checked(object)
        }
        _ => err("tags are not supported in an included file"),
    }
}

/// A scalar without quotes, by <https://yaml.org/type/>.
fn plain(text: &str) -> Result<Value> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        #[expect(clippy::unwrap_used, reason = "a constant expression")]
        Regex::new(r"^[-+]?([0-9][0-9_]*)?\.[0-9_]+([eE][-+]?[0-9]+)?$").unwrap()
    });
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => return err("null values are not allowed"),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        _ => match integer(text) {
            Some(number) => number.into(),
            None if NUMBER.is_match(text) => {
                let number = text.replace('_', "").parse::<f64>();
                number.map_err(|error| Error::new(error.to_string()))?.into()
            }
            None => text.into(),
        },
    })
}

/// An integer in one of the five forms of YAML 1.1.
fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = unsigned.replace('_', "");
    let read = |digits: &str, base| i64::from_str_radix(digits, base).ok();
    let value = match digits.strip_prefix('0') {
        Some("") => 0,
        Some(rest) => match (rest.strip_prefix('b'), rest.strip_prefix('x')) {
            (Some(binary), _) => read(binary, 2)?,
            (_, Some(hexadecimal)) => read(hexadecimal, 16)?,
            (None, None) => read(rest, 8)?,
        },
        None => {
            let mut value = 0;
            for (nth, part) in digits.split(':').enumerate() {
                let part = read(part, 10).filter(|part| nth == 0 || *part < 60)?;
                value = value * 60 + part;
            }
            value
        }
    };
    Some(sign * value)
}
