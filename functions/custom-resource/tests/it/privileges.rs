use std::collections::BTreeSet;

use local_aws::Fault;
use local_aws::iam::Role;
use local_aws::world::TEMPLATE;
use serde_json::json;

use crate::{Function, delete, event, own, push_sixty, rolled_back, update, with};

/// What the calls depend on without being called: tags that are set on creation, ECR's use
/// of a customer's key, and Lambda's writing of the log.
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

/// Every call that the function can make, by making all of them.
async fn called() -> BTreeSet<String> {
    let function = Function::new();
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

    let roles = ["github-actions", "gitlab"].map(|name| (name.to_owned(), Role::default()));
    function.aws.state().iam.roles.extend(roles);
    own(&function.aws, &["apps", "deployments", "infrastructure"]);
    let created = event("create-push-pull-policy");
    let answer = function.succeed(&created).await;
    let arns = json!(["arn:aws:ecr:us-east-1:123456789012:repository/apps"]);
    function
        .succeed(&update(&created, &answer["PhysicalResourceId"], "RepositoryArns", arns))
        .await;
    function.succeed(&delete(&created, &answer)).await;

    let created = event("create-pull-time-exclusion");
    let answer = function.succeed(&created).await;
    function.succeed(&delete(&created, &answer)).await;

    let state = function.aws.state();
    let calls = state.calls.iter().filter(|call| call.operation != "Answer");
    calls.map(|call| format!("{}:{}", call.service, call.operation)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_role_grants_what_the_function_calls_and_nothing_else() {
    let granted = TEMPLATE.actions("CustomResourceRole");
    let mut needed = called().await;
    needed.extend(DEPENDENT.map(str::to_owned));
    assert_eq!(granted, needed);
}
