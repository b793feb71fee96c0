//! Referrers of an image that a lifecycle policy or a caller has removed or archived.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{described, image, index, present, referrer, transition};
use crate::grammar::{archiving, days, rule};
use crate::{DAY, aws, ok, with};

const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

/// Puts a policy of one rule in force.
fn policy(aws: &LocalAws, rule: &Value) {
    let policy = json!({"rules": [rule]}).to_string();
    let input = json!({"repositoryName": "app", "lifecyclePolicyText": policy});
    ok(aws, "PutLifecyclePolicy", input);
}

/// A rule about images with tags that begin with `v`, for everything older than a day.
fn of_a_day() -> Value {
    let tags = json!({"tagStatus": "tagged", "tagPrefixList": ["v"]});
    with(tags, days("sinceImagePushed", 1))
}

// LifecyclePolicies: what refers to a subject goes, or is archived, within a day of it
#[test]
fn a_signature_and_the_signature_of_a_signature_go_after_their_subject() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    let sbom = referrer(&aws, &subject, "application/spdx+json");
    referrer(&aws, &sbom, SIGNATURE);
    let other = image(&aws, &["kept"]);
    let kept = referrer(&aws, &other, SIGNATURE);
    policy(&aws, &rule(1, of_a_day()));
    aws.advance(DAY * 2);
    let mut expected = [other, kept];
    expected.sort_unstable();
    assert_eq!(present(&aws), expected);
}

#[test]
fn a_referrer_follows_its_deleted_subject_unless_it_was_pushed_before() {
    let aws = aws();
    let subject = image(&aws, &["release"]);
    referrer(&aws, &subject, SIGNATURE);
    let to_come = format!("sha256:{}", "0".repeat(64));
    let early = referrer(&aws, &to_come, "application/spdx+json");
    policy(&aws, &rule(1, of_a_day()));
    let input = json!({"repositoryName": "app", "imageIds": [{"imageDigest": subject}]});
    ok(&aws, "BatchDeleteImage", input);
    aws.advance(DAY);
    assert_eq!(present(&aws), [early]);
}

#[test]
fn a_signature_is_archived_with_its_subject() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    let signature = referrer(&aws, &subject, SIGNATURE);
    policy(&aws, &archiving(1, of_a_day()));
    aws.advance(DAY * 2);
    for digest in [&subject, &signature] {
        assert_eq!(described(&aws, digest)["imageStatus"], "ARCHIVED");
    }
}

// LifecyclePolicies: an image of a list is out of reach until the list is deleted or archived
#[test]
fn the_images_of_an_archived_index_are_in_reach() {
    let aws = aws();
    let child = image(&aws, &["v1"]);
    let index = index(&aws, &[&child], Some("multi"));
    policy(&aws, &rule(1, of_a_day()));
    aws.advance(DAY * 2);
    assert_eq!(present(&aws).len(), 2);
    transition(&aws, &index, "ARCHIVE");
    aws.advance(DAY);
    assert_eq!(present(&aws), [index]);
}
