//! What the services send each other: events to functions by rules, messages to subscribers,
//! and what has failed for good to where that goes.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};

use crate::lambda::Letter;
use crate::{LocalAws, services};

impl LocalAws {
    /// Hands on what the services told EventBridge and the subscribers of topics.
    pub(crate) fn deliver(&self) {
        let mut due = Vec::new();
        {
            let state = &mut *self.state();
            let registries = state.registries.values_mut();
            let events: Vec<Value> =
                registries.flat_map(|it| std::mem::take(&mut it.events)).collect();
            for event in &events {
                let rules = state.rules.iter().filter(|rule| rule.pattern.matches(event));
                due.extend(rules.map(|rule| (rule.function.clone(), event.clone())));
            }
            state.events.extend(events);
        }
        for (function, event) in due {
            // A rule of a function that is gone brings nothing to anybody.
            let _ = self.lambda().invoke_async(&function, event);
        }
    }

    /// Hands on what was published: functions are run and queues filled, and what people
    /// and web servers would get is kept to be looked at.
    pub(crate) async fn deliver_messages(&self) {
        for delivery in self.services().take_deliveries() {
            let name = delivery.endpoint.rsplit(':').next().unwrap_or_default();
            match delivery.protocol.as_str() {
                "lambda" => {
                    // A subscriber that is gone gets nothing.
                    let _ = self.lambda().invoke_async(name, services::lambda_event(&delivery));
                }
                "sqs" => self.send(name, &delivery.body(), &BTreeMap::new()).await,
                _ => {}
            }
            self.state().deliveries.push(delivery);
        }
    }

    /// Delivers what an asynchronous invocation ended in.
    pub(crate) async fn post(&self, letter: &Letter) {
        let name = letter.arn.rsplit(':').next().unwrap_or_default();
        if letter.arn.starts_with("arn:aws:lambda:") {
            let _ = self.lambda().invoke_async(name, letter.body.clone());
        } else {
            self.send(name, &letter.body.to_string(), &letter.attributes).await;
        }
    }

    /// Sends a message to a queue.
    async fn send(&self, queue: &str, body: &str, attributes: &BTreeMap<&str, String>) {
        let attributes: serde_json::Map<String, Value> = attributes
            .iter()
            .map(|(name, value)| {
                let kind = if *name == "ErrorCode" { "Number" } else { "String" };
                ((*name).to_owned(), json!({"DataType": kind, "StringValue": value}))
            })
            .collect();
        let call = async |operation: &str, input: Value| {
            let mut request = Request::new(Bytes::from(input.to_string()));
            *request.method_mut() = Method::POST;
            let headers = request.headers_mut();
            headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
            let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}"));
            headers.extend(
                target.ok().map(|target| (HeaderName::from_static("x-amz-target"), target)),
            );
            let response = self.services().handle("sqs", request).await;
            serde_json::from_slice(response.body()).unwrap_or(Value::Null)
        };
        let found = call("GetQueueUrl", json!({"QueueName": queue})).await;
        let message = json!({
            "QueueUrl": found["QueueUrl"],
            "MessageBody": body,
            "MessageAttributes": attributes,
        });
        let sent = call("SendMessage", message).await;
        assert!(sent["MessageId"].is_string(), "the queue {queue} took no message: {sent}");
    }
}
