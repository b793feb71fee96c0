//! The record of calls, and what can be made to go wrong with them.

use std::time::{Duration, Instant};

use local_aws::{ACCOUNT, Fault, REGION, inspector};
use serde_json::json;

use crate::content::image;
use crate::ok;
use crate::port::Port;

fn create(name: &str) -> serde_json::Value {
    json!({"repositoryName": name})
}

fn exists(port: &Port, name: &str) -> bool {
    let names = json!({"repositoryNames": [name]});
    port.aws.by_hand("DescribeRepositories", &names).is_ok()
}

// `Called`
#[tokio::test]
async fn calls_are_recorded_with_who_called_and_calls_by_hand_are_not() {
    let port = Port::open().await;
    image(&port.aws, &["v1"]);
    port.call("ListImages", create("app")).await.unwrap();
    port.signed("AKIDEXAMPLE", "eu-west-1", "CreateRepository", &create("new")).await.unwrap();
    port.signed("210987654321", REGION, "DescribeImages", &create("app")).await.unwrap();
    port.v2("GET", "/v2/app/manifests/v1", &[], b"").await;
    let calls: Vec<_> = {
        let state = port.aws.state();
        let calls = state.calls.iter();
        calls
            .map(|call| {
                [&call.service, &call.operation, &call.account, &call.region].map(String::clone)
            })
            .collect()
    };
    let expected = [
        ["ecr", "ListImages", ACCOUNT, REGION],
        ["ecr", "CreateRepository", ACCOUNT, "eu-west-1"],
        ["ecr", "DescribeImages", "210987654321", REGION],
        ["ecr", "BatchGetImage", ACCOUNT, REGION],
    ];
    assert_eq!(calls, expected);
    assert_eq!(port.aws.take_changes(), ["CreateRepository"]);
    assert!(port.aws.take_changes().is_empty());
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonErrors.html: the session token
#[tokio::test]
async fn the_session_token_of_a_call_is_recorded() {
    let port = Port::open().await;
    let headers = [
        ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"),
        ("x-amz-security-token", "arn:aws:iam::123456789012:role/ours"),
    ];
    port.send("POST", "/", &headers, b"{}").await.unwrap();
    let state = port.aws.state();
    assert_eq!(state.calls[0].token.as_deref(), Some("arn:aws:iam::123456789012:role/ours"));
}

// `Fault::Error`, `LocalAws::fault`
#[tokio::test]
async fn the_nth_call_from_now_on_fails_and_is_not_done() {
    let port = Port::open().await;
    port.call("CreateRepository", create("one")).await.unwrap();
    port.aws.fault("CreateRepository", 2, Fault::Error(400, "ThrottlingException"));
    for (name, status) in [("two", 200), ("three", 400), ("four", 200)] {
        let answer = port.call("CreateRepository", create(name)).await.unwrap();
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(exists(&port, name), status == 200, "{name}");
    }
    // Neither another operation nor a call by hand.
    port.aws.fault("CreateRepository", 0, Fault::Error(500, "ServerException"));
    assert_eq!(port.call("DescribeRepositories", json!({})).await.unwrap().status, 200);
    ok(&port.aws, "CreateRepository", create("five"));
    for name in ["six", "seven"] {
        let answer = port.call("CreateRepository", create(name)).await.unwrap();
        assert_eq!(answer.error(), (500, "ServerException".to_owned()));
    }
    port.aws.heal();
    assert_eq!(port.call("CreateRepository", create("six")).await.unwrap().status, 200);
}

// `Fault::ResetBefore`, `Fault::ResetAfter`
#[tokio::test]
async fn a_connection_breaks_before_or_after_the_call() {
    let port = Port::open().await;
    port.aws.fault("CreateRepository", 1, Fault::ResetBefore);
    port.aws.fault("CreateRepository", 2, Fault::ResetAfter);
    assert!(port.call("CreateRepository", create("before")).await.is_none());
    assert!(port.call("CreateRepository", create("after")).await.is_none());
    assert_eq!((exists(&port, "before"), exists(&port, "after")), (false, true));
    assert_eq!(port.aws.take_changes(), ["CreateRepository", "CreateRepository"]);
    let after = port.call("CreateRepository", create("after")).await.unwrap();
    assert_eq!(after.error().1, "RepositoryAlreadyExistsException");
}

// `Fault::Slow`, `Fault::Hang`
#[tokio::test]
async fn a_slow_answer_delays_no_other_call() {
    let port = Port::open().await;
    let by = Duration::from_secs(1);
    port.aws.fault("ListImages", 1, Fault::Slow(by));
    port.aws.fault("DescribeImages", 1, Fault::Hang);
    let begun = Instant::now();
    let hanging = tokio::time::timeout(by * 2, port.call("DescribeImages", create("app")));
    let slow = async {
        let answer = port.call("ListImages", create("app")).await.unwrap();
        (answer.status, begun.elapsed())
    };
    let quick = async {
        port.call("DescribeRepositories", json!({})).await.unwrap();
        begun.elapsed()
    };
    let (hanging, (status, slow), quick) = tokio::join!(hanging, slow, quick);
    assert!(hanging.is_err());
    assert_eq!(status, 200);
    assert!(slow >= by && quick < by, "{slow:?} {quick:?}");
}

// `Fault::Error`, in the registry's own protocol
#[tokio::test]
async fn the_registrys_protocol_fails_under_the_names_of_the_api() {
    let port = Port::open().await;
    image(&port.aws, &["v1"]);
    port.aws.fault("BatchGetImage", 1, Fault::Error(503, "ServerException"));
    port.aws.fault("ListImages", 1, Fault::ResetBefore);
    let path = "/v2/app/manifests/v1";
    assert_eq!(port.v2("GET", path, &[], b"").await.status, 503);
    assert_eq!(port.v2("GET", path, &[], b"").await.status, 200);
    let token = ok(&port.aws, "GetAuthorizationToken", json!({}));
    let token = token["authorizationData"][0]["authorizationToken"].as_str().unwrap();
    let headers = [("authorization", format!("Basic {token}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert!(port.send("GET", "/v2/app/tags/list", &headers, b"").await.is_none());
}

// `Fault::Panic`
#[tokio::test]
async fn a_panic_ends_one_connection_and_not_the_port() {
    let port = Port::open().await;
    port.aws.fault("ListImages", 1, Fault::Panic);
    assert!(port.call("ListImages", create("app")).await.is_none());
    assert_eq!(port.call("ListImages", create("app")).await.unwrap().status, 200);
}

// `Fault::Error`, of a service that has its operations in the path
#[tokio::test]
async fn calls_of_inspector_are_recorded_and_go_wrong_by_their_operation() {
    let port = Port::open().await;
    let credential = format!("Credential={ACCOUNT}/20270115/{REGION}/inspector2/aws4_request");
    let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let image = inspector::image_arn("app", "sha256:0");
    let clusters = json!({"filter": {"resourceId": image}}).to_string();
    let ask = async |path: &str, body: &str| {
        let answer = port.send("POST", path, &headers, body.as_bytes()).await?;
        Some((answer.status, answer.header("x-amzn-errortype").to_owned()))
    };
    port.aws.fault("ListCoverage", 2, Fault::Error(403, "AccessDeniedException"));
    port.aws.fault("ListCoverage", 3, Fault::Error(429, "ThrottlingException"));
    port.aws.fault("GetClustersForImage", 1, Fault::ResetBefore);
    let expected = [(200, ""), (403, "AccessDeniedException"), (429, "ThrottlingException")];
    for (status, code) in expected {
        assert_eq!(ask("/coverage/list", "{}").await, Some((status, code.to_owned())));
    }
    assert_eq!(ask("/cluster/get", &clusters).await, None);
    assert_eq!(ask("/cluster/get", &clusters).await, Some((200, String::new())));
    assert!(port.aws.take_changes().is_empty());
    port.aws.fault("ListCoverage", 0, Fault::Error(500, "InternalServerException"));
    assert_eq!(ask("/coverage/list", "{}").await.map(|(status, _)| status), Some(500));
    let calls = std::mem::take(&mut port.aws.state().calls);
    let calls: Vec<_> =
        calls.iter().map(|call| (call.service.as_str(), call.operation.as_str())).collect();
    assert_eq!(calls, [("inspector2", "ListCoverage")]);
}
