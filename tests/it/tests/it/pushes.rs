//! `image-push` as a process: cut off anywhere, given what it cannot understand, and what it
//! writes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use local_aws::cloudformation::Deployment;
use local_aws::lambda::Function;
use local_aws::server::Server;
use local_aws::template::Template;
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::{probe, program, without_sweeps};

const FUNCTION: &str = "stack-ImagePushFunction";

/// The deployed stack with this enforcement in `infrastructure`, its alerts coming by e-mail.
async fn deployed(enforcement: &str) -> (LocalAws, Server) {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap();
    let parameters =
        [("AlertEmail", "a@example.com"), ("InfrastructureTagEnforcement", enforcement)];
    let parameters: BTreeMap<String, String> =
        parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &parameters,
        program: program(),
    };
    aws.deploy(&deployment, |_| ()).await.unwrap();
    without_sweeps(&aws);
    aws.lambda().retry_after([Duration::from_millis(10), Duration::from_millis(10)]);
    (aws, server)
}

/// An image of its own with this tag, of which EventBridge is told; gives its digest.
fn push(aws: &LocalAws, tag: &str) -> String {
    let mut state = aws.state();
    let now = state.now();
    let digest = state.ecr().push_made_up("infrastructure", &[tag], now).unwrap();
    drop(state);
    // Any call hands on what is to be told.
    aws.by_hand("DescribeRepositories", &json!({})).unwrap();
    digest
}

fn tags(aws: &LocalAws, digest: &str) -> Vec<String> {
    let mut state = aws.state();
    let image = state.ecr().repositories["infrastructure"].images.get(digest);
    image.map(|image| image.tags.iter().cloned().collect()).unwrap_or_default()
}

fn emails(aws: &LocalAws) -> usize {
    let deliveries = std::mem::take(&mut aws.state().deliveries);
    deliveries.iter().filter(|delivery| delivery.protocol == "email").count()
}

/// The calls of each enforcement, and which of that name in an invocation.
const QUARANTINE: &[(&str, usize)] = &[
    ("UpdateItem", 1),
    ("DescribeImages", 1),
    ("DescribeRepositories", 1),
    ("BatchGetImage", 1),
    ("PutImage", 1),
    ("BatchDeleteImage", 1),
    ("Publish", 1),
    ("UpdateItem", 2),
];
const ARCHIVE: &[(&str, usize)] = &[
    ("UpdateItem", 1),
    ("DescribeImages", 1),
    ("UpdateImageStorageClass", 1),
    ("DescribeImages", 2),
    ("Publish", 1),
    ("UpdateItem", 2),
];

#[tokio::test]
async fn killed_before_or_after_any_call_it_is_told_and_nothing_is_lost() {
    for (enforcement, calls) in [("quarantine", QUARANTINE), ("archive", ARCHIVE)] {
        let (aws, _server) = deployed(enforcement).await;
        let mut told_twice = Vec::new();
        for (nth, (call, of)) in calls.iter().enumerate() {
            for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
                let tag = format!("litellm-1.80.{}", 2 * nth + after);
                aws.fault(call, *of, fault);
                let digest = push(&aws, &tag);
                aws.lambda().settled().await;
                aws.heal();
                let found = tags(&aws, &digest);
                assert_eq!(found.len(), 1, "{call} {of} {after}: {found:?}");
                let is_quarantined = found[0].starts_with("quarantine-");
                assert_eq!(is_quarantined, enforcement == "quarantine", "{call} {of} {after}");
                assert_eq!(is_archived(&aws, &digest), enforcement == "archive", "{call} {of}");
                match emails(&aws) {
                    1 => {}
                    2 => told_twice.push((*call, *of, after == 1)),
                    other => panic!("{call} {of} {after}: told {other} times"),
                }
            }
        }
        // Once it is told and before that is noted, nobody can know.
        assert_eq!(told_twice, [("Publish", 1, true), ("UpdateItem", 2, false)]);
        assert!(aws.state().undelivered.is_empty());
    }
}

fn is_archived(aws: &LocalAws, digest: &str) -> bool {
    let ids = json!([{"imageDigest": digest}]);
    let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
    let found = aws.by_hand("DescribeImages", &input).unwrap();
    found["imageDetails"][0]["imageStatus"] == "ARCHIVED"
}

#[tokio::test]
async fn what_cannot_be_understood_ends_in_the_queue_with_the_reason() {
    let (aws, _server) = deployed("quarantine").await;
    let event = include_str!("../../../../events/image-push/near-miss.json");
    let mut event: Value = serde_json::from_str(event).unwrap();
    event["detail"]["image-digest"] = json!("sha256:0");
    aws.lambda().invoke_async(FUNCTION, event.clone()).unwrap();
    aws.lambda().settled().await;
    let received = receive(&aws, "stack-FailedEvents").await;
    assert_eq!(received["requestPayload"], event);
    assert_eq!(received["responsePayload"]["errorType"], "EcrWarden.Failure");
    assert_eq!(
        received["responsePayload"]["errorMessage"],
        "the event: detail.image-digest: expected sha256: and 64 lower-case hexadecimal digits, got \"sha256:0\""
    );
    assert_eq!(received["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(aws.take_changes().iter().filter(|call| *call == "UpdateItem").count(), 0);
}

/// The one message of a queue.
pub async fn receive(aws: &LocalAws, queue: &str) -> Value {
    let call = async |operation: &str, input: Value| -> Value {
        let request = http::Request::post("/")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .body(input.to_string().into())
            .unwrap();
        serde_json::from_slice(aws.services().handle("sqs", request).await.body()).unwrap()
    };
    let url = call("GetQueueUrl", json!({"QueueName": queue})).await["QueueUrl"].clone();
    let received = call("ReceiveMessage", json!({"QueueUrl": url})).await;
    assert_eq!(received["Messages"].as_array().map(Vec::len), Some(1), "{received:#}");
    serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_ends_it_at_its_start() {
    let aws = LocalAws::default();
    let environment = [
        ("GOVERNANCE", "[{\"RepositoryName\": \"infrastructure\"}]"),
        ("REPOSITORY_NAME_PATTERNS", ""),
        ("ALERT_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts"),
        ("LEDGER_TABLE", "ledger"),
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
    let message = lines[0]["message"].as_str().unwrap();
    assert!(
        message
            .starts_with("the function's environment: GOVERNANCE: [0].LifecycleTagCount: missing"),
        "{message}"
    );
}

#[tokio::test]
async fn its_log_is_json_with_the_request_and_its_metrics_are_counted() {
    let (aws, _server) = deployed("quarantine").await;
    let digest = push(&aws, "litellm-1.80.5");
    push(&aws, "litellm-v1.80.5");
    aws.lambda().settled().await;
    let log = aws.lambda().log(FUNCTION);
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
