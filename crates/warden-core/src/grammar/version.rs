//! The order of the versions of a kind.

use std::cmp::Ordering;

use super::Placeholder;

/// The version of a tag, in the order of releases: the values of its ordered placeholders, the first
/// placeholder of the template first. Numbers are compared as numbers of any size, and pre-releases as
/// <https://semver.org/#spec-item-11> defines it. Only versions of one kind can be compared in a
/// meaningful way.
///
/// The values are joined by `/`, which no tag contains: a repository has up to 100,000 versions in memory.
#[derive(Clone, Debug)]
pub struct VersionOrder(Box<str>);

impl VersionOrder {
    /// `None` without a value that has an order.
    pub(super) fn from_values(values: &[(Placeholder, String)]) -> Option<Self> {
        let ordered: Vec<String> = values
            .iter()
            .filter_map(|(name, text)| match name {
                // `2026-11-27` is three numbers, and not a version with a pre-release.
                Placeholder::Calver => Some(text.replace('-', ".")),
                Placeholder::Semver
                | Placeholder::Version
                | Placeholder::Timestamp
                | Placeholder::Date
                | Placeholder::Number => Some(text.clone()),
                Placeholder::Component
                | Placeholder::Sha
                | Placeholder::Channel
                | Placeholder::Slug
                | Placeholder::Branch
                | Placeholder::Variant
                | Placeholder::Platform => None,
            })
            .collect();
        (!ordered.is_empty()).then(|| Self(ordered.join("/").into_boxed_str()))
    }
}

impl Ord for VersionOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = || (self.0.split('/'), other.0.split('/'));
        let (ours, theirs) = values();
        let orders = ours.zip(theirs).map(|(one, other)| compare_versions(one, other));
        let (ours, theirs) = values();
        first_difference(orders).then_with(|| ours.count().cmp(&theirs.count()))
    }
}

impl PartialOrd for VersionOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for VersionOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for VersionOrder {}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
}

fn compare_versions(one: &str, other: &str) -> Ordering {
    let split = |text| match str::split_once(text, '-') {
        Some((core, pre_release)) => (core, Some(pre_release)),
        None => (text, None),
    };
    let ((one, before), (other, other_before)) = (split(one), split(other));
    compare_identifiers(one, other).then_with(|| match (before, other_before) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => compare_identifiers(one, other),
    })
}

/// Compares texts of identifiers joined by dots. A number is less than a word, and a text is less than
/// the same text with more identifiers.
fn compare_identifiers(one: &str, other: &str) -> Ordering {
    let compared = one.split('.').zip(other.split('.')).map(|(one, other)| {
        match (as_number(one), as_number(other)) {
            (Some(one), Some(other)) => one.cmp(&other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => one.cmp(other),
        }
    });
    first_difference(compared).then_with(|| one.split('.').count().cmp(&other.split('.').count()))
}

/// A number as its count of digits and its digits without leading zeros, which have the order of the
/// number. None for other text.
fn as_number(text: &str) -> Option<(usize, &str)> {
    let digits = super::is_digits(text).then(|| text.trim_start_matches('0'))?;
    Some((digits.len(), digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grammar::{Grammar, default_channels};
    use crate::image::Tag;

    fn version(template: &str, tag: &str) -> Option<VersionOrder> {
        let grammar =
            Grammar::new(vec![template.parse().unwrap()], default_channels(), vec![]).unwrap();
        let tag: Tag = tag.parse().unwrap();
        let conforming = grammar.match_tag(&"infrastructure".parse().unwrap(), &tag);
        conforming.unwrap_or_else(|| panic!("{tag} does not match {template}")).version()
    }

    #[test]
    fn versions_are_in_the_order_of_releases() {
        for (template, tags) in [
            (
                "{semver}",
                "0.9.0 1.0.0-1 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta \
              1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.1.0 1.2.0 1.10.0 2.0.0 \
              99999999999999999999999.0.0 100000000000000000000000.0.0",
            ),
            ("{version}", "1.9 1.10 1.10.1 1.10.1.9 1.10.1.10 24.04 24.10"),
            ("{calver}", "24.04 24.10 2026.1.5 2026.01.06 2026-11-27 2026.12.1"),
            ("{date}", "20251231 20260101 20260110"),
            ("{timestamp}", "1700000000 1700000001 1700000000000"),
            ("{number}", "9 10 99 100"),
            ("{date}-{number}", "20260101-9 20260101-10 20260102-1"),
            ("{calver}-{sha}", "2026.01.05-abc1234 2026.11.27-0000000"),
            ("re:(?<version>[0-9.]+)(?<variant>[a-z]*)", "1.9 1.10b 2"),
        ] {
            let versions: Vec<_> =
                tags.split_whitespace().map(|tag| version(template, tag).unwrap()).collect();
            assert!(versions.is_sorted_by(|one, next| one < next), "{template}: {versions:?}");
        }
    }

    #[test]
    fn a_variant_has_no_part_in_the_order_and_a_commit_has_no_order() {
        assert_eq!(version("{semver}", "1.0.0-alpine"), version("{semver}", "1.0.0"));
        assert_eq!(version("{calver}", "2026.01.05"), version("{calver}", "2026.1.5"));
        for (template, tag) in
            [("{sha}", "abc1234"), ("web-{channel}", "web-prod"), ("{branch}", "x")]
        {
            assert_eq!(version(template, tag), None);
        }
    }

    proptest! {
        #[test]
        fn the_order_of_versions_is_total(
            texts in proptest::collection::vec("(0|1|01|2|10)([.](0|1|a)){0,2}(-(0|1|a|rc[.]1|a[.]b)){0,1}", 3),
        ) {
            let version = |text: &String| VersionOrder(text.as_str().into());
            let [a, b, c] = [&texts[0], &texts[1], &texts[2]].map(version);
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert!(!(a <= b && b <= c) || a <= c);
            prop_assert!(!(a == b && b == c) || a == c);
        }
    }
}
