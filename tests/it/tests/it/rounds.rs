//! From a push or from the schedule to the sweep: `image-push`, `sweep-dispatch`, the queue and
//! `image-sweep` together.

use std::collections::BTreeMap;

use local_aws::Fault;
use local_aws::ecr::DAY;
use local_aws::world::World;
use serde_json::{Value, json};
use warden_aws::Invocation;
use warden_core::due::policy_hash;
use warden_core::policy::RepositoryOrigin;

use crate::{deploy, stop_sweep_queue};

const PUSH: &str = "ecr-warden-ImagePushFunction";
const DISPATCH: &str = "ecr-warden-SweepDispatchFunction";
const SWEEP: &str = "ecr-warden-ImageSweepFunction";

/// The attempts of the functions of pushes and sweeps.
fn attempts(world: &World) -> [usize; 3] {
    [PUSH, DISPATCH, SWEEP].map(|function| world.aws.lambda().attempts(function))
}

/// Pushes an index of two platforms: first an image and an attestation for each platform by digest,
/// then the index, as `docker buildx` does.
fn push_platforms(world: &World, tag: &str) {
    let parts: Vec<String> = (0..4).map(|_| world.push("deployments", &[])).collect();
    let _ = world.push_index("deployments", &parts, tag);
}

/// Version 1 had ten invocations: each manifest started `image-push` and `image-sweep`.
#[tokio::test]
async fn a_push_of_two_platforms_with_attestations_is_two_invocations() {
    let world = deploy(&[]).await;
    push_platforms(&world, "myapp-v1.0.0");
    world.settle().await;
    assert_eq!(attempts(&world), [1, 0, 1]);
    // The second push of the hour queues no sweep.
    push_platforms(&world, "myapp-v1.1.0");
    world.settle().await;
    assert_eq!(attempts(&world), [2, 0, 1]);
}

#[tokio::test]
async fn an_untagged_manifest_that_may_be_an_index_starts_image_push() {
    let world = deploy(&[]).await;
    let rule = {
        let state = world.aws.state();
        let rule = state.rules.iter().find(|rule| rule.name == format!("{PUSH}Pushed"));
        rule.unwrap().pattern.clone()
    };
    let event = |tag: Option<&str>, media_type: Option<&str>| {
        let mut event = local_aws::world::event("image-push", "untagged-child");
        let detail = event["detail"].as_object_mut().unwrap();
        for (name, value) in [("image-tag", tag), ("manifest-media-type", media_type)] {
            match value {
                Some(value) => detail.insert(name.to_owned(), value.into()),
                None => detail.remove(name),
            };
        }
        event
    };
    let image = Some("application/vnd.oci.image.manifest.v1+json");
    for (tag, media_type, expected) in [
        (Some(""), image, false),
        (None, image, false),
        (Some(""), Some("application/vnd.docker.distribution.manifest.v2+json"), false),
        (Some("myapp-v1.0.0"), image, true),
        (Some(""), Some("application/vnd.oci.image.index.v1+json"), true),
        (Some(""), Some("application/vnd.docker.distribution.manifest.list.v2+json"), true),
        (Some(""), Some("application/vnd.example.manifest.v9+json"), true),
        (Some(""), None, true),
        (None, None, true),
    ] {
        assert_eq!(rule.matches(&event(tag, media_type)), expected, "{tag:?} {media_type:?}");
    }
}

/// Pushes versions of a component that were pushed long ago, without events.
fn fill(world: &World, repository: &str, count: u32) {
    let mut state = world.aws.state();
    let now = state.now();
    for version in 0..count {
        let at = now - (100.0 - f64::from(version)) * DAY;
        state.ecr().push_made_up(repository, &[&format!("myapp-v1.{version}.0")], at).unwrap();
    }
    state.ecr().events.clear();
}

fn archived(world: &World, repository: &str) -> usize {
    let all = json!({"repositoryName": repository, "filter": {"imageStatus": "ARCHIVED"}});
    let found = world.aws.by_hand("DescribeImages", &all).unwrap();
    found["imageDetails"].as_array().unwrap().len()
}

async fn start_round(world: &World) {
    world.aws.fire_schedules(DISPATCH).unwrap();
    world.settle().await;
}

#[tokio::test]
async fn the_schedule_sweeps_each_governed_repository_once_and_a_push_sweeps_it_again() {
    let world = deploy(&[]).await;
    fill(&world, "deployments", 12);
    start_round(&world).await;
    assert_eq!(attempts(&world), [0, 1, 2]);
    assert_eq!(archived(&world, "deployments"), 2);
    start_round(&world).await;
    assert_eq!(attempts(&world), [0, 2, 2]);
    let _ = world.push("deployments", &["myapp-v2.0.0"]);
    world.settle().await;
    assert_eq!(attempts(&world), [1, 2, 3]);
    assert_eq!(archived(&world, "deployments"), 3);
    // More pushes may have come within the hour of that push.
    start_round(&world).await;
    assert_eq!(attempts(&world), [1, 3, 4]);
}

#[tokio::test]
async fn a_message_whose_sweeps_fail_five_times_waits_in_the_dead_letter_queue() {
    let world = deploy(&[]).await;
    fill(&world, "deployments", 12);
    world.aws.fault("DescribeRepositories", 0, Fault::Error(400, "AccessDeniedException"));
    let _ = world.push("deployments", &["myapp-v2.0.0"]);
    world.settle().await;
    assert_eq!(attempts(&world), [1, 0, 5]);
    assert_eq!(world.take_messages("SweepQueue").await, [Value::Null; 0]);
    let failed = world.take_messages("FailedSweeps").await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["repository"], "deployments");
    assert_eq!(archived(&world, "deployments"), 0);
    // The next round queues the repository again.
    world.aws.heal();
    start_round(&world).await;
    assert_eq!(archived(&world, "deployments"), 3);
}

#[tokio::test]
async fn a_push_killed_at_the_claim_or_at_the_message_queues_the_sweep_by_its_retry() {
    for (operation, fault, messages) in [
        ("UpdateItem", Fault::KillBefore, 1),
        ("UpdateItem", Fault::KillAfter, 1),
        ("SendMessageBatch", Fault::KillBefore, 1),
        // A sweep that is queued twice does nothing the second time.
        ("SendMessageBatch", Fault::KillAfter, 2),
    ] {
        let world = deploy(&[]).await;
        stop_sweep_queue(&world);
        world.aws.fault(operation, 1, fault.clone());
        let _ = world.push("deployments", &["myapp-v2.0.0"]);
        world.settle().await;
        let queued = world.take_messages("SweepQueue").await;
        assert_eq!(queued.len(), messages, "{operation} {fault:?}");
        assert!(queued.iter().all(|message| message["repository"] == "deployments"));
        assert_eq!(world.failed_events().await, [Value::Null; 0]);
    }
}

/// The stack with a policy for many repositories, in the process of the test.
struct Registry {
    world: World,
    dispatch: sweep_dispatch::Context,
    sweep: image_sweep::Context,
    push: image_push::Context,
}

/// The calls of AWS, by operation.
type Calls = BTreeMap<String, usize>;

impl Registry {
    /// Creates repositories that one rule governs by a wildcard, each with a few images.
    async fn new(count: usize) -> Self {
        let rule = json!({
            "Name": "teams",
            "Repositories": ["team-*"],
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
            "Retention": {"Keep": 10, "Untagged": "delete", "UntaggedDays": 3, "Enforcement": "archive"},
        });
        let world = World::deploy(&[
            ("CreateEcrRepositories", "false"),
            ("EnforceRepositories", "team-*"),
            (".Rules", &json!([rule]).to_string()),
        ])
        .await;
        for nth in 0..count {
            let name = name(nth);
            world.aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
            fill(&world, &name, 3);
        }
        let variables = |folder: &str| world.function(folder).environment.clone();
        let push = image_push::config::Config::read(variables("image-push")).unwrap();
        let sweep = image_sweep::config::Config::read(variables("image-sweep")).unwrap();
        let dispatch = sweep_dispatch::config::Config::read(variables("sweep-dispatch")).unwrap();
        let dispatch = sweep_dispatch::Context::new(dispatch, &world.sdk("sweep-dispatch"));
        let sweep = image_sweep::Context::new(sweep, &world.sdk("image-sweep"));
        let push = image_push::Context::new(push, &world.sdk("image-push"));
        // The first event of a process reads the policy.
        dispatch.policy.get(&dispatch.ledger).await.unwrap();
        sweep.policy.get(&sweep.ledger).await.unwrap();
        push.policy.get(&push.ledger).await.unwrap();
        world.forget();
        Self { world, dispatch, sweep, push }
    }

    fn take_calls(&self) -> Calls {
        let mut calls = Calls::new();
        for call in self.world.calls() {
            *calls.entry(call).or_default() += 1;
        }
        calls
    }

    /// Starts a round. Returns its calls.
    async fn round(&self) -> Calls {
        sweep_dispatch::handle(&self.dispatch, "round", self.world.now()).await.unwrap();
        self.take_calls()
    }

    /// Handles messages. Returns the calls.
    async fn sweep(&self, messages: &[Value]) -> Calls {
        for (nth, message) in messages.iter().enumerate() {
            let event = json!({"Records": [{"body": message.to_string()}]});
            let (request_id, now) = (format!("sweep-{nth}"), self.world.now());
            let time_left = std::time::Duration::from_secs(900);
            let invocation = Invocation { request_id, now, time_left };
            image_sweep::handle(&self.sweep, &event, &invocation).await.unwrap();
        }
        self.take_calls()
    }

    async fn queued(&self) -> Vec<Value> {
        self.world.take_messages("SweepQueue").await
    }

    /// Writes to the ledger that these repositories were swept as this one was: each write copies the
    /// whole embedded table, so thousands of sweeps would take minutes.
    async fn copy_record(&self, swept: &Value, others: &[Value]) {
        let table = &self.dispatch.config.table;
        let key = |message: &Value| format!("sweep {}", message["repository"].as_str().unwrap());
        let call = async |operation: &str, input: Value| {
            let target = format!("DynamoDB_20120810.{operation}");
            self.world.aws.ask("dynamodb", &target, &input).await.unwrap()
        };
        let get = json!({"TableName": table, "Key": {"fact": {"S": key(swept)}}});
        let record = call("GetItem", get).await["Item"].clone();
        let Self { dispatch, .. } = self;
        let governance = dispatch.policy.get(&dispatch.ledger).await.unwrap();
        let put = |message: &Value| {
            let repository = message["repository"].as_str().unwrap().parse().unwrap();
            let policy = governance.rule_for(&repository, RepositoryOrigin::Pushed).unwrap();
            let mut item = record.clone();
            item["fact"] = json!({"S": key(message)});
            item["swept_policy"] = json!({"S": policy_hash(&policy)});
            json!({"PutRequest": {"Item": item}})
        };
        for batch in others.chunks(25) {
            let requests: Vec<Value> = batch.iter().map(put).collect();
            call("BatchWriteItem", json!({"RequestItems": {table: requests}})).await;
        }
    }
}

fn name(nth: usize) -> String {
    format!("team-{}/app-{nth:04}", nth % 7)
}

fn total(calls: &Calls) -> usize {
    calls.values().sum()
}

fn counts(calls: &[(&str, usize)]) -> Calls {
    calls.iter().map(|(operation, count)| ((*operation).to_owned(), *count)).collect()
}

/// A round with nothing to do costs 12 calls for 1,000 repositories. Sweeps of all of them would cost
/// more than 9,000.
#[tokio::test]
async fn a_round_of_1000_repositories_without_a_push_costs_a_thousandth_of_the_first_round() {
    const COUNT: usize = 1_000;
    const SWEPT: usize = 20;
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let registry = Registry::new(COUNT).await;
    let listing = [("DescribePullThroughCacheRules", 1), ("DescribeRepositories", 1)];
    let first = registry.round().await;
    let more = [("BatchGetItem", 2 * COUNT / 100), ("SendMessageBatch", COUNT / 10)];
    assert_eq!(first, counts(&[&listing[..], &more].concat()));
    let queued = registry.queued().await;
    assert_eq!(queued.len(), COUNT);
    let (swept, others) = queued.split_at(SWEPT);
    let calls = registry.sweep(swept).await;
    let each = total(&calls) / SWEPT;
    // Each repository has the same three images, so each sweep makes the same calls.
    assert!(each * SWEPT == total(&calls) && each <= 16, "{calls:?}");
    registry.copy_record(&swept[0], others).await;

    registry.world.aws.advance(DAY);
    let second = registry.round().await;
    assert_eq!(second, counts(&[&listing[..], &[("BatchGetItem", COUNT / 100)]].concat()));
    assert_eq!(registry.queued().await, [Value::Null; 0]);
    let of_first = total(&first) + each * COUNT;
    assert!(total(&second) * 1_000 <= of_first, "{second:?}");

    // Ten repositories get three pushes each.
    for nth in 0..10 {
        for version in 0..3 {
            let _ = registry.world.push(&name(nth), &[&format!("myapp-v2.{version}.0")]);
            let events = std::mem::take(&mut registry.world.aws.state().ecr().events);
            for event in events {
                let id = event["id"].as_str().unwrap();
                image_push::handle(&registry.push, &event, id, registry.world.now()).await.unwrap();
            }
        }
    }
    let pushes = registry.take_calls();
    assert_eq!(pushes, counts(&[("SendMessageBatch", 10), ("UpdateItem", 10)]));
    let queued = registry.queued().await;
    assert_eq!(queued.len(), 10);
    let later = registry.sweep(&queued).await;
    // The next round sweeps these repositories again, and the round after it sweeps none.
    registry.world.aws.advance(DAY);
    registry.round().await;
    let queued = registry.queued().await;
    assert_eq!(queued.len(), 10);
    registry.sweep(&queued).await;
    registry.world.aws.advance(DAY);
    registry.round().await;
    assert_eq!(registry.queued().await, [Value::Null; 0]);
    // A week after the first round, every repository is swept again, but not the ten that were swept
    // on the third day. These are due a day later.
    registry.world.aws.advance(4 * DAY);
    registry.round().await;
    assert_eq!(registry.queued().await.len(), COUNT - 10);
    registry.world.aws.advance(DAY);
    registry.round().await;
    assert_eq!(registry.queued().await.len(), COUNT);
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        println!("calls for {COUNT} repositories with 3 images each:");
        println!("a first round {}, and its sweeps {}", total(&first), each * COUNT);
        println!("a round with nothing to do {}", total(&second));
        println!(
            "30 pushes to 10 repositories {}, and their sweeps {}",
            total(&pushes),
            total(&later)
        );
    }
}
