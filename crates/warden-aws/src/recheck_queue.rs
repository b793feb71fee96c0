//! The queue of rechecks. A message asks `scan-complete` to compare the findings of one image again.
//!
//! ECR scans the images of an index when they are pushed, which may be hours before the index is pushed.
//! `scan-complete` sends a message with a delay if an image has no index yet, and `image-push` sends one when
//! the index is pushed. The messages have the form of events, and the queue is the one of the findings of
//! Amazon Inspector. SQS may deliver a message twice: the second comparison finds nothing new.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use serde_json::{Value, json};
use warden_alerts::About;

use crate::alerts::EVENT_SOURCE;
use crate::json::JsonClient;
use crate::messages::{Message, send_messages};

/// The type of the event in a message.
pub const DETAIL_TYPE: &str = "ECR Warden Recheck";

/// The queue.
#[derive(Debug)]
pub struct RecheckQueue {
    sdk: SdkConfig,
    url: String,
}

impl RecheckQueue {
    /// The queue with this URL. The client is built when messages are sent, because most invocations send
    /// none.
    #[must_use]
    pub fn new(sdk: &SdkConfig, url: String) -> Self {
        Self { sdk: sdk.clone(), url }
    }

    /// Queues a recheck of each of these images. SQS delivers the messages after `delay`, which is at most
    /// 15 minutes. One call for 10 images.
    pub async fn send(&self, images: &[About], delay: Duration) -> anyhow::Result<()> {
        let message = |about: &About| Message { body: event(about).to_string(), delay };
        let messages: Vec<Message> = images.iter().map(message).collect();
        let client = JsonClient::sqs(&self.sdk, &self.url)?;
        let sent = send_messages(&client, &self.url, &messages).await;
        sent.context("queueing rechecks of images")
    }
}

/// The event about one image. The ID and the time are those of the event that caused the recheck.
fn event(About { account, region, repository, digest, source }: &About) -> Value {
    json!({
        "version": "0",
        "id": source.id,
        "detail-type": DETAIL_TYPE,
        "source": EVENT_SOURCE,
        "account": account,
        "time": source.time,
        "region": region,
        "resources": [],
        "detail": {"repository-name": repository, "image-digest": digest},
    })
}
