//! The answers of CloudFormation about deployed stacks.

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
async fn a_missing_stack_is_an_error_as_in_cloudformation() {
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

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html
#[tokio::test]
async fn the_events_of_a_stack_are_described_page_by_page_with_the_newest_first() {
    let port = deployed().await;
    let id = port.aws.state().stacks[0].id.clone();
    let statuses = |found: &str| -> Vec<String> {
        let parts = found.split("<member>").skip(1).map(|member| {
            let text = |name: &str| {
                let (_, rest) = member.split_once(&format!("<{name}>")).unwrap();
                rest.split_once('<').unwrap().0.to_owned()
            };
            format!(
                "{} {} {}",
                text("ResourceType"),
                text("PhysicalResourceId"),
                text("ResourceStatus")
            )
        });
        parts.collect()
    };
    let form = "Action=DescribeStackEvents&StackName=stack&Version=2010-05-15";
    let (status, found) = port.ask_stack(form).await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(
        statuses(&found),
        [
            format!("AWS::CloudFormation::Stack {id} CREATE_COMPLETE"),
            "AWS::SSM::Parameter stack-Parameter CREATE_COMPLETE".to_owned(),
            "AWS::SSM::Parameter stack-Parameter CREATE_IN_PROGRESS".to_owned(),
            "AWS::SSM::Parameter  CREATE_IN_PROGRESS".to_owned(),
            format!("AWS::CloudFormation::Stack {id} CREATE_IN_PROGRESS"),
        ]
    );
    let properties = "<ResourceProperties>{&quot;Type&quot;:&quot;String&quot;,&quot;Value&quot;:&quot;a&quot;}</ResourceProperties>";
    assert!(found.contains(properties), "{found}");
    assert!(!found.contains("NextToken"), "{found}");

    for _ in 0..150 {
        port.aws.state().set_stack_status(&id, "UPDATE_COMPLETE");
    }
    let (_, first) = port.ask_stack(form).await;
    assert_eq!(statuses(&first).len(), 100);
    let (_, token) = first.split_once("<NextToken>").unwrap();
    let token = token.split_once('<').unwrap().0;
    // An event that comes between the pages is on neither of them.
    port.aws.state().set_stack_status(&id, "UPDATE_IN_PROGRESS");
    let (_, second) = port.ask_stack(&format!("{form}&NextToken={token}")).await;
    assert_eq!(statuses(&second).len(), 55);
    assert!(statuses(&second).last().unwrap().ends_with("CREATE_IN_PROGRESS"));
    let missing = form.replace("StackName=stack", "StackName=other");
    let (status, found) = port.ask_stack(&missing).await;
    assert_eq!(status, 400, "{found}");
    assert!(found.contains("<Message>Stack [other] does not exist</Message>"), "{found}");
}
