//! Tests the age of tags: what a sweep records, and what it reads of pushes. A comment such as `Case B1`
//! names a case of docs/contributing/prior-art.md.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use local_aws::Fault;
use serde_json::{Value, json};
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::tag_times::binding_key;

use crate::{DEPLOYMENTS, Function, digests, sorted};

const DAY: Duration = Duration::from_secs(86_400);

fn repository() -> RepositoryName {
    DEPLOYMENTS.parse().unwrap()
}

impl Function {
    /// Somebody pushes a tag to an old image, and the ledger learns of the push.
    async fn promote(&self, image: &str, tag: &str) {
        self.tag(DEPLOYMENTS, image, tag);
        self.record_push(image, tag, self.now()).await;
    }

    /// The ledger learns of the push of a tag, as from `image-push`.
    pub async fn record_push(&self, image: &str, tag: &str, at: DateTime<Utc>) {
        let (digest, tag): (Digest, Tag) = (image.parse().unwrap(), tag.parse().unwrap());
        let recorded =
            self.ledger().record_push(&repository(), &digest, &tag, at, self.now()).await;
        recorded.unwrap();
    }

    /// Somebody removes the tag `latest`.
    fn untag_latest(&self) {
        let ids = json!([{"imageTag": "latest"}]);
        let input = json!({"repositoryName": DEPLOYMENTS, "imageIds": ids});
        self.aws.by_hand("BatchDeleteImage", &input).unwrap();
    }

    /// The days since the push of a tag, according to the record of the sweeps.
    async fn age(&self, image: &str, tag: &str) -> Option<i64> {
        let recorded = self.ledger().sightings(&repository(), self.now()).await.unwrap();
        let key = binding_key(&image.parse().unwrap(), &tag.parse().unwrap());
        let at = recorded.earlier?.tags.get(key)?;
        Some((self.now() - at).num_days())
    }

    /// Deletes the items of the ledger whose keys begin like this.
    async fn lose(&self, keys: &[&str]) {
        let table = &self.function("image-sweep").environment["LEDGER_TABLE"];
        for key in keys {
            for nth in 0..8 {
                let fact = format!("{key} {DEPLOYMENTS} {nth}");
                let delete = json!({"TableName": table, "Key": {"fact": {"S": fact}}});
                let deleted = self.aws.ask("dynamodb", "DynamoDB_20120810.DeleteItem", &delete);
                deleted.await.unwrap();
            }
        }
    }
}

// Case B1
#[tokio::test(start_paused = true)]
async fn b1_an_old_image_that_gets_a_version_is_as_young_as_its_tag_with_and_without_the_event() {
    for is_heard in [true, false] {
        let function = Function::new("archive").await;
        for (tag, days) in [("a-v1.0.0", 50.0), ("a-v2.0.0", 20.0)] {
            function.push(tag, days);
        }
        let other = function.push("latest", 60.0);
        function.sweep().await;
        if is_heard {
            function.promote(&other, "a-v0.1.0").await;
        } else {
            function.tag(DEPLOYMENTS, &other, "a-v0.1.0");
        }
        function.untag_latest();
        let answer = function.sweep().await;
        assert_eq!(answer["planned"], 0, "{answer:#}");
        assert_eq!(function.age(&other, "a-v0.1.0").await, Some(0));
        // After the minimum age, the tag is one of the newest two, and the highest two stay too.
        function.aws.advance(8 * DAY);
        let answer = function.sweep().await;
        assert_eq!(answer["planned"], 0, "{answer:#}");
        assert_eq!(function.age(&other, "a-v0.1.0").await, Some(8));
        assert_eq!(function.active().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_push_orders_the_tags_that_one_sweep_sees_for_the_first_time() {
    let function = Function::new("archive").await;
    function.sweep().await;
    function.aws.advance(2 * DAY);
    let images: Vec<String> =
        (0..4).map(|nth| function.push(&format!("a-v4.{}.0", 4 - nth), 60.0)).collect();
    for (nth, image) in images.iter().enumerate() {
        let hours = [4, 1, 2, 3][nth];
        function
            .record_push(
                image,
                &format!("a-v4.{}.0", 4 - nth),
                function.now() - TimeDelta::hours(hours),
            )
            .await;
    }
    function.sweep().await;
    function.aws.advance(8 * DAY);
    // The newest two are the second and the third image, and the highest two are the first and the second.
    assert_eq!(digests(&function.sweep().await["removals"]), [images[3].clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_arrives_during_a_sweep_or_after_it_makes_a_known_tag_younger() {
    let function = Function::new("archive").await;
    let old = function.push("a-v1.0.0", 60.0);
    function.record_push(&old, "a-v1.0.0", function.now() - TimeDelta::days(40)).await;
    function.sweep().await;
    assert_eq!(function.age(&old, "a-v1.0.0").await, Some(40));
    // A sweep removes the pushes that it has read, and no others.
    let read = function.ledger().sightings(&repository(), function.now()).await.unwrap();
    assert!(read.pushes.is_empty());
    function.record_push(&old, "a-v1.0.0", function.now() - TimeDelta::days(30)).await;
    let read = function.ledger().sightings(&repository(), function.now()).await.unwrap();
    function.record_push(&old, "a-v1.0.0", function.now() - TimeDelta::days(20)).await;
    function.ledger().forget_pushes(&repository(), &read).await.unwrap();
    function.sweep().await;
    assert_eq!(function.age(&old, "a-v1.0.0").await, Some(20));
    // A push that happened before changes nothing.
    function.record_push(&old, "a-v1.0.0", function.now() - TimeDelta::days(50)).await;
    function.sweep().await;
    assert_eq!(function.age(&old, "a-v1.0.0").await, Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_comes_back_is_as_young_as_its_new_sighting() {
    let function = Function::new("archive").await;
    let image = function.push("a-v1.0.0", 60.0);
    function.push("b-v1.0.0", 60.0);
    function.tag(DEPLOYMENTS, &image, "latest");
    function.sweep().await;
    function.untag_latest();
    function.sweep().await;
    assert_eq!(function.age(&image, "latest").await, None);
    function.aws.advance(2 * DAY);
    // The event of the first push arrives late, and the event of the second push is lost.
    function.record_push(&image, "latest", function.now() - TimeDelta::days(3)).await;
    function.tag(DEPLOYMENTS, &image, "latest");
    function.sweep().await;
    assert_eq!(function.age(&image, "latest").await, Some(0));
    assert_eq!(function.age(&image, "a-v1.0.0").await, Some(62));
}

#[tokio::test(start_paused = true)]
async fn without_its_record_a_swept_repository_has_only_young_tags() {
    let function = Function::new("archive").await;
    function.sweep().await;
    let images = function.versions("a", 5);
    let untagged = function.push("", 60.0);
    function.record_tags(DEPLOYMENTS).await;
    assert_eq!(function.read().await["planned"], 3);
    function.lose(&["tag-times", "untagged"]).await;
    assert_eq!(function.read().await["planned"], 0);
    assert_eq!(function.sweep().await["planned"], 0);
    assert_eq!(function.active().len(), 6);
    // The days begin again. All versions have the same age, so the sweep keeps them until two newer versions are
    // pushed.
    function.aws.advance(8 * DAY);
    assert_eq!(digests(&function.sweep().await["removals"]), [untagged]);
    for newer in ["a-v2.0.0", "a-v2.1.0"] {
        assert_eq!(digests(&function.sweep().await["removals"]), [""; 0], "before {newer}");
        function.push(newer, 0.0);
        function.aws.advance(DAY);
    }
    assert_eq!(digests(&function.sweep().await["removals"]), sorted(images));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_cannot_read_or_write_the_ages_of_tags_removes_nothing() {
    // The second write removes the pushes that the sweep has read. The first one takes the lease.
    for (operation, nth) in [("BatchGetItem", 1), ("BatchWriteItem", 1), ("UpdateItem", 2)] {
        let function = Function::new("archive").await;
        let images = function.versions("a", 5);
        function.record_push(&images[0], "a-v1.0.0", function.now() - TimeDelta::days(200)).await;
        let denied = Fault::Error(400, "AccessDeniedException");
        function.aws.fault(operation, nth, denied);
        let _ = function.ask(&json!({"repository": DEPLOYMENTS}), "request").await;
        assert_eq!(function.active().len(), 5, "{operation}");
        function.aws.heal();
        assert_eq!(function.sweep().await["removed"], 3, "{operation}");
    }
}

#[tokio::test]
async fn a_repository_can_have_two_hundred_thousand_tags() {
    let function = Function::with(&[("DeploymentsLifecycleTagCount", "100")]).await;
    let tags: Vec<(u64, DateTime<Utc>)> = (0..200_000_u64)
        .map(|nth| (nth.wrapping_mul(0x9e37_79b9_7f4a_7c15), function.now()))
        .collect();
    let tags = tags.into_iter().collect();
    let (ledger, now) = (function.ledger(), function.now());
    let before = ledger.sightings(&repository(), now).await.unwrap();
    ledger.record_sightings(&repository(), &before, None, &tags, now).await.unwrap();
    let recorded = ledger.sightings(&repository(), now).await.unwrap();
    assert_eq!(recorded.earlier.unwrap().tags, tags);
}

/// An image with a new tag is explained by the push of the tag.
#[tokio::test(start_paused = true)]
async fn an_explanation_names_the_tag_that_keeps_an_image() {
    let function = Function::new("archive").await;
    let old = function.push("a-v1.0.0", 60.0);
    function.sweep().await;
    function.promote(&old, "a-v1.0.1").await;
    let ask = json!({"repository": DEPLOYMENTS, "image": "a-v1.0.1"});
    let answer: Value = function.ask(&ask, "explain").await.unwrap();
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("a-v1.0.1") && reason.contains("2027-01-15"), "{reason}");
}
