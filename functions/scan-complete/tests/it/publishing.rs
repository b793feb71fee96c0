//! Tests which alerts of scans are published, and how often.

use std::time::Duration;

use expect_test::expect;
use futures::future::join_all;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::{Value, json};

use crate::{Function, basic, kinds, new_and_all};

#[tokio::test]
async fn a_scan_is_compared_with_the_version_before() {
    let function = Function::new().await;
    let first = function.push(&["litellm-v1.80.5"]);
    let alerts = function.scanned(&first, "CVE-1:HIGH CVE-2:HIGH CVE-3:MEDIUM").await;
    assert_eq!(kinds(&alerts), ["scan-findings"]);
    assert_eq!(alerts[0]["details"]["baseline"], Value::Null);
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 found 2 findings at or above HIGH (2 HIGH), and 3 findings in all. No earlier scan of litellm with the same kind of tag is recorded for a comparison.

        Findings:
        - HIGH CVE-1 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-1
        - HIGH CVE-2 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image."#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));

    let second = function.push(&["litellm-v1.80.6"]);
    let alerts = function.scanned(&second, "CVE-1:HIGH CVE-4:CRITICAL CVE-3:MEDIUM").await;
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    expect!["infrastructure:litellm-v1.80.6 has 1 new finding: 1 CRITICAL"]
        .assert_eq(alert["title"].as_str().unwrap());
    assert_eq!(
        (alert["severity"].as_str(), alert["component"].as_str()),
        (Some("CRITICAL"), Some("litellm"))
    );
    assert_eq!(new_and_all(alert), (vec!["CVE-4"], vec!["CVE-4", "CVE-1"]));
    let details = &alert["details"];
    assert_eq!(details["fixed"], json!(["CVE-2"]));
    assert_eq!(details["baseline"], json!({"digest": first, "tag": "litellm-v1.80.5"}));
    assert_eq!(details["counts"], json!({"CRITICAL": 1, "HIGH": 1, "MEDIUM": 1}));
    assert_eq!(alert["image"], json!({"digest": second, "tags": ["litellm-v1.80.6"]}));
    let command = alert["remedies"][0]["command"].as_str().unwrap();
    assert_eq!(
        command,
        format!(
            "aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest={second}"
        )
    );

    // A scan without new findings publishes no alert.
    let third = function.push(&["litellm-v1.80.7"]);
    assert_eq!(function.scanned(&third, "CVE-1:HIGH CVE-4:CRITICAL").await, [] as [Value; 0]);
    // Another component has a history of its own.
    let other = function.push(&["openwebui-v0.6.36"]);
    assert_eq!(kinds(&function.scanned(&other, "CVE-1:HIGH").await), ["scan-findings"]);
}

#[tokio::test]
async fn a_clean_scan_resolves_the_alert_about_the_version_before() {
    let function = Function::new().await;
    let vulnerable = function.push(&["litellm-v1.80.5"]);
    function.scanned(&vulnerable, "CVE-1:HIGH").await;
    let clean = function.push(&["litellm-v1.80.6"]);
    let alerts = function.scanned(&clean, "CVE-3:MEDIUM").await;
    assert_eq!(kinds(&alerts), ["scan-resolved"]);
    expect!["infrastructure:litellm-v1.80.6 has no open findings any more"]
        .assert_eq(alerts[0]["title"].as_str().unwrap());
    assert_eq!(alerts[0]["details"]["fixed"], json!(["CVE-1"]));
    // The resolution is published once.
    assert_eq!(function.scanned(&clean, "").await, [] as [Value; 0]);
    let next = function.push(&["litellm-v1.80.7"]);
    assert_eq!(function.scanned(&next, "").await, [] as [Value; 0]);
    let back = function.push(&["litellm-v1.80.8"]);
    let alerts = function.scanned(&back, "CVE-1:HIGH").await;
    assert_eq!(new_and_all(&alerts[0]), (vec!["CVE-1"], vec!["CVE-1"]));
}

// Cases P17 and P20 in docs/contributing/prior-art.md.
#[tokio::test]
async fn the_alert_for_an_event_without_tags_and_counts_names_the_digest() {
    let function = Function::new().await;
    let image = function.push(&[]);
    function.aws.advance(Duration::from_secs(6 * 3_600));
    let mut event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    for field in ["image-tags", "finding-severity-counts"] {
        event["detail"].as_object_mut().unwrap().remove(field);
    }
    function.handle(&event, "request").await.unwrap();
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    let title = alert["title"].as_str().unwrap();
    assert!(title.contains(&image), "{title}");
    expect!["infrastructure@sha256:… has 1 finding: 1 CRITICAL"].assert_eq(&masked(title));
    assert_eq!((&alert["component"], &alert["image"]["tags"]), (&Value::Null, &json!([])));
    expect![[r#"
        The scan of infrastructure@sha256:… found 1 finding at or above HIGH (1 CRITICAL), and 1 finding in all. The tags of the image name no component, so there is no earlier version for a comparison.

        Findings:
        - CRITICAL CVE-1 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-1

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image."#]].assert_eq(&masked(alert["text"].as_str().unwrap()));
    // The same alert is not published again.
    function.handle(&event, "another").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

// Case P17 in docs/contributing/prior-art.md.
#[tokio::test]
async fn the_tags_that_an_event_lacks_are_read_from_ecr() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let mut event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    event["detail"]["image-tags"] = json!([]);
    function.handle(&event, "request").await.unwrap();
    assert_eq!(function.alerts()[0]["component"], "litellm");
}

// Case P19 in docs/contributing/prior-art.md.
#[tokio::test]
async fn every_severity_is_counted() {
    let function = Function::with_threshold("INFORMATIONAL").await;
    let image = function.push(&["litellm-v1.80.5"]);
    let informational = (1..=9).map(|n| format!("CVE-{n}:INFORMATIONAL ")).collect::<String>();
    let alerts = function.scanned(&image, &(informational + "CVE-10:UNDEFINED")).await;
    let counts = &alerts[0]["details"]["counts"];
    assert_eq!(*counts, json!({"INFORMATIONAL": 9, "UNTRIAGED": 1}));
    assert_eq!(alerts[0]["severity"], "INFORMATIONAL");
    expect!["infrastructure:litellm-v1.80.5 has 10 findings: 1 UNTRIAGED, 9 INFORMATIONAL"]
        .assert_eq(alerts[0]["title"].as_str().unwrap());
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn copies_of_an_event_publish_one_alert() {
    let function = Function::new().await;
    function.slow_down(10);
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    let (one, other) =
        tokio::join!(function.handle(&event, "one"), function.handle(&event, "other"));
    one.and(other).unwrap();
    assert_eq!(function.alerts().len(), 1);
    function.aws.advance(Duration::from_secs(3_600));
    function.handle(&event, "later").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

// Case P21 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn an_event_that_waits_too_long_for_another_event_fails_and_is_retried() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    let another = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    function.aws.fault("Publish", 1, Fault::Slow(Duration::from_secs(40)));
    let (one, other) =
        tokio::join!(function.handle(&event, "one"), function.handle(&another, "other"));
    one.unwrap();
    let error = other.unwrap_err().to_string();
    expect!["another invocation is handling the scans of litellm in infrastructure; Lambda tries the event again"]
        .assert_eq(&error);
    function.handle(&another, "other").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
}

// Case P25 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn the_images_of_an_index_cause_one_alert() {
    let function = Function::new().await;
    function.slow_down(10);
    let images = function.push_index("openwebui-v0.6.36", 3).await;
    let forty: String = (0..40).map(|n| format!("CVE-{n}:HIGH ")).collect();
    let events: Vec<Value> =
        images.iter().map(|image| function.scan(image, Ok(basic(&forty)))).collect();
    let handled = tokio::join!(
        function.handle(&events[0], "amd64"),
        function.handle(&events[1], "arm64"),
        function.handle(&events[2], "s390x"),
    );
    handled.0.and(handled.1).and(handled.2).unwrap();
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{}", alerts.len()) };
    assert_eq!(alert["details"]["counts"], json!({"HIGH": 40}));
    assert_eq!(alert["component"], "openwebui");
    assert_ne!(alert["image"]["digest"], *images[0]);
    assert_eq!(alert["image"]["tags"], json!(["openwebui-v0.6.36"]));
    // The index is the baseline of the next version.
    let images = function.push_index("openwebui-v0.6.37", 1).await;
    let alerts = function.scanned(&images[0], &format!("{forty} CVE-new:HIGH")).await;
    assert_eq!(alerts[0]["details"]["newTotal"], 1);
}

#[tokio::test]
async fn an_alert_about_an_index_is_resolved_when_each_image_of_the_new_index_is_clean() {
    let function = Function::new().await;
    let images = function.push_index("openwebui-v0.6.36", 2).await;
    assert_eq!(function.scanned(&images[0], "CVE-1:HIGH").await.len(), 1);
    let images = function.push_index("openwebui-v0.6.37", 2).await;
    assert_eq!(function.scanned(&images[0], "").await, [] as [Value; 0]);
    assert_eq!(kinds(&function.scanned(&images[1], "").await), ["scan-resolved"]);
}

#[tokio::test]
async fn an_index_with_a_second_tag_has_the_component_of_the_first() {
    let function = Function::new().await;
    let images = function.push_index("openwebui-v0.6.36", 1).await;
    let index = {
        let mut state = function.aws.state();
        let pushed = &state.ecr().repositories["infrastructure"].images;
        pushed.iter().find(|image| image.manifest.is_index()).unwrap().digest.clone()
    };
    function.note(&images, &index, "candidate").await;
    let event = function.scan(&images[0], Ok(basic("CVE-1:HIGH")));
    function.handle(&event, "request").await.unwrap();
    assert_eq!(function.alerts()[0]["component"], "openwebui");
}

#[tokio::test]
async fn a_second_scan_of_the_only_version_publishes_the_new_findings() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    function.scanned(&image, "CVE-1:CRITICAL").await;
    let alerts = function.scanned(&image, "CVE-1:CRITICAL CVE-2:HIGH").await;
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-2"]);
    assert_eq!(alerts[0]["severity"], "HIGH");
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 2 findings in all. No earlier version is recorded for a comparison. 1 finding is new.

        New findings:
        - HIGH CVE-2 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image.

        Reported before:
        - CRITICAL CVE-1 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-1"#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));
}

#[tokio::test]
async fn an_older_version_that_is_scanned_later_is_not_a_baseline() {
    let function = Function::new().await;
    let older = function.push(&["litellm-v1.80.5"]);
    let newer = function.push(&["litellm-v1.80.6"]);
    function.scanned(&newer, "CVE-1:HIGH").await;
    // The older version is scanned for the first time now. Its clean scan resolves no alert.
    assert_eq!(function.scanned(&older, "").await, [] as [Value; 0]);
    let alerts = function.scanned(&older, "CVE-2:HIGH").await;
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 found 1 finding at or above HIGH (1 HIGH), and 1 finding in all. This version is not the newest one: a version that was pushed later has already been scanned.

        Findings:
        - HIGH CVE-2 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image."#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));
    let next = function.push(&["litellm-v1.80.7"]);
    let alerts = function.scanned(&next, "CVE-1:HIGH CVE-3:HIGH").await;
    assert_eq!(alerts[0]["details"]["baseline"]["tag"], "litellm-v1.80.6");
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-3"]);
}

#[tokio::test]
async fn a_late_copy_of_a_clean_scan_event_resolves_no_alert() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let clean = function.scan(&image, Ok(Vec::new()));
    function.handle(&clean, "clean").await.unwrap();
    function.aws.advance(Duration::from_secs(86_400));
    assert_eq!(kinds(&function.scanned(&image, "CVE-1:HIGH").await), ["scan-findings"]);
    // The event is delivered again. The findings that ECR shows now count.
    function.handle(&clean, "again").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    assert_eq!(kinds(&function.scanned(&image, "").await), ["scan-resolved"]);
}

#[tokio::test]
async fn each_protocol_gets_its_own_rendering() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    function.handle(&event, "request").await.unwrap();
    let deliveries = std::mem::take(&mut function.aws.state().deliveries);
    let text = |protocol: &str| {
        let delivery = deliveries.iter().find(|delivery| delivery.protocol == protocol);
        delivery.unwrap().message.clone()
    };
    let alert: Value = serde_json::from_str(&text("sqs")).unwrap();
    let (title, email) = (alert["title"].as_str().unwrap(), text("email"));
    assert!(email.starts_with(&format!("{title}\n")) && email.contains("CVE-1"), "{email}");
    let notification: Value = serde_json::from_str(&text("https")).unwrap();
    assert_eq!(notification["source"], "custom");
    assert_eq!(notification["metadata"]["eventType"], "scan-findings");
}

// Case B20 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_copies_of_a_scan_event_cause_one_alert_and_no_error() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:CRITICAL")));
    function.slow_down(50);
    let copies = (0..1_000).map(|nth| {
        let (function, event) = (&function, &event);
        async move { function.handle(event, &format!("request-{nth}")).await }
    });
    let failed = join_all(copies).await.into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 0, "of 1,000 copies");
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_event_about_the_same_component_waits_for_its_turn() {
    let function = Function::new().await;
    let (one, other) = (function.push(&["litellm-v1.80.5"]), function.push(&["litellm-v1.80.6"]));
    let one = function.scan(&one, Ok(basic("CVE-1:CRITICAL")));
    let other = function.scan(&other, Ok(basic("CVE-1:CRITICAL CVE-2:CRITICAL")));
    function.slow_down(50);
    let (one, other) = tokio::join!(function.handle(&one, "one"), function.handle(&other, "other"));
    one.and(other).unwrap();
    let alerts = Value::from(function.alerts()).to_string();
    assert!(alerts.contains("CVE-2"), "{alerts}");
}

/// The numbers of alerts on the topic and on the bus since the last time.
fn published(function: &Function) -> [usize; 2] {
    [function.alerts().len(), function.bus_events().len()]
}

#[tokio::test]
async fn a_destination_that_fails_gets_the_alert_from_a_retry_and_the_other_one_gets_it_once() {
    for (failing, first, later) in [("PutEvents", [1, 0], [0, 1]), ("Publish", [0, 1], [1, 0])] {
        for outcome in [Ok(basic("CVE-1:HIGH")), Err(("FAILED", "no operating system"))] {
            let function = Function::new().await;
            let image = function.push(&["litellm-v1.80.5"]);
            let case = format!("{failing}, {outcome:?}");
            let event = function.scan(&image, outcome);
            function.aws.fault(failing, 0, Fault::Error(403, "AccessDeniedException"));
            function.handle(&event, "request").await.unwrap_err();
            assert_eq!(published(&function), first, "{case}");
            function.handle(&event, "request").await.unwrap_err();
            assert_eq!(published(&function), [0, 0], "{case}");
            function.aws.heal();
            function.aws.advance(Duration::from_secs(86_400));
            function.handle(&event, "replay").await.unwrap();
            assert_eq!(published(&function), later, "{case}");
            function.handle(&event, "again").await.unwrap();
            assert_eq!(published(&function), [0, 0], "{case}");
        }
    }
}

#[tokio::test]
async fn a_retry_that_finds_more_publishes_all_findings_to_both_destinations() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    let event = function.scan(&image, Ok(basic("CVE-1:HIGH")));
    function.aws.fault("PutEvents", 1, Fault::Error(403, "AccessDeniedException"));
    function.handle(&event, "request").await.unwrap_err();
    assert_eq!(published(&function), [1, 0]);
    function.aws.advance(Duration::from_secs(2 * 86_400));
    let event = function.scan(&image, Ok(basic("CVE-1:HIGH CVE-2:HIGH")));
    function.handle(&event, "request").await.unwrap();
    assert_eq!(published(&function), [1, 1]);
}
