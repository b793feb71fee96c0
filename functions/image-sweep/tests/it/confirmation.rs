//! Tests plans that wait for a confirmation, such as the first plan of an adopted repository.

use std::time::Duration;

use local_aws::Fault;
use local_aws::world::kinds;
use serde_json::json;

use crate::{DEPLOYMENTS, Function, context, count, sorted};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn the_first_plan_of_an_adopted_repository_waits_and_is_published_weekly() {
    let function = Function::new("archive").await;
    function.adopt();
    let images = function.versions("a", 5);
    for day in 0..14 {
        let answer = function.sweep().await;
        assert_eq!((&answer["planned"], &answer["removed"]), (&json!(3), &json!(0)), "{day}");
        assert_eq!(answer["confirmable"], true);
        function.aws.advance(DAY);
    }
    // The fourteen days begin on a Friday and touch three weeks.
    assert_eq!(kinds(&function.alerts()), ["cleanup"; 3]);
    assert_eq!(function.active(), sorted(images));
}

#[tokio::test]
async fn only_the_confirmed_images_are_removed_and_later_plans_need_no_confirmation() {
    let function = Function::new("archive").await;
    function.adopt();
    let images = function.versions("a", 5);
    function.confirm(&function.read().await).await;
    // An image that becomes removable after the person read the plan.
    let late = function.push("a-v0.1.0", 300.0);
    assert_eq!(function.sweep().await["removed"], 3);
    assert_eq!(function.with_status("ARCHIVED"), sorted(images[..3].to_vec()));
    assert_eq!(function.sweep().await["removed"], 1);
    assert_eq!(function.with_status("ARCHIVED").len(), 4);
    assert!(function.with_status("ARCHIVED").contains(&late));
}

#[tokio::test]
async fn a_repository_that_the_stack_created_needs_no_confirmation() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    assert_eq!(function.sweep().await["removed"], 3);
}

#[tokio::test]
async fn a_plan_waits_after_a_policy_change_that_removes_more_images() {
    let mut function = Function::new("archive").await;
    function.sweep().await;
    function.versions("a", 5);
    function.record_tags(DEPLOYMENTS).await;
    function.change_policy("DeploymentsLifecycleTagCount", "1").await;
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(4), &json!(0)));
    function.change_policy("DeploymentsLifecycleTagCount", "3").await;
    assert_eq!(function.sweep().await["removed"], 2);
    // The policy that keeps three images is the accepted policy now.
    function.change_policy("DeploymentsLifecycleTagCount", "2").await;
    let read = function.read().await;
    assert_eq!(
        (&function.sweep().await["removed"], &read["confirmable"]),
        (&json!(0), &json!(true))
    );
    function.confirm(&read).await;
    assert_eq!(function.sweep().await["removed"], 1);
}

/// The ledger remembers the policy that was accepted for the old repository for 400 days.
#[tokio::test]
async fn the_first_plan_of_a_repository_that_was_created_again_before_the_policy_waits() {
    let mut function = Function::new("archive").await;
    function.versions("a", 5);
    assert_eq!(function.sweep().await["removed"], 3);
    function.aws.advance(DAY);
    function.create_again();
    function.deploy_again().await;
    let images = function.versions("b", 5);
    function.record_tags(DEPLOYMENTS).await;
    let read = function.read().await;
    assert_eq!((&read["planned"], &read["confirmable"]), (&json!(3), &json!(true)));
    assert_eq!(function.sweep().await["removed"], 0);
    assert_eq!(function.active(), sorted(images));
    function.confirm(&read).await;
    assert_eq!(function.sweep().await["removed"], 3);
    function.push("b-v0.1.0", 300.0);
    function.record_tags(DEPLOYMENTS).await;
    assert_eq!(function.sweep().await["removed"], 1);
}

#[tokio::test]
async fn a_repository_that_anybody_created_under_the_policy_needs_no_confirmation() {
    for (seconds, removed) in [(0, 0), (1, 3), (3_600, 3)] {
        let function = Function::new("archive").await;
        function.aws.advance(Duration::from_secs(seconds));
        function.create_again();
        function.versions("a", 5);
        let read = function.read().await;
        assert_eq!(function.sweep().await["removed"], removed, "{seconds}");
        assert_eq!(read["confirmable"], removed == 0, "{seconds}: {read}");
        // The policy of the first sweep is the accepted policy.
        if removed > 0 {
            function.push("a-v0.1.0", 300.0);
            function.record_tags(DEPLOYMENTS).await;
            assert_eq!(function.sweep().await["removed"], 1, "{seconds}");
        }
    }
}

/// The accepted policy in the ledger is the policy of the deleted repository.
#[tokio::test]
async fn a_repository_that_was_deleted_and_created_again_under_the_policy_needs_no_confirmation() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    assert_eq!(function.sweep().await["removed"], 3);
    function.aws.advance(DAY);
    function.create_again();
    function.versions("b", 5);
    function.record_tags(DEPLOYMENTS).await;
    assert_eq!(function.sweep().await["removed"], 3);
}

#[tokio::test]
async fn a_repository_that_was_created_before_a_roll_back_to_the_policy_waits() {
    for deployments in [&["2"][..], &["3", "2"], &["1", "2"]] {
        let mut function = Function::new("archive").await;
        function.aws.advance(DAY);
        function.create_again();
        let images = function.versions("a", 5);
        for count in deployments {
            function.aws.advance(Duration::from_secs(60));
            function.change_policy("DeploymentsLifecycleTagCount", count).await;
        }
        let answer = function.sweep().await;
        assert_eq!(
            (&answer["guard"], &answer["removed"]),
            (&json!("unconfirmed"), &json!(0)),
            "{deployments:?}"
        );
        assert_eq!(function.active(), sorted(images), "{deployments:?}");
    }
}

#[tokio::test]
async fn a_repository_that_was_created_while_its_rule_only_reported_waits() {
    for is_swept in [false, true] {
        let mut function = Function::new("report").await;
        function.aws.advance(DAY);
        function.create_again();
        function.versions("a", 5);
        if is_swept {
            assert_eq!(function.sweep().await["removed"], 0);
        }
        function.aws.advance(DAY);
        function.change_policy("*.Retention.Enforcement", "archive").await;
        let answer = function.sweep().await;
        assert_eq!((&answer["planned"], &answer["removed"]), (&json!(3), &json!(0)), "{is_swept}");
    }
}

#[tokio::test]
async fn a_repository_waits_if_the_ledger_does_not_have_the_time_of_the_deployment() {
    let mut function = Function::new("archive").await;
    let environment = &function.function("image-sweep").environment;
    let update = json!({
        "TableName": environment["LEDGER_TABLE"],
        "Key": {"fact": {"S": format!("policy {}", environment["POLICY_VERSION"])}},
        "UpdateExpression": "REMOVE deployed_at",
    });
    function.aws.ask("dynamodb", "DynamoDB_20120810.UpdateItem", &update).await.unwrap();
    function.context = context(&function.world).await;
    function.aws.advance(DAY);
    function.create_again();
    function.versions("a", 5);
    assert_eq!(function.sweep().await["removed"], 0);
}

/// It was a cache or a replica until now, which a wildcard does not match, or its sweeps failed.
#[tokio::test]
async fn a_repository_that_no_sweep_has_seen_for_a_week_waits() {
    let function = Function::new("archive").await;
    function.aws.advance(DAY);
    function.create_again();
    function.versions("a", 5);
    function.aws.advance(7 * DAY + Duration::from_secs(1));
    assert_eq!(function.sweep().await["removed"], 0);
}

/// Also a stopped run records the accepted policy, and a later policy is compared with the record.
#[tokio::test]
async fn a_plan_waits_if_the_policy_changes_after_a_stopped_first_run() {
    let mut function = Function::new("archive").await;
    function.versions("a", 40);
    let answer = function.sweep().await;
    assert_eq!((&answer["guard"], &answer["removed"]), (&json!("too-many"), &json!(0)));
    function.change_policy("*.Retention.MaxRemovePercent", "100").await;
    let answer = function.sweep().await;
    assert_eq!((&answer["guard"], &answer["removed"]), (&json!("unconfirmed"), &json!(0)));
}

/// The hash that a person confirms covers the plan and its policy.
#[tokio::test]
async fn the_hash_of_a_plan_changes_with_the_policy() {
    let mut function = Function::new("archive").await;
    function.adopt();
    function.versions("a", 5);
    let before = function.read().await;
    function.change_policy("*.Retention.MinimumAgeDays", "1").await;
    let after = function.read().await;
    assert_eq!(before["removals"], after["removals"]);
    assert_ne!(before["hash"], after["hash"]);
    function.confirm(&before).await;
    assert_eq!(function.sweep().await["removed"], 0);
}

#[tokio::test]
async fn only_a_repository_that_this_stack_created_needs_no_confirmation() {
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/deployments";
    for tags in [
        json!([{"Key": "ecr-warden:owner", "Value": "arn:aws:cloudformation:us-east-1:123456789012:stack/other/1/DeploymentsRepository"}]),
        json!([{"Key": "ecr-warden:adopted-by", "Value": "somebody"}]),
    ] {
        let function = Function::new("archive").await;
        function.versions("a", 5);
        let input = json!({"resourceArn": arn, "tags": tags});
        function.aws.by_hand("TagResource", &input).unwrap();
        assert_eq!(function.sweep().await["removed"], 0, "{tags}");
    }
}

#[tokio::test]
async fn a_report_does_not_accept_the_policy() {
    let mut function = Function::new("report").await;
    function.versions("a", 5);
    function.sweep().await;
    function.change_policy("*.Retention.Enforcement", "archive").await;
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn a_confirmation_that_cannot_be_read_stops_the_run() {
    for call in ["BatchGetItem", "ListTagsForResource"] {
        let function = Function::new("archive").await;
        function.adopt();
        let images = function.versions("a", 5);
        function.confirm(&function.read().await).await;
        function.aws.fault(call, 0, Fault::Error(400, "AccessDeniedException"));
        let answer = function.sweep().await;
        assert!(answer["stopped"].is_string(), "{call}: {answer}");
        assert_eq!(function.active(), sorted(images), "{call}");
        function.aws.heal();
        assert_eq!(function.sweep().await["removed"], 3);
    }
}

#[tokio::test]
async fn an_interrupted_run_removes_the_confirmed_images_and_no_others() {
    for nth in 1.. {
        let function = Function::new("archive").await;
        function.adopt();
        let [index, one, other, signature] = function.index("a-v0.1.0", 200.0);
        let images = function.versions("a", 5);
        function.confirm(&function.read().await).await;
        let late = function.push("a-v0.2.0", 150.0);
        function.aws.fault(
            "UpdateImageStorageClass",
            nth,
            Fault::Error(400, "ValidationException"),
        );
        function.calls();
        function.sweep().await;
        let was_reached = count(&function.calls(), "UpdateImageStorageClass") >= nth;
        assert!(function.active().contains(&late), "{nth}");
        function.aws.heal();
        function.sweep().await;
        function.sweep().await;
        let expected = [vec![index, one, other, signature], images[..3].to_vec(), vec![late]];
        assert_eq!(function.with_status("ARCHIVED"), sorted(expected.concat()), "{nth}");
        if !was_reached {
            return;
        }
    }
}

/// Its images have collected without a rule, and nobody has read a plan.
#[tokio::test]
async fn an_old_repository_of_the_stack_waits_for_a_confirmation_of_its_first_plan() {
    let function = Function::new("archive").await;
    function.aws.advance(std::time::Duration::from_secs(8 * 86_400));
    function.versions("a", 5);
    let swept = function.sweep().await;
    assert!(swept["stopped"].is_string() && swept["removed"] == 0, "{swept}");
}
