use std::time::Duration;

use custom_resource::handle;
use expect_test::expect;
use local_aws::Fault;
use local_aws::iam;
use serde_json::{Value, json};

use crate::{
    Function, STACK_ID, TIME_LEFT, calls, ci_roles, delete, event, foreign, invocation, own,
    rolled_back, update, with,
};

const ARN: &str =
    "arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy";

/// A function in a stack that has the repositories of `create-push-pull-policy`.
async fn function() -> Function {
    let function = Function::new().await;
    own(&function.aws, &["deployments", "infrastructure"]);
    function
}

async fn made() -> (Function, Value, Value) {
    let function = function().await;
    function.aws.state().iam.roles.extend(ci_roles());
    let request = event("create-push-pull-policy");
    let answer = function.succeed(&request).await;
    (function, request, answer)
}

fn policy(function: &Function) -> iam::Policy {
    function.aws.state().iam.policies[ARN].clone()
}

#[tokio::test(start_paused = true)]
async fn the_policy_grants_the_guides_eight_actions_and_no_other() {
    let (function, request, answer) = made().await;
    assert_eq!(answer["PhysicalResourceId"], ARN);
    assert_eq!(answer["Data"], json!({"PolicyArn": ARN}));
    let policy = policy(&function);
    let document: Value = serde_json::from_str(&policy.versions[&1]).unwrap();
    expect![[r#"
        {
          "Statement": [
            {
              "Action": "ecr:GetAuthorizationToken",
              "Effect": "Allow",
              "Resource": "*",
              "Sid": "Login"
            },
            {
              "Action": [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart"
              ],
              "Effect": "Allow",
              "Resource": [
                "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure",
                "arn:aws:ecr:us-east-1:123456789012:repository/deployments"
              ],
              "Sid": "PushAndPull"
            }
          ],
          "Version": "2012-10-17"
        }"#]]
    .assert_eq(&format!("{document:#}"));
    assert_eq!(Vec::from_iter(&policy.roles), ["github-actions"]);
    assert_eq!(function.aws.take_changes(), ["CreatePolicy", "AttachRolePolicy"]);

    assert_eq!(function.succeed(&request).await, answer, "delivered twice");
    assert!(function.aws.take_changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_resource_of_the_stack_has_a_policy_of_its_own() {
    let (function, both, answer) = made().await;
    let infrastructure = "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure";
    let one = with(both.clone(), "LogicalResourceId", "InfrastructurePushPullPolicy");
    let one = with(one, "ResourceProperties.RepositoryArns", json!([infrastructure]));
    let one = with(one, "ResourceProperties.AttachToRoleArns", json!([""]));
    let answer_of_one = function.succeed(&one).await;
    let arn = "arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-InfrastructurePushPullPolicy";
    assert_eq!(answer_of_one["PhysicalResourceId"], arn);
    assert_eq!(answer_of_one["Data"], json!({"PolicyArn": arn}));
    let resources = |arn: &str| {
        let policy = function.aws.state().iam.policies[arn].clone();
        let document: Value = serde_json::from_str(&policy.versions[&policy.default]).unwrap();
        document["Statement"][1]["Resource"].clone()
    };
    assert_eq!(resources(arn), json!([infrastructure]));
    assert_eq!(resources(ARN).as_array().unwrap().len(), 2);

    // The Delete of a resource never removes the policy of another resource.
    let foreign = with(delete(&one, &answer_of_one), "PhysicalResourceId", ARN);
    function.succeed(&foreign).await;
    assert_eq!(function.aws.state().iam.policies.len(), 2);
    function.succeed(&delete(&one, &answer_of_one)).await;
    assert!(function.aws.state().iam.policies.keys().eq([ARN]));
    function.succeed(&delete(&both, &answer)).await;
    assert!(function.aws.state().iam.policies.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_update_detaches_only_roles_that_it_attached() {
    let (function, request, answer) = made().await;
    function.aws.state().iam.policies.get_mut(ARN).unwrap().roles.insert("by-hand".to_owned());
    let roles = json!(["arn:aws:iam::123456789012:role/gitlab"]);
    let change = update(&request, &answer["PhysicalResourceId"], "AttachToRoleArns", roles);
    function.succeed(&change).await;
    assert_eq!(Vec::from_iter(&policy(&function).roles), ["by-hand", "gitlab"]);
    function.succeed(&rolled_back(&change)).await;
    assert_eq!(Vec::from_iter(&policy(&function).roles), ["by-hand", "github-actions"]);
}

#[tokio::test(start_paused = true)]
async fn versions_stay_below_the_limit_and_the_newest_version_is_the_default() {
    let (function, request, answer) = made().await;
    for n in 2..=9_u32 {
        own(&function.aws, &[&format!("number-{n}")]);
        let arns = json!([format!("arn:aws:ecr:us-east-1:123456789012:repository/number-{n}")]);
        function
            .succeed(&update(&request, &answer["PhysicalResourceId"], "RepositoryArns", arns))
            .await;
        let policy = policy(&function);
        assert!(policy.versions.len() <= 5);
        assert!(policy.versions[&policy.default].contains(&format!("number-{n}")));
    }
    assert_eq!(policy(&function).versions.keys().collect::<Vec<_>>(), [&5, &6, &7, &8, &9]);
    // The Delete removes all versions of the policy.
    function.succeed(&delete(&request, &answer)).await;
    assert!(function.aws.state().iam.policies.is_empty());
}

#[tokio::test(start_paused = true)]
async fn any_update_corrects_drift() {
    let (function, request, answer) = made().await;
    let again = update(&request, &answer["PhysicalResourceId"], "PolicyVersion", "2");
    {
        let mut state = function.aws.state();
        let policy = state.iam.policies.get_mut(ARN).unwrap();
        policy.roles.clear();
        policy.versions.insert(1, "{}".to_owned());
    }
    let _ = function.aws.take_changes();
    function.succeed(&again).await;
    assert_eq!(function.aws.take_changes(), ["CreatePolicyVersion", "AttachRolePolicy"]);
    function.aws.state().iam.policies.clear();
    function.succeed(&again).await;
    assert_eq!(function.aws.take_changes(), ["CreatePolicy", "AttachRolePolicy"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_role_fails_an_update_and_never_its_roll_back() {
    let (function, request, answer) = made().await;
    {
        let mut state = function.aws.state();
        state.iam.roles.remove("github-actions");
        state.iam.policies.get_mut(ARN).unwrap().roles.clear();
    }
    let roles = json!(["arn:aws:iam::123456789012:role/nobody"]);
    let change = update(&request, &answer["PhysicalResourceId"], "AttachToRoleArns", roles);
    let reason = function.fail(&change).await;
    expect!["policy arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy: attach the policy to the role nobody: NoSuchEntity: The role with name nobody cannot be found."].assert_eq(&reason);
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&rolled_back(&change)).await;
    function.aws.fault("AttachRolePolicy", 0, Fault::Error(403, "AccessDenied"));
    function.succeed(&rolled_back(&change)).await;
    // A failure whose cause is unknown is no success.
    function.aws.fault("DescribeStacks", 0, Fault::Error(500, "InternalFailure"));
    expect!["policy arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy: attach the policy to the role github-actions: AccessDenied: made to fail"].assert_eq(&function.fail(&rolled_back(&change)).await);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_rights_that_take_effect_late() {
    let function = function().await;
    function.aws.state().iam.roles.extend(ci_roles());
    for nth in 1..=3 {
        function.aws.fault("AttachRolePolicy", nth, Fault::Error(403, "AccessDenied"));
    }
    function.succeed(&event("create-push-pull-policy")).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_others_attached_is_kept() {
    let (function, request, answer) = made().await;
    function.aws.state().iam.policies.get_mut(ARN).unwrap().users.insert("ana".to_owned());
    function.succeed(&delete(&request, &answer)).await;
    let policy = policy(&function);
    assert!(policy.roles.is_empty(), "what we attached goes");
    assert_eq!(Vec::from_iter(&policy.users), ["ana"]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_somebody_else_does_not_change() {
    let function = function().await;
    function.aws.state().iam.policies.insert(
        ARN.to_owned(),
        iam::Policy {
            versions: [(1, "{}".to_owned())].into(),
            default: 1,
            ..iam::Policy::default()
        },
    );
    let request = event("create-push-pull-policy");
    let answer = function.answer(&request).await;
    expect!["the policy arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy exists already, and this resource did not create it; nothing was changed. Delete the policy, or deploy the stack under another name"].assert_eq(answer["Reason"].as_str().unwrap());
    assert_eq!(answer["PhysicalResourceId"], "ecr-warden:nothing-made");
    function.succeed(&delete(&request, &answer)).await;
    for id in [
        ARN,
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "arn:aws:iam::123456789012:policy/other",
        "x",
    ] {
        function.succeed(&with(delete(&request, &answer), "PhysicalResourceId", id)).await;
    }
    assert!(function.aws.take_changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_is_removed_and_the_next_creation_succeeds() {
    let function = function().await;
    // IAM evaluates a role that does not exist as a role without a path.
    let role = json!(["arn:aws:iam::123456789012:role/github-actions"]);
    let request =
        with(event("create-push-pull-policy"), "ResourceProperties.AttachToRoleArns", role);
    let answer = function.answer(&request).await;
    expect!["policy arn:aws:iam::123456789012:policy/ecr-warden/warden-us-east-1-5f2c1a30-PushPullPolicy: attach the policy to the role github-actions: NoSuchEntity: The role with name github-actions cannot be found."].assert_eq(answer["Reason"].as_str().unwrap());
    assert_eq!(answer["PhysicalResourceId"], ARN);
    function.succeed(&delete(&request, &answer)).await;
    assert!(function.aws.state().iam.policies.is_empty());
    function.aws.state().iam.roles.insert("github-actions".to_owned(), iam::Role::default());
    function.succeed(&request).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_succeeds_within_the_request() {
    let function = function().await;
    function.aws.state().iam.roles.extend(ci_roles());
    function.aws.fault("CreatePolicy", 1, Fault::ResetAfter);
    function.succeed(&event("create-push-pull-policy")).await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_races_with_an_attachment_keeps_the_policy() {
    let (function, request, answer) = made().await;
    function.aws.fault("DeletePolicy", 1, Fault::Error(409, "DeleteConflict"));
    function.succeed(&delete(&request, &answer)).await;
    assert_eq!(function.aws.state().iam.policies.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delete_succeeds_if_its_own_copy_deleted_the_policy_first() {
    // Lambda may deliver a request twice at the same time. The slower copy used to answer FAILED, which
    // CloudFormation accepts if this answer arrives first.
    for call in ["GetPolicyVersion", "ListPolicyVersions", "ListEntitiesForPolicy"] {
        let (function, request, answer) = made().await;
        let request = delete(&request, &answer);
        function.aws.state().answers.clear();
        function.aws.fault(call, 1, Fault::Slow(Duration::from_secs(2)));
        let invocation = invocation(&function.aws, TIME_LEFT);
        function.record_request(&request);
        let copy = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            handle(&function.context, &request, &invocation).await;
        };
        tokio::join!(handle(&function.context, &request, &invocation), copy);
        let answers = std::mem::take(&mut function.aws.state().answers);
        assert_eq!(answers.len(), 2, "{call}");
        assert_eq!(answers[0], answers[1], "{call}");
        assert_eq!(answers[0]["Status"], "SUCCESS", "{call}");
        assert!(function.aws.state().iam.policies.is_empty(), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_names_only_repositories_of_its_stack() {
    let (function, request, answer) = made().await;
    foreign(&function, "payments");
    let adopted = |name: &str, stack: &str| {
        let mark = json!({"Key": "ecr-warden:adopted-by", "Value": format!("{stack}/Repository")});
        let input = json!({"repositoryName": name, "tags": [mark]});
        function.aws.by_hand("CreateRepository", &input).unwrap();
    };
    adopted("adopted", STACK_ID);
    // The name of the stack alone is not the ID of the stack.
    adopted("of-another-stack", &format!("{STACK_ID}0"));
    let arn = |name: &str| json!([format!("arn:aws:ecr:us-east-1:123456789012:repository/{name}")]);
    let change =
        |name: &str| update(&request, &answer["PhysicalResourceId"], "RepositoryArns", arn(name));
    let _ = function.aws.take_changes();
    let mut reasons = String::new();
    for name in ["payments", "of-another-stack", "missing"] {
        reasons += &format!("{}\n", function.fail(&change(name)).await);
    }
    expect![[r#"
        RepositoryArns: arn:aws:ecr:us-east-1:123456789012:repository/payments is not a repository of this stack, so nothing was changed
        RepositoryArns: arn:aws:ecr:us-east-1:123456789012:repository/of-another-stack is not a repository of this stack, so nothing was changed
        RepositoryArns: listing the tags of arn:aws:ecr:us-east-1:123456789012:repository/missing: RepositoryNotFoundException: The repository with name 'missing' does not exist in the registry with id '123456789012'
    "#]].assert_eq(&reasons);
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&change("payments")).await;
    assert!(function.aws.take_changes().is_empty());
    function.succeed(&change("adopted")).await;
    assert_eq!(function.aws.take_changes(), ["CreatePolicyVersion"]);
}

#[tokio::test(start_paused = true)]
async fn invalid_properties_are_named_and_nothing_is_called() {
    let function = Function::new().await;
    let good = event("create-push-pull-policy");
    let many: Vec<String> = (0..150)
        .map(|n| format!("arn:aws:ecr:us-east-1:123456789012:repository/number-{n}"))
        .collect();
    let long = format!(
        "arn:aws:cloudformation:us-east-1:123456789012:stack/{}/5f2c1a30-x",
        "a".repeat(110)
    );
    let arn = |rest: &str| json!([format!("arn:aws:{rest}")]);
    let mut reasons = String::new();
    for (path, value) in [
        ("ResourceProperties.RepositoryArns", Value::Null),
        ("ResourceProperties.RepositoryArns", json!(["*"])),
        ("ResourceProperties.RepositoryArns", arn("ecr:us-east-1:123456789012:repository/*")),
        ("ResourceProperties.RepositoryArns", arn("ecr:us-east-1:999999999999:repository/ab")),
        ("ResourceProperties.RepositoryArns", arn("ecr:eu-west-1:123456789012:repository/ab")),
        ("ResourceProperties.RepositoryArns", json!(many)),
        ("ResourceProperties.AttachToRoleArns", json!(["ci"])),
        ("ResourceProperties.AttachToRoleArns", arn("iam::999999999999:role/ci")),
        ("ResourceProperties.AttachToRoles", json!([])),
        ("StackId", json!(long)),
    ] {
        reasons += &format!("{}\n", function.fail(&with(good.clone(), path, value)).await);
    }
    expect![[r#"
        RepositoryArns: expected at least one ARN of a repository
        RepositoryArns[0]: expected the ARN of an ECR repository, got "*"
        RepositoryArns[0]: expected the ARN of an ECR repository, got "arn:aws:ecr:us-east-1:123456789012:repository/*"
        RepositoryArns: arn:aws:ecr:us-east-1:999999999999:repository/ab is not in account 123456789012 and region us-east-1
        RepositoryArns: arn:aws:ecr:eu-west-1:123456789012:repository/ab is not in account 123456789012 and region us-east-1
        RepositoryArns: the policy would have 9098 characters, and IAM accepts 6144
        AttachToRoleArns[0]: expected the ARN of an IAM role, got "ci"
        AttachToRoleArns: role ci is in account 999999999999; the policy can only be attached to roles of its own account, 123456789012
        AttachToRoles: unknown property; the nearest known name is AttachToRoleArns
        StackId: the name of the policy, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-us-east-1-5f2c1a30-PushPullPolicy, would be longer than 128 characters; choose a shorter stack name
    "#]].assert_eq(&reasons);
    assert_eq!(calls(&function), 0);
}
