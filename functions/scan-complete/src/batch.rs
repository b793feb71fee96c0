//! Handles a batch of messages from the queue of Inspector's findings.
//!
//! Each message is an event of `EventBridge`. The findings of one image are handled together. The
//! function returns the IDs of the messages that failed (`ReportBatchItemFailures`). Lambda returns
//! those messages to the queue and deletes the others.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
//!
//! The function uses the ID of a message as its request ID, because the message ID is the same in
//! each delivery of the message.

use std::collections::BTreeMap;

use anyhow::{anyhow, ensure};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::error;
use warden_aws::event::deserialized;
use warden_core::image::{Digest, RepositoryName};
use warden_core::policy::Policy;

use crate::event::{Event, ImageScan, ScanResult};
use crate::scan::{self, HANDLED_BY};
use crate::{AlertPublisher, Context, event, handle_event};

#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

/// A message of the queue.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    #[serde(rename = "messageId")]
    id: String,
    event_source: String,
    body: String,
}

/// Reads a batch. None if the payload is a single event.
pub fn read(payload: &Value) -> anyhow::Result<Option<Vec<Message>>> {
    if payload.get("Records").is_none() {
        return Ok(None);
    }
    let Batch { records } = deserialized("", payload)?;
    ensure!(
        records.iter().all(|message| message.event_source == "aws:sqs"),
        "the event: Records.eventSource: expected aws:sqs"
    );
    Ok(Some(records))
}

/// The findings of one image, and the messages that contain them.
#[derive(Default)]
struct Group {
    messages: Vec<String>,
    scans: Vec<ImageScan>,
}

/// Handles every message. Returns the messages that failed, which the queue delivers again.
pub async fn handle(context: &Context, messages: Vec<Message>, now: DateTime<Utc>) -> Value {
    let started = Instant::now();
    let mut groups: BTreeMap<(RepositoryName, Digest), Group> = BTreeMap::new();
    let mut others = Vec::new();
    let mut failed = Vec::new();
    for Message { id: message_id, body, .. } in messages {
        match read_body(&body) {
            Ok(Some(Event::Scan(scan))) if matches!(scan.result, ScanResult::Finding { .. }) => {
                let key = (scan.about.repository.clone(), scan.about.digest.clone());
                let group = groups.entry(key).or_default();
                group.messages.push(message_id);
                group.scans.push(*scan);
            }
            Ok(Some(event)) => others.push((message_id, event)),
            Ok(None) => {}
            Err(error) => fail(&mut failed, vec![message_id], &error),
        }
    }
    let is_late = || started.elapsed() > HANDLED_BY;
    let late = || anyhow!("no time is left in this batch; the queue delivers the message again");
    let groups: Vec<Group> = groups.into_values().collect();
    let Context { policy, registry, ledger, .. } = context;
    let mut policies: Vec<Option<Policy>> = Vec::new();
    for group in &groups {
        let repository = group.scans.first().map(|scan| &scan.about.repository);
        let found = match repository {
            Some(repository) => policy.find_rule(repository, registry, ledger).await,
            None => Ok(None),
        };
        policies.push(found.unwrap_or_else(|error| {
            fail(&mut failed, group.messages.clone(), &error);
            None
        }));
    }
    let invocations: Vec<_> = groups
        .iter()
        .zip(&policies)
        .map(|(group, policy)| {
            let request_id = group.messages.first()?;
            let policy = policy.as_ref()?;
            let publisher = AlertPublisher { context, request_id, now };
            scan::Invocation::of_findings(publisher, policy, &group.scans)
        })
        .collect();
    // The invocations wait for more findings at the same time. They are processed one after the
    // other, because the images of one component share its scan history.
    let collect = async |invocation: &Option<scan::Invocation<'_>>| match invocation {
        Some(invocation) => invocation.collect().await,
        None => Ok(None),
    };
    let collected = join_all(invocations.iter().map(collect)).await;
    for ((group, invocation), collected) in groups.iter().zip(&invocations).zip(collected) {
        let handled = match (invocation, collected) {
            (Some(_), Ok(Some(_))) if is_late() => Err(late()),
            (Some(invocation), Ok(Some(collected))) => invocation.process(&collected).await,
            (_, Ok(_)) => Ok(()),
            (_, Err(error)) => Err(error),
        };
        if let Err(error) = handled {
            fail(&mut failed, group.messages.clone(), &error);
        }
    }
    for (message_id, event) in others {
        let handled = if is_late() {
            Err(late())
        } else {
            handle_event(context, event, &message_id, now).await
        };
        if let Err(error) = handled {
            fail(&mut failed, vec![message_id], &error);
        }
    }
    json!({"batchItemFailures": failed})
}

fn read_body(body: &str) -> anyhow::Result<Option<Event>> {
    let event: Value = serde_json::from_str(body).map_err(|error| anyhow!("the event: {error}"))?;
    event::read(&event)
}

/// Logs the error, and adds the messages to the returned failures.
fn fail(failed: &mut Vec<Value>, messages: Vec<String>, error: &anyhow::Error) {
    error!(messages = messages.len(), "{error:#}");
    failed.extend(messages.into_iter().map(|message_id| json!({"itemIdentifier": message_id})));
}
