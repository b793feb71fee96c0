//! What the functions called, and what people get of it.

use local_aws::{LocalAws, slack};
use serde_json::Value;

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
        let mut state = self.aws.state();
        state.deliveries.clear();
        state.events.clear();
        state.calls.clear();
        drop(state);
        let _ = self.aws.slack().take_messages();
    }

    /// What the function called, in order.
    pub fn calls(&self) -> String {
        let state = self.aws.state();
        let ours = state.calls.iter().filter(|call| {
            call.token.as_ref().is_some_and(|token| token.starts_with(self.function))
        });
        ours.map(|call| call.operation.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The alerts, as the queue got them.
    pub fn alerts(&self) -> anyhow::Result<Vec<Value>> {
        let state = self.aws.state();
        let of = state.deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
        of.map(|delivery| Ok(serde_json::from_str(&delivery.message)?)).collect()
    }

    /// Shows all of them.
    pub fn show_alerts(&self, as_json: bool, in_slack: bool) {
        self.show_alerts_with("", as_json, in_slack);
    }

    /// Shows those whose text has this in it, such as a title; the others were looked at.
    pub fn show_alerts_with(&self, part: &str, as_json: bool, in_slack: bool) {
        let indented = |text: &str| {
            text.lines().for_each(|line| println!("{}", format!("      {line}").trim_end()));
        };
        let state = self.aws.state();
        for delivery in state.deliveries.iter().filter(|it| it.message.contains(part)) {
            match delivery.protocol.as_str() {
                "email" => {
                    println!("\n   e-mail to {}", delivery.endpoint);
                    println!(
                        "      Subject: {}\n",
                        delivery.subject.as_deref().unwrap_or_default()
                    );
                    indented(&delivery.message);
                }
                "sqs" if as_json => {
                    println!("\n   the same as JSON, for queues and functions");
                    let json: Value = serde_json::from_str(&delivery.message).unwrap_or_default();
                    indented(&format!("{json:#}"));
                }
                _ => {}
            }
        }
        drop(state);
        for message in self.aws.slack().take_messages() {
            let text = slack::render(&message);
            if in_slack && text.contains(part) {
                println!("\n   in Slack");
                indented(&text);
            }
        }
    }
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
