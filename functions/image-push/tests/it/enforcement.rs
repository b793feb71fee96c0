//! Tests the outcome of a violation in each state of the image and its repository.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::json;

use crate::{Function, event, push_index, quarantine_tag};

#[tokio::test]
async fn an_image_with_only_a_bad_tag_is_quarantined_and_an_alert_is_published() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let quarantined = quarantine_tag(&digest, "litellm-1.80.5");
    assert_eq!(function.tags("infrastructure", &digest), Some(vec![quarantined.clone()]));
    let alert = function.alert();
    assert_eq!(alert["kind"], "tag-violation");
    assert_eq!(alert["severity"], "HIGH");
    assert_eq!(
        alert["details"],
        json!({
            "tag": "litellm-1.80.5",
            "rule": "grammar",
            "suggestion": "litellm-v1.80.5",
            "action": "quarantined",
            "quarantineTag": quarantined,
        })
    );
    assert_eq!(alert["image"], json!({"digest": digest, "tags": [quarantined]}));
    assert_eq!(alert["source"]["id"], events[0]["id"]);
}

// Case B12 in docs/contributing/prior-art.md.
#[tokio::test]
async fn b12_an_ignored_build_cache_is_neither_changed_nor_alerted_on() {
    let function = Function::with(&[
        ("platform.Tags.Enforcement", "quarantine"),
        ("platform.Tags.Ignored", r#"["buildcache*"]"#),
    ])
    .await;
    for nth in 0..3 {
        let tag = format!("buildcache-{nth}");
        let (digest, events) = function.push("infrastructure", &[&tag]);
        function.handle_all(&events).await;
        assert_eq!(function.tags("infrastructure", &digest), Some(vec![tag]));
    }
    assert_eq!(function.alerts(), Vec::<serde_json::Value>::new());
}

// Case B17 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_suggestion_never_names_another_images_tag() {
    for enforcement in ["quarantine", "archive"] {
        let function = Function::new(enforcement).await;
        let (owner, _) = function.push("infrastructure", &["litellm-v1.80.5"]);
        let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.handle_all(&events).await;
        let alert = function.alert();
        assert_eq!(alert["details"]["suggestion"], json!(null), "{enforcement}: {alert:#}");
        let remedies = alert["remedies"].to_string();
        assert!(!remedies.contains("litellm-v1.80.5"), "{enforcement}: {remedies}");
        let text = alert["text"].as_str().unwrap();
        assert!(text.contains(&format!("belongs to another image, {owner}")), "{text}");
    }
}

#[tokio::test]
async fn an_alert_has_no_suggestion_if_the_owner_of_the_tag_cannot_be_read() {
    let function = Function::new("quarantine").await;
    // The first call describes the image itself.
    function.aws.fault("DescribeImages", 2, Fault::Error(400, "AccessDeniedException"));
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let alert = function.alert();
    assert_eq!(alert["details"]["suggestion"], json!(null));
    assert!(!alert["text"].to_string().contains("litellm-v1.80.5"), "{alert:#}");
}

// Case P27 in docs/contributing/prior-art.md.
#[tokio::test]
async fn an_image_with_good_tags_loses_only_the_bad_one() {
    let function = Function::new("quarantine").await;
    let tags = ["litellm-v1.80.5", "litellm-1.80.5", "litellm-v1.80.6"];
    let (digest, events) = function.push("infrastructure", &tags);
    function.handle_all(&events).await;
    assert_eq!(
        function.tags("infrastructure", &digest).unwrap(),
        ["litellm-v1.80.5", "litellm-v1.80.6"]
    );
    assert_eq!(function.alert()["details"]["action"], "untagged");
}

#[tokio::test(start_paused = true)]
async fn two_bad_tags_at_once_leave_the_image_with_a_tag() {
    let function = Function::new("quarantine").await;
    function.slow_down(|_| 10);
    let (digest, events) = function.push("infrastructure", &["latest", "litellm-1.80.5"]);
    let (one, other) =
        tokio::join!(function.handle(&events[0], "one"), function.handle(&events[1], "other"));
    one.and(other).unwrap();
    let tags = function.tags("infrastructure", &digest).unwrap();
    assert_eq!(
        tags,
        ["latest", "litellm-1.80.5"].map(|tag| quarantine_tag(&digest, tag)),
        "each lost its own tag"
    );
    assert_eq!(function.alerts().len(), 2);
}

// Case P26 in docs/contributing/prior-art.md.
#[tokio::test]
async fn the_push_of_our_own_quarantine_tag_is_no_violation() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let _ = (function.alerts(), function.calls());
    let echo = function.push_events();
    let quarantined = quarantine_tag(&digest, "litellm-1.80.5");
    assert_eq!(echo.len(), 1);
    assert_eq!(echo[0]["detail"]["image-tag"], *quarantined);
    function.handle_all(&echo).await;
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), [quarantined]);
    // The ledger records the push of a quarantine tag too.
    assert_eq!((function.alerts().len(), function.calls()), (0, vec!["UpdateItem".to_owned()]));
}

#[tokio::test]
async fn a_forged_quarantine_tag_is_judged_like_any_other_tag() {
    let function = Function::new("quarantine").await;
    let forged = "quarantine-20991231-000000000000-litellm";
    let (digest, events) = function.push("infrastructure", &[forged]);
    function.handle_all(&events).await;
    assert_eq!(
        function.tags("infrastructure", &digest).unwrap(),
        [quarantine_tag(&digest, forged)]
    );
}

#[tokio::test]
async fn signatures_and_children_of_an_index_are_not_judged() {
    let function = Function::new("quarantine").await;
    let subject = "0a".repeat(32);
    for tag in ["", ".sig", ".att", ".sbom"].map(|kind| format!("sha256-{subject}{kind}")) {
        let (digest, events) = function.push("infrastructure", &[&tag]);
        function.handle_all(&events).await;
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), [tag]);
    }
    let (digest, events) = function.push("infrastructure", &[]);
    assert_eq!(events[0]["detail"]["image-tag"], "");
    function.handle_all(&events).await;
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), [""; 0]);
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn an_index_is_quarantined_whole() {
    let function = Function::new("quarantine").await;
    let (index, images, events) = push_index(&function, "openwebui-0.6.36", 3);
    function.handle_all(&events).await;
    assert_eq!(
        function.tags("infrastructure", &index).unwrap(),
        [quarantine_tag(&index, "openwebui-0.6.36")]
    );
    assert!(images.iter().all(|image| function.tags("infrastructure", image).is_some()));
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test]
async fn a_deleted_tag_image_or_repository_causes_no_alert() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.untag("infrastructure", "litellm-1.80.5");
    assert_eq!(function.tags("infrastructure", &digest), None);
    function.handle_all_when_old(&events).await;
    let (digest, events) = function.push("infrastructure", &["litellm-v1.0.0", "latest"]);
    function.untag("infrastructure", "latest");
    function.handle_all_when_old(&events).await;
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-v1.0.0"]);
    assert_eq!(function.alerts().len(), 0);
    // The repository itself is deleted.
    function
        .aws
        .by_hand("DeleteRepository", &json!({"repositoryName": "infrastructure", "force": true}))
        .unwrap();
    function.handle_all(&[event("near-miss"), event("index")]).await;
    assert_eq!(function.alerts().len(), 0);
}

// Case P28 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_tag_that_moved_to_another_image_stays_there() {
    let function = Function::new("quarantine").await;
    let (first, events) = function.push("infrastructure", &["litellm-v1.80.5", "latest"]);
    function.untag("infrastructure", "latest");
    let (second, _) = function.push("infrastructure", &["litellm-v1.80.6", "latest"]);
    function.handle_all_when_old(&events).await;
    assert_eq!(function.tags("infrastructure", &first).unwrap(), ["litellm-v1.80.5"]);
    assert_eq!(function.tags("infrastructure", &second).unwrap(), ["latest", "litellm-v1.80.6"]);
    let changes = function.aws.take_changes();
    let only = ["UpdateItem", "SendMessageBatch"];
    assert!(changes.iter().all(|change| only.contains(&change.as_str())), "{changes:?}");
}

#[tokio::test]
async fn a_violation_is_only_reported_if_tags_have_become_mutable() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    for mutability in ["MUTABLE", "IMMUTABLE_WITH_EXCLUSION"] {
        let filter = json!([{"filterType": "WILDCARD", "filter": "litellm*"}]);
        let mut set = json!({"repositoryName": "infrastructure", "imageTagMutability": mutability});
        if mutability != "MUTABLE" {
            set["imageTagMutabilityExclusionFilters"] = filter;
        }
        function.aws.by_hand("PutImageTagMutability", &set).unwrap();
        function.handle_all(&events).await;
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-1.80.5"]);
    }
    let alert = function.alert();
    assert_eq!(alert["details"]["action"], "reported");
    expect![[r#"
        An image was pushed to the repository infrastructure with the tag litellm-1.80.5, which violates the policy. Nothing was changed: the tag mutability of the repository lets the tag move to another image.

        Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

        What to do: push the image again as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5."#]].assert_eq(&masked(alert["text"].as_str().unwrap()));
}

// Case B8 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_tag_that_cannot_move_is_quarantined_although_other_tags_can_move() {
    for (mutability, filters) in
        [("IMMUTABLE_WITH_EXCLUSION", "sha256-*,*-dev"), ("MUTABLE_WITH_EXCLUSION", "litellm-1*")]
    {
        let function = Function::with(&[
            ("InfrastructureTagMutability", mutability),
            ("InfrastructureMutabilityExclusions", filters),
        ])
        .await;
        let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.handle_all(&events).await;
        let tags = function.tags("infrastructure", &digest).unwrap();
        assert!(tags[0].ends_with("-litellm-1.80.5"), "{mutability}: {tags:?}");
        assert_eq!(
            (tags.len(), function.alert()["details"]["action"].as_str()),
            (1, Some("quarantined"))
        );
    }
}

#[tokio::test]
async fn a_repeated_push_is_enforced_again_and_published_once() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let again = function.tag("infrastructure", &digest, "litellm-1.80.5");
    let again: Vec<_> = again
        .into_iter()
        .filter(|event| event["detail"]["image-tag"] == "litellm-1.80.5")
        .collect();
    function.handle_all(&again).await;
    let quarantined = quarantine_tag(&digest, "litellm-1.80.5");
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), [quarantined]);
    assert_eq!(function.alerts().len(), 1);
    // A week later the same violation is published again.
    function.aws.advance(std::time::Duration::from_secs(8 * 86_400));
    let again = function.tag("infrastructure", &digest, "litellm-1.80.5");
    function.handle_all(&again[again.len() - 1..]).await;
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test]
async fn a_report_changes_nothing() {
    let function = Function::new("report").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5", "latest"]);
    function.handle_all(&events).await;
    let tags = ["latest", "litellm-1.80.5"];
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), tags);
    let changes = function.aws.take_changes();
    let only = ["UpdateItem", "SendMessageBatch"];
    assert!(changes.iter().all(|change| only.contains(&change.as_str())), "{changes:?}");
    assert_eq!(function.report().await.violations(), 2);
}

#[tokio::test]
async fn an_image_without_a_good_tag_is_archived_with_its_tags() {
    for hides_archived in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().hides_archived_by_id = hides_archived;
        let (digest, events) = function.push("deployments", &["feature-x"]);
        function.handle_all(&events).await;
        let (kept, events) = function.push("deployments", &["myapp-0123abc", "feature-y"]);
        function.handle_all(&events).await;
        let status = |digest: &str| status(&function, digest);
        assert_eq!((status(&digest), status(&kept)), ("ARCHIVED", "ACTIVE"));
        assert_eq!(function.tags("deployments", &digest).unwrap(), ["feature-x"]);
        let alerts = function.alerts();
        let actions: Vec<_> = alerts.iter().map(|alert| &alert["details"]["action"]).collect();
        assert_eq!(actions, ["archived", "reported"]);
    }
}

#[tokio::test]
async fn an_image_that_somebody_archived_meanwhile_is_only_reported() {
    for hides_archived in [false, true] {
        let function = Function::new("quarantine").await;
        function.aws.state().ecr().hides_archived_by_id = hides_archived;
        let (digest, events) = function.push("infrastructure", &["latest"]);
        let archive = json!({
            "repositoryName": "infrastructure",
            "imageId": {"imageDigest": digest},
            "targetStorageClass": "ARCHIVE",
        });
        function.aws.by_hand("UpdateImageStorageClass", &archive).unwrap();
        function.handle_all(&events).await;
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["latest"]);
        assert_eq!(function.alert()["details"]["action"], "reported");
    }
}

#[tokio::test]
async fn a_retry_after_a_lost_response_does_not_remove_the_tag_from_another_image() {
    let function = Function::new("quarantine").await;
    let (first, events) = function.push("infrastructure", &["latest"]);
    function.aws.fault("BatchDeleteImage", 1, Fault::ResetAfter);
    function.handle(&events[0], "request").await.unwrap_err();
    let calls = function.calls();
    assert_eq!(calls.iter().filter(|call| *call == "BatchDeleteImage").count(), 1, "{calls:?}");
    // The tag is free now, so another image can have it.
    let (second, pushed) = function.push("infrastructure", &["latest"]);
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    assert_eq!(function.tags("infrastructure", &second).unwrap(), ["latest"]);
    function.handle_all(&pushed[pushed.len() - 1..]).await;
    for digest in [first, second] {
        let quarantined = quarantine_tag(&digest, "latest");
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), [quarantined]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_attempt_does_not_remove_the_tag_from_another_image() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["latest"]);
    // The second attempt reads the image before the first attempt ends, and acts after the other
    // image is pushed.
    let second = async {
        function.aws.fault("DescribeRepositories", 2, Fault::Slow(Duration::from_secs(5)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        function.handle(&events[0], "second").await
    };
    let pushed = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        function.push("infrastructure", &["latest"]).0
    };
    let (_, _, other) = tokio::join!(function.handle(&events[0], "first"), second, pushed);
    assert_eq!(function.tags("infrastructure", &other).unwrap(), ["latest"]);
}

#[tokio::test]
async fn the_alert_names_another_image_that_lost_the_tag() {
    let function = Function::new("quarantine").await;
    let (first, events) = function.push("infrastructure", &["litellm-v1.80.5", "latest"]);
    // Somebody moves the tag between the read and the removal.
    function.aws.fault("BatchDeleteImage", 1, Fault::Slow(Duration::from_millis(50)));
    let moved = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        function.untag("infrastructure", "latest");
        function.push("infrastructure", &["litellm-v1.80.6", "latest"]).0
    };
    let (handled, second) = tokio::join!(function.handle(&events[1], "request"), moved);
    handled.unwrap();
    assert_eq!(function.tags("infrastructure", &first).unwrap(), ["litellm-v1.80.5"]);
    assert_eq!(function.tags("infrastructure", &second).unwrap(), ["litellm-v1.80.6"]);
    let text = function.alert()["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&second), "{text}");
    expect![[r#"
        ECR Warden removed the tag latest from an image in the repository infrastructure. The image is kept, with its other tags.

        In the meantime, somebody had moved the tag to the image sha256:…, and that image lost the tag. ECR deletes an image that loses its last tag. Check whether the image still exists, and push it again if it does not.

        Why: the tag latest does not match {component}-v{semver} (rule grammar).

        What to do: push the image again with a tag that conforms, or change the policy."#]].assert_eq(&masked(&text));
}

#[tokio::test]
async fn an_image_that_gets_a_good_tag_while_it_is_archived_is_restored() {
    for hides_archived in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().hides_archived_by_id = hides_archived;
        let (digest, events) = function.push("deployments", &["feature-x"]);
        function.aws.fault("UpdateImageStorageClass", 1, Fault::Slow(Duration::from_millis(50)));
        let tagged = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            function.tag("deployments", &digest, "myapp-v1.0.0");
        };
        let (handled, ()) = tokio::join!(function.handle(&events[0], "request"), tagged);
        handled.unwrap();
        assert_eq!(status(&function, &digest), "ACTIVATING");
        assert_eq!(function.alert()["details"]["action"], "reported");
    }
}

#[tokio::test]
async fn an_image_that_is_archived_again_after_a_restore_is_published_again() {
    for hides_archived in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().hides_archived_by_id = hides_archived;
        let (digest, events) = function.push("deployments", &["feature-x"]);
        function.handle_all(&events).await;
        function.handle_all(&events).await;
        assert_eq!(function.alerts().len(), 1);
        let restore = json!({
            "repositoryName": "deployments",
            "imageId": {"imageDigest": digest},
            "targetStorageClass": "STANDARD",
        });
        function.aws.by_hand("UpdateImageStorageClass", &restore).unwrap();
        // While ECR restores the image it is only reported. After that it is archived again.
        function.handle_all(&events).await;
        function.aws.advance(Duration::from_secs(3_600));
        function.handle_all(&events).await;
        let alerts = function.alerts();
        let actions: Vec<_> = alerts.iter().map(|alert| &alert["details"]["action"]).collect();
        assert_eq!(actions, ["reported", "archived"]);
        let texts: Vec<_> = alerts.iter().map(|alert| alert["text"].as_str().unwrap()).collect();
        expect![[r#"
            An image was pushed to the repository deployments with the tag feature-x, which violates the policy. Nothing was changed: ECR is restoring the image from the archive.

            Why: the tag feature-x does not match {component}-v{semver} or {component}-{channel} or {component}-{sha} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.

            ECR Warden moved the image deployments:feature-x to the archive, with all its tags. The image cannot be pulled until it is restored, which takes about twenty minutes. ECR deletes the image after 90 days in the archive.

            Why: the tag feature-x does not match {component}-v{semver} or {component}-{channel} or {component}-{sha} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy."#]].assert_eq(&masked(&texts.join("\n\n")));
    }
}

#[tokio::test]
async fn the_next_attempt_restores_an_image_that_a_failed_attempt_archived() {
    for hides_archived in [false, true] {
        let function = Function::new("archive").await;
        function.aws.state().ecr().hides_archived_by_id = hides_archived;
        let (digest, events) = function.push("deployments", &["feature-x"]);
        // The first call describes the image, and the second lists all images.
        function.aws.fault("DescribeImages", 3, Fault::Error(403, "AccessDeniedException"));
        function.aws.fault("UpdateImageStorageClass", 1, Fault::Slow(Duration::from_millis(50)));
        let tagged = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            function.tag("deployments", &digest, "myapp-v1.0.0");
        };
        let (handled, ()) = tokio::join!(function.handle(&events[0], "request"), tagged);
        handled.unwrap_err();
        function.handle(&events[0], "request").await.unwrap();
        assert_eq!(status(&function, &digest), "ACTIVATING");
        expect![[r#"
            ECR Warden moved the image deployments:feature-x to the archive, and is restoring it, because the image got a conforming tag in the meantime. The image cannot be pulled for about twenty minutes.

            Why: the tag feature-x does not match {component}-v{semver} or {component}-{channel} or {component}-{sha} (rule grammar).

            What to do: wait until the image is restored, and correct the pipeline that pushed feature-x."#]].assert_eq(&masked(function.alert()["text"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_second_quarantine_counts_its_days_from_its_own_start() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["latest"]);
    function.handle_all(&events).await;
    function.forget();
    function.aws.advance(Duration::from_secs(13 * 86_400));
    let again = function.tag("infrastructure", &digest, "latest");
    function.handle_all(&again[again.len() - 1..]).await;
    let quarantined = quarantine_tag(&digest, "latest").replace("20270115", "20270128");
    assert_eq!(function.alert()["details"]["quarantineTag"], quarantined);
    let tags = function.tags("infrastructure", &digest).unwrap();
    assert_eq!(tags, [quarantine_tag(&digest, "latest"), quarantined]);
}

#[tokio::test]
async fn a_refusal_of_ecr_is_an_error_that_names_the_image_and_the_step() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["latest"]);
    function.aws.fault("PutImage", 1, Fault::Error(400, "AccessDeniedException"));
    let error = function.handle(&events[0], "request").await.unwrap_err();
    let quarantined = quarantine_tag(&digest, "latest");
    let error = format!("{error:#}");
    assert!(error.contains(&digest) && error.contains(&quarantined), "{error}");
    expect!["infrastructure@sha256:…: add the tag quarantine-20270115-…-latest: AccessDeniedException: made to fail"].assert_eq(&masked(&error));
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["latest"]);
    // The next attempt succeeds.
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.tags("infrastructure", &digest).unwrap(), [quarantined]);
    assert_eq!(function.alerts().len(), 1);
}

/// The status of an image of `deployments`.
fn status(function: &Function, digest: &str) -> &'static str {
    function.aws.state().ecr().image("deployments", digest).unwrap().status.name()
}
