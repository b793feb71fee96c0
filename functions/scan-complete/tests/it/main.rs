//! Tests the outcome of scans on the embedded AWS. Each test delivers the events of EventBridge one
//! by one. A comment such as `Case P21` names a case of docs/contributing/prior-art.md.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod alone;
mod artifacts;
mod batches;
mod calls;
mod collecting;
mod cut_off;
mod failures;
mod input;
mod lines;
mod publishing;
mod risks;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use local_aws::Fault;
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::world::{self, World, kinds};
use scan_complete::config::Config;
use scan_complete::{Context, handle};
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_core::artifact::ArtifactKind;
use warden_core::image::Digest;

const INFRASTRUCTURE: &str = "infrastructure";

/// The function and the stack that it is deployed in.
struct Function {
    world: World,
    context: Context,
}

impl Deref for Function {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Function {
    async fn new() -> Self {
        Self::with_threshold("HIGH").await
    }

    async fn with_threshold(threshold: &str) -> Self {
        Self::with_policy(&[("*.Scan.Threshold", threshold)]).await
    }

    async fn with_policy(settings: &[(&str, &str)]) -> Self {
        let world = World::deploy(settings).await;
        let config = Config::read(world.function("scan-complete").environment.clone()).unwrap();
        let context = Context::new(config, &world.sdk("scan-complete"));
        // A process that has handled an event before knows the policy.
        context.policy.get(&context.ledger).await.unwrap();
        world.calls();
        Self { world, context }
    }

    /// Builds a function in a registry with enhanced scanning.
    async fn enhanced() -> Self {
        let function = Self::new().await;
        function.enable_enhanced_scanning();
        function
    }

    /// Pushes an image an hour later. Returns its digest.
    fn push(&self, tags: &[&str]) -> String {
        self.aws.advance(Duration::from_secs(3_600));
        let digest = self.world.push(INFRASTRUCTURE, tags);
        self.aws.state().ecr().events.clear();
        digest
    }

    /// Pushes an index for this number of platforms, which `image-push` records. Returns the digests
    /// of the images.
    async fn push_index(&self, tag: &str, platforms: usize) -> Vec<String> {
        let images: Vec<String> = (0..platforms).map(|_| self.push(&[])).collect();
        let index = self.world.push_index(INFRASTRUCTURE, &images, tag);
        self.aws.state().ecr().events.clear();
        self.note(&images, &index, tag).await;
        images
    }

    /// The ledger with the role of `image-push`. The role of `scan-complete` may not record the parts
    /// of an index.
    fn ledger_of_image_push(&self) -> Ledger {
        let table = self.world.function("image-push").environment["LEDGER_TABLE"].clone();
        Ledger::new(&self.world.sdk("image-push"), table)
    }

    /// Records the images of an index that was pushed now with this tag, as `image-push` does.
    async fn note(&self, images: &[String], index: &str, tag: &str) {
        let parts: BTreeMap<Digest, ArtifactKind> =
            images.iter().map(|image| (image.parse().unwrap(), ArtifactKind::Image)).collect();
        let (repository, index) = (INFRASTRUCTURE.parse().unwrap(), index.parse().unwrap());
        let tag = tag.parse().unwrap();
        let ledger = self.ledger_of_image_push();
        let images: Vec<&Digest> = parts.keys().collect();
        let scanned = ledger.find_scanned_alone(&repository, &images).await.unwrap();
        let noted =
            ledger.record_children(&repository, &index, &tag, &parts, &scanned, self.now()).await;
        noted.unwrap();
        self.aws.state().calls.clear();
    }

    /// Completes the scan of an image. Returns the event.
    fn scan(&self, digest: &str, outcome: Result<Vec<Value>, (&str, &str)>) -> Value {
        self.complete_scan(INFRASTRUCTURE, digest, outcome)
    }

    /// Makes Inspector report a finding. Returns the event.
    fn finding(&self, digest: &str, finding: &Value, status: &str) -> Value {
        self.report_finding(INFRASTRUCTURE, digest, finding, status)
    }

    async fn handle(&self, event: &Value, request_id: &str) -> anyhow::Result<()> {
        handle(&self.context, event, request_id, self.now()).await
    }

    /// Scans an image with this outcome, and handles the event in a request of its own.
    async fn scanned(&self, digest: &str, findings: &str) -> Vec<Value> {
        let event = self.scan(digest, Ok(basic(findings)));
        self.handle(&event, event["id"].as_str().unwrap()).await.unwrap();
        self.alerts()
    }

    /// Replaces the list of accepted risks.
    async fn accept(&self, risks: &str) {
        let name = &self.outputs["AcceptedRisksParameter"];
        let put = json!({"Name": name, "Value": risks, "Overwrite": true});
        self.aws.ask("ssm", "AmazonSSM.PutParameter", &put).await.unwrap();
    }

    /// Delays each call from now on, so that concurrent invocations take turns.
    fn slow_down(&self, milliseconds: u64) {
        for operation in OPERATIONS {
            let by = Duration::from_millis(milliseconds);
            self.aws.fault(operation, 0, Fault::Slow(by));
        }
    }
}

/// Every call that the function makes.
const OPERATIONS: [&str; 11] = [
    "BatchGetItem",
    "DeleteItem",
    "GetItem",
    "SendMessageBatch",
    "UpdateItem",
    "BatchGetImage",
    "DescribeImages",
    "DescribeImageScanFindings",
    "GetParameter",
    "Publish",
    "PutEvents",
];

/// Basic findings from `A:CRITICAL B:HIGH`.
fn basic(findings: &str) -> Vec<Value> {
    let one = |word: &str| {
        let (id, severity) = word.split_once(':').unwrap();
        basic_finding(id, severity, "openssl", "3.0.17")
    };
    findings.split_whitespace().map(one).collect()
}

/// Enhanced findings from `A:CRITICAL B:HIGH`.
fn enhanced(findings: &str) -> Vec<Value> {
    let one = |word: &str| {
        let (id, severity) = word.split_once(':').unwrap();
        enhanced_finding(id, severity, "openssl", "3.0.17", Some("3.0.18"))
    };
    findings.split_whitespace().map(one).collect()
}

/// The identifiers of the new findings of an alert, and of all its findings.
fn new_and_all(alert: &Value) -> (Vec<&str>, Vec<&str>) {
    let new = alert["details"]["new"].as_array().unwrap().iter();
    let all = alert["details"]["findings"].as_array().unwrap().iter();
    let new = new.filter_map(Value::as_str).collect();
    (new, all.filter_map(|finding| finding["id"].as_str()).collect())
}

/// An event of `events/scan-complete`.
fn event(name: &str) -> Value {
    world::event("scan-complete", name)
}
