//! Deliveries between the services: events to functions by rules, messages to subscribers, and failed
//! events to dead-letter queues and destinations.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::authorization::UndeliveredEvent;
use crate::lambda::DeadLetter;
use crate::policy::Caller;
use crate::queue::QueuedEvent;
use crate::{ACCOUNT, LocalAws, REGION, RuleTarget, local_arn, services};

/// The event of a change of a parameter, by
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html>.
fn parameter_event(change: &services::ParameterChange, nth: u64, now: crate::ecr::Time) -> Value {
    let services::ParameterChange { operation, region, name, kind } = change;
    let path = name.strip_prefix('/').unwrap_or(name);
    let time = aws_smithy_types::DateTime::from_secs_f64(now.floor());
    json!({
        "version": "0",
        "id": format!("00000000-0000-4000-a000-{nth:012x}"),
        "detail-type": "Parameter Store Change",
        "source": "aws.ssm",
        "account": ACCOUNT,
        "time": time.fmt(aws_smithy_types::date_time::Format::DateTime).unwrap_or_default(),
        "region": region,
        "resources": [format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter/{path}")],
        "detail": {"operation": operation, "name": name, "type": kind},
    })
}

impl LocalAws {
    /// Delivers the events that the services sent to EventBridge, and the published messages.
    pub(crate) fn deliver(&self) {
        let mut due = Vec::new();
        {
            let state = &mut *self.state();
            state.replicate();
            let registries = state.registries.values_mut();
            let mut events: Vec<Value> =
                registries.flat_map(|registry| std::mem::take(&mut registry.events)).collect();
            let changes = self.services().take_parameter_changes();
            for change in changes {
                state.requests += 1;
                events.push(parameter_event(&change, state.requests, state.now()));
            }
            for event in &events {
                // A rule receives the events of its own account and region only.
                let rules = state.rules.iter().filter(|rule| {
                    event["account"] == ACCOUNT
                        && event["region"] == REGION
                        && rule.pattern.matches(event)
                });
                due.extend(rules.map(|rule| {
                    let dead_letter = rule.dead_letter.clone();
                    let target = match &rule.target {
                        RuleTarget::Function(function) => {
                            local_arn("lambda", &format!("function:{function}"))
                        }
                        RuleTarget::Queue(queue) => queue.clone(),
                    };
                    let to_queue = |queue: String| UndeliveredEvent {
                        sender: Caller::Service("events.amazonaws.com".to_owned()),
                        source: local_arn("events", &format!("rule/{}", rule.name)),
                        target: target.clone(),
                        queue,
                        body: event.to_string(),
                    };
                    let dead_letter = dead_letter.map(to_queue);
                    match &rule.target {
                        RuleTarget::Function(function) => {
                            (Ok((function.clone(), event.clone())), dead_letter)
                        }
                        RuleTarget::Queue(queue) => (Err(to_queue(queue.clone())), dead_letter),
                    }
                }));
            }
            state.events.extend(events);
        }
        for (target, dead_letter) in due {
            match target {
                Err(event) => self.state().queued_events.push(QueuedEvent { event, dead_letter }),
                // EventBridge does not retry where the function does not exist.
                Ok((function, event)) => {
                    if self.lambda().invoke_async(&function, event).is_err() {
                        self.state().undelivered_events.extend(dead_letter);
                    }
                }
            }
        }
    }

    /// Delivers the published messages: invokes functions and sends messages to queues. The messages
    /// for people and web servers are recorded, so that a test can read them.
    pub(crate) async fn deliver_messages(&self) {
        self.send_queued().await;
        self.send_delayed().await;
        self.send_undelivered().await;
        for delivery in self.services().take_deliveries() {
            match delivery.protocol.as_str() {
                "lambda" => {
                    let event = services::lambda_event(&delivery);
                    let queue = self.state().redrive.get(&delivery.endpoint).cloned();
                    if !self.run(&delivery.endpoint, &event) {
                        let dead_letter = queue.map(|queue| UndeliveredEvent {
                            sender: Caller::Service("sns.amazonaws.com".to_owned()),
                            source: delivery.topic_arn.clone(),
                            target: delivery.endpoint.clone(),
                            queue,
                            body: delivery.body(),
                        });
                        self.state().undelivered_events.extend(dead_letter);
                        self.send_undelivered().await;
                    }
                }
                "sqs" => self.send(&delivery.endpoint, &delivery.body(), &BTreeMap::new()).await,
                _ => {}
            }
            self.state().deliveries.push(delivery);
        }
    }

    /// Delivers a dead letter of an asynchronous invocation.
    pub(crate) async fn post(&self, letter: &DeadLetter) {
        if !self.may_hand_on(&letter.function, &letter.arn) {
            let lost = (letter.arn.clone(), letter.body.to_string());
            return self.state().undelivered.push(lost);
        }
        if letter.arn.starts_with("arn:aws:lambda:") {
            self.run(&letter.arn, &letter.body);
        } else {
            self.send(&letter.arn, &letter.body.to_string(), &letter.attributes).await;
        }
    }

    /// Invokes the function of this ARN. Returns whether the function exists.
    fn run(&self, arn: &str, event: &Value) -> bool {
        let name = arn.rsplit(':').next().unwrap_or_default();
        let is_run = self.lambda().invoke_async(name, event.clone()).is_ok();
        if !is_run {
            self.state().undelivered.push((arn.to_owned(), event.to_string()));
        }
        is_run
    }

    /// Sends a message to the queue of this ARN. A refused message is recorded; AWS only counts it in
    /// a metric.
    pub(crate) async fn send(&self, arn: &str, body: &str, attributes: &BTreeMap<&str, String>) {
        let parts: Vec<&str> = arn.split(':').collect();
        let &[_, _, _, region, account, queue] = parts.as_slice() else {
            return self.state().undelivered.push((arn.to_owned(), body.to_owned()));
        };
        let attributes: serde_json::Map<String, Value> = attributes
            .iter()
            .map(|(name, value)| {
                let kind = if *name == "ErrorCode" { "Number" } else { "String" };
                ((*name).to_owned(), json!({"DataType": kind, "StringValue": value}))
            })
            .collect();
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/sqs/aws4_request, Signature=any"
        );
        let call = async |operation: &str, input: Value| {
            let request = Request::post("/")
                .header("content-type", "application/x-amz-json-1.0")
                .header("authorization", &scope)
                .header("x-amz-target", format!("AmazonSQS.{operation}"))
                .body(Bytes::from(input.to_string()));
            // The parts of a malformed ARN may be invalid in a header.
            let Ok(request) = request else { return Value::Null };
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
        if !sent["MessageId"].is_string() {
            self.state().undelivered.push((arn.to_owned(), body.to_owned()));
        }
    }
}
