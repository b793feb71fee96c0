//! The sizes of the policies in the template of this project, in the worst case.

use super::*;

/// The most characters of a managed policy, and of all inline policies of a role together. IAM does not
/// count white space: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.
const MANAGED: usize = 6_144;
const INLINE: usize = 10_240;

/// The ARNs of this region are the longest of the commercial, the Chinese and the `GovCloud` regions.
const REGION: &str = "us-gov-west-1";

/// A pattern of the most characters that `EnforceRepositories` allows. Each number gives another pattern.
fn longest_pattern(nth: usize) -> String {
    format!("{nth:p>200}")
}

fn arn(service: &str) -> String {
    format!("arn:aws:{service}:{REGION}:123456789012")
}

/// A stack with the longest name in this region, whose resources exist.
fn longest_stack<'t>(template: &'t Template, parameters: &[(&str, &str)]) -> Stack<'t> {
    let name = "s".repeat(128);
    let id = format!("{}:stack/{name}/51af3dc0-da77-11e4-872e-1234567db123", arn("cloudformation"));
    let identity =
        Identity { account: "123456789012".into(), region: REGION.into(), name: name.clone(), id };
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let mut stack = Stack::new(template, identity, &parameters.collect()).unwrap();
    for id in stack.resources().unwrap() {
        // CloudFormation shortens a name to the longest name that the service takes.
        let named = |most: usize| -> String {
            format!("{name}-{id}-0123456789ab").chars().take(most).collect()
        };
        let made = match stack.resource_type(id).unwrap() {
            "AWS::DynamoDB::Table" => format!("{}:table/{}", arn("dynamodb"), named(255)),
            "AWS::Events::EventBus" => format!("{}:event-bus/{}", arn("events"), named(256)),
            "AWS::KMS::Key" => format!("{}:key/{}", arn("kms"), named(36)),
            "AWS::Logs::LogGroup" => format!("{}:log-group:{}:*", arn("logs"), named(512)),
            "AWS::SNS::Topic" => format!("{}:{}", arn("sns"), named(256)),
            "AWS::SQS::Queue" => format!("{}:{}", arn("sqs"), named(80)),
            "AWS::Serverless::Function" => format!("{}:function:{}", arn("lambda"), named(64)),
            _ => named(usize::MAX),
        };
        stack.made(id, &made, attributes([("Arn", json!(made)), ("PolicyArn", json!(made))]));
    }
    stack
}

/// The managed policies, and the roles whose inline policies name a pattern. Each has its size and its quota.
fn sizes<'t>(stack: &Stack<'t>) -> Vec<(&'t str, usize, usize)> {
    let size = |documents: &[&Value]| {
        let text = json!(documents).to_string().replace("arn:aws:", "arn:aws-us-gov:");
        text.chars().filter(|letter| !letter.is_whitespace()).count()
    };
    let mut found = Vec::new();
    for id in stack.resources().unwrap() {
        let kind = stack.resource_type(id).unwrap();
        if !["AWS::IAM::ManagedPolicy", "AWS::IAM::Role"].contains(&kind) {
            continue;
        }
        let properties = stack.properties(id).unwrap();
        let inline = properties["Policies"].as_array().into_iter().flatten();
        let documents: Vec<&Value> = inline.map(|policy| &policy["PolicyDocument"]).collect();
        if kind == "AWS::IAM::ManagedPolicy" {
            found.push((id, size(&[&properties["PolicyDocument"]]), MANAGED));
        } else if json!(documents).to_string().contains(&longest_pattern(1)) {
            found.push((id, size(&documents), INLINE));
        }
    }
    found
}

#[test]
fn the_policies_fit_into_the_quotas_of_iam_with_the_longest_parameters() {
    let template = ours();
    let patterns: Vec<String> = (1..=20).map(longest_pattern).collect();
    let secret = format!("{}:secret:slack-AbCdEf", arn("secretsmanager"));
    let parameters = [
        ("EnforceRepositories", patterns.join(",")),
        ("InUseSources", "pull-time,inspector".to_owned()),
        ("SlackWebhookSecretArn", secret),
        ("Tracing", "Active".to_owned()),
    ];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    let stack = longest_stack(&template, &parameters);
    let sizes = sizes(&stack);
    assert_eq!(
        sizes.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        ["ImagePushRole", "ImageSweepRole", "OperatorPolicy", "RestorePolicy"]
    );
    assert!(sizes.iter().all(|(_, size, most)| size <= most), "{sizes:?}");
    let too_long = format!("{}p", longest_pattern(1));
    let refused = super::stack(&template, &[("EnforceRepositories", &too_long)]).unwrap_err();
    assert!(refused.to_string().contains("at most 200 characters"), "{refused}");
}
