use std::time::Duration;

use custom_resource::handle;
use expect_test::expect;
use local_aws::Fault;
use serde_json::json;

use crate::{Function, TIME_LEFT, calls, delete, event, invocation, names, push, update, with};

#[tokio::test(start_paused = true)]
async fn requests_that_cloudformation_did_not_send_change_nothing() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    expect!["the request could not be verified, so nothing was changed: the stack's current operation has no event for the resource"].assert_eq(function.answer_forged(&created).await["Reason"].as_str().unwrap());
    let answer = function.succeed(&created).await;
    push(&function, "litellm-v1.0.0");
    let _ = function.aws.take_changes();
    let change = update(&created, &answer["PhysicalResourceId"], "LifecycleImpactLimit", "100000");
    expect!["the request could not be verified, so nothing was changed: the newest event of the resource is CREATE_COMPLETE"].assert_eq(function.answer_forged(&change).await["Reason"].as_str().unwrap());
    // The same during an update of another property.
    function.record_request(&update(
        &created,
        &answer["PhysicalResourceId"],
        "ScanOnPush",
        "false",
    ));
    expect!["the request could not be verified, so nothing was changed: the properties differ from the properties in the stack's event: LifecycleImpactLimit, ScanOnPush"].assert_eq(function.answer_forged(&change).await["Reason"].as_str().unwrap());
    let removal = delete(&created, &answer);
    for status in ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"] {
        function.set_stack_status(status);
        assert_eq!(function.answer_forged(&removal).await["Status"], "SUCCESS");
    }
    assert!(function.aws.take_changes().is_empty());
    assert_eq!(names(&function), ["infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn requests_of_another_stack_change_nothing() {
    let function = Function::new().await;
    let stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/other/1b4e28ba-2fa1";
    let request = with(event("create-infrastructure"), "StackId", stack);
    expect!["StackId: the request names another stack, so nothing was changed"]
        .assert_eq(&function.fail(&request).await);
    function.succeed(&with(event("delete-infrastructure"), "StackId", stack)).await;
    assert_eq!(calls(&function), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_sent_only_to_a_host_of_cloudformation() {
    let function = Function::new().await;
    let invocation = invocation(&function.aws, TIME_LEFT);
    local_aws::log::collect();
    for (url, host) in [
        ("https://user:marked-secret@example.com:8443/x?Signature=marked-secret", "example.com"),
        ("https://example.org", "example.org"),
    ] {
        let request = with(event("create-infrastructure"), "ResponseURL", url);
        function.record_request(&request);
        handle(&function.context, &request, &invocation).await;
        assert!(function.aws.state().calls.is_empty());
        let lines = local_aws::log::lines("response.host");
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(lines[0]["response.host"], host);
        assert!(!lines[0].to_string().contains("marked-secret"), "{}", lines[0]);
    }
    // A text that is not a URL has no host.
    let request = with(event("create-infrastructure"), "ResponseURL", "no URL");
    handle(&function.context, &request, &invocation).await;
    assert!(function.aws.state().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_an_event_that_arrives_late() {
    let function = Function::new().await;
    let request = event("create-infrastructure");
    let late = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        function.record_request(&request);
    };
    let (answer, ()) = tokio::join!(function.answer_forged(&request), late);
    assert_eq!(answer["Status"], "SUCCESS");
}

#[tokio::test(start_paused = true)]
async fn events_are_read_page_by_page_to_the_start_of_the_operation() {
    let function = Function::new().await;
    let request = event("create-infrastructure");
    function.record_request(&request);
    for n in 0..250 {
        let other = with(request.clone(), "LogicalResourceId", format!("Other{n}"));
        function.record_request(&other);
    }
    assert_eq!(function.answer_forged(&request).await["Status"], "SUCCESS");
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_be_read_stop_every_request() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let _ = function.aws.take_changes();
    function.aws.fault("DescribeStackEvents", 0, Fault::Error(403, "AccessDenied"));
    let change = update(&created, &answer["PhysicalResourceId"], "ScanOnPush", "false");
    let reasons = [function.fail(&change).await, function.fail(&delete(&created, &answer)).await];
    expect![[r#"
        the request could not be verified, so nothing was changed: reading the stack's events: AccessDenied: made to fail
        the request could not be verified, so nothing was removed: reading the stack's events: AccessDenied: made to fail"#]].assert_eq(&reasons.join("\n"));
    assert!(function.aws.take_changes().is_empty());
    function.aws.heal();
    function.succeed(&delete(&created, &answer)).await;
    assert!(names(&function).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_ecr_refuses_stops_an_update_before_any_other_change() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    function.succeed(&created).await;
    let gone = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Audit", "Effect": "Allow", "Action": "ecr:DescribeImages",
        "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"},
    }]});
    function.aws.state().ecr().repository("infrastructure").unwrap().policy =
        Some(gone.to_string());
    let _ = function.aws.take_changes();
    let reason = function.fail(&event("update-infrastructure")).await;
    for part in ["Audit", "AROAEXAMPLEEXAMPLE123", "Principal not found"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(function.aws.take_changes(), ["SetRepositoryPolicy"]);
    // Without a change of PullPrincipals the policy is not put at all.
    let change =
        with(event("update-infrastructure"), "ResourceProperties.PullPrincipals", json!([]));
    function.succeed(&change).await;
    let changes = function.aws.take_changes();
    assert!(!changes.contains(&"SetRepositoryPolicy".to_owned()), "{changes:?}");
}
