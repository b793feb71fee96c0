//! One template: what it is made of, and matching a tag against it.
//!
//! A template of placeholders is matched by hand: a sweep judges every tag of a repository, and
//! an engine of expressions takes ten times as long. Both mean the same, which a test holds.

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

impl Placeholder {
    /// Whether the whole of `text` is such a thing.
    fn is_whole(self, text: &str) -> bool {
        match self {
            Self::Semver => is_semver(text),
            _ => self.ends(text, |end| (end == text.len()).then_some(())).is_some(),
        }
    }

    /// Calls `of` with each length that this placeholder can have at the beginning of `text`, in
    /// the order in which [`Placeholder::pattern`] would try them, and gives the first answer.
    /// Gives nothing for a version.
    fn ends<T>(self, text: &str, mut of: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let bytes = text.as_bytes();
        let run = |is: fn(u8) -> bool| bytes.iter().take_while(|byte| is(**byte)).count();
        let words = || {
            let is_word = |end: &usize| !bytes.get(..*end).is_some_and(|it| it.ends_with(b"-"));
            let hyphens = bytes.windows(2).position(|two| two == b"--").unwrap_or(usize::MAX);
            let run = if text.starts_with('-') { 0 } else { run(is_of_words).min(hyphens) };
            (1..=run).filter(is_word)
        };
        match self {
            Self::Component => words().find_map(of),
            Self::Slug => words().rev().find_map(of),
            Self::Sha => (7..=run(is_hex).min(64)).rev().find_map(of),
            Self::Channel => {
                let found = CHANNELS.iter().filter(|channel| text.starts_with(**channel));
                found.map(|channel| channel.len()).find_map(of)
            }
            Self::Date if is_date(text) => of(8),
            Self::Date | Self::Semver => None,
            Self::Number if text.starts_with('0') => of(1),
            Self::Number => (1..=run(|byte| byte.is_ascii_digit())).rev().find_map(of),
        }
    }
}

/// What a channel is called.
pub const CHANNELS: [&str; 4] = ["latest", "dev", "staging", "prod"];

fn is_of_words(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_date(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| {
        let digits = text.get(range).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|it| it.parse::<u16>().ok())
    };
    part(0..4).is_some()
        && part(4..6).is_some_and(|month| (1..=12).contains(&month))
        && part(6..8).is_some_and(|day| (1..=31).contains(&day))
}

/// As [`SEMVER`] has it.
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
        match &self.parts {
            Some(parts) if can_be_matched_by_hand(parts) => by_hand(parts, repository, tag),
            _ => self.by_expression(repository, tag),
        }
    }

    fn by_expression(&self, repository: &RepositoryName, tag: &Tag) -> Option<Conforming> {
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

/// Whether matching by hand gives what the regular expression gives. It does not where a part
/// follows a version: the two end the version in different places.
fn can_be_matched_by_hand(parts: &[Part]) -> bool {
    let before_last = parts.split_last().map_or(parts, |(_, before)| before);
    !before_last.contains(&Part::Placeholder(Placeholder::Semver))
}

fn by_hand(parts: &[Part], repository: &RepositoryName, tag: &Tag) -> Option<Conforming> {
    let mut found = matched(parts, tag.as_str(), &mut [0; MOST_PARTS])?;
    found.reverse();
    let component = match found.iter().position(|(name, _)| *name == Placeholder::Component) {
        Some(nth) => found.remove(nth).1.parse().ok()?,
        None => Component::from(repository),
    };
    let values = found.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    Some(Conforming { component, values })
}

/// Each placeholder once, and literals between them.
const MOST_PARTS: usize = 2 * NAMES.len() + 2;

/// What the placeholders stand for, the last one first, if `text` is what `parts` say. The
/// readings are tried in the order in which an expression would. `failed` has a bit for each
/// rest of the text that a rest of the parts was tried on in vain, so that time is bounded by
/// their number, whatever the template and the tag.
fn matched<'t>(
    parts: &[Part],
    text: &'t str,
    failed: &mut [u128; MOST_PARTS],
) -> Option<Vec<(Placeholder, &'t str)>> {
    let (name, rest) = match parts.split_first() {
        None => return text.is_empty().then(Vec::new),
        Some((Part::Literal(literal), rest)) => {
            // Most ends are told by one letter.
            if literal.as_bytes().first() != text.as_bytes().first() {
                return None;
            }
            return matched(rest, text.strip_prefix(literal.as_str())?, failed);
        }
        Some((Part::Placeholder(name), [])) => {
            return name.is_whole(text).then(|| vec![(*name, text)]);
        }
        Some((Part::Placeholder(name), rest)) => (*name, rest),
    };
    let bit = 1_u128.checked_shl(u32::try_from(text.len()).ok()?.checked_sub(1)?)?;
    let tried = failed.get(rest.len()).copied().unwrap_or_default();
    if tried & bit != 0 {
        return None;
    }
    let found = name.ends(text, |end| {
        let (it, after) = text.split_at_checked(end)?;
        let mut found = matched(rest, after, failed)?;
        found.push((name, it));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Templates of every placeholder, at the end and with something behind it.
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
        fn by_hand_and_by_expression_a_tag_says_the_same(
            text in "[a-z0-9]{1,3}|([a-c0-2]{1,3}|-|[.]|v|latest|dev|20261231|0123456|1[.]0[.]2|0[.]10[.]0-rc[.]1){1,8}",
        ) {
            let repository = "infrastructure".parse().unwrap();
            let Ok(tag) = text.parse::<Tag>() else { return Ok(()) };
            for template in TEMPLATES {
                let template: Template = template.parse().unwrap();
                prop_assert_eq!(
                    template.conforming(&repository, &tag),
                    template.by_expression(&repository, &tag),
                    "{}", template
                );
            }
        }
    }

    /// Those of <https://semver.org> that a tag can have, and those that only look like one.
    #[test]
    fn versions_are_those_of_semantic_versioning_by_hand_and_by_expression() {
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
    fn no_template_and_tag_take_long() {
        let template: Template = "{component}{slug}{number}{sha}{date}{channel}x".parse().unwrap();
        let tag: Tag = "1".repeat(128).parse().unwrap();
        let repository = "infrastructure".parse().unwrap();
        // Exponential time would not end.
        assert_eq!(template.conforming(&repository, &tag), None);
    }
}
