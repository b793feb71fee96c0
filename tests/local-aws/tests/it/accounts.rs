//! Registries: one for each account in each region.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html>

use local_aws::{ACCOUNT, REGION};
use serde_json::{Value, json};

use crate::port::Port;
use crate::refused;

const OTHER: &str = "210987654321";

// Registries.html
#[tokio::test]
async fn accounts_and_regions_do_not_see_each_other() {
    let port = Port::open().await;
    let registries = [(ACCOUNT, "eu-west-1"), (OTHER, REGION), (OTHER, "eu-west-1")];
    for (account, region) in registries {
        let list = port.signed(account, region, "DescribeRepositories", &json!({})).await.unwrap();
        assert_eq!(list.json(), json!({"repositories": []}));
        let create = json!({"repositoryName": "app"});
        let made = port.signed(account, region, "CreateRepository", &create).await.unwrap().json();
        let arn = format!("arn:aws:ecr:{region}:{account}:repository/app");
        assert_eq!(made["repository"]["repositoryArn"], arn);
        assert_eq!(made["repository"]["registryId"], account);
        let uri = format!("{account}.dkr.ecr.{region}.amazonaws.com/app");
        assert_eq!(made["repository"]["repositoryUri"], uri);
        let delete = port.signed(account, region, "DeleteRepository", &create).await.unwrap();
        assert_eq!(delete.status, 200);
    }
    let list = port.call("DescribeRepositories", json!({})).await.unwrap().json();
    assert_eq!(list["repositories"].as_array().unwrap().len(), 1);
}

// Model: registryId
#[tokio::test]
async fn another_accounts_registry_is_closed() {
    let port = Port::open().await;
    let input = |account: &str| json!({"repositoryName": "app", "registryId": account});
    assert_eq!(refused(&port.aws, "ListImages", input(OTHER)), "AccessDeniedException");
    let own = port.call("ListImages", input(ACCOUNT)).await.unwrap();
    assert_eq!(own.status, 200);
    let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/app");
    let tags =
        port.signed(OTHER, REGION, "ListTagsForResource", &json!({"resourceArn": arn})).await;
    assert_eq!(tags.unwrap().status, 400);
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
#[tokio::test]
async fn a_token_is_valid_for_the_registry_that_issued_it() {
    let port = Port::open().await;
    crate::content::image(&port.aws, &["v1"]);
    for (account, region, status) in
        [(ACCOUNT, REGION, 200), (OTHER, REGION, 404), (ACCOUNT, "eu-west-1", 404)]
    {
        let token = port.signed(account, region, "GetAuthorizationToken", &json!({})).await;
        let token = token.unwrap().json()["authorizationData"][0]["authorizationToken"].clone();
        let token = token.as_str().unwrap();
        let found = port.v2_by(token, "GET", "/v2/app/manifests/v1", &[], b"").await;
        assert_eq!(found.status, status, "{account} {region}");
    }
}

// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
#[tokio::test]
async fn an_event_names_its_account_and_region() {
    let port = Port::open().await;
    let create = json!({"repositoryName": "app"});
    port.signed(OTHER, "eu-west-1", "CreateRepository", &create).await.unwrap();
    {
        let mut state = port.aws.state();
        state.registry(OTHER, "eu-west-1").push_made_up("app", &["v1"], crate::NOW).unwrap();
    }
    crate::content::image(&port.aws, &["v2"]);
    let state = port.aws.state();
    let place = |event: &Value| {
        (event["account"].clone(), event["region"].clone(), event["detail"]["image-tag"].clone())
    };
    let mut sent: Vec<_> = state.events.iter().map(place).collect();
    sent.sort_by_key(|(account, ..)| account.to_string());
    let expected = [(ACCOUNT, REGION, "v2"), (OTHER, "eu-west-1", "v1")];
    let expected = expected.map(|(a, b, c)| (json!(a), json!(b), json!(c)));
    assert_eq!(sent, expected);
}
