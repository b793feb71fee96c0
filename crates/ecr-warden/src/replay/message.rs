//! Reads the messages of the dead-letter queues, and decides which function receives each event again.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use warden_core::text::short_line;

use super::DeadLetterQueue;

/// The most characters of the description of an event.
const LONGEST_EVENT: usize = 200;
/// The most characters of an error.
const LONGEST_ERROR: usize = 1_000;
/// CloudFormation sends its requests again itself, and this function answers an old request with an error.
const CUSTOM_RESOURCE: &str = "CustomResourceFunction";

/// A message, as SQS returns it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Message {
    /// The ID, which stays the same in each delivery.
    #[serde(rename = "MessageId")]
    pub id: String,
    /// The handle of this delivery.
    #[serde(rename = "ReceiptHandle")]
    pub receipt: String,
    /// The body.
    #[serde(rename = "Body")]
    pub body: String,
    /// The attributes that the sender gave to the message.
    #[serde(rename = "MessageAttributes", default)]
    pub attributes: BTreeMap<String, Attribute>,
}

/// An attribute of a message.
#[derive(Clone, Debug, Deserialize)]
pub struct Attribute {
    /// The value of a text or a number.
    #[serde(rename = "StringValue")]
    pub text: Option<String>,
}

/// The functions of a stack, and the queues from which Lambda takes events for them.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The logical ID of each function, by its ARN.
    pub functions: BTreeMap<String, String>,
    /// The logical ID of the function that a queue feeds, by the ARN of the queue.
    pub queues: BTreeMap<String, String>,
}

/// A message and the action of a replay.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// The event, in a few words.
    pub event: String,
    /// Why the event is in the queue. Empty if the message does not say.
    pub error: String,
    /// The action of a replay, or the reason why the message stays in its queue.
    pub replay: Result<Replay, String>,
}

/// The action of a replay.
#[derive(Clone, Debug, PartialEq)]
pub enum Replay {
    /// Invokes a function with the event, as EventBridge and SNS do.
    Invoke {
        /// The logical ID of the function.
        function: String,
        /// The event.
        payload: Value,
    },
    /// Invokes a function with messages, as Lambda does for a queue.
    Batch {
        /// The logical ID of the function.
        function: String,
    },
}

impl Replay {
    /// The logical ID of the function.
    #[must_use]
    pub fn function(&self) -> &str {
        match self {
            Self::Invoke { function, .. } | Self::Batch { function } => function,
        }
    }
}

/// Reads a message of one of the queues.
#[must_use]
pub fn read(queue: DeadLetterQueue, message: Message, targets: &Targets) -> Letter {
    let body: Option<Value> = serde_json::from_str(&message.body).ok();
    let body = body.unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attribute = |name: &str| message.attributes.get(name)?.text.as_deref();
    let (event, error, replay) = match queue {
        DeadLetterQueue::FailedEvents => {
            let context = body.get("requestContext").cloned().unwrap_or_default();
            let arn = text(context.get("functionArn").unwrap_or(&Value::Null));
            let error = body.pointer("/responsePayload/errorMessage");
            let error = error.or_else(|| context.get("condition")).map(text).unwrap_or_default();
            let event = body.get("requestPayload").filter(|event| !event.is_null()).cloned();
            let replay = match event.clone() {
                Some(payload) => to_function(&arn, payload, targets),
                None => Err("the message has no requestPayload".to_owned()),
            };
            (event.unwrap_or_default(), error, replay)
        }
        DeadLetterQueue::FailedFindings => {
            let function = "ScanCompleteFunction".to_owned();
            (body, String::new(), Ok(Replay::Batch { function }))
        }
        DeadLetterQueue::FailedSweeps => {
            // The pushed image in the message is listed by now, so the repository is enough.
            let replay = match body.get("repository").filter(|name| name.is_string()) {
                Some(name) => Ok(Replay::Invoke {
                    function: "ImageSweepFunction".to_owned(),
                    payload: json!({"repository": name}),
                }),
                None => Err("the message names no repository".to_owned()),
            };
            (body, String::new(), replay)
        }
        DeadLetterQueue::UndeliveredEvents => {
            let error = attribute("ERROR_MESSAGE").or_else(|| attribute("ErrorMessage"));
            let error = error.unwrap_or_default().to_owned();
            let replay = match (attribute("TARGET_ARN"), body.get("TopicArn")) {
                _ if body.is_null() => Err("the message is not JSON".to_owned()),
                (Some(arn), _) => match targets.queues.get(arn) {
                    Some(function) => Ok(Replay::Batch { function: function.clone() }),
                    None => to_function(arn, body.clone(), targets),
                },
                // SNS names no target, and the topic has one function.
                (None, Some(_)) => {
                    let function = "SlackNotifierFunction".to_owned();
                    if targets.functions.values().any(|known| *known == function) {
                        Ok(Replay::Invoke { function, payload: body.clone() })
                    } else {
                        Err(format!("the stack has no {function}"))
                    }
                }
                (None, None) => Err("the message names no target".to_owned()),
            };
            (body, error, replay)
        }
    };
    Letter {
        message,
        event: short_line(&describe(&event), LONGEST_EVENT),
        error: short_line(&error, LONGEST_ERROR),
        replay,
    }
}

/// Invokes the function with this ARN, if the function belongs to the stack.
fn to_function(arn: &str, payload: Value, targets: &Targets) -> Result<Replay, String> {
    // A version or an alias follows the name, as in `…:function:NAME:$LATEST`.
    let unqualified: Vec<&str> = arn.split(':').take(7).collect();
    match targets.functions.get(&unqualified.join(":")) {
        Some(function) if function == CUSTOM_RESOURCE => {
            Err("CloudFormation sends its requests again itself".to_owned())
        }
        Some(function) => Ok(Replay::Invoke { function: function.clone(), payload }),
        None => Err(format!("{arn:?} is not a function of the stack")),
    }
}

/// The messages as the event of a function that a queue feeds, by
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.
#[must_use]
pub fn record(message: &Message, queue: &str) -> Value {
    json!({
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": queue,
    })
}

/// An event in a few words: its kind, and what it is about.
fn describe(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let about = [
        text("/detail/repository-name"),
        text("/detail/image-tag"),
        text("/detail/image-tags/0"),
        text("/detail/name"),
        text("/detail/packageVulnerabilityDetails/vulnerabilityId"),
        text("/detail/resources/0/details/awsEcrContainerImage/repositoryName"),
    ];
    if let Some(kind) = text("/detail-type") {
        let mut words = vec![kind];
        words.extend(about.into_iter().flatten());
        return words.join(" ");
    }
    if let Some(repository) = text("/repository") {
        return format!("a sweep of {repository}");
    }
    let subject = text("/Subject").or_else(|| text("/Records/0/Sns/Subject"));
    match (subject, text("/TopicArn").or_else(|| text("/Records/0/Sns/TopicArn"))) {
        (Some(subject), _) => format!("an alert: {subject}"),
        (None, Some(_)) => "an alert".to_owned(),
        (None, None) => "an unknown event".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: &str =
        "arn:aws:lambda:us-east-1:123456789012:function:warden-SlackNotifierFunction-1";
    const PUSH: &str = "arn:aws:lambda:us-east-1:123456789012:function:warden-ImagePushFunction-1";
    const CUSTOM: &str = "arn:aws:lambda:us-east-1:123456789012:function:warden-Custom-1";
    const FINDINGS: &str = "arn:aws:sqs:us-east-1:123456789012:warden-InspectorFindings-1";

    fn targets() -> Targets {
        let text = |(arn, id): (&str, &str)| (arn.to_owned(), id.to_owned());
        let functions = [
            (PUSH, "ImagePushFunction"),
            (SLACK, "SlackNotifierFunction"),
            (CUSTOM, CUSTOM_RESOURCE),
        ];
        Targets {
            functions: functions.map(text).into(),
            queues: [(FINDINGS, "ScanCompleteFunction")].map(text).into(),
        }
    }

    fn letter(queue: DeadLetterQueue, body: &Value, attributes: &[(&str, &str)]) -> Letter {
        let attribute = |text: &str| Attribute { text: Some(text.to_owned()) };
        let attributes =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), attribute(value)));
        let message = Message {
            body: body.to_string(),
            attributes: attributes.collect(),
            ..Message::default()
        };
        read(queue, message, &targets())
    }

    fn failed(arn: &str, event: &Value) -> Letter {
        let body = json!({
            "requestContext": {"functionArn": arn, "condition": "RetriesExhausted"},
            "requestPayload": event,
            "responsePayload": {"errorMessage": "publishing the alert"},
        });
        letter(DeadLetterQueue::FailedEvents, &body, &[])
    }

    fn push() -> Value {
        let detail = json!({"repository-name": "infrastructure", "image-tag": "litellm-1.80.5"});
        json!({"detail-type": "ECR Image Action", "detail": detail})
    }

    #[test]
    fn a_failed_event_goes_to_its_function_only_if_the_function_is_of_the_stack() {
        let letter = failed(&format!("{PUSH}:$LATEST"), &push());
        assert_eq!(letter.event, "ECR Image Action infrastructure litellm-1.80.5");
        assert_eq!(letter.error, "publishing the alert");
        let function = "ImagePushFunction".to_owned();
        assert_eq!(letter.replay, Ok(Replay::Invoke { function, payload: push() }));
        for (arn, reason) in [
            (PUSH.replace("123456789012", "210987654321"), "is not a function of the stack"),
            (PUSH.replace("us-east-1", "eu-west-1"), "is not a function of the stack"),
            (format!("{PUSH}x:$LATEST"), "is not a function of the stack"),
            (String::new(), "is not a function of the stack"),
            (CUSTOM.to_owned(), "CloudFormation sends its requests again itself"),
        ] {
            let error = failed(&arn, &push()).replay.unwrap_err();
            assert!(error.contains(reason), "{arn}: {error}");
        }
        let error = failed(PUSH, &Value::Null).replay.unwrap_err();
        assert_eq!(error, "the message has no requestPayload");
    }

    #[test]
    fn an_undelivered_event_goes_to_the_target_that_did_not_receive_it() {
        const QUEUE: DeadLetterQueue = DeadLetterQueue::UndeliveredEvents;
        let to_push = [("TARGET_ARN", PUSH), ("ERROR_MESSAGE", "Rate exceeded")];
        let found = letter(QUEUE, &push(), &to_push);
        assert_eq!(found.replay.unwrap().function(), "ImagePushFunction");
        assert_eq!(found.error, "Rate exceeded");
        let found = letter(QUEUE, &push(), &[("TARGET_ARN", FINDINGS)]);
        let function = "ScanCompleteFunction".to_owned();
        assert_eq!(found.replay, Ok(Replay::Batch { function }));
        let alert = json!({"TopicArn": "arn", "Subject": "An image was quarantined"});
        let found = letter(QUEUE, &alert, &[]);
        assert_eq!(found.event, "an alert: An image was quarantined");
        assert_eq!(found.replay.unwrap().function(), "SlackNotifierFunction");
        let elsewhere = FINDINGS.replace("warden", "other");
        for attributes in [&[][..], &[("TARGET_ARN", elsewhere.as_str())]] {
            assert!(letter(QUEUE, &push(), attributes).replay.is_err(), "{attributes:?}");
        }
        let message = Message { body: "text".to_owned(), ..Message::default() };
        assert!(read(QUEUE, message, &targets()).replay.is_err());
        let without_slack = Targets::default();
        let message = Message { body: alert.to_string(), ..Message::default() };
        let error = read(QUEUE, message, &without_slack).replay.unwrap_err();
        assert_eq!(error, "the stack has no SlackNotifierFunction");
    }

    #[test]
    fn each_kind_of_event_has_a_description() {
        for (event, expected) in [
            (json!({"repository": "deployments"}), "a sweep of deployments"),
            (json!({"TopicArn": "arn"}), "an alert"),
            (
                json!({"Records": [{"Sns": {"TopicArn": "arn", "Subject": "New findings"}}]}),
                "an alert: New findings",
            ),
            (json!({"source": ["not", "an", "event"]}), "an unknown event"),
            (
                json!({"detail-type": "Parameter Store Change", "detail": {"name": "risks"}}),
                "Parameter Store Change risks",
            ),
        ] {
            assert_eq!(describe(&event), expected);
        }
    }
}
