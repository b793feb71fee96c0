//! The daily evaluation of lifecycle policies.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html> and its
//! examples, <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{described, events, image, index, present, referrer, transition};
use crate::grammar::{archiving, days, rule};
use crate::{DAY, NOW, aws, ok, with};

fn tagged(prefixes: &[&str]) -> Value {
    json!({"tagStatus": "tagged", "tagPrefixList": prefixes})
}

fn any() -> Value {
    json!({"tagStatus": "any"})
}

#[track_caller]
fn put(aws: &LocalAws, rules: &[Value]) {
    let policy = json!({"rules": rules}).to_string();
    ok(aws, "PutLifecyclePolicy", json!({"repositoryName": "app", "lifecyclePolicyText": policy}));
}

/// Images A, B, C, … of so many days and with these tags.
fn images(aws: &LocalAws, images: &[(u32, &[&str])]) -> Vec<String> {
    let mut state = aws.state();
    let push = |(age, tags): &(u32, &[&str])| {
        let pushed_at = NOW - f64::from(*age) * DAY.as_secs_f64();
        state.ecr().push_made_up("app", tags, pushed_at).unwrap()
    };
    images.iter().map(push).collect()
}

/// Which of the images are expired when the policy is carried out now, by their letters.
#[track_caller]
fn expired(ages_and_tags: &[(u32, &[&str])], rules: &[Value]) -> String {
    let aws = aws();
    let images = images(&aws, ages_and_tags);
    put(&aws, rules);
    aws.advance(std::time::Duration::ZERO);
    let left = present(&aws);
    let letters = ('A'..='Z').zip(&images);
    letters.filter(|(_, image)| !left.contains(image)).map(|(letter, _)| letter).collect()
}

// lifecycle_policy_examples.html: filtering on image age
#[test]
fn images_expire_by_their_age() {
    let images: &[(u32, &[&str])] =
        &[(20, &["prod1"]), (15, &["dev"]), (13, &["prod"]), (14, &["prod2"])];
    let pattern = json!({"tagStatus": "tagged", "tagPatternList": ["prod*"]});
    let rules = [rule(1, with(pattern, days("sinceImagePushed", 14)))];
    // An image that is not older than the days, such as D, is kept.
    assert_eq!(expired(images, &rules), "A");
}

// lifecycle_policy_examples.html: filtering on image count
#[test]
fn the_newest_untagged_images_are_kept() {
    let images: &[(u32, &[&str])] = &[(5, &[]), (4, &["v1"]), (3, &[]), (4, &[])];
    let rules = [rule(1, json!({"tagStatus": "untagged", "countNumber": 2}))];
    assert_eq!(expired(images, &rules), "A");
    let rules = [rule(1, json!({"tagStatus": "untagged", "countNumber": 3}))];
    assert_eq!(expired(images, &rules), "");
}

const BETA_AND_PROD: &[(u32, &[&str])] =
    &[(10, &["beta-1", "prod-1"]), (9, &["beta-2", "prod-2"]), (8, &["beta-3"])];

// lifecycle_policy_examples.html: filtering on multiple rules, example A
#[test]
fn no_rule_removes_an_image_that_a_rule_of_higher_priority_keeps() {
    let rules = [rule(1, tagged(&["prod"])), rule(2, tagged(&["beta"]))];
    assert_eq!(expired(BETA_AND_PROD, &rules), "A");
    // Rules stand in any order.
    let rules = [rule(2, tagged(&["beta"])), rule(1, tagged(&["prod"]))];
    assert_eq!(expired(BETA_AND_PROD, &rules), "A");
}

// lifecycle_policy_examples.html: filtering on multiple rules, example B
#[test]
fn rules_in_another_order_select_other_images() {
    let rules = [rule(1, tagged(&["beta"])), rule(2, tagged(&["prod"]))];
    assert_eq!(expired(BETA_AND_PROD, &rules), "AB");
}

// lifecycle_policy_examples.html: filtering on multiple tags in a single rule, example A
#[test]
fn an_image_has_to_match_every_entry_of_a_list() {
    let images: &[(u32, &[&str])] = &[
        (12, &["alpha-1"]),
        (11, &["beta-1"]),
        (10, &["alpha-2", "beta-2"]),
        (4, &["alpha-3"]),
        (3, &["beta-3"]),
        (2, &["alpha-4", "beta-4"]),
    ];
    let list = tagged(&["alpha", "beta"]);
    let rules = [rule(1, with(list, days("sinceImagePushed", 5)))];
    assert_eq!(expired(images, &rules), "C");
    let patterns = json!({"tagStatus": "tagged", "tagPatternList": ["*pha-*", "bet*"]});
    let rules = [rule(1, with(patterns, days("sinceImagePushed", 5)))];
    assert_eq!(expired(images, &rules), "C");
}

// lifecycle_policy_examples.html: filtering on multiple tags in a single rule, example B
#[test]
fn additional_tags_do_not_exclude_an_image_from_a_rule() {
    let images: &[(u32, &[&str])] = &[
        (10, &["alpha-1", "beta-1", "gamma-1"]),
        (9, &["alpha-2", "beta-2"]),
        (8, &["alpha-3", "beta-3", "gamma-2"]),
    ];
    assert_eq!(expired(images, &[rule(1, tagged(&["alpha", "beta"]))]), "AB");
}

// lifecycle_policy_examples.html: filtering on all images, example C
#[test]
fn a_count_counts_what_other_rules_have_seen() {
    let images: &[(u32, &[&str])] = &[
        (40, &["alpha-1", "beta-1"]),
        (30, &[]),
        (20, &["alpha-2"]),
        (15, &["git-hash"]),
        (1, &[]),
    ];
    let rules = [
        rule(1, tagged(&["alpha"])),
        rule(2, with(json!({"tagStatus": "untagged"}), days("sinceImagePushed", 10))),
        rule(3, any()),
    ];
    assert_eq!(expired(images, &rules), "ABD");
}

// LifecyclePolicies.html: expiration is ordered by pushed_at_time
#[test]
fn another_tag_does_not_make_an_image_younger() {
    let aws = aws();
    let old = images(&aws, &[(10, &["v1"]), (5, &["v2"])])[0].clone();
    let got = ok(
        &aws,
        "BatchGetImage",
        json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]}),
    );
    let manifest = &got["images"][0]["imageManifest"];
    ok(
        &aws,
        "PutImage",
        json!({"repositoryName": "app", "imageManifest": manifest, "imageTag": "v3"}),
    );
    put(&aws, &[rule(1, tagged(&["v"]))]);
    aws.advance(DAY);
    assert!(!present(&aws).contains(&old));
}

// LifecyclePolicies.html: an image that a manifest list references
#[test]
fn no_rule_applies_to_the_images_of_an_active_index() {
    let aws = aws();
    let child = image(&aws, &[]);
    let index = index(&aws, &[&child], Some("v1"));
    put(&aws, &[rule(1, with(json!({"tagStatus": "untagged"}), days("sinceImagePushed", 1)))]);
    aws.advance(2 * DAY);
    assert_eq!(present(&aws).len(), 2);
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageDigest": index}]});
    ok(&aws, "BatchDeleteImage", ids);
    aws.advance(DAY);
    assert!(present(&aws).is_empty());
}

// LifecyclePolicies.html: reference artifacts
#[test]
fn a_referrer_is_removed_after_its_subject() {
    let aws = aws();
    let subject = image(&aws, &["v1"]);
    let signature = referrer(&aws, &subject, "application/vnd.cncf.notary.signature");
    put(&aws, &[rule(1, with(json!({"tagStatus": "untagged"}), days("sinceImagePushed", 1)))]);
    aws.advance(2 * DAY);
    assert_eq!(present(&aws).len(), 2);
    put(&aws, &[rule(1, with(any(), days("sinceImagePushed", 1)))]);
    aws.advance(DAY);
    assert!(present(&aws).is_empty());
    let deleted: Vec<Value> = events(&aws, "ECR Image Action")
        .iter()
        .filter(|detail| detail["action-type"] == "DELETE")
        .map(|detail| detail["image-digest"].clone())
        .collect();
    assert_eq!(deleted.len(), 2);
    assert!(deleted.contains(&subject.into()) && deleted.contains(&signature.into()));
}

// lifecycle_policy_parameters.html: sinceImagePulled
#[test]
fn an_image_without_a_recent_pull_is_archived() {
    let aws = aws();
    let images = images(&aws, &[(30, &["pulled"]), (30, &["never"]), (2, &["new"])]);
    ok(
        &aws,
        "BatchGetImage",
        json!({"repositoryName": "app", "imageIds": [{"imageTag": "pulled"}]}),
    );
    put(&aws, &[archiving(1, with(any(), days("sinceImagePulled", 10)))]);
    aws.advance(DAY);
    let status = |n: usize| described(&aws, &images[n])["imageStatus"].clone();
    assert_eq!([status(0), status(1), status(2)], ["ACTIVE", "ARCHIVED", "ACTIVE"]);
    let archived = described(&aws, &images[1]);
    assert_eq!(archived["lastArchivedAt"], NOW + DAY.as_secs_f64());
    let sent = events(&aws, "ECR Image Action");
    assert_eq!(sent.last().unwrap()["action-type"], "UPDATE_STORAGE_CLASS");
    assert_eq!(sent.last().unwrap()["target-storage-class"], "ARCHIVE");
}

// lifecycle_policy_parameters.html: storageClass, sinceImageTransitioned
#[test]
fn each_class_has_its_rules_and_the_archive_counts_from_the_transition() {
    let aws = aws();
    let archived = image(&aws, &["a"]);
    transition(&aws, &archived, "ARCHIVE");
    let active = image(&aws, &["b"]);
    let class = json!({"storageClass": "archive"});
    let expiring = with(with(any(), days("sinceImageTransitioned", 90)), class);
    put(&aws, &[rule(1, expiring)]);
    aws.advance(90 * DAY);
    assert_eq!(present(&aws).len(), 2);
    aws.advance(DAY);
    assert_eq!(present(&aws), std::slice::from_ref(&active));
    // A rule for the standard class, which is the default, lets archived ones be.
    put(&aws, &[rule(1, with(any(), days("sinceImagePushed", 1)))]);
    transition(&aws, &active, "ARCHIVE");
    aws.advance(2 * DAY);
    assert_eq!(present(&aws), [active]);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive_restore_image.html
#[test]
fn a_restored_image_behaves_like_one_that_was_just_pushed() {
    let aws = aws();
    let old = image(&aws, &["old"]);
    transition(&aws, &old, "ARCHIVE");
    aws.advance(30 * DAY);
    transition(&aws, &old, "STANDARD");
    aws.advance(DAY);
    for rules in [
        rule(1, with(any(), days("sinceImagePushed", 10))),
        archiving(1, with(any(), days("sinceImagePulled", 10))),
    ] {
        put(&aws, &[rules]);
        aws.advance(DAY);
        assert_eq!(described(&aws, &old)["imageStatus"], "ACTIVE");
    }
    aws.advance(10 * DAY);
    assert_eq!(described(&aws, &old)["imageStatus"], "ARCHIVED");
}

// Model: GetLifecyclePolicyResponse, lastEvaluatedAt
#[test]
fn a_policy_has_the_time_of_its_last_evaluation() {
    let aws = aws();
    put(&aws, &[rule(1, any())]);
    let got = || ok(&aws, "GetLifecyclePolicy", json!({"repositoryName": "app"}));
    assert_eq!(got().get("lastEvaluatedAt"), None);
    aws.advance(DAY);
    assert_eq!(got()["lastEvaluatedAt"], NOW + DAY.as_secs_f64());
}
