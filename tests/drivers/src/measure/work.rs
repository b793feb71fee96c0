//! The environment and the events of the measured functions, and a check of the work done.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::scan::finding::basic_finding;
use local_aws::template::{Identity, Stack, Template};
use local_aws::{ACCOUNT, LocalAws, REGION, RESPONSE_URL};
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;

use crate::{Work, static_ecr};

const REPOSITORY: &str = "infrastructure";
const POLICY_VERSION: &str = "0123456789abcdef";

/// The stack that CloudFormation deletes, for [`Work::Deletion`].
pub const STACK: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3";
const PARAMETER: &str = "/ecr-warden/accepted-risks";

/// Creates the resources that the functions use: a repository, the topic, the event bus, the ledger, the list of
/// accepted risks, and the secret with the webhook of this Slack. Returns the ARN of the secret.
pub async fn prepare(aws: &LocalAws, channel: &str) -> anyhow::Result<String> {
    let repository = json!({"repositoryName": REPOSITORY, "imageTagMutability": "IMMUTABLE"});
    let created = aws.by_hand("CreateRepository", &repository);
    created.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    let (topic, _) = aws.make("AWS::SNS::Topic", "alerts", &json!({})).await?;
    aws.make("AWS::Events::EventBus", "alerts", &json!({"Name": "alerts"})).await?;
    let inbox = json!({"TopicArn": topic, "Protocol": "email", "Endpoint": "a@example.com"});
    aws.make("AWS::SNS::Subscription", "inbox", &inbox).await?;
    create_ledger(aws, 10).await?;
    aws.state().begin_stack("warden", STACK, "DELETE_IN_PROGRESS");
    // A push has queued the sweep of this hour. A push in the far future claims every hour until then.
    let pushed_at = aws.state().now() + 86_400.0;
    let item = json!({
        "fact": {"S": format!("sweep {REPOSITORY}")},
        "pushed_at": {"N": format!("{pushed_at:.0}")},
        "push_holder": {"S": "another"},
    });
    let put = json!({"TableName": "ledger", "Item": item});
    call(aws, "dynamodb", "DynamoDB_20120810.PutItem", &put).await?;
    aws.make("AWS::SQS::Queue", "sweeps", &json!({})).await?;
    let risks = json!({"Name": PARAMETER, "Type": "String", "Value": "[]"});
    aws.make("AWS::SSM::Parameter", "risks", &risks).await?;
    let url = format!("{channel}/services/T0000000/B0000000/measure");
    let secret = json!({"Name": "slack", "SecretString": url});
    let made = call(aws, "secretsmanager", "secretsmanager.CreateSecret", &secret).await?;
    made["ARN"].as_str().map(str::to_owned).context("the secret has no ARN")
}

async fn call(aws: &LocalAws, service: &str, target: &str, input: &Value) -> anyhow::Result<Value> {
    let request = http::Request::post("/").header("x-amz-target", target);
    let answer = aws.services().handle(service, request.body(input.to_string().into())?).await;
    ensure!(answer.status().is_success(), "{target}: {:?}", answer.body());
    Ok(serde_json::from_slice(answer.body())?)
}

/// Creates the ledger with the properties of the template, and writes the policy to it. The policy keeps so many
/// units of each component in `deployments` and archives the others.
async fn create_ledger(aws: &LocalAws, keep: usize) -> anyhow::Result<()> {
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml"))?;
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: "measure".to_owned(),
        id: format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/measure/1-2"),
    };
    let stack = Stack::new(&template, identity, &BTreeMap::new())?;
    aws.make("AWS::DynamoDB::Table", "ledger", &stack.properties("Ledger")?).await?;
    let policy = json!({
        "Policy": {"Version": "1", "Rules": [
            {
                "Name": "platform",
                "Repositories": [REPOSITORY],
                "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "quarantine"},
                "Retention": {"Enforcement": "report"},
            },
            {
                "Name": "applications",
                "Repositories": [static_ecr::NAME],
                "Tags": {
                    "Grammar": [
                        "{component}-v{semver}",
                        "{component}-{channel}",
                        "{component}-{sha}",
                    ],
                    "Enforcement": "report",
                },
                "Retention": {"Keep": keep, "UntaggedDays": 3, "Enforcement": "archive"},
            },
        ]},
        "Repositories": [{
            "RepositoryName": REPOSITORY,
            "ImageTagMutability": "IMMUTABLE",
            "LifecycleTagCount": 20,
            "LifecycleUntaggedDays": 7,
        }],
    });
    let ledger = Ledger::new(&aws.config(), "ledger".to_owned());
    ledger.record_policy(POLICY_VERSION, &policy.to_string(), SystemTime::now().into()).await
}

/// Replaces the ledger by one that has only the policy.
pub async fn renew_ledger(aws: &LocalAws, keep: usize) -> anyhow::Result<()> {
    let ledger = json!({"TableName": "ledger"});
    call(aws, "dynamodb", "DynamoDB_20120810.DeleteTable", &ledger).await?;
    create_ledger(aws, keep).await
}

/// The environment variables of all functions together. Each function reads its own variables.
pub fn environment(webhook: &str) -> BTreeMap<String, String> {
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:alerts");
    let queue = format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/sweeps");
    [
        ("POLICY_VERSION", POLICY_VERSION),
        ("ALERT_TOPIC_ARN", &topic),
        ("ALERT_EVENT_BUS", "alerts"),
        ("DOCUMENTATION_URL", "https://example.com/docs"),
        ("LEDGER_TABLE", "ledger"),
        ("SWEEP_QUEUE_URL", &queue),
        ("RECHECK_QUEUE_URL", &queue),
        ("SWEEP_FUNCTION", "ecr-warden-ImageSweepFunction"),
        ("SCAN_ON_PUSH", "true"),
        ("ACCEPTED_RISKS_PARAMETER", PARAMETER),
        ("SLACK_WEBHOOK_SECRET_ARN", webhook),
        ("STACK_ID", STACK),
        ("STACK_NAME", "ecr-warden"),
        ("URL_SUFFIX", "amazonaws.com"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Work {
    /// The name of the work in the printed table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Deletion | Self::Slack => "",
            Self::Conforming => "conforming, ",
            Self::Quarantine => "quarantine, ",
            Self::Clean => "clean, ",
            Self::Findings => "findings, ",
            Self::Round => "one is due, ",
        }
    }

    /// Creates the image or the scan that the event is about, and returns the event.
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
            Self::Round => include_str!("../../../../events/sweep-dispatch/scheduled.json"),
            Self::Slack => include_str!("../../../../events/slack-notifier/scan-findings.json"),
        };
        let mut event: Value = serde_json::from_str(file)?;
        match self {
            Self::Deletion => {
                let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap_or_default();
                event["ResponseURL"] = format!("{endpoint}/{path}").into();
            }
            Self::Conforming | Self::Clean | Self::Findings | Self::Round | Self::Slack => {}
            Self::Quarantine => {
                let tag = event["detail"]["image-tag"].as_str().context("the event has no tag")?;
                let mut state = aws.state();
                let now = state.now();
                let pushed = state.ecr().push_made_up(REPOSITORY, &[tag], now);
                let digest =
                    pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
                event["detail"]["image-digest"] = digest.into();
            }
        }
        Ok(event)
    }

    /// Checks that the last invocation has done the work.
    pub fn check(self, aws: &LocalAws) -> anyhow::Result<()> {
        let mut state = aws.state();
        let answers = std::mem::take(&mut state.answers);
        let alerts = std::mem::take(&mut state.deliveries).len();
        let answered = answers.iter().filter(|answer| answer["Status"] == "SUCCESS").count();
        drop(state);
        let messages = aws.slack().take_messages().len();
        let expected = match self {
            Self::Deletion => (1, 0, 0),
            Self::Conforming | Self::Clean | Self::Round => (0, 0, 0),
            Self::Quarantine | Self::Findings => (0, 1, 0),
            Self::Slack => (0, 0, 1),
        };
        let found = (answered, alerts, messages);
        ensure!(
            found == expected,
            "the invocation ended with {answers:?}, {alerts} alerts and {messages} Slack messages"
        );
        Ok(())
    }
}

/// Completes a scan of an image whose component no other image has, and returns the event.
fn scan(aws: &LocalAws, findings: Vec<Value>) -> anyhow::Result<Value> {
    let mut state = aws.state();
    let now = state.now();
    let registry = state.ecr();
    let nth = registry.repositories[REPOSITORY].images.len();
    let tag = format!("component{nth}-v1.0.0");
    let failed = |error: local_aws::ecr::Error| anyhow!("{}: {}", error.code, error.message);
    let digest = registry.push_made_up(REPOSITORY, &[&tag], now).map_err(failed)?;
    registry.complete_scan(REPOSITORY, &digest, Ok(findings), now).map_err(failed)?;
    registry.events.pop().context("ECR sent no event of the scan")
}
