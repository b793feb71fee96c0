//! A request is verified before it is believed (A6 to A8, A13 to A15).
//!
//! AWS's managed policy `AWSLambdaRole` grants `lambda:InvokeFunction` on every function: each
//! forged request below is an invocation by somebody who has that right and no other.

use local_aws::world::{self, World};
use local_aws::{ACCOUNT, REGION, RESPONSE_URL};
use serde_json::{Value, json};

use crate::deploy;

/// The logical ID of the repository that the forged requests name.
const INFRASTRUCTURE: &str = "InfrastructureRepository";

/// A request about a resource of the deployed stack, as CloudFormation writes requests.
fn request(world: &World, kind: &str, logical_id: &str, properties: Value) -> Value {
    let state = world.aws.state();
    let stack = &state.stacks[0];
    let resource = stack.resources.iter().find(|resource| resource.id == logical_id).unwrap();
    let endpoint = world.aws.endpoint().unwrap();
    let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap();
    json!({
        "RequestType": kind,
        "RequestId": "forged",
        "StackId": stack.id,
        "ResponseURL": format!("{endpoint}/{path}"),
        "ResourceType": resource.kind,
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceProperties": properties,
    })
}

/// The properties of the repository `infrastructure`, with one of them changed.
fn properties(name: &str, value: impl Into<Value>) -> Value {
    let mut event = world::event("custom-resource", "create-infrastructure");
    let mut properties = event["ResourceProperties"].take();
    properties[name] = value.into();
    properties
}

/// Invokes the function of the custom resources. Gives the status that it answered.
async fn invoke(world: &World, request: Value) -> Value {
    let function = &world.function("custom-resource").name;
    let invoked = world.aws.lambda().invoke(function, request).await.unwrap();
    assert_eq!(invoked.error, None, "{}", invoked.log);
    let mut answers = std::mem::take(&mut world.aws.state().answers);
    assert_eq!(answers.len(), 1, "{answers:#?}");
    answers[0]["Status"].take()
}

/// Sets what CloudFormation does with the stack.
fn set_status(world: &World, status: &str) {
    status.clone_into(&mut world.aws.state().stacks[0].status);
}

/// Every setting and image of the repositories, and every managed policy.
fn contents(world: &World) -> Value {
    let mut state = world.aws.state();
    let policies: Vec<Value> = state
        .iam
        .policies
        .iter()
        .map(|(arn, policy)| json!([arn, policy.versions, policy.roles]))
        .collect();
    let repositories: Vec<Value> = state
        .ecr()
        .repositories
        .iter()
        .map(|(name, repository)| {
            let digests = repository.images.iter().map(|image| image.digest.as_str());
            let digests: Vec<&str> = digests.collect();
            let settings = (&repository.described, &repository.lifecycle, &repository.policy);
            json!([name, settings, repository.tags, digests])
        })
        .collect();
    json!({"repositories": repositories, "policies": policies})
}

#[ignore = "A6: not fixed yet"]
#[tokio::test]
async fn a6_an_update_that_cloudformation_did_not_send_changes_nothing() {
    let world = deploy(&[]).await;
    let before = contents(&world);
    let mut properties = properties("ImageTagMutability", "MUTABLE");
    properties["PullPrincipals"] = json!(["999999999999"]);
    properties["LifecycleTagCount"] = "1".into();
    properties["LifecycleImpactLimit"] = "100000".into();
    let status = invoke(&world, request(&world, "Update", INFRASTRUCTURE, properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "FAILED");
}

#[ignore = "A7: not fixed yet"]
#[tokio::test]
async fn a7_a_delete_that_cloudformation_did_not_send_keeps_the_repository_and_its_images() {
    let world = deploy(&[]).await;
    let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
    let before = contents(&world);
    set_status(&world, "UPDATE_IN_PROGRESS");
    let properties = properties("OnDelete", "delete-with-images");
    let status = invoke(&world, request(&world, "Delete", INFRASTRUCTURE, properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "SUCCESS");
}

#[ignore = "A8: not fixed yet"]
#[tokio::test]
async fn a8_a_push_pull_policy_for_another_repository_is_refused() {
    let world = deploy(&[]).await;
    world.aws.by_hand("CreateRepository", &json!({"repositoryName": "payments"})).unwrap();
    let before = contents(&world);
    let payments = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/payments");
    let properties = json!({"RepositoryArns": [payments]});
    let status = invoke(&world, request(&world, "Update", "PushPullPolicy", properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "FAILED");
}

/// Deploys with `delete-with-images`, and invokes with a Delete while the stack has this status.
async fn delete_late(stack_status: &str) {
    let on_delete = "delete-with-images";
    let world = deploy(&[("OnRepositoryDelete", on_delete)]).await;
    let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
    let before = contents(&world);
    set_status(&world, stack_status);
    let properties = properties("OnDelete", on_delete);
    let status = invoke(&world, request(&world, "Delete", INFRASTRUCTURE, properties)).await;
    assert_eq!(contents(&world), before, "{stack_status}");
    assert_eq!(status, "SUCCESS", "{stack_status}");
}

#[ignore = "A14: not fixed yet"]
#[tokio::test]
async fn a14_a_late_delete_keeps_images_unless_cloudformation_deletes_the_resource() {
    tokio::join!(
        delete_late("UPDATE_IN_PROGRESS"),
        delete_late("CREATE_IN_PROGRESS"),
        delete_late("IMPORT_IN_PROGRESS"),
    );
}

#[ignore = "A15: not fixed yet"]
#[tokio::test]
async fn a15_an_update_of_a_repository_that_somebody_made_in_place_of_ours_is_refused() {
    let world = deploy(&[]).await;
    let name = json!({"repositoryName": "infrastructure", "force": true});
    world.aws.by_hand("DeleteRepository", &name).unwrap();
    // Encrypted alike: encryption is no reason to refuse.
    let theirs = json!({
        "repositoryName": "infrastructure",
        "encryptionConfiguration": {"encryptionType": "KMS"},
    });
    world.aws.by_hand("CreateRepository", &theirs).unwrap();
    let _ = world.push("infrastructure", &["theirs"]);
    let before = contents(&world);
    set_status(&world, "UPDATE_IN_PROGRESS");
    let properties = properties("LifecycleTagCount", "30");
    let status = invoke(&world, request(&world, "Update", INFRASTRUCTURE, properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "FAILED");
}
