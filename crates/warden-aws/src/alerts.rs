//! Publishes alerts to the SNS topic and to the EventBridge bus of the stack.
//!
//! Each destination is claimed on its own. If one destination fails, the ledger records that the other
//! destination has the alert, and the attempt fails. The next attempt publishes the alert only to the
//! destination that lacks it. If a function is killed before the record is written, both destinations
//! may get the alert twice. The record of a subject, such as a repository, ends with the next alert about
//! the same subject: both destinations get a later alert that repeats an earlier one.

use anyhow::Context as _;
use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use warden_alerts::{Alert, Message};
use warden_core::keywords;
use warden_core::retention::short_hash;

use crate::ServiceError;
use crate::json::JsonClient;
use crate::ledger::Ledger;

/// The source of the events on the bus.
pub const EVENT_SOURCE: &str = "ecr-warden";

keywords!(
    /// A destination of alerts.
    Destination {
        /// The SNS topic.
        Topic = "topic",
        /// The EventBridge bus.
        Bus = "bus",
    }
);

/// The destinations of alerts, and the facts about the deployment that each alert has.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// The ARN of the SNS topic.
    pub topic_arn: String,
    /// The name of the EventBridge bus.
    pub bus_name: String,
    /// The URL of the documentation that alerts link to.
    pub documentation: String,
    /// The name of the stack, for commands in alerts.
    pub stack: String,
    /// The version of the policy that the function follows.
    pub policy: String,
}

/// The SNS topic and the EventBridge bus, with the clients of both.
#[derive(Debug)]
pub struct AlertDestinations {
    sdk: SdkConfig,
    sns: aws_sdk_sns::Client,
    settings: AlertSettings,
}

/// The answer of `PutEvents`.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEventsAnswer {
    failed_entry_count: u32,
    #[serde(default)]
    entries: Vec<EventResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventResult {
    error_code: Option<String>,
    error_message: Option<String>,
}

impl AlertDestinations {
    /// Builds the clients.
    #[must_use]
    pub fn new(sdk: &SdkConfig, settings: AlertSettings) -> Self {
        Self { sdk: sdk.clone(), sns: aws_sdk_sns::Client::new(sdk), settings }
    }

    /// Publishes an alert to each destination that lacks it, with the URL of its runbook, the version of
    /// the policy, and commands that name the stack. `identity` identifies the alert among the alerts
    /// about this subject: it is the same in each attempt. Returns an error if one destination fails. One
    /// call of the ledger and one call for each destination.
    pub async fn publish(
        &self,
        ledger: &Ledger,
        alert: &Alert,
        subject: &str,
        identity: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let key = format!("alert {}", short_hash(subject));
        let identity = short_hash(&format!("{} {identity}", alert.kind));
        let recorded = ledger.delivery(&key, now).await?;
        let has_record = recorded.is_some();
        let same = recorded.filter(|recorded| recorded.identity == identity);
        let delivered = same.map(|recorded| recorded.destination);
        let message = self.message(alert);
        let (topic, bus) = tokio::join!(
            async {
                if delivered == Some(Destination::Topic) {
                    return Ok(());
                }
                self.publish_to_topic(&message).await
            },
            async {
                if delivered == Some(Destination::Bus) {
                    return Ok(());
                }
                self.put_on_bus(alert, &message).await
            },
        );
        let title = &alert.title;
        let topic = topic.with_context(|| format!("publishing the alert {title:?}"));
        let bus = bus.with_context(|| format!("putting the alert {title:?} on the event bus"));
        let (destination, error) = match (topic, bus) {
            (Ok(()), Ok(())) if !has_record => return Ok(()),
            (Ok(()), Ok(())) => return ledger.forget_delivery(&key).await,
            (Err(topic), Err(bus)) => return Err(topic.context(format!("{bus:#}; in addition"))),
            (Ok(()), Err(error)) => (Destination::Topic, error),
            (Err(error), Ok(())) => (Destination::Bus, error),
        };
        if delivered.is_none()
            && let Err(unrecorded) = ledger.record_delivery(&key, &identity, destination, now).await
        {
            return Err(error.context(format!("{unrecorded:#}; in addition")));
        }
        Err(error)
    }

    fn message(&self, alert: &Alert) -> Message {
        let AlertSettings { documentation, stack, policy, .. } = &self.settings;
        let alert = alert.clone().with_runbook(documentation).with_stack(stack);
        alert.with_policy(policy).message(self.arn_part(1, "aws"))
    }

    /// A part of the topic's ARN: 1 is the partition, and 3 is the region.
    fn arn_part(&self, nth: usize, otherwise: &'static str) -> &str {
        self.settings.topic_arn.split(':').nth(nth).unwrap_or(otherwise)
    }

    async fn publish_to_topic(&self, message: &Message) -> anyhow::Result<()> {
        let publish = self.sns.publish().topic_arn(&self.settings.topic_arn);
        let publish = publish.subject(&message.subject).message(&message.body);
        publish.message_structure("json").send().await.map_err(crate::explain)?;
        Ok(())
    }

    async fn put_on_bus(&self, alert: &Alert, message: &Message) -> anyhow::Result<()> {
        let suffix = if self.arn_part(1, "aws") == "aws-cn" { ".cn" } else { "" };
        let region = self.arn_part(3, "us-east-1");
        let endpoint = format!("https://events.{region}.amazonaws.com{suffix}");
        let client = JsonClient::new(&self.sdk, "events", "AWSEvents", &endpoint)?;
        let event = json!({
            "EventBusName": self.settings.bus_name,
            "Source": EVENT_SOURCE,
            "DetailType": alert.kind.to_string(),
            "Detail": message.json,
            "Resources": message.repository_arn.iter().collect::<Vec<_>>(),
        });
        let answer = client.call("PutEvents", &json!({"Entries": [event]})).await?;
        read_answer(serde_json::from_value(answer).context("reading the answer of PutEvents")?)
    }
}

/// Returns the error of the event, if EventBridge refused it.
fn read_answer(answer: PutEventsAnswer) -> anyhow::Result<()> {
    if answer.failed_entry_count == 0 {
        return Ok(());
    }
    let refused = answer.entries.into_iter().find_map(|entry| {
        Some(ServiceError { code: entry.error_code?, message: entry.error_message })
    });
    let unknown = || ServiceError { code: "UnknownError".to_owned(), message: None };
    Err(refused.unwrap_or_else(unknown).into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn check(answer: Value, expected: Option<&str>) {
        let read = read_answer(serde_json::from_value(answer).unwrap());
        assert_eq!(read.err().map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn an_event_that_the_bus_refuses_is_an_error() {
        check(json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}), None);
        check(
            json!({"FailedEntryCount": 1, "Entries": [
                {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"},
            ]}),
            Some("InternalFailure: try again"),
        );
        check(json!({"FailedEntryCount": 1}), Some("UnknownError"));
    }
}
