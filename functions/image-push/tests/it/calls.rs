//! How many calls of AWS each kind of push costs.

use crate::{Function, push_index};

/// The calls of the last of these tags' push, the others being there before.
async fn calls(enforcement: &str, repository: &str, tags: &[&str]) -> Vec<String> {
    let function = Function::new(enforcement).await;
    let (_, events) = function.push(repository, tags);
    let _ = function.calls();
    function
        .handle_all(
            events.last().as_slice().iter().copied().cloned().collect::<Vec<_>>().as_slice(),
        )
        .await;
    sorted(function.calls())
}

/// Two of them may be made at the same time, so that their order says nothing.
fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[tokio::test]
async fn a_conforming_push_costs_no_call() {
    assert_eq!(calls("quarantine", "infrastructure", &["litellm-v1.80.5"]).await, [""; 0]);
    assert_eq!(calls("report", "deployments", &["myapp-latest"]).await, [""; 0]);
    // Nor does one without a tag, and a quarantine tag beside a good one is the sweep's.
    assert_eq!(calls("quarantine", "infrastructure", &[]).await, [""; 0]);
}

#[tokio::test]
async fn an_index_costs_reading_it_and_noting_its_images() {
    let function = Function::new("quarantine").await;
    let (_, _, events) = push_index(&function, "openwebui-v0.6.36", 3);
    let _ = function.calls();
    function.handle_all(&events).await;
    assert_eq!(function.calls(), ["BatchGetImage", "BatchWriteItem"]);
    // A batch holds 25.
    let (_, _, events) = push_index(&function, "openwebui-v0.6.37", 26);
    function.handle_all(&events).await;
    assert_eq!(function.calls(), ["BatchGetImage", "BatchWriteItem", "BatchWriteItem"]);
}

#[tokio::test]
async fn a_violation_costs_what_its_enforcement_needs() {
    let bad = ["litellm-1.80.5"];
    let both = ["litellm-v1.80.5", "litellm-1.80.5"];
    let tell = ["UpdateItem", "Publish", "UpdateItem"];
    // Whether the images are replicated, or the repository is a replica, before a change.
    let copies = ["BatchGetItem", "DescribeRegistry"];
    let with = |others: &[&str]| {
        let copies = copies.iter().filter(|_| !others.is_empty());
        sorted(tell.iter().chain(others).chain(copies).map(|call| (*call).to_owned()).collect())
    };
    assert_eq!(calls("report", "infrastructure", &bad).await, with(&[]));
    assert_eq!(
        calls("quarantine", "infrastructure", &both).await,
        with(&["DescribeImages", "DescribeRepositories", "UpdateItem", "BatchDeleteImage"])
    );
    assert_eq!(
        calls("quarantine", "infrastructure", &bad).await,
        with(&[
            "DescribeImages",
            "DescribeRepositories",
            // The claim on the tags of the image, which keeps sweeps away from them.
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
            "DescribeImages"
        ])
    );
    // An index and its images are recorded in the ledger before they are archived.
    let function = Function::new("archive").await;
    let (_, _, events) = push_index(&function, "openwebui-0.6.36", 2);
    let _ = function.calls();
    function.handle_all(&events).await;
    let own = ["BatchGetImage", "BatchWriteItem", "BatchWriteItem", "BatchGetImage"];
    let recorded = ["GetLifecyclePolicy", "UpdateItem", "UpdateItem"];
    let archived = ["UpdateImageStorageClass"; 3];
    let looks = ["DescribeImages"; 4];
    let others = [&own[..], &recorded, &archived, &looks].concat();
    assert_eq!(sorted(function.calls()), with(&others));
    // The manifest of an index is read once.
    let function = Function::new("quarantine").await;
    let (_, _, events) = push_index(&function, "openwebui-0.6.36", 3);
    let _ = function.calls();
    function.handle_all(&events).await;
    assert_eq!(
        sorted(function.calls()),
        with(&[
            "DescribeImages",
            "DescribeRepositories",
            // The claim on the tags of the image, which keeps sweeps away from them.
            "UpdateItem",
            "GetLifecyclePolicy",
            "BatchGetImage",
            "PutImage",
            "BatchDeleteImage",
            "BatchWriteItem"
        ])
    );
}
