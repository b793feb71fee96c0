//! Tests events that arrive before ECR shows the pushed image or tag.

use std::time::Duration;

use serde_json::Value;

use crate::{Function, push_index};

/// Makes the attempts of Lambda at an event: the second after one minute, and the third two
/// minutes later. Returns how many attempts failed.
async fn attempt_as_lambda_does(function: &Function, event: &Value) -> usize {
    for (nth, wait) in [60, 120, 0].into_iter().enumerate() {
        if function.handle(event, "request").await.is_ok() {
            return nth;
        }
        function.aws.advance(Duration::from_secs(wait));
    }
    3
}

#[tokio::test]
async fn a_violation_is_enforced_even_if_ecr_shows_the_image_90_seconds_later() {
    for enforcement in ["quarantine", "archive"] {
        for (lag, failed) in [(0.0, 0), (1.0, 1), (59.0, 1), (61.0, 2), (90.0, 2)] {
            let function = Function::new(enforcement).await;
            function.aws.state().ecr().set_read_lag(lag);
            let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
            assert_eq!(attempt_as_lambda_does(&function, &events[0]).await, failed, "{lag}");
            let done = ["quarantined", "archived"][usize::from(enforcement == "archive")];
            assert_eq!(function.alert()["details"]["action"], done, "{lag}");
        }
    }
}

#[tokio::test]
async fn a_bad_tag_of_an_old_image_is_enforced_even_if_ecr_shows_the_tag_later() {
    for lag in [1.0, 90.0] {
        let function = Function::new("quarantine").await;
        let (digest, _) = function.push("infrastructure", &["litellm-v1.80.5"]);
        function.aws.advance(Duration::from_secs(3_600));
        function.aws.state().ecr().set_read_lag(lag);
        let events = function.tag("infrastructure", &digest, "latest");
        assert!(attempt_as_lambda_does(&function, &events[0]).await > 0);
        assert_eq!(function.tags("infrastructure", &digest).unwrap(), ["litellm-v1.80.5"]);
        assert_eq!(function.alert()["details"]["action"], "untagged");
    }
}

#[tokio::test]
async fn the_images_of_an_index_are_recorded_even_if_ecr_shows_the_index_later() {
    let function = Function::new("quarantine").await;
    function.aws.state().ecr().set_read_lag(30.0);
    let (_, _, events) = push_index(&function, "openwebui-v0.6.36", 3);
    let index = events.last().unwrap();
    assert_eq!(attempt_as_lambda_does(&function, index).await, 1);
    assert!(function.calls().contains(&"BatchWriteItem".to_owned()));
}

#[tokio::test]
async fn a_late_event_of_a_deleted_image_succeeds_without_an_alert() {
    let function = Function::new("quarantine").await;
    let (_, events) = function.push("infrastructure", &["litellm-1.80.5"]);
    function.untag("infrastructure", "litellm-1.80.5");
    assert_eq!(attempt_as_lambda_does(&function, &events[0]).await, 2);
    assert_eq!(function.alerts().len(), 0);
    function.aws.advance(Duration::from_secs(3_600));
    function.handle(&events[0], "late").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}
