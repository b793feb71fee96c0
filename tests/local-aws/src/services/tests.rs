//! Tests of the services other than ECR and IAM.

mod dynamodb;
mod sns;

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::*;
use crate::inspector::{Coverage, image_arn};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";

async fn send(services: &Services, service: &str, target: &str, body: String) -> (u16, String) {
    send_from(services, service, target, body, "AKIDEXAMPLE/20261124/us-east-1").await
}

/// The same, signed for `key` and region, as in `AKIDEXAMPLE/20261124/us-east-1`.
async fn send_from(
    services: &Services,
    service: &str,
    target: &str,
    body: String,
    scope: &str,
) -> (u16, String) {
    assert!(services.serves(service));
    let scope = format!("{scope}/{service}/aws4_request");
    let request = Request::post("/")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=x"))
        .header("x-amz-target", target)
        .body(Bytes::from(body))
        .unwrap();
    let response = services.handle(service, request).await;
    (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
}

/// Calls an operation of a JSON protocol.
async fn call(services: &Services, service: &str, operation: &str, input: Value) -> Value {
    let (status, body) =
        send(services, service, &format!("any.{operation}"), input.to_string()).await;
    let output: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status == 200, output.get("__type").is_none(), "{operation}: {output}");
    output
}

async fn dynamodb(services: &Services, operation: &str, mut input: Value) -> Value {
    if input.get("RequestItems").is_none() && input.get("TransactItems").is_none() {
        input["TableName"] = "ledger".into();
    }
    call(services, "dynamodb", operation, input).await
}

fn code(output: &Value) -> &str {
    output["__type"].as_str().unwrap_or("accepted").rsplit('#').next().unwrap()
}

/// Calls an operation of the query protocol.
async fn sns(services: &Services, fields: &[(&str, &str)]) -> (u16, String) {
    let mut form = String::new();
    for (name, value) in fields {
        write!(form, "{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC)).unwrap();
    }
    send(services, "sns", "", form).await
}

async fn with_topic() -> Services {
    let services = Services::new();
    let (status, body) = sns(&services, &[("Action", "CreateTopic"), ("Name", "alerts")]).await;
    assert!(status == 200 && body.contains(TOPIC), "{body}");
    services
}

async fn subscribe(services: &Services, protocol: &str, endpoint: &str) -> (u16, String) {
    let fields = [
        ("Action", "Subscribe"),
        ("TopicArn", TOPIC),
        ("Protocol", protocol),
        ("Endpoint", endpoint),
    ];
    sns(services, &fields).await
}

async fn publish(services: &Services, more: &[(&str, &str)]) -> (u16, String) {
    let topic = [("Action", "Publish"), ("TopicArn", TOPIC)];
    sns(services, &[&topic, more].concat()).await
}

async fn with_table() -> Services {
    let services = Services::new();
    let table = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    });
    let made = dynamodb(&services, "CreateTable", table).await;
    assert_eq!(made["TableDescription"]["TableStatus"], "ACTIVE");
    services
}

fn item(sk: &str, n: u32) -> Value {
    json!({"pk": {"S": "a"}, "sk": {"S": sk}, "n": {"N": n.to_string()}})
}

fn key(sk: &str) -> Value {
    json!({"pk": {"S": "a"}, "sk": {"S": sk}})
}

#[tokio::test]
async fn an_operation_that_is_not_served_is_never_a_success() {
    let services = Services::new();
    for service in ["dynamodb", "ssm", "secretsmanager", "sqs"] {
        for operation in ["NoSuchThing", "TagResource", ""] {
            let output = call(&services, service, operation, json!({})).await;
            assert_eq!(code(&output), "UnknownOperationException", "{service} {operation}");
        }
    }
    for action in ["NoSuchThing", "PublishBatch", "SetSMSAttributes", ""] {
        let (status, body) = sns(&services, &[("Action", action)]).await;
        assert_eq!((status, body.contains("<Code>InvalidAction</Code>")), (400, true), "{body}");
    }
    assert!(!services.serves("iam") && !services.serves("ecr"));
    let request = Request::post("/").body(Bytes::new()).unwrap();
    assert_eq!(services.handle("iam", request).await.status(), 400);
}

#[tokio::test]
async fn a_malformed_body_is_refused() {
    let services = with_table().await;
    for (service, operation) in [
        ("dynamodb", "PutItem"),
        ("ssm", "GetParameter"),
        ("secretsmanager", "GetSecretValue"),
        ("sqs", "SendMessage"),
    ] {
        let target = format!("any.{operation}");
        for body in [
            "",
            "{not",
            "[]",
            "null",
            "\"\"",
            r#"{"TableName": 3, "Name": 3, "SecretId": 3, "QueueUrl": 3}"#,
        ] {
            let (status, answer) = send(&services, service, &target, body.to_owned()).await;
            assert_eq!(status, 400, "{service} {body}: {answer}");
        }
    }
    for body in ["", "%", "Action", "Action=%ff", "=&=&"] {
        assert_eq!(send(&services, "sns", "", body.to_owned()).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn regions_are_apart() {
    let services = with_table().await;
    let tables = async |scope: &str| {
        send_from(&services, "dynamodb", "any.ListTables", "{}".to_owned(), scope).await.1
    };
    assert!(tables("AKIDEXAMPLE/20261124/us-east-1").await.contains("ledger"));
    assert!(tables("123456789012/20261124/us-east-1").await.contains("ledger"));
    assert_eq!(tables("AKIDEXAMPLE/20261124/eu-west-1").await, r#"{"TableNames":[]}"#);
}

#[tokio::test]
async fn a_parameter_has_the_tier_that_its_size_needs() {
    let services = Services::new();
    let put = |size: usize, tier: &'static str| {
        let value = "x".repeat(size);
        let input = json!({
            "Name": "/warden/policy", "Value": value, "Type": "String", "Tier": tier, "Overwrite": true,
        });
        call(&services, "ssm", "PutParameter", input)
    };
    let tiering = "Intelligent-Tiering";
    assert_eq!(put(4096, tiering).await, json!({"Version": 1, "Tier": "Standard"}));
    assert_eq!(put(4097, tiering).await, json!({"Version": 2, "Tier": "Advanced"}));
    assert_eq!(code(&put(8193, tiering).await), "ValidationException");
    assert_eq!(put(1, tiering).await["Tier"], "Advanced", "there is no way back");
    put(4097, tiering).await;
    for name in ["/warden/policy", "arn:aws:ssm:us-east-1:123456789012:parameter/warden/policy"] {
        let got = call(&services, "ssm", "GetParameter", json!({"Name": name})).await;
        assert_eq!(got["Parameter"]["Version"], 4);
        assert_eq!(got["Parameter"]["Value"].as_str().unwrap().len(), 4097);
    }
    let refused = |operation: &'static str, input: Value| {
        let services = &services;
        async move { code(&call(services, "ssm", operation, input).await).to_owned() }
    };
    let again = json!({"Name": "/warden/policy", "Value": "x", "Type": "String"});
    assert_eq!(refused("PutParameter", again).await, "ParameterAlreadyExists");
    let untyped = json!({"Name": "/warden/other", "Value": "x"});
    assert_eq!(refused("PutParameter", untyped).await, "ValidationException");
    let large = json!({"Name": "/warden/other", "Value": "x".repeat(4097), "Type": "String"});
    assert_eq!(refused("PutParameter", large).await, "ValidationException");
    assert_eq!(
        refused("GetParameter", json!({"Name": "/warden/other"})).await,
        "ParameterNotFound"
    );
    let theirs = json!({"Name": "/aws/x", "Value": "x", "Type": "String"});
    assert_eq!(refused("PutParameter", theirs).await, "ValidationException");
    assert_eq!(refused("GetParameter", json!({"Name": "/none"})).await, "ParameterNotFound");
    let first = call(&services, "ssm", "GetParameter", json!({"Name": "/warden/policy:1"})).await;
    assert_eq!(first["Parameter"]["Value"].as_str().unwrap().len(), 4096);
    let version = json!({"Name": "/warden/policy:5"});
    assert_eq!(refused("GetParameter", version).await, "ParameterVersionNotFound");
    let names = json!({"Names": ["/warden/policy", "/none"]});
    let several = call(&services, "ssm", "GetParameters", names).await;
    assert_eq!(several["InvalidParameters"], json!(["/none"]));
    let gone = json!({"Name": "/warden/policy"});
    assert_eq!(refused("DeleteParameter", gone.clone()).await, "accepted");
    assert_eq!(refused("DeleteParameter", gone).await, "ParameterNotFound");
}

#[tokio::test]
async fn a_secret_is_found_by_name_and_by_arn() {
    let services = Services::new();
    let ask = |operation: &'static str, input: Value| {
        let services = &services;
        async move { call(services, "secretsmanager", operation, input).await }
    };
    let made = ask("CreateSecret", json!({"Name": "slack", "SecretString": "old"})).await;
    ask("PutSecretValue", json!({"SecretId": "slack", "SecretString": "nëw"})).await;
    for id in [&json!("slack"), &made["ARN"]] {
        let got = ask("GetSecretValue", json!({"SecretId": id})).await;
        assert_eq!((&got["SecretString"], &got["Name"]), (&json!("nëw"), &json!("slack")));
    }
    let before = json!({"SecretId": "slack", "VersionStage": "AWSPREVIOUS"});
    assert_eq!(ask("GetSecretValue", before).await["SecretString"], "old");
    let again = ask("CreateSecret", json!({"Name": "slack", "SecretString": "x"})).await;
    assert_eq!(code(&again), "ResourceExistsException");
    let none = ask("GetSecretValue", json!({"SecretId": "none"})).await;
    assert_eq!(code(&none), "ResourceNotFoundException");
    ask("DeleteSecret", json!({"SecretId": "slack"})).await;
    let deleted = ask("GetSecretValue", json!({"SecretId": "slack"})).await;
    assert_eq!(code(&deleted), "InvalidRequestException");
}

#[tokio::test]
async fn a_queue_counts_what_waits_in_it() {
    let services = Services::new();
    let ask = |operation: &'static str, input: Value| {
        let services = &services;
        async move { call(services, "sqs", operation, input).await }
    };
    let url = ask("CreateQueue", json!({"QueueName": "failed"})).await["QueueUrl"].clone();
    let sent = ask("SendMessage", json!({"QueueUrl": url, "MessageBody": "hëllo"})).await;
    assert_eq!(sent["MD5OfMessageBody"], "b261eed3f3910ac129822ffa4ffa1a80");
    let names = json!(["ApproximateNumberOfMessages"]);
    let count = json!({"QueueUrl": url, "AttributeNames": names});
    let waiting = |n: &str| json!({"Attributes": {"ApproximateNumberOfMessages": n}});
    assert_eq!(ask("GetQueueAttributes", count.clone()).await, waiting("1"));
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
    let got = ask("ReceiveMessage", receive.clone()).await;
    assert_eq!(got["Messages"][0]["Body"], "hëllo");
    assert_eq!(ask("GetQueueAttributes", count).await, waiting("0"));
    assert_eq!(ask("ReceiveMessage", receive).await.get("Messages"), None);
    let handle = &got["Messages"][0]["ReceiptHandle"];
    ask("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;

    for input in [
        json!({"QueueUrl": url, "MaxNumberOfMessages": 11}),
        json!({"QueueUrl": url, "MaxNumberOfMessages": 0}),
    ] {
        let refused = ask("ReceiveMessage", input).await;
        assert_eq!(code(&refused), "InvalidParameterValueException");
    }
    let long = json!({"QueueUrl": url, "MessageBody": "x".repeat(1_048_577)});
    assert_eq!(code(&ask("SendMessage", long).await), "InvalidParameterValueException");
    let none = ask("GetQueueUrl", json!({"QueueName": "none"})).await;
    assert_eq!(code(&none), "QueueDoesNotExist");
}

#[tokio::test]
async fn inspector_answers_from_what_was_put_in() {
    let services = Services::new();
    services.inspector().images.push(Coverage {
        repository: "deployments".to_owned(),
        digest: "sha256:1".to_owned(),
        tags: Vec::new(),
        in_use_count: Some(2),
        last_in_use_at: None,
        pulled_at: None,
        status: ("ACTIVE", "SUCCESSFUL"),
    });
    let request = Request::post("/coverage/list").body(Bytes::from("{}")).unwrap();
    let response = services.handle("inspector2", request).await;
    let output: Value = serde_json::from_slice(response.body()).unwrap();
    let id = image_arn("deployments", "sha256:1");
    assert_eq!(output["coveredResources"][0]["resourceId"], id);
}
