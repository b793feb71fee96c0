//! What the functions are given to do: their environment, their events, and whether it was
//! done.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::template::{Identity, Stack, Template};
use local_aws::{ACCOUNT, LocalAws, REGION, RESPONSE_URL};
use serde_json::{Value, json};

use crate::Work;

const REPOSITORY: &str = "infrastructure";
const POLICY: &str = r#"[{"RepositoryName":"infrastructure","ImageTagMutability":"IMMUTABLE","LifecycleTagCount":20,"LifecycleUntaggedDays":7,"Governance":{"Tags":{"Grammar":"{component}-v{semver}","Enforcement":"quarantine"},"Retention":{"Enforcement":"report"}}}]"#;

/// Makes what the functions call for: a repository, the topic and the ledger.
pub async fn prepare(aws: &LocalAws) -> anyhow::Result<()> {
    let repository = json!({"repositoryName": REPOSITORY, "imageTagMutability": "IMMUTABLE"});
    let created = aws.by_hand("CreateRepository", &repository);
    created.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
    let (topic, _) = aws.make("AWS::SNS::Topic", "alerts", &json!({})).await?;
    let inbox = json!({"TopicArn": topic, "Protocol": "email", "Endpoint": "a@example.com"});
    aws.make("AWS::SNS::Subscription", "inbox", &inbox).await?;
    let template = Template::read(include_str!("../../../infra/sam/template.yaml"))?;
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

/// The variables of every function; each takes its own.
pub fn environment() -> BTreeMap<String, String> {
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:alerts");
    [
        ("GOVERNANCE", POLICY),
        ("REPOSITORY_NAME_PATTERNS", ""),
        ("ALERT_TOPIC_ARN", &topic),
        ("LEDGER_TABLE", "ledger"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Work {
    /// How it stands in the table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Deletion => "",
            Self::Conforming => "conforming, ",
            Self::Quarantine => "quarantine, ",
        }
    }

    /// An event of it; what it is about is there.
    pub fn event(self, aws: &LocalAws, endpoint: &str) -> anyhow::Result<Value> {
        let file = match self {
            Self::Deletion => {
                include_str!("../../../events/custom-resource/delete-infrastructure.json")
            }
            Self::Conforming => include_str!("../../../events/image-push/conforming.json"),
            Self::Quarantine => include_str!("../../../events/image-push/near-miss.json"),
        };
        let mut event: Value = serde_json::from_str(file)?;
        match self {
            Self::Deletion => {
                let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap_or_default();
                event["ResponseURL"] = format!("{endpoint}/{path}").into();
            }
            Self::Conforming => {}
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
        let expected = match self {
            Self::Deletion => (1, 0),
            Self::Conforming => (0, 0),
            Self::Quarantine => (0, 1),
        };
        ensure!((answered, told) == expected, "it ended with {answers:?} and {told} alerts");
        Ok(())
    }
}
