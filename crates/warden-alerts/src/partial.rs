//! Alerts that do not deserialise: from another version of ECR Warden, or from a person.

use serde::Deserialize as _;
use serde_json::Value;

use super::Remedy;

/// The readable parts of a message that has the `kind` and the `title` of an alert, and does not
/// deserialise as an [`Alert`](super::Alert).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialAlert {
    /// The kind, which may be one of a newer version.
    pub kind: String,
    /// The severity, if there is one.
    pub severity: Option<String>,
    /// The title.
    pub title: String,
    /// The text, or an empty one.
    pub text: String,
    /// The names and values of the other fields that are texts, numbers, or objects of these.
    pub facts: Vec<(String, String)>,
    /// The remedies that deserialise.
    pub remedies: Vec<Remedy>,
}

/// The fields that are not facts. The details differ by kind, and only machines read them.
const NOT_FACTS: [&str; 6] = ["kind", "severity", "title", "text", "remedies", "details"];

impl PartialAlert {
    /// Reads a message. Returns `None` where the message has no kind or no title.
    #[must_use]
    pub fn read(message: &Value) -> Option<Self> {
        let field = |name: &str| message.get(name).and_then(readable);
        let fields = message.as_object()?.iter();
        let fields = fields.filter(|(name, _)| !NOT_FACTS.contains(&name.as_str()));
        let facts = fields.flat_map(|(name, value)| match value {
            Value::Object(parts) => parts
                .iter()
                .filter_map(|(part, value)| Some((format!("{name} {part}"), readable(value)?)))
                .collect(),
            value => {
                readable(value).map(|text| (name.clone(), text)).into_iter().collect::<Vec<_>>()
            }
        });
        let remedies = message.get("remedies").and_then(Value::as_array);
        let remedies = remedies.into_iter().flatten();
        Some(Self {
            kind: field("kind")?,
            severity: field("severity"),
            title: field("title")?,
            text: field("text").unwrap_or_default(),
            facts: facts.collect(),
            remedies: remedies.filter_map(|remedy| Remedy::deserialize(remedy).ok()).collect(),
        })
    }
}

/// A value as text. Returns `None` where it is blank or an object.
pub fn readable(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().filter_map(readable).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        _ => None,
    }
}
