//! The commands of `ecr-warden` against the deployed stack, with the rights of an operator.

mod lists;
mod policy;
mod replay;
mod rule;
mod status;

use ecr_warden::deployed::DeployedStack;
use ecr_warden::image::ImageReference;
use ecr_warden::restore::{Restored, restore_image};
use local_aws::LocalAws;
use local_aws::ecr::DAY;
use local_aws::world::{self, STACK, World};
use serde_json::json;
use warden_aws::ledger::Ledger;

use crate::deploy;

const REPOSITORY: &str = "deployments";

async fn stack(world: &World) -> DeployedStack {
    DeployedStack::read(world.operator(), STACK).await.unwrap()
}

fn status(aws: &LocalAws, digest: &str) -> &'static str {
    let mut state = aws.state();
    state.ecr().image(REPOSITORY, digest).unwrap().status.name()
}

/// Pushes eleven versions, the oldest of which is an index of two images, and sweeps. Gives the
/// digests of the index and its images, which are archived.
async fn archive_an_index(world: &World) -> [String; 3] {
    let digests = {
        let mut state = world.aws.state();
        let now = state.now();
        let registry = state.ecr();
        let at = |days: f64| now - days * DAY;
        let mut part = || registry.push_made_up(REPOSITORY, &[], at(100.0)).unwrap();
        let (one, two) = (part(), part());
        let index = registry.push_index(REPOSITORY, &[&one, &two], &["app-v1.0.0"], at(100.0));
        for nth in 0..10 {
            let tag = format!("app-v2.{nth}.0");
            registry.push_made_up(REPOSITORY, &[&tag], at(90.0 - f64::from(nth))).unwrap();
        }
        [index.unwrap(), one, two]
    };
    let sweep = &world.function("image-sweep").name;
    let scheduled = world::event("image-sweep", "sweep");
    let swept = world.aws.lambda().invoke(sweep, scheduled).await.unwrap();
    assert_eq!(swept.payload["removed"], 3, "{:#}", swept.payload);
    digests
}

#[tokio::test]
async fn an_archived_index_comes_back_with_its_images_and_then_under_another_tag() {
    let world = deploy(&[]).await;
    let digests = archive_an_index(&world).await;
    let stack = stack(&world).await;
    let image: ImageReference = format!("{REPOSITORY}:app-v1.0.0").parse().unwrap();
    let tag = "app-v1.0.1".parse().unwrap();
    let error = restore_image(&stack, &image, Some(&tag)).await.unwrap_err();
    assert!(error.to_string().contains("is in the archive"), "{error}");
    let restored = restore_image(&stack, &image, None).await.unwrap();
    let Restored::FromArchive(images) = restored else { panic!("{restored:?}") };
    assert_eq!(images.len(), 3);
    let again = restore_image(&stack, &image, None).await.unwrap();
    assert!(matches!(again, Restored::Restoring(_)), "{again:?}");
    let error = restore_image(&stack, &image, Some(&tag)).await.unwrap_err();
    assert!(error.to_string().contains("is being restored"), "{error}");
    world.aws.advance(std::time::Duration::from_secs(3_600));
    for digest in &digests {
        assert_eq!(status(&world.aws, digest), "ACTIVE");
    }
    let restored = restore_image(&stack, &image, None).await.unwrap();
    assert!(matches!(restored, Restored::NotNeeded(_)), "{restored:?}");
    // A part that a restore left in the archive comes back, although the index is active.
    let part = json!({
        "repositoryName": REPOSITORY,
        "imageId": {"imageDigest": digests[1]},
        "targetStorageClass": "ARCHIVE",
    });
    world.aws.by_hand("UpdateImageStorageClass", &part).unwrap();
    let restored = restore_image(&stack, &image, None).await.unwrap();
    assert_eq!(restored, Restored::FromArchive([digests[1].parse().unwrap()].into()));
    world.aws.advance(std::time::Duration::from_secs(3_600));
    let restored = restore_image(&stack, &image, Some(&tag)).await.unwrap();
    assert_eq!(restored, Restored::Tagged(digests[0].parse().unwrap(), tag.clone()));
    // A tag that another image has is never moved.
    let other: ImageReference = format!("{REPOSITORY}:app-v2.0.0").parse().unwrap();
    let error = restore_image(&stack, &other, Some(&tag)).await.unwrap_err();
    assert!(error.to_string().contains(&digests[0]), "{error}");
}

#[tokio::test]
async fn an_archived_part_comes_back_with_its_index() {
    let world = deploy(&[]).await;
    let digests = archive_an_index(&world).await;
    let stack = stack(&world).await;
    let part: ImageReference = format!("{REPOSITORY}@{}", digests[1]).parse().unwrap();
    let restored = restore_image(&stack, &part, None).await.unwrap();
    let unit = digests.iter().map(|digest| digest.parse().unwrap()).collect();
    assert_eq!(restored, Restored::FromArchive(unit));
}

#[tokio::test]
async fn a_missing_or_ungoverned_image_is_an_error_with_the_reason() {
    let world = deploy(&[]).await;
    let stack = stack(&world).await;
    let gone = format!("{REPOSITORY}@sha256:{}", "ab".repeat(32));
    for (image, expected) in [
        (gone.as_str(), "is gone: ECR does not have the image"),
        ("deployments:app-v9.0.0", "deployments has no image with the tag app-v9.0.0"),
        (
            "deployment:app-v9.0.0",
            "no rule of the policy of the stack ecr-warden governs the repository deployment",
        ),
    ] {
        let error = restore_image(&stack, &image.parse().unwrap(), None).await.unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    let error = DeployedStack::read(world.aws.config(), "other").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no stack other in us-east-1: name the stack with --stack"
    );
}

#[tokio::test]
async fn an_operator_may_write_confirmations_and_nothing_else_to_the_ledger() {
    let world = deploy(&[]).await;
    let operator = world.operator();
    let table = world.function("image-sweep").environment["LEDGER_TABLE"].clone();
    let client = aws_sdk_dynamodb::Client::new(&operator);
    for (key, is_allowed) in
        [("confirmation deployments", true), ("sweep deployments", false), ("unit x", false)]
    {
        let fact = aws_sdk_dynamodb::types::AttributeValue::S(key.to_owned());
        let put = client.put_item().table_name(&table).item("fact", fact.clone()).send().await;
        assert_eq!(put.is_ok(), is_allowed, "{key}");
        let deleted = client.delete_item().table_name(&table).key("fact", fact).send().await;
        assert!(deleted.is_err(), "{key}");
    }
    let ledger = Ledger::new(&operator, table);
    let repository = REPOSITORY.parse().unwrap();
    assert!(ledger.begin_run(&repository, "request", world.now()).await.is_err());
    // An operator reads what the ledger has about sweeps, and nothing else.
    assert!(ledger.accepted_policy(&repository).await.is_ok());
    assert!(ledger.replica_source(&repository).await.is_ok());
    assert!(ledger.published_risks("risks").await.is_err());
    let invoke = |function: &str| {
        let name = world.function(function).name.clone();
        let client = aws_sdk_lambda::Client::new(&operator);
        let payload = json!({"repository": REPOSITORY, "mode": "report"}).to_string();
        client.invoke().function_name(name).payload(payload.into_bytes().into()).send()
    };
    assert!(invoke("image-sweep").await.is_ok());
    assert!(invoke("image-push").await.is_ok());
    assert!(invoke("custom-resource").await.is_err());
}
