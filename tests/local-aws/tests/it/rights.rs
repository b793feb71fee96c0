//! Calls are judged by the caller's role and the resource's policy, and refused in the words of
//! each service.

use std::collections::BTreeMap;

use expect_test::expect;
use local_aws::LocalAws;
use local_aws::iam::Role;
use local_aws::policy::Document;
use serde_json::{Value, json};

use crate::{aws, ok};

const ROLE: &str = "arn:aws:iam::123456789012:role/ci";

/// A role with these statements.
fn add_role(aws: &LocalAws, statements: Value) {
    let document = Document::read(&json!({"Statement": statements})).unwrap();
    let inline_policies = BTreeMap::from([("inline".to_owned(), document)]);
    let role = Role { inline_policies, ..Role::default() };
    aws.state().iam.roles.insert("ci".to_owned(), role);
}

/// The status of the answer to a call of the role.
async fn call(aws: &LocalAws, service: &str, operation: &str, input: Value) -> (u16, String) {
    aws.call_as(ROLE, service, operation, &input).await.unwrap()
}

#[tokio::test]
async fn each_service_refuses_in_its_own_words() {
    let aws = aws();
    add_role(&aws, json!([]));
    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "ecr:DescribeImages"});
    let policy = json!({"Statement": deny}).to_string();
    ok(&aws, "SetRepositoryPolicy", json!({"repositoryName": "app", "policyText": policy}));
    let topic = "arn:aws:sns:us-east-1:123456789012:alerts";
    let policy = "arn:aws:iam::123456789012:policy/p";
    let mut lines = String::new();
    for (service, operation, input) in [
        ("ecr", "ListImages", json!({"repositoryName": "app"})),
        ("ecr", "DescribeImages", json!({"repositoryName": "app"})),
        ("ecr", "ListImageReferrers", json!({"repositoryName": "app", "subjectId": {}})),
        ("ecr", "GetAuthorizationToken", json!({})),
        ("dynamodb", "BatchGetItem", json!({"RequestItems": {"ledger": {"Keys": []}}})),
        ("sns", "Publish", json!({"TopicArn": topic, "Message": "x"})),
        ("ssm", "GetParameter", json!({"Name": "/a/b"})),
        ("secretsmanager", "GetSecretValue", json!({"SecretId": "s"})),
        (
            "sqs",
            "SendMessage",
            json!({"QueueUrl": "https://sqs/123456789012/q", "MessageBody": "x"}),
        ),
        ("iam", "GetPolicy", json!({"PolicyArn": policy})),
        ("iam", "AttachRolePolicy", json!({"RoleName": "ci", "PolicyArn": policy})),
        ("cloudformation", "DescribeStacks", json!({"StackName": "s"})),
    ] {
        let (status, body) = call(&aws, service, operation, input).await;
        lines += &format!("{status} {body}\n");
    }
    let lines = lines.replace("<RequestId>00000000-0000-0000-0000-000000000000</RequestId>", "");
    expect![[r#"
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: ecr:ListImages on resource: arn:aws:ecr:us-east-1:123456789012:repository/app because no identity-based policy allows the ecr:ListImages action"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: ecr:DescribeImages on resource: arn:aws:ecr:us-east-1:123456789012:repository/app with an explicit deny in a resource-based policy"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:us-east-1:123456789012:repository/app because no identity-based policy allows the ecr:BatchGetImage action"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: dynamodb:BatchGetItem on resource: arn:aws:dynamodb:us-east-1:123456789012:table/ledger because no identity-based policy allows the dynamodb:BatchGetItem action"}
        403 <ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: SNS:Publish on resource: arn:aws:sns:us-east-1:123456789012:alerts because no identity-based policy allows the SNS:Publish action</Message></Error></ErrorResponse>
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: ssm:GetParameter on resource: arn:aws:ssm:us-east-1:123456789012:parameter/a/b because no identity-based policy allows the ssm:GetParameter action"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:us-east-1:123456789012:secret:s because no identity-based policy allows the secretsmanager:GetSecretValue action"}
        400 {"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: sqs:SendMessage on resource: arn:aws:sqs:us-east-1:123456789012:q because no identity-based policy allows the sqs:SendMessage action"}
        403 <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: iam:GetPolicy on resource: arn:aws:iam::123456789012:policy/p because no identity-based policy allows the iam:GetPolicy action</Message></Error></ErrorResponse>
        403 <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: iam:AttachRolePolicy on resource: arn:aws:iam::123456789012:role/ci because no identity-based policy allows the iam:AttachRolePolicy action</Message></Error></ErrorResponse>
        403 <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/ci/session is not authorized to perform: cloudformation:DescribeStacks on resource: arn:aws:cloudformation:us-east-1:123456789012:stack/s/* because no identity-based policy allows the cloudformation:DescribeStacks action</Message></Error></ErrorResponse>
    "#]].assert_eq(&lines);
}

#[tokio::test]
async fn a_role_may_what_its_policies_or_those_of_the_resource_allow() {
    let aws = aws();
    let app = "arn:aws:ecr:us-east-1:123456789012:repository/app";
    add_role(&aws, json!({"Effect": "Allow", "Action": "ecr:ListImages", "Resource": app}));
    ok(&aws, "CreateRepository", json!({"repositoryName": "other"}));
    let list = |name: &str| json!({"repositoryName": name});
    assert_eq!(call(&aws, "ecr", "ListImages", list("app")).await.0, 200);
    assert_eq!(call(&aws, "ecr", "ListImages", list("other")).await.0, 400);
    let policy =
        json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "ecr:*"}});
    let set = json!({"repositoryName": "other", "policyText": policy.to_string()});
    ok(&aws, "SetRepositoryPolicy", set);
    assert_eq!(call(&aws, "ecr", "ListImages", list("other")).await.0, 200);
    let tags = json!([{"Key": "team", "Value": "a"}]);
    add_role(
        &aws,
        json!([
            {"Effect": "Allow", "Action": "ecr:CreateRepository", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecr:TagResource", "Resource": "*",
             "Condition": {"StringEquals": {"aws:RequestTag/team": "b"}}},
        ]),
    );
    let create = |name: &str, tags: &Value| json!({"repositoryName": name, "tags": tags});
    let without_tags = json!({"repositoryName": "first"});
    assert_eq!(call(&aws, "ecr", "CreateRepository", without_tags).await.0, 200);
    let (_, refused) = call(&aws, "ecr", "CreateRepository", create("second", &tags)).await;
    assert!(
        refused.contains("not authorized to perform: ecr:TagResource on resource"),
        "{refused}"
    );
    let tags = json!([{"Key": "team", "Value": "b"}]);
    assert_eq!(call(&aws, "ecr", "CreateRepository", create("second", &tags)).await.0, 200);
}

#[tokio::test]
async fn a_publisher_needs_the_key_of_the_topic_and_its_policy_lets_the_account_decide() {
    let aws = aws();
    let (_, key) = aws
        .make(
            "AWS::KMS::Key",
            "key",
            &json!({"KeyPolicy": {"Statement": {
                "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                "Action": "kms:*", "Resource": "*",
            }}}),
        )
        .await
        .unwrap();
    let (topic, _) =
        aws.make("AWS::SNS::Topic", "alerts", &json!({"KmsMasterKeyId": "key"})).await.unwrap();
    let publish = || json!({"TopicArn": topic, "Message": "x"});
    let allow = |action: Value, resource: &Value| json!({"Effect": "Allow", "Action": action, "Resource": resource});
    let of_topic = allow(json!("sns:Publish"), &json!(topic));
    add_role(&aws, json!([of_topic]));
    let (status, refused) = call(&aws, "sns", "Publish", publish()).await;
    assert!(status == 400 && refused.contains("<Code>KMSAccessDenied</Code>"), "{refused}");
    let of_key = allow(json!(["kms:GenerateDataKey*", "kms:Decrypt"]), &key["Arn"]);
    add_role(&aws, json!([of_topic, of_key]));
    assert_eq!(call(&aws, "sns", "Publish", publish()).await.0, 200);
    // A key whose policy does not mention the account belongs to nobody's role.
    let closed = Document::read(&json!({"Statement": []})).unwrap();
    let arn = key["Arn"].as_str().unwrap().to_owned();
    aws.state().resource_policies.insert(arn, vec![closed]);
    let (_, refused) = call(&aws, "sns", "Publish", publish()).await;
    assert!(
        refused.contains("no resource-based policy allows the kms:GenerateDataKey"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_call_that_cannot_be_judged_is_an_error_and_an_administrator_is_not_judged() {
    let aws = aws();
    add_role(&aws, json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let (status, body) = call(&aws, "events", "PutRule", json!({"Name": "rule"})).await;
    assert!(status == 400 && body.contains("nobody has listed the permissions"), "{body}");
    let unknown = json!({"Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "ecr:*",
        "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}},
    }});
    let set = json!({"repositoryName": "app", "policyText": unknown.to_string()});
    ok(&aws, "SetRepositoryPolicy", set);
    let (status, body) = call(&aws, "ecr", "ListImages", json!({"repositoryName": "app"})).await;
    assert!(status == 400 && body.contains("the condition key aws:sourcevpc"), "{body}");
    ok(&aws, "ListImages", json!({"repositoryName": "app"}));
    let nobody = "arn:aws:iam::123456789012:role/nobody";
    let images = json!({"repositoryName": "app"});
    assert_eq!(aws.call_as(nobody, "ecr", "ListImages", &images).await.unwrap().0, 200);
}
