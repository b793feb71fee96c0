//! Deploys the template, and reads the created repositories and the policy from ECR and IAM.

use std::collections::BTreeMap;

use anyhow::Context as _;
use local_aws::LocalAws;
use local_aws::cloudformation::{Deployment, Made};
use local_aws::world;
use serde_json::{Value, json};

use super::story::{Part, Settings, Statement, Story};
use super::{call_ecr, decision_lines, word, words};

/// The stack's name.
pub const STACK: &str = "ecr-warden";

/// The tags that the policy of `infrastructure` forbids, although they match the grammar. The shipped
/// policy forbids none.
pub const FORBIDDEN_TAGS: &str = "*-v0.0.0";
/// The tags that the cleanup keeps. The shipped policy protects none.
pub const PROTECTED_TAGS: &str = "*-lts";

/// The settings of the demonstration's policy that differ from the shipped policy.
const SETTINGS: [(&str, &str); 3] = [
    (".Unmatched", "report"),
    ("platform.Tags.Forbidden", r#"["*-v0.0.0"]"#),
    ("*.Retention.ProtectTags", r#"["*-lts"]"#),
];

/// Deploys the stack and returns its outputs.
pub async fn show(
    story: &mut Story,
    aws: &LocalAws,
    slack: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    story.begin_step(
        "Deploy infra/sam/template.yaml",
        "The parameters AlertEmail and SlackWebhookSecretArn are set. The policy is \
         infra/sam/policy.yaml with one forbidden tag, the protected tag *-lts and Unmatched: report. The functions run as processes. For each Custom:: resource, \
         CloudFormation invokes the function; the indented lines are from the function's log.",
    );
    let secret = world::store_webhook(aws, slack).await?;
    let outputs = deploy(story, aws, &secret).await?;
    let kinds: Vec<&str> = story.parts().filter_map(Part::resource_kind).collect();
    let functions = kinds.iter().filter(|kind| **kind == "AWS::Serverless::Function").count();
    story.end_step(format!(
        "CloudFormation created {} resources from infra/sam/template.yaml, {functions} of them Lambda functions.",
        kinds.len()
    ));

    story.begin_step(
        "Read the repositories from ECR and the policy from IAM",
        "These are the settings that the custom resources applied.",
    );
    let infrastructure = settings(aws, "infrastructure")?;
    let deployments = settings(aws, "deployments")?;
    let outcome = format!(
        "ECR has two new repositories: infrastructure with {} tags, deployments with {} tags.",
        infrastructure.tag_mutability, deployments.tag_mutability
    );
    story.show(Part::Settings(infrastructure));
    story.show(Part::Settings(deployments));
    story.show(policy(aws, super::output(&outputs, "EcrPushPullPolicyArn")?)?);
    story.end_step(outcome);

    story.begin_step(
        "Read the stack's outputs",
        "People and pipelines use them: the repository addresses, the policy and the login command.",
    );
    story.show(Part::Outputs { values: outputs.clone() });
    story.end_step(format!(
        "The stack has {} outputs, among them the login command and the IAM policy for pipelines.",
        outputs.len()
    ));
    subscribe(aws, super::output(&outputs, "AlertTopicArn")?).await?;
    Ok(outputs)
}

/// Subscribes a queue and Amazon Q Developer to the alerts, so that the demonstration can show the
/// JSON and the custom notification.
async fn subscribe(aws: &LocalAws, topic: &str) -> anyhow::Result<()> {
    let (_, queue) = aws.make("AWS::SQS::Queue", "alerts", &json!({})).await?;
    let chat = "https://global.sns-api.chatbot.amazonaws.com";
    for (name, protocol, endpoint) in
        [("alerts", "sqs", word(&queue["Arn"])), ("chat", "https", chat)]
    {
        let subscription = json!({"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint});
        aws.make("AWS::SNS::Subscription", name, &subscription).await?;
    }
    Ok(())
}

async fn deploy(
    story: &mut Story,
    aws: &LocalAws,
    secret: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    let template = world::template_with_policy(&world::policy_with(&SETTINGS).to_string())?;
    let parameters =
        [("AlertEmail", "platform-team@example.com"), ("SlackWebhookSecretArn", secret)];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let deployment = Deployment {
        template: &template,
        name: STACK,
        parameters: &parameters.into(),
        program: std::env::current_exe().context("finding the path of this program")?,
    };
    let shown = |made: Made| {
        let plans = decision_lines(&made.log);
        story.show(Part::Resource { kind: made.kind, physical_id: made.physical_id, plans });
    };
    aws.deploy(&deployment, shown).await
}

/// The settings of a repository, as ECR describes them.
pub fn settings(aws: &LocalAws, name: &str) -> anyhow::Result<Settings> {
    let described = call_ecr(aws, "DescribeRepositories", &json!({"repositoryNames": [name]}))?;
    let found = &described["repositories"][0];
    let tags =
        call_ecr(aws, "ListTagsForResource", &json!({"resourceArn": found["repositoryArn"]}))?;
    let tags = tags["tags"].as_array().into_iter().flatten();
    let tags = tags.map(|tag| (word(&tag["Key"]).to_owned(), word(&tag["Value"]).to_owned()));
    let policy = call_ecr(aws, "GetLifecyclePolicy", &json!({"repositoryName": name}))?;
    let policy: Value = serde_json::from_str(word(&policy["lifecyclePolicyText"]))?;
    let rules = policy["rules"].as_array().into_iter().flatten().map(|rule| {
        let priority = rule["rulePriority"].as_u64().unwrap_or_default();
        (priority, word(&rule["description"]).to_owned())
    });
    Ok(Settings {
        name: name.to_owned(),
        uri: word(&found["repositoryUri"]).to_owned(),
        tag_mutability: word(&found["imageTagMutability"]).to_owned(),
        scanned_on_push: found["imageScanningConfiguration"]["scanOnPush"] == true,
        encrypted_with: word(&found["encryptionConfiguration"]["encryptionType"]).to_owned(),
        tags: tags.collect(),
        lifecycle: rules.collect(),
    })
}

fn policy(aws: &LocalAws, arn: &str) -> anyhow::Result<Part> {
    let state = aws.state();
    let policy =
        state.iam.policies.get(arn).with_context(|| format!("there is no policy {arn}"))?;
    let document =
        policy.versions.get(&policy.default).context("the policy has no default version")?;
    let document: Value = serde_json::from_str(document)?;
    let owned = |value: &Value| words(value).into_iter().map(str::to_owned).collect();
    let statements = document["Statement"].as_array().into_iter().flatten();
    let statements = statements.map(|statement| Statement {
        effect: word(&statement["Effect"]).to_owned(),
        actions: owned(&statement["Action"]),
        resources: owned(&statement["Resource"]),
    });
    Ok(Part::Policy { arn: arn.to_owned(), statements: statements.collect() })
}
