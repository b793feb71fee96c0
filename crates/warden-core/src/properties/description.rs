//! What a reader asks for. The editor schema and the reference page of the policy come from it, so they
//! cannot differ from the code that reads the policy.

use super::Reader;

/// A property that a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name.
    pub name: String,
    /// One sentence about the property.
    pub about: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// Whether the property must be given.
    pub is_required: bool,
    /// The text of the value of an absent property. None for a property without a default.
    pub default: Option<String>,
}

/// The kind of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text. The value describes what is accepted.
    Text(String),
    /// One of these words.
    Keyword(&'static [&'static str]),
    /// A whole number from the first to the second number.
    Number(u32, u32),
    /// `true` or `false`.
    Flag,
    /// A list of values of one kind.
    List(Box<Kind>),
    /// A map of these properties.
    Map(Vec<Description>),
}

/// Lists the properties that `read` asks for, in the same order. `read` gets no input.
pub fn describe<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> Vec<Description> {
    let mut reader = Reader::at(String::new());
    reader.reported = true;
    reader.descriptions = Some(Vec::new());
    read(&mut reader);
    reader.descriptions.unwrap_or_default()
}
