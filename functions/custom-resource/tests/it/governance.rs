//! `Custom::EcrGovernance`: the policy in the ledger.

use std::time::Duration;

use expect_test::expect;
use local_aws::world::NOW;
use serde_json::{Value, json};

use crate::{Function, delete, event, rolled_back, update, with};

/// An item of the ledger.
async fn item(function: &Function, key: &str) -> Value {
    let get = json!({"TableName": "warden-Ledger", "Key": {"fact": {"S": key}}});
    let found = function.aws.ask("dynamodb", "DynamoDB_20120810.GetItem", &get).await.unwrap();
    found["Item"].clone()
}

/// The policies of the ledger that never expire, by their versions.
async fn lasting(function: &Function, versions: &[&Value]) -> Vec<bool> {
    let mut lasting = Vec::new();
    for version in versions {
        let item = item(function, &format!("policy {}", version.as_str().unwrap())).await;
        lasting.push(item["document"]["B"].is_string() && item["expires"].is_null());
    }
    lasting
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_stored_under_the_version_that_the_functions_get() {
    let function = Function::new().await;
    let created = function.succeed(&event("create-governance")).await;
    let version = created["Data"]["Version"].as_str().unwrap();
    assert_eq!((version.len(), &created["Data"]["Warnings"]), (16, &json!("none")));
    let text = function.context.ledger.policy(version).await.unwrap().document;
    let governance = warden_core::policy::Governance::parse(&text).unwrap();
    assert_eq!(governance.version().to_string(), version);
    assert_eq!(item(&function, "policy current").await["version"]["S"], version);
    // The same policy has the same version in every stack.
    let again = function.succeed(&event("create-governance")).await;
    assert_eq!(again["Data"], created["Data"]);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_policy_expires_and_a_roll_back_makes_it_current_again() {
    let function = Function::new().await;
    let create = event("create-governance");
    let created = function.succeed(&create).await;
    let other =
        update(&create, &created["PhysicalResourceId"], "Policy.Rules.1.Scan.Threshold", "LOW");
    let updated = function.succeed(&other).await;
    assert_eq!(created["PhysicalResourceId"], updated["PhysicalResourceId"]);
    let versions = [&created["Data"]["Version"], &updated["Data"]["Version"]];
    assert_ne!(versions[0], versions[1]);
    assert_eq!(lasting(&function, &versions).await, [false, true]);
    let back = function.succeed(&rolled_back(&other)).await;
    assert_eq!(back["Data"], created["Data"]);
    assert_eq!(lasting(&function, &versions).await, [true, false]);
    function.succeed(&delete(&create, &created)).await;
    assert_eq!(lasting(&function, &versions).await, [false, false]);
    // A function that was deployed with a version can still read it.
    function.context.ledger.policy(versions[1].as_str().unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_policy_has_the_time_of_its_last_deployment() {
    let function = Function::new().await;
    let create = event("create-governance");
    let times = async |answer: &Value| {
        let key = format!("policy {}", answer["Data"]["Version"].as_str().unwrap());
        let item = item(&function, &key).await;
        ["deployed_at", "expires"].map(|name| {
            let time: Option<i64> = item[name]["N"].as_str().map(|time| time.parse().unwrap());
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            time.map(|time| time - NOW as i64)
        })
    };
    let created = function.succeed(&create).await;
    assert_eq!(times(&created).await, [Some(0), None]);
    function.aws.advance(Duration::from_secs(60));
    let physical_id = &created["PhysicalResourceId"];
    let other = update(&create, physical_id, "Policy.Rules.1.Scan.Threshold", "LOW");
    let updated = function.succeed(&other).await;
    assert_eq!(times(&updated).await, [Some(60), None]);
    assert_eq!(times(&created).await, [Some(0), Some(60 + 400 * 86_400)]);
    function.aws.advance(Duration::from_secs(60));
    let back = function.succeed(&rolled_back(&other)).await;
    assert_eq!(times(&back).await, [Some(120), None]);
    function.succeed(&delete(&create, &back)).await;
    assert_eq!(times(&back).await, [Some(120), Some(120 + 400 * 86_400)]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_with_mistakes_is_refused_with_all_of_them_and_stored_nowhere() {
    let function = Function::new().await;
    let mut create = event("create-governance");
    for (path, value) in [
        ("Policy.Rules.0.Tags.Grammar", json!(["{component}-v{semvr}"])),
        ("Policy.Rules.1.Retention.Enforcment", json!("archive")),
        ("Policy.Rules.1.Tags.Enforcement", json!("quarantine")),
        ("Repositories.0.LifecycleTagCount", json!("0")),
    ] {
        create = with(create, &format!("ResourceProperties.{path}"), value);
    }
    expect![[r#"the policy is invalid: Repositories[0].LifecycleTagCount: expected a whole number from 1 to 100000, got "0"; Rules[0] (platform).Tags.Grammar[0]: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}"; Rules[1] (applications).Retention.Enforcment: unknown property; the nearest known name is Enforcement; Rules[1] (applications).Tags.Enforcement: quarantine needs tags that cannot move, and ImageTagMutability of deployments is MUTABLE: a mutable tag could move to another image just before it is removed; use report or archive, or IMMUTABLE tags"#]].assert_eq(&function.fail(&create).await);
    assert!(function.aws.state().calls.iter().all(|call| call.service != "dynamodb"));

    // However long the reason is, CloudFormation gets an answer.
    let rules: Vec<Value> = (0..500).map(|nth| json!({"Name": format!("rule {nth}")})).collect();
    let many = with(event("create-governance"), "ResourceProperties.Policy.Rules", rules);
    assert!(function.fail(&many).await.ends_with('…'));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_enforces_outside_the_ceiling_is_refused() {
    let function = Function::new().await;
    let names = json!(["infrastructure", "team-*"]);
    let create =
        with(event("create-governance"), "ResourceProperties.Policy.Rules.0.Repositories", names);
    expect!["the policy is invalid: Rules[0] (platform).Repositories[1]: team-* is outside the parameter EnforceRepositories (infrastructure, deployments), and the rule platform enforces: add team-* to EnforceRepositories, or set Tags.Enforcement to report"].assert_eq(&function.fail(&create).await);
    let wider = json!(["infrastructure", "team-*", "deployments"]);
    function.succeed(&with(create, "ResourceProperties.EnforceRepositories", wider)).await;
}

#[tokio::test(start_paused = true)]
async fn the_warnings_of_a_policy_are_an_attribute() {
    let function = Function::new().await;
    let names = json!(["infrastructure", "infrastructure"]);
    let create =
        with(event("create-governance"), "ResourceProperties.Policy.Rules.1.Repositories", names);
    let created = function.succeed(&create).await;
    expect!["Rules[1] (applications).Repositories: no repository gets this rule: earlier rules match all its patterns; Rules: no rule matches the repository deployments, which the stack provisions"].assert_eq(created["Data"]["Warnings"].as_str().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cloudformation_did_not_send_is_stored_nowhere() {
    let function = Function::new().await;
    let answer = function.answer_forged(&event("create-governance")).await;
    assert_eq!(answer["Status"], "FAILED");
    assert!(function.aws.state().calls.iter().all(|call| call.service != "dynamodb"));
}
