//! Tests which invocation runs if several are made at the same time.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};

use crate::{DEPLOYMENTS, Function, count, event};

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_burst_of_pushes_starts_one_run_and_each_other_push_costs_one_call() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    let push = event("pushed");
    function.calls();
    for nth in 0..20 {
        let answer = function.ask(&push, &format!("push-{nth}")).await.unwrap();
        assert_eq!(answer.is_null(), nth > 0);
        let calls = function.calls();
        assert!(nth == 0 || calls == ["UpdateItem"], "{calls:?}");
        assert!(nth > 0 || count(&calls, "UpdateImageStorageClass") == 3, "{calls:?}");
    }
    assert_eq!(function.alerts().len(), 1);
    function.aws.advance(Duration::from_secs(3_600));
    function.versions("b", 3);
    let answer = function.ask(&push, "an-hour-later").await.unwrap();
    assert_eq!(answer["removed"], 1);
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_retry_of_the_push_that_started_the_sweep_of_the_hour_continues() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    let push = event("pushed");
    function.aws.fault("DescribeImages", 1, Fault::Error(403, "AccessDeniedException"));
    function.ask(&push, "push").await.unwrap_err();
    assert!(function.ask(&push, "another").await.unwrap().is_null());
    assert_eq!(function.ask(&push, "push").await.unwrap()["removed"], 3);
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

/// The push adds a tag to an old image. ECR has only the time of the first push.
#[tokio::test]
async fn the_image_of_the_push_that_starts_a_sweep_counts_as_pushed_now() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 5);
    let mut push = event("pushed");
    push["detail"]["image-digest"] = images[0].as_str().into();
    // The pushed image is the newest now, so another image is beyond the keep count.
    assert_eq!(function.ask(&push, "push").await.unwrap()["removed"], 3);
    let kept = vec![images[0].clone(), images[4].clone()];
    assert_eq!(function.active(), crate::sorted(kept));
    // The run of the next day has nothing to remove.
    assert_eq!(function.sweep().await["planned"], 0);
}

#[tokio::test]
async fn a_retry_sweeps_after_a_push_that_ecr_does_not_list_yet() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    function.aws.state().ecr().set_read_lag(70.0);
    let pushed = function.world.push(DEPLOYMENTS, &["a-v2.0.0"]);
    let mut push = event("pushed");
    push["detail"]["image-digest"] = json!(pushed);
    push["time"] = json!(function.now().to_rfc3339());
    for _ in 0..2 {
        let error = function.ask(&push, "push").await.unwrap_err();
        assert!(format!("{error:#}").contains(&pushed), "{error:#}");
        assert_eq!(function.alerts().len(), 0);
        function.aws.advance(Duration::from_secs(60));
    }
    assert!(function.ask(&push, "push").await.unwrap()["removed"].as_u64().unwrap() > 0);
}
