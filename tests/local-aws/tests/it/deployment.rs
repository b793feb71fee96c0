//! The resources of a deployed stack, except the running functions.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html>

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bytes::Bytes;
use expect_test::expect;
use http::Request;
use local_aws::LocalAws;
use local_aws::cloudformation::Deployment;
use local_aws::iam::Role;
use local_aws::policy::Document;
use local_aws::template::Template;
use serde_json::{Value, json};

use crate::aws;

/// Deploys a template; gives the logical IDs with what a `Ref` of each is, and the outputs.
async fn deploy(
    aws: &LocalAws,
    text: &str,
) -> anyhow::Result<(Vec<(String, String)>, BTreeMap<String, String>)> {
    let template = Template::read(text)?;
    let deployment = Deployment {
        template: &template,
        name: "stack",
        parameters: &BTreeMap::new(),
        // The program does not exist, so an invocation fails and a test can read its event.
        program: "no-such-program".into(),
    };
    let mut made = Vec::new();
    let outputs = aws.deploy(&deployment, |one| made.push((one.id, one.physical_id))).await?;
    Ok((made, outputs))
}

/// The answer to a call of a JSON protocol.
async fn ask(aws: &LocalAws, service: &str, operation: &str, input: Value) -> Value {
    let request = Request::post("/")
        .header("x-amz-target", format!("any.{operation}"))
        .body(Bytes::from(input.to_string()));
    let response = aws.services().handle(service, request.unwrap()).await;
    serde_json::from_slice(response.body()).unwrap()
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html
#[tokio::test]
async fn a_parameter_is_made_in_the_store_and_others_refer_to_it() {
    let text = r"
Conditions:
  No: !Equals [a, b]
Resources:
  Accepted:
    Type: AWS::SSM::Parameter
    Properties:
      Name: !Sub '/${AWS::StackName}/accepted-findings'
      Type: String
      Tier: Advanced
      Description: What is accepted.
      Tags: { team: platform }
      Value: '[]'
  Unnamed:
    Type: AWS::SSM::Parameter
    Properties: { Type: StringList, Value: 7 }
  Unwanted:
    Type: AWS::SSM::Parameter
    Condition: No
    Properties: { Type: String, Value: '-' }
  About:
    Type: AWS::SSM::Parameter
    Properties:
      Name: about
      Type: !GetAtt Accepted.Type
      Value: !Sub '${Accepted} is ${Accepted.Value}, ${Unnamed} is ${Unnamed.Value}'
Outputs:
  Accepted: { Value: !Ref Accepted }
";
    let aws = aws();
    let (mut made, outputs) = deploy(&aws, text).await.unwrap();
    made.sort_unstable();
    let made: Vec<(&str, &str)> = made.iter().map(|(id, of)| (id.as_str(), of.as_str())).collect();
    let path = "/stack/accepted-findings";
    assert_eq!(made, [("About", "about"), ("Accepted", path), ("Unnamed", "stack-Unnamed")]);
    assert_eq!(outputs["Accepted"], path);
    let names = json!({"Names": [path, "about", "stack-Unnamed", "stack-Unwanted"]});
    let found = ask(&aws, "ssm", "GetParameters", names).await;
    let parameters = found["Parameters"].as_array().unwrap().iter();
    let parameters: Vec<[&str; 3]> = parameters
        .map(|parameter| ["Name", "Type", "Value"].map(|name| parameter[name].as_str().unwrap()))
        .collect();
    let expected = [
        [path, "String", "[]"],
        ["about", "String", "/stack/accepted-findings is [], stack-Unnamed is 7"],
        ["stack-Unnamed", "StringList", "7"],
    ];
    assert_eq!(parameters, expected);
    assert_eq!(found["InvalidParameters"], json!(["stack-Unwanted"]));
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html
#[tokio::test]
async fn a_parameter_that_the_store_refuses_ends_the_deployment() {
    let mut errors = String::new();
    for properties in [
        "{ Type: String, Value: a, Name: aws-a }",
        "{ Type: String, Value: a, Name: a/b }",
        "{ Type: SecureString, Value: a }",
        "{ Type: String }",
        "{ Value: a }",
        "{ Type: String, Value: a, AllowedPattern: b }",
    ] {
        let text = format!(
            "Resources: {{ It: {{ Type: AWS::SSM::Parameter, Properties: {properties} }} }}"
        );
        errors += &format!("{:#}\n", deploy(&aws(), &text).await.unwrap_err());
    }
    expect![[r#"
        creating It: AmazonSSM.PutParameter: {"__type":"ValidationException","message":"Parameter name: can't be prefixed with \"aws\" or \"ssm\"."}
        creating It: AmazonSSM.PutParameter: {"__type":"ValidationException","message":"Parameter name: it must be made of letters, digits and .-_, after a /."}
        creating It: CloudFormation makes no parameter of the type SecureString
        creating It: a parameter has no Value
        creating It: a parameter has no Type
        creating It: the property AllowedPattern means nothing here
    "#]].assert_eq(&errors);
}

/// A function with these events, whose failures end in the queue `inbox`.
fn function(events: &str) -> String {
    format!(
        "Transform: AWS::Serverless-2016-10-31\nParameters:\n  \
         On: {{ Type: String, Default: 'false' }}\n\
         Resources:\n  Sweep:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
         CodeUri: functions/sweep\n      \
         DeadLetterQueue: {{ TargetArn: 'arn:aws:sqs:us-east-1:123456789012:inbox' }}\n      \
         EventInvokeConfig: {{ MaximumRetryAttempts: 0 }}\n      Events:\n{events}"
    )
}

// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-rule-schedule.html
// https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html
#[tokio::test]
async fn a_schedule_runs_its_function_when_a_test_fires_it() {
    let aws = aws();
    let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let (inbox, _) = aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
    let events = r"
        Daily:
          Type: Schedule
          Properties:
            Schedule: rate(1 day)
            Description: What an event missed.
            RetryPolicy: { MaximumRetryAttempts: 2 }
            DeadLetterConfig: { Arn: 'arn:aws:sqs:us-east-1:123456789012:inbox' }
        Nightly:
          Type: ScheduleV2
          Properties:
            ScheduleExpression: cron(0 3 * * ? *)
            FlexibleTimeWindow: { Mode: FLEXIBLE, MaximumWindowInMinutes: 15 }
            Name: nightly
            State: ENABLED
        Off: { Type: Schedule, Properties: { Schedule: rate(2 hours), Enabled: !Ref On } }
        Out: { Type: ScheduleV2, Properties: { ScheduleExpression: rate(1 hours), State: DISABLED } }
";
    deploy(&aws, &function(events)).await.unwrap();
    assert_eq!(aws.state().schedules.len(), 4);
    aws.advance(crate::DAY);
    aws.lambda().settled().await;
    let input = json!({"QueueUrl": inbox, "MaxNumberOfMessages": 10});
    let none = ask(&aws, "sqs", "ReceiveMessage", input.clone()).await;
    assert!(none["Messages"].as_array().is_none_or(Vec::is_empty), "{none}");

    aws.fire_schedules("stack-Sweep").unwrap();
    aws.lambda().settled().await;
    let received = ask(&aws, "sqs", "ReceiveMessage", input).await;
    let body = |message: &Value| -> Value {
        serde_json::from_str(message["Body"].as_str().unwrap()).unwrap()
    };
    let mut sent: Vec<Value> = received["Messages"].as_array().unwrap().iter().map(body).collect();
    sent.sort_by_key(|event| event["source"].to_string());
    let [by_rule, by_scheduler] = &sent[..] else { panic!("{sent:#?}") };
    let expected = |id: &Value, source: &str, arn: &str, detail: Value| {
        json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": source,
            "account": "123456789012",
            "time": "2027-01-16T08:00:00Z",
            "region": "us-east-1",
            "resources": [arn],
            "detail": detail,
        })
    };
    let rule = "arn:aws:events:us-east-1:123456789012:rule/stack-SweepDaily";
    assert_eq!(*by_rule, expected(&by_rule["id"], "aws.events", rule, json!({})));
    let schedule = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/nightly";
    let id = &by_scheduler["id"];
    assert_eq!(*by_scheduler, expected(id, "aws.scheduler", schedule, json!("{}")));
    assert_ne!(by_rule["id"], by_scheduler["id"]);
    assert!(aws.fire_schedules("stack-Other").is_err());
}

// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-targets.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-querydefinition.html
#[tokio::test]
async fn a_function_gets_just_the_input_of_each_of_its_schedules() {
    let aws = aws();
    let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let (inbox, _) = aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
    let events = r#"
        First:
          Type: ScheduleV2
          Properties:
            ScheduleExpression: rate(1 day)
            OmitName: true
            RoleArn: arn:aws:iam::123456789012:role/schedule
            Input: !Sub '{"repository": "${AWS::StackName}-first"}'
  Second:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: rate(1 day)
      FlexibleTimeWindow: { Mode: "OFF" }
      Target:
        Arn: !GetAtt Sweep.Arn
        RoleArn: !GetAtt Role.Arn
        Input: '{"repository": "second"}'
        DeadLetterConfig: { Arn: 'arn:aws:sqs:us-east-1:123456789012:inbox' }
  Never:
    Type: AWS::Scheduler::Schedule
    Condition: No
    Properties: { ScheduleExpression: rate(1 day) }
  Role:
    Type: AWS::IAM::Role
    Properties:
      Path: /schedules/
      AssumeRolePolicyDocument:
        Statement: { Effect: Allow, Principal: { Service: scheduler.amazonaws.com }, Action: sts:AssumeRole }
      Policies:
        - PolicyName: invoke
          PolicyDocument:
            Version: "2012-10-17"
            Statement: { Effect: Allow, Action: lambda:InvokeFunction, Resource: !GetAtt Sweep.Arn }
  Query:
    Type: AWS::Logs::QueryDefinition
    Properties: { Name: why, LogGroupNames: [g], QueryString: fields @message }
Conditions:
  No: !Equals [!Ref On, 'true']
Outputs:
  Second: { Value: !GetAtt Second.Arn }
"#;
    let invoke = json!({"Effect": "Allow", "Action": "lambda:*", "Resource": "*"});
    let invoke = Document::read(&json!({"Statement": invoke})).unwrap();
    let inline_policies = BTreeMap::from([("invoke".to_owned(), invoke)]);
    let role = Role { inline_policies, ..Role::default() };
    aws.state().iam.roles.insert("schedule".to_owned(), role);
    let (made, outputs) = deploy(&aws, &function(events)).await.unwrap();
    let made: BTreeMap<String, String> = made.into_iter().collect();
    assert_eq!((made["Second"].as_str(), made["Query"].as_str()), ("stack-Second", "stack-Query"));
    let arn = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/stack-Second";
    assert_eq!(outputs["Second"], arn);
    assert_eq!(aws.state().schedules.len(), 2);

    aws.fire_schedules("stack-Sweep").unwrap();
    aws.lambda().settled().await;
    let input = json!({"QueueUrl": inbox, "MaxNumberOfMessages": 10});
    let received = ask(&aws, "sqs", "ReceiveMessage", input).await;
    let bodies = received["Messages"].as_array().unwrap().iter().map(|message| &message["Body"]);
    let mut sent: Vec<Value> =
        bodies.map(|body| serde_json::from_str(body.as_str().unwrap()).unwrap()).collect();
    sent.sort_by_key(Value::to_string);
    assert_eq!(sent, [json!({"repository": "second"}), json!({"repository": "stack-first"})]);
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-scheduler-schedule.html
#[tokio::test]
async fn a_schedule_without_what_scheduler_asks_for_ends_the_deployment() {
    let target = "Arn: 'arn:aws:lambda:us-east-1:123456789012:function:f'";
    let mut errors = String::new();
    for properties in [
        "{ ScheduleExpression: rate(1 day) }".to_owned(),
        format!("{{ Target: {{ {target} }} }}"),
        format!("{{ Target: {{ {target}, RoleArn: r }} }}"),
        format!("{{ FlexibleTimeWindow: {{ Mode: 'OFF' }}, Target: {{ {target}, RoleArn: r }} }}"),
        format!("{{ Target: {{ {target}, EcsParameters: {{}} }} }}"),
        "{ Target: { Arn: 'arn:aws:sqs:us-east-1:123456789012:q' } }".to_owned(),
        format!(
            "{{ ScheduleExpression: rate(1 day), FlexibleTimeWindow: {{ Mode: 'OFF' }}, \
             Target: {{ {target}, RoleArn: r, Input: hello }} }}"
        ),
    ] {
        let text = format!(
            "Resources: {{ It: {{ Type: AWS::Scheduler::Schedule, Properties: {properties} }} }}"
        );
        errors += &format!("{:#}\n", deploy(&aws(), &text).await.unwrap_err());
    }
    expect![[r#"
        creating It: a schedule has no Target
        creating It: a schedule has no RoleArn
        creating It: a schedule has no FlexibleTimeWindow
        creating It: a schedule has no ScheduleExpression
        creating It: the target of a schedule: the property EcsParameters means nothing here
        creating It: the target of a schedule is "arn:aws:sqs:us-east-1:123456789012:q", which is no function
        creating It: what a function gets as its input is JSON: expected value at line 1 column 1
    "#]].assert_eq(&errors);
}

// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
#[tokio::test]
async fn an_invalid_schedule_fails_the_deployment() {
    let mut errors = String::new();
    for event in [
        "Schedule, Properties: { Schedule: rate(1 days) }",
        "Schedule, Properties: { Schedule: rate(0 days) }",
        "Schedule, Properties: { Schedule: cron(0 3 * * *) }",
        "Schedule, Properties: { Schedule: 'at(2027-01-15T08:00:00)' }",
        "Schedule, Properties: { Schedule: daily }",
        "Schedule, Properties: { ScheduleExpression: rate(1 day) }",
        "ScheduleV2, Properties: { Schedule: rate(1 day) }",
        "ScheduleV2",
    ] {
        let aws = aws();
        let _server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let text = function(&format!("        Daily: {{ Type: {event} }}\n"));
        errors += &format!("{:#}\n", deploy(&aws, &text).await.unwrap_err());
    }
    expect![[r#"
        the schedule Daily of stack-Sweep: "rate(1 days)" is no expression of a schedule
        the schedule Daily of stack-Sweep: "rate(0 days)" is no expression of a schedule
        the schedule Daily of stack-Sweep: "cron(0 3 * * *)" is no expression of a schedule
        the schedule Daily of stack-Sweep: "at(2027-01-15T08:00:00)" is no expression of a schedule
        the schedule Daily of stack-Sweep: "daily" is no expression of a schedule
        the schedule Daily of stack-Sweep: the property ScheduleExpression means nothing here
        the schedule Daily of stack-Sweep: the property Schedule means nothing here
        the schedule Daily of stack-Sweep: a schedule has no ScheduleExpression
    "#]]
    .assert_eq(&errors);
}
