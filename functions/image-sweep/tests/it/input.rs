//! Tests which requests the function accepts, refuses and ignores.

use expect_test::expect;
use local_aws::world;
use serde_json::{Value, json};

use crate::{DEPLOYMENTS, Function, event};

#[tokio::test]
async fn every_example_event_is_handled() {
    let names: Vec<String> = world::events("image-sweep").into_keys().collect();
    assert_eq!(names, ["explain", "pushed", "read", "scheduled"]);
    let function = Function::new("archive").await;
    function.push("myapp-v1.0.0", 400.0);
    function.push("myapp-v1.1.0", 300.0);
    function.push("myapp-v1.2.0", 200.0);
    let read = function.ask(&event("read"), "read").await.unwrap();
    assert_eq!((&read["planned"], &read["mode"]), (&json!(1), &json!("archive")));
    let explained = function.ask(&event("explain"), "explain").await.unwrap();
    expect!["number 3 of 3 of myapp (the newest 2 are kept)"]
        .assert_eq(explained["reason"].as_str().unwrap());
    assert_eq!(function.ask(&event("pushed"), "pushed").await.unwrap()["removed"], 1);
    assert_eq!(function.ask(&event("scheduled"), "scheduled").await.unwrap()["planned"], 0);
}

#[tokio::test]
async fn an_invalid_request_is_an_error_that_names_the_expected_value() {
    let function = Function::new("archive").await;
    function.calls();
    let mut other = event("pushed");
    other["detail-type"] = "ECR Image Scan".into();
    let mut errors = String::new();
    for payload in [
        json!("sweep"),
        json!({}),
        json!({"repository": "Deployments"}),
        json!({"repository": DEPLOYMENTS, "mod": "report"}),
        json!({"repository": DEPLOYMENTS, "mode": "delete"}),
        json!({"repository": DEPLOYMENTS, "confirm": "0123456789abcdef"}),
        json!({"repository": "other"}),
        json!({"repository": 1}),
        other,
    ] {
        let error = function.ask(&payload, "request").await.unwrap_err();
        errors += &format!("{error:#}\n");
    }
    expect![[r#"
        the event: expected an object, such as {"repository": "deployments", "mode": "report"}
        the event: missing field `repository`
        the event: repository: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Deployments"
        the event: mod: unknown field `mod`, expected one of `repository`, `mode`, `image`
        the event: mode: expected report, or no mode to sweep as the policy says, got "delete"
        the event: confirm: unknown field `confirm`, expected one of `repository`, `mode`, `image`
        other is not a governed repository; the governed repositories are: infrastructure, deployments
        the event: repository: invalid type: integer `1`, expected a string
        the event: detail-type: expected ECR Image Action, got "ECR Image Scan"
    "#]].assert_eq(&errors);
    assert_eq!(function.calls(), [""; 0]);
}

#[tokio::test]
async fn an_event_other_than_a_push_to_a_governed_repository_costs_no_call() {
    let function = Function::new("archive").await;
    function.calls();
    for (field, value) in
        [("action-type", "DELETE"), ("result", "FAILURE"), ("repository-name", "other")]
    {
        let mut payload = event("pushed");
        payload["detail"][field] = value.into();
        assert_eq!(function.ask(&payload, "request").await.unwrap(), Value::Null);
    }
    assert_eq!(function.calls(), [""; 0]);
}
