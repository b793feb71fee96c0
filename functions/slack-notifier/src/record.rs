//! The records of an SNS event.
//!
//! Every field of a record is optional, and every message is shown. A message that is neither an alert nor
//! an alarm is shown as text.

use anyhow::Context as _;
use serde_json::{Value, json};
use tracing::warn;
use warden_alerts::slack::{Notification, UnknownMessage};
use warden_alerts::{Remedy, find_runbook_url, is_runbook_url};

/// A message, with the ID of its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The ID that SNS gave to the message, or an empty text.
    pub id: String,
    /// The message.
    pub notification: Notification,
}

/// Reads an event of SNS: <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>. A message
/// that SNS could not deliver waits in a queue without its record. People invoke the function with
/// such a message, so the message alone is an event too. `documentation` is the URL of the documentation
/// that messages may link to.
pub fn read(event: &Value, documentation: &str) -> anyhow::Result<Vec<Record>> {
    if event.get("Message").is_some_and(Value::is_string) {
        return Ok(vec![read_record(&json!({"Sns": event}), documentation)]);
    }
    let records = event.get("Records").and_then(Value::as_array);
    let records = records.context("the event: Records: expected a list, as SNS sends it")?;
    Ok(records.iter().map(|record| read_record(record, documentation)).collect())
}

fn read_record(record: &Value, documentation: &str) -> Record {
    let sns = record.get("Sns").unwrap_or(&Value::Null);
    // SNS sends only strings. In an event that a person wrote, the message can be an object, or
    // the record can be something else, which is shown too.
    let text = match sns.get("Message").unwrap_or(record) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Record {
        id: field(sns, "MessageId").unwrap_or_default(),
        notification: match Notification::read(&text) {
            Some(notification) => {
                with_own_runbook(without_foreign_commands(notification), documentation)
            }
            None => Notification::Unknown(unknown(sns, text)),
        },
    }
}

/// Removes each command that this project did not write: whoever reads the channel copies
/// commands into a shell. An alert that does not deserialise keeps none.
fn without_foreign_commands(mut notification: Notification) -> Notification {
    let (before, after, text) = match &mut notification {
        Notification::Alert(alert) => {
            let before = alert.remedies.len();
            let mut remedies = std::mem::take(&mut alert.remedies);
            remedies.retain(|remedy| alert.could_have_written(remedy));
            // A stranger can write any label for a command of this project, so a foreign label is
            // removed.
            let is_foreign = |remedy: &&mut Remedy| !remedy.has_own_label();
            remedies.iter_mut().filter(is_foreign).for_each(|remedy| remedy.label.clear());
            alert.remedies = remedies;
            (before, alert.remedies.len(), &mut alert.text)
        }
        Notification::PartialAlert(alert) => {
            let remedies = std::mem::take(&mut alert.remedies);
            (remedies.len(), 0, &mut alert.text)
        }
        Notification::Alarm(_) | Notification::Unknown(_) => return notification,
    };
    if after < before {
        let removed = before - after;
        warn!("removed {removed} commands that ECR Warden does not write from a message");
        text.push_str(
            "\n\nA command of this message was removed, because ECR Warden does not write such \
             commands.",
        );
    }
    notification
}

/// Keeps the link to a runbook only if the page is in the documentation of this deployment. A stranger can
/// write any link into an alert. An alarm has the link in its description.
fn with_own_runbook(mut notification: Notification, documentation: &str) -> Notification {
    match &mut notification {
        Notification::Alert(alert) => {
            alert.runbook = alert.runbook.take().filter(|url| is_runbook_url(url, documentation));
        }
        Notification::Alarm(alarm) => {
            let description = alarm.description.as_deref().unwrap_or_default();
            let url = find_runbook_url(description, documentation).map(str::to_owned);
            if let Some(url) = &url {
                let rest = description.replace(url, "");
                let rest = rest.trim_end();
                let rest = rest.strip_suffix("Runbook").unwrap_or(rest).trim_end().to_owned();
                alarm.description = Some(rest).filter(|rest| !rest.is_empty());
            }
            alarm.runbook = url;
        }
        Notification::PartialAlert(_) | Notification::Unknown(_) => {}
    }
    notification
}

fn unknown(sns: &Value, text: String) -> UnknownMessage {
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let json = json.filter(|json| json.is_object() || json.is_array());
    // The field `detail-type` of an event of EventBridge is its title.
    let detail_type = json.as_ref().and_then(|event| field(event, "detail-type"));
    UnknownMessage {
        subject: field(sns, "Subject").or(detail_type),
        is_json: json.is_some(),
        text: json.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or(text),
        topic: field(sns, "TopicArn"),
        id: field(sns, "MessageId"),
        time: field(sns, "Timestamp"),
    }
}

/// A field that is a text with visible characters.
fn field(value: &Value, name: &str) -> Option<String> {
    let text = value.get(name)?.as_str()?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
