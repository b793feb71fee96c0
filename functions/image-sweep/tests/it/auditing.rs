//! Tests the audit of a run, which publishes deviations from the policy and never changes them.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::ecr::scan::finding::basic_finding;
use serde_json::{Value, json};

use crate::{DEPLOYMENTS, Function, changes, count, kinds};

fn rules(alerts: &[Value]) -> Vec<&str> {
    let audits = alerts.iter().filter(|alert| alert["kind"] == "self-audit");
    let deviations = audits.flat_map(|alert| alert["details"]["deviations"].as_array().unwrap());
    deviations.map(|deviation| deviation["rule"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_deviation_is_published_when_it_changes_and_once_a_week() {
    let function = Function::new("archive").await;
    function.push("a-v1.0.0", 50.0);
    function.sweep().await;
    assert!(function.alerts().is_empty());
    let by_hand = json!({"repositoryName": DEPLOYMENTS, "imageTagMutability": "IMMUTABLE"});
    function.aws.by_hand("PutImageTagMutability", &by_hand).unwrap();
    let delete = json!({"repositoryName": DEPLOYMENTS});
    function.aws.by_hand("DeleteLifecyclePolicy", &delete).unwrap();
    function.calls();
    function.sweep().await;
    assert_eq!(rules(&function.alerts()), ["drift", "drift"]);
    assert_eq!(changes(&function.calls()), [""; 0]);
    function.sweep().await;
    assert!(function.alerts().is_empty());
    function.push("Bad_Tag", 50.0);
    function.sweep().await;
    assert_eq!(rules(&function.alerts()), ["drift", "drift", "tags"]);
    function.aws.advance(Duration::from_secs(6 * 86_400));
    function.sweep().await;
    assert!(function.alerts().is_empty());
    function.aws.advance(Duration::from_secs(86_401));
    function.sweep().await;
    assert_eq!(kinds(&function.alerts()), ["self-audit"]);
}

#[tokio::test]
async fn a_deviation_that_appears_again_is_published_again() {
    let function = Function::new("archive").await;
    function.push("a-v1.0.0", 50.0);
    for (mutability, deviations) in [("IMMUTABLE", 1), ("MUTABLE", 0), ("IMMUTABLE", 1)] {
        let by_hand = json!({"repositoryName": DEPLOYMENTS, "imageTagMutability": mutability});
        function.aws.by_hand("PutImageTagMutability", &by_hand).unwrap();
        function.sweep().await;
        assert_eq!(rules(&function.alerts()).len(), deviations, "{mutability}");
    }
}

#[tokio::test]
async fn recent_images_without_a_scan_are_published_and_twenty_are_checked() {
    let function = Function::new("archive").await;
    let scanned = function.push("a-v1.0.0", 0.5);
    {
        let mut state = function.aws.state();
        let found = vec![basic_finding("CVE-1", "HIGH", "openssl", "3")];
        let now = state.now();
        state.ecr().complete_scan(DEPLOYMENTS, &scanned, Ok(found), now).unwrap();
    }
    function.push("b-v1.0.0", 0.5);
    // The first of these images is too young to have a scan, and the second is too old to be checked.
    function.push("c-v1.0.0", 0.01);
    function.push("d-v1.0.0", 3.0);
    {
        // The embedded ECR scans every pushed image, so the scans are removed.
        let mut state = function.aws.state();
        let images = &mut state.ecr().repository(DEPLOYMENTS).unwrap().images;
        let digests: Vec<String> = images.iter().map(|image| image.digest.clone()).collect();
        for digest in digests.iter().filter(|digest| **digest != scanned) {
            images.get_mut(digest).unwrap().scan = None;
        }
    }
    function.calls();
    function.sweep().await;
    assert_eq!(count(&function.calls(), "DescribeImageScanFindings"), 2);
    let alerts = function.alerts();
    assert_eq!(rules(&alerts), ["unscanned"]);
    expect![[r#"
        The audit of the repository deployments found 1 deviation from its policy. Nothing was changed. Each line begins with the rule of the audit.

        - unscanned: 1 image was pushed lately and not scanned: b-v1.0.0

        Why: each sweep compares the repository with its policy. Deviations are reported when they change, and again after seven days.

        What to do: correct each deviation, or change the policy. The runbook has a section for each rule."#]]
    .assert_eq(alerts[0]["text"].as_str().unwrap());
    for nth in 0..30 {
        function.push(&format!("e-v1.{nth}.0"), 0.6);
    }
    function.calls();
    function.sweep().await;
    assert_eq!(count(&function.calls(), "DescribeImageScanFindings"), 20);
}

#[tokio::test]
async fn a_repository_that_no_scanning_rule_matches_is_published() {
    let function = Function::new("archive").await;
    function.push("a-v1.0.0", 0.5);
    let others = json!([{
        "scanFrequency": "SCAN_ON_PUSH",
        "repositoryFilters": [{"filter": "other*", "filterType": "WILDCARD"}],
    }]);
    let scanning = json!({"scanType": "ENHANCED", "rules": others});
    function.aws.by_hand("PutRegistryScanningConfiguration", &scanning).unwrap();
    function.sweep().await;
    assert_eq!(rules(&function.alerts()), ["scanning"]);
}

#[tokio::test]
async fn an_audit_that_fails_after_the_cleanup_is_retried() {
    let function = Function::new("archive").await;
    function.versions("a", 5);
    // Only the audit reads how often the images are scanned.
    let denied = Fault::Error(403, "AccessDeniedException");
    function.aws.fault("BatchGetRepositoryScanningConfiguration", 1, denied);
    let order = json!({"repository": DEPLOYMENTS});
    let error = function.ask(&order, "request").await.unwrap_err();
    expect!["sweeping deployments: reading the scanning configuration of deployments: AccessDeniedException: made to fail"].assert_eq(&format!("{error:#}"));
    assert_eq!((function.active().len(), kinds(&function.alerts())), (2, vec!["cleanup"]));
    function.ask(&order, "request").await.unwrap();
    assert!(function.alerts().is_empty());
}
