//! What becomes of scans, against an AWS in memory, event by event as EventBridge brings them.
//! A number in a test's comment is the line of experience it stands for: what went wrong in
//! other projects.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod calls;
mod cut_off;
mod failures;
mod gathering;
mod input;
mod risks;
mod telling;

use std::time::Duration;

use chrono::{DateTime, Utc};
use local_aws::ecr::Time;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::template::{Identity, Stack, Template};
use local_aws::{Fault, LocalAws};
use scan_complete::config::Config;
use scan_complete::{Context, handle};
use serde_json::{Value, json};
use warden_core::graph::IndexChildKind;

/// What the clock says at first: 2027-01-15, 08:00.
const NOW: Time = 1_800_000_000.0;
const TEMPLATE: &str = include_str!("../../../../infra/sam/template.yaml");
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";
const PARAMETER: &str = "/ecr-warden/accepted-risks";
const INFRASTRUCTURE: &str = "infrastructure";

/// A function with its AWS: a repository, the topic with an inbox of each kind, the ledger and
/// the accepted risks as the template has them.
struct Function {
    aws: LocalAws,
    context: Context,
}

impl Function {
    async fn new() -> Self {
        Self::with_threshold("HIGH").await
    }

    async fn with_threshold(threshold: &str) -> Self {
        let aws = LocalAws::default();
        aws.state().set_clock(Some(NOW));
        let repository = json!({
            "repositoryName": INFRASTRUCTURE,
            "imageScanningConfiguration": {"scanOnPush": true},
        });
        aws.by_hand("CreateRepository", &repository).unwrap();
        aws.make("AWS::SNS::Topic", "alerts", &json!({})).await.unwrap();
        aws.make("AWS::SQS::Queue", "inbox", &json!({})).await.unwrap();
        for (protocol, endpoint) in [
            ("email", "team@example.com"),
            ("https", "https://example.com/q"),
            ("sqs", "arn:aws:sqs:us-east-1:123456789012:inbox"),
        ] {
            let inbox = json!({"TopicArn": TOPIC, "Protocol": protocol, "Endpoint": endpoint});
            aws.make("AWS::SNS::Subscription", protocol, &inbox).await.unwrap();
        }
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
        let risks = json!({"Name": PARAMETER, "Type": "String", "Value": "[]"});
        aws.make("AWS::SSM::Parameter", "risks", &risks).await.unwrap();
        let policy = json!([{
            "RepositoryName": INFRASTRUCTURE,
            "LifecycleTagCount": 20,
            "LifecycleUntaggedDays": 7,
            "Governance": {
                "Tags": {"Grammar": "{component}-v{semver}", "Enforcement": "report"},
                "Retention": {"Enforcement": "report"},
                "Scan": {"Threshold": threshold},
            },
        }]);
        let variables = [
            ("GOVERNANCE", policy.to_string()),
            ("ALERT_TOPIC_ARN", TOPIC.to_owned()),
            ("LEDGER_TABLE", "ledger".to_owned()),
            ("ACCEPTED_RISKS_PARAMETER", PARAMETER.to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let context = Context::new(Config::read(variables).unwrap(), &aws.config());
        aws.state().calls.clear();
        Self { aws, context }
    }

    /// The same in a registry that has enhanced scanning.
    async fn enhanced() -> Self {
        let function = Self::new().await;
        let all = json!([{
            "scanFrequency": "CONTINUOUS_SCAN",
            "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}],
        }]);
        let scanning = json!({"scanType": "ENHANCED", "rules": all});
        function.aws.by_hand("PutRegistryScanningConfiguration", &scanning).unwrap();
        function
    }

    /// An image of its own, pushed an hour after what was before; gives its digest.
    fn push(&self, tags: &[&str]) -> String {
        self.aws.advance(Duration::from_secs(3_600));
        let mut state = self.aws.state();
        let now = state.now();
        let pushed = state.ecr().push_made_up(INFRASTRUCTURE, tags, now).unwrap();
        state.ecr().events.clear();
        pushed
    }

    /// An index of images for so many platforms, which `image-push` has noted; gives the
    /// images.
    async fn push_index(&self, tag: &str, platforms: usize) -> Vec<String> {
        let images: Vec<String> = (0..platforms).map(|_| self.push(&[])).collect();
        let now = self.aws.state().now();
        let index = self.aws.state().ecr().push_index(INFRASTRUCTURE, &images, &[tag], now);
        self.aws.state().ecr().events.clear();
        self.note(&images, &index.unwrap(), tag).await;
        images
    }

    /// `image-push` notes that these are the images of an index, which was pushed now as this.
    async fn note(&self, images: &[String], index: &str, tag: &str) {
        let parts =
            images.iter().map(|image| (image.parse().unwrap(), IndexChildKind::Image)).collect();
        let (repository, index) = (INFRASTRUCTURE.parse().unwrap(), index.parse().unwrap());
        let (tag, now) = (tag.parse().unwrap(), time(self.aws.state().now()));
        let ledger = &self.context.ledger;
        ledger.note_children(&repository, &index, Some(&tag), &parts, now).await.unwrap();
        self.aws.state().calls.clear();
    }

    /// The scan of an image comes to this; gives what is told of it.
    fn scan(&self, digest: &str, outcome: Result<Vec<Value>, (&str, &str)>) -> Value {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().complete_scan(INFRASTRUCTURE, digest, outcome, now).unwrap();
        state.ecr().events.pop().unwrap()
    }

    /// Inspector says this of one finding; gives what is told of it.
    fn finding(&self, digest: &str, finding: &Value, status: &str) -> Value {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().tell_of_finding(INFRASTRUCTURE, digest, finding, status, now).unwrap();
        state.ecr().events.pop().unwrap()
    }

    async fn handle(&self, event: &Value, request_id: &str) -> anyhow::Result<()> {
        let now = self.aws.state().now();
        handle(&self.context, event, request_id, time(now)).await
    }

    /// Scans an image with this outcome and handles the event, as a request of its own.
    async fn scanned(&self, digest: &str, findings: &str) -> Vec<Value> {
        let event = self.scan(digest, Ok(basic(findings)));
        self.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
        self.alerts()
    }

    /// What is accepted from now on.
    async fn accept(&self, risks: &str) {
        let client = aws_sdk_ssm::Client::new(&self.aws.config());
        let put = client.put_parameter().name(PARAMETER).value(risks).overwrite(true);
        put.send().await.unwrap();
        self.aws.state().calls.clear();
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

    /// Makes each call take so long from now on, so that what is at work at once takes turns.
    fn slow_down(&self, milliseconds: u64) {
        for operation in OPERATIONS {
            let by = Duration::from_millis(milliseconds);
            self.aws.fault(operation, 0, Fault::Slow(by));
        }
    }
}

/// Every call that the function makes.
const OPERATIONS: [&str; 6] = [
    "GetItem",
    "UpdateItem",
    "DescribeImages",
    "DescribeImageScanFindings",
    "GetParameter",
    "Publish",
];

/// Basic findings from `A:CRITICAL B:HIGH`.
fn basic(findings: &str) -> Vec<Value> {
    let one = |word: &str| {
        let (id, severity) = word.split_once(':').unwrap();
        basic_finding(id, severity, "openssl", "3.0.17")
    };
    findings.split_whitespace().map(one).collect()
}

/// Enhanced ones, the same.
fn enhanced(findings: &str) -> Vec<Value> {
    let one = |word: &str| {
        let (id, severity) = word.split_once(':').unwrap();
        enhanced_finding(id, severity, "openssl", "3.0.17", Some("3.0.18"))
    };
    findings.split_whitespace().map(one).collect()
}

/// What of an alert's findings is new, and all of them.
fn told(alert: &Value) -> (Vec<&str>, Vec<&str>) {
    let new = alert["details"]["new"].as_array().unwrap().iter();
    let all = alert["details"]["findings"].as_array().unwrap().iter();
    let new = new.filter_map(Value::as_str).collect();
    (new, all.filter_map(|finding| finding["id"].as_str()).collect())
}

fn kinds(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().map(|alert| alert["kind"].as_str().unwrap()).collect()
}

fn time(seconds: Time) -> DateTime<Utc> {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    DateTime::from_timestamp(seconds as i64, 0).unwrap()
}

/// An event of `events/scan-complete`.
fn event(name: &str) -> Value {
    let path = format!("{}/../../events/scan-complete/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
