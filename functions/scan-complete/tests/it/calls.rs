//! What a scan costs, and that the role grants just that.

use std::collections::BTreeSet;

use local_aws::template::Template;
use serde_json::Value;

use crate::{Function, OPERATIONS, TEMPLATE, basic, enhanced, event};

async fn calls(function: &Function, event: &Value) -> Vec<String> {
    function.aws.state().calls.clear();
    function.handle(event, event["id"].as_str().unwrap()).await.unwrap();
    function.calls()
}

#[tokio::test]
async fn a_clean_scan_costs_two_calls() {
    let function = Function::new().await;
    for tag in ["litellm-v1.80.5", "litellm-v1.80.6"] {
        let image = function.push(&[tag]);
        let clean = function.scan(&image, Ok(basic("CVE-1:LOW")));
        assert_eq!(calls(&function, &clean).await, ["DescribeImages", "UpdateItem"]);
        // And so it does again.
        assert_eq!(calls(&function, &clean).await, ["DescribeImages", "UpdateItem"]);
    }
    let images = function.push_index("litellm-v1.80.7", 2).await;
    let clean = function.scan(&images[0], Ok(Vec::new()));
    assert_eq!(calls(&function, &clean).await, ["GetItem", "UpdateItem"]);
    // But that of another platform of the same index, whose findings are put to the first's.
    let clean = function.scan(&images[1], Ok(Vec::new()));
    assert_eq!(
        calls(&function, &clean).await,
        ["GetItem", "UpdateItem", "UpdateItem", "DescribeImageScanFindings", "UpdateItem"]
    );
}

#[tokio::test]
async fn a_scan_that_is_told_costs_one_call_a_page_and_five() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let many: String = (0..2_500).map(|n| format!("CVE-{n}:HIGH ")).collect();
    let scan = function.scan(&image, Ok(basic(&many)));
    let page = "DescribeImageScanFindings";
    assert_eq!(
        calls(&function, &scan).await,
        ["UpdateItem", page, page, page, "DescribeImages", "GetParameter", "Publish", "UpdateItem"]
    );
    // What is known needs no more than to be compared, with what is accepted since.
    assert_eq!(
        calls(&function, &scan).await,
        ["UpdateItem", page, page, page, "GetParameter", "UpdateItem"]
    );
    let images = function.push_index("litellm-v1.80.6", 2).await;
    let scan = function.scan(&images[0], Ok(basic("CVE-new:HIGH")));
    assert_eq!(
        calls(&function, &scan).await,
        ["GetItem", "UpdateItem", page, "GetParameter", "Publish", "UpdateItem"]
    );
}

#[tokio::test(start_paused = true)]
async fn findings_of_inspector_say_when_their_image_was_pushed() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let scan = function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
    let page = "DescribeImageScanFindings";
    let expected = ["UpdateItem", page, "GetParameter", "Publish", "UpdateItem"];
    assert_eq!(calls(&function, &scan).await, expected);
}

/// What the calls depend on without being called: SNS's use of the key, ECR's of Inspector,
/// Lambda's writing of the log, and its handing on of what failed.
const DEPENDENT: [&str; 8] = [
    "inspector2:ListFindings",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

#[tokio::test(start_paused = true)]
async fn the_role_grants_what_the_function_calls_and_nothing_else() {
    let function = Function::enhanced().await;
    let images = function.push_index("litellm-v1.80.5", 2).await;
    let tagged = function.push(&["litellm-v1.80.6"]);
    let events = [
        function.scan(&images[0], Ok(enhanced("CVE-1:HIGH"))),
        function.finding(&tagged, &enhanced("CVE-2:HIGH")[0], "ACTIVE"),
        function.scan(&tagged, Ok(Vec::new())),
        event("each-day"),
    ];
    function.aws.state().calls.clear();
    for event in &events {
        function.handle(event, event["id"].as_str().unwrap()).await.unwrap();
    }
    let mut needed: BTreeSet<String> = DEPENDENT.map(str::to_owned).into();
    let calls = std::mem::take(&mut function.aws.state().calls);
    let called: BTreeSet<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(called, OPERATIONS.into());
    needed.extend(calls.iter().map(|call| format!("{}:{}", call.service, call.operation)));
    let template = Template::read(TEMPLATE).unwrap();
    assert_eq!(template.actions("ScanCompleteRole"), needed);
}
