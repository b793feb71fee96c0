//! The events that ECR sends to EventBridge:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>. The
//! `ECR Referrer Action`, the `ECR Scan Resource Change` of enhanced scanning and the events of
//! pull-through caches are not sent.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Value, json};

use super::{Registry, Time, present};

impl Registry {
    /// Sends the event of a push. The event of a push without a tag has an empty tag, as users of AWS
    /// observe.
    pub(super) fn tell_of_push(
        &mut self,
        repository: &str,
        digest: &str,
        tag: Option<&str>,
        now: Time,
    ) {
        let image =
            self.repositories.get(repository).and_then(|repository| repository.images.get(digest));
        let manifest = image.map(|image| &image.manifest);
        let detail = json!({
            "result": "SUCCESS",
            "repository-name": repository,
            "image-digest": digest,
            "action-type": "PUSH",
            "image-tag": tag.unwrap_or_default(),
            "manifest-media-type": manifest.map(|manifest| &manifest.media_type),
            "artifact-media-type": manifest.and_then(|manifest| manifest.artifact_type.as_ref()),
        });
        self.tell("ECR Image Action", "aws.ecr", &[], detail, now);
    }

    pub(super) fn tell_of_delete(
        &mut self,
        repository: &str,
        digest: &str,
        tag: Option<&str>,
        now: Time,
    ) {
        let detail = json!({
            "result": "SUCCESS",
            "repository-name": repository,
            "image-digest": digest,
            "action-type": "DELETE",
            "image-tag": tag.unwrap_or_default(),
        });
        self.tell("ECR Image Action", "aws.ecr", &[], detail, now);
    }

    pub(super) fn tell_of_storage_class(
        &mut self,
        repository: &str,
        digest: &str,
        target: &str,
        now: Time,
    ) {
        let detail = json!({
            "result": "SUCCESS",
            "repository-name": repository,
            "image-digest": digest,
            "action-type": "UPDATE_STORAGE_CLASS",
            "target-storage-class": target,
        });
        self.tell("ECR Image Action", "aws.ecr", &[], detail, now);
    }

    /// Sends an event in the envelope of EventBridge.
    pub(super) fn tell(
        &mut self,
        detail_type: &str,
        source: &str,
        resources: &[String],
        detail: Value,
        now: Time,
    ) {
        let event = json!({
            "version": "0",
            "id": self.unique(),
            "detail-type": detail_type,
            "source": source,
            "account": self.account,
            "time": timestamp(now),
            "region": self.region,
            "resources": resources,
            "detail": present(detail),
        });
        self.events.push(event);
    }
}

/// A time in the envelope, which has no fractions of a second.
pub(crate) fn timestamp(now: Time) -> String {
    DateTime::from_secs_f64(now.floor()).fmt(Format::DateTime).unwrap_or_default()
}
