//! A template of the grammar: parses it, and matches tags against it.
//!
//! A template of placeholders has a matcher of its own. It knows where a boundary between two
//! placeholders may be, which a regular expression cannot say, and it is fast: a sweep judges every tag
//! of a repository. The engine for regular expressions reads only the templates that begin with `re:`.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Captures, Regex, RegexBuilder};

use super::placeholder::{Channel, NAMES, Placeholder, has_component_form, is_one_run};
use super::variant::split_suffix;
use super::{ConformingTag, VERSIONS};
use crate::image::{Component, RepositoryName, Tag};
use crate::properties::nearest;

/// The most bytes of memory for a compiled regular expression.
const MOST_MEMORY: usize = 1 << 18;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

/// A template of a grammar.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    pub(super) pattern: Pattern,
}

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Parts(Vec<Part>),
    /// The text after `re:`, with anchors around it.
    Expression(Regex),
}

/// Text that is not a valid [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// The text is empty.
    #[error("expected a template, such as {{component}}-v{{semver}}")]
    Empty,
    /// The text contains white space, which separates templates.
    #[error("a tag cannot contain white space")]
    WhiteSpace,
    /// The name in braces is not a placeholder.
    #[error("unknown placeholder {{{name}}}; the nearest placeholder is {{{nearest}}}")]
    UnknownPlaceholder {
        /// The name in the template.
        name: String,
        /// The placeholder with the most similar name.
        nearest: &'static str,
    },
    /// The template has a placeholder more than once.
    #[error("the template has the placeholder {{{0}}} twice")]
    Repeated(Placeholder),
    /// The template has an opening or a closing brace alone.
    #[error("the template has a {{ or }} without its counterpart")]
    Unbalanced,
    /// The template has a literal character that a tag cannot contain.
    #[error("a tag cannot contain {0:?}")]
    NotInTags(char),
    /// The regular expression is invalid, or takes too much memory.
    #[error("invalid regular expression: {0}")]
    Expression(String),
    /// The name of a group is not a placeholder.
    #[error("unknown group {name}; the nearest placeholder is {nearest}")]
    UnknownGroup {
        /// The name of the group.
        name: String,
        /// The placeholder with the most similar name.
        nearest: &'static str,
    },
}

fn nearest_name(name: &str) -> &'static str {
    nearest(name, &NAMES).unwrap_or("component")
}

/// A placeholder with the text that it matched.
type Matched<'t> = (Placeholder, &'t str);

impl Template {
    /// Matches the whole tag. `nth` is the position of the template in its grammar, which has these
    /// channels.
    pub(super) fn match_tag(
        &self,
        nth: usize,
        channels: &[Channel],
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Option<ConformingTag> {
        let found = match &self.pattern {
            Pattern::Parts(parts) => Matcher::new(parts, channels).find(tag.as_str())?,
            Pattern::Expression(expression) => {
                texts_of(expression, &expression.captures(tag.as_str())?)
            }
        };
        let mut component = None;
        let mut values = Vec::with_capacity(found.len());
        for (name, text) in &found {
            match name {
                // A group of a regular expression can capture text that is no component.
                Placeholder::Component => {
                    component = Some(text.parse().ok().filter(|_| has_component_form(text))?);
                }
                Placeholder::Semver => {
                    let has = |name| found.iter().any(|(other, _)| *other == name);
                    let suffixed = split_suffix(text);
                    let suffix = [
                        (Placeholder::Variant, suffixed.variant),
                        (Placeholder::Platform, suffixed.platform),
                    ];
                    let suffix = suffix.into_iter().filter_map(|(name, text)| Some((name, text?)));
                    if suffix.clone().any(|(name, _)| has(name)) {
                        values.push((*name, (*text).to_owned()));
                        continue;
                    }
                    values.push((*name, suffixed.version.to_owned()));
                    values.extend(suffix.map(|(name, text)| (name, text.to_owned())));
                }
                name => values.push((*name, (*text).to_owned())),
            }
        }
        let component = component.unwrap_or_else(|| Component::from(repository));
        Some(ConformingTag { component, template: nth, values })
    }
}

impl Template {
    /// Whether the template has this placeholder, or a group with its name.
    #[must_use]
    pub fn has(&self, name: Placeholder) -> bool {
        match &self.pattern {
            Pattern::Parts(parts) => parts.contains(&Part::Placeholder(name)),
            Pattern::Expression(expression) => {
                let mut groups = expression.capture_names().flatten();
                groups.any(|group| group.parse() == Ok(name))
            }
        }
    }

    /// Whether the template has a placeholder that tells one version from another.
    #[must_use]
    pub fn has_version(&self) -> bool {
        VERSIONS.iter().any(|name| self.has(*name))
    }
}

/// The most parts of a template: each placeholder once, and literals between them.
const MOST_PARTS: usize = 2 * NAMES.len() + 2;

/// Matches the parts of one template against one tag.
struct Matcher<'p> {
    parts: &'p [Part],
    channels: &'p [Channel],
    /// An item for each number of remaining parts, with a bit for each length of the remaining text
    /// where these parts did not match. Each combination is tried once.
    failed: [u128; MOST_PARTS],
    #[cfg(test)]
    steps: usize,
}

impl<'p> Matcher<'p> {
    fn new(parts: &'p [Part], channels: &'p [Channel]) -> Self {
        Self {
            parts,
            channels,
            failed: [0; MOST_PARTS],
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Matches all parts against all of `text`. Returns each placeholder with the text that it
    /// matched, in the order of the template.
    ///
    /// A step tries one end of one placeholder. Each placeholder but the last tries, for each length of
    /// the remaining text, each shorter length at most once: with 13 placeholders and 128 characters,
    /// that is less than 12 × 128 × 129 / 2 = 99,072 steps.
    fn find<'t>(&mut self, text: &'t str) -> Option<Vec<Matched<'t>>> {
        let mut found = self.find_parts(self.parts, text)?;
        found.reverse();
        Some(found)
    }

    /// Matches `parts` against all of `text`. Returns the last placeholder first.
    fn find_parts<'t>(&mut self, parts: &'p [Part], text: &'t str) -> Option<Vec<Matched<'t>>> {
        let (name, rest) = match parts.split_first() {
            None => return text.is_empty().then(Vec::new),
            Some((Part::Literal(literal), rest)) => {
                // The first character rejects most texts, and is faster than a comparison of strings.
                if literal.as_bytes().first() != text.as_bytes().first() {
                    return None;
                }
                return self.find_parts(rest, text.strip_prefix(literal.as_str())?);
            }
            Some((Part::Placeholder(name), [])) => {
                return self.accepts(*name, text).then(|| vec![(*name, text)]);
            }
            Some((Part::Placeholder(name), rest)) => (*name, rest),
        };
        let bit = 1_u128.checked_shl(u32::try_from(text.len()).ok()?.checked_sub(1)?)?;
        if self.failed.get(rest.len()).is_some_and(|failed| failed & bit != 0) {
            return None;
        }
        let is_placeholder_next = matches!(rest.first(), Some(Part::Placeholder(_)));
        let mut attempt = |end: usize| {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let (matched, after) = text.split_at_checked(end)?;
            if is_placeholder_next
                && let (Some(last), Some(next)) = (matched.bytes().last(), after.bytes().next())
                && is_one_run(last, next)
            {
                return None;
            }
            // The rest rejects most ends, and is faster than the placeholder.
            let mut found = self.find_parts(rest, after)?;
            self.accepts(name, matched).then(|| {
                found.push((name, matched));
                found
            })
        };
        let mut ends = 1..=name.longest(text);
        let found = if name.is_shortest() {
            ends.find_map(&mut attempt)
        } else {
            ends.rev().find_map(&mut attempt)
        };
        if found.is_none()
            && let Some(failed) = self.failed.get_mut(rest.len())
        {
            *failed |= bit;
        }
        found
    }

    /// Whether a placeholder matches the text. A version does not end with a variant or a platform if
    /// the template has a placeholder for it.
    fn accepts(&self, name: Placeholder, text: &str) -> bool {
        let has = |name| self.parts.contains(&Part::Placeholder(name));
        name.matches_all(text, self.channels)
            && (name != Placeholder::Semver || {
                let suffixed = split_suffix(text);
                !(suffixed.variant.is_some() && has(Placeholder::Variant)
                    || suffixed.platform.is_some() && has(Placeholder::Platform))
            })
    }
}

/// The text of each group of the expression that is a placeholder.
fn texts_of<'t>(expression: &Regex, captures: &Captures<'t>) -> Vec<Matched<'t>> {
    let names = expression.capture_names().flatten();
    let texts =
        names.filter_map(|group| Some((group.parse().ok()?, captures.name(group)?.as_str())));
    texts.collect()
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(char::is_whitespace) {
            return Err(InvalidTemplate::WhiteSpace);
        }
        let pattern = match text.strip_prefix("re:") {
            Some(expression) => Pattern::Expression(parse_expression(expression)?),
            None => Pattern::Parts(parse_parts(text)?),
        };
        Ok(Self { text: text.to_owned(), pattern })
    }
}

fn parse_expression(text: &str) -> Result<Regex, InvalidTemplate> {
    // The expression must be valid alone: with the anchors around it, `a)|(b` would be valid and not
    // anchored.
    compile(text)?;
    let expression = compile(&format!("^(?:{text})$"))?;
    for name in expression.capture_names().flatten() {
        if name.parse::<Placeholder>().is_err() {
            let nearest = nearest_name(name);
            return Err(InvalidTemplate::UnknownGroup { name: name.to_owned(), nearest });
        }
    }
    Ok(expression)
}

fn compile(pattern: &str) -> Result<Regex, InvalidTemplate> {
    RegexBuilder::new(pattern)
        .size_limit(MOST_MEMORY)
        .build()
        .map_err(|error| InvalidTemplate::Expression(error.to_string()))
}

fn parse_parts(text: &str) -> Result<Vec<Part>, InvalidTemplate> {
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
        if let Some(invalid) =
            literal.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c))
        {
            return Err(InvalidTemplate::NotInTags(invalid));
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of steps that [`Matcher::find`] documents.
    const MOST_STEPS: usize = (NAMES.len() - 1) * 128 * 129 / 2;

    /// A template of placeholders in any order, with or without literals between them.
    pub(in crate::grammar) fn any_template() -> impl Strategy<Value = String> {
        let names = proptest::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()).prop_shuffle();
        let literals = proptest::collection::vec("|-|-|-v|[.]|_|a|1", NAMES.len());
        (names, literals).prop_map(|(names, literals)| {
            let parts = names.iter().zip(literals);
            let text: String =
                parts.map(|(name, literal)| format!("{{{name}}}{literal}")).collect();
            text
        })
    }

    fn steps(template: &Template, tag: &str) -> usize {
        let Pattern::Parts(parts) = &template.pattern else { return 0 };
        let mut matcher = Matcher::new(parts, &[]);
        matcher.find(tag);
        matcher.steps
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_tag_takes_more_than_the_documented_steps(
            template in any_template(),
            tag in "([a1]{128}|[a1-]{128}|([a-]|1[.]|20261127|-alpine|-arm64){16,128}|[a-z0-9._-]{128})",
        ) {
            let template: Template = template.parse().unwrap();
            let tag: String = tag.chars().take(128).collect();
            prop_assert!(steps(&template, &tag) <= MOST_STEPS);
        }

        #[test]
        fn a_template_reads_back_as_it_is_printed(text in any_template()) {
            let template: Template = text.parse().unwrap();
            prop_assert_eq!(template.to_string(), text.as_str());
            prop_assert_eq!(&text.parse::<Template>().unwrap(), &template);
        }
    }

    #[test]
    fn a_match_takes_no_exponential_time() {
        let template = "{component}-{slug}-{branch}-{variant}-{number}x".parse().unwrap();
        // With exponential time, the test would not end.
        let steps = steps(&template, &"a-".repeat(64));
        assert!((1_000..MOST_STEPS).contains(&steps), "{steps}");
    }
}
