//! `scan-complete` as a process of the deployed stack: its rules, its schedule, and killed at
//! any call.

use local_aws::Fault;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::world::{self, World};
use serde_json::{Value, json};

use crate::rights::{queue_url, report_finding, stranger};
use crate::{deploy, stop_sweep_queue};

const FUNCTION: &str = "ecr-warden-ScanCompleteFunction";

async fn deployed() -> World {
    let world = deploy(&[]).await;
    stop_sweep_queue(&world);
    world
}

/// Pushes an image with this tag. Gives its digest.
fn push(world: &World, tag: &str) -> String {
    world.push("infrastructure", &[tag])
}

/// Delivers what happened until now. Gives the alerts.
async fn settled(world: &World) -> Vec<Value> {
    world.settle().await;
    world.alerts()
}

async fn scan(world: &World, digest: &str, findings: Vec<Value>) -> Vec<Value> {
    {
        let mut state = world.aws.state();
        let now = state.now();
        state.ecr().complete_scan("infrastructure", digest, Ok(findings), now).unwrap();
    }
    settled(world).await
}

#[tokio::test]
async fn the_rules_deliver_scans_and_the_schedule_invokes_the_function_each_day() {
    let world = deployed().await;
    let aws = &world.aws;
    let image = push(&world, "litellm-v1.80.5");
    let alerts =
        scan(&world, &image, vec![basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17")]).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["kind"], "scan-findings");
    assert_eq!(alerts[0]["image"], json!({"digest": image, "tags": ["litellm-v1.80.5"]}));
    assert_eq!(alerts[0]["details"]["counts"], json!({"CRITICAL": 1}));
    assert_eq!(scan(&world, &image, Vec::new()).await[0]["kind"], "scan-resolved");

    world.enable_enhanced_scanning();
    let image = push(&world, "openwebui-v0.6.36");
    let finding = enhanced_finding("CVE-2", "HIGH", "curl", "8.5.0", Some("8.5.1"));
    let alerts = scan(&world, &image, vec![finding]).await;
    assert_eq!(alerts[0]["component"], "openwebui");

    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&world).await.len(), 0);
    let parameter = &world.outputs["AcceptedRisksParameter"];
    assert_eq!(parameter, "ecr-warden-AcceptedRisks");
    let tomorrow = chrono::Utc::now().date_naive().succ_opt().unwrap().to_string();
    let risk = json!([{"id": "CVE-1", "until": tomorrow, "reason": "x", "owner": "platform"}]);
    let put = json!({"Name": parameter, "Value": risk.to_string(), "Overwrite": true});
    aws.ask("ssm", "AmazonSSM.PutParameter", &put).await.unwrap();
    let alerts = settled(&world).await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!(alerts[0]["kind"], "risks-changed");
    assert_eq!(alerts[0]["details"]["added"][0]["id"], "CVE-1");
    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&world).await[0]["kind"], "risk-expiring");
    assert!(aws.state().undelivered.is_empty());
}

/// The calls of a scan with an alert: the operation, and its position among the calls of that
/// operation.
const CALLS: [(&str, usize); 6] = [
    ("UpdateItem", 1),
    ("DescribeImageScanFindings", 1),
    ("DescribeImages", 1),
    ("GetParameter", 1),
    ("Publish", 1),
    ("UpdateItem", 2),
];

#[tokio::test]
async fn a_scan_whose_function_is_killed_at_any_call_is_published() {
    let world = deployed().await;
    let aws = &world.aws;
    let mut published_twice = Vec::new();
    for (nth, (call, of)) in CALLS.iter().enumerate() {
        for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
            let image = push(&world, &format!("component{nth}{after}-v1.0.0"));
            settled(&world).await;
            aws.fault(call, *of, fault);
            let finding = basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17");
            let alerts = scan(&world, &image, vec![finding]).await;
            aws.heal();
            match alerts.len() {
                1 => {}
                2 => published_twice.push((*call, *of, after == 1)),
                other => panic!("{call} {of} {after}: published {other} times"),
            }
        }
    }
    // An alert that was published and not recorded yet is published again.
    assert_eq!(published_twice, [("Publish", 1, true), ("UpdateItem", 2, false)]);
    assert!(aws.state().undelivered.is_empty());
}

// Case B13 in docs/contributing/prior-art.md.
#[tokio::test]
async fn images_that_are_scanned_before_their_index_are_published_with_it() {
    let world = deployed().await;
    let found = || vec![basic_finding("CVE-1", "HIGH", "openssl", "3.0.17")];
    let push_two = || [world.push("infrastructure", &[]), world.push("infrastructure", &[])];
    let images = push_two();
    for image in &images {
        assert_eq!(scan(&world, image, found()).await, [Value::Null; 0]);
    }
    let index = world.push_index("infrastructure", &images, "litellm-v1.80.5");
    let alerts = settled(&world).await;
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!(alert["image"], json!({"digest": index, "tags": ["litellm-v1.80.5"]}));
    // These images are too old to wait.
    let now = world.aws.state().now();
    world.aws.state().set_clock(Some(now - 7.0 * 3_600.0));
    let images = push_two();
    world.aws.state().set_clock(None);
    for image in &images {
        assert_eq!(scan(&world, image, found()).await[0]["image"]["digest"], *image);
    }
    let _ = world.push_index("infrastructure", &images, "litellm-v1.80.6");
    assert_eq!(settled(&world).await, [Value::Null; 0]);
    assert!(world.failed_events().await.is_empty());
    assert!(world.aws.state().undelivered.is_empty());
}

/// The bodies of the messages in a queue of the stack.
async fn messages(world: &World, queue: &str) -> Vec<Value> {
    let input = json!({"QueueUrl": queue_url(&world.aws, queue).await, "MaxNumberOfMessages": 10});
    let received = world.aws.ask("sqs", "AmazonSQS.ReceiveMessage", &input).await.unwrap();
    let received = received["Messages"].as_array().into_iter().flatten();
    let bodies = received.map(|message| message["Body"].as_str().unwrap());
    bodies.map(|body| serde_json::from_str(body).unwrap()).collect()
}

#[tokio::test]
async fn a_queue_delivers_findings_of_inspector_in_batches() {
    let world = deployed().await;
    world.enable_enhanced_scanning();
    let images = [push(&world, "litellm-v1.80.5"), push(&world, "openwebui-v0.6.36")];
    settled(&world).await;
    for (nth, image) in [0, 0, 0, 1].map(|nth| &images[nth]).into_iter().enumerate() {
        report_finding(&world, image, &format!("CVE-{nth}"));
    }
    // A finding that the rule lets through, and that the function cannot read.
    let mut malformed = world::event("scan-complete", "inspector-finding");
    malformed["detail"]["packageVulnerabilityDetails"]["vulnerabilityId"] = " ".into();
    world.aws.state().ecr().events.push(malformed.clone());
    let before = world.aws.lambda().log(FUNCTION).len();
    let alerts = settled(&world).await;
    let mut found: Vec<_> = alerts
        .iter()
        .map(|alert| (&alert["component"], &alert["details"]["findingsTotal"]))
        .collect();
    found.sort_by_key(|(_, total)| total.as_u64());
    assert_eq!(found, [(&json!("openwebui"), &json!(1)), (&json!("litellm"), &json!(3))]);
    // Only the malformed one was delivered again, five times in all.
    assert_eq!(messages(&world, "FailedFindings").await, [malformed]);
    assert_eq!(messages(&world, "InspectorFindings").await, [Value::Null; 0]);
    let log = world.aws.lambda().log(FUNCTION).split_off(before);
    assert_eq!(log.matches("got a blank text").count(), 5, "{log}");
    assert!(world.failed_events().await.is_empty());
    assert!(world.aws.state().undelivered.is_empty());
}

#[tokio::test]
async fn the_queue_of_findings_accepts_only_messages_of_its_rule_and_of_two_functions() {
    let world = deployed().await;
    let queue = queue_url(&world.aws, "InspectorFindings").await;
    let message = json!({"QueueUrl": queue, "MessageBody": "{}"});
    let role = stranger(&world.aws);
    let sent = world.aws.call_as(&role, "sqs", "SendMessage", &message).await.unwrap();
    assert!(sent.1.contains("AccessDeniedException"), "{}", sent.1);
    // A rule of another name is no sender either: its event waits in the dead-letter queue.
    world.enable_enhanced_scanning();
    let image = push(&world, "litellm-v1.80.5");
    settled(&world).await;
    let is_of_findings = |rule: &&mut local_aws::Rule| rule.name.ends_with("InspectorFindingRule");
    world.aws.state().rules.iter_mut().find(is_of_findings).unwrap().name = "other".to_owned();
    report_finding(&world, &image, "CVE-1");
    assert!(settled(&world).await.is_empty());
    assert_eq!(messages(&world, "UndeliveredEvents").await.len(), 1);
}
