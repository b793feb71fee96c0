//! Reads the properties of a CloudFormation custom resource, or a normalised policy.
//!
//! CloudFormation sends every scalar as a string, and the normalised policy contains numbers. The
//! same code reads both. A [`Reader`] continues after a mistake, so that a person sees all mistakes at
//! once, each with the name of the property.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

pub use crate::keyword::UnknownKeyword;

/// The most characters of a value in an error.
const SHOWN: usize = 80;

/// A mistake in a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {message}")]
pub struct Problem {
    /// The path of the property, such as `Governance.Tags.Grammar`.
    pub property: String,
    /// The mistake and the expected value.
    pub message: String,
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

/// Reads an object of properties, and records the names that were read. [`Reader::finish`] reports the
/// properties that were not.
pub struct Reader<'a> {
    path: String,
    object: Option<&'a Map<String, Value>>,
    /// Whether the whole object was reported as a mistake. A missing required property of this object
    /// is not reported then.
    reported: bool,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Reads the properties at the top. A value that is not an object is a problem.
    #[must_use]
    pub fn new(properties: &'a Value) -> Self {
        let mut reader = Self::at(String::new());
        reader.object = properties.as_object();
        reader.reported = reader.object.is_none();
        if reader.reported {
            reader.problem("ResourceProperties", "missing; expected an object");
        }
        reader
    }

    fn at(path: String) -> Self {
        Self { path, object: None, reported: false, known: Vec::new(), problems: Vec::new() }
    }

    /// Records a problem of the property `name`.
    pub fn problem(&mut self, name: &str, message: impl fmt::Display) {
        self.problems.push(Problem {
            property: format!("{}{name}", self.path),
            message: message.to_string(),
        });
    }

    /// Allows a property without reading it.
    pub fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Reads a required property. `None` if a problem was recorded.
    pub fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let found = self.get(name);
        if found.is_none() && !self.reported {
            self.problem(name, "this required property is missing");
        }
        found.and_then(|value| self.scalar(name, value))
    }

    /// Reads a property that may be absent. Records a problem for an invalid value.
    pub fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Option<T> {
        let value = self.get(name)?;
        self.scalar(name, value)
    }

    /// Reads a whole number within `range`. Without a `default`, the property is required. Records a
    /// problem for an invalid value; the caller must not use the returned number then.
    pub fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        default: Option<u32>,
    ) -> u32 {
        let start = *range.start();
        let text = match default {
            Some(_) => self.optional::<String>(name),
            None => self.required::<String>(name),
        };
        let Some(text) = text else {
            return default.unwrap_or(start);
        };
        // `parse` also accepts a sign.
        let number =
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok());
        number.flatten().filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (from, to) = range.into_inner();
            self.problem(
                name,
                format!("expected a whole number from {from} to {to}, got {:?}", shown(&text)),
            );
            start
        })
    }

    /// Reads `true` or `false`. Returns `default` if the property is absent.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.optional::<String>(name) else {
            return default;
        };
        match text.as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.problem(name, format!("expected true or false, got {:?}", shown(&text)));
                default
            }
        }
    }

    /// Reads a list of words: a list of strings, or one string with spaces between the words. Blank
    /// strings are ignored, because an empty `CommaDelimitedList` arrives as one blank string.
    pub fn words<T: FromStr<Err: fmt::Display>>(&mut self, name: &'static str) -> Vec<T> {
        let texts: Vec<&str> = match self.get(name) {
            None => return Vec::new(),
            Some(Value::String(text)) => text.split_whitespace().collect(),
            Some(Value::Array(values)) if values.iter().all(Value::is_string) => {
                values.iter().filter_map(Value::as_str).map(str::trim).collect()
            }
            Some(_) => {
                self.problem(name, "expected a list of strings");
                return Vec::new();
            }
        };
        let mut words = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(word) => words.push(word),
                Err(error) => self.problem(name, format!("{error}, got {:?}", shown(text))),
            }
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
        let before = self.problems.len();
        let words = self.words(name);
        if words.is_empty() && self.problems.len() == before && !self.reported {
            self.problem(name, format!("expected at least one {expected}"));
        }
        words
    }

    /// Reads a map of strings to strings.
    pub fn map(&mut self, name: &'static str) -> Vec<(String, String)> {
        let pairs = match self.get(name) {
            None => return Vec::new(),
            Some(Value::Object(map)) => {
                map.iter().map(|(key, value)| Some((key.clone(), text_of(value)?))).collect()
            }
            Some(_) => None,
        };
        pairs.unwrap_or_else(|| {
            self.problem(name, "expected a map of strings");
            Vec::new()
        })
    }

    /// Reads an inner object. `read` is called also if the object is absent, so that each missing
    /// required property is reported with its full name.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Reader<'a>) -> T) -> T {
        let mut inner = Reader::at(format!("{}{name}.", self.path));
        inner.reported = self.reported;
        match self.get(name) {
            None => {}
            Some(Value::Object(object)) => inner.object = Some(object),
            Some(_) => {
                self.problem(name, "expected an object");
                inner.reported = true;
            }
        }
        let value = read(&mut inner);
        self.problems.extend(inner.finish());
        value
    }

    /// Returns all problems, and adds a problem for each property that was not read.
    #[must_use]
    pub fn finish(mut self) -> Vec<Problem> {
        for name in self.object.into_iter().flat_map(Map::keys) {
            if self.known.contains(&name.as_str()) {
                continue;
            }
            let message = match nearest(name, &self.known) {
                Some(nearest) => format!("unknown property; the nearest known name is {nearest}"),
                None => "unknown property".to_owned(),
            };
            let name = shown(name);
            // Quotes show where a name with other characters begins and ends.
            let is_plain =
                !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let name = if is_plain { name } else { format!("{name:?}") };
            let property = format!("{}{name}", self.path);
            self.problems.push(Problem { property, message });
        }
        self.problems
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object?.get(name)
    }

    fn scalar<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, value: &Value) -> Option<T> {
        let Some(text) = text_of(value) else {
            self.problem(name, "expected a single value");
            return None;
        };
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(name, format!("{error}, got {:?}", shown(&text)));
                None
            }
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
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
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    /// Checks the value that is read from these properties, and the problems, with one line for each.
    fn check<T: fmt::Debug>(
        properties: &Value,
        read: impl FnOnce(&mut Reader<'_>) -> T,
        expected: &Expect,
    ) {
        let mut reader = Reader::new(properties);
        let mut lines = format!("{:?}\n", read(&mut reader));
        reader.finish().iter().for_each(|problem| lines += &format!("{problem}\n"));
        expected.assert_eq(&lines);
    }

    #[test]
    fn a_flag_is_true_or_false_and_any_other_value_is_a_problem() {
        check(
            &json!({"A": "true", "B": "false", "C": true, "D": "yes"}),
            |reader| {
                let given = ["A", "B", "C", "D"].map(|name| reader.flag(name, false));
                (given, reader.flag("E", true), reader.flag("F", false))
            },
            &expect![[r#"
                ([true, false, true, false], true, false)
                D: expected true or false, got "yes"
            "#]],
        );
    }

    #[test]
    fn a_map_contains_scalars_and_any_other_value_is_a_problem() {
        let read = |reader: &mut Reader<'_>| reader.map("Tags");
        check(
            &json!({"Tags": {"a": "x", "b": 2, "c": true}}),
            read,
            &expect![[r#"
            [("a", "x"), ("b", "2"), ("c", "true")]
        "#]],
        );
        check(
            &json!({}),
            read,
            &expect![[r#"
            []
        "#]],
        );
        check(
            &json!({"Tags": {"a": "x", "b": []}}),
            read,
            &expect![[r#"
            []
            Tags: expected a map of strings
        "#]],
        );
        check(
            &json!({"Tags": ["a"]}),
            read,
            &expect![[r#"
            []
            Tags: expected a map of strings
        "#]],
        );
    }

    #[test]
    fn words_are_a_list_or_one_text_and_blank_words_are_ignored() {
        let read = |reader: &mut Reader<'_>| reader.words::<u8>("Words");
        check(
            &json!({"Words": " 1  2 "}),
            read,
            &expect![[r#"
            [1, 2]
        "#]],
        );
        check(
            &json!({"Words": ["1", " 2 ", ""]}),
            read,
            &expect![[r#"
            [1, 2]
        "#]],
        );
        check(
            &json!({"Words": ""}),
            read,
            &expect![[r#"
            []
        "#]],
        );
        check(
            &json!({}),
            read,
            &expect![[r#"
            []
        "#]],
        );
        check(
            &json!({"Words": "1 x 3"}),
            read,
            &expect![[r#"
            [1, 3]
            Words: invalid digit found in string, got "x"
        "#]],
        );
        check(
            &json!({"Words": ["1", 2]}),
            read,
            &expect![[r#"
            []
            Words: expected a list of strings
        "#]],
        );
        check(
            &json!({"Words": {}}),
            read,
            &expect![[r#"
            []
            Words: expected a list of strings
        "#]],
        );
    }

    #[test]
    fn a_required_list_without_a_word_is_one_problem_and_an_invalid_word_is_one_too() {
        let read = |reader: &mut Reader<'_>| reader.required_words::<u8>("Words", "number");
        check(
            &json!({"Words": "1"}),
            read,
            &expect![[r#"
            [1]
        "#]],
        );
        check(
            &json!({}),
            read,
            &expect![[r#"
            []
            Words: expected at least one number
        "#]],
        );
        check(
            &json!({"Words": "x"}),
            read,
            &expect![[r#"
            []
            Words: invalid digit found in string, got "x"
        "#]],
        );
        check(
            &json!("Words"),
            read,
            &expect![[r#"
            []
            ResourceProperties: missing; expected an object
        "#]],
        );
    }

    #[test]
    fn a_number_consists_of_digits_and_is_within_its_range() {
        for good in [json!(3), json!("3"), json!("007"), json!("9")] {
            let properties = json!({"Days": good});
            let mut reader = Reader::new(&properties);
            let number = reader.number("Days", 3..=9, None);
            assert!((3..=9).contains(&number) && reader.finish().is_empty(), "{good}");
        }
        let mut lines = String::new();
        for bad in ["2", "10", "+3", "-3", "3.0", "", " 3", "three", "99999999999"] {
            let properties = json!({"Days": bad});
            let mut reader = Reader::new(&properties);
            reader.number("Days", 3..=9, Some(5));
            lines += &format!("{}\n", reader.finish()[0]);
        }
        expect![[r#"
            Days: expected a whole number from 3 to 9, got "2"
            Days: expected a whole number from 3 to 9, got "10"
            Days: expected a whole number from 3 to 9, got "+3"
            Days: expected a whole number from 3 to 9, got "-3"
            Days: expected a whole number from 3 to 9, got "3.0"
            Days: expected a whole number from 3 to 9, got ""
            Days: expected a whole number from 3 to 9, got " 3"
            Days: expected a whole number from 3 to 9, got "three"
            Days: expected a whole number from 3 to 9, got "99999999999"
        "#]]
        .assert_eq(&lines);
        let read = |reader: &mut Reader<'_>| {
            (reader.number("Days", 3..=9, Some(5)), reader.number("Count", 3..=9, None))
        };
        check(
            &json!({}),
            read,
            &expect![[r#"
                (5, 3)
                Count: this required property is missing
            "#]],
        );
    }

    #[test]
    fn a_property_that_is_not_read_is_a_problem_unless_it_is_allowed() {
        let read = |reader: &mut Reader<'_>| {
            reader.ignore("ServiceToken");
            reader.optional::<u8>("Retention_1")
        };
        check(
            &json!({"ServiceToken": [], "Retention_1": "7", "Retention_2": "", "Retention-1": 7}),
            read,
            &expect![[r#"
                Some(7)
                "Retention-1": unknown property; the nearest known name is Retention_1
                Retention_2: unknown property; the nearest known name is Retention_1
            "#]],
        );
        // No known name resembles the property, because no name is known.
        check(
            &json!({"Any": 1}),
            |_| (),
            &expect![[r#"
            ()
            Any: unknown property
        "#]],
        );
    }

    #[test]
    fn a_missing_required_property_is_reported_once_with_its_full_name() {
        let read = |reader: &mut Reader<'_>| {
            reader.object("Outer", |reader| {
                let inner = reader.object("Inner", |reader| reader.required::<u8>("Number"));
                (inner, reader.required::<u8>("Count"))
            })
        };
        check(
            &json!({"Outer": {"Inner": {"Number": 1}, "Count": "2"}}),
            read,
            &expect![[r#"
            (Some(1), Some(2))
        "#]],
        );
        check(
            &json!({}),
            read,
            &expect![[r#"
                (None, None)
                Outer.Inner.Number: this required property is missing
                Outer.Count: this required property is missing
            "#]],
        );
        check(
            &json!({"Outer": {"Inner": [], "Count": []}}),
            read,
            &expect![[r#"
            (None, None)
            Outer.Inner: expected an object
            Outer.Count: expected a single value
        "#]],
        );
        check(
            &json!({"Outer": "x"}),
            read,
            &expect![[r#"
            (None, None)
            Outer: expected an object
        "#]],
        );
        check(
            &json!([]),
            read,
            &expect![[r#"
            (None, None)
            ResourceProperties: missing; expected an object
        "#]],
        );
    }

    #[test]
    fn a_long_value_is_shortened_and_all_problems_are_one_line() {
        let invalid = |lengths: [usize; 2]| {
            let properties = json!({"A": "x".repeat(lengths[0]), "B": "x".repeat(lengths[1])});
            let mut reader = Reader::new(&properties);
            let _ = (reader.optional::<u8>("A"), reader.optional::<u8>("B"));
            Invalid(reader.finish()).to_string()
        };
        expect![[r#"A: invalid digit found in string, got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; B: invalid digit found in string, got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…""#]].assert_eq(&invalid([80, 81]));
    }

    #[test]
    fn the_nearest_word_is_found_without_regard_to_case() {
        assert_eq!(nearest("THRESHOLD", &["Retention", "Threshold", "Tags"]), Some("Threshold"));
        assert_eq!(nearest("threshhold", &["Threshold", "Retention"]), Some("Threshold"));
        assert_eq!(nearest("Threshold", &[]), None);
    }
}
