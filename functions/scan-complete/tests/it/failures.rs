//! Tests scans that failed, and findings that are missing or cannot be read.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::{Value, json};
use warden_core::artifact::ArtifactKind;

use crate::{Function, basic, enhanced, kinds};

// Case P18 in docs/contributing/prior-art.md.
#[tokio::test]
async fn the_alert_about_a_failed_scan_has_the_reason_and_a_remedy() {
    let mut shown = String::new();
    for (status, description, remedies) in [
        ("FAILED", "UnsupportedImageError: The operating system is not supported", 0),
        ("UNSUPPORTED_IMAGE", "", 0),
        ("IMAGE_SIZE_EXCEEDED", "too large", 0),
        ("IMAGE_ARCHIVED", "", 1),
        ("FAILED", "ScanInternalError", 1),
    ] {
        let function = Function::new().await;
        let image = function.push(&["litellm-v1.80.5"]);
        let mut event = function.scan(&image, Err((status, description)));
        event["detail"].as_object_mut().unwrap().remove("finding-severity-counts");
        function.handle(&event, "request").await.unwrap();
        let alerts = function.alerts();
        let [alert] = &alerts[..] else { panic!("{status}: {alerts:#?}") };
        assert_eq!(alert["kind"], "scan-failed");
        let [title, text] = ["title", "text"].map(|name| alert[name].as_str().unwrap());
        assert!(text.contains(status) && text.contains(description), "{text}");
        shown += &format!("{title}\n{text}\n\n");
        assert_eq!(alert["remedies"].as_array().unwrap().len(), remedies, "{alert:#}");
        assert_eq!(alert["details"]["status"], status);
        // The failure is published once.
        function.handle(&event, "another").await.unwrap();
        assert_eq!(function.alerts().len(), 0);
    }
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 failed
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (UnsupportedImageError: The operating system is not supported). ECR does not support the operating system or the package manager of the image. Further versions of litellm with the same kind of tag cause no alert.

        What to do: build the image on a supported base image, or turn on enhanced scanning, which supports more operating systems and package managers.

        The scan of infrastructure:litellm-v1.80.5 failed
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is UNSUPPORTED_IMAGE. ECR does not support the operating system or the package manager of the image. Further versions of litellm with the same kind of tag cause no alert.

        What to do: build the image on a supported base image, or turn on enhanced scanning, which supports more operating systems and package managers.

        The scan of infrastructure:litellm-v1.80.5 failed
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is IMAGE_SIZE_EXCEEDED (too large). The image is larger than the limit of the scanner.

        What to do: remove files that the image does not need, or scan the image in the pipeline that builds it.

        The scan of infrastructure:litellm-v1.80.5 failed
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is IMAGE_ARCHIVED. Images in the archive are not scanned.

        What to do: nothing, or restore the image to scan it.

        The scan of infrastructure:litellm-v1.80.5 failed
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (ScanInternalError).

        What to do: scan the image again. If the scan fails again, check the scanning configuration of the registry.

    "#]].assert_eq(&masked(&shown));
}

// Cases P18 and P25 in docs/contributing/prior-art.md.
#[tokio::test]
async fn an_index_whose_images_cannot_be_scanned_causes_one_alert() {
    let function = Function::new().await;
    for image in function.push_index("litellm-v1.80.5", 3).await {
        let event = function.scan(&image, Err(("UNSUPPORTED_IMAGE", "")));
        function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    }
    assert_eq!(kinds(&function.alerts()), ["scan-failed"]);
}

#[tokio::test]
async fn the_failed_scan_of_an_attestation_causes_no_alert() {
    let function = Function::new().await;
    let image = function.push(&[]);
    let (repository, digest) = ("infrastructure".parse().unwrap(), image.parse().unwrap());
    let index = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let parts = [(digest, ArtifactKind::Attestation)].into();
    let ledger = function.ledger_of_image_push();
    let (tag, none) = ("litellm-v1.80.5".parse().unwrap(), BTreeSet::new());
    let recorded =
        ledger.record_children(&repository, &index, &tag, &parts, &none, function.now()).await;
    recorded.unwrap();
    let event = function.scan(&image, Err(("UNSUPPORTED_IMAGE", "")));
    function.handle(&event, "request").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn the_late_event_of_a_failed_scan_publishes_the_findings_of_a_newer_scan() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let failed = function.scan(&image, Err(("FAILED", "")));
    function.scan(&image, Ok(basic("CVE-1:HIGH")));
    function.handle(&failed, "request").await.unwrap();
    assert_eq!(kinds(&function.alerts()), ["scan-findings"]);
}

#[tokio::test]
async fn a_failed_scan_is_published_even_if_its_reason_cannot_be_read() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let failed = function.scan(&image, Err(("FAILED", "")));
    function.aws.fault("DescribeImageScanFindings", 0, Fault::Error(400, "AccessDeniedException"));
    function.handle(&failed, "request").await.unwrap();
    let alerts = function.alerts();
    expect![[r#"
        The image infrastructure:litellm-v1.80.5 was not scanned, so its findings are unknown.

        Why: the status of the scan is FAILED (the reason could not be read: AccessDeniedException: made to fail).

        What to do: scan the image again. If the scan fails again, check the scanning configuration of the registry."#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));
}

#[tokio::test]
async fn the_scan_of_a_deleted_image_or_repository_causes_no_alert() {
    let function = Function::new().await;
    for (counts, failed) in [(true, false), (false, false), (true, true)] {
        let image = function.push(&["litellm-v1.80.5"]);
        let outcome = if failed { Err(("FAILED", "")) } else { Ok(basic("CVE-1:HIGH")) };
        let mut event = function.scan(&image, outcome);
        if !counts {
            event["detail"]["finding-severity-counts"] = json!({});
        }
        let id = json!([{"imageDigest": image}]);
        let delete = json!({"repositoryName": "infrastructure", "imageIds": id});
        function.aws.by_hand("BatchDeleteImage", &delete).unwrap();
        let id = event["id"].as_str().unwrap();
        // A young event is an error, because ECR may show the image later.
        function.handle(&event, id).await.unwrap_err();
        function.aws.advance(Duration::from_secs(180));
        function.handle(&event, id).await.unwrap();
        assert_eq!(function.alerts().len(), 0);
    }
    let delete = json!({"repositoryName": "infrastructure", "force": true});
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:HIGH")));
    function.aws.by_hand("DeleteRepository", &delete).unwrap();
    function.aws.advance(Duration::from_secs(180));
    function.handle(&event, "request").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn a_retry_publishes_the_scan_of_an_image_that_ecr_shows_later() {
    for failed in [false, true] {
        let function = Function::new().await;
        function.aws.state().ecr().set_read_lag(50.0);
        let image = function.push(&["litellm-v1.80.5"]);
        let outcome = if failed { Err(("FAILED", "")) } else { Ok(basic("CVE-1:HIGH")) };
        let event = function.scan(&image, outcome);
        function.handle(&event, "request").await.unwrap_err();
        assert_eq!(function.alerts().len(), 0);
        function.aws.advance(Duration::from_secs(60));
        function.handle(&event, "request").await.unwrap();
        assert_eq!(function.alerts().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_function_waits_for_findings_that_ecr_does_not_show_yet() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
    function
        .aws
        .state()
        .ecr()
        .repositories
        .get_mut("infrastructure")
        .unwrap()
        .images
        .get_mut(&image)
        .unwrap()
        .scan
        .as_mut()
        .unwrap()
        .status = "PENDING".to_owned();
    let appear = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
    };
    let (handled, ()) = tokio::join!(function.handle(&event, "request"), appear);
    handled.unwrap();
    assert_eq!(function.alerts()[0]["details"]["complete"], true);
}

#[tokio::test(start_paused = true)]
async fn the_counts_of_the_event_are_published_if_the_findings_never_appear() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:HIGH CVE-2:CRITICAL CVE-3:LOW")));
    let mut texts = String::new();
    for why in ["PENDING", "AccessDeniedException"] {
        if why == "PENDING" {
            let set =
                json!({"repositoryName": "infrastructure", "imageId": {"imageDigest": image}});
            function.aws.advance(Duration::from_secs(2 * 86_400));
            function.aws.by_hand("StartImageScan", &set).unwrap();
        } else {
            function.aws.fault(
                "DescribeImageScanFindings",
                0,
                Fault::Error(400, "AccessDeniedException"),
            );
        }
        let mut event = event.clone();
        // The same numbers are published once.
        if why != "PENDING" {
            event["detail"]["finding-severity-counts"]["HIGH"] = json!(2);
        }
        function.handle(&event, why).await.unwrap();
        let alerts = function.alerts();
        let [alert] = &alerts[..] else { panic!("{why}: {alerts:#?}") };
        texts += &format!("{}\n\n", alert["text"].as_str().unwrap());
        assert_eq!(alert["details"]["complete"], false);
        function.handle(&event, "another").await.unwrap();
        assert_eq!(function.alerts().len(), 0);
    }
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 3 findings in all. No earlier scan of litellm with the same kind of tag is recorded for a comparison. The findings themselves could not be read (the status is IN_PROGRESS after 10 seconds). The numbers are from the event, and include accepted risks.

        Why: the image has findings at or above AlertSeverityThreshold=HIGH.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image.

        The scan of infrastructure:litellm-v1.80.5 found 3 findings at or above HIGH (1 CRITICAL, 2 HIGH), and 4 findings in all. No earlier version is recorded for a comparison. 0 findings are new. The findings themselves could not be read (AccessDeniedException: made to fail). The numbers are from the event, and include accepted risks.

        Why: the image has findings at or above AlertSeverityThreshold=HIGH.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image.

    "#]].assert_eq(&masked(&texts));
    // Once the findings can be read, an alert lists them.
    function.aws.heal();
    let alerts = function.scanned(&image, "CVE-1:HIGH CVE-2:CRITICAL").await;
    assert_eq!(alerts[0]["details"]["complete"], true);
}

#[tokio::test(start_paused = true)]
async fn a_scan_without_readable_findings_or_counts_is_tried_again() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let mut event = function.scan(&image, Ok(basic("CVE-1:HIGH")));
    event["detail"].as_object_mut().unwrap().remove("finding-severity-counts");
    function.aws.fault("DescribeImageScanFindings", 0, Fault::Error(400, "AccessDeniedException"));
    let error = function.handle(&event, "request").await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains(&image), "{error}");
    expect!["the findings of infrastructure@sha256:… cannot be read after its scan: AccessDeniedException: made to fail"].assert_eq(&masked(&error));
    function.aws.heal();
    function.handle(&event, "request").await.unwrap();
    assert_eq!(kinds(&function.alerts()), ["scan-findings"]);
    // Invalid counts are treated as missing counts.
    let image = function.push(&["litellm-v1.80.6"]);
    let mut event = function.scan(&image, Ok(basic("CVE-2:HIGH")));
    event["detail"]["finding-severity-counts"] = json!({"HIGH": "1"});
    function.handle(&event, "other").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_single_finding_is_published_even_if_the_others_cannot_be_read() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.finding(&image, &enhanced("CVE-1:HIGH")[0], "ACTIVE");
    function.aws.fault("DescribeImageScanFindings", 0, Fault::Error(400, "AccessDeniedException"));
    for (id, expected) in [("one", 1), ("another", 0)] {
        function.handle(&event, id).await.unwrap();
        let alerts: Vec<Value> = function.alerts();
        assert_eq!(alerts.len(), expected);
        function.aws.advance(Duration::from_secs(60));
    }
}
