//! Tests the sweeps that pushes queue.

use std::time::Duration;

use image_push::{Context, handle};
use local_aws::Fault;
use serde_json::{Value, json};
use warden_core::image::RepositoryName;

use crate::{Function, event};

impl Function {
    /// A function of another process, which remembers no claim.
    fn cold(&self) -> Context {
        Context::new(self.context.config.clone(), &self.world.sdk("image-push"))
    }

    async fn queued(&self) -> Vec<Value> {
        self.take_messages("SweepQueue").await
    }
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_burst_of_pushes_queues_one_sweep_an_hour_and_each_other_push_costs_one_call() {
    let function = Function::new("report").await;
    for hour in 0..2 {
        for nth in 0..20 {
            let (_, events) = function.push("deployments", &[&format!("myapp-v1.{hour}.{nth}")]);
            let _ = function.calls();
            function.handle_all(&events).await;
            let first = ["UpdateItem", "UpdateItem", "SendMessageBatch"];
            let expected: &[&str] = if nth == 0 { &first } else { &["UpdateItem"] };
            assert_eq!(function.calls(), expected);
        }
        assert_eq!(function.queued().await.len(), 1);
        function.aws.advance(Duration::from_secs(3_600));
    }
}

#[tokio::test]
async fn a_message_names_the_repository_the_image_and_the_event() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.handle_all(&events).await;
    let source = json!({"id": events[0]["id"], "time": events[0]["time"]});
    let pushed = json!({"digest": digest, "source": source});
    assert_eq!(function.queued().await, [json!({"repository": "deployments", "pushed": pushed})]);
}

#[tokio::test]
async fn a_cold_process_learns_from_the_ledger_that_the_sweep_of_the_hour_is_queued() {
    let function = Function::new("report").await;
    let (_, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.handle_all(&events).await;
    assert_eq!(function.queued().await.len(), 1);
    function.aws.advance(Duration::from_secs(1_800));
    let cold = function.cold();
    // An event as old as this may be a retry, so the ledger is asked for an interrupted attempt. The push
    // is recorded each time.
    let second = ["GetItem", "BatchGetItem", "UpdateItem", "UpdateItem"];
    for (request, calls) in [("second", &second[..]), ("third", &["BatchGetItem", "UpdateItem"])] {
        let _ = function.calls();
        handle(&cold, &events[0], request, function.now()).await.unwrap();
        assert_eq!(function.calls(), calls);
    }
    // The claim of the first push ends an hour after that push.
    function.aws.advance(Duration::from_secs(1_800));
    handle(&cold, &events[0], "fourth", function.now()).await.unwrap();
    assert_eq!(function.queued().await.len(), 1);
}

#[tokio::test]
async fn a_sweep_that_is_not_queued_is_queued_by_the_retry() {
    for operation in ["UpdateItem", "SendMessageBatch"] {
        let function = Function::new("report").await;
        let (_, events) = function.push("deployments", &["myapp-v1.0.0"]);
        function.aws.fault(operation, 0, Fault::Error(400, "AccessDeniedException"));
        let error = function.handle(&events[0], "first").await.unwrap_err();
        assert!(format!("{error:#}").contains("AccessDeniedException"), "{error:#}");
        function.aws.heal();
        // The claim belongs to the failed invocation, so another invocation queues nothing.
        if operation == "SendMessageBatch" {
            handle(&function.cold(), &events[0], "other", function.now()).await.unwrap();
            assert_eq!(function.queued().await.len(), 0);
        }
        function.handle(&events[0], "first").await.unwrap();
        assert_eq!(function.queued().await.len(), 1);
    }
}

#[tokio::test]
async fn sqs_that_refuses_a_message_for_a_moment_delays_the_push_and_does_not_fail_it() {
    let function = Function::new("report").await;
    let (_, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.aws.fault("SendMessageBatch", 1, Fault::Error(503, "ServiceUnavailable"));
    function.handle_all(&events).await;
    assert_eq!(function.queued().await.len(), 1);
}

#[tokio::test]
async fn a_push_whose_tag_cannot_be_enforced_queues_a_sweep_too() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.aws.fault("DescribeImages", 0, Fault::Error(400, "AccessDeniedException"));
    function.handle(&events[0], "first").await.unwrap_err();
    assert_eq!(function.queued().await.len(), 1);
}

#[tokio::test]
async fn a_push_to_a_repository_that_is_not_governed_queues_no_sweep() {
    let function = Function::new("report").await;
    function.handle(&event("unmanaged-repository"), "request").await.unwrap();
    assert_eq!(function.queued().await.len(), 0);
}

#[tokio::test]
async fn a_push_is_recorded_for_the_rounds() {
    let function = Function::new("report").await;
    let pushed_at = function.now();
    let (_, events) = function.push("deployments", &["myapp-v1.0.0"]);
    function.handle_all(&events).await;
    let repository: RepositoryName = "deployments".parse().unwrap();
    let histories = function.ledger().sweep_histories([&repository]).await.unwrap();
    assert_eq!(histories[&repository].pushed_at, Some(pushed_at));
}
