//! `BatchGetImage`, which counts as a pull.

use serde_json::{Value, json};

use crate::content::{described, image, manifest, put, transition};
use crate::{DAY, NOW, aws, call_as, ok};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

fn get(id: &Value) -> Value {
    json!({"repositoryName": "app", "imageIds": [id]})
}

// Model: Image
#[test]
fn an_image_is_got_by_tag_or_digest_with_its_manifest() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    let digest = put(&aws, &manifest, Some("v1"));
    for id in [json!({"imageTag": "v1"}), json!({"imageDigest": digest})] {
        let found = ok(&aws, "BatchGetImage", get(&id));
        assert_eq!(found["failures"], json!([]));
        let found = &found["images"][0];
        assert_eq!(found["registryId"], "123456789012");
        assert_eq!(found["repositoryName"], "app");
        assert_eq!(found["imageId"]["imageDigest"], digest);
        assert_eq!(found["imageId"]["imageTag"], id["imageTag"]);
        assert_eq!(found["imageManifest"], manifest.to_string());
        assert_eq!(found["imageManifestMediaType"], manifest["mediaType"]);
    }
}

// Model: ImageDetail, lastRecordedPullTime
#[test]
fn a_pull_is_recorded_again_once_the_last_record_is_a_day_old() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let pulled_at = || described(&aws, &digest)["lastRecordedPullTime"].clone();
    let id = json!({"imageTag": "v1"});
    assert_eq!(pulled_at(), Value::Null);
    ok(&aws, "BatchGetImage", get(&id));
    assert_eq!(pulled_at(), NOW);
    aws.advance(23 * HOUR);
    ok(&aws, "BatchGetImage", get(&id));
    assert_eq!(pulled_at(), NOW);
    aws.advance(HOUR);
    ok(&aws, "BatchGetImage", get(&id));
    assert_eq!(pulled_at(), NOW + DAY.as_secs_f64());
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
#[test]
fn to_look_at_an_image_is_not_a_pull() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    ok(&aws, "DescribeImages", json!({"repositoryName": "app"}));
    ok(&aws, "ListImages", json!({"repositoryName": "app"}));
    assert_eq!(described(&aws, &digest).get("lastRecordedPullTime"), None);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-time-update-exclusions.html
#[test]
fn pulls_by_an_excluded_role_are_not_recorded() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let [scanner, other] =
        ["scanner", "other"].map(|name| format!("arn:aws:iam::123456789012:role/{name}"));
    ok(&aws, "RegisterPullTimeUpdateExclusion", json!({"principalArn": scanner}));
    let input = get(&json!({"imageTag": "v1"}));
    let found = call_as(&aws, &scanner, "BatchGetImage", &input).unwrap();
    assert_eq!(found["images"][0]["imageId"]["imageDigest"], digest);
    assert_eq!(described(&aws, &digest).get("lastRecordedPullTime"), None);
    call_as(&aws, &other, "BatchGetImage", &input).unwrap();
    assert_eq!(described(&aws, &digest)["lastRecordedPullTime"], NOW);
    ok(&aws, "DeregisterPullTimeUpdateExclusion", json!({"principalArn": scanner}));
    aws.advance(DAY);
    call_as(&aws, &scanner, "BatchGetImage", &input).unwrap();
    assert_eq!(described(&aws, &digest)["lastRecordedPullTime"], NOW + DAY.as_secs_f64());
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
#[test]
fn an_archived_image_cannot_be_pulled_until_it_is_restored() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let input = get(&json!({"imageTag": "v1"}));
    let found = || {
        let found = ok(&aws, "BatchGetImage", input.clone());
        (found["images"].as_array().unwrap().len(), found["failures"].as_array().unwrap().len())
    };
    transition(&aws, &digest, "ARCHIVE");
    assert_eq!(found(), (0, 1));
    transition(&aws, &digest, "STANDARD");
    assert_eq!(found(), (0, 1));
    assert_eq!(described(&aws, &digest).get("lastRecordedPullTime"), None);
    aws.advance(HOUR);
    assert_eq!(found(), (1, 0));
}

// Model: ImageFailure, ImageFailureCode
#[test]
fn an_image_that_cannot_be_pulled_is_a_failure_beside_the_others() {
    let aws = aws();
    image(&aws, &["v1"]);
    let ids = [
        (json!({"imageTag": "v1"}), None),
        (json!({"imageTag": "gone"}), Some("ImageNotFound")),
        (json!({"imageDigest": "nonsense"}), Some("InvalidImageDigest")),
        (json!({"imageDigest": "sha256:abc"}), Some("ImageNotFound")),
        (json!({"imageTag": "-"}), Some("InvalidImageTag")),
        (json!({}), Some("MissingDigestAndTag")),
    ];
    let input: Vec<&Value> = ids.iter().map(|(id, _)| id).collect();
    let found = ok(&aws, "BatchGetImage", json!({"repositoryName": "app", "imageIds": input}));
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
    let failures = found["failures"].as_array().unwrap();
    let expected: Vec<_> = ids.iter().filter_map(|(id, code)| Some((id, (*code)?))).collect();
    assert_eq!(failures.len(), expected.len());
    for (failure, (id, code)) in failures.iter().zip(expected) {
        assert_eq!((&failure["imageId"], &failure["failureCode"]), (id, &code.into()));
        assert!(failure["failureReason"].is_string());
    }
}
