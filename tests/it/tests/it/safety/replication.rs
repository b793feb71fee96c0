//! A repository whose images are replicated is reported, not changed (A12).

use ecr_warden::deployed::DeployedStack;
use ecr_warden::plan::{Confirmed, confirm_plans};
use local_aws::ecr::DAY;
use local_aws::ecr::image::Status;
use local_aws::world::{self, STACK, World, kinds};
use local_aws::{ACCOUNT, Fault, REGION};
use serde_json::{Value, json};

use crate::{deploy, stop_sweep_queue};

const SWEEP: &str = "ecr-warden-ImageSweepFunction";
const BAD: &str = "litellm-1.80.5";
const OTHER: &str = "210987654321";
const WEST: &str = "us-west-2";
/// The registry of the stack, and that of its own account in another region.
const HERE: (&str, &str) = (ACCOUNT, REGION);
const COPY: (&str, &str) = (ACCOUNT, WEST);

/// Replicates every image of a registry to another one.
fn replicate(world: &World, from: (&str, &str), to: (&str, &str), deletes: bool) {
    replicate_prefix(world, from, to, deletes, None);
}

fn replicate_prefix(
    world: &World,
    from: (&str, &str),
    (account, region): (&str, &str),
    deletes: bool,
    prefix: Option<&str>,
) {
    let mut rule = json!({
        "destinations": [{"region": region, "registryId": account}],
        "deleteReplication": {"enabled": deletes},
    });
    if let Some(prefix) = prefix {
        rule["repositoryFilters"] = json!([{"filter": prefix, "filterType": "PREFIX_MATCH"}]);
    }
    let input = json!({"replicationConfiguration": {"rules": [rule]}});
    world.aws.by_hand_in(from, "PutReplicationConfiguration", &input).unwrap();
}

/// The tags of an image of a registry. None if the registry does not have the image.
fn tags(
    world: &World,
    (account, region): (&str, &str),
    repository: &str,
    digest: &str,
) -> Option<Vec<String>> {
    let mut state = world.aws.state();
    let image = state.registry(account, region).repositories.get(repository)?.images.get(digest)?;
    Some(image.tags.iter().cloned().collect())
}

/// Deploys the stack with this enforcement of the tags of `infrastructure`.
async fn deploy_enforcing(enforcement: &str, when_replicated: &str) -> World {
    let world = deploy(&[
        ("platform.Tags.Enforcement", enforcement),
        ("*.Retention.WhenReplicated", when_replicated),
    ])
    .await;
    stop_sweep_queue(&world);
    world
}

/// Checks that the one alert reports a violation, changed nothing, and names a registry.
#[track_caller]
fn check_reported(world: &World, (account, region): (&str, &str)) {
    let alert = world.alert();
    assert_eq!(alert["kind"], "tag-violation");
    assert_eq!(alert["details"]["action"], "reported");
    let text = alert["text"].as_str().unwrap();
    assert!(text.contains(&format!("account {account} in {region}")), "{text}");
}

/// A12
#[tokio::test]
async fn a_tag_that_replication_would_remove_in_another_region_stays_in_both() {
    for enforcement in ["quarantine", "archive"] {
        let world = deploy_enforcing(enforcement, "report").await;
        replicate(&world, HERE, COPY, true);
        let digest = world.push("infrastructure", &[BAD]);
        world.settle().await;
        for place in [HERE, COPY] {
            assert_eq!(tags(&world, place, "infrastructure", &digest).unwrap(), [BAD]);
        }
        let status = world.aws.state().ecr().image("infrastructure", &digest).unwrap().status;
        assert_eq!(status, Status::Active);
        check_reported(&world, COPY);
    }
}

/// A12 with a destination in another account, to which deletions are not replicated.
#[tokio::test]
async fn a_tag_that_lives_in_another_account_is_reported() {
    let world = deploy_enforcing("quarantine", "report").await;
    let statement = json!({
        "Sid": "Replicate",
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": ["ecr:CreateRepository", "ecr:ReplicateImage"],
        "Resource": [format!("arn:aws:ecr:{REGION}:{OTHER}:repository/*")],
    });
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    let policy = json!({"policyText": policy.to_string()});
    world.aws.by_hand_in((OTHER, REGION), "PutRegistryPolicy", &policy).unwrap();
    replicate(&world, HERE, (OTHER, REGION), false);
    let digest = world.push("infrastructure", &[BAD]);
    world.settle().await;
    for place in [HERE, (OTHER, REGION)] {
        assert_eq!(tags(&world, place, "infrastructure", &digest).unwrap(), [BAD]);
    }
    check_reported(&world, (OTHER, REGION));
}

#[tokio::test]
async fn a_repository_that_no_rule_of_replication_matches_is_enforced() {
    let world = deploy_enforcing("quarantine", "report").await;
    replicate_prefix(&world, HERE, COPY, true, Some("deployments"));
    let digest = world.push("infrastructure", &[BAD]);
    world.settle().await;
    let tags = tags(&world, HERE, "infrastructure", &digest).unwrap();
    assert!(tags.iter().all(|tag| tag.starts_with("quarantine-")), "{tags:?}");
    assert_eq!(world.alert()["details"]["action"], "quarantined");
}

#[tokio::test]
async fn a_policy_that_says_act_is_enforced_and_the_alert_says_where_the_tag_lives_on() {
    for deletes in [true, false] {
        let world = deploy_enforcing("quarantine", "act").await;
        replicate(&world, HERE, COPY, deletes);
        let digest = world.push("infrastructure", &[BAD]);
        world.settle().await;
        let has_bad = |place| {
            let tags = tags(&world, place, "infrastructure", &digest).unwrap();
            tags.iter().any(|tag| tag == BAD)
        };
        assert_eq!((has_bad(HERE), has_bad(COPY)), (false, !deletes));
        let alert = world.alert();
        assert_eq!(alert["details"]["action"], "quarantined");
        let copies = json!([{"account": ACCOUNT, "region": WEST, "deletions": deletes}]);
        assert_eq!(alert["details"]["replicatedTo"], copies);
        let text = alert["text"].as_str().unwrap();
        let lives_on = format!("{BAD} still exists in account {ACCOUNT} in {WEST}");
        assert_eq!(text.contains(&lives_on), !deletes, "{text}");
    }
}

/// Blind means stop, and the retry enforces.
#[tokio::test]
async fn a_push_is_tried_again_where_the_replication_cannot_be_read() {
    for code in ["ThrottlingException", "AccessDeniedException"] {
        let world = deploy_enforcing("quarantine", "report").await;
        let attempts = if code == "ThrottlingException" { 5 } else { 1 };
        for nth in 1..=attempts {
            world.aws.fault("DescribeRegistry", nth, Fault::Error(400, code));
        }
        let digest = world.push("infrastructure", &[BAD]);
        world.settle().await;
        let tags = tags(&world, HERE, "infrastructure", &digest).unwrap();
        assert!(tags.iter().all(|tag| tag.starts_with("quarantine-")), "{code}: {tags:?}");
        assert_eq!(world.alert()["details"]["action"], "quarantined");
        assert!(world.failed_events().await.is_empty());
    }
}

#[tokio::test]
async fn nothing_is_enforced_while_the_replication_cannot_be_read() {
    let world = deploy_enforcing("quarantine", "act").await;
    let denied = Fault::Error(400, "AccessDeniedException");
    world.aws.fault("DescribeRegistry", 0, denied);
    let digest = world.push("infrastructure", &[BAD]);
    world.settle().await;
    assert_eq!(tags(&world, HERE, "infrastructure", &digest).unwrap(), [BAD]);
    assert_eq!(world.alerts(), [] as [Value; 0]);
    let failed = world.failed_event().await;
    let text = failed.to_string();
    assert!(text.contains("the replication of infrastructure cannot be read"), "{text}");
}

/// Deploys the stack with this enforcement of the cleanup.
async fn deploy_sweeping(enforcement: &str, when_replicated: &str) -> World {
    let world = deploy(&[
        ("*.Retention.Enforcement", enforcement),
        ("*.Retention.WhenReplicated", when_replicated),
    ])
    .await;
    stop_sweep_queue(&world);
    world
}

/// Pushes fifteen versions to `deployments` and gives the digests of the five that are beyond the
/// count.
fn push_versions(world: &World) -> Vec<String> {
    let mut state = world.aws.state();
    let now = state.now();
    let mut digests: Vec<String> = (0..15)
        .map(|nth| {
            let at = now - (60.0 - f64::from(nth)) * DAY;
            let tag = format!("app-v1.{nth}.0");
            state.ecr().push_made_up("deployments", &[&tag], at).unwrap()
        })
        .collect();
    digests.truncate(5);
    digests
}

async fn sweep(world: &World) {
    // The events of the old pushes arrived now.
    world.record_tags("deployments").await;
    world.aws.lambda().invoke_async(SWEEP, world::event("image-sweep", "sweep")).unwrap();
    world.settle().await;
}

/// How many of these images can be pulled from a registry.
fn active(world: &World, (account, region): (&str, &str), digests: &[String]) -> usize {
    let mut state = world.aws.state();
    let Some(repository) = state.registry(account, region).repositories.get("deployments") else {
        return 0;
    };
    let images = digests.iter().filter_map(|digest| repository.images.get(digest));
    images.filter(|image| image.status == Status::Active).count()
}

/// A12 for the sweep.
#[tokio::test]
async fn a_sweep_removes_nothing_that_is_replicated() {
    for enforcement in ["archive", "delete"] {
        let world = deploy_sweeping(enforcement, "report").await;
        replicate(&world, HERE, COPY, true);
        let old = push_versions(&world);
        world.settle().await;
        world.forget();
        sweep(&world).await;
        assert_eq!((active(&world, HERE, &old), active(&world, COPY, &old)), (5, 5));
        let alert = world.alert();
        assert_eq!((&alert["kind"], &alert["details"]["removed"]), (&json!("cleanup"), &json!(0)));
        let text = alert["text"].as_str().unwrap();
        assert!(text.contains(&format!("account {ACCOUNT} in {WEST}")), "{text}");
        // A confirmation does not change that, so the alert does not offer one.
        assert!(!alert["remedies"].to_string().contains("confirm"), "{alert:#}");
        let stack = DeployedStack::read(world.operator(), STACK).await.unwrap();
        let hash = alert["details"]["hash"].as_str();
        let confirmed = confirm_plans(&stack, &[], hash, world.now()).await.unwrap();
        assert!(matches!(confirmed, Confirmed::Nothing), "{confirmed:?}");
        sweep(&world).await;
        assert_eq!((active(&world, HERE, &old), active(&world, COPY, &old)), (5, 5));
    }
}

#[tokio::test]
async fn a_sweep_of_a_policy_that_says_act_says_where_the_images_live_on() {
    for (enforcement, deletes, copies) in
        [("archive", true, 5), ("delete", true, 0), ("delete", false, 5)]
    {
        let world = deploy_sweeping(enforcement, "act").await;
        replicate(&world, HERE, COPY, deletes);
        let old = push_versions(&world);
        world.settle().await;
        world.forget();
        sweep(&world).await;
        world.settle().await;
        assert_eq!((active(&world, HERE, &old), active(&world, COPY, &old)), (0, copies));
        let alert = world.alert();
        assert_eq!(alert["details"]["removed"], 5);
        let text = alert["text"].as_str().unwrap();
        let lives_on = format!("still exist in account {ACCOUNT} in {WEST}");
        assert_eq!(text.contains(&lives_on), copies > 0, "{text}");
    }
}

#[tokio::test]
async fn a_sweep_stops_where_the_replication_cannot_be_read() {
    for code in ["ThrottlingException", "AccessDeniedException"] {
        let world = deploy_sweeping("delete", "act").await;
        let old = push_versions(&world);
        world.settle().await;
        world.forget();
        world.aws.fault("DescribeRegistry", 0, Fault::Error(400, code));
        sweep(&world).await;
        assert_eq!(active(&world, HERE, &old), 5);
        let alert = world.alert();
        assert_eq!((&alert["kind"], &alert["details"]["removed"]), (&json!("cleanup"), &json!(0)));
        assert!(alert["details"]["stopped"].as_str().unwrap().contains(code), "{alert:#}");
        // The next run removes them.
        world.aws.heal();
        sweep(&world).await;
        assert_eq!(active(&world, HERE, &old), 0);
    }
}

/// A repository that replication fills is a replica: neither function changes it under any
/// policy, and whether or not ECR counts a copy as a push in its events.
#[tokio::test]
async fn a_replica_is_never_changed() {
    for (source, is_push) in [(COPY, false), (COPY, true), ((OTHER, WEST), false)] {
        let world = deploy(&[
            ("platform.Tags.Enforcement", "quarantine"),
            ("*.Retention.Enforcement", "delete"),
            ("*.Retention.WhenReplicated", "act"),
        ])
        .await;
        stop_sweep_queue(&world);
        let statement = json!({
            "Sid": "Replicate",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{OTHER}:root")},
            "Action": "ecr:ReplicateImage",
            "Resource": [format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/*")],
        });
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
        let policy = json!({"policyText": policy.to_string()});
        world.aws.by_hand("PutRegistryPolicy", &policy).unwrap();
        replicate(&world, source, HERE, false);
        world.aws.state().ecr().sends_push_events_of_copies = is_push;
        let copy = |repository: &str, tag: &str| {
            let mut state = world.aws.state();
            let now = state.now();
            let source = state.registry(source.0, source.1);
            source.push_made_up(repository, &[tag], now).unwrap()
        };
        for repository in ["infrastructure", "deployments"] {
            let create = json!({"repositoryName": repository});
            world.aws.by_hand_in(source, "CreateRepository", &create).unwrap();
            let digest = copy(repository, "app-v1.99.0");
            world.settle().await;
            assert_eq!(tags(&world, HERE, repository, &digest).unwrap(), ["app-v1.99.0"]);
        }
        assert_eq!(world.alerts(), [] as [Value; 0]);
        // A replicated image with a bad tag, and one that somebody pushes here.
        let copied = copy("infrastructure", "app-1.0.0");
        world.settle().await;
        assert_eq!(tags(&world, HERE, "infrastructure", &copied).unwrap(), ["app-1.0.0"]);
        let alerts = world.alerts();
        assert_eq!(kinds(&alerts).len(), usize::from(is_push), "{alerts:#?}");
        let pushed = world.push("infrastructure", &[BAD]);
        world.settle().await;
        assert_eq!(tags(&world, HERE, "infrastructure", &pushed).unwrap(), [BAD]);
        check_reported(&world, source);
        let old = push_versions(&world);
        world.settle().await;
        world.forget();
        sweep(&world).await;
        assert_eq!(active(&world, HERE, &old), 5);
        let alert = world.alert();
        let stopped = alert["details"]["stopped"].as_str().unwrap();
        assert!(stopped.contains(&format!("account {} in {}", source.0, source.1)), "{stopped}");
    }
}
