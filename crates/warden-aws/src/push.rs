//! Push events: `ECR Image Action`, as ECR sends it
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>).

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warden_alerts::About;
use warden_core::graph::is_index;
use warden_core::image::Tag;

use crate::event::{self, Origin, origin, parsed, required, shown};

const DETAIL_TYPE: &str = "ECR Image Action";

/// A pushed image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePush {
    /// The image, its repository, and the event.
    pub about: About,
    /// The pushed tag. None for a child of an index or a signature pushed by digest.
    pub tag: Option<Tag>,
    /// The media type of the manifest. Older events have none.
    pub media_type: Option<String>,
}

impl ImagePush {
    /// Whether the image may be an index. Without a media type in the event, only a call of ECR can
    /// decide.
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

/// Reads a push event. None for an action that is not a successful push. The error names the
/// field that is invalid.
pub fn read_push(payload: &Value) -> anyhow::Result<Option<ImagePush>> {
    let event = event::read::<Detail>(payload)?;
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
    // ECR sends an empty tag for a push by digest.
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
