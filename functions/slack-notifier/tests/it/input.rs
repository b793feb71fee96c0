//! The events of the function, and inputs that are not events.

use expect_test::expect;
use local_aws::slack::{self, Reply};
use local_aws::world;
use serde_json::json;

use crate::{Function, event};

/// Every file of `events/slack-notifier`, with the first line of the message in the channel.
#[tokio::test(start_paused = true)]
async fn each_event_of_the_folder_is_delivered_to_the_channel() {
    let function = Function::new().await;
    let mut lines = String::new();
    for (name, event) in world::events("slack-notifier") {
        function.handle(&event).await.unwrap();
        let messages = function.slack().take_messages();
        assert_eq!(messages.len(), 1, "{name}");
        let shown = slack::render(&messages[0]);
        lines += &format!("{name}: {}\n", shown.lines().next().unwrap());
    }
    expect![[r#"
        by-hand: Maintenance
        cloudwatch-alarm: ALARM: ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL
        event-of-a-rule: ECR Pull Through Cache Action
        scan-findings: CRITICAL: infrastructure:litellm-v1.80.6 has 3 new findings: 2 CRITICAL, 1 HIGH
        scan-resolved: INFORMATIONAL: infrastructure:litellm-v1.80.7 has no open findings any more
        tag-violation: HIGH: The image infrastructure:litellm-1.80.5 was quarantined
    "#]].assert_eq(&lines);
}

/// A message that SNS could not deliver waits in the queue without its record.
#[tokio::test(start_paused = true)]
async fn a_message_of_the_queue_is_delivered_too() {
    let function = Function::new().await;
    function.handle(&event("tag-violation")["Records"][0]["Sns"]).await.unwrap();
    function.handle(&event("tag-violation")).await.unwrap();
    let messages = function.slack().take_messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
}

#[tokio::test(start_paused = true)]
async fn an_input_that_is_not_an_event_of_sns_is_an_error() {
    let function = Function::new().await;
    for event in [json!(null), json!({}), json!({"Records": "x"})] {
        let error = function.handle(&event).await.unwrap_err();
        expect!["the event: Records: expected a list, as SNS sends it"]
            .assert_eq(&error.to_string());
    }
    assert_eq!(function.slack().take_attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_does_not_stop_the_next_message() {
    let function = Function::new().await;
    let mut event = event("scan-resolved");
    let mut second = event["Records"][0].clone();
    second["Sns"]["MessageId"] = json!("second");
    event["Records"].as_array_mut().unwrap().push(second);
    function.slack().next([Reply::Answer(403, "action_prohibited")]);
    let error = function.handle(&event).await.unwrap_err().to_string();
    expect!["message 95df01b4-ee98-5cb9-9903-4c221d41eb5e: Slack refused the message permanently: status 403, action_prohibited: a setting of the workspace forbids the message; ask an administrator of the workspace"].assert_eq(&error);
    assert_eq!(function.slack().take_messages().len(), 1);
}
