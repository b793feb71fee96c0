//! Tests which AWS calls a run costs, and that its role allows these calls and no others.

use std::collections::BTreeSet;
use std::time::Duration;

use local_aws::world;
use serde_json::json;

use crate::{DEPLOYMENTS, Function, QUARANTINE, count, sorted};

#[tokio::test]
async fn a_run_costs_one_call_for_a_thousand_images_and_one_for_a_hundred_indexes() {
    let function = Function::with(&[("DeploymentsLifecycleTagCount", "5000")]).await;
    function.versions("a", 1_700);
    for nth in 0..101 {
        function.index(&format!("b-v1.{nth}.0"), 300.0);
    }
    function.calls();
    assert_eq!(function.sweep().await["examined"], 1_700 + 4 * 101);
    let calls = function.calls();
    assert_eq!((count(&calls, "DescribeImages"), count(&calls, "BatchGetImage")), (3, 2));
    // Beside these 5: the lease (2), the records of untagged images and of tags (2), the owner of the
    // repository (1), the settings for the audit (3), its fact in the ledger (1), and the open findings (1).
    assert_eq!(calls.len(), 5 + 2 + 2 + 1 + 3 + 1 + 1, "{calls:?}");
}

#[tokio::test]
async fn a_run_without_removals_costs_nine_calls_and_reading_its_plan_costs_two() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    // Only the first run reads the owner of the repository and writes the records of images and tags.
    function.sweep().await;
    assert_eq!(count(&function.calls(), "ListTagsForResource"), 1);
    function.sweep().await;
    let mut calls = function.calls();
    calls.sort();
    let expected = [
        "BatchGetItem",
        "BatchGetItem",
        "BatchGetRepositoryScanningConfiguration",
        "DescribeImages",
        "DescribeRepositories",
        "GetLifecyclePolicy",
        "UpdateItem",
        "UpdateItem",
        "UpdateItem",
    ];
    assert_eq!(calls, expected);
    function.read().await;
    let mut calls = function.calls();
    calls.sort();
    assert_eq!(calls, ["BatchGetItem", "DescribeImages"]);
}

#[tokio::test]
async fn a_run_after_a_push_costs_two_more_calls_which_record_the_tag_and_forget_the_push() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    function.sweep().await;
    function.calls();
    function.sweep().await;
    let expected =
        sorted([function.calls(), vec!["BatchWriteItem".into(), "UpdateItem".into()]].concat());
    for tags in [&["b-v1.0.0"][..], &["c-v1.0.0", "d-v1.0.0", "e-v1.0.0"]] {
        for tag in tags {
            let image = function.push(tag, 0.0);
            function.record_push(&image, tag, function.now()).await;
        }
        function.calls();
        assert_eq!(function.sweep().await["planned"], 0);
        assert_eq!(sorted(function.calls()), expected, "{tags:?}");
    }
}

/// The owner of such a repository decides about its settings, so the audit reads none of them.
#[tokio::test]
async fn a_run_in_a_repository_that_the_stack_does_not_provision_costs_seven_calls() {
    let function = Function::with(&[("CreateEcrRepositories", "false")]).await;
    let name = json!({"repositoryName": DEPLOYMENTS});
    function.aws.by_hand("CreateRepository", &name).unwrap();
    // The lifecycle rule of the owner matches no image.
    function.put_rule(
        &json!({"tagStatus": "tagged", "tagPatternList": ["x*"], "countType": "imageCountMoreThan", "countNumber": 5}),
        &json!({"type": "expire"}),
    );
    function.versions("a", 2);
    function.sweep().await;
    // The stack may have created a younger repository, so a run reads the owner of that.
    function.aws.advance(Duration::from_secs(8 * 86_400));
    function.calls();
    function.sweep().await;
    let mut calls = function.calls();
    calls.sort();
    let expected = [
        "BatchGetItem",
        "BatchGetItem",
        "DescribeImages",
        "DescribeRepositories",
        "UpdateItem",
        "UpdateItem",
        "UpdateItem",
    ];
    assert_eq!(calls, expected);
    assert!(function.alerts().is_empty());
}

#[tokio::test]
async fn the_settings_of_a_provisioned_repository_are_read_once_and_only_if_they_are_compared() {
    for (scan_on_push, expected) in [("true", [1, 1]), ("false", [1, 0])] {
        let function = Function::with(&[("ScanOnPush", scan_on_push)]).await;
        // The cleanup and the audit read the lifecycle policy.
        function.versions("a", 5);
        assert_eq!(function.sweep().await["removed"], 3);
        let calls = function.calls();
        let counts = ["GetLifecyclePolicy", "BatchGetRepositoryScanningConfiguration"]
            .map(|call| count(&calls, call));
        assert_eq!(counts, expected, "{scan_on_push}");
    }
}

/// The actions that the role needs although the function does not call them: SNS uses the key, Lambda
/// polls the queue of sweeps, writes the log and sends failed events to a queue, and ECR reads enhanced findings from Inspector.
const DEPENDENT: [&str; 9] = [
    "inspector2:ListFindings",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];

/// The actions that the role allows with these parameters.
fn granted(parameters: &[(&str, &str)]) -> BTreeSet<String> {
    let stack = world::evaluate(parameters).unwrap();
    let role = stack.properties("ImageSweepRole").unwrap();
    let statements = role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        serde_json::Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_role_allows_the_calls_of_the_function_and_no_others() {
    for in_use in ["pull-time", "inspector"] {
        let mut needed: BTreeSet<String> = DEPENDENT.map(str::to_owned).into();
        for (enforcement, is_quarantined) in
            [("report", false), ("archive", true), ("delete", true)]
        {
            let mut parameters = vec![
                ("InUseSources", in_use),
                ("*.Retention.Enforcement", enforcement),
                ("applications.Repositories", r#"["deploy*"]"#),
                ("EnforceRepositories", "infrastructure,deploy*"),
            ];
            if is_quarantined {
                parameters.extend(QUARANTINE);
            }
            let function = Function::with(&parameters).await;
            if in_use == "inspector" {
                function.enable_enhanced_scanning();
            }
            let kept = function.versions("a", 5);
            function.index("a-v0.1.0", 200.0);
            function.report_running(DEPLOYMENTS, &kept[0]);
            let fresh = function.push("d-v1.0.0", 0.5);
            function.push("", 100.0);
            if is_quarantined {
                function.quarantine(&fresh);
            }
            function.calls();
            // The first event of a process reads the policy.
            needed.insert("dynamodb:GetItem".to_owned());
            function.sweep().await;
            let state = function.aws.state();
            needed.extend(
                state.calls.iter().map(|call| format!("{}:{}", call.service, call.operation)),
            );
        }
        assert_eq!(granted(&[("InUseSources", in_use)]), needed, "{in_use}");
    }
}
