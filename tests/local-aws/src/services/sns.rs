//! Topics, their subscriptions, and the messages that each subscriber receives.
//!
//! The crate for SNS stores topics and subscriptions and accepts any message. This module checks the
//! messages. Subscriptions are confirmed from the start. A filter policy is an error, because it
//! would be ignored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value, json};
use winterbaume_core::MockResponse;
use winterbaume_sns::types::Subscription;
use winterbaume_sns::{InMemorySnsBackend, SnsBackend, SnsService};

use super::{Answer, Call, Refusal};
use crate::ACCOUNT;
use crate::query::{self, Input};

/// The protocols of subscriptions.
///
/// <https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html>
const PROTOCOLS: &[&str] =
    &["application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"];

/// Amazon SNS.
pub struct Sns {
    service: SnsService,
    state: Arc<InMemorySnsBackend>,
    deliveries: Mutex<Vec<Delivery>>,
}

/// The message that a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The ARN of the topic.
    pub topic_arn: String,
    /// The ARN of the subscription.
    pub subscription_arn: String,
    /// The protocol: `lambda`, `sqs`, `email`, `https` and so on.
    pub protocol: String,
    /// The endpoint: the ARN of a function or a queue, or an address.
    pub endpoint: String,
    /// The ID of the message, which all subscribers receive.
    pub message_id: String,
    /// The text for this protocol.
    pub message: String,
    /// The subject.
    pub subject: Option<String>,
    /// The attributes. Empty when the message has a text for each protocol.
    pub attributes: BTreeMap<String, Attribute>,
    /// The time of publishing, as in `2026-11-24T02:50:02.642Z`.
    pub timestamp: String,
    /// Whether a queue or an HTTP endpoint receives the text without the notification.
    pub raw: bool,
}

/// An attribute of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number`, `Binary`, `String.Array`.
    pub data_type: String,
    /// The text, or binary data in base 64.
    pub value: String,
}

impl Delivery {
    /// The body that a queue or an HTTP endpoint receives.
    ///
    /// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
    #[must_use]
    pub fn body(&self) -> String {
        if self.raw {
            return self.message.clone();
        }
        let mut body = self.notification("URL");
        if self.attributes.is_empty() {
            body.remove("MessageAttributes");
        }
        if self.subject.is_none() {
            body.remove("Subject");
        }
        Value::Object(body).to_string()
    }

    /// The notification, with two URLs that end in this suffix for this kind of endpoint.
    fn notification(&self, url: &str) -> Map<String, Value> {
        let region = self.topic_arn.split(':').nth(3).unwrap_or_default();
        let host = format!("https://sns.{region}.amazonaws.com");
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|(name, Attribute { data_type, value })| {
                (name.clone(), json!({"Type": data_type, "Value": value}))
            })
            .collect();
        let unsubscribe =
            format!("{host}/?Action=Unsubscribe&SubscriptionArn={}", self.subscription_arn);
        Map::from_iter([
            ("Type".to_owned(), "Notification".into()),
            ("MessageId".to_owned(), self.message_id.as_str().into()),
            ("TopicArn".to_owned(), self.topic_arn.as_str().into()),
            ("Subject".to_owned(), self.subject.clone().into()),
            ("Message".to_owned(), self.message.as_str().into()),
            ("Timestamp".to_owned(), self.timestamp.as_str().into()),
            ("SignatureVersion".to_owned(), "1".into()),
            ("Signature".to_owned(), "EXAMPLE".into()),
            (format!("SigningCert{url}"), format!("{host}/SimpleNotificationService.pem").into()),
            (format!("Unsubscribe{url}"), unsubscribe.into()),
            ("MessageAttributes".to_owned(), attributes.into()),
        ])
    }
}

/// The event that a function is invoked with.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
#[must_use]
pub fn lambda_event(delivery: &Delivery) -> Value {
    json!({"Records": [{
        "EventVersion": "1.0",
        "EventSubscriptionArn": delivery.subscription_arn,
        "EventSource": "aws:sns",
        "Sns": delivery.notification("Url"),
    }]})
}

impl Default for Sns {
    fn default() -> Self {
        let state = Arc::new(InMemorySnsBackend::new());
        let deliveries = Mutex::default();
        Self { service: SnsService::with_backend(state.clone()), state, deliveries }
    }
}

impl Sns {
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub async fn serve(&self, call: &Call) -> Answer {
        let input = query::read(&String::from_utf8_lossy(&call.body));
        match text(&input, "Action") {
            "Publish" => self.publish(call, &input).await,
            "Subscribe" => self.subscribe(call, &input).await,
            "CreateTopic" => {
                let name = text(&input, "Name");
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                // The crate would serve a FIFO topic as a standard topic.
                if !(1..=256).contains(&name.len()) || !name.chars().all(allowed) {
                    return Err(invalid("Topic Name"));
                }
                Ok(call.forward(&self.service).await)
            }
            "SetSubscriptionAttributes" => {
                check_attribute(text(&input, "AttributeName"))?;
                Ok(call.forward(&self.service).await)
            }
            "DeleteTopic"
            | "GetSubscriptionAttributes"
            | "GetTopicAttributes"
            | "ListSubscriptions"
            | "ListSubscriptionsByTopic"
            | "ListTopics"
            | "SetTopicAttributes"
            | "Unsubscribe" => Ok(call.forward(&self.service).await),
            action => {
                let message = format!("Could not find operation {action} for version 2010-03-31");
                Err(Refusal::new("InvalidAction", message))
            }
        }
    }

    async fn subscribers(&self, call: &Call, topic: &str) -> Result<Vec<Subscription>, Refusal> {
        let (account, region) = (ACCOUNT.to_owned(), call.region.clone());
        let found = self.state.list_subscriptions_by_topic(account, region, topic.to_owned()).await;
        found.map_err(|_| Refusal {
            status: 404,
            ..Refusal::new("NotFound", "Topic does not exist")
        })
    }

    /// Subscribes an endpoint. An endpoint that is subscribed already keeps its subscription.
    ///
    /// <https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html>
    async fn subscribe(&self, call: &Call, input: &Input) -> Answer {
        let (protocol, endpoint) = (text(input, "Protocol"), text(input, "Endpoint"));
        if !PROTOCOLS.contains(&protocol) {
            return Err(invalid("Protocol"));
        }
        let fits = match protocol {
            "email" | "email-json" => endpoint.contains('@'),
            "http" | "https" => endpoint.starts_with(&format!("{protocol}://")),
            "lambda" | "sqs" | "firehose" => endpoint.starts_with("arn:"),
            _ => !endpoint.is_empty(),
        };
        if !fits {
            return Err(invalid("Endpoint"));
        }
        let attributes = entries(input, "Attributes", "key");
        for attribute in attributes.keys() {
            check_attribute(attribute)?;
        }
        let topic = text(input, "TopicArn");
        let subscribers = self.subscribers(call, topic).await?;
        let (account, region) = (ACCOUNT.to_owned(), call.region.clone());
        let mut same = subscribers.into_iter();
        let arn = match same.find(|found| found.protocol == protocol && found.endpoint == endpoint)
        {
            Some(subscription) => subscription.arn,
            None => self
                .state
                .subscribe(
                    account.clone(),
                    region.clone(),
                    topic.to_owned(),
                    protocol.to_owned(),
                    endpoint.to_owned(),
                )
                .await
                .map_err(|error| Refusal::new("InternalError", error.to_string()))?,
        };
        for (name, entry) in attributes {
            let value = entry.get("value").cloned().unwrap_or_default();
            let (account, region) = (account.clone(), region.clone());
            let set =
                self.state.set_subscription_attributes(account, region, arn.clone(), name, value);
            set.await.map_err(|error| Refusal::new("InternalError", error.to_string()))?;
        }
        let arn = query::element("SubscriptionArn", &arn);
        Ok(MockResponse::xml(200, query::result("Subscribe", &arn)))
    }

    /// Checks a message, and sends each subscriber its text.
    ///
    /// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
    async fn publish(&self, call: &Call, input: &Input) -> Answer {
        let (topic, message) = (text(input, "TopicArn"), text(input, "Message"));
        if topic.is_empty() {
            return Err(invalid("TopicArn"));
        }
        let subscribers = self.subscribers(call, topic).await?;
        let subject = input.get("Subject").cloned();
        let length = subject.as_ref().map_or(1, |subject| subject.chars().count());
        let controls = subject.as_ref().is_some_and(|subject| subject.contains(char::is_control));
        if !(1..100).contains(&length) || controls {
            return Err(invalid("Subject"));
        }
        let attributes: BTreeMap<String, Attribute> = entries(input, "MessageAttributes", "Name")
            .into_iter()
            .map(|(name, entry)| {
                let value = entry.get("Value.StringValue").or(entry.get("Value.BinaryValue"));
                let value = value.cloned().unwrap_or_default();
                let data_type = entry.get("Value.DataType").cloned().unwrap_or_default();
                (name, Attribute { data_type, value })
            })
            .collect();
        let size = |(name, Attribute { data_type, value }): (&String, &Attribute)| {
            name.len() + data_type.len() + value.len()
        };
        if message.is_empty() {
            return Err(invalid("Empty message"));
        }
        if message.len() + attributes.iter().map(size).sum::<usize>() > 262_144 {
            return Err(invalid("Message too long"));
        }
        let texts = match text(input, "MessageStructure") {
            "" => None,
            "json" => Some(texts(message)?),
            _ => return Err(invalid("MessageStructure")),
        };
        let (account, region) = (ACCOUNT.to_owned(), call.region.clone());
        let published =
            self.state.publish(account, region, topic.to_owned(), message.to_owned()).await;
        let message_id =
            published.map_err(|error| Refusal::new("InternalError", error.to_string()))?;
        let timestamp = now();
        let delivery = |subscriber: Subscription| {
            let protocol = &subscriber.protocol;
            let chosen =
                texts.as_ref().and_then(|texts| texts.get(protocol).or(texts.get("default")));
            let raw = subscriber.attributes.get("RawMessageDelivery");
            Delivery {
                topic_arn: topic.to_owned(),
                message_id: message_id.clone(),
                message: chosen.map_or(message, String::as_str).to_owned(),
                subject: subject.clone(),
                attributes: if texts.is_some() { BTreeMap::new() } else { attributes.clone() },
                timestamp: timestamp.clone(),
                raw: raw.is_some_and(|raw| raw == "true"),
                subscription_arn: subscriber.arn,
                protocol: subscriber.protocol,
                endpoint: subscriber.endpoint,
            }
        };
        let mut sent: Vec<Delivery> = subscribers.into_iter().map(delivery).collect();
        // The crate returns the subscriptions in no order.
        sent.sort_by(|a, b| (&a.protocol, &a.endpoint).cmp(&(&b.protocol, &b.endpoint)));
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).extend(sent);
        let id = format!("<MessageId>{message_id}</MessageId>");
        Ok(MockResponse::xml(200, query::result("Publish", &id)))
    }
}

/// The text for each protocol. Other values are ignored, as SNS does.
fn texts(message: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let Ok(Value::Object(texts)) = serde_json::from_str(message) else {
        return Err(invalid("Message Structure - JSON message body failed to parse"));
    };
    let texts: BTreeMap<String, String> = texts
        .into_iter()
        .filter_map(|(protocol, text)| Some((protocol, text.as_str()?.to_owned())))
        .collect();
    if !texts.contains_key("default") {
        return Err(invalid("Message Structure - No default entry in JSON message body"));
    }
    Ok(texts)
}

/// Refuses a filter policy: without its evaluation, a subscriber would receive a message that AWS
/// filters out.
fn check_attribute(name: &str) -> Result<(), Refusal> {
    if name.starts_with("FilterPolicy") {
        return Err(invalid("filter policies are not served here"));
    }
    Ok(())
}

/// The members of a map in a form, `Attributes.entry.1.key` and its like, by their key.
fn entries(input: &Input, of: &str, key: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let entry = |n: u32| -> Option<(String, BTreeMap<String, String>)> {
        let prefix = format!("{of}.entry.{n}.");
        let fields: BTreeMap<String, String> = input
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(&prefix)?.to_owned(), value.clone()))
            })
            .collect();
        Some((fields.get(key)?.clone(), fields))
    };
    (1..).map_while(entry).collect()
}

fn text<'a>(input: &'a Input, name: &str) -> &'a str {
    input.get(name).map_or("", String::as_str)
}

fn invalid(what: &str) -> Refusal {
    Refusal::new("InvalidParameter", format!("Invalid parameter: {what}"))
}

fn now() -> String {
    let millis = DateTime::from(SystemTime::now()).to_millis().unwrap_or_default();
    DateTime::from_millis(millis).fmt(Format::DateTime).unwrap_or_default()
}
