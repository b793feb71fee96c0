//! Previews of lifecycle policies.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lpp_creation.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{image, present};
use crate::grammar::{archiving, days, rule};
use crate::{DAY, aws, ok, refused, with};

/// The image's digest of each result.
fn digests(results: &Value) -> Vec<&str> {
    results
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["imageDigest"].as_str().unwrap())
        .collect()
}

fn policy(rules: &[Value]) -> String {
    json!({"rules": rules}).to_string()
}

fn keep_one() -> String {
    policy(&[rule(1, json!({"tagStatus": "any"}))])
}

#[track_caller]
fn start(aws: &LocalAws, policy: &str) -> Value {
    let input = json!({"repositoryName": "app", "lifecyclePolicyText": policy});
    ok(aws, "StartLifecyclePolicyPreview", input)
}

/// The preview's answer once it is complete.
#[track_caller]
fn complete(aws: &LocalAws, more: &Value) -> Value {
    for _ in 0..10 {
        let input = with(json!({"repositoryName": "app"}), more.clone());
        let preview = ok(aws, "GetLifecyclePolicyPreview", input);
        if preview["status"] == "COMPLETE" {
            return preview;
        }
        assert_eq!(preview["status"], "IN_PROGRESS");
    }
    panic!("a preview that never ends");
}

// Model: StartLifecyclePolicyPreviewResponse, LifecyclePolicyPreviewStatus
#[test]
fn a_preview_is_in_progress_and_then_complete_and_removes_nothing() {
    let aws = aws();
    let old = image(&aws, &["v1"]);
    aws.advance(DAY);
    image(&aws, &["v2"]);
    let policy = keep_one();
    let expected = json!({
        "registryId": "123456789012",
        "repositoryName": "app",
        "lifecyclePolicyText": policy,
        "status": "IN_PROGRESS",
    });
    assert_eq!(start(&aws, &policy), expected);
    let first = ok(&aws, "GetLifecyclePolicyPreview", json!({"repositoryName": "app"}));
    assert_eq!(first["status"], "IN_PROGRESS");
    let preview = complete(&aws, &json!({}));
    assert_eq!(digests(&preview["previewResults"]), [old]);
    assert_eq!(preview["lifecyclePolicyText"], policy);
    aws.advance(DAY);
    assert_eq!(present(&aws).len(), 2);
    let none = refused(&aws, "GetLifecyclePolicy", json!({"repositoryName": "app"}));
    assert_eq!(none, "LifecyclePolicyNotFoundException");
}

// Model: LifecyclePolicyPreviewResult, LifecyclePolicyPreviewSummary
#[test]
fn a_result_says_what_becomes_of_an_image_by_which_rule() {
    let aws = aws();
    let untagged = image(&aws, &[]);
    let tagged = image(&aws, &["v1", "v2"]);
    aws.advance(5 * DAY);
    let policy = policy(&[
        rule(4, with(json!({"tagStatus": "untagged"}), days("sinceImagePushed", 1))),
        archiving(9, with(json!({"tagStatus": "any"}), days("sinceImagePulled", 1))),
    ]);
    start(&aws, &policy);
    let preview = complete(&aws, &json!({}));
    let expected = json!([
        {
            "imageDigest": untagged,
            "imagePushedAt": crate::NOW,
            "action": {"type": "EXPIRE"},
            "appliedRulePriority": 4,
            "storageClass": "STANDARD",
        },
        {
            "imageTags": ["v1", "v2"],
            "imageDigest": tagged,
            "imagePushedAt": crate::NOW,
            "action": {"type": "TRANSITION", "targetStorageClass": "ARCHIVE"},
            "appliedRulePriority": 9,
            "storageClass": "STANDARD",
        },
    ]);
    assert_eq!(preview["previewResults"], expected);
    let archiving = json!([{"targetStorageClass": "ARCHIVE", "imageTotalCount": 1}]);
    let summary = json!({"expiringImageTotalCount": 1, "transitioningImageTotalCounts": archiving});
    assert_eq!(preview["summary"], summary);
}

// Model: LifecyclePolicyPreviewSummary, transitioningImageTotalCounts
#[test]
fn a_summary_without_transitions_does_not_count_them() {
    let aws = aws();
    start(&aws, &keep_one());
    let preview = complete(&aws, &json!({}));
    assert_eq!(preview["summary"], json!({"expiringImageTotalCount": 0}));
    assert_eq!(preview["previewResults"], json!([]));
}

// Model: GetLifecyclePolicyPreviewRequest
#[test]
fn the_results_come_in_pages_of_a_hundred_and_by_filters() {
    let aws = aws();
    for n in 0..103 {
        image(&aws, &[&format!("v{n}")]);
    }
    let untagged = image(&aws, &[]);
    aws.advance(DAY);
    image(&aws, &["newest"]);
    start(&aws, &keep_one());
    let count = |more: Value| {
        let page = complete(&aws, &more);
        assert_eq!(page["summary"]["expiringImageTotalCount"], 104);
        (page["previewResults"].as_array().unwrap().len(), page["nextToken"].clone())
    };
    let (first, token) = count(json!({}));
    assert_eq!((first, count(json!({"nextToken": token}))), (100, (4, Value::Null)));
    let (first, token) = count(json!({"maxResults": 60}));
    let rest = count(json!({"maxResults": 60, "nextToken": token}));
    assert_eq!((first, rest), (60, (44, Value::Null)));
    let filtered = complete(&aws, &json!({"filter": {"tagStatus": "UNTAGGED"}}));
    assert_eq!(digests(&filtered["previewResults"]), [untagged]);
    let named = json!({"imageIds": [{"imageTag": "v7"}, {"imageTag": "newest"}]});
    let found = complete(&aws, &named);
    assert_eq!(found["previewResults"].as_array().unwrap().len(), 1);
    assert_eq!(found["previewResults"][0]["imageTags"], json!(["v7"]));
    let both = with(named.clone(), json!({"filter": {"tagStatus": "UNTAGGED"}}));
    assert_eq!(complete(&aws, &both)["previewResults"], json!([]));
    let app = json!({"repositoryName": "app"});
    for bad in [
        json!({"maxResults": 101}),
        json!({"nextToken": "not a token"}),
        with(named, json!({"maxResults": 5})),
    ] {
        let code = refused(&aws, "GetLifecyclePolicyPreview", with(app.clone(), bad));
        assert_eq!(code, "InvalidParameterException");
    }
}

// Model: LifecyclePolicyPreviewInProgressException
#[test]
fn there_is_one_preview_at_a_time() {
    let aws = aws();
    start(&aws, &keep_one());
    let again = json!({"repositoryName": "app", "lifecyclePolicyText": keep_one()});
    let code = refused(&aws, "StartLifecyclePolicyPreview", again);
    assert_eq!(code, "LifecyclePolicyPreviewInProgressException");
    complete(&aws, &json!({}));
    start(&aws, &keep_one());
}

// Model: LifecyclePolicyPreviewNotFoundException
#[test]
fn a_preview_that_was_not_started_is_not_found() {
    let code = refused(&aws(), "GetLifecyclePolicyPreview", json!({"repositoryName": "app"}));
    assert_eq!(code, "LifecyclePolicyPreviewNotFoundException");
}

// Model: StartLifecyclePolicyPreviewRequest, lifecyclePolicyText
#[test]
fn a_preview_without_a_policy_is_of_the_repositorys_own() {
    let aws = aws();
    let policy = keep_one();
    ok(&aws, "PutLifecyclePolicy", json!({"repositoryName": "app", "lifecyclePolicyText": policy}));
    let started = ok(&aws, "StartLifecyclePolicyPreview", json!({"repositoryName": "app"}));
    assert_eq!(started["lifecyclePolicyText"], policy);
}

// The caller that started a preview may never read it.
#[test]
fn a_preview_that_nobody_reads_completes() {
    let aws = aws();
    start(&aws, &keep_one());
    let again = json!({"repositoryName": "app", "lifecyclePolicyText": keep_one()});
    let refused = refused(&aws, "StartLifecyclePolicyPreview", again);
    assert_eq!(refused, "LifecyclePolicyPreviewInProgressException");
    aws.advance(std::time::Duration::from_secs(5));
    start(&aws, &keep_one());
}

// Model: GetLifecyclePolicyPreviewResponse, nextToken
#[test]
fn the_pages_of_a_preview_are_of_what_was_found_once() {
    let aws = aws();
    for n in 0..4 {
        image(&aws, &[&format!("v{n}")]);
        aws.advance(DAY);
    }
    start(&aws, &keep_one());
    let first = complete(&aws, &json!({"maxResults": 1}));
    let gone = first["previewResults"][0]["imageDigest"].clone();
    let input = json!({"repositoryName": "app", "imageIds": [{"imageDigest": gone}]});
    ok(&aws, "BatchDeleteImage", input);
    let rest = complete(&aws, &json!({"maxResults": 100, "nextToken": first["nextToken"]}));
    assert_eq!(digests(&rest["previewResults"]).len(), 2, "none is passed over");
    let unknown = json!([{"imageDigest": gone}]);
    let named = complete(&aws, &json!({"imageIds": unknown}));
    assert_eq!(named["previewResults"], json!([]));
}
