//! The placeholders of templates, and the text that each of them matches.

use super::variant::{is_platform, is_variant, split_suffix};

keywords!(
    /// A placeholder: a name in braces in a template, or the name of a group in a regular expression.
    Placeholder {
        /// Lower-case letters and digits joined by single hyphens, with a letter. No word is a commit,
        /// a date or a time, and no three words in a row are a date. The shortest match counts.
        Component = "component",
        /// A semantic version without build metadata. The names of a variant and of a platform at the
        /// end are not a part of the version. The shortest match counts.
        Semver = "semver",
        /// Two to four numbers joined by dots.
        Version = "version",
        /// A calendar version (<https://calver.org>): a year of two or four digits, a month, and up to
        /// two more numbers, joined by dots. Or `YYYY-MM-DD`.
        Calver = "calver",
        /// 7 to 64 lower-case hexadecimal digits.
        Sha = "sha",
        /// 10 to 14 digits: seconds or milliseconds since 1970, or a date with a time.
        Timestamp = "timestamp",
        /// A name of [`crate::policy::Tags::channels`].
        Channel = "channel",
        /// `YYYYMMDD`.
        Date = "date",
        /// Digits without a leading zero.
        Number = "number",
        /// Lower-case letters and digits joined by single hyphens.
        Slug = "slug",
        /// The name of a branch: letters and digits joined by `.`, `_` and `-`.
        Branch = "branch",
        /// The names of a variant of an image, such as `alpine` and `bookworm-slim`.
        Variant = "variant",
        /// The name of a platform, such as `amd64` and `linux-arm64`.
        Platform = "platform",
    }
);

/// The names of the placeholders.
pub(super) const NAMES: [&str; 13] = [
    "component",
    "semver",
    "version",
    "calver",
    "sha",
    "timestamp",
    "channel",
    "date",
    "number",
    "slug",
    "branch",
    "variant",
    "platform",
];

/// The names of channels of a rule that lists none.
pub const DEFAULT_CHANNELS: [&str; 4] = ["latest", "dev", "staging", "prod"];

name!(
    /// The name of a channel, such as `prod`. A channel is a tag that is moved from version to version.
    Channel,
    InvalidChannel,
    (1..=64),
    |text| text.starts_with(|first: char| first.is_ascii_lowercase()) && text.split('-').all(is_word),
    "expected lower-case letters and digits joined by single hyphens, with a letter at the beginning"
);

/// [`DEFAULT_CHANNELS`] as channels.
#[must_use]
pub fn default_channels() -> Vec<Channel> {
    DEFAULT_CHANNELS.iter().filter_map(|name| name.parse().ok()).collect()
}

impl Placeholder {
    /// Whether the placeholder matches all of `text`, in a grammar with these channels.
    pub(super) fn matches_all(self, text: &str, channels: &[Channel]) -> bool {
        match self {
            Self::Component => is_component(text),
            Self::Semver => is_semver(text),
            Self::Version => {
                let numbers = text.split('.');
                (2..=4).contains(&numbers.clone().count()) && numbers.clone().all(is_digits)
            }
            Self::Calver => is_calver(text),
            Self::Sha => (7..=64).contains(&text.len()) && text.bytes().all(is_hex),
            Self::Timestamp => (10..=14).contains(&text.len()) && is_digits(text),
            Self::Channel => channels.iter().any(|channel| channel.as_str() == text),
            Self::Date => is_date(text),
            Self::Number => is_number(text),
            Self::Slug => text.split('-').all(is_word),
            Self::Branch => {
                // A separator between two words can have several characters.
                let is_inner = |text: &str| !text.starts_with(is_separator);
                !text.is_empty() && is_inner(text) && !text.ends_with(is_separator)
            }
            Self::Variant => is_variant(text),
            Self::Platform => is_platform(text),
        }
    }

    /// The length of the longest text at the beginning of `text` that the placeholder may match: no
    /// longer text has only characters that the placeholder allows.
    pub(super) fn longest(self, text: &str) -> usize {
        let is_allowed = |byte: &u8| match self {
            Self::Component | Self::Slug | Self::Channel => is_lower(*byte) || *byte == b'-',
            // The name of a platform may have a `_`, as in `x86_64`.
            Self::Semver => byte.is_ascii_alphanumeric() || b"._-".contains(byte),
            Self::Version => byte.is_ascii_digit() || *byte == b'.',
            Self::Calver => byte.is_ascii_digit() || b".-".contains(byte),
            Self::Sha => is_hex(*byte),
            Self::Timestamp | Self::Date | Self::Number => byte.is_ascii_digit(),
            Self::Variant | Self::Platform => is_lower(*byte) || b"._-".contains(byte),
            Self::Branch => true,
        };
        text.bytes().take_while(|byte| is_allowed(byte)).count()
    }

    /// Whether the shortest match counts. For other placeholders, the longest match counts.
    pub(super) fn is_shortest(self) -> bool {
        matches!(self, Self::Component | Self::Semver)
    }
}

/// Whether two characters that follow each other are in one run of digits or of hexadecimal digits.
/// A boundary between two placeholders is never there: each part could be read in several ways.
pub(super) fn is_one_run(one: u8, next: u8) -> bool {
    one.is_ascii_hexdigit() && next.is_ascii_hexdigit()
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_separator(char: char) -> bool {
    matches!(char, '.' | '_' | '-')
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_lower)
}

/// Whether the text is one or more digits.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

/// Whether the text has the form of a component: lower-case letters and digits, joined by single hyphens, with a
/// letter. A text of digits is a build, a date or a part of a version.
pub(super) fn has_component_form(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic()) && text.split('-').all(is_word)
}

fn is_component(text: &str) -> bool {
    has_component_form(text) && !text.split('-').any(is_build_word) && !has_date(text)
}

/// Whether three words in a row are a date, such as `2026-11-27`.
fn has_date(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    words.windows(3).any(|date| is_calver(&date.join("-")))
}

/// Whether a word differs from build to build: a commit, a date or a time. A commit has at least seven
/// hexadecimal digits, at least one of them from `0` to `9`. A date or a time of digits has this form too.
/// With such a word, each build would be a component of its own, and no version would ever be old.
pub(crate) fn is_build_word(word: &str) -> bool {
    let is_commit = |word: &str| {
        word.len() >= 7
            && word.bytes().all(is_hex)
            && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    // `git describe` writes a `g` before the commit, and ISO 8601 a `t` between the date and the time.
    let is_time = || {
        let parts = word.strip_suffix('z').unwrap_or(word).split_once('t');
        parts.is_some_and(|(date, time)| is_date(date) && is_digits(time) && time.len() >= 4)
    };
    is_commit(word) || word.strip_prefix('g').is_some_and(is_commit) || is_time()
}

fn is_date(text: &str) -> bool {
    let part = |range| text.get(range).and_then(|digits: &str| digits.parse::<u8>().ok());
    text.len() == 8
        && is_digits(text)
        && part(4..6).is_some_and(|month| (1..=12).contains(&month))
        && part(6..8).is_some_and(|day| (1..=31).contains(&day))
}

/// Whether the text is a calendar version.
pub(crate) fn is_calver(text: &str) -> bool {
    if text.contains('-') {
        let is_split = text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
        let is_hyphen = |at: usize| text.as_bytes().get(at) == Some(&b'-');
        return is_split
            && is_hyphen(4)
            && is_hyphen(7)
            && text.starts_with("20")
            && is_date(&text.replace('-', ""));
    }
    let numbers: Vec<&str> = text.split('.').collect();
    let [year, month, others @ ..] = numbers.as_slice() else { return false };
    let is_year = match year.len() {
        2 => true,
        4 => year.starts_with("20"),
        _ => false,
    };
    let is_month =
        month.len() <= 2 && month.parse::<u8>().is_ok_and(|month| (1..=12).contains(&month));
    is_year && is_month && others.len() <= 2 && numbers.iter().all(|number| is_digits(number))
}

/// Whether the text is `major.minor.patch` with an optional pre-release, as <https://semver.org>
/// defines it, and an optional variant and platform. Build metadata begins with `+`, which a tag cannot
/// contain.
fn is_semver(text: &str) -> bool {
    let version = split_suffix(text).version;
    let is_identifier = |text: &str| {
        let mut bytes = text.bytes();
        bytes.clone().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (bytes.any(|byte| !byte.is_ascii_digit()) || is_number(text))
    };
    let (core, pre_release) =
        version.split_once('-').map_or((version, None), |(core, after)| (core, Some(after)));
    let mut numbers = core.split('.');
    numbers.by_ref().take(3).filter(|number| is_number(number)).count() == 3
        && numbers.next().is_none()
        && pre_release.is_none_or(|text| text.split('.').all(is_identifier))
}

#[cfg(test)]
mod tests {
    use Placeholder::{Branch, Calver, Component, Platform, Semver, Timestamp, Variant, Version};

    use super::*;

    #[test]
    fn the_list_of_names_has_each_placeholder_once() {
        for name in NAMES {
            assert_eq!(name.parse::<Placeholder>().unwrap().to_string(), name);
        }
        let error = "x".parse::<Placeholder>().unwrap_err();
        assert_eq!(error.0, NAMES);
    }

    #[test]
    fn each_placeholder_matches_the_documented_texts_only() {
        #[rustfmt::skip]
        let table: [(Placeholder, &[&str], &[&str]); 8] = [
            (Component,
                &["web", "open-webui", "a1", "7zip", "postgres-16", "facade", "2-web", "a-b12c"],
                &["", "1", "2026", "1-2", "-a", "a-", "a--b", "a_b", "A", "a.b", "main-abc1234",
                  "abc1234", "web-20261127", "web-1700000000", "x-1234567"]),
            (Semver,
                // The valid versions of semver.org that a tag can contain, and texts like them.
                &["0.0.4", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-0A.is.legal", "1.0.0-0",
                  "1.0.0-alpha0.valid", "1.2.3----RC-SNAPSHOT.12.9.1--.12", "1.2.3-0-9",
                  "99999999999999999999999.999999999999999999.99999999999999999",
                  "1.0.0-alpine", "1.0.0-rc.1-alpine3.20-arm64", "1.0.0-linux-arm-v7"],
                &["", "1", "1.2", "1.2.3.4", "01.1.1", "1.01.1", "1.1.01", "00.1.1", "1..1", "1.2.",
                  ".2.3", "1.2.3-", "1.2.3-0123", "1.2.3-a.0123", "1.2.3-a..b", "1.2.3-a.",
                  "1.2.3-a_b", "1.2.3_a", "1.2.3.DEV", "1.2-SNAPSHOT", "-1.0.3", "v1.2.3", "a.b.c",
                  "1.2.a", "1.2.3a", "1.2-alpine"]),
            (Version,
                &["1.2", "24.04", "1.2.3", "1.2.3.4", "0.0"],
                &["", "1", "1.", ".1", "1..2", "1.2.3.4.5", "1.2-rc", "1.a", "v1.2"]),
            (Calver,
                &["2026.11", "2026.1.5", "2026.01.05", "2026.11.27.3", "24.04", "26.11.2",
                  "2026-11-27"],
                &["", "2026", "2026.13", "2026.0", "1.2.3", "1999.12", "2026.11.27.1.2", "2026.11.",
                  "2026-11", "2026-13-01", "2026-11-32", "20-26-1127", "2026-11.27", "20261127",
                  "2026.+1"]),
            (Timestamp,
                &["1700000000", "1700000000000", "20261127101500"],
                &["", "170000000", "170000000000000", "17000000ab"]),
            (Branch,
                &["main", "feature-x", "JIRA-12_fix", "release-1.2", "npm--x", "1"],
                &["", "-main", "main-", "_x", "x."]),
            (Variant,
                &["alpine", "slim", "alpine3.20", "bookworm-slim", "slim-bookworm", "jdk21", "cuda12.4.1",
                  "windowsservercore-ltsc2022"],
                &["", "rc", "alpine-", "alpine.", "alpine3.", "alpine-rc", "Alpine", "alpines", "3.20"]),
            (Platform,
                &["amd64", "arm64", "arm64v8", "linux-amd64", "linux-arm-v7", "x86_64", "s390x"],
                &["", "386", "v7", "linux-v7", "amd-64", "AMD64", "amd64-"]),
        ];
        for (placeholder, good, bad) in table {
            for text in good {
                assert!(
                    placeholder.matches_all(text, &[]),
                    "{{{placeholder}}} should match {text:?}"
                );
                assert_eq!(placeholder.longest(text), text.len(), "{{{placeholder}}} {text:?}");
            }
            for text in bad {
                assert!(
                    !placeholder.matches_all(text, &[]),
                    "{{{placeholder}}} should not match {text:?}"
                );
            }
        }
    }
}
