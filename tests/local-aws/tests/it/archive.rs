//! The archive, and the way back.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html>

use std::time::Duration;

use serde_json::{Value, json};

use crate::content::{described, events, image, manifest, put, transition};
use crate::{DAY, NOW, aws, ok, refused};

const TWENTY_MINUTES: Duration = Duration::from_secs(20 * 60);

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/restore-image.html
#[test]
fn a_restored_image_is_on_its_way_for_at_most_twenty_minutes() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let expected = json!({
        "registryId": "123456789012",
        "repositoryName": "app",
        "imageId": {"imageDigest": digest},
        "imageStatus": "ARCHIVED",
    });
    assert_eq!(transition(&aws, &digest, "ARCHIVE"), expected);
    let archived = described(&aws, &digest);
    assert_eq!(
        (&archived["imageStatus"], &archived["lastArchivedAt"]),
        (&json!("ARCHIVED"), &json!(NOW))
    );
    aws.advance(DAY);
    assert_eq!(transition(&aws, &digest, "STANDARD")["imageStatus"], "ACTIVATING");
    assert_eq!(described(&aws, &digest)["imageStatus"], "ACTIVATING");
    aws.advance(TWENTY_MINUTES);
    let active = described(&aws, &digest);
    assert_eq!(active["imageStatus"], "ACTIVE");
    assert_eq!(active["lastArchivedAt"], NOW);
    let restored_at = NOW + (DAY + TWENTY_MINUTES).as_secs_f64();
    assert_eq!(active["lastActivatedAt"], restored_at);
    assert_eq!(active["imagePushedAt"], NOW);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
#[test]
fn each_change_of_storage_class_causes_an_event_at_its_end() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let sent = || {
        let mut events = events(&aws, "ECR Image Action");
        events.retain(|detail| detail["action-type"] == "UPDATE_STORAGE_CLASS");
        events
    };
    let event_of = |class: &str| {
        json!({
            "result": "SUCCESS",
            "repository-name": "app",
            "image-digest": digest,
            "action-type": "UPDATE_STORAGE_CLASS",
            "target-storage-class": class,
        })
    };
    transition(&aws, &digest, "ARCHIVE");
    assert_eq!(sent(), [event_of("ARCHIVE")]);
    transition(&aws, &digest, "STANDARD");
    assert_eq!(sent().len(), 1);
    aws.advance(TWENTY_MINUTES);
    assert_eq!(sent(), [event_of("ARCHIVE"), event_of("STANDARD")]);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push.html
#[test]
fn a_second_push_restores_an_archived_image_immediately() {
    let aws = aws();
    let manifest = manifest(&aws, "layer");
    let digest = put(&aws, &manifest, Some("v1"));
    for (tag, tags) in
        [(Some("v1"), json!(["v1"])), (None, json!(["v1"])), (Some("v2"), json!(["v1", "v2"]))]
    {
        transition(&aws, &digest, "ARCHIVE");
        assert_eq!(put(&aws, &manifest, tag), digest);
        let found = described(&aws, &digest);
        assert_eq!((&found["imageStatus"], &found["imageTags"]), (&json!("ACTIVE"), &tags));
    }
    // Also where tags do not move, and while it is on its way.
    ok(
        &aws,
        "PutImageTagMutability",
        json!({"repositoryName": "app", "imageTagMutability": "IMMUTABLE"}),
    );
    transition(&aws, &digest, "ARCHIVE");
    transition(&aws, &digest, "STANDARD");
    put(&aws, &manifest, Some("v1"));
    assert_eq!(described(&aws, &digest)["imageStatus"], "ACTIVE");
    transition(&aws, &digest, "ARCHIVE");
    aws.advance(TWENTY_MINUTES);
    assert_eq!(described(&aws, &digest)["imageStatus"], "ARCHIVED");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/restore-image.html
#[test]
fn a_restored_image_is_scanned_as_if_it_were_pushed_and_has_no_old_findings() {
    let aws = aws();
    let scanning =
        json!({"repositoryName": "app", "imageScanningConfiguration": {"scanOnPush": true}});
    ok(&aws, "PutImageScanningConfiguration", scanning);
    let digest = image(&aws, &["v1"]);
    let found = json!({"name": "CVE-2026-0001", "severity": "HIGH"});
    aws.state().ecr().complete_scan("app", &digest, Ok(vec![found]), NOW).unwrap();
    transition(&aws, &digest, "ARCHIVE");
    transition(&aws, &digest, "STANDARD");
    aws.advance(TWENTY_MINUTES);
    let findings = json!({"repositoryName": "app", "imageId": {"imageTag": "v1"}});
    let findings = ok(&aws, "DescribeImageScanFindings", findings);
    assert_eq!(findings["imageScanStatus"]["status"], "IN_PROGRESS");
    assert_eq!(findings.get("imageScanFindings"), None);
}

// Model: ImageArchivedException
#[test]
fn an_archived_image_is_not_scanned() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    transition(&aws, &digest, "ARCHIVE");
    let input = json!({"repositoryName": "app", "imageId": {"imageTag": "v1"}});
    assert_eq!(refused(&aws, "StartImageScan", input), "ImageArchivedException");
}

// Model: UpdateImageStorageClassRequest, ImageNotFoundException
#[test]
fn only_what_is_there_changes_its_class() {
    let aws = aws();
    let update = |id: Value, class: &str| json!({"repositoryName": "app", "imageId": id, "targetStorageClass": class});
    let gone = update(json!({"imageTag": "gone"}), "ARCHIVE");
    assert_eq!(refused(&aws, "UpdateImageStorageClass", gone), "ImageNotFoundException");
    image(&aws, &["v1"]);
    let class = update(json!({"imageTag": "v1"}), "GLACIER");
    assert_eq!(refused(&aws, "UpdateImageStorageClass", class), "InvalidParameterException");
    let by_tag = ok(&aws, "UpdateImageStorageClass", update(json!({"imageTag": "v1"}), "ARCHIVE"));
    assert_eq!(by_tag["imageId"]["imageTag"], "v1");
}

// An image that is being restored may be deleted meanwhile and pushed again.
#[test]
fn a_restore_does_not_apply_to_a_later_image_with_the_same_digest() {
    let aws = aws();
    let manifest = manifest(&aws, "one");
    let digest = put(&aws, &manifest, Some("v1"));
    transition(&aws, &digest, "ARCHIVE");
    transition(&aws, &digest, "STANDARD");
    let input = json!({"repositoryName": "app", "imageIds": [{"imageDigest": digest}]});
    ok(&aws, "BatchDeleteImage", input);
    put(&aws, &manifest, Some("v1"));
    transition(&aws, &digest, "ARCHIVE");
    aws.advance(TWENTY_MINUTES);
    assert_eq!(described(&aws, &digest)["imageStatus"], "ARCHIVED");
}
