//! Events of replication: a governed repository that images are copied to is a replica.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{Function, event};

/// The event with these values in its detail.
fn replicated(detail: &[(&str, &str)]) -> Value {
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
        // The source's own event, if ECR sends one: it is no copy.
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

#[tokio::test]
async fn a_repository_that_is_not_governed_is_not_noted() {
    let function = Function::new("quarantine").await;
    let event = replicated(&[("repository-name", "team-a/app")]);
    function.handle(&event, "replicated").await.unwrap();
    assert_eq!(function.calls(), [""; 0]);
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
