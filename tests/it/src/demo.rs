//! `cargo demo`: the main job, on an AWS in memory, with every step said.
//!
//! It shows what stands by asking AWS for it, not by what it thinks that it did.

mod inbox;
mod pushes;
mod scans;
mod sweeps;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context as _, anyhow, bail};
use local_aws::cloudformation::{Deployment, Made};
use local_aws::template::Template;
use local_aws::{ACCOUNT, LocalAws, REGION, Rule};
use serde_json::{Value, json};

use self::inbox::Inbox;

/// How wide a line is at most, without its indentation, wherever it can be broken.
const WIDTH: usize = 96;

const TEMPLATE: &str = include_str!("../../../infra/sam/template.yaml");

/// Runs all of it; what goes wrong ends it.
pub async fn run() -> anyhow::Result<()> {
    if let Some(argument) = std::env::args().nth(1) {
        bail!("expected no argument, got {argument}");
    }
    let aws = LocalAws::default();
    let server = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    println!("ECR Warden on an AWS in memory: account {ACCOUNT}, {REGION}, {}", server.endpoint());

    step(
        "Deploy infra/sam/template.yaml",
        "With its defaults, an AlertEmail, a SlackWebhookSecretArn, RepositoryNamePatterns, \
         ProtectTags, and one line more: a tag that is forbidden. The functions run as processes. For each \
         Custom:: resource it is asked as CloudFormation asks, says what it is about to do (the \
         indented lines, from its log), and does it.",
    );
    let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let secret = store_webhook(&aws, slack.endpoint()).await?;
    let outputs = deploy(&aws, &secret).await?;

    step("What stands now", "Asked of ECR and IAM, not remembered from the steps above.");
    for name in ["infrastructure", "deployments"] {
        show_repository(&aws, name)?;
    }
    show_policy(&aws, output(&outputs, "EcrPushPullPolicyArn")?)?;

    step(
        "The stack's outputs",
        "What people and pipelines take from it: addresses, the policy, the login command.",
    );
    for (name, value) in &outputs {
        println!("   {name}");
        // A command stays whole, to be copied.
        if value.starts_with('[') {
            broken(value, &[','], WIDTH).for_each(|line| println!("      {line}"));
        } else {
            println!("      {value}");
        }
    }

    subscribe_queue(&aws, output(&outputs, "AlertTopicArn")?).await?;
    let inbox = |function| Inbox { aws: &aws, function };
    // Pushes are for it too, once an hour. What it makes of them comes last, and by itself.
    let sweeper = inbox("ecr-warden-ImageSweepFunction");
    let is_for_it = |rule: &mut Rule| rule.function == sweeper.function;
    let its_rules: Vec<Rule> = aws.state().rules.extract_if(.., is_for_it).collect();
    pushes::show(&inbox("ecr-warden-ImagePushFunction")).await?;
    let parameter = output(&outputs, "AcceptedRisksParameter")?;
    scans::show(&inbox("ecr-warden-ScanCompleteFunction"), parameter).await?;
    aws.state().rules.extend(its_rules);
    sweeps::show(&sweeper).await?;
    aws.lambda().stop();
    Ok(())
}

/// A secret with the URL of a webhook, as Slack gives one; gives its ARN.
async fn store_webhook(aws: &LocalAws, slack: &str) -> anyhow::Result<String> {
    let url = format!("{slack}/services/T0000000/B0000000/demonstration");
    let secret = json!({"Name": "ecr-warden/slack", "SecretString": url}).to_string();
    let request = http::Request::post("/")
        .header("x-amz-target", "secretsmanager.CreateSecret")
        .body(secret.into())?;
    let made = aws.services().handle("secretsmanager", request).await;
    let made: Value = serde_json::from_slice(made.body())?;
    made["ARN"].as_str().map(str::to_owned).context("the secret was not made")
}

/// A queue of our own, that gets alerts as machines get them.
async fn subscribe_queue(aws: &LocalAws, topic: &str) -> anyhow::Result<()> {
    let (_, queue) = aws.make("AWS::SQS::Queue", "alerts", &json!({})).await?;
    let subscription = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue["Arn"]});
    aws.make("AWS::SNS::Subscription", "alerts", &subscription).await?;
    Ok(())
}

fn step(what: &str, why: &str) {
    println!("\n== {what}");
    folded(why).for_each(|line| println!("   {line}"));
    println!();
}

/// The text in lines that fit a terminal.
fn folded(text: &str) -> impl Iterator<Item = String> {
    broken(text, &[' '], WIDTH)
}

/// The text in lines of this width, wherever they can be broken after one of these.
fn broken(text: &str, after: &[char], width: usize) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for piece in text.split_inclusive(after) {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + piece.trim_end().len() <= width => {
                line.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned())
}

async fn deploy(aws: &LocalAws, secret: &str) -> anyhow::Result<BTreeMap<String, String>> {
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
        name: "ecr-warden",
        parameters: &parameters.into(),
        program: std::env::current_exe().context("finding this program")?,
    };
    let shown = |made: Made| {
        println!("   {:<26} {}", made.kind, made.physical_id);
        for plan in plans(&made.log) {
            // Whole policies are shown further down.
            let short =
                plan.split_once(" {").map_or(plan.clone(), |(what, _)| format!("{what} {{…}}"));
            folded(&short).for_each(|line| println!("      {line}"));
        }
    };
    aws.deploy(&deployment, shown).await
}

/// The messages of a function's log that say what it was about to do.
fn plans(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter_map(|line| {
        let about = line.get("repository.name").or_else(|| line.get("iam.policy"));
        about.and(line["message"].as_str()).map(str::to_owned)
    });
    messages.flat_map(|message| message.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn output<'o>(outputs: &'o BTreeMap<String, String>, name: &str) -> anyhow::Result<&'o str> {
    outputs.get(name).map(String::as_str).with_context(|| format!("there is no output {name}"))
}

fn ask(aws: &LocalAws, operation: &str, input: &Value) -> anyhow::Result<Value> {
    let answer = aws.by_hand(operation, input);
    answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
}

fn show_repository(aws: &LocalAws, name: &str) -> anyhow::Result<()> {
    let described = ask(aws, "DescribeRepositories", &json!({"repositoryNames": [name]}))?;
    let found = &described["repositories"][0];
    let scanned = found["imageScanningConfiguration"]["scanOnPush"] == true;
    println!("   {}", word(&found["repositoryUri"]));
    println!("      tags            {}", word(&found["imageTagMutability"]));
    println!("      scanned on push {}", if scanned { "yes" } else { "no" });
    println!("      encrypted with  {}", word(&found["encryptionConfiguration"]["encryptionType"]));
    let tags = ask(aws, "ListTagsForResource", &json!({"resourceArn": found["repositoryArn"]}))?;
    for tag in tags["tags"].as_array().into_iter().flatten() {
        println!("      {} = {}", word(&tag["Key"]), word(&tag["Value"]));
    }
    let policy = ask(aws, "GetLifecyclePolicy", &json!({"repositoryName": name}))?;
    let policy: Value = serde_json::from_str(word(&policy["lifecyclePolicyText"]))?;
    for rule in policy["rules"].as_array().into_iter().flatten() {
        println!("      lifecycle {}: {}", rule["rulePriority"], word(&rule["description"]));
    }
    Ok(())
}

fn show_policy(aws: &LocalAws, arn: &str) -> anyhow::Result<()> {
    let state = aws.state();
    let policy =
        state.iam.policies.get(arn).with_context(|| format!("there is no policy {arn}"))?;
    let document = policy.versions.get(&policy.default).context("it has no default version")?;
    let document: Value = serde_json::from_str(document)?;
    println!("   {arn}");
    for statement in document["Statement"].as_array().into_iter().flatten() {
        let actions = words(&statement["Action"]).join(", ");
        let allowed = format!("{} {actions}", word(&statement["Effect"]));
        folded(&allowed).for_each(|line| println!("      {line}"));
        for on in words(&statement["Resource"]) {
            println!("         on {on}");
        }
    }
    Ok(())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().map(word).collect(),
        one => vec![word(one)],
    }
}
