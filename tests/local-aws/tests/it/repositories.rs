//! Repositories: made, described, tagged, set and deleted.

use serde_json::{Value, json};

use crate::content::image;
use crate::{NOW, aws, ok, pages, refused};

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
#[test]
fn a_new_repository_is_mutable_not_scanned_and_encrypted_with_aes256() {
    let aws = aws();
    let created = ok(&aws, "CreateRepository", json!({"repositoryName": "team-a/web"}));
    let expected = json!({
        "repositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/team-a/web",
        "registryId": "123456789012",
        "repositoryName": "team-a/web",
        "repositoryUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/team-a/web",
        "createdAt": NOW,
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": false},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    });
    assert_eq!(created["repository"], expected);
    let described = ok(&aws, "DescribeRepositories", json!({"repositoryNames": ["team-a/web"]}));
    assert_eq!(described["repositories"], json!([expected]));
}

// Model: CreateRepositoryRequest
#[test]
fn a_repository_is_described_with_its_settings() {
    let aws = aws();
    let filters = json!([{"filterType": "WILDCARD", "filter": "dev-*"}]);
    let created = ok(
        &aws,
        "CreateRepository",
        json!({
            "repositoryName": "set",
            "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": filters,
            "imageScanningConfiguration": {"scanOnPush": true},
            "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "alias/ours"},
            "tags": [{"Key": "team", "Value": "a"}],
        }),
    );
    let created = &created["repository"];
    assert_eq!(created["imageTagMutability"], "IMMUTABLE_WITH_EXCLUSION");
    assert_eq!(created["imageTagMutabilityExclusionFilters"], filters);
    assert_eq!(created["imageScanningConfiguration"], json!({"scanOnPush": true}));
    let encryption = json!({"encryptionType": "KMS", "kmsKey": "alias/ours"});
    assert_eq!(created["encryptionConfiguration"], encryption);
    let tags = ok(&aws, "ListTagsForResource", json!({"resourceArn": created["repositoryArn"]}));
    assert_eq!(tags, json!({"tags": [{"Key": "team", "Value": "a"}]}));
}

// Model: RepositoryAlreadyExistsException
#[test]
fn a_name_exists_once() {
    let aws = aws();
    let again = json!({"repositoryName": "app"});
    assert_eq!(refused(&aws, "CreateRepository", again), "RepositoryAlreadyExistsException");
}

// Model: RepositoryName
#[test]
fn names_follow_the_pattern_of_the_model() {
    let aws = aws();
    let longest = "a".repeat(256);
    for name in ["ab", "a/b", "0a", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c-d.e", &longest] {
        ok(&aws, "CreateRepository", json!({"repositoryName": name}));
    }
    let too_long = "a".repeat(257);
    let bad = ["", "a", "Ab", "aB", "-ab", "ab-", "a..b", "a___b", "a//b", "/ab", "ab/", "a b"];
    for name in bad.into_iter().chain([too_long.as_str()]) {
        let code = refused(&aws, "CreateRepository", json!({"repositoryName": name}));
        assert_eq!(code, "InvalidParameterException", "{name}");
    }
}

// Model: RepositoryNotFoundException
#[test]
fn nothing_is_done_in_a_repository_that_does_not_exist() {
    let aws = aws();
    let id = json!({"imageTag": "v1"});
    let policy = "x".repeat(100);
    let digest = format!("sha256:{}", "0".repeat(64));
    let upload = "00000000-0000-4000-8000-000000000000";
    let calls = [
        ("BatchCheckLayerAvailability", json!({"layerDigests": [digest]})),
        ("BatchDeleteImage", json!({"imageIds": [id]})),
        ("BatchGetImage", json!({"imageIds": [id]})),
        ("CompleteLayerUpload", json!({"uploadId": upload, "layerDigests": [digest]})),
        ("DeleteLifecyclePolicy", json!({})),
        ("DeleteRepository", json!({})),
        ("DeleteRepositoryPolicy", json!({})),
        ("DescribeImageScanFindings", json!({"imageId": id})),
        ("DescribeImages", json!({})),
        ("GetDownloadUrlForLayer", json!({"layerDigest": digest})),
        ("GetLifecyclePolicy", json!({})),
        ("GetLifecyclePolicyPreview", json!({})),
        ("GetRepositoryPolicy", json!({})),
        ("InitiateLayerUpload", json!({})),
        ("ListImageReferrers", json!({"subjectId": {"imageDigest": digest}})),
        ("ListImages", json!({})),
        ("PutImageScanningConfiguration", json!({"imageScanningConfiguration": {}})),
        ("PutImageTagMutability", json!({"imageTagMutability": "MUTABLE"})),
        ("PutLifecyclePolicy", json!({"lifecyclePolicyText": policy})),
        ("SetRepositoryPolicy", json!({"policyText": "{\"Statement\":[]}"})),
        ("StartImageScan", json!({"imageId": id})),
        ("StartLifecyclePolicyPreview", json!({"lifecyclePolicyText": policy})),
        ("UpdateImageStorageClass", json!({"imageId": id, "targetStorageClass": "ARCHIVE"})),
    ];
    for (operation, input) in calls {
        let input = crate::with(json!({"repositoryName": "gone"}), input);
        assert_eq!(refused(&aws, operation, input), "RepositoryNotFoundException", "{operation}");
    }
    let names = json!({"repositoryNames": ["app", "gone"]});
    assert_eq!(refused(&aws, "DescribeRepositories", names), "RepositoryNotFoundException");
}

// Model: DescribeRepositoriesRequest
#[test]
fn repositories_are_listed_in_pages() {
    let aws = aws();
    for name in ["b1", "b2", "b3", "b4"] {
        ok(&aws, "CreateRepository", json!({"repositoryName": name}));
    }
    let pages = pages(&aws, "DescribeRepositories", &json!({"maxResults": 2}), "repositories");
    let names = |page: &Vec<Value>| {
        page.iter()
            .map(|repository| repository["repositoryName"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let names: Vec<Vec<String>> = pages.iter().map(names).collect();
    assert_eq!(names, [vec!["app", "b1"], vec!["b2", "b3"], vec!["b4"]]);
    let bad = json!({"nextToken": "not a token"});
    assert_eq!(refused(&aws, "DescribeRepositories", bad), "InvalidParameterException");
    let both = json!({"repositoryNames": ["app"], "maxResults": 2});
    assert_eq!(refused(&aws, "DescribeRepositories", both), "InvalidParameterException");
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-delete.html
#[test]
fn a_repository_with_images_is_deleted_only_by_force() {
    let aws = aws();
    image(&aws, &["v1"]);
    let input = json!({"repositoryName": "app"});
    assert_eq!(refused(&aws, "DeleteRepository", input.clone()), "RepositoryNotEmptyException");
    let deleted = ok(&aws, "DeleteRepository", json!({"repositoryName": "app", "force": true}));
    assert_eq!(deleted["repository"]["repositoryName"], "app");
    assert_eq!(refused(&aws, "DeleteRepository", input), "RepositoryNotFoundException");
    ok(&aws, "CreateRepository", json!({"repositoryName": "app"}));
    ok(&aws, "DeleteRepository", json!({"repositoryName": "app"}));
}

const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/app";

fn tags(names: std::ops::Range<usize>) -> Value {
    names.map(|n| json!({"Key": format!("key-{n}"), "Value": ""})).collect()
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
#[test]
fn a_repository_has_at_most_fifty_tags() {
    let aws = aws();
    let input = json!({"repositoryName": "full", "tags": tags(0..50)});
    ok(&aws, "CreateRepository", input);
    let input = json!({"repositoryName": "more", "tags": tags(0..51)});
    assert_eq!(refused(&aws, "CreateRepository", input), "TooManyTagsException");
    ok(&aws, "TagResource", json!({"resourceArn": ARN, "tags": tags(0..49)}));
    let two = json!({"resourceArn": ARN, "tags": tags(49..51)});
    assert_eq!(refused(&aws, "TagResource", two), "TooManyTagsException");
    // A tag that exists does not count twice, and a refused call adds no tag.
    ok(&aws, "TagResource", json!({"resourceArn": ARN, "tags": tags(0..50)}));
    let listed = ok(&aws, "ListTagsForResource", json!({"resourceArn": ARN}));
    assert_eq!(listed["tags"].as_array().unwrap().len(), 50);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
#[test]
fn the_keys_and_values_of_tags_have_a_longest_and_are_not_aws() {
    let aws = aws();
    let tag = |key: &str, value: &str| json!({"resourceArn": ARN, "tags": [{"Key": key, "Value": value}]});
    ok(&aws, "TagResource", tag(&"ä".repeat(128), &"ö".repeat(256)));
    for (key, value) in [
        ("k".repeat(129), String::new()),
        ("k".into(), "v".repeat(257)),
        ("aws:k".into(), "v".into()),
    ] {
        let code = refused(&aws, "TagResource", tag(&key, &value));
        assert_eq!(code, "InvalidTagParameterException", "{key} {value}");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_TagResource.html
#[test]
fn tagging_changes_no_other_tags_and_untagging_takes_keys_that_are_not_there() {
    let aws = aws();
    let tag = |key: &str, value: &str| json!({"resourceArn": ARN, "tags": [{"Key": key, "Value": value}]});
    ok(&aws, "TagResource", tag("a", "1"));
    ok(&aws, "TagResource", tag("b", "2"));
    ok(&aws, "TagResource", tag("a", "3"));
    let listed = ok(&aws, "ListTagsForResource", json!({"resourceArn": ARN}));
    assert_eq!(listed["tags"], json!([{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]));
    ok(&aws, "UntagResource", json!({"resourceArn": ARN, "tagKeys": ["a", "c"]}));
    let listed = ok(&aws, "ListTagsForResource", json!({"resourceArn": ARN}));
    assert_eq!(listed["tags"], json!([{"Key": "b", "Value": "2"}]));
    let gone = json!({"resourceArn": ARN.replace("/app", "/gone")});
    assert_eq!(refused(&aws, "ListTagsForResource", gone), "RepositoryNotFoundException");
    let no_arn = json!({"resourceArn": "app"});
    assert_eq!(refused(&aws, "ListTagsForResource", no_arn), "InvalidParameterException");
}

// Model: SetRepositoryPolicyRequest, RepositoryPolicyNotFoundException
#[test]
fn a_repository_has_at_most_one_policy() {
    let aws = aws();
    let app = || json!({"repositoryName": "app"});
    let missing = "RepositoryPolicyNotFoundException";
    assert_eq!(refused(&aws, "GetRepositoryPolicy", app()), missing);
    assert_eq!(refused(&aws, "DeleteRepositoryPolicy", app()), missing);
    let bad = json!({"repositoryName": "app", "policyText": "{"});
    assert_eq!(refused(&aws, "SetRepositoryPolicy", bad), "InvalidParameterException");
    let one = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*"}]}"#;
    for policy in [r#"{"Version":"2012-10-17","Statement":[]}"#, one] {
        let set = json!({"repositoryName": "app", "policyText": policy});
        let answer =
            json!({"registryId": "123456789012", "repositoryName": "app", "policyText": policy});
        assert_eq!(ok(&aws, "SetRepositoryPolicy", set), answer);
        assert_eq!(ok(&aws, "GetRepositoryPolicy", app()), answer);
    }
    ok(&aws, "DeleteRepositoryPolicy", app());
    assert_eq!(refused(&aws, "GetRepositoryPolicy", app()), missing);
}
