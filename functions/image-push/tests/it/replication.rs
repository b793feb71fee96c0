//! Tests events of replication, which mark a governed repository as a replica.

use expect_test::{Expect, expect};
use local_aws::ecr::image::Status;
use local_aws::{ACCOUNT, Fault};
use serde_json::{Value, json};

use crate::{Function, event, push_index};

/// The event with these values in its detail.
pub fn replicated(detail: &[(&str, &str)]) -> Value {
    let mut event = event("replicated");
    event["detail"]["repository-name"] = json!("infrastructure");
    for (name, value) in detail {
        event["detail"][*name] = json!(value);
    }
    event
}

/// Whether a violation in the repository is still enforced after an event.
async fn is_enforced_after(event: &Value) -> bool {
    let function = Function::new("quarantine").await;
    function.handle(event, "replicated").await.unwrap();
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let tags = function.tags("infrastructure", &digest).unwrap();
    tags.iter().all(|tag| tag.starts_with("quarantine-"))
}

#[tokio::test]
async fn only_a_copy_from_another_registry_makes_a_replica() {
    assert!(!is_enforced_after(&replicated(&[])).await);
    assert!(!is_enforced_after(&replicated(&[("source-account", "210987654321")])).await);
    for detail in [
        ("result", "FAILED"),
        ("action-type", "OTHER"),
        ("repository-name", "deployments"),
        // The event of the source registry itself, if ECR sends such an event.
        ("source-region", "us-east-1"),
    ] {
        assert!(is_enforced_after(&replicated(&[detail])).await, "{detail:?}");
    }
}

#[tokio::test]
async fn a_replica_is_remembered_for_four_hundred_days_from_its_last_event() {
    let function = Function::new("quarantine").await;
    let day = std::time::Duration::from_secs(86_400);
    for _ in 0..2 {
        function.handle(&replicated(&[]), "replicated").await.unwrap();
        let table = json!({
            "TableName": function.context.config.table,
            "Key": {"fact": {"S": "replica infrastructure"}},
        });
        let item = function.aws.ask("dynamodb", "DynamoDB_20120810.GetItem", &table).await.unwrap();
        let expires: i64 = item["Item"]["expires"]["N"].as_str().unwrap().parse().unwrap();
        assert_eq!(expires, function.now().timestamp() + 400 * 86_400);
        assert_eq!(function.calls(), ["UpdateItem"]);
        function.aws.advance(day * 30);
        function.calls();
    }
}

/// A later version of the policy may govern the replica.
#[tokio::test]
async fn a_replica_that_is_not_governed_is_recorded_too() {
    let function = Function::new("quarantine").await;
    let event = replicated(&[("repository-name", "team-a/app")]);
    function.handle(&event, "replicated").await.unwrap();
    assert_eq!(function.calls(), ["UpdateItem"]);
}

async fn check(detail: (&str, &str), expected: Expect) {
    let function = Function::new("quarantine").await;
    let error = function.handle(&replicated(&[detail]), "replicated").await.unwrap_err();
    expected.assert_eq(&format!("{error:#}"));
}

#[tokio::test]
async fn an_event_with_an_invalid_registry_is_an_error() {
    for detail in [("source-account", "12"), ("source-region", "`curl`")] {
        check(
            detail,
            expect![
                "the event: detail.source-account and detail.source-region: expected a registry"
            ],
        )
        .await;
    }
    check(("repository-name", "NOT A NAME"), expect![[r#"the event: detail.repository-name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "NOT A NAME""#]]).await;
}

/// An attempt is interrupted within a unit. Before Lambda tries again, somebody configures
/// replication of the repository.
#[tokio::test(start_paused = true)]
async fn an_unfinished_unit_is_restored_if_the_repository_is_replicated_now() {
    // ECR may refuse to archive an image of an active index. Then the index is archived first.
    for refuses_children in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().refuses_children_of_active_indexes = refuses_children;
        let (index, images, events) = push_index(&function, "openwebui-0.6.36", 2);
        let (last, rest) = events.split_last().unwrap();
        function.handle_all(rest).await;
        let first = if refuses_children { 4 } else { 2 };
        for nth in first..20 {
            let throttled = Fault::Error(400, "ThrottlingException");
            function.aws.fault("UpdateImageStorageClass", nth, throttled);
        }
        function.handle(last, "index").await.unwrap_err();
        function.aws.heal();
        let status = |digest: &str| {
            function.aws.state().ecr().image("infrastructure", digest).unwrap().status
        };
        let all = || images.iter().chain([&index]);
        let archived = all().filter(|digest| status(digest) == Status::Archived).count();
        assert_eq!((archived, refuses_children), (1, status(&index) == Status::Archived));
        let destination = json!({"region": "us-west-2", "registryId": ACCOUNT});
        let rules = json!({"rules": [{"destinations": [destination]}]});
        let input = json!({"replicationConfiguration": rules});
        function.aws.by_hand("PutReplicationConfiguration", &input).unwrap();
        // An archived index cannot be read, which would be an error for a younger event.
        function.aws.advance(std::time::Duration::from_secs(180));
        function.handle(last, "index").await.unwrap();
        function.aws.advance(std::time::Duration::from_secs(3_600));
        for digest in all() {
            assert_eq!(status(digest), Status::Active);
        }
        let alert = function.alert();
        assert_eq!(alert["details"]["action"], "reported");
        let text = alert["text"].as_str().unwrap();
        assert!(text.contains(&format!("account {ACCOUNT} in us-west-2")), "{text}");
    }
}
