//! A team leaves ECR Warden: the lifecycle policy from before an adoption comes back.

use ecr_warden::lifecycle::{LifecycleOutcome, restore_replaced};
use local_aws::LocalAws;
use local_aws::world::{NOW, World};
use serde_json::{Value, json};
use warden_aws::registry::Registry;
use warden_aws::registry::replaced_lifecycle::ReplacedLifecycle;
use warden_core::image::RepositoryName;
use warden_core::lifecycle::{have_same_rules, is_written_by_warden};

use crate::faults::function::create_custom_resource;
use crate::rights::stranger;

/// A lifecycle policy that expires untagged images after so many days.
fn policy_of_team(days: u32) -> String {
    let rule = json!({
        "rulePriority": 1,
        "selection": {
            "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days",
            "countNumber": days,
        },
        "action": {"type": "expire"},
    });
    json!({"rules": [rule]}).to_string()
}

fn put_policy(aws: &LocalAws, text: &str) {
    let input = json!({"repositoryName": "infrastructure", "lifecyclePolicyText": text});
    aws.by_hand("PutLifecyclePolicy", &input).unwrap();
}

fn policy_in_force(aws: &LocalAws) -> Option<String> {
    aws.state().ecr().repositories["infrastructure"].lifecycle.clone()
}

/// Adopts a repository that has this lifecycle policy.
async fn adopt(policy: Option<&str>) -> World {
    let aws = LocalAws::default();
    aws.state().set_clock(Some(NOW));
    for name in ["infrastructure", "deployments"] {
        aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
    }
    if let Some(policy) = policy {
        put_policy(&aws, policy);
    }
    let parameters = [("OnExistingRepository", "adopt"), ("EnableEncryption", "false")];
    World::deploy_with(aws, &parameters, create_custom_resource).await
}

async fn restore(aws: &LocalAws, apply: bool) -> LifecycleOutcome {
    let registry = Registry::new(&aws.config_of(&stranger(aws)));
    let repository: RepositoryName = "infrastructure".parse().unwrap();
    let shown = restore_replaced(&registry, &repository, None).await.unwrap();
    let hash = match &shown {
        LifecycleOutcome::Restorable(replaced) => replaced.hash(),
        _ => "0123456789abcdef".to_owned(),
    };
    if apply { restore_replaced(&registry, &repository, Some(&hash)).await.unwrap() } else { shown }
}

#[tokio::test(start_paused = true)]
async fn the_lifecycle_policy_from_before_an_adoption_is_put_back() {
    let before = policy_of_team(14);
    let aws = adopt(Some(&before)).await.aws;
    let adopted = policy_in_force(&aws).unwrap();
    assert!(is_written_by_warden(&adopted), "{adopted}");

    let LifecycleOutcome::Restorable(ReplacedLifecycle::Policy(stored)) =
        restore(&aws, false).await
    else {
        panic!("nothing can be put back");
    };
    assert!(have_same_rules(&stored, &before), "{stored}");
    assert_eq!(policy_in_force(&aws), Some(adopted.clone()), "the command only shows the policy");
    // The hash of a policy that the tags do not hold puts nothing back.
    let registry = Registry::new(&aws.config_of(&stranger(&aws)));
    let repository = "infrastructure".parse().unwrap();
    let other = ReplacedLifecycle::Policy(policy_of_team(30)).hash();
    restore_replaced(&registry, &repository, Some(&other)).await.unwrap_err();
    assert_eq!(policy_in_force(&aws), Some(adopted));

    assert!(matches!(restore(&aws, true).await, LifecycleOutcome::Restored(_)));
    assert!(have_same_rules(&policy_in_force(&aws).unwrap(), &before));
    assert_eq!(restore(&aws, true).await, LifecycleOutcome::InForce);
}

#[tokio::test(start_paused = true)]
async fn a_repository_without_a_lifecycle_policy_before_its_adoption_loses_the_policy_of_ecr_warden()
 {
    let aws = adopt(None).await.aws;
    let restored = LifecycleOutcome::Restored(ReplacedLifecycle::NoPolicy);
    assert_eq!(restore(&aws, true).await, restored);
    assert_eq!(policy_in_force(&aws), None);
    assert_eq!(restore(&aws, true).await, LifecycleOutcome::InForce);
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_policy_that_somebody_else_wrote_since_stays() {
    let aws = adopt(Some(&policy_of_team(14))).await.aws;
    let since = policy_of_team(30);
    put_policy(&aws, &since);
    assert!(matches!(restore(&aws, true).await, LifecycleOutcome::ChangedSince(_)));
    assert!(have_same_rules(&policy_in_force(&aws).unwrap(), &since));

    aws.by_hand("DeleteLifecyclePolicy", &json!({"repositoryName": "infrastructure"})).unwrap();
    assert!(matches!(restore(&aws, true).await, LifecycleOutcome::ChangedSince(_)));
    assert_eq!(policy_in_force(&aws), None);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_the_stack_created_has_no_lifecycle_policy_to_put_back() {
    let aws = LocalAws::default();
    aws.state().set_clock(Some(NOW));
    let world = World::deploy_with(aws, &[], create_custom_resource).await;
    assert_eq!(restore(&world.aws, true).await, LifecycleOutcome::NothingStored);
    let policy: Value = serde_json::from_str(&policy_in_force(&world.aws).unwrap()).unwrap();
    assert!(policy["rules"].is_array());
}
