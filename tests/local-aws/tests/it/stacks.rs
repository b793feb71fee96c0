//! What CloudFormation says of the stacks that were deployed here.

use std::collections::BTreeMap;

use local_aws::cloudformation::Deployment;
use local_aws::template::Template;
use local_aws::{ACCOUNT, REGION};

use crate::port::Port;

const TEMPLATE: &str = r"
Resources:
  Parameter: { Type: AWS::SSM::Parameter, Properties: { Type: String, Value: a } }
Outputs:
  Governance: { Value: '[{}] & more' }
  Name: { Value: !Ref Parameter }
";

impl Port {
    /// A call of CloudFormation: the status and what is answered.
    async fn ask_stack(&self, form: &str) -> (u16, String) {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCOUNT}/20270115/{REGION}/cloudformation/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ];
        let answer = self.send("POST", "/", &headers, form.as_bytes()).await.unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    }
}

async fn deployed() -> Port {
    let port = Port::open().await;
    let template = Template::read(TEMPLATE).unwrap();
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &BTreeMap::new(),
        program: "no-such-program".into(),
    };
    port.aws.deploy(&deployment, |_| ()).await.unwrap();
    port
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
#[tokio::test]
async fn a_stack_is_described_by_its_name_and_by_its_arn_with_its_outputs() {
    let port = deployed().await;
    let id = port.aws.state().stacks[0].id.clone();
    for asked in ["&StackName=stack", &format!("&StackName={id}"), ""] {
        let form = format!("Action=DescribeStacks&Version=2010-05-15{asked}");
        let (status, found) = port.ask_stack(&form).await;
        assert_eq!(status, 200, "{found}");
        for expected in [
            "<StackName>stack</StackName>",
            &format!("<StackId>{id}</StackId>"),
            "<StackStatus>CREATE_COMPLETE</StackStatus>",
            "<member><OutputKey>Governance</OutputKey><OutputValue>[{}] &amp; more</OutputValue></member>",
            "<member><OutputKey>Name</OutputKey><OutputValue>stack-Parameter</OutputValue></member>",
        ] {
            assert!(found.contains(expected), "{expected} is missing:\n{found}");
        }
    }
    let form = "Action=DescribeStackResource&StackName=stack&LogicalResourceId=Parameter&Version=2010-05-15";
    let (status, found) = port.ask_stack(form).await;
    assert_eq!(status, 200, "{found}");
    let expected = "<PhysicalResourceId>stack-Parameter</PhysicalResourceId>";
    assert!(found.contains(expected), "{found}");
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_refused_as_cloudformation_refuses_it() {
    let port = deployed().await;
    for (form, expected) in [
        ("Action=DescribeStacks&StackName=other", "Stack with id other does not exist"),
        (
            "Action=DescribeStackResource&StackName=other&LogicalResourceId=Parameter",
            "Stack &apos;other&apos; does not exist",
        ),
        (
            "Action=DescribeStackResource&StackName=stack&LogicalResourceId=Other",
            "Resource Other does not exist for stack stack",
        ),
    ] {
        let (status, found) = port.ask_stack(&format!("{form}&Version=2010-05-15")).await;
        assert_eq!(status, 400, "{found}");
        assert!(found.contains("<Code>ValidationError</Code>"), "{found}");
        assert!(found.contains(&format!("<Message>{expected}</Message>")), "{found}");
    }
}
