//! `ecr-warden quarantined` and `ecr-warden archived` against the deployed stack, with the rights of an
//! operator.

use std::time::Duration;

use ecr_warden::archived::list_archived;
use ecr_warden::quarantined::list_quarantined;
use ecr_warden::restore::restore_image;
use local_aws::world::World;
use serde_json::json;

use super::{REPOSITORY, archive_an_index, stack};
use crate::{deploy, stop_sweep_queue};

/// The calls since the last time, none of which reads a manifest: that would count as a pull.
fn calls(world: &World) -> Vec<String> {
    let calls = world.calls();
    assert!(!calls.contains(&"BatchGetImage".to_owned()), "{calls:?}");
    calls
}

#[tokio::test]
async fn an_image_in_quarantine_is_listed_with_its_end_and_the_command_that_restores_it() {
    let world = deploy(&[]).await;
    stop_sweep_queue(&world);
    let digest = world.push("infrastructure", &["litellm-1.80.5"]);
    let odd = world.push("infrastructure", &["no.such~component".replace('~', "_").as_str()]);
    let _ = world.push("infrastructure", &["litellm-v1.80.4"]);
    world.settle().await;
    world.forget();
    let stack = stack(&world).await;
    let today = world.now().date_naive();
    let images = list_quarantined(&stack, &[], today).await.unwrap();
    calls(&world);
    assert_eq!(images.len(), 2, "{images:#?}");
    let image = images.iter().find(|image| image.digest.as_str() == digest).unwrap();
    assert_eq!(image.until, today + chrono::Days::new(14));
    assert_eq!(image.suggestion.as_ref().unwrap().as_str(), "litellm-v1.80.5");
    assert_eq!(
        image.restore,
        format!(
            "ecr-warden restore infrastructure:{} --tag litellm-v1.80.5 --stack ecr-warden --region us-east-1",
            image.tag
        )
    );
    let without = images.iter().find(|image| image.digest.as_str() == odd).unwrap();
    assert_eq!(without.suggestion, None);
    assert!(without.restore.contains(" --tag … "), "{}", without.restore);
    // A tag that another image got in the meantime is not suggested.
    let _ = world.push("infrastructure", &["litellm-v1.80.5"]);
    let again =
        list_quarantined(&stack, &["infrastructure".parse().unwrap()], today).await.unwrap();
    assert!(again.iter().all(|image| image.suggestion.is_none()), "{again:#?}");
    let none = list_quarantined(&stack, &[REPOSITORY.parse().unwrap()], today).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn the_listing_reads_every_page_and_ignores_a_quarantine_tag_of_somebody_else() {
    let world = deploy(&[]).await;
    let today = world.now().date_naive();
    let mut quarantined = Vec::new();
    {
        let mut state = world.aws.state();
        let now = state.now();
        for nth in 0..1_100 {
            let digest =
                state.ecr().push_made_up(REPOSITORY, &[&format!("app-v1.{nth}.0")], now).unwrap();
            if nth % 500 == 0 {
                quarantined.push(digest);
            }
        }
    }
    for digest in &quarantined {
        let tag = format!("quarantine-{}-{}-app", today.format("%Y%m%d"), &digest[7..19]);
        world.tag(REPOSITORY, digest, &tag);
        let forged = format!("quarantine-{}-{}-app", today.format("%Y%m%d"), "0".repeat(12));
        if *digest == quarantined[0] {
            world.tag(REPOSITORY, digest, &forged);
        }
    }
    world.forget();
    let images = list_quarantined(&stack(&world).await, &[], today).await.unwrap();
    assert_eq!(images.len(), quarantined.len(), "{images:#?}");
    let pages = calls(&world).iter().filter(|call| *call == "DescribeImages").count();
    // Two pages of this repository, and one of the other.
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn an_archived_unit_is_one_row_until_it_is_restored() {
    let world = deploy(&[]).await;
    let [index, ..] = archive_an_index(&world).await;
    world.settle().await;
    world.forget();
    let stack = stack(&world).await;
    let images = list_archived(&stack, &[]).await.unwrap();
    calls(&world);
    let [image] = images.as_slice() else { panic!("{images:#?}") };
    assert_eq!(image.digest.as_str(), index);
    assert_eq!(image.images, 3);
    let archived_at = image.archived_at.unwrap();
    assert_eq!(image.kept_until, Some(archived_at + chrono::Days::new(90)));
    assert_eq!(
        image.restore,
        "ecr-warden restore deployments:app-v1.0.0 --stack ecr-warden --region us-east-1"
    );
    // Without the lifecycle rule, ECR keeps the image.
    let policy = json!({"repositoryName": REPOSITORY});
    world.aws.by_hand("DeleteLifecyclePolicy", &policy).unwrap();
    let [image] = list_archived(&stack, &[]).await.unwrap().try_into().unwrap();
    assert!(image.is_kept_without_end && image.kept_until.is_none());
    restore_image(&stack, &"deployments:app-v1.0.0".parse().unwrap(), None).await.unwrap();
    world.aws.advance(Duration::from_secs(3_600));
    assert_eq!(list_archived(&stack, &[]).await.unwrap(), []);
    let other = ["infrastructure".parse().unwrap()];
    assert_eq!(list_archived(&stack, &other).await.unwrap(), []);
}

#[tokio::test]
async fn a_part_whose_index_is_active_is_listed_by_itself() {
    let world = deploy(&[]).await;
    let digests = archive_an_index(&world).await;
    let stack = stack(&world).await;
    restore_image(&stack, &"deployments:app-v1.0.0".parse().unwrap(), None).await.unwrap();
    world.aws.advance(Duration::from_secs(3_600));
    let part = json!({
        "repositoryName": REPOSITORY,
        "imageId": {"imageDigest": digests[1]},
        "targetStorageClass": "ARCHIVE",
    });
    world.aws.by_hand("UpdateImageStorageClass", &part).unwrap();
    let [image] = list_archived(&stack, &[]).await.unwrap().try_into().unwrap();
    assert_eq!((image.digest.as_str(), image.images), (digests[1].as_str(), 1));
    assert!(image.restore.contains(&format!("deployments@{}", digests[1])), "{}", image.restore);
}
