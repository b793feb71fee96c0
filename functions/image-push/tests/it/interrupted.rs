//! Tests that the outcome of an interrupted attempt is published although its policy does not govern the
//! tag any more.

use std::time::Duration;

use local_aws::Fault;
use local_aws::ecr::image::Status;
use serde_json::Value;

use crate::Function;
use crate::replication::replicated;

const TAG: &str = "litellm-1.80.5";
const CEILING: (&str, &str) = ("EnforceRepositories", "infra*,deployments");

/// The changes after which the policy does not judge the tag of the push, or does not enforce on it.
const CHANGES: [(&str, &str); 4] = [
    ("platform.Tags.Grammar", r#"["{component}-{semver}"]"#),
    ("platform.Tags", r#"{"Enforcement": "archive"}"#),
    ("platform.Tags.Enforcement", "report"),
    ("platform.Repositories", r#"["infrastructure-2"]"#),
];

#[tokio::test]
async fn an_applied_enforcement_is_published_after_a_change_of_the_policy() {
    for (enforcement, action) in [("quarantine", "quarantined"), ("archive", "archived")] {
        for change in CHANGES {
            let case = format!("{enforcement}, {change:?}");
            let settings = [CEILING, ("platform.Tags.Enforcement", enforcement)];
            let mut function = Function::with(&settings).await;
            let (digest, events) = function.push("infrastructure", &[TAG]);
            function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
            function.handle(&events[0], "request").await.unwrap_err();
            let (tags, bus) = (function.tags("infrastructure", &digest), function.bus_events());
            assert_eq!(bus.len(), 1, "{case}");
            function.aws.heal();
            function.change_policy(&[&settings[..], &[change]].concat()).await;
            function.aws.advance(Duration::from_secs(13 * 86_400));
            function.handle(&events[0], "replay").await.unwrap();
            assert_eq!(function.alert()["details"]["action"], action, "{case}");
            assert_eq!(function.bus_events().len(), 0, "{case}");
            assert_eq!(function.tags("infrastructure", &digest), tags, "{case}");
            function.handle(&events[0], "again").await.unwrap();
            // By a rule that only reports, the settled event is reported.
            let again = function.alerts();
            let is_same = |alert: &Value| alert["details"]["action"] == action;
            assert!(!again.iter().any(is_same), "{case}: {again:#?}");
        }
    }
}

#[tokio::test]
async fn an_applied_enforcement_is_published_after_the_repository_became_a_replica() {
    let function = Function::with(&[
        CEILING,
        ("platform.Repositories", r#"["infra*"]"#),
        ("platform.Tags.Enforcement", "quarantine"),
    ])
    .await;
    let (_, events) = function.push("infrastructure", &[TAG]);
    function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
    function.handle(&events[0], "request").await.unwrap_err();
    function.aws.heal();
    function.handle(&replicated(&[]), "replicated").await.unwrap();
    function.aws.advance(Duration::from_secs(86_400));
    function.handle(&events[0], "replay").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
}

/// Lambda tries an event again after a minute.
#[tokio::test]
async fn a_retry_publishes_an_applied_enforcement_after_a_change_of_the_policy() {
    let mut function = Function::with(&[("platform.Tags.Enforcement", "quarantine")]).await;
    let (_, events) = function.push("infrastructure", &[TAG]);
    function.aws.fault("Publish", 0, Fault::Error(400, "AuthorizationError"));
    function.handle(&events[0], "request").await.unwrap_err();
    function.aws.heal();
    function.change_policy(&CHANGES[..1]).await;
    function.aws.advance(Duration::from_secs(60));
    function.handle(&events[0], "request").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
}

#[tokio::test]
async fn an_interrupted_attempt_is_not_continued_by_a_replaced_policy() {
    for (enforcement, call) in
        [("quarantine", "BatchDeleteImage"), ("archive", "UpdateImageStorageClass")]
    {
        for change in CHANGES {
            let case = format!("{enforcement}, {change:?}");
            let settings = [CEILING, ("platform.Tags.Enforcement", enforcement)];
            let mut function = Function::with(&settings).await;
            let (digest, events) = function.push("infrastructure", &[TAG]);
            function.aws.fault(call, 0, Fault::Error(400, "ThrottlingException"));
            function.handle(&events[0], "request").await.unwrap_err();
            function.aws.heal();
            function.change_policy(&[&settings[..], &[change]].concat()).await;
            function.aws.advance(Duration::from_secs(86_400));
            function.handle(&events[0], "replay").await.unwrap();
            assert_eq!(function.alert()["details"]["action"], "reported", "{case}");
            let tags = function.tags("infrastructure", &digest).unwrap();
            assert!(tags.contains(&TAG.to_owned()), "{case}: {tags:?}");
            let mut state = function.aws.state();
            let status = state.ecr().image("infrastructure", &digest).unwrap().status;
            assert_eq!(status, Status::Active, "{case}");
        }
    }
}

/// A change of another setting does not stop the enforcement.
#[tokio::test]
async fn an_interrupted_attempt_is_continued_by_a_policy_with_the_same_enforcement() {
    let settings = [("platform.Tags.Enforcement", "quarantine")];
    let mut function = Function::with(&settings).await;
    let (digest, events) = function.push("infrastructure", &[TAG]);
    function.aws.fault("BatchDeleteImage", 0, Fault::Error(400, "ThrottlingException"));
    function.handle(&events[0], "request").await.unwrap_err();
    function.aws.heal();
    let change = ("platform.Tags.QuarantineDays", "20");
    function.change_policy(&[&settings[..], &[change]].concat()).await;
    function.aws.advance(Duration::from_secs(3_600));
    function.handle(&events[0], "replay").await.unwrap();
    assert_eq!(function.alert()["details"]["action"], "quarantined");
    assert!(!function.tags("infrastructure", &digest).unwrap().contains(&TAG.to_owned()));
}

#[tokio::test]
async fn an_event_that_no_attempt_has_begun_publishes_nothing_about_an_accepted_tag() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-v1.80.5"]);
    function.aws.advance(Duration::from_secs(86_400));
    function.handle_all(&events).await;
    assert_eq!(function.alerts().len(), 0);
}
