//! The settings of a repository that the stack provisions.

use serde::Serialize;

use super::{LifecycleScope, MOST_DAYS, MOST_IMAGES, TagMutability, prefixes};
use crate::image::{RepositoryName, TagPrefix, Wildcard};
use crate::properties::Reader;

/// A repository that the stack provisions. Its settings come from the parameters of the stack and take
/// the place of the same settings of its rule. Each field is the property with the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedRepository {
    /// The repository.
    pub repository_name: RepositoryName,
    /// Whether a tag can be moved.
    pub image_tag_mutability: TagMutability,
    /// The tags to which the mutability does not apply.
    pub image_tag_mutability_exclusion_filters: Vec<Wildcard>,
    /// The number of images that are kept, in place of [`super::document::Retention::keep`].
    pub lifecycle_tag_count: u32,
    /// In place of [`super::document::Retention::untagged_days`].
    pub lifecycle_untagged_days: u32,
    /// Prefixes of tags. The images of each prefix are counted separately.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// Whether images are counted by component or in the whole repository.
    pub lifecycle_scope: LifecycleScope,
}

impl ProvisionedRepository {
    /// Reads the properties. The caller must not use the returned value if `reader` has problems
    /// afterwards.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let repository_name = reader.required("RepositoryName");
        let image_tag_mutability = reader.or("ImageTagMutability", TagMutability::Mutable);
        let image_tag_mutability_exclusion_filters =
            reader.words("ImageTagMutabilityExclusionFilters");
        let lifecycle_tag_count = reader.number("LifecycleTagCount", 1..=MOST_IMAGES, None);
        let lifecycle_untagged_days = reader.number("LifecycleUntaggedDays", 1..=MOST_DAYS, None);
        let lifecycle_tag_prefixes = prefixes(reader);
        let lifecycle_scope = reader.or("LifecycleScope", LifecycleScope::Component);
        Some(Self {
            repository_name: repository_name?,
            image_tag_mutability,
            image_tag_mutability_exclusion_filters,
            lifecycle_tag_count,
            lifecycle_untagged_days,
            lifecycle_tag_prefixes,
            lifecycle_scope,
        })
    }
}
