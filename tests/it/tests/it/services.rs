//! Published messages, failed events and killed functions, through the port of the embedded AWS.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use expect_test::expect;
use local_aws::cloudformation::Deployment;
use local_aws::iam::Role;
use local_aws::policy::Document;
use local_aws::server::Server;
use local_aws::template::Template;
use local_aws::world::World;
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{probe, program};

/// One request of AWS on the port, as a client would sign it for a service, `sns`, or for it
/// in another region, `eu-west-1/sns`; gives the body of the answer.
async fn call(server: &Server, service: &str, header: &str, body: &str) -> String {
    let service =
        if service.contains('/') { service.to_owned() } else { format!("us-east-1/{service}") };
    post(server, "/", &service, header, body).await.1
}

/// The head and the body of the answer to a request at a path, signed for a region's service.
async fn post(
    server: &Server,
    path: &str,
    service: &str,
    header: &str,
    body: &str,
) -> (String, String) {
    let address = server.endpoint().trim_start_matches("http://");
    let credential = format!("123456789012/20261124/{service}/aws4_request");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={credential}, Signature=any\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    (head.to_owned(), body.to_owned())
}

async fn sns(server: &Server, form: &str) -> String {
    call(server, "sns", "Content-Type: application/x-www-form-urlencoded", form).await
}

async fn sqs(server: &Server, operation: &str, input: &Value) -> Value {
    let header = format!("X-Amz-Target: AmazonSQS.{operation}");
    serde_json::from_str(&call(server, "sqs", &header, &input.to_string()).await).unwrap()
}

// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
#[tokio::test]
async fn an_invocation_by_the_api_returns_the_error_and_the_end_of_the_log() {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    aws.lambda().create(probe("by-hand"));
    let path = "/2015-03-31/functions/by-hand/invocations";
    let invoke = async |header: &str, event: Value| {
        post(&server, path, "us-east-1/lambda", header, &event.to_string()).await
    };
    let print = json!({"do": "print", "line": "hello"});
    let (head, body) = invoke("X-Amz-Log-Type: Tail", print).await;
    // "hello" and what follows it, in base64.
    assert!(head.contains("x-amz-log-result: ImhlbGxvIgphbmQgdG8gc3RkZXJyCg=="), "{head}");
    assert_eq!(body, "null");
    let (head, body) = invoke("X-Any: any", json!({"do": "fail", "why": "x"})).await;
    assert!(head.contains("x-amz-function-error: Unhandled"), "{head}");
    assert!(body.contains("demanded failure"), "{body}");
    let (head, _) =
        invoke("X-Amz-Invocation-Type: Event", json!({"do": "print", "line": "later"})).await;
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    aws.lambda().settled().await;
    assert!(aws.lambda().log("by-hand").contains("later"));
}

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_RegisterPullTimeUpdateExclusion.html
#[tokio::test]
async fn a_function_calls_aws_with_its_role() {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let text = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Sweep:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: functions/probe, Role: "arn:aws:iam::123456789012:role/sweep" }
"#;
    let template = Template::read(text).unwrap();
    let (parameters, program) = (BTreeMap::new(), program());
    let deployment =
        Deployment { template: &template, name: "stack", parameters: &parameters, program };
    let pull = json!({"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "*"});
    let pull = Document::read(&json!({"Statement": pull})).unwrap();
    let inline_policies = BTreeMap::from([("pull".to_owned(), pull)]);
    let role = Role { inline_policies, ..Role::default() };
    aws.state().iam.roles.insert("sweep".to_owned(), role);
    aws.deploy(&deployment, |_| ()).await.unwrap();
    let found = aws.lambda().invoke("stack-Sweep", json!({"do": "environment"})).await.unwrap();
    let token = found.payload["AWS_SESSION_TOKEN"].as_str().unwrap().to_owned();
    aws.by_hand("CreateRepository", &json!({"repositoryName": "app"})).unwrap();
    let role = json!({"principalArn": "arn:aws:iam::123456789012:role/sweep"});
    aws.by_hand("RegisterPullTimeUpdateExclusion", &role).unwrap();
    let digest = {
        let mut state = aws.state();
        let now = state.now();
        state.ecr().push_made_up("app", &["v1"], now).unwrap()
    };
    let input = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]}).to_string();
    let pulled =
        || aws.state().ecr().repository("app").unwrap().images.get(&digest).unwrap().pulled_at;
    let target = "X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.BatchGetImage";
    let as_function = format!("{target}\r\nX-Amz-Security-Token: {token}");
    call(&server, "ecr", &as_function, &input).await;
    assert_eq!(pulled(), None);
    call(&server, "ecr", target, &input).await;
    assert!(pulled().is_some());
}

#[tokio::test]
async fn a_published_message_invokes_the_subscribed_function() {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    aws.lambda().create(probe("subscriber"));
    sns(&server, "Action=CreateTopic&Name=alerts").await;
    let topic = "arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aalerts";
    let function = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Asubscriber";
    let subscribe =
        format!("Action=Subscribe&TopicArn={topic}&Protocol=lambda&Endpoint={function}");
    sns(&server, &subscribe).await;
    let message = "%7B%22default%22%3A%22for%20machines%22%2C%22email%22%3A%22for%20people%22%7D";
    let publish =
        format!("Action=Publish&TopicArn={topic}&MessageStructure=json&Message={message}");
    sns(&server, &publish).await;
    aws.lambda().settled().await;
    let log = aws.lambda().log("subscriber");
    assert!(log.contains(r#""Message":"for machines""#), "{log}");
}

#[tokio::test]
async fn an_event_whose_last_attempt_fails_is_in_the_dead_letter_queue() {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    aws.lambda().retry_after([Duration::from_millis(5); 2]);
    let created = sqs(&server, "CreateQueue", &json!({"QueueName": "dead"})).await;
    let mut function = probe("failing");
    function.dead_letter = Some("arn:aws:sqs:us-east-1:123456789012:dead".to_owned());
    aws.lambda().create(function);
    let event = json!({"do": "fail", "why": "always"});
    let id = aws.lambda().invoke_async("failing", event.clone()).unwrap();
    aws.lambda().settled().await;
    let receive = json!({"QueueUrl": created["QueueUrl"], "MessageAttributeNames": ["All"]});
    let received = sqs(&server, "ReceiveMessage", &receive).await;
    let letter = &received["Messages"][0];
    let body: Value = serde_json::from_str(letter["Body"].as_str().unwrap()).unwrap();
    assert_eq!(body, event);
    assert_eq!(letter["MessageAttributes"]["RequestID"]["StringValue"], id);
}

#[tokio::test]
async fn a_queue_is_found_in_the_region_of_its_arn_and_a_missing_queue_blocks_nothing() {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let form = "Content-Type: application/x-www-form-urlencoded";
    let create = json!({"QueueName": "q"}).to_string();
    call(&server, "eu-west-1/sqs", "X-Amz-Target: AmazonSQS.CreateQueue", &create).await;
    call(&server, "eu-west-1/sns", form, "Action=CreateTopic&Name=t").await;
    let topic = "arn:aws:sns:eu-west-1:123456789012:t";
    for queue in ["q", "missing"] {
        let queue = format!("arn:aws:sqs:eu-west-1:123456789012:{queue}");
        let subscribe = format!("Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={queue}");
        call(&server, "eu-west-1/sns", form, &subscribe).await;
    }
    let publish = format!("Action=Publish&TopicArn={topic}&Message=here");
    call(&server, "eu-west-1/sns", form, &publish).await;
    let undelivered = std::mem::take(&mut aws.state().undelivered);
    assert_eq!(undelivered.len(), 1, "{undelivered:?}");
    assert!(undelivered[0].0.ends_with(":missing"));

    aws.lambda().retry_after([Duration::from_millis(5); 2]);
    let mut function = probe("failing");
    function.dead_letter = Some("arn:aws:sqs:us-east-1:123456789012:misspelt".to_owned());
    aws.lambda().create(function);
    aws.lambda().invoke_async("failing", json!({"do": "fail", "why": "x"})).unwrap();
    aws.lambda().settled().await;
    assert_eq!(aws.state().undelivered.len(), 1);
}

#[tokio::test]
async fn a_custom_resource_that_ends_without_an_answer_fails_immediately() {
    let aws = LocalAws::default();
    let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    aws.lambda().retry_after([Duration::from_millis(5); 2]);
    let text = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Probe:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: functions/probe, Timeout: 30 }
  Thing:
    Type: Custom::Thing
    Properties: { ServiceToken: !GetAtt Probe.Arn }
"#;
    let template = Template::read(text).unwrap();
    let (parameters, program) = (BTreeMap::new(), program());
    let deployment =
        Deployment { template: &template, name: "stack", parameters: &parameters, program };
    let failed = aws.deploy(&deployment, |_| ()).await.unwrap_err();
    let failed = format!("{failed:#}");
    expect!["creating Thing: the function has ended without an answer; it logged:"]
        .assert_eq(failed.lines().next().unwrap());
}

#[tokio::test]
async fn a_function_that_is_killed_at_a_call_is_retried() {
    // The retry does not repeat the calls before the end of the process.
    for (fault, creations) in [(Fault::KillBefore, 3), (Fault::KillAfter, 2)] {
        let aws = LocalAws::default();
        aws.fault("CreateRepository", 1, fault);
        let world = World::run(aws, &[], program()).await;
        let mut state = world.aws.state();
        let created = state.calls.iter().filter(|call| call.operation == "CreateRepository");
        assert_eq!(created.count(), creations);
        assert_eq!(state.ecr().repositories.len(), 2);
        assert!(state.ecr().repositories.values().all(|repository| repository.lifecycle.is_some()));
    }
}
