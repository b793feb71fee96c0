use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};

use crate::{Function, calls, delete, event, rolled_back, update, with};

const SWEEP: &str = "arn:aws:iam::123456789012:role/ecr-warden/warden-ImageSweepRole-9YpLk1mVbT3c";
const SCANNER: &str = "arn:aws:iam::123456789012:role/scanner";
/// The physical ID of the resource, which never changes.
const ID: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3/PullTimeExclusion";

async fn made() -> (Function, Value, Value) {
    let function = Function::new().await;
    let request = event("create-pull-time-exclusion");
    let answer = function.succeed(&request).await;
    (function, request, answer)
}

/// The registry's list of excluded roles.
fn excluded(function: &Function) -> Vec<String> {
    let listed = function.aws.by_hand("ListPullTimeUpdateExclusions", &json!({})).unwrap();
    serde_json::from_value(listed["pullTimeUpdateExclusions"].clone()).unwrap()
}

/// An update to these roles.
fn to(request: &Value, answer: &Value, roles: &[&str]) -> Value {
    update(request, &answer["PhysicalResourceId"], "RoleArns", json!(roles))
}

#[tokio::test(start_paused = true)]
async fn pulls_of_a_role_are_excluded_until_the_resource_is_deleted() {
    let (function, request, answer) = made().await;
    assert_eq!(answer["PhysicalResourceId"], ID);
    assert_eq!(excluded(&function), [SWEEP]);
    let lines = local_aws::log::lines("message");
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    expect![[r#"
        Create Custom::EcrPullTimeExclusion PullTimeExclusion
        pull-time exclusions: register arn:aws:iam::123456789012:role/ecr-warden/warden-ImageSweepRole-9YpLk1mVbT3c
        succeeded"#]].assert_eq(&messages.join("\n"));
    assert_eq!(function.succeed(&request).await, answer, "delivered twice");
    assert_eq!(excluded(&function), [SWEEP]);

    let delete = delete(&request, &answer);
    for nth in ["once", "twice"] {
        function.succeed(&delete).await;
        assert!(excluded(&function).is_empty(), "deleted {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_registers_first_and_deregisters_only_its_own_roles() {
    let (function, request, answer) = made().await;
    let by_hand = "arn:aws:iam::123456789012:role/by-hand";
    let input = json!({"principalArn": by_hand});
    function.aws.by_hand("RegisterPullTimeUpdateExclusion", &input).unwrap();
    let _ = function.aws.take_changes();

    let change = to(&request, &answer, &[SCANNER]);
    assert_eq!(function.succeed(&change).await["PhysicalResourceId"], ID);
    let changes = function.aws.take_changes();
    let expected = ["RegisterPullTimeUpdateExclusion", "DeregisterPullTimeUpdateExclusion"];
    assert_eq!(changes, expected);
    assert_eq!(excluded(&function), [by_hand, SCANNER]);

    function.succeed(&rolled_back(&change)).await;
    assert_eq!(excluded(&function), [by_hand, SWEEP]);
    function.succeed(&to(&request, &answer, &[SCANNER, SWEEP])).await;
    assert_eq!(excluded(&function), [by_hand, SWEEP, SCANNER]);
}

#[tokio::test(start_paused = true)]
async fn the_roll_back_of_an_update_that_failed_halfway_restores_the_list() {
    let (function, request, answer) = made().await;
    let change = to(&request, &answer, &[SCANNER]);
    function.aws.fault(
        "DeregisterPullTimeUpdateExclusion",
        1,
        Fault::Error(400, "ServerException"),
    );
    let failed = function.answer(&change).await;
    assert_eq!((&failed["Status"], &failed["PhysicalResourceId"]), (&json!("FAILED"), &json!(ID)));
    assert_eq!(excluded(&function), [SWEEP, SCANNER]);
    function.succeed(&rolled_back(&change)).await;
    assert_eq!(excluded(&function), [SWEEP]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_is_removed_and_the_next_creation_succeeds() {
    let function = Function::new().await;
    let request = with(
        event("create-pull-time-exclusion"),
        "ResourceProperties.RoleArns",
        json!([SWEEP, SCANNER]),
    );
    // The SDK treats the error as throttling, and repeats the call.
    for nth in 2..=6 {
        let fault = Fault::Error(400, "LimitExceededException");
        function.aws.fault("RegisterPullTimeUpdateExclusion", nth, fault);
    }
    let answer = function.answer(&request).await;
    expect!["pull-time exclusions: register arn:aws:iam::123456789012:role/scanner: LimitExceededException: made to fail"].assert_eq(answer["Reason"].as_str().unwrap());
    assert_eq!(answer["PhysicalResourceId"], ID);
    function.succeed(&delete(&request, &answer)).await;
    assert!(excluded(&function).is_empty());
    function.succeed(&request).await;
    assert_eq!(excluded(&function), [SWEEP, SCANNER]);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_rights_and_roles_that_take_effect_late() {
    let function = Function::new().await;
    for (nth, code) in [(1, "AccessDeniedException"), (2, "InvalidParameterException")] {
        function.aws.fault("RegisterPullTimeUpdateExclusion", nth, Fault::Error(400, code));
    }
    function.succeed(&event("create-pull-time-exclusion")).await;
    assert_eq!(excluded(&function), [SWEEP]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_role_fails_an_update_and_never_its_roll_back() {
    let (function, request, answer) = made().await;
    let gone = || Fault::Error(400, "InvalidParameterException");
    function.aws.fault("RegisterPullTimeUpdateExclusion", 0, gone());
    function.aws.fault("DeregisterPullTimeUpdateExclusion", 0, gone());
    let change = to(&request, &answer, &[SCANNER]);
    expect!["pull-time exclusions: register arn:aws:iam::123456789012:role/scanner: InvalidParameterException: made to fail"].assert_eq(&function.fail(&change).await);
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&rolled_back(&change)).await;
    function.succeed(&delete(&request, &answer)).await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_deregisters_only_its_own_roles() {
    let (function, request, answer) = made().await;
    let delete = delete(&request, &answer);
    for id in ["ecr-warden:nothing-made", SWEEP, "x"] {
        function.succeed(&with(delete.clone(), "PhysicalResourceId", id)).await;
    }
    // A Delete validates nothing: a role that it cannot read was never registered.
    for roles in [Value::Null, json!("7"), json!({"a": "b"}), json!([[SWEEP]])] {
        function.succeed(&with(delete.clone(), "ResourceProperties.RoleArns", roles)).await;
    }
    let others = json!(["arn:aws:iam::999999999999:role/scanner"]);
    function.succeed(&with(delete.clone(), "ResourceProperties.RoleArns", others)).await;
    function.succeed(&with(delete, "ResourceProperties", Value::Null)).await;
    assert_eq!(excluded(&function), [SWEEP]);
}

#[tokio::test(start_paused = true)]
async fn invalid_properties_are_named_and_nothing_is_called() {
    let function = Function::new().await;
    let mut reasons = String::new();
    for (path, value) in [
        ("ResourceProperties", Value::Null),
        ("ResourceProperties.RoleArns", Value::Null),
        ("ResourceProperties.RoleArns", json!([""])),
        ("ResourceProperties.RoleArns", json!(["ci"])),
        ("ResourceProperties.RoleArns", json!(["arn:aws:iam::123456789012:user/ana"])),
        ("ResourceProperties.RoleArns", json!(["arn:aws:iam::999999999999:role/ci"])),
        ("ResourceProperties.RoleArn", json!(SWEEP)),
        ("StackId", json!("x")),
    ] {
        let request = with(event("create-pull-time-exclusion"), path, value);
        let answer = function.answer(&request).await;
        reasons += &format!("{}\n", answer["Reason"].as_str().unwrap());
        assert_eq!(answer["PhysicalResourceId"], "ecr-warden:nothing-made");
    }
    expect![[r#"
        ResourceProperties: missing; expected an object
        RoleArns: expected at least one ARN of a role
        RoleArns: expected at least one ARN of a role
        RoleArns: expected the ARN of an IAM role, got "ci"
        RoleArns: expected the ARN of an IAM role, got "arn:aws:iam::123456789012:user/ana"
        RoleArns: role ci is in account 999999999999; only roles of this account, 123456789012, can be excluded
        RoleArn: unknown property; the nearest known name is RoleArns
        StackId: expected the ARN of a stack, got "x"
    "#]].assert_eq(&reasons);
    assert_eq!(calls(&function), 0);
}
