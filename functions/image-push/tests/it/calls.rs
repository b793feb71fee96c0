//! Tests which AWS calls each kind of push costs.

use expect_test::expect;
use image_push::config::Config;
use image_push::{Context, handle};

use crate::{Function, push_index};

/// The calls for the push of the last of these tags, when the sweep of the hour is queued. The image has
/// the other tags already.
async fn calls(enforcement: &str, repository: &str, tags: &[&str]) -> Vec<String> {
    let function = Function::new(enforcement).await;
    function.queue_sweeps().await;
    let (_, events) = function.push(repository, tags);
    let _ = function.calls();
    function.handle_all(&events[events.len().saturating_sub(1)..]).await;
    sorted(function.calls())
}

/// Sorts the calls, because the function makes some of them at the same time.
fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[tokio::test]
async fn a_conforming_push_costs_no_call_after_the_first_push_of_the_hour() {
    assert_eq!(calls("quarantine", "infrastructure", &["litellm-v1.80.5"]).await, [""; 0]);
    assert_eq!(calls("report", "deployments", &["myapp-latest"]).await, [""; 0]);
    // A push without a tag costs no call either.
    assert_eq!(calls("quarantine", "infrastructure", &[]).await, [""; 0]);
}

#[tokio::test]
async fn the_first_event_of_a_process_reads_the_policy_once() {
    let function = Function::new("quarantine").await;
    let config = function.context.config.clone();
    let context = Context::new(config, &function.world.sdk("image-push"));
    for (request, tag) in [("one", "litellm-v1.80.5"), ("two", "litellm-v1.80.6")] {
        let (_, events) = function.push("infrastructure", &[tag]);
        let _ = function.calls();
        handle(&context, &events[0], request, function.now()).await.unwrap();
        let first = ["GetItem", "UpdateItem", "SendMessageBatch"];
        let expected: &[&str] = if request == "one" { &first } else { &[] };
        assert_eq!(function.calls(), expected);
    }
}

#[tokio::test]
async fn a_policy_that_the_ledger_does_not_have_fails_the_event() {
    let function = Function::new("quarantine").await;
    let config =
        Config { policy_version: "0123456789abcdef".to_owned(), ..function.context.config.clone() };
    let context = Context::new(config, &function.world.sdk("image-push"));
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    let error = handle(&context, &events[0], "request", function.now()).await.unwrap_err();
    expect!["the ledger ecr-warden-Ledger has no policy 0123456789abcdef: deploy the stack with a changed policy, because a deployment writes its policy to the ledger"].assert_eq(&format!("{error:#}"));
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn a_pushed_index_costs_two_reads_and_the_writes_of_its_images() {
    let function = Function::new("quarantine").await;
    function.queue_sweeps().await;
    let (_, _, events) = push_index(&function, "openwebui-v0.6.36", 3);
    let _ = function.calls();
    function.handle_all(&events).await;
    assert_eq!(function.calls(), ["BatchGetImage", "BatchWriteItem", "BatchGetItem"]);
    // BatchWriteItem writes at most 25 items.
    let (_, _, events) = push_index(&function, "openwebui-v0.6.37", 26);
    function.handle_all(&events).await;
    let writes = ["BatchGetImage", "BatchWriteItem", "BatchWriteItem", "BatchGetItem"];
    assert_eq!(function.calls(), writes);
    // An index without a tag is a step of a build.
    let index = {
        let mut state = function.aws.state();
        let now = state.now();
        let image = state.ecr().push_made_up("infrastructure", &[], now).unwrap();
        state.ecr().push_index("infrastructure", &[image], &[], now).unwrap()
    };
    let events = function.push_events();
    assert_eq!(events[1]["detail"]["image-digest"], index);
    function.handle_all(&events).await;
    assert_eq!(function.calls(), [""; 0]);
}

#[tokio::test]
async fn a_violation_costs_only_the_calls_that_its_enforcement_needs() {
    let bad = ["litellm-1.80.5"];
    let both = ["litellm-v1.80.5", "litellm-1.80.5"];
    let publish = ["UpdateItem", "GetItem", "Publish", "PutEvents", "UpdateItem"];
    // Before a change, the function checks whether the images are replicated and whether the
    // repository is a replica.
    let copies = ["BatchGetItem", "DescribeRegistry"];
    let with = |others: &[&str]| {
        let copies = copies.iter().filter(|_| !others.is_empty());
        sorted(publish.iter().chain(others).chain(copies).map(|call| (*call).to_owned()).collect())
    };
    // The claim, the record for the digest, and the settlement.
    assert_eq!(calls("report", "infrastructure", &bad).await, ["UpdateItem"; 3]);
    // One call asks whether another image has the suggested tag. A tag without a suggestion needs
    // no such call, nor does an image that has the suggested tag itself.
    assert_eq!(
        calls("quarantine", "infrastructure", &both).await,
        with(&["DescribeImages", "DescribeRepositories", "UpdateItem", "BatchDeleteImage"])
    );
    assert_eq!(
        calls("quarantine", "infrastructure", &bad).await,
        with(&[
            "DescribeImages",
            "DescribeImages",
            "DescribeRepositories",
            // The claim on the tags of the image, which prevents a sweep from removing them.
            "UpdateItem",
            // A native rule could expire the image while it waits.
            "GetLifecyclePolicy",
            "BatchGetImage",
            "PutImage",
            "BatchDeleteImage"
        ])
    );
    assert_eq!(
        calls("archive", "infrastructure", &bad).await,
        with(&[
            "DescribeImages",
            "DescribeImages",
            "GetLifecyclePolicy",
            "UpdateImageStorageClass",
            "DescribeImages",
            "DescribeImages",
            "DescribeImages"
        ])
    );
    // An index and its images are recorded in the ledger before they are archived.
    let function = Function::new("archive").await;
    function.queue_sweeps().await;
    let (_, _, events) = push_index(&function, "openwebui-0.6.36", 2);
    let _ = function.calls();
    function.handle_all(&events).await;
    let own =
        ["BatchGetImage", "BatchWriteItem", "BatchGetItem", "BatchWriteItem", "BatchGetImage"];
    let recorded = ["GetLifecyclePolicy", "UpdateItem", "UpdateItem"];
    let archived = ["UpdateImageStorageClass"; 3];
    let looks = ["DescribeImages"; 5];
    let others = [&own[..], &recorded, &archived, &looks].concat();
    assert_eq!(sorted(function.calls()), with(&others));
    // The manifest of an index is read once.
    let function = Function::new("quarantine").await;
    function.queue_sweeps().await;
    let (_, _, events) = push_index(&function, "openwebui-0.6.36", 3);
    let _ = function.calls();
    function.handle_all(&events).await;
    assert_eq!(
        sorted(function.calls()),
        with(&[
            "DescribeImages",
            "DescribeImages",
            "DescribeRepositories",
            // The claim on the tags of the image, which prevents a sweep from removing them.
            "UpdateItem",
            "GetLifecyclePolicy",
            "BatchGetImage",
            "PutImage",
            "BatchDeleteImage",
            "BatchWriteItem",
            "BatchGetItem"
        ])
    );
}
