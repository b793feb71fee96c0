//! A request is verified before it is believed (A6 to A8, A13 to A15).
//!
//! AWS's managed policy `AWSLambdaRole` grants `lambda:InvokeFunction` on every function: each
//! forged request below is an invocation by somebody who has that right and no other. The function
//! waits half a minute for an event of CloudFormation before it refuses such a request.

use local_aws::world::{self, STACK, World};
use local_aws::{ACCOUNT, REGION, RESPONSE_URL};
use serde_json::{Value, json};

use crate::deploy;

/// The logical ID of the repository that the forged requests name.
const INFRASTRUCTURE: &str = "InfrastructureRepository";

/// A request about a resource of the deployed stack, as CloudFormation writes requests.
fn request(world: &World, kind: &str, logical_id: &str, properties: &Value) -> Value {
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

/// The properties that a resource is deployed with, with one of them changed.
fn properties(world: &World, logical_id: &str, name: &str, value: impl Into<Value>) -> Value {
    let state = world.aws.state();
    let mut resources = state.stacks[0].resources.iter();
    let resource = resources.find(|resource| resource.id == logical_id).unwrap();
    let mut properties = resource.properties.clone();
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
    let mut state = world.aws.state();
    let id = state.stacks[0].id.clone();
    state.set_stack_status(&id, status);
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

#[tokio::test]
async fn a6_an_update_that_cloudformation_did_not_send_changes_nothing() {
    let world = deploy(&[]).await;
    let before = contents(&world);
    let mut properties = properties(&world, INFRASTRUCTURE, "ImageTagMutability", "MUTABLE");
    properties["PullPrincipals"] = json!(["999999999999"]);
    properties["LifecycleTagCount"] = "1".into();
    properties["LifecycleImpactLimit"] = "100000".into();
    let status = invoke(&world, request(&world, "Update", INFRASTRUCTURE, &properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "FAILED");
}

#[tokio::test]
async fn a7_a_delete_that_cloudformation_did_not_send_keeps_the_repository_and_its_images() {
    let world = deploy(&[]).await;
    let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
    let before = contents(&world);
    set_status(&world, "UPDATE_IN_PROGRESS");
    let properties = properties(&world, INFRASTRUCTURE, "OnDelete", "delete-with-images");
    let status = invoke(&world, request(&world, "Delete", INFRASTRUCTURE, &properties)).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "SUCCESS");
}

#[tokio::test]
async fn a8_a_push_pull_policy_for_another_repository_is_refused() {
    let world = deploy(&[]).await;
    world.aws.by_hand("CreateRepository", &json!({"repositoryName": "payments"})).unwrap();
    let before = contents(&world);
    let payments = json!([format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/payments")]);
    let properties = properties(&world, "PushPullPolicy", "RepositoryArns", payments);
    let forged = request(&world, "Update", "PushPullPolicy", &properties);
    let status = invoke(&world, forged).await;
    assert_eq!(contents(&world), before);
    assert_eq!(status, "FAILED");
    // Nor does a template that names another repository open it.
    world.aws.update_custom("PushPullPolicy", properties).await.unwrap_err();
    assert_eq!(contents(&world), before);
    assert_eq!(world.aws.state().stacks[0].status, "UPDATE_ROLLBACK_COMPLETE");
}

#[tokio::test]
async fn a13_a_principal_that_is_gone_stops_an_update_of_the_pull_principals_and_no_other() {
    let world = deploy(&[]).await;
    let theirs = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Audit", "Effect": "Allow", "Action": "ecr:DescribeImages",
        "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"},
    }]});
    {
        let mut state = world.aws.state();
        state.ecr().repository("infrastructure").unwrap().policy = Some(theirs.to_string());
    }
    let before = contents(&world);
    let mut change = properties(&world, INFRASTRUCTURE, "PullPrincipals", json!(["210987654321"]));
    change["LifecycleTagCount"] = "30".into();
    let refusal = world.aws.update_custom(INFRASTRUCTURE, change).await.unwrap_err().to_string();
    for part in ["Audit", "AROAEXAMPLEEXAMPLE123", "Principal not found"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert_eq!(contents(&world), before);
    let change = properties(&world, INFRASTRUCTURE, "ScanOnPush", "false");
    world.aws.update_custom(INFRASTRUCTURE, change).await.unwrap();
    let policy = world.aws.state().ecr().repositories["infrastructure"].policy.clone();
    assert_eq!(policy, Some(theirs.to_string()));
}

/// Deploys with `delete-with-images`, and invokes with a Delete while the stack has this status.
async fn delete_late(stack_status: &str) {
    let on_delete = "delete-with-images";
    let world = deploy(&[("OnRepositoryDelete", on_delete)]).await;
    let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
    let before = contents(&world);
    set_status(&world, stack_status);
    let properties = properties(&world, INFRASTRUCTURE, "OnDelete", on_delete);
    let status = invoke(&world, request(&world, "Delete", INFRASTRUCTURE, &properties)).await;
    assert_eq!(contents(&world), before, "{stack_status}");
    assert_eq!(status, "SUCCESS", "{stack_status}");
}

#[tokio::test]
async fn a14_a_late_delete_keeps_images_unless_cloudformation_deletes_the_resource() {
    tokio::join!(
        delete_late("UPDATE_IN_PROGRESS"),
        delete_late("CREATE_IN_PROGRESS"),
        delete_late("IMPORT_IN_PROGRESS"),
    );
}

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
    let change = properties(&world, INFRASTRUCTURE, "LifecycleTagCount", "30");
    world.aws.update_custom(INFRASTRUCTURE, change).await.unwrap_err();
    assert_eq!(contents(&world), before);
    // The roll-back changes nothing either, and the stack is not stuck.
    assert_eq!(world.aws.state().stacks[0].status, "UPDATE_ROLLBACK_COMPLETE");
}

#[tokio::test]
async fn an_update_and_a_removal_that_cloudformation_sent_are_carried_out() {
    let world = deploy(&[("OnRepositoryDelete", "delete-with-images")]).await;
    let _ = world.push("infrastructure", &["litellm-v1.0.0"]);
    let change = properties(&world, INFRASTRUCTURE, "RepositoryName", "platform");
    // CloudFormation updates the role before the resource.
    let renamed = [("InfrastructureRepositoryName", "platform")];
    world::take_role(&world.aws, STACK, &renamed, "CustomResourceRole").unwrap();
    world.aws.update_custom(INFRASTRUCTURE, change).await.unwrap();
    let names = |world: &World| -> Vec<String> {
        world.aws.state().ecr().repositories.keys().cloned().collect()
    };
    assert_eq!(names(&world), ["deployments", "platform"], "the replaced repository is deleted");
    for logical_id in [
        "PushPullPolicy",
        "InfrastructurePushPullPolicy",
        "DeploymentsPushPullPolicy",
        INFRASTRUCTURE,
    ] {
        world.aws.remove_custom(logical_id).await.unwrap();
    }
    assert_eq!(names(&world), ["deployments"]);
    let policies = world.aws.state().iam.policies.keys().cloned().collect::<Vec<_>>();
    let of_operators = ["OperatorPolicyArn", "RestorePolicyArn"];
    assert_eq!(policies, of_operators.map(|output| world.outputs[output].as_str()));
}

/// During an update of the same resource the properties of a forged request can be the true ones.
#[tokio::test]
async fn an_update_with_old_properties_that_cloudformation_never_sent_is_refused() {
    let role = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let world = deploy(&[("CiCdRoleArns", "")]).await;
    let ours = properties(&world, "PushPullPolicy", "AttachToRoleArns", json!([]));
    set_status(&world, "UPDATE_IN_PROGRESS");
    let mut update = request(&world, "Update", "PushPullPolicy", &ours);
    world.aws.state().record_request(&update);
    let before = contents(&world);
    // The role is one that the forger wants to lose the policy.
    update["OldResourceProperties"] = ours.clone();
    update["OldResourceProperties"]["AttachToRoleArns"] = json!([role("deployer")]);
    assert_eq!(invoke(&world, update.clone()).await, "FAILED");
    assert_eq!(contents(&world), before);
    // CloudFormation sends the properties of the event before.
    update["OldResourceProperties"] = ours;
    assert_eq!(invoke(&world, update).await, "SUCCESS");
}
