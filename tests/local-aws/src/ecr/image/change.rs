//! Pulls, archives, restores and removes images.

use serde_json::{Value, json};

use super::{Failure, Image, Status, batch};
use crate::ecr::{Call, DAY, Error, Registry, Repository, Time, error, present, text};

/// The time that the restore of an archived image takes, unless [`Registry::restore_time`] is set: about
/// twenty minutes, by
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>.
const RESTORE_TIME: Time = 20.0 * 60.0;

impl Registry {
    pub(in crate::ecr) fn get_images(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let counts = self.records_pulls_by(call.principal);
        let account = self.account.clone();
        let repository = self.named(input)?;
        let accepted = input["acceptedMediaTypes"].as_array();
        let (images, failures) = batch(&input["imageIds"], |id| {
            let image = repository.images.find(id)?;
            // Guess: AWS does not document a list without the type of the image.
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

    pub(in crate::ecr) fn delete_images(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let name = text(input, "repositoryName").to_owned();
        let repository = self.named(input)?;
        let (mut deleted, mut untagged) = (Vec::new(), Vec::new());
        let (removed, failures) = batch(&input["imageIds"], |id| {
            let (ids, image) = repository.delete(id)?;
            if image.is_none() {
                untagged.extend(ids.clone());
            }
            deleted.extend(image.map(|image| (image, id["imageTag"].as_str().map(str::to_owned))));
            Ok(ids)
        });
        for id in untagged {
            let (digest, tag) = (text(&id, "imageDigest"), id["imageTag"].as_str());
            self.replicate_removal(&name, digest, tag, call.now);
        }
        for (image, tag) in deleted {
            self.tell_of_delete(&name, &image.digest, tag.as_deref(), call.now);
            self.replicate_removal(&name, &image.digest, None, call.now);
        }
        Ok(json!({"imageIds": removed, "failures": failures}))
    }

    pub(in crate::ecr) fn update_storage_class(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let name = text(input, "repositoryName").to_owned();
        if self.refuses_children_of_active_indexes && text(input, "targetStorageClass") == "ARCHIVE"
        {
            self.check_not_needed(input)?;
        }
        let restore_time = self.restore_time.unwrap_or(RESTORE_TIME);
        let image = self.named_image(input)?;
        let (digest, target) = (image.digest.clone(), text(input, "targetStorageClass"));
        match (target, image.status) {
            ("ARCHIVE", Status::Active) => {
                image.status = Status::Archived;
                image.archived_at = Some(call.now);
                self.tell_of_storage_class(&name, &digest, "ARCHIVE", call.now);
            }
            ("STANDARD", Status::Archived) => {
                let ready = call.now + restore_time;
                image.status = Status::Activating(ready);
                self.activating.push((name, digest.clone(), ready));
            }
            // Guess: AWS does not document a request for the current or the coming storage class.
            (_, status) => {
                let message = format!("The image is {}, and {target} was asked for", status.name());
                return Err(error("ImageStorageClassUpdateNotSupportedException", message));
            }
        }
        let status = self.named_image(input)?.status.name();
        let id = present(json!({"imageDigest": digest, "imageTag": input["imageId"]["imageTag"]}));
        Ok(self.about(input, json!({"imageId": id, "imageStatus": status})))
    }

    /// Refuses to archive an image of an index that is active.
    fn check_not_needed(&mut self, input: &Value) -> Result<(), Error> {
        let digest = self.named_image(input)?.digest.clone();
        let images = &self.named(input)?.images;
        let is_active =
            |index: &String| images.get(index).is_some_and(|index| index.status == Status::Active);
        let mut indexes = images.indexes_of(&digest).into_iter().flatten();
        match indexes.find(|index| is_active(index)) {
            None => Ok(()),
            Some(index) => {
                let message = format!("The image is referenced by the manifest list {index}");
                Err(error("ImageStorageClassUpdateNotSupportedException", message))
            }
        }
    }

    /// Completes the restores whose time is over.
    pub(crate) fn settle(&mut self, now: Time) {
        let due = self.activating.extract_if(.., |(_, _, ready)| *ready <= now);
        for (name, digest, ready) in due.collect::<Vec<_>>() {
            // The image may have been removed or archived again meanwhile.
            let repository = self.repositories.get(&name);
            let image = repository.and_then(|repository| repository.images.get(&digest));
            if image.is_some_and(|image| image.status == Status::Activating(ready)) {
                self.restore(&name, &digest, ready);
            }
        }
    }

    /// Restores an image from the archive, if it is there. A restored image is like a pushed one: it
    /// loses its findings, and it is scanned where a push is scanned.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/restore-image.html>
    pub(in crate::ecr) fn restore(&mut self, name: &str, digest: &str, now: Time) {
        let images = self.repositories.get_mut(name).map(|repository| &mut repository.images);
        if let Some(image) = images.and_then(|images| images.get_mut(digest))
            && image.status != Status::Active
        {
            (image.status, image.activated_at) = (Status::Active, Some(now));
            image.scan = None;
            let tags = image.tags.clone();
            self.tell_of_storage_class(name, digest, "STANDARD", now);
            self.scan_on_push(name, digest, now);
            for tag in &tags {
                self.replicate_image(name, digest, Some(tag), now);
            }
            if tags.is_empty() {
                self.replicate_image(name, digest, None, now);
            }
        }
    }
}

impl Repository {
    /// The image of a pull. None if the image is not in the standard storage class. ECR records a pull
    /// when the last recorded pull is at least a day old.
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

    /// Removes a tag, and the image if the tag was its last one; or the image with this digest. Returns
    /// the removed identifiers, and the image if it was removed.
    fn delete(&mut self, id: &Value) -> Result<(Vec<Value>, Option<Image>), Failure> {
        let image = self.images.find(id)?;
        let digest = image.digest.clone();
        let one = |tag: &str| json!({"imageDigest": digest, "imageTag": tag});
        // Guess: AWS does not document the effect of a digest together with a tag. Here the image is
        // deleted, so that no function relies on a smaller effect.
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
