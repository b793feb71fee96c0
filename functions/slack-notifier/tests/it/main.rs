//! The notifier against a Slack and an AWS in memory. A number in a test's comment is the line
//! of experience it stands for: what went wrong in other projects.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is off"
)]

mod delivery;
mod input;
mod port;
mod secret;

use std::time::Duration;

use local_aws::LocalAws;
use local_aws::slack::{self, Slack};
use serde_json::{Value, json};
use slack_notifier::config::Config;
use slack_notifier::{Context, handle};
use tokio::time::Instant;

/// What must be in no log line and in no error.
const SECRET: &str = "marked-secret";
/// As much time as Lambda gives.
const TIME: Duration = Duration::from_secs(44);

/// A function with its AWS, and Slack.
struct Function {
    aws: LocalAws,
    arn: String,
    context: Context,
}

impl Function {
    async fn new() -> Self {
        let url = format!("https://{}/services/T0000000/B0000000/{SECRET}", slack::HOST);
        Self::with_secret(&url).await
    }

    /// One whose secret has this value.
    async fn with_secret(value: &str) -> Self {
        let aws = LocalAws::default();
        let secret = json!({"Name": "ecr-warden/slack", "SecretString": value});
        let made = secrets(&aws, "CreateSecret", &secret).await;
        let arn = made["ARN"].as_str().unwrap().to_owned();
        let context = Context::new(config(&arn), &aws.config()).unwrap();
        Self { aws, arn, context }
    }

    /// Puts another value into the secret.
    async fn put_secret(&self, value: &str) {
        let put = json!({"SecretId": self.arn, "SecretString": value});
        secrets(&self.aws, "PutSecretValue", &put).await;
    }

    fn slack(&self) -> &Slack {
        self.aws.slack()
    }

    async fn handle(&self, event: &Value) -> anyhow::Result<()> {
        handle(&self.context, event, Instant::now() + TIME).await
    }

    /// Handles a small alert, and gives the error, in which nothing is secret.
    async fn fail(&self) -> String {
        let error = format!("{:#}", self.handle(&event("scan-resolved")).await.unwrap_err());
        assert!(!error.contains(SECRET), "{error}");
        error
    }

    /// The operations called since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.aws.state().calls);
        calls.into_iter().map(|call| format!("{}:{}", call.service, call.operation)).collect()
    }
}

fn config(arn: &str) -> Config {
    Config::read([("SLACK_WEBHOOK_SECRET_ARN".to_owned(), arn.to_owned())]).unwrap()
}

/// A call of Secrets Manager by somebody else.
async fn secrets(aws: &LocalAws, operation: &str, input: &Value) -> Value {
    let request = http::Request::post("/")
        .header("x-amz-target", format!("secretsmanager.{operation}"))
        .body(input.to_string().into())
        .unwrap();
    let response = aws.services().handle("secretsmanager", request).await;
    assert!(response.status().is_success(), "{response:?}");
    serde_json::from_slice(response.body()).unwrap()
}

/// An event of `events/slack-notifier`.
fn event(name: &str) -> Value {
    let path = format!("{}/../../events/slack-notifier/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
