use std::time::Duration;

use custom_resource::handle;
use expect_test::expect;
use local_aws::world::SECRET;
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::{Function, TIME_LEFT, event, invocation, update, with};

fn answers(aws: &LocalAws) -> usize {
    aws.state().calls.iter().filter(|call| call.operation == "Answer").count()
}

#[tokio::test(start_paused = true)]
async fn an_update_that_runs_out_of_time_fails_once_with_the_original_id() {
    // See case P30 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let rename = update(&created, &answer["PhysicalResourceId"], "RepositoryName", "platform");
    function.aws.fault("CreateRepository", 0, Fault::Hang);
    let before = answers(&function.aws);
    function.handle(&rename, 20).await;
    assert_eq!(answers(&function.aws), before + 1);
    let failed = function.aws.state().answers.remove(0);
    assert_eq!(failed["Status"], "FAILED");
    assert_eq!(failed["PhysicalResourceId"], answer["PhysicalResourceId"]);
    expect![
        "the function ran out of time; a repeated request continues where this request stopped"
    ]
    .assert_eq(failed["Reason"].as_str().unwrap());
    // The work changes nothing after the answer.
    let calls = function.aws.state().calls.len();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(function.aws.state().calls.len(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_runs_out_of_time_names_the_repository_that_may_exist() {
    let function = Function::new().await;
    function.aws.fault("PutLifecyclePolicy", 0, Fault::Hang);
    function.handle(&event("create-infrastructure"), 20).await;
    let failed = function.aws.state().answers.remove(0);
    assert_eq!(
        failed["PhysicalResourceId"],
        "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_that_is_answered() {
    // See case P38 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    function.aws.fault("DescribeRepositories", 1, Fault::Panic);
    let reason = function.fail(&event("create-infrastructure")).await;
    // The number of the task depends on the tests that ran before this test.
    expect![[r#"a defect of ECR Warden stopped the request: task  panicked with message "a defect while calling DescribeRepositories""#]].assert_eq(&reason.replace(|letter: char| letter.is_ascii_digit(), ""));
    function.succeed(&event("create-infrastructure")).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_reason_is_shortened_and_the_answer_is_still_json() {
    // See case P31 in docs/contributing/prior-art.md. `answer` checks the size and parses the answer.
    let function = Function::new().await;
    for filler in ["x", "é", "\"", "\u{1}", "\\"] {
        let many: Vec<Value> = (0..100).map(|_| filler.repeat(70).into()).collect();
        let request =
            with(event("create-infrastructure"), "ResourceProperties.PullPrincipals", json!(many));
        let reason = function.fail(&request).await;
        assert!(reason.starts_with("PullPrincipals[0]: ") && reason.ends_with('…'), "{reason}");
        assert!(reason.len() > 400, "{} bytes are left of it", reason.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_answer_is_sent_a_limited_number_of_times() {
    // See case P32 in docs/contributing/prior-art.md.
    for fault in [
        Fault::Error(403, "Forbidden"),
        Fault::Error(500, "InternalError"),
        Fault::Error(302, "Found"),
        Fault::ResetBefore,
        Fault::Hang,
    ] {
        let function = Function::new().await;
        function.aws.fault("Answer", 0, fault.clone());
        let started = tokio::time::Instant::now();
        function.handle(&event("create-infrastructure"), 240).await;
        assert_eq!(answers(&function.aws), 4, "{fault:?}");
        assert!(started.elapsed() < custom_resource::TIME_TO_ANSWER, "{:?}", started.elapsed());

        // An answer that CloudFormation accepts at the last attempt counts.
        let function = Function::new().await;
        function.aws.fault("Answer", 1, fault);
        function.succeed(&event("create-infrastructure")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_url_for_the_answer_changes_nothing() {
    // See case P34 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    for request in [
        json!(null),
        json!([]),
        json!({}),
        with(event("create-infrastructure"), "ResponseURL", Value::Null),
    ] {
        handle(&function.context, &request, &invocation(&function.aws, TIME_LEFT)).await;
    }
    assert!(function.aws.state().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_aws_error_reaches_the_stack_with_its_code_and_the_failed_step() {
    let function = Function::new().await;
    function.aws.fault("CreateRepository", 0, Fault::Error(400, "KmsException"));
    expect!["repository infrastructure: create the repository with IMMUTABLE tags, scanned on push, encrypted with KMS: KmsException: made to fail"].assert_eq(&function.fail(&event("create-infrastructure")).await);
}

#[tokio::test(start_paused = true)]
async fn the_response_url_is_in_no_log_line() {
    let function = Function::new().await;
    function.succeed(&event("create-infrastructure")).await;
    for fault in [Fault::Error(403, "Forbidden"), Fault::ResetBefore, Fault::Hang] {
        function.aws.fault("Answer", 0, fault);
        function.handle(&event("create-infrastructure"), 60).await;
        function.aws.heal();
    }
    // The log contains the lines of the other tests too.
    let log = local_aws::log::text();
    assert!(log.lines().any(|line| line.contains(r#""level":"ERROR""#)), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
