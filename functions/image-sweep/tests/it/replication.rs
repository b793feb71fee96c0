//! Tests unfinished units in a repository that is replicated now.

use std::time::Duration;

use local_aws::Fault;
use local_aws::ecr::image::Status;
use serde_json::json;

use crate::{DEPLOYMENTS, Function, count};

/// Replicates every repository to another region.
pub fn replicate(function: &Function) {
    let destination = json!({"region": "us-west-2", "registryId": local_aws::ACCOUNT});
    let rules = json!([{"destinations": [destination], "deleteReplication": {"enabled": true}}]);
    let input = json!({"replicationConfiguration": {"rules": rules}});
    function.aws.by_hand("PutReplicationConfiguration", &input).unwrap();
}

fn status(function: &Function, digest: &str) -> Option<Status> {
    let mut state = function.aws.state();
    let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
    images.get(digest).map(|image| image.status)
}

/// Sweeps a unit of four images, of which only the first call succeeds. Returns the digests of the
/// index, its images and its signature.
async fn interrupted(enforcement: &str, operation: &str) -> (Function, [String; 4]) {
    let function = Function::new(enforcement).await;
    let unit = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    for nth in 2..20 {
        function.aws.fault(operation, nth, Fault::Error(400, "ThrottlingException"));
    }
    function.sweep().await;
    function.aws.heal();
    function.aws.advance(Duration::from_secs(3_600));
    let _ = function.alerts();
    function.calls();
    (function, unit)
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_unit_is_restored_if_the_repository_is_replicated() {
    let (function, unit) = interrupted("archive", "UpdateImageStorageClass").await;
    let archived = unit.iter().filter(|one| status(&function, one) == Some(Status::Archived));
    assert_eq!(archived.count(), 1);
    replicate(&function);
    function.sweep().await;
    function.aws.advance(Duration::from_secs(3_600));
    for digest in &unit {
        assert_eq!(status(&function, digest), Some(Status::Active));
    }
    // Only the archived image was restored, with one call.
    assert_eq!(count(&function.calls(), "UpdateImageStorageClass"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_unit_is_finished_if_the_repository_is_not_replicated() {
    let (function, unit) = interrupted("archive", "UpdateImageStorageClass").await;
    function.sweep().await;
    for digest in &unit {
        assert_eq!(status(&function, digest), Some(Status::Archived));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_unit_waits_while_the_replication_cannot_be_read() {
    let (function, unit) = interrupted("archive", "UpdateImageStorageClass").await;
    let before = unit.each_ref().map(|digest| status(&function, digest));
    function.aws.fault("DescribeRegistry", 0, Fault::Error(400, "AccessDeniedException"));
    let answer = function.sweep().await;
    let stopped = answer["stopped"].as_str().unwrap();
    assert!(stopped.contains("the replication of deployments cannot be read"), "{stopped}");
    assert_eq!(unit.each_ref().map(|digest| status(&function, digest)), before);
    function.aws.heal();
    function.sweep().await;
    for digest in &unit {
        assert_eq!(status(&function, digest), Some(Status::Archived));
    }
}

/// A plan that would remove nothing costs no call about replication.
#[tokio::test]
async fn a_sweep_without_a_removal_does_not_ask_for_the_replication() {
    for (enforcement, versions) in [("archive", 2), ("report", 5)] {
        let function = Function::new(enforcement).await;
        function.versions("a", versions);
        function.calls();
        function.sweep().await;
        assert_eq!(count(&function.calls(), "DescribeRegistry"), 0);
    }
}

#[tokio::test]
async fn reading_the_plan_of_a_replicated_repository_says_that_nothing_is_removed() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    replicate(&function);
    let answer = function.read().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(3), &json!(0)));
    assert!(answer["stopped"].as_str().unwrap().contains("us-west-2"), "{answer}");
}
