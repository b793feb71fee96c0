//! What is secret stays so: the webhook's URL, the URL that CloudFormation is answered at, and
//! what calls are signed with are in no log line, at no level, and in no alert, answer or letter.

use local_aws::RESPONSE_URL;
use local_aws::lambda::Function;
use local_aws::slack::Reply;
use local_aws::world::{SECRET, World, events};
use serde_json::json;

use crate::slack::Deployed;

/// The deployed stack, whose functions log at this level and sign with what is marked.
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

/// Sends every event there is, as it is and without what it needs, to a Slack that is out of
/// order at times.
async fn drive(world: &World) {
    let aws = &world.aws;
    let folders =
        ["custom-resource", "image-push", "scan-complete", "image-sweep", "slack-notifier"];
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
    // What Slack refuses for good ends in a letter.
    aws.lambda().settled().await;
    aws.slack().always(Some(Reply::Answer(404, "no_service")));
    for (_, event) in events("slack-notifier") {
        aws.lambda().invoke_async(&world.function("slack-notifier").name, event).unwrap();
    }
    aws.lambda().settled().await;
}

/// The first line of a text in which something secret stands.
fn leak(text: &str) -> Option<&str> {
    text.lines().find(|line| line.contains(SECRET))
}

async fn check(level: &str) {
    let deployed = deployed(level).await;
    let aws = &deployed.aws;
    drive(&deployed).await;
    for name in aws.lambda().functions() {
        let log = aws.lambda().log(&name);
        assert!(log.lines().count() > 10, "{name} at {level} logs {log}");
        assert_eq!(leak(&log), None, "{name} at {level}");
    }
    let answers = std::mem::take(&mut aws.state().answers);
    assert!(answers.len() > 5, "{answers:#?}");
    assert_eq!(leak(&json!(answers).to_string()), None);
    let deliveries = std::mem::take(&mut aws.state().deliveries);
    let told: Vec<&str> = deliveries.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(leak(&told.join("\n")), None);
    // What failed is handed on as it came, with the reason: what is secret in it is the sender's.
    let records = deployed.failed_events().await;
    for record in &records {
        assert_eq!(leak(&record["responsePayload"].to_string()), None, "{record:#}");
    }
    assert!(records.len() > 5, "{}", records.len());
}

#[tokio::test]
async fn nothing_secret_is_logged_told_or_handed_on() {
    check("info").await;
}

#[tokio::test]
async fn nothing_secret_is_logged_at_the_most_talkative_level() {
    check("trace").await;
}
