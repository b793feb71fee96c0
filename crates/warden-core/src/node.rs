//! A tree of values that people wrote: YAML with lines and columns, the properties of a custom
//! resource, whose scalars are all strings, or JSON.
//!
//! [`crate::properties::Reader`] reads every tree in the same way. Only the command-line tool reads
//! YAML, so this module has no parser.

use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: NodeValue,
    /// A value from JSON has no position.
    pub position: Option<Position>,
}

/// The three kinds of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the order of the text. YAML can repeat a key.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub name: String,
    /// A key from JSON has no position.
    pub position: Option<Position>,
}

/// A single value, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string of JSON, or a quoted scalar of YAML.
    Quoted(String),
    /// A scalar of YAML without quotes.
    Plain(String),
    /// The text of a number or a boolean of JSON.
    Literal(String),
    /// No value.
    Null,
}

/// A place in a text. The first line and the first column are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Node {
    /// The keys and values of a map. Empty if the node is not a map.
    #[must_use]
    pub fn pairs(&self) -> &[(Key, Node)] {
        match &self.value {
            NodeValue::Map(pairs) => pairs,
            NodeValue::Scalar(_) | NodeValue::List(_) => &[],
        }
    }

    /// The value of a key. None if the node is not a map or has no such key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.pairs().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The node at a path such as `Rules[2].Tags`, or the nearest node around it that exists. A remark
    /// in parentheses, as in `Rules[2] (platform).Tags`, is ignored.
    #[must_use]
    pub fn locate(&self, path: &str) -> &Node {
        let mut node = self;
        for step in path.split('.') {
            let step = step.split(" (").next().unwrap_or_default();
            let mut parts = step.split(['[', ']']).filter(|part| !part.is_empty());
            let Some(inner) = parts.next().and_then(|name| node.get(name)) else { return node };
            node = inner;
            for index in parts {
                let NodeValue::List(nodes) = &node.value else { return node };
                let Some(item) = index.parse::<usize>().ok().and_then(|nth| nodes.get(nth)) else {
                    return node;
                };
                node = item;
            }
        }
        node
    }
}

impl From<NodeValue> for Node {
    fn from(value: NodeValue) -> Self {
        Self { value, position: None }
    }
}

impl From<Scalar> for Node {
    fn from(scalar: Scalar) -> Self {
        NodeValue::Scalar(scalar).into()
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Scalar::Null.into(),
            Value::Bool(flag) => Scalar::Literal(flag.to_string()).into(),
            Value::Number(number) => Scalar::Literal(number.to_string()).into(),
            Value::String(text) => Scalar::Quoted(text.clone()).into(),
            Value::Array(values) => NodeValue::List(values.iter().map(Node::from).collect()).into(),
            Value::Object(object) => {
                let key = |name: &String| Key { name: name.clone(), position: None };
                let pairs = object.iter().map(|(name, node)| (key(name), node.into()));
                NodeValue::Map(pairs.collect()).into()
            }
        }
    }
}

/// Reads JSON that people wrote. Unlike [`Value`], a map keeps a key that is repeated, which
/// [`crate::properties::Reader`] reports.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Scalar::Null.into())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Scalar::Literal(flag.to_string()).into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Scalar::Literal(number.to_string()).into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Scalar::Literal(number.to_string()).into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Scalar::Literal(number.to_string()).into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Scalar::Quoted(text.to_owned()).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(NodeValue::List(nodes).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, node)) = map.next_entry()? {
            pairs.push((Key { name, position: None }, node));
        }
        Ok(NodeValue::Map(pairs).into())
    }
}

/// The kind of value that YAML 1.1, which CloudFormation reads, takes a plain scalar for. None if the
/// scalar is text.
///
/// The patterns are those of <https://yaml.org/type/>, and of the numbers with an exponent that the
/// parsers of Java accept.
#[must_use]
pub fn find_yaml_type(plain: &str) -> Option<&'static str> {
    static TYPES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a test compiles the constants")]
        let regex = |pattern: &str| Regex::new(pattern).expect("a valid pattern");
        [
            (regex("^(?i:y|yes|n|no|true|false|on|off)$"), "a boolean"),
            (
                regex(
                    r"^([-+]?(0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[0-9][0-9_]*(\.[0-9._]*)?([eE][-+]?[0-9]+)?|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|\.(?i:inf))|\.(?i:nan))$",
                ),
                "a number",
            ),
            (regex(r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?$"), "a date"),
        ]
    });
    TYPES.iter().find(|(pattern, _)| pattern.is_match(plain)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_scalar_that_yaml_takes_for_another_type_is_found() {
        for (plain, kind) in [
            ("yes", "a boolean"),
            ("Off", "a boolean"),
            ("TRUE", "a boolean"),
            ("n", "a boolean"),
            ("0", "a number"),
            ("010", "a number"),
            ("1_000", "a number"),
            ("-12", "a number"),
            ("+.5", "a number"),
            ("1.10", "a number"),
            ("1.2.3", "a number"),
            ("12e4567", "a number"),
            ("0x1F", "a number"),
            ("0b10", "a number"),
            ("190:20:30", "a number"),
            (".inf", "a number"),
            (".NaN", "a number"),
            ("2026-11-27", "a date"),
            ("2026-1-2T03:04:05Z", "a date"),
        ] {
            assert_eq!(find_yaml_type(plain), Some(kind), "{plain}");
        }
        for text in [
            "",
            "v1.0",
            "latest",
            "1.0-alpine",
            "yesterday",
            "on-call",
            "2026-11",
            "2026.11.27-abc",
            "*",
            ".",
            "-",
            "0x",
            "e5",
            "a:b",
            "{component}-v{semver}",
        ] {
            assert_eq!(find_yaml_type(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_leads_to_a_node_or_to_the_nearest_node_around_it() {
        let node =
            Node::from(&json!({"Rules": [{"Name": "a"}, {"Tags": {"Grammar": ["x", "y"]}}]}));
        let text = |path: &str| match &node.locate(path).value {
            NodeValue::Scalar(Scalar::Quoted(text)) => text.clone(),
            NodeValue::Scalar(_) => "a scalar".to_owned(),
            NodeValue::List(nodes) => format!("a list of {}", nodes.len()),
            NodeValue::Map(pairs) => format!("a map of {}", pairs.len()),
        };
        for (path, expected) in [
            ("Rules[0].Name", "a"),
            ("Rules[1] (b).Tags.Grammar[1]", "y"),
            ("Rules[1].Tags.Grammar[2]", "a list of 2"),
            ("Rules[1].Tags.Enforcement", "a map of 1"),
            ("Rules[7].Tags", "a list of 2"),
            ("Other", "a map of 1"),
            ("", "a map of 1"),
        ] {
            assert_eq!(text(path), expected, "{path}");
        }
    }
}
