//! Replication between regions and accounts.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>

use local_aws::ecr::image::Status;
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Value, json};

use crate::content::{image, index};
use crate::{DAY, aws, ok, refused};

const OTHER: &str = "210987654321";
const WEST: &str = "us-west-2";

/// A rule of replication to a region of an account.
fn rule(account: &str, region: &str, deletes: Option<bool>) -> Value {
    let mut rule = json!({"destinations": [{"region": region, "registryId": account}]});
    if let Some(enabled) = deletes {
        rule["deleteReplication"] = json!({"enabled": enabled});
    }
    rule
}

fn put(aws: &LocalAws, rules: Value) {
    ok(aws, "PutReplicationConfiguration", json!({"replicationConfiguration": {"rules": rules}}));
}

fn untag(aws: &LocalAws, tag: &str) {
    let removed = json!({"repositoryName": "app", "imageIds": [{"imageTag": tag}]});
    assert_eq!(ok(aws, "BatchDeleteImage", removed)["failures"], json!([]));
}

/// The tags of an image of a registry. None if it has no such image.
fn tags(aws: &LocalAws, account: &str, region: &str, digest: &str) -> Option<Vec<String>> {
    let mut state = aws.state();
    let repository = state.registry(account, region).repositories.get("app")?;
    let image = repository.images.get(digest)?;
    Some(image.tags.iter().cloned().collect())
}

/// The events of a registry, each as its detail type, action and tag.
fn events_of(aws: &LocalAws, account: &str, region: &str) -> Vec<[String; 3]> {
    let state = aws.state();
    let here = state
        .events
        .iter()
        .filter(|event| event["account"] == account && event["region"] == region);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    here.map(|event| {
        let detail = &event["detail"];
        [&event["detail-type"], &detail["action-type"], &detail["image-tag"]].map(text)
    })
    .collect()
}

// API_DescribeRegistry, API_PutReplicationConfiguration, API_DeleteReplication
#[test]
fn the_rules_are_shown_as_they_were_put() {
    let aws = aws();
    let shown = |aws: &LocalAws| ok(aws, "DescribeRegistry", json!({}));
    let empty = json!({"registryId": ACCOUNT, "replicationConfiguration": {"rules": []}});
    assert_eq!(shown(&aws), empty);
    let mut with_filter = rule(OTHER, WEST, Some(true));
    with_filter["repositoryFilters"] = json!([{"filter": "prod", "filterType": "PREFIX_MATCH"}]);
    let rules = json!([rule(ACCOUNT, WEST, None), with_filter]);
    put(&aws, rules.clone());
    assert_eq!(shown(&aws)["replicationConfiguration"]["rules"], rules);
    for wrong in [
        json!({"destinations": [{"region": REGION, "registryId": ACCOUNT}]}),
        json!({"destinations": [{"region": WEST}]}),
        json!({"destinations": [], "repositoryFilters": []}),
        json!({"destinations": [], "repositoryFilters": [{"filter": "*", "filterType": "PREFIX_MATCH"}]}),
        json!({"destinations": [], "repositoryFilters": [{"filter": "ab", "filterType": "WILDCARD"}]}),
        json!({"destinations": [], "deleteReplication": {}}),
    ] {
        let input = json!({"replicationConfiguration": {"rules": [wrong]}});
        assert_eq!(
            refused(&aws, "PutReplicationConfiguration", input),
            "InvalidParameterException"
        );
    }
    assert_eq!(shown(&aws)["replicationConfiguration"]["rules"], rules);
}

// replication.html, ecr-eventbridge.html
#[test]
fn a_pushed_image_appears_in_another_region_with_its_digest_and_tags() {
    let aws = aws();
    let before = image(&aws, &["v0"]);
    put(&aws, json!([rule(ACCOUNT, WEST, None)]));
    let digest = image(&aws, &["v1", "latest"]);
    assert_eq!(tags(&aws, ACCOUNT, WEST, &before), None, "it was pushed before the rule");
    assert_eq!(tags(&aws, ACCOUNT, WEST, &digest).unwrap(), ["latest", "v1"]);
    let pulled = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]});
    let pulled = aws.by_hand_in((ACCOUNT, WEST), "BatchGetImage", &pulled).unwrap();
    assert_eq!(pulled["images"][0]["imageId"]["imageDigest"], digest);
    let event = aws.state().events.iter().find(|event| event["region"] == WEST).cloned().unwrap();
    assert_eq!(event["resources"], json!([format!("arn:aws:ecr:{WEST}:{ACCOUNT}:repository/app")]));
    assert_eq!(
        event["detail"],
        json!({
            "result": "SUCCESS",
            "repository-name": "app",
            "image-digest": digest,
            "source-account": ACCOUNT,
            "action-type": "REPLICATE",
            "source-region": REGION,
            "image-tag": "v1",
        })
    );
    let replicated = |tag: &str| ["ECR Replication Action", "REPLICATE", tag].map(str::to_owned);
    assert_eq!(events_of(&aws, ACCOUNT, WEST), [replicated("v1"), replicated("latest")]);
    // The repository that replication made has the settings of no other.
    let described = aws.by_hand_in((ACCOUNT, WEST), "DescribeRepositories", &json!({})).unwrap();
    assert_eq!(described["repositories"][0]["imageTagMutability"], "MUTABLE");
}

// A guess that the functions must be safe with.
#[test]
fn a_copy_may_be_a_push_in_the_events_of_its_destination() {
    let aws = aws();
    put(&aws, json!([rule(ACCOUNT, WEST, None)]));
    aws.state().registry(ACCOUNT, WEST).sends_push_events_of_copies = true;
    image(&aws, &["v1"]);
    let kinds: Vec<String> =
        events_of(&aws, ACCOUNT, WEST).into_iter().map(|[kind, ..]| kind).collect();
    assert_eq!(kinds, ["ECR Replication Action", "ECR Image Action"]);
}

// replication.html: "A replication action only occurs once per image push"
#[test]
fn replication_is_not_chained() {
    let aws = aws();
    put(&aws, json!([rule(ACCOUNT, WEST, Some(true))]));
    let rules = json!([rule(ACCOUNT, "eu-west-1", Some(true))]);
    let chain = json!({"replicationConfiguration": {"rules": rules}});
    aws.by_hand_in((ACCOUNT, WEST), "PutReplicationConfiguration", &chain).unwrap();
    let digest = image(&aws, &["v1"]);
    assert!(tags(&aws, ACCOUNT, WEST, &digest).is_some());
    assert_eq!(tags(&aws, ACCOUNT, "eu-west-1", &digest), None);
}

// replication.html: PREFIX_MATCH
#[test]
fn only_repositories_with_the_prefix_of_a_filter_are_replicated() {
    let aws = aws();
    let mut filtered = rule(ACCOUNT, WEST, None);
    let filter = |prefix: &str| json!({"filter": prefix, "filterType": "PREFIX_MATCH"});
    filtered["repositoryFilters"] = json!([filter("prod"), filter("apps")]);
    put(&aws, json!([filtered]));
    let digest = image(&aws, &["v1"]);
    assert_eq!(tags(&aws, ACCOUNT, WEST, &digest), None);
    filtered["repositoryFilters"] = json!([filter("prod"), filter("ap")]);
    put(&aws, json!([filtered]));
    let digest = image(&aws, &["v2"]);
    assert!(tags(&aws, ACCOUNT, WEST, &digest).is_some());
}

// replication.html: an image is replicated with what its manifest names
#[test]
fn an_index_is_replicated_with_its_images() {
    let aws = aws();
    let parts = [image(&aws, &[]), image(&aws, &[])];
    put(&aws, json!([rule(ACCOUNT, WEST, None)]));
    let digest = index(&aws, &[&parts[0], &parts[1]], Some("v1"));
    assert_eq!(tags(&aws, ACCOUNT, WEST, &digest).unwrap(), ["v1"]);
    for part in &parts {
        assert_eq!(tags(&aws, ACCOUNT, WEST, part).unwrap(), [""; 0]);
    }
    let state = aws.state();
    let events = state.events.iter().filter(|event| event["region"] == WEST);
    let named: Vec<&Value> = events.map(|event| &event["detail"]["image-digest"]).collect();
    assert_eq!(named, [&json!(digest)]);
}

// replication.html#replication-policy-clarification
#[test]
fn another_account_has_to_let_the_source_replicate() {
    let aws = aws();
    put(&aws, json!([rule(OTHER, REGION, Some(true))]));
    let digest = image(&aws, &["v1"]);
    assert_eq!(tags(&aws, OTHER, REGION, &digest), None);
    let allow = |actions: Value| {
        let statement = json!({
            "Sid": "Replicate",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
            "Action": actions,
            "Resource": [format!("arn:aws:ecr:{REGION}:{OTHER}:repository/*")],
        });
        let text = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let policy = json!({"policyText": text});
        aws.by_hand_in((OTHER, REGION), "PutRegistryPolicy", &policy).unwrap();
    };
    // Without the right to create it, the repository has to be there.
    allow(json!(["ecr:ReplicateImage"]));
    let digest = image(&aws, &["v2"]);
    assert_eq!(tags(&aws, OTHER, REGION, &digest), None);
    allow(json!(["ecr:CreateRepository", "ecr:ReplicateImage"]));
    let digest = image(&aws, &["v3"]);
    assert_eq!(tags(&aws, OTHER, REGION, &digest).unwrap(), ["v3"]);
    untag(&aws, "v3");
    assert_eq!(tags(&aws, OTHER, REGION, &digest), None);
}

// replication-delete.html
#[test]
fn deletions_and_removals_of_tags_are_replicated_if_the_rule_says_so() {
    for (deletes, is_carried) in [(Some(true), true), (Some(false), false), (None, false)] {
        let aws = aws();
        put(&aws, json!([rule(ACCOUNT, WEST, deletes)]));
        let [several, last, whole, expired] = [
            image(&aws, &["a1", "a2"]),
            image(&aws, &["b1"]),
            image(&aws, &["c1", "c2"]),
            image(&aws, &[]),
        ];
        untag(&aws, "a1");
        untag(&aws, "b1");
        let by_digest = json!({"repositoryName": "app", "imageIds": [{"imageDigest": whole}]});
        ok(&aws, "BatchDeleteImage", by_digest);
        let selection = json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1});
        let rules = json!({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]});
        let policy = json!({"repositoryName": "app", "lifecyclePolicyText": rules.to_string()});
        ok(&aws, "PutLifecyclePolicy", policy);
        aws.advance(DAY * 2);
        let there = |digest: &str| tags(&aws, ACCOUNT, WEST, digest);
        if is_carried {
            assert_eq!(there(&several).unwrap(), ["a2"]);
            for digest in [&last, &whole, &expired] {
                assert_eq!(there(digest), None);
            }
        } else {
            assert_eq!(there(&several).unwrap(), ["a1", "a2"]);
            assert_eq!(there(&last).unwrap(), ["b1"]);
            assert_eq!(there(&whole).unwrap(), ["c1", "c2"]);
            assert_eq!(there(&expired).unwrap(), [""; 0]);
        }
    }
}

// replication-delete.html: "removes the same tag from the image"
#[test]
fn a_tag_of_another_image_of_the_destination_stays() {
    let aws = aws();
    put(&aws, json!([rule(ACCOUNT, WEST, Some(true))]));
    let digest = image(&aws, &["v1", "v2"]);
    let other = {
        let mut state = aws.state();
        let now = state.now();
        state.registry(ACCOUNT, WEST).push_made_up("app", &["v1"], now).unwrap()
    };
    untag(&aws, "v1");
    assert_eq!(tags(&aws, ACCOUNT, WEST, &digest).unwrap(), ["v2"]);
    assert_eq!(tags(&aws, ACCOUNT, WEST, &other).unwrap(), ["v1"]);
}

// replication.html: immutability, archive
#[test]
fn the_destination_keeps_its_immutable_tags_and_its_own_archive() {
    let aws = aws();
    put(&aws, json!([rule(ACCOUNT, WEST, Some(true))]));
    let first = image(&aws, &["v1"]);
    let immutable = json!({"repositoryName": "app", "imageTagMutability": "IMMUTABLE"});
    aws.by_hand_in((ACCOUNT, WEST), "PutImageTagMutability", &immutable).unwrap();
    let second = image(&aws, &["v1"]);
    assert_eq!(tags(&aws, ACCOUNT, WEST, &first).unwrap(), ["v1"]);
    assert_eq!(tags(&aws, ACCOUNT, WEST, &second).unwrap(), [""; 0]);
    let storage = |class: &str| json!({"repositoryName": "app", "imageId": {"imageDigest": second}, "targetStorageClass": class});
    let status = |region: &str| {
        let mut state = aws.state();
        state.registry(ACCOUNT, region).image("app", &second).unwrap().status
    };
    ok(&aws, "UpdateImageStorageClass", storage("ARCHIVE"));
    assert_eq!((status(REGION), status(WEST)), (Status::Archived, Status::Active));
    // A restored image is replicated, and the copy is restored.
    let archive = storage("ARCHIVE");
    aws.by_hand_in((ACCOUNT, WEST), "UpdateImageStorageClass", &archive).unwrap();
    ok(&aws, "UpdateImageStorageClass", storage("STANDARD"));
    assert_eq!(status(WEST), Status::Archived);
    aws.advance(DAY);
    assert_eq!((status(REGION), status(WEST)), (Status::Active, Status::Active));
}
