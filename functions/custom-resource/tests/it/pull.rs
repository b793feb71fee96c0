//! Tests the principals that may pull.

use local_aws::iam::Role;
use local_aws::policy::{Caller, Decision, Document, Request};
use serde_json::json;

use crate::{Function, delete, event, names, rolled_back, update, with};

const BUILDER: &str = "arn:aws:iam::123456789012:role/builder";

/// The repository policy in force.
fn policy(function: &Function) -> String {
    let mut state = function.aws.state();
    state.ecr().repositories["infrastructure"].policy.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_pull_principal_may_pull_and_no_other_principal() {
    let function = Function::new().await;
    let principals = json!([
        "210987654321",
        "arn:aws:iam::310987654321:role/ci/builder",
        "o-a1b2c3d4e5",
        "o-b1b2c3d4e5/r-ab12/ou-ab12-11111111",
        "o-c1b2c3d4e5/ou-cd34-33333333",
        "lambda.amazonaws.com",
    ]);
    let created =
        with(event("create-infrastructure"), "ResourceProperties.PullPrincipals", principals);
    function.succeed(&created).await;
    let policy = Document::parse(&policy(&function)).unwrap();
    let decide = |caller: &Caller, action: &str, context: &[(&str, &str)]| {
        let context =
            context.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]));
        policy.decide(&Request {
            caller: caller.clone(),
            action: action.to_owned(),
            resource: crate::ARN.to_owned(),
            context: context.collect(),
        })
    };
    let role = |arn: &str| Caller::Role { arn: arn.to_owned(), session: "session".to_owned() };
    let member = role("arn:aws:iam::555555555555:role/node");
    let lambda = Caller::Service("lambda.amazonaws.com".to_owned());
    let (organization, path) = ("aws:principalorgid", "aws:principalorgpaths");
    let (of_organization, of_path) = ("aws:sourceorgid", "aws:sourceorgpaths");
    let function_of = |account: &str| format!("arn:aws:lambda:us-east-1:{account}:function:f");
    let allowed = [
        (&role("arn:aws:iam::310987654321:role/ci/builder"), "", String::new()),
        (&member, organization, "o-a1b2c3d4e5".to_owned()),
        (&member, path, "o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/".to_owned()),
        (&member, path, "o-b1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/".to_owned()),
        (&member, path, "o-c1b2c3d4e5/r-cd34/ou-cd34-33333333/".to_owned()),
        (&member, path, "o-c1b2c3d4e5/r-cd34/ou-cd34-22222222/ou-cd34-33333333/".to_owned()),
        (&lambda, "aws:sourcearn", function_of("123456789012")),
        (&lambda, "aws:sourcearn", function_of("210987654321")),
        (&lambda, of_organization, "o-a1b2c3d4e5".to_owned()),
        (&lambda, of_path, "o-c1b2c3d4e5/r-cd34/ou-cd34-33333333/".to_owned()),
    ];
    for (caller, key, value) in allowed {
        let decided = decide(caller, "ecr:BatchGetImage", &[(key, &value)]);
        assert_eq!(decided, Decision::Allows, "{caller:?} {key} {value}");
        let pushes = decide(caller, "ecr:PutImage", &[(key, &value)]);
        assert_eq!(pushes, Decision::NoMatch, "{caller:?} {key} {value}");
    }
    let account = role("arn:aws:iam::210987654321:role/any");
    assert_eq!(decide(&account, "ecr:BatchGetImage", &[]), Decision::AllowsAccount);
    let refused = [
        (&role("arn:aws:iam::310987654321:role/ci/other"), "", String::new()),
        (&member, "", String::new()),
        (&member, organization, "o-b1b2c3d4e5".to_owned()),
        (&member, path, "o-b1b2c3d4e5/r-ab12/ou-ab12-99999999/".to_owned()),
        // Another organization may have a unit with the same ID.
        (&member, path, "o-d1b2c3d4e5/r-cd34/ou-cd34-33333333/".to_owned()),
        (&lambda, "", String::new()),
        (&lambda, "aws:sourcearn", function_of("555555555555")),
        (&lambda, "aws:sourcearn", "arn:aws:lambda:us-east-2:123456789012:function:f".to_owned()),
        (&lambda, of_organization, "o-b1b2c3d4e5".to_owned()),
        (
            &Caller::Service("ecs.amazonaws.com".to_owned()),
            of_organization,
            "o-a1b2c3d4e5".to_owned(),
        ),
    ];
    for (caller, key, value) in refused {
        let decided = decide(caller, "ecr:BatchGetImage", &[(key, &value)]);
        assert_eq!(decided, Decision::NoMatch, "{caller:?} {key} {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_exist_is_refused_before_any_other_change() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let _ = function.aws.take_changes();
    let change = with(created.clone(), "ResourceProperties.PullPrincipals", json!([BUILDER]));
    let change = update(&change, &answer["PhysicalResourceId"], "ScanOnPush", "false");
    let reason = function.fail(&change).await;
    for part in ["EcrWardenPullRoles", BUILDER, "Principal not found"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(function.aws.take_changes(), ["SetRepositoryPolicy"]);
    // A creation leaves no repository behind.
    function.succeed(&delete(&created, &answer)).await;
    let created = with(created, "ResourceProperties.PullPrincipals", json!([BUILDER]));
    let failed = function.answer(&created).await;
    assert_eq!(failed["Status"], "FAILED");
    function.succeed(&delete(&created, &failed)).await;
    assert!(names(&function).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_that_was_deleted_fails_an_update_and_never_a_roll_back() {
    let function = Function::new().await;
    function.aws.state().iam.roles.insert("builder".to_owned(), Role::default());
    let created =
        with(event("create-infrastructure"), "ResourceProperties.PullPrincipals", json!([BUILDER]));
    let answer = function.succeed(&created).await;
    function.aws.state().iam.roles.remove("builder");
    let change = update(&created, &answer["PhysicalResourceId"], "ScanOnPush", "false");
    let _ = function.aws.take_changes();
    let reason = function.fail(&change).await;
    assert!(reason.contains("Principal not found"), "{reason}");
    assert_eq!(function.aws.take_changes(), ["SetRepositoryPolicy"]);
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&rolled_back(&change)).await;
    // Without the role, the update succeeds and removes its statement.
    function.set_stack_status("UPDATE_IN_PROGRESS");
    let without = update(&created, &answer["PhysicalResourceId"], "PullPrincipals", json!([]));
    function.succeed(&without).await;
    let mut state = function.aws.state();
    assert_eq!(state.ecr().repositories["infrastructure"].policy, None);
}
