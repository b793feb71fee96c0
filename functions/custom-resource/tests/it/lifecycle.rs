use std::time::SystemTime;

use expect_test::expect;
use local_aws::Fault;
use local_aws::ecr::lifecycle::validate;
use local_aws::world::governance;
use proptest::prelude::*;
use serde_json::{Value, json};
use warden_aws::registry::replaced_lifecycle::ReplacedLifecycle;
use warden_core::lifecycle::{document_of_provisioned, have_same_rules, is_written_by_warden};
use warden_core::node::Node;
use warden_core::policy::{Policy, ProvisionedRepository};
use warden_core::properties::Reader;

use crate::{Function, event, foreign, push_sixty, rolled_back, update, with};

proptest! {
    #[test]
    fn every_lifecycle_document_is_valid_by_the_grammar_of_ecr(
        count in 1..=100_000_u32,
        days in 1..=3_650_u32,
        prefixes in prop::collection::btree_set("[a-zA-Z0-9_][a-z0-9._-]{0,7}", 0..=48),
        scope in prop::sample::select(vec!["component", "repository"]),
        untagged in prop::sample::select(vec!["report", "archive", "delete"]),
    ) {
        let properties = json!({
            "RepositoryName": "infrastructure",
            "LifecycleTagCount": count,
            "LifecycleUntaggedDays": days,
            "LifecycleTagPrefixes": prefixes,
            "LifecycleScope": scope,
        });
        let node = Node::from(&properties);
        let mut reader = Reader::new(&node);
        let settings = ProvisionedRepository::read(&mut reader).unwrap();
        let rule = json!({
            "RepositoryName": "infrastructure",
            "Rule": "platform",
            "Retention": {"Untagged": untagged, "UntaggedDays": days, "Enforcement": "archive"},
        });
        let rule = Policy::parse(&rule.to_string()).unwrap();
        for rule in [None, Some(&rule)] {
            let document = document_of_provisioned(&settings, rule);
            prop_assert!(validate(&document).is_ok(), "{}", document);
            prop_assert!(is_written_by_warden(&document), "{}", document);
        }
    }
}

/// A repository of the stack with sixty images, which no native rule counts yet.
async fn with_sixty_images(function: &Function) -> (Value, Value) {
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    push_sixty(function);
    let change = update(&created, &answer["PhysicalResourceId"], "LifecycleScope", "repository");
    let change = with(change, "ResourceProperties.LifecycleTagCount", "5");
    let _ = function.aws.take_changes();
    (created, change)
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_policy_that_would_expire_too_many_images_is_refused_with_examples() {
    // See case P36 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    let (_, change) = with_sixty_images(&function).await;
    expect!["repository infrastructure: the new lifecycle policy would expire 55 images, more than LifecycleImpactLimit 50 allows (v1.0.5, v1.0.6, v1.0.7, v1.0.8, v1.0.9, and 50 more). The lifecycle policy was not changed. Raise the limit if ECR may expire these images"].assert_eq(&function.fail(&change).await);
    assert!(function.aws.take_changes().is_empty());
    function.succeed(&rolled_back(&change)).await;
    assert!(function.aws.take_changes().is_empty());

    function.succeed(&with(change, "ResourceProperties.LifecycleImpactLimit", "55")).await;
    assert_eq!(function.aws.take_changes(), ["PutLifecyclePolicy"]);
}

#[tokio::test(start_paused = true)]
async fn a_roll_back_is_never_refused_because_of_its_impact() {
    // See case P36 in docs/contributing/prior-art.md.
    for blind in [false, true] {
        let function = Function::new().await;
        let (_, change) = with_sixty_images(&function).await;
        let before = function.aws.state().ecr().repositories["infrastructure"].lifecycle.clone();
        if blind {
            function.aws.fault("DescribeStacks", 0, Fault::Error(403, "AccessDenied"));
        }
        function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
        function.succeed(&change).await;
        assert!(function.aws.take_changes().is_empty());
        assert_eq!(function.aws.state().ecr().repositories["infrastructure"].lifecycle, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_preview_that_fails_stops_the_change() {
    let mut reasons = String::new();
    for operation in ["StartLifecyclePolicyPreview", "GetLifecyclePolicyPreview"] {
        let function = Function::new().await;
        let (_, change) = with_sixty_images(&function).await;
        function.aws.fault(operation, 0, Fault::Error(400, "AccessDeniedException"));
        reasons += &format!("{}\n", function.fail(&change).await);
        assert!(function.aws.take_changes().is_empty());
    }
    expect![[r#"
        repository infrastructure: starting a lifecycle preview: AccessDeniedException: made to fail
        repository infrastructure: reading the lifecycle preview: AccessDeniedException: made to fail
    "#]].assert_eq(&reasons);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_rights_to_preview_that_take_effect_late() {
    let function = Function::new().await;
    let (_, change) = with_sixty_images(&function).await;
    let denied = Fault::Error(400, "AccessDeniedException");
    function.aws.fault("StartLifecyclePolicyPreview", 1, denied);
    function.succeed(&with(change, "ResourceProperties.LifecycleImpactLimit", "55")).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_preview_of_somebody_else() {
    let function = Function::new().await;
    let (_, change) = with_sixty_images(&function).await;
    function.aws.fault(
        "StartLifecyclePolicyPreview",
        1,
        Fault::Error(400, "LifecyclePolicyPreviewInProgressException"),
    );
    function.succeed(&with(change, "ResourceProperties.LifecycleImpactLimit", "55")).await;
}

/// Puts the lifecycle policy of a team, which expires untagged images after so many days.
fn put_policy_of_team(function: &Function, days: u32) -> String {
    let selection = json!({
        "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days",
        "countNumber": days,
    });
    let rule = json!({"rulePriority": 1, "selection": selection, "action": {"type": "expire"}});
    let policy = json!({"rules": [rule]}).to_string();
    let input = json!({"repositoryName": "infrastructure", "lifecyclePolicyText": policy});
    function.aws.by_hand("PutLifecyclePolicy", &input).unwrap();
    policy
}

/// The request that adopts `infrastructure` under a policy that enforces the cleanup.
async fn adopting(function: &Function) -> Value {
    const VERSION: &str = "fedcba9876543210";
    let policy = governance(&[]).normalised();
    let now = SystemTime::now().into();
    function.context.ledger.record_policy(VERSION, &policy, now).await.unwrap();
    let request = with(event("create-infrastructure"), "ResourceProperties.OnExisting", "adopt");
    let request = with(request, "ResourceProperties.EncryptionType", "AES256");
    with(request, "ResourceProperties.PolicyVersion", VERSION)
}

/// The lifecycle policy that the tags of the repository hold.
fn stored_policy(function: &Function) -> Option<ReplacedLifecycle> {
    let tags = function.aws.state().ecr().repositories["infrastructure"].tags.clone();
    ReplacedLifecycle::from_tags(&tags).unwrap()
}

fn assert_stored(function: &Function, policy: &str) {
    let stored = stored_policy(function);
    let is_stored =
        matches!(&stored, Some(ReplacedLifecycle::Policy(text)) if have_same_rules(text, policy));
    assert!(is_stored, "{stored:?}");
}

#[tokio::test(start_paused = true)]
async fn the_lifecycle_policy_of_somebody_else_is_stored_in_tags_before_it_is_replaced() {
    let function = Function::new().await;
    foreign(&function, "infrastructure");
    let before = put_policy_of_team(&function, 14);
    let adopting = adopting(&function).await;
    let answer = function.succeed(&adopting).await;
    assert_stored(&function, &before);
    let changes = function.aws.take_changes();
    let position = |name: &str| changes.iter().position(|change| change == name).unwrap();
    assert!(position("TagResource") < position("PutLifecyclePolicy"));

    // ECR Warden's own policy is not stored when ECR Warden changes it.
    let change = update(&adopting, &answer["PhysicalResourceId"], "LifecycleScope", "repository");
    function.succeed(&change).await;
    assert_eq!(function.aws.take_changes(), ["PutLifecyclePolicy"]);
    assert_stored(&function, &before);

    // The tags keep the policy from before the adoption, also if somebody writes another one since.
    put_policy_of_team(&function, 30);
    function.succeed(&change).await;
    assert_stored(&function, &before);
}

#[tokio::test(start_paused = true)]
async fn a_new_adoption_replaces_the_stored_policy_of_an_earlier_adoption() {
    let function = Function::new().await;
    foreign(&function, "infrastructure");
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure";
    let earlier = ReplacedLifecycle::Policy(json!({"rules": ["earlier"]}).to_string());
    let mut tags = earlier.to_tags(&std::collections::BTreeMap::new());
    tags.insert("ecr-warden:adopted-by".to_owned(), "another stack".to_owned());
    let tags: Vec<Value> =
        tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    function.aws.by_hand("TagResource", &json!({"resourceArn": arn, "tags": tags})).unwrap();
    let adopting = adopting(&function).await;
    function.succeed(&adopting).await;
    assert_eq!(stored_policy(&function), Some(ReplacedLifecycle::NoPolicy));
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_an_adoption_say_that_there_was_no_lifecycle_policy() {
    let function = Function::new().await;
    foreign(&function, "infrastructure");
    let adopting = adopting(&function).await;
    let answer = function.succeed(&adopting).await;
    assert_eq!(stored_policy(&function), Some(ReplacedLifecycle::NoPolicy));

    let delete_policy = json!({"repositoryName": "infrastructure"});
    function.aws.by_hand("DeleteLifecyclePolicy", &delete_policy).unwrap();
    let change = update(&adopting, &answer["PhysicalResourceId"], "ScanOnPush", "false");
    function.succeed(&change).await;
    assert_eq!(stored_policy(&function), Some(ReplacedLifecycle::NoPolicy));
}

/// Removes every policy from the ledger.
async fn lose_policies(function: &Function, versions: &[&str]) {
    for version in versions {
        let key = json!({"fact": {"S": format!("policy {version}")}});
        let update = json!({
            "TableName": "warden-Ledger", "Key": key, "UpdateExpression": "REMOVE document",
        });
        function.aws.ask("dynamodb", "DynamoDB_20120810.UpdateItem", &update).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_roll_back_without_a_readable_policy_succeeds_and_keeps_the_lifecycle_policy() {
    for is_adopted in [false, true] {
        let function = Function::new().await;
        if is_adopted {
            foreign(&function, "infrastructure");
            put_policy_of_team(&function, 14);
        }
        let create = adopting(&function).await;
        let answer = function.succeed(&create).await;
        let change = update(&create, &answer["PhysicalResourceId"], "ScanOnPush", "false");
        function.succeed(&change).await;
        let settings = || {
            let mut state = function.aws.state();
            let repository = &state.ecr().repositories["infrastructure"];
            let scans = &repository.described["imageScanningConfiguration"]["scanOnPush"];
            (*scans == true, repository.lifecycle.clone())
        };
        let (_, lifecycle) = settings();
        assert!(!settings().0);
        lose_policies(&function, &["fedcba9876543210"]).await;
        assert!(function.fail(&rolled_back(&change)).await.contains("cannot be read"));
        function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
        function.succeed(&rolled_back(&change)).await;
        assert_eq!(settings(), (true, lifecycle), "{is_adopted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_ecr_warden_created_stores_no_lifecycle_policy() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    put_policy_of_team(&function, 14);
    let change = update(&created, &answer["PhysicalResourceId"], "LifecycleScope", "repository");
    function.succeed(&change).await;
    assert_eq!(stored_policy(&function), None);
}
