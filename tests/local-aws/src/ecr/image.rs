//! Images: what they are and how one is named. `push` takes them in, `show` lists them,
//! `change` says what becomes of them: pulled, archived, restored, removed.
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

/// An image, an index of images, or what refers to one.
#[derive(Clone, Debug)]
pub struct Image {
    /// `sha256:…`, of the manifest.
    pub digest: String,
    /// What it is called now.
    pub tags: BTreeSet<String>,
    /// The manifest's text, as it was pushed.
    pub manifest_text: String,
    /// What the manifest says.
    pub manifest: Manifest,
    /// When the manifest first came: another tag does not renew it.
    pub pushed_at: Time,
    /// When a pull was last recorded.
    pub pulled_at: Option<Time>,
    /// Its storage class.
    pub status: Status,
    /// When it last went to the archive.
    pub archived_at: Option<Time>,
    /// When it last came back.
    pub activated_at: Option<Time>,
    /// Its last scan.
    pub scan: Option<Scan>,
}

/// Where an image is, as `imageStatus` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// In the standard class.
    Active,
    /// In the archive: it cannot be pulled.
    Archived,
    /// On its way back, until then.
    Activating(Time),
}

impl Status {
    /// As `imageStatus` has it.
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
    /// The indexes that a digest stands in.
    indexes: BTreeMap<String, BTreeSet<String>>,
    /// The digests that were here and are not any more.
    gone: BTreeSet<String>,
}

impl Images {
    /// Whether there are none, archived ones included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// How many there are, archived ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// The image with this digest.
    #[must_use]
    pub fn get(&self, digest: &str) -> Option<&Image> {
        self.by_digest.get(digest)
    }

    /// The same, to be changed; not its digest or its tags.
    pub fn get_mut(&mut self, digest: &str) -> Option<&mut Image> {
        self.by_digest.get_mut(digest)
    }

    /// The image that a tag is on.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<&Image> {
        self.by_digest.get(self.by_tag.get(tag)?)
    }

    /// All of them, by digest.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.by_digest.values()
    }

    /// The indexes that an image stands in.
    #[must_use]
    pub fn indexes_of(&self, digest: &str) -> Option<&BTreeSet<String>> {
        self.indexes.get(digest)
    }

    /// Whether an image with this digest was here, and is not any more.
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

    /// Puts a tag on an image, off whichever had it before.
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

    /// Removes a tag of an image, or the image as if it had never been here.
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

    /// Takes the image out, with all its tags.
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

    /// The image of an `ImageIdentifier`, or the failure that a batch has for it.
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

/// What a batch says of an image that it could not serve: a code of the model's
/// `ImageFailureCode`, and a reason.
pub(super) type Failure = (&'static str, String);

fn failure(id: &Value, (code, reason): Failure) -> Value {
    json!({"imageId": id, "failureCode": code, "failureReason": reason})
}

/// Gathers what a batch could serve, and what it could not.
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
    /// Whether pulls by a principal are recorded.
    pub(crate) fn records_pulls_by(&self, principal: Option<&str>) -> bool {
        principal.is_none_or(|it| !self.settings.pull_time_exclusions.contains(it))
    }

    /// An image, to be changed: not its digest or its tags.
    ///
    /// Its times and its size (that of its manifest) are whatever they are set to, and so is
    /// its class, of which nobody is told; [`Status::Activating`] ends by itself only where
    /// `UpdateImageStorageClass` began it.
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

/// The image of an identifier, for the operations that fail as a whole.
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
