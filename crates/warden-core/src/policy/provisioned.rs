//! The settings that a policy takes from the parameters of the stack.

use serde::Serialize;

use super::{InUse, LifecycleScope, MOST_DAYS, MOST_IMAGES};
use crate::image::{RepositoryName, TagPrefix};
use crate::mutability::Mutability;
use crate::properties::Reader;

/// ECR accepts 50 lifecycle rules, and two of them are not for prefixes.
const MOST_PREFIXES: usize = 48;

/// The settings from the parameters of the stack. Each field is the property with the same name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Provisioned {
    /// The repositories that the stack provisions.
    pub repositories: Vec<ProvisionedRepository>,
    /// The sources that report which images are in use. The last pull counts without a source too.
    pub in_use_sources: Vec<InUse>,
}

/// A repository that the stack provisions. Its settings come from the parameters of the stack and take
/// the place of the same settings of its rule. Each field is the property with the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvisionedRepository {
    /// The repository.
    pub repository_name: RepositoryName,
    /// Whether a tag can be moved, in the properties `ImageTagMutability` and
    /// `ImageTagMutabilityExclusionFilters`.
    #[serde(flatten)]
    pub mutability: Mutability,
    /// The number of images that are kept, in place of [`super::Retention::keep`].
    pub lifecycle_tag_count: u32,
    /// In place of [`super::Retention::untagged_days`].
    pub lifecycle_untagged_days: u32,
    /// Prefixes of tags. The images of each prefix are counted separately.
    pub lifecycle_tag_prefixes: Vec<TagPrefix>,
    /// Whether images are counted by component or in the whole repository.
    pub lifecycle_scope: LifecycleScope,
}

impl Provisioned {
    /// Reads the properties. The caller must not use the returned value if `reader` has problems
    /// afterwards.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let repositories = reader.objects("Repositories", false, ProvisionedRepository::read);
        let repositories: Vec<ProvisionedRepository> = repositories.into_iter().flatten().collect();
        for (nth, settings) in repositories.iter().enumerate() {
            let name = &settings.repository_name;
            let mut earlier = repositories.iter().take(nth);
            if earlier.any(|other| other.repository_name == *name) {
                reader.problem("Repositories", format!("{name} is listed twice"));
            }
        }
        Self { repositories, in_use_sources: reader.words("InUseSources") }
    }

    /// The source of running images beside the last pull, which always counts.
    pub(super) fn in_use(&self) -> InUse {
        let sees_workloads = self.in_use_sources.contains(&InUse::Inspector);
        if sees_workloads { InUse::Inspector } else { InUse::PullTime }
    }
}

impl ProvisionedRepository {
    /// Reads the properties. The caller must not use the returned value if `reader` has problems
    /// afterwards.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let repository_name = reader.required("RepositoryName");
        let mutability = Mutability::read(reader);
        let lifecycle_tag_count = reader.number("LifecycleTagCount", 1..=MOST_IMAGES, None);
        let lifecycle_untagged_days = reader.number("LifecycleUntaggedDays", 1..=MOST_DAYS, None);
        let lifecycle_tag_prefixes = prefixes(reader);
        let lifecycle_scope = reader.or("LifecycleScope", LifecycleScope::Component);
        Some(Self {
            repository_name: repository_name?,
            mutability,
            lifecycle_tag_count,
            lifecycle_untagged_days,
            lifecycle_tag_prefixes,
            lifecycle_scope,
        })
    }
}

fn prefixes(reader: &mut Reader<'_>) -> Vec<TagPrefix> {
    const NAME: &str = "LifecycleTagPrefixes";
    let mut unique: Vec<TagPrefix> = Vec::new();
    for prefix in reader.words(NAME) {
        if unique.contains(&prefix) {
            reader.problem(NAME, format!("{prefix} is listed twice"));
        } else {
            unique.push(prefix);
        }
    }
    if unique.len() > MOST_PREFIXES {
        let message = format!("expected at most {MOST_PREFIXES} prefixes, got {}", unique.len());
        reader.problem(NAME, message);
    }
    unique
}
