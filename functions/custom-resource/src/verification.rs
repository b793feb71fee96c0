//! Whether CloudFormation sent a request.
//!
//! The permission to invoke a function is common: AWS's managed policy `AWSLambdaRole` grants it for
//! every function. So each request is checked against the events of the stack, which only
//! CloudFormation writes:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html>.
//! AWS does not document how soon an event can be read, so the events are read again for a while.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_cloudformation::types::StackEvent;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::Context;
use crate::request::Request;

/// The time for which the events are read again if they contradict the request, and if they cannot be
/// read. A right that a deployment has just granted takes up to a minute to have effect.
const RETRY_TIME: Duration = Duration::from_secs(30);
const UNREADABLE_RETRY_TIME: Duration = Duration::from_secs(120);
/// The pause between two readings.
const RETRY_PAUSE: Duration = Duration::from_secs(3);

/// The statuses of a stack at the start of an operation: older events belong to another operation.
const STARTS: [&str; 4] =
    ["CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "IMPORT_IN_PROGRESS", "UPDATE_IN_PROGRESS"];

/// The reason why a request to create or to update a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No operation of the stack is in progress.
    #[error("the stack is {0}")]
    AtRest(String),
    /// The operation of the stack has not started to change the resource.
    #[error("the stack's current operation has no event for the resource")]
    NoEvent,
    /// CloudFormation is neither creating nor updating the resource.
    #[error("the newest event of the resource is {0}")]
    Status(String),
    /// The resource has another type.
    #[error("the resource is of type {0}")]
    Type(String),
    /// The properties are not those that CloudFormation sent.
    #[error("the properties differ from the properties in the stack's event: {0}")]
    Properties(String),
    /// The old properties are none that CloudFormation ever sent.
    #[error(
        "the old properties differ from the properties in every earlier event of the resource: {0}"
    )]
    OldProperties(String),
    /// The properties of the event cannot be compared.
    #[error("the properties in the stack's event are not JSON")]
    Unreadable,
}

/// Fails unless CloudFormation is creating or updating this resource with these properties.
pub async fn verify_provision(context: &Context, request: &Request) -> anyhow::Result<()> {
    const FAILED: &str = "the request could not be verified, so nothing was changed";
    ensure!(
        request.stack_id == context.config.stack_id,
        "StackId: the request names another stack, so nothing was changed"
    );
    let start = Instant::now();
    loop {
        let (refusal, retry_time): (anyhow::Error, Duration) =
            match read(context, |event| judge_provision(event, request)).await {
                Ok(Some(Ok(()))) => {
                    return verify_old_properties(context, request).await.context(FAILED);
                }
                Ok(Some(Err(refusal))) => (refusal.into(), RETRY_TIME),
                Ok(None) => (Refusal::NoEvent.into(), RETRY_TIME),
                Err(error) => (error, UNREADABLE_RETRY_TIME),
            };
        if start.elapsed() >= retry_time {
            return Err(refusal.context(FAILED));
        }
        warn!(
            "the request is not verified yet, and the events of the stack are read again: {refusal:#}"
        );
        sleep(RETRY_PAUSE).await;
    }
}

/// Fails if no event of the resource has the old properties of an Update, which name roles that a policy is
/// detached from. Succeeds if the resource has no event before the current operation, because
/// CloudFormation deletes the events of a stack after 90 days.
async fn verify_old_properties(context: &Context, request: &Request) -> anyhow::Result<()> {
    if request.old_properties.is_null() {
        return Ok(());
    }
    // The events of the current operation come first.
    let mut is_earlier = false;
    let mut differing = None;
    let known = read(context, |event| {
        is_earlier |= is_about_stack(event, request) && STARTS.contains(&status(event));
        let is_same = event.logical_resource_id() == Some(request.logical_resource_id.as_str());
        let properties = event.resource_properties().unwrap_or_default();
        if !is_same || properties.is_empty() {
            return None;
        }
        match compare_properties(properties, &request.old_properties) {
            Ok(()) => Some(()),
            Err(refusal) => {
                if is_earlier {
                    differing.get_or_insert(refusal);
                }
                None
            }
        }
    });
    match (known.await?, differing) {
        (None, Some(Refusal::Properties(names))) => Err(Refusal::OldProperties(names).into()),
        (None, Some(refusal)) => Err(refusal.into()),
        (Some(()), _) | (None, None) => Ok(()),
    }
}

/// Whether CloudFormation is deleting this resource. Fails if the events cannot be read, so that a later
/// Delete still finds the resource.
pub async fn is_deleting(context: &Context, request: &Request) -> anyhow::Result<bool> {
    if request.stack_id != context.config.stack_id {
        warn!("StackId: the request names another stack, so nothing is removed");
        return Ok(false);
    }
    let start = Instant::now();
    loop {
        match read(context, |event| judge_deletion(event, request)).await {
            Ok(Some(true)) => return Ok(true),
            Ok(_) if start.elapsed() >= RETRY_TIME => {
                warn!(
                    cloudformation.physical_resource_id = request.physical_resource_id,
                    "CloudFormation is not deleting this resource, so nothing is removed"
                );
                return Ok(false);
            }
            Err(error) if start.elapsed() >= UNREADABLE_RETRY_TIME => {
                return Err(
                    error.context("the request could not be verified, so nothing was removed")
                );
            }
            Ok(_) => info!(
                "no event of the stack shows that the resource is being deleted; reading the events again"
            ),
            Err(error) => warn!("the events of the stack are read again: {error:#}"),
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Reads the stack's events, the newest first, up to the first event for which `judge` returns a result.
async fn read<T>(
    context: &Context,
    mut judge: impl FnMut(&StackEvent) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let described = context.cloudformation.describe_stack_events();
    let mut pages = described.stack_name(&context.config.stack_id).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(warden_aws::explain).context("reading the stack's events")?;
        // An event of a hook names a resource too, but has no properties of the resource.
        let events = page.stack_events().iter().filter(|event| event.hook_status().is_none());
        if let Some(judgement) = events.into_iter().find_map(&mut judge) {
            return Ok(Some(judgement));
        }
    }
    Ok(None)
}

fn judge_provision(event: &StackEvent, request: &Request) -> Option<Result<(), Refusal>> {
    let status = status(event);
    if is_about_stack(event, request) {
        return if status.ends_with("IN_PROGRESS") {
            STARTS.contains(&status).then_some(Err(Refusal::NoEvent))
        } else {
            Some(Err(Refusal::AtRest(status.to_owned())))
        };
    }
    let is_same = event.logical_resource_id() == Some(request.logical_resource_id.as_str());
    is_same.then(|| {
        // An emulator reports the creation of a resource during an update of the stack as an update.
        if !["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"].contains(&status) {
            return Err(Refusal::Status(status.to_owned()));
        }
        let resource_type = event.resource_type().unwrap_or_default();
        if resource_type != request.resource_type {
            return Err(Refusal::Type(resource_type.to_owned()));
        }
        compare_properties(event.resource_properties().unwrap_or_default(), &request.properties)
    })
}

fn judge_deletion(event: &StackEvent, request: &Request) -> Option<bool> {
    let status = status(event);
    if is_about_stack(event, request) {
        // CloudFormation rolls back a failed creation of the stack by deleting every resource.
        let is_whole = ["DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"].contains(&status);
        let is_decided = is_whole || STARTS.contains(&status) || !status.ends_with("IN_PROGRESS");
        return is_decided.then_some(is_whole);
    }
    let is_same = event.logical_resource_id() == Some(request.logical_resource_id.as_str())
        && event.physical_resource_id() == request.physical_resource_id.as_deref();
    // The request's properties name roles, so they must be the properties that CloudFormation sent.
    let properties = event.resource_properties().unwrap_or_default();
    is_same.then(|| {
        let compared = compare_properties(properties, &request.properties);
        status == "DELETE_IN_PROGRESS" && compared.is_ok()
    })
}

fn status(event: &StackEvent) -> &str {
    event.resource_status().map_or("", |status| status.as_str())
}

/// Whether the event is about the stack itself. A nested stack has an ID of its own.
fn is_about_stack(event: &StackEvent, request: &Request) -> bool {
    event.physical_resource_id() == Some(request.stack_id.as_str())
}

/// Compares the properties of an event, as text, with a request's. An event may carry none.
fn compare_properties(text: &str, requested: &Value) -> Result<(), Refusal> {
    if text.is_empty() {
        return Ok(());
    }
    let known: Value = serde_json::from_str(text).map_err(|_| Refusal::Unreadable)?;
    let (known, requested) = (comparable(&known), comparable(requested));
    let names = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    // These properties are instructions to CloudFormation, and no settings of a resource.
    let is_transport = |name: &String| ["ServiceTimeout", "ServiceToken"].contains(&name.as_str());
    let mut differing = [names(&known), names(&requested)].concat();
    differing.retain(|name| !is_transport(name) && known.get(name) != requested.get(name));
    differing.sort();
    differing.dedup();
    if differing.is_empty() { Ok(()) } else { Err(Refusal::Properties(differing.join(", "))) }
}

/// Whether a value is one of the forms in which CloudFormation writes an empty list or an empty text. The
/// readers of properties treat each of these forms as absent.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// The value with every scalar as text, as in a request to a custom resource, and without empty fields of
/// nested objects, whose form AWS does not document either.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::Array(values) => values.iter().map(comparable).collect(),
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !is_empty(value));
            given.map(|(name, value)| (name.clone(), comparable(value))).collect()
        }
        Value::Null | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::ResourceStatus;
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    const STACK: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-0";
    const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure";

    fn request(kind: &str) -> Request {
        let request = json!({
            "RequestType": kind, "ResponseURL": "https://example.com", "StackId": STACK,
            "ResourceType": "Custom::EcrRepository", "LogicalResourceId": "Repository",
            "PhysicalResourceId": ARN,
            "ResourceProperties": {"ServiceToken": "x", "Count": "1", "Scan": "true", "Tags": ["a"]},
        });
        Request::read(&request).unwrap()
    }

    /// An event of the resource, or of the stack if the ID is the ID of the stack.
    fn event(logical_id: &str, physical_id: &str, status: &str, properties: &str) -> StackEvent {
        let kind = if physical_id == STACK {
            "AWS::CloudFormation::Stack"
        } else {
            "Custom::EcrRepository"
        };
        StackEvent::builder()
            .stack_id(STACK)
            .stack_name("warden")
            .event_id("1")
            .timestamp(std::time::UNIX_EPOCH.into())
            .logical_resource_id(logical_id)
            .physical_resource_id(physical_id)
            .resource_type(kind)
            .resource_status(ResourceStatus::from(status))
            .resource_properties(properties)
            .build()
    }

    const SENT: &str = r#"{"Count": 1, "Scan": true, "Tags": ["a"], "ServiceTimeout": 600}"#;

    /// Judges an Update of the resource by these events, the newest first.
    fn check_update(events: &[(&str, &str, &str, &str)], expected: &Expect) {
        let request = request("Update");
        let events = events.iter().map(|(logical, physical, status, properties)| {
            event(logical, physical, status, properties)
        });
        let judged = events.into_iter().find_map(|event| judge_provision(&event, &request));
        let text = match judged {
            Some(Ok(())) => "accepted".to_owned(),
            Some(Err(refusal)) => refusal.to_string(),
            None => "no event decides".to_owned(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn an_update_is_accepted_by_the_newest_event_of_its_resource() {
        let updating = ("Repository", ARN, "UPDATE_IN_PROGRESS", SENT);
        check_update(&[updating], &expect!["accepted"]);
        check_update(&[("Other", "x", "UPDATE_COMPLETE", ""), updating], &expect!["accepted"]);
        // An emulator's event may carry no properties.
        check_update(&[("Repository", ARN, "UPDATE_IN_PROGRESS", "")], &expect!["accepted"]);
        // A roll-back changes the stack's status and goes on.
        check_update(
            &[("warden", STACK, "UPDATE_ROLLBACK_IN_PROGRESS", ""), updating],
            &expect!["accepted"],
        );
        check_update(
            &[("Repository", ARN, "UPDATE_COMPLETE", SENT), updating],
            &expect!["the newest event of the resource is UPDATE_COMPLETE"],
        );
        check_update(&[("Repository", ARN, "CREATE_IN_PROGRESS", SENT)], &expect!["accepted"]);
        check_update(
            &[("Repository", ARN, "DELETE_IN_PROGRESS", "")],
            &expect!["the newest event of the resource is DELETE_IN_PROGRESS"],
        );
        check_update(
            &[("warden", STACK, "UPDATE_COMPLETE", ""), updating],
            &expect!["the stack is UPDATE_COMPLETE"],
        );
        check_update(
            &[("warden", STACK, "UPDATE_IN_PROGRESS", ""), updating],
            &expect!["the stack's current operation has no event for the resource"],
        );
        check_update(&[("Other", "x", "UPDATE_IN_PROGRESS", SENT)], &expect!["no event decides"]);
    }

    #[test]
    fn an_update_with_properties_that_cloudformation_did_not_send_is_refused() {
        let with = |properties: &str, expected: &Expect| {
            check_update(&[("Repository", ARN, "UPDATE_IN_PROGRESS", properties)], expected);
        };
        with(
            r#"{"Count": "2", "Scan": "true", "Tags": ["a"]}"#,
            &expect!["the properties differ from the properties in the stack's event: Count"],
        );
        with(
            r#"{"Count": "1", "Tags": ["a", "b"], "Limit": "5"}"#,
            &expect![
                "the properties differ from the properties in the stack's event: Limit, Scan, Tags"
            ],
        );
        with(r#"{"Count": "#, &expect!["the properties in the stack's event are not JSON"]);
        with(
            "[]",
            &expect![
                "the properties differ from the properties in the stack's event: Count, Scan, Tags"
            ],
        );
    }

    #[test]
    fn empty_values_are_compared_as_absent_at_each_depth() {
        let known = json!({"Policy": {"Rules": [{"Name": "a", "Consumers": []}]}}).to_string();
        for rule in [json!({"Name": "a"}), json!({"Name": "a", "Consumers": [""]})] {
            let requested = json!({"Policy": {"Rules": [rule]}});
            assert_eq!(compare_properties(&known, &requested), Ok(()));
        }
        for rules in [json!([]), json!([{"Name": "a", "Consumers": ["1"]}]), json!([{"Name": "b"}])]
        {
            let requested = json!({"Policy": {"Rules": rules}});
            let differing = Err(Refusal::Properties("Policy".to_owned()));
            assert_eq!(compare_properties(&known, &requested), differing);
        }
    }

    /// AWS documents no limit for the properties of an event.
    #[test]
    fn the_properties_of_the_longest_policy_are_compared_whole() {
        let policy = |last: &str| json!({"Policy": {"Text": "x".repeat(100_000), "Last": last}});
        let known = policy("a").to_string();
        assert_eq!(compare_properties(&known, &policy("a")), Ok(()));
        let differing = Err(Refusal::Properties("Policy".to_owned()));
        assert_eq!(compare_properties(&known, &policy("b")), differing);
        assert_eq!(compare_properties(&known[..64_000], &policy("a")), Err(Refusal::Unreadable));
        assert_eq!(compare_properties("", &policy("a")), Ok(()));
    }

    #[test]
    fn a_delete_is_accepted_only_while_its_physical_resource_or_the_stack_is_deleted() {
        let deleting = ("Repository", ARN, "DELETE_IN_PROGRESS");
        let cleaning = ("warden", STACK, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
        let updated = ("Repository", "another ARN", "UPDATE_COMPLETE");
        for (events, expected) in [
            (vec![deleting], Some(true)),
            (vec![deleting, cleaning, updated], Some(true)),
            (vec![updated, deleting], Some(true)),
            (vec![("warden", STACK, "DELETE_IN_PROGRESS")], Some(true)),
            (vec![("warden", STACK, "ROLLBACK_IN_PROGRESS")], Some(true)),
            (
                vec![
                    ("Repository", ARN, "DELETE_SKIPPED"),
                    ("warden", STACK, "DELETE_IN_PROGRESS"),
                ],
                Some(false),
            ),
            (vec![("Repository", ARN, "DELETE_COMPLETE"), deleting], Some(false)),
            (vec![("Repository", ARN, "UPDATE_IN_PROGRESS")], Some(false)),
            (vec![("warden", STACK, "UPDATE_COMPLETE"), deleting], Some(false)),
            (vec![("warden", STACK, "UPDATE_IN_PROGRESS"), deleting], Some(false)),
            (vec![("warden", STACK, "IMPORT_IN_PROGRESS")], Some(false)),
            (vec![cleaning, ("warden", STACK, "UPDATE_IN_PROGRESS")], Some(false)),
            (vec![("warden", STACK, "UPDATE_ROLLBACK_IN_PROGRESS")], None),
            (vec![("Other", ARN, "DELETE_IN_PROGRESS")], None),
            (vec![("Repository", "another ARN", "DELETE_IN_PROGRESS")], None),
            (vec![("Nested", "another stack", "DELETE_IN_PROGRESS")], None),
        ] {
            let request = request("Delete");
            let judged = events.iter().find_map(|(logical, physical, status)| {
                judge_deletion(&event(logical, physical, status, ""), &request)
            });
            assert_eq!(judged, expected, "{events:?}");
        }
    }
}
