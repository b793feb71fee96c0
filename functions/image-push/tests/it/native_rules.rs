//! Tests native lifecycle rules that somebody else wrote.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::ecr::image::Status;
use serde_json::{Value, json};

use crate::{Function, push_index, quarantine_tag};

impl Function {
    fn status(&self, digest: &str) -> Status {
        self.aws.state().ecr().image("infrastructure", digest).unwrap().status
    }

    /// Somebody puts a lifecycle policy of one rule on the repository.
    fn put_rule(&self, selection: &Value) {
        let rule = json!({
            "rulePriority": 3,
            "description": "a rule of somebody else",
            "selection": selection,
            "action": {"type": "expire"},
        });
        let text = json!({"rules": [rule]}).to_string();
        let put = json!({"repositoryName": "infrastructure", "lifecyclePolicyText": text});
        self.aws.by_hand("PutLifecyclePolicy", &put).unwrap();
    }
}

fn any_after(days: u32) -> Value {
    json!({
        "tagStatus": "any",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": days,
    })
}

#[tokio::test]
async fn an_image_that_a_native_rule_would_expire_in_quarantine_is_only_reported() {
    let function = Function::new("quarantine").await;
    function.put_rule(&any_after(13));
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-1.80.5"]);
    let alert = function.alert();
    assert_eq!(alert["details"]["action"], "reported");
    let text = alert["text"].as_str().unwrap();
    expect![[r#"An image was pushed to the repository infrastructure with the tag litellm-1.80.5, which violates the policy. Nothing was changed: the lifecycle rule 3 of the repository, "a rule of somebody else", could expire the image or an image of its unit too early."#]].assert_eq(text.lines().next().unwrap());
}

#[tokio::test]
async fn an_image_is_quarantined_if_the_native_rule_expires_images_later() {
    let quarantined = json!({
        "tagStatus": "tagged",
        "tagPatternList": ["v*"],
        "countType": "imageCountMoreThan",
        "countNumber": 1,
    });
    for selection in [any_after(15), quarantined] {
        let function = Function::new("quarantine").await;
        function.put_rule(&selection);
        let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.handle_all(&events).await;
        let expected = [quarantine_tag(&digest, "litellm-1.80.5")];
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), expected);
    }
}

/// A bad tag beside a good tag is removed under any native rule, because no image is quarantined.
#[tokio::test]
async fn a_native_rule_does_not_matter_where_the_image_keeps_a_good_tag() {
    let function = Function::new("quarantine").await;
    function.put_rule(&any_after(1));
    let tags = ["litellm-v1.80.5", "litellm-1.80.5"];
    let (digest, events) = function.push("infrastructure", &tags);
    function.handle_all(&events).await;
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-v1.80.5"]);
}

#[tokio::test(start_paused = true)]
async fn an_index_whose_images_a_native_rule_would_expire_is_reported_and_not_archived() {
    let untagged = json!({
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": 3,
    });
    let function = Function::new("archive").await;
    function.put_rule(&untagged);
    let (index, parts, events) = push_index(&function, "openwebui-0.6.36", 2);
    function.handle_all(&events).await;
    let alert = function.alert();
    assert_eq!(alert["details"]["action"], "reported");
    assert!(alert["text"].as_str().unwrap().contains("lifecycle rule 3"), "{alert:#}");
    for _ in 0..10 {
        function.aws.advance(Duration::from_secs(86_400));
    }
    for digest in parts.iter().chain([&index]) {
        assert_eq!(function.status(digest), Status::Active, "{digest}");
    }
    // The native rule cannot expire an archived image that has no other images.
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    assert_eq!(function.status(&digest), Status::Archived);
}

#[tokio::test]
async fn native_rules_that_cannot_be_read_change_nothing_and_lambda_tries_again() {
    for enforcement in ["quarantine", "archive"] {
        let function = Function::new(enforcement).await;
        let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        let denied = Fault::Error(400, "AccessDeniedException");
        function.aws.fault("GetLifecyclePolicy", 1, denied);
        let error = function.handle(&events[0], "one").await.unwrap_err();
        assert!(format!("{error:#}").contains("lifecycle policy"), "{error:#}");
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-1.80.5"]);
        function.handle(&events[0], "one").await.unwrap();
        assert_ne!(function.alert()["details"]["action"], "reported");
    }
}
