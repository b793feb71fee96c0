//! Tests which invocation runs if several are made at the same time.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};

use warden_aws::ledger::RunLease;

use crate::{DEPLOYMENTS, Function, event};

/// Sets the image and the time of the push in a message.
fn set_digest(message: &mut Value, digest: &str, time: &str) {
    let body = &mut message["Records"][0]["body"];
    let mut push: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    push["pushed"]["digest"] = digest.into();
    push["pushed"]["source"]["time"] = time.into();
    *body = push.to_string().into();
}

#[tokio::test]
async fn a_message_that_meets_a_running_sweep_succeeds_without_a_change() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    let queued = event("queued");
    let (ledger, repository) = (function.ledger(), DEPLOYMENTS.parse().unwrap());
    let lease = ledger.begin_run(&repository, "other", function.now()).await.unwrap();
    assert!(matches!(lease, RunLease::Ours(_)));
    function.calls();
    let answer = function.ask(&queued, "queued").await.unwrap();
    expect!["another sweep of this repository is running"]
        .assert_eq(answer["stopped"].as_str().unwrap());
    assert_eq!(function.calls(), ["UpdateItem"]);
    // The function that held the lease was killed.
    function.aws.advance(Duration::from_secs(17 * 60));
    assert_eq!(function.ask(&queued, "queued-again").await.unwrap()["removed"], 3);
}

#[tokio::test]
async fn a_message_that_is_delivered_twice_changes_nothing_more() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    assert_eq!(function.ask(&event("queued"), "first").await.unwrap()["removed"], 3);
    assert_eq!(function.ask(&event("queued"), "second").await.unwrap()["planned"], 0);
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_one_of_two_concurrent_runs_sweeps() {
    let function = Function::new("archive").await;
    function.versions("a", 30);
    function.aws.fault("DescribeImages", 0, Fault::Slow(Duration::from_secs(2)));
    let order = json!({"repository": DEPLOYMENTS});
    let ask = |id: &'static str| function.ask(&order, id);
    let (one, other) = tokio::join!(ask("one"), ask("other"));
    let (one, other): (Value, Value) = (one.unwrap(), other.unwrap());
    let stopped = other["stopped"].as_str().unwrap();
    assert_eq!(other, json!({"repository": DEPLOYMENTS, "stopped": stopped}));
    expect![[r#"
        another sweep of this repository is running
        28 of 30 images would be removed, and MaxRemovePercent=25 allows fewer (archived images, and untagged images of the plan, are not counted)"#]]
    .assert_eq(&format!("{stopped}\n{}", one["stopped"].as_str().unwrap()));
    // After the first run has ended, the other run can begin.
    assert_eq!(ask("other").await.unwrap()["planned"], 28);
}

#[tokio::test]
async fn a_failed_run_releases_its_lease() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    function.aws.fault("DescribeImages", 1, Fault::Error(403, "AccessDeniedException"));
    let order = json!({"repository": DEPLOYMENTS});
    let error = function.ask(&order, "one").await.unwrap_err();
    expect!["sweeping deployments: listing the images of deployments: AccessDeniedException: made to fail"].assert_eq(&format!("{error:#}"));
    assert_eq!(function.ask(&order, "other").await.unwrap()["removed"], 3);
}

#[tokio::test]
async fn a_run_that_has_lost_its_lease_removes_nothing() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 5);
    // The lease expired while the run read the images, and another run began.
    function.aws.fault("UpdateItem", 2, Fault::Error(400, "ConditionalCheckFailedException"));
    let error = function.ask(&json!({"repository": DEPLOYMENTS}), "one").await.unwrap_err();
    expect!["sweeping deployments: the sweep of deployments took longer than its lease, and another sweep may be running"].assert_eq(&format!("{error:#}"));
    assert_eq!(function.active().len(), images.len());
}

#[tokio::test]
async fn a_retry_sweeps_after_a_push_that_ecr_does_not_list_yet() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    function.aws.state().ecr().set_read_lag(70.0);
    let pushed = function.world.push(DEPLOYMENTS, &["a-v2.0.0"]);
    let mut push = event("pushed");
    set_digest(&mut push, &pushed, &function.now().to_rfc3339());
    for _ in 0..2 {
        let error = function.ask(&push, "push").await.unwrap_err();
        assert!(format!("{error:#}").contains(&pushed), "{error:#}");
        assert_eq!(function.alerts().len(), 0);
        function.aws.advance(Duration::from_secs(60));
    }
    assert!(function.ask(&push, "push").await.unwrap()["removed"].as_u64().unwrap() > 0);
}
