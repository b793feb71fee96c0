//! Tests which alerts are published, and how often.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::{Value, json};
use warden_alerts::ReportedPlan;

use crate::{DEPLOYMENTS, Function, digests, kinds, sorted};

#[tokio::test]
async fn removals_are_published_once_with_their_bytes_and_a_command_to_restore_them() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 5);
    let answer = function.sweep().await;
    assert_eq!((&answer["removed"], &answer["bytes"]), (&json!(3), &json!(3_000_000)));
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    let details = &alert["details"];
    assert_eq!(digests(&details["images"]), sorted(images[..3].to_vec()));
    assert_eq!(
        json!([details["examined"], details["kept"], details["removed"], details["bytes"]]),
        json!([5, 2, 3, 3_000_000])
    );
    assert_eq!((&details["mode"], &details["stopped"]), (&json!("archive"), &json!(null)));
    let command = alert["remedies"][0]["command"].as_str().unwrap();
    assert!(images[..3].iter().all(|image| command.contains(image)), "{command}");
    assert_eq!(
        (&alert["account"], &alert["region"]),
        (&json!("123456789012"), &json!("us-east-1"))
    );
    assert_eq!(alert["source"], json!({"id": "request", "time": "2027-01-15T08:00:00Z"}));
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["examined"]), (&json!(0), &json!(5)));
    assert!(function.alerts().is_empty());
}

#[tokio::test]
async fn a_plan_of_a_rule_that_reports_is_in_the_ledger_and_publishes_no_alert() {
    let mut function = Function::new("report").await;
    assert_eq!(function.reported().await, None);
    // The guard against removing too many images does not stop a report.
    function.versions("a", 40);
    let answer = function.sweep().await;
    assert_eq!((&answer["guard"], &answer["stopped"]), (&json!(null), &json!(null)));
    assert_eq!(function.reported().await, Some(ReportedPlan { images: 38, bytes: 38_000_000 }));
    function.push("a-v9.0.0", 50.0);
    function.sweep().await;
    assert_eq!(function.reported().await, Some(ReportedPlan { images: 39, bytes: 39_000_000 }));
    assert!(function.alerts().is_empty());
    // A rule that enforces publishes its stop, and has no plan for the digest.
    function.change_policy("*.Retention.Enforcement", "archive").await;
    function.sweep().await;
    assert!(kinds(&function.alerts()).contains(&"cleanup"));
    assert_eq!(function.reported().await, None);
}

#[tokio::test]
async fn a_sweep_that_cannot_read_something_publishes_that_although_the_rule_reports() {
    let function =
        Function::with(&[("*.Retention.Enforcement", "report"), ("InUseSources", "inspector")])
            .await;
    function.versions("a", 5);
    // Inspector does not scan the registry.
    function.sweep().await;
    assert_eq!(kinds(&function.alerts()), ["cleanup"]);
    assert_eq!(function.reported().await, None);
    // Inspector reports no running image.
    function.enable_enhanced_scanning();
    let answer = function.sweep().await;
    assert_eq!(answer["guard"], "nothing-in-use");
    assert_eq!(kinds(&function.alerts()), ["cleanup"]);
    assert_eq!(function.reported().await, None);
}

// Case P16 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_plan_above_the_maximum_percentage_waits_for_a_confirmation() {
    let function = Function::new("archive").await;
    let images = function.versions("a", 40);
    let answer = function.sweep().await;
    assert_eq!((&answer["planned"], &answer["removed"]), (&json!(38), &json!(0)));
    expect!["38 of 40 images would be removed, and MaxRemovePercent=25 allows fewer (archived images, and untagged images of the plan, are not counted)"]
        .assert_eq(answer["stopped"].as_str().unwrap());
    let alerts = function.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!(alert["details"]["stopped"], answer["stopped"]);
    let remedies = alert["remedies"].as_array().unwrap().iter();
    let labels: Vec<&str> = remedies.map(|remedy| remedy["label"].as_str().unwrap()).collect();
    let shown = format!("{}\n{}", alert["title"].as_str().unwrap(), labels.join("\n"));
    expect![[r#"
        The cleanup of deployments was stopped
        Read the plan
        Confirm the plan, and the next sweep carries it out"#]]
    .assert_eq(&shown);
    function.sweep().await;
    assert!(function.alerts().is_empty() && function.active().len() == images.len());

    let read = function.read().await;
    assert_eq!(alert["details"]["hash"], read["hash"]);
    function.confirm(&read).await;
    let answer = function.sweep().await;
    assert_eq!((&answer["removed"], &answer["stopped"]), (&json!(38), &json!(null)));
    assert_eq!(function.active(), sorted(images[38..].to_vec()));
}

#[tokio::test]
async fn an_image_is_explained_by_its_tag_and_by_its_digest() {
    let function = Function::new("archive").await;
    let [index, one, other, signature] = function.index("a-v0.1.0", 200.0);
    function.versions("a", 2);
    let mut reasons = String::new();
    for image in ["a-v0.1.0", &index] {
        let ask = json!({"repository": DEPLOYMENTS, "image": image});
        let answer = function.ask(&ask, "by-hand").await.unwrap();
        assert_eq!(answer["decision"], "archive");
        reasons += &format!("{}\n", answer["reason"].as_str().unwrap());
        assert_eq!(answer["unit"]["image"], index.as_str());
        let parts: Vec<&str> = answer["unit"]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect();
        assert!(parts.contains(&one.as_str()) && parts.contains(&other.as_str()));
        assert_eq!(answer["unit"]["referrers"], json!([signature]));
        assert_eq!(answer["status"], "ACTIVE");
    }
    let ask = json!({"repository": DEPLOYMENTS, "image": one, "mode": "report"});
    let answer = function.ask(&ask, "by-hand").await.unwrap();
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains(&index), "{reason}");
    reasons += reason;
    expect![[r#"
        number 3 of 3 of a (the newest 2 are kept)
        number 3 of 3 of a (the newest 2 are kept)
        it is part of sha256:…: number 3 of 3 of a (the newest 2 are kept)"#]]
    .assert_eq(&masked(&reasons));
    let ask = json!({"repository": DEPLOYMENTS, "image": "nothing"});
    let answer = function.ask(&ask, "by-hand").await.unwrap();
    expect![[r#"deployments has no image "nothing": no image was pushed by that name, or the image or its tag was removed. The saved query keep-or-remove-reasons lists the images and tags that sweeps removed, and the saved query tag-violations lists the tags that enforcement removed"#]].assert_eq(answer["missing"].as_str().unwrap());
    assert!(function.alerts().is_empty() && function.aws.take_changes().is_empty());
}

#[tokio::test]
async fn a_tag_that_enforcement_removed_is_explained_by_its_quarantine_tag() {
    let function = Function::new("archive").await;
    let quarantine = |day: &str| {
        let image = function.push(&format!("a-{day}"), 1.0);
        let tag = format!("quarantine-{day}-{}-a-1.0.0", &image[7..19]);
        function.tag(DEPLOYMENTS, &image, &tag);
        (image, tag)
    };
    let _ = quarantine("20270110");
    let (digest, tag) = quarantine("20270112");
    // The digits of this tag are not those of the image, so ECR Warden did not add the tag.
    let forged = function.push("a-z", 1.0);
    function.tag(DEPLOYMENTS, &forged, "quarantine-20270113-000000000000-a-1.0.0");
    let ask = json!({"repository": DEPLOYMENTS, "image": "a-1.0.0"});
    let answer = function.ask(&ask, "by-hand").await.unwrap();
    assert_eq!(answer["digest"], *digest, "the image that was quarantined last: {answer:#}");
    assert_eq!(answer["removedTag"], "a-1.0.0");
    assert!(answer["tags"].as_array().unwrap().contains(&json!(tag)));
    let ask = json!({"repository": DEPLOYMENTS, "image": tag});
    let answer = function.ask(&ask, "by-hand").await.unwrap();
    assert_eq!((&answer["digest"], &answer["removedTag"]), (&json!(digest), &json!(null)));
}

#[tokio::test]
async fn the_largest_answer_is_shorter_than_six_megabytes() {
    let function = Function::with(&[("DeploymentsLifecycleTagCount", "1")]).await;
    {
        let mut state = function.aws.state();
        let long = "x".repeat(110);
        for nth in 0..60 {
            let tags: Vec<String> =
                (0..1_000).map(|tag| format!("a-v1.{}.{tag}-{long}", 60 - nth)).collect();
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let at = crate::NOW - f64::from(100 + nth) * crate::DAY;
            state.ecr().push_made_up(DEPLOYMENTS, &tags, at).unwrap();
        }
        state.ecr().events.clear();
    }
    let answer = function.read().await;
    assert_eq!((&answer["planned"], &answer["examined"]), (&json!(59), &json!(60)));
    let listed = answer["removals"].as_array().unwrap().len();
    assert!((10..59).contains(&listed), "{listed}");
    assert!(answer.to_string().len() < 6_000_000);
}

/// The kinds of the alerts on the topic and on the bus since the last time.
fn published(function: &Function) -> [Vec<String>; 2] {
    let kind = |kind: &Value| kind.as_str().unwrap().to_owned();
    let topic = function.alerts().iter().map(|alert| kind(&alert["kind"])).collect();
    [topic, function.bus_events().iter().map(|event| kind(&event["detail-type"])).collect()]
}

#[tokio::test]
async fn a_destination_that_fails_gets_the_alert_from_a_later_run_and_the_other_one_gets_it_once() {
    for failing in ["PutEvents", "Publish"] {
        let in_order = |mut published: [Vec<String>; 2]| {
            if failing == "Publish" {
                published.reverse();
            }
            published
        };
        for enforcement in ["archive", "delete"] {
            let function = Function::new(enforcement).await;
            function.versions("a", 3);
            let case = format!("{failing}, {enforcement}");
            let event = json!({"repository": DEPLOYMENTS});
            function.aws.fault(failing, 0, Fault::Error(403, "AccessDeniedException"));
            function.ask(&event, "request").await.unwrap_err();
            let [done, failed] = in_order(published(&function));
            assert_eq!((done, failed.len()), (vec!["cleanup".to_owned()], 0), "{case}");
            function.aws.advance(Duration::from_secs(1_800));
            function.ask(&event, "another").await.unwrap_err();
            assert!(published(&function).iter().all(Vec::is_empty), "{case}");
            function.aws.heal();
            function.aws.advance(Duration::from_secs(1_800));
            function.ask(&event, "healed").await.unwrap();
            let [done, failed] = in_order(published(&function));
            assert_eq!((done.len(), failed), (0, vec!["cleanup".to_owned()]), "{case}");
            function.ask(&event, "again").await.unwrap();
            assert!(published(&function).iter().all(Vec::is_empty), "{case}");
        }
    }
}
