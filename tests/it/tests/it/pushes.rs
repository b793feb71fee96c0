//! `image-push` as a process: cut off anywhere, given what it cannot understand, and what it
//! writes.

use expect_test::expect;
use local_aws::lambda::Function;
use local_aws::pattern::Pattern;
use local_aws::world::{self, World};
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::{deploy, probe, stop_sweep_queue};

const FUNCTION: &str = "ecr-warden-ImagePushFunction";

/// Deploys the stack with this enforcement in `infrastructure`.
async fn deployed(enforcement: &str) -> World {
    let world = deploy(&[("platform.Tags.Enforcement", enforcement)]).await;
    stop_sweep_queue(&world);
    world
}

fn tags(aws: &LocalAws, digest: &str) -> Vec<String> {
    let mut state = aws.state();
    let image = state.ecr().repositories["infrastructure"].images.get(digest);
    image.map(|image| image.tags.iter().cloned().collect()).unwrap_or_default()
}

/// The calls of each enforcement, and which of that name in an invocation.
const QUARANTINE: &[(&str, usize)] = &[
    ("UpdateItem", 1),
    ("DescribeImages", 1),
    ("DescribeRepositories", 1),
    ("UpdateItem", 2),
    ("BatchGetImage", 1),
    ("PutImage", 1),
    ("BatchDeleteImage", 1),
    ("Publish", 1),
    ("PutEvents", 1),
    ("UpdateItem", 3),
];
const ARCHIVE: &[(&str, usize)] = &[
    ("UpdateItem", 1),
    ("DescribeImages", 1),
    ("DescribeImages", 2),
    ("UpdateImageStorageClass", 1),
    ("DescribeImages", 3),
    ("DescribeImages", 4),
    ("Publish", 1),
    ("PutEvents", 1),
    ("UpdateItem", 2),
];

#[tokio::test]
async fn a_push_whose_function_is_killed_at_any_call_is_enforced_and_published() {
    for (enforcement, calls) in [("quarantine", QUARANTINE), ("archive", ARCHIVE)] {
        let world = deployed(enforcement).await;
        let aws = &world.aws;
        // The sweep of the hour is queued, and the pushes of quarantine tags make no calls.
        let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
        world.settle().await;
        leave_out_quarantine_tags(aws);
        let mut published_twice = Vec::new();
        for (nth, (call, of)) in calls.iter().enumerate() {
            for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
                let tag = format!("litellm-1.80.{}", 2 * nth + after);
                aws.fault(call, *of, fault);
                let digest = world.push("infrastructure", &[&tag]);
                world.settle().await;
                aws.heal();
                let found = tags(aws, &digest);
                assert_eq!(found.len(), 1, "{call} {of} {after}: {found:?}");
                let is_quarantined = found[0].starts_with("quarantine-");
                assert_eq!(is_quarantined, enforcement == "quarantine", "{call} {of} {after}");
                assert_eq!(is_archived(aws, &digest), enforcement == "archive", "{call} {of}");
                let events = world.bus_events().len();
                assert!((1..=2).contains(&events), "{call} {of} {after}: {events} events");
                match world.alerts().len() {
                    1 => {}
                    // The alert is published while the event is put on the bus.
                    2 if *call == "PutEvents" => {}
                    2 => published_twice.push((*call, *of, after == 1)),
                    other => panic!("{call} {of} {after}: published {other} times"),
                }
            }
        }
        // An alert that was published and not recorded yet is published again.
        let last = calls[calls.len() - 1];
        assert_eq!(published_twice, [("Publish", 1, true), (last.0, last.1, false)]);
        assert!(aws.state().undelivered.is_empty());
    }
}

/// Changes the rule of pushes so that the pushes of its own quarantine tags do not start it.
fn leave_out_quarantine_tags(aws: &LocalAws) {
    let tag = json!([{"anything-but": {"prefix": "quarantine-"}}]);
    let detail = json!({"action-type": ["PUSH"], "image-tag": tag});
    let pattern = Pattern::new(&json!({"source": ["aws.ecr"], "detail": detail})).unwrap();
    let name = format!("{FUNCTION}Pushed");
    let mut state = aws.state();
    let rule = state.rules.iter_mut().find(|rule| rule.name == name);
    rule.unwrap().pattern = pattern;
}

fn is_archived(aws: &LocalAws, digest: &str) -> bool {
    let ids = json!([{"imageDigest": digest}]);
    let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
    let found = aws.by_hand("DescribeImages", &input).unwrap();
    found["imageDetails"][0]["imageStatus"] == "ARCHIVED"
}

#[tokio::test]
async fn an_invalid_event_ends_in_the_queue_with_the_reason() {
    let world = deployed("quarantine").await;
    let aws = &world.aws;
    let mut event = world::event("image-push", "near-miss");
    event["detail"]["image-digest"] = json!("sha256:0");
    let _ = aws.take_changes();
    aws.lambda().invoke_async(FUNCTION, event.clone()).unwrap();
    aws.lambda().settled().await;
    let received = world.failed_event().await;
    assert_eq!(received["requestPayload"], event);
    assert_eq!(received["responsePayload"]["errorType"], "EcrWarden.Failure");
    expect![[r#"the event: detail.image-digest: expected sha256: and 64 lower-case hexadecimal digits, got "sha256:0""#]].assert_eq(received["responsePayload"]["errorMessage"].as_str().unwrap());
    assert_eq!(received["requestContext"]["approximateInvokeCount"], 3);
    assert!(!aws.take_changes().contains(&"UpdateItem".to_owned()));
}

#[tokio::test]
async fn a_function_without_a_policy_version_ends_at_its_start() {
    let aws = LocalAws::default();
    let environment = [
        ("POLICY_VERSION", ""),
        ("ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts"),
        ("DOCUMENTATION_URL", "https://example.com/docs"),
        ("STACK_NAME", "ecr-warden"),
        ("LEDGER_TABLE", "ledger"),
        ("SWEEP_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/123456789012/sweeps"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    aws.lambda().create(Function {
        handler: "image-push".to_owned(),
        environment: environment.into(),
        ..probe("image-push")
    });
    let failed = aws.lambda().invoke("image-push", json!({})).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("Runtime.ExitError"));
    let lines: Vec<Value> =
        failed.log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    expect!["the function's environment: POLICY_VERSION is empty"]
        .assert_eq(lines[0]["message"].as_str().unwrap());
}

#[tokio::test]
async fn the_log_is_json_with_the_request_id_and_the_metrics() {
    let world = deployed("quarantine").await;
    let [digest, _] =
        ["litellm-1.80.5", "litellm-v1.80.5"].map(|tag| world.push("infrastructure", &[tag]));
    world.settle().await;
    let log = world.aws.lambda().log(FUNCTION);
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line:#}");
        assert_eq!(line["level"], "INFO", "{line:#}");
        assert!(line["requestId"].is_string() || line["span"]["requestId"].is_string(), "{line:#}");
    }
    let plan = lines.iter().find(|line| line["image.tag"].is_string()).unwrap();
    assert_eq!(plan["repository.name"], "infrastructure");
    assert_eq!(plan["image.digest"], *digest);
    assert_eq!(plan["violation.rule"], "grammar");
    let total = |metric: &str| -> u64 {
        let counted = lines
            .iter()
            .filter(|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "EcrWarden");
        counted.filter_map(|line| line[metric].as_u64()).sum()
    };
    // The third push, that of our own quarantine tag, is not judged.
    assert_eq!(["PushesJudged", "Violations", "Quarantined", "Untagged"].map(total), [2, 1, 1, 0]);
}
