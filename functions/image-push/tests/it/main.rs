//! Tests the outcome of pushes on the embedded AWS. Each test delivers the events of EventBridge one
//! by one. A comment such as `Case P21` names a case of docs/contributing/prior-art.md.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod calls;
mod enforcement;
mod input;
mod interrupted;
mod lag;
mod native_rules;
mod publishing;
mod pushes;
mod replication;
mod reports;
mod sequences;
mod sweeps;

use std::ops::Deref;
use std::time::Duration;

use image_push::config::Config;
use image_push::{Context, handle};
use local_aws::Fault;
use local_aws::world::{self, World};
use serde_json::{Value, json};

/// Every call that the function makes.
const OPERATIONS: [&str; 15] = [
    "DescribeRegistry",
    "BatchGetItem",
    "DescribeImages",
    "DescribeRepositories",
    "GetLifecyclePolicy",
    "UpdateItem",
    "BatchGetImage",
    "PutImage",
    "BatchDeleteImage",
    "UpdateImageStorageClass",
    "GetItem",
    "Publish",
    "PutEvents",
    "BatchWriteItem",
    "SendMessageBatch",
];

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
    async fn new(enforcement: &str) -> Self {
        Self::with_unmatched(enforcement, "ignore").await
    }

    async fn with_unmatched(enforcement: &str, unmatched: &str) -> Self {
        // Quarantine needs immutable tags, and the tags of `deployments` are mutable.
        let in_deployments = if enforcement == "quarantine" { "report" } else { enforcement };
        Self::with(&[
            ("platform.Tags.Enforcement", enforcement),
            ("applications.Tags.Enforcement", in_deployments),
            (".Unmatched", unmatched),
        ])
        .await
    }

    /// Builds a function that has handled an event before, so that it knows the policy.
    async fn with(parameters: &[(&str, &str)]) -> Self {
        let parameters = [parameters, &[("*.Tags.Forbidden", r#"["*-v0.0.0"]"#)]].concat();
        let world = World::deploy(&parameters).await;
        let context = context(&world).await;
        Self { world, context }
    }

    /// Deploys another policy.
    async fn change_policy(&mut self, parameters: &[(&str, &str)]) {
        self.world.change_policy(parameters).await;
        self.context = context(&self.world).await;
    }

    /// Pushes an image with these tags, one after the other. Returns its digest and the events.
    fn push(&self, repository: &str, tags: &[&str]) -> (String, Vec<Value>) {
        (self.world.push(repository, tags), self.push_events())
    }

    /// Adds a tag to an image, as a second push of the image does. Returns the event.
    fn tag(&self, repository: &str, digest: &str, tag: &str) -> Vec<Value> {
        self.world.tag(repository, digest, tag);
        self.push_events()
    }

    fn untag(&self, repository: &str, tag: &str) {
        let ids = json!([{"imageTag": tag}]);
        let input = json!({"repositoryName": repository, "imageIds": ids});
        let removed = self.aws.by_hand("BatchDeleteImage", &input).unwrap();
        assert_eq!(removed["failures"], json!([]));
        self.push_events();
    }

    /// The push events since the last call of this method. The state holds the events that API calls
    /// caused; the registry holds the events of images that tests pushed directly into it.
    fn push_events(&self) -> Vec<Value> {
        let mut state = self.aws.state();
        let mut events = std::mem::take(&mut state.events);
        events.append(&mut state.ecr().events);
        events.retain(|event| event["detail"]["action-type"] == "PUSH");
        events
    }

    /// Has other pushes queue the sweeps of this hour, and forgets the calls.
    async fn queue_sweeps(&self) {
        for repository in ["infrastructure", "deployments"] {
            let (_, events) = self.push(repository, &[]);
            self.handle_all(&events).await;
        }
        let _ = self.calls();
    }

    async fn handle(&self, event: &Value, request_id: &str) -> anyhow::Result<()> {
        handle(&self.context, event, request_id, self.now()).await
    }

    /// Handles these events, each in a request of its own.
    async fn handle_all(&self, events: &[Value]) {
        for event in events {
            self.handle(event, event["id"].as_str().unwrap()).await.unwrap();
        }
    }

    /// Handles these events so late that an image which ECR does not know counts as deleted.
    async fn handle_all_when_old(&self, events: &[Value]) {
        self.aws.advance(Duration::from_secs(180));
        self.handle_all(events).await;
    }

    /// Delays each call from now on, so that concurrent invocations take turns.
    fn slow_down(&self, milliseconds: impl Fn(usize) -> u64) {
        for (nth, operation) in OPERATIONS.iter().enumerate() {
            let by = Duration::from_millis(milliseconds(nth));
            self.aws.fault(operation, 0, Fault::Slow(by));
        }
    }

    /// The tags of an image. None if the image does not exist.
    fn tags(&self, repository: &str, digest: &str) -> Option<Vec<String>> {
        let mut state = self.aws.state();
        let image = state.ecr().repositories[repository].images.get(digest)?;
        Some(image.tags.iter().cloned().collect())
    }
}

/// The configuration and the clients of a process that has read the policy.
async fn context(world: &World) -> Context {
    let config = Config::read(world.function("image-push").environment.clone()).unwrap();
    let context = Context::new(config, &world.sdk("image-push"));
    context.policy.get(&context.ledger).await.unwrap();
    world.calls();
    context
}

/// An event of `events/image-push`.
fn event(name: &str) -> Value {
    world::event("image-push", name)
}

/// The quarantine tag of an image that loses `tag` today.
fn quarantine_tag(digest: &str, tag: &str) -> String {
    format!("quarantine-20270115-{}-{tag}", &digest["sha256:".len()..][..12])
}

/// Pushes an index for this number of platforms as clients do: each image by its digest, and then
/// the index with a tag. Returns the digest of the index, the digests of the images, and the events.
fn push_index(
    function: &Function,
    tag: &str,
    platforms: usize,
) -> (String, Vec<String>, Vec<Value>) {
    let mut events = Vec::new();
    let images: Vec<String> = (0..platforms)
        .map(|_| {
            let (digest, pushed) = function.push("infrastructure", &[]);
            events.extend(pushed);
            digest
        })
        .collect();
    let index = function.push_index("infrastructure", &images, tag);
    events.extend(function.push_events());
    (index, images, events)
}
