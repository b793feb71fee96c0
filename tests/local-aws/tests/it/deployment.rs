//! What a stack's resources come to here, beside functions that run.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use local_aws::LocalAws;
use local_aws::cloudformation::Deployment;
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
        // Nobody's bootstrap: an invocation fails, and its event can be looked at.
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
    let parameters: Vec<[&str; 3]> =
        parameters.map(|it| ["Name", "Type", "Value"].map(|of| it[of].as_str().unwrap())).collect();
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
    for (properties, why) in [
        ("{ Type: String, Value: a, Name: aws-a }", "can't be prefixed"),
        ("{ Type: String, Value: a, Name: a/b }", "letters, digits"),
        ("{ Type: SecureString, Value: a }", "SecureString"),
        ("{ Type: String }", "no Value"),
        ("{ Value: a }", "no Type"),
        ("{ Type: String, Value: a, AllowedPattern: b }", "AllowedPattern means nothing here"),
    ] {
        let text = format!(
            "Resources: {{ It: {{ Type: AWS::SSM::Parameter, Properties: {properties} }} }}"
        );
        let error = format!("{:#}", deploy(&aws(), &text).await.unwrap_err());
        assert!(error.starts_with("creating It: ") && error.contains(why), "{error}");
    }
}
