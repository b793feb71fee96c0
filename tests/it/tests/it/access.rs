//! The roles of the template for pushing and pulling: their trust policies and their permissions.

use std::collections::BTreeSet;

use expect_test::expect;
use local_aws::template::Stack;
use local_aws::world::evaluate;
use serde_json::{Value, json};

const GITHUB: &str = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
const EKS: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";

/// The trust policy of a role, parsed from its text.
fn trust(stack: &Stack<'_>, role: &str) -> Value {
    let properties = stack.properties(role).unwrap();
    serde_json::from_str(properties["AssumeRolePolicyDocument"].as_str().unwrap()).unwrap()
}

/// The error for parameters that the template refuses, as a line.
fn refused(parameters: &[(&str, &str)]) -> String {
    format!("{}\n", evaluate(parameters).map(|_| ()).unwrap_err())
}

/// A trust policy of one statement: the provider, and the conditions on its tokens.
fn trusted(provider: &str, conditions: &Value) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": conditions},
        }],
    })
}

/// The statements of a role: name, actions and resources.
fn statements(stack: &Stack<'_>, role: &str) -> Vec<(String, Value, Value)> {
    let properties = stack.properties(role).unwrap();
    let statements = properties["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap();
    let parts = |statement: &Value| {
        let sid = statement["Sid"].as_str().unwrap().to_owned();
        (sid, statement["Action"].clone(), statement["Resource"].clone())
    };
    statements.iter().map(parts).collect()
}

#[test]
fn workflows_of_one_repository_and_branch_push_and_wait_for_scans() {
    let parameters = [("GitHubOidcProviderArn", GITHUB), ("GitHubRepository", "octo-org/images")];
    let stack = evaluate(&parameters).unwrap();
    let main = "repo:octo-org/images:ref:refs/heads/main";
    assert_eq!(
        trust(&stack, "GitHubRole"),
        trusted(
            GITHUB,
            &json!({
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": [main, main, main, main],
            })
        )
    );
    let role = stack.properties("GitHubRole").unwrap();
    assert_eq!(role["ManagedPolicyArns"], json!(["PushPullPolicy.PolicyArn"]));
    let repositories = json!(["InfrastructureRepository.Arn", "DeploymentsRepository.Arn"]);
    assert_eq!(
        statements(&stack, "GitHubRole"),
        [
            (
                "ReadStack".to_owned(),
                json!(["cloudformation:DescribeStackResource", "cloudformation:DescribeStacks"]),
                json!("arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/*"),
            ),
            ("ReadPolicy".to_owned(), json!("dynamodb:GetItem"), json!("Ledger.Arn")),
            ("WaitForScan".to_owned(), json!("ecr:DescribeImageScanFindings"), repositories),
            ("WaitForInspectorScan".to_owned(), json!("inspector2:ListFindings"), json!("*"),),
        ]
    );
    assert_eq!(stack.outputs().unwrap()["GitHubRoleArn"], "GitHubRole.Arn");
}

#[test]
fn the_subjects_of_workflows_are_complete_and_in_the_format_of_github() {
    let parameters = [
        ("GitHubOidcProviderArn", GITHUB),
        // Tokens of repositories that were created since July 2026 contain the IDs. The name of a
        // managed user contains a '_'.
        ("GitHubRepository", "octo_org@123456/images@456789"),
        ("GitHubSubjects", "ref:refs/heads/main,environment:release,ref:refs/tags/v1"),
    ];
    let stack = evaluate(&parameters).unwrap();
    let trust = trust(&stack, "GitHubRole");
    let conditions = &trust["Statement"][0]["Condition"]["StringEquals"];
    let subjects = conditions["token.actions.githubusercontent.com:sub"].as_array().unwrap();
    let subjects: BTreeSet<&str> =
        subjects.iter().map(|subject| subject.as_str().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "repo:octo_org@123456/images@456789:environment:release",
            "repo:octo_org@123456/images@456789:ref:refs/heads/main",
            "repo:octo_org@123456/images@456789:ref:refs/tags/v1",
        ]
        .into()
    );
    let mut errors = String::new();
    for (name, wrong) in [
        ("GitHubRepository", "octo-org/*"),
        ("GitHubRepository", "images"),
        ("GitHubSubjects", "*"),
        ("GitHubSubjects", "ref:refs/heads/*"),
        ("GitHubSubjects", "a,b,c,d,e"),
        ("GitHubSubjects", ""),
        ("GitHubSubjects", "a\",\"b"),
    ] {
        let mut parameters = parameters;
        let parameter = parameters.iter_mut().find(|parameter| parameter.0 == name);
        parameter.unwrap().1 = wrong;
        errors += &refused(&parameters);
    }
    expect![[r#"
        Parameter GitHubRepository failed to satisfy constraint: empty, or owner/name as GitHub's tokens have it, with the IDs where they do (owner@123/name@456)
        Parameter GitHubRepository failed to satisfy constraint: empty, or owner/name as GitHub's tokens have it, with the IDs where they do (owner@123/name@456)
        Parameter GitHubSubjects failed to satisfy constraint: at most four, separated by commas, such as ref:refs/heads/main,environment:release; no wildcard and no space
        Parameter GitHubSubjects failed to satisfy constraint: at most four, separated by commas, such as ref:refs/heads/main,environment:release; no wildcard and no space
        Parameter GitHubSubjects failed to satisfy constraint: at most four, separated by commas, such as ref:refs/heads/main,environment:release; no wildcard and no space
        Parameter GitHubSubjects failed to satisfy constraint: at most four, separated by commas, such as ref:refs/heads/main,environment:release; no wildcard and no space
        Parameter GitHubSubjects failed to satisfy constraint: at most four, separated by commas, such as ref:refs/heads/main,environment:release; no wildcard and no space
    "#]].assert_eq(&errors);
}

#[test]
fn pods_of_named_service_accounts_only_pull() {
    let accounts = [
        ("EksOidcProviderArn", EKS),
        ("EksServiceAccounts", "argocd/argocd-image-updater,ci/kaniko"),
    ];
    let stack = evaluate(&accounts).unwrap();
    let provider = EKS.split_once("oidc-provider/").unwrap().1;
    assert_eq!(
        trust(&stack, "EksPullRole"),
        trusted(
            EKS,
            &json!({
                format!("{provider}:aud"): "sts.amazonaws.com",
                format!("{provider}:sub"): [
                    "system:serviceaccount:argocd:argocd-image-updater",
                    "system:serviceaccount:ci:kaniko",
                ],
            })
        )
    );
    assert_eq!(
        statements(&stack, "EksPullRole"),
        [
            ("GetAuthorizationToken".to_owned(), json!("ecr:GetAuthorizationToken"), json!("*")),
            (
                "PullImages".to_owned(),
                json!([
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ]),
                json!(["InfrastructureRepository.Arn", "DeploymentsRepository.Arn"]),
            ),
        ]
    );
    assert!(stack.properties("EksPullRole").unwrap().get("ManagedPolicyArns").is_none());
    let wrong = ["argocd", "argocd/*", "*/kaniko", "a/b/c"];
    let errors = wrong
        .map(|accounts| refused(&[("EksOidcProviderArn", EKS), ("EksServiceAccounts", accounts)]));
    expect![[r#"
        Parameter EksServiceAccounts failed to satisfy constraint: empty, or namespace/name, separated by commas, without wildcards and spaces
        Parameter EksServiceAccounts failed to satisfy constraint: empty, or namespace/name, separated by commas, without wildcards and spaces
        Parameter EksServiceAccounts failed to satisfy constraint: empty, or namespace/name, separated by commas, without wildcards and spaces
        Parameter EksServiceAccounts failed to satisfy constraint: empty, or namespace/name, separated by commas, without wildcards and spaces
    "#]].assert_eq(&errors.concat());
}

#[test]
fn a_role_with_only_some_of_its_parameters_is_refused() {
    let half = [
        ("GitHubOidcProviderArn", GITHUB),
        ("GitHubRepository", "octo-org/images"),
        ("EksOidcProviderArn", EKS),
        ("EksServiceAccounts", "ci/kaniko"),
    ];
    let errors = half.map(|parameter| refused(&[parameter]));
    expect![[r#"
        Rules.GitHubRoleNeedsBoth: The role GitHubRole needs both GitHubOidcProviderArn and GitHubRepository. Set both parameters, or leave both empty.
        Rules.GitHubRoleNeedsBoth: The role GitHubRole needs both GitHubOidcProviderArn and GitHubRepository. Set both parameters, or leave both empty.
        Rules.EksPullRoleNeedsBoth: The role EksPullRole needs both EksOidcProviderArn and EksServiceAccounts. Set both parameters, or leave both empty.
        Rules.EksPullRoleNeedsBoth: The role EksPullRole needs both EksOidcProviderArn and EksServiceAccounts. Set both parameters, or leave both empty.
    "#]].assert_eq(&errors.concat());
    let outputs = evaluate(&[]).unwrap().outputs().unwrap();
    let absent = |name: &&str| !outputs.contains_key(*name);
    assert!(["GitHubRoleArn", "EksPullRoleArn"].iter().all(absent), "{outputs:?}");
}

#[test]
fn the_template_excludes_the_pulls_of_up_to_five_scanners() {
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let all = ["a", "security/b", "c", "d@example.com", "e"].map(role);
    for count in 0..=5 {
        let roles = &all[..count];
        let stack = evaluate(&[("ScannerRoleArns", &roles.join(","))]).unwrap();
        let resources = stack.resources().unwrap().into_iter();
        let excluded: Vec<String> = resources
            .filter(|id| stack.resource_type(id).unwrap() == "AWS::ECR::PullTimeUpdateExclusion")
            .map(|id| stack.properties(id).unwrap()["PrincipalArn"].as_str().unwrap().to_owned())
            .collect();
        let ours = ["ImagePushRole.Arn", "ImageSweepRole.Arn", "ScanCompleteRole.Arn"];
        let ours = ours.map(str::to_owned);
        assert_eq!(excluded, [&ours[..], roles].concat());
    }
    let mut errors = String::new();
    let six = vec![role("a"); 6].join(",");
    for wrong in [six.as_str(), "scanner", "arn:aws:iam::123456789012:user/scanner", ","] {
        errors += &refused(&[("ScannerRoleArns", wrong)]);
    }
    expect![[r#"
        Parameter ScannerRoleArns failed to satisfy constraint: at most five ARNs of IAM roles, separated by commas, without spaces
        Parameter ScannerRoleArns failed to satisfy constraint: at most five ARNs of IAM roles, separated by commas, without spaces
        Parameter ScannerRoleArns failed to satisfy constraint: at most five ARNs of IAM roles, separated by commas, without spaces
        Parameter ScannerRoleArns failed to satisfy constraint: at most five ARNs of IAM roles, separated by commas, without spaces
    "#]].assert_eq(&errors);
}
