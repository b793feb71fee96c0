//! `scan-complete` as a process of the deployed stack: its rules, its schedule, and killed at
//! any call.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use local_aws::cloudformation::Deployment;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::server::Server;
use local_aws::template::Template;
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::{program, without_sweeps};

const FUNCTION: &str = "stack-ScanCompleteFunction";

/// The deployed stack, its alerts coming by e-mail and to a queue, and its outputs.
async fn deployed() -> (LocalAws, Server, BTreeMap<String, String>) {
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap();
    let parameters = [("AlertEmail".to_owned(), "a@example.com".to_owned())].into();
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &parameters,
        program: program(),
    };
    let outputs = aws.deploy(&deployment, |_| ()).await.unwrap();
    without_sweeps(&aws);
    aws.lambda().retry_after([Duration::from_millis(10), Duration::from_millis(10)]);
    let (_, queue) = aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
    let topic = &outputs["AlertTopicArn"];
    let inbox = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["Arn"]});
    aws.make("AWS::SNS::Subscription", "inbox", &inbox).await.unwrap();
    (aws, server, outputs)
}

/// An image of its own with this tag; gives its digest.
fn push(aws: &LocalAws, tag: &str) -> String {
    let mut state = aws.state();
    let now = state.now();
    state.ecr().push_made_up("infrastructure", &[tag], now).unwrap()
}

/// Hands on what EventBridge was told, and waits for what comes of it; gives the alerts.
async fn settled(aws: &LocalAws) -> Vec<Value> {
    // Any call hands it on.
    aws.by_hand("DescribeRepositories", &json!({})).unwrap();
    aws.lambda().settled().await;
    let deliveries = std::mem::take(&mut aws.state().deliveries);
    let of = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
    of.map(|delivery| serde_json::from_str(&delivery.message).unwrap()).collect()
}

async fn scan(aws: &LocalAws, digest: &str, findings: Vec<Value>) -> Vec<Value> {
    {
        let mut state = aws.state();
        let now = state.now();
        state.ecr().complete_scan("infrastructure", digest, Ok(findings), now).unwrap();
    }
    settled(aws).await
}

#[tokio::test]
async fn scans_reach_it_by_the_rules_and_the_day_by_the_schedule() {
    let (aws, _server, outputs) = deployed().await;
    let image = push(&aws, "litellm-v1.80.5");
    let alerts =
        scan(&aws, &image, vec![basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17")]).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["title"], "1 finding in infrastructure:litellm-v1.80.5: 1 CRITICAL");
    assert_eq!(scan(&aws, &image, Vec::new()).await[0]["kind"], "scan-resolved");

    let all = json!([{
        "scanFrequency": "CONTINUOUS_SCAN",
        "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}],
    }]);
    let scanning = json!({"scanType": "ENHANCED", "rules": all});
    aws.by_hand("PutRegistryScanningConfiguration", &scanning).unwrap();
    let image = push(&aws, "openwebui-v0.6.36");
    let finding = enhanced_finding("CVE-2", "HIGH", "curl", "8.5.0", Some("8.5.1"));
    let alerts = scan(&aws, &image, vec![finding]).await;
    assert_eq!(alerts[0]["component"], "openwebui");

    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&aws).await.len(), 0);
    let parameter = &outputs["AcceptedRisksParameter"];
    assert_eq!(parameter, "stack-AcceptedRisks");
    let tomorrow = chrono::Utc::now().date_naive().succ_opt().unwrap().to_string();
    let risk = json!([{"id": "CVE-1", "until": tomorrow, "reason": "x", "owner": "platform"}]);
    let put = json!({"Name": parameter, "Value": risk.to_string(), "Overwrite": true});
    let request = http::Request::post("/")
        .header("x-amz-target", "AmazonSSM.PutParameter")
        .body(put.to_string().into())
        .unwrap();
    assert!(aws.services().handle("ssm", request).await.status().is_success());
    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&aws).await[0]["kind"], "risk-expiring");
    assert!(aws.state().undelivered.is_empty());
}

/// The calls of a scan that is told, and which of that name in an invocation.
const CALLS: [(&str, usize); 6] = [
    ("UpdateItem", 1),
    ("DescribeImageScanFindings", 1),
    ("DescribeImages", 1),
    ("GetParameter", 1),
    ("Publish", 1),
    ("UpdateItem", 2),
];

#[tokio::test]
async fn killed_before_or_after_any_call_it_is_told() {
    let (aws, _server, _) = deployed().await;
    let mut told_twice = Vec::new();
    for (nth, (call, of)) in CALLS.iter().enumerate() {
        for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
            let image = push(&aws, &format!("component{nth}{after}-v1.0.0"));
            settled(&aws).await;
            aws.fault(call, *of, fault);
            let finding = basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17");
            let alerts = scan(&aws, &image, vec![finding]).await;
            aws.heal();
            match alerts.len() {
                1 => {}
                2 => told_twice.push((*call, *of, after == 1)),
                other => panic!("{call} {of} {after}: told {other} times"),
            }
        }
    }
    // Once it is told and before that is noted, nobody can know.
    assert_eq!(told_twice, [("Publish", 1, true), ("UpdateItem", 2, false)]);
    assert!(aws.state().undelivered.is_empty());
}
