//! Tests invalid events, and events that the function ignores.

use expect_test::{Expect, expect};
use local_aws::world;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Function, event};

/// Handles every file of the events folder with policies that only report. Only a push to a repository without
/// a rule publishes an alert.
#[tokio::test]
async fn every_example_event_is_handled() {
    let mut published = String::new();
    for (name, event) in world::events("image-push") {
        let function = Function::with_unmatched("report", "report").await;
        // ECR does not know the images of these files, which would be an error for a younger event.
        let later = time_of(&event) + chrono::TimeDelta::minutes(3);
        image_push::handle(&function.context, &event, "request", later).await.unwrap();
        let alerts = function.alerts();
        let kinds: Vec<String> = alerts.iter().map(|alert| format!(" {}", alert["kind"])).collect();
        published += &format!("{name}:{}", kinds.concat());
        if let Some(repository) = event["detail"]["repository-name"].as_str() {
            for violation in function.report_about(repository, later).await.examples {
                published += &format!(" {} {}", violation.tag, violation.reason);
            }
        }
        published += "\n";
    }
    expect![[r#"
        conforming:
        forbidden: litellm-v0.0.0 is forbidden by *-v0.0.0
        index:
        near-miss: litellm-1.80.5 does not match {component}-v{semver}
        quarantine-echo:
        replicated:
        reported: mcp_github_latest does not match {component}-v{semver} or {component}-{channel} or {component}-{sha}
        signature:
        unmanaged-repository: "repository-violation"
        untagged-child:
    "#]]
    .assert_eq(&published);
}

fn time_of(event: &Value) -> chrono::DateTime<chrono::Utc> {
    event["time"].as_str().unwrap().parse().unwrap()
}

/// The event with this value at the pointer. A null removes the field.
fn with(pointer: &str, value: Value) -> Value {
    let mut event = event("near-miss");
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let object = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(name),
        value => object.insert(name.to_owned(), value),
    };
    event
}

async fn check(event: Value, expected: Expect) {
    let function = Function::new("quarantine").await;
    let error = function.handle(&event, "request").await.unwrap_err();
    expected.assert_eq(&format!("{error:#}"));
    assert_eq!(function.calls(), [""; 0], "{event:#}");
}

#[tokio::test]
async fn an_invalid_event_is_an_error_that_names_the_field_and_makes_no_call() {
    check(json!([1]), expect!["the event: expected an EventBridge event, which is a JSON object"])
        .await;
    check(
        json!("text"),
        expect!["the event: expected an EventBridge event, which is a JSON object"],
    )
    .await;
    check(json!({}), expect!["the event: missing field `detail-type`"]).await;
    check(
        with("/detail-type", "ECR Image Scan".into()),
        expect![[r#"the event: detail-type: expected ECR Image Action, got "ECR Image Scan""#]],
    )
    .await;
    check(
        with("/detail", json!([])),
        expect!["the event: detail: invalid length 0, expected struct Detail with 6 elements"],
    )
    .await;
    check(with("/id", Value::Null), expect!["the event: id: this required field is missing"]).await;
    check(
        with("/time", "yesterday".into()),
        expect!["the event: time: input contains invalid characters"],
    )
    .await;
    check(
        with("/region", json!(5)),
        expect!["the event: region: invalid type: integer `5`, expected a string"],
    )
    .await;
    check(
        with("/detail/image-digest", Value::Null),
        expect!["the event: detail.image-digest: this required field is missing"],
    )
    .await;
    check(with("/detail/image-digest", "sha256:0a".into()), expect![[r#"the event: detail.image-digest: expected sha256: and 64 lower-case hexadecimal digits, got "sha256:0a""#]]).await;
    check(
        with("/detail/image-digest", json!({"a": 1})),
        expect!["the event: detail.image-digest: invalid type: map, expected a string"],
    )
    .await;
    check(with("/detail/repository-name", "Infra structure".into()), expect![[r#"the event: detail.repository-name: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Infra structure""#]]).await;
    check(
        with("/detail/repository-name", Value::Null),
        expect!["the event: detail.repository-name: this required field is missing"],
    )
    .await;
    check(with("/detail/image-tag", "a:b".into()), expect![[r#"the event: detail.image-tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-', got "a:b""#]]).await;
    check(with("/detail/image-tag", "x".repeat(1_000).into()), expect![[r#"the event: detail.image-tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-', got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#]]).await;
    check(
        with("/detail/image-tag", json!(1)),
        expect!["the event: detail.image-tag: invalid type: integer `1`, expected a string"],
    )
    .await;
}

#[tokio::test]
async fn an_event_other_than_a_successful_push_into_a_governed_repository_is_ignored() {
    let function = Function::new("quarantine").await;
    function.queue_sweeps().await;
    for event in [
        with("/detail/action-type", "DELETE".into()),
        with("/detail/action-type", "UPDATE_STORAGE_CLASS".into()),
        with("/detail/action-type", Value::Null),
        with("/detail/result", "FAILURE".into()),
        with("/detail/repository-name", "scratch".into()),
        with("/detail/image-tag", Value::Null),
    ] {
        let mut event = event;
        event["time"] = function.now().to_rfc3339().into();
        function.handle(&event, "request").await.unwrap();
        assert_eq!(function.calls(), [""; 0], "{event:#}");
    }
}

/// Any JSON with the field names of an event.
fn anything() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "detail",
        "detail-type",
        "id",
        "time",
        "account",
        "region",
        "source",
        "result",
        "action-type",
        "image-tag",
        "image-digest",
        "repository-name",
        "manifest-media-type",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        prop::sample::select(vec![
            "ECR Image Action",
            "PUSH",
            "SUCCESS",
            "infrastructure",
            "2026-11-24T09:30:02Z"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 13, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..13).prop_map(|pairs| {
                let fields = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_event_causes_a_panic(anything in anything(), name in ".{0,20}", field in 0..8_usize) {
        let _ = warden_aws::push::read_push(&anything);
        // A valid event with one field replaced.
        let pointers = ["/id", "/time", "/detail", "/detail/image-tag", "/detail/image-digest",
            "/detail/repository-name", "/detail/manifest-media-type", "/detail/result"];
        let _ = warden_aws::push::read_push(&with(pointers[field], anything));
        let _ = warden_aws::push::read_push(&with(pointers[field], name.into()));
    }
}
