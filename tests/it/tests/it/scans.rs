//! `scan-complete` as a process of the deployed stack: its rules, its schedule, and killed at
//! any call.

use local_aws::Fault;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::world::World;
use serde_json::{Value, json};

use crate::{deploy, remove_sweep_rule};

const FUNCTION: &str = "ecr-warden-ScanCompleteFunction";

async fn deployed() -> World {
    let world = deploy(&[]).await;
    remove_sweep_rule(&world);
    world
}

/// Pushes an image with this tag. Gives its digest.
fn push(world: &World, tag: &str) -> String {
    world.push("infrastructure", &[tag])
}

/// Delivers what happened until now. Gives the alerts.
async fn settled(world: &World) -> Vec<Value> {
    world.settle().await;
    world.alerts()
}

async fn scan(world: &World, digest: &str, findings: Vec<Value>) -> Vec<Value> {
    {
        let mut state = world.aws.state();
        let now = state.now();
        state.ecr().complete_scan("infrastructure", digest, Ok(findings), now).unwrap();
    }
    settled(world).await
}

#[tokio::test]
async fn scans_reach_it_by_the_rules_and_the_day_by_the_schedule() {
    let world = deployed().await;
    let aws = &world.aws;
    let image = push(&world, "litellm-v1.80.5");
    let alerts =
        scan(&world, &image, vec![basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17")]).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["kind"], "scan-findings");
    assert_eq!(alerts[0]["image"], json!({"digest": image, "tags": ["litellm-v1.80.5"]}));
    assert_eq!(alerts[0]["details"]["counts"], json!({"CRITICAL": 1}));
    assert_eq!(scan(&world, &image, Vec::new()).await[0]["kind"], "scan-resolved");

    world.enable_enhanced_scanning();
    let image = push(&world, "openwebui-v0.6.36");
    let finding = enhanced_finding("CVE-2", "HIGH", "curl", "8.5.0", Some("8.5.1"));
    let alerts = scan(&world, &image, vec![finding]).await;
    assert_eq!(alerts[0]["component"], "openwebui");

    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&world).await.len(), 0);
    let parameter = &world.outputs["AcceptedRisksParameter"];
    assert_eq!(parameter, "ecr-warden-AcceptedRisks");
    let tomorrow = chrono::Utc::now().date_naive().succ_opt().unwrap().to_string();
    let risk = json!([{"id": "CVE-1", "until": tomorrow, "reason": "x", "owner": "platform"}]);
    let put = json!({"Name": parameter, "Value": risk.to_string(), "Overwrite": true});
    aws.ask("ssm", "AmazonSSM.PutParameter", &put).await.unwrap();
    aws.fire_schedules(FUNCTION).unwrap();
    assert_eq!(settled(&world).await[0]["kind"], "risk-expiring");
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
    let world = deployed().await;
    let aws = &world.aws;
    let mut told_twice = Vec::new();
    for (nth, (call, of)) in CALLS.iter().enumerate() {
        for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
            let image = push(&world, &format!("component{nth}{after}-v1.0.0"));
            settled(&world).await;
            aws.fault(call, *of, fault);
            let finding = basic_finding("CVE-1", "CRITICAL", "openssl", "3.0.17");
            let alerts = scan(&world, &image, vec![finding]).await;
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
