//! No log line of any level, no alert, no answer and no dead letter contains a secret: the URL of the
//! webhook, the URL for answers to CloudFormation, or the credentials of the functions.

use local_aws::RESPONSE_URL;
use local_aws::lambda::Function;
use local_aws::slack::Reply;
use local_aws::world::{SECRET, World, events};
use serde_json::json;

use crate::slack::Deployed;

/// Deploys the stack. Its functions log at this level and have marked credentials.
async fn deployed(level: &str) -> Deployed {
    let deployed = Deployed::new().await;
    let lambda = deployed.aws.lambda();
    for name in lambda.functions() {
        let function = lambda.function(&name).unwrap();
        let mut environment = function.environment.clone();
        for (name, value) in [
            ("AWS_LAMBDA_LOG_LEVEL", level),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", SECRET),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        lambda.create(Function { environment, ..function });
    }
    deployed
}

/// Sends every event of `events/`, unchanged and with invalid fields. Slack fails at times.
async fn drive(world: &World) {
    let aws = &world.aws;
    let folders = [
        "custom-resource",
        "image-push",
        "scan-complete",
        "image-sweep",
        "slack-notifier",
        "sweep-dispatch",
    ];
    let path = RESPONSE_URL.splitn(4, '/').nth(3).unwrap();
    for folder in folders {
        let function = &world.function(folder).name;
        for (_, mut event) in events(folder) {
            if event.get("ResponseURL").is_some() {
                event["ResponseURL"] = format!("{}/{path}", aws.endpoint().unwrap()).into();
            }
            let replies = [
                Reply::Answer(500, "Cannot POST /services/T0000000/B0000000/marked-secret"),
                Reply::Reset,
            ];
            aws.slack().next(replies);
            aws.lambda().invoke_async(function, event.clone()).unwrap();
            let mut wrong = event;
            wrong["ResponseURL"] = format!("http://127.0.0.1:9/{SECRET}").into();
            wrong["detail"] = json!({"repository-name": 1});
            wrong["Records"] = json!(SECRET.len());
            aws.lambda().invoke_async(function, wrong).unwrap();
        }
    }
    // A message that Slack refuses in every attempt ends in a dead letter.
    aws.lambda().settled().await;
    aws.slack().always(Some(Reply::Answer(404, "no_service")));
    for (_, event) in events("slack-notifier") {
        aws.lambda().invoke_async(&world.function("slack-notifier").name, event).unwrap();
    }
    aws.lambda().settled().await;
}

/// The first line of a text that contains a secret.
fn leak(text: &str) -> Option<&str> {
    text.lines().find(|line| line.contains(SECRET))
}

async fn check(level: &str) {
    let deployed = deployed(level).await;
    let aws = &deployed.aws;
    drive(&deployed).await;
    for name in aws.lambda().functions() {
        let log = aws.lambda().log(&name);
        let least = if name.contains("SweepDispatch") { 3 } else { 10 };
        assert!(log.lines().count() > least, "{name} at {level} logs {log}");
        assert_eq!(leak(&log), None, "{name} at {level}");
    }
    let answers = std::mem::take(&mut aws.state().answers);
    assert!(answers.len() > 5, "{answers:#?}");
    assert_eq!(leak(&json!(answers).to_string()), None);
    let deliveries = std::mem::take(&mut aws.state().deliveries);
    let messages: Vec<&str> = deliveries.iter().map(|delivery| delivery.message.as_str()).collect();
    assert_eq!(leak(&messages.join("\n")), None);
    // A dead letter contains the event of the sender, which may contain a secret, and the error.
    let records = deployed.failed_events().await;
    for record in &records {
        assert_eq!(leak(&record["responsePayload"].to_string()), None, "{record:#}");
    }
    assert!(records.len() > 5, "{}", records.len());
}

#[tokio::test]
async fn no_log_line_alert_or_dead_letter_contains_a_secret() {
    check("info").await;
}

#[tokio::test]
async fn no_trace_line_contains_a_secret() {
    check("trace").await;
}
