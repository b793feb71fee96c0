//! Tests sweeps on the embedded AWS. A comment such as `Case P21` names a case of
//! docs/contributing/prior-art.md.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first surprise"
)]

mod acting;
mod auditing;
mod calls;
mod completing;
mod confirmation;
mod faults;
mod given_policy;
mod input;
mod looking;
mod native_rules;
mod publishing;
mod replication;
mod tag_times;
mod turns;
mod units;
mod untagged;
mod usage;

use std::ops::Deref;
use std::time::Duration;

use image_sweep::config::Config;
use image_sweep::{Context, handle};
use local_aws::ecr::{DAY, Time};
use local_aws::world::{self, NOW, World, kinds};
use serde_json::{Value, json};
use warden_alerts::ReportedPlan;
use warden_aws::Invocation;
use warden_core::due::SweepHistory;
use warden_core::image::RepositoryName;
use warden_core::retention::{Confirmation, confirmed_image};

const DEPLOYMENTS: &str = "deployments";
/// The parameters of every test. The policy keeps two images of each component.
const PARAMETERS: [(&str, &str); 2] = [
    ("DeploymentsLifecycleTagCount", "2"),
    ("applications.Tags.Grammar", r#"["{component}-v{semver}", "{component}-{channel}"]"#),
];
/// The parameters of a repository whose tags are quarantined.
const QUARANTINE: [(&str, &str); 2] =
    [("applications.Tags.Enforcement", "quarantine"), ("DeploymentsTagMutability", "IMMUTABLE")];

/// The function and the stack that it is deployed in.
struct Function {
    world: World,
    context: Context,
    /// The parameters of the stack and the settings of the policy.
    given: Vec<(String, String)>,
}

impl Deref for Function {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Function {
    /// Builds a function with this enforcement of the cleanup.
    async fn new(enforcement: &str) -> Self {
        Self::with(&[("*.Retention.Enforcement", enforcement)]).await
    }

    /// Builds a function with these parameters of the stack, beside [`PARAMETERS`].
    async fn with(parameters: &[(&str, &str)]) -> Self {
        let given = [&PARAMETERS, parameters].concat();
        let world = World::deploy(&given).await;
        let context = context(&world).await;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self { world, context, given: given.into_iter().map(owned).collect() }
    }

    /// Builds a function with these parameters of the stack, and with this mode for untagged images.
    async fn with_untagged(mode: &str, parameters: &[(&str, &str)]) -> Self {
        Self::with(&[&[("*.Retention.Untagged", mode)], parameters].concat()).await
    }

    /// Builds a function that lists the running images with Inspector, in a registry with enhanced
    /// scanning.
    async fn inspected() -> Self {
        let function = Self::with(&[("InUseSources", "inspector")]).await;
        function.enable_enhanced_scanning();
        function
    }

    /// Pushes an image with a push time of this many days ago.
    fn push(&self, tag: &str, days: Time) -> String {
        let tags = if tag.is_empty() { vec![] } else { vec![tag] };
        let mut state = self.aws.state();
        let pushed = state.ecr().push_made_up(DEPLOYMENTS, &tags, NOW - days * DAY).unwrap();
        state.ecr().image(DEPLOYMENTS, &pushed).unwrap().manifest.size = 1_000_000;
        state.ecr().events.clear();
        pushed
    }

    /// Pushes this number of versions of a component. The first is the oldest, of 100 days ago.
    fn versions(&self, component: &str, count: usize) -> Vec<String> {
        let days = |nth: usize| 100.0 - Time::from(u32::try_from(nth).unwrap()) / 100.0;
        (0..count).map(|nth| self.push(&format!("{component}-v1.{nth}.0"), days(nth))).collect()
    }

    /// Pushes an index of two images and its signature, with a push time of this many days ago.
    /// Returns the index, the images and the signature.
    fn index(&self, tag: &str, days: Time) -> [String; 4] {
        let (one, other) = (self.push("", days), self.push("", days));
        let at = NOW - days * DAY;
        let mut state = self.aws.state();
        let index = state.ecr().push_index(DEPLOYMENTS, &[&one, &other], &[tag], at).unwrap();
        let signature = state.ecr().push_attached(DEPLOYMENTS, &index, ".sig", at).unwrap();
        state.ecr().events.clear();
        [index, one, other, signature]
    }

    /// Quarantines an image. Returns the quarantine tag.
    fn quarantine(&self, image: &str) -> String {
        let tag = format!("quarantine-20261201-{}-a-1.0.0", &image[7..19]);
        self.tag(DEPLOYMENTS, image, &tag);
        tag
    }

    async fn ask(&self, event: &Value, request_id: &str) -> anyhow::Result<Value> {
        self.ask_within(event, request_id, self.function("image-sweep").timeout).await
    }

    async fn ask_within(
        &self,
        event: &Value,
        request_id: &str,
        time_left: Duration,
    ) -> anyhow::Result<Value> {
        let request_id = request_id.to_owned();
        let invocation = Invocation { request_id, now: self.now(), time_left };
        handle(&self.context, event, &invocation).await
    }

    /// Sweeps, as the schedule does.
    async fn sweep(&self) -> Value {
        self.ask(&json!({"repository": DEPLOYMENTS}), "request").await.unwrap()
    }

    /// Reads the plan.
    async fn read(&self) -> Value {
        self.ask(&json!({"repository": DEPLOYMENTS, "mode": "report"}), "reading").await.unwrap()
    }

    /// Confirms the removals of a plan, as an operator does.
    async fn confirm(&self, plan: &Value) {
        self.confirm_images(plan, true).await;
    }

    /// Confirms the listed removals of a plan, which are all removals if the list is whole.
    async fn confirm_images(&self, plan: &Value, is_whole: bool) {
        let removals = plan["removals"].as_array().unwrap().iter();
        let digest = |removal: &Value| removal["digest"].as_str().unwrap().parse().unwrap();
        let confirmation = Confirmation {
            retention: plan["retention"].as_str().unwrap().to_owned(),
            images: removals.map(|removal| confirmed_image(&digest(removal))).collect(),
            is_whole,
            guard: plan["guard"].as_str().unwrap().to_owned(),
            confirmed_at: self.now(),
        };
        let repository = DEPLOYMENTS.parse().unwrap();
        self.ledger().confirm(&repository, &confirmation).await.unwrap();
    }

    /// The history of the sweeps.
    async fn history(&self) -> SweepHistory {
        let repository = DEPLOYMENTS.parse().unwrap();
        let mut histories = self.ledger().sweep_histories([&repository]).await.unwrap();
        histories.remove(&repository).unwrap_or_default()
    }

    /// The plan of the last sweep that the digest has.
    async fn reported(&self) -> Option<ReportedPlan> {
        let repository: RepositoryName = DEPLOYMENTS.parse().unwrap();
        let mut reports = self.ledger().reports([&repository], "2027-W02").await.unwrap();
        reports.remove(&repository).and_then(|report| report.plan)
    }

    /// Marks the repository as adopted by the stack instead of created by it.
    fn adopt(&self) {
        let arn = "arn:aws:ecr:us-east-1:123456789012:repository/deployments";
        let tags = json!({"resourceArn": arn, "tagKeys": ["ecr-warden:owner"]});
        self.aws.by_hand("UntagResource", &tags).unwrap();
    }

    /// Deletes the repository and creates it again without the tags of the stack, as somebody does.
    fn create_again(&self) {
        let name = json!({"repositoryName": DEPLOYMENTS, "force": true});
        self.aws.by_hand("DeleteRepository", &name).unwrap();
        let name = json!({"repositoryName": DEPLOYMENTS});
        self.aws.by_hand("CreateRepository", &name).unwrap();
    }

    /// Deploys the same policy again.
    async fn deploy_again(&mut self) {
        self.change_policy(PARAMETERS[0].0, PARAMETERS[0].1).await;
    }

    /// Deploys another value of a parameter or of a setting of the policy.
    async fn change_policy(&mut self, name: &str, value: &str) {
        self.given.push((name.to_owned(), value.to_owned()));
        let given: Vec<(&str, &str)> =
            self.given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.world.change_policy(&given).await;
        self.context = context(&self.world).await;
    }

    /// The digests of the active images, sorted.
    fn active(&self) -> Vec<String> {
        self.with_status("ACTIVE")
    }

    fn with_status(&self, status: &str) -> Vec<String> {
        let mut state = self.aws.state();
        let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
        let images = images.iter().filter(|image| image.status.name() == status);
        let mut digests: Vec<String> = images.map(|image| image.digest.clone()).collect();
        digests.sort_unstable();
        digests
    }
}

/// The configuration and the clients of a process that has handled an event before, so that it knows the policy.
async fn context(world: &World) -> Context {
    let config = Config::read(world.function("image-sweep").environment.clone()).unwrap();
    let context = Context::new(config, &world.sdk("image-sweep"));
    context.policy.get(&context.ledger).await.unwrap();
    world.calls();
    context
}

/// The calls that change the registry.
fn changes(calls: &[String]) -> Vec<&String> {
    const OTHERS: [&str; 8] = [
        "Describe",
        "Get",
        "BatchGet",
        "List",
        "Publish",
        "PutEvents",
        "UpdateItem",
        "BatchWriteItem",
    ];
    let is_other = |call: &&String| OTHERS.iter().any(|word| call.starts_with(word));
    calls.iter().filter(|call| !is_other(call)).collect()
}

/// The number of calls of an operation.
fn count(calls: &[String], operation: &str) -> usize {
    calls.iter().filter(|call| *call == operation).count()
}

/// The digests in a list of an answer or an alert, sorted.
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

/// An event of `events/image-sweep`.
fn event(name: &str) -> Value {
    world::event("image-sweep", name)
}
