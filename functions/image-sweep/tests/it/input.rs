//! What comes in, and what of it is refused.

use local_aws::world;
use serde_json::{Value, json};

use crate::{DEPLOYMENTS, Function, event};

#[tokio::test]
async fn every_event_of_the_folder_is_understood() {
    let names: Vec<String> = world::events("image-sweep").into_keys().collect();
    assert_eq!(names, ["confirm", "explain", "pushed", "read", "scheduled"]);
    let function = Function::new("archive").await;
    function.push("myapp-v1.0.0", 400.0);
    function.push("myapp-v1.1.0", 300.0);
    function.push("myapp-v1.2.0", 200.0);
    let read = function.ask(&event("read"), "read").await.unwrap();
    assert_eq!((&read["planned"], &read["mode"]), (&json!(1), &json!("archive")));
    let explained = function.ask(&event("explain"), "explain").await.unwrap();
    assert_eq!(explained["reason"], "number 3 of 3 of myapp, which keeps 2");
    let error = function.ask(&event("confirm"), "confirm").await.unwrap_err();
    assert!(format!("{error:#}").contains(read["hash"].as_str().unwrap()), "{error:#}");
    assert_eq!(function.ask(&event("pushed"), "pushed").await.unwrap()["removed"], 1);
    assert_eq!(function.ask(&event("scheduled"), "scheduled").await.unwrap()["planned"], 0);
}

#[tokio::test]
async fn what_is_not_understood_is_an_error_that_says_what_was_expected() {
    let function = Function::new("archive").await;
    function.calls();
    let mut other = event("pushed");
    other["detail-type"] = "ECR Image Scan".into();
    for (payload, expected) in [
        (json!("sweep"), "expected an object, such as"),
        (json!({}), "missing field `repository`"),
        (json!({"repository": "Deployments"}), "expected 2 to 256 lower-case letters"),
        (json!({"repository": DEPLOYMENTS, "mod": "report"}), "unknown field `mod`"),
        (json!({"repository": DEPLOYMENTS, "mode": "delete"}), "expected report, or none"),
        (
            json!({"repository": DEPLOYMENTS, "mode": "report", "confirm": "x"}),
            "confirm stands alone",
        ),
        (
            json!({"repository": "other"}),
            "other is not governed; these are: infrastructure, deployments",
        ),
        (json!({"repository": 1}), "repository: invalid type"),
        (other, "expected ECR Image Action"),
    ] {
        let error = function.ask(&payload, "request").await.unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{payload}: {error:#}");
    }
    assert_eq!(function.calls(), [""; 0]);
}

#[tokio::test]
async fn what_is_no_push_to_a_governed_repository_costs_nothing() {
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
