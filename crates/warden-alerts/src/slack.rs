//! The renderings of alerts, alarms and other messages for Slack, as Block Kit JSON. Pure.
//!
//! Every text in a message comes from outside, so each becomes plain text, code, or a link to
//! `https`. A part without enough room is left out as a whole, from the end, and the message states
//! how much is missing: half a command would be worse than none.
//!
//! In reading order: [`Notification`] and [`render`] here; `alert`, `partial` and `alarm`, which
//! render one kind of message each; `layout`, which builds the [`Payload`]; and `text`, which escapes
//! texts.

mod alarm;
mod alert;
mod console;
mod layout;
mod partial;
mod payload;
mod text;

use serde_json::Value;

pub use self::alarm::Alarm;
use self::layout::{LONGEST_SECTION, Layout, code_block, notice};
pub use self::payload::{Block, Payload, Text};
use self::text::length;
use super::{Alert, PartialAlert};

/// A message that was published to the topic of alerts.
#[derive(Clone, Debug, PartialEq)]
pub enum Notification {
    /// An alert of ECR Warden.
    Alert(Box<Alert>),
    /// An alert that does not deserialise: of another version, or written by hand.
    PartialAlert(PartialAlert),
    /// A change of the state of a CloudWatch alarm.
    Alarm(Box<Alarm>),
    /// Any other message: from a rule of EventBridge, or from a person.
    Unknown(UnknownMessage),
}

/// A message that is neither an alert nor an alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownMessage {
    /// The subject, if the message has one.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
    /// Whether the text is JSON, and so not sentences.
    pub is_json: bool,
    /// The ARN of the topic.
    pub topic: Option<String>,
    /// The ID of the message.
    pub id: Option<String>,
    /// The time of publication.
    pub time: Option<String>,
}

impl Notification {
    /// Reads the text of a message. Returns `None` where the text is neither an alert nor an alarm.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(alert) = serde_json::from_str(text) {
            return Some(Self::Alert(Box::new(alert)));
        }
        let message: Value = serde_json::from_str(text).ok()?;
        match Alarm::read(&message) {
            Some(alarm) => Some(Self::Alarm(Box::new(alarm))),
            None => PartialAlert::read(&message).map(Self::PartialAlert),
        }
    }
}

/// Renders a message as blocks.
#[must_use]
pub fn render(notification: &Notification) -> Payload {
    match notification {
        Notification::Alert(alert) => alert::render(alert),
        Notification::PartialAlert(alert) => partial::render(alert),
        Notification::Alarm(alarm) => alarm::render(alarm),
        Notification::Unknown(message) => render_unknown(message),
    }
}

/// Renders a message without blocks, for the case that Slack refuses the blocks.
#[must_use]
pub fn render_without_blocks(notification: &Notification) -> Payload {
    let (title, text) = match notification {
        Notification::Alert(alert) => (alert::title(alert), alert.text.clone()),
        Notification::PartialAlert(alert) => (partial::title(alert), alert.text.clone()),
        Notification::Alarm(alarm) => (alarm::title(alarm), alarm::text(alarm)),
        Notification::Unknown(message) => (title(message), message.text.clone()),
    };
    let text = match notification {
        Notification::Alert(alert) => with_runbook(text, alert.runbook.as_deref()),
        Notification::Alarm(alarm) => with_runbook(text, alarm.runbook.as_deref()),
        Notification::PartialAlert(_) | Notification::Unknown(_) => text,
    };
    let mut payload = notice(&title);
    if let Some(block) = code_block(&text, LONGEST_SECTION - length(&payload) - 1) {
        payload = format!("{payload}\n{block}");
    }
    Payload::new(payload, vec![])
}

/// The text with the URL of the runbook.
fn with_runbook(text: String, url: Option<&str>) -> String {
    match url {
        Some(url) => format!("{text}\n\nRunbook: {url}"),
        None => text,
    }
}

fn title(message: &UnknownMessage) -> String {
    let topic = message.topic.as_deref().and_then(|arn| arn.rsplit(':').next());
    match (&message.subject, topic) {
        (Some(subject), _) => subject.clone(),
        (None, Some(topic)) => format!("A message for {topic}"),
        (None, None) => "A message".to_owned(),
    }
}

fn render_unknown(message: &UnknownMessage) -> Payload {
    let small_print = [
        message.topic.clone(),
        message.id.as_ref().map(|id| format!("Message {id}")),
        message.time.clone(),
    ];
    let mut layout = Layout::new(&title(message), &small_print);
    if message.is_json {
        layout.add_text("");
        layout.add_code(&message.text);
    } else {
        layout.add_text(&message.text);
    }
    layout.finish()
}

#[cfg(test)]
mod tests;
