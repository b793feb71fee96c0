//! `BatchDeleteImage`, which answers what it could not do among what it did.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/delete_image.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{described, events, image, index, present, referrer, transition};
use crate::{aws, ok, refused};

#[track_caller]
fn delete(aws: &LocalAws, ids: &[Value]) -> Value {
    ok(aws, "BatchDeleteImage", json!({"repositoryName": "app", "imageIds": ids}))
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
#[test]
fn a_deletion_by_tag_removes_the_tag_and_with_the_last_tag_the_image() {
    let aws = aws();
    let digest = image(&aws, &["v1", "v2"]);
    let deleted = delete(&aws, &[json!({"imageTag": "v1"})]);
    let removed = json!([{"imageDigest": digest, "imageTag": "v1"}]);
    assert_eq!(deleted, json!({"imageIds": removed, "failures": []}));
    assert_eq!(described(&aws, &digest)["imageTags"], json!(["v2"]));
    let deleted = delete(&aws, &[json!({"imageTag": "v2"})]);
    let removed = json!([{"imageDigest": digest, "imageTag": "v2"}]);
    assert_eq!(deleted, json!({"imageIds": removed, "failures": []}));
    assert!(present(&aws).is_empty());
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
#[test]
fn a_deletion_by_digest_removes_the_image_with_all_its_tags() {
    let aws = aws();
    let digest = image(&aws, &["v1", "v2"]);
    let untagged = image(&aws, &[]);
    let ids = [json!({"imageDigest": digest}), json!({"imageDigest": untagged})];
    let deleted = delete(&aws, &ids);
    let removed = json!([
        {"imageDigest": digest, "imageTag": "v1"},
        {"imageDigest": digest, "imageTag": "v2"},
        {"imageDigest": untagged},
    ]);
    assert_eq!(deleted, json!({"imageIds": removed, "failures": []}));
    assert!(present(&aws).is_empty());
    let gone = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]});
    assert_eq!(refused(&aws, "DescribeImages", gone), "ImageNotFoundException");
}

// Model: ImageFailureCode
#[test]
fn each_failure_has_its_code_and_the_rest_is_deleted() {
    let aws = aws();
    let child = image(&aws, &[]);
    let index = index(&aws, &[&child], Some("multi"));
    let kept = image(&aws, &["kept"]);
    image(&aws, &["v1"]);
    let zeros = format!("sha256:{}", "0".repeat(64));
    let failing = [
        (json!({}), "MissingDigestAndTag"),
        (json!({"imageDigest": "nonsense"}), "InvalidImageDigest"),
        (json!({"imageTag": "a b"}), "InvalidImageTag"),
        (json!({"imageTag": "gone"}), "ImageNotFound"),
        (json!({"imageDigest": zeros}), "ImageNotFound"),
        (json!({"imageDigest": kept, "imageTag": "multi"}), "ImageTagDoesNotMatchDigest"),
        (json!({"imageDigest": child}), "ImageReferencedByManifestList"),
    ];
    let mut ids: Vec<Value> = failing.iter().map(|(id, _)| id.clone()).collect();
    ids.push(json!({"imageTag": "v1"}));
    let deleted = delete(&aws, &ids);
    assert_eq!(deleted["imageIds"].as_array().unwrap().len(), 1);
    let failures = deleted["failures"].as_array().unwrap();
    assert_eq!(failures.len(), failing.len());
    for (failure, (id, code)) in failures.iter().zip(&failing) {
        assert_eq!((&failure["imageId"], &failure["failureCode"]), (id, &(*code).into()));
        assert!(failure["failureReason"].is_string());
    }
    let mut left = vec![child, index, kept];
    left.sort_unstable();
    assert_eq!(present(&aws), left);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/delete_image.html
#[test]
fn one_call_deletes_an_index_and_then_its_images() {
    let aws = aws();
    let children = [image(&aws, &["amd64"]), image(&aws, &[])];
    let index = index(&aws, &[&children[0], &children[1]], Some("v1"));
    // Neither by its digest nor by its last tag.
    let failed = delete(&aws, &[json!({"imageTag": "amd64"})]);
    assert_eq!(failed["failures"][0]["failureCode"], "ImageReferencedByManifestList");
    let ids = [&index, &children[0], &children[1]].map(|digest| json!({"imageDigest": digest}));
    let deleted = delete(&aws, &ids);
    assert_eq!(deleted["failures"], json!([]));
    assert!(present(&aws).is_empty());
}

// Model: ImageFailureCode, ImageReferencedByManifestList
#[test]
fn an_image_of_two_indexes_cannot_be_deleted_before_both_indexes() {
    let aws = aws();
    let (child, other) = (image(&aws, &[]), image(&aws, &[]));
    let first = index(&aws, &[&child], None);
    let second = index(&aws, &[&child, &other], None);
    let by = |digest: &String| json!({"imageDigest": digest});
    assert_eq!(delete(&aws, &[by(&first)])["failures"], json!([]));
    let failed = delete(&aws, &[by(&child)]);
    assert_eq!(failed["failures"][0]["failureCode"], "ImageReferencedByManifestList");
    assert_eq!(delete(&aws, &[by(&second), by(&child)])["failures"], json!([]));
    assert_eq!(present(&aws), [other]);
}

// Model: BatchDeleteImageRequest, ImageIdentifierList
#[test]
fn a_call_accepts_one_to_a_hundred_images() {
    let aws = aws();
    for count in [0, 101] {
        let ids = vec![json!({"imageTag": "v1"}); count];
        let input = json!({"repositoryName": "app", "imageIds": ids});
        assert_eq!(refused(&aws, "BatchDeleteImage", input), "InvalidParameterException");
    }
    let failed = delete(&aws, &vec![json!({"imageTag": "v1"}); 100]);
    assert_eq!(failed["failures"].as_array().unwrap().len(), 100);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
#[test]
fn an_archived_image_can_be_deleted() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    transition(&aws, &digest, "ARCHIVE");
    assert_eq!(delete(&aws, &[json!({"imageDigest": digest})])["failures"], json!([]));
    assert!(present(&aws).is_empty());
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
#[test]
fn a_deleted_image_causes_one_event() {
    let aws = aws();
    let digest = image(&aws, &["v1", "v2"]);
    referrer(&aws, &digest, "application/example");
    delete(&aws, &[json!({"imageDigest": digest}), json!({"imageDigest": digest})]);
    let deletions: Vec<Value> = events(&aws, "ECR Image Action")
        .into_iter()
        .filter(|detail| detail["action-type"] == "DELETE")
        .collect();
    assert_eq!(deletions.len(), 1);
    assert_eq!(deletions[0]["image-digest"], digest);
}
