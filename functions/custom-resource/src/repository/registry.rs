//! ECR, as far as a repository's settings go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_config::SdkConfig;
use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType as WireEncryption, ImageScanningConfiguration,
    ImageStatusFilter, ImageTagMutability, ImageTagMutabilityExclusionFilter,
    ImageTagMutabilityExclusionFilterType, LifecyclePolicyPreviewStatus, ListImagesFilter,
    Repository, Tag,
};
use tokio::time::{Instant, sleep};
use warden_core::image::{RepositoryName, Wildcard};
use warden_core::lifecycle::same_rules;
use warden_core::policy::TagMutability;

use super::properties::{Encryption, EncryptionType};
use super::reconcile::{Action, Impact, Observed, Standing};
use crate::arn::{OWNER_TAG, RepositoryArn};
use crate::stack::{code, once_permitted};

/// How long a lifecycle preview may take, and how often it is asked for.
const PREVIEW_TIME: Duration = Duration::from_secs(120);
const PREVIEW_PAUSE: Duration = Duration::from_secs(2);
/// What ECR says while it makes another preview of the repository.
const IN_PROGRESS: &str = "LifecyclePolicyPreviewInProgressException";
/// How many images of a preview an error names.
const EXAMPLES: i32 = 5;

/// The ECR client.
pub struct Registry {
    client: aws_sdk_ecr::Client,
}

impl Registry {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_ecr::Client::new(config) }
    }

    /// The repository as it is, or `None` if there is none.
    pub async fn observe(&self, arn: &RepositoryArn) -> anyhow::Result<Option<Observed>> {
        let name = arn.name.as_str();
        let described = self.client.describe_repositories().repository_names(name).send().await;
        let described =
            warden_aws::unless(described, |error| error.is_repository_not_found_exception());
        let described = described.with_context(|| format!("describing repository {name}"))?;
        let repository = described.and_then(|output| output.repositories?.into_iter().next());
        let Some(repository) = repository else {
            return Ok(None);
        };
        let (tags, empty, lifecycle, policy) = tokio::try_join!(
            self.tags(arn),
            self.empty(name),
            self.lifecycle(name),
            self.policy(name),
        )
        .with_context(|| format!("reading repository {name}"))?;
        Ok(Some(observed(repository, Standing { tags, empty }, lifecycle, policy)?))
    }

    /// What the repository's removal goes by, or `None` if there is none: no more is read, so
    /// that nothing else can stand in the way.
    pub async fn standing(&self, arn: &RepositoryArn) -> anyhow::Result<Option<Standing>> {
        let name = arn.name.as_str();
        match tokio::try_join!(self.tags(arn), self.empty(name)) {
            Ok((tags, empty)) => Ok(Some(Standing { tags, empty })),
            Err(error) if code(&error) == Some("RepositoryNotFoundException") => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading repository {name}")),
        }
    }

    async fn tags(&self, arn: &RepositoryArn) -> anyhow::Result<BTreeMap<String, String>> {
        let output =
            self.client.list_tags_for_resource().resource_arn(arn.to_string()).send().await;
        let tags = output
            .map_err(warden_aws::explain)
            .context("listing its tags")?
            .tags
            .unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    async fn lifecycle(&self, name: &str) -> anyhow::Result<Option<String>> {
        let got = self.client.get_lifecycle_policy().repository_name(name).send().await;
        let got = warden_aws::unless(got, |error| error.is_lifecycle_policy_not_found_exception());
        let got = got.context("getting its lifecycle policy")?;
        Ok(got.and_then(|output| output.lifecycle_policy_text))
    }

    async fn policy(&self, name: &str) -> anyhow::Result<Option<String>> {
        let got = self.client.get_repository_policy().repository_name(name).send().await;
        let got = warden_aws::unless(got, |error| error.is_repository_policy_not_found_exception());
        Ok(got.context("getting its policy")?.and_then(|output| output.policy_text))
    }

    async fn empty(&self, name: &str) -> anyhow::Result<bool> {
        // By default archived images are left out, and they are images too.
        let every = ListImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let listed = self
            .client
            .list_images()
            .repository_name(name)
            .filter(every)
            .max_results(1)
            .send()
            .await;
        let listed = listed.map_err(warden_aws::explain).context("listing its images")?;
        // A page may be empty and still have a next one.
        Ok(listed.image_ids().is_empty() && listed.next_token().is_none())
    }

    /// What the lifecycle policy `text` would expire in the repository now. ECR makes one
    /// preview of a repository at a time, so another's is waited for.
    pub async fn preview(&self, name: &RepositoryName, text: &str) -> anyhow::Result<Impact> {
        let until = Instant::now() + PREVIEW_TIME;
        let name = name.as_str();
        loop {
            match once_permitted(|| self.start_preview(name, text)).await {
                Ok(()) => break,
                Err(error) if code(&error) == Some(IN_PROGRESS) && Instant::now() < until => {}
                Err(error) => return Err(error).context("starting a lifecycle preview"),
            }
            sleep(PREVIEW_PAUSE).await;
        }
        loop {
            let got = self
                .client
                .get_lifecycle_policy_preview()
                .repository_name(name)
                .max_results(EXAMPLES);
            let preview = got
                .send()
                .await
                .map_err(warden_aws::explain)
                .context("getting the lifecycle preview")?;
            let status = preview.status().context("the lifecycle preview has no status")?;
            match status {
                LifecyclePolicyPreviewStatus::Complete => {
                    let answered = preview.lifecycle_policy_text().unwrap_or_default();
                    if !same_rules(answered, text) {
                        bail!("somebody else's lifecycle preview took the place of ours");
                    }
                    let summary =
                        preview.summary().context("the lifecycle preview has no summary")?;
                    let examples = preview.preview_results().iter().filter_map(|image| {
                        let tag = image.image_tags().first().map(String::as_str);
                        tag.or(image.image_digest()).map(str::to_owned)
                    });
                    let count = summary
                        .expiring_image_total_count()
                        .context("the lifecycle preview has no count")?;
                    return Ok(Impact {
                        count: u64::try_from(count)?,
                        examples: examples.collect(),
                    });
                }
                LifecyclePolicyPreviewStatus::InProgress if Instant::now() < until => {
                    sleep(PREVIEW_PAUSE).await;
                }
                other => bail!("the lifecycle preview ended as {other}"),
            }
        }
    }

    async fn start_preview(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let start = self.client.start_lifecycle_policy_preview().repository_name(name);
        start.lifecycle_policy_text(text).send().await.map(drop).map_err(warden_aws::explain)
    }

    /// Carries out one action: the only place that changes a repository.
    pub async fn apply(&self, arn: &RepositoryArn, action: &Action) -> anyhow::Result<()> {
        let name = arn.name.as_str();
        let client = &self.client;
        match action {
            Action::Create {
                mutability: (mutability, filters),
                scan_on_push,
                encryption,
                tags,
            } => {
                let encryption = EncryptionConfiguration::builder()
                    .encryption_type(WireEncryption::from(encryption.kind.to_string().as_str()))
                    .set_kms_key(encryption.key.clone())
                    .build()?;
                let scanning =
                    ImageScanningConfiguration::builder().scan_on_push(*scan_on_push).build();
                let create = client
                    .create_repository()
                    .repository_name(name)
                    .image_tag_mutability(wire(*mutability))
                    .set_image_tag_mutability_exclusion_filters(wire_filters(filters)?)
                    .image_scanning_configuration(scanning)
                    .encryption_configuration(encryption)
                    .set_tags(Some(wire_tags(tags)?));
                if let Err(error) = create.send().await {
                    let exists = error
                        .as_service_error()
                        .is_some_and(|e| e.is_repository_already_exists_exception());
                    // The answer to an attempt that succeeded may have been lost on the way.
                    if !exists || self.tags(arn).await?.get(OWNER_TAG) != tags.get(OWNER_TAG) {
                        return Err(warden_aws::explain(error));
                    }
                }
            }
            Action::Tag(tags) => {
                let tag = client.tag_resource().resource_arn(arn.to_string());
                tag.set_tags(Some(wire_tags(tags)?)).send().await.map_err(warden_aws::explain)?;
            }
            Action::Untag(keys) => {
                let untag = client.untag_resource().resource_arn(arn.to_string());
                untag.set_tag_keys(Some(keys.clone())).send().await.map_err(warden_aws::explain)?;
            }
            Action::SetMutability(mutability, filters) => {
                let put = client
                    .put_image_tag_mutability()
                    .repository_name(name)
                    .image_tag_mutability(wire(*mutability));
                put.set_image_tag_mutability_exclusion_filters(wire_filters(filters)?)
                    .send()
                    .await
                    .map_err(warden_aws::explain)?;
            }
            Action::SetScanOnPush(on) => {
                let scanning = ImageScanningConfiguration::builder().scan_on_push(*on).build();
                let put = client.put_image_scanning_configuration().repository_name(name);
                put.image_scanning_configuration(scanning)
                    .send()
                    .await
                    .map_err(warden_aws::explain)?;
            }
            Action::SetPolicy(text) => {
                let set = client.set_repository_policy().repository_name(name).policy_text(text);
                set.send().await.map_err(warden_aws::explain)?;
            }
            Action::DeletePolicy => {
                match client.delete_repository_policy().repository_name(name).send().await {
                    Err(error)
                        if !error
                            .as_service_error()
                            .is_some_and(|e| e.is_repository_policy_not_found_exception()) =>
                    {
                        return Err(warden_aws::explain(error));
                    }
                    _ => {}
                }
            }
            Action::PutLifecycle(text) => {
                let put =
                    client.put_lifecycle_policy().repository_name(name).lifecycle_policy_text(text);
                put.send().await.map_err(warden_aws::explain)?;
            }
            Action::Delete { with_images } => {
                let delete = client.delete_repository().repository_name(name).force(*with_images);
                match delete.send().await.map_err(warden_aws::explain) {
                    Err(error) if code(&error) != Some("RepositoryNotFoundException") => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn observed(
    repository: Repository,
    standing: Standing,
    lifecycle: Option<String>,
    policy: Option<String>,
) -> anyhow::Result<Observed> {
    let mutability =
        repository.image_tag_mutability().and_then(|mutability| mutability.as_str().parse().ok());
    let filters = repository.image_tag_mutability_exclusion_filters().iter();
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
    Ok(Observed {
        mutability,
        exclusion_filters: filters.filter_map(|filter| filter.filter().parse().ok()).collect(),
        scan_on_push: repository
            .image_scanning_configuration()
            .is_some_and(|scanning| scanning.scan_on_push()),
        encryption,
        arn: repository.repository_arn.context("the repository has no ARN")?,
        uri: repository.repository_uri.context("the repository has no URI")?,
        registry_id: repository.registry_id.context("the repository has no registry")?,
        standing,
        lifecycle,
        policy,
    })
}

fn wire(mutability: TagMutability) -> ImageTagMutability {
    ImageTagMutability::from(mutability.to_string().as_str())
}

fn wire_filters(
    filters: &[Wildcard],
) -> anyhow::Result<Option<Vec<ImageTagMutabilityExclusionFilter>>> {
    if filters.is_empty() {
        return Ok(None);
    }
    let filters = filters.iter().map(|filter| {
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
