//! Suggests a conforming tag for a tag that does not conform.
//!
//! The template is matched loosely: letters in either case, other separators, and one letter may be
//! missing. The template is then written out with the text that was matched. The result is only a
//! candidate: the caller checks that it conforms.

use regex_lite::RegexBuilder;

use super::Placeholder;
use super::placeholder::{is_calver, is_one_run};
use super::template::{Part, Pattern, Template};
use crate::image::Tag;

impl Template {
    /// Spells `tag` as this template would. `None` if the tag does not resemble the template, or the
    /// template is a regular expression.
    pub(super) fn respell(&self, tag: &Tag) -> Option<String> {
        let Pattern::Parts(parts) = &self.pattern else { return None };
        let next = parts.iter().skip(1).map(Some).chain([None]);
        let pattern: String =
            parts.iter().zip(next).map(|(part, next)| loose(part, next)).collect();
        // A conforming tag never reaches this code, so the expression is compiled for each call.
        let pattern =
            RegexBuilder::new(&format!("^(?:{pattern})$")).case_insensitive(true).build().ok()?;
        let captures = pattern.captures(tag.as_str())?;
        // The pre-release of a version before a name could be a part of the name: `1.2.3-my-svc`.
        let is_name = |part: &Part| {
            let names = [Placeholder::Component, Placeholder::Slug, Placeholder::Branch];
            matches!(part, Part::Placeholder(name) if names.contains(name))
        };
        let is_version = |part: &Part| matches!(part, Part::Placeholder(Placeholder::Semver));
        let mut after_version = parts.iter().skip_while(|part| !is_version(part));
        let version = captures.name(&Placeholder::Semver.to_string());
        if version.is_some_and(|version| version.as_str().contains('-'))
            && after_version.any(is_name)
        {
            return None;
        }
        let mut end = 0;
        parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => Some(text.clone()),
                Part::Placeholder(name) => {
                    let found = captures.name(&name.to_string())?;
                    // A word before a version must not lose its last letter, as in `de` and `1.0.0` of `dev1.0.0`.
                    let between = tag.as_str().get(end..found.start())?;
                    if end > 0 && between.starts_with(|char: char| char.is_ascii_alphanumeric()) {
                        return None;
                    }
                    // A missing literal must not split a number, as in `1` and `2.0.1` of `12.0.1`.
                    let before = tag.as_str().get(..found.start())?.bytes().last();
                    let is_split = found.start() > 0
                        && found.start() == end
                        && before
                            .zip(found.as_str().bytes().next())
                            .is_some_and(|(one, next)| is_one_run(one, next));
                    end = found.end();
                    let spelled = canonical(*name, found.as_str()).filter(|_| !is_split)?;
                    // The `v` before a version is not a component: `v1.0.0` has no component.
                    let is_version_v = spelled == "v" || spelled.ends_with("-v");
                    (*name != Placeholder::Component || !is_version_v).then_some(spelled)
                }
            })
            .collect()
    }
}

/// A pattern for the part before `next`.
fn loose(part: &Part, next: Option<&Part>) -> String {
    match part {
        Part::Literal(text) => {
            let mut rest = text.as_str();
            let pieces = text.split_inclusive(['.', '_', '-']);
            let loose_piece = |piece: &str| {
                rest = rest.strip_prefix(piece).unwrap_or_default();
                let word = piece.trim_end_matches(['.', '_', '-']);
                // People forget a single letter, such as the `v`, but not a word.
                let optional = if word.len() == 1 { "?" } else { "" };
                let separator = match piece.strip_prefix(word) {
                    Some("") | None => "",
                    Some(separator) if separator.contains('.') => "[._-]+",
                    Some(_) if may_be_missing_before(rest, next) => "[_-]*",
                    Some(_) => "[_-]+",
                };
                if word.is_empty() {
                    separator.to_owned()
                } else {
                    format!("(?:{word}){optional}{separator}")
                }
            };
            pieces.map(loose_piece).collect()
        }
        Part::Placeholder(name) => {
            let pattern = match name {
                // Without dots: `litellm-1.80.5.1` is not version 80.5.1 of `litellm-1`.
                Placeholder::Component => "[a-z0-9]+?(?:[_-]+[a-z0-9]+?)*?",
                Placeholder::Slug => "[a-z0-9]+(?:[_-]+[a-z0-9]+)*",
                Placeholder::Semver => r"[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:-[0-9a-z.-]+)?",
                Placeholder::Sha => "[0-9a-f]{7,64}",
                Placeholder::Channel => "[a-z][a-z0-9]*(?:-[a-z0-9]+)*",
                Placeholder::Date => "[0-9]{4}[._-]?[0-9]{2}[._-]?[0-9]{2}",
                Placeholder::Number => "[0-9]+",
                Placeholder::Version => r"[0-9]+(?:\.[0-9]+){1,3}",
                Placeholder::Calver => r"[0-9]{2,4}[._-][0-9]{1,2}(?:[._-][0-9]+){0,2}",
                Placeholder::Timestamp => "[0-9]{10,14}",
                Placeholder::Branch => "[a-z0-9]+(?:[._-]+[a-z0-9]+)*",
                Placeholder::Variant | Placeholder::Platform => "[a-z0-9]+(?:[._-][a-z0-9]+)*",
            };
            // People often write a `v` before a version where the template has none.
            let is_version = matches!(name, Placeholder::Semver | Placeholder::Version);
            let extra = if is_version { "v?" } else { "" };
            format!("{extra}(?<{name}>{pattern})")
        }
    }
}

/// Whether the separator before the rest of a literal, or before the next placeholder, may be missing. It may be
/// missing before a number: people write `litellm1.80.5`. It must not be missing between two words:
/// `domain-abc1234` is not a build of the branch `main` of the component `do`.
fn may_be_missing_before(rest: &str, next: Option<&Part>) -> bool {
    match (rest, next) {
        ("", Some(Part::Placeholder(name))) => matches!(
            name,
            Placeholder::Semver
                | Placeholder::Version
                | Placeholder::Calver
                | Placeholder::Number
                | Placeholder::Date
                | Placeholder::Timestamp
        ),
        (rest, _) => rest.split(['.', '_', '-']).next().is_some_and(|word| word.len() == 1),
    }
}

/// The text as the placeholder spells it. None for a date in the place of a version: it needs another
/// template, not another spelling.
fn canonical(name: Placeholder, found: &str) -> Option<String> {
    let lower = || found.to_lowercase();
    let spelled = match name {
        Placeholder::Component | Placeholder::Slug => {
            let words: Vec<String> = lower()
                .split(['.', '_', '-'])
                .filter(|w| !w.is_empty())
                .map(str::to_owned)
                .collect();
            words.join("-")
        }
        Placeholder::Semver => {
            let (core, pre_release) = match found.split_once('-') {
                Some((core, pre_release)) => (core, format!("-{pre_release}")),
                None => (found, String::new()),
            };
            let has_zero =
                core.split('.').skip(1).any(|number| number.len() > 1 && number.starts_with('0'));
            let is_short = core.split('.').count() == 2 && core.starts_with(['2', '3']);
            if is_calver(core) && (core.starts_with("20") || has_zero || is_short) {
                return None;
            }
            let mut numbers: Vec<String> = core.split('.').map(without_zeros).collect();
            if numbers.len() == 2 {
                numbers.push("0".to_owned());
            }
            numbers.join(".") + &pre_release
        }
        Placeholder::Date => found.chars().filter(char::is_ascii_digit).collect(),
        Placeholder::Number => without_zeros(found),
        Placeholder::Calver => found.replace(['_', '-'], "."),
        Placeholder::Branch => found.to_owned(),
        Placeholder::Sha
        | Placeholder::Channel
        | Placeholder::Version
        | Placeholder::Timestamp
        | Placeholder::Variant
        | Placeholder::Platform => lower(),
    };
    Some(spelled)
}

fn without_zeros(digits: &str) -> String {
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }.to_owned()
}
