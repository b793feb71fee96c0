//! Tests which requests the function accepts, refuses and ignores.

use expect_test::expect;
use local_aws::world;
use serde_json::{Value, json};

use crate::given_policy::read_policy;
use crate::{DEPLOYMENTS, Function, event};

#[tokio::test]
async fn every_example_event_is_handled() {
    let names: Vec<String> = world::events("image-sweep").into_keys().collect();
    assert_eq!(names, ["explain", "pushed", "queued", "read", "sweep"]);
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
    assert_eq!(function.ask(&event("queued"), "queued").await.unwrap()["planned"], 0);
    assert_eq!(function.ask(&event("sweep"), "sweep").await.unwrap()["planned"], 0);
}

#[tokio::test]
async fn an_invalid_request_is_an_error_that_names_the_expected_value() {
    let function = Function::new("archive").await;
    function.calls();
    let with_body = |body: &str| {
        let mut message = event("queued");
        message["Records"][0]["body"] = body.into();
        message
    };
    let policy = read_policy(&function).await.normalised();
    let [one] = [&event("queued")["Records"][0]].map(Clone::clone);
    let mut errors = String::new();
    for payload in [
        json!("sweep"),
        json!({}),
        json!({"repository": "Deployments"}),
        json!({"repository": DEPLOYMENTS, "mod": "report"}),
        json!({"repository": DEPLOYMENTS, "mode": "delete"}),
        json!({"repository": DEPLOYMENTS, "confirm": "0123456789abcdef"}),
        json!({"repository": "other"}),
        json!({"repository": DEPLOYMENTS, "policy": policy}),
        json!({"repository": DEPLOYMENTS, "image": "app-v1.0.0", "policy": policy}),
        json!({"repository": DEPLOYMENTS, "mode": "report", "image": "app-v1.0.0", "policy": policy}),
        json!({"repository": DEPLOYMENTS, "mode": "delete", "policy": policy}),
        json!({"repository": "infrastructure", "mode": "report", "policy": policy}),
        json!({"repository": DEPLOYMENTS, "mode": "report", "policy": {"Rule": "applications"}}),
        json!({"repository": DEPLOYMENTS, "mode": "report", "policy": "{}"}),
        json!({"repository": 1}),
        json!({"repository": DEPLOYMENTS, "pushed": {}}),
        with_body("sweep"),
        with_body("{}"),
        with_body(r#"{"repository": "deployments", "mode": "report"}"#),
        with_body(r#"{"repository": "deployments", "pushed": {"digest": "latest"}}"#),
        json!({"Records": []}),
        json!({"Records": [one, one]}),
    ] {
        let error = function.ask(&payload, "request").await.unwrap_err();
        errors += &format!("{error:#}\n");
    }
    expect![[r#"
        the event: expected an object, such as {"repository": "deployments", "mode": "report"}
        the event: missing field `repository`
        the event: repository: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Deployments"
        the event: mod: unknown field `mod`, expected one of `repository`, `mode`, `image`, `policy`
        the event: mode: expected report, or no mode to sweep as the policy says, got "delete"
        the event: confirm: unknown field `confirm`, expected one of `repository`, `mode`, `image`, `policy`
        no rule of the policy 2f55f201b95acbd3 governs the repository other
        the event: policy: expected only with the mode report and without an image
        the event: policy: expected only with the mode report and without an image
        the event: policy: expected only with the mode report and without an image
        the event: mode: expected report, or no mode to sweep as the policy says, got "delete"
        the event: policy: expected a policy of the repository infrastructure, got a policy of deployments
        the event: policy: invalid type: map, expected a string
        the event: policy: RepositoryName: this required property is missing; Rule: this required property is missing
        the event: repository: invalid type: integer `1`, expected a string
        the event: pushed: unknown field `pushed`, expected one of `repository`, `mode`, `image`, `policy`
        the event: Records[0].body: expected value at line 1 column 1
        the event: Records[0].body: missing field `repository`
        the event: Records[0].body.mode: unknown field `mode`, expected `repository` or `pushed`
        the event: Records[0].body.pushed.digest: expected sha256: and 64 lower-case hexadecimal digits
        the event: Records: invalid length 0, expected an array of length 1
        the event: Records: invalid length 2, expected fewer elements in array
    "#]].assert_eq(&errors);
    assert_eq!(function.calls(), [""; 0]);
}

#[tokio::test]
async fn a_message_about_a_repository_that_is_not_governed_any_more_costs_no_call() {
    let function = Function::new("archive").await;
    function.calls();
    let mut message = event("queued");
    message["Records"][0]["body"] = json!({"repository": "other"}).to_string().into();
    assert_eq!(function.ask(&message, "request").await.unwrap(), Value::Null);
    assert_eq!(function.calls(), [""; 0]);
}
