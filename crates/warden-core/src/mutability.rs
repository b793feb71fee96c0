//! Whether a tag can move to another image, by the tag mutability of its repository:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::image::{Tag, Wildcard};
use crate::policy::TagMutability;
use crate::properties::Reader;

/// The most exclusion filters that ECR accepts.
const MOST_FILTERS: usize = 5;

/// The tag mutability of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mutability {
    /// Whether the tags can move (ECR `imageTagMutability`).
    #[serde(rename = "ImageTagMutability")]
    pub setting: TagMutability,
    /// The wildcards of the tags to which the setting does not apply.
    #[serde(rename = "ImageTagMutabilityExclusionFilters")]
    pub exclusion_filters: BTreeSet<Wildcard>,
}

impl Mutability {
    /// Reads the properties `ImageTagMutability` and `ImageTagMutabilityExclusionFilters`. ECR accepts one to
    /// five filters: <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImageTagMutability.html>.
    /// The caller must not use the returned value if `reader` has problems afterwards.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        const NAME: &str = "ImageTagMutabilityExclusionFilters";
        let setting = reader.or("ImageTagMutability", TagMutability::Mutable);
        let filters: Vec<Wildcard> = reader.words(NAME);
        match setting {
            TagMutability::Mutable | TagMutability::Immutable if !filters.is_empty() => {
                let message = format!(
                    "ImageTagMutability is {setting}, which allows no exclusions; leave the filters \
                     empty, or use {setting}_WITH_EXCLUSION"
                );
                reader.problem(NAME, message);
            }
            TagMutability::MutableWithExclusion | TagMutability::ImmutableWithExclusion
                if !(1..=MOST_FILTERS).contains(&filters.len()) =>
            {
                let message = format!(
                    "expected 1 to {MOST_FILTERS} wildcards for {setting}, got {}",
                    filters.len()
                );
                reader.problem(NAME, message);
            }
            _ => {}
        }
        Self { setting, exclusion_filters: filters.into_iter().collect() }
    }
}

/// Whether a push can move `tag` to another image. The answer is yes if the mutability is unknown.
#[must_use]
pub fn tag_can_move(mutability: Option<&Mutability>, tag: &Tag) -> bool {
    let Some(Mutability { setting, exclusion_filters }) = mutability else { return true };
    let is_excluded = || exclusion_filters.iter().any(|filter| filter.matches(tag));
    match setting {
        TagMutability::Mutable => true,
        TagMutability::Immutable => false,
        TagMutability::MutableWithExclusion => !is_excluded(),
        TagMutability::ImmutableWithExclusion => is_excluded(),
    }
}

impl fmt::Display for Mutability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setting)?;
        if self.exclusion_filters.is_empty() {
            return Ok(());
        }
        let filters: Vec<&str> = self.exclusion_filters.iter().map(Wildcard::as_str).collect();
        write!(f, " (except {})", filters.join(", "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The mutability of this setting with these filters.
    pub(crate) fn mutability(setting: &str, filters: &[&str]) -> Mutability {
        let exclusion_filters = filters.iter().map(|filter| filter.parse().unwrap()).collect();
        Mutability { setting: setting.parse().unwrap(), exclusion_filters }
    }

    #[test]
    fn a_tag_can_move_by_the_setting_and_the_exclusion_filters() {
        let can_move = |setting: &str, filters: &[&str], tag: &str| {
            tag_can_move(Some(&mutability(setting, filters)), &tag.parse().unwrap())
        };
        assert!(can_move("MUTABLE", &[], "latest"));
        assert!(!can_move("IMMUTABLE", &[], "latest"));
        let filters = ["sha256-*", "*-dev", "latest"];
        for excluded in ["sha256-0a", "web-dev", "latest"] {
            assert!(can_move("IMMUTABLE_WITH_EXCLUSION", &filters, excluded), "{excluded}");
            assert!(!can_move("MUTABLE_WITH_EXCLUSION", &filters, excluded), "{excluded}");
        }
        for other in ["web-v1.0.0", "web-dev-1", "latest-1"] {
            assert!(!can_move("IMMUTABLE_WITH_EXCLUSION", &filters, other), "{other}");
            assert!(can_move("MUTABLE_WITH_EXCLUSION", &filters, other), "{other}");
        }
        assert!(tag_can_move(None, &"latest".parse().unwrap()));
    }
}
