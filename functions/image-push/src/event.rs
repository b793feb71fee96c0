//! What EventBridge brings: `ECR Image Action`, as ECR really sends it
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>).

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::SecondsFormat;
use governance::alert::{About, Source};
use governance::graph::is_index;
use governance::image::Tag;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    if !payload.is_object() {
        bail!("the event: expected an object of EventBridge");
    }
    let event: EventBridgeEvent<Detail> =
        serde_path_to_error::deserialize(payload).map_err(|error| {
            // What the object as a whole lacks has no path.
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { format!("{path}: ") };
            anyhow!("the event: {path}{}", error.inner())
        })?;
    if event.detail_type != DETAIL_TYPE {
        bail!("the event: detail-type: expected {DETAIL_TYPE}, got {:?}", event.detail_type);
    }
    let detail = event.detail;
    if detail.action_type.as_deref() != Some("PUSH") || detail.result.as_deref() != Some("SUCCESS")
    {
        return Ok(None);
    }
    let required = |name: &str, value: Option<String>| {
        value.with_context(|| format!("the event: {name}: missing, and required"))
    };
    // These stand in commands that people run, and anybody who may invoke the function could
    // have made them up.
    let plain = |name: &str, value: Option<String>, most: usize| {
        let value = required(name, value)?;
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        ensure!(
            is_plain && (1..=most).contains(&value.len()),
            "the event: {name}: expected at most {most} letters, digits and '-', got {:?}",
            shown(&value)
        );
        Ok(value)
    };
    // What is pushed without a tag comes with an empty one.
    let tag = detail.image_tag.filter(|tag| !tag.is_empty());
    let time = event.time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let repository = required("detail.repository-name", detail.repository_name)?;
    let digest = required("detail.image-digest", detail.image_digest)?;
    Ok(Some(ImagePush {
        about: About {
            account: plain("account", event.account, 12)?,
            region: plain("region", event.region, 32)?,
            repository: parsed("detail.repository-name", &repository)?,
            digest: parsed("detail.image-digest", &digest)?,
            source: Source { id: plain("id", event.id, 64)?, time: required("time", time)? },
        },
        tag: tag.map(|tag| parsed("detail.image-tag", &tag)).transpose()?,
        media_type: detail.manifest_media_type,
    }))
}

fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> anyhow::Result<T> {
    text.parse().map_err(|error| anyhow!("the event: {name}: {error}, got {:?}", shown(text)))
}

/// As much of a text as an error repeats: it may be of any length.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
