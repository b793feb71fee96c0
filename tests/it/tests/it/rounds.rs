//! From a push or from the schedule to the sweep: `image-push`, `sweep-dispatch`, the queue and
//! `image-sweep` together.

use std::collections::BTreeMap;

use it::many_repositories::{ManyRepositories, fill, name};
use local_aws::Fault;
use local_aws::world::World;
use serde_json::{Value, json};

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
async fn only_a_push_with_a_tag_starts_image_push() {
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
        (Some("myapp-v1.0.0"), Some("application/vnd.oci.image.index.v1+json"), true),
        (Some("myapp-v1.0.0"), None, true),
        // An index without a tag is a step of a build.
        (Some(""), Some("application/vnd.oci.image.index.v1+json"), false),
        (Some(""), None, false),
        (None, None, false),
    ] {
        assert_eq!(rule.matches(&event(tag, media_type)), expected, "{tag:?} {media_type:?}");
    }
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

/// The calls of AWS, by operation.
type Calls = BTreeMap<String, usize>;

/// The calls since the last time.
fn take_calls(registry: &ManyRepositories) -> Calls {
    let mut calls = Calls::new();
    for call in registry.world.calls() {
        *calls.entry(call).or_default() += 1;
    }
    calls
}

/// Starts a round. Returns its calls.
async fn start_round_of(registry: &ManyRepositories) -> Calls {
    registry.start_round().await.unwrap();
    take_calls(registry)
}

/// Handles messages. Returns the calls.
async fn sweep(registry: &ManyRepositories, messages: &[Value]) -> Calls {
    for message in messages {
        registry.sweep(message).await.unwrap();
    }
    take_calls(registry)
}

fn total(calls: &Calls) -> usize {
    calls.values().sum()
}

fn counts(calls: &[(&str, usize)]) -> Calls {
    calls.iter().map(|(operation, count)| ((*operation).to_owned(), *count)).collect()
}

/// The sweeps of all repositories would cost 11,000 calls.
#[tokio::test]
async fn a_round_of_1000_repositories_without_a_push_costs_13_calls() {
    const COUNT: usize = 1_000;
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let registry = ManyRepositories::deploy(COUNT, 3, 10).await;
    let listing = [("DescribePullThroughCacheRules", 1), ("DescribeRepositories", 1)];
    let first = start_round_of(&registry).await;
    // The first round of a week also reads what rules reported, and records that the digests are published.
    let more = [
        ("BatchGetItem", 4 * COUNT / 100),
        ("SendMessageBatch", COUNT / 10),
        ("GetItem", 1),
        ("UpdateItem", 2),
    ];
    assert_eq!(first, counts(&[&listing[..], &more].concat()));
    let queued = registry.queued().await;
    assert_eq!(queued.len(), COUNT);
    let calls = sweep(&registry, &queued).await;
    let each = total(&calls) / COUNT;
    // Each repository has the same three images, so each sweep makes the same calls.
    assert_eq!((each, total(&calls)), (11, 11 * COUNT), "{calls:?}");

    registry.world.aws.advance(DAY);
    let second = start_round_of(&registry).await;
    let more = [("BatchGetItem", COUNT / 100), ("GetItem", 1)];
    assert_eq!(second, counts(&[&listing[..], &more].concat()));
    assert_eq!(registry.queued().await, [Value::Null; 0]);
    assert_eq!(total(&second), 13);

    // Ten repositories get three pushes each.
    for nth in 0..10 {
        for version in 0..3 {
            registry.push(&name(nth), &format!("myapp-v2.{version}.0")).await.unwrap();
        }
    }
    let pushes = take_calls(&registry);
    assert_eq!(pushes, counts(&[("SendMessageBatch", 10), ("UpdateItem", 10)]));
    let queued = registry.queued().await;
    assert_eq!(queued.len(), 10);
    let later = sweep(&registry, &queued).await;
    // The next round sweeps these repositories again, and the round after it sweeps none.
    registry.world.aws.advance(DAY);
    start_round_of(&registry).await;
    let queued = registry.queued().await;
    assert_eq!(queued.len(), 10);
    sweep(&registry, &queued).await;
    registry.world.aws.advance(DAY);
    start_round_of(&registry).await;
    assert_eq!(registry.queued().await, [Value::Null; 0]);
    // A week after the first round, every repository is swept again, but not the ten that were swept
    // on the third day. These are due a day later.
    registry.world.aws.advance(4 * DAY);
    start_round_of(&registry).await;
    assert_eq!(registry.queued().await.len(), COUNT - 10);
    registry.world.aws.advance(DAY);
    start_round_of(&registry).await;
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
