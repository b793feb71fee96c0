//! Tests which AWS calls a scan costs.

use serde_json::Value;

use crate::{Function, basic, enhanced};

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
        // A second scan of the same image costs the same calls.
        assert_eq!(calls(&function, &clean).await, ["DescribeImages", "UpdateItem"]);
    }
    let images = function.push_index("litellm-v1.80.7", 2).await;
    let clean = function.scan(&images[0], Ok(Vec::new()));
    assert_eq!(calls(&function, &clean).await, ["BatchGetItem", "UpdateItem"]);
    // The scan of another platform of the same index costs more: its findings are added to those of
    // the first platform.
    let clean = function.scan(&images[1], Ok(Vec::new()));
    assert_eq!(
        calls(&function, &clean).await,
        ["BatchGetItem", "UpdateItem", "UpdateItem", "DescribeImageScanFindings", "UpdateItem"]
    );
}

#[tokio::test]
async fn a_published_scan_costs_seven_calls_and_one_for_each_page() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let many: String = (0..2_500).map(|n| format!("CVE-{n}:HIGH ")).collect();
    let scan = function.scan(&image, Ok(basic(&many)));
    let page = "DescribeImageScanFindings";
    assert_eq!(
        calls(&function, &scan).await,
        [
            "UpdateItem",
            page,
            page,
            page,
            "DescribeImages",
            "GetParameter",
            "GetItem",
            "Publish",
            "PutEvents",
            "UpdateItem"
        ]
    );
    // Known findings are only compared, also with the risks that were accepted since.
    assert_eq!(
        calls(&function, &scan).await,
        ["UpdateItem", page, page, page, "GetParameter", "UpdateItem"]
    );
    let images = function.push_index("litellm-v1.80.6", 2).await;
    let scan = function.scan(&images[0], Ok(basic("CVE-new:HIGH")));
    assert_eq!(
        calls(&function, &scan).await,
        [
            "BatchGetItem",
            "UpdateItem",
            page,
            "GetParameter",
            "GetItem",
            "Publish",
            "PutEvents",
            "UpdateItem"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_push_time_of_an_image_comes_from_its_enhanced_findings() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let scan = function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
    let page = "DescribeImageScanFindings";
    let expected =
        ["UpdateItem", page, "GetParameter", "GetItem", "Publish", "PutEvents", "UpdateItem"];
    assert_eq!(calls(&function, &scan).await, expected);
}

#[tokio::test]
async fn a_failed_scan_costs_two_calls_for_an_artifact_and_three_before_the_alert_for_an_image() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let failed = function.scan(&image, Err(("UNSUPPORTED_IMAGE", "")));
    let read = ["DescribeImageScanFindings", "DescribeImages", "BatchGetImage"];
    let publish = ["UpdateItem", "GetItem", "Publish", "PutEvents", "UpdateItem"];
    assert_eq!(calls(&function, &failed).await, [&read[..], &publish[..]].concat());
    // The tag of a signature needs no manifest.
    let signature = function.push(&[&format!("{}.sig", image.replacen(':', "-", 1))]);
    let failed = function.scan(&signature, Err(("UNSUPPORTED_IMAGE", "")));
    assert_eq!(calls(&function, &failed).await, &read[..2]);
}
