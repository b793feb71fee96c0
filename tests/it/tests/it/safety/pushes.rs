//! A push event is believed as far as ECR confirms it. Whoever may invoke `image-push` can send an
//! event about any tag of any image: a forged event changes no image that was not pushed lately.

use std::time::Duration;

use local_aws::ecr::DAY;
use local_aws::ecr::image::Status;
use local_aws::world::{self, World};
use serde_json::{Value, json};

use crate::{deploy, stop_sweep_queue};

/// Deploys a stack that quarantines in `infrastructure` and archives in `deployments`.
async fn deploy_enforcement() -> World {
    let parameters =
        [("platform.Tags.Enforcement", "quarantine"), ("applications.Tags.Enforcement", "archive")];
    let world = deploy(&parameters).await;
    stop_sweep_queue(&world);
    world
}

/// Pushes an image with these tags so many days ago, of which no function heard.
fn push_unheard(world: &World, repository: &str, tags: &[&str], days_ago: f64) -> String {
    let mut state = world.aws.state();
    let at = state.now() - days_ago * DAY;
    let digest = state.ecr().push_made_up(repository, tags, at).unwrap();
    state.ecr().events.clear();
    digest
}

/// Invokes the function with an event of so many days ago, that ECR did not send.
async fn invoke(world: &World, repository: &str, digest: &str, tag: &str, days_ago: f64) {
    let mut event = world::event("image-push", "near-miss");
    let ago = Duration::from_secs_f64(days_ago * DAY);
    event["id"] = format!("made-up-{}-{}", &digest[7..19], ago.as_secs()).into();
    event["time"] = (world.now() - ago).to_rfc3339().into();
    event["detail"]["repository-name"] = repository.into();
    event["detail"]["image-digest"] = digest.into();
    event["detail"]["image-tag"] = tag.into();
    event["detail"]["manifest-media-type"] = "application/vnd.oci.image.manifest.v1+json".into();
    let function = &world.function("image-push").name;
    let invoked = world.aws.lambda().invoke(function, event).await.unwrap();
    assert_eq!(invoked.error, None, "{}", invoked.log);
}

/// The tags of an image, and whether it is active.
fn image(world: &World, repository: &str, digest: &str) -> (Vec<String>, bool) {
    let image = world.aws.state().ecr().image(repository, digest).unwrap().clone();
    (image.tags.into_iter().collect(), image.status == Status::Active)
}

fn actions(alerts: &[Value]) -> Vec<&Value> {
    alerts.iter().map(|alert| &alert["details"]["action"]).collect()
}

#[tokio::test]
async fn a_forged_push_of_an_old_image_is_reported_and_changes_nothing() {
    let world = deploy_enforcement().await;
    for (repository, tags) in [
        ("infrastructure", &["latest"][..]),
        ("infrastructure", &["latest2", "litellm-v1.80.5"]),
        ("deployments", &["feature_x"]),
    ] {
        for days_ago in [17.0, 400.0] {
            let digest = push_unheard(&world, repository, &tags[..1], days_ago);
            for tag in &tags[1..] {
                world.tag(repository, &digest, tag);
            }
            world.settle().await;
            let before = image(&world, repository, &digest);
            let _ = (world.alerts(), world.aws.take_changes());
            // As if sent now, and as if sent when the image was pushed.
            for sent in [0.0, days_ago] {
                invoke(&world, repository, &digest, tags[0], sent).await;
            }
            assert_eq!(image(&world, repository, &digest), before, "{tags:?} {days_ago}");
            let changes = world.aws.take_changes();
            let only = ["UpdateItem", "Publish", "PutEvents", "SendMessageBatch"];
            assert!(changes.iter().all(|call| only.contains(&call.as_str())), "{changes:?}");
            assert_eq!(actions(&world.alerts()), ["reported"], "{tags:?} {days_ago}");
            // The next image gets the same tag.
            let ids = json!([{"imageDigest": digest}]);
            let delete = json!({"repositoryName": repository, "imageIds": ids});
            world.aws.by_hand("BatchDeleteImage", &delete).unwrap();
            world.settle().await;
            world.forget();
        }
    }
}

#[tokio::test]
async fn a_push_that_was_replayed_from_a_dead_letter_queue_is_enforced() {
    let world = deploy_enforcement().await;
    // A day in EventBridge, six hours in Lambda, and 14 days in the queue.
    let oldest = 15.25;
    for (nth, days_ago) in [0.0, 1.0, oldest].into_iter().enumerate() {
        let bad_tag = format!("feature_{nth}");
        let tag = format!("latest{nth}");
        let digest = push_unheard(&world, "infrastructure", &[&tag], days_ago);
        invoke(&world, "infrastructure", &digest, &tag, days_ago).await;
        let (tags, _) = image(&world, "infrastructure", &digest);
        assert!(tags.iter().all(|tag| tag.starts_with("quarantine-")), "{days_ago}: {tags:?}");
        let digest = push_unheard(&world, "deployments", &[&bad_tag], days_ago);
        invoke(&world, "deployments", &digest, &bad_tag, days_ago).await;
        assert!(!image(&world, "deployments", &digest).1, "{days_ago}");
        assert_eq!(actions(&world.alerts()), ["quarantined", "archived"], "{days_ago}");
        world.settle().await;
    }
}

/// The ledger has no age of this tag, and neither has ECR.
#[tokio::test]
async fn a_bad_tag_that_is_put_on_an_old_image_is_reported() {
    let world = deploy_enforcement().await;
    let digest = push_unheard(&world, "infrastructure", &["litellm-v1.80.5"], 60.0);
    world.tag("infrastructure", &digest, "latest");
    world.settle().await;
    let (tags, _) = image(&world, "infrastructure", &digest);
    assert_eq!(tags, ["latest", "litellm-v1.80.5"]);
    let alerts = world.alerts();
    assert_eq!(actions(&alerts), ["reported"]);
    // A forged event about it adds no alert.
    invoke(&world, "infrastructure", &digest, "latest", 0.0).await;
    assert!(world.alerts().is_empty());
}

/// The ledger proves that this tag is young: enforcement removed it a moment ago.
#[tokio::test]
async fn a_tag_that_enforcement_removed_and_somebody_pushed_again_is_enforced_although_its_image_is_old()
 {
    let world = deploy_enforcement().await;
    let tag = "litellm-1.80.5";
    let digest = push_unheard(&world, "infrastructure", &[tag], 15.9);
    invoke(&world, "infrastructure", &digest, tag, 0.0).await;
    assert_eq!(actions(&world.alerts()), ["quarantined"]);
    world.settle().await;
    // The image is older than the bound by now.
    let name = "infrastructure";
    {
        let mut state = world.aws.state();
        let images = &mut state.ecr().repositories.get_mut(name).unwrap().images;
        images.get_mut(&digest).unwrap().pushed_at -= 30.0 * DAY;
    }
    world.tag(name, &digest, tag);
    world.settle().await;
    let (tags, _) = image(&world, name, &digest);
    assert!(tags.iter().all(|tag| tag.starts_with("quarantine-")), "{tags:?}");
}
