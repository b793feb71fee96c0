//! A template of the grammar: parses it, and matches tags against it.
//!
//! A template of placeholders has a matcher of its own. A sweep judges every tag of a repository,
//! and the engine for regular expressions takes ten times as long. A test checks that the matcher
//! and the regular expression of each placeholder give the same results.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Captures, Regex, RegexBuilder};

use super::ConformingTag;
use crate::image::{Component, RepositoryName, Tag};
use crate::properties::nearest;

/// The most bytes of memory for a compiled regular expression. The default templates take a few
/// thousand.
const MOST_MEMORY: usize = 1 << 18;

/// `major.minor.patch` with an optional pre-release, as <https://semver.org> defines it. Build
/// metadata begins with `+`, which a tag cannot contain.
const SEMVER: &str = r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)(?:-(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?";

keywords!(
    /// A placeholder: a name in braces in a template, or the name of a group in a regular expression.
    Placeholder {
        /// Lower-case letters and digits joined by single hyphens. The shortest match counts.
        Component = "component",
        /// A semantic version without build metadata.
        Semver = "semver",
        /// 7 to 64 lower-case hexadecimal digits.
        Sha = "sha",
        /// A name of [`CHANNELS`].
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
    /// The regular expression of the placeholder.
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

impl Placeholder {
    /// Whether the placeholder matches all of `text`.
    fn matches_all(self, text: &str) -> bool {
        match self {
            Self::Semver => is_semver(text),
            _ => self.find_length(text, |end| (end == text.len()).then_some(())).is_some(),
        }
    }

    /// Calls `attempt` with each length that the placeholder can match at the beginning of `text`,
    /// in the order of the regular expression ([`Placeholder::pattern`]). Returns the first result.
    /// `None` for a version, which has no such list of lengths.
    fn find_length<T>(self, text: &str, mut attempt: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let bytes = text.as_bytes();
        let run = |is: fn(u8) -> bool| bytes.iter().take_while(|byte| is(**byte)).count();
        let words = || {
            let is_word = |end: &usize| !bytes.get(..*end).is_some_and(|word| word.ends_with(b"-"));
            let hyphens = bytes.windows(2).position(|two| two == b"--").unwrap_or(usize::MAX);
            let run = if text.starts_with('-') { 0 } else { run(is_word_byte).min(hyphens) };
            (1..=run).filter(is_word)
        };
        match self {
            Self::Component => words().find_map(attempt),
            Self::Slug => words().rev().find_map(attempt),
            Self::Sha => (7..=run(is_hex).min(64)).rev().find_map(attempt),
            Self::Channel => {
                let found = CHANNELS.iter().filter(|channel| text.starts_with(**channel));
                found.map(|channel| channel.len()).find_map(attempt)
            }
            Self::Date if is_date(text) => attempt(8),
            Self::Date | Self::Semver => None,
            Self::Number if text.starts_with('0') => attempt(1),
            Self::Number => (1..=run(|byte| byte.is_ascii_digit())).rev().find_map(attempt),
        }
    }
}

/// The names of channels. A channel is a tag that is moved from version to version.
pub const CHANNELS: [&str; 4] = ["latest", "dev", "staging", "prod"];

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_date(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| {
        let digits =
            text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u16>().ok())
    };
    part(0..4).is_some()
        && part(4..6).is_some_and(|month| (1..=12).contains(&month))
        && part(6..8).is_some_and(|day| (1..=31).contains(&day))
}

/// Whether [`SEMVER`] matches all of `text`.
fn is_semver(text: &str) -> bool {
    let is_number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (text == "0" || !text.starts_with('0'))
    };
    let is_identifier = |text: &str| {
        let mut bytes = text.bytes();
        bytes.clone().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (bytes.any(|byte| !byte.is_ascii_digit()) || is_number(text))
    };
    let (core, pre_release) =
        text.split_once('-').map_or((text, None), |(core, after)| (core, Some(after)));
    let mut numbers = core.split('.');
    numbers.by_ref().take(3).filter(|number| is_number(number)).count() == 3
        && numbers.next().is_none()
        && pre_release.is_none_or(|text| text.split('.').all(is_identifier))
}

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
    pattern: Regex,
    /// The parts. A regular expression has none, because no tag can be composed from it.
    pub(super) parts: Option<Vec<Part>>,
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

const NAMES: [&str; 7] = ["component", "semver", "sha", "channel", "date", "number", "slug"];

fn nearest_name(name: &str) -> &'static str {
    nearest(name, &NAMES).unwrap_or("component")
}

impl Template {
    /// Matches the whole tag.
    pub(super) fn match_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Option<ConformingTag> {
        match &self.parts {
            Some(parts) if has_own_matcher(parts) => match_by_parts(parts, repository, tag),
            _ => self.match_by_expression(repository, tag),
        }
    }

    fn match_by_expression(&self, repository: &RepositoryName, tag: &Tag) -> Option<ConformingTag> {
        let captures = self.pattern.captures(tag.as_str())?;
        let component = match text_of(&captures, Placeholder::Component) {
            // A regular expression that a person wrote can capture an invalid component.
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
        Some(ConformingTag { component, values })
    }
}

/// Whether [`match_by_parts`] gives the same result as the regular expression. The results differ
/// where a part follows a version, because the version ends in different places.
fn has_own_matcher(parts: &[Part]) -> bool {
    let before_last = parts.split_last().map_or(parts, |(_, before)| before);
    !before_last.contains(&Part::Placeholder(Placeholder::Semver))
}

fn match_by_parts(parts: &[Part], repository: &RepositoryName, tag: &Tag) -> Option<ConformingTag> {
    let mut found = match_parts(parts, tag.as_str(), &mut [0; MOST_PARTS])?;
    found.reverse();
    let component = match found.iter().position(|(name, _)| *name == Placeholder::Component) {
        Some(nth) => found.remove(nth).1.parse().ok()?,
        None => Component::from(repository),
    };
    let values = found.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    Some(ConformingTag { component, values })
}

/// The most parts of a template: each placeholder once, and literals between them.
const MOST_PARTS: usize = 2 * NAMES.len() + 2;

/// Matches `parts` against all of `text`. Returns each placeholder with the text that it matched,
/// the last placeholder first. The possibilities are tried in the order of the regular expression.
///
/// `failed` has an item for each number of remaining parts, with a bit for each length of the
/// remaining text where these parts did not match. Each combination is tried once, so the time is
/// bounded for every template and tag.
fn match_parts<'t>(
    parts: &[Part],
    text: &'t str,
    failed: &mut [u128; MOST_PARTS],
) -> Option<Vec<(Placeholder, &'t str)>> {
    let (name, rest) = match parts.split_first() {
        None => return text.is_empty().then(Vec::new),
        Some((Part::Literal(literal), rest)) => {
            // The first character rejects most texts, and is faster than a comparison of strings.
            if literal.as_bytes().first() != text.as_bytes().first() {
                return None;
            }
            return match_parts(rest, text.strip_prefix(literal.as_str())?, failed);
        }
        Some((Part::Placeholder(name), [])) => {
            return name.matches_all(text).then(|| vec![(*name, text)]);
        }
        Some((Part::Placeholder(name), rest)) => (*name, rest),
    };
    let bit = 1_u128.checked_shl(u32::try_from(text.len()).ok()?.checked_sub(1)?)?;
    let tried = failed.get(rest.len()).copied().unwrap_or_default();
    if tried & bit != 0 {
        return None;
    }
    let found = name.find_length(text, |end| {
        let (matched, after) = text.split_at_checked(end)?;
        let mut found = match_parts(rest, after, failed)?;
        found.push((name, matched));
        Some(found)
    });
    if found.is_none()
        && let Some(tried) = failed.get_mut(rest.len())
    {
        *tried |= bit;
    }
    found
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
            // The expression must be valid alone: with the anchors around it, `a)|(b` would be valid
            // and not anchored.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Templates that have each placeholder at the end, and followed by another part.
    const TEMPLATES: [&str; 12] = [
        "{component}-v{semver}",
        "{component}-{channel}",
        "{component}-{sha}",
        "{component}.{slug}",
        "v{semver}",
        "{date}",
        "build-{number}",
        "{slug}-{component}",
        "{component}{number}{sha}{channel}x",
        "{date}{number}-{slug}{component}",
        "{channel}{slug}-{date}-{semver}",
        "{semver}-{component}",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_own_matcher_and_the_regular_expression_give_the_same_result(
            text in "[a-z0-9]{1,3}|([a-c0-2]{1,3}|-|[.]|v|latest|dev|20261231|0123456|1[.]0[.]2|0[.]10[.]0-rc[.]1){1,8}",
        ) {
            let repository = "infrastructure".parse().unwrap();
            let Ok(tag) = text.parse::<Tag>() else { return Ok(()) };
            for template in TEMPLATES {
                let template: Template = template.parse().unwrap();
                prop_assert_eq!(
                    template.match_tag(&repository, &tag),
                    template.match_by_expression(&repository, &tag),
                    "{}", template
                );
            }
        }
    }

    /// The valid versions of <https://semver.org> that a tag can contain, and texts that resemble one.
    #[test]
    fn a_version_is_one_of_semantic_versioning_for_the_matcher_and_the_expression() {
        let expression = compile(&format!("^(?:{SEMVER})$")).unwrap();
        let check = |text: &str, expected: bool| {
            assert_eq!(
                (is_semver(text), expression.is_match(text)),
                (expected, expected),
                "{text}"
            );
        };
        for good in [
            "0.0.4",
            "10.20.30",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-0A.is.legal",
            "1.0.0-0",
            "1.0.0-alpha0.valid",
            "1.2.3----RC-SNAPSHOT.12.9.1--.12",
            "1.2.3-0-9",
            "99999999999999999999999.999999999999999999.99999999999999999",
        ] {
            check(good, true);
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.1.1",
            "1.01.1",
            "1.1.01",
            "00.1.1",
            "1..1",
            "1.2.",
            ".2.3",
            "1.2.3-",
            "1.2.3-0123",
            "1.2.3-a.0123",
            "1.2.3-a..b",
            "1.2.3-a.",
            "1.2.3-a_b",
            "1.2.3_a",
            "1.2.3.DEV",
            "1.2-SNAPSHOT",
            "-1.0.3",
            "v1.2.3",
            "a.b.c",
            "1.2.a",
            "1.2.3a",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn a_match_takes_no_exponential_time() {
        let template: Template = "{component}{slug}{number}{sha}{date}{channel}x".parse().unwrap();
        let tag: Tag = "1".repeat(128).parse().unwrap();
        let repository = "infrastructure".parse().unwrap();
        // With exponential time, the test would not end.
        assert_eq!(template.match_tag(&repository, &tag), None);
    }
}
