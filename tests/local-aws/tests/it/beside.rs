//! The other services on the port, and unknown operations.

use expect_test::expect;
use serde_json::{Value, json};

use crate::aws;
use crate::port::{Answer, Port};

/// A call in the query protocol, signed for a service with an access key.
async fn query(port: &Port, key: &str, service: &str, form: &str) -> Answer {
    let credential = format!("Credential={key}/20260101/us-east-1/{service}/aws4_request");
    let headers = [
        ("authorization", credential.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    port.send("POST", "/", &headers, form.as_bytes()).await.unwrap()
}

fn code(answer: &Answer) -> String {
    let body = String::from_utf8(answer.body.clone()).unwrap();
    let code = body.split_once("<Code>").unwrap().1.split_once("</Code>").unwrap().0;
    code.to_owned()
}

const OURS: &str = "123456789012";

// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
#[tokio::test]
async fn an_unsupported_operation_is_an_unknown_operation() {
    let port = Port::open().await;
    for form in ["Action=ListUsers", "Action=CreateUser&UserName=ana", "Action=ListRoles"] {
        assert_eq!(code(&query(&port, OURS, "iam", form).await), "InvalidAction", "{form}");
    }
    for (service, form) in [("sts", "Action=GetCallerIdentity"), ("ec2", "Action=DescribeVpcs")] {
        assert_eq!(code(&query(&port, OURS, service, form).await), "InvalidAction", "{service}");
    }
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
#[tokio::test]
async fn a_stack_that_was_never_made_does_not_exist() {
    let port = Port::open().await;
    let describe = "Action=DescribeStacks&StackName=never-made";
    let answer = query(&port, OURS, "cloudformation", describe).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "ValidationError"));
}

#[tokio::test]
async fn another_account_has_no_access_to_services_of_one_account() {
    let port = Port::open().await;
    let other = "210987654321";
    let get = "Action=GetRole&RoleName=ci";
    assert_eq!(code(&query(&port, other, "iam", get).await), "AccessDenied");
    let credential = format!("Credential={other}/20260101/us-east-1/inspector2/aws4_request");
    let headers = [("authorization", credential.as_str())];
    let coverage = port.send("POST", "/coverage/list", &headers, b"{}").await.unwrap();
    assert_eq!(coverage.error().1, "AccessDeniedException");
    let credential = format!("Credential={other}/20260101/us-east-1/dynamodb/aws4_request");
    let target = "DynamoDB_20120810.ListTables";
    let headers = [("authorization", credential.as_str()), ("x-amz-target", target)];
    let tables = port.send("POST", "/", &headers, b"{}").await.unwrap();
    assert_eq!(tables.error().1, "AccessDeniedException");
}

#[tokio::test]
async fn a_number_that_is_too_large_does_not_end_the_connection() {
    let port = Port::open().await;
    let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
    let create = format!("Action=CreatePolicy&PolicyName=p&PolicyDocument={document}");
    assert_eq!(query(&port, OURS, "iam", &create).await.status, 200);
    let list = "Action=ListPolicyVersions&PolicyArn=arn:aws:iam::123456789012:policy/p\
                &Marker=18446744073709551615";
    assert_eq!(query(&port, OURS, "iam", list).await.status, 200);

    let size = |size: u64| json!({"mediaType": "x", "digest": format!("sha256:{}", "0".repeat(64)), "size": size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": size(u64::MAX),
        "layers": [size(1)],
    });
    let put = port.v2("PUT", "/v2/app/manifests/v1", &[], manifest.to_string().as_bytes()).await;
    assert_eq!(put.error(), (400, "MANIFEST_INVALID".to_owned()));
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sns-subscription.html
#[tokio::test]
async fn a_resource_is_made_and_what_would_be_passed_over_is_refused() {
    let aws = aws();
    let (topic, _) = aws.make("AWS::SNS::Topic", "alerts", &json!({})).await.unwrap();
    assert_eq!(topic, "arn:aws:sns:us-east-1:123456789012:alerts");
    let (_, queue) = aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
    let inbox = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["Arn"]});
    aws.make("AWS::SNS::Subscription", "inbox", &inbox).await.unwrap();
    let table = json!({
        "AttributeDefinitions": [{"AttributeName": "fact", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "fact", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": true},
    });
    aws.make("AWS::DynamoDB::Table", "ledger", &table).await.unwrap();

    let refused = async |kind: &str, properties: Value| {
        aws.make(kind, "other", &properties).await.unwrap_err().to_string()
    };
    let unknown = refused("AWS::S3::Bucket", json!({})).await;
    let ignored = refused("AWS::SQS::Queue", json!({"FifoQueue": true})).await;
    expect![[r#"
        AWS::S3::Bucket cannot be made here
        the property FifoQueue means nothing here"#]]
    .assert_eq(&format!("{unknown}\n{ignored}"));
    let nowhere = json!({"TopicArn": "arn:aws:sns:us-east-1:123456789012:no", "Protocol": "sqs", "Endpoint": "arn:a"});
    let error = refused("AWS::SNS::Subscription", nowhere).await;
    assert!(error.contains("Topic does not exist"), "{error}");
}
