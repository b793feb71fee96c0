//! The settings of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, anyhow};
use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType as WireEncryption, ImageScanningConfiguration,
    ImageStatusFilter, ImageTagMutability, ImageTagMutabilityExclusionFilter,
    ImageTagMutabilityExclusionFilterType, LifecyclePolicyPreviewStatus, ListImagesFilter,
    Repository as WireRepository, Tag,
};
use warden_core::image::{RepositoryName, Wildcard};
use warden_core::keywords;
use warden_core::mutability::Mutability;

use super::{PAGE_SIZE, Registry};

keywords!(
    /// How images are encrypted at rest (ECR `encryptionType`).
    EncryptionType {
        /// With a key of Amazon S3.
        Aes256 = "AES256",
        /// With a key of AWS KMS.
        Kms = "KMS",
        /// With two layers of AWS KMS.
        KmsDsse = "KMS_DSSE",
    }
);

/// The encryption of a repository. ECR cannot change it after the repository was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The kind.
    pub kind: EncryptionType,
    /// The ARN of the key. None for the key that AWS manages.
    pub key: Option<String>,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} ({key})", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

/// The settings with which a repository is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRepository<'a> {
    /// Whether tags can move.
    pub mutability: &'a Mutability,
    /// Whether each push is scanned.
    pub scan_on_push: bool,
    /// How images are encrypted.
    pub encryption: &'a Encryption,
    /// The resource tags.
    pub tags: &'a BTreeMap<String, String>,
}

/// A repository, as `DescribeRepositories` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryDescription {
    /// The ARN.
    pub arn: String,
    /// The address for pushes and pulls, without a tag.
    pub uri: String,
    /// The account that holds it.
    pub registry_id: String,
    /// Whether tags can move. None if this version does not know a value or a filter.
    pub mutability: Option<Mutability>,
    /// Whether each push is scanned.
    pub scan_on_push: bool,
    /// How images are encrypted.
    pub encryption: Encryption,
}

/// The facts of a repository that a sweep needs before it decides anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// When it was created, in seconds since 1970.
    pub created_at: i64,
    /// Whether tags can move. None if this version does not know a value or a filter.
    pub mutability: Option<Mutability>,
}

/// A preview of a lifecycle policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifecyclePreview {
    /// ECR is computing the preview.
    InProgress,
    /// The preview is complete.
    Complete {
        /// The lifecycle policy that was previewed.
        policy: String,
        /// The number of images that the policy would expire.
        count: u64,
        /// Some of these images, each as a tag or, without a tag, as the digest.
        examples: Vec<String>,
    },
    /// ECR failed to compute the preview. The value is the status.
    Ended(String),
}

impl fmt::Display for RepositoryFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mutability {
            Some(mutability) => write!(f, "{} {mutability}", self.created_at),
            None => write!(f, "{} unknown", self.created_at),
        }
    }
}

impl Registry {
    /// Lists the repositories of the registry. One call for 1,000 repositories.
    pub async fn repositories(&self) -> anyhow::Result<Vec<(RepositoryName, RepositoryFacts)>> {
        let pages = self.client.describe_repositories().into_paginator().page_size(PAGE_SIZE);
        let mut pages = pages.send();
        let mut repositories = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain).context("listing the repositories")?;
            for found in page.repositories.into_iter().flatten() {
                let name =
                    found.repository_name().context("ECR returned a repository without a name")?;
                let name = name.parse().map_err(|error| anyhow!("{error}, got {name:?}"))?;
                repositories.push((name, facts(&found)?));
            }
        }
        Ok(repositories)
    }

    /// Describes a repository. None if ECR does not know the repository. One call.
    pub async fn describe_repository(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<RepositoryDescription>> {
        self.find_repository(repository).await?.map(description).transpose()
    }

    /// Reads whether the tags of a repository can move. None if ECR does not know the repository, or
    /// if this version does not know a value or a filter. One call.
    pub async fn mutability(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<Mutability>> {
        Ok(self.find_repository(repository).await?.as_ref().and_then(mutability))
    }

    /// Reads when a repository was created, and whether its tags can move. None if ECR does not
    /// know it. One call.
    pub async fn repository_facts(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<RepositoryFacts>> {
        self.find_repository(repository).await?.as_ref().map(facts).transpose()
    }

    /// Lists the prefixes of the registry's pull-through cache rules. A call for each 1,000 rules.
    pub async fn cache_prefixes(&self) -> anyhow::Result<Vec<String>> {
        let describe = self.client.describe_pull_through_cache_rules();
        let mut pages = describe.into_paginator().page_size(1_000).send();
        let mut prefixes = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(crate::explain).context("listing the pull-through cache rules")?;
            let rules = page.pull_through_cache_rules.into_iter().flatten();
            prefixes.extend(rules.filter_map(|rule| rule.ecr_repository_prefix));
        }
        Ok(prefixes)
    }

    /// Lists the repositories of the registry. A call for each 1,000 repositories.
    pub async fn repository_names(&self) -> anyhow::Result<Vec<RepositoryName>> {
        let describe = self.client.describe_repositories();
        let mut pages = describe.into_paginator().page_size(1_000).send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(crate::explain).context("listing the repositories")?;
            for repository in page.repositories.into_iter().flatten() {
                let name = repository.repository_name.unwrap_or_default();
                let parsed = name.parse();
                names.push(parsed.with_context(|| format!("ECR returned the name {name:?}"))?);
            }
        }
        Ok(names)
    }

    async fn find_repository(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<WireRepository>> {
        let describe = self.client.describe_repositories().repository_names(repository.as_str());
        let described =
            crate::unless(describe.send().await, |error| error.is_repository_not_found_exception());
        let described = described.with_context(|| format!("describing repository {repository}"))?;
        Ok(described.and_then(|output| output.repositories?.into_iter().next()))
    }

    /// Reads how often the registry scans the images of a repository: `SCAN_ON_PUSH`, `CONTINUOUS_SCAN`
    /// or `MANUAL`. One call.
    pub async fn scan_frequency(&self, repository: &RepositoryName) -> anyhow::Result<String> {
        let get = self.client.batch_get_repository_scanning_configuration();
        let got = get.repository_names(repository.as_str()).send().await.map_err(crate::explain);
        let got =
            got.with_context(|| format!("reading the scanning configuration of {repository}"))?;
        let scanning = got.scanning_configurations.and_then(|found| found.into_iter().next());
        let frequency = scanning.and_then(|scanning| scanning.scan_frequency);
        Ok(frequency.map_or_else(String::new, |word| word.as_str().to_owned()))
    }

    /// Reads the resource tags of a repository, by its ARN. One call.
    pub async fn repository_tags(&self, arn: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let listed = self.client.list_tags_for_resource().resource_arn(arn).send().await;
        let tags = listed.map_err(crate::explain)?.tags.unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// Reads the lifecycle policy of a repository, if it has one. One call.
    pub async fn lifecycle_policy(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<String>> {
        let get = self.client.get_lifecycle_policy().repository_name(repository.as_str());
        let output = crate::unless(get.send().await, |error| {
            error.is_lifecycle_policy_not_found_exception()
        })?;
        Ok(output.and_then(|output| output.lifecycle_policy_text))
    }

    /// Reads the policy of a repository, if it has one. One call.
    pub async fn repository_policy(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<Option<String>> {
        let get = self.client.get_repository_policy().repository_name(repository.as_str());
        let output = crate::unless(get.send().await, |error| {
            error.is_repository_policy_not_found_exception()
        })?;
        Ok(output.and_then(|output| output.policy_text))
    }

    /// Whether a repository has no images, archived ones included. One call.
    pub async fn is_empty(&self, repository: &RepositoryName) -> anyhow::Result<bool> {
        // Without a filter, `ListImages` does not list archived images.
        let any = ListImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let list = self.client.list_images().repository_name(repository.as_str());
        let listed = list.filter(any).max_results(1).send().await.map_err(crate::explain)?;
        // Another page may follow an empty page.
        Ok(listed.image_ids().is_empty() && listed.next_token().is_none())
    }

    /// Starts a preview of a lifecycle policy. ECR computes one preview of a repository at a time, and
    /// refuses a second one. One call.
    pub async fn start_lifecycle_preview(
        &self,
        repository: &RepositoryName,
        policy: &str,
    ) -> anyhow::Result<()> {
        let start = self.client.start_lifecycle_policy_preview();
        let start = start.repository_name(repository.as_str()).lifecycle_policy_text(policy);
        start.send().await.map(drop).map_err(crate::explain)
    }

    /// Reads the preview of a repository. `examples` is the most examples. One call.
    pub async fn lifecycle_preview(
        &self,
        repository: &RepositoryName,
        examples: i32,
    ) -> anyhow::Result<LifecyclePreview> {
        let get = self.client.get_lifecycle_policy_preview();
        let get = get.repository_name(repository.as_str()).max_results(examples);
        let preview =
            get.send().await.map_err(crate::explain).context("reading the lifecycle preview")?;
        let status = preview.status().context("the lifecycle preview has no status")?;
        Ok(match status {
            LifecyclePolicyPreviewStatus::InProgress => LifecyclePreview::InProgress,
            LifecyclePolicyPreviewStatus::Complete => {
                let summary = preview.summary().context("the lifecycle preview has no summary")?;
                let count = summary
                    .expiring_image_total_count()
                    .context("the lifecycle preview has no count")?;
                let examples = preview.preview_results().iter().filter_map(|image| {
                    let tag = image.image_tags().first().map(String::as_str);
                    tag.or(image.image_digest()).map(str::to_owned)
                });
                LifecyclePreview::Complete {
                    policy: preview.lifecycle_policy_text().unwrap_or_default().to_owned(),
                    count: u64::try_from(count)?,
                    examples: examples.collect(),
                }
            }
            other => LifecyclePreview::Ended(other.as_str().to_owned()),
        })
    }

    /// Creates a repository. Returns `RepositoryAlreadyExistsException` if a repository of this name
    /// exists. An earlier attempt whose response was lost may have created it. One call.
    pub async fn create_repository(
        &self,
        repository: &RepositoryName,
        settings: &NewRepository<'_>,
    ) -> anyhow::Result<()> {
        let mutability = settings.mutability;
        let encryption = EncryptionConfiguration::builder()
            .encryption_type(WireEncryption::from(settings.encryption.kind.to_string().as_str()))
            .set_kms_key(settings.encryption.key.clone())
            .build()?;
        let create = self
            .client
            .create_repository()
            .repository_name(repository.as_str())
            .image_tag_mutability(wire_mutability(mutability))
            .set_image_tag_mutability_exclusion_filters(wire_filters(mutability)?)
            .image_scanning_configuration(scanning_configuration(settings.scan_on_push))
            .encryption_configuration(encryption)
            .set_tags(Some(wire_tags(settings.tags)?));
        create.send().await.map(drop).map_err(crate::explain)
    }

    /// Sets resource tags of a repository, by its ARN. One call.
    pub async fn tag_repository(
        &self,
        arn: &str,
        tags: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let tag = self.client.tag_resource().resource_arn(arn).set_tags(Some(wire_tags(tags)?));
        tag.send().await.map(drop).map_err(crate::explain)
    }

    /// Removes resource tags of a repository, by its ARN. One call.
    pub async fn untag_repository(&self, arn: &str, keys: &[String]) -> anyhow::Result<()> {
        let untag = self.client.untag_resource().resource_arn(arn);
        untag.set_tag_keys(Some(keys.to_vec())).send().await.map(drop).map_err(crate::explain)
    }

    /// Sets whether tags can move. One call.
    pub async fn set_mutability(
        &self,
        repository: &RepositoryName,
        mutability: &Mutability,
    ) -> anyhow::Result<()> {
        let put = self.client.put_image_tag_mutability().repository_name(repository.as_str());
        let put = put
            .image_tag_mutability(wire_mutability(mutability))
            .set_image_tag_mutability_exclusion_filters(wire_filters(mutability)?);
        put.send().await.map(drop).map_err(crate::explain)
    }

    /// Sets whether each push is scanned. One call.
    pub async fn set_scan_on_push(
        &self,
        repository: &RepositoryName,
        scan_on_push: bool,
    ) -> anyhow::Result<()> {
        let put = self.client.put_image_scanning_configuration();
        let put = put.repository_name(repository.as_str());
        let put = put.image_scanning_configuration(scanning_configuration(scan_on_push));
        put.send().await.map(drop).map_err(crate::explain)
    }

    /// Sets the policy of a repository. One call.
    pub async fn set_repository_policy(
        &self,
        repository: &RepositoryName,
        policy: &str,
    ) -> anyhow::Result<()> {
        let set = self.client.set_repository_policy().repository_name(repository.as_str());
        set.policy_text(policy).send().await.map(drop).map_err(crate::explain)
    }

    /// Deletes the policy of a repository. A repository without a policy is not an error. One call.
    pub async fn delete_repository_policy(
        &self,
        repository: &RepositoryName,
    ) -> anyhow::Result<()> {
        let delete = self.client.delete_repository_policy().repository_name(repository.as_str());
        crate::unless(delete.send().await, |error| {
            error.is_repository_policy_not_found_exception()
        })?;
        Ok(())
    }

    /// Puts the lifecycle policy of a repository. One call.
    pub async fn put_lifecycle_policy(
        &self,
        repository: &RepositoryName,
        policy: &str,
    ) -> anyhow::Result<()> {
        let put = self.client.put_lifecycle_policy().repository_name(repository.as_str());
        put.lifecycle_policy_text(policy).send().await.map(drop).map_err(crate::explain)
    }

    /// Deletes the lifecycle policy of a repository. A repository without one is not an error. One call.
    pub async fn delete_lifecycle_policy(&self, repository: &RepositoryName) -> anyhow::Result<()> {
        let delete = self.client.delete_lifecycle_policy().repository_name(repository.as_str());
        crate::unless(delete.send().await, |error| {
            error.is_lifecycle_policy_not_found_exception()
        })?;
        Ok(())
    }

    /// Deletes a repository. A repository that does not exist is not an error. One call.
    pub async fn delete_repository(
        &self,
        repository: &RepositoryName,
        with_images: bool,
    ) -> anyhow::Result<()> {
        let delete = self.client.delete_repository().repository_name(repository.as_str());
        crate::unless(delete.force(with_images).send().await, |error| {
            error.is_repository_not_found_exception()
        })?;
        Ok(())
    }
}

fn facts(repository: &WireRepository) -> anyhow::Result<RepositoryFacts> {
    let created_at = repository.created_at().map(aws_sdk_ecr::primitives::DateTime::secs);
    let name = repository.repository_name().unwrap_or_default();
    let created_at =
        created_at.with_context(|| format!("ECR does not say when {name} was created"))?;
    Ok(RepositoryFacts { created_at, mutability: mutability(repository) })
}

fn description(repository: WireRepository) -> anyhow::Result<RepositoryDescription> {
    let encryption = match repository.encryption_configuration() {
        Some(found) => Encryption {
            kind: found
                .encryption_type()
                .as_str()
                .parse()
                .map_err(|error| anyhow!("encryption: {error}"))?,
            key: found.kms_key().map(str::to_owned),
        },
        None => Encryption { kind: EncryptionType::Aes256, key: None },
    };
    Ok(RepositoryDescription {
        mutability: mutability(&repository),
        scan_on_push: repository
            .image_scanning_configuration()
            .is_some_and(|scanning| scanning.scan_on_push()),
        encryption,
        arn: repository.repository_arn.context("the repository has no ARN")?,
        uri: repository.repository_uri.context("the repository has no URI")?,
        registry_id: repository.registry_id.context("the repository has no registry")?,
    })
}

/// The tag mutability, if every filter is a wildcard: without one of its filters, a mutability says that
/// other tags can move.
fn mutability(repository: &WireRepository) -> Option<Mutability> {
    let filters = repository.image_tag_mutability_exclusion_filters().iter();
    let filters = filters.map(|filter| {
        let is_wildcard = *filter.filter_type() == ImageTagMutabilityExclusionFilterType::Wildcard;
        filter.filter().parse().ok().filter(|_| is_wildcard)
    });
    Some(Mutability {
        setting: repository.image_tag_mutability()?.as_str().parse().ok()?,
        exclusion_filters: filters.collect::<Option<BTreeSet<Wildcard>>>()?,
    })
}

fn scanning_configuration(scan_on_push: bool) -> ImageScanningConfiguration {
    ImageScanningConfiguration::builder().scan_on_push(scan_on_push).build()
}

fn wire_mutability(mutability: &Mutability) -> ImageTagMutability {
    ImageTagMutability::from(mutability.setting.to_string().as_str())
}

fn wire_filters(
    mutability: &Mutability,
) -> anyhow::Result<Option<Vec<ImageTagMutabilityExclusionFilter>>> {
    if mutability.exclusion_filters.is_empty() {
        return Ok(None);
    }
    let filters = mutability.exclusion_filters.iter().map(|filter| {
        ImageTagMutabilityExclusionFilter::builder()
            .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
            .filter(filter.as_str())
            .build()
    });
    Ok(Some(filters.collect::<Result<_, _>>()?))
}

fn wire_tags(tags: &BTreeMap<String, String>) -> anyhow::Result<Vec<Tag>> {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    Ok(tags.collect::<Result<_, _>>()?)
}
