//! ECR, as far as a pushed image goes. What is gone already is no error anywhere.

use anyhow::Context as _;
use aws_config::SdkConfig;
use aws_sdk_ecr::types::{ImageFailureCode, ImageIdentifier, TargetStorageClass};
use warden_core::enforcement::Step;
use warden_core::graph::is_index;
use warden_core::image::{Digest, Image, RepositoryName, Tag};

/// What a manifest can be, by
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html>.
const MEDIA_TYPES: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its bytes.
    pub text: String,
    /// What it is.
    pub media_type: Option<String>,
}

impl Manifest {
    /// Whether it is an image for several platforms.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.media_type.as_deref().is_some_and(is_index)
    }
}

/// The ECR client.
#[derive(Debug)]
pub struct Registry {
    client: aws_sdk_ecr::Client,
}

impl Registry {
    /// A client of this configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: aws_sdk_ecr::Client::new(config) }
    }

    /// The image as it is now, if it is there.
    pub async fn image(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<Image>> {
        let found = warden_aws::registry::image(&self.client, repository, digest).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Image {
            digest: digest.clone(),
            tags: warden_aws::registry::tags(found.image_tags),
            media_type: found.image_manifest_media_type,
            status: warden_aws::registry::status(found.image_status.as_ref()),
        }))
    }

    /// Whether no tag of the repository can be moved, now.
    pub async fn is_immutable(&self, repository: &RepositoryName) -> anyhow::Result<bool> {
        warden_aws::registry::is_immutable(&self.client, repository).await
    }

    /// The manifest of an image that can be pulled; asking counts as a pull.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<Manifest>> {
        let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
        // All there are: of what is not accepted ECR may give another format.
        let types = MEDIA_TYPES.map(str::to_owned).to_vec();
        let get = self.client.batch_get_image().repository_name(repository.as_str()).image_ids(id);
        let get = get.set_accepted_media_types(Some(types));
        let reading = || format!("reading the manifest of {repository}@{digest}");
        let got =
            warden_aws::unless(get.send().await, |error| error.is_repository_not_found_exception());
        let Some(got) = got.with_context(reading)? else { return Ok(None) };
        if let Some(failure) = got.failures().first() {
            return match failure.failure_code() {
                // The second is what an image in the archive is.
                Some(ImageFailureCode::ImageNotFound | ImageFailureCode::ImageInaccessible) => {
                    Ok(None)
                }
                code => {
                    let code = code.map_or("it failed", |code| code.as_str());
                    let why = failure.failure_reason().unwrap_or_default();
                    Err(anyhow::anyhow!("{code}: {why}")).with_context(reading)
                }
            };
        }
        let Some(image) = got.images.into_iter().flatten().next() else { return Ok(None) };
        let text = image.image_manifest.with_context(reading)?;
        Ok(Some(Manifest { text, media_type: image.image_manifest_media_type }))
    }

    /// Carries out one step of a plan. Done before, it changes nothing. Gives another image, if
    /// it was that which lost the tag.
    pub async fn apply(
        &self,
        repository: &RepositoryName,
        image: &Image,
        manifest: Option<&Manifest>,
        step: &Step,
    ) -> anyhow::Result<Option<Digest>> {
        let digest = &image.digest;
        let client = &self.client;
        let move_to = |class| warden_aws::registry::move_to(client, repository, digest, class);
        let done = match step {
            Step::Add(tag) => self.add(repository, digest, manifest, tag).await.map(|()| None),
            Step::Remove(tag) => warden_aws::registry::untag(client, repository, digest, tag).await,
            Step::Archive => move_to(TargetStorageClass::Archive).await.map(|()| None),
            Step::Restore => move_to(TargetStorageClass::Standard).await.map(|()| None),
        };
        done.with_context(|| format!("{repository}@{digest}: {step}"))
    }

    async fn add(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        manifest: Option<&Manifest>,
        tag: &Tag,
    ) -> anyhow::Result<()> {
        let Manifest { text, media_type } =
            manifest.context("the image cannot be read any more")?;
        let put = self
            .client
            .put_image()
            .repository_name(repository.as_str())
            .image_tag(tag.as_str())
            .image_manifest(text)
            .set_image_manifest_media_type(media_type.clone())
            // So that what gets the tag is what was judged.
            .image_digest(digest.as_str());
        warden_aws::unless(put.send().await, |error| error.is_image_already_exists_exception())?;
        Ok(())
    }
}
