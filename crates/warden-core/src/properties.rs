//! Reads what people wrote: the properties of a custom resource, a policy, or the accepted risks.
//!
//! CloudFormation sends every scalar as a string, YAML has plain scalars, and JSON has numbers. The
//! same code reads all of them ([`Node`]). A [`Reader`] continues after a mistake, so that a person sees
//! all mistakes at once, each with the path of the property.

pub mod description;

use std::any::Any;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use self::description::{Description, Kind};
pub use crate::keyword::UnknownKeyword;
use crate::node::{Node, NodeValue, Position, Scalar, find_yaml_type};

/// The most characters of a value in an error.
const SHOWN: usize = 80;

/// A mistake in a property, or a warning about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {message}")]
pub struct Problem {
    /// The path of the property, such as `Rules[2] (platform).Tags.Grammar[0]`.
    pub property: String,
    /// The mistake and the expected value.
    pub message: String,
    /// Where the value begins. For a missing property, where the map begins in which it is missing.
    /// A property from JSON has no position.
    pub position: Option<Position>,
}

impl Problem {
    /// A problem without a position.
    #[must_use]
    pub fn new(property: impl Into<String>, message: impl Into<String>) -> Self {
        Self { property: property.into(), message: message.into(), position: None }
    }
}

/// All mistakes in a set of properties.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// Reads a map of properties, and records the names that were read. [`Reader::finish`] reports the
/// properties that were not.
pub struct Reader<'a> {
    /// The path of the map, with a full stop at its end.
    path: String,
    /// The map. None if it is absent or is no map.
    map: Option<&'a Node>,
    /// Where the map begins, or the map around an absent one.
    position: Option<Position>,
    /// Whether the whole map was reported as a mistake. A missing required property of this map is not
    /// reported then.
    reported: bool,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
    /// The sentence about the next property.
    about: &'static str,
    /// The properties that were asked for, in a run that describes them.
    descriptions: Option<Vec<Description>>,
}

impl<'a> Reader<'a> {
    /// Reads the properties at the top. A value that is not a map is a problem.
    #[must_use]
    pub fn new(properties: &'a Node) -> Self {
        let mut reader = Self::at(String::new());
        if !reader.enter(properties) {
            reader.problem("ResourceProperties", "missing; expected an object");
        }
        reader
    }

    fn at(path: String) -> Self {
        Self {
            path,
            map: None,
            position: None,
            reported: false,
            known: Vec::new(),
            problems: Vec::new(),
            about: "",
            descriptions: None,
        }
    }

    /// Reads the properties of this node from now on. False if it is not a map.
    fn enter(&mut self, node: &'a Node) -> bool {
        let is_map = matches!(node.value, NodeValue::Map(_));
        self.map = is_map.then_some(node);
        self.position = node.position;
        self.reported = !is_map;
        is_map
    }

    /// A reader of a map inside this one, which is empty until it enters a node.
    fn inner(&self, name: &str) -> Self {
        let mut inner = Reader::at(format!("{}{name}.", self.path));
        inner.reported = self.reported;
        inner.position = self.position;
        inner.descriptions = self.descriptions.as_ref().map(|_| Vec::new());
        inner
    }

    /// Takes the problems of a map inside this one, and returns its descriptions.
    fn leave(&mut self, mut inner: Self) -> Vec<Description> {
        let descriptions = inner.descriptions.take().unwrap_or_default();
        self.problems.extend(inner.finish());
        descriptions
    }

    /// Gives the sentence that describes the next property.
    pub fn about(&mut self, sentence: &'static str) -> &mut Self {
        self.about = sentence;
        self
    }

    /// Adds a remark to the path of all further problems, such as the name of a rule.
    pub fn label(&mut self, label: impl fmt::Display) {
        self.path = format!("{} ({label}).", self.path.trim_end_matches('.'));
    }

    /// Records a problem of the property `name`, which can also be a path, such as `Tags.Grammar[0]`.
    pub fn problem(&mut self, name: &str, message: impl fmt::Display) {
        self.problems.push(Problem {
            property: format!("{}{name}", self.path),
            message: message.to_string(),
            position: self.map.map_or(self.position, |node| node.locate(name).position),
        });
    }

    /// The number of problems up to now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// Allows a property without reading it.
    pub fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Reads a required property. `None` if a problem was recorded.
    pub fn required<T: FromStr<Err: fmt::Display + 'static>>(
        &mut self,
        name: &'static str,
    ) -> Option<T> {
        self.describe(name, true, None, Kind::for_type::<T>);
        let found = self.get(name);
        self.check_present(name, found);
        found.and_then(|value| self.scalar(name, value))
    }

    /// Reads a property that may be absent. Records a problem for an invalid value.
    pub fn optional<T: FromStr<Err: fmt::Display + 'static>>(
        &mut self,
        name: &'static str,
    ) -> Option<T> {
        self.describe(name, false, None, Kind::for_type::<T>);
        let value = self.get(name)?;
        self.scalar(name, value)
    }

    /// Reads a property that has a default. Records a problem for an invalid value, and returns the
    /// default then.
    pub fn or<T: FromStr<Err: fmt::Display + 'static> + fmt::Display>(
        &mut self,
        name: &'static str,
        default: T,
    ) -> T {
        self.describe(name, false, Some(default.to_string()), Kind::for_type::<T>);
        let value = self.get(name);
        value.and_then(|value| self.scalar(name, value)).unwrap_or(default)
    }

    /// Reads a whole number within `range`. Without a `default`, the property is required. Records a
    /// problem for an invalid value; the caller must not use the returned number then.
    pub fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        default: Option<u32>,
    ) -> u32 {
        let (from, to) = range.clone().into_inner();
        let default_text = default.map(|number| number.to_string());
        self.describe(name, default.is_none(), default_text, || Kind::Number(from, to));
        let found = self.get(name);
        if default.is_none() {
            self.check_present(name, found);
        }
        found.map_or(default.unwrap_or(from), |value| self.parse_number(name, value, range))
    }

    /// Reads a whole number within `range` that may be absent and has no default. Records a problem for
    /// an invalid value; the caller must not use the returned number then.
    pub fn optional_number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let (from, to) = range.clone().into_inner();
        self.describe(name, false, None, || Kind::Number(from, to));
        let value = self.get(name)?;
        Some(self.parse_number(name, value, range))
    }

    /// The number of a value. Records a problem and returns the first number of the range for an invalid
    /// value.
    fn parse_number(&mut self, name: &str, value: &Node, range: RangeInclusive<u32>) -> u32 {
        let (from, to) = range.clone().into_inner();
        let Some(text) = text_of(value) else {
            self.problem(name, format!("expected a single value{}", got_null(value)));
            return from;
        };
        // `parse` also accepts a sign. YAML 1.1 takes a plain number that begins with 0 for an octal one.
        let is_octal = matches!(&value.value, NodeValue::Scalar(Scalar::Plain(_)))
            && text.len() > 1
            && text.starts_with('0');
        let is_decimal = !is_octal && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_decimal.then(|| text.parse::<u32>().ok());
        number.flatten().filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.problem(
                name,
                format!("expected a whole number from {from} to {to}, got {:?}", shown(text)),
            );
            from
        })
    }

    /// Reads `true` or `false`. Returns `default` if the property is absent.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.describe(name, false, Some(default.to_string()), || Kind::Flag);
        let Some(value) = self.get(name) else {
            return default;
        };
        match text_of(value) {
            Some("true") => true,
            Some("false") => false,
            Some(text) => {
                self.problem(name, format!("expected true or false, got {:?}", shown(text)));
                default
            }
            None => {
                self.problem(name, format!("expected a single value{}", got_null(value)));
                default
            }
        }
    }

    /// Reads a list of texts. Blank texts are mistakes. Empty if the property is absent.
    pub fn list<T: FromStr<Err: fmt::Display + 'static>>(&mut self, name: &'static str) -> Vec<T> {
        self.describe(name, false, Some("[]".to_owned()), || {
            Kind::List(Box::new(Kind::for_type::<T>()))
        });
        let found = self.get(name);
        self.items(name, found)
    }

    /// Reads a list of texts that has a default. Blank texts are mistakes.
    pub fn list_or<T: FromStr<Err: fmt::Display + 'static>>(
        &mut self,
        name: &'static str,
        default: &[&str],
    ) -> Vec<T> {
        self.describe(name, false, Some(format!("{default:?}")), || {
            Kind::List(Box::new(Kind::for_type::<T>()))
        });
        match self.get(name) {
            None => default.iter().filter_map(|text| self.parse(name, text)).collect(),
            found => self.items(name, found),
        }
    }

    /// Reads a list of at least one text.
    pub fn required_list<T: FromStr<Err: fmt::Display + 'static>>(
        &mut self,
        name: &'static str,
    ) -> Vec<T> {
        self.describe(name, true, None, || Kind::List(Box::new(Kind::for_type::<T>())));
        let found = self.get(name);
        self.check_present(name, found);
        if found.is_some_and(|node| node.value == NodeValue::List(Vec::new())) {
            self.problem(name, "expected at least one item");
        }
        self.items(name, found)
    }

    /// Reads a list of words: a list of strings, or one string with spaces between the words. Blank
    /// strings are ignored, because an empty `CommaDelimitedList` arrives as one blank string.
    pub fn words<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Vec<T> {
        let found = self.get(name);
        let mut words = Vec::new();
        match found.map(|node| &node.value) {
            None => {}
            Some(NodeValue::Scalar(Scalar::Quoted(text) | Scalar::Plain(text))) => {
                for word in text.split_whitespace() {
                    words.extend(self.parse(name, word));
                }
            }
            Some(NodeValue::List(nodes)) => {
                for (nth, node) in nodes.iter().enumerate() {
                    let name = format!("{name}[{nth}]");
                    match &node.value {
                        NodeValue::Scalar(Scalar::Quoted(text) | Scalar::Plain(text)) => {
                            let word = text.trim();
                            words.extend(
                                (!word.is_empty()).then(|| self.parse(&name, word)).flatten(),
                            );
                        }
                        _ => self.problem(&name, "expected a string"),
                    }
                }
            }
            Some(_) => self.problem(name, "expected a list of strings"),
        }
        words
    }

    /// Reads a list of at least one word. `expected` describes a word for the problem that is recorded
    /// if the list is empty.
    pub fn required_words<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Vec<T> {
        let before = self.count();
        let words = self.words(name);
        if words.is_empty() && self.count() == before && !self.reported {
            self.problem(name, format!("expected at least one {expected}"));
        }
        words
    }

    /// Reads a map of strings to strings.
    pub fn map(&mut self, name: &'static str) -> Vec<(String, String)> {
        let pairs = match self.get(name).map(|node| &node.value) {
            None => return Vec::new(),
            Some(NodeValue::Map(pairs)) => pairs
                .iter()
                .map(|(key, node)| Some((key.name.clone(), text_of(node)?.to_owned())))
                .collect(),
            Some(_) => None,
        };
        pairs.unwrap_or_else(|| {
            self.problem(name, "expected a map of strings");
            Vec::new()
        })
    }

    /// Reads an inner map. `read` is called also if the map is absent, so that each missing required
    /// property is reported with its full name.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Reader<'a>) -> T) -> T {
        let found = self.get(name);
        self.read_inner(name, found, false, read)
    }

    /// Reads an inner map that may be absent. `read` is called only if the map is there.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        let found = self.get(name);
        let is_asked = found.is_some() || self.descriptions.is_some();
        is_asked.then(|| self.read_inner(name, found, false, read)).flatten()
    }

    /// Reads a list of maps. Without `is_required`, the list may be absent.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        is_required: bool,
        mut read: impl FnMut(&mut Reader<'a>) -> T,
    ) -> Vec<T> {
        let about = self.about;
        let found = self.get(name);
        if self.descriptions.is_some() {
            let mut inner = self.inner(name);
            read(&mut inner);
            let items = Kind::List(Box::new(Kind::Map(self.leave(inner))));
            self.about = about;
            self.describe(name, is_required, (!is_required).then(|| "[]".to_owned()), || items);
        }
        if is_required {
            self.check_present(name, found);
        }
        let nodes = match found.map(|node| &node.value) {
            None => return Vec::new(),
            Some(NodeValue::List(nodes)) => nodes,
            Some(_) => {
                self.problem(name, "expected a list");
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for (nth, node) in nodes.iter().enumerate() {
            values.push(self.read_inner(&format!("{name}[{nth}]"), Some(node), true, &mut read));
        }
        values
    }

    /// Reads the map at this node, or an absent map.
    fn read_inner<T>(
        &mut self,
        name: &str,
        node: Option<&'a Node>,
        is_item: bool,
        read: impl FnOnce(&mut Reader<'a>) -> T,
    ) -> T {
        let about = std::mem::take(&mut self.about);
        let mut inner = self.inner(name);
        if let Some(node) = node
            && !inner.enter(node)
        {
            self.problem(name, format!("expected an object{}", got_null(node)));
        }
        let value = read(&mut inner);
        let properties = self.leave(inner);
        if let (Some(descriptions), false) = (&mut self.descriptions, is_item) {
            descriptions.push(Description {
                name: name.to_owned(),
                about,
                kind: Kind::Map(properties),
                is_required: false,
                default: None,
            });
        }
        value
    }

    /// Returns all problems, and adds a problem for each property that was not read or is repeated.
    #[must_use]
    pub fn finish(mut self) -> Vec<Problem> {
        let pairs = self.map.map_or(&[][..], |node| node.pairs());
        for (nth, (key, _)) in pairs.iter().enumerate() {
            let name = &key.name;
            let message = if pairs.iter().take(nth).any(|(earlier, _)| earlier.name == *name) {
                "this key is repeated; a map has each key once".to_owned()
            } else if self.known.contains(&name.as_str()) {
                continue;
            } else {
                match nearest(name, &self.known) {
                    Some(nearest) => {
                        format!("unknown property; the nearest known name is {nearest}")
                    }
                    None => "unknown property".to_owned(),
                }
            };
            let name = shown(name);
            // Quotes show where a name with other characters begins and ends.
            let is_plain =
                !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let name = if is_plain { name } else { format!("{name:?}") };
            let property = format!("{}{name}", self.path);
            self.problems.push(Problem { property, message, position: key.position });
        }
        self.problems
    }

    fn find(&self, name: &str) -> Option<&'a Node> {
        self.map?.get(name)
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        self.find(name)
    }

    fn check_present(&mut self, name: &str, found: Option<&Node>) {
        if found.is_none() && !self.reported {
            self.problem(name, "this required property is missing");
        }
    }

    fn describe(
        &mut self,
        name: &str,
        is_required: bool,
        default: Option<String>,
        kind: impl FnOnce() -> Kind,
    ) {
        let about = std::mem::take(&mut self.about);
        if let Some(descriptions) = &mut self.descriptions {
            let (name, kind) = (name.to_owned(), kind());
            descriptions.push(Description { name, about, kind, is_required, default });
        }
    }

    fn items<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
        found: Option<&'a Node>,
    ) -> Vec<T> {
        let mut items = Vec::new();
        match found.map(|node| &node.value) {
            None => {}
            Some(NodeValue::List(nodes)) => {
                for (nth, node) in nodes.iter().enumerate() {
                    items.extend(self.scalar::<T>(&format!("{name}[{nth}]"), node));
                }
            }
            Some(_) => self.problem(name, "expected a list, such as [\"a\", \"b\"]"),
        }
        items
    }

    fn scalar<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, node: &Node) -> Option<T> {
        let Some(text) = text_of(node) else {
            self.problem(name, format!("expected a single value{}", got_null(node)));
            return None;
        };
        if let NodeValue::Scalar(Scalar::Plain(plain)) = &node.value
            && let Some(kind) = find_yaml_type(plain)
        {
            self.problem(
                name,
                format!("CloudFormation reads it as {kind}: write {:?}, with quotes", shown(plain)),
            );
            return None;
        }
        self.parse(name, text)
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(name, format!("{error}, got {:?}", shown(text)));
                None
            }
        }
    }
}

impl Kind {
    /// The kind of a single value. The error of an empty text says what is expected.
    fn for_type<T: FromStr<Err: fmt::Display + 'static>>() -> Self {
        match "".parse::<T>() {
            Ok(_) => Self::Text(String::new()),
            Err(error) => match (&error as &dyn Any).downcast_ref::<UnknownKeyword>() {
                Some(UnknownKeyword(words)) => Self::Keyword(words),
                None => Self::Text(error.to_string()),
            },
        }
    }
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        NodeValue::Scalar(Scalar::Quoted(text) | Scalar::Plain(text) | Scalar::Literal(text)) => {
            Some(text)
        }
        NodeValue::Scalar(Scalar::Null) | NodeValue::List(_) | NodeValue::Map(_) => None,
    }
}

fn got_null(node: &Node) -> &'static str {
    if node.value == NodeValue::Scalar(Scalar::Null) { ", got nothing (null)" } else { "" }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Finds the known word that is most similar to `word`. None if there is no known word.
#[must_use]
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let similarity =
        |candidate: &str| strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase());
    known.iter().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

#[cfg(test)]
mod tests;
