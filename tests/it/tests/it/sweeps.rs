//! `image-sweep` as a process of the deployed stack: it is killed at each call, and it runs twice at the
//! same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::expect;
use local_aws::ecr::{DAY, Registry, Time};
use local_aws::world::{self, World};
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};

use crate::deploy;

const FUNCTION: &str = "ecr-warden-ImageSweepFunction";
const REPOSITORY: &str = "deployments";

/// Deploys the stack with this enforcement.
async fn deployed(enforcement: &str) -> World {
    let world = deploy(&[("*.Retention.Enforcement", enforcement)]).await;
    // Only the first sweep of a repository reads the owner of the repository.
    sweep(&world.aws).await;
    world.forget();
    world
}

/// A request or an event of `events/image-sweep`.
fn event(name: &str) -> Value {
    world::event("image-sweep", name)
}

/// The digests of the images in the repository, by a name for the test.
pub type Images = BTreeMap<String, String>;

/// Replaces the images of the repository by images of all kinds, without events. The policy keeps ten
/// versions of `app`. The tag that violates the grammar is another one each time, so that each run
/// reports it.
pub async fn fill(world: &World, time: usize) -> Images {
    let images = push_images(world, time);
    world.forget();
    world.record_tags(REPOSITORY).await;
    world.forget();
    images
}

fn push_images(world: &World, time: usize) -> Images {
    let mut state = world.aws.state();
    let now = state.now();
    let registry = state.ecr();
    let images = &mut registry.repositories.get_mut(REPOSITORY).unwrap().images;
    *images = local_aws::ecr::Images::default();
    let mut filled = Filled { registry, now, images: Images::new() };

    for version in 0..8 {
        filled.push(&[&format!("app-v1.{version}.0")], 20.0 + f64::from(version));
    }
    let kept = filled.index("app-v1.9.0", 10.0);
    filled.push(&["app-v1.10.0"], 0.2);
    let pulled = filled.push(&["app-v0.5.0"], 50.0);
    filled.registry.image(REPOSITORY, &pulled).unwrap().pulled_at = Some(now - DAY);
    filled.push(&[&format!("odd_{time}")], 50.0);
    filled.push(&["app-v0.4.0"], 60.0);
    let removed = filled.index("app-v0.3.0", 70.0);
    filled.push(&["app-v0.2.0"], 80.0);
    for (name, index) in [("app-v1.9.0", &kept), ("app-v0.3.0", &removed)] {
        filled.signature(&format!("signature of {name}"), index);
    }
    filled.signature("orphan", &format!("sha256:{}", "0f".repeat(32)));
    filled.images
}

struct Filled<'a> {
    registry: &'a mut Registry,
    now: Time,
    images: Images,
}

impl Filled<'_> {
    fn push(&mut self, tags: &[&str], days_ago: f64) -> String {
        let at = self.now - days_ago * DAY;
        let digest = self.registry.push_made_up(REPOSITORY, tags, at).unwrap();
        for tag in tags {
            let name = if tag.starts_with("odd") { "odd" } else { tag };
            self.images.insert(name.to_owned(), digest.clone());
        }
        digest
    }

    /// Pushes an index of two untagged images.
    fn index(&mut self, tag: &str, days_ago: f64) -> String {
        let parts = [self.push(&[], days_ago), self.push(&[], days_ago)];
        for (nth, part) in parts.iter().enumerate() {
            self.images.insert(format!("part {nth} of {tag}"), part.clone());
        }
        let at = self.now - days_ago * DAY;
        let digest = self.registry.push_index(REPOSITORY, &parts, &[tag], at).unwrap();
        self.images.insert(tag.to_owned(), digest.clone());
        digest
    }

    fn signature(&mut self, name: &str, subject: &str) {
        let at = self.now - 9.0 * DAY;
        let digest = self.registry.push_attached(REPOSITORY, subject, ".sig", at).unwrap();
        self.images.insert(name.to_owned(), digest);
    }
}

/// The names of the images that are not active any more.
fn removed(aws: &LocalAws, images: &Images) -> BTreeSet<String> {
    let all = json!({"repositoryName": REPOSITORY, "maxResults": 1_000});
    let found = aws.by_hand("DescribeImages", &all).unwrap();
    let found: BTreeSet<&str> = found["imageDetails"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["imageDigest"].as_str().unwrap())
        .collect();
    let is_removed = |digest: &str| !found.contains(digest);
    images.iter().filter(|(_, digest)| is_removed(digest)).map(|(name, _)| name.clone()).collect()
}

/// The images that a sweep without faults removes.
const REMOVED: [&str; 7] = [
    "app-v0.2.0",
    "app-v0.3.0",
    "app-v0.4.0",
    "orphan",
    "part 0 of app-v0.3.0",
    "part 1 of app-v0.3.0",
    "signature of app-v0.3.0",
];

/// Sweeps as the schedule does, with Lambda's retries.
async fn sweep(aws: &LocalAws) {
    aws.lambda().invoke_async(FUNCTION, event("sweep")).unwrap();
    aws.lambda().settled().await;
}

/// The calls of the function since the repository was filled.
fn calls(aws: &LocalAws) -> Vec<String> {
    let state = aws.state();
    let is_ours =
        |token: &Option<String>| token.as_ref().is_some_and(|token| token.starts_with(FUNCTION));
    let calls = state.calls.iter().filter(|call| is_ours(&call.token));
    calls.map(|call| call.operation.clone()).collect()
}

fn alerts(aws: &LocalAws, kind: &str) -> Vec<Value> {
    let state = aws.state();
    let queued = state.deliveries.iter().filter(|delivery| delivery.protocol == "sqs");
    let alerts = queued.map(|delivery| serde_json::from_str::<Value>(&delivery.message).unwrap());
    alerts.filter(|alert| alert["kind"] == kind).collect()
}

/// The minimum and the maximum number of alerts about the removal of an image.
fn count_alerts(aws: &LocalAws, images: &Images) -> (usize, usize) {
    let alerts = alerts(aws, "cleanup");
    let removals: Vec<&Value> =
        alerts.iter().flat_map(|alert| alert["details"]["images"].as_array().unwrap()).collect();
    let times =
        |name: &&str| removals.iter().filter(|image| image["digest"] == images[*name]).count();
    let each: Vec<usize> = REMOVED.iter().map(times).collect();
    assert_eq!(each.iter().sum::<usize>(), removals.len(), "{alerts:#?}");
    (*each.iter().min().unwrap(), *each.iter().max().unwrap())
}

/// The calls of a sweep without faults: the operation, and its position among the calls of that
/// operation.
async fn points(world: &World) -> Vec<(String, usize)> {
    let (aws, images) = (&world.aws, fill(world, 0).await);
    sweep(aws).await;
    assert_eq!(removed(aws, &images), REMOVED.map(str::to_owned).into());
    assert_eq!(count_alerts(aws, &images), (1, 1));
    assert_eq!(alerts(aws, "self-audit").len(), 1);
    let mut points: Vec<(String, usize)> = Vec::new();
    for call in calls(aws) {
        let before = points.iter().filter(|(operation, _)| *operation == call).count();
        points.push((call, before + 1));
    }
    points
}

/// Kills a sweep before and after each of its calls. The next attempt of Lambda, with the same request
/// ID, completes the sweep and publishes each removal once, or twice after some of the calls.
async fn kill_at_each_call(enforcement: &str) {
    let world = deployed(enforcement).await;
    let aws = &world.aws;
    // The first sweep of a repository makes an additional call.
    sweep(aws).await;
    world.forget();
    let points = points(&world).await;
    assert!(points.len() > 15, "{points:?}");
    // The function calls the topic and the bus at the same time, so either call may come first.
    let published = |nth| {
        let is_publishing = |(call, position): &(String, usize)| {
            ["Publish", "PutEvents"].contains(&call.as_str()) && *position == nth
        };
        points.iter().position(is_publishing).unwrap()
    };
    // A fact that was published and not recorded yet is published again. The removals are recorded at
    // the end of the sweep, and the audit is recorded by the call after both publications.
    let (published_twice, audited_twice) =
        (2 * published(1)..=2 * (points.len() - 1), 2 * published(2)..=2 * (published(2) + 2));
    for (nth, (call, position)) in points.iter().enumerate() {
        for (after, fault) in [Fault::KillBefore, Fault::KillAfter].into_iter().enumerate() {
            let (what, moment) =
                (format!("{} {call} {position}", ["before", "after"][after]), 2 * nth + after);
            let images = fill(&world, 1 + moment).await;
            aws.fault(call, *position, fault);
            sweep(aws).await;
            aws.heal();
            assert!(calls(aws).len() > points.len(), "the function was not killed {what}");
            assert_eq!(removed(aws, &images), REMOVED.map(str::to_owned).into(), "{what}");
            let (least, most) = count_alerts(aws, &images);
            let most_allowed = if published_twice.contains(&moment) { 2 } else { 1 };
            assert!(
                least >= 1 && most <= most_allowed,
                "{what}: published {least} to {most} times"
            );
            let audits = alerts(aws, "self-audit").len();
            let most_allowed = if audited_twice.contains(&moment) { 2 } else { 1 };
            assert!((1..=most_allowed).contains(&audits), "{what}: audited {audits} times");
            // The next sweep changes nothing and publishes nothing.
            world.forget();
            sweep(aws).await;
            let changes = aws.take_changes();
            // The record of tags loses the tags of the deleted images.
            let is_record = |call: &String| enforcement == "delete" && call == "BatchWriteItem";
            let is_harmless = |call: &String| call == "UpdateItem" || is_record(call);
            assert!(changes.iter().all(is_harmless), "{what}: then {changes:?}");
            assert_eq!(removed(aws, &images).len(), REMOVED.len(), "{what}");
            assert_eq!(aws.state().deliveries.len(), 0, "{what}");
        }
    }
    assert!(aws.state().undelivered.is_empty());
}

#[tokio::test]
async fn a_sweep_killed_at_any_call_archives_the_same_images_and_publishes_them() {
    kill_at_each_call("archive").await;
}

#[tokio::test]
async fn a_sweep_killed_at_any_call_deletes_the_same_images_and_publishes_them() {
    kill_at_each_call("delete").await;
}

#[tokio::test]
async fn one_of_two_simultaneous_invocations_sweeps_and_the_other_stops() {
    let world = deployed("archive").await;
    let (aws, images) = (&world.aws, fill(&world, 0).await);
    // The first invocation still reads the images when the second one starts.
    aws.fault("DescribeImages", 1, Fault::Slow(Duration::from_secs(1)));
    let by_hand = || aws.lambda().invoke(FUNCTION, event("sweep"));
    let (first, second) = tokio::join!(by_hand(), by_hand());
    let answers = [first.unwrap().payload, second.unwrap().payload];
    let (theirs, ours): (Vec<&Value>, Vec<&Value>) =
        answers.iter().partition(|answer| answer["removed"].is_null());
    assert_eq!((theirs.len(), ours.len()), (1, 1), "{answers:#?}");
    let stopped = theirs[0]["stopped"].as_str().unwrap();
    assert_eq!(*theirs[0], json!({"repository": REPOSITORY, "stopped": stopped}));
    expect!["another sweep of this repository is running"].assert_eq(stopped);
    assert_eq!((&ours[0]["removed"], &ours[0]["stopped"]), (&json!(REMOVED.len()), &Value::Null));
    assert_eq!(removed(aws, &images), REMOVED.map(str::to_owned).into());
    assert_eq!(count_alerts(aws, &images), (1, 1));
}

/// The number of complete sweeps in the metrics of the function.
fn completed(world: &World) -> u64 {
    let log = world.aws.lambda().log(FUNCTION);
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["SweepsCompleted"].as_u64()).sum()
}

#[tokio::test]
async fn only_a_sweep_that_reads_every_image_counts_as_complete() {
    let world = deployed("archive").await;
    let aws = &world.aws;
    let before = completed(&world);
    let _ = fill(&world, 0).await;
    for denied in ["DescribeImages", "BatchGetImage"] {
        aws.fault(denied, 0, Fault::Error(400, "AccessDeniedException"));
        sweep(aws).await;
        aws.heal();
        assert_eq!(completed(&world), before, "{denied}");
    }
    sweep(aws).await;
    assert_eq!(completed(&world), before + 1);
    sweep(aws).await;
    assert_eq!(completed(&world), before + 2);
}
