//! Tests images without a tag, while ECR carries out its native rules each day.

use std::time::Duration;

use expect_test::expect;
use local_aws::ecr::image::Status;
use local_aws::world::masked;
use serde_json::{Value, json};
use warden_alerts::ReportedPlan;
use warden_core::untagged::prefix_of;

use crate::{DEPLOYMENTS, Function, digests, sorted};

/// The days for which an untagged image of `deployments` is kept.
const UNTAGGED_DAYS: u32 = 3;

impl Function {
    fn status(&self, digest: &str) -> Option<Status> {
        let mut state = self.aws.state();
        let images = &state.ecr().repository(DEPLOYMENTS).unwrap().images;
        images.get(digest).map(|image| image.status)
    }

    /// Pushes an image now, and moves this tag to it.
    fn move_tag(&self, tag: &str) -> String {
        let mut state = self.aws.state();
        let now = state.now();
        let pushed = state.ecr().push_made_up(DEPLOYMENTS, &[tag], now).unwrap();
        state.ecr().events.clear();
        pushed
    }

    /// Somebody pulls the image by its digest.
    fn pull(&self, digest: &str) {
        let mut state = self.aws.state();
        let now = state.now();
        state.ecr().image(DEPLOYMENTS, digest).unwrap().pulled_at = Some(now);
    }

    /// Lets a day pass, in which ECR carries out its native rules.
    fn next_day(&self) {
        self.aws.advance(Duration::from_secs(86_400));
    }
}

// Case B9 in docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn an_image_that_lost_its_channel_tag_and_is_pulled_by_digest_is_kept() {
    let function = Function::new("archive").await;
    let old = function.push("myapp-prod", 60.0);
    function.sweep().await;
    function.move_tag("myapp-prod");
    for day in 0..20 {
        function.pull(&old);
        function.next_day();
        assert_eq!(function.status(&old), Some(Status::Active), "natively, on day {day}");
        let answer = function.sweep().await;
        assert_eq!(function.status(&old), Some(Status::Active), "by a sweep, on day {day}");
        assert_eq!(answer["planned"], 0);
    }
    // The last pull protects the image for 30 days. The native rules never remove the image.
    for _ in 0..30 {
        function.next_day();
    }
    assert_eq!(function.status(&old), Some(Status::Active));
    let answer = function.sweep().await;
    assert_eq!(digests(&answer["removals"]), std::slice::from_ref(&old));
    assert_eq!(function.status(&old), None);
    let alert = function.alert();
    assert_eq!(alert["details"]["images"][0]["decision"], "delete");
    assert_eq!(alert["remedies"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_lost_its_tag_is_removed_its_days_after_the_last_sweep_with_the_tag() {
    let function = Function::new("archive").await;
    let old = function.push("myapp-prod", 60.0);
    function.sweep().await;
    function.next_day();
    function.sweep().await;
    let last_seen = function.now();
    function.move_tag("myapp-prod");
    let removed = loop {
        function.next_day();
        function.sweep().await;
        if function.status(&old).is_none() {
            break function.now();
        }
        assert!(function.now() < last_seen + chrono::Duration::days(30), "it never goes");
    };
    let days = (removed - last_seen).num_days();
    // The days begin with the first sweep that sees no tag.
    assert!((UNTAGGED_DAYS.into()..=i64::from(UNTAGGED_DAYS) + 2).contains(&days), "{days} days");
}

#[tokio::test(start_paused = true)]
async fn the_days_of_an_untagged_image_begin_again_after_it_got_a_tag() {
    let function = Function::new("archive").await;
    let old = function.push("myapp-prod", 60.0);
    function.sweep().await;
    function.move_tag("myapp-prod");
    for _ in 0..3 {
        function.next_day();
        function.sweep().await;
    }
    function.tag(DEPLOYMENTS, &old, "myapp-v1.0.0");
    function.sweep().await;
    function.move_tag("myapp-v1.0.0");
    for day in 0..3 {
        function.next_day();
        function.sweep().await;
        assert_eq!(function.status(&old), Some(Status::Active), "day {day}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_sweep_of_a_repository_counts_the_days_from_the_push() {
    let function = Function::new("archive").await;
    let (old, young) = (function.push("", 4.0), function.push("", 2.0));
    // Reading a plan writes no record.
    assert_eq!(function.read().await["planned"], 1);
    let answer = function.sweep().await;
    assert_eq!(digests(&answer["removals"]), [old]);
    // A later sweep has the record of the first sweep.
    function.next_day();
    assert_eq!(function.sweep().await["planned"], 0);
    function.next_day();
    let answer = function.sweep().await;
    assert_eq!(digests(&answer["removals"]), [young]);
    // The days of an image that no sweep has seen begin with the first sweep that sees it.
    let late = function.push("", 50.0);
    assert_eq!(function.sweep().await["planned"], 0);
    for _ in 0..3 {
        function.next_day();
    }
    assert_eq!(function.sweep().await["planned"], 0);
    function.next_day();
    assert_eq!(digests(&function.sweep().await["removals"]), [late]);
}

#[tokio::test(start_paused = true)]
async fn the_first_sweep_of_a_repository_without_untagged_images_writes_a_record() {
    let function = Function::new("archive").await;
    let old = function.push("myapp-prod", 60.0);
    function.sweep().await;
    function.move_tag("myapp-prod");
    assert_eq!(function.sweep().await["planned"], 0, "the first sweep saw the tag");
    assert_eq!(function.status(&old), Some(Status::Active));
}

#[tokio::test(start_paused = true)]
async fn references_and_running_images_protect_an_untagged_image() {
    let function = Function::inspected().await;
    let [index, one, other, signature] = function.index("a-v1.0.0", 60.0);
    let (runs, goes) = (function.push("", 60.0), function.push("", 60.0));
    let [alone, left, right, signed] = function.index("latest", 60.0);
    function.report_running(DEPLOYMENTS, &runs);
    // The tag of the second index moves to another image.
    let newer = function.move_tag("latest");
    let answer = function.sweep().await;
    let expected = [&goes, &alone, &left, &right, &signed].map(Clone::clone).to_vec();
    assert_eq!(digests(&answer["removals"]), sorted(expected));
    let expected = [&index, &one, &other, &signature, &runs, &newer].map(Clone::clone).to_vec();
    assert_eq!(function.active(), sorted(expected));
}

#[tokio::test(start_paused = true)]
async fn untagged_units_are_archived_whole_and_can_be_restored() {
    let function = Function::with_untagged("archive", &[]).await;
    let images = function.index("latest", 60.0);
    let newer = function.move_tag("latest");
    function.sweep().await;
    assert_eq!(function.with_status("ARCHIVED"), sorted(images.to_vec()));
    let alert = function.alert();
    let command = alert["remedies"][0]["command"].as_str().unwrap();
    assert!(images.iter().all(|image| command.contains(image)), "{command}");
    for image in &images {
        let restore = json!({
            "repositoryName": DEPLOYMENTS,
            "imageId": {"imageDigest": image},
            "targetStorageClass": "STANDARD",
        });
        function.aws.by_hand("UpdateImageStorageClass", &restore).unwrap();
    }
    function.aws.advance(Duration::from_secs(3_600));
    // A person who restored the images has some days to add a tag.
    assert_eq!(function.sweep().await["planned"], 0);
    assert_eq!(function.active(), sorted([&images[..], &[newer]].concat()));
}

#[tokio::test(start_paused = true)]
async fn untagged_images_are_only_reported_if_the_policy_says_report() {
    // The policy reports the whole cleanup.
    let function = Function::new("report").await;
    let old = function.push("", 60.0);
    let answer = function.sweep().await;
    assert_eq!(json!([answer["planned"], answer["removed"]]), json!([1, 0]));
    assert_eq!(answer["removals"][0]["decision"], "report");
    assert_eq!(function.reported().await, Some(ReportedPlan { images: 1, bytes: 1_000_000 }));
    assert_eq!(function.status(&old), Some(Status::Active));

    // The policy reports only untagged images. The audit publishes them once.
    let function = Function::with_untagged("report", &[]).await;
    let old = function.push("", 60.0);
    assert_eq!(function.sweep().await["planned"], 0);
    let alerts = function.alerts();
    let deviations = alerts.iter().filter(|alert| alert["kind"] == "self-audit");
    let deviations: Vec<&Value> =
        deviations.flat_map(|alert| alert["details"]["deviations"].as_array().unwrap()).collect();
    let untagged = deviations.iter().find(|deviation| deviation["rule"] == "untagged").unwrap();
    expect!["images have had no tag for more than 3 days, and with Untagged=report they are only reported; the oldest: sha256:…"].assert_eq(&masked(untagged["text"].as_str().unwrap()));
    for _ in 0..5 {
        function.next_day();
        function.sweep().await;
        assert_eq!(function.alerts(), Vec::<Value>::new());
    }
    assert_eq!(function.status(&old), Some(Status::Active));
}

/// ECR returns no manifest of an archived index, so no manifest shows that its images are needed.
#[tokio::test(start_paused = true)]
async fn the_images_of_an_index_that_a_person_archived_are_not_deleted_as_untagged() {
    let function = Function::new("archive").await;
    let [index, one, other, _] = function.index("a-v1.0.0", 60.0);
    function.sweep().await;
    let archive = json!({
        "repositoryName": DEPLOYMENTS,
        "imageId": {"imageDigest": index},
        "targetStorageClass": "ARCHIVE",
    });
    function.aws.by_hand("UpdateImageStorageClass", &archive).unwrap();
    for day in 0..89 {
        function.next_day();
        function.sweep().await;
        for image in [&index, &one, &other] {
            assert!(function.status(image).is_some(), "day {day}");
        }
    }
    // The native rule has archived the images before that.
    assert_eq!(function.status(&one), Some(Status::Archived));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_or_written_removes_nothing() {
    for operation in ["BatchGetItem", "BatchWriteItem"] {
        let function = Function::new("archive").await;
        let old = function.push("", 60.0);
        let denied = local_aws::Fault::Error(400, "AccessDeniedException");
        function.aws.fault(operation, 0, denied);
        let _ = function.ask(&json!({"repository": DEPLOYMENTS}), "request").await;
        assert_eq!(function.status(&old), Some(Status::Active), "{operation}");
    }
}

#[tokio::test]
async fn a_record_can_hold_all_images_of_a_repository() {
    let function = Function::new("archive").await;
    let images: Vec<String> = (0..3_000).map(|_| function.push("", 1.0)).collect();
    function.sweep().await;
    let repository = DEPLOYMENTS.parse().unwrap();
    let recorded = function.ledger().sightings(&repository, function.now()).await.unwrap();
    let record = recorded.earlier.unwrap().untagged;
    let pushed = Some(function.now() - chrono::Duration::days(1));
    for image in &images {
        assert_eq!(record.get(prefix_of(&image.parse().unwrap())), pushed);
    }
    assert_eq!(record.iter().count(), images.len());
}
