//! Images: put, shown, pulled, archived and removed.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/images.html>; the shapes are the
//! model's `ImageDetail`, `ImageIdentifier`, `ImageFailure` and `ImageReferrer`.

pub mod manifest;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::scan::Scan;
use super::{Call, DAY, Error, Registry, Repository, Time, error, model, present, text};
use manifest::Manifest;

/// How many tags an image and how many images a repository may have:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>.
const TAGS_AN_IMAGE: usize = 1_000;
const IMAGES_A_REPOSITORY: usize = 100_000;

/// How long an archived image takes to come back: some twenty minutes, by
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>.
const ACTIVATION: Time = 20.0 * 60.0;

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
    /// On its way back.
    Activating,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
            Self::Activating => "ACTIVATING",
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

    fn insert(&mut self, image: Image) {
        for child in &image.manifest.children {
            self.indexes.entry(child.clone()).or_default().insert(image.digest.clone());
        }
        self.by_digest.insert(image.digest.clone(), image);
    }

    /// Puts a tag on an image, off whichever had it before.
    fn set_tag(&mut self, tag: &str, digest: &str) {
        if let Some(before) = self.by_tag.insert(tag.to_owned(), digest.to_owned())
            && let Some(image) = self.by_digest.get_mut(&before)
        {
            image.tags.remove(tag);
        }
        if let Some(image) = self.by_digest.get_mut(digest) {
            image.tags.insert(tag.to_owned());
        }
    }

    /// Takes the image out, with all its tags.
    pub(super) fn remove(&mut self, digest: &str) -> Option<Image> {
        let image = self.by_digest.remove(digest)?;
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

/// A manifest on its way in.
pub(crate) struct Push<'a> {
    pub repository: &'a str,
    pub manifest: &'a str,
    pub media_type: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

impl Registry {
    pub(super) fn put_image(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        let manifest = text(input, "imageManifest");
        let push = Push {
            repository: text(input, "repositoryName"),
            manifest,
            media_type: input["imageManifestMediaType"].as_str(),
            tag: input["imageTag"].as_str(),
            digest: input["imageDigest"].as_str(),
        };
        let digest = self.push(&push, call.now)?;
        let media_type = self.named(input)?.images.get(&digest);
        let media_type = media_type.map(|image| image.manifest.media_type.clone());
        let image = json!({
            "imageId": present(json!({"imageDigest": digest, "imageTag": push.tag})),
            "imageManifest": manifest,
            "imageManifestMediaType": media_type,
        });
        Ok(json!({"image": self.about(input, image)}))
    }

    /// Takes a manifest and gives its digest, as `PutImage` and the registry's own protocol
    /// do: <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>.
    pub(crate) fn push(&mut self, push: &Push<'_>, now: Time) -> Result<String, Error> {
        let manifest = Manifest::read(push.manifest, push.media_type)?;
        let digest = manifest::digest(push.manifest.as_bytes());
        if push.digest.is_some_and(|given| given != digest) {
            let message = format!(
                "Image digest '{}' does not match the digest '{digest}' of its manifest",
                push.digest.unwrap_or_default()
            );
            return Err(error("ImageDigestDoesNotMatchException", message));
        }
        if push.tag.is_some_and(|tag| !manifest::is_tag(tag)) {
            let constraint = "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'";
            return Err(model::unsatisfied("imageTag", constraint));
        }
        let account = self.account.clone();
        let repository = self.repository(push.repository)?;
        let image = repository.admit(push, &manifest, &digest, &account)?;
        let fresh = image.is_none();
        if fresh {
            let size = repository.size(&manifest);
            repository.images.insert(Image {
                digest: digest.clone(),
                tags: BTreeSet::new(),
                manifest_text: push.manifest.to_owned(),
                manifest: Manifest { size, ..manifest },
                pushed_at: now,
                pulled_at: None,
                status: Status::Active,
                archived_at: None,
                activated_at: None,
                scan: None,
            });
        }
        if let Some(tag) = push.tag {
            repository.images.set_tag(tag, &digest);
        }
        self.tell_of_push(push.repository, &digest, push.tag, now);
        if fresh {
            self.scan_on_push(push.repository, &digest, now);
        } else {
            self.restore(push.repository, &digest, now);
        }
        Ok(digest)
    }

    /// A small image of one layer that nothing else has, pushed at that time with these
    /// tags, or without one.
    pub fn push_made_up(
        &mut self,
        repository: &str,
        tags: &[&str],
        at: Time,
    ) -> Result<String, Error> {
        let layer = self.unique().into_bytes();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [manifest::digest(&layer)]}});
        let config = config.to_string().into_bytes();
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": manifest::digest(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest::OCI_MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        })
        .to_string();
        let layers = &mut self.repository(repository)?.layers;
        layers.keep(config);
        layers.keep(layer);
        let mut push =
            Push { repository, manifest: &manifest, media_type: None, tag: None, digest: None };
        let (first, rest) = match tags.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, tags),
        };
        push.tag = first;
        let digest = self.push(&push, at)?;
        for tag in rest {
            push.tag = Some(tag);
            self.push(&push, at)?;
        }
        Ok(digest)
    }

    pub(super) fn get_images(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        let counts = self.records_pulls_by(call.principal);
        let account = self.account.clone();
        let repository = self.named(input)?;
        let accepted = input["acceptedMediaTypes"].as_array();
        let (images, failures) = batch(&input["imageIds"], |id| {
            let image = repository.images.find(id)?;
            // What a list without the image's own type does is not documented.
            if accepted
                .is_some_and(|types| !types.contains(&image.manifest.media_type.as_str().into()))
            {
                let reason =
                    format!("The image is {}, which is not accepted", image.manifest.media_type);
                return Err(("ImageNotFound", reason));
            }
            let digest = image.digest.clone();
            let image = repository.pull(&digest, counts, call.now).ok_or_else(|| {
                ("ImageInaccessible", "The image is in the archive; restore it first".to_owned())
            })?;
            Ok(vec![json!({
                "registryId": account,
                "repositoryName": input["repositoryName"],
                "imageId": present(json!({"imageDigest": digest, "imageTag": id["imageTag"]})),
                "imageManifest": image.manifest_text,
                "imageManifestMediaType": image.manifest.media_type,
            })])
        });
        Ok(json!({"images": images, "failures": failures}))
    }

    pub(super) fn delete_images(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        let name = text(input, "repositoryName").to_owned();
        let repository = self.named(input)?;
        let mut deleted = Vec::new();
        let (removed, failures) = batch(&input["imageIds"], |id| {
            let (ids, image) = repository.delete(id)?;
            deleted.extend(image.map(|image| (image, id["imageTag"].as_str().map(str::to_owned))));
            Ok(ids)
        });
        for (image, tag) in deleted {
            self.tell_of_delete(&name, &image.digest, tag.as_deref(), call.now);
        }
        Ok(json!({"imageIds": removed, "failures": failures}))
    }

    pub(super) fn update_storage_class(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let name = text(input, "repositoryName").to_owned();
        let image = self.named_image(input)?;
        let (digest, target) = (image.digest.clone(), text(input, "targetStorageClass"));
        match (target, image.status) {
            ("ARCHIVE", Status::Active) => {
                image.status = Status::Archived;
                image.archived_at = Some(call.now);
                self.tell_of_storage_class(&name, &digest, "ARCHIVE", call.now);
            }
            ("STANDARD", Status::Archived) => {
                image.status = Status::Activating;
                self.activating.push((name, digest.clone(), call.now + ACTIVATION));
            }
            // To ask for what is there already, or under way, is not documented.
            (_, status) => {
                let message = format!("The image is {}, and {target} was asked for", status.name());
                return Err(error("ImageStorageClassUpdateNotSupportedException", message));
            }
        }
        let status = self.named_image(input)?.status.name();
        let id = present(json!({"imageDigest": digest, "imageTag": input["imageId"]["imageTag"]}));
        Ok(self.about(input, json!({"imageId": id, "imageStatus": status})))
    }

    /// Ends the activations that are due.
    pub(crate) fn settle(&mut self, now: Time) {
        let due = self.activating.extract_if(.., |(_, _, ready)| *ready <= now);
        for (name, digest, ready) in due.collect::<Vec<_>>() {
            self.restore(&name, &digest, ready);
        }
    }

    /// Brings an image back from the archive, if it is there, as if it were pushed then: what
    /// was found in it before is gone, and it is scanned where a push would be.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/restore-image.html>
    fn restore(&mut self, name: &str, digest: &str, now: Time) {
        self.activating.retain(|(of, image, _)| of != name || image != digest);
        let images = self.repositories.get_mut(name).map(|it| &mut it.images);
        if let Some(image) = images.and_then(|images| images.get_mut(digest))
            && image.status != Status::Active
        {
            (image.status, image.activated_at) = (Status::Active, Some(now));
            image.scan = None;
            self.tell_of_storage_class(name, digest, "STANDARD", now);
            self.scan_on_push(name, digest, now);
        }
    }

    /// Whether pulls by a principal are recorded.
    pub(crate) fn records_pulls_by(&self, principal: Option<&str>) -> bool {
        principal.is_none_or(|it| !self.settings.pull_time_exclusions.contains(it))
    }

    /// The image that `imageId` names.
    pub(super) fn named_image(&mut self, input: &Value) -> Result<&mut Image, Error> {
        let (name, account) = (text(input, "repositoryName").to_owned(), self.account.clone());
        let images = &mut self.named(input)?.images;
        let digest = found(images, &input["imageId"], &name, &account)?.digest.clone();
        images.get_mut(&digest).ok_or_else(|| error("ImageNotFoundException", digest))
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

impl Repository {
    /// Refuses what may not come in; gives the image if its manifest is there already.
    fn admit(
        &self,
        push: &Push<'_>,
        manifest: &Manifest,
        digest: &str,
        account: &str,
    ) -> Result<Option<&Image>, Error> {
        let name = push.repository;
        let here = self.images.get(digest);
        // To push what is archived restores it.
        if let Some(image) = here
            && image.status == Status::Active
            && push.tag.is_none_or(|tag| image.tags.contains(tag))
        {
            let tag = push.tag.unwrap_or("null");
            let message = format!(
                "Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}' in registry with id '{account}'"
            );
            return Err(error("ImageAlreadyExistsException", message));
        }
        if let Some(tag) = push.tag
            && self.images.tagged(tag).is_some_and(|other| other.digest != digest)
            && self.is_immutable(tag)
        {
            let message = format!(
                "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
            );
            return Err(error("ImageTagAlreadyExistsException", message));
        }
        let is_full = |image: &Image| {
            image.tags.len() >= TAGS_AN_IMAGE
                && push.tag.is_some_and(|tag| !image.tags.contains(tag))
        };
        if here.is_some_and(is_full) || (here.is_none() && self.images.len() >= IMAGES_A_REPOSITORY)
        {
            let message = format!(
                "An image has at most {TAGS_AN_IMAGE} tags and a repository at most {IMAGES_A_REPOSITORY} images"
            );
            return Err(error("LimitExceededException", message));
        }
        let missing = |digests: &[String], is_there: &dyn Fn(&str) -> bool| {
            let missing = digests.iter().filter(|digest| !is_there(digest));
            missing.cloned().collect::<Vec<_>>().join(", ")
        };
        let layers = missing(&manifest.blobs, &|digest| self.layers.get(digest).is_some());
        if !layers.is_empty() {
            let message = format!(
                "Layers with digests '[{layers}]' required for pushing image into repository with name '{name}' in the registry with id '{account}' do not exist"
            );
            return Err(error("LayersNotFoundException", message));
        }
        let children = missing(&manifest.children, &|digest| self.images.get(digest).is_some());
        if !children.is_empty() {
            let message = format!(
                "Images with digests '[{children}]' required for pushing image into repository with name '{name}' in the registry with id '{account}' do not exist"
            );
            return Err(error("ReferencedImagesNotFoundException", message));
        }
        Ok(here)
    }

    /// The size of what a manifest stands for: its layers, or the largest of its children.
    fn size(&self, manifest: &Manifest) -> u64 {
        let children = manifest.children.iter().filter_map(|digest| self.images.get(digest));
        children.map(|child| child.manifest.size).max().unwrap_or(manifest.size)
    }

    /// The image of a pull, which is recorded when the last record is a day old; none if it
    /// is not in the standard class.
    pub(crate) fn pull(&mut self, digest: &str, counts: bool, now: Time) -> Option<&Image> {
        let image = self.images.get_mut(digest)?;
        if image.status != Status::Active {
            return None;
        }
        if counts && image.pulled_at.is_none_or(|last| now - last >= DAY) {
            image.pulled_at = Some(now);
        }
        Some(image)
    }

    /// Removes a tag, and the image with its last one; or the image, by its digest. Gives
    /// what was removed, and the image if it is gone.
    fn delete(&mut self, id: &Value) -> Result<(Vec<Value>, Option<Image>), Failure> {
        let image = self.images.find(id)?;
        let digest = image.digest.clone();
        let one = |tag: &str| json!({"imageDigest": digest, "imageTag": tag});
        // What a digest and a tag together delete is not documented: here everything, so
        // that nobody comes to rely on less.
        if let (None, Some(tag)) = (id["imageDigest"].as_str(), id["imageTag"].as_str())
            && image.tags.len() > 1
        {
            let removed = vec![one(tag)];
            self.images.by_tag.remove(tag);
            if let Some(image) = self.images.get_mut(&digest) {
                image.tags.remove(tag);
            }
            return Ok((removed, None));
        }
        if let Some(indexes) = self.images.indexes_of(&digest) {
            let indexes = indexes.iter().cloned().collect::<Vec<_>>().join(", ");
            let reason = format!("Requested image referenced by manifest list: [{indexes}]");
            return Err(("ImageReferencedByManifestList", reason));
        }
        let image = self.images.remove(&digest);
        let tags = image.iter().flat_map(|image| &image.tags);
        let mut removed: Vec<Value> = tags.map(|tag| one(tag)).collect();
        if removed.is_empty() {
            removed.push(json!({"imageDigest": digest}));
        }
        Ok((removed, image))
    }
}
