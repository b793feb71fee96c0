//! What the functions called, and what people get of it.

use local_aws::LocalAws;
use local_aws::services::Delivery;
use serde_json::Value;

use super::story::{Alert, Email, Part, Shown};
use super::word;

/// Where alerts go, and so what can be shown of them.
pub struct Inbox<'a> {
    /// The AWS.
    pub aws: &'a LocalAws,
    /// The function whose calls are shown.
    pub function: &'a str,
}

impl Inbox<'_> {
    /// Forgets what was told and called until now.
    pub fn clear(&self) {
        {
            let mut state = self.aws.state();
            state.deliveries.clear();
            state.events.clear();
            state.calls.clear();
        }
        let _ = self.aws.slack().take_messages();
    }

    /// What the function called, in order.
    pub fn calls(&self) -> Vec<String> {
        let state = self.aws.state();
        let ours = state.calls.iter().filter(|call| {
            call.token.as_ref().is_some_and(|token| token.starts_with(self.function))
        });
        ours.map(|call| call.operation.clone()).collect()
    }

    /// The same, to be shown.
    pub fn show_calls(&self, counted: bool) -> Part {
        Part::Calls { operations: self.calls(), counted }
    }

    /// The alerts, as everybody got them since the last [`Inbox::clear`], in order.
    pub fn alerts(&self, shown: Shown) -> anyhow::Result<Vec<Alert>> {
        let messages = self.aws.slack().take_messages();
        let state = self.aws.state();
        alerts(&state.deliveries, &messages, shown)
    }
}

/// What was delivered as alerts: one for each that a queue got, with what others got of it.
pub fn alerts(
    deliveries: &[Delivery],
    in_slack: &[Value],
    shown: Shown,
) -> anyhow::Result<Vec<Alert>> {
    let queued = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
    let alert = |queued: &Delivery| {
        let the_same = |protocol: &str| {
            deliveries.iter().find(|delivery| {
                delivery.message_id == queued.message_id && delivery.protocol == protocol
            })
        };
        let json: Value = serde_json::from_str(&queued.message)?;
        let email = the_same("email").map(|mail| Email {
            to: mail.endpoint.clone(),
            subject: mail.subject.clone().unwrap_or_default(),
            text: mail.message.clone(),
        });
        let chat = the_same("https").map(|chat| serde_json::from_str(&chat.message)).transpose()?;
        // Of one event there may be several alerts, each of another kind or title.
        let parts = [&json["source"]["id"], &json["kind"], &json["title"]].map(word);
        let slack = in_slack.iter().find(|message| {
            let message = message.to_string();
            let written = |part: &str| Value::from(part).to_string();
            parts.iter().all(|part| message.contains(written(part).trim_matches('"')))
        });
        let slack = slack.cloned();
        Ok(Alert { json, email: email.unwrap_or_default(), slack, chat, shown })
    };
    queued.map(alert).collect()
}

/// Whether two events are the same, but for when and of which image they are.
pub fn same(one: &Value, other: &Value) -> bool {
    let without = |event: &Value| {
        let mut event = event.clone();
        // Which names the image too.
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
