//! The AWS calls of a function, and the alerts that each subscriber received.

use local_aws::LocalAws;
use local_aws::services::Delivery;
use serde_json::Value;

use super::story::{Alert, Email, Part, Shown};
use super::word;

/// The embedded AWS, and the function that a step observes.
pub struct Inbox<'a> {
    /// The embedded AWS.
    pub aws: &'a LocalAws,
    /// The name of the function whose calls a step shows.
    pub function: &'a str,
}

impl Inbox<'_> {
    /// Clears the recorded alerts, events and calls.
    pub fn clear(&self) {
        {
            let mut state = self.aws.state();
            state.deliveries.clear();
            state.events.clear();
            state.calls.clear();
        }
        let _ = self.aws.slack().take_messages();
    }

    /// The calls of the function since the last [`Inbox::clear`], in order.
    pub fn calls(&self) -> Vec<String> {
        let state = self.aws.state();
        let ours = state.calls.iter().filter(|call| {
            call.token.as_ref().is_some_and(|token| token.starts_with(self.function))
        });
        ours.map(|call| call.operation.clone()).collect()
    }

    /// The same calls as a fact of a step.
    pub fn calls_part(&self, grouped: bool) -> Part {
        Part::Calls { operations: self.calls(), grouped }
    }

    /// The alerts since the last [`Inbox::clear`], in order, as each subscriber received them.
    pub fn alerts(&self, shown: Shown) -> anyhow::Result<Vec<Alert>> {
        let messages = self.aws.slack().take_messages();
        let state = self.aws.state();
        collect_alerts(&state.deliveries, &messages, shown)
    }
}

/// The delivered alerts: one for each message of the queue, with the renderings of that alert that
/// the other subscribers received.
pub fn collect_alerts(
    deliveries: &[Delivery],
    slack_messages: &[Value],
    shown: Shown,
) -> anyhow::Result<Vec<Alert>> {
    let queued = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
    let alert = |queued: &Delivery| {
        let delivered_by = |protocol: &str| {
            deliveries.iter().find(|delivery| {
                delivery.message_id == queued.message_id && delivery.protocol == protocol
            })
        };
        let json: Value = serde_json::from_str(&queued.message)?;
        let email = delivered_by("email").map(|mail| Email {
            to: mail.endpoint.clone(),
            subject: mail.subject.clone().unwrap_or_default(),
            text: mail.message.clone(),
        });
        let chat =
            delivered_by("https").map(|chat| serde_json::from_str(&chat.message)).transpose()?;
        // One event can cause several alerts, which differ in kind or title.
        let parts = [&json["source"]["id"], &json["kind"], &json["title"]].map(word);
        let slack = slack_messages.iter().find(|message| {
            let message = message.to_string();
            let escaped = |part: &str| Value::from(part).to_string();
            parts.iter().all(|part| message.contains(escaped(part).trim_matches('"')))
        });
        let slack = slack.cloned();
        Ok(Alert { json, email: email.unwrap_or_default(), slack, chat, shown })
    };
    queued.map(alert).collect()
}

/// Whether two events are equal except for their ID, their time and the digest of their image.
pub fn is_same_event(one: &Value, other: &Value) -> bool {
    let without = |event: &Value| {
        let mut event = event.clone();
        // A quarantine tag contains a part of the digest.
        if let Some(tag) = event.pointer_mut("/detail/image-tag")
            && word(tag).starts_with("quarantine-")
        {
            *tag = "quarantine".into();
        }
        for pointer in ["/id", "/time", "/detail/image-digest"] {
            if let Some(value) = event.pointer_mut(pointer) {
                *value = Value::Null;
            }
        }
        event
    };
    without(one) == without(other)
}
