//! Reads manifests. `BatchGetImage` counts as a pull: the call changes `lastRecordedPullTime`.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use aws_sdk_ecr::types::{Image as WireImage, ImageFailure, ImageFailureCode};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use warden_core::graph::{children, is_index};
use warden_core::image::{Digest, RepositoryName};

use super::{CONCURRENT_CALLS, Registry, VisibilityError, failure_reason, image_id};

/// The most images of one call.
const IDS_PER_CALL: usize = 100;

/// The media types of manifests that ECR supports
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html>).
const MEDIA_TYPES: [&str; 5] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
];

/// The media types of an index.
const INDEX_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A manifest, unchanged since its push.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The text.
    pub text: String,
    /// The media type, if ECR reports it.
    pub media_type: Option<String>,
}

impl Manifest {
    /// Whether the manifest is an index: an image for several platforms.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.media_type.as_deref().is_some_and(is_index)
    }
}

impl Registry {
    /// Reads the manifest of an image. None if the image is deleted or archived. One call.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> anyhow::Result<Option<Manifest>> {
        // ECR may convert a manifest of a type that is not accepted to another type.
        let accepted = MEDIA_TYPES.map(str::to_owned).to_vec();
        let get = self.client.batch_get_image().repository_name(repository.as_str());
        let get = get.image_ids(image_id(digest)).set_accepted_media_types(Some(accepted));
        let reading = || format!("reading the manifest of {repository}@{digest}");
        let output =
            crate::unless(get.send().await, |error| error.is_repository_not_found_exception());
        let Some(output) = output.with_context(reading)? else { return Ok(None) };
        if let Some(failure) = output.failures().first() {
            return match failure.failure_code() {
                // ECR returns ImageInaccessible for an archived image.
                Some(ImageFailureCode::ImageNotFound | ImageFailureCode::ImageInaccessible) => {
                    Ok(None)
                }
                _ => Err(anyhow::anyhow!("{}", failure_reason(failure))).with_context(reading),
            };
        }
        let Some(image) = output.images.into_iter().flatten().next() else { return Ok(None) };
        let text = image.image_manifest.with_context(reading)?;
        Ok(Some(Manifest { text, media_type: image.image_manifest_media_type }))
    }

    /// Reads the children of each index. An index that was deleted is left out. A call for each 100
    /// indexes. Returns a [`VisibilityError`] if an index cannot be read.
    ///
    /// See case P6 in `docs/contributing/prior-art.md`.
    pub(super) async fn index_children(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> anyhow::Result<HashMap<Digest, Vec<Digest>>> {
        let accepted = INDEX_MEDIA_TYPES.map(str::to_owned).to_vec();
        let (found, failures) = self.get_images(repository, digests, Some(accepted)).await?;
        let (gone, failures): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_not_found);
        if let Some(failure) = failures.first() {
            let digest = failure.image_id().and_then(|id| id.image_digest()).unwrap_or_default();
            let reason = failure_reason(failure);
            let error = format!("an index of {repository} cannot be read: {digest} {reason}");
            return Err(VisibilityError(error).into());
        }
        let mut indexes = HashMap::with_capacity(found.len());
        for image in found {
            let digest = image.image_id.and_then(|id| id.image_digest).unwrap_or_default();
            let manifest = image.image_manifest.unwrap_or_default();
            let read = children(&manifest).map_err(anyhow::Error::from).and_then(|children| {
                Ok((digest.parse::<Digest>()?, children.into_keys().collect()))
            });
            let (digest, children) = read.map_err(|error| {
                let error = format!("the index {digest} of {repository} cannot be read: {error}");
                VisibilityError(error)
            })?;
            indexes.insert(digest, children);
        }
        if indexes.len() + gone.len() < digests.len() {
            let error = format!("ECR did not return every index of {repository}");
            return Err(VisibilityError(error).into());
        }
        Ok(indexes)
    }

    /// Finds which of these images do not exist, according to ECR. A call for each 100 images.
    pub(super) async fn gone_images(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> anyhow::Result<HashSet<Digest>> {
        let (_, failures) = self.get_images(repository, digests, None).await?;
        let gone = failures.iter().filter(|failure| is_not_found(failure));
        Ok(gone.filter_map(|failure| failure.image_id()?.image_digest()?.parse().ok()).collect())
    }

    async fn get_images(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        accepted: Option<Vec<String>>,
    ) -> anyhow::Result<(Vec<WireImage>, Vec<ImageFailure>)> {
        let calls = digests.chunks(IDS_PER_CALL).map(|digests| {
            let get = self.client.batch_get_image().repository_name(repository.as_str());
            let get = get.set_image_ids(Some(digests.iter().map(image_id).collect()));
            let get = get.set_accepted_media_types(accepted.clone());
            async move { get.send().await.map_err(crate::explain) }
        });
        let outputs: Vec<_> = stream::iter(calls)
            .buffered(CONCURRENT_CALLS)
            .try_collect()
            .await
            .with_context(|| format!("reading manifests of {repository}"))?;
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for output in outputs {
            images.extend(output.images.unwrap_or_default());
            failures.extend(output.failures.unwrap_or_default());
        }
        Ok((images, failures))
    }
}

fn is_not_found(failure: &ImageFailure) -> bool {
    failure.failure_code() == Some(&ImageFailureCode::ImageNotFound)
}
