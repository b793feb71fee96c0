//! Types for the names of ECR and of the OCI distribution specification.
//!
//! Only valid text can be made into one of these types. The syntax is that of the ECR service model
//! and of <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>.

name!(
    /// The name of a repository, such as `infrastructure` or `platform/mcp-servers`.
    RepositoryName,
    InvalidRepositoryName,
    (2..=256),
    |text| text.split('/').all(is_path_component),
    "expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/'"
);

name!(
    /// A tag, such as `litellm-v1.80.5`.
    Tag,
    InvalidTag,
    (1..=128),
    is_tag,
    "expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'"
);

name!(
    /// The digest of a manifest: `sha256:` and 64 hexadecimal digits.
    Digest,
    InvalidDigest,
    (71..=71),
    |text| text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }),
    "expected sha256: and 64 lower-case hexadecimal digits"
);

name!(
    /// A pattern for tags. `*` matches any text, as in ECR's mutability exclusion filters.
    Wildcard,
    InvalidWildcard,
    (1..=128),
    |text| text.bytes().all(|byte| is_tag_byte(byte) || byte == b'*'),
    "expected 1 to 128 letters, digits, '.', '_', '-' and '*'"
);

name!(
    /// A pattern for the names of repositories. `*` matches any text, also with a slash. A pattern
    /// without a star is the name of one repository.
    RepositoryPattern,
    InvalidRepositoryPattern,
    (1..=256),
    |text| {
        let is_wildcard = text.contains('*')
            && text.bytes().all(|byte| is_lower(byte) || b"._/*-".contains(&byte));
        is_wildcard || text.parse::<RepositoryName>().is_ok()
    },
    "expected a repository name, or lower-case letters, digits, '.', '_', '-', '/' and '*'"
);

name!(
    /// The first characters of tags, for a lifecycle rule (`tagPrefixList`).
    TagPrefix,
    InvalidTagPrefix,
    (1..=128),
    is_tag,
    "expected the first characters of a tag: letters, digits, '_', '.' and '-'"
);

name!(
    /// A component: the software that an image is a version of. Images are counted, compared and
    /// owned by component. `litellm-v1.80.5` is version 1.80.5 of the component `litellm`. If a template has
    /// no `{component}`, the component is the name of the repository, such as `team/app`.
    Component,
    InvalidComponent,
    (1..=256),
    |text| {
        let mut words = text.split('-');
        words.all(|word| !word.is_empty() && word.bytes().all(is_lower))
            || text.parse::<RepositoryName>().is_ok()
    },
    "expected lower-case letters and digits, joined by single hyphens, or a repository name"
);

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

fn is_tag(text: &str) -> bool {
    !text.starts_with(['.', '-']) && text.bytes().all(is_tag_byte)
}

/// Whether the text is words of letters and digits. Between two words is one separator: `.`, `_`,
/// `__`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let words = text.split(['.', '_', '-']).filter(|word| !word.is_empty());
    let is_made_of_words = text.bytes().next().is_some_and(is_lower)
        && text.bytes().next_back().is_some_and(is_lower)
        && words.clone().all(|word| word.bytes().all(is_lower));
    let mut separators = text.split(|c: char| c.is_ascii_alphanumeric());
    is_made_of_words
        && separators.all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

impl Tag {
    /// Reads the subject from the tag of a signature or an attestation: the digest of the image
    /// that is signed. Such a tag is `sha256-<64 hex>`, with or without `.sig`, `.att` or `.sbom`.
    /// cosign and the OCI referrers tag schema define the form.
    #[must_use]
    pub fn subject(&self) -> Option<Digest> {
        let name = self.0.strip_prefix("sha256-")?;
        let hex = [".sig", ".att", ".sbom"].iter().find_map(|kind| name.strip_suffix(kind));
        format!("sha256:{}", hex.unwrap_or(name)).try_into().ok()
    }
}

impl Wildcard {
    /// Whether the pattern matches the whole tag.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        matches_wildcard(&self.0, &tag.0)
    }
}

impl RepositoryPattern {
    /// Whether the pattern matches the whole name.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        matches_wildcard(&self.0, &repository.0)
    }

    /// Whether the pattern is the name of one repository.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the pattern is exactly this name. A wildcard never is.
    #[must_use]
    pub fn names(&self, repository: &RepositoryName) -> bool {
        self.0 == repository.0
    }

    /// Whether this pattern matches every name that `other` matches. A star of `other` stands for any
    /// text, so only a star of this pattern can cover it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        matches_wildcard(&self.0, &other.0)
    }
}

/// Whether `pattern`, in which `*` matches any text, matches all of `text`. Each piece between two
/// stars is matched where it first occurs, so the time is bounded by the product of the lengths.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// An image, as `DescribeImages` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The tags, in the order in which ECR lists them.
    pub tags: Vec<Tag>,
    /// The media type of the manifest.
    pub media_type: Option<String>,
    /// The storage class. Only an active image can be pulled.
    pub status: ImageStatus,
}

/// The storage class of an image (ECR `imageStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatus {
    /// The image is in the standard storage class and can be pulled.
    Active,
    /// The image is in the archive and cannot be pulled.
    Archived,
    /// ECR is restoring the image from the archive, which takes about twenty minutes.
    Activating,
}

impl From<&RepositoryName> for Component {
    /// The component of a tag whose template has no component. The component has the name of the
    /// repository, also where that name has characters that a component in a tag cannot have.
    fn from(repository: &RepositoryName) -> Self {
        Self(repository.0.clone())
    }
}

/// Formats a number of bytes for people, in powers of ten, as ECR bills them.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut whole, mut rest, mut nth) = (bytes, 0, 0);
    while whole >= 1_000 {
        (whole, rest, nth) = (whole / 1_000, whole % 1_000, nth + 1);
    }
    let unit = units.get(nth).copied().unwrap_or_default();
    if nth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{} {unit}", rest / 100) }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} should parse");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} should not parse");
        }
    }

    #[test]
    fn repository_names_follow_the_grammar_of_ecr() {
        check::<RepositoryName>(
            &["ab", "infrastructure", "team/app", "a.b_c__d-e---f/0", &"a".repeat(256)],
            &[
                "",
                "a",
                "Infrastructure",
                "a..b",
                "a___b",
                "aBc",
                "-ab",
                "ab-",
                "a//b",
                "/ab",
                "ab/",
                "a b",
            ],
        );
        assert!("a".repeat(257).parse::<RepositoryName>().is_err());
    }

    #[test]
    fn tags_and_digests_follow_the_grammar_of_oci() {
        check::<Tag>(
            &["latest", "litellm-v1.80.5", "_", "A", &"a".repeat(128)],
            &["", "-a", ".a", "a b", "a:b", "a/b", "a\n", &"a".repeat(129)],
        );
        let hex = "0123456789abcdef".repeat(4);
        check::<Digest>(
            &[&format!("sha256:{hex}")],
            &["", &hex, &format!("sha512:{hex}"), &format!("sha256:{}", hex.to_uppercase())],
        );
    }

    #[test]
    fn signatures_and_attestations_name_their_subject() {
        let hex = "0123456789abcdef".repeat(4);
        for kind in ["", ".sig", ".att", ".sbom"] {
            let tag: Tag = format!("sha256-{hex}{kind}").parse().unwrap();
            assert_eq!(tag.subject().unwrap().as_str(), format!("sha256:{hex}"));
        }
        for other in [format!("sha256-{hex}.txt"), format!("sha256-{}", "a".repeat(63)), hex] {
            assert_eq!(other.parse::<Tag>().unwrap().subject(), None);
        }
    }

    #[test]
    fn only_a_star_matches_any_text() {
        for (pattern, tag, expected) in [
            ("latest", "latest", true),
            ("latest", "latest1", false),
            ("*", "a", true),
            ("v*", "v", true),
            ("v*", "vllm-v1", true),
            ("v*", "av", false),
            ("*-dev", "a-dev", true),
            ("*-dev", "a-dev-1", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*ab*", "aab", true),
            ("**", "x", true),
            ("v1.0", "v1x0", false),
        ] {
            let (wildcard, tag): (Wildcard, Tag) = (pattern.parse().unwrap(), tag.parse().unwrap());
            assert_eq!(wildcard.matches(&tag), expected, "{pattern} {tag}");
        }
        let team: RepositoryPattern = "team-*/app".parse().unwrap();
        assert!(team.matches(&"team-a/b/app".parse().unwrap()));
        assert!(!team.matches(&"team-a/apps".parse().unwrap()));
        check::<RepositoryPattern>(&["*", "a/*", "mcp-*_x"], &["", "A*", "a b", "a?"]);
    }

    #[test]
    fn wildcards_and_components_with_other_characters_are_rejected() {
        check::<Wildcard>(&["*", "v*", "release-*.*"], &["", "a b", "a?", &"*".repeat(129)]);
        check::<Component>(
            &["litellm", "mcp-github", "0", "team/app_1"],
            &["", "-a", "a-", "A", "a b"],
        );
    }

    #[test]
    fn bytes_are_formatted_in_powers_of_ten() {
        let formatted =
            [0, 999, 1_000, 1_999, 123_456_789, 1_234_567_890, u64::MAX].map(format_bytes);
        assert_eq!(
            formatted,
            ["0 B", "999 B", "1.0 kB", "1.9 kB", "123.4 MB", "1.2 GB", "18.4 EB"]
        );
    }
}
