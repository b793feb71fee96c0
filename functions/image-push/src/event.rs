//! What EventBridge brings: `ECR Image Action`, as ECR really sends it
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>).

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warden_alerts::About;
use warden_aws::event::{Origin, origin, parsed, required, shown};
use warden_core::graph::is_index;
use warden_core::image::Tag;

const DETAIL_TYPE: &str = "ECR Image Action";

/// An image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePush {
    /// What, where to, and who says so.
    pub about: About,
    /// What it is called. None of a child of an index, or a signature.
    pub tag: Option<Tag>,
    /// The media type of its manifest. Older events had none.
    pub media_type: Option<String>,
}

impl ImagePush {
    /// Whether it is an image for several platforms. To know costs a call where the event
    /// does not say.
    #[must_use]
    pub fn may_be_index(&self) -> bool {
        self.media_type.as_deref().is_none_or(is_index)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    action_type: Option<String>,
    result: Option<String>,
    repository_name: Option<String>,
    image_digest: Option<String>,
    image_tag: Option<String>,
    manifest_media_type: Option<String>,
}

/// Reads an event; none of what is no successful push. The error names the field that cannot
/// be understood.
pub fn read(payload: &Value) -> anyhow::Result<Option<ImagePush>> {
    let event = warden_aws::event::read::<Detail>(payload)?;
    if event.detail_type != DETAIL_TYPE {
        bail!(
            "the event: detail-type: expected {DETAIL_TYPE}, got {:?}",
            shown(&event.detail_type)
        );
    }
    let detail = &event.detail;
    if detail.action_type.as_deref() != Some("PUSH") || detail.result.as_deref() != Some("SUCCESS")
    {
        return Ok(None);
    }
    // What is pushed without a tag comes with an empty one.
    let tag = detail.image_tag.as_ref().filter(|tag| !tag.is_empty());
    let repository = required("detail.repository-name", detail.repository_name.as_ref())?;
    let digest = required("detail.image-digest", detail.image_digest.as_ref())?;
    let Origin { account, region, source } = origin(&event)?;
    Ok(Some(ImagePush {
        about: About {
            account,
            region,
            repository: parsed("detail.repository-name", repository)?,
            digest: parsed("detail.image-digest", digest)?,
            source,
        },
        tag: tag.map(|tag| parsed("detail.image-tag", tag)).transpose()?,
        media_type: event.detail.manifest_media_type,
    }))
}
