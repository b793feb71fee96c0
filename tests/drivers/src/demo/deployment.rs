//! The template is deployed, and what stands then is asked of ECR and IAM.

use std::collections::BTreeMap;

use anyhow::Context as _;
use local_aws::LocalAws;
use local_aws::cloudformation::{Deployment, Made};
use local_aws::template::Template;
use local_aws::world;
use serde_json::{Value, json};

use super::story::{Part, Settings, Statement, Story};
use super::{ask, plans, word, words};

/// The stack's name.
pub const STACK: &str = "ecr-warden";

const TEMPLATE: &str = include_str!("../../../../infra/sam/template.yaml");

/// Deploys it, and gives the outputs.
pub async fn show(
    story: &mut Story,
    aws: &LocalAws,
    slack: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    story.step(
        "Deploy infra/sam/template.yaml",
        "With its defaults, an AlertEmail, a SlackWebhookSecretArn, RepositoryNamePatterns, \
         ProtectTags, and one line more: a tag that is forbidden. The functions run as processes. For each \
         Custom:: resource it is asked as CloudFormation asks, says what it is about to do (set \
         off below, from its log), and does it.",
    );
    let secret = world::store_webhook(aws, slack).await?;
    let outputs = deploy(story, aws, &secret).await?;

    story.step("What stands now", "Asked of ECR and IAM, not remembered from the steps above.");
    for name in ["infrastructure", "deployments"] {
        story.show(Part::Settings(settings(aws, name)?));
    }
    story.show(policy(aws, super::output(&outputs, "EcrPushPullPolicyArn")?)?);

    story.step(
        "The stack's outputs",
        "What people and pipelines take from it: addresses, the policy, the login command.",
    );
    story.show(Part::Outputs { values: outputs.clone() });
    subscribe(aws, super::output(&outputs, "AlertTopicArn")?).await?;
    Ok(outputs)
}

/// A queue of our own, that gets alerts as machines get them, and Amazon Q Developer.
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
    let grammar = "          Grammar: !Ref InfrastructureTagGrammar\n";
    let (before, after) = TEMPLATE.split_once(grammar).context("the template has no grammar")?;
    let forbidden = "          Forbidden: ['*-v0.0.0']\n";
    let template = Template::read(&[before, grammar, forbidden, after].concat())?;
    let parameters = [
        ("AlertEmail", "platform-team@example.com"),
        ("ProtectTags", "*-lts"),
        ("RepositoryNamePatterns", "infrastructure deployments"),
        ("SlackWebhookSecretArn", secret),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let deployment = Deployment {
        template: &template,
        name: STACK,
        parameters: &parameters.into(),
        program: std::env::current_exe().context("finding this program")?,
    };
    let shown = |made: Made| {
        let plans = plans(&made.log);
        story.show(Part::Resource { kind: made.kind, physical_id: made.physical_id, plans });
    };
    aws.deploy(&deployment, shown).await
}

/// What ECR says of a repository.
pub fn settings(aws: &LocalAws, name: &str) -> anyhow::Result<Settings> {
    let described = ask(aws, "DescribeRepositories", &json!({"repositoryNames": [name]}))?;
    let found = &described["repositories"][0];
    let tags = ask(aws, "ListTagsForResource", &json!({"resourceArn": found["repositoryArn"]}))?;
    let tags = tags["tags"].as_array().into_iter().flatten();
    let tags = tags.map(|tag| (word(&tag["Key"]).to_owned(), word(&tag["Value"]).to_owned()));
    let policy = ask(aws, "GetLifecyclePolicy", &json!({"repositoryName": name}))?;
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
    let document = policy.versions.get(&policy.default).context("it has no default version")?;
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
