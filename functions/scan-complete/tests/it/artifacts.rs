//! Tests failed scans of artifacts that are not images, and of images that ECR does not support.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Function, INFRASTRUCTURE, kinds};

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const UNSUPPORTED: (&str, &str) =
    ("FAILED", "UnsupportedImageError: The operating system is not supported");

/// Pushes an artifact with these media types of the configuration and of its only layer. It was pushed so long
/// ago that it does not wait for an index.
fn push_artifact(function: &Function, tag: Option<&str>, config: &str, layer: &str) -> String {
    let image = function.push(&[]);
    let mut state = function.aws.state();
    let pushed = state.ecr().image(INFRASTRUCTURE, &image).unwrap();
    let mut manifest: Value = serde_json::from_str(&pushed.manifest_text).unwrap();
    drop(state);
    manifest["config"]["mediaType"] = config.into();
    manifest["layers"][0]["mediaType"] = layer.into();
    let mut put = json!({"repositoryName": INFRASTRUCTURE, "imageManifest": manifest.to_string()});
    if let Some(tag) = tag {
        put["imageTag"] = tag.into();
    }
    // The manifest of a plain image is already there.
    let digest = match function.aws.by_hand("PutImage", &put) {
        Ok(pushed) => pushed["image"]["imageId"]["imageDigest"].as_str().unwrap().to_owned(),
        Err(_) => image,
    };
    function.aws.state().ecr().events.clear();
    function.aws.advance(Duration::from_secs(7 * 3_600));
    digest
}

/// The kinds of the alerts after the scan of an image failed.
async fn fail_scan(function: &Function, digest: &str, failure: (&str, &str)) -> Vec<String> {
    let event = function.scan(digest, Err(failure));
    function.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
    kinds(&function.alerts()).into_iter().map(str::to_owned).collect()
}

// Case B11 in docs/contributing/prior-art.md.
#[tokio::test]
async fn the_failed_scan_of_an_artifact_that_is_not_an_image_causes_no_alert() {
    let function = Function::new().await;
    let subject = function.push(&["litellm-v1.80.5"]);
    let signature = format!("{}.sig", subject.replacen(':', "-", 1));
    let key = "0123456789abcdef".repeat(4);
    let cases = [
        (Some(signature.as_str()), OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json"),
        (None, OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json"),
        (Some("chart-v1.0.0"), "application/vnd.cncf.helm.config.v1+json", OCI_LAYER),
        (Some("buildcache"), "application/vnd.buildkit.cacheconfig.v0", OCI_LAYER),
        (Some(key.as_str()), OCI_CONFIG, OCI_LAYER),
        (None, OCI_CONFIG, "application/vnd.in-toto+json"),
        (Some("policy-v1.0.0"), "application/vnd.example.policy", "application/json"),
        (Some("wasm-v1.0.0"), "application/vnd.wasm.config.v0+json", "application/wasm"),
    ];
    for (tag, config, layer) in cases {
        let artifact = push_artifact(&function, tag, config, layer);
        for failure in [UNSUPPORTED, ("UNSUPPORTED_IMAGE", ""), ("FAILED", "")] {
            let alerts = fail_scan(&function, &artifact, failure).await;
            assert_eq!(alerts, [""; 0], "{tag:?} {config} {layer} {failure:?}");
        }
    }
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    for artifact_type in [bundle, "application/vnd.amazon.soci.index.v1+json"] {
        let pushed = {
            let mut state = function.aws.state();
            let now = state.now();
            state.ecr().push_referrer(INFRASTRUCTURE, &subject, artifact_type, now)
        };
        function.aws.state().ecr().events.clear();
        function.aws.advance(Duration::from_secs(600));
        let alerts = fail_scan(&function, &pushed.unwrap(), UNSUPPORTED).await;
        assert_eq!(alerts, [""; 0], "{artifact_type}");
    }
}

#[tokio::test]
async fn the_failed_scan_of_an_artifact_that_may_be_an_image_is_published() {
    let function = Function::new().await;
    // The layer has a media type that is not known.
    let image = push_artifact(&function, Some("app-v1.0.0"), OCI_CONFIG, "application/x-layer");
    assert_eq!(fail_scan(&function, &image, ("FAILED", "")).await, ["scan-failed"]);
    // The tag of a signature does not hide an image.
    let tag = format!("sha256-{}.sig", "a".repeat(64));
    let image = push_artifact(&function, Some("web-v1.0.0"), OCI_CONFIG, OCI_LAYER);
    let manifest = {
        let mut state = function.aws.state();
        state.ecr().image(INFRASTRUCTURE, &image).unwrap().manifest_text.clone()
    };
    let put = json!({"repositoryName": INFRASTRUCTURE, "imageManifest": manifest, "imageTag": tag});
    function.aws.by_hand("PutImage", &put).unwrap();
    function.aws.state().ecr().events.clear();
    assert_eq!(fail_scan(&function, &image, UNSUPPORTED).await, ["scan-failed"]);
}

// Case B11 in docs/contributing/prior-art.md.
#[tokio::test]
async fn images_that_cannot_be_scanned_cause_one_alert_for_each_release_line() {
    let function = Function::new().await;
    let mut alerts = Vec::new();
    for version in 0..5 {
        let image = function.push(&[&format!("scratch-v1.0.{version}")]);
        let failure = if version % 2 == 0 { UNSUPPORTED } else { ("UNSUPPORTED_IMAGE", "") };
        alerts.extend(fail_scan(&function, &image, failure).await);
        function.aws.advance(Duration::from_secs(91 * 86_400 / 5));
    }
    assert_eq!(alerts, ["scan-failed"]);
    // Another variant, and another component.
    for tag in ["scratch-v1.0.5-alpine", "other-v1.0.0"] {
        let image = function.push(&[tag]);
        assert_eq!(fail_scan(&function, &image, UNSUPPORTED).await, ["scan-failed"], "{tag}");
    }
    // Another failure of the same component is published for each version.
    for version in [6, 7] {
        let image = function.push(&[&format!("scratch-v1.0.{version}")]);
        let alerts = fail_scan(&function, &image, ("IMAGE_SIZE_EXCEEDED", "")).await;
        assert_eq!(alerts, ["scan-failed"]);
    }
}

#[tokio::test]
async fn images_without_a_component_that_cannot_be_scanned_cause_one_alert_for_the_repository() {
    let function = Function::new().await;
    let mut alerts = Vec::new();
    for tag in ["nightly", "b17", "feature_x"] {
        let image = function.push(&[tag]);
        alerts.extend(fail_scan(&function, &image, UNSUPPORTED).await);
    }
    assert_eq!(alerts, ["scan-failed"]);
}
