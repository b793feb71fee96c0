//! The order of versions, as <https://semver.org/#spec-item-11> defines it.

/// A semantic version without build metadata. The order of two versions is their precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major, minor and patch.
    numbers: [u64; 3],
    /// A version is higher than its pre-releases.
    is_release: bool,
    pre_release: Vec<Identifier>,
}

/// An identifier of a pre-release. A number is lower than a word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Version {
    /// Reads a version, such as `1.80.5` or `1.0.0-rc.1`. None for other text. A number beyond 64 bits
    /// counts as the highest number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, pre_release) = match text.split_once('-') {
            Some((numbers, pre_release)) => (numbers, Some(pre_release)),
            None => (text, None),
        };
        let mut parts = numbers.split('.').map(number);
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        let identifier = |text: &str| {
            number(text).map_or_else(|| Identifier::Word(text.to_owned()), Identifier::Number)
        };
        parts.next().is_none().then(|| Self {
            numbers,
            is_release: pre_release.is_none(),
            pre_release: pre_release
                .into_iter()
                .flat_map(|text| text.split('.'))
                .map(identifier)
                .collect(),
        })
    }
}

/// Reads digits. None for other text.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_order_of_semver() {
        let ascending = [
            "0.9.0",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0-rc-1",
            "1.0.0",
            "1.0.9",
            "1.0.10",
            "1.2.0",
            "1.10.0",
            "2.0.0",
            "20261124101500.0.0",
            "99999999999999999999999.0.0",
        ];
        let versions: Vec<Version> =
            ascending.iter().map(|text| Version::parse(text).unwrap()).collect();
        for (nth, one) in versions.iter().enumerate() {
            for (other_nth, other) in versions.iter().enumerate() {
                assert_eq!(one.cmp(other), nth.cmp(&other_nth), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn other_text_is_no_version() {
        for text in ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.a.0", "1..0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
