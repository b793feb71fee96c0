//! Images and their identifiers. `push` stores images, `show` lists images, and `change` pulls,
//! archives, restores and removes images.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/images.html>; the shapes are the
//! model's `ImageDetail`, `ImageIdentifier`, `ImageFailure` and `ImageReferrer`.

mod change;
pub mod manifest;
mod push;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::scan::Scan;
use super::{Error, Registry, Time, error, text};
use manifest::Manifest;
pub(crate) use push::Push;

/// An image, an index of images, or a referrer of an image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the manifest: `sha256:…`.
    pub digest: String,
    /// The current tags.
    pub tags: BTreeSet<String>,
    /// The pushed text of the manifest.
    pub manifest_text: String,
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The time of the first push. A push of another tag does not change it.
    pub pushed_at: Time,
    /// The time of the last recorded pull.
    pub pulled_at: Option<Time>,
    /// The storage class.
    pub status: Status,
    /// The time at which the image was last archived.
    pub archived_at: Option<Time>,
    /// The time at which the image was last restored.
    pub activated_at: Option<Time>,
    /// The last scan.
    pub scan: Option<Scan>,
}

/// The `imageStatus` of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// In the standard storage class.
    Active,
    /// In the archive, from where it cannot be pulled.
    Archived,
    /// Being restored until this time.
    Activating(Time),
}

impl Status {
    /// The value of `imageStatus`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
            Self::Activating(_) => "ACTIVATING",
        }
    }
}

/// The images of a repository.
#[derive(Clone, Debug, Default)]
pub struct Images {
    by_digest: BTreeMap<String, Image>,
    by_tag: BTreeMap<String, String>,
    /// The indexes that contain a digest.
    indexes: BTreeMap<String, BTreeSet<String>>,
    /// The digests of removed images.
    gone: BTreeSet<String>,
}

impl Images {
    /// Whether there are no images, active or archived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// The number of images, active and archived.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// The image with this digest.
    #[must_use]
    pub fn get(&self, digest: &str) -> Option<&Image> {
        self.by_digest.get(digest)
    }

    /// The image with this digest, for a change of anything except its digest and its tags.
    pub fn get_mut(&mut self, digest: &str) -> Option<&mut Image> {
        self.by_digest.get_mut(digest)
    }

    /// The image that has a tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<&Image> {
        self.by_digest.get(self.by_tag.get(tag)?)
    }

    /// All images, by digest.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.by_digest.values()
    }

    /// The indexes that contain an image.
    #[must_use]
    pub fn indexes_of(&self, digest: &str) -> Option<&BTreeSet<String>> {
        self.indexes.get(digest)
    }

    /// Whether an image with this digest was removed.
    #[must_use]
    pub fn has_gone(&self, digest: &str) -> bool {
        self.gone.contains(digest)
    }

    pub(super) fn insert(&mut self, image: Image) {
        self.gone.remove(&image.digest);
        for child in &image.manifest.children {
            self.indexes.entry(child.clone()).or_default().insert(image.digest.clone());
        }
        self.by_digest.insert(image.digest.clone(), image);
    }

    /// Moves a tag to an image.
    pub(super) fn set_tag(&mut self, tag: &str, digest: &str) {
        if let Some(before) = self.by_tag.insert(tag.to_owned(), digest.to_owned())
            && let Some(image) = self.by_digest.get_mut(&before)
        {
            image.tags.remove(tag);
        }
        if let Some(image) = self.by_digest.get_mut(digest) {
            image.tags.insert(tag.to_owned());
        }
    }

    /// Removes a tag of an image, or the image as if it had never existed.
    pub(super) fn hide(&mut self, digest: &str, tag: Option<&str>, is_new_image: bool) {
        if is_new_image {
            self.remove(digest);
            self.gone.remove(digest);
        } else if let Some(tag) = tag
            && let Some(image) = self.by_digest.get_mut(digest)
            && image.tags.remove(tag)
        {
            self.by_tag.remove(tag);
        }
    }

    /// Removes the image with all its tags.
    pub(super) fn remove(&mut self, digest: &str) -> Option<Image> {
        let image = self.by_digest.remove(digest)?;
        self.gone.insert(digest.to_owned());
        for tag in &image.tags {
            self.by_tag.remove(tag);
        }
        for child in &image.manifest.children {
            if let Some(indexes) = self.indexes.get_mut(child) {
                indexes.remove(digest);
                if indexes.is_empty() {
                    self.indexes.remove(child);
                }
            }
        }
        Some(image)
    }

    /// The image of an `ImageIdentifier`, or its failure in a batch.
    pub(super) fn find(&self, id: &Value) -> Result<&Image, Failure> {
        let (digest, tag) = (id["imageDigest"].as_str(), id["imageTag"].as_str());
        if digest.is_none() && tag.is_none() {
            return Err((
                "MissingDigestAndTag",
                "Invalid request parameters: both tag and digest cannot be null".to_owned(),
            ));
        }
        if digest.is_some_and(|digest| !manifest::looks_like_digest(digest)) {
            let reason = "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
            return Err(("InvalidImageDigest", reason.to_owned()));
        }
        if tag.is_some_and(|tag| !manifest::is_tag(tag)) {
            let reason = "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'";
            return Err(("InvalidImageTag", reason.to_owned()));
        }
        let not_found = || ("ImageNotFound", "Requested image not found".to_owned());
        match (digest, tag) {
            (Some(digest), None) => self.get(digest).ok_or_else(not_found),
            (None, Some(tag)) => self.tagged(tag).ok_or_else(not_found),
            _ => {
                let image = digest.and_then(|digest| self.get(digest)).ok_or_else(not_found)?;
                if tag.is_some_and(|tag| image.tags.contains(tag)) {
                    return Ok(image);
                }
                let reason = format!(
                    "Tag '{}' does not match digest '{}'",
                    tag.unwrap_or_default(),
                    image.digest
                );
                Err(("ImageTagDoesNotMatchDigest", reason))
            }
        }
    }
}

/// The failure of an image in a batch: a code of the model's `ImageFailureCode`, and a reason.
pub(super) type Failure = (&'static str, String);

fn failure(id: &Value, (code, reason): Failure) -> Value {
    json!({"imageId": id, "failureCode": code, "failureReason": reason})
}

/// Collects the results and the failures of a batch.
fn batch<T>(
    ids: &Value,
    mut each: impl FnMut(&Value) -> Result<Vec<T>, Failure>,
) -> (Vec<T>, Vec<Value>) {
    let (mut served, mut failures) = (Vec::new(), Vec::new());
    for id in ids.as_array().into_iter().flatten() {
        match each(id) {
            Ok(more) => served.extend(more),
            Err(reason) => failures.push(failure(id, reason)),
        }
    }
    (served, failures)
}

impl Registry {
    /// Whether ECR records the pulls of a principal.
    pub(crate) fn records_pulls_by(&self, principal: Option<&str>) -> bool {
        principal.is_none_or(|arn| !self.settings.pull_time_exclusions.contains(arn))
    }

    /// An image, for a change of anything except its digest and its tags.
    ///
    /// A test may set its times, its size (that of its manifest) and its storage class. No event is
    /// sent, and [`Status::Activating`] ends only where `UpdateImageStorageClass` began it.
    pub fn image(&mut self, repository: &str, digest: &str) -> Result<&mut Image, Error> {
        let image = self.repository(repository)?.images.get_mut(digest);
        image.ok_or_else(|| error("ImageNotFoundException", digest))
    }

    /// The image that `imageId` names.
    pub(super) fn named_image(&mut self, input: &Value) -> Result<&mut Image, Error> {
        let (name, account) = (text(input, "repositoryName").to_owned(), self.account.clone());
        let images = &self.named(input)?.images;
        let digest = found(images, &input["imageId"], &name, &account)?.digest.clone();
        self.image(&name, &digest)
    }
}

/// The image of an identifier. The error fails the whole operation.
pub(super) fn found<'i>(
    images: &'i Images,
    id: &Value,
    repository: &str,
    account: &str,
) -> Result<&'i Image, Error> {
    images.find(id).map_err(|(code, reason)| match code {
        "ImageNotFound" | "ImageTagDoesNotMatchDigest" => {
            let part = |field: &str| id[field].as_str().map_or("null".to_owned(), str::to_owned);
            let message = format!(
                "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with name '{repository}' in the registry with id '{account}'",
                part("imageDigest"),
                part("imageTag")
            );
            error("ImageNotFoundException", message)
        }
        _ => error("InvalidParameterException", reason),
    })
}
