//! Queues that run functions: Lambda polls a queue and invokes a function with batches of messages.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>: the role of the function receives
//! and deletes the messages; the answer of a function that reports failures names the messages that
//! the queue delivers again, and an answer that names an unknown message, or an error, stands for all
//! of them; after `maxReceiveCount` deliveries a message is moved to the dead-letter queue.
//!
//! A guess is how messages are spread over batches: a batch has every message that is in the queue, up
//! to its size. Nothing waits for the batch window, or for a delay of a message of at most
//! [`LONGEST_SKIPPED`]. Messages with a longer delay wait for the clock. A failed message is delivered again after the time that [`crate::lambda::Lambda::retry_after`] sets, in the place of
//! the visibility timeout. A message in flight is not visible: a poll receives it once. It has no FIFO
//! queues, filters and age of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::authorization::UndeliveredEvent;
use crate::cloudformation::known;
use crate::ecr::Time;
use crate::{LocalAws, REGION, local_arn};

/// The properties of an event of type `SQS` that are honoured, or that change nothing here.
const PROPERTIES: &[&str] = &[
    "BatchSize",
    "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds",
    "Queue",
    "ScalingConfig",
];
/// A message whose delay is at most this long, in seconds, is delivered at once.
const LONGEST_SKIPPED: u64 = 180;
/// The maximum number of messages in a call of `ReceiveMessage`.
const RECEIVED: usize = 10;

/// A function that a queue runs.
#[derive(Clone, Debug)]
pub(crate) struct EventSource {
    function: String,
    is_enabled: bool,
    batch_size: usize,
    reports_failures: bool,
    concurrency: Arc<Semaphore>,
}

/// The dead-letter queue of a queue, which receives messages that were delivered too often.
#[derive(Clone, Debug)]
pub(crate) struct Redrive {
    pub dead_letter: String,
    pub max_receive_count: u64,
}

/// An event that a rule sends to a queue.
#[derive(Clone, Debug)]
pub(crate) struct QueuedEvent {
    pub event: UndeliveredEvent,
    /// The same event for the dead-letter queue of the rule.
    pub dead_letter: Option<UndeliveredEvent>,
}

/// A message that waits for its delay.
#[derive(Clone, Debug)]
pub(crate) struct DelayedMessage {
    due: Time,
    queue: String,
    body: String,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    body: String,
}

impl EventSource {
    /// Reads the properties of an event of type `SQS`. Gives the ARN of the queue too.
    pub fn read(function: &str, properties: &Value) -> anyhow::Result<(String, Self)> {
        known(properties, PROPERTIES)?;
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let queue = properties["Queue"].as_str().context("the event has no Queue")?;
        let types = properties["FunctionResponseTypes"].as_array();
        let mut types = types.into_iter().flatten();
        let most = number(&properties["ScalingConfig"]["MaximumConcurrency"]);
        let source = Self {
            function: function.to_owned(),
            is_enabled: true,
            batch_size: number(&properties["BatchSize"]).unwrap_or(10),
            reports_failures: types.any(|kind| kind == "ReportBatchItemFailures"),
            concurrency: Arc::new(Semaphore::new(most.unwrap_or(1_000))),
        };
        Ok((queue.to_owned(), source))
    }

    /// The messages that the queue delivers again after this answer.
    fn failed(&self, messages: &[Message], answer: Option<&Value>) -> Vec<Message> {
        let Some(answer) = answer else { return messages.to_vec() };
        let items = &answer["batchItemFailures"];
        if !self.reports_failures || answer.is_null() || items.is_null() {
            return Vec::new();
        }
        let ids: Option<BTreeSet<&str>> = items
            .as_array()
            .and_then(|items| items.iter().map(|item| item["itemIdentifier"].as_str()).collect());
        let is_known = |id: &&str| messages.iter().any(|message| message.id == **id);
        match ids.filter(|ids| ids.iter().all(is_known)) {
            Some(ids) => {
                let failed = messages.iter().filter(|message| ids.contains(message.id.as_str()));
                failed.cloned().collect()
            }
            None => messages.to_vec(),
        }
    }
}

impl LocalAws {
    /// Sends the events of rules to their queues, and lets Lambda poll the queues.
    pub(crate) async fn send_queued(&self) {
        let events = std::mem::take(&mut self.state().queued_events);
        let mut queues = Vec::new();
        for QueuedEvent { event, dead_letter } in events {
            if self.sender_may(&event.sender, "sqs:SendMessage", &event.queue, &event.source) {
                self.send(&event.queue, &event.body, &BTreeMap::new()).await;
                queues.push(event.queue);
            } else {
                self.state().undelivered_events.extend(dead_letter);
            }
        }
        for queue in queues {
            self.start_poll(&queue);
        }
    }

    /// Keeps the messages of a call of SQS until their delay is over. Gives the answer of the call. None for
    /// another call, and for messages that are delivered at once.
    pub(crate) fn delay_messages(&self, operation: &str, input: &Value) -> Option<Value> {
        let sent: Vec<&Value> = match operation {
            "SendMessage" => vec![input],
            "SendMessageBatch" => input["Entries"].as_array()?.iter().collect(),
            _ => return None,
        };
        let delays: Option<Vec<u64>> =
            sent.iter().map(|message| message["DelaySeconds"].as_u64()).collect();
        let is_kept = |delay: &u64| (LONGEST_SKIPPED + 1..=900).contains(delay);
        let delays = delays.filter(|delays| delays.iter().all(is_kept))?;
        let queue = local_arn("sqs", input["QueueUrl"].as_str()?.rsplit('/').next()?);
        let mut state = self.state();
        let now = state.now();
        for (message, delay) in sent.iter().zip(delays) {
            let body = message["MessageBody"].as_str().unwrap_or_default().to_owned();
            let due = now + Duration::from_secs(delay).as_secs_f64();
            state.delayed_messages.push(DelayedMessage { due, queue: queue.clone(), body });
        }
        let accepted = |message: &&Value| json!({"Id": message["Id"], "MessageId": "delayed"});
        Some(match operation {
            "SendMessage" => json!({"MessageId": "delayed"}),
            _ => json!({"Successful": sent.iter().map(accepted).collect::<Vec<_>>()}),
        })
    }

    /// Sends the messages whose delay is over to their queues, and lets Lambda poll the queues.
    pub(crate) async fn send_delayed(&self) {
        let due: Vec<DelayedMessage> = {
            let mut state = self.state();
            let now = state.now();
            state.delayed_messages.extract_if(.., |message| message.due <= now).collect()
        };
        for DelayedMessage { queue, body, .. } in due {
            self.send(&queue, &body, &BTreeMap::new()).await;
            self.start_poll(&queue);
        }
    }

    /// Disables the event sources of a function: the messages of its queues wait from now on.
    pub fn disable_event_sources(&self, function: &str) {
        self.set_event_sources(function, false);
    }

    /// Enables the event sources of a function. Messages that wait are delivered with later ones.
    pub fn enable_event_sources(&self, function: &str) {
        self.set_event_sources(function, true);
    }

    fn set_event_sources(&self, function: &str, is_enabled: bool) {
        let mut state = self.state();
        let sources = state.event_sources.values_mut();
        for source in sources.filter(|source| source.function == function) {
            source.is_enabled = is_enabled;
        }
    }

    /// Lets Lambda poll a queue after this call has sent messages to it.
    pub(crate) fn poll_after(&self, operation: &str, input: &Value) {
        if !operation.starts_with("SendMessage") {
            return;
        }
        let name = input["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
        let queue = local_arn("sqs", name.unwrap_or_default());
        for _ in 0..input["Entries"].as_array().map_or(1, Vec::len) {
            self.start_poll(&queue);
        }
    }

    /// Lets Lambda poll a queue for one batch, if the queue runs a function.
    fn start_poll(&self, queue: &str) {
        let source = self.state().event_sources.get(queue).cloned();
        let Some(source) = source.filter(|source| source.is_enabled) else { return };
        let (aws, queue, pending) = (self.clone(), queue.to_owned(), self.lambda().begin());
        tokio::spawn(async move {
            aws.poll(&queue, &source).await;
            drop(pending);
        });
    }

    /// Runs the function of a queue with one batch, until each message is handled or moved.
    async fn poll(&self, queue: &str, source: &EventSource) {
        let Ok(_permit) = source.concurrency.acquire().await else { return };
        let actions = ["sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage"];
        if !actions.iter().all(|action| self.function_may(&source.function, action, queue)) {
            return;
        }
        let mut messages = self.receive(queue, source.batch_size).await;
        let redrive = self.state().redrives.get(queue).cloned();
        let mut count = 0;
        while !messages.is_empty() {
            count += 1;
            let record = |message: &Message| {
                json!({
                    "messageId": message.id,
                    "receiptHandle": message.id,
                    "body": message.body,
                    "attributes": {"ApproximateReceiveCount": count.to_string()},
                    "messageAttributes": {},
                    "eventSource": "aws:sqs",
                    "eventSourceARN": queue,
                    "awsRegion": REGION,
                })
            };
            let records: Vec<Value> = messages.iter().map(record).collect();
            let invoked = self.lambda().invoke(&source.function, json!({"Records": records})).await;
            let answer = invoked.as_ref().ok().filter(|invoked| invoked.error.is_none());
            messages = source.failed(&messages, answer.map(|invoked| &invoked.payload));
            if let Some(redrive) =
                redrive.as_ref().filter(|redrive| count >= redrive.max_receive_count)
            {
                for message in std::mem::take(&mut messages) {
                    self.send(&redrive.dead_letter, &message.body, &BTreeMap::new()).await;
                }
            } else if !messages.is_empty() {
                tokio::time::sleep(self.lambda().retry_delay()).await;
            }
        }
    }

    /// Receives messages, and deletes them from the queue: from then on the poll has them.
    async fn receive(&self, queue: &str, most: usize) -> Vec<Message> {
        let name = queue.rsplit(':').next().unwrap_or_default();
        let call = async |operation: &str, input: Value| {
            let answer = self.ask("sqs", &format!("AmazonSQS.{operation}"), &input).await;
            answer.unwrap_or_default()
        };
        let url = call("GetQueueUrl", json!({"QueueName": name})).await["QueueUrl"].take();
        let mut messages = Vec::new();
        while messages.len() < most {
            let number = RECEIVED.min(most - messages.len());
            let input = json!({"QueueUrl": url, "MaxNumberOfMessages": number});
            let received = call("ReceiveMessage", input).await;
            let received = received["Messages"].as_array().cloned().unwrap_or_default();
            if received.is_empty() {
                break;
            }
            for message in received {
                let handle = &message["ReceiptHandle"];
                call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;
                let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                messages.push(Message { id: text("MessageId"), body: text("Body") });
            }
        }
        messages
    }
}
