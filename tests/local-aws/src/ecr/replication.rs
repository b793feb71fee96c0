//! The replication of a registry: its rules, and the changes that they carry to other registries.
//!
//! Validated against the service model (botocore 1.44.8) and
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>: an image is
//! replicated when it is pushed or restored, under the same name and digest and with the pushed
//! tag; a copy is not replicated again; archiving is not replicated; a copy restores an archived
//! image; an immutable tag of the destination stays where it is. Validated against
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-delete.html>: with
//! `deleteReplication`, deletions, expirations and removals of tags are replicated.
//!
//! Guesses: AWS takes up to half an hour, and here a change arrives with the next call. A deletion
//! of a repository is not replicated. An image that an index of the destination needs stays there.
//! A registry is refused as its own destination, by this error. A replicated image is scanned on
//! push. AWS documents no `ECR Image Action` for a copy, and users report none;
//! [`Registry::sends_push_events_of_copies`] sends one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::creation_template::Reason;
use super::image::{Image, Status};
use super::{Call, Error, Registry, Time, model, text};

/// An account and a region.
pub(crate) type Place = (String, String);

/// A change on its way to another registry.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub destination: Place,
    pub repository: String,
    change: Change,
    at: Time,
}

#[derive(Clone, Debug)]
enum Change {
    /// An image, after the images and the layers that it needs.
    Image { images: Vec<Image>, layers: Vec<Arc<Vec<u8>>>, tag: Option<String> },
    /// The removal of a tag, or of the image if there is no tag.
    Removal { digest: String, tag: Option<String> },
}

impl Registry {
    pub(super) fn describe_registry(&self) -> Value {
        json!({
            "registryId": self.account,
            "replicationConfiguration": {"rules": self.settings.replication},
        })
    }

    pub(super) fn put_replication(&mut self, input: &Value) -> Result<Value, Error> {
        let configuration = &input["replicationConfiguration"];
        let rules = configuration["rules"].as_array().cloned().unwrap_or_default();
        let is_own = |destination: &Value| {
            text(destination, "registryId") == self.account
                && text(destination, "region") == self.region
        };
        if rules.iter().flat_map(destinations).any(is_own) {
            let constraint = "Replication destination cannot be the same as the source registry";
            return Err(model::unsatisfied("replicationConfiguration", constraint));
        }
        self.settings.replication = rules;
        Ok(json!({"replicationConfiguration": configuration}))
    }

    /// The destinations of a repository, and whether removals are replicated to them.
    fn destinations_of(&self, repository: &str) -> BTreeMap<Place, bool> {
        let mut found = BTreeMap::new();
        for rule in &self.settings.replication {
            let filters = rule["repositoryFilters"].as_array();
            let matches = |filter: &Value| repository.starts_with(text(filter, "filter"));
            if !filters.is_none_or(|filters| filters.iter().any(matches)) {
                continue;
            }
            for destination in destinations(rule) {
                let place = (text(destination, "registryId"), text(destination, "region"));
                let place = (place.0.to_owned(), place.1.to_owned());
                *found.entry(place).or_default() |= rule["deleteReplication"]["enabled"] == true;
            }
        }
        found
    }

    /// Replicates an image that was pushed with this tag, or restored.
    pub(super) fn replicate_image(
        &mut self,
        repository: &str,
        digest: &str,
        tag: Option<&str>,
        at: Time,
    ) {
        let destinations = self.destinations_of(repository);
        let Some(from) = self.repositories.get(repository) else { return };
        if destinations.is_empty() {
            return;
        }
        let mut digests = vec![digest];
        let mut nth = 0;
        while let Some(image) = digests.get(nth).and_then(|digest| from.images.get(digest)) {
            digests.extend(image.manifest.children.iter().map(String::as_str));
            nth += 1;
        }
        let images: Vec<Image> =
            digests.iter().rev().filter_map(|digest| from.images.get(digest)).cloned().collect();
        let layers = images.iter().flat_map(|image| &image.manifest.blobs);
        let layers = layers.filter_map(|digest| from.layers.get(digest)).collect();
        let change = Change::Image { images, layers, tag: tag.map(str::to_owned) };
        self.send(destinations.into_keys(), repository, &change, at);
    }

    /// Replicates the removal of a tag, or of an image if there is no tag, where the rules say so.
    pub(super) fn replicate_removal(
        &mut self,
        repository: &str,
        digest: &str,
        tag: Option<&str>,
        at: Time,
    ) {
        let destinations = self.destinations_of(repository).into_iter();
        let destinations = destinations.filter_map(|(place, deletes)| deletes.then_some(place));
        let change = Change::Removal { digest: digest.to_owned(), tag: tag.map(str::to_owned) };
        self.send(destinations, repository, &change, at);
    }

    fn send(
        &mut self,
        destinations: impl Iterator<Item = Place>,
        repository: &str,
        change: &Change,
        at: Time,
    ) {
        self.outgoing.extend(destinations.map(|destination| Outgoing {
            destination,
            repository: repository.to_owned(),
            change: change.clone(),
            at,
        }));
    }

    /// Makes a change that another registry replicates.
    pub(crate) fn receive(&mut self, (account, region): &Place, outgoing: Outgoing) {
        let Outgoing { repository: name, change, at, .. } = outgoing;
        match change {
            Change::Image { images, layers, tag } => {
                let Some(digest) = images.last().map(|image| image.digest.clone()) else { return };
                self.copy(&name, images, &layers, tag.as_deref(), at);
                let arn = format!("arn:aws:ecr:{}:{}:repository/{name}", self.region, self.account);
                let detail = json!({
                    "result": "SUCCESS",
                    "repository-name": name,
                    "image-digest": digest,
                    "source-account": account,
                    "action-type": "REPLICATE",
                    "source-region": region,
                    "image-tag": tag.as_deref().unwrap_or_default(),
                });
                self.tell("ECR Replication Action", "aws.ecr", &[arn], detail, at);
                if self.sends_push_events_of_copies {
                    self.tell_of_push(&name, &digest, tag.as_deref(), at);
                }
            }
            Change::Removal { digest, tag } => {
                let images = self.repositories.get(&name).map(|repository| &repository.images);
                let tagged =
                    images.zip(tag.as_deref()).and_then(|(images, tag)| images.tagged(tag));
                let id = match &tag {
                    Some(tag) if tagged.is_some_and(|image| image.digest == digest) => {
                        json!({"imageTag": tag})
                    }
                    // Another image of the destination has the tag.
                    Some(_) => return,
                    None => json!({"imageDigest": digest}),
                };
                let input = json!({"repositoryName": name, "imageIds": [id]});
                let call =
                    Call { operation: "BatchDeleteImage", principal: None, now: at, endpoint: "" };
                // A repository or an image that is not here is removed already.
                let _ = self.delete_images(&call, &input);
            }
        }
        // A change is replicated once.
        self.outgoing.clear();
    }

    fn copy(
        &mut self,
        name: &str,
        images: Vec<Image>,
        layers: &[Arc<Vec<u8>>],
        tag: Option<&str>,
        at: Time,
    ) {
        self.create_if_missing(name, Reason::Replication, at);
        let Some(repository) = self.repositories.get_mut(name) else { return };
        for layer in layers {
            repository.layers.keep(layer.to_vec());
        }
        let Some(root) = images.last().map(|image| image.digest.clone()) else { return };
        let mut new = Vec::new();
        for image in images {
            if repository.images.get(&image.digest).is_none() {
                new.push(image.digest.clone());
                repository.images.insert(Image {
                    tags: std::collections::BTreeSet::new(),
                    pushed_at: at,
                    pulled_at: None,
                    status: Status::Active,
                    archived_at: None,
                    activated_at: None,
                    scan: None,
                    ..image
                });
            }
        }
        if let Some(tag) = tag {
            let holder = repository.images.tagged(tag);
            let is_taken = holder.is_some_and(|holder| holder.digest != root);
            if !(is_taken && repository.is_immutable(tag)) {
                repository.images.set_tag(tag, &root);
            }
        }
        self.restore(name, &root, at);
        for digest in new {
            self.scan_on_push(name, &digest, at);
        }
    }
}

fn destinations(rule: &Value) -> impl Iterator<Item = &Value> {
    rule["destinations"].as_array().into_iter().flatten()
}
