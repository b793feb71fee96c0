//! Events find the functions by the patterns of a template, and by nothing else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use local_aws::LocalAws;
use local_aws::cloudformation::Deployment;
use local_aws::ecr::Call;
use local_aws::template::Template;
use serde_json::{Value, json};

use crate::program;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Listener:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/probe
      Timeout: 30
      Events:
        Pushed:
          Type: EventBridgeRule
          Properties:
            Pattern:
              source: [aws.ecr]
              detail-type: [ECR Image Action]
              detail:
                action-type: [PUSH]
                result: [SUCCESS]
                repository-name: [infrastructure]
"#;

/// The events that the function received, one for each invocation.
fn received(aws: &LocalAws) -> Vec<Value> {
    let log = aws.lambda().log("stack-Listener");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["detail-type"].is_string()).collect()
}

#[tokio::test]
async fn a_push_reaches_the_function_whose_pattern_it_matches() {
    let aws = LocalAws::default();
    let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let template = Template::read(TEMPLATE).unwrap();
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &BTreeMap::new(),
        program: program(),
    };
    aws.deploy(&deployment, |_| ()).await.unwrap();
    for name in ["infrastructure", "deployments"] {
        aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
        let mut state = aws.state();
        let now = state.now();
        state.ecr().push_made_up(name, &["litellm-v1.0.0"], now).unwrap();
        state.ecr().push_made_up(name, &[], now).unwrap();
    }
    // Of another account and region, and so for nobody here.
    for (account, region) in [("210987654321", "us-east-1"), ("123456789012", "eu-west-1")] {
        let mut state = aws.state();
        let now = state.now();
        let call = Call { operation: "CreateRepository", principal: None, now, endpoint: "" };
        let registry = state.registry(account, region);
        registry.serve(&call, &json!({"repositoryName": "infrastructure"})).unwrap();
        registry.push_made_up("infrastructure", &["litellm-v1.0.0"], now).unwrap();
    }
    let ids = json!([{"imageTag": "litellm-v1.0.0"}]);
    let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
    aws.by_hand("BatchDeleteImage", &input).unwrap();
    aws.lambda().settled().await;

    let details: Vec<Value> = received(&aws).iter().map(|event| event["detail"].clone()).collect();
    assert_eq!(details.len(), 2, "{details:#?}");
    assert!(details.iter().all(|detail| detail["repository-name"] == "infrastructure"));
    let mut tags: Vec<&str> =
        details.iter().filter_map(|detail| detail["image-tag"].as_str()).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["", "litellm-v1.0.0"]);
    assert_eq!(aws.state().events.len(), 7, "EventBridge received every event");
}
