//! Sends messages to a queue of SQS.

use std::time::Duration;

use anyhow::bail;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::JsonClient;
use crate::registry::CONCURRENT_CALLS;

/// The most messages of a call.
const BATCH: usize = 10;
/// The most attempts to send a batch of which SQS refused some messages.
const ROUNDS: u32 = 5;

/// A message.
#[derive(Debug)]
pub struct Message {
    /// The text.
    pub body: String,
    /// SQS delivers the message after this time, which is at most 15 minutes.
    pub delay: Duration,
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

/// Sends messages to the queue with this URL. One call for 10 of them. After an error some of them may
/// have been sent.
pub async fn send_messages(
    client: &JsonClient,
    url: &str,
    messages: &[Message],
) -> anyhow::Result<()> {
    let batches = messages.chunks(BATCH).map(|batch| send_batch(client, url, batch));
    let sent = stream::iter(batches).buffer_unordered(CONCURRENT_CALLS);
    sent.try_collect::<Vec<()>>().await.map(drop)
}

async fn send_batch(client: &JsonClient, url: &str, messages: &[Message]) -> anyhow::Result<()> {
    let entry = |(nth, Message { body, delay }): (usize, &Message)| {
        let id = nth.to_string();
        let entry = json!({"Id": id, "MessageBody": body, "DelaySeconds": delay.as_secs()});
        (id, entry)
    };
    let mut left: Vec<(String, Value)> = messages.iter().enumerate().map(entry).collect();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(Duration::from_millis(50 << round)).await;
        }
        let entries: Vec<&Value> = left.iter().map(|(_, entry)| entry).collect();
        let input = json!({"QueueUrl": url, "Entries": entries});
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
