//! Tests images that are scanned before their index is pushed. `tests/it/tests/it/indexes.rs` tests the same
//! together with `image-push` and the queue.

use std::time::Duration;

use local_aws::Fault;
use local_aws::ecr::scan::finding::enhanced_finding;
use local_aws::world;
use serde_json::{Value, json};

use crate::{Function, INFRASTRUCTURE, basic, event, kinds, new_and_all};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl Function {
    /// The rechecks that the queue delivers now.
    async fn rechecks(&self) -> Vec<Value> {
        self.world.take_messages("InspectorFindings").await
    }

    /// Rechecks an image. Returns the alerts.
    async fn recheck(&self, image: &str) -> Vec<Value> {
        let mut recheck = event("recheck");
        recheck["detail"]["image-digest"] = image.into();
        self.handle(&recheck, "recheck").await.unwrap();
        self.alerts()
    }

    /// Pushes two images by their digests.
    fn push_two(&self) -> [String; 2] {
        [self.push(&[]), self.push(&[])]
    }

    /// Pushes the index of these images.
    async fn push_index_of(&self, images: &[String], tag: &str) -> String {
        let index = self.world.push_index(INFRASTRUCTURE, images, tag);
        self.aws.state().ecr().events.clear();
        self.note(images, &index, tag).await;
        index
    }

    /// Scans an image, and publishes the findings for the image alone.
    async fn scanned_alone(&self, image: &str, findings: &str) {
        self.aws.advance(6 * HOUR);
        let alerts = self.scanned(image, findings).await;
        assert!(kinds(&alerts).iter().all(|kind| *kind == "scan-findings"), "{alerts:#?}");
        assert_eq!(alerts.is_empty(), findings.is_empty());
    }
}

/// The names of the calls of one event, and the time that the function waited.
async fn calls(function: &Function, event: &Value) -> (Vec<String>, Duration) {
    function.aws.state().calls.clear();
    let started = tokio::time::Instant::now();
    function.handle(event, event["id"].as_str().unwrap()).await.unwrap();
    (function.calls(), started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_image_without_a_tag_waits_for_its_index_in_the_queue() {
    let function = Function::new().await;
    let image = function.push(&[]);
    let scan = function.scan(&image, Ok(basic("CVE-1:HIGH")));
    let wait = ["BatchGetItem", "DescribeImages", "SendMessageBatch", "UpdateItem"];
    assert_eq!(calls(&function, &scan).await, (wait.map(str::to_owned).to_vec(), Duration::ZERO));
    assert_eq!(function.alerts().len(), 0);
    function.aws.advance(14 * MINUTE + Duration::from_secs(59));
    assert_eq!(function.rechecks().await, [Value::Null; 0]);
    function.aws.advance(Duration::from_secs(1));
    let rechecks = function.rechecks().await;
    let [recheck] = &rechecks[..] else { panic!("{rechecks:#?}") };
    let mut expected = event("recheck");
    expected["detail"]["image-digest"] = image.into();
    for field in ["id", "time"] {
        expected[field] = scan[field].clone();
    }
    assert_eq!(*recheck, expected);
    // The image still waits.
    assert_eq!(calls(&function, recheck).await.0, wait);
}

#[tokio::test]
async fn an_image_without_an_index_is_published_alone_after_six_hours() {
    let function = Function::new().await;
    let image = function.push(&[]);
    let mut alerts = function.scanned(&image, "CVE-1:HIGH").await;
    let mut rechecks = 0;
    for _ in 0..24 * 4 {
        assert_eq!(alerts.is_empty(), rechecks < 24, "after {rechecks} rechecks");
        function.aws.advance(15 * MINUTE);
        for recheck in function.rechecks().await {
            function.handle(&recheck, "recheck").await.unwrap();
            rechecks += 1;
        }
        alerts.extend(function.alerts());
    }
    assert_eq!((kinds(&alerts), rechecks), (vec!["scan-findings"], 24));
    assert_eq!(
        (&alerts[0]["component"], &alerts[0]["image"]["digest"]),
        (&Value::Null, &json!(image))
    );
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>: Lambda stops a function after
/// about 16 turns of a loop.
#[test]
fn lambda_does_not_stop_the_rechecks_of_an_image_that_waits() {
    let stack = world::evaluate(&[]).unwrap();
    let function = stack.properties("ScanCompleteFunction").unwrap();
    assert_eq!(function["RecursiveLoop"], "Allow");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_waits_has_one_recheck_in_the_queue() {
    let function = Function::enhanced().await;
    let image = function.push(&[]);
    for nth in 0..20 {
        let finding = enhanced_finding(&format!("CVE-{nth}"), "HIGH", "openssl", "3.0.17", None);
        let event = function.finding(&image, &finding, "ACTIVE");
        function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    }
    function.aws.advance(5 * MINUTE);
    let finding = enhanced_finding("CVE-20", "HIGH", "openssl", "3.0.17", None);
    let event = function.finding(&image, &finding, "ACTIVE");
    function.handle(&event, "late").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    function.aws.advance(10 * MINUTE);
    // SQS may deliver a message twice.
    let recheck = function.rechecks().await;
    assert_eq!(recheck.len(), 1);
    for copy in ["recheck", "copy"] {
        function.handle(&recheck[0], copy).await.unwrap();
    }
    function.aws.advance(15 * MINUTE);
    assert_eq!(function.rechecks().await.len(), 1);
}

#[tokio::test]
async fn the_scans_before_the_push_of_an_index_cause_one_alert_about_the_index() {
    let function = Function::new().await;
    let earlier = function.push_index("litellm-v1.80.5", 1).await;
    assert_eq!(function.scanned(&earlier[0], "CVE-1:HIGH").await.len(), 1);
    let images = function.push_two();
    for image in &images {
        assert_eq!(function.scanned(image, "CVE-1:HIGH CVE-2:HIGH").await, [Value::Null; 0]);
    }
    let index = function.push_index_of(&images, "litellm-v1.80.6").await;
    let alerts = function.recheck(&images[0]).await;
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!(new_and_all(alert), (vec!["CVE-2"], vec!["CVE-2", "CVE-1"]));
    assert_eq!(alert["image"], json!({"digest": index, "tags": ["litellm-v1.80.6"]}));
    assert_eq!(alert["details"]["baseline"]["tag"], "litellm-v1.80.5");
    for image in [&images[1], &images[0], &images[1]] {
        assert_eq!(function.recheck(image).await, [Value::Null; 0]);
    }
}

#[tokio::test]
async fn the_failed_scans_before_the_push_of_an_index_cause_one_alert_about_the_index() {
    let function = Function::new().await;
    let images = function.push_two();
    for image in &images {
        let failed = function.scan(image, Err(("UNSUPPORTED_IMAGE", "")));
        function.handle(&failed, failed["id"].as_str().unwrap()).await.unwrap();
    }
    assert_eq!(function.alerts().len(), 0);
    function.push_index_of(&images, "litellm-v1.80.6").await;
    let alerts = [function.recheck(&images[0]).await, function.recheck(&images[1]).await].concat();
    assert_eq!(kinds(&alerts), ["scan-failed"]);
    assert_eq!(alerts[0]["component"], "litellm");
}

#[tokio::test]
async fn clean_scans_before_the_push_of_an_index_resolve_the_alert_about_the_version_before() {
    let function = Function::new().await;
    let earlier = function.push(&["litellm-v1.80.5"]);
    function.scanned(&earlier, "CVE-1:HIGH").await;
    let images = function.push_two();
    // The second image waits, and the first image is recorded alone.
    function.scanned(&images[1], "").await;
    function.scanned_alone(&images[0], "").await;
    function.push_index_of(&images, "litellm-v1.80.6").await;
    let alerts = [function.recheck(&images[1]).await, function.recheck(&images[0]).await].concat();
    assert_eq!(kinds(&alerts), ["scan-resolved"]);
}

#[tokio::test]
async fn an_index_takes_over_the_alerts_about_its_images_alone() {
    let function = Function::new().await;
    let images = function.push_two();
    for image in &images {
        function.scanned_alone(image, "CVE-1:HIGH").await;
    }
    function.push_index_of(&images, "litellm-v1.80.6").await;
    let scan = function.scan(&images[0], Ok(basic("CVE-1:HIGH CVE-2:HIGH")));
    let (calls, _) = calls(&function, &scan).await;
    let page = "DescribeImageScanFindings";
    assert_eq!(
        calls,
        [
            "BatchGetItem",
            // The other image.
            "BatchGetItem",
            "UpdateItem",
            page,
            "GetParameter",
            "GetItem",
            "Publish",
            "PutEvents",
            "UpdateItem",
            "DeleteItem"
        ]
    );
    assert_eq!(new_and_all(&function.alert()).0, ["CVE-2"]);
    for image in &images {
        assert_eq!(function.recheck(image).await, [Value::Null; 0]);
    }
    let next = function.push(&["litellm-v1.80.7"]);
    assert_eq!(function.scanned(&next, "CVE-1:HIGH").await, [Value::Null; 0]);
    let clean = function.push(&["litellm-v1.80.8"]);
    assert_eq!(kinds(&function.scanned(&clean, "").await), ["scan-resolved"]);
}

#[tokio::test]
async fn an_index_knows_the_alert_about_an_image_that_another_image_of_it_is_scanned_after() {
    let function = Function::new().await;
    let images = function.push_two();
    function.scanned_alone(&images[0], "CVE-1:HIGH").await;
    function.push_index_of(&images, "litellm-v1.80.6").await;
    assert_eq!(function.scanned(&images[1], "CVE-1:HIGH").await, [Value::Null; 0]);
    assert_eq!(function.recheck(&images[0]).await, [Value::Null; 0]);
}

#[tokio::test]
async fn an_index_waits_until_the_alert_about_its_image_is_recorded() {
    let function = Function::new().await;
    let images = function.push_two();
    function.aws.advance(6 * HOUR);
    let scan = function.scan(&images[0], Ok(basic("CVE-1:HIGH")));
    // The alert is published, and the function is cut off before it records that.
    function.aws.fault("UpdateItem", 2, Fault::Hang);
    let cut_off = tokio::time::timeout(MINUTE / 60, function.handle(&scan, "scan")).await;
    assert!(cut_off.is_err());
    function.aws.heal();
    assert_eq!(function.alerts().len(), 1);
    function.push_index_of(&images, "litellm-v1.80.6").await;
    let other = function.scan(&images[1], Ok(basic("CVE-1:HIGH")));
    let error = function.handle(&other, "other").await.unwrap_err().to_string();
    assert!(
        error.starts_with("another invocation is handling the scan of infrastructure@"),
        "{error}"
    );
    function.aws.advance(MINUTE);
    function.handle(&other, "other").await.unwrap();
    function.handle(&scan, "scan").await.unwrap();
    // The first alert was not recorded, so the finding is published once more.
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test]
async fn an_image_that_gets_a_tag_while_it_waits_is_compared_with_its_release_line() {
    let function = Function::new().await;
    let image = function.push(&[]);
    assert_eq!(function.scanned(&image, "CVE-1:HIGH").await, [Value::Null; 0]);
    function.world.tag(INFRASTRUCTURE, &image, "litellm-v1.80.5");
    assert_eq!(function.recheck(&image).await[0]["component"], "litellm");
}

#[tokio::test]
async fn an_image_whose_tag_names_no_release_line_is_a_part_of_its_index() {
    let function = Function::new().await;
    let images = [function.push(&["build-7-amd64"]), function.push(&["build-7-arm64"])];
    assert_eq!(function.scanned(&images[0], "CVE-1:HIGH").await.len(), 1);
    let index = function.push_index_of(&images, "litellm-v1.80.6").await;
    assert_eq!(function.recheck(&images[0]).await, [Value::Null; 0]);
    assert_eq!(function.scanned(&images[1], "CVE-1:HIGH").await, [Value::Null; 0]);
    let alerts = function.scanned(&images[0], "CVE-1:HIGH CVE-2:HIGH").await;
    assert_eq!(alerts[0]["image"]["digest"], index);
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-2"]);
    let clean = function.push(&["litellm-v1.80.7"]);
    assert_eq!(kinds(&function.scanned(&clean, "").await), ["scan-resolved"]);
}

#[tokio::test]
async fn an_image_that_is_gone_when_it_is_rechecked_is_ignored() {
    let function = Function::new().await;
    let image = function.push(&[]);
    function.scanned(&image, "CVE-1:HIGH").await;
    function.aws.advance(15 * MINUTE);
    let delete = json!({"repositoryName": INFRASTRUCTURE, "imageIds": [{"imageDigest": image}]});
    function.aws.by_hand("BatchDeleteImage", &delete).unwrap();
    let recheck = function.rechecks().await.remove(0);
    function.handle(&recheck, "recheck").await.unwrap();
    function.aws.advance(15 * MINUTE);
    assert_eq!((function.rechecks().await.len(), function.alerts().len()), (0, 0));
}

#[tokio::test]
async fn a_signature_waits_for_no_index() {
    let function = Function::new().await;
    let subject = function.push(&["litellm-v1.80.5"]);
    let signature = {
        let mut state = function.aws.state();
        let now = state.now();
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        state.ecr().push_referrer(INFRASTRUCTURE, &subject, bundle, now).unwrap()
    };
    let failed = function.scan(&signature, Err(("UNSUPPORTED_IMAGE", "")));
    function.handle(&failed, "request").await.unwrap();
    function.aws.advance(15 * MINUTE);
    assert_eq!((function.rechecks().await.len(), function.alerts().len()), (0, 0));
}
