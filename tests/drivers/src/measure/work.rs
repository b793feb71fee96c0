//! What the functions are given to do: their environment, their events, and whether it was
//! done.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::scan::finding::basic_finding;
use local_aws::template::{Identity, Stack, Template};
use local_aws::{ACCOUNT, LocalAws, REGION, RESPONSE_URL};
use serde_json::{Value, json};

use crate::Work;

const REPOSITORY: &str = "infrastructure";
const POLICY: &str = r#"[{"RepositoryName":"infrastructure","ImageTagMutability":"IMMUTABLE","LifecycleTagCount":20,"LifecycleUntaggedDays":7,"Governance":{"Tags":{"Grammar":"{component}-v{semver}","Enforcement":"quarantine"},"Retention":{"Enforcement":"report"}}}]"#;

/// The stack of the deletion, which CloudFormation deletes.
pub const STACK: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3";
const PARAMETER: &str = "/ecr-warden/accepted-risks";

/// Makes what the functions call for: a repository, the topic, the ledger, the accepted risks,
/// and the webhook of this Slack; gives the ARN of its secret.
pub async fn prepare(aws: &LocalAws, channel: &str) -> anyhow::Result<String> {
    let repository = json!({"repositoryName": REPOSITORY, "imageTagMutability": "IMMUTABLE"});
    let created = aws.by_hand("CreateRepository", &repository);
    created.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    let (topic, _) = aws.make("AWS::SNS::Topic", "alerts", &json!({})).await?;
    let inbox = json!({"TopicArn": topic, "Protocol": "email", "Endpoint": "a@example.com"});
    aws.make("AWS::SNS::Subscription", "inbox", &inbox).await?;
    make_ledger(aws).await?;
    aws.state().begin_stack("warden", STACK, "DELETE_IN_PROGRESS");
    // Another push has this hour, and the next, should that begin meanwhile.
    let now = aws.state().now();
    for hour in [now, now + 3_600.0] {
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
        let hour = chrono::DateTime::from_timestamp(hour as i64, 0).context("the time")?;
        let fact = format!("sweep {REPOSITORY} {}", hour.format("%Y-%m-%dT%H"));
        let item = json!({"fact": {"S": fact}, "holder": {"S": "another"}});
        let put = json!({"TableName": "ledger", "Item": item}).to_string();
        let put = http::Request::post("/")
            .header("x-amz-target", "DynamoDB_20120810.PutItem")
            .body(put.into())?;
        aws.services().handle("dynamodb", put).await;
    }
    let risks = json!({"Name": PARAMETER, "Type": "String", "Value": "[]"});
    aws.make("AWS::SSM::Parameter", "risks", &risks).await?;
    let url = format!("{channel}/services/T0000000/B0000000/measure");
    let secret = json!({"Name": "slack", "SecretString": url});
    let made = ask(aws, "secretsmanager", "secretsmanager.CreateSecret", &secret).await?;
    made["ARN"].as_str().map(str::to_owned).context("the secret was not made")
}

async fn ask(aws: &LocalAws, service: &str, target: &str, input: &Value) -> anyhow::Result<Value> {
    let request = http::Request::post("/").header("x-amz-target", target);
    let answer = aws.services().handle(service, request.body(input.to_string().into())?).await;
    ensure!(answer.status().is_success(), "{target}: {:?}", answer.body());
    Ok(serde_json::from_slice(answer.body())?)
}

/// Makes the ledger, as the template has it.
async fn make_ledger(aws: &LocalAws) -> anyhow::Result<()> {
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml"))?;
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: "measure".to_owned(),
        id: format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/measure/1-2"),
    };
    let stack = Stack::new(&template, identity, &BTreeMap::new())?;
    aws.make("AWS::DynamoDB::Table", "ledger", &stack.properties("Ledger")?).await?;
    Ok(())
}

/// An empty ledger in place of the one that there is.
pub async fn renew_ledger(aws: &LocalAws) -> anyhow::Result<()> {
    let ledger = json!({"TableName": "ledger"});
    ask(aws, "dynamodb", "DynamoDB_20120810.DeleteTable", &ledger).await?;
    make_ledger(aws).await
}

/// The variables of every function; each takes its own.
pub fn environment(webhook: &str) -> BTreeMap<String, String> {
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:alerts");
    [
        ("GOVERNANCE", POLICY),
        ("REPOSITORY_NAME_PATTERNS", ""),
        ("ALERT_TOPIC_ARN", &topic),
        ("LEDGER_TABLE", "ledger"),
        ("SCAN_ON_PUSH", "true"),
        ("ACCEPTED_RISKS_PARAMETER", PARAMETER),
        ("SLACK_WEBHOOK_SECRET_ARN", webhook),
        ("STACK_ID", STACK),
        ("URL_SUFFIX", "amazonaws.com"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Work {
    /// How it stands in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Deletion | Self::Slack => "",
            Self::Conforming => "conforming, ",
            Self::Quarantine => "quarantine, ",
            Self::Clean => "clean, ",
            Self::Findings => "findings, ",
            Self::Swept => "hour taken, ",
        }
    }

    /// An event of it; what it is about is there.
    pub fn event(self, aws: &LocalAws, endpoint: &str) -> anyhow::Result<Value> {
        let file = match self {
            Self::Deletion => {
                include_str!("../../../../events/custom-resource/delete-infrastructure.json")
            }
            Self::Conforming => include_str!("../../../../events/image-push/conforming.json"),
            Self::Quarantine => include_str!("../../../../events/image-push/near-miss.json"),
            Self::Clean => return scan(aws, Vec::new()),
            Self::Findings => {
                return scan(aws, vec![basic_finding("CVE-2026-1", "HIGH", "openssl", "3.0.17")]);
            }
            Self::Swept => include_str!("../../../../events/image-sweep/pushed.json"),
            Self::Slack => include_str!("../../../../events/slack-notifier/scan-findings.json"),
        };
        let mut event: Value = serde_json::from_str(file)?;
        match self {
            Self::Deletion => {
                let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap_or_default();
                event["ResponseURL"] = format!("{endpoint}/{path}").into();
            }
            Self::Conforming | Self::Clean | Self::Findings | Self::Slack => {}
            Self::Swept => event["detail"]["repository-name"] = REPOSITORY.into(),
            Self::Quarantine => {
                let tag = event["detail"]["image-tag"].as_str().context("the event has no tag")?;
                let mut state = aws.state();
                let now = state.now();
                let pushed = state.ecr().push_made_up(REPOSITORY, &[tag], now);
                let digest = pushed.map_err(|it| anyhow!("{}: {}", it.code, it.message))?;
                event["detail"]["image-digest"] = digest.into();
            }
        }
        Ok(event)
    }

    /// Whether the last invocation has done it.
    pub fn check(self, aws: &LocalAws) -> anyhow::Result<()> {
        let mut state = aws.state();
        let answers = std::mem::take(&mut state.answers);
        let told = std::mem::take(&mut state.deliveries).len();
        let answered = answers.iter().filter(|answer| answer["Status"] == "SUCCESS").count();
        drop(state);
        let shown = aws.slack().take_messages().len();
        let expected = match self {
            Self::Deletion => (1, 0, 0),
            Self::Conforming | Self::Clean | Self::Swept => (0, 0, 0),
            Self::Quarantine | Self::Findings => (0, 1, 0),
            Self::Slack => (0, 0, 1),
        };
        let found = (answered, told, shown);
        ensure!(found == expected, "it ended with {answers:?}, {told} alerts, {shown} in Slack");
        Ok(())
    }
}

/// The scan of an image of a component of its own.
fn scan(aws: &LocalAws, findings: Vec<Value>) -> anyhow::Result<Value> {
    let mut state = aws.state();
    let now = state.now();
    let registry = state.ecr();
    let nth = registry.repositories[REPOSITORY].images.len();
    let tag = format!("component{nth}-v1.0.0");
    let failed = |it: local_aws::ecr::Error| anyhow!("{}: {}", it.code, it.message);
    let digest = registry.push_made_up(REPOSITORY, &[&tag], now).map_err(failed)?;
    registry.complete_scan(REPOSITORY, &digest, Ok(findings), now).map_err(failed)?;
    registry.events.pop().context("ECR told of no scan")
}
