//! Tests that a scan is compared with the previous version of the same release line.

use std::time::Duration;

use serde_json::Value;

use crate::{Function, basic, kinds, new_and_all};

/// A grammar with branches.
const WITH_BRANCHES: (&str, &str) =
    ("applications.Tags.Grammar", r#"["{component}-{branch}-{sha}"]"#);

/// Pushes an image to `deployments` an hour later, and scans it.
async fn scan_deployment(function: &Function, tag: &str, findings: &str) -> Vec<Value> {
    function.aws.advance(Duration::from_secs(3_600));
    let image = function.world.push("deployments", &[tag]);
    function.aws.state().ecr().events.clear();
    let event = function.complete_scan("deployments", &image, Ok(basic(findings)));
    function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    function.alerts()
}

// Case B14 in docs/contributing/prior-art.md.
#[tokio::test]
async fn tags_of_an_architecture_are_compared_within_the_architecture() {
    let function = Function::new().await;
    let mut alerts = Vec::new();
    for release in 0..4 {
        for (architecture, findings) in [("amd64", ""), ("arm64", "CVE-1:HIGH")] {
            let image = function.push(&[&format!("app-v1.{release}.0-{architecture}")]);
            alerts.extend(function.scanned(&image, findings).await);
        }
    }
    assert_eq!(kinds(&alerts), ["scan-findings"], "{alerts:#?}");
    // The fix in arm64 resolves the alert about arm64.
    let image = function.push(&["app-v1.4.0-arm64"]);
    assert_eq!(kinds(&function.scanned(&image, "").await), ["scan-resolved"]);
    // Another platform has had no scan yet, so each of its findings is new.
    let image = function.push(&["app-v1.4.0-s390x"]);
    let alerts = function.scanned(&image, "CVE-1:HIGH").await;
    assert_eq!(alerts[0]["details"]["baseline"], Value::Null);
}

#[tokio::test]
async fn a_variant_neither_resolves_nor_repeats_the_findings_of_another_variant() {
    let function = Function::new().await;
    let mut alerts = Vec::new();
    for release in 0..3 {
        for (variant, findings) in [("", "CVE-1:HIGH"), ("-alpine", ""), ("-slim", "CVE-2:HIGH")] {
            let image = function.push(&[&format!("app-v1.{release}.0{variant}")]);
            alerts.extend(function.scanned(&image, findings).await);
        }
    }
    let new: Vec<_> = alerts.iter().map(|alert| new_and_all(alert).0).collect();
    assert_eq!(
        (kinds(&alerts), new),
        (vec!["scan-findings"; 2], vec![vec!["CVE-1"], vec!["CVE-2"]])
    );
}

#[tokio::test]
async fn alternating_versions_builds_and_channels_make_no_pairs_of_found_and_resolved() {
    let function = Function::new().await;
    let mut alerts = Vec::new();
    for round in 0..3 {
        let tags = [
            (format!("app-v1.{round}.0"), ""),
            (format!("app-abc000{round}"), "CVE-1:HIGH"),
            (format!("app-v1.{round}.1"), ""),
        ];
        for (tag, findings) in tags {
            alerts.extend(scan_deployment(&function, &tag, findings).await);
        }
    }
    assert_eq!(kinds(&alerts), ["scan-findings"], "{alerts:#?}");
    // Each channel has a line of its own: the image of `dev` does not resolve the alert about `prod`.
    for (tag, findings, expected) in [
        ("web-prod", "CVE-2:HIGH", Some("scan-findings")),
        ("web-dev", "", None),
        ("web-v1.0.0", "", None),
    ] {
        let alerts = scan_deployment(&function, tag, findings).await;
        assert_eq!(kinds(&alerts), Vec::from_iter(expected), "{tag}");
    }
}

#[tokio::test]
async fn a_version_that_has_a_channel_too_stays_in_its_line() {
    let function = Function::new().await;
    assert_eq!(scan_deployment(&function, "app-v1.0.0", "CVE-1:HIGH").await.len(), 1);
    function.aws.advance(Duration::from_secs(3_600));
    let image = function.world.push("deployments", &["app-latest", "app-v1.1.0"]);
    let event = function.complete_scan("deployments", &image, Ok(basic("CVE-1:HIGH CVE-2:HIGH")));
    function.handle(&event, "request").await.unwrap();
    let alerts = function.alerts();
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-2"]);
    assert_eq!(alerts[0]["details"]["baseline"]["tag"], "app-v1.0.0");
}

#[tokio::test]
async fn images_that_cannot_be_scanned_cause_one_alert_for_all_branches_of_a_component() {
    let function = Function::with_policy(&[WITH_BRANCHES]).await;
    let mut alerts = Vec::new();
    for tag in ["app-main-abc0001", "app-fix-1-abc0002", "app-fix-2-abc0003", "web-main-abc0004"] {
        function.aws.advance(Duration::from_secs(3_600));
        let image = function.world.push("deployments", &[tag]);
        let failed = function.complete_scan("deployments", &image, Err(("UNSUPPORTED_IMAGE", "")));
        function.handle(&failed, failed["id"].as_str().unwrap()).await.unwrap();
        alerts.extend(function.alerts());
    }
    let components: Vec<&Value> = alerts.iter().map(|alert| &alert["component"]).collect();
    assert_eq!(components, ["app", "web"], "{alerts:#?}");
}
