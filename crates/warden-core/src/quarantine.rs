//! The quarantine tag. Enforcement gives it to an image whose only tag violates the policy, before it
//! removes that tag: `quarantine-<YYYYMMDD>-<12 hex digits of the digest>-<the removed tag, shortened>`.
//!
//! The date is the day of the quarantine. [`crate::policy::Tags::quarantine_days`] begin on that day.

use chrono::{Days, NaiveDate};

use crate::image::{Digest, Tag};

const PREFIX: &str = "quarantine-";
const DATE: &str = "%Y%m%d";
/// The number of digits of the digest in a quarantine tag.
const HEX: usize = 12;
/// The most characters of a tag.
const LONGEST: usize = 128;

/// The parts of a quarantine tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine<'t> {
    /// The day on which the quarantine began, in UTC.
    pub since: NaiveDate,
    hex: &'t str,
    tag: &'t str,
}

impl<'t> Quarantine<'t> {
    /// Reads the parts of a quarantine tag. `None` for any other tag.
    #[must_use]
    pub fn read(tag: &'t Tag) -> Option<Self> {
        let rest = tag.as_str().strip_prefix(PREFIX)?;
        let (date, rest) = rest.split_once('-')?;
        let (hex, tag) = rest.split_once('-')?;
        // `parse_from_str` also accepts a sign, and a year of any length.
        let is_date = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        let is_hex =
            hex.len() == HEX && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let since = NaiveDate::parse_from_str(date, DATE).ok().filter(|_| is_date)?;
        (is_hex && !tag.is_empty()).then_some(Self { since, hex, tag })
    }

    /// Whether enforcement may have given the tag to the image with this digest: the tag contains the
    /// digits of that image, and its day is not in the future. One day is tolerated, because clocks
    /// differ.
    ///
    /// Anybody can push a quarantine tag. Without this check, an image with such a tag would be kept
    /// until the date of the tag.
    #[must_use]
    pub fn is_genuine(&self, digest: &Digest, today: NaiveDate) -> bool {
        let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
        self.hex == hex_of(digest) && self.since <= tomorrow
    }

    /// Whether the image lost `tag` when it got the quarantine tag.
    #[must_use]
    pub fn is_for(&self, tag: &Tag) -> bool {
        self.tag == shortened(tag)
    }
}

/// Reads from one tag of the image with this digest since when the image is quarantined because of
/// `removed`. None if the tag is not a genuine quarantine tag for `removed`.
#[must_use]
pub fn quarantined_since(
    tag: &Tag,
    removed: &Tag,
    digest: &Digest,
    today: NaiveDate,
) -> Option<NaiveDate> {
    let quarantine = Quarantine::read(tag)?;
    let is_of_this_tag = quarantine.is_for(removed) && quarantine.is_genuine(digest, today);
    is_of_this_tag.then_some(quarantine.since)
}

/// Composes the quarantine tag for the image with this digest, which loses `tag` today.
#[must_use]
pub fn quarantine_tag(today: NaiveDate, digest: &Digest, tag: &Tag) -> Tag {
    let name = format!("{PREFIX}{}-{}-{}", today.format(DATE), hex_of(digest), shortened(tag));
    #[expect(clippy::expect_used, reason = "each part is short enough and valid in a tag")]
    name.parse().expect("a quarantine tag is a tag")
}

fn hex_of(digest: &Digest) -> &str {
    let hex = digest.as_str().strip_prefix("sha256:").unwrap_or_default();
    hex.get(..HEX).unwrap_or_default()
}

fn shortened(tag: &Tag) -> &str {
    // Prefix, date, digits, and the two hyphens between them.
    const ROOM: usize = LONGEST - PREFIX.len() - 8 - 1 - HEX - 1;
    tag.as_str().get(..ROOM).unwrap_or(tag.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(byte: &str) -> Digest {
        format!("sha256:{}", byte.repeat(32)).parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_quarantine_tag_contains_the_day_the_image_and_the_removed_tag() {
        let tag = "litellm-1.80.5".parse().unwrap();
        let quarantined = quarantine_tag(day("2026-11-24"), &digest("0a"), &tag);
        assert_eq!(quarantined.as_str(), "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5");
        let read = Quarantine::read(&quarantined).unwrap();
        assert_eq!(read.since, day("2026-11-24"));
        assert!(read.is_for(&tag) && !read.is_for(&"litellm-1.80.6".parse().unwrap()));
    }

    #[test]
    fn a_quarantine_tag_of_another_image_or_of_a_future_day_is_not_genuine() {
        let tag = "quarantine-20261124-0a0a0a0a0a0a-x".parse().unwrap();
        let read = Quarantine::read(&tag).unwrap();
        assert!(read.is_genuine(&digest("0a"), day("2026-11-24")));
        assert!(read.is_genuine(&digest("0a"), day("2026-11-23")));
        assert!(read.is_genuine(&digest("0a"), day("2027-11-24")));
        assert!(!read.is_genuine(&digest("0a"), day("2026-11-22")));
        assert!(!read.is_genuine(&digest("0b"), day("2026-11-24")));
    }

    #[test]
    fn a_tag_that_only_resembles_a_quarantine_tag_is_not_read_as_one() {
        for text in [
            "quarantine",
            "quarantine-20261124",
            "quarantine-20261124-0a0a0a0a0a0a",
            "quarantine-20261124-0a0a0a0a0a0a-",
            "quarantine-20261324-0a0a0a0a0a0a-x",
            "quarantine-2026112-0a0a0a0a0a0a-x",
            "quarantine-20261124-0A0a0a0a0a0a-x",
            "quarantine-20261124-0a0a0a0a0a0-x",
            "quarantined-20261124-0a0a0a0a0a0a-x",
        ] {
            assert_eq!(Quarantine::read(&text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_quarantine_tag_of_any_tag_is_read_back(
            text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
            days in 0..100_000_i32,
            byte in "[0-9a-f]{2}",
        ) {
            let (tag, digest): (Tag, Digest) = (text.parse().unwrap(), digest(&byte));
            let since = day("1990-01-01") + chrono::TimeDelta::days(days.into());
            let quarantined = quarantine_tag(since, &digest, &tag);
            prop_assert!(quarantined.as_str().len() <= 128);
            let read = Quarantine::read(&quarantined).unwrap();
            prop_assert!(read.is_for(&tag) && read.is_genuine(&digest, since));
            prop_assert_eq!(read.since, since);
        }
    }
}
