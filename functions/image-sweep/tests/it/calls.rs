//! How many calls of AWS a run costs, and that the role has leave for these and no others.

use std::collections::{BTreeMap, BTreeSet};

use local_aws::template::{Identity, Stack, Template};
use serde_json::json;

use crate::{Function, TEMPLATE, count};

#[tokio::test]
async fn a_repository_costs_a_call_for_a_thousand_images_and_one_for_a_hundred_indexes() {
    let function = Function::with(&json!({"KeepPerComponent": 5_000})).await;
    function.versions("a", 1_700);
    for nth in 0..101 {
        function.index(&format!("b-v1.{nth}.0"), 300.0);
    }
    function.calls();
    assert_eq!(function.sweep().await["examined"], 1_700 + 4 * 101);
    let calls = function.calls();
    assert_eq!((count(&calls, "DescribeImages"), count(&calls, "BatchGetImage")), (3, 2));
    // The lease, what else is looked at, that there is nothing to tell of it, and what is open.
    assert_eq!(calls.len(), 5 + 2 + 3 + 1 + 1, "{calls:?}");
}

#[tokio::test]
async fn a_run_that_has_nothing_to_do_costs_eight_calls_and_reading_one() {
    let function = Function::new("archive").await;
    function.versions("a", 2);
    function.calls();
    function.sweep().await;
    let mut calls = function.calls();
    calls.sort();
    let expected = [
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
    assert_eq!(function.calls(), ["DescribeImages"]);
}

/// What the calls depend on without being called: SNS's use of the key, Lambda's writing of
/// the log, its handing on of what failed, and ECR's asking Inspector for enhanced findings.
const DEPENDENT: [&str; 6] = [
    "inspector2:ListFindings",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
];

/// The actions that the role has with these parameters.
fn granted(parameters: &[(&str, &str)]) -> BTreeSet<String> {
    let template = Template::read(TEMPLATE).unwrap();
    let identity = Identity {
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        name: "ecr-warden".to_owned(),
        id: "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/1-2".to_owned(),
    };
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, to)| ((*name).to_owned(), (*to).to_owned())).collect();
    let mut stack = Stack::new(&template, identity, &parameters).unwrap();
    for id in ["ImageSweepLogGroup", "AlertTopic", "AlertKey", "Ledger", "FailedEvents"] {
        let arn = serde_json::Map::from_iter([("Arn".to_owned(), id.into())]);
        stack.made(id, id, arn);
    }
    let role = stack.properties("ImageSweepRole").unwrap();
    let statements = role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        serde_json::Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_role_grants_what_the_function_calls_and_nothing_else() {
    for (enforcement, tags, in_use) in [
        ("report", "report", "pull-time"),
        ("archive", "report", "pull-time"),
        ("archive", "quarantine", "pull-time"),
        ("delete", "quarantine", "pull-time"),
        ("archive", "report", "inspector"),
    ] {
        let function = if in_use == "inspector" {
            Function::inspected().await
        } else {
            Function::governed(&json!({"Enforcement": enforcement}), tags).await
        };
        let kept = function.versions("a", 5);
        function.index("a-v0.1.0", 200.0);
        function.runs(&kept[0]);
        let fresh = function.push("d-v1.0.0", 0.5);
        if tags == "quarantine" {
            function.quarantine(&fresh);
        }
        function.calls();
        function.sweep().await;
        let mut needed: BTreeSet<String> = DEPENDENT.map(str::to_owned).into();
        let state = function.aws.state();
        needed
            .extend(state.calls.iter().map(|call| format!("{}:{}", call.service, call.operation)));
        let parameters = [
            ("CleanupEnforcement", enforcement),
            ("InfrastructureTagEnforcement", tags),
            ("InUseSource", in_use),
        ];
        assert_eq!(granted(&parameters), needed, "{enforcement} {tags} {in_use}");
    }
}
