//! The images of an index and their scans: `image-push`, `scan-complete` and the queue between them. The
//! functions run in this process, so that the tests set the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use local_aws::ecr::scan::finding::basic_finding;
use local_aws::world::{self, World, kinds};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::faults::function::{Function, deploy};

const REPOSITORY: &str = "infrastructure";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The deployed stack.
struct Stack {
    world: World,
    requests: AtomicU64,
}

impl Stack {
    async fn new() -> Self {
        Self { world: deploy(&[]).await, requests: AtomicU64::new(0) }
    }

    async fn deliver(&self, function: Function, event: &Value) {
        let request = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        // The future of an attempt is large.
        Box::pin(function.attempt(&self.world, event, &request)).await.unwrap();
    }

    /// Pushes an image by its digest, and delivers the event.
    async fn push(&self) -> String {
        let image = self.world.push(REPOSITORY, &[]);
        let pushed = self.world.aws.state().ecr().events.pop().unwrap();
        self.deliver(Function::ImagePush, &pushed).await;
        image
    }

    /// Pushes the index of these images. Returns its digest and the event.
    fn push_index(&self, images: &[String], tag: &str) -> (String, Value) {
        let index = self.world.push_index(REPOSITORY, images, tag);
        (index, self.world.aws.state().ecr().events.pop().unwrap())
    }

    /// Completes the scan of an image. Returns the event.
    fn scan(&self, image: &str, findings: &[&str]) -> Value {
        let found = findings.iter().map(|id| basic_finding(id, "HIGH", "openssl", "3.0.17"));
        self.world.complete_scan(REPOSITORY, image, Ok(found.collect()))
    }

    /// Delivers the messages of the queue.
    async fn run_queue(&self) {
        for message in self.world.take_messages("InspectorFindings").await {
            self.deliver(Function::ScanComplete, &message).await;
        }
    }

    /// Lets this time pass, and delivers the messages that are due.
    async fn pass(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(5 * MINUTE);
            self.world.aws.advance(step);
            self.run_queue().await;
            left -= step;
        }
    }

    /// Pushes, an hour later, a version with one image, and scans the image.
    async fn release(&self, tag: &str, findings: &[&str]) -> Vec<Value> {
        self.pass(HOUR).await;
        let image = self.push().await;
        let (_, pushed) = self.push_index(std::slice::from_ref(&image), tag);
        self.deliver(Function::ImagePush, &pushed).await;
        self.deliver(Function::ScanComplete, &self.scan(&image, findings)).await;
        self.world.alerts()
    }
}

/// The IDs of the new findings of an alert.
fn new(alert: &Value) -> Vec<&str> {
    alert["details"]["new"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

// Case B13 in docs/contributing/prior-art.md.
#[tokio::test]
async fn images_that_are_scanned_before_their_index_is_pushed_cause_one_alert_about_the_index() {
    let stack = Stack::new().await;
    let delays = [(Duration::from_secs(5), 0), (5 * MINUTE, 0), (5 * HOUR, 0), (5 * 24 * HOUR, 2)];
    for (nth, (delay, alone)) in delays.into_iter().enumerate() {
        let tag = |version: u8| format!("app{nth}-v{version}.0.0");
        assert_eq!(stack.release(&tag(1), &["CVE-1"]).await.len(), 1);
        let images = [stack.push().await, stack.push().await];
        for image in &images {
            let scan = stack.scan(image, &["CVE-1", "CVE-2"]);
            stack.deliver(Function::ScanComplete, &scan).await;
        }
        stack.pass(delay).await;
        let before = stack.world.alerts();
        assert_eq!(before.len(), alone, "{delay:?}: {before:#?}");
        let (index, pushed) = stack.push_index(&images, &tag(2));
        stack.deliver(Function::ImagePush, &pushed).await;
        stack.run_queue().await;
        let alerts = stack.world.alerts();
        // The alerts about the images alone published all findings.
        let expected: &[&str] = if alone == 0 { &["CVE-2"] } else { &[] };
        assert_eq!(alerts.iter().flat_map(new).collect::<Vec<_>>(), expected, "{delay:?}");
        for alert in &alerts {
            assert_eq!(alert["image"], json!({"digest": index, "tags": [tag(2)]}));
            assert_eq!(alert["details"]["baseline"]["tag"], tag(1));
        }
        stack.pass(24 * HOUR).await;
        assert_eq!(stack.world.alerts(), [Value::Null; 0], "{delay:?}");
        // The index is the version that the next one is compared with.
        assert_eq!(stack.release(&tag(3), &["CVE-2"]).await, [Value::Null; 0], "{delay:?}");
        assert_eq!(kinds(&stack.release(&tag(4), &[]).await), ["scan-resolved"], "{delay:?}");
    }
}

#[tokio::test]
async fn an_index_without_a_tag_for_each_platform_is_no_version() {
    let stack = Stack::new().await;
    let images = [stack.push().await, stack.push().await];
    for image in &images {
        let pushed = {
            let mut state = stack.world.aws.state();
            let now = state.now();
            state.ecr().push_index(REPOSITORY, std::slice::from_ref(image), &[], now).unwrap();
            state.ecr().events.pop().unwrap()
        };
        stack.deliver(Function::ImagePush, &pushed).await;
        stack.deliver(Function::ScanComplete, &stack.scan(image, &["CVE-1"])).await;
    }
    stack.pass(HOUR).await;
    assert_eq!(stack.world.alerts(), [Value::Null; 0]);
    let (index, pushed) = stack.push_index(&images, "app-v1.0.0");
    stack.deliver(Function::ImagePush, &pushed).await;
    stack.run_queue().await;
    assert_eq!(stack.world.alert()["image"]["digest"], index);
}

#[tokio::test]
async fn parts_of_an_index_that_are_not_images_do_not_hold_back_scan_resolved() {
    let stack = Stack::new().await;
    assert_eq!(kinds(&stack.release("app-v1.0.0", &["CVE-1"]).await), ["scan-findings"]);
    stack.pass(HOUR).await;
    let parts = [
        (stack.push().await, json!({"platform": {"os": "linux", "architecture": "amd64"}})),
        (stack.push().await, json!({"platform": {"os": "unknown", "architecture": "unknown"}})),
        (stack.push().await, json!({"artifactType": "application/vnd.amazon.soci.index.v2+json"})),
    ];
    let entries = parts.clone().map(|(part, mut entry)| {
        let image = stack.world.aws.state().ecr().image(REPOSITORY, &part).unwrap().clone();
        entry["mediaType"] = image.manifest.media_type.into();
        entry["size"] = image.manifest_text.len().into();
        entry["digest"] = part.into();
        entry
    });
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let put = json!({
        "repositoryName": REPOSITORY,
        "imageManifest": index.to_string(),
        "imageManifestMediaType": media_type,
        "imageTag": "app-v2.0.0",
    });
    let put = stack.world.aws.by_hand("PutImage", &put).unwrap();
    let mut pushed = world::event("image-push", "index");
    pushed["detail"]["image-digest"] = put["image"]["imageId"]["imageDigest"].clone();
    pushed["detail"]["image-tag"] = "app-v2.0.0".into();
    stack.deliver(Function::ImagePush, &pushed).await;
    let [(image, _), others @ ..] = &parts;
    // ECR tries to scan each part.
    for (part, entry) in others {
        let failure = Err(("FAILED", "UnsupportedImageError: not an image"));
        let failed = stack.world.complete_scan(REPOSITORY, part, failure);
        stack.deliver(Function::ScanComplete, &failed).await;
        assert_eq!(stack.world.alerts(), [Value::Null; 0], "{entry}");
    }
    stack.deliver(Function::ScanComplete, &stack.scan(image, &[])).await;
    assert_eq!(kinds(&stack.world.alerts()), ["scan-resolved"]);
}

/// A step of a sequence of events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The event of the scan of an image is delivered.
    Scanned(usize),
    /// The index is pushed.
    PushIndex,
    /// The event of the push is delivered.
    Pushed,
    /// Minutes pass.
    Pass(u32),
}

/// The findings of the images of the index.
const FINDINGS: [&[&str]; 2] = [&["CVE-1", "CVE-2"], &["CVE-2", "CVE-3"]];

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..2_usize).prop_map(Step::Scanned),
        Just(Step::PushIndex),
        Just(Step::Pushed),
        prop::sample::select(vec![1, 20, 200, 400]).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..10)
}

/// Checks that each finding is published once, for any order of the events.
async fn check_steps(steps: &[Step]) {
    let stack = Stack::new().await;
    let images = [stack.push().await, stack.push().await];
    let scans = [0, 1].map(|nth| stack.scan(&images[nth], FINDINGS[nth]));
    // Each event is delivered in the end.
    let last = [Step::PushIndex, Step::Pushed, Step::Scanned(0), Step::Scanned(1), Step::Pass(400)];
    let mut index: Option<(String, Value)> = None;
    let (mut minutes, mut is_delivered) = (0, false);
    for step in steps.iter().chain(&last) {
        match *step {
            Step::Scanned(nth) => stack.deliver(Function::ScanComplete, &scans[nth]).await,
            Step::PushIndex if index.is_none() => {
                index = Some(stack.push_index(&images, "app-v1.0.0"));
            }
            Step::PushIndex => {}
            Step::Pushed => {
                if let Some((_, pushed)) = &index {
                    stack.deliver(Function::ImagePush, pushed).await;
                    is_delivered = true;
                }
            }
            Step::Pass(time) => {
                stack.pass(time * MINUTE).await;
                minutes += if is_delivered { 0 } else { time };
            }
        }
        stack.run_queue().await;
    }
    let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for alert in stack.world.alerts() {
        assert_eq!(alert["kind"], "scan-findings");
        let image = alert["image"]["digest"].as_str().unwrap().to_owned();
        published.entry(image).or_default().extend(new(&alert).into_iter().map(str::to_owned));
    }
    for (image, ids) in &published {
        let once: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(once.len(), ids.len(), "{image} has a finding twice: {published:?}");
    }
    let (index, _) = index.unwrap();
    let of_index: BTreeSet<String> = published.remove(&index).into_iter().flatten().collect();
    let alone: BTreeSet<String> = published.into_values().flatten().collect();
    assert!(of_index.is_disjoint(&alone), "{of_index:?} {alone:?}");
    let all: BTreeSet<&str> = FINDINGS.concat().into_iter().collect();
    let published: BTreeSet<&str> = of_index.iter().chain(&alone).map(String::as_str).collect();
    assert_eq!(published, all);
    assert!(alone.is_empty() || minutes >= 360, "{alone:?} after {minutes} minutes");
    // The next version has the same findings.
    let all: Vec<&str> = all.into_iter().collect();
    assert_eq!(stack.release("app-v2.0.0", &all).await, [Value::Null; 0]);
    assert_eq!(kinds(&stack.release("app-v3.0.0", &[]).await), ["scan-resolved"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_of_the_events_does_not_change_which_findings_are_published(steps in any_steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check_steps(&steps));
    }
}
