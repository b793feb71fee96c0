//! Tests how a plan is applied, and the outcome of calls that fail.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::json;
use warden_alerts::ReportedPlan;

use crate::{DAY, DEPLOYMENTS, Function, NOW, QUARANTINE, changes, count, digests, sorted};

// Case P10 in docs/contributing/prior-art.md.
#[tokio::test]
async fn reading_and_reporting_change_nothing() {
    let function = Function::new("report").await;
    function.index("a-v0.1.0", 200.0);
    let images = function.versions("a", 5);
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(7), &json!(0)));
    let removals = answer["removals"].as_array().unwrap();
    assert!(removals.iter().all(|removal| removal["decision"] == "report"));
    assert!(function.alerts().is_empty() && function.bus_events().is_empty());
    let bytes = answer["bytes"].as_u64().unwrap();
    assert_eq!(function.reported().await, Some(ReportedPlan { images: 7, bytes }));
    assert_eq!(changes(&function.calls()), [""; 0]);
    assert!(images.iter().all(|image| function.active().contains(image)));
    // Reading the plan of a policy that archives changes nothing and publishes nothing.
    let function = Function::new("archive").await;
    function.versions("a", 5);
    function.calls();
    assert_eq!(function.read().await["planned"], 3);
    let mut calls = function.calls();
    calls.sort();
    let expected = [
        "BatchGetItem",
        "BatchGetItem",
        "BatchGetItem",
        "DescribeImages",
        "DescribeRegistry",
        "DescribeRepositories",
        "GetLifecyclePolicy",
        "ListTagsForResource",
    ];
    assert_eq!(calls, expected);
    assert!(function.alerts().is_empty());
}

// Case P4 in docs/contributing/prior-art.md.
#[tokio::test]
async fn all_images_are_kept_if_there_are_fewer_than_the_keep_count() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 2);
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["kept"]), (&json!(0), &json!(2)));
    assert_eq!(function.active(), sorted(images));
    assert!(function.alerts().is_empty());
}

#[tokio::test]
async fn one_call_deletes_a_hundred_images_or_archives_one_image() {
    let keep = [("*.Retention.MaxRemovePercent", "100"), ("DeploymentsLifecycleTagCount", "1")];
    let with = |enforcement| [&keep[..], &[("*.Retention.Enforcement", enforcement)]].concat();
    let function = Function::with(&with("delete")).await;
    function.versions("a", 251);
    assert_eq!(function.sweep().await["removed"], 250);
    assert_eq!(count(&function.calls(), "BatchDeleteImage"), 3);
    let function = Function::with(&with("archive")).await;
    function.versions("a", 31);
    assert_eq!(function.sweep().await["removed"], 30);
    assert_eq!(count(&function.calls(), "UpdateImageStorageClass"), 30);
    assert_eq!((function.with_status("ARCHIVED").len(), function.active().len()), (30, 1));
}

// Case P7 in docs/contributing/prior-art.md.
#[tokio::test]
async fn each_image_that_ecr_does_not_delete_is_published_as_failed() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 4);
    // An archived index, whose manifest cannot be read, needs one of these images.
    {
        let mut state = function.aws.state();
        let at = NOW - 300.0 * DAY;
        let index = state.ecr().push_index(DEPLOYMENTS, &[&images[0]], &["b-v1.0.0"], at).unwrap();
        state.ecr().image(DEPLOYMENTS, &index).unwrap().status =
            local_aws::ecr::image::Status::Archived;
        state.ecr().events.clear();
    }
    let answer = function.sweep().await;
    assert_eq!((&answer["removed"], &answer["failed"]), (&json!(1), &json!(1)));
    assert_eq!(digests(&answer["removals"]), [images[1].clone()]);
    let alert = &function.alerts()[0];
    let failed = &alert["details"]["failed"][0];
    assert_eq!(failed["digest"], images[0].as_str());
    expect!["sha256:… ImageReferencedByManifestList: Requested image referenced by manifest list: [sha256:…]"].assert_eq(&masked(failed["error"].as_str().unwrap()));
    assert_eq!((&alert["details"]["removed"], &alert["severity"]), (&json!(1), &json!("MEDIUM")));
    // The same alert is not published again.
    assert_eq!(function.sweep().await["failed"], 1);
    function.sweep().await;
    assert_eq!(function.alerts().len(), 1);
}

#[tokio::test]
async fn an_image_that_is_removed_already_is_not_a_failure() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        function.versions("a", 5);
        // The response to the first call is lost, so the SDK calls again.
        function.aws.fault("UpdateImageStorageClass", 1, Fault::ResetAfter);
        function.aws.fault("BatchDeleteImage", 1, Fault::ResetAfter);
        let answer = function.sweep().await;
        assert_eq!((&answer["removed"], &answer["failed"]), (&json!(3), &json!(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_run_makes_no_further_removals() {
    for (enforcement, operation) in
        [("archive", "UpdateImageStorageClass"), ("delete", "BatchDeleteImage")]
    {
        let percent =
            [("*.Retention.Enforcement", enforcement), ("*.Retention.MaxRemovePercent", "100")];
        let function = Function::with(&percent).await;
        let images = function.versions("a", 302);
        function.aws.fault(operation, 0, Fault::Error(400, "ThrottlingException"));
        function.calls();
        let answer = function.sweep().await;
        // Eight calls run at the same time, and the SDK makes three attempts for each.
        assert!(count(&function.calls(), operation) <= 8 * 3);
        let (failed, left) = (answer["failed"].as_u64().unwrap(), answer["left"].as_u64().unwrap());
        assert!(answer["removed"] == 0 && failed + left == 300 && left >= 200, "{failed} {left}");
        let alert = &function.alerts()[0];
        assert_eq!((&alert["kind"], &alert["details"]["left"]), (&json!("cleanup"), &json!(left)));
        assert_eq!(function.active().len(), images.len());
        function.aws.heal();
        assert_eq!(function.sweep().await["removed"], 300);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_before_its_deadline_and_the_next_run_continues() {
    for (enforcement, operation) in
        [("archive", "UpdateImageStorageClass"), ("delete", "BatchDeleteImage")]
    {
        let percent =
            [("*.Retention.Enforcement", enforcement), ("*.Retention.MaxRemovePercent", "100")];
        let function = Function::with(&percent).await;
        function.versions("a", 402);
        function.aws.fault(operation, 0, Fault::Slow(Duration::from_secs(5)));
        let order = json!({"repository": DEPLOYMENTS});
        let begun = tokio::time::Instant::now();
        let answer = function.ask_within(&order, "request", Duration::from_secs(75)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(75));
        let (removed, left) =
            (answer["removed"].as_u64().unwrap(), answer["left"].as_u64().unwrap());
        assert!(removed > 0 && left > 0 && removed + left == 400, "{removed} {left}");
        assert_eq!(function.alerts()[0]["details"]["left"], left);
        function.aws.heal();
        assert_eq!(function.sweep().await["removed"], left);
        assert_eq!(function.sweep().await["planned"], 0);
    }
}

#[tokio::test]
async fn an_index_is_archived_before_its_images_if_ecr_refuses_the_other_order() {
    let function = Function::new("archive").await;
    let old = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    // The first call archives the signature. ECR refuses both images until the index is archived.
    for nth in 2..4 {
        let refused = "ImageStorageClassUpdateNotSupportedException";
        function.aws.fault("UpdateImageStorageClass", nth, Fault::Error(400, refused));
    }
    let answer = function.sweep().await;
    assert_eq!((&answer["removed"], &answer["failed"]), (&json!(4), &json!(0)));
    assert_eq!(function.with_status("ARCHIVED"), sorted(old.to_vec()));
    // If ECR refuses every order, the index and its images stay active.
    let function = Function::new("archive").await;
    let [index, ..] = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    function.aws.fault("UpdateImageStorageClass", 0, Fault::Error(500, "ServerException"));
    let answer = function.sweep().await;
    assert!(answer["removed"] == 0 && answer["failed"] == 1 && answer["left"] == 3, "{answer}");
    assert!(function.active().contains(&index));
    // If ECR refuses a part and then the index, the run does not try the part again.
    let function = Function::new("archive").await;
    let [index, one, other, _] = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    for nth in 2..5 {
        let refused = "ImageStorageClassUpdateNotSupportedException";
        function.aws.fault("UpdateImageStorageClass", nth, Fault::Error(400, refused));
    }
    let answer = function.sweep().await;
    assert!(answer["removed"] == 1 && answer["failed"] == 1 && answer["left"] == 2, "{answer}");
    assert!([index, one, other].iter().all(|image| function.active().contains(image)));
}

/// A deployment is rolled back after the run has read the images and before it removes them.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_tagged_or_pulled_after_the_plan_stays() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        let images = function.versions("a", 5);
        // The second UpdateItem writes the note of the run, before the first removal.
        function.aws.fault("UpdateItem", 2, Fault::Slow(Duration::from_secs(20)));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let mut state = function.aws.state();
            let now = state.now();
            state.ecr().image(DEPLOYMENTS, &images[0]).unwrap().pulled_at = Some(now);
            drop(state);
            function.tag(DEPLOYMENTS, &images[1], "a-prod");
        };
        let (answer, ()) = tokio::join!(function.sweep(), meanwhile);
        assert_eq!((&answer["removed"], &answer["left"]), (&json!(1), &json!(2)), "{answer}");
        assert!(function.active().contains(&images[0]) && function.active().contains(&images[1]));
        let answer = function.sweep().await;
        assert_eq!((&answer["planned"], &answer["left"]), (&json!(0), &json!(0)), "{answer}");
    }
}

/// Two old indexes share an image, and one of them is pulled after the plan was made.
#[tokio::test(start_paused = true)]
async fn an_image_that_is_shared_with_a_unit_that_stays_is_not_removed() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        let shared = function.push("", 90.0);
        let index = |tag: &str, days: f64| {
            let mut state = function.aws.state();
            let at = NOW - days * DAY;
            state.ecr().push_index(DEPLOYMENTS, &[&shared], &[tag], at).unwrap()
        };
        let (older, newer) = (index("a-v0.1.0", 90.0), index("a-v0.2.0", 80.0));
        function.push("a-v1.0.0", 20.0);
        function.push("a-v1.1.0", 10.0);
        function.aws.fault("UpdateItem", 2, Fault::Slow(Duration::from_secs(20)));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let mut state = function.aws.state();
            let now = state.now();
            state.ecr().image(DEPLOYMENTS, &older).unwrap().pulled_at = Some(now);
        };
        let (answer, ()) = tokio::join!(function.sweep(), meanwhile);
        assert_eq!((&answer["planned"], &answer["removed"]), (&json!(3), &json!(0)), "{answer}");
        assert!([&older, &shared].iter().all(|image| function.active().contains(image)));
        // The next run removes the other index without the shared image.
        let answer = function.sweep().await;
        assert_eq!(digests(&answer["removals"]), [newer]);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_if_the_images_cannot_be_read_again() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 5);
    function.aws.fault("DescribeImages", 2, Fault::Error(400, "AccessDeniedException"));
    let answer = function.sweep().await;
    assert_eq!(
        json!([answer["removed"], answer["failed"], answer["left"]]),
        json!([0, 1, 2]),
        "{answer}"
    );
    assert_eq!(function.active(), sorted(images));
    assert_eq!(function.alerts()[0]["severity"], "MEDIUM");
}

#[tokio::test]
async fn no_tag_is_removed_if_tags_have_become_mutable() {
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    function.quarantine(&image);
    let mutable = json!({"repositoryName": DEPLOYMENTS, "imageTagMutability": "MUTABLE"});
    function.aws.by_hand("PutImageTagMutability", &mutable).unwrap();
    function.calls();
    let answer = function.sweep().await;
    assert_eq!((&answer["removals"], &answer["left"]), (&json!([]), &json!(0)));
    assert_eq!(changes(&function.calls()), [""; 0]);
}

#[tokio::test]
async fn no_tag_is_removed_if_tags_become_mutable_after_the_plan() {
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    function.quarantine(&image);
    // The second read of the repository cannot say whether the tag can move.
    function.aws.fault("DescribeRepositories", 2, Fault::Error(400, "ServerException"));
    function.calls();
    assert_eq!(function.sweep().await["left"], 1);
    assert_eq!(changes(&function.calls()), [""; 0]);
}

// Case B8 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_quarantine_tag_stays_beside_a_good_tag_that_can_move() {
    let parameters = [
        ("applications.Tags.Enforcement", "quarantine"),
        ("DeploymentsTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
        ("DeploymentsMutabilityExclusions", "sha256-*,*-prod"),
    ];
    let function = Function::with(&parameters).await;
    let channel = function.push("a-prod", 90.0);
    function.quarantine(&channel);
    let version = function.push("b-v1.0.0", 90.0);
    let tag = function.quarantine(&version);
    let answer = function.sweep().await;
    assert_eq!(answer["removals"].as_array().unwrap().len(), 1);
    assert_eq!(answer["removals"][0]["tags"], json!([tag]));
    let tags =
        |digest: &str| function.aws.state().ecr().image(DEPLOYMENTS, digest).unwrap().tags.len();
    assert_eq!((tags(&channel), tags(&version)), (2, 1));
    // The plan that a person reads is the same.
    assert_eq!(function.read().await["removals"], json!([]));
}

// Case P41 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_quarantine_tag_beside_a_good_tag_is_removed_and_the_image_stays() {
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    let tag = function.quarantine(&image);
    let tags = || {
        let image = json!({"imageDigest": image});
        let describe = json!({"repositoryName": DEPLOYMENTS, "imageIds": [image]});
        let described = function.aws.by_hand("DescribeImages", &describe).unwrap();
        described["imageDetails"][0]["imageTags"].clone()
    };
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(0), &json!(0)));
    assert_eq!(answer["removals"][0]["decision"], "untag");
    assert_eq!(tags(), json!(["a-v1.0.0"]));
    let alert = &function.alerts()[0];
    assert_eq!(alert["details"]["images"][0]["tags"], json!([tag]));
    // If the image cannot be read again, the tag stays.
    function.quarantine(&image);
    function.quarantine(&function.push("b-v1.0.0", 90.0));
    function.aws.fault("DescribeImages", 2, Fault::Error(400, "AccessDeniedException"));
    let answer = function.sweep().await;
    assert_eq!((&answer["failed"], function.active().len()), (&json!(1), 2));
}

#[tokio::test]
async fn a_quarantine_tag_that_has_become_the_last_tag_stays() {
    use tokio::sync::oneshot;
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    function.quarantine(&image);
    // The run is delayed after it listed the tags. Meanwhile somebody removes the good tag.
    function.aws.fault("UpdateItem", 2, Fault::Slow(Duration::from_millis(200)));
    let (done, wait) = oneshot::channel::<()>();
    let sweep = async {
        let answer = function.sweep().await;
        let _ = done.send(());
        answer
    };
    let removal = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let ids = json!([{"imageTag": "a-v1.0.0"}]);
        let delete = json!({"repositoryName": DEPLOYMENTS, "imageIds": ids});
        function.aws.by_hand("BatchDeleteImage", &delete).unwrap();
        let _ = wait.await;
    };
    let (answer, ()) = tokio::join!(sweep, removal);
    assert_eq!(answer["removals"], json!([]), "{answer}");
    assert_eq!(function.active(), [image]);
}
