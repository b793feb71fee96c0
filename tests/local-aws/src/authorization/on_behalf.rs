//! Calls that services of AWS make for others: each is judged as AWS judges it.
//!
//! Lambda logs, traces and hands failed events on with the role of the function, by
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html>. Scheduler
//! invokes a function with the role of the schedule, by
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html>. EventBridge, SNS and
//! CloudWatch have no role: the policy of the queue, the topic or the key lets them in, by
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-resource-based.html> and
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html>.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request as HttpRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::requirements::Permission;
use super::{Verdict, request};
use crate::call::Called;
use crate::policy::Caller;
use crate::{ACCOUNT, LocalAws};

/// The role of a function, and the calls that Lambda makes with it.
#[derive(Clone, Debug)]
pub(crate) struct FunctionRole {
    /// The ARN of the role.
    pub arn: String,
    /// The name of the function's log group; empty if the template names none.
    pub log_group: String,
    /// Whether Lambda traces the function.
    pub traces: bool,
}

/// An event that could not be delivered, on its way to a dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct UndeliveredEvent {
    /// The sender: a service such as `events.amazonaws.com`, or the role of a schedule.
    pub sender: Caller,
    /// The ARN of the rule, the topic or the schedule.
    pub source: String,
    /// The ARN of the function or the queue that did not receive the event.
    pub target: String,
    /// The ARN of the queue.
    pub queue: String,
    pub body: String,
}

impl UndeliveredEvent {
    /// The attributes of the message, by
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html>,
    /// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html> and
    /// <https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html>.
    fn attributes(&self) -> BTreeMap<&'static str, String> {
        let source = match &self.sender {
            Caller::Service(service) if service.starts_with("sns.") => {
                let message = format!("Unable to invoke the function {}", self.target);
                return BTreeMap::from([
                    ("ErrorCode", "404".to_owned()),
                    ("ErrorMessage", message),
                ]);
            }
            Caller::Service(_) => "RULE_ARN",
            Caller::Role { .. } => "SCHEDULE_ARN",
        };
        BTreeMap::from([
            (source, self.source.clone()),
            ("TARGET_ARN", self.target.clone()),
            ("ERROR_CODE", "RESOURCE_NOT_FOUND".to_owned()),
            ("ERROR_MESSAGE", "The target does not exist".to_owned()),
        ])
    }
}

impl LocalAws {
    /// Whether this sender may do this to a resource. The judgement is recorded.
    fn may(&self, sender: Caller, permission: Permission) -> bool {
        let parts: Vec<&str> = permission.resource.split(':').collect();
        let mut called = Called::new("", "");
        if let [_, _, _, region, account, ..] = parts.as_slice() {
            (*region).clone_into(&mut called.region);
            (*account).clone_into(&mut called.account);
        }
        let judged = self.state().authorize(request(&called, sender, permission));
        matches!(judged, Ok(None))
    }

    /// Whether the role of a function may do this. A function without a role may do everything.
    pub(crate) fn function_may(&self, function: &str, action: &str, resource: &str) -> bool {
        let Some(role) = self.state().roles.get(function).cloned() else { return true };
        let caller = Caller::Role { arn: role.arn, session: function.to_owned() };
        self.may(caller, Permission::new(action, resource))
    }

    /// Whether Lambda may write the log of a function. It traces the function on the way.
    pub(crate) fn may_log(&self, function: &str) -> bool {
        let Some(role) = self.state().roles.get(function).cloned() else { return true };
        if role.traces {
            for action in ["xray:PutTraceSegments", "xray:PutTelemetryRecords"] {
                self.function_may(function, action, "*");
            }
        }
        let stream = format!("log-group:{}:log-stream:$LATEST", role.log_group);
        let stream = crate::local_arn("logs", &stream);
        let actions = ["logs:CreateLogStream", "logs:PutLogEvents"];
        actions.iter().all(|action| self.function_may(function, action, &stream))
    }

    /// Whether Lambda may send a failed event of a function to a queue or to another function.
    pub(crate) fn may_hand_on(&self, function: &str, arn: &str) -> bool {
        let is_queue = arn.starts_with("arn:aws:sqs:");
        let action = if is_queue { "sqs:SendMessage" } else { "lambda:InvokeFunction" };
        self.function_may(function, action, arn)
    }

    /// Whether the role of a schedule may invoke a function.
    pub(crate) fn schedule_may_invoke(&self, role: &str, function: &str) -> bool {
        let function = crate::local_arn("lambda", &format!("function:{function}"));
        self.may(schedule_session(role), Permission::new("lambda:InvokeFunction", function))
    }

    /// Whether a sender may do this for a source, such as a rule or an alarm.
    pub(crate) fn sender_may(
        &self,
        sender: &Caller,
        action: &str,
        resource: &str,
        source: &str,
    ) -> bool {
        let mut permission = Permission::new(action, resource);
        // EventBridge does not name its source to a key:
        // <https://repost.aws/knowledge-center/sns-not-getting-eventbridge-notification>.
        let is_events =
            matches!(sender, Caller::Service(service) if service.starts_with("events."));
        if !(is_events && action.starts_with("kms:")) {
            permission = permission
                .with("aws:SourceArn", vec![source.to_owned()])
                .with("aws:SourceAccount", vec![ACCOUNT.to_owned()]);
        }
        self.may(sender.clone(), permission)
    }

    /// Sends the events that were not delivered to their dead-letter queues.
    pub(crate) async fn send_undelivered(&self) {
        let events = std::mem::take(&mut self.state().undelivered_events);
        for event in events {
            let UndeliveredEvent { sender, source, queue, body, .. } = &event;
            if self.sender_may(sender, "sqs:SendMessage", queue, source) {
                self.send(queue, body, &event.attributes()).await;
            } else {
                self.state().undelivered.push((event.queue, event.body));
            }
        }
    }

    /// Publishes a message as a service does, such as `cloudwatch.amazonaws.com` for an alarm of
    /// this ARN. The error is the refusal.
    pub async fn publish_as(
        &self,
        service: &str,
        source: &str,
        topic: &str,
        message: &str,
    ) -> anyhow::Result<()> {
        let sender = Caller::Service(service.to_owned());
        let key = self.state().keys.get(topic).cloned();
        let of_key = key.iter().flat_map(|key| {
            ["kms:GenerateDataKey", "kms:Decrypt"].map(|action| (action, key.as_str()))
        });
        for (action, resource) in [("sns:Publish", topic)].into_iter().chain(of_key) {
            if !self.sender_may(&sender, action, resource, source) {
                bail!("{service} may not {action} on {resource}");
            }
        }
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let body =
            format!("Action=Publish&TopicArn={}&Message={}", encoded(topic), encoded(message));
        let response =
            self.services().handle("sns", HttpRequest::post("/").body(body.into())?).await;
        if !response.status().is_success() {
            bail!("{}", String::from_utf8_lossy(response.body()));
        }
        self.deliver_messages().await;
        Ok(())
    }

    /// A call with the session token of a caller, in the JSON protocol or as a form: the status
    /// and the body of the answer. `input` is flat for a form.
    pub async fn call_as(
        &self,
        token: &str,
        service: &str,
        operation: &str,
        input: &serde_json::Value,
    ) -> anyhow::Result<(u16, String)> {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/{}/{service}/aws4_request, Signature=any",
            crate::REGION
        );
        let request = HttpRequest::post("/")
            .header("authorization", scope)
            .header("x-amz-security-token", token);
        let is_form = matches!(service, "cloudformation" | "iam" | "sns");
        let request = if is_form {
            let fields = input.as_object().into_iter().flatten().map(|(name, value)| {
                let value = value.as_str().unwrap_or_default();
                format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            });
            let body = format!("Action={operation}{}", fields.collect::<String>());
            let form = "application/x-www-form-urlencoded";
            request.header("content-type", form).body(Bytes::from(body))
        } else {
            let request = request.header("content-type", "application/x-amz-json-1.1");
            let request = request.header("x-amz-target", format!("local.{operation}"));
            request.body(Bytes::from(input.to_string()))
        };
        let answer = self.handle(request?).await.ok().context("the connection was broken")?;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        Ok((answer.status().as_u16(), body))
    }
}

/// Scheduler, with the role of a schedule.
pub(crate) fn schedule_session(role: &str) -> Caller {
    Caller::Role { arn: role.to_owned(), session: "schedule".to_owned() }
}

impl Verdict {
    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}
