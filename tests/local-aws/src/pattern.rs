//! The pattern language of Amazon EventBridge, which decides which events match a rule.
//!
//! It follows the [documentation][1] of the service and, where that is silent, the [engine][2] that
//! AWS publishes. A pattern is parsed once. A pattern that the service refuses is an error, so that
//! no rule passes its tests and fails to deploy.
//!
//! Two rules are simpler than in the engine. A field that occurs beside `$or` and in it must match
//! both times. In an array of objects, each object has or lacks a field, unless the pattern demands
//! nothing but absence.
//!
//! [1]: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
//! [2]: https://github.com/aws/event-ruler

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{Bound, RangeBounds};

use serde_json::{Map, Value};

/// A valid event pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Fields);

/// The mistake in a pattern, in the words of `InvalidEventPatternException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Event pattern is not valid. Reason: {path}{}{reason}", if path.is_empty() {""} else {": "})]
pub struct InvalidPattern {
    path: String,
    reason: String,
}

/// The conditions on an object: every field must match, and one alternative of each `$or`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fields {
    fields: BTreeMap<String, Field>,
    or: Vec<Vec<Fields>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Object(Fields),
    /// One of the tests must hold.
    Value(Vec<Test>),
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Exists,
    Absent,
    Null,
    Boolean(bool),
    Number(Bound<f64>, Bound<f64>),
    Text(Place, Letters),
    /// The parts between the asterisks.
    Wildcard(Vec<String>),
    /// A network, and the number of bits of its prefix.
    Cidr(IpAddr, u32),
    /// Anything that passes none of the tests.
    AnythingBut(Vec<Test>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Whole,
    Start,
    End,
}

/// A text to compare with, lower-cased where case is ignored.
#[derive(Clone, Debug, PartialEq)]
struct Letters {
    text: String,
    ignore_case: bool,
}

type Parsed<T> = Result<T, InvalidPattern>;

impl Pattern {
    /// Parses a pattern. The error names the mistake and its path.
    pub fn new(pattern: &Value) -> Parsed<Self> {
        Fields::parse(pattern).map(Self)
    }

    /// Whether the event matches.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        event.as_object().is_some_and(|event| self.0.hold(event))
    }
}

impl InvalidPattern {
    fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    /// The same mistake, with the path of the outer level.
    fn within(self, step: &str) -> Self {
        let path = match self.path.as_str() {
            "" => step.to_owned(),
            path => format!("{step}.{path}"),
        };
        Self { path, ..self }
    }
}

fn invalid<T>(reason: impl Into<String>) -> Parsed<T> {
    Err(InvalidPattern::new(reason))
}

impl Fields {
    fn parse(value: &Value) -> Parsed<Self> {
        let Some(object) = value.as_object() else { return invalid("expected an object") };
        if object.is_empty() {
            return invalid("an empty object is not allowed");
        }
        let mut parsed = Self::default();
        for (name, value) in object {
            let within = |error: InvalidPattern| error.within(name);
            if name == "$or" {
                parsed.or.push(alternatives(value).map_err(within)?);
            } else {
                parsed.fields.insert(name.clone(), Field::parse(value).map_err(within)?);
            }
        }
        Ok(parsed)
    }

    fn hold(&self, object: &Map<String, Value>) -> bool {
        self.fields.iter().all(|(name, field)| field.holds(object.get(name)))
            && self.or.iter().all(|either| either.iter().any(|fields| fields.hold(object)))
    }

    /// Whether the pattern demands nothing but absence, which must then hold in a whole array.
    fn is_absence(&self) -> bool {
        self.fields.values().all(|field| match field {
            Field::Object(fields) => fields.is_absence(),
            Field::Value(tests) => tests.iter().all(|test| *test == Test::Absent),
        }) && self.or.iter().flatten().all(Self::is_absence)
    }
}

/// The alternatives of `$or`: at least two.
fn alternatives(value: &Value) -> Parsed<Vec<Fields>> {
    match value.as_array() {
        Some(either) if either.len() >= 2 => either.iter().map(Fields::parse).collect(),
        _ => invalid("expected an array of two objects at least"),
    }
}

impl Field {
    fn parse(value: &Value) -> Parsed<Self> {
        match value {
            Value::Object(_) => Fields::parse(value).map(Self::Object),
            Value::Array(tests) if tests.is_empty() => invalid("an empty array is not allowed"),
            Value::Array(tests) => {
                tests.iter().map(Test::parse).collect::<Parsed<_>>().map(Self::Value)
            }
            other => invalid(format!("expected an object or an array, not {other}")),
        }
    }

    /// An array in the event stands for each of its elements. Containers are no values, so an empty
    /// array is absent, and so is an object in the place of a value.
    fn holds(&self, found: Option<&Value>) -> bool {
        let mut found = found.map(elements).unwrap_or_default();
        match self {
            Self::Value(tests) => {
                found.retain(|value| !value.is_object());
                tests.iter().any(|test| match test {
                    Test::Absent => found.is_empty(),
                    test => found.iter().any(|value| test.holds(value)),
                })
            }
            Self::Object(fields) => {
                let mut objects = found.into_iter().filter_map(Value::as_object).peekable();
                match objects.peek() {
                    None => fields.hold(&Map::new()),
                    Some(_) if fields.is_absence() => objects.all(|object| fields.hold(object)),
                    Some(_) => objects.any(|object| fields.hold(object)),
                }
            }
        }
    }
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(elements).collect(),
        value => vec![value],
    }
}

impl Test {
    fn parse(value: &Value) -> Parsed<Self> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::Bool(boolean) => Ok(Self::Boolean(*boolean)),
            Value::Number(_) | Value::String(_) => Self::equal(value),
            Value::Array(_) => invalid("an array within an array is not allowed"),
            Value::Object(_) => {
                let (operator, value) = only_entry(value)?;
                Self::operator(operator, value).map_err(|error| error.within(operator))
            }
        }
    }

    fn equal(value: &Value) -> Parsed<Self> {
        match (value, value.as_f64().map(Bound::Included)) {
            (Value::String(text), _) => Ok(Self::Text(Place::Whole, Letters::exact(text))),
            (_, Some(number)) => Ok(Self::Number(number, number)),
            (other, None) => invalid(format!("expected a string or a number, not {other}")),
        }
    }

    fn operator(operator: &str, value: &Value) -> Parsed<Self> {
        match operator {
            "exists" => match value {
                Value::Bool(true) => Ok(Self::Exists),
                Value::Bool(false) => Ok(Self::Absent),
                other => invalid(format!("expected true or false, not {other}")),
            },
            "prefix" => Letters::parse(value).map(|text| Self::Text(Place::Start, text)),
            "suffix" => Letters::parse(value).map(|text| Self::Text(Place::End, text)),
            "equals-ignore-case" => Ok(Self::Text(Place::Whole, Letters::any_case(string(value)?))),
            "wildcard" => wildcard(string(value)?).map(Self::Wildcard),
            "numeric" => numeric(value),
            "cidr" => cidr(string(value)?),
            "anything-but" => anything_but(value).map(Self::AnythingBut),
            _ => invalid("unknown operator"),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Exists => true,
            Self::Absent => false,
            Self::Null => value.is_null(),
            Self::Boolean(boolean) => value.as_bool() == Some(*boolean),
            Self::Number(from, to) => {
                value.as_f64().is_some_and(|number| (*from, *to).contains(&number))
            }
            Self::Text(place, letters) => {
                value.as_str().is_some_and(|text| letters.stand(*place, text))
            }
            Self::Wildcard(parts) => value.as_str().is_some_and(|text| fits(parts, text)),
            Self::Cidr(network, bits) => {
                let address = value.as_str().and_then(|text| text.parse().ok());
                address.is_some_and(|address| masked(address, *bits) == *network)
            }
            Self::AnythingBut(tests) => !tests.iter().any(|test| test.holds(value)),
        }
    }
}

impl Letters {
    fn exact(text: &str) -> Self {
        Self { text: text.to_owned(), ignore_case: false }
    }

    fn any_case(text: &str) -> Self {
        Self { text: text.to_lowercase(), ignore_case: true }
    }

    /// A string, or `{"equals-ignore-case": string}`.
    fn parse(value: &Value) -> Parsed<Self> {
        if !value.is_object() {
            return string(value).map(Self::exact);
        }
        match only_entry(value)? {
            ("equals-ignore-case", value) => string(value).map(Self::any_case),
            (other, _) => Err(InvalidPattern::new("unknown operator").within(other)),
        }
    }

    fn stand(&self, place: Place, text: &str) -> bool {
        let lower;
        let text = if self.ignore_case {
            lower = text.to_lowercase();
            &lower
        } else {
            text
        };
        match place {
            Place::Whole => text == self.text,
            Place::Start => text.starts_with(&self.text),
            Place::End => text.ends_with(&self.text),
        }
    }
}

fn string(value: &Value) -> Parsed<&str> {
    value.as_str().map_or_else(|| invalid(format!("expected a string, not {value}")), Ok)
}

fn number(value: Option<&Value>) -> Parsed<f64> {
    value.and_then(Value::as_f64).map_or_else(|| invalid("expected a number"), Ok)
}

fn only_entry(value: &Value) -> Parsed<(&str, &Value)> {
    let mut entries = value.as_object().into_iter().flatten();
    match (entries.next(), entries.next()) {
        (Some((operator, value)), None) => Ok((operator, value)),
        _ => invalid(format!("expected one operator in {value}")),
    }
}

/// Numbers or strings, or one operator on a string; each alone or as a list of its kind.
fn anything_but(value: &Value) -> Parsed<Vec<Test>> {
    let several = |value: &Value, parse: &dyn Fn(&Value) -> Parsed<Test>| match value {
        Value::Array(values) if values.is_empty() => invalid("an empty array is not allowed"),
        Value::Array(values) => values.iter().map(parse).collect(),
        value => Ok(vec![parse(value)?]),
    };
    if !value.is_object() {
        let tests = several(value, &Test::equal)?;
        let numbers = tests.iter().filter(|test| matches!(test, Test::Number(..))).count();
        return if numbers == 0 || numbers == tests.len() {
            Ok(tests)
        } else {
            invalid("expected strings or numbers, not both")
        };
    }
    let (operator, value) = only_entry(value)?;
    let parse = |value: &Value| match (operator, string(value)?) {
        ("prefix" | "suffix", "") => invalid("an empty string is not allowed"),
        ("prefix" | "suffix" | "wildcard" | "equals-ignore-case", _) => {
            Test::operator(operator, value)
        }
        _ => invalid("unknown operator"),
    };
    several(value, &parse).map_err(|error| error.within(operator))
}

/// `["=", 1]`, one bound, or a lower bound and then an upper one.
fn numeric(value: &Value) -> Parsed<Test> {
    let Some(terms) = value.as_array() else { return invalid("expected an array") };
    let (mut from, mut to) = (Bound::Unbounded, Bound::Unbounded);
    for (nth, term) in terms.chunks(2).enumerate() {
        let limit = number(term.get(1))?;
        match (term.first().and_then(Value::as_str), nth) {
            (Some("="), 0) if terms.len() == 2 => return Test::equal(&limit.into()),
            (Some(">"), 0) => from = Bound::Excluded(limit),
            (Some(">="), 0) => from = Bound::Included(limit),
            (Some("<"), _) if to == Bound::Unbounded => to = Bound::Excluded(limit),
            (Some("<="), _) if to == Bound::Unbounded => to = Bound::Included(limit),
            _ => return invalid(format!("not a range: {value}")),
        }
    }
    match (from, to) {
        (Bound::Unbounded, Bound::Unbounded) => invalid("an empty array is not allowed"),
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) if low >= high => invalid("the lower bound must be less than the upper one"),
        (from, to) => Ok(Test::Number(from, to)),
    }
}

fn cidr(text: &str) -> Parsed<Test> {
    let parsed = text
        .split_once('/')
        .and_then(|(address, bits)| Some((address.parse().ok()?, bits.parse().ok()?)));
    match parsed {
        // In the engine, a network of one address is an exact match.
        Some((address, bits)) if bits < width(address) => {
            Ok(Test::Cidr(masked(address, bits), bits))
        }
        _ => invalid(format!("not a network: {text:?}")),
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with every bit after the prefix cleared.
fn masked(address: IpAddr, bits: u32) -> IpAddr {
    let rest = width(address).saturating_sub(bits);
    match address {
        IpAddr::V4(v4) => {
            IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
    }
}

fn wildcard(text: &str) -> Parsed<Vec<String>> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.peek() == Some(&'*') => {
                return invalid("consecutive wildcards are not allowed");
            }
            '*' => parts.push(std::mem::take(&mut part)),
            '\\' => match letters.next() {
                Some(escaped @ ('*' | '\\')) => part.push(escaped),
                _ => return invalid("a backslash escapes nothing but '*' and '\\'"),
            },
            letter => part.push(letter),
        }
    }
    parts.push(part);
    Ok(parts)
}

/// Whether the text contains the parts in order, the first part at its start and the last part at its
/// end. Each part is matched at its first occurrence, which leaves the longest rest.
fn fits(parts: &[String], text: &str) -> bool {
    let Some((last, [first, middle @ ..])) = parts.split_last() else {
        return parts.iter().all(|only| only == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
        rest = after;
    }
    rest.ends_with(last.as_str())
}
