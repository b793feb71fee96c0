//! One template: what it is made of, and matching a tag against it.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Captures, Regex, RegexBuilder};

use super::Conforming;
use crate::image::{Component, RepositoryName, Tag};
use crate::properties::nearest;

/// The most memory that a compiled expression may take, in bytes. A template of ours takes
/// a few thousand.
const MOST_MEMORY: usize = 1 << 18;

/// `Major.minor.patch` with an optional pre-release, as <https://semver.org> has it; build
/// metadata starts with a `+`, which no tag can have.
const SEMVER: &str = r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?";

keywords!(
    /// What can stand in braces in a template, and name a group of an expression.
    Placeholder {
        /// Lower-case letters and digits joined by single hyphens; as short as it can be.
        Component = "component",
        /// A semantic version without build metadata.
        Semver = "semver",
        /// 7 to 64 lower-case hexadecimal digits.
        Sha = "sha",
        /// `latest`, `dev`, `staging` or `prod`.
        Channel = "channel",
        /// `YYYYMMDD`.
        Date = "date",
        /// Digits without a leading zero.
        Number = "number",
        /// Lower-case letters and digits joined by single hyphens.
        Slug = "slug",
    }
);

impl Placeholder {
    /// What it matches, as a regular expression.
    fn pattern(self) -> &'static str {
        match self {
            Self::Component => "[a-z0-9]+?(?:-[a-z0-9]+?)*?",
            Self::Semver => SEMVER,
            Self::Sha => "[0-9a-f]{7,64}",
            Self::Channel => "latest|dev|staging|prod",
            Self::Date => "[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])",
            Self::Number => "0|[1-9][0-9]*",
            Self::Slug => "[a-z0-9]+(?:-[a-z0-9]+)*",
        }
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

/// One template of a grammar.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    pattern: Regex,
    /// None for a regular expression, which cannot be written backwards.
    pub(super) parts: Option<Vec<Part>>,
}

/// Text that is no [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Nothing at all.
    #[error("expected a template, such as {{component}}-v{{semver}}")]
    Empty,
    /// White space, which separates templates.
    #[error("white space cannot stand in a tag")]
    WhiteSpace,
    /// A name in braces that is no placeholder.
    #[error("unknown placeholder {{{name}}}; the nearest known one is {{{nearest}}}")]
    UnknownPlaceholder {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: &'static str,
    },
    /// A placeholder that stands in the template more than once.
    #[error("the placeholder {{{0}}} stands in it twice")]
    Repeated(Placeholder),
    /// An opening or closing brace alone.
    #[error("a {{ or }} without its counterpart")]
    Unbalanced,
    /// Literal text that no tag can contain.
    #[error("{0:?} cannot stand in a tag")]
    NotInTags(char),
    /// Not a regular expression, or one that takes too much memory.
    #[error("not a regular expression: {0}")]
    Expression(String),
    /// A named group that is no placeholder.
    #[error("unknown group {name}; the nearest known one is {nearest}")]
    UnknownGroup {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: &'static str,
    },
}

const NAMES: [&str; 7] = ["component", "semver", "sha", "channel", "date", "number", "slug"];

fn nearest_name(name: &str) -> &'static str {
    nearest(name, &NAMES).unwrap_or("component")
}

impl Template {
    /// What `tag` says as a whole by this template.
    pub(super) fn conforming(&self, repository: &RepositoryName, tag: &Tag) -> Option<Conforming> {
        let captures = self.pattern.captures(tag.as_str())?;
        let component = match text_of(&captures, Placeholder::Component) {
            // Only a regular expression can capture what is no component.
            Some(text) => text.parse().ok()?,
            None => Component::from(repository),
        };
        let values = self
            .pattern
            .capture_names()
            .flatten()
            .filter_map(|name| name.parse().ok())
            .filter(|name| *name != Placeholder::Component)
            .filter_map(|name| Some((name, text_of(&captures, name)?.to_owned())))
            .collect();
        Some(Conforming { component, values })
    }
}

pub(super) fn text_of<'t>(captures: &Captures<'t>, name: Placeholder) -> Option<&'t str> {
    captures.name(&name.to_string()).map(|text| text.as_str())
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(char::is_whitespace) {
            return Err(InvalidTemplate::WhiteSpace);
        }
        let (pattern, parts) = if let Some(expression) = text.strip_prefix("re:") {
            // On its own first: a stray parenthesis could step out of the anchors.
            compile(expression)?;
            (expression.to_owned(), None)
        } else {
            let parts = parts(text)?;
            (parts.iter().map(strict).collect(), Some(parts))
        };
        let pattern = compile(&format!("^(?:{pattern})$"))?;
        for name in pattern.capture_names().flatten() {
            if name.parse::<Placeholder>().is_err() {
                let nearest = nearest_name(name);
                return Err(InvalidTemplate::UnknownGroup { name: name.to_owned(), nearest });
            }
        }
        Ok(Self { text: text.to_owned(), pattern, parts })
    }
}

fn compile(pattern: &str) -> Result<Regex, InvalidTemplate> {
    RegexBuilder::new(pattern)
        .size_limit(MOST_MEMORY)
        .build()
        .map_err(|error| InvalidTemplate::Expression(error.to_string()))
}

fn strict(part: &Part) -> String {
    match part {
        Part::Literal(text) => regex_lite::escape(text),
        Part::Placeholder(name) => format!("(?<{name}>{})", name.pattern()),
    }
}

fn parts(text: &str) -> Result<Vec<Part>, InvalidTemplate> {
    if text.is_empty() {
        return Err(InvalidTemplate::Empty);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, placeholder) = match rest.split_once('{') {
            Some((literal, after)) => {
                let (name, after) = after.split_once('}').ok_or(InvalidTemplate::Unbalanced)?;
                rest = after;
                (literal, Some(name))
            }
            None => (std::mem::take(&mut rest), None),
        };
        if literal.contains('}') {
            return Err(InvalidTemplate::Unbalanced);
        }
        if let Some(odd) =
            literal.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c))
        {
            return Err(InvalidTemplate::NotInTags(odd));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        if let Some(name) = placeholder {
            let name = name.parse().map_err(|_| InvalidTemplate::UnknownPlaceholder {
                name: name.to_owned(),
                nearest: nearest_name(name),
            })?;
            if parts.contains(&Part::Placeholder(name)) {
                return Err(InvalidTemplate::Repeated(name));
            }
            parts.push(Part::Placeholder(name));
        }
    }
    Ok(parts)
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
