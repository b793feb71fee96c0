//! Pushes: `PutImage`, the push by the protocol of registries, and the images that tests invent.
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifest::{self, Manifest};
use super::{Image, Status};
use crate::ecr::lag::RecentPush;
use crate::ecr::{Call, Error, Registry, Repository, Time, error, model, present, text};

/// The maximum numbers of tags of an image and of images in a repository:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>.
const TAGS_AN_IMAGE: usize = 1_000;
const IMAGES_A_REPOSITORY: usize = 100_000;

/// A pushed manifest.
pub(crate) struct Push<'a> {
    pub repository: &'a str,
    pub manifest: &'a str,
    pub media_type: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

impl Registry {
    pub(in crate::ecr) fn put_image(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
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

    /// Stores a manifest and returns its digest, for `PutImage` and the protocol of registries: <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html>.
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
        self.note_push(RecentPush {
            repository: push.repository.to_owned(),
            digest: digest.clone(),
            tag: push.tag.map(str::to_owned),
            is_new_image: fresh,
            at: now,
        });
        self.tell_of_push(push.repository, &digest, push.tag, now);
        if fresh {
            self.scan_on_push(push.repository, &digest, now);
        } else {
            self.restore(push.repository, &digest, now);
        }
        self.replicate_image(push.repository, &digest, push.tag, now);
        Ok(digest)
    }

    /// Pushes a small image with a unique layer at this time, with these tags or without a tag.
    ///
    /// A test sets the size, the last pull and the storage class of an image afterwards, by
    /// [`Registry::image`]. The same holds for the images of the following functions.
    pub fn push_made_up(
        &mut self,
        repository: &str,
        tags: &[&str],
        at: Time,
    ) -> Result<String, Error> {
        let layer = self.unique().into_bytes();
        let layer = self.blob(repository, "application/vnd.oci.image.layer.v1.tar+gzip", layer)?;
        self.push_layer(repository, &layer, tags, at)
    }

    /// Pushes an index of these images, which must exist, with these tags or without a tag. Another
    /// index of the same images has another digest.
    pub fn push_index(
        &mut self,
        repository: &str,
        children: &[impl AsRef<str>],
        tags: &[&str],
        at: Time,
    ) -> Result<String, Error> {
        let unique = self.unique();
        let images = &self.repository(repository)?.images;
        let described = |child: &dyn AsRef<str>| {
            let digest = child.as_ref();
            let size = images.get(digest).map_or(0, |image| image.manifest_text.len());
            json!({
                "mediaType": manifest::OCI_MANIFEST,
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": "amd64"},
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest::OCI_INDEX,
            "manifests": children.iter().map(|child| described(child)).collect::<Vec<_>>(),
            "annotations": {"org.opencontainers.image.revision": unique},
        });
        self.push_tagged(repository, &manifest, tags, at)
    }

    /// Pushes a referrer, whose manifest names the digest of its subject: for example, a signature of
    /// the OCI specification 1.1 or a bill of materials. The subject need not exist.
    pub fn push_referrer(
        &mut self,
        repository: &str,
        subject: &str,
        artifact_type: &str,
        at: Time,
    ) -> Result<String, Error> {
        let unique = self.unique();
        let empty = self.blob(repository, "application/vnd.oci.empty.v1+json", b"{}".to_vec())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest::OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": empty,
            "layers": [empty],
            "subject": {"mediaType": manifest::OCI_MANIFEST, "digest": subject, "size": 1},
            "annotations": {"org.opencontainers.image.revision": unique},
        });
        self.push_tagged(repository, &manifest, &[], at)
    }

    /// Pushes an image that cosign attaches to another image by its tag, which is `sha256-<hex>` and
    /// this suffix: `.sig`, `.att` or `.sbom`. The other image need not exist.
    pub fn push_attached(
        &mut self,
        repository: &str,
        subject: &str,
        suffix: &str,
        at: Time,
    ) -> Result<String, Error> {
        let payload = self.unique().into_bytes();
        let signing = "application/vnd.dev.cosign.simplesigning.v1+json";
        let payload = self.blob(repository, signing, payload)?;
        let tag = format!("{}{suffix}", subject.replacen(':', "-", 1));
        self.push_layer(repository, &payload, &[&tag], at)
    }

    /// Pushes an image with this layer.
    fn push_layer(
        &mut self,
        repository: &str,
        layer: &Value,
        tags: &[&str],
        at: Time,
    ) -> Result<String, Error> {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
        let config = config.to_string().into_bytes();
        let config = self.blob(repository, "application/vnd.oci.image.config.v1+json", config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest::OCI_MANIFEST,
            "config": config,
            "layers": [layer],
        });
        self.push_tagged(repository, &manifest, tags, at)
    }

    /// Stores a layer or a configuration and returns its descriptor.
    fn blob(&mut self, repository: &str, media_type: &str, bytes: Vec<u8>) -> Result<Value, Error> {
        let size = bytes.len();
        let digest = self.repository(repository)?.layers.keep(bytes);
        Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
    }

    /// Pushes a manifest once for each tag, or once without a tag.
    fn push_tagged(
        &mut self,
        repository: &str,
        manifest: &Value,
        tags: &[&str],
        at: Time,
    ) -> Result<String, Error> {
        let manifest = &manifest.to_string();
        let push = |tag| Push { repository, manifest, media_type: None, tag, digest: None };
        let (first, rest) = match tags.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, tags),
        };
        let digest = self.push(&push(first), at)?;
        for tag in rest {
            self.push(&push(Some(tag)), at)?;
        }
        Ok(digest)
    }
}

impl Repository {
    /// Checks a push. Returns the image if the repository already has its manifest.
    fn admit(
        &self,
        push: &Push<'_>,
        manifest: &Manifest,
        digest: &str,
        account: &str,
    ) -> Result<Option<&Image>, Error> {
        let name = push.repository;
        let here = self.images.get(digest);
        // The push of an archived image restores the image.
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

    /// The size of the image of a manifest: of its layers, or of its largest child.
    fn size(&self, manifest: &Manifest) -> u64 {
        let children = manifest.children.iter().filter_map(|digest| self.images.get(digest));
        children.map(|child| child.manifest.size).max().unwrap_or(manifest.size)
    }
}
