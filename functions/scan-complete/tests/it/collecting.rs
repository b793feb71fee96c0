//! Tests enhanced scanning: scans, and single findings, of which Inspector sends hundreds.

use std::time::Duration;

use expect_test::expect;
use futures::future::join_all;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::{Value, json};

use crate::{Function, enhanced, kinds, new_and_all};

// Case P22 in docs/contributing/prior-art.md.
#[tokio::test]
async fn an_inspector_scan_names_its_repository_by_an_arn_and_is_handled() {
    let function = Function::enhanced().await;
    let image = function.push(&["openwebui-v0.6.36"]);
    let mut findings = enhanced("CVE-1:HIGH CVE-2:CRITICAL");
    findings[0]["exploitAvailable"] = json!("YES");
    findings[0]["resources"][0]["details"]["awsEcrContainerImage"]["inUseCount"] = json!(3);
    let event = function.scan(&image, Ok(findings));
    assert!(event["detail"]["repository-name"].as_str().unwrap().starts_with("arn:aws:ecr:"));
    function.handle(&event, "request").await.unwrap();
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!(
        (&alert["repository"], &alert["component"]),
        (&json!("infrastructure"), &json!("openwebui"))
    );
    // A finding with a known exploit is listed before a finding with a higher severity.
    assert_eq!(new_and_all(alert).1, ["CVE-1", "CVE-2"]);
    let finding = &alert["details"]["findings"][0];
    assert_eq!((&finding["fixed"], &finding["exploitKnown"]), (&json!("3.0.18"), &json!(true)));
    assert_eq!(alert["details"]["inUse"], 3);
    expect![[r#"
        The scan of infrastructure:openwebui-v0.6.36 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 2 findings in all. No earlier scan in the same release line of openwebui is recorded for a comparison. Fixed packages exist for 2 findings. 3 tasks or pods use the image.

        Findings:
        - HIGH CVE-1 in openssl 3.0.17, fixed in 3.0.18; an exploit is known; https://nvd.nist.gov/vuln/detail/CVE-1
        - CRITICAL CVE-2 in openssl 3.0.17, fixed in 3.0.18; https://nvd.nist.gov/vuln/detail/CVE-2

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image."#]].assert_eq(&masked(alert["text"].as_str().unwrap()));
}

// Case P25 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn hundreds_of_findings_of_one_image_cause_one_alert_and_one_read() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let all: String = (0..300).map(|n| format!("CVE-{n}:HIGH ")).collect();
    let findings = enhanced(&all);
    let events: Vec<Value> =
        findings.iter().map(|finding| function.finding(&image, finding, "ACTIVE")).collect();
    function.aws.state().calls.clear();
    // A hundred events arrive at once, and the others within three minutes.
    let deliver = |(nth, event): (usize, Value)| {
        let function = &function;
        async move {
            let delay = Duration::from_millis(if nth < 100 { 0 } else { nth as u64 * 600 });
            tokio::time::sleep(delay).await;
            let now = function.now() + delay;
            let id = format!("request-{nth}");
            scan_complete::handle(&function.context, &event, &id, now).await.unwrap();
        }
    };
    join_all(events.into_iter().enumerate().map(deliver)).await;
    let calls = function.calls();
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!(count("Publish"), 1);
    assert_eq!(count("DescribeImageScanFindings"), 1);
    // Each event costs two writes. Each of the few invocations that process collected findings costs
    // two more.
    assert!(count("UpdateItem") < 2 * 300 + 2 * 20, "{}", count("UpdateItem"));
    let alerts = function.alerts();
    assert_eq!(kinds(&alerts), ["scan-findings"]);
    assert_eq!(alerts[0]["details"]["findingsTotal"], 300);
}

// Case P24 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn a_finding_of_which_only_a_date_changed_is_not_published_again() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let finding = &enhanced("CVE-1:HIGH")[0];
    let event = function.finding(&image, finding, "ACTIVE");
    function.handle(&event, "one").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
    function.aws.advance(Duration::from_secs(86_400));
    let again = function.finding(&image, finding, "ACTIVE");
    assert_ne!(event["detail"]["updatedAt"], again["detail"]["updatedAt"]);
    function.aws.state().calls.clear();
    function.handle(&again, "two").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    assert_eq!(function.calls(), ["UpdateItem"; 4], "nothing was read");
    // With a higher severity, the finding is published again.
    let worse = function.finding(&image, &enhanced("CVE-1:CRITICAL")[0], "ACTIVE");
    function.aws.advance(Duration::from_secs(60));
    function.handle(&worse, "three").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_closed_finding_resolves_the_alert() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let findings = enhanced("CVE-1:HIGH CVE-2:HIGH");
    let scan = function.scan(&image, Ok(findings.clone()));
    function.handle(&scan, "scan").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
    for (finding, expected) in findings.iter().zip([&[][..], &["scan-resolved"]]) {
        function.aws.advance(Duration::from_secs(60));
        let closed = function.finding(&image, finding, "CLOSED");
        function.handle(&closed, closed["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(kinds(&function.alerts()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_in_a_part_of_an_index_is_published_for_the_index() {
    let function = Function::enhanced().await;
    let images = function.push_index("litellm-v1.80.5", 2).await;
    for (nth, image) in images.iter().enumerate() {
        let mut finding = enhanced("CVE-1:HIGH")[0].clone();
        finding["epss"] = json!({"score": 0.91});
        let event = function.finding(image, &finding, "ACTIVE");
        function.aws.state().calls.clear();
        function.handle(&event, &format!("request-{nth}")).await.unwrap();
        let alerts = function.alerts();
        assert_eq!(alerts.len(), usize::from(nth == 0));
        if nth == 0 {
            assert_eq!(alerts[0]["image"]["tags"], json!(["litellm-v1.80.5"]));
            assert_eq!(alerts[0]["details"]["findings"][0]["epss"], 0.91);
            // Two calls collect, one reads the index, two claim and store the history, and one reads
            // which destinations have the alert.
            let calls = function.calls();
            let ledger_calls = calls.iter().filter(|call| call.ends_with("Item")).count();
            assert_eq!(ledger_calls, 6);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_vulnerability_in_twenty_versions_causes_two_alerts() {
    let function = Function::enhanced().await;
    let images: Vec<String> =
        (0..20).map(|n| function.push(&[&format!("litellm-v1.80.{n}")])).collect();
    let latest = &images[19];
    let scan = function.scan(latest, Ok(Vec::new()));
    function.handle(&scan, "scan").await.unwrap();
    let finding = &enhanced("CVE-1:CRITICAL")[0];
    for image in &images {
        function.aws.advance(Duration::from_secs(60));
        let event = function.finding(image, finding, "ACTIVE");
        function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    }
    let alerts = function.alerts();
    let tags: Vec<&Value> = alerts.iter().map(|alert| &alert["image"]["tags"][0]).collect();
    // One alert is about an older version and stands for all older ones; the other is about the
    // latest version.
    assert_eq!(tags, ["litellm-v1.80.0", "litellm-v1.80.19"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_that_collected_findings_is_retried_with_all_of_them() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let findings = enhanced("CVE-1:HIGH CVE-2:HIGH");
    let events: Vec<Value> =
        findings.iter().map(|finding| function.finding(&image, finding, "ACTIVE")).collect();
    function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
    let (first, second) =
        tokio::join!(function.handle(&events[0], "first"), function.handle(&events[1], "second"));
    first.unwrap_err();
    second.unwrap();
    function.aws.heal();
    function.aws.advance(Duration::from_secs(60));
    function.handle(&events[0], "first").await.unwrap();
    let alerts = function.alerts();
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-1", "CVE-2"]);
}

/// The invocation with the new finding ends after it handed the finding over. The collecting
/// invocation has to publish the new finding, even though its own finding is known.
#[tokio::test(start_paused = true)]
async fn a_new_finding_is_published_by_an_invocation_whose_own_finding_is_known() {
    for (gatherer, status) in [("CVE-1:HIGH", "ACTIVE"), ("CVE-7:HIGH", "CLOSED")] {
        for unread in [false, true] {
            let function = Function::enhanced().await;
            let image = function.push(&["litellm-v1.80.5"]);
            let scan = function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
            function.handle(&scan, "scan").await.unwrap();
            assert_eq!(function.alerts().len(), 1);
            let known = function.finding(&image, &enhanced(gatherer)[0], status);
            let new = function.finding(&image, &enhanced("CVE-2:CRITICAL")[0], "ACTIVE");
            if unread {
                let denied = Fault::Error(400, "AccessDeniedException");
                function.aws.fault("DescribeImageScanFindings", 0, denied);
            }
            let later = async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                function.handle(&new, "later").await
            };
            let (first, second) = tokio::join!(function.handle(&known, "first"), later);
            first.and(second).unwrap();
            let alerts = function.alerts();
            assert_eq!(alerts.len(), 1, "{gatherer} {status} {unread}");
            assert_eq!(new_and_all(&alerts[0]).0, ["CVE-2"], "{gatherer} {status} {unread}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_event_does_not_override_the_findings_of_ecr() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let finding = &enhanced("CVE-1:HIGH")[0];
    let opened = function.finding(&image, finding, "ACTIVE");
    let closed = function.finding(&image, finding, "CLOSED");
    function.aws.advance(Duration::from_secs(3_600));
    // Inspector has closed the finding since.
    function.handle(&opened, "opened").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    // Inspector opens the finding again.
    let again = function.finding(&image, finding, "ACTIVE");
    function.aws.advance(Duration::from_secs(60));
    function.handle(&again, "again").await.unwrap();
    assert_eq!(kinds(&function.alerts()), ["scan-findings"]);
    function.aws.advance(Duration::from_secs(60));
    function.handle(&closed, "closed").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_has_lost_its_tag_is_an_older_version_of_its_component() {
    let function = Function::enhanced().await;
    let images: Vec<String> =
        (0..3).map(|n| function.push(&[&format!("litellm-v1.80.{n}")])).collect();
    let finding = &enhanced("CVE-1:HIGH")[0];
    for image in &images {
        function.aws.advance(Duration::from_secs(60));
        let event = function.finding(image, finding, "ACTIVE");
        function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    }
    function.forget();
    let new = &enhanced("CVE-2:CRITICAL")[0];
    let mut published = Vec::new();
    for image in &images[..2] {
        function.aws.advance(Duration::from_secs(60));
        let mut event = function.finding(image, new, "ACTIVE");
        let place = "/detail/resources/0/details/awsEcrContainerImage/imageTags";
        *event.pointer_mut(place).unwrap() = json!([]);
        {
            let mut state = function.aws.state();
            let repository = state.ecr().repositories.get_mut("infrastructure").unwrap();
            repository.images.get_mut(image).unwrap().tags.clear();
        }
        function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
        published.extend(function.alerts());
    }
    assert_eq!(published.len(), 1, "{published:#?}");
    assert_eq!(published[0]["component"], "litellm");
    expect![[r#"
        The scan of infrastructure@sha256:… found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 2 findings in all. This version is not the newest one: a version that was pushed later has already been scanned. Fixed packages exist for 2 findings.

        New findings:
        - CRITICAL CVE-2 in openssl 3.0.17, fixed in 3.0.18; https://nvd.nist.gov/vuln/detail/CVE-2

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image.

        Reported before:
        - HIGH CVE-1 in openssl 3.0.17, fixed in 3.0.18; https://nvd.nist.gov/vuln/detail/CVE-1"#]].assert_eq(&masked(published[0]["text"].as_str().unwrap()));
}

/// The own finding of the collecting invocation is known, so its event alone would publish nothing.
#[tokio::test(start_paused = true)]
async fn collected_findings_are_published_by_a_retry_of_the_collecting_invocation() {
    let function = Function::enhanced().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let scan = function.scan(&image, Ok(enhanced("CVE-1:HIGH")));
    function.handle(&scan, "scan").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
    let known = function.finding(&image, &enhanced("CVE-1:HIGH")[0], "ACTIVE");
    let new = function.finding(&image, &enhanced("CVE-2:CRITICAL")[0], "ACTIVE");
    function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
    let (first, second) =
        tokio::join!(function.handle(&known, "first"), function.handle(&new, "second"));
    first.unwrap_err();
    second.unwrap();
    function.aws.heal();
    function.aws.advance(Duration::from_secs(60));
    function.handle(&known, "first").await.unwrap();
    assert_eq!(new_and_all(&function.alerts()[0]).0, ["CVE-2"]);
    // The ledger has then deleted the collected findings.
    function.aws.advance(Duration::from_secs(60));
    function.aws.state().calls.clear();
    function.handle(&known, "later").await.unwrap();
    assert_eq!(function.calls(), ["UpdateItem"; 4]);
}

#[tokio::test(start_paused = true)]
async fn forty_concurrent_images_take_turns_at_the_history_of_their_component() {
    let function = Function::enhanced().await;
    let images: Vec<String> =
        (0..40).map(|n| function.push(&[&format!("litellm-v1.80.{n}")])).collect();
    let finding = &enhanced("CVE-1:CRITICAL")[0];
    let events: Vec<Value> =
        images.iter().map(|image| function.finding(image, finding, "ACTIVE")).collect();
    function.slow_down(50);
    let mut left: Vec<&Value> = events.iter().collect();
    for _ in 0..3 {
        let handle = |event: &Value| {
            let (function, event) = (&function, event.clone());
            async move { function.handle(&event, event["id"].as_str().unwrap()).await.is_ok() }
        };
        let done = join_all(left.iter().map(|event| handle(event))).await;
        let mut done = done.into_iter();
        left.retain(|_| !done.next().unwrap());
        function.aws.advance(Duration::from_secs(60));
    }
    assert_eq!(left.len(), 0);
    assert!((1..=3).contains(&function.alerts().len()));
}
