//! A unit is removed whole or not at all (A1, A2, A10, A16, A17).

use std::time::Duration;

use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use local_aws::ecr::image::Status;
use local_aws::ecr::{DAY, Image};
use local_aws::world::{self, World};
use local_aws::{Fault, LocalAws};
use serde_json::{Value, json};
use warden_core::quarantine::quarantine_tag;

use crate::{deploy, stop_sweep_queue};

const SWEEP: &str = "ecr-warden-ImageSweepFunction";
const REPOSITORY: &str = "deployments";
const HOUR: Duration = Duration::from_secs(3_600);

/// Pushes an index of two untagged images, so many days ago. Gives the digests of the index and of
/// its parts.
fn push_index(world: &World, tags: &[&str], days_ago: f64) -> (String, [String; 2]) {
    let mut state = world.aws.state();
    let at = state.now() - days_ago * DAY;
    let registry = state.ecr();
    let parts = [(); 2].map(|()| registry.push_made_up(REPOSITORY, &[], at).unwrap());
    (registry.push_index(REPOSITORY, &parts, tags, at).unwrap(), parts)
}

/// Pushes a single image with this tag, so many days ago. Gives its digest.
fn push(world: &World, tag: &str, days_ago: f64) -> String {
    let mut state = world.aws.state();
    let at = state.now() - days_ago * DAY;
    state.ecr().push_made_up(REPOSITORY, &[tag], at).unwrap()
}

/// Pushes ten newer versions, so that an older version of `app` is beyond the count.
fn push_newer_versions(world: &World) {
    for nth in 0..10 {
        let _ = push(world, &format!("app-v2.{nth}.0"), 20.0 - f64::from(nth));
    }
}

/// The status of an image. None if ECR does not have the image.
fn status(aws: &LocalAws, digest: &str) -> Option<Status> {
    let mut state = aws.state();
    let images = &state.ecr().repositories[REPOSITORY].images;
    images.get(digest).map(|image: &Image| image.status)
}

/// Sweeps as the schedule does, with Lambda's retries.
async fn sweep(aws: &LocalAws) {
    aws.lambda().invoke_async(SWEEP, world::event("image-sweep", "sweep")).unwrap();
    aws.lambda().settled().await;
}

/// Runs the commands of `aws ecr update-image-storage-class` in the remedies of an alert.
fn restore(aws: &LocalAws, alert: &Value) {
    let commands = alert["remedies"].as_array().unwrap().iter();
    let commands = commands.filter_map(|remedy| remedy["awsCli"].as_str());
    let restoring: Vec<&str> =
        commands.filter(|command| command.contains("--target-storage-class STANDARD")).collect();
    assert!(!restoring.is_empty(), "{alert:#}");
    let words = restoring.iter().flat_map(|command| command.split([' ', ';', '=', '\'']));
    // ECR refuses to restore an image that is not archived, and the command goes on.
    let is_archived = |word: &&str| status(aws, word) == Some(Status::Archived);
    for digest in words.filter(is_archived) {
        let restore = json!({
            "repositoryName": REPOSITORY,
            "imageId": {"imageDigest": digest},
            "targetStorageClass": "STANDARD",
        });
        aws.by_hand("UpdateImageStorageClass", &restore).unwrap();
    }
    aws.advance(HOUR);
}

/// Whether the index and both of its parts can be pulled.
fn can_be_pulled(aws: &LocalAws, index: &str, parts: &[String; 2]) -> bool {
    let mut all = parts.iter().map(String::as_str).chain([index]);
    all.all(|digest| status(aws, digest) == Some(Status::Active))
}

/// Lets so many days pass. ECR carries out the lifecycle policies on each.
fn pass_days(aws: &LocalAws, days: u32) {
    for _ in 0..days {
        aws.advance(Duration::from_secs(86_400));
    }
}

/// A1: enforcement `archive`, and a pushed index of two platforms under a bad tag. Version 1
/// archived the index alone; the native rule then expired its untagged parts.
#[tokio::test]
async fn an_index_that_enforcement_archived_can_be_restored_weeks_later() {
    let world = deploy(&[("applications.Tags.Enforcement", "archive")]).await;
    stop_sweep_queue(&world);
    let aws = &world.aws;
    let (index, parts) = push_index(&world, &["not_a_version"], 0.0);
    world.settle().await;
    let alert = world.alert();
    assert_eq!(status(aws, &index), Some(Status::Archived));
    for part in &parts {
        assert_eq!(status(aws, part), Some(Status::Archived));
    }
    pass_days(aws, 30);
    restore(aws, &alert);
    assert!(can_be_pulled(aws, &index, &parts));
}

/// A1, where an image of the pushed index is an image of another index too.
#[tokio::test]
async fn enforcement_does_not_archive_an_image_that_another_index_needs() {
    let world = deploy(&[("applications.Tags.Enforcement", "archive")]).await;
    stop_sweep_queue(&world);
    let aws = &world.aws;
    let (good, parts) = push_index(&world, &["app-v1.0.0"], 0.0);
    let bad = world.push_index(REPOSITORY, &parts[..1], "not_a_version");
    world.settle().await;
    assert_eq!(status(aws, &bad), Some(Status::Archived));
    assert!(can_be_pulled(aws, &good, &parts));
    // A bad tag of an image that a good index needs is reported.
    world.tag(REPOSITORY, &parts[0], "also_no_version");
    world.settle().await;
    assert!(can_be_pulled(aws, &good, &parts));
}

/// A16 for enforcement: a good index of the same images is pushed while the bad one is archived.
#[tokio::test]
async fn enforcement_restores_an_image_that_a_new_index_needs() {
    let world = deploy(&[("applications.Tags.Enforcement", "archive")]).await;
    stop_sweep_queue(&world);
    let aws = &world.aws;
    aws.fault("UpdateImageStorageClass", 1, Fault::Slow(Duration::from_secs(2)));
    let (_, parts) = push_index(&world, &["not_a_version"], 0.0);
    let pushing = async {
        let is_reached = || {
            let state = aws.state();
            state.calls.iter().any(|called| called.operation == "UpdateImageStorageClass")
        };
        while !is_reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.push_index(REPOSITORY, &parts, "app-v1.0.0")
    };
    let ((), good) = tokio::join!(world.settle(), pushing);
    world.settle().await;
    aws.advance(HOUR);
    assert!(can_be_pulled(aws, &good, &parts));
}

/// An archived index and an active one share an image, and the active one is removed: the image is
/// kept for the archived index, which its remedy restores whole.
#[tokio::test]
async fn an_image_that_an_archived_index_needs_is_not_deleted() {
    let parameters =
        [("applications.Tags.Enforcement", "archive"), ("*.Retention.Enforcement", "delete")];
    let world = deploy(&parameters).await;
    stop_sweep_queue(&world);
    let aws = &world.aws;
    let parts = [(); 3].map(|()| {
        let mut state = aws.state();
        let at = state.now() - 60.0 * DAY;
        state.ecr().push_made_up(REPOSITORY, &[], at).unwrap()
    });
    let active = {
        let mut state = aws.state();
        let at = state.now() - 60.0 * DAY;
        let index = state.ecr().push_index(REPOSITORY, &parts[1..], &["app-v1.0.0"], at).unwrap();
        state.ecr().events.clear();
        index
    };
    let archived = world.push_index(REPOSITORY, &parts[..2], "not_a_version");
    world.settle().await;
    let alert = world.alert();
    assert_eq!(status(aws, &archived), Some(Status::Archived));
    assert_eq!(status(aws, &parts[1]), Some(Status::Active));
    push_newer_versions(&world);
    world.forget();
    sweep(aws).await;
    sweep(aws).await;
    assert_eq!((status(aws, &active), status(aws, &parts[2])), (None, None));
    assert!(status(aws, &parts[1]).is_some());
    restore(aws, &alert);
    assert!(can_be_pulled(aws, &archived, &[parts[0].clone(), parts[1].clone()]));
}

/// A policy that archives nothing any more leaves no unit half archived.
#[tokio::test]
async fn a_unit_is_restored_whole_if_its_rule_stops_archiving_meanwhile() {
    let mut world = deploy(&[("*.Retention.Enforcement", "archive")]).await;
    stop_sweep_queue(&world);
    let (index, parts) = push_index(&world, &["app-v1.0.0"], 60.0);
    // Every attempt from the second on, so that the SDK's retries end.
    for attempt in 2..60 {
        let throttled = Fault::Error(400, "ThrottlingException");
        world.aws.fault("UpdateImageStorageClass", attempt, throttled);
    }
    push_newer_versions(&world);
    world.forget();
    sweep(&world.aws).await;
    world.aws.heal();
    let archived = |world: &World| {
        let all = parts.iter().chain([&index]);
        all.filter(|digest| status(&world.aws, digest) == Some(Status::Archived)).count()
    };
    assert!((1..=parts.len()).contains(&archived(&world)));
    world.change_policy(&[("*.Retention.Enforcement", "report")]).await;
    let changed = world.function("image-sweep").clone();
    world.aws.lambda().create(changed);
    world.aws.advance(HOUR);
    sweep(&world.aws).await;
    assert_eq!(archived(&world), 0);
}

/// A2: the second call that archives an image of the unit fails. In version 1 no later run
/// finished the unit, and the native rule expired its parts.
#[tokio::test]
async fn a_sweep_that_is_throttled_within_a_unit_is_finished_by_the_next() {
    for (nth, refuses_children) in
        [(1, false), (2, false), (3, false), (3, true), (4, true), (5, true)]
    {
        let world = deploy(&[("*.Retention.Enforcement", "archive")]).await;
        let aws = &world.aws;
        aws.state().ecr().refuses_children_of_active_indexes = refuses_children;
        let (index, parts) = push_index(&world, &["app-v1.0.0"], 60.0);
        push_newer_versions(&world);
        world.forget();
        // Every attempt from the `nth` on, so that the SDK's retries end.
        for attempt in 0..20 {
            let throttled = Fault::Error(400, "ThrottlingException");
            aws.fault("UpdateImageStorageClass", nth + attempt, throttled);
        }
        sweep(aws).await;
        aws.heal();
        sweep(aws).await;
        for digest in parts.iter().chain([&index]) {
            assert_eq!(status(aws, digest), Some(Status::Archived), "call {nth}");
        }
        let alerts = world.alerts();
        let restorable = alerts.iter().filter(|alert| alert["kind"] == "cleanup");
        let restorable: Vec<&Value> =
            restorable.filter(|alert| alert["remedies"].to_string().contains("STANDARD")).collect();
        pass_days(aws, 30);
        for alert in restorable {
            restore(aws, alert);
        }
        assert!(can_be_pulled(aws, &index, &parts), "call {nth}: {alerts:#?}");
    }
}

/// A10: an adopted repository with sixty old images. In version 1 the schedule fired when the
/// stack was created, and archived twenty of them.
#[tokio::test]
async fn the_first_plan_that_removes_anything_waits_for_a_confirmation() {
    let aws = LocalAws::default();
    aws.by_hand("CreateRepository", &json!({"repositoryName": REPOSITORY})).unwrap();
    let parameters = [("OnExistingRepository", "adopt"), ("EnableEncryption", "false")];
    let world = World::run(aws, &parameters, crate::program()).await;
    let aws = &world.aws;
    let digests: Vec<String> = (0..60)
        .map(|nth| push(&world, &format!("app-v1.{nth}.0"), 200.0 - f64::from(nth)))
        .collect();
    world.forget();
    let archived = || digests.iter().filter(|one| status(aws, one) == Some(Status::Archived));
    sweep(aws).await;
    assert_eq!(archived().count(), 0);
    let alert = world.alert();
    assert_eq!((&alert["kind"], &alert["details"]["removed"]), (&json!("cleanup"), &json!(0)));
    assert_eq!(alert["details"]["imagesTotal"], 50);

    // A person reads the plan and confirms it with the command-line tool.
    let stack = DeployedStack::read(world.operator(), "ecr-warden").await.unwrap();
    let hash = alert["details"]["hash"].as_str();
    let repositories = [REPOSITORY.parse().unwrap()];
    let now = || world.now();
    let unread = confirm_plans(&stack, &repositories, Some("0123456789abcdef"), now()).await;
    assert!(matches!(unread.unwrap(), Confirmed::Not { changed: true, .. }));
    sweep(aws).await;
    assert_eq!(archived().count(), 0);
    let confirmed = confirm_plans(&stack, &repositories, hash, now()).await.unwrap();
    let Confirmed::Yes(images) = confirmed else { panic!("{confirmed:?}") };
    assert_eq!(images[0].1, 50);
    sweep(aws).await;
    assert_eq!(archived().count(), 50);
}

/// A16: a new index is pushed over an old image while the sweep runs, after the sweep has listed
/// the images. In version 1 the sweep archived the image, and the new index could not be pulled.
#[tokio::test]
async fn an_image_that_a_new_index_needs_is_restored_or_not_archived() {
    // The new index arrives during this call of the sweep: after the images were listed, and while
    // each of the two is archived.
    let calls =
        [("DescribeImages", 2), ("UpdateImageStorageClass", 1), ("UpdateImageStorageClass", 2)];
    for (call, nth) in calls {
        let world = deploy(&[("*.Retention.Enforcement", "archive")]).await;
        let aws = &world.aws;
        let old = [push(&world, "app-v1.0.0", 70.0), push(&world, "app-v1.1.0", 60.0)];
        push_newer_versions(&world);
        world.forget();
        aws.fault(call, nth, Fault::Slow(Duration::from_secs(2)));
        let pushing = async {
            let is_reached = || {
                let state = aws.state();
                state.calls.iter().filter(|called| called.operation == call).count() >= nth
            };
            while !is_reached() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            world.push_index(REPOSITORY, &old, "web-v1.0.0")
        };
        let ((), index) = tokio::join!(sweep(aws), pushing);
        aws.advance(HOUR);
        assert!(can_be_pulled(aws, &index, &old), "{call} {nth}");
    }
}

/// A17: the parts of one index carry version tags, and the index itself a quarantine tag. In
/// version 1 each part took a place, and a good version was archived.
#[tokio::test]
async fn a_unit_takes_one_place_among_the_versions_that_are_kept() {
    let world =
        deploy(&[("*.Retention.Enforcement", "archive"), ("DeploymentsLifecycleTagCount", "2")])
            .await;
    let aws = &world.aws;
    let good = push(&world, "app-v1.0.0", 60.0);
    let parts = [push(&world, "app-v1.1.0", 50.0), push(&world, "app-v1.2.0", 49.0)];
    let index = push_quarantined_index(&world, &parts, 48);
    world.forget();
    world.record_tags(REPOSITORY).await;
    sweep(aws).await;
    assert_eq!(status(aws, &good), Some(Status::Active));
    assert!(can_be_pulled(aws, &index, &parts));
    // Two newer versions: the unit is beyond the count, and goes whole.
    let newer = ["app-v1.3.0", "app-v1.4.0"].map(|tag| push(&world, tag, 40.0));
    world.forget();
    world.record_tags(REPOSITORY).await;
    sweep(aws).await;
    for digest in parts.iter().chain([&index, &good]) {
        assert_eq!(status(aws, digest), Some(Status::Archived));
    }
    for digest in &newer {
        assert_eq!(status(aws, digest), Some(Status::Active));
    }
}

/// Pushes an index of these images, and gives it only a quarantine tag of its day.
fn push_quarantined_index(world: &World, parts: &[String; 2], days_ago: u32) -> String {
    let mut state = world.aws.state();
    let at = state.now() - f64::from(days_ago) * DAY;
    let registry = state.ecr();
    let index = registry.push_index(REPOSITORY, parts, &["bad"], at).unwrap();
    drop(state);
    let today = world.now().date_naive() - chrono::Days::new(days_ago.into());
    let tag = quarantine_tag(today, &index.parse().unwrap(), &"bad".parse().unwrap());
    world.tag(REPOSITORY, &index, tag.as_str());
    let id = json!([{"imageTag": "bad"}]);
    let untag = json!({"repositoryName": REPOSITORY, "imageIds": id});
    world.aws.by_hand("BatchDeleteImage", &untag).unwrap();
    index
}
