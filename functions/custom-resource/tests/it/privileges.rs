use std::collections::BTreeSet;

use local_aws::Fault;
use local_aws::authorization::mutation::{Mutant, Record};
use local_aws::world::{TEMPLATE, take_role};
use serde_json::{Value, json};

use crate::{Function, ci_roles, delete, event, own, push_sixty, rolled_back, update, with};

/// A customer managed key.
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The actions that AWS checks beside the calls: for tags that are set on creation, for ECR's use of a
/// customer managed key, and for the log that Lambda writes.
const DEPENDENT: [&str; 8] = [
    "iam:TagPolicy",
    "kms:CreateGrant",
    "kms:DescribeKey",
    "kms:RetireGrant",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

/// Makes every call that the function can make, and returns the function.
async fn call_everything() -> Function {
    let function = Function::new().await;
    let created = event("create-governance");
    let answer = function.succeed(&created).await;
    function.succeed(&delete(&created, &answer)).await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    function.succeed(&event("update-infrastructure")).await;
    function.succeed(&rolled_back(&event("update-infrastructure"))).await;
    let mutable = update(&created, &answer["PhysicalResourceId"], "ImageTagMutability", "MUTABLE");
    let mutable = with(mutable, "ResourceProperties.OnDelete", "delete-with-images");
    function.succeed(&mutable).await;
    push_sixty(&function);
    let scope = with(mutable, "ResourceProperties.LifecycleScope", "repository");
    function.aws.fault("GetLifecyclePolicyPreview", 3, Fault::Error(400, "ValidationException"));
    function.fail(&scope).await;
    function
        .succeed(&with(
            delete(&created, &answer),
            "ResourceProperties.OnDelete",
            "delete-with-images",
        ))
        .await;

    function.aws.state().iam.roles.extend(ci_roles());
    own(&function.aws, &["apps", "deployments", "infrastructure"]);
    let created = event("create-push-pull-policy");
    let answer = function.succeed(&created).await;
    let arns = json!(["arn:aws:ecr:us-east-1:123456789012:repository/apps"]);
    function
        .succeed(&update(&created, &answer["PhysicalResourceId"], "RepositoryArns", arns))
        .await;
    function.succeed(&delete(&created, &answer)).await;

    function
}

/// The calls of the function.
fn called(function: &Function) -> BTreeSet<String> {
    let state = function.aws.state();
    let calls = state.calls.iter().filter(|call| call.operation != "Answer");
    calls.map(|call| format!("{}:{}", call.service, call.operation)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_role_grants_what_the_function_calls_and_nothing_else() {
    let granted = TEMPLATE.actions("CustomResourceRole");
    let mut needed = called(&call_everything().await);
    needed.extend(DEPENDENT.map(str::to_owned));
    assert_eq!(granted, needed);
}

/// The statements of the role that Lambda uses instead of the function. The processes of `tests/it`
/// exercise these statements.
const OF_LAMBDA: [&str; 2] = ["WriteLogs", "WriteTraces"];

#[tokio::test(start_paused = true)]
async fn a_mistake_in_any_statement_of_the_role_is_denied_something() {
    let function = call_everything().await;
    for name in ["infrastructure", "deployments"] {
        let delete = json!({"repositoryName": name, "force": true});
        function.aws.by_hand("DeleteRepository", &delete).unwrap();
    }
    // A key, a second repository, and the attempts of a stolen role.
    let created = with(event("create-deployments"), "ResourceProperties.KmsKey", KEY);
    let created = with(created, "ResourceProperties.EncryptionType", "KMS");
    let answer = function.succeed(&created).await;
    let parameters = [
        ("KmsKeyArn", KEY),
        ("EnableEncryption", "true"),
        ("CiCdRoleArns", "arn:aws:iam::123456789012:role/ci/github-actions"),
        ("Tracing", "Active"),
    ];
    let deleted =
        with(delete(&created, &answer), "ResourceProperties.OnDelete", "delete-with-images");
    function.succeed(&deleted).await;
    let role = "CustomResourceRole";
    take_role(&function.aws, "warden", &parameters, role).unwrap();
    let stolen = "arn:aws:iam::123456789012:role/ecr-warden/warden-CustomResourceRole";
    let stack = created["StackId"].as_str().unwrap();
    let other = json!([{"Key": "ecr-warden:owner", "Value": "arn:aws:cloudformation:us-east-1:123456789012:stack/other/1/Repository"}]);
    for name in ["infrastructure", "deployments"] {
        let create = json!({"repositoryName": name, "tags": other});
        function.aws.by_hand("CreateRepository", &create).unwrap();
        let arn = format!("arn:aws:ecr:us-east-1:123456789012:repository/{name}");
        let ours = json!([{"Key": "ecr-warden:owner", "Value": format!("{stack}/Repository")}]);
        let tag = json!({"resourceArn": arn, "tags": ours});
        denied(&function, stolen, "ecr", "TagResource", &tag).await;
        let untag = json!({"resourceArn": arn, "tagKeys": ["team"]});
        function.aws.call_as(stolen, "ecr", "UntagResource", &untag).await.unwrap();
    }
    let policy =
        "arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy";
    let detach = json!({"RoleName": "warden-CustomResourceRole", "PolicyArn": policy});
    denied(&function, stolen, "iam", "DetachRolePolicy", &detach).await;
    let record = Record::new(&mut function.aws.state()).unwrap();
    let mut mutants = record.mutants();
    mutants.retain(|mutant, _| !OF_LAMBDA.contains(&mutant.sid.as_str()));
    let missed: Vec<&Mutant> =
        mutants.iter().filter(|(_, is_caught)| !**is_caught).map(|(mutant, _)| mutant).collect();
    let seen: BTreeSet<String> = mutants.keys().map(|mutant| mutant.sid.clone()).collect();
    let statements = TEMPLATE.statements().into_iter();
    let statements =
        statements.filter(|(id, sid)| id == role && !OF_LAMBDA.contains(&sid.as_str()));
    let statements: BTreeSet<String> = statements.map(|(_, sid)| sid).collect();
    assert_eq!(seen, statements);
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        let (all, caught) = (mutants.len(), mutants.len() - missed.len());
        println!("{role}: {} statements, {all} mutants, {caught} caught", statements.len());
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

async fn denied(function: &Function, role: &str, service: &str, operation: &str, input: &Value) {
    let (status, body) = function.aws.call_as(role, service, operation, input).await.unwrap();
    let reason = "with an explicit deny in an identity-based policy";
    assert!(status >= 400 && body.contains(reason), "{operation}: {status} {body}");
}
