//! The queue of sweeps. A message asks for the sweep of one repository.
//!
//! A round of sweeps sends a message for each repository that is due, and `image-push` sends one after
//! a push. SQS may deliver a message twice, and a sweep of the same repository may be running: such a
//! message does nothing more than a first one.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warden_alerts::Source;
use warden_core::image::{Digest, RepositoryName};

use crate::json::JsonClient;
use crate::registry::CONCURRENT_CALLS;

/// The most messages of a call.
const BATCH: usize = 10;
/// The most attempts to send a batch of which SQS refused some messages.
const ROUNDS: u32 = 5;
/// SQS delivers the message of a push after this time, in seconds. Then ECR lists the pushed image
/// ([`crate::event::is_young`]), and `image-push` has made its attempts.
const PUSH_DELAY: u32 = 180;

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

/// The answer of `SendMessageBatch`.
#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "Failed", default)]
    refused: Vec<RefusedMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RefusedMessage {
    id: String,
    sender_fault: bool,
    code: String,
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
        let batches = messages.chunks(BATCH).map(|batch| self.send_batch(&client, batch));
        let sent = stream::iter(batches).buffer_unordered(CONCURRENT_CALLS);
        sent.try_collect::<Vec<()>>().await.context("queueing sweeps").map(drop)
    }

    async fn send_batch(
        &self,
        client: &JsonClient,
        messages: &[SweepMessage],
    ) -> anyhow::Result<()> {
        let mut left = Vec::new();
        for (nth, message) in messages.iter().enumerate() {
            let delay = if message.pushed.is_some() { PUSH_DELAY } else { 0 };
            let body = serde_json::to_string(message)?;
            let id = nth.to_string();
            let entry = json!({"Id": id, "MessageBody": body, "DelaySeconds": delay});
            left.push((id, entry));
        }
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(50 << round)).await;
            }
            let entries: Vec<&Value> = left.iter().map(|(_, entry)| entry).collect();
            let input = json!({"QueueUrl": self.url, "Entries": entries});
            let sent = client.call("SendMessageBatch", &input).await?;
            let Sent { refused } = serde_json::from_value(sent)?;
            if let Some(message) = refused.iter().find(|message| message.sender_fault) {
                bail!("SQS refuses a message: {}", message.code);
            }
            left.retain(|(id, _)| refused.iter().any(|message| message.id == *id));
            if left.is_empty() {
                return Ok(());
            }
        }
        bail!("SQS accepted all but {} of {} messages", left.len(), messages.len())
    }
}
