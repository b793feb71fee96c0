//! Tests batches of messages from the queue of Inspector's findings.

use futures::future::join_all;
use local_aws::Fault;
use scan_complete::batch;
use serde_json::{Value, json};

use crate::{Function, enhanced, event, kinds};

/// Builds a batch of these events, as Lambda reads it from the queue. `first` is the number of the
/// first message.
fn batch_of(events: &[Value], first: usize) -> Value {
    let record = |(nth, event): (usize, &Value)| {
        json!({
            "messageId": format!("message-{}", first + nth),
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:ecr-warden-InspectorFindings",
            "body": event.as_str().map_or_else(|| event.to_string(), str::to_owned),
        })
    };
    json!({"Records": events.iter().enumerate().map(record).collect::<Vec<_>>()})
}

impl Function {
    /// Handles a batch. Returns the IDs of the messages that the queue delivers again.
    async fn handle_batch(&self, payload: &Value) -> Vec<String> {
        let messages = batch::read(payload).unwrap().unwrap();
        let answer = batch::handle(&self.context, messages, self.now()).await;
        let failed = answer["batchItemFailures"].as_array().unwrap().iter();
        failed.map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
    }

    fn findings(&self, digest: &str, findings: &str) -> Vec<Value> {
        let findings = enhanced(findings);
        findings.iter().map(|finding| self.finding(digest, finding, "ACTIVE")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_findings_of_one_image_in_a_batch_cause_one_alert_and_one_read() {
    let function = Function::enhanced().await;
    let (one, other) = (function.push(&["litellm-v1.80.5"]), function.push(&["openwebui-v0.6.36"]));
    let mut events = function.findings(&one, "CVE-1:HIGH CVE-2:HIGH CVE-3:CRITICAL");
    events.extend(function.findings(&other, "CVE-1:HIGH"));
    // The queue may deliver a message twice, and EventBridge may deliver an event twice.
    events.push(events[0].clone());
    function.aws.state().calls.clear();
    assert_eq!(function.handle_batch(&batch_of(&events, 0)).await, [""; 0]);
    let calls = function.calls();
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!((count("DescribeImageScanFindings"), count("Publish")), (2, 2));
    let alerts = function.alerts();
    assert_eq!(kinds(&alerts), ["scan-findings", "scan-findings"]);
    let mut totals: Vec<&Value> =
        alerts.iter().map(|alert| &alert["details"]["findingsTotal"]).collect();
    totals.sort_by_key(|total| total.as_u64());
    assert_eq!(totals, [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn only_the_messages_that_failed_are_delivered_again() {
    let function = Function::enhanced().await;
    let (one, other) = (function.push(&["litellm-v1.80.5"]), function.push(&["openwebui-v0.6.36"]));
    let unmanaged = event("unmanaged-repository");
    let events = [
        function.findings(&one, "CVE-1:HIGH"),
        function.findings(&other, "CVE-1:HIGH CVE-2:HIGH"),
        vec![json!("no JSON"), json!({"detail-type": "Something"}), unmanaged],
        vec![event("inspector-scan-of-a-server")],
    ]
    .concat();
    // The alert about one of the images cannot be published.
    function.aws.fault("Publish", 1, Fault::Error(400, "AuthorizationError"));
    let failed = function.handle_batch(&batch_of(&events, 0)).await;
    let malformed = ["message-3", "message-4"];
    assert!(malformed.iter().all(|id| failed.contains(&(*id).to_owned())), "{failed:?}");
    let of_one = failed.contains(&"message-0".to_owned());
    let of_other = ["message-1", "message-2"].map(|id| failed.contains(&id.to_owned()));
    assert_eq!(of_other, [!of_one; 2], "{failed:?}");
    assert_eq!(failed.len(), if of_one { 3 } else { 4 }, "{failed:?}");
    assert_eq!(kinds(&function.alerts()), ["scan-findings"]);
    // The queue delivers the failed messages again, and only the missing alert is published.
    assert_eq!(function.handle_batch(&batch_of(&events[..3], 0)).await, [""; 0]);
    assert_eq!(kinds(&function.alerts()), ["scan-findings"]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_batches_share_the_collected_findings_of_an_image() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let all: String = (0..300).map(|nth| format!("CVE-{nth}:HIGH ")).collect();
    let events = function.findings(&image, &all);
    function.aws.state().calls.clear();
    let batches: Vec<Value> =
        events.chunks(50).enumerate().map(|(nth, events)| batch_of(events, nth * 50)).collect();
    let failed = join_all(batches.iter().map(|batch| function.handle_batch(batch))).await;
    assert_eq!(failed.concat(), [""; 0]);
    let calls = function.calls();
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!((count("DescribeImageScanFindings"), count("Publish")), (1, 1));
    assert!(count("UpdateItem") < 20, "{}", count("UpdateItem"));
    assert_eq!(function.alert()["details"]["findingsTotal"], 300);
}

/// Inspector sends a finding for each image that has a new vulnerability.
#[tokio::test(start_paused = true)]
async fn the_images_of_one_component_in_a_batch_do_not_block_each_other() {
    let function = Function::enhanced().await;
    let mut events = Vec::new();
    for nth in 0..50 {
        let image = function.push(&[&format!("litellm-v1.80.{nth}")]);
        events.extend(function.findings(&image, "CVE-1:CRITICAL"));
    }
    function.slow_down(20);
    assert_eq!(function.handle_batch(&batch_of(&events, 0)).await, [""; 0]);
    assert!(!function.alerts().is_empty());
}

#[test]
fn records_of_another_service_are_refused() {
    let records = json!({"Records": [
        {"messageId": "1", "eventSource": "aws:sns", "body": "{}"},
    ]});
    assert!(batch::read(&records).is_err());
    assert!(batch::read(&json!({"Records": [{"body": "{}"}]})).is_err());
    assert!(batch::read(&event("critical")).unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_without_time_left_is_delivered_again() {
    let function = Function::enhanced().await;
    let mut events = Vec::new();
    for nth in 0..20 {
        let image = function.push(&[&format!("component{nth}-v1.0.0")]);
        events.extend(function.findings(&image, "CVE-1:CRITICAL"));
    }
    // With this delay, each image takes some seconds.
    function.slow_down(1_000);
    let failed = function.handle_batch(&batch_of(&events, 0)).await;
    assert!(!failed.is_empty() && failed.len() < events.len(), "{failed:?}");
    assert_eq!(function.alerts().len(), events.len() - failed.len());
    function.aws.heal();
    let number = |id: &String| id.trim_start_matches("message-").parse::<usize>().unwrap();
    let again: Vec<Value> = failed.iter().map(|id| events[number(id)].clone()).collect();
    assert_eq!(function.handle_batch(&batch_of(&again, 100)).await, [""; 0]);
    assert_eq!(function.alerts().len(), again.len());
}
