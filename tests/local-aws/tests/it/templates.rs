//! Repository creation templates.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html>

use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Value, json};

use crate::content::manifest;
use crate::port::Port;
use crate::{aws, ok, refused};

const WEST: &str = "us-west-2";
const LIFECYCLE: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}"#;

/// Creates a template for a prefix in the registry of a region.
fn template(aws: &LocalAws, region: &str, prefix: &str, applied_for: &[&str], mutability: &str) {
    let input = json!({
        "prefix": prefix,
        "appliedFor": applied_for,
        "imageTagMutability": mutability,
        "lifecyclePolicy": LIFECYCLE,
        "resourceTags": [{"Key": "by", "Value": prefix}],
    });
    aws.by_hand_in((ACCOUNT, region), "CreateRepositoryCreationTemplate", &input).unwrap();
}

fn repository(aws: &LocalAws, region: &str, name: &str) -> Option<Value> {
    let names = json!({"repositoryNames": [name]});
    let described = aws.by_hand_in((ACCOUNT, region), "DescribeRepositories", &names).ok()?;
    Some(described["repositories"][0].clone())
}

/// Begins a push to a repository.
fn push(aws: &LocalAws, name: &str) -> Result<Value, local_aws::ecr::Error> {
    let input = json!({"repositoryName": name});
    aws.by_hand("InitiateLayerUpload", &input)
}

#[test]
fn a_repository_appears_with_its_first_push_as_its_template_says() {
    let aws = aws();
    assert_eq!(push(&aws, "prod/web").unwrap_err().code, "RepositoryNotFoundException");
    template(&aws, REGION, "prod", &["CREATE_ON_PUSH"], "IMMUTABLE");
    push(&aws, "prod/web").unwrap();
    let made = repository(&aws, REGION, "prod/web").unwrap();
    assert_eq!(made["imageTagMutability"], "IMMUTABLE");
    let name = json!({"repositoryName": "prod/web"});
    assert_eq!(ok(&aws, "GetLifecyclePolicy", name)["lifecyclePolicyText"], LIFECYCLE);
    let tags = ok(&aws, "ListTagsForResource", json!({"resourceArn": made["repositoryArn"]}));
    assert_eq!(tags["tags"], json!([{"Key": "by", "Value": "prod"}]));
    // A prefix ends at a slash, and the template does not apply to other names.
    for name in ["production/web", "prod", "dev/web"] {
        assert_eq!(push(&aws, name).unwrap_err().code, "RepositoryNotFoundException");
    }
    // An existing repository is not changed.
    template(&aws, REGION, "ROOT", &["CREATE_ON_PUSH"], "IMMUTABLE");
    push(&aws, "app").unwrap();
    assert_eq!(repository(&aws, REGION, "app").unwrap()["imageTagMutability"], "MUTABLE");
}

#[test]
fn the_longest_prefix_decides_and_root_is_for_the_others() {
    let aws = aws();
    template(&aws, REGION, "ROOT", &["CREATE_ON_PUSH"], "IMMUTABLE");
    template(&aws, REGION, "prod", &["CREATE_ON_PUSH"], "MUTABLE");
    template(&aws, REGION, "prod/team", &["REPLICATION", "CREATE_ON_PUSH"], "IMMUTABLE");
    // A push does not use a template for replication alone.
    template(&aws, REGION, "prod/team/web", &["REPLICATION"], "MUTABLE");
    for (name, mutability) in [
        ("web", "IMMUTABLE"),
        ("prod/web", "MUTABLE"),
        ("prod/team/web", "IMMUTABLE"),
        ("prod/team/web/one", "IMMUTABLE"),
    ] {
        push(&aws, name).unwrap();
        let made = repository(&aws, REGION, name).unwrap();
        assert_eq!(made["imageTagMutability"], mutability, "{name}");
    }
}

#[test]
fn replication_creates_a_repository_as_the_template_of_the_destination_says() {
    let aws = aws();
    template(&aws, WEST, "ROOT", &["REPLICATION"], "IMMUTABLE");
    let destination = json!({"region": WEST, "registryId": ACCOUNT});
    let rules = json!({"rules": [{"destinations": [destination]}]});
    ok(&aws, "PutReplicationConfiguration", json!({"replicationConfiguration": rules}));
    let image = manifest(&aws, "layer").to_string();
    ok(
        &aws,
        "PutImage",
        json!({"repositoryName": "app", "imageManifest": image, "imageTag": "v1"}),
    );
    assert_eq!(repository(&aws, WEST, "app").unwrap()["imageTagMutability"], "IMMUTABLE");
}

/// `docker push` asks for an upload first.
#[tokio::test]
async fn a_push_by_the_protocol_creates_a_repository_too() {
    let port = Port::open().await;
    template(&port.aws, REGION, "ROOT", &["CREATE_ON_PUSH"], "IMMUTABLE");
    let token = port.call("GetAuthorizationToken", json!({})).await.unwrap().json();
    let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap().to_owned();
    let uploads = "/v2/prod/web/blobs/uploads/";
    let begun = port.v2_by(&token, "POST", uploads, &[], b"").await;
    assert_eq!(begun.status, 202);
    assert_eq!(
        repository(&port.aws, REGION, "prod/web").unwrap()["imageTagMutability"],
        "IMMUTABLE"
    );
    let read = port.v2_by(&token, "GET", "/v2/prod/other/tags/list", &[], b"").await;
    assert_eq!(read.status, 404);
}

// API_CreateRepositoryCreationTemplate, API_DescribeRepositoryCreationTemplates
#[test]
fn templates_are_shown_by_their_prefixes() {
    let aws = aws();
    for prefix in ["b/", "a", "ROOT"] {
        template(&aws, REGION, prefix, &["REPLICATION"], "MUTABLE");
    }
    let list = |input: Value| -> Vec<Value> {
        let found = ok(&aws, "DescribeRepositoryCreationTemplates", input);
        let found = found["repositoryCreationTemplates"].as_array().unwrap();
        found.iter().map(|template| template["prefix"].clone()).collect()
    };
    assert_eq!(list(json!({})), ["ROOT", "a", "b"]);
    assert_eq!(list(json!({"prefixes": ["a"]})), ["a"]);
    assert_eq!(list(json!({"maxResults": 2})), ["ROOT", "a"]);
    for (input, code) in [
        (json!({"prefix": "a", "appliedFor": []}), "TemplateAlreadyExistsException"),
        (json!({"prefix": "A", "appliedFor": []}), "InvalidParameterException"),
        (json!({"prefix": "c", "appliedFor": ["PULL"]}), "InvalidParameterException"),
        (json!({"prefix": "c"}), "InvalidParameterException"),
        (
            json!({"prefix": "c", "appliedFor": [], "lifecyclePolicy": "{}"}),
            "InvalidParameterException",
        ),
    ] {
        assert_eq!(refused(&aws, "CreateRepositoryCreationTemplate", input), code);
    }
}
