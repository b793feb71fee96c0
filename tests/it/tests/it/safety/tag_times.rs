//! A tag is as old as its push, and versions stay by their number too (B1, B2, B3).

use local_aws::ecr::DAY;
use local_aws::world::World;
use serde_json::json;

use crate::deploy;

const REPOSITORY: &str = "deployments";

/// Deploys a stack that keeps this number of versions of each component of `deployments`.
async fn deploy_with_count(count: &str) -> World {
    deploy(&[("DeploymentsLifecycleTagCount", count), ("*.Retention.Enforcement", "delete")]).await
}

/// Pushes an image of so many days ago, before the stack governed the repository.
fn push_before(world: &World, tag: &str, days_ago: f64) -> String {
    let mut state = world.aws.state();
    let at = state.now() - days_ago * DAY;
    let digest = state.ecr().push_made_up(REPOSITORY, &[tag], at).unwrap();
    state.ecr().events.clear();
    digest
}

async fn sweep(world: &World) {
    let request = json!({"repository": REPOSITORY});
    let function = &world.function("image-sweep").name;
    let swept = world.aws.lambda().invoke(function, request).await.unwrap();
    assert_eq!(swept.error, None, "{}", swept.log);
}

/// The tags of the repository, sorted.
fn tags(world: &World) -> Vec<String> {
    let mut state = world.aws.state();
    let images = state.ecr().repositories[REPOSITORY].images.iter();
    let mut tags: Vec<String> = images.flat_map(|image| image.tags.iter().cloned()).collect();
    tags.sort_unstable();
    tags
}

/// B1: an image of 60 days gets a version now, and another push begins a sweep.
#[tokio::test]
async fn b1_an_old_image_that_gets_a_version_now_is_not_removed_by_the_sweep_of_another_push() {
    for has_been_swept in [false, true] {
        let world = deploy_with_count("3").await;
        let old = push_before(&world, "latest", 60.0);
        for (version, days_ago) in
            [("app-v1.5.0", 30.0), ("app-v1.6.0", 20.0), ("app-v1.7.0", 10.0)]
        {
            push_before(&world, version, days_ago);
        }
        if has_been_swept {
            sweep(&world).await;
        }
        world.tag(REPOSITORY, &old, "app-v1.4.0");
        let _ = world.push(REPOSITORY, &["latest"]);
        world.settle().await;
        let expected = ["app-v1.4.0", "app-v1.5.0", "app-v1.6.0", "app-v1.7.0", "latest"];
        assert_eq!(tags(&world), expected);
    }
}

/// B2
#[tokio::test]
async fn b2_patches_of_an_older_release_never_remove_the_highest_version() {
    let world = deploy_with_count("3").await;
    push_before(&world, "app-v2.0.0", 60.0);
    for patch in 0..6_u32 {
        push_before(&world, &format!("app-v1.9.{patch}"), 50.0 - f64::from(patch));
    }
    world.record_tags(REPOSITORY).await;
    sweep(&world).await;
    // The newest three are also the highest three after 2.0.0.
    assert_eq!(tags(&world), ["app-v1.9.3", "app-v1.9.4", "app-v1.9.5", "app-v2.0.0"]);
}

/// B3
#[tokio::test]
async fn b3_an_import_in_alphabetical_order_keeps_the_newest_and_the_highest_versions() {
    let world = deploy_with_count("5").await;
    let mut versions: Vec<String> = (1..16).map(|minor| format!("app-v1.{minor}.0")).collect();
    versions.sort_unstable();
    for (version, days_ago) in versions.iter().zip((40..60_u32).rev()) {
        push_before(&world, version, f64::from(days_ago));
    }
    world.record_tags(REPOSITORY).await;
    sweep(&world).await;
    let newest = [5, 6, 7, 8, 9];
    let highest = [11, 12, 13, 14, 15];
    let mut expected: Vec<String> =
        newest.iter().chain(&highest).map(|minor| format!("app-v1.{minor}.0")).collect();
    expected.sort_unstable();
    assert_eq!(tags(&world), expected);
}
