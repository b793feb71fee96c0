//! Sweeps against an AWS in memory. A number in a test's comment is the line of experience it
//! stands for: what went wrong in other projects.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod acting;
mod auditing;
mod calls;
mod faults;
mod input;
mod looking;
mod stock;
mod telling;
mod turns;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use chrono::{DateTime, Utc};
use image_sweep::config::Config;
use image_sweep::{Context, handle};
use local_aws::LocalAws;
use local_aws::ecr::Time;
use local_aws::inspector::Coverage;
use local_aws::template::{Identity, Stack, Template};
use serde_json::{Value, json};
use warden_aws::Invocation;
use warden_core::lifecycle;
use warden_core::policy::Policy;

/// What the clock says at first: 2027-01-15, 08:00.
const NOW: Time = 1_800_000_000.0;
const DAY: Time = 86_400.0;
const TEMPLATE: &str = include_str!("../../../../infra/sam/template.yaml");
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";
const ROLE: &str = "arn:aws:iam::123456789012:role/ecr-warden/sweep";
const DEPLOYMENTS: &str = "deployments";

/// A function with its AWS: a repository as the stack makes it, the topic with an inbox, the
/// ledger as the template has it, and a role whose pulls do not count.
struct Function {
    aws: LocalAws,
    context: Context,
}

impl Function {
    /// One whose retention keeps two of each component, with this enforcement.
    async fn new(enforcement: &str) -> Self {
        Self::with(&json!({"Enforcement": enforcement})).await
    }

    /// One with these words of retention, beside keeping two and archiving.
    async fn with(retention: &Value) -> Self {
        Self::governed(retention, "report").await
    }

    async fn governed(retention: &Value, tags: &str) -> Self {
        local_aws::log::collect();
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        let mutability = if tags == "quarantine" { "IMMUTABLE" } else { "MUTABLE" };
        let mut policy = json!({
            "RepositoryName": DEPLOYMENTS,
            "ImageTagMutability": mutability,
            "LifecycleTagCount": 2,
            "LifecycleUntaggedDays": 3,
            "Governance": {
                "Tags": {
                    "Grammar": "{component}-v{semver} {component}-{channel}",
                    "Enforcement": tags,
                },
                "Retention": {"Enforcement": "archive"},
            },
        });
        let words = policy["Governance"]["Retention"].as_object_mut().unwrap();
        words.extend(retention.as_object().unwrap().clone());
        let repository = json!({
            "repositoryName": DEPLOYMENTS,
            "imageTagMutability": mutability,
            "imageScanningConfiguration": {"scanOnPush": true},
        });
        aws.by_hand("CreateRepository", &repository).unwrap();
        let document = lifecycle::document(&Policy::parse(&policy.to_string()).unwrap());
        let put = json!({"repositoryName": DEPLOYMENTS, "lifecyclePolicyText": document});
        aws.by_hand("PutLifecyclePolicy", &put).unwrap();
        aws.by_hand("RegisterPullTimeUpdateExclusion", &json!({"principalArn": ROLE})).unwrap();
        aws.make("AWS::SNS::Topic", "alerts", &json!({})).await.unwrap();
        aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
        let inbox = "arn:aws:sqs:us-east-1:123456789012:inbox";
        let inbox = json!({"TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": inbox});
        aws.make("AWS::SNS::Subscription", "sqs", &inbox).await.unwrap();
        let template = Template::read(TEMPLATE).unwrap();
        let identity = Identity {
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            name: "ecr-warden".to_owned(),
            id: "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/1-2".to_owned(),
        };
        let stack = Stack::new(&template, identity, &[].into()).unwrap();
        let table = stack.properties("Ledger").unwrap();
        aws.make("AWS::DynamoDB::Table", "ledger", &table).await.unwrap();
        let variables = [
            ("AWS_LAMBDA_FUNCTION_NAME", "sweep".to_owned()),
            ("GOVERNANCE", json!([policy]).to_string()),
            ("ALERT_TOPIC_ARN", TOPIC.to_owned()),
            ("LEDGER_TABLE", "ledger".to_owned()),
            ("SCAN_ON_PUSH", "true".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let credentials =
            Credentials::new("AKIDEXAMPLE", "secret", Some(ROLE.to_owned()), None, "role");
        let sdk = aws.config().into_builder();
        let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        let context = Context::new(Config::read(variables).unwrap(), &sdk);
        aws.state().calls.clear();
        Self { aws, context }
    }

    /// The same in a registry with enhanced scanning, asking Inspector what runs.
    async fn inspected() -> Self {
        let function = Self::with(&json!({"InUse": "inspector"})).await;
        let all = json!([{
            "scanFrequency": "CONTINUOUS_SCAN",
            "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}],
        }]);
        let scanning = json!({"scanType": "ENHANCED", "rules": all});
        function.aws.by_hand("PutRegistryScanningConfiguration", &scanning).unwrap();
        function
    }

    /// An image that was pushed so many days ago.
    fn push(&self, tag: &str, days: Time) -> String {
        let tags = if tag.is_empty() { vec![] } else { vec![tag] };
        let mut state = self.aws.state();
        let pushed = state.ecr().push_made_up(DEPLOYMENTS, &tags, NOW - days * DAY).unwrap();
        state.ecr().image(DEPLOYMENTS, &pushed).unwrap().manifest.size = 1_000_000;
        state.ecr().events.clear();
        pushed
    }

    /// So many versions of a component, the first the oldest, from 100 days ago on.
    fn versions(&self, component: &str, count: usize) -> Vec<String> {
        let days = |nth: usize| 100.0 - Time::from(u32::try_from(nth).unwrap()) / 100.0;
        (0..count).map(|nth| self.push(&format!("{component}-v1.{nth}.0"), days(nth))).collect()
    }

    /// An index of two images and a signature of it, pushed so many days ago: index, images,
    /// signature.
    fn index(&self, tag: &str, days: Time) -> [String; 4] {
        let (one, other) = (self.push("", days), self.push("", days));
        let at = NOW - days * DAY;
        let mut state = self.aws.state();
        let index = state.ecr().push_index(DEPLOYMENTS, &[&one, &other], &[tag], at).unwrap();
        let signature = state.ecr().push_attached(DEPLOYMENTS, &index, ".sig", at).unwrap();
        state.ecr().events.clear();
        [index, one, other, signature]
    }

    /// Gives an image another tag.
    fn tag(&self, image: &str, tag: &str) {
        let manifest =
            self.aws.state().ecr().image(DEPLOYMENTS, image).unwrap().manifest_text.clone();
        let put =
            json!({"repositoryName": DEPLOYMENTS, "imageManifest": manifest, "imageTag": tag});
        self.aws.by_hand("PutImage", &put).unwrap();
    }

    /// Quarantines an image, and gives the tag.
    fn quarantine(&self, image: &str) -> String {
        let tag = format!("quarantine-20261201-{}-a-1.0.0", &image[7..19]);
        self.tag(image, &tag);
        tag
    }

    /// Inspector sees an image run.
    fn runs(&self, digest: &str) {
        self.aws.services().inspector().images.push(Coverage {
            repository: DEPLOYMENTS.to_owned(),
            digest: digest.to_owned(),
            tags: vec![],
            in_use_count: Some(2),
            last_in_use_at: Some(1_799_900_000),
            pulled_at: None,
            status: ("ACTIVE", "SUCCESSFUL"),
        });
    }

    async fn ask(&self, event: &Value, request_id: &str) -> anyhow::Result<Value> {
        self.ask_within(event, request_id, Duration::from_secs(900)).await
    }

    async fn ask_within(
        &self,
        event: &Value,
        request_id: &str,
        time_left: Duration,
    ) -> anyhow::Result<Value> {
        let now = time(self.aws.state().now());
        let invocation = Invocation { request_id: request_id.to_owned(), now, time_left };
        handle(&self.context, event, &invocation).await
    }

    /// A run as a schedule orders it.
    async fn sweep(&self) -> Value {
        self.ask(&json!({"repository": DEPLOYMENTS}), "request").await.unwrap()
    }

    /// The plan.
    async fn read(&self) -> Value {
        self.ask(&json!({"repository": DEPLOYMENTS, "mode": "report"}), "reading").await.unwrap()
    }

    /// What can be pulled, sorted.
    fn active(&self) -> Vec<String> {
        self.with_status("ACTIVE")
    }

    fn with_status(&self, status: &str) -> Vec<String> {
        let mut state = self.aws.state();
        let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
        let of = images.iter().filter(|image| image.status.name() == status);
        let mut digests: Vec<String> = of.map(|image| image.digest.clone()).collect();
        digests.sort_unstable();
        digests
    }

    /// The alerts since the last time, as a queue gets them.
    fn alerts(&self) -> Vec<Value> {
        let deliveries = std::mem::take(&mut self.aws.state().deliveries);
        let of = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
        of.map(|delivery| serde_json::from_str(&delivery.message).unwrap()).collect()
    }

    /// The operations called since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.aws.state().calls);
        calls.into_iter().map(|call| call.operation).collect()
    }
}

/// What of the calls changed the registry.
fn changes(calls: &[String]) -> Vec<&String> {
    const READING: [&str; 5] = ["Describe", "Get", "BatchGet", "List", "Publish"];
    let reads = |call: &&String| READING.iter().any(|word| call.starts_with(word));
    calls.iter().filter(|call| !reads(call) && *call != "UpdateItem").collect()
}

/// How often an operation is among the calls.
fn count(calls: &[String], operation: &str) -> usize {
    calls.iter().filter(|call| *call == operation).count()
}

/// The digests that a list of an answer or an alert has.
fn digests(list: &Value) -> Vec<String> {
    let mut digests: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect();
    digests.sort_unstable();
    digests
}

fn sorted(mut digests: Vec<String>) -> Vec<String> {
    digests.sort_unstable();
    digests
}

fn kinds(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().map(|alert| alert["kind"].as_str().unwrap()).collect()
}

fn time(seconds: Time) -> DateTime<Utc> {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    DateTime::from_timestamp(seconds as i64, 0).unwrap()
}

/// An event of `events/image-sweep`.
fn event(name: &str) -> Value {
    let path = format!("{}/../../events/image-sweep/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
