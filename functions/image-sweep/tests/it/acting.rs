//! How a plan is carried out, and the outcome of steps that fail.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::json;

use crate::{DAY, DEPLOYMENTS, Function, NOW, QUARANTINE, changes, count, digests, sorted};

// Case P10 in docs/contributing/prior-art.md.
#[tokio::test]
async fn reading_and_reporting_change_nothing() {
    let function = Function::new("report").await;
    function.index("a-v0.1.0", 200.0);
    let images = function.versions("a", 5);
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(7), &json!(0)));
    assert!(answer["removals"].as_array().unwrap().iter().all(|it| it["decision"] == "report"));
    let details = &function.alert()["details"];
    assert_eq!((&details["mode"], &details["removed"]), (&json!("report"), &json!(0)));
    assert_eq!(digests(&details["images"]).len(), 7);
    assert_eq!(changes(&function.calls()), [""; 0]);
    assert!(images.iter().all(|image| function.active().contains(image)));
    // Nor does reading where the policy archives; it does not even tell.
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
async fn fewer_than_are_kept_are_all_kept() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 2);
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["kept"]), (&json!(0), &json!(2)));
    assert_eq!(function.active(), sorted(images));
    assert!(function.alerts().is_empty());
}

#[tokio::test]
async fn a_hundred_go_at_once_and_archiving_is_one_call_each() {
    let keep = [("MaxRemovePercent", "100"), ("DeploymentsLifecycleTagCount", "1")];
    let with = |enforcement| [&keep[..], &[("CleanupEnforcement", enforcement)]].concat();
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
async fn what_ecr_does_not_delete_is_told_one_by_one_and_is_not_removed() {
    let function = Function::new("delete").await;
    let images = function.versions("a", 4);
    // An index in the archive, whose images nobody knows, needs one of them.
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
async fn what_is_gone_or_archived_meanwhile_is_no_failure() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        function.versions("a", 5);
        // The answer to the first call is lost, so that it is made again.
        function.aws.fault("UpdateImageStorageClass", 1, Fault::ResetAfter);
        function.aws.fault("BatchDeleteImage", 1, Fault::ResetAfter);
        let answer = function.sweep().await;
        assert_eq!((&answer["removed"], &answer["failed"]), (&json!(3), &json!(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_is_not_asked_for_more() {
    for (enforcement, operation) in
        [("archive", "UpdateImageStorageClass"), ("delete", "BatchDeleteImage")]
    {
        let percent = [("CleanupEnforcement", enforcement), ("MaxRemovePercent", "100")];
        let function = Function::with(&percent).await;
        let images = function.versions("a", 302);
        function.aws.fault(operation, 0, Fault::Error(400, "ThrottlingException"));
        function.calls();
        let answer = function.sweep().await;
        // As many as were under way, each with the attempts of the SDK.
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
async fn it_stops_before_its_deadline_and_the_next_run_goes_on() {
    for (enforcement, operation) in
        [("archive", "UpdateImageStorageClass"), ("delete", "BatchDeleteImage")]
    {
        let percent = [("CleanupEnforcement", enforcement), ("MaxRemovePercent", "100")];
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
async fn where_ecr_wants_the_index_first_it_gets_it_first() {
    let function = Function::new("archive").await;
    let old = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    // The signature, both images, and none after the index.
    for nth in 2..4 {
        let refused = "ImageStorageClassUpdateNotSupportedException";
        function.aws.fault("UpdateImageStorageClass", nth, Fault::Error(400, refused));
    }
    let answer = function.sweep().await;
    assert_eq!((&answer["removed"], &answer["failed"]), (&json!(4), &json!(0)));
    assert_eq!(function.with_status("ARCHIVED"), sorted(old.to_vec()));
    // And where it wants neither, the index is not left without its images.
    let function = Function::new("archive").await;
    let [index, ..] = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    function.aws.fault("UpdateImageStorageClass", 0, Fault::Error(500, "ServerException"));
    let answer = function.sweep().await;
    assert!(answer["removed"] == 0 && answer["failed"] == 1 && answer["left"] == 3, "{answer}");
    assert!(function.active().contains(&index));
    // And where it refuses a part, and then the index, the part is not asked for again.
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

/// A rollback, while the run has looked and not yet acted.
#[tokio::test(start_paused = true)]
async fn what_is_tagged_or_pulled_since_the_plan_was_made_stays_until_the_next() {
    for enforcement in ["archive", "delete"] {
        let function = Function::new(enforcement).await;
        let images = function.versions("a", 5);
        // What is about to be done is noted before.
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

/// Two old indexes of the same image, and one of them is promoted meanwhile.
#[tokio::test(start_paused = true)]
async fn what_is_shared_with_something_that_stays_after_all_stays_with_it() {
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
        // The other one goes with the next run, without what they share.
        let answer = function.sweep().await;
        assert_eq!(digests(&answer["removals"]), [newer]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_looked_at_again_nothing_goes_and_that_is_told() {
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
async fn no_tag_is_taken_away_where_tags_can_be_moved_by_now() {
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    function.quarantine(&image);
    let mutable = json!({"repositoryName": DEPLOYMENTS, "imageTagMutability": "MUTABLE"});
    function.aws.by_hand("PutImageTagMutability", &mutable).unwrap();
    function.calls();
    assert_eq!(function.sweep().await["left"], 1);
    assert_eq!(changes(&function.calls()), [""; 0]);
}

// Case P41 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_quarantine_tag_beside_a_good_one_goes_alone_after_a_look() {
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
    // Where the look fails the tag stays.
    function.quarantine(&image);
    function.quarantine(&function.push("b-v1.0.0", 90.0));
    function.aws.fault("DescribeImages", 2, Fault::Error(400, "AccessDeniedException"));
    let answer = function.sweep().await;
    assert_eq!((&answer["failed"], function.active().len()), (&json!(1), 2));
}

#[tokio::test]
async fn a_tag_that_is_the_last_one_by_now_stays() {
    use tokio::sync::oneshot;
    let function = Function::with(&QUARANTINE).await;
    let image = function.push("a-v1.0.0", 90.0);
    function.quarantine(&image);
    // The list takes its time; meanwhile the good tag goes.
    function.aws.fault("UpdateItem", 2, Fault::Slow(Duration::from_millis(200)));
    let (done, wait) = oneshot::channel::<()>();
    let sweep = async {
        let answer = function.sweep().await;
        let _ = done.send(());
        answer
    };
    let away = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let ids = json!([{"imageTag": "a-v1.0.0"}]);
        let delete = json!({"repositoryName": DEPLOYMENTS, "imageIds": ids});
        function.aws.by_hand("BatchDeleteImage", &delete).unwrap();
        let _ = wait.await;
    };
    let (answer, ()) = tokio::join!(sweep, away);
    assert_eq!(answer["removals"], json!([]), "{answer}");
    assert_eq!(function.active(), [image]);
}
