//! Tags that stay where they are.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{described, manifest, put};
use crate::{aws, ok, refused};

#[track_caller]
fn set(aws: &LocalAws, mutability: &str, filters: &[&str]) -> Value {
    let filter = |it: &&str| json!({"filterType": "WILDCARD", "filter": it});
    let filters: Vec<Value> = filters.iter().map(filter).collect();
    let mut input = json!({"repositoryName": "app", "imageTagMutability": mutability});
    if !filters.is_empty() {
        input["imageTagMutabilityExclusionFilters"] = filters.into();
    }
    ok(aws, "PutImageTagMutability", input)
}

/// Pushes another image with a tag that an image has, and returns the outcome.
fn move_tag(aws: &LocalAws, tag: &str) -> Result<(), &'static str> {
    put(aws, &manifest(aws, &format!("{tag} first")), Some(tag));
    let second = manifest(aws, &format!("{tag} second")).to_string();
    let input = json!({"repositoryName": "app", "imageManifest": second, "imageTag": tag});
    aws.by_hand("PutImage", &input).map(drop).map_err(|error| error.code)
}

const REFUSED: Result<(), &str> = Err("ImageTagAlreadyExistsException");

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
#[test]
fn an_immutable_tag_does_not_move() {
    let aws = aws();
    set(&aws, "IMMUTABLE", &[]);
    assert_eq!(move_tag(&aws, "v1"), REFUSED);
    set(&aws, "MUTABLE", &[]);
    assert_eq!(move_tag(&aws, "v2"), Ok(()));
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
#[test]
fn tags_that_match_a_filter_move_in_an_immutable_repository() {
    let aws = aws();
    set(&aws, "IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"]);
    for (tag, moved) in [
        ("latest", Ok(())),
        ("dev-1", Ok(())),
        ("dev-", Ok(())),
        ("latest2", REFUSED),
        ("adev-1", REFUSED),
        ("v1", REFUSED),
    ] {
        assert_eq!(move_tag(&aws, tag), moved, "{tag}");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
#[test]
fn tags_that_match_a_filter_stay_in_a_mutable_repository() {
    let aws = aws();
    set(&aws, "MUTABLE_WITH_EXCLUSION", &["v*", "*-final", "r*.*0"]);
    for (tag, moved) in [
        ("v1", REFUSED),
        ("x-final", REFUSED),
        ("r1.10", REFUSED),
        ("r1.1", Ok(())),
        ("x-final2", Ok(())),
        ("latest", Ok(())),
    ] {
        assert_eq!(move_tag(&aws, tag), moved, "{tag}");
    }
}

// Model: ImageTagAlreadyExistsException, ImageAlreadyExistsException
#[test]
fn an_immutable_tag_and_a_push_without_a_change_are_different_errors() {
    let aws = aws();
    set(&aws, "IMMUTABLE", &[]);
    let manifest = manifest(&aws, "layer");
    let digest = put(&aws, &manifest, Some("v1"));
    let input =
        json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": "v1"});
    assert_eq!(refused(&aws, "PutImage", input), "ImageAlreadyExistsException");
    put(&aws, &manifest, Some("v2"));
    assert_eq!(described(&aws, &digest)["imageTags"], json!(["v1", "v2"]));
}

// Model: PutImageTagMutabilityResponse
#[test]
fn filters_go_with_the_mutability_that_had_them() {
    let aws = aws();
    let filters = json!([{"filterType": "WILDCARD", "filter": "a*"}]);
    let answer = set(&aws, "MUTABLE_WITH_EXCLUSION", &["a*"]);
    let expected = json!({
        "registryId": "123456789012",
        "repositoryName": "app",
        "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": filters,
    });
    assert_eq!(answer, expected);
    set(&aws, "IMMUTABLE", &[]);
    let described = ok(&aws, "DescribeRepositories", json!({"repositoryNames": ["app"]}));
    let described = &described["repositories"][0];
    assert_eq!(described["imageTagMutability"], "IMMUTABLE");
    assert_eq!(described.get("imageTagMutabilityExclusionFilters"), None);
}
