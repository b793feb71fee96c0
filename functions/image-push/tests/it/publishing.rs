//! Tests which alerts are published, and how often.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::pattern::Pattern;
use local_aws::world::masked;
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_aws::push::read_push;
use warden_aws::recheck_queue::DETAIL_TYPE;
use warden_core::image::Digest;

use crate::{Context, Function, event, push_index};

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn two_concurrent_copies_of_an_event_publish_one_alert() {
    let function = Function::new("quarantine").await;
    function.slow_down(|_| 10);
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    let (one, other) =
        tokio::join!(function.handle(&events[0], "one"), function.handle(&events[0], "other"));
    // Lambda retries the first copy if it crashes, so the second copy succeeds without an action.
    one.and(other).unwrap();
    function.aws.advance(Duration::from_secs(60));
    function.handle(&events[0], "other").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
    let changes = function.aws.take_changes();
    let removals = changes.iter().filter(|change| *change == "BatchDeleteImage").count();
    assert_eq!(removals, 1, "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_copies_of_one_event_succeed_and_another_event_fails_and_is_retried() {
    let function = Function::new("quarantine").await;
    function.slow_down(|_| 10);
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    let mut another = events[0].clone();
    another["id"] = json!("another");
    let ids: Vec<String> = (0..100).map(|nth| format!("request-{nth}")).collect();
    let copies = ids.iter().map(|id| function.handle(&events[0], id));
    let another = function.handle(&another, "another");
    let (copies, another) = tokio::join!(futures::future::join_all(copies), another);
    assert!(copies.iter().all(Result::is_ok));
    let error = another.unwrap_err().to_string();
    expect!["another invocation is handling tag-violation infrastructure sha256:… litellm-1.80.5; Lambda tries the event again"].assert_eq(&masked(&error));
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_push_during_the_handling_of_an_earlier_push_is_enforced_by_its_retry() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["latest"]);
    function.aws.fault("Publish", 1, Fault::Slow(Duration::from_secs(3)));
    let pushed_again = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pushed = function.tag("infrastructure", &digest, "latest");
        let again = pushed.last().unwrap().clone();
        let handled = function.handle(&again, "again").await;
        assert!(handled.is_err(), "without a retry the tag would stay for ever");
        again
    };
    let (first, again) = tokio::join!(function.handle(&events[0], "first"), pushed_again);
    first.unwrap();
    function.handle(&again, "again").await.unwrap();
    assert!(!function.tags("infrastructure", &digest).unwrap().contains(&"latest".to_owned()));
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test]
async fn an_event_that_is_replayed_from_the_queue_after_days_publishes_its_outcome() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["latest"]);
    function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
    for _ in 0..3 {
        function.handle(&events[0], "first").await.unwrap_err();
    }
    function.aws.heal();
    function.aws.advance(Duration::from_secs(13 * 86_400));
    function.handle(&events[0], "by hand").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
}

#[tokio::test]
async fn the_outcome_of_a_failed_attempt_is_published_even_if_the_image_is_gone() {
    let function = Function::new("archive").await;
    let (digest, events) = function.push("infrastructure", &["latest"]);
    function.aws.fault("Publish", 1, Fault::Error(400, "AuthorizationError"));
    function.handle(&events[0], "request").await.unwrap_err();
    let delete = json!({"repositoryName": "infrastructure", "imageIds": [{"imageDigest": digest}]});
    function.aws.by_hand("BatchDeleteImage", &delete).unwrap();
    function.handle(&events[0], "request").await.unwrap_err();
    function.handle_all_when_old(&events).await;
    let alert = function.alert();
    assert_eq!(alert["details"]["action"], "reported");
    expect![[r#"
        An image was pushed to the repository infrastructure with the tag latest, which violates the policy. Nothing was changed: the image does not exist any more; CloudTrail shows who deleted it.

        Why: the tag latest does not match {component}-v{semver} (rule grammar).

        What to do: push the image again with a tag that conforms, or change the policy."#]].assert_eq(&masked(alert["text"].as_str().unwrap()));
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_copy_of_an_event_an_hour_later_publishes_no_second_alert() {
    for enforcement in ["quarantine", "archive"] {
        let function = Function::new(enforcement).await;
        let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.handle_all(&events).await;
        function.aws.advance(Duration::from_secs(3_600));
        function.handle_all(&events).await;
        assert_eq!(function.alerts().len(), 1, "{enforcement}");
    }
}

#[tokio::test]
async fn a_claim_whose_response_is_lost_does_not_count_as_an_earlier_attempt() {
    let function = Function::new("quarantine").await;
    let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    // The image now looks as if enforcement had only removed a tag, which it has not done since.
    function.tag("infrastructure", &digest, "litellm-v1.80.5");
    function.calls();
    for request in ["request", "another"] {
        function.aws.fault("UpdateItem", 1, Fault::ResetAfter);
        function.handle(&events[0], request).await.unwrap();
        let calls = function.calls();
        let writes = calls.iter().filter(|call| *call == "UpdateItem").count();
        assert_eq!(writes, 5, "claim, claim again, claim of the image, settle, push: {calls:?}");
        assert_eq!(function.alerts().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_attempt_is_published_even_if_the_response_to_the_next_claim_is_lost() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.aws.fault("Publish", 1, Fault::Hang);
    let cut_off = function.handle(&events[0], "request");
    tokio::time::timeout(Duration::from_secs(5), cut_off).await.unwrap_err();
    function.aws.heal();
    // The next attempt has the same request ID, so it does not wait for the lease to end.
    function.aws.fault("UpdateItem", 1, Fault::ResetAfter);
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn another_delivery_takes_over_a_minute_after_an_attempt_died() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.aws.fault("Publish", 1, Fault::Error(400, "AuthorizationError"));
    function.handle(&events[0], "one").await.unwrap_err();
    // The claim of the first delivery still holds. A minute later its lease has ended.
    let mut other = events[0].clone();
    other["id"] = json!("other");
    function.handle(&other, "other").await.unwrap_err();
    assert_eq!(function.alerts().len(), 0);
    function.aws.advance(Duration::from_secs(60));
    function.handle(&other, "other").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    function.handle(&events[0], "one").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn each_protocol_gets_its_own_rendering() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let deliveries = std::mem::take(&mut function.aws.state().deliveries);
    let message_for = |protocol: &str| {
        let found = deliveries.iter().find(|delivery| delivery.protocol == protocol);
        found.unwrap().message.clone()
    };
    let [json, amazon_q] = ["sqs", "https"]
        .map(|protocol| serde_json::from_str::<Value>(&message_for(protocol)).unwrap());
    assert_eq!(json["version"], 2);
    let title = json["title"].as_str().unwrap();
    let email = message_for("email");
    assert!(email.starts_with(&format!("{title}\n")), "{email}");
    assert_eq!((&amazon_q["version"], &amazon_q["source"]), (&json!("1.0"), &json!("custom")));
    assert_eq!(deliveries[0].subject.as_deref(), Some(title));
}

#[tokio::test]
async fn the_first_push_to_a_repository_that_no_rule_matches_is_published_once_if_the_policy_says_so()
 {
    let mut unmanaged = event("unmanaged-repository");
    let function = Function::new("quarantine").await;
    unmanaged["time"] = function.now().to_rfc3339().into();
    function.handle(&unmanaged, "any").await.unwrap();
    assert_eq!((function.alerts().len(), function.calls().len()), (0, 0));

    let function = Function::with_unmatched("quarantine", "report").await;
    for request in ["one", "two", "three"] {
        function.handle(&unmanaged, request).await.unwrap();
    }
    let alert = function.alert();
    assert_eq!(alert["kind"], "repository-violation");
    assert_eq!((&alert["repository"], &alert["remedies"]), (&json!("scratch"), &json!([])));
    function.aws.advance(Duration::from_secs(300 * 86_400));
    function.handle(&unmanaged, "four").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    let (_, events) = function.push("infrastructure", &["litellm-v1.80.5"]);
    function.handle_all(&events).await;
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn the_images_of_an_index_are_recorded_with_the_index() {
    let function = Function::new("quarantine").await;
    let (index, images, events) = push_index(&function, "openwebui-v0.6.36", 3);
    function.handle_all(&events).await;
    for image in images {
        let key = json!({"fact": {"S": format!("image infrastructure {image}")}});
        let get = json!({"TableName": "ecr-warden-Ledger", "Key": key});
        let found = function.aws.ask("dynamodb", "DynamoDB_20120810.GetItem", &get).await.unwrap();
        assert_eq!(found["Item"]["index"]["S"], *index);
    }
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn the_images_that_were_scanned_before_their_index_is_pushed_are_rechecked() {
    let function = Function::new("quarantine").await;
    let (index, images, events) = push_index(&function, "openwebui-v0.6.36", 3);
    let table = function.world.function("scan-complete").environment["LEDGER_TABLE"].clone();
    let ledger = Ledger::new(&function.world.sdk("scan-complete"), table);
    let repository = "infrastructure".parse().unwrap();
    let scanned: BTreeSet<Digest> =
        images[..2].iter().map(|image| image.parse().unwrap()).collect();
    for image in &scanned {
        ledger.record_recheck(&repository, image, function.now()).await.unwrap();
    }
    // A copy of the event queues the rechecks again.
    for request in ["one", "another"] {
        function.handle(events.last().unwrap(), request).await.unwrap();
        let rechecks = function.world.take_messages("InspectorFindings").await;
        let rechecked = rechecks.iter().map(|recheck| {
            assert_eq!(recheck["detail-type"], DETAIL_TYPE);
            assert_eq!(recheck["detail"]["repository-name"], "infrastructure");
            recheck["detail"]["image-digest"].as_str().unwrap().parse().unwrap()
        });
        assert_eq!(rechecked.collect::<BTreeSet<Digest>>(), scanned);
    }
    // The scan of each image can find the scans of the others.
    for image in &images {
        let image = image.parse().unwrap();
        let recorded = ledger.index_records(&repository, &image, function.now()).await.unwrap();
        let membership = recorded.membership.unwrap();
        assert_eq!(
            (membership.index.to_string(), membership.scanned_before),
            (index.clone(), scanned.clone())
        );
    }
}

#[tokio::test]
async fn an_unreadable_index_is_an_error_and_the_violation_of_its_tag_is_still_recorded() {
    let function = Function::new("report").await;
    let (_, _, events) = push_index(&function, "openwebui-0.6.36", 3);
    function.aws.fault("BatchGetImage", 0, Fault::Error(403, "AccessDeniedException"));
    let error = function.handle(events.last().unwrap(), "request").await.unwrap_err();
    expect!["reading the manifest of infrastructure@sha256:…: AccessDeniedException: made to fail"]
        .assert_eq(&masked(&format!("{error:#}")));
    assert_eq!(function.report().await.examples[0].tag.as_str(), "openwebui-0.6.36");
}

#[tokio::test]
async fn a_violation_is_logged_with_its_rule_and_its_outcome() {
    let mut digests = Vec::new();
    for enforcement in ["report", "quarantine", "archive"] {
        let function = Function::new(enforcement).await;
        let (digest, events) = function.push("infrastructure", &["litellm-1.80.5"]);
        function.handle_all(&events).await;
        let (_, events) = function.push("infrastructure", &["litellm-v1.80.5"]);
        function.handle_all(&events).await;
        digests.push(digest);
    }
    let function = Function::with_unmatched("report", "report").await;
    function.handle(&event("unmanaged-repository"), "request").await.unwrap();
    let mut lines = local_aws::log::lines("violation.rule");
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        line.remove("timestamp");
        assert_eq!(line.remove("policy.version").unwrap().as_str().unwrap().len(), 16);
    }
    let mut lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    for digest in digests {
        lines = lines.replace(&digest, "sha256:…").replace(&digest[7..19], "…");
    }
    expect![[r#"
        {"action":"reported","image.digest":"sha256:…","image.tag":"litellm-1.80.5","level":"INFO","message":"infrastructure:litellm-1.80.5 does not match {component}-v{semver}: add it to the weekly digest","reason":"does not match {component}-v{semver}","repository.name":"infrastructure","violation.rule":"grammar"}
        {"action":"quarantined","image.digest":"sha256:…","image.tag":"litellm-1.80.5","level":"INFO","message":"infrastructure:litellm-1.80.5 does not match {component}-v{semver}: add the tag quarantine-20270115-…-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert","reason":"does not match {component}-v{semver}","repository.name":"infrastructure","violation.rule":"grammar"}
        {"action":"archived","image.digest":"sha256:…","image.tag":"litellm-1.80.5","level":"INFO","message":"infrastructure:litellm-1.80.5 does not match {component}-v{semver}: archive the image, send an alert","reason":"does not match {component}-v{semver}","repository.name":"infrastructure","unit.images":1,"violation.rule":"grammar"}
        {"action":"reported","image.digest":"sha256:7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a","image.tag":"test","level":"INFO","message":"An image was pushed to scratch, which no rule of the policy governs","repository.name":"scratch","violation.rule":"repository"}
    "#]].assert_eq(&lines);
}

#[tokio::test]
async fn an_alert_is_published_to_the_topic_and_put_on_the_bus() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.handle_all(&events).await;
    let (alert, events) = (function.alert(), function.bus_events());
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!(event["detail"], alert);
    let repository = "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure";
    assert_eq!(event["resources"], json!([repository]));
    let matches = |pattern: Value| Pattern::new(&pattern).unwrap().matches(event);
    assert!(matches(json!({"source": ["ecr-warden"], "detail-type": ["tag-violation"]})));
    assert!(!matches(json!({"source": ["ecr-warden"], "detail-type": ["scan-findings"]})));
}

/// The numbers of alerts on the topic and on the bus since the last time.
fn published(function: &Function) -> [usize; 2] {
    [function.alerts().len(), function.bus_events().len()]
}

#[tokio::test]
async fn a_destination_that_fails_gets_the_alert_from_a_retry_and_the_other_one_gets_it_once() {
    for (failing, first, later) in [("PutEvents", [1, 0], [0, 1]), ("Publish", [0, 1], [1, 0])] {
        for enforcement in ["quarantine", "archive", "no rule"] {
            let function = Function::with_unmatched(
                if enforcement == "no rule" { "report" } else { enforcement },
                "report",
            )
            .await;
            let is_matched = enforcement != "no rule";
            if !is_matched {
                let create = json!({"repositoryName": "scratch"});
                function.aws.by_hand("CreateRepository", &create).unwrap();
            }
            let repository = if is_matched { "infrastructure" } else { "scratch" };
            let (_, events) = function.push(repository, &["litellm-1.80.5"]);
            let case = format!("{failing}, {enforcement}");
            function.aws.fault(failing, 0, Fault::Error(403, "AccessDeniedException"));
            function.handle(&events[0], "request").await.unwrap_err();
            assert_eq!(published(&function), first, "{case}");
            for _ in 0..2 {
                function.handle(&events[0], "request").await.unwrap_err();
                assert_eq!(published(&function), [0, 0], "{case}");
            }
            function.aws.heal();
            // The event waits in the dead-letter queue until somebody corrects the role.
            function.aws.advance(Duration::from_secs(13 * 86_400));
            function.handle(&events[0], "replay").await.unwrap();
            assert_eq!(published(&function), later, "{case}");
            function.handle(&events[0], "again").await.unwrap();
            assert_eq!(published(&function), [0, 0], "{case}");
        }
    }
}

/// The first event stays in the dead-letter queue. The ledger remembers the violation for 7 days.
#[tokio::test]
async fn a_later_push_is_published_to_both_destinations_although_one_of_them_has_an_earlier_alert()
{
    for (failing, first) in [("PutEvents", [1, 0]), ("Publish", [0, 1])] {
        let function = Function::new("quarantine").await;
        let (digest, events) = function.push("infrastructure", &["latest"]);
        function.aws.fault(failing, 0, Fault::Error(403, "AccessDeniedException"));
        function.handle(&events[0], "request").await.unwrap_err();
        assert_eq!(published(&function), first, "{failing}");
        function.aws.heal();
        function.aws.advance(Duration::from_secs(8 * 86_400));
        let later = function.tag("infrastructure", &digest, "latest").pop().unwrap();
        function.handle(&later, "later").await.unwrap();
        assert_eq!(published(&function), [1, 1], "{failing}");
    }
}

#[tokio::test]
async fn an_alert_that_returns_after_another_about_its_subject_is_published_to_both_destinations() {
    for (failing, first) in [("PutEvents", [1, 0]), ("Publish", [0, 1])] {
        let function = Function::new("report").await;
        let push = read_push(&event("near-miss")).unwrap().unwrap();
        let alert = warden_alerts::repository_violation(&push.about, push.tag.as_ref());
        let Context { alerts, ledger, .. } = &function.context;
        let publish = async |identity: &str| {
            alerts.publish(ledger, &alert, "subject", identity, function.now()).await
        };
        function.aws.fault(failing, 0, Fault::Error(403, "AccessDeniedException"));
        publish("one state").await.unwrap_err();
        assert_eq!(published(&function), first, "{failing}");
        function.aws.heal();
        publish("another state").await.unwrap();
        assert_eq!(published(&function), [1, 1], "{failing}");
        publish("one state").await.unwrap();
        assert_eq!(published(&function), [1, 1], "{failing}");
    }
}

#[tokio::test]
async fn an_alert_that_no_destination_got_is_published_to_both_by_the_retry() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    for operation in ["Publish", "PutEvents"] {
        function.aws.fault(operation, 1, Fault::Error(403, "AccessDeniedException"));
    }
    let error = function.handle(&events[0], "request").await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("publishing the alert"), "{error}");
    assert!(error.contains("on the event bus"), "{error}");
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(published(&function), [1, 1]);
}

#[tokio::test]
async fn an_event_bus_that_is_gone_fails_the_event() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["latest"]);
    function.aws.state().event_buses.clear();
    let error = function.handle(&events[0], "request").await.unwrap_err();
    assert!(format!("{error:#}").contains("InvalidArgument"), "{error:#}");
    assert_eq!(function.alerts().len(), 1);
}
