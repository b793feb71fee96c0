//! The queue of sweeps. A message asks for the sweep of one repository.
//!
//! A round of sweeps sends a message for each repository that is due, and `image-push` sends one after
//! a push. SQS may deliver a message twice, and a sweep of the same repository may be running: such a
//! message does nothing more than a first one.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use serde::{Deserialize, Serialize};
use warden_alerts::Source;
use warden_core::image::{Digest, RepositoryName};

use crate::json::JsonClient;
use crate::messages::{Message, send_messages};

/// SQS delivers the message of a push after this time. Then ECR lists the pushed image
/// ([`crate::event::is_young`]), and `image-push` has made its attempts.
const PUSH_DELAY: Duration = Duration::from_secs(180);

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepMessage {
    /// The repository.
    pub repository: RepositoryName,
    /// The pushed image, after a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<PushedImage>,
}

/// The push of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushedImage {
    /// The image.
    pub digest: Digest,
    /// The event of the push.
    pub source: Source,
}

/// The queue.
#[derive(Debug)]
pub struct SweepQueue {
    sdk: SdkConfig,
    url: String,
}

impl SweepQueue {
    /// The queue with this URL. The client is built when messages are sent, because most invocations send
    /// none.
    #[must_use]
    pub fn new(sdk: &SdkConfig, url: String) -> Self {
        Self { sdk: sdk.clone(), url }
    }

    /// Sends messages. One call for 10 of them. After an error some of them may have been sent.
    pub async fn send(&self, messages: &[SweepMessage]) -> anyhow::Result<()> {
        let client = JsonClient::sqs(&self.sdk, &self.url)?;
        let message = |message: &SweepMessage| {
            let delay = if message.pushed.is_some() { PUSH_DELAY } else { Duration::ZERO };
            anyhow::Ok(Message { body: serde_json::to_string(message)?, delay })
        };
        let messages = messages.iter().map(message).collect::<anyhow::Result<Vec<_>>>()?;
        send_messages(&client, &self.url, &messages).await.context("queueing sweeps")
    }
}
