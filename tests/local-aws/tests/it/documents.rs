//! Policy documents as ECR and IAM take them, and principals that vanish.

use local_aws::LocalAws;
use local_aws::iam::Role;
use serde_json::{Value, json};

use crate::{aws, ok};

const ROLE: &str = "arn:aws:iam::123456789012:role/ci";

fn add_role(aws: &LocalAws) {
    aws.state().iam.roles.insert("ci".to_owned(), Role::default());
}

/// A repository policy with one statement, which has these members too.
fn with(more: &Value) -> String {
    let mut statement = json!({
        "Sid": "Pull",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => statement.as_object_mut().unwrap().remove(name),
            value => statement.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// The constraint that a repository policy does not satisfy; empty if ECR takes it.
fn refusal(aws: &LocalAws, text: &str) -> String {
    let set = json!({"repositoryName": "app", "policyText": text});
    match aws.by_hand("SetRepositoryPolicy", &set) {
        Ok(_) => String::new(),
        Err(error) => {
            assert_eq!(error.code, "InvalidParameterException");
            let prefix = "Invalid parameter at 'PolicyText' failed to satisfy constraint: '";
            error.message.strip_prefix(prefix).unwrap().trim_end_matches('\'').to_owned()
        }
    }
}

fn stored(aws: &LocalAws) -> Value {
    let got = ok(aws, "GetRepositoryPolicy", json!({"repositoryName": "app"}));
    serde_json::from_str(got["policyText"].as_str().unwrap()).unwrap()
}

// https://github.com/awsdocs/amazon-ecr-user-guide/pull/20 (Resource), the grammar of policies
#[test]
fn an_invalid_repository_policy_is_refused() {
    let aws = aws();
    add_role(&aws);
    for more in [
        json!({}),
        json!({"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}),
        json!({"Principal": {"AWS": [ROLE, "210987654321"]}, "Effect": "Deny"}),
        json!({"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "ecr:*"}),
        json!({"Condition": {"ForAnyValue:StringLikeIfExists": {"aws:PrincipalOrgPaths": "o-1/*"}}}),
        json!({"Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}),
        json!({"Sid": null}),
    ] {
        assert_eq!(refusal(&aws, &with(&more)), "", "{more}");
    }
    let before = stored(&aws);
    for more in [
        json!({"Principal": null}),
        json!({"Principal": "arn:aws:iam::210987654321:root"}),
        json!({"Principal": {"Aws": "*"}}),
        json!({"Resource": "*"}),
        json!({"Resource": "arn:aws:ecr:us-east-1:123456789012:repository/app"}),
        json!({"Effect": "Alow"}),
        json!({"Effect": null}),
        json!({"Action": "s3:GetObject"}),
        json!({"Action": ["ecr:BatchGetImage", "s3:*"]}),
        json!({"Action": "BatchGetImage"}),
        json!({"Action": null}),
        json!({"Actions": "ecr:*"}),
        json!({"NotAction": "ecr:DeleteRepository"}),
        json!({"Condition": {"StringIs": {"aws:SourceArn": "x"}}}),
        json!({"Condition": {"ForSomeValues:StringLike": {"aws:SourceArn": "x"}}}),
        json!({"Condition": {"NullIfExists": {"aws:SourceArn": "true"}}}),
        json!({"Condition": "none"}),
    ] {
        assert_eq!(refusal(&aws, &with(&more)), "Invalid repository policy provided", "{more}");
    }
    for text in
        ["{", "[]", "{}", r#"{"Statement":"x"}"#, r#"{"Version":"2030-01-01","Statement":[]}"#]
    {
        assert_eq!(refusal(&aws, text), "Invalid repository policy provided", "{text}");
    }
    assert_eq!(stored(&aws), before, "a refused policy changes nothing");
}

// https://github.com/hashicorp/terraform-provider-aws/issues/39064
#[test]
fn a_principal_that_does_not_exist_is_not_found() {
    let aws = aws();
    for principal in [
        ROLE,
        "arn:aws:iam::123456789012:role/path/ci",
        "arn:aws:iam::123456789012:user/jo",
        "arn:aws:iam::12345:root",
        "arn:aws:s3:::bucket",
        "AROA00000000000000001",
        "ci",
    ] {
        let policy = with(&json!({"Principal": {"AWS": ["*", principal]}}));
        assert_eq!(refusal(&aws, &policy), "Principal not found", "{principal}");
    }
}

// A13
#[test]
fn a_principal_that_vanishes_is_shown_by_its_unique_id_and_cannot_be_put_again() {
    let aws = aws();
    add_role(&aws);
    assert_eq!(refusal(&aws, &with(&json!({"Principal": {"AWS": ROLE}}))), "");
    assert_eq!(stored(&aws)["Statement"][0]["Principal"]["AWS"], ROLE);
    let vanished = aws.state().iam.roles.remove("ci").unwrap();
    let shown = stored(&aws);
    assert_eq!(shown["Statement"][0]["Principal"]["AWS"], vanished.id.as_str());
    assert!(vanished.id.starts_with("AROA"));
    assert_eq!(refusal(&aws, &shown.to_string()), "Principal not found");
    // Another role of the same name is another principal.
    add_role(&aws);
    assert_eq!(stored(&aws), shown);
    assert_eq!(refusal(&aws, &with(&json!({"Principal": {"AWS": ROLE}}))), "");
    assert_eq!(stored(&aws)["Statement"][0]["Principal"]["AWS"], ROLE);
}

/// The answer of IAM to an administrator: its status, and its code with its message.
async fn iam(aws: &LocalAws, operation: &str, input: &Value) -> (u16, String) {
    let administrator = "arn:aws:iam::123456789012:role/administrator";
    let (status, body) = aws.call_as(administrator, "iam", operation, input).await.unwrap();
    let between = |from: &str, to: &str| {
        let rest = body.split_once(from).map_or("", |(_, rest)| rest);
        rest.split_once(to).map_or("", |(text, _)| text).to_owned()
    };
    let (code, message) = (between("<Code>", "</Code>"), between("<Message>", "</Message>"));
    (status, format!("{code}: {}", message.replace("&quot;", "\"").replace("&apos;", "'")))
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
#[tokio::test]
async fn an_invalid_policy_document_of_iam_is_malformed() {
    let aws = aws();
    let mut lines = String::new();
    for more in [
        json!({"Effect": "Alow"}),
        json!({"Action": null}),
        json!({"Resource": null}),
        json!({"Principal": "*"}),
        json!({"Action": "BatchGetImage"}),
        json!({"Action": "ecr:x:y"}),
        json!({"Action": "e cr:x"}),
        json!({"Resource": "app"}),
        json!({"Resource": "arn:azure:ecr:::app"}),
        json!({"Resource": "arn:aws"}),
        json!({"Sid": "not alpha-numeric"}),
        json!({"Condition": {"StringIs": {"aws:SourceArn": "x"}}}),
    ] {
        let mut statement =
            json!({"Sid": "Pull", "Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => statement.as_object_mut().unwrap().remove(name),
                value => statement.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        let document = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let create = json!({"PolicyName": "p", "PolicyDocument": document});
        let (status, error) = iam(&aws, "CreatePolicy", &create).await;
        assert_eq!(status, 400, "{more}");
        lines += &format!("{more} {error}\n");
    }
    let twice = json!([
        {"Sid": "A", "Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
        {"Sid": "A", "Effect": "Allow", "Action": "sns:*", "Resource": "*"},
    ]);
    for document in [json!({"Version": "2012-10-17", "Statement": twice}), json!({"Statement": []})]
    {
        let create = json!({"PolicyName": "p", "PolicyDocument": document.to_string()});
        lines += &format!("{}\n", iam(&aws, "CreatePolicy", &create).await.1);
    }
    let good = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    for name in ["", "a b", "a/b"] {
        let create = json!({"PolicyName": name, "PolicyDocument": good});
        lines += &format!("{}\n", iam(&aws, "CreatePolicy", &create).await.1);
    }
    let role = json!({"RoleName": "r".repeat(65), "AssumeRolePolicyDocument": good});
    lines += &format!("{}\n", iam(&aws, "CreateRole", &role).await.1);
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}});
    let role = json!({"RoleName": "r", "AssumeRolePolicyDocument": trust.to_string()});
    lines += &format!("{}\n", iam(&aws, "CreateRole", &role).await.1);
    assert!(aws.state().iam.policies.is_empty());
    expect_test::expect![[r#"
        {"Effect":"Alow"} MalformedPolicyDocument: Syntax errors in policy.
        {"Action":null} MalformedPolicyDocument: Policy statement must contain actions.
        {"Resource":null} MalformedPolicyDocument: Policy statement must contain resources.
        {"Principal":"*"} MalformedPolicyDocument: Policy document should not specify a principal.
        {"Action":"BatchGetImage"} MalformedPolicyDocument: Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.
        {"Action":"ecr:x:y"} MalformedPolicyDocument: Actions/Condition can contain only one colon.
        {"Action":"e cr:x"} MalformedPolicyDocument: Vendor e cr is not valid
        {"Resource":"app"} MalformedPolicyDocument: Resource app must be in ARN format or "*".
        {"Resource":"arn:azure:ecr:::app"} MalformedPolicyDocument: Partition "azure" is not valid for resource "arn:azure:ecr:::app".
        {"Resource":"arn:aws"} MalformedPolicyDocument: Resource vendor must be fully qualified and cannot contain regexes.
        {"Sid":"not alpha-numeric"} MalformedPolicyDocument: Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*
        {"Condition":{"StringIs":{"aws:SourceArn":"x"}}} MalformedPolicyDocument: Syntax errors in policy.
        MalformedPolicyDocument: Statement IDs (SID) in a single policy must be unique.
        MalformedPolicyDocument: Policy document must be version 2012-10-17 or greater.
        ValidationError: 1 validation error detected: Value at 'policyName' failed to satisfy constraint: Member must have length less than or equal to 128
        ValidationError: 1 validation error detected: Value at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+
        ValidationError: 1 validation error detected: Value at 'policyName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]+
        ValidationError: 1 validation error detected: Value at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64
        MalformedPolicyDocument: Trust Policy statement actions can only be sts:AssumeRole, sts:AssumeRoleWithSAML,  and sts:AssumeRoleWithWebIdentity
    "#]].assert_eq(&lines);
}

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
#[tokio::test]
async fn a_role_has_at_most_ten_managed_policies() {
    let aws = aws();
    add_role(&aws);
    let document = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}});
    let attach = async |n: u32| {
        let create = json!({"PolicyName": format!("p{n}"), "PolicyDocument": document.to_string()});
        iam(&aws, "CreatePolicy", &create).await;
        let arn = format!("arn:aws:iam::123456789012:policy/p{n}");
        iam(&aws, "AttachRolePolicy", &json!({"RoleName": "ci", "PolicyArn": arn})).await
    };
    for n in 1..=10 {
        assert_eq!(attach(n).await.0, 200);
    }
    let refused = (409, "LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10".to_owned());
    assert_eq!(attach(11).await, refused);
    assert_eq!(attach(3).await.0, 200, "attaching one of the ten again changes nothing");
}
