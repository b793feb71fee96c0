//! What becomes of a push, against an AWS in memory, event by event as EventBridge brings
//! them. A number in a test's comment is the line of experience it stands for: what went
//! wrong in other projects.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends where something is off"
)]

mod calls;
mod enforcement;
mod input;
mod sequences;
mod telling;

use std::time::Duration;

use chrono::{DateTime, Utc};
use image_push::config::Config;
use image_push::{Context, handle};
use local_aws::ecr::Time;
use local_aws::template::{Identity, Stack, Template};
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

/// What the clock says: 2027-01-15, 08:00.
const NOW: Time = 1_800_000_000.0;
const TEMPLATE: &str = include_str!("../../../../infra/sam/template.yaml");
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";

/// Every call that the function makes.
const OPERATIONS: [&str; 9] = [
    "DescribeImages",
    "DescribeRepositories",
    "UpdateItem",
    "BatchGetImage",
    "PutImage",
    "BatchDeleteImage",
    "UpdateImageStorageClass",
    "Publish",
    "BatchWriteItem",
];

/// A function with its AWS: both repositories, the topic with an inbox and a queue, and the
/// ledger as the template has it.
struct Function {
    aws: LocalAws,
    context: Context,
}

/// The policies of both repositories, as they are deployed but for their enforcement.
fn governance(enforcement: &str) -> Value {
    let policy = |name: &str, mutability: &str, grammar: &str, enforcement: &str| {
        json!({
            "RepositoryName": name,
            "ImageTagMutability": mutability,
            "LifecycleTagCount": 20,
            "LifecycleUntaggedDays": 7,
            "Governance": {
                "Tags": {
                    "Grammar": grammar,
                    "Forbidden": ["*-v0.0.0"],
                    "Enforcement": enforcement,
                },
                "Retention": {"Enforcement": "report"},
            },
        })
    };
    let in_deployments = if enforcement == "quarantine" { "report" } else { enforcement };
    json!([
        policy("infrastructure", "IMMUTABLE", "{component}-v{semver}", enforcement),
        policy(
            "deployments",
            "MUTABLE",
            "{component}-v{semver} {component}-{channel} {component}-{sha}",
            in_deployments,
        ),
    ])
}

impl Function {
    async fn new(enforcement: &str) -> Self {
        Self::with_patterns(enforcement, "").await
    }

    async fn with_patterns(enforcement: &str, patterns: &str) -> Self {
        local_aws::log::collect();
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        for (name, mutability) in [("infrastructure", "IMMUTABLE"), ("deployments", "MUTABLE")] {
            let input = json!({"repositoryName": name, "imageTagMutability": mutability});
            aws.by_hand("CreateRepository", &input).unwrap();
        }
        aws.make("AWS::SNS::Topic", "alerts", &json!({})).await.unwrap();
        for (protocol, endpoint) in [
            ("email", "team@example.com"),
            ("https", "https://example.com/q"),
            ("sqs", "arn:aws:sqs:us-east-1:123456789012:inbox"),
        ] {
            let inbox = json!({"TopicArn": TOPIC, "Protocol": protocol, "Endpoint": endpoint});
            aws.make("AWS::SNS::Subscription", protocol, &inbox).await.unwrap();
        }
        aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
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
            ("GOVERNANCE", governance(enforcement).to_string()),
            ("REPOSITORY_NAME_PATTERNS", patterns.to_owned()),
            ("ALERT_TOPIC_ARN", TOPIC.to_owned()),
            ("LEDGER_TABLE", "ledger".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let context = Context::new(Config::read(variables).unwrap(), &aws.config());
        aws.state().events.clear();
        aws.state().calls.clear();
        Self { aws, context }
    }

    /// An image of its own with these tags, pushed one after the other; gives its digest and
    /// what ECR told of each tag.
    fn push(&self, repository: &str, tags: &[&str]) -> (String, Vec<Value>) {
        let digest = {
            let mut state = self.aws.state();
            let now = state.now();
            state.ecr().push_made_up(repository, tags, now).unwrap()
        };
        (digest, self.told())
    }

    /// Gives an image that is there another tag, as a second push of it does.
    fn tag(&self, repository: &str, digest: &str, tag: &str) -> Vec<Value> {
        let ids = json!([{"imageDigest": digest}]);
        let input = json!({"repositoryName": repository, "imageIds": ids});
        let found = self.aws.by_hand("BatchGetImage", &input).unwrap();
        let image = &found["images"][0];
        let put = json!({
            "repositoryName": repository,
            "imageManifest": image["imageManifest"],
            "imageManifestMediaType": image["imageManifestMediaType"],
            "imageTag": tag,
        });
        self.aws.by_hand("PutImage", &put).unwrap();
        self.told()
    }

    fn untag(&self, repository: &str, tag: &str) {
        let ids = json!([{"imageTag": tag}]);
        let input = json!({"repositoryName": repository, "imageIds": ids});
        let removed = self.aws.by_hand("BatchDeleteImage", &input).unwrap();
        assert_eq!(removed["failures"], json!([]));
        self.told();
    }

    /// What ECR told EventBridge of pushes since the last time. `by_hand` and the functions'
    /// calls hand events on; what was pushed into the state is taken from there.
    fn told(&self) -> Vec<Value> {
        let mut state = self.aws.state();
        let mut events = std::mem::take(&mut state.events);
        events.append(&mut state.ecr().events);
        events.retain(|event| event["detail"]["action-type"] == "PUSH");
        events
    }

    async fn handle(&self, event: &Value, request_id: &str) -> anyhow::Result<()> {
        let now = self.aws.state().now();
        handle(&self.context, event, request_id, time(now)).await
    }

    /// Handles all of these, each as a request of its own.
    async fn handle_all(&self, events: &[Value]) {
        for event in events {
            self.handle(event, event["id"].as_str().unwrap()).await.unwrap();
        }
    }

    /// Makes each call take its time from now on, so that what is at work at once takes turns.
    fn slow_down(&self, milliseconds: impl Fn(usize) -> u64) {
        for (nth, operation) in OPERATIONS.iter().enumerate() {
            let by = Duration::from_millis(milliseconds(nth));
            self.aws.fault(operation, 0, Fault::Slow(by));
        }
    }

    /// The tags of an image; none if there is no such image.
    fn tags(&self, repository: &str, digest: &str) -> Option<Vec<String>> {
        let mut state = self.aws.state();
        let image = state.ecr().repositories[repository].images.get(digest)?;
        Some(image.tags.iter().cloned().collect())
    }

    /// The alerts since the last time, as a queue gets them.
    fn alerts(&self) -> Vec<Value> {
        let deliveries = std::mem::take(&mut self.aws.state().deliveries);
        let of = deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
        of.map(|delivery| serde_json::from_str(&delivery.message).unwrap()).collect()
    }

    /// The one alert since the last time.
    fn alert(&self) -> Value {
        let mut alerts = self.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.remove(0)
    }

    /// The operations called since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.aws.state().calls);
        calls.into_iter().map(|call| call.operation).collect()
    }
}

fn time(seconds: Time) -> DateTime<Utc> {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    DateTime::from_timestamp(seconds as i64, 0).unwrap()
}

/// An event of `events/image-push`.
fn event(name: &str) -> Value {
    let path = format!("{}/../../events/image-push/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The quarantine tag of an image that lost `tag` today.
fn quarantine_tag(digest: &str, tag: &str) -> String {
    format!("quarantine-20270115-{}-{tag}", &digest["sha256:".len()..][..12])
}

/// An index of images for so many platforms, pushed as clients do: each image by its digest,
/// and then the index with a tag. Gives its digest, theirs, and what ECR told.
fn push_index(
    function: &Function,
    tag: &str,
    platforms: usize,
) -> (String, Vec<String>, Vec<Value>) {
    let mut events = Vec::new();
    let images: Vec<String> = (0..platforms)
        .map(|_| {
            let (digest, told) = function.push("infrastructure", &[]);
            events.extend(told);
            digest
        })
        .collect();
    let mut state = function.aws.state();
    let now = state.now();
    let index = state.ecr().push_index("infrastructure", &images, &[tag], now).unwrap();
    drop(state);
    events.extend(function.told());
    (index, images, events)
}
