//! Tests plans by the policy of a request instead of the deployed policy. Nothing that follows from
//! such a policy reaches the registry or the ledger.

use local_aws::world::masked;
use serde_json::{Value, json};
use warden_core::policy::{CleanupEnforcement, Policy};

use crate::{DEPLOYMENTS, Function, digests, sorted};

/// The policy of the repository that the stack is deployed with.
pub async fn read_policy(function: &Function) -> Policy {
    let (context, repository) = (&function.context, DEPLOYMENTS.parse().unwrap());
    let found = context.policy.find_rule(&repository, &context.registry, &context.ledger).await;
    found.unwrap().unwrap()
}

/// The deployed policy, with another number of images to keep, and with deletions.
async fn with_keep(function: &Function, keep: u32) -> Policy {
    let mut policy = read_policy(function).await;
    let retention = policy.retention.as_mut().unwrap();
    (retention.keep, retention.enforcement) = (keep, CleanupEnforcement::Delete);
    policy
}

/// Reads the plan of a repository by this policy.
async fn read_by(function: &Function, policy: &Policy) -> Value {
    let repository = &policy.repository_name;
    let request =
        json!({"repository": repository, "mode": "report", "policy": policy.normalised()});
    function.ask(&request, "reading").await.unwrap()
}

/// Everything in the ledger.
async fn ledger_items(function: &Function) -> Value {
    let table = &function.function("image-sweep").environment["LEDGER_TABLE"];
    let scan = json!({"TableName": table});
    function.aws.ask("dynamodb", "DynamoDB_20120810.Scan", &scan).await.unwrap()["Items"].take()
}

#[tokio::test]
async fn a_plan_by_a_given_policy_has_its_removals_and_names_no_version() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 5);
    let deployed = function.read().await;
    let same = read_by(&function, &read_policy(&function).await).await;
    assert_eq!(digests(&deployed["removals"]), sorted(images[..3].to_vec()));
    assert_eq!(same["removals"], deployed["removals"]);
    assert_eq!((&same["hash"], &same["policy"]), (&deployed["hash"], &json!("given")));
    let stricter = read_by(&function, &with_keep(&function, 1).await).await;
    assert_eq!(digests(&stricter["removals"]), sorted(images[..4].to_vec()));
    assert_eq!((&stricter["mode"], &stricter["removed"]), (&json!("delete"), &json!(0)));
    let milder = read_by(&function, &with_keep(&function, 5).await).await;
    assert_eq!(milder["planned"], 0);
}

#[tokio::test]
async fn a_given_policy_changes_nothing_in_the_registry_and_in_the_ledger() {
    let function = Function::new("archive").await;
    function.sweep().await;
    let images = function.versions("a", 5);
    // An untagged image that the sweeps have not seen yet would be recorded by a sweep.
    function.push("", 50.0);
    function.record_tags(DEPLOYMENTS).await;
    let (ledger, alerts) = (ledger_items(&function).await, function.alerts());
    assert!(alerts.is_empty(), "{alerts:#?}");
    function.calls();
    let answer = read_by(&function, &with_keep(&function, 1).await).await;
    assert_eq!(answer["planned"], 4);
    let calls = function.calls();
    let reads = ["Describe", "Get", "BatchGet", "List"];
    let others: Vec<&String> =
        calls.iter().filter(|call| !reads.iter().any(|read| call.starts_with(read))).collect();
    assert!(others.is_empty() && calls.contains(&"DescribeImages".to_owned()), "{calls:?}");
    assert_eq!(ledger_items(&function).await, ledger);
    assert!(function.alerts().is_empty());
    // The next sweep follows the deployed policy, and needs no confirmation for that.
    let swept = function.sweep().await;
    assert_eq!(digests(&swept["removals"]), sorted(images[..3].to_vec()));
    assert_eq!(swept["removed"], 3);
}

#[tokio::test]
async fn a_given_policy_that_removes_more_waits_for_a_confirmation_as_after_a_deployment() {
    let function = Function::new("archive").await;
    function.sweep().await;
    function.versions("a", 5);
    function.record_tags(DEPLOYMENTS).await;
    let answer = read_by(&function, &with_keep(&function, 1).await).await;
    assert_eq!(answer["guard"], "unconfirmed", "{answer:#}");
    assert_eq!(function.read().await["stopped"], Value::Null);
}

#[tokio::test]
async fn a_given_policy_may_govern_a_repository_that_no_rule_of_the_deployed_policy_governs() {
    let function = Function::new("archive").await;
    let name = json!({"repositoryName": "team-a/web"});
    function.aws.by_hand("CreateRepository", &name).unwrap();
    for version in 0..5 {
        let mut state = function.aws.state();
        let at = crate::NOW - 90.0 * crate::DAY + f64::from(version);
        state.ecr().push_made_up("team-a/web", &[&format!("web-v1.{version}.0")], at).unwrap();
    }
    let mut policy = with_keep(&function, 2).await;
    policy.repository_name = "team-a/web".parse().unwrap();
    let answer = read_by(&function, &policy).await;
    assert_eq!((&answer["planned"], &answer["guard"]), (&json!(3), &json!("unconfirmed")));
    let swept = function.ask(&json!({"repository": "team-a/web"}), "request").await.unwrap_err();
    assert!(swept.to_string().contains("no rule of the policy"), "{swept:#}");
    policy.repository_name = "team-a/api".parse().unwrap();
    let request =
        json!({"repository": "team-a/api", "mode": "report", "policy": policy.normalised()});
    let error = function.ask(&request, "reading").await.unwrap_err();
    assert!(
        masked(&format!("{error:#}")).contains("listing the images of team-a/api"),
        "{error:#}"
    );
}

/// Its version is not deployed, so no repository was created under it.
#[tokio::test]
async fn a_plan_by_a_given_policy_waits_in_a_repository_that_was_created_under_the_deployed_policy()
{
    let function = Function::new("archive").await;
    function.aws.advance(std::time::Duration::from_secs(60));
    function.create_again();
    function.versions("a", 5);
    let given = read_by(&function, &with_keep(&function, 1).await).await;
    assert_eq!((&given["planned"], &given["confirmable"]), (&json!(4), &json!(true)));
    assert_eq!(function.read().await["confirmable"], false);
}
